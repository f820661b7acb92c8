//! Another server's REST API: answers as a test says, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use serde_json::Value;

use super::PATIENCE;

/// Requests that a test has not looked at.
const QUEUED_REQUESTS: usize = 64;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `GET /path?query`
    pub(crate) line: String,
    /// Names in lower case, a line each.
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Asked {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// The server; its thread ends with the test.
pub(crate) struct RestServer {
    pub(crate) url: String,
    asked: Receiver<Asked>,
}

impl RestServer {
    /// Starts it with what it answers: status and body.
    pub(crate) fn start(mut answer: impl FnMut(&Asked) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, asked) = sync_channel(QUEUED_REQUESTS);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let request = read(&stream);
                let (status, body) = answer(&request);
                if sender.send(request).is_err() {
                    return;
                }
                let length = body.len();
                let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                // Who does not wait for the answer does not want it.
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        Self { url, asked }
    }

    /// The next request.
    pub(crate) fn asked(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).expect("a request")
    }
}

fn read(stream: &TcpStream) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a request");
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let headers: Vec<String> = lines.iter().skip(1).map(|line| line.to_ascii_lowercase()).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    reader.read_exact(&mut body).expect("the body");
    Asked {
        line: lines.first().map(|line| line.trim_end_matches(" HTTP/1.1").to_owned()).expect("a request line"),
        headers: headers.join("\n"),
        body: String::from_utf8(body).expect("a text"),
    }
}

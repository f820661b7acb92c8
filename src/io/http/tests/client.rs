//! A small blocking client that sends what it is told, byte for byte.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest response taken.
const MAX_RESPONSE_BYTES: u64 = 16 << 20;

/// Longer than the server takes for any answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// Status code.
    pub(super) status: u16,
    /// Head, without the empty line.
    pub(super) head: String,
    /// Body.
    pub(super) body: String,
}

/// Sends one request and reads its response.
///
/// # Errors
/// If the server cannot be reached, is silent for half a minute or does not speak HTTP.
pub(super) fn request(address: SocketAddr, method: &str, path: &str, body: Option<&str>) -> io::Result<Response> {
    let length = body.map_or(0, str::len);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    exchange(address, &[head.as_bytes(), body.unwrap_or_default().as_bytes()].concat())
}

/// Sends bytes and reads the response until the server closes.
pub(super) fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // A server that refuses a large body answers and closes while it is still being sent: what it said counts.
    let written = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut answer);
    let response = parse(&String::from_utf8_lossy(&answer));
    match response {
        Some(response) if read.is_ok() || response.is_whole() => Ok(response),
        _ => {
            written?;
            read?;
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{address} does not answer in HTTP")))
        }
    }
}

impl Response {
    /// Whether the body is as long as the head says.
    fn is_whole(&self) -> bool {
        let head = self.head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        length == Some(self.body.len())
    }
}

fn parse(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_and_other_protocols_told() {
        let response = parse("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!((response.status, response.body.as_str()), (404, "{}"));
        for text in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

//! A client for the API of a running gateway, for the commands of the command line: HTTP and HTTPS, tokens, streams.
//!
//! Blocking on the outside: each call runs on a small runtime of its own.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderValue};

use crate::io::http_client::{Remote, Times};

/// Longest body taken.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Longest line of a stream.
const MAX_LINE_BYTES: usize = 1 << 20;

/// An answer takes longer than any that the server gives, a waiting command included.
const TIMES: Times = Times { connect: Duration::from_secs(10), answer: Duration::from_secs(150) };

/// Where the API is, and what the caller proves itself by.
#[derive(Clone)]
pub struct ApiClient {
    /// Where it is.
    pub remote: Remote,
    /// For the header `Authorization`.
    pub token: Option<String>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiResponse {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSentEvent {
    /// Behind `event:`.
    pub kind: String,
    /// Behind `data:`.
    pub data: String,
}

impl ApiClient {
    /// Its URL, for messages.
    pub fn url(&self) -> String {
        self.remote.url()
    }

    /// Sends one request and takes its response.
    ///
    /// # Errors
    /// If the server cannot be reached, is not believed, is silent or does not speak HTTP.
    pub fn request(&self, method: &str, path: &str, body: Option<&str>) -> io::Result<ApiResponse> {
        block_on(async {
            let request = self.prepared(method, path, body)?;
            let response = self.remote.ask(request, TIMES, MAX_BODY_BYTES).await?;
            Ok(ApiResponse { status: response.status, body: String::from_utf8_lossy(&response.body).into_owned() })
        })
    }

    /// Follows a stream until it ends or `take` says `false`. Anything but 200 is a response like any other.
    ///
    /// # Errors
    /// As [`Self::request`]; and if a line of the stream is endless.
    pub fn follow(&self, path: &str, take: &mut dyn FnMut(ServerSentEvent) -> bool) -> io::Result<Option<ApiResponse>> {
        block_on(async {
            let request = self.prepared("GET", path, None)?;
            self.remote
                .exchange(request, TIMES, async |response| {
                    let status = response.status().as_u16();
                    let mut body = response.into_body();
                    if status != 200 {
                        let body = http_body_util::Limited::new(body, MAX_BODY_BYTES).collect().await;
                        let body = body.map_err(io::Error::other)?.to_bytes();
                        return Ok(Some(ApiResponse { status, body: String::from_utf8_lossy(&body).into_owned() }));
                    }
                    let mut lines = Lines::default();
                    while let Some(frame) = body.frame().await {
                        let frame = frame.map_err(io::Error::other)?;
                        let Ok(data) = frame.into_data() else { continue };
                        for event in lines.take(&data)? {
                            if !take(event) {
                                return Ok(None);
                            }
                        }
                    }
                    Ok(None)
                })
                .await
        })
    }

    fn prepared(&self, method: &str, path: &str, body: Option<&str>) -> io::Result<hyper::Request<Full<Bytes>>> {
        let mut headers = Vec::new();
        if body.is_some() {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
        }
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidInput, "the token has characters that none can have")
            })?;
            value.set_sensitive(true);
            headers.push((header::AUTHORIZATION, value));
        }
        self.remote.request(method, path, &headers, body.unwrap_or_default().as_bytes())
    }
}

fn block_on<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Bytes of a stream become events.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    event: ServerSentEvent,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> io::Result<Vec<ServerSentEvent>> {
        let mut events = Vec::new();
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                events.extend((event != ServerSentEvent::default()).then_some(event));
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.kind),
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                _ => {}
            }
        }
        if self.rest.len() > MAX_LINE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the stream does not end"));
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_whatever_pieces_they_come_in() {
        let text =
            b": hello\nretry: 2000\n\nid: 1\nevent: trace\ndata: {\"a\":\ndata:  1}\r\n\nevent: end\ndata: x\n\n";
        let event = |kind: &str, data: &str| ServerSentEvent { kind: kind.to_owned(), data: data.to_owned() };
        let expected = [event("trace", "{\"a\":\n 1}"), event("end", "x")];
        for size in [1, 2, 7, text.len()] {
            let mut lines = Lines::default();
            let events: Vec<_> = text.chunks(size).flat_map(|piece| lines.take(piece).unwrap()).collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
        let mut lines = Lines::default();
        assert!(lines.take(&vec![b'x'; MAX_LINE_BYTES + 1]).is_err());
    }
}

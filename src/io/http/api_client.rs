//! A client for the API of a running gateway, for the commands of the command line: HTTP and HTTPS, tokens, streams.
//!
//! Blocking on the outside: each call runs on a small runtime of its own.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header;
use hyper_util::rt::TokioIo;
use openssl::hash::MessageDigest;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Longest body taken.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Longest line of a stream.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How long connecting and the handshake may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Longer than the server takes for any answer, a waiting command included.
const ANSWER_TIME: Duration = Duration::from_secs(150);

/// How a server proves who it is.
#[derive(Clone)]
pub enum Trust {
    /// By nothing: plain HTTP.
    Plain,
    /// By a certificate of an authority that this system trusts, or of these (PEM).
    Authorities(Option<Vec<u8>>),
    /// By exactly this certificate: it is known from the gateway's own configuration.
    Exactly(Box<X509>),
}

/// Where the API is, and what the caller proves itself by.
#[derive(Clone)]
pub struct ApiClient {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Who is believed.
    pub trust: Trust,
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

trait Connection: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

impl ApiClient {
    /// Its URL, for messages.
    pub fn url(&self) -> String {
        let scheme = if matches!(self.trust, Trust::Plain) { "http" } else { "https" };
        format!("{scheme}://{}", self.authority())
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Sends one request and takes its response.
    ///
    /// # Errors
    /// If the server cannot be reached, is not believed, is silent or does not speak HTTP.
    pub fn request(&self, method: &str, path: &str, body: Option<&str>) -> io::Result<ApiResponse> {
        block_on(async {
            let request = self.prepared(method, path, body)?;
            self.exchange(request, async |response| {
                let status = response.status().as_u16();
                let body = http_body_util::Limited::new(response.into_body(), MAX_BODY_BYTES);
                let body = tokio::time::timeout(ANSWER_TIME, body.collect()).await.map_err(|_| silent())?;
                let body = body.map_err(io::Error::other)?.to_bytes();
                Ok(ApiResponse { status, body: String::from_utf8_lossy(&body).into_owned() })
            })
            .await
        })
    }

    /// Follows a stream until it ends or `take` says `false`. Anything but 200 is a response like any other.
    ///
    /// # Errors
    /// As [`Self::request`]; and if a line of the stream is endless.
    pub fn follow(&self, path: &str, take: &mut dyn FnMut(ServerSentEvent) -> bool) -> io::Result<Option<ApiResponse>> {
        block_on(async {
            let request = self.prepared("GET", path, None)?;
            self.exchange(request, async |response| {
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
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.authority())
            .header(header::CONNECTION, "close");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = Full::new(Bytes::copy_from_slice(body.unwrap_or_default().as_bytes()));
        request.body(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))
    }

    async fn exchange<T>(
        &self,
        request: hyper::Request<Full<Bytes>>,
        read: impl AsyncFnOnce(hyper::Response<hyper::body::Incoming>) -> io::Result<T>,
    ) -> io::Result<T> {
        let stream = tokio::time::timeout(CONNECT_TIME, self.connect()).await.map_err(|_| silent())??;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let work = async {
            let response = tokio::time::timeout(ANSWER_TIME, sender.send_request(request)).await;
            let response = response.map_err(|_| silent())?.map_err(io::Error::other)?;
            read(response).await
        };
        tokio::pin!(work, connection);
        let mut open = true;
        loop {
            tokio::select! {
                done = &mut work => return done,
                // It drives what is read; when it is over, what has arrived is still read.
                _ = &mut connection, if open => open = false,
            }
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let connector = match &self.trust {
            Trust::Plain => return Ok(Box::new(stream)),
            Trust::Authorities(certificates) => believing_authorities(certificates.as_deref())?,
            Trust::Exactly(certificate) => believing_only(certificate)?,
        };
        let mut configured = connector.configure()?;
        if matches!(self.trust, Trust::Exactly(_)) {
            configured.set_verify_hostname(false);
        }
        if self.host.parse::<IpAddr>().is_ok() {
            configured.set_use_server_name_indication(false);
        }
        let mut stream = tokio_openssl::SslStream::new(configured.into_ssl(&self.host)?, stream)?;
        Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
        Ok(Box::new(stream))
    }
}

/// Believes the system's authorities, or only those given.
fn believing_authorities(certificates: Option<&[u8]>) -> io::Result<SslConnector> {
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    let Some(certificates) = certificates else {
        let found = openssl_probe::probe();
        if let Some(file) = found.cert_file {
            connector.load_verify_locations(Some(&file), None)?;
        }
        return Ok(connector.build());
    };
    let mut store = openssl::x509::store::X509StoreBuilder::new()?;
    for certificate in X509::stack_from_pem(certificates)? {
        store.add_cert(certificate)?;
    }
    connector.set_verify_cert_store(store.build())?;
    Ok(connector.build())
}

/// Believes one certificate, whoever signed it and whatever name it has.
fn believing_only(certificate: &X509) -> io::Result<SslConnector> {
    let known = certificate.digest(MessageDigest::sha256())?.to_vec();
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    connector.set_verify_callback(SslVerifyMode::PEER, move |_, context| {
        if context.error_depth() > 0 {
            return true;
        }
        let shown = context.current_cert().and_then(|shown| shown.digest(MessageDigest::sha256()).ok());
        shown.is_some_and(|shown| *shown == *known)
    });
    Ok(connector.build())
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
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

    #[test]
    fn addresses_of_ipv6_stand_in_brackets() {
        let client = ApiClient { host: "::1".to_owned(), port: 8080, trust: Trust::Authorities(None), token: None };
        assert_eq!(client.url(), "https://[::1]:8080");
    }
}

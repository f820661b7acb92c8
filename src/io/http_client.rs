//! An HTTP client for one server: HTTP and HTTPS, one connection for each request, no redirects.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

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

/// What a URL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whether it begins with `https`.
    pub is_secure: bool,
    /// Name or address, without brackets.
    pub host: &'a str,
    /// TCP port; that of the scheme if none was written.
    pub port: u16,
    /// What follows, without a slash at its end; mostly nothing.
    pub path: &'a str,
}

impl<'a> Place<'a> {
    /// Reads a URL without user, query and fragment.
    #[must_use]
    pub fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let is_secure = scheme.eq_ignore_ascii_case("https");
        if !is_secure && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['@', '?', '#']) || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']')?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let default_port = if is_secure { 443 } else { 80 };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        (!host.is_empty()).then_some(Self { is_secure, host, port, path })
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Finding the server, connecting and the handshake.
    pub connect: Duration,
    /// From the request to the head of the response, and from there to its end.
    pub answer: Duration,
}

/// A server.
#[derive(Clone)]
pub struct Remote {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Who is believed.
    pub trust: Trust,
}

/// A response as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

impl Remote {
    /// Its URL, for messages.
    #[must_use]
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

    /// A request for it.
    ///
    /// # Errors
    /// If the path is none.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: &[u8],
    ) -> io::Result<hyper::Request<Full<Bytes>>> {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.authority())
            .header(header::CONNECTION, "close");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::copy_from_slice(body));
        request.body(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))
    }

    /// Sends a request and takes the whole response.
    ///
    /// # Errors
    /// If the server cannot be reached, is not believed, is silent, does not speak HTTP or says more than `max_bytes`.
    pub async fn ask(
        &self,
        request: hyper::Request<Full<Bytes>>,
        times: Times,
        max_bytes: usize,
    ) -> io::Result<Response> {
        self.exchange(request, times, async |response| {
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), max_bytes).collect();
            let body = tokio::time::timeout(times.answer, body).await.map_err(|_| silent())?;
            Ok(Response { status, body: body.map_err(io::Error::other)?.to_bytes() })
        })
        .await
    }

    /// Sends a request and has the response read by `read` while the connection stands.
    ///
    /// # Errors
    /// As [`Self::ask`], and those of `read`.
    pub async fn exchange<T>(
        &self,
        request: hyper::Request<Full<Bytes>>,
        times: Times,
        read: impl AsyncFnOnce(hyper::Response<Incoming>) -> io::Result<T>,
    ) -> io::Result<T> {
        let stream = tokio::time::timeout(times.connect, self.connect()).await.map_err(|_| silent())??;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let work = async {
            let response = tokio::time::timeout(times.answer, sender.send_request(request)).await;
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
            Trust::Authorities(None) => believing_the_system()?,
            Trust::Authorities(Some(certificates)) => believing(certificates)?,
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

/// Believes the system's authorities, as they were when they were needed first: there are many to read.
fn believing_the_system() -> io::Result<SslConnector> {
    static CONNECTOR: OnceLock<SslConnector> = OnceLock::new();
    if let Some(connector) = CONNECTOR.get() {
        return Ok(connector.clone());
    }
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    let found = openssl_probe::probe();
    if let Some(file) = found.cert_file {
        connector.load_verify_locations(Some(&file), None)?;
    }
    Ok(CONNECTOR.get_or_init(|| connector.build()).clone())
}

/// Believes authorities that are given, in PEM.
fn believing(authorities: &[u8]) -> Result<SslConnector, ErrorStack> {
    let mut connector = SslConnector::builder(SslMethod::tls_client())?;
    let mut store = openssl::x509::store::X509StoreBuilder::new()?;
    for certificate in X509::stack_from_pem(authorities)? {
        store.add_cert(certificate)?;
    }
    connector.set_verify_cert_store(store.build())?;
    Ok(connector.build())
}

/// Believes one certificate, whoever signed it and whatever name it has.
fn believing_only(certificate: &X509) -> Result<SslConnector, ErrorStack> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_ipv6_stand_in_brackets() {
        let remote = Remote { host: "::1".to_owned(), port: 8080, trust: Trust::Authorities(None) };
        assert_eq!(remote.url(), "https://[::1]:8080");
    }

    #[test]
    fn a_url_is_a_host_a_port_and_perhaps_a_path() {
        let place = |is_secure, host, port, path| Some(Place { is_secure, host, port, path });
        for (url, expected) in [
            ("http://a", place(false, "a", 80, "")),
            ("HTTPS://a.example/", place(true, "a.example", 443, "")),
            ("https://[::1]:8443/", place(true, "::1", 8443, "")),
            ("http://[::1]", place(false, "::1", 80, "")),
            ("http://a:1/b/c/", place(false, "a", 1, "/b/c")),
            ("a:80", None),
            ("ftp://a", None),
            ("http://", None),
            ("http:///b", None),
            ("http://a:0x1", None),
            ("http://a:65536", None),
            ("http://[::1", None),
            ("http://[::1]8443", None),
            ("http://user:password@a", None),
            ("http://a?b", None),
            ("http://a#b", None),
            ("http://a b", None),
            ("http://a\r\nb", None),
        ] {
            assert_eq!(Place::parse(url), expected, "{url}");
        }
    }
}

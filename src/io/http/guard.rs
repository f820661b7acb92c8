//! Who may ask.
//!
//! Without tokens: programs on this machine, and no web page elsewhere. A browser sends whatever a page asks it to, also
//! to loopback. Two headers give such requests away: `Origin` names the page, and `Host` names another machine when a
//! name was made to point to loopback (DNS rebinding). Whoever passes may do everything.
//!
//! With tokens: whoever has one, within its role. A page elsewhere has none of its own accord, so that both headers say
//! nothing; which pages may read answers is told to browsers by CORS.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::tokens::{Admission, Tokens};
use crate::gateway::configuration::Role;
use crate::instrumentation::metrics::Metrics;
use crate::instrumentation::occurrence::Occurrence;

/// Paths that need no token: what monitoring asks, and the description of the API.
const OPEN_PATHS: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/api/openapi.json"];

/// The address that a request came from, put into it by the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote(pub(super) IpAddr);

/// What the guard needs to know.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) tokens: Tokens,
    pub(super) origins: Arc<[String]>,
    pub(super) metrics: Metrics,
}

/// What a request may do. Only [`guard`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    role: Role,
}

impl Caller {
    /// The role.
    pub(super) const fn role(self) -> Role {
        self.role
    }

    /// Refuses what the role does not allow.
    pub(super) fn demand(self, least: Role) -> Result<(), ApiError> {
        if self.role >= least {
            return Ok(());
        }
        let word = if least == Role::Admin { "admin" } else { "operator" };
        Err(ApiError::forbidden(format!("the role of this token must be {word} for that")))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().copied();
        caller.ok_or_else(|| unauthorized("this needs a token: Authorization: Bearer TOKEN"))
    }
}

/// Lets requests pass that may ask, and marks what leaves as private.
pub(super) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let mut response = match guard.check(&request) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(refusal) => *refusal,
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Guard {
    /// Who asks; `None` for what needs nobody.
    fn check(&self, request: &Request) -> Result<Option<Caller>, Box<Response>> {
        if self.tokens.is_empty() {
            check_locality(request.uri(), request.headers(), &self.origins).map_err(|error| {
                self.count("foreign");
                Box::new(error.into_response())
            })?;
            return Ok(Some(Caller { role: Role::Admin }));
        }
        if OPEN_PATHS.contains(&request.uri().path()) {
            return Ok(None);
        }
        // A request without an address would be a mistake here; it shares the place of the unspecified one.
        let unspecified = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let from = request.extensions().get::<Remote>().map_or(unspecified, |remote| remote.0);
        match self.tokens.admit(from, request.headers()) {
            Admission::Granted(role) => Ok(Some(Caller { role })),
            Admission::Missing => {
                self.count("no_token");
                Err(Box::new(challenge("this needs a token: Authorization: Bearer TOKEN")))
            }
            Admission::Wrong => {
                self.count("wrong_token");
                Err(Box::new(challenge("this token is not known")))
            }
            Admission::TooOften(seconds) => {
                self.count("too_often");
                let message = format!("too many wrong tokens came from this address; wait {seconds} s");
                let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message);
                Err(Box::new(([(header::RETRY_AFTER, seconds.to_string())], error).into_response()))
            }
        }
    }

    fn count(&self, reason: &'static str) {
        self.metrics.record(&Occurrence::ApiRefused(reason), &[]);
    }
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

fn challenge(message: &str) -> Response {
    ([(header::WWW_AUTHENTICATE, "Bearer realm=\"lwm2mqtt\"")], unauthorized(message)).into_response()
}

fn check_locality(uri: &Uri, headers: &HeaderMap, origins: &[String]) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().map_err(|_| foreign_host("unreadable"))?),
        (Some(_), Some(_)) => return Err(ApiError::unreadable("more than one Host header")),
    };
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    for named in [host, authority].into_iter().flatten() {
        if !is_loopback(named) {
            return Err(foreign_host(named));
        }
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let own = |scheme| {
            let named = origin.strip_prefix(scheme);
            host.is_some_and(|host| named.is_some_and(|named| named.eq_ignore_ascii_case(host)))
        };
        if !own("http://") && !own("https://") && !origins.iter().any(|known| known == origin) {
            return Err(ApiError::forbidden(
                "the Origin header names another site; http.cors_origins lists those that may use this API",
            ));
        }
    }
    Ok(())
}

fn foreign_host(host: &str) -> ApiError {
    let shown: String = host.escape_debug().take(100).collect();
    ApiError::forbidden(format!(
        "the Host header names '{shown}'; without tokens only localhost, 127.0.0.1 and [::1] may be asked"
    ))
}

/// Whether `host` or `host:port` names this machine's loopback.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, "")) => (name, None),
            Some((name, after)) => (name, Some(after.strip_prefix(':').unwrap_or("-"))),
            None => return false,
        },
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
    port_fits && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_pass() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "10.0.0.1:80",
            "[::2]",
            "[::1",
            "localhost:x",
            "[::1]8080",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_page_may_ask_only_where_it_came_from() {
        let check = |pairs: &[_]| check_locality(&Uri::from_static("/healthz"), &headers(pairs), &[]).is_ok();
        let host = (header::HOST, "localhost:8080");
        assert!(check(std::slice::from_ref(&host)));
        assert!(check(&[host.clone(), (header::ORIGIN, "http://localhost:8080")]));
        for origin in ["http://localhost:3000", "null", "http://evil.example", ""] {
            assert!(!check(&[host.clone(), (header::ORIGIN, origin)]), "{origin}");
        }
        assert!(!check(&[(header::ORIGIN, "http://localhost:8080")]), "an origin without host");
        assert!(!check(&[host.clone(), host]), "two hosts");
    }

    #[test]
    fn a_page_that_the_configuration_names_may_ask_too() {
        let origins = ["http://localhost:3000".to_owned()];
        let from = |origin| {
            let pairs = [(header::HOST, "localhost:8080"), (header::ORIGIN, origin)];
            check_locality(&Uri::from_static("/healthz"), &headers(&pairs), &origins).is_ok()
        };
        assert!(from("http://localhost:3000"));
        assert!(!from("http://localhost:3001"));
    }

    #[test]
    fn a_foreign_name_in_the_request_line_is_refused() {
        let uri = Uri::from_static("http://evil.example/healthz");
        assert!(check_locality(&uri, &headers(&[(header::HOST, "localhost")]), &[]).is_err());
    }
}

//! Who may ask while there are no tokens: programs on this machine, and no web page elsewhere.
//!
//! A browser sends whatever a page asks it to, also to loopback. Two headers give such requests away: `Origin` names
//! the page, and `Host` names another machine when a name was made to point to loopback (DNS rebinding).

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

/// Lets local requests pass and marks what leaves as private.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
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
        let same = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        if same.is_none() || !host.is_some_and(|host| same.is_some_and(|same| same.eq_ignore_ascii_case(host))) {
            return Err(ApiError::forbidden(
                "the Origin header names another site; pages elsewhere may not use this API",
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
        let check = |pairs: &[_]| check(&Uri::from_static("/healthz"), &headers(pairs)).is_ok();
        let host = (header::HOST, "localhost:8080");
        assert!(check(std::slice::from_ref(&host)));
        assert!(check(&[host.clone(), (header::ORIGIN, "http://localhost:8080")]));
        for origin in ["http://localhost:3000", "https://localhost:8080", "null", "http://evil.example", ""] {
            assert!(!check(&[host.clone(), (header::ORIGIN, origin)]), "{origin}");
        }
        assert!(!check(&[(header::ORIGIN, "http://localhost:8080")]), "an origin without host");
        assert!(!check(&[host.clone(), host]), "two hosts");
    }

    #[test]
    fn a_foreign_name_in_the_request_line_is_refused() {
        let uri = Uri::from_static("http://evil.example/healthz");
        assert!(check(&uri, &headers(&[(header::HOST, "localhost")])).is_err());
    }
}

//! The section `[http]`: listeners, certificate, origins and tokens.

use std::collections::BTreeSet;

use super::section::Section;
use super::settings::{HttpSettings, HttpToken};
use crate::gateway::configuration::Role;
use crate::io::http::Tls;

const ROLES: [(&str, Role); 3] = [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)];

/// Reads the section.
pub(super) fn read_http(section: &mut Section<'_, '_>) -> HttpSettings {
    let listen = section.listeners("listen", "127.0.0.1:8080", "Addresses of the HTTP API.");
    let certificate = section.pem_file("certificate", "PEM file with a certificate chain; with private_key: HTTPS.");
    let private_key = section.pem_file("private_key", "PEM file with its private key.");
    for (key, other, there) in [
        ("certificate", "private_key", private_key.is_some() || section.has("private_key")),
        ("private_key", "certificate", certificate.is_some() || section.has("certificate")),
    ] {
        if section.has(key) && !there {
            section.problem(key, format!("stands there without {other}"), "give both for HTTPS, or none");
        }
    }
    let tls = match (&certificate, &private_key) {
        (Some(certificate), Some(private_key)) => match Tls::new(certificate.expose(), private_key.expose()) {
            Ok(tls) => Some(tls),
            Err(error) => {
                let hint = "see that the files belong together and the key has no passphrase";
                section.problem("certificate", error, hint);
                None
            }
        },
        _ => None,
    };
    let cors_origins = section.texts("cors_origins", "Web origins that may use the API from a browser; \"*\" for all.");
    for origin in &cors_origins {
        if origin != "*" && !is_origin(origin) {
            let message = format!("\"{}\" is no origin", origin.escape_debug());
            section.problem("cors_origins", message, "write it like \"https://console.example.com\", without a path");
        }
    }
    let networks = section.texts("webhook_allow", "Local networks that web hooks may reach.");
    for network in &networks {
        if !is_network(network) {
            let message = format!("\"{}\" is no network", network.escape_debug());
            section.problem("webhook_allow", message, "write it like \"127.0.0.0/8\"");
        }
    }
    if !networks.is_empty() {
        section.not_yet_served("webhook_allow", "web hooks are");
    }
    let leshan_listen = section.listeners("leshan_listen", "off", "Addresses of the Leshan-compatible API.");
    let leshan_bootstrap_listen =
        section.listeners("leshan_bootstrap_listen", "off", "Addresses of the Leshan-compatible bootstrap API.");
    let tokens = read_tokens(section);
    if tokens.is_empty() && section.names("token").is_empty() {
        for (key, listen) in [
            ("listen", &listen),
            ("leshan_listen", &leshan_listen),
            ("leshan_bootstrap_listen", &leshan_bootstrap_listen),
        ] {
            for address in listen.iter().filter(|address| !address.ip().is_loopback()) {
                let message = format!("{address} is reachable from outside, and there is no token to protect the API");
                let hint =
                    "add [http.token.NAME] with role and secret, or listen on loopback, such as \"127.0.0.1:8080\"";
                section.problem(key, message, hint);
            }
        }
        if cors_origins.iter().any(|origin| origin == "*") {
            let hint = "name the origins, or add [http.token.NAME] with role and secret";
            section.problem("cors_origins", "without a token, \"*\" would open the API to every web page", hint);
        }
    }
    HttpSettings { listen, tls, cors_origins, tokens, leshan_listen, leshan_bootstrap_listen }
}

fn read_tokens(section: &mut Section<'_, '_>) -> Vec<HttpToken> {
    let mut tokens = Vec::new();
    let mut secrets = BTreeSet::new();
    for name in section.names("token") {
        section.named("token", &name, |token| {
            let role = token.choice("role", "viewer", &ROLES, "What requests with this token may do.");
            let secret = token.secret("secret", "The token.");
            if token.is_describing() {
                return;
            }
            let Some(secret) = secret else {
                if !token.has("secret") {
                    token.problem("", "has no secret", "add secret = { file = \"..\" } or secret = \"..\"");
                }
                return;
            };
            if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
                token.problem("secret", "has characters that no header can carry", "use letters, digits and signs");
            } else if !secrets.insert(secret.expose().to_owned()) {
                token.problem("secret", "is the secret of another token too", "give each token its own");
            }
            tokens.push(HttpToken { name: name.clone(), role: role.unwrap_or(Role::Viewer), secret });
        });
    }
    tokens
}

/// Scheme, host and perhaps a port, as a browser writes it: no path, no user, lower case.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | ':' | '[' | ']' | '_');
    !scheme.is_empty()
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        && !rest.is_empty()
        && rest.chars().all(fits)
}

/// An IP address with a prefix length, or alone.
fn is_network(text: &str) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for origin in ["https://console.example.com", "http://localhost:3000", "http://[::1]:80", "app://x"] {
            assert!(is_origin(origin), "{origin}");
        }
        for text in ["", "console.example.com", "https://", "https://a/b", "https://A.example", "https://u@h", "null"] {
            assert!(!is_origin(text), "{text}");
        }
    }

    #[test]
    fn networks_have_an_address_and_a_length() {
        for network in ["127.0.0.0/8", "::1", "fd00::/7"] {
            assert!(is_network(network), "{network}");
        }
        for text in ["127.0.0.0/33", "local", "/8", "1.2.3.4/x"] {
            assert!(!is_network(text), "{text}");
        }
    }
}

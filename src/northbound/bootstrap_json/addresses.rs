//! URIs of servers: a host, a host with its port, or a whole URI.

use std::net::Ipv6Addr;

use super::fields::{shown, wrong_word};
use crate::model::bootstrap::{AccountTransport, SecurityMode};
use crate::model::nearest::nearest;

/// Longest URI that a device takes, in bytes (/0/x/0).
const MAX_URI_BYTES: usize = 255;

/// Bytes that a scheme and a port add to a host at most: `coaps+tcp://` and `:65535`.
const MAX_ADDED_BYTES: usize = 18;

/// Variables of templates.
const VARIABLES: [&str; 4] = ["{endpoint}", "{name}", "{serial}", "{host}"];

const SCHEMES: [(&str, AccountTransport, bool); 4] = [
    ("coap", AccountTransport::Udp, false),
    ("coaps", AccountTransport::Udp, true),
    ("coap+tcp", AccountTransport::Tcp, false),
    ("coaps+tcp", AccountTransport::Tcp, true),
];

/// What a URI says by its scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scheme {
    name: &'static str,
    /// What carries CoAP.
    pub(super) transport: AccountTransport,
    /// Whether it is secured.
    secure: bool,
}

impl Scheme {
    /// Why it does not go with a security mode.
    pub(super) fn contradicts(self, mode: SecurityMode) -> Option<String> {
        let (name, other) = (self.name, self.other_name());
        match (self.secure, mode) {
            (true, SecurityMode::NoSec) => {
                Some(format!("says {name}, which needs security_mode psk, rpk or x509; without security write {other}"))
            }
            (false, SecurityMode::NoSec) | (true, _) => None,
            (false, _) => {
                Some(format!("says {name}, which is without security; write {other}, or security_mode nosec"))
            }
        }
    }

    /// The one of the same transport with or without security.
    fn other_name(self) -> &'static str {
        let is_other = |(_, transport, secure): &&(&str, AccountTransport, bool)| {
            *transport == self.transport && *secure != self.secure
        };
        SCHEMES.iter().find(is_other).map_or("another scheme", |(name, ..)| name)
    }

    /// Why it does not go with a transport.
    pub(super) fn contradicts_transport(self, transport: AccountTransport) -> Option<String> {
        let word = if transport == AccountTransport::Tcp { "tcp" } else { "udp" };
        (self.transport != transport).then(|| format!("says {}, but transport is {word}", self.name))
    }
}

/// A variable that was probably meant by other braces.
pub(super) fn mistyped_variable(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let from = rest.get(at..)?;
        let end = from.find('}')?;
        let word = from.get(..=end)?;
        if !VARIABLES.contains(&word)
            && let Some(meant) = nearest(word, VARIABLES)
        {
            return Some(format!("holds {}, which stands for nothing; did you mean {meant}?", shown(word)));
        }
        rest = from.get(1..)?;
    }
    None
}

/// Checks a URI, variables and all; its scheme, if it has one.
pub(super) fn check_uri(text: &str) -> Result<Option<Scheme>, String> {
    if let Some(problem) = mistyped_variable(text) {
        return Err(problem);
    }
    let plain = VARIABLES.iter().fold(text.to_owned(), |plain, variable| plain.replace(variable, "x"));
    if plain.contains(['{', '}']) {
        return Err(format!("holds braces that are no variable; variables are {}", VARIABLES.join(", ")));
    }
    let (scheme, authority) = match plain.split_once("://") {
        Some((name, authority)) => (Some(scheme(name)?), authority),
        None => (None, plain.as_str()),
    };
    let most = if scheme.is_some() { MAX_URI_BYTES } else { MAX_URI_BYTES - MAX_ADDED_BYTES };
    if text.len() > most {
        return Err(format!("has {} bytes, more than {most}", text.len()));
    }
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains('@') {
        return Err("holds a user or password; devices take host and port alone".to_owned());
    }
    if authority.contains(['/', '?', '#']) {
        return Err("has a path or query; end it behind host and port, devices add the rest themselves".to_owned());
    }
    check_authority(authority)?;
    Ok(scheme)
}

fn scheme(name: &str) -> Result<Scheme, String> {
    match SCHEMES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) {
        Some((name, transport, secure)) => Ok(Scheme { name, transport: *transport, secure: *secure }),
        None => Err(format!("has a scheme that {}", wrong_word(name, &SCHEMES.map(|(name, ..)| name)))),
    }
}

fn check_authority(authority: &str) -> Result<(), String> {
    let port = if let Some(inner) = authority.strip_prefix('[') {
        let (address, behind) = inner.split_once(']').ok_or("has a bracket that is not closed")?;
        address.parse::<Ipv6Addr>().map_err(|_| "has no IPv6 address in its brackets; {host} brings its own")?;
        match behind.strip_prefix(':') {
            Some(port) => Some(port),
            None if behind.is_empty() => None,
            None => return Err("has something behind its bracket that is no port".to_owned()),
        }
    } else {
        let mut parts = authority.split(':');
        let (host, port) = (parts.next().unwrap_or_default(), parts.next());
        if parts.next().is_some() {
            return Err("has several colons; write an IPv6 address in brackets".to_owned());
        }
        if host.is_empty() {
            return Err("has no host".to_owned());
        }
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)) {
            return Err("has a host with characters that no host name has; write other alphabets as xn--".to_owned());
        }
        port
    };
    match port {
        None => Ok(()),
        Some(port) => match port.parse::<u16>() {
            Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
            _ => Err("has a port that is no number from 1 to 65535".to_owned()),
        },
    }
}

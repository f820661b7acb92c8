//! Addresses of brokers: `mqtt://host`, `mqtts://host:8884`, `mqtt://[2001:db8::1]:1883`.

use std::fmt;

use super::section::Wrong;

/// How a broker is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Plain or TLS.
    pub transport: Transport,
    /// Host name or IP address; IPv6 without brackets.
    pub host: String,
    /// Port, the scheme's own one if none was written.
    pub port: u16,
}

const HINT: &str = "write it like \"mqtt://127.0.0.1:1883\" or \"mqtts://broker.example.com\"";

impl BrokerUrl {
    /// Reads an address.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = |message: String| (message, HINT.to_owned());
        let shown = text.escape_debug();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(wrong(format!("\"{shown}\" has no scheme")));
        };
        let (transport, default_port) = match scheme {
            "mqtt" => (Transport::Tcp, 1883),
            "mqtts" => (Transport::Tls, 8883),
            "ws" | "wss" => return Err(wrong("MQTT over WebSocket is not yet served".to_owned())),
            other => return Err(wrong(format!("\"{}\" is no scheme of a broker", other.escape_debug()))),
        };
        if rest.contains('@') {
            // The text is not repeated: it holds a password.
            let hint = "write username and password as keys of their own; password can be { file = \"..\" }";
            return Err(("user and password do not belong into the URL".to_owned(), hint.to_owned()));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(wrong(format!("\"{shown}\" has more than a host and a port")));
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').unwrap_or_default();
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(wrong(format!("\"{shown}\" holds no IPv6 address in its brackets")));
                }
                let port = match after.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if after.is_empty() => None,
                    None => return Err(wrong(format!("\"{shown}\" has no ':' before the port"))),
                };
                (host, port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let host_fits = !host.is_empty()
            && host.len() <= 253
            && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':'));
        if !host_fits {
            return Err(wrong(format!("\"{shown}\" has no usable host")));
        }
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(wrong(format!("\"{}\" is no port from 1 to 65535", port.escape_debug()))),
            },
        };
        Ok(Self { transport, host: host.to_owned(), port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Tcp => "mqtt",
            Transport::Tls => "mqtts",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_brokers_are_read_and_written() {
        for (text, written) in [
            ("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1883"),
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker.example.com/", "mqtts://broker.example.com:8883"),
            ("mqtt://[::1]:1884", "mqtt://[::1]:1884"),
            ("mqtts://[2001:db8::1]", "mqtts://[2001:db8::1]:8883"),
        ] {
            assert_eq!(BrokerUrl::parse(text).unwrap().to_string(), written);
        }
        let url = BrokerUrl::parse("mqtt://[::1]:1884").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.transport), ("::1", 1884, Transport::Tcp));
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (text, part) in [
            ("127.0.0.1:1883", "no scheme"),
            ("http://x", "no scheme of a broker"),
            ("ws://x", "not yet served"),
            ("mqtt://", "no usable host"),
            ("mqtt://a b", "no usable host"),
            ("mqtt://host:0", "no port"),
            ("mqtt://host:99999", "no port"),
            ("mqtt://::1:1883", "no usable host"),
            ("mqtt://[::1", "no IPv6 address"),
            ("mqtt://[::1]1883", "no ':' before"),
            ("mqtt://host/path", "more than a host"),
        ] {
            let message = BrokerUrl::parse(text).unwrap_err().0;
            assert!(message.contains(part), "{text}: {message}");
        }
        let (message, hint) = BrokerUrl::parse("mqtt://user:hunter2@host").unwrap_err();
        assert!(!message.contains("hunter2") && !hint.contains("hunter2"));
    }
}

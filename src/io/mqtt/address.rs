//! The address of a broker, from its URL.

use super::MqttError;

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl BrokerAddress {
    /// Reads `mqtt://host[:1883]` or `mqtts://host[:8883]`.
    ///
    /// # Errors
    /// If it is another kind of URL, or carries what belongs into other settings.
    pub fn parse(url: &str) -> Result<Self, MqttError> {
        let wrong = |reason| MqttError::Address { url: url.to_owned(), reason };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("the scheme is missing"))?;
        let (tls, default_port) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            "ws" | "wss" => return Err(MqttError::WebSocket(url.to_owned())),
            _ => return Err(wrong("the scheme is unknown")),
        };
        if let Some((_, after)) = rest.rsplit_once('@') {
            // The text before the sign may be a password: it is not repeated.
            let url = format!("{scheme}://..@{after}");
            let reason = "user name and password belong into the settings username and password";
            return Err(MqttError::Address { url, reason });
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(wrong("an MQTT address has no path"));
        }
        let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or_else(|| wrong("the bracket is not closed"))?;
            (host, after.strip_prefix(':'))
        } else {
            match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            }
        };
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let port = match port {
            None => default_port,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("the port is no port"))?,
        };
        Ok(Self { host: host.to_owned(), port, tls })
    }

    /// The host as a socket address needs it.
    pub(super) fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_brokers_are_read() {
        let parse = |url| BrokerAddress::parse(url).unwrap();
        let address = |host: &str, port, tls| BrokerAddress { host: host.to_owned(), port, tls };
        assert_eq!(parse("mqtt://127.0.0.1:1884"), address("127.0.0.1", 1884, false));
        assert_eq!(parse("mqtts://broker.example/"), address("broker.example", 8883, true));
        assert_eq!(parse("mqtt://[::1]:99"), address("::1", 99, false));
        assert_eq!(parse("mqtt://[::1]").bracketed_host(), "[::1]");
    }

    #[test]
    fn other_urls_are_refused_without_repeating_passwords() {
        for url in ["broker", "http://a", "mqtt://", "mqtt://a:0", "mqtt://a:b", "mqtt://a/b", "mqtt://[::1"] {
            assert!(matches!(BrokerAddress::parse(url), Err(MqttError::Address { .. })), "{url}");
        }
        assert!(BrokerAddress::parse("wss://a").unwrap_err().to_string().contains("WebSocket"));
        let refusal = BrokerAddress::parse("mqtt://u:secret@a").unwrap_err().to_string();
        assert!(!refusal.contains("secret") && refusal.contains("username"), "{refusal}");
    }
}

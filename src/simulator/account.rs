//! Server accounts as they stand in a device: which server it speaks with, and by what it proves itself there.

use std::net::{IpAddr, SocketAddr};

use crate::gateway::configuration::Transport;
use crate::model::credential::SecretBytes;
use crate::model::path::Path;
use crate::model::value::Value;

use super::tree::ObjectTree;

/// By what a device proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    NoSec,
    /// A pre-shared key.
    Psk {
        /// Its identity.
        identity: Vec<u8>,
        /// The key.
        key: SecretBytes,
    },
    /// A raw public key or a certificate, which simulated devices cannot use.
    Asymmetric,
}

/// One server account: a Security instance, and for an LwM2M server the Server instance with the same short server id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The Security instance (/0).
    pub security: u16,
    /// The Server instance (/1); `None`: a bootstrap server.
    pub server: Option<u16>,
    /// What carries messages to the server.
    pub transport: Transport,
    /// Host of its URI, an IPv6 address without brackets.
    pub host: String,
    /// Port of its URI.
    pub port: u16,
    /// Proof.
    pub proof: Proof,
}

impl Account {
    /// Its URI with the port.
    #[must_use]
    pub fn uri(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{}://{open}{}{close}:{}", self.transport.scheme(), self.host, self.port)
    }

    /// The address of the server, if its host is one: nothing here resolves names.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.host.parse::<IpAddr>().ok().map(|host| SocketAddr::new(host, self.port))
    }

    /// The account of the bootstrap server.
    #[must_use]
    pub fn bootstrap(tree: &ObjectTree) -> Option<Self> {
        tree.instances_of(0).find(|security| is_bootstrap(tree, *security)).and_then(|id| Self::read(tree, id, None))
    }

    /// The account of the LwM2M server that is registered with: the one with the lowest priority number (/1/x/13),
    /// else the first.
    #[must_use]
    pub fn management(tree: &ObjectTree) -> Option<Self> {
        let complete = tree.instances_of(0).filter_map(|security| Self::complete(tree, security));
        complete.min_by_key(|account| {
            account.server.and_then(|server| integer(tree, Path::resource(1, server, 13))).unwrap_or(i64::MAX)
        })
    }

    /// Whether a device can do with its accounts what the standard demands at Bootstrap-Finish (Core TS 1.2.2 section
    /// 6.1.7.6): at least one LwM2M server, all that an account needs, at most one bootstrap server.
    #[must_use]
    pub fn are_consistent(tree: &ObjectTree) -> bool {
        let of_bootstrap = |security: &u16| is_bootstrap(tree, *security);
        let bootstrap_servers = tree.instances_of(0).filter(of_bootstrap).count();
        let complete = |security: u16| Self::complete(tree, security).is_some();
        let mut servers = tree.instances_of(0).filter(|security| !of_bootstrap(security)).peekable();
        bootstrap_servers <= 1 && servers.peek().is_some() && servers.all(complete)
    }

    /// The account of an LwM2M server, if it has everything that is mandatory.
    fn complete(tree: &ObjectTree, security: u16) -> Option<Self> {
        if is_bootstrap(tree, security) {
            return None;
        }
        let short_id = integer(tree, Path::resource(0, security, 10))?;
        let same = |server: &u16| integer(tree, Path::resource(1, *server, 0)) == Some(short_id);
        let server = tree.instances_of(1).find(same)?;
        let has = |resource| tree.value(&Path::resource(1, server, resource)).is_some();
        [1, 6, 7].into_iter().all(has).then_some(())?;
        Self::read(tree, security, Some(server))
    }

    fn read(tree: &ObjectTree, security: u16, server: Option<u16>) -> Option<Self> {
        let Some(Value::String(uri)) = tree.value(&Path::resource(0, security, 0)) else { return None };
        let (transport, host, port) = parse_uri(uri)?;
        let bytes = |resource| match tree.value(&Path::resource(0, security, resource)) {
            Some(Value::Opaque(bytes)) if !bytes.is_empty() => Some(bytes.as_slice()),
            _ => None,
        };
        let proof = match integer(tree, Path::resource(0, security, 2))? {
            0 => Proof::Psk { identity: bytes(3)?.to_vec(), key: SecretBytes::new(bytes(5)?) },
            3 => Proof::NoSec,
            _ => Proof::Asymmetric,
        };
        Some(Self { security, server, transport, host, port, proof })
    }
}

/// Whether a Security instance is that of a bootstrap server.
pub(super) fn is_bootstrap(tree: &ObjectTree, security: u16) -> bool {
    tree.value(&Path::resource(0, security, 1)) == Some(&Value::Boolean(true))
}

/// A whole number at a resource.
pub(super) fn integer(tree: &ObjectTree, path: Path) -> Option<i64> {
    match tree.value(&path)? {
        Value::Integer(number) => Some(*number),
        Value::UnsignedInteger(number) => i64::try_from(*number).ok(),
        _ => None,
    }
}

/// Transport, host and port of a CoAP URI.
fn parse_uri(uri: &str) -> Option<(Transport, String, u16)> {
    let (scheme, rest) = uri.split_once("://")?;
    let transports = [Transport::Udp, Transport::Dtls, Transport::Tcp, Transport::Tls];
    let transport = transports.into_iter().find(|transport| transport.scheme() == scheme)?;
    let authority = rest.split(['/', '?']).next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(six) => {
            let (host, port) = six.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None if transport.is_secure() => 5684,
        None => 5683,
    };
    (!host.is_empty()).then(|| (transport, host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_transport_host_and_port() {
        let parsed = |uri| parse_uri(uri).map(|(transport, host, port)| (transport.as_str(), host, port));
        assert_eq!(parsed("coap://10.0.0.1"), Some(("udp", "10.0.0.1".to_owned(), 5683)));
        assert_eq!(parsed("coaps://host/"), Some(("dtls", "host".to_owned(), 5684)));
        assert_eq!(parsed("coap+tcp://[::1]:1"), Some(("tcp", "::1".to_owned(), 1)));
        for wrong in ["10.0.0.1", "http://host", "coap://", "coap://host:port", "coap://[::1"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    fn tree(security_mode: i64) -> ObjectTree {
        let mut tree = ObjectTree::default();
        tree.set(Path::resource(0, 3, 0), Value::String("coaps://10.0.0.1".to_owned()));
        tree.set(Path::resource(0, 3, 1), Value::Boolean(false));
        tree.set(Path::resource(0, 3, 2), Value::Integer(security_mode));
        tree.set(Path::resource(0, 3, 3), Value::Opaque(b"identity".to_vec()));
        tree.set(Path::resource(0, 3, 5), Value::Opaque(b"key".to_vec()));
        tree.set(Path::resource(0, 3, 10), Value::Integer(7));
        tree.set(Path::resource(1, 1, 0), Value::Integer(7));
        tree.set(Path::resource(1, 1, 1), Value::Integer(60));
        tree.set(Path::resource(1, 1, 6), Value::Boolean(true));
        tree.set(Path::resource(1, 1, 7), Value::String("U".to_owned()));
        tree
    }

    #[test]
    fn core_6_1_an_account_is_a_security_and_a_server_instance_with_one_short_id() {
        let account = Account::management(&tree(0)).unwrap();
        assert_eq!((account.security, account.server), (3, Some(1)));
        assert_eq!(account.proof, Proof::Psk { identity: b"identity".to_vec(), key: SecretBytes::new(b"key") });
        assert!(Account::are_consistent(&tree(0)));
        for missing in [Path::resource(0, 3, 5), Path::resource(0, 3, 10), Path::resource(1, 1, 1), Path::object(1)] {
            let mut tree = tree(0);
            tree.remove(missing);
            assert!(!Account::are_consistent(&tree), "{missing}");
            assert_eq!(Account::management(&tree), None, "{missing}");
        }
    }

    #[test]
    fn core_6_1_at_most_one_account_is_that_of_a_bootstrap_server() {
        let mut tree = tree(3);
        for (instance, consistent) in [(0, true), (1, false)] {
            tree.set(Path::resource(0, instance, 0), Value::String("coap://10.0.0.2".to_owned()));
            tree.set(Path::resource(0, instance, 1), Value::Boolean(true));
            tree.set(Path::resource(0, instance, 2), Value::Integer(3));
            assert_eq!(Account::are_consistent(&tree), consistent);
        }
        assert_eq!(Account::bootstrap(&tree).unwrap().host, "10.0.0.2");
        assert_eq!(Account::management(&tree).unwrap().proof, Proof::NoSec);
    }

    #[test]
    fn the_account_with_the_lowest_priority_number_comes_first() {
        let mut tree = tree(3);
        tree.set(Path::resource(0, 5, 0), Value::String("coap://10.0.0.5".to_owned()));
        tree.set(Path::resource(0, 5, 2), Value::Integer(3));
        tree.set(Path::resource(0, 5, 10), Value::Integer(8));
        for (resource, value) in [(0, 8), (1, 60), (13, 0)] {
            tree.set(Path::resource(1, 2, resource), Value::Integer(value));
        }
        tree.set(Path::resource(1, 2, 6), Value::Boolean(true));
        tree.set(Path::resource(1, 2, 7), Value::String("U".to_owned()));
        assert_eq!(Account::management(&tree).unwrap().host, "10.0.0.5");
    }
}

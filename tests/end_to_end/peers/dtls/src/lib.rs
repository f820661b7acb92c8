//! What the clients have in common: how they are told what to do, and what they tell.
//!
//! ```text
//! CLIENT HOST:PORT psk IDENTITY KEY_HEX [CONNECTION_ID_HEX]
//! CLIENT HOST:PORT certificate CA.pem CERTIFICATE.pem KEY.pem [CONNECTION_ID_HEX]
//! ```
//!
//! A line of standard input is a datagram to send, in hex, or `move`: go on from another local port. The end of
//! standard input closes the session. A line of standard output is one JSON object: connected {suite, connection_id},
//! received {hex}, moved {port}, failed {message}.

use std::net::SocketAddr;

/// What a client shows of itself.
pub enum Proof {
    /// A key that both sides know.
    Key { identity: Vec<u8>, key: Vec<u8> },
    /// A certificate, and whom it trusts. All are paths of PEM files.
    Certificate { authority: String, certificate: String, key: String },
}

/// What the command line says.
pub struct Arguments {
    pub server: SocketAddr,
    pub proof: Proof,
    /// What the client wants to be called; `None`: it does not offer the extension.
    pub connection_id: Option<Vec<u8>>,
}

impl Arguments {
    /// Reads the command line; ends the program if it is wrong.
    pub fn read() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self::parse(&arguments).unwrap_or_else(|| {
            eprintln!(
                "usage: HOST:PORT psk IDENTITY KEY_HEX | certificate CA CERTIFICATE KEY, then [CONNECTION_ID_HEX]"
            );
            std::process::exit(2)
        })
    }

    fn parse(arguments: &[String]) -> Option<Self> {
        let (server, rest) = arguments.split_first()?;
        let (proof, rest) = match rest {
            [kind, identity, key, rest @ ..] if kind == "psk" => {
                (Proof::Key { identity: identity.clone().into_bytes(), key: bytes(key)? }, rest)
            }
            [kind, authority, certificate, key, rest @ ..] if kind == "certificate" => (
                Proof::Certificate { authority: authority.clone(), certificate: certificate.clone(), key: key.clone() },
                rest,
            ),
            _ => return None,
        };
        let connection_id = match rest {
            [] => None,
            [id] => Some(bytes(id)?),
            _ => return None,
        };
        Some(Self { server: server.parse().ok()?, proof, connection_id })
    }
}

/// What a line of standard input wants.
pub enum Wanted {
    Send(Vec<u8>),
    Move,
}

impl Wanted {
    /// Reads a line; `None` if it makes no sense.
    pub fn parse(line: &str) -> Option<Self> {
        match line.trim() {
            "move" => Some(Self::Move),
            hex => bytes(hex).map(Self::Send),
        }
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()
}

/// The session stands.
pub fn connected(suite: &str, connection_id: bool) {
    println!("{{\"event\":\"connected\",\"suite\":\"{suite}\",\"connection_id\":{connection_id}}}");
}

/// A datagram came.
pub fn received(datagram: &[u8]) {
    println!("{{\"event\":\"received\",\"hex\":\"{}\"}}", data_encoding::HEXLOWER.encode(datagram));
}

/// The client has another port now.
pub fn moved(port: u16) {
    println!("{{\"event\":\"moved\",\"port\":{port}}}");
}

/// It cannot go on: tells why and ends.
pub fn failed(message: &str) -> ! {
    println!("{{\"event\":\"failed\",\"message\":\"{}\"}}", message.replace(['\\', '"'], "'"));
    std::process::exit(1)
}

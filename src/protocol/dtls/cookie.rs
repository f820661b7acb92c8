//! The stateless cookie (RFC 6347 section 4.2.1): a peer has to show that it hears what is sent to its address before
//! anything is kept for it.
//!
//! A cookie is an HMAC over the address and the ClientHello's random, which a client repeats; the rest of the hello is
//! left out, so that the first fragment of one is enough.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of a cookie. Clients of DTLS 1.0 take no longer ones.
pub const COOKIE_BYTES: usize = 32;

/// The secret of the moment and the one before it.
#[derive(Clone)]
pub struct CookieSecrets {
    current: [u8; 32],
    former: [u8; 32],
}

impl CookieSecrets {
    /// Starts with these.
    #[must_use]
    pub const fn new(current: [u8; 32], former: [u8; 32]) -> Self {
        Self { current, former }
    }

    /// A new secret; cookies of the one before it still count until the next turn.
    pub const fn turn(&mut self, next: [u8; 32]) {
        self.former = self.current;
        self.current = next;
    }

    /// The cookie for a peer.
    #[must_use]
    pub fn cookie(&self, listener: u16, peer: SocketAddr, random: &[u8; 32]) -> [u8; COOKIE_BYTES] {
        mac(&self.current, listener, peer, random).map_or([0; COOKIE_BYTES], |mac| mac.finalize().into_bytes().into())
    }

    /// Whether a cookie is one of ours for this peer; compared in constant time.
    #[must_use]
    pub fn verify(&self, listener: u16, peer: SocketAddr, random: &[u8; 32], cookie: &[u8]) -> bool {
        [&self.current, &self.former]
            .into_iter()
            .filter_map(|secret| mac(secret, listener, peer, random))
            .any(|mac| mac.verify_slice(cookie).is_ok())
    }
}

fn mac(secret: &[u8; 32], listener: u16, peer: SocketAddr, random: &[u8; 32]) -> Option<Hmac<Sha256>> {
    // An HMAC takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(&listener.to_be_bytes());
    match peer.ip() {
        IpAddr::V4(ip) => mac.update(&ip.octets()),
        IpAddr::V6(ip) => mac.update(&ip.octets()),
    }
    mac.update(&peer.port().to_be_bytes());
    mac.update(random);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_counts_for_its_peer_and_hello_until_the_second_turn() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 5684));
        let mut secrets = CookieSecrets::new([1; 32], [2; 32]);
        let cookie = secrets.cookie(1, peer, &[3; 32]);
        assert!(secrets.verify(1, peer, &[3; 32], &cookie));
        assert!(!secrets.verify(2, peer, &[3; 32], &cookie));
        assert!(!secrets.verify(1, SocketAddr::from(([192, 0, 2, 1], 5685)), &[3; 32], &cookie));
        assert!(!secrets.verify(1, peer, &[4; 32], &cookie));
        assert!(!secrets.verify(1, peer, &[3; 32], &cookie[..31]));
        assert!(!secrets.verify(1, peer, &[3; 32], b""));
        secrets.turn([5; 32]);
        assert!(secrets.verify(1, peer, &[3; 32], &cookie));
        secrets.turn([6; 32]);
        assert!(!secrets.verify(1, peer, &[3; 32], &cookie));
    }
}

//! Who asks: tokens, their roles, and addresses that guess.
//!
//! Only digests of the tokens are kept, and compared in constant time over all of them, so that neither the time of an
//! answer nor memory tells a token. An address that was wrong too often in a minute is not listened to until the minute
//! is over. A token that was refused is never logged.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use openssl::sha::sha256;
use tokio::time::Instant;

use crate::gateway::configuration::Role;

/// Wrong tokens from one address within [`ATTEMPT_WINDOW`]; then 429.
pub const MAX_ATTEMPTS: u32 = 10;

/// How long wrong tokens count.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(60);

/// Places for counting. Addresses that share one share its count; which do differs from start to start.
const PLACES: usize = 1_024;

/// A token as it is configured.
#[derive(Clone)]
pub struct Token {
    /// Its name, for the log.
    pub name: String,
    /// What requests with it may do.
    pub role: Role,
    digest: [u8; 32],
}

impl Token {
    /// A token of this secret, which is not kept.
    #[must_use]
    pub fn new(name: &str, role: Role, secret: &str) -> Self {
        Self { name: name.to_owned(), role, digest: sha256(secret.as_bytes()) }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// What became of a look at a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may do what the role may.
    Granted(Role),
    /// It has no token, or none that can be read.
    Missing,
    /// Its token is none of ours.
    Wrong,
    /// Its address was wrong too often; so many seconds are left.
    TooOften(u64),
}

/// All tokens, and who was wrong lately.
#[derive(Clone)]
pub(super) struct Tokens {
    known: Arc<[Token]>,
    attempts: Arc<[AtomicU64]>,
    places: RandomState,
    began: Instant,
}

impl Tokens {
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        Self {
            known: tokens.into(),
            attempts: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            places: RandomState::new(),
            began: Instant::now(),
        }
    }

    /// Whether there are none: everybody on this machine may do everything.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Looks at the headers of a request from this address.
    pub(super) fn admit(&self, from: IpAddr, headers: &HeaderMap) -> Admission {
        self.admit_at(self.began.elapsed().as_secs(), from, headers)
    }

    /// The same, so many seconds after the start.
    fn admit_at(&self, elapsed: u64, from: IpAddr, headers: &HeaderMap) -> Admission {
        if let Some(left) = self.wrong_too_often(from, elapsed) {
            return Admission::TooOften(left);
        }
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(given), None) = (given.next(), given.next()) else { return Admission::Missing };
        let secret = given.to_str().ok().and_then(|given| given.split_once(' '));
        let secret = secret.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
        let Some((_, secret)) = secret else { return Admission::Missing };
        if let Some(role) = self.role_of(secret.trim()) {
            return Admission::Granted(role);
        }
        self.count_wrong(from, elapsed);
        Admission::Wrong
    }

    /// Compares with every token, whichever fits.
    fn role_of(&self, secret: &str) -> Option<Role> {
        let digest = sha256(secret.as_bytes());
        let mut role = None;
        for token in self.known.iter() {
            if openssl::memcmp::eq(&token.digest, &digest) {
                role = Some(token.role);
            }
        }
        role
    }

    fn place(&self, from: IpAddr) -> Option<&AtomicU64> {
        // The 64 upper bits are what one site has of IPv6.
        let network = match from.to_canonical() {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
        };
        let place = self.places.hash_one(network) % PLACES as u64;
        usize::try_from(place).ok().and_then(|place| self.attempts.get(place))
    }

    /// Seconds until the address is listened to again, if it is not now.
    fn wrong_too_often(&self, from: IpAddr, elapsed: u64) -> Option<u64> {
        let (count, since) = unpack(self.place(from)?.load(Ordering::Relaxed));
        let left = (since + ATTEMPT_WINDOW.as_secs()).saturating_sub(elapsed);
        (count >= MAX_ATTEMPTS && left > 0).then_some(left)
    }

    fn count_wrong(&self, from: IpAddr, elapsed: u64) {
        let Some(place) = self.place(from) else { return };
        let counted = |packed| {
            let (count, since) = unpack(packed);
            let fresh = count == 0 || elapsed >= since + ATTEMPT_WINDOW.as_secs();
            Some(if fresh { pack(1, elapsed) } else { pack(count.saturating_add(1), since) })
        };
        let before = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted);
        if before.is_ok_and(|packed| unpack(packed).0 + 1 == MAX_ATTEMPTS) {
            tracing::warn!(%from, "an address gave {MAX_ATTEMPTS} wrong tokens to the API and is not listened to for a minute");
        }
    }
}

/// A count, and the second in which it began.
const fn pack(count: u32, since: u64) -> u64 {
    ((count as u64) << 40) | (since & 0xff_ffff_ffff)
}

const fn unpack(packed: u64) -> (u32, u64) {
    ((packed >> 40) as u32, packed & 0xff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn tokens() -> Tokens {
        Tokens::new(vec![Token::new("ops", Role::Admin, "first"), Token::new("eyes", Role::Viewer, "second")])
    }

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        headers
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_token_has_its_role_and_nothing_else_passes() {
        let tokens = tokens();
        assert_eq!(tokens.admit(HERE, &headers("Bearer first")), Admission::Granted(Role::Admin));
        assert_eq!(tokens.admit(HERE, &headers("bearer second")), Admission::Granted(Role::Viewer));
        assert_eq!(tokens.admit(HERE, &HeaderMap::new()), Admission::Missing);
        for unreadable in ["first", "Basic first", ""] {
            assert_eq!(tokens.admit(HERE, &headers(unreadable)), Admission::Missing, "{unreadable}");
        }
        let mut two = headers("Bearer first");
        two.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer second"));
        assert_eq!(tokens.admit(HERE, &two), Admission::Missing, "two headers");
        for wrong in ["Bearer third", "Bearer ", "Bearer firs", "Bearer first2", "Bearer FIRST"] {
            assert_eq!(tokens.admit(HERE, &headers(wrong)), Admission::Wrong, "{wrong}");
        }
    }

    #[test]
    fn an_address_that_guesses_is_not_listened_to_for_a_minute() {
        let tokens = tokens();
        for second in 0..u64::from(MAX_ATTEMPTS) {
            assert_eq!(tokens.admit_at(100 + second, HERE, &headers("Bearer wrong")), Admission::Wrong);
        }
        let right = headers("Bearer first");
        assert_eq!(tokens.admit_at(110, HERE, &right), Admission::TooOften(50), "not even the right one");
        let admitted = (1..=4_u8)
            .map(|last| IpAddr::from([192, 0, 2, last]))
            .filter(|from| tokens.admit_at(110, *from, &right) == Admission::Granted(Role::Admin));
        assert!(admitted.count() >= 3, "others are, unless they happen to share the place");
        assert_eq!(tokens.admit_at(159, HERE, &right), Admission::TooOften(1));
        assert_eq!(tokens.admit_at(160, HERE, &right), Admission::Granted(Role::Admin));
        assert_eq!(tokens.admit_at(160, HERE, &headers("Bearer wrong")), Admission::Wrong, "and counting starts over");
        assert_eq!(tokens.admit_at(160, HERE, &right), Admission::Granted(Role::Admin));
    }

    #[test]
    fn a_token_is_never_shown() {
        assert_eq!(
            format!("{:?}", Token::new("ops", Role::Admin, "first")),
            "Token { name: \"ops\", role: Admin, .. }"
        );
    }
}

//! One confirmable request on its way: retransmission until acknowledged, then waiting for a separate response.
//!
//! ```text
//! sent ──ack with response──────────────▶ done
//!  │ └──empty ack──▶ acknowledged ──response──▶ done
//!  │ timeout × 2, at most max_retransmit times     │ response_timeout
//!  └────────────────▶ failed ◀──────────────────────┘
//! ```
//!
//! RFC 7252 sections 4.2 and 5.2. The machine holds the encoded datagram and never looks into it.

use std::time::Duration;

use rand_core::Rng;

use super::message::Token;
use crate::model::time::Instant;

/// Transmission parameters (RFC 7252 section 4.8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransmissionParameters {
    /// First timeout, multiplied by a random factor of 1 to 1.5.
    pub ack_timeout: Duration,
    /// Repetitions after the first transmission.
    pub max_retransmit: u32,
    /// How long to wait for a separate response after the acknowledgement.
    pub response_timeout: Duration,
}

/// What to do when the deadline of an exchange has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elapsed {
    /// Send the datagram again.
    Retransmit,
    /// Give up: never acknowledged.
    NotAcknowledged,
    /// Give up: acknowledged, never answered.
    NotAnswered,
}

/// A confirmable request that has been sent.
#[derive(Clone, Debug)]
pub struct Exchange {
    datagram: Vec<u8>,
    message_id: u16,
    token: Token,
    acknowledged: bool,
    other_token: Option<Token>,
    timeout: Duration,
    retransmissions_left: u32,
    response_timeout: Duration,
    deadline: Instant,
    /// An overall limit that ends the exchange whatever its state.
    give_up_at: Option<Instant>,
}

impl Exchange {
    /// Starts an exchange; the caller transmits `datagram` now.
    pub fn start(
        now: Instant,
        datagram: Vec<u8>,
        message_id: u16,
        token: Token,
        parameters: TransmissionParameters,
        give_up_at: Option<Instant>,
        random: &mut impl Rng,
    ) -> Self {
        let factor = 1.0 + 0.5 * f64::from(random.next_u32()) / f64::from(u32::MAX);
        // Whole microseconds, as the clock has them.
        let timeout = Duration::from_micros(parameters.ack_timeout.mul_f64(factor).as_micros() as u64);
        Self {
            datagram,
            message_id,
            token,
            acknowledged: false,
            other_token: None,
            timeout,
            retransmissions_left: parameters.max_retransmit,
            response_timeout: parameters.response_timeout,
            deadline: now + timeout,
            give_up_at,
        }
    }

    /// The encoded request.
    pub fn datagram(&self) -> &[u8] {
        &self.datagram
    }

    /// The message id that an acknowledgement or reset must carry.
    pub fn message_id(&self) -> u16 {
        self.message_id
    }

    /// The token that the response must carry.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Notes an empty acknowledgement: no more repetitions, a separate response follows.
    pub fn acknowledge(&mut self, now: Instant) {
        if !self.acknowledged {
            self.acknowledged = true;
            self.deadline = now + self.response_timeout;
        }
    }

    /// Notes that the request was acknowledged together with an answer under another token. That is no answer (section
    /// 5.3.2), and the exchange goes on; but it says more than silence if nothing better comes.
    pub fn note_other_token(&mut self, token: Token) {
        self.other_token = Some(token);
    }

    /// The last other token that an answer carried.
    pub fn other_token(&self) -> Option<Token> {
        self.other_token
    }

    /// When [`Self::elapse`] is due.
    pub fn deadline(&self) -> Instant {
        self.give_up_at.map_or(self.deadline, |give_up_at| give_up_at.min(self.deadline))
    }

    /// What to do at the deadline; doubles the timeout for a repetition.
    pub fn elapse(&mut self, now: Instant) -> Elapsed {
        if self.acknowledged {
            return Elapsed::NotAnswered;
        }
        let out_of_time = self.give_up_at.is_some_and(|give_up_at| give_up_at <= now);
        if out_of_time || self.retransmissions_left == 0 {
            return Elapsed::NotAcknowledged;
        }
        self.retransmissions_left -= 1;
        self.timeout *= 2;
        self.deadline = now + self.timeout;
        Elapsed::Retransmit
    }
}

/// The message id of the next request: what is wished for, or the first one behind it that is free. 0 is none that is
/// used: npm's `coap` takes it for a missing one, and acknowledges with an id of its own.
pub fn free_message_id(wished: u16, is_taken: impl Fn(u16) -> bool) -> u16 {
    let mut id = wished;
    while id == 0 || is_taken(id) {
        id = id.wrapping_add(1);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    fn exchange(give_up_at: Option<Instant>) -> Exchange {
        let parameters = TransmissionParameters {
            ack_timeout: Duration::from_secs(2),
            max_retransmit: 4,
            response_timeout: Duration::from_secs(93),
        };
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        Exchange::start(Instant::ZERO, vec![0], 1, Token::EMPTY, parameters, give_up_at, &mut random)
    }

    #[test]
    fn rfc7252_4_2_a_request_is_repeated_four_times_with_doubling_timeouts() {
        let mut exchange = exchange(None);
        let mut previous = Instant::ZERO;
        let mut gaps = Vec::new();
        for _ in 0..4 {
            let now = exchange.deadline();
            gaps.push(now.saturating_since(previous));
            previous = now;
            assert_eq!(exchange.elapse(now), Elapsed::Retransmit);
        }
        assert_eq!(exchange.elapse(exchange.deadline()), Elapsed::NotAcknowledged);
        assert!((Duration::from_secs(2)..=Duration::from_secs(3)).contains(&gaps[0]));
        assert!(gaps.windows(2).all(|pair| pair[1] == pair[0] * 2));
    }

    #[test]
    fn rfc7252_5_2_2_an_acknowledged_request_waits_for_its_separate_response() {
        let mut exchange = exchange(None);
        exchange.acknowledge(Instant::from_secs(1));
        assert_eq!(exchange.deadline(), Instant::from_secs(94));
        assert_eq!(exchange.elapse(Instant::from_secs(94)), Elapsed::NotAnswered);
    }

    #[test]
    fn an_overall_limit_ends_the_exchange_early() {
        let mut exchange = exchange(Some(Instant::from_secs(1)));
        assert_eq!(exchange.deadline(), Instant::from_secs(1));
        assert_eq!(exchange.elapse(Instant::from_secs(1)), Elapsed::NotAcknowledged);
    }

    #[test]
    fn a_message_id_that_is_taken_or_zero_is_passed_over() {
        assert_eq!(free_message_id(7, |_| false), 7);
        assert_eq!(free_message_id(7, |id| id < 9), 9);
        assert_eq!(free_message_id(0, |_| false), 1);
        assert_eq!(free_message_id(u16::MAX, |id| id == u16::MAX || id == 1), 2);
    }
}

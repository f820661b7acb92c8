//! A confirmable message on its way: retransmission with exponential back-off (RFC 7252 section 4.2).

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::chance::uniform;
use super::script::TransmissionParameters;
use crate::model::time::Instant;

/// What is to be done with a transmission at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Not yet.
    Later,
    /// Send the same bytes again.
    Resend,
    /// All retransmissions went unanswered.
    GiveUp,
}

/// A confirmable message that waits for its acknowledgement.
#[derive(Clone, Debug)]
pub(super) struct Transmission {
    /// Message id, by which the acknowledgement comes.
    pub(super) id: u16,
    /// The datagram.
    pub(super) bytes: Vec<u8>,
    /// When it first left.
    pub(super) sent_at: Instant,
    /// When something is to be done next.
    pub(super) deadline: Instant,
    timeout: Duration,
    retransmissions_left: u8,
}

impl Transmission {
    /// Begins with the message that leaves now.
    pub(super) fn begin(
        now: Instant,
        id: u16,
        bytes: Vec<u8>,
        parameters: &TransmissionParameters,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let factor = 1.0 + uniform(rng) * (parameters.ack_random_factor - 1.0).clamp(0.0, 100.0);
        // Whole microseconds, the unit of time here.
        let drawn = parameters.ack_timeout.mul_f64(factor).as_micros();
        let timeout = Duration::from_micros(u64::try_from(drawn).unwrap_or(u64::MAX));
        let retransmissions_left = parameters.max_retransmit;
        Self { id, bytes, sent_at: now, deadline: now + timeout, timeout, retransmissions_left }
    }

    /// What time has come for. After [`Due::Resend`] the caller sends `bytes` once more.
    pub(super) fn advance(&mut self, now: Instant) -> Due {
        if now < self.deadline {
            return Due::Later;
        }
        if self.retransmissions_left == 0 {
            return Due::GiveUp;
        }
        self.retransmissions_left -= 1;
        self.timeout = self.timeout.saturating_mul(2);
        self.deadline = now + self.timeout;
        Due::Resend
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    #[test]
    fn rfc7252_4_2_retransmits_four_times_with_doubling_timeouts_and_then_gives_up() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut transmission =
            Transmission::begin(Instant::ZERO, 7, vec![1], &TransmissionParameters::default(), &mut rng);
        let first = transmission.deadline.saturating_since(Instant::ZERO);
        assert!(first >= Duration::from_secs(2) && first <= Duration::from_secs(3));
        assert_eq!(transmission.advance(Instant::from_secs(1)), Due::Later);
        let mut at = transmission.deadline;
        for doubling in 1..=4 {
            assert_eq!(transmission.advance(at), Due::Resend);
            assert_eq!(transmission.deadline.saturating_since(at), first * (1 << doubling));
            at = transmission.deadline;
        }
        assert_eq!(transmission.advance(at), Due::GiveUp);
        assert!(at.saturating_since(Instant::ZERO) <= Duration::from_secs(93));
    }
}

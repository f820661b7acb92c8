//! Draws from the seeded generator.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// A number from 0 inclusive to 1 exclusive.
pub(super) fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0)
}

/// True with this probability. Draws in any case, so that switching one fault on leaves the other draws alone.
pub(super) fn happens(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    uniform(rng) < probability
}

/// A number between two bounds; the lower one if they are the wrong way round.
pub(super) fn between(rng: &mut ChaCha8Rng, least: u64, most: u64) -> u64 {
    let span = most.saturating_sub(least).saturating_add(1);
    let draw = rng.next_u64();
    if span == 0 { draw } else { least.saturating_add(draw % span) }
}

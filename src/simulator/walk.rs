//! Values that drift: one step of a bounded random walk.

use rand_chacha::ChaCha8Rng;

use super::chance::{happens, uniform};
use super::script::Walk;
use crate::model::value::Value;

/// The value after one step; `None` for values that are no numbers.
pub(super) fn step(walk: &Walk, value: &Value, rng: &mut ChaCha8Rng) -> Option<Value> {
    if let Value::Boolean(flag) = value {
        return Some(Value::Boolean(*flag != happens(rng, walk.step)));
    }
    let current = value.as_f64()?;
    let mut moved = current + (uniform(rng) * 2.0 - 1.0) * walk.step;
    // What would leave the range is thrown back into it, so that a value does not stick to its bound.
    if moved > walk.maximum {
        moved = 2.0 * walk.maximum - moved;
    }
    if moved < walk.minimum {
        moved = 2.0 * walk.minimum - moved;
    }
    let moved = moved.max(walk.minimum).min(walk.maximum);
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which is what a counter does")]
    Some(match value {
        Value::Integer(_) => Value::Integer(moved.round() as i64),
        Value::Time(_) => Value::Time(moved.round() as i64),
        #[expect(clippy::cast_sign_loss, reason = "the cast saturates at zero")]
        Value::UnsignedInteger(_) => Value::UnsignedInteger(moved.round() as u64),
        _ => {
            let scale = 10_f64.powi(i32::from(walk.decimals.min(9)));
            Value::Float((moved * scale).round() / scale)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path::Path;
    use rand_core::SeedableRng;

    #[test]
    fn a_walk_moves_and_stays_within_its_bounds() {
        let walk = Walk { path: Path::resource(3303, 0, 5700), minimum: 18.0, maximum: 24.0, step: 2.0, decimals: 1 };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut value = Value::Float(21.0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            value = step(&walk, &value, &mut rng).unwrap();
            let number = value.as_f64().unwrap();
            assert!((18.0..=24.0).contains(&number), "{number}");
            seen.insert((number * 10.0).round() as i64);
        }
        assert!(seen.len() > 20, "{}", seen.len());
        assert_eq!(step(&walk, &Value::String(String::new()), &mut rng), None);
    }
}

//! The bytes of a value in TLV (Core TS 1.2.2 Appendix C).
//!
//! Numbers are read as binary first and as decimal text where their length is no binary one.

use crate::model::value::{ResourceType, Value};

use super::quirk::{self, Quirks};
use super::text;

/// Times from here on are taken for milliseconds: as seconds they would lie after the year 5138, as milliseconds they
/// lie after March 1973.
const MILLISECONDS_FROM: i64 = 100_000_000_000;
/// Up to here: the year 2286 in milliseconds.
const MILLISECONDS_TO: i64 = 10_000_000_000_000;

/// The value of `bytes` for a resource of a known type.
pub(super) fn value_of(bytes: &[u8], wanted: ResourceType, quirks: &mut Quirks) -> Option<Value> {
    let binary = match wanted {
        ResourceType::Opaque => return Some(Value::Opaque(bytes.to_vec())),
        ResourceType::String => return String::from_utf8(bytes.to_vec()).ok().map(Value::String),
        ResourceType::CoreLink => return String::from_utf8(bytes.to_vec()).ok().map(Value::CoreLink),
        ResourceType::Integer => signed(bytes).map(Value::Integer),
        ResourceType::Time => signed(bytes).map(Value::Time),
        ResourceType::UnsignedInteger => unsigned(bytes).map(Value::UnsignedInteger),
        ResourceType::Float => float(bytes).map(Value::Float),
        ResourceType::Boolean => match bytes {
            [0] => Some(Value::Boolean(false)),
            [1] => Some(Value::Boolean(true)),
            _ => None,
        },
        ResourceType::ObjectLink => match bytes {
            [a, b, c, d] => Some(Value::ObjectLink(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
            _ => None,
        },
    };
    let value = if let Some(value) = binary {
        value
    } else {
        let value = text::value_of(std::str::from_utf8(bytes).ok()?, wanted, quirks)?;
        quirks.note(quirk::TLV_ASCII);
        value
    };
    match value {
        Value::Time(millis) if (MILLISECONDS_FROM..MILLISECONDS_TO).contains(&millis) => {
            quirks.note(quirk::TLV_MILLISECONDS);
            Some(Value::Time(millis / 1_000))
        }
        value => Some(value),
    }
}

fn signed(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        1 => i64::from(i8::from_be_bytes(bytes.try_into().ok()?)),
        2 => i64::from(i16::from_be_bytes(bytes.try_into().ok()?)),
        4 => i64::from(i32::from_be_bytes(bytes.try_into().ok()?)),
        8 => i64::from_be_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    matches!(bytes.len(), 1 | 2 | 4 | 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        4 => Some(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        8 => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

/// The bytes of a value: integers in the fewest bytes, floats in four where that is exact.
pub(super) fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) | Value::CoreLink(text) => text.as_bytes().to_vec(),
        Value::Integer(number) | Value::Time(number) => {
            let fits = |bits: u32| *number >= -(1_i64 << (bits - 1)) && *number < 1_i64 << (bits - 1);
            let bytes = if fits(8) {
                1
            } else if fits(16) {
                2
            } else if fits(32) {
                4
            } else {
                8
            };
            number.to_be_bytes().into_iter().skip(8 - bytes).collect()
        }
        Value::UnsignedInteger(number) => {
            let bytes = match *number {
                0..=0xff => 1,
                0x100..=0xffff => 2,
                0x1_0000..=0xffff_ffff => 4,
                _ => 8,
            };
            number.to_be_bytes().into_iter().skip(8 - bytes).collect()
        }
        Value::Float(number) => {
            let single = *number as f32;
            if f64::from(single).to_bits() == number.to_bits() {
                single.to_be_bytes().to_vec()
            } else {
                number.to_be_bytes().to_vec()
            }
        }
        Value::Boolean(flag) => vec![u8::from(*flag)],
        Value::Opaque(bytes) => bytes.clone(),
        Value::ObjectLink(object, instance) => [object.to_be_bytes(), instance.to_be_bytes()].concat(),
    }
}

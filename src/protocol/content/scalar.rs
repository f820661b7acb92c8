//! One value as the wire carried it, and the value that it means for a resource.
//!
//! CBOR and JSON formats all meet here: their values become a [`Scalar`], and [`typed`] makes a [`Value`] of it, by
//! the declared type where there is one and by the wire type alone where there is none.

use std::borrow::Cow;

use crate::model::object::{ResourceShape, ResourceTypes};
use crate::model::path::Path;
use crate::model::value::{ResourceType, Value};

use super::ContentError;
use super::quirk::{self, Quirks};
use super::spelling::{decode_base64, parse_float, parse_link, parse_signed, parse_unsigned};
use super::timestamp;

/// A number of the wire, without loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer within 64 bits and a sign.
    Signed(i64),
    /// An integer above `i64::MAX`.
    Unsigned(u64),
    /// Every other number.
    Float(f64),
}

impl Number {
    /// The number of an unsigned integer.
    #[must_use]
    pub fn from_unsigned(number: u64) -> Self {
        i64::try_from(number).map_or(Self::Unsigned(number), Self::Signed)
    }

    /// The nearest double.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "times and floats are defined on doubles")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Signed(number) => number as f64,
            Self::Unsigned(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// The sum: exact for integers whose sum fits, that of the doubles otherwise.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        if let (Some(a), Some(b)) = (self.as_i128(), other.as_i128()) {
            let sum = a + b;
            if let Ok(sum) = i64::try_from(sum) {
                return Self::Signed(sum);
            }
            if let Ok(sum) = u64::try_from(sum) {
                return Self::Unsigned(sum);
            }
        }
        Self::Float(self.as_f64() + other.as_f64())
    }

    const fn as_i128(self) -> Option<i128> {
        match self {
            Self::Signed(number) => Some(number as i128),
            Self::Unsigned(number) => Some(number as i128),
            Self::Float(_) => None,
        }
    }
}

/// A value as the wire carried it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'p> {
    /// Null: no value; in a write it deletes.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(Cow<'p, str>),
    /// Bytes.
    Bytes(Cow<'p, [u8]>),
    /// An object link under its own label.
    Link(u16, u16),
    /// A value tagged as a time: seconds since 1970.
    Time(i64),
}

impl Scalar<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Number(Number::Float(_)) => "a number with a fraction or out of range",
            Self::Number(_) => "an integer",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Link(..) => "an object link",
            Self::Time(_) => "a time",
        }
    }
}

/// Where a scalar came from: the formats differ in what is regular for a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Single-value CBOR and LwM2M CBOR: links are text.
    Cbor,
    /// SenML CBOR.
    SenmlCbor,
    /// SenML JSON.
    SenmlJson,
    /// JSON of LwM2M 1.0: bytes are base64 in text.
    OmaJson,
}

impl Wire {
    /// Whether numbers have a single kind, so that an integer for a float is no deviation.
    const fn has_one_kind_of_number(self) -> bool {
        !matches!(self, Self::Cbor)
    }
}

/// The value that `scalar` means at `path`, a resource or a resource instance.
///
/// # Errors
/// For null, and when the scalar contradicts the declared type of the resource.
pub fn typed(
    scalar: Scalar<'_>,
    path: &Path,
    wire: Wire,
    types: &dyn ResourceTypes,
    quirks: &mut Quirks,
) -> Result<Value, ContentError> {
    let shape = types.shape(path);
    if let Some(shape) = shape {
        note_multiplicity(path, shape, quirks);
    }
    let Some(wanted) = shape.and_then(|shape| shape.resource_type) else {
        return untyped(scalar).ok_or_else(|| ContentError::unfitting(format!("{path} has no value: null")));
    };
    let found = scalar.name();
    let fitting = match wanted {
        ResourceType::String => as_text(scalar, quirks).map(Value::String),
        ResourceType::CoreLink => as_text(scalar, quirks).map(Value::CoreLink),
        ResourceType::Integer => as_signed(&scalar, quirks).map(Value::Integer),
        ResourceType::UnsignedInteger => as_unsigned(&scalar, quirks).map(Value::UnsignedInteger),
        ResourceType::Float => as_float(&scalar, wire, quirks).map(Value::Float),
        ResourceType::Boolean => as_boolean(&scalar, quirks).map(Value::Boolean),
        ResourceType::Opaque => as_bytes(scalar, wire, quirks).map(Value::Opaque),
        ResourceType::Time => as_time(&scalar, quirks).map(Value::Time),
        ResourceType::ObjectLink => as_link(&scalar, wire, quirks).map(|(object, id)| Value::ObjectLink(object, id)),
    };
    fitting.ok_or_else(|| ContentError::unfitting(format!("{path} is of type {wanted}, and the payload holds {found}")))
}

/// Notes a path that disagrees with the model on whether the resource has instances.
pub(super) fn note_multiplicity(path: &Path, shape: ResourceShape, quirks: &mut Quirks) {
    if shape.multiple != (path.depth() == 4) {
        quirks.note(quirk::MULTIPLICITY);
    }
}

fn untyped(scalar: Scalar<'_>) -> Option<Value> {
    Some(match scalar {
        Scalar::Null => return None,
        Scalar::Boolean(flag) => Value::Boolean(flag),
        Scalar::Number(Number::Signed(number)) => Value::Integer(number),
        Scalar::Number(Number::Unsigned(number)) => Value::UnsignedInteger(number),
        Scalar::Number(Number::Float(number)) => Value::Float(number),
        Scalar::Text(text) => Value::String(text.into_owned()),
        Scalar::Bytes(bytes) => Value::Opaque(bytes.into_owned()),
        Scalar::Link(object, instance) => Value::ObjectLink(object, instance),
        Scalar::Time(seconds) => Value::Time(seconds),
    })
}

fn as_text(scalar: Scalar<'_>, quirks: &mut Quirks) -> Option<String> {
    let (text, word) = match scalar {
        Scalar::Text(text) => return Some(text.into_owned()),
        Scalar::Number(Number::Signed(number)) => (number.to_string(), quirk::NUMBER_FOR_TEXT),
        Scalar::Number(Number::Unsigned(number)) => (number.to_string(), quirk::NUMBER_FOR_TEXT),
        Scalar::Number(Number::Float(number)) => (number.to_string(), quirk::NUMBER_FOR_TEXT),
        Scalar::Boolean(flag) => (flag.to_string(), quirk::NUMBER_FOR_TEXT),
        Scalar::Link(object, instance) => (format!("{object}:{instance}"), quirk::LINK_FOR_TEXT),
        Scalar::Bytes(bytes) => (String::from_utf8(bytes.into_owned()).ok()?, quirk::BYTES_FOR_TEXT),
        Scalar::Time(_) | Scalar::Null => return None,
    };
    quirks.note(word);
    Some(text)
}

fn as_signed(scalar: &Scalar<'_>, quirks: &mut Quirks) -> Option<i64> {
    let (number, word) = match scalar {
        Scalar::Number(Number::Signed(number)) => return Some(*number),
        Scalar::Number(Number::Float(number)) => (whole(*number)?, quirk::FLOAT_FOR_INTEGER),
        Scalar::Boolean(flag) => (i64::from(*flag), quirk::BOOLEAN_FOR_NUMBER),
        Scalar::Text(text) => (parse_signed(text)?, quirk::TEXT_FOR_NUMBER),
        Scalar::Time(seconds) => (*seconds, quirk::CBOR_TAG),
        _ => return None,
    };
    quirks.note(word);
    Some(number)
}

fn as_unsigned(scalar: &Scalar<'_>, quirks: &mut Quirks) -> Option<u64> {
    match scalar {
        Scalar::Number(Number::Unsigned(number)) => Some(*number),
        Scalar::Text(text) => {
            let number = parse_unsigned(text)?;
            quirks.note(quirk::TEXT_FOR_NUMBER);
            Some(number)
        }
        other => as_signed(other, quirks).and_then(|number| u64::try_from(number).ok()),
    }
}

fn as_float(scalar: &Scalar<'_>, wire: Wire, quirks: &mut Quirks) -> Option<f64> {
    match scalar {
        Scalar::Number(number @ Number::Float(_)) => Some(number.as_f64()),
        Scalar::Number(number) => {
            if !wire.has_one_kind_of_number() {
                quirks.note(quirk::INTEGER_FOR_FLOAT);
            }
            Some(number.as_f64())
        }
        Scalar::Boolean(flag) => {
            quirks.note(quirk::BOOLEAN_FOR_NUMBER);
            Some(f64::from(u8::from(*flag)))
        }
        Scalar::Text(text) => {
            let number = parse_float(text)?;
            quirks.note(quirk::TEXT_FOR_NUMBER);
            Some(number)
        }
        _ => None,
    }
}

fn as_boolean(scalar: &Scalar<'_>, quirks: &mut Quirks) -> Option<bool> {
    let flag = match scalar {
        Scalar::Boolean(flag) => return Some(*flag),
        Scalar::Number(number) if number.as_f64() == 0.0 => false,
        Scalar::Number(number) if number.as_f64().to_bits() == 1.0_f64.to_bits() => true,
        _ => return None,
    };
    quirks.note(quirk::NUMBER_FOR_BOOLEAN);
    Some(flag)
}

fn as_bytes(scalar: Scalar<'_>, wire: Wire, quirks: &mut Quirks) -> Option<Vec<u8>> {
    match (scalar, wire) {
        (Scalar::Bytes(bytes), _) => Some(bytes.into_owned()),
        (Scalar::Text(text), Wire::OmaJson) => decode_base64(&text, false, quirks),
        (Scalar::Text(text), Wire::SenmlJson) => {
            quirks.note(quirk::TEXT_FOR_OPAQUE);
            decode_base64(&text, true, quirks)
        }
        (Scalar::Text(text), Wire::Cbor | Wire::SenmlCbor) => {
            quirks.note(quirk::TEXT_FOR_OPAQUE);
            Some(text.into_owned().into_bytes())
        }
        _ => None,
    }
}

fn as_time(scalar: &Scalar<'_>, quirks: &mut Quirks) -> Option<i64> {
    match scalar {
        Scalar::Time(seconds) => Some(*seconds),
        Scalar::Text(text) => match timestamp::parse_rfc3339(text) {
            Some(seconds) => {
                quirks.note(quirk::TEXT_FOR_TIME);
                Some(seconds)
            }
            None => as_signed(scalar, quirks),
        },
        // A fraction of a second is cut off, as it is for a time that CBOR tags.
        Scalar::Number(Number::Float(number)) => {
            let seconds = whole(number.floor())?;
            quirks.note(quirk::FLOAT_FOR_INTEGER);
            Some(seconds)
        }
        Scalar::Boolean(_) => None,
        other => as_signed(other, quirks),
    }
}

fn as_link(scalar: &Scalar<'_>, wire: Wire, quirks: &mut Quirks) -> Option<(u16, u16)> {
    match scalar {
        Scalar::Link(object, instance) => Some((*object, *instance)),
        Scalar::Text(text) => {
            let link = parse_link(text, quirks)?;
            if matches!(wire, Wire::SenmlJson | Wire::SenmlCbor) {
                quirks.note(quirk::TEXT_FOR_LINK);
            }
            Some(link)
        }
        _ => None,
    }
}

/// The integer that a double holds exactly.
fn whole(number: f64) -> Option<i64> {
    // Both bounds are powers of two, hence exact; the upper one is the first that does not fit.
    let fits = number.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
    fits.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::super::test_types::OneType;
    use super::*;

    fn made(scalar: Scalar<'_>, wanted: ResourceType, wire: Wire) -> (Option<Value>, Vec<&'static str>) {
        let mut quirks = Quirks::default();
        let types = OneType::single(wanted);
        let value = typed(scalar, &Path::resource(1, 0, 0), wire, &types, &mut quirks).ok();
        (value, quirks.into_words())
    }

    #[test]
    fn each_bent_value_is_read_and_named() {
        let text = |text: &'static str| Scalar::Text(Cow::Borrowed(text));
        let integer = |number| Scalar::Number(Number::Signed(number));
        let float = |number| Scalar::Number(Number::Float(number));
        let cases = [
            (integer(1), ResourceType::Boolean, Wire::SenmlCbor, Value::Boolean(true), "number_for_boolean"),
            (integer(0), ResourceType::Boolean, Wire::OmaJson, Value::Boolean(false), "number_for_boolean"),
            (float(5.0), ResourceType::Integer, Wire::SenmlCbor, Value::Integer(5), "float_for_integer"),
            (float(5.0), ResourceType::UnsignedInteger, Wire::Cbor, Value::UnsignedInteger(5), "float_for_integer"),
            (float(60.75), ResourceType::Time, Wire::SenmlCbor, Value::Time(60), "float_for_integer"),
            (float(1e9), ResourceType::Time, Wire::SenmlJson, Value::Time(1_000_000_000), "float_for_integer"),
            (integer(5), ResourceType::Float, Wire::Cbor, Value::Float(5.0), "integer_for_float"),
            (text("-7"), ResourceType::Integer, Wire::SenmlJson, Value::Integer(-7), "text_for_number"),
            (text("21.5"), ResourceType::Float, Wire::SenmlJson, Value::Float(21.5), "text_for_number"),
            (text("1970-01-01T00:01:00Z"), ResourceType::Time, Wire::Cbor, Value::Time(60), "text_for_time"),
            (text("60"), ResourceType::Time, Wire::Cbor, Value::Time(60), "text_for_number"),
            (integer(12), ResourceType::String, Wire::SenmlCbor, Value::String("12".into()), "number_for_text"),
            (text("3:0"), ResourceType::ObjectLink, Wire::SenmlJson, Value::ObjectLink(3, 0), "text_for_link"),
            (text("AQI"), ResourceType::Opaque, Wire::SenmlJson, Value::Opaque(vec![1, 2]), "text_for_opaque"),
            (text("AQI"), ResourceType::Opaque, Wire::OmaJson, Value::Opaque(vec![1, 2]), "base64_variant"),
            (Scalar::Boolean(true), ResourceType::Integer, Wire::Cbor, Value::Integer(1), "boolean_for_number"),
            (Scalar::Link(3, 0), ResourceType::String, Wire::SenmlCbor, Value::String("3:0".into()), "link_for_text"),
            (
                Scalar::Bytes(Cow::Borrowed(b"ab")),
                ResourceType::String,
                Wire::SenmlCbor,
                Value::String("ab".into()),
                "bytes_for_text",
            ),
        ];
        for (scalar, wanted, wire, value, word) in cases {
            assert_eq!(made(scalar.clone(), wanted, wire), (Some(value), vec![word]), "{scalar:?} as {wanted}");
        }
    }

    #[test]
    fn regular_values_have_no_quirk() {
        let five = Scalar::Number(Number::Signed(5));
        assert_eq!(made(five.clone(), ResourceType::Integer, Wire::Cbor), (Some(Value::Integer(5)), vec![]));
        assert_eq!(made(five.clone(), ResourceType::Float, Wire::SenmlCbor), (Some(Value::Float(5.0)), vec![]));
        assert_eq!(made(five, ResourceType::Time, Wire::SenmlCbor), (Some(Value::Time(5)), vec![]));
        let link = Scalar::Text("3:0".into());
        assert_eq!(made(link, ResourceType::ObjectLink, Wire::Cbor), (Some(Value::ObjectLink(3, 0)), vec![]));
        assert_eq!(made(Scalar::Time(9), ResourceType::Time, Wire::Cbor), (Some(Value::Time(9)), vec![]));
    }

    #[test]
    fn values_that_contradict_their_type_are_refused() {
        let number = |number| Scalar::Number(Number::Float(number));
        assert_eq!(made(number(5.5), ResourceType::Integer, Wire::SenmlJson).0, None);
        assert_eq!(made(number(1e30), ResourceType::Integer, Wire::SenmlJson).0, None);
        assert_eq!(made(number(f64::NAN), ResourceType::Integer, Wire::Cbor).0, None);
        assert_eq!(made(number(9_223_372_036_854_775_808.0), ResourceType::Integer, Wire::Cbor).0, None);
        assert_eq!(made(Scalar::Number(Number::Signed(-1)), ResourceType::UnsignedInteger, Wire::Cbor).0, None);
        assert_eq!(made(Scalar::Number(Number::Unsigned(u64::MAX)), ResourceType::Integer, Wire::Cbor).0, None);
        assert_eq!(made(Scalar::Number(Number::Signed(2)), ResourceType::Boolean, Wire::Cbor).0, None);
        assert_eq!(made(Scalar::Text("true".into()), ResourceType::Boolean, Wire::Cbor).0, None);
        assert_eq!(made(Scalar::Text("warm".into()), ResourceType::Float, Wire::SenmlJson).0, None);
        assert_eq!(made(Scalar::Bytes(vec![255].into()), ResourceType::String, Wire::Cbor).0, None);
        assert_eq!(made(Scalar::Null, ResourceType::String, Wire::Cbor).0, None);
    }

    #[test]
    fn sums_stay_exact_while_integers_fit() {
        let max = Number::Signed(i64::MAX);
        assert_eq!(max.plus(Number::Signed(1)), Number::Unsigned(1 << 63));
        assert_eq!(Number::Unsigned(u64::MAX).plus(Number::Signed(-1)), Number::Unsigned(u64::MAX - 1));
        assert_eq!(Number::Signed(1).plus(Number::Float(0.5)), Number::Float(1.5));
        assert_eq!(Number::Unsigned(u64::MAX).plus(Number::Signed(1)), Number::Float(18_446_744_073_709_551_616.0));
    }
}

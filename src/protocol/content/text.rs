//! Single values as plain text (Core TS 1.2.2 section 7.5 and Appendix C, content format 0).
//!
//! Numbers have one spelling: no plus sign, no space, no hexadecimal, and `0` and `1` for booleans.

use crate::model::report::Sample;
use crate::model::value::{ResourceType, Value};

use super::quirk::{self, Quirks};
use super::senml_record::shortened;
use super::{ContentError, DecodeContext, scalar, spelling, timestamp};

pub(super) fn decode(payload: &[u8], context: &DecodeContext<'_>, quirks: &mut Quirks) -> Result<Sample, ContentError> {
    let path = super::single_path(context)?;
    let text = std::str::from_utf8(payload).map_err(|error| ContentError::malformed(format!("text: {error}")))?;
    let shape = context.types.shape(&path);
    if let Some(shape) = shape {
        scalar::note_multiplicity(&path, shape, quirks);
    }
    let wanted = shape.and_then(|shape| shape.resource_type).unwrap_or(ResourceType::String);
    let value = value_of(text, wanted, quirks)
        .ok_or_else(|| ContentError::unfitting(format!("{path} is of type {wanted}, not {}", shortened(text))))?;
    Ok(Sample { path, value, ts: None })
}

/// The value that `text` spells, if it is one of the wanted type.
pub(super) fn value_of(text: &str, wanted: ResourceType, quirks: &mut Quirks) -> Option<Value> {
    match wanted {
        ResourceType::String => Some(Value::String(text.to_owned())),
        ResourceType::CoreLink => Some(Value::CoreLink(text.to_owned())),
        ResourceType::Integer => spelling::parse_signed(text).map(Value::Integer),
        ResourceType::UnsignedInteger => spelling::parse_unsigned(text).map(Value::UnsignedInteger),
        ResourceType::Float => spelling::parse_float(text).map(Value::Float),
        ResourceType::Boolean => match text {
            "0" => Some(Value::Boolean(false)),
            "1" => Some(Value::Boolean(true)),
            _ => None,
        },
        ResourceType::Opaque => spelling::decode_base64(text, false, quirks).map(Value::Opaque),
        ResourceType::Time => spelling::parse_signed(text).map(Value::Time).or_else(|| {
            let seconds = timestamp::parse_rfc3339(text)?;
            quirks.note(quirk::TEXT_FOR_TIME);
            Some(Value::Time(seconds))
        }),
        ResourceType::ObjectLink => {
            spelling::parse_link(text, quirks).map(|(object, instance)| Value::ObjectLink(object, instance))
        }
    }
}

pub(super) fn encode(value: &Value) -> Result<Vec<u8>, ContentError> {
    let text = match value {
        Value::String(text) | Value::CoreLink(text) => text.clone(),
        Value::Integer(number) | Value::Time(number) => number.to_string(),
        Value::UnsignedInteger(number) => number.to_string(),
        Value::Float(number) if number.is_finite() => number.to_string(),
        Value::Float(number) => return Err(ContentError::unfitting(format!("{number} has no decimal text"))),
        Value::Boolean(flag) => u8::from(*flag).to_string(),
        Value::Opaque(bytes) => data_encoding::BASE64.encode(bytes),
        Value::ObjectLink(object, instance) => format!("{object}:{instance}"),
    };
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_links_in_other_spellings_are_read_and_named() {
        let read = |text: &str, wanted| {
            let mut quirks = Quirks::default();
            (value_of(text, wanted, &mut quirks), quirks.into_words())
        };
        assert_eq!(read("1970-01-01T00:01:00Z", ResourceType::Time), (Some(Value::Time(60)), vec!["text_for_time"]));
        assert_eq!(
            read("ffff:FFFF", ResourceType::ObjectLink),
            (Some(Value::ObjectLink(65535, 65535)), vec!["hexadecimal_null_link"])
        );
        assert_eq!(read("-_8", ResourceType::Opaque), (Some(Value::Opaque(vec![0xfb, 0xff])), vec!["base64_variant"]));
    }

    #[test]
    fn numbers_have_one_spelling() {
        for (text, wanted) in [
            ("", ResourceType::Integer),
            ("-", ResourceType::Integer),
            ("+1", ResourceType::Integer),
            ("1 ", ResourceType::Integer),
            ("1\n", ResourceType::Time),
            ("-1", ResourceType::UnsignedInteger),
            ("18446744073709551616", ResourceType::UnsignedInteger),
            ("", ResourceType::Float),
            ("inf", ResourceType::Float),
            ("1e999", ResourceType::Float),
            ("1,5", ResourceType::Float),
            ("+1.5", ResourceType::Float),
            ("e5", ResourceType::Float),
            ("true", ResourceType::Boolean),
            ("", ResourceType::Boolean),
            ("3", ResourceType::ObjectLink),
            ("+3:0", ResourceType::ObjectLink),
            (":", ResourceType::ObjectLink),
        ] {
            assert_eq!(value_of(text, wanted, &mut Quirks::default()), None, "{text:?} as {wanted}");
        }
    }
}

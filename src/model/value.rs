//! Values of resources and their types (Core TS 1.2.2 Appendix C).
//!
//! A [`Value`] is what a content format carried, typed by the object model or, without a model, by the payload itself.
//! Its JSON form is fixed: numbers are numbers, *Time* is integer seconds, *Opaque* is padded base64, *Objlnk* is
//! `"3:0"`.

use std::fmt;

/// The data types of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceType {
    /// UTF-8 text.
    String,
    /// Signed integer of at most 64 bits.
    Integer,
    /// Unsigned integer of at most 64 bits (since LwM2M 1.1).
    UnsignedInteger,
    /// IEEE 754 number of 32 or 64 bits.
    Float,
    /// True or false.
    Boolean,
    /// Bytes without further meaning.
    Opaque,
    /// Seconds since 1970.
    Time,
    /// A link to an object instance.
    ObjectLink,
    /// A list of links in link format (since LwM2M 1.1).
    CoreLink,
}

impl ResourceType {
    /// Whether the attributes `gt`, `lt` and `st` make sense (Core TS 1.2.2 section 7.3.2).
    #[must_use]
    pub const fn is_numeric(self) -> bool {
        matches!(self, Self::Integer | Self::UnsignedInteger | Self::Float | Self::Time)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::UnsignedInteger => "unsigned_integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Opaque => "opaque",
            Self::Time => "time",
            Self::ObjectLink => "object_link",
            Self::CoreLink => "core_link",
        })
    }
}

/// The value of one resource or resource instance.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// UTF-8 text.
    String(String),
    /// A signed integer.
    Integer(i64),
    /// An unsigned integer.
    UnsignedInteger(u64),
    /// A number; may be NaN or infinite when a device sends so.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Bytes.
    Opaque(Vec<u8>),
    /// Seconds since 1970.
    Time(i64),
    /// Object and instance; 65,535 in both is the null link.
    ObjectLink(u16, u16),
    /// Links in link format.
    CoreLink(String),
}

/// Why a JSON value cannot become a [`Value`] of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct ValueMismatch {
    /// The type that was wanted, in words.
    pub expected: String,
    /// What stood there instead, shortened.
    pub found: String,
}

impl Value {
    /// The type of this value.
    #[must_use]
    pub const fn resource_type(&self) -> ResourceType {
        match self {
            Self::String(_) => ResourceType::String,
            Self::Integer(_) => ResourceType::Integer,
            Self::UnsignedInteger(_) => ResourceType::UnsignedInteger,
            Self::Float(_) => ResourceType::Float,
            Self::Boolean(_) => ResourceType::Boolean,
            Self::Opaque(_) => ResourceType::Opaque,
            Self::Time(_) => ResourceType::Time,
            Self::ObjectLink(..) => ResourceType::ObjectLink,
            Self::CoreLink(_) => ResourceType::CoreLink,
        }
    }

    /// The value as a number, for thresholds and scaling; `None` if it is none.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "thresholds and scaling are defined on floating point")]
            Self::Integer(number) | Self::Time(number) => Some(*number as f64),
            #[expect(clippy::cast_precision_loss, reason = "thresholds and scaling are defined on floating point")]
            Self::UnsignedInteger(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Boolean(flag) => Some(f64::from(u8::from(*flag))),
            _ => None,
        }
    }

    /// The JSON form. A number that is not finite has none: `None`.
    #[must_use]
    pub fn to_json(&self) -> Option<serde_json::Value> {
        Some(match self {
            Self::String(text) | Self::CoreLink(text) => text.clone().into(),
            Self::Integer(number) | Self::Time(number) => (*number).into(),
            Self::UnsignedInteger(number) => (*number).into(),
            Self::Float(number) => serde_json::Number::from_f64(*number)?.into(),
            Self::Boolean(flag) => (*flag).into(),
            Self::Opaque(bytes) => data_encoding::BASE64.encode(bytes).into(),
            Self::ObjectLink(object, instance) => format!("{object}:{instance}").into(),
        })
    }

    /// The value that `json` means for a resource of type `wanted`.
    ///
    /// # Errors
    /// When the JSON type does not fit: a fraction for an integer, text that is no base64 for opaque, and so on.
    pub fn from_json(json: &serde_json::Value, wanted: ResourceType) -> Result<Self, ValueMismatch> {
        let fitting = match wanted {
            ResourceType::String => json.as_str().map(|text| Self::String(text.to_owned())),
            ResourceType::CoreLink => json.as_str().map(|text| Self::CoreLink(text.to_owned())),
            ResourceType::Integer => json_integer(json).map(Self::Integer),
            ResourceType::Time => json_integer(json).map(Self::Time),
            ResourceType::UnsignedInteger => json
                .as_u64()
                .or_else(|| json_integer(json).and_then(|number| u64::try_from(number).ok()))
                .map(Self::UnsignedInteger),
            ResourceType::Float => json.as_f64().map(Self::Float),
            ResourceType::Boolean => json
                .as_bool()
                .or_else(|| match json.as_u64() {
                    Some(0) => Some(false),
                    Some(1) => Some(true),
                    _ => None,
                })
                .map(Self::Boolean),
            ResourceType::Opaque => {
                json.as_str().and_then(|text| data_encoding::BASE64.decode(text.as_bytes()).ok()).map(Self::Opaque)
            }
            ResourceType::ObjectLink => json.as_str().and_then(parse_object_link),
        };
        fitting.ok_or_else(|| ValueMismatch { expected: expectation(wanted).to_owned(), found: shortened(json) })
    }

    /// The value that `json` means where no object model knows the resource: by its JSON type alone.
    ///
    /// # Errors
    /// For null, arrays and objects.
    pub fn from_untyped_json(json: &serde_json::Value) -> Result<Self, ValueMismatch> {
        match json {
            serde_json::Value::Bool(flag) => Ok(Self::Boolean(*flag)),
            serde_json::Value::String(text) => Ok(Self::String(text.clone())),
            serde_json::Value::Number(number) => Ok(number
                .as_i64()
                .map(Self::Integer)
                .or_else(|| number.as_u64().map(Self::UnsignedInteger))
                .unwrap_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)))),
            _ => Err(ValueMismatch { expected: "a number, a string or a boolean".to_owned(), found: shortened(json) }),
        }
    }
}

/// `"3:0"` as an object link.
#[must_use]
pub fn parse_object_link(text: &str) -> Option<Value> {
    let (object, instance) = text.split_once(':')?;
    Some(Value::ObjectLink(object.parse().ok()?, instance.parse().ok()?))
}

/// An integer, also when JSON wrote it with a fraction of zero (`5.0`).
fn json_integer(json: &serde_json::Value) -> Option<i64> {
    json.as_i64().or_else(|| {
        let number = json.as_f64()?;
        // 2^53 bounds the integers that a JSON double carries exactly.
        let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
        #[expect(clippy::cast_possible_truncation, reason = "bounded by 2^53 just above")]
        exact.then_some(number as i64)
    })
}

const fn expectation(wanted: ResourceType) -> &'static str {
    match wanted {
        ResourceType::String => "a string",
        ResourceType::Integer => "an integer",
        ResourceType::UnsignedInteger => "an integer that is not negative",
        ResourceType::Float => "a number",
        ResourceType::Boolean => "true or false",
        ResourceType::Opaque => "a base64 string",
        ResourceType::Time => "integer seconds since 1970",
        ResourceType::ObjectLink => "an object link such as \"3:0\"",
        ResourceType::CoreLink => "links in link format",
    }
}

fn shortened(json: &serde_json::Value) -> String {
    const MAX_CHARS: usize = 60;
    let text = json.to_string();
    if text.chars().count() <= MAX_CHARS {
        return text;
    }
    text.chars().take(MAX_CHARS).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_forms_are_those_of_the_contract() {
        assert_eq!(Value::Opaque(vec![0, 255]).to_json(), Some(json!("AP8=")));
        assert_eq!(Value::ObjectLink(3, 0).to_json(), Some(json!("3:0")));
        assert_eq!(Value::Time(12).to_json(), Some(json!(12)));
        assert_eq!(Value::Float(f64::NAN).to_json(), None);
        assert_eq!(Value::UnsignedInteger(u64::MAX).to_json(), Some(json!(u64::MAX)));
    }

    #[test]
    fn json_is_read_by_the_wanted_type() {
        assert_eq!(Value::from_json(&json!(5.0), ResourceType::Integer), Ok(Value::Integer(5)));
        assert_eq!(Value::from_json(&json!(1), ResourceType::Boolean), Ok(Value::Boolean(true)));
        assert_eq!(Value::from_json(&json!("3:0"), ResourceType::ObjectLink), Ok(Value::ObjectLink(3, 0)));
        assert!(Value::from_json(&json!(5.5), ResourceType::Integer).is_err());
        assert!(Value::from_json(&json!(-1), ResourceType::UnsignedInteger).is_err());
        assert!(Value::from_json(&json!("not base64!"), ResourceType::Opaque).is_err());
        let refused = Value::from_json(&json!("warm"), ResourceType::Float).unwrap_err();
        assert_eq!(refused.to_string(), "expected a number, found \"warm\"");
    }
}

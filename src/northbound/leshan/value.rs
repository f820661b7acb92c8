//! Single values: ours to Leshan's and back.
//!
//! | type | Leshan's JSON |
//! |---|---|
//! | integer, unsigned integer, float | a string, as Java writes it; numbers are taken too |
//! | boolean | true, false |
//! | string, core link | a string |
//! | opaque | hexadecimal digits |
//! | time | milliseconds since 1970, a number |
//! | object link | `{"objectId", "objectInstanceId"}` |

use serde_json::{Value as Json, json};

use crate::model::value::{ResourceType, Value, parse_object_link};

/// Leshan's word for each type.
const TYPES: [(&str, ResourceType); 9] = [
    ("STRING", ResourceType::String),
    ("INTEGER", ResourceType::Integer),
    ("UNSIGNED_INTEGER", ResourceType::UnsignedInteger),
    ("FLOAT", ResourceType::Float),
    ("BOOLEAN", ResourceType::Boolean),
    ("OPAQUE", ResourceType::Opaque),
    ("TIME", ResourceType::Time),
    ("OBJLNK", ResourceType::ObjectLink),
    ("CORELINK", ResourceType::CoreLink),
];

pub(super) fn type_name(resource_type: ResourceType) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == resource_type).map_or("NONE", |(name, _)| name)
}

/// The type of a word, in any case.
pub(super) fn parse_type(word: &str) -> Option<ResourceType> {
    TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, resource_type)| *resource_type)
}

/// The type that a value of ours shows by itself, where no object model knows the resource.
pub(super) fn natural_type(value: &Json) -> ResourceType {
    match value {
        Json::Bool(_) => ResourceType::Boolean,
        Json::Number(number) if number.is_f64() => ResourceType::Float,
        Json::Number(number) if number.is_i64() => ResourceType::Integer,
        Json::Number(_) => ResourceType::UnsignedInteger,
        // A number that is not finite has no JSON form, and becomes null in results.
        Json::Null => ResourceType::Float,
        _ => ResourceType::String,
    }
}

/// Type and value as Leshan writes them. A value that does not fit its type is written as what it is.
pub(super) fn written(value: &Json, wanted: Option<ResourceType>) -> (ResourceType, Json) {
    let natural = natural_type(value);
    let wanted = wanted.unwrap_or(natural);
    match written_as(value, wanted) {
        Some(json) => (wanted, json),
        None => (natural, written_as(value, natural).unwrap_or_else(|| value.to_string().into())),
    }
}

/// The same for a value as it was decoded.
pub(super) fn written_value(value: &Value) -> (ResourceType, Json) {
    let resource_type = value.resource_type();
    (resource_type, written_as(&value.to_json().unwrap_or(Json::Null), resource_type).unwrap_or(Json::Null))
}

fn written_as(value: &Json, resource_type: ResourceType) -> Option<Json> {
    Some(match resource_type {
        ResourceType::String | ResourceType::CoreLink => value.as_str()?.into(),
        ResourceType::Boolean => value.as_bool()?.into(),
        ResourceType::Integer | ResourceType::UnsignedInteger => {
            value.as_number().filter(|number| !number.is_f64())?.to_string().into()
        }
        ResourceType::Float if value.is_null() => "NaN".into(),
        ResourceType::Float => java_double(value.as_f64()?).into(),
        ResourceType::Time => value.as_i64()?.checked_mul(1_000)?.into(),
        ResourceType::Opaque => {
            data_encoding::HEXLOWER.encode(&data_encoding::BASE64.decode(value.as_str()?.as_bytes()).ok()?).into()
        }
        ResourceType::ObjectLink => {
            let Value::ObjectLink(object, instance) = parse_object_link(value.as_str()?)? else { return None };
            json!({ "objectId": object, "objectInstanceId": instance })
        }
    })
}

/// A number as `Double.toString` of Java writes it: a fraction always, an exponent below 10^-3 and from 10^7 on.
fn java_double(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-3..1e7).contains(&magnitude) {
        let text = format!("{number:E}");
        return match text.split_once('E') {
            Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
            _ => text,
        };
    }
    format!("{number:?}")
}

/// The value that Leshan's JSON of a declared type means.
///
/// # Errors
/// Says what was expected, in words.
pub(super) fn parse(value: &Json, declared: ResourceType) -> Result<Value, String> {
    let text = value.as_str();
    let parsed = match declared {
        ResourceType::String => text.map(|text| Value::String(text.to_owned())),
        ResourceType::CoreLink => text.map(|text| Value::CoreLink(text.to_owned())),
        ResourceType::Boolean => value.as_bool().map(Value::Boolean),
        ResourceType::Integer => value.as_i64().or_else(|| text?.parse().ok()).map(Value::Integer),
        ResourceType::UnsignedInteger => value.as_u64().or_else(|| text?.parse().ok()).map(Value::UnsignedInteger),
        ResourceType::Float => {
            let number = value.as_f64().or_else(|| text?.parse().ok());
            number.filter(|number: &f64| number.is_finite()).map(Value::Float)
        }
        ResourceType::Time => value.as_i64().map(|millis| Value::Time(millis.div_euclid(1_000))),
        ResourceType::Opaque => {
            text.and_then(|text| data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()).map(Value::Opaque)
        }
        ResourceType::ObjectLink => {
            let id = |field: &str| value.get(field)?.as_u64().and_then(|id| u16::try_from(id).ok());
            id("objectId").zip(id("objectInstanceId")).map(|(object, instance)| Value::ObjectLink(object, instance))
        }
    };
    parsed.ok_or_else(|| {
        let shown: String = value.to_string().chars().take(60).collect();
        let expected = match declared {
            ResourceType::Boolean => "a JSON boolean",
            ResourceType::Time => "a JSON number(long)",
            ResourceType::ObjectLink => "a JSON object{objectId:integer, objectInstanceId:integer}",
            ResourceType::Opaque => "a JSON string of hexadecimal digits",
            ResourceType::Integer | ResourceType::UnsignedInteger | ResourceType::Float => {
                "a JSON string with a number in it"
            }
            ResourceType::String | ResourceType::CoreLink => "a JSON string",
        };
        format!("unexpected 'value' {shown}: {expected} is expected for {}", type_name(declared))
    })
}

/// A value in the JSON of commands, for a resource that the object model gives the type `wanted`.
///
/// Clients often declare what their own language has, an integer for a float, or text for everything.
///
/// # Errors
/// Says which text is no value of the type.
pub(super) fn for_command(value: &Value, wanted: Option<ResourceType>) -> Result<Json, String> {
    let text_for_another = match (value, wanted) {
        (Value::String(text), Some(wanted)) if !matches!(wanted, ResourceType::String | ResourceType::CoreLink) => {
            Some((text, wanted))
        }
        _ => None,
    };
    let value = match text_for_another {
        Some((text, ResourceType::Boolean)) => match text.as_str() {
            "true" | "1" => Value::Boolean(true),
            "false" | "0" => Value::Boolean(false),
            _ => return Err(format!("'{}' is no boolean", text.chars().take(60).collect::<String>())),
        },
        Some((text, ResourceType::ObjectLink)) => parse_object_link(text)
            .ok_or_else(|| format!("'{}' is no object link", text.chars().take(60).collect::<String>()))?,
        Some((text, ResourceType::Time)) => Value::Time(
            text.parse().map_err(|_| format!("'{}' is no time", text.chars().take(60).collect::<String>()))?,
        ),
        Some((text, wanted)) => parse(&Json::from(text.as_str()), wanted)?,
        None => value.clone(),
    };
    value.to_json().ok_or_else(|| "the value is not a finite number".to_owned())
}

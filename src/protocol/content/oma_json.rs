//! JSON of LwM2M 1.0 (Core TS 1.0.2, content format 11543).
//!
//! `{"bn": .., "bt": .., "e": [{"n", "t", "v" | "sv" | "bv" | "ov"}]}` with members in any order. Base name and name
//! are joined as they are, even in the middle of an identifier; without a base name, names start at the requested
//! path.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::value::Value;

use super::entry::{self, Entry};
use super::json_scalar::{Key, Member};
use super::quirk::{self, Quirks};
use super::scalar::{self, Number, Scalar, Wire};
use super::senml_json::{json_number, json_text};
use super::senml_record::{MAX_NAME_BYTES, shortened};
use super::{ContentError, DecodeContext, spelling, timestamp};

/// An element of `e` as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'p> {
    /// `n`, empty if absent.
    pub name: Cow<'p, str>,
    /// `t`, in seconds.
    pub time: Option<Number>,
    /// The one value.
    pub value: Scalar<'p>,
}

/// A document as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document<'p> {
    /// `bn`.
    pub base_name: Option<Cow<'p, str>>,
    /// `bt`, in seconds.
    pub base_time: Option<Number>,
    /// `e`.
    pub records: Vec<Record<'p>>,
}

impl Document<'_> {
    /// Base time and time of one of its records, in seconds; `None` if neither was given.
    #[must_use]
    pub fn seconds(&self, record: &Record<'_>) -> Option<f64> {
        match (self.base_time, record.time) {
            (Some(base), Some(own)) => Some(base.plus(own).as_f64()),
            (base, own) => base.or(own).map(Number::as_f64),
        }
    }
}

/// Reads a document.
///
/// # Errors
/// If it is no JSON, has no array `e`, or a member has the wrong type, stands twice, or is one value of several.
pub fn parse<'p>(payload: &'p [u8], quirks: &mut Quirks) -> Result<Document<'p>, ContentError> {
    let malformed = |error: &dyn fmt::Display| ContentError::malformed(format!("JSON: {error}"));
    let text = std::str::from_utf8(payload).map_err(|error| malformed(&error))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let document = deserializer.deserialize_map(DocumentReader { quirks }).map_err(|error| malformed(&error))?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(document)
}

struct DocumentReader<'q> {
    quirks: &'q mut Quirks,
}

impl<'p> Visitor<'p> for DocumentReader<'_> {
    type Value = Document<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the array e")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut document = Document::default();
        let mut records = None;
        while let Some(Key(name)) = members.next_key()? {
            let twice = match &*name {
                "bn" => {
                    let Member(Some(Scalar::Text(text))) = members.next_value()? else {
                        return Err(A::Error::custom("bn is no text"));
                    };
                    document.base_name.replace(text).is_some()
                }
                "bt" => {
                    let Member(Some(Scalar::Number(number))) = members.next_value()? else {
                        return Err(A::Error::custom("bt is no number"));
                    };
                    document.base_time.replace(number).is_some()
                }
                "e" => records.replace(members.next_value_seed(RecordsReader { quirks: self.quirks })?).is_some(),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if twice {
                return Err(A::Error::custom(format!("{name} stands twice")));
            }
        }
        document.records = records.ok_or_else(|| A::Error::custom("the array e is missing"))?;
        Ok(document)
    }
}

struct RecordsReader<'q> {
    quirks: &'q mut Quirks,
}

impl<'p> DeserializeSeed<'p> for RecordsReader<'_> {
    type Value = Vec<Record<'p>>;

    fn deserialize<D: Deserializer<'p>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'p> Visitor<'p> for RecordsReader<'_> {
    type Value = Vec<Record<'p>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the array e")
    }

    fn visit_seq<A: SeqAccess<'p>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while let Some(record) = sequence.next_element_seed(RecordReader { quirks: self.quirks })? {
            records.push(record);
        }
        Ok(records)
    }
}

struct RecordReader<'q> {
    quirks: &'q mut Quirks,
}

impl<'p> DeserializeSeed<'p> for RecordReader<'_> {
    type Value = Record<'p>;

    fn deserialize<D: Deserializer<'p>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'p> Visitor<'p> for RecordReader<'_> {
    type Value = Record<'p>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an element of e")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut name, mut time, mut value) = (None, None, None);
        while let Some((Key(member), Member(field))) = members.next_entry()? {
            let twice = match (&*member, field) {
                ("n", Some(Scalar::Text(text))) => name.replace(text).is_some(),
                ("t", Some(Scalar::Number(number))) => time.replace(number).is_some(),
                ("v", Some(field @ Scalar::Number(_)))
                | ("bv", Some(field @ Scalar::Boolean(_)))
                | ("sv", Some(field @ Scalar::Text(_))) => value.replace(field).is_some(),
                ("ov", Some(Scalar::Text(text))) => {
                    let (object, instance) = spelling::parse_link(&text, self.quirks)
                        .ok_or_else(|| A::Error::custom("ov is no object link such as 3:0"))?;
                    value.replace(Scalar::Link(object, instance)).is_some()
                }
                ("n" | "t" | "v" | "bv" | "sv" | "ov", _) => {
                    return Err(A::Error::custom(format!("{member} has a value of the wrong type")));
                }
                _ => false,
            };
            if twice {
                return Err(A::Error::custom("an element has a member twice or more than one value"));
            }
        }
        let value = value.ok_or_else(|| A::Error::custom("an element has no value"))?;
        Ok(Record { name: name.unwrap_or_default(), time, value })
    }
}

pub(super) fn decode(
    payload: &[u8],
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Vec<Sample>, ContentError> {
    let document = parse(payload, quirks)?;
    let mut samples = Vec::new();
    let mut seen = BTreeSet::new();
    for record in &document.records {
        let path = path_of(document.base_name.as_deref(), &record.name, context, quirks)?;
        let value = scalar::typed(record.value.clone(), &path, Wire::OmaJson, context.types, quirks)?;
        let seconds = document.seconds(record);
        let ts = seconds.map(|seconds| timestamp::resolved(seconds, context.received)).transpose()?;
        if !seen.insert((path, ts)) {
            return Err(ContentError::malformed(format!("JSON: {path} stands twice")));
        }
        samples.push(Sample { path, value, ts });
    }
    Ok(samples)
}

fn path_of(
    base_name: Option<&str>,
    name: &str,
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Path, ContentError> {
    if base_name.map_or(0, str::len).saturating_add(name.len()) > MAX_NAME_BYTES {
        return Err(ContentError::malformed(format!("JSON: a name is longer than {MAX_NAME_BYTES} bytes")));
    }
    let fitting = |text: &str| -> Option<Path> {
        let text = text.trim_start_matches('/');
        let root = context.root.trim_matches('/');
        let below = text.strip_prefix(root).and_then(|rest| rest.strip_prefix('/'));
        let local = below.filter(|_| !root.is_empty()).unwrap_or(text);
        let path: Path = format!("/{local}").parse().ok()?;
        (path.depth() >= 3 && context.base.contains(&path)).then_some(path)
    };
    let joined = match base_name {
        Some(base_name) => {
            let joined = format!("{base_name}{name}");
            let mut with_slash =
                || fitting(&format!("{base_name}/{name}")).inspect(|_| quirks.note(quirk::JSON_NO_SLASH));
            fitting(&joined).or_else(|| if name.is_empty() { None } else { with_slash() })
        }
        None if name.is_empty() => fitting(&context.base.to_string()),
        None if name.starts_with('/') => fitting(name),
        None => fitting(&format!("{}/{name}", context.base)),
    };
    joined.ok_or_else(|| {
        let name = shortened(&format!("{}{name}", base_name.unwrap_or_default()));
        ContentError::unfitting(format!("JSON: {name} is no resource within {}", context.base))
    })
}

/// Writes a document; times are absolute.
pub(super) fn encode(root: &str, base: Path, entries: &[Entry<'_>]) -> Result<Vec<u8>, ContentError> {
    let parent = if entries.is_empty() { base } else { entry::common_parent(entries) };
    let mut prefix = entry::base_name(root, parent);
    if parent == Path::ROOT {
        prefix.push('/');
    }
    let prefix = json_text(&prefix);
    let mut elements = Vec::new();
    for entry in entries {
        let value = match entry.present()? {
            Value::String(text) | Value::CoreLink(text) => format!("\"sv\":{}", json_text(text)),
            Value::Integer(number) | Value::Time(number) => format!("\"v\":{number}"),
            Value::UnsignedInteger(number) => format!("\"v\":{number}"),
            Value::Float(number) => format!("\"v\":{}", json_number(*number, entry.path)?),
            Value::Boolean(flag) => format!("\"bv\":{flag}"),
            Value::Opaque(bytes) => format!("\"sv\":\"{}\"", data_encoding::BASE64.encode(bytes)),
            Value::ObjectLink(object, instance) => format!("\"ov\":\"{object}:{instance}\""),
        };
        let time = match entry.ts {
            Some(ts) => format!("\"t\":{},", timestamp::decimal_seconds(timestamp::absolute_millis(ts)?)),
            None => String::new(),
        };
        let name = entry::relative_name(parent, entry.path);
        elements.push(format!("{{\"n\":\"{}\",{time}{value}}}", name.trim_start_matches('/')));
    }
    Ok(format!("{{\"bn\":{prefix},\"e\":[{}]}}", elements.join(",")).into_bytes())
}

#[cfg(test)]
#[path = "oma_json_tests.rs"]
mod tests;

//! SenML in JSON (RFC 8428 section 5, content format 110).
//!
//! Written with the base name of the deepest path that all records share and without white space.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::model::path::Path;
use crate::model::value::Value;

use super::entry::{self, Entry};
use super::json_scalar::{Key, Member};
use super::quirk::Quirks;
use super::scalar::Wire;
use super::senml::Sink;
use super::senml_record::{Label, Record};
use super::{ContentError, timestamp};

/// Gives the records of a pack to `sink`.
pub(super) fn read<'p>(payload: &'p [u8], quirks: &mut Quirks, sink: Sink<'_, 'p>) -> Result<(), ContentError> {
    let text = std::str::from_utf8(payload).map_err(|error| ContentError::malformed(format!("SenML JSON: {error}")))?;
    let mut refused = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let pack = PackReader { quirks, sink, refused: &mut refused };
    let read = pack.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (refused, read) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(ContentError::malformed(format!("SenML JSON: {error}"))),
        (None, Ok(())) => Ok(()),
    }
}

/// Reads the array of records. What the sink refuses passes by the JSON parser, whose errors know only text.
struct PackReader<'s, 'k, 'p> {
    quirks: &'s mut Quirks,
    sink: Sink<'k, 'p>,
    refused: &'s mut Option<ContentError>,
}

impl<'p> DeserializeSeed<'p> for PackReader<'_, '_, 'p> {
    type Value = ();

    fn deserialize<D: Deserializer<'p>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'p> Visitor<'p> for PackReader<'_, '_, 'p> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'p>>(self, mut pack: A) -> Result<(), A::Error> {
        while let Some(record) = pack.next_element_seed(RecordReader { quirks: self.quirks })? {
            if let Err(error) = (self.sink)(record, self.quirks) {
                *self.refused = Some(error);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

struct RecordReader<'s> {
    quirks: &'s mut Quirks,
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
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut record = Record::default();
        while let Some((Key(name), Member(field))) = members.next_entry()? {
            if let Some(label) = Label::from_name(&name).map_err(A::Error::custom)? {
                record.set(label, field, Wire::SenmlJson, self.quirks).map_err(A::Error::custom)?;
            }
        }
        Ok(record)
    }
}

/// Writes a pack.
pub(super) fn encode(root: &str, entries: &[Entry<'_>]) -> Result<Vec<u8>, ContentError> {
    let parent = entry::common_parent(entries);
    let base_name = entry::base_name(root, parent);
    let mut records = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let mut members = Vec::with_capacity(4);
        if position == 0 && !base_name.is_empty() {
            members.push(format!("\"bn\":{}", json_text(&base_name)));
        }
        members.push(format!("\"n\":\"{}\"", entry::relative_name(parent, entry.path)));
        if let Some(ts) = entry.ts {
            let seconds = timestamp::decimal_seconds(timestamp::absolute_millis(ts)?);
            members.push(format!("\"t\":{seconds}"));
        }
        members.push(value_member(entry)?);
        records.push(format!("{{{}}}", members.join(",")));
    }
    Ok(format!("[{}]", records.join(",")).into_bytes())
}

/// Writes a pack of names only.
pub(super) fn encode_paths(paths: &[Path], root: &str) -> Vec<u8> {
    let root = entry::base_name(root, Path::ROOT);
    let records: Vec<String> =
        paths.iter().map(|path| format!("{{\"n\":{}}}", json_text(&format!("{root}{path}")))).collect();
    format!("[{}]", records.join(",")).into_bytes()
}

/// The value field of a record.
fn value_member(entry: &Entry<'_>) -> Result<String, ContentError> {
    let Some(value) = entry.value else { return Ok("\"v\":null".to_owned()) };
    Ok(match value {
        Value::String(text) | Value::CoreLink(text) => format!("\"vs\":{}", json_text(text)),
        Value::Integer(number) | Value::Time(number) => format!("\"v\":{number}"),
        Value::UnsignedInteger(number) => format!("\"v\":{number}"),
        Value::Float(number) => format!("\"v\":{}", json_number(*number, entry.path)?),
        Value::Boolean(flag) => format!("\"vb\":{flag}"),
        Value::Opaque(bytes) => format!("\"vd\":\"{}\"", data_encoding::BASE64URL_NOPAD.encode(bytes)),
        Value::ObjectLink(object, instance) => format!("\"vlo\":\"{object}:{instance}\""),
    })
}

/// A JSON string with its quotes.
pub(super) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON number that reads back as the same double.
pub(super) fn json_number(number: f64, path: Path) -> Result<String, ContentError> {
    serde_json::Number::from_f64(number)
        .map(|number| number.to_string())
        .ok_or_else(|| ContentError::unfitting(format!("{path} is {number}, for which JSON has no number")))
}

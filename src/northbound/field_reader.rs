//! Reading of the JSON objects of neighbours field by field, with everything that is wrong told at once.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64;
use serde_json::{Map, Value as Json};

/// Most instances of one kind in a configuration.
const MAX_INSTANCES: usize = 64;

/// The fields of an object that are read one after the other.
pub(super) struct FieldReader<'a> {
    fields: &'a Map<String, Json>,
    /// Where it stands, such as `security.1.`.
    at: String,
    read: BTreeSet<&'static str>,
    problems: Vec<String>,
}

impl<'a> FieldReader<'a> {
    pub(super) fn new(fields: &'a Map<String, Json>) -> Self {
        Self { fields, at: String::new(), read: BTreeSet::new(), problems: Vec::new() }
    }

    /// A reader of an object within this one; [`close`](Self::close) it.
    pub(super) fn within<'b>(&self, place: &str, fields: &'b Map<String, Json>) -> FieldReader<'b> {
        FieldReader { at: format!("{}{place}.", self.at), ..FieldReader::new(fields) }
    }

    /// Takes over what is wrong within.
    pub(super) fn close(&mut self, inner: FieldReader<'_>) {
        self.problems.extend(inner.finish());
    }

    /// All problems, those of fields that nobody read included.
    pub(super) fn finish(mut self) -> Vec<String> {
        let unread = self.fields.keys().filter(|name| !self.read.contains(name.as_str()));
        self.problems.extend(unread.map(|name| {
            let name: String = name.chars().filter(|character| !character.is_control()).take(60).collect();
            format!("{}{name}: no such field is known", self.at)
        }));
        self.problems
    }

    pub(super) fn problem(&mut self, name: &str, message: &str) {
        self.problems.push(format!("{}{name}: {message}", self.at));
    }

    /// A field that is there and not null.
    pub(super) fn get(&mut self, name: &'static str) -> Option<&'a Json> {
        self.read.insert(name);
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A number, or the number that a field has where it is not written at all; null stands for none.
    pub(super) fn number_or(&mut self, name: &'static str, default: u64) -> Option<u64> {
        if self.fields.contains_key(name) { self.number(name) } else { Some(default) }
    }

    pub(super) fn number(&mut self, name: &'static str) -> Option<u64> {
        let value = self.get(name)?;
        let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        if number.is_none() {
            self.problem(name, "is no whole number from 0");
        }
        number
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let value = self.get(name)?;
        if !value.is_boolean() {
            self.problem(name, "is neither true nor false");
        }
        value.as_bool()
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.get(name)?;
        if !value.is_string() {
            self.problem(name, "is no text");
        }
        value.as_str().filter(|text| !text.is_empty())
    }

    /// Bytes that are not empty: an array of numbers from -128 to 255, or base64, as Leshan takes them.
    pub(super) fn bytes(&mut self, name: &'static str) -> Option<Vec<u8>> {
        let value = self.get(name)?;
        let bytes = match value {
            Json::String(text) => BASE64.decode(text.as_bytes()).ok(),
            Json::Array(numbers) => numbers.iter().map(byte).collect(),
            _ => None,
        };
        if bytes.is_none() {
            self.problem(name, "is no array of bytes");
        }
        bytes.filter(|bytes| !bytes.is_empty())
    }

    /// A value that has a name; numbers stand for themselves.
    pub(super) fn named(&mut self, name: &'static str, names: &[(&str, u64)]) -> Option<u64> {
        let value = self.get(name)?;
        let number = match value {
            Json::String(text) => names.iter().find(|(known, _)| known == text).map(|(_, number)| *number),
            _ => value.as_u64().filter(|number| names.iter().any(|(_, known)| known == number)),
        };
        if number.is_none() {
            let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            self.problem(name, &format!("is none of {}", names.join(", ")));
        }
        number
    }

    /// The same, or the number that a field has where it is not written or null.
    pub(super) fn named_or(&mut self, name: &'static str, names: &[(&str, u64)], default: u64) -> Option<u64> {
        if self.get(name).is_some() { self.named(name, names) } else { Some(default) }
    }

    /// Instances by id, in the order of their ids.
    pub(super) fn instances(&mut self, name: &'static str) -> Vec<(u16, &'a Map<String, Json>)> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let Some(fields) = value.as_object() else {
            self.problem(name, "is no object of instances by id");
            return Vec::new();
        };
        if fields.len() > MAX_INSTANCES {
            self.problem(name, &format!("has more than {MAX_INSTANCES} instances"));
            return Vec::new();
        }
        let mut instances = BTreeMap::new();
        for (key, value) in fields {
            match (key.parse::<u16>(), value.as_object()) {
                (Ok(id), Some(instance)) => drop(instances.insert(id, instance)),
                (Err(_), _) => self.problem(name, "has an instance whose id is no number from 0 to 65535"),
                (_, None) => self.problem(name, &format!("instance {key} is no object")),
            }
        }
        instances.into_iter().collect()
    }
}

fn byte(number: &Json) -> Option<u8> {
    let number = number.as_i64()?;
    u8::try_from(number).ok().or_else(|| i8::try_from(number).ok().map(i8::cast_unsigned))
}

//! Objects field by field: each call names a field and its kind, and gets its value or notes what is wrong with it.
//!
//! `null` is as good as nothing.

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json};

use super::Problem;
use crate::model::nearest::nearest;

/// Most problems of one account or entry that are told.
const MAX_PROBLEMS: usize = 100;

/// Most known fields that are listed where an unknown one stands.
const MAX_LISTED: usize = 16;

/// Most characters of a field's name, or of a wrong word, that a problem repeats.
const MAX_SHOWN_CHARS: usize = 40;

/// What stands where a secret is hidden.
pub(super) const SECRET_FIELD: &str = "secret";

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn add(&mut self, field: String, message: impl Into<String>) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(Problem { field, message: message.into() });
        }
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// The value, if nothing is wrong.
    pub(super) fn result<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(self.list),
        }
    }
}

/// The beginning of a text that stood in the place of a name or known word.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).flat_map(char::escape_debug).collect()
}

/// What to say of a word that is none of the known ones. It is repeated only if it is close to one of them: what
/// stands in the wrong place may be a secret.
pub(super) fn wrong_word(word: &str, known: &[&str]) -> String {
    let list = known.join(", ");
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("is '{}', not one of {list}; did you mean {meant}?", shown(word)),
        None => format!("is not one of {list}"),
    }
}

/// What kind of JSON a value is, with its article.
pub(super) const fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

/// Whether a value is what stands in the place of a hidden secret.
pub(super) fn is_hidden(value: &Json) -> bool {
    value.get(SECRET_FIELD).is_some_and(|hidden| *hidden == Json::Bool(true))
}

/// What to say where it is.
pub(super) const HIDDEN_MESSAGE: &str =
    "stands for a secret that is not shown, and cannot be written back: give the secret anew";

/// An object that is read field by field.
pub(super) struct Fields<'a, 'p> {
    body: &'a Map<String, Json>,
    /// What stands before the names of its fields in problems: nothing, or `servers[0].`.
    prefix: String,
    problems: &'p mut Problems,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// Opens an object and notes the fields that it may not have; `None` if it is none. `what` it is to be, with its
    /// article; fields that are `told` of it may come back and count for nothing.
    pub(super) fn open(
        value: &'a Json,
        prefix: String,
        what: &str,
        known: &[&str],
        told: &[&str],
        problems: &'p mut Problems,
    ) -> Option<Self> {
        let Json::Object(body) = value else {
            let field = prefix.strip_suffix('.').unwrap_or(&prefix).to_owned();
            problems.add(field, format!("{what} is a JSON object, not {}", kind(value)));
            return None;
        };
        let mut fields = Self { body, prefix, problems };
        for unknown in body.keys().filter(|key| !known.iter().chain(told).any(|known| known == key)) {
            let hint = match nearest(unknown, known.iter().copied()) {
                Some(meant) => format!("; did you mean {meant}?"),
                None if known.len() <= MAX_LISTED => format!("; known are {}", known.join(", ")),
                None => String::new(),
            };
            fields.wrong::<()>(&shown(unknown), format!("is no field of {what}{hint}"));
        }
        Some(fields)
    }

    /// Notes a problem; answers nothing.
    pub(super) fn wrong<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        let field = format!("{}{field}", self.prefix);
        self.problems.add(field, message);
        None
    }

    pub(super) fn problems(&mut self) -> &mut Problems {
        self.problems
    }

    /// The full name of a field.
    pub(super) fn full(&self, field: &str) -> String {
        format!("{}{field}", self.prefix)
    }

    pub(super) fn get(&self, field: &str) -> Option<&'a Json> {
        self.body.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// An object in a field.
    pub(super) fn nested<'s>(&'s mut self, field: &str, what: &str, known: &[&str]) -> Option<Fields<'a, 's>> {
        let value = self.get(field)?;
        let prefix = format!("{}{field}.", self.prefix);
        Fields::open(value, prefix, what, known, &[], self.problems)
    }

    /// A text of so many bytes without control characters.
    pub(super) fn text(&mut self, field: &str, bytes: RangeInclusive<usize>) -> Option<&'a str> {
        match self.get(field)? {
            Json::String(text) if !bytes.contains(&text.len()) => {
                self.wrong(field, format!("has {} bytes, not {} to {}", text.len(), bytes.start(), bytes.end()))
            }
            Json::String(text) if text.chars().any(char::is_control) => {
                self.wrong(field, "holds a control character; write plain text on one line")
            }
            Json::String(text) => Some(text),
            other => self.wrong(field, format!("is {}, not a text", kind(other))),
        }
    }

    /// An integer in a range.
    pub(super) fn integer<N: TryFrom<u32>>(&mut self, field: &str, range: RangeInclusive<u32>) -> Option<N> {
        let value = self.get(field)?;
        let read = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number));
        if let Some(number) = read.and_then(|number| N::try_from(number).ok()) {
            return Some(number);
        }
        let found = match value {
            Json::Number(number) => shown(&number.to_string()),
            other => kind(other).to_owned(),
        };
        let hint = if value.is_string() { "; write digits without quotes, times in seconds" } else { "" };
        self.wrong(field, format!("is {found}, not an integer from {} to {}{hint}", range.start(), range.end()))
    }

    pub(super) fn boolean(&mut self, field: &str) -> Option<bool> {
        match self.get(field)? {
            Json::Bool(flag) => Some(*flag),
            other => self.wrong(field, format!("is {}, not true or false", kind(other))),
        }
    }

    /// One of some words; `Err` if another stands there, which is told.
    pub(super) fn choice<T: Copy>(&mut self, field: &str, words: &[(&str, T)]) -> Result<Option<T>, Told> {
        let known = || words.iter().map(|(word, _)| *word);
        let Some(value) = self.get(field) else { return Ok(None) };
        let list = known().collect::<Vec<_>>().join(", ");
        let Json::String(text) = value else {
            return Err(self.told(field, format!("is {}, not one of {list}", kind(value))));
        };
        match words.iter().find(|(word, _)| word == text) {
            Some((_, meant)) => Ok(Some(*meant)),
            None => Err(self.told(field, wrong_word(text, &known().collect::<Vec<_>>()))),
        }
    }

    /// Notes a problem and answers that it did.
    pub(super) fn told(&mut self, field: &str, message: impl Into<String>) -> Told {
        self.wrong::<()>(field, message);
        Told
    }

    /// A list of at most so many; nothing if there is none.
    pub(super) fn list(&mut self, field: &str, most: usize) -> Option<&'a [Json]> {
        match self.get(field)? {
            Json::Array(items) if items.len() > most => {
                self.wrong(field, format!("has {} items, more than {most}", items.len()))
            }
            Json::Array(items) => Some(items),
            other => self.wrong(field, format!("is {}, not a list", kind(other))),
        }
    }
}

/// A problem that was noted.
#[derive(Debug)]
pub(super) struct Told;

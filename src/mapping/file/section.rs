//! One table of a mapping file with typed access to its keys. What is wrong is told to the diagnostics and reads as
//! absent, so that one pass finds all problems.

use std::time::Duration;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::Diagnostics;
use super::keys::{SectionKeys, Shape};
use crate::model::nearest::nearest;
use crate::model::units::parse_duration;

/// A value with the byte offset where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::mapping) struct At<T> {
    pub(in crate::mapping) value: T,
    pub(in crate::mapping) offset: usize,
}

/// A table and the keys that it may have.
#[derive(Clone, Copy, Debug)]
pub(in crate::mapping) struct Section<'t> {
    pub(in crate::mapping) keys: &'static SectionKeys,
    pub(in crate::mapping) offset: usize,
    table: &'t DeTable<'t>,
}

impl<'t> Section<'t> {
    /// Reports unknown and missing keys.
    pub(in crate::mapping) fn check(
        keys: &'static SectionKeys,
        offset: usize,
        table: &'t DeTable<'t>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        for name in table.keys() {
            let text = name.get_ref().as_ref();
            if keys.keys.iter().any(|known| known.name == text) {
                continue;
            }
            let hint = match nearest(text, keys.keys.iter().map(|known| known.name)) {
                Some(known) => format!("did you mean '{known}'?"),
                None => format!("known keys: {}", joined(keys.keys.iter().map(|known| known.name))),
            };
            diagnostics.error(name.span().start, format!("unknown key '{text}' in {}", keys.name), hint);
        }
        for required in keys.keys.iter().filter(|known| known.required) {
            if !table.keys().any(|name| name.get_ref() == required.name) {
                diagnostics.error(offset, format!("{} has no '{}'", keys.name, required.name), required.about);
            }
        }
        Self { keys, offset, table }
    }

    /// The entry of a key as it stands.
    pub(in crate::mapping) fn raw(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        debug_assert!(self.keys.keys.iter().any(|known| known.name == key), "{key} is not in the table of keys");
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Entries of a table with free keys.
    pub(in crate::mapping) fn entries(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<(At<&'t str>, &'t Spanned<DeValue<'t>>)> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.mismatch(key, value, "a table", diagnostics);
            return Vec::new();
        };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(name, value)| (At { value: name.get_ref().as_ref(), offset: name.span().start }, value))
            .collect();
        // In the order of the file, which is the order that people expect of what comes of it.
        entries.sort_by_key(|(name, _)| name.offset);
        entries
    }

    /// A table of strings.
    pub(in crate::mapping) fn text_entries(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<(At<&'t str>, At<&'t str>)> {
        let mut texts = Vec::new();
        for (name, value) in self.entries(key, diagnostics) {
            match value.get_ref().as_str() {
                Some(text) => texts.push((name, At { value: text, offset: value.span().start })),
                None => self.mismatch(&format!("{key}.{}", name.value), value, "a string", diagnostics),
            }
        }
        texts
    }

    /// A string; for [`Shape::OneOf`] one of those allowed.
    pub(in crate::mapping) fn text(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<At<&'t str>> {
        let value = self.raw(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.mismatch(key, value, "a string", diagnostics);
            return None;
        };
        let offset = value.span().start;
        if let Some(Shape::OneOf(allowed)) = self.shape(key)
            && !allowed.contains(&text)
        {
            let hint = match nearest(text, allowed.iter().copied()) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("one of: {}", joined(allowed.iter().copied())),
            };
            diagnostics.error(offset, format!("{} in {} cannot be \"{text}\"", key, self.keys.name), hint);
            return None;
        }
        Some(At { value: text, offset })
    }

    /// A string or an array of strings.
    pub(in crate::mapping) fn texts(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<At<&'t str>>> {
        let value = self.raw(key)?;
        let single = std::slice::from_ref(value);
        let items = value.get_ref().as_array().map_or(single, |array| &**array);
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => texts.push(At { value: text, offset: item.span().start }),
                None => self.mismatch(key, item, "a string or an array of strings", diagnostics),
            }
        }
        Some(texts)
    }

    /// An array of integers.
    pub(in crate::mapping) fn integers(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<At<i64>>> {
        let value = self.raw(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.mismatch(key, value, "an array of integers", diagnostics);
            return None;
        };
        let mut numbers = Vec::with_capacity(array.len());
        for item in array {
            match integer(item.get_ref()) {
                Some(number) => numbers.push(At { value: number, offset: item.span().start }),
                None => self.mismatch(key, item, "an array of integers", diagnostics),
            }
        }
        Some(numbers)
    }

    /// A finite number.
    pub(in crate::mapping) fn number(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<At<f64>> {
        let value = self.raw(key)?;
        let number = number(value.get_ref());
        if number.is_none() {
            self.mismatch(key, value, "a finite number", diagnostics);
        }
        Some(At { value: number?, offset: value.span().start })
    }

    /// An integer within bounds.
    pub(in crate::mapping) fn integer(
        &self,
        key: &str,
        bounds: std::ops::RangeInclusive<i64>,
        diagnostics: &mut Diagnostics,
    ) -> Option<At<i64>> {
        let value = self.raw(key)?;
        match integer(value.get_ref()) {
            Some(number) if bounds.contains(&number) => Some(At { value: number, offset: value.span().start }),
            _ => {
                let expected = format!("an integer from {} to {}", bounds.start(), bounds.end());
                self.mismatch(key, value, &expected, diagnostics);
                None
            }
        }
    }

    /// true or false.
    pub(in crate::mapping) fn boolean(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<bool> {
        let value = self.raw(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.mismatch(key, value, "true or false", diagnostics);
        }
        flag
    }

    /// A duration such as `30s`.
    pub(in crate::mapping) fn duration(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<At<Duration>> {
        let value = self.raw(key)?;
        self.duration_of(key, value, diagnostics)
    }

    /// The duration that a value is.
    pub(in crate::mapping) fn duration_of(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        diagnostics: &mut Diagnostics,
    ) -> Option<At<Duration>> {
        let Some(text) = value.get_ref().as_str() else {
            self.mismatch(key, value, "a duration such as \"30s\"", diagnostics);
            return None;
        };
        match parse_duration(text) {
            Ok(duration) => Some(At { value: duration, offset: value.span().start }),
            Err(error) => {
                diagnostics.error(value.span().start, format!("{key} in {}: {error}", self.keys.name), "");
                None
            }
        }
    }

    /// A table, or an array of tables, with the keys of its shape.
    pub(in crate::mapping) fn tables(&self, key: &str, diagnostics: &mut Diagnostics) -> Vec<Section<'t>> {
        let (Some(value), Some(Shape::Table(keys) | Shape::Tables(keys))) = (self.raw(key), self.shape(key)) else {
            return Vec::new();
        };
        let many = matches!(self.shape(key), Some(Shape::Tables(_)));
        let single = std::slice::from_ref(value);
        let items = value.get_ref().as_array().filter(|_| many).map_or(single, |array| &**array);
        let mut sections = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section::check(keys, item.span().start, table, diagnostics)),
                None => self.mismatch(key, item, "a table", diagnostics),
            }
        }
        sections
    }

    /// Reports that a value has another type than wanted.
    pub(in crate::mapping) fn mismatch(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        diagnostics: &mut Diagnostics,
    ) {
        let found = shown(value.get_ref());
        let message = format!("{key} in {} must be {expected}, found {found}", self.keys.name);
        diagnostics.error(value.span().start, message, "");
    }

    fn shape(&self, key: &str) -> Option<Shape> {
        self.keys.keys.iter().find(|known| known.name == key).map(|known| known.shape)
    }
}

/// Words separated by commas.
pub(in crate::mapping) fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", text.chars().take(40).collect::<String>()),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The integer that a value is, if it is one of 64 bits.
pub(in crate::mapping) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The finite number that a value is.
pub(in crate::mapping) fn number(value: &DeValue<'_>) -> Option<f64> {
    if let Some(float) = value.as_float() {
        return float.as_str().parse().ok().filter(|number: &f64| number.is_finite());
    }
    #[expect(clippy::cast_precision_loss, reason = "factors and bounds are floating point")]
    integer(value).map(|number| number as f64)
}

/// The JSON form of a TOML value; dates become text, numbers without JSON form `None`. Depth is bounded by the parser.
pub(in crate::mapping) fn to_json(value: &DeValue<'_>) -> Option<Json> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(_) => integer(value)?.into(),
        DeValue::Float(_) => serde_json::Number::from_f64(number(value)?)?.into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => {
            items.iter().map(|item| to_json(item.get_ref())).collect::<Option<Vec<Json>>>()?.into()
        }
        DeValue::Table(table) => table
            .iter()
            .map(|(name, value)| Some((name.get_ref().to_string(), to_json(value.get_ref())?)))
            .collect::<Option<serde_json::Map<String, Json>>>()?
            .into(),
    })
}

//! Ranges of resources, as far as their registered text is clear.
//!
//! The registry's range is free text. Read are intervals (`0..255`, `1...15`, `0-100`), lists of them and of numbers
//! (`16,32,48`, `0..247, 255`, `10 or 26 Bytes`) and lengths (`0..255 bytes`). Everything else says nothing: a write is
//! refused only where the text leaves no doubt, because the device has the last word anyway.

use super::ResourceDefinition;
use crate::model::value::Value;

/// A longer list is not taken for one.
const MAX_INTERVALS: usize = 64;

/// A range that could be read.
#[derive(Clone, Debug, PartialEq)]
struct Range {
    /// Inclusive bounds, each lower one first.
    intervals: Vec<(f64, f64)>,
    /// Whether the text says that bytes are counted.
    bytes: bool,
}

impl ResourceDefinition {
    /// Whether a value may be written as far as the registered range is clear. The value's type is not looked at.
    ///
    /// Numbers are compared with the range; for text and opaque values it bounds the length in bytes.
    ///
    /// # Errors
    /// Says the value, or its length, and the range.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let Some(range) = Range::parse(&self.range) else { return Ok(()) };
        let fits = match value {
            Value::String(text) => range.allows_length(text.len(), false),
            Value::Opaque(bytes) => range.allows_length(bytes.len(), true),
            Value::Integer(_) | Value::UnsignedInteger(_) | Value::Float(_) | Value::Time(_) => {
                value.as_f64().is_none_or(|number| range.allows_number(number))
            }
            Value::Boolean(_) | Value::ObjectLink(..) | Value::CoreLink(_) => true,
        };
        if fits {
            return Ok(());
        }
        let found = match value {
            Value::String(text) => format!("{} bytes of text", text.len()),
            Value::Opaque(bytes) => format!("{} bytes", bytes.len()),
            Value::Integer(number) | Value::Time(number) => number.to_string(),
            Value::UnsignedInteger(number) => number.to_string(),
            _ => value.as_f64().unwrap_or_default().to_string(),
        };
        Err(format!("{found} is outside the range of {} ({}): {}", self.path_name, self.id, self.range))
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let without_unit = ["bytes", "byte"].iter().find_map(|unit| text.strip_suffix(unit));
        let bytes = without_unit.is_some();
        let body = without_unit.unwrap_or(&text).trim();
        if body.is_empty() {
            return None;
        }
        let body = body.replace(" or ", ",");
        let separator = if bytes && body.matches('-').count() > 1 { '-' } else { ',' };
        let parts: Vec<&str> = body.split(separator).collect();
        if parts.len() > MAX_INTERVALS {
            return None;
        }
        let mut intervals = parts.into_iter().map(parse_interval).collect::<Option<Vec<_>>>()?;
        // One number may be a maximum or the only value. As a length, reading it as the maximum never refuses too much.
        if let [(only, end)] = intervals.as_mut_slice()
            && *only >= *end
        {
            if !bytes {
                return None;
            }
            *only = 0.0;
        }
        Some(Self { intervals, bytes })
    }

    fn allows_number(&self, number: f64) -> bool {
        // A number with a range in bytes has a width, not a value.
        self.bytes || number.is_nan() || self.contains(number)
    }

    /// `listed`: whether single numbers without a unit are lengths too; for text they may be the words themselves.
    fn allows_length(&self, length: usize, listed: bool) -> bool {
        let clear = self.bytes || self.intervals.iter().all(|(start, end)| *start >= 0.0 && (listed || start < end));
        let whole = self.intervals.iter().all(|(start, end)| start.fract() == 0.0 && end.fract() == 0.0);
        #[expect(clippy::cast_precision_loss, reason = "lengths of payloads are far below 2^53")]
        let length = length as f64;
        !clear || !whole || self.contains(length)
    }

    fn contains(&self, number: f64) -> bool {
        self.intervals.iter().any(|(start, end)| (*start..=*end).contains(&number))
    }
}

/// `a..b`, `a...b`, `a-b` of numbers that are not negative, or one number.
fn parse_interval(text: &str) -> Option<(f64, f64)> {
    let text = text.trim();
    let (start, end) = if let Some((start, end)) = text.split_once("..") {
        (parse_number(start)?, parse_number(end.strip_prefix('.').unwrap_or(end))?)
    } else if let Some((start, end)) = text.split_once('-').filter(|(start, _)| !start.trim().is_empty()) {
        (parse_number(start)?, parse_number(end).filter(|end| *end >= 0.0)?)
    } else {
        let number = parse_number(text)?;
        (number, number)
    };
    Some((start.min(end), start.max(end)))
}

/// A decimal number. What else Rust reads as one (`inf`, `nan`, `1e5`) is a word here.
fn parse_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    if decimal { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::Operations;

    fn resource(range: &str) -> ResourceDefinition {
        ResourceDefinition {
            id: 5850,
            name: "Level".to_owned(),
            path_name: "level".to_owned(),
            operations: Operations::default(),
            multiple: false,
            mandatory: false,
            resource_type: None,
            range: range.to_owned(),
            unit: String::new(),
        }
    }

    fn fits(range: &str, value: &Value) -> bool {
        resource(range).check(value).is_ok()
    }

    #[test]
    fn numbers_outside_a_clear_interval_are_refused() {
        for (range, inside, outside) in [
            ("0..100", 100, 101),
            ("-24..24", -24, -25),
            ("-30..-120", -120, -121),
            ("0-100", 0, -1),
            ("1...15", 15, 16),
            ("5, 10, 15, 20", 15, 16),
            ("0..247, 255", 255, 250),
        ] {
            assert!(fits(range, &Value::Integer(inside)), "{inside} is in {range}");
            assert!(!fits(range, &Value::Integer(outside)), "{outside} is not in {range}");
        }
        assert!(fits("0.000001..1.0", &Value::Float(0.5)));
        assert!(!fits("0.000001..1.0", &Value::Float(0.0)));
        assert!(fits("0..18446744073709551615", &Value::UnsignedInteger(u64::MAX)));
        assert!(!fits("0..65535", &Value::UnsignedInteger(65_536)));
    }

    #[test]
    fn lengths_are_counted_in_bytes() {
        let text = |length: usize| Value::String("x".repeat(length));
        for (range, inside, outside) in [
            ("0..255 bytes", 255, 256),
            ("0-255 bytes", 0, 256),
            ("1..64", 1, 0),
            ("10 or 26 Bytes", 26, 25),
            ("3 Bytes", 3, 4),
        ] {
            assert!(fits(range, &text(inside)), "{inside} in {range}");
            assert!(!fits(range, &text(outside)), "{outside} in {range}");
        }
        assert!(!fits("1..3", &Value::String("ää".to_owned())), "letters of two bytes count twice");
        assert!(fits("16,32,48", &Value::Opaque(vec![0; 32])));
        assert!(!fits("16-32-48 bytes", &Value::Opaque(vec![0; 33])));
    }

    #[test]
    fn unclear_texts_refuse_nothing() {
        for range in [
            "",
            "255",
            "16-bit",
            "8 bit",
            "ON;OFF",
            "[1:4]",
            "<7 to >12.5",
            "0: disabled 1: normal",
            "0; 3.8..20.5",
            "2 Instances",
            "1 bytes",
            "..",
            "a..b",
            "-",
            "nan..inf",
            "1..2..3",
        ] {
            assert!(fits(range, &Value::Integer(-1_000_000)), "{range}");
        }
        for range in ["10,26", "-1..1", "0.5..1.5", "64"] {
            assert!(fits(range, &Value::String("a text of some length".to_owned())), "{range}");
        }
        assert!(fits("0..1", &Value::ObjectLink(3, 0)));
    }

    #[test]
    fn refusal_names_value_resource_and_range() {
        let refused = resource("0..100").check(&Value::Integer(101)).unwrap_err();
        assert_eq!(refused, "101 is outside the range of level (5850): 0..100");
    }

    #[test]
    fn overlong_lists_are_not_read() {
        let list = vec!["1"; MAX_INTERVALS + 1].join(",");
        assert!(fits(&list, &Value::Integer(9)));
    }
}

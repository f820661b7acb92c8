//! Durations and sizes as people write them: `"30s"`, `"12h"`, `"1h30m"`, `"64MiB"`.
//!
//! Every text that [`format_duration`] and [`format_size`] write is read back to the same value.

use std::fmt::Write as _;
use std::time::Duration;

/// Why a text is no duration or size; the text says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing there.
    #[error("is empty; write a number and a unit, such as {0}")]
    Empty(&'static str),
    /// A number is missing before a unit, or something else stands there.
    #[error("'{0}' does not start with a whole number; write it like {1}")]
    NoNumber(String, &'static str),
    /// A number without unit.
    #[error("'{0}' has no unit; write it like {1}")]
    NoUnit(String, &'static str),
    /// A unit that does not exist.
    #[error("'{0}' is no unit; the units are {1}")]
    UnknownUnit(String, &'static str),
    /// A compound such as `30m1h` or `1h1h`.
    #[error("'{0}': units go from the largest to the smallest, each once, as in 1h30m")]
    Order(String),
    /// More than the type holds.
    #[error("'{0}' is too large")]
    TooLarge(String),
}

const DURATION_EXAMPLE: &str = "\"30s\"";
const DURATION_UNITS: &str = "ms, s, m, h, d";
const SIZE_EXAMPLE: &str = "\"64MiB\"";
const SIZE_UNITS: &str = "B, KiB, MiB, GiB, TiB (and kB, MB, GB, TB in steps of 1000)";

/// Milliseconds of each unit, from the largest.
const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes of each unit. The binary ones come first, so that [`format_size`] prefers them.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a duration: whole numbers with the units `ms`, `s`, `m`, `h`, `d`, largest first.
///
/// # Errors
/// If the text is anything else or longer than 2⁶⁴ milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(UnitError::Empty(DURATION_EXAMPLE));
    }
    let mut millis = 0_u64;
    let mut previous = u64::MAX;
    while !rest.is_empty() {
        let (number, unit, after) = next_part(rest, text, DURATION_EXAMPLE)?;
        let Some((_, unit_millis)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
            return Err(UnitError::UnknownUnit(shortened(unit), DURATION_UNITS));
        };
        if *unit_millis >= previous {
            return Err(UnitError::Order(shortened(text)));
        }
        previous = *unit_millis;
        millis = number
            .checked_mul(*unit_millis)
            .and_then(|part| millis.checked_add(part))
            .ok_or_else(|| UnitError::TooLarge(shortened(text)))?;
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// Reads a size in bytes: one whole number with one unit, `B`, `KiB`, `MiB`, `GiB`, `TiB`, or the decimal ones.
///
/// # Errors
/// If the text is anything else or more than 2⁶⁴ bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(UnitError::Empty(SIZE_EXAMPLE));
    }
    let (number, unit, after) = next_part(trimmed, text, SIZE_EXAMPLE)?;
    let known = SIZES.iter().find(|(name, _)| *name == unit).filter(|_| after.is_empty());
    let Some((_, unit_bytes)) = known else {
        return Err(UnitError::UnknownUnit(
            shortened(trimmed.trim_start_matches(|c: char| c.is_ascii_digit())),
            SIZE_UNITS,
        ));
    };
    number.checked_mul(*unit_bytes).ok_or_else(|| UnitError::TooLarge(shortened(text)))
}

/// Writes a duration in the shortest way that [`parse_duration`] reads; parts below a millisecond are cut.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in DURATIONS {
        let count = rest / millis;
        if count > 0 {
            let _ = write!(text, "{count}{unit}");
            rest %= millis;
        }
    }
    text
}

/// Writes a size with the largest unit that divides it.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (unit, unit_bytes) =
        SIZES.into_iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size)).unwrap_or(("B", 1));
    format!("{}{unit}", bytes / unit_bytes)
}

/// Number, unit and what follows.
fn next_part<'a>(rest: &'a str, whole: &str, example: &'static str) -> Result<(u64, &'a str, &'a str), UnitError> {
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, after) = rest.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NoNumber(shortened(whole), example));
    }
    let number = number.parse().map_err(|_| UnitError::TooLarge(shortened(whole)))?;
    let after = after.trim_start();
    let letters = after.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(after.len());
    let (unit, after) = after.split_at(letters);
    if unit.is_empty() {
        return Err(UnitError::NoUnit(shortened(whole), example));
    }
    Ok((number, unit, after.trim_start()))
}

/// Keeps messages short whatever stands in a file.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in [
            ("0s", 0),
            ("100ms", 100),
            ("30s", 30_000),
            ("93s", 93_000),
            ("5m", 300_000),
            ("12h", 43_200_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            (" 1h 30m ", 5_400_000),
            ("1s500ms", 1_500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_told_why() {
        for (text, part) in [
            ("", "is empty"),
            ("30", "no unit"),
            ("s", "whole number"),
            ("-5s", "whole number"),
            ("1.5h", "no unit"),
            ("30sec", "'sec' is no unit"),
            ("30m1h", "largest to the smallest"),
            ("1h1h", "largest to the smallest"),
            ("99999999999999999999s", "too large"),
            ("18446744073709551615d", "too large"),
            ("30s ä", "whole number"),
        ] {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("0B", 0), ("512B", 512), ("1KiB", 1_024), ("256MiB", 256 << 20), ("1 GiB", 1 << 30), ("5MB", 5_000_000)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for (text, part) in [
            ("", "is empty"),
            ("5", "no unit"),
            ("5M", "'M' is no unit"),
            ("5MiB3KiB", "is no unit"),
            ("x", "whole number"),
            ("99999999999TiB", "too large"),
        ] {
            let error = parse_size(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for millis in [0, 1, 999, 1_000, 61_000, 93_000, 5_400_000, 86_400_000, 90_061_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        assert_eq!(format_duration(Duration::from_secs(93)), "1m33s");
        for bytes in [0, 1, 1_000, 1_024, 1_048_576, 5_000_000, u64::MAX] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        assert_eq!(format_size(256 << 20), "256MiB");
    }

    #[test]
    fn long_texts_do_not_make_long_messages() {
        let text = "ü".repeat(10_000);
        assert!(parse_duration(&text).unwrap_err().to_string().len() < 200);
        assert!(parse_size(&text).unwrap_err().to_string().len() < 200);
    }
}

//! Durations and sizes as people write them in configuration, mapping files and JSON options: `30s`, `1h30m`, `256MiB`.

use std::time::Duration;

/// Longest text that a unit parser looks at, in bytes.
const MAX_TEXT_BYTES: usize = 64;

/// Suffixes of durations with their length in microseconds, longest unit first.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("w", 7 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Suffixes of sizes with their length in bytes.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Why a text is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text is no duration.
    #[error(
        "'{0}' is no duration; write a number with its unit, such as \"500ms\", \"30s\", \"5m\", \"12h\" or \"7d\""
    )]
    Duration(String),
    /// The text is no size.
    #[error("'{0}' is no size; write a whole number with its unit, such as \"4096B\", \"64KiB\" or \"256MiB\"")]
    Size(String),
}

/// A duration such as `500ms`, `1.5s`, `5m`, `1h30m` or `0s`. Units: `us ms s m h d w`; each part needs its unit.
///
/// # Errors
/// For anything else, and for durations beyond 2^64 microseconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    duration_micros(text)
        .map(Duration::from_micros)
        .ok_or_else(|| UnitError::Duration(text.chars().take(MAX_TEXT_BYTES).collect()))
}

fn duration_micros(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|&end| end > 0)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, micros) = DURATION_UNITS.into_iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(scaled(number, micros)?)?;
        rest = tail;
    }
    Some(total)
}

/// A decimal number times a unit, exact down to one; finer fractions are cut off.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit) / scale;
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// A size in bytes such as `4096B`, `64KiB`, `256MiB` or `1GB`.
///
/// # Errors
/// For anything else, and for sizes beyond 2^64 bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    size_bytes(text).ok_or_else(|| UnitError::Size(text.chars().take(MAX_TEXT_BYTES).collect()))
}

fn size_bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).filter(|&end| end > 0)?;
    let (number, unit) = text.split_at(end);
    let (_, bytes) = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

/// A duration in the form that [`parse_duration`] reads back: `1h30m`, `1s500ms`, `0s`. Nanoseconds are cut off.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    // Weeks are read but not written: "14d" says more than "2w" beside other days.
    for (unit, micros) in DURATION_UNITS.into_iter().skip(1) {
        let count = rest / micros;
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
            rest %= micros;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("12h", 43_200_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn texts_without_unit_or_with_another_are_no_duration() {
        for text in
            ["", "5", "s", "5 s", "5x", "-5s", "1..5s", ".5s", "5s3", "99999999999999999999s", "5min", "600000w5"]
        {
            assert!(matches!(parse_duration(text), Err(UnitError::Duration(_))), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_both_powers() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("1GB"), Ok(1_000_000_000));
        assert_eq!(parse_size("4096B"), Ok(4_096));
        for text in ["", "5", "MiB", "1.5MiB", "1 MiB", "1mib", "99999999999GiB"] {
            assert!(matches!(parse_size(text), Err(UnitError::Size(_))), "{text}");
        }
    }

    #[test]
    fn formatted_durations_are_read_back() {
        for (millis, text) in [(0, "0s"), (1_500, "1s500ms"), (5_400_000, "1h30m"), (1_209_600_000, "14d")] {
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        }
    }
}

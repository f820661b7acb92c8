//! Times of records, and dates in text (RFC 8428 section 4.5.3, RFC 3339).

use crate::model::time::WallTime;

use super::ContentError;

/// Seconds below this count from now, those above from 1970 (RFC 8428 section 4.5.3: 2^28).
const ABSOLUTE_FROM_SECS: f64 = 268_435_456.0;
const ABSOLUTE_FROM_MILLIS: i64 = 268_435_456_000;

/// Milliseconds up to here are exact in the arithmetic of doubles: about the year 280,000.
const MAX_SECS: f64 = 9_000_000_000_000.0;

/// The point that a time of a record means, exact to the millisecond.
pub(super) fn resolved(seconds: f64, received: WallTime) -> Result<WallTime, ContentError> {
    // A comparison that NaN fails too.
    if !(-MAX_SECS..=MAX_SECS).contains(&seconds) {
        return Err(ContentError::malformed(format!("time {seconds} is out of range")));
    }
    let millis = (seconds * 1_000.0).round() as i64;
    Ok(if seconds < ABSOLUTE_FROM_SECS { received.shifted(millis) } else { WallTime::from_millis(millis) })
}

/// The seconds that stand for `ts` in a record; fractions are of milliseconds.
pub(super) fn absolute_millis(ts: WallTime) -> Result<i64, ContentError> {
    let millis = ts.millis();
    if (ABSOLUTE_FROM_MILLIS..=9_000_000_000_000_000).contains(&millis) {
        return Ok(millis);
    }
    Err(ContentError::unfitting(format!("{millis} ms since 1970 cannot be written as an absolute time of a record")))
}

/// `1699877805.766` for its milliseconds, without rounding.
pub(super) fn decimal_seconds(millis: i64) -> String {
    let (secs, rest) = (millis / 1_000, millis % 1_000);
    if rest == 0 {
        return secs.to_string();
    }
    let text = format!("{secs}.{rest:03}");
    text.trim_end_matches('0').to_owned()
}

/// Seconds since 1970 of an RFC 3339 date-time; a fraction of a second is cut off.
pub(super) fn parse_rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        if !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        part.parse().ok()
    };
    let separator = |at: usize, wanted: &[u8]| text.as_bytes().get(at).is_some_and(|byte| wanted.contains(byte));
    if !(separator(4, b"-")
        && separator(7, b"-")
        && separator(10, b"Tt ")
        && separator(13, b":")
        && separator(16, b":"))
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        rest = fraction.get(digits..)?;
    }
    let offset_secs = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let start = text.len().checked_sub(5)?;
            if rest.len() != 6 || !separator(start + 2, b":") {
                return None;
            }
            let (hours, minutes) = (number(start, start + 2)?, number(start + 3, start + 5)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3_600 + minutes * 60)
        }
    };
    let secs_of_day = hour * 3_600 + minute * 60 + second;
    Some(days_since_1970(year, month, day) * 86_400 + secs_of_day - offset_secs)
}

/// Days from 1970-01-01 to a date of the years 0 to 9999.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that the leap day ends the year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8428_4_5_3_small_times_count_from_now() {
        let received = WallTime::from_millis(1_700_000_000_500);
        assert_eq!(resolved(-5.25, received), Ok(WallTime::from_millis(1_699_999_995_250)));
        assert_eq!(resolved(0.0, received), Ok(received));
        assert_eq!(resolved(268_435_455.0, received), Ok(received.shifted(268_435_455_000)));
        assert_eq!(resolved(268_435_456.0, received), Ok(WallTime::from_secs(268_435_456)));
        assert_eq!(resolved(1_699_877_805.766 + 0.101, received), Ok(WallTime::from_millis(1_699_877_805_867)));
    }

    #[test]
    fn times_that_no_clock_shows_are_refused() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e13] {
            assert!(resolved(seconds, WallTime::from_millis(0)).is_err(), "{seconds}");
        }
        assert!(absolute_millis(WallTime::from_secs(5)).is_err());
        assert!(absolute_millis(WallTime::from_millis(i64::MAX)).is_err());
    }

    #[test]
    fn every_millisecond_has_an_exact_text() {
        for millis in 1_699_877_805_000..1_699_877_806_000_i64 {
            let seconds: f64 = decimal_seconds(millis).parse().unwrap();
            assert_eq!(resolved(seconds, WallTime::from_millis(0)), Ok(WallTime::from_millis(millis)));
        }
        assert_eq!(decimal_seconds(1_699_877_805_700), "1699877805.7");
        assert_eq!(decimal_seconds(1_699_877_805_000), "1699877805");
    }

    #[test]
    fn dates_are_seconds() {
        assert_eq!(parse_rfc3339("2013-03-21T20:04:00Z"), Some(1_363_896_240));
        assert_eq!(parse_rfc3339("2013-03-21T22:04:00.75+02:00"), Some(1_363_896_240));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_rfc3339("2000-02-29T00:00:00Z"), Some(951_782_400));
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59Z"), Some(-1));
        for text in [
            "",
            "2013-03-21",
            "2013-02-30T00:00:00Z",
            "2013-13-01T00:00:00Z",
            "2013-03-21T24:04:00Z",
            "2013-03-21T20:04:00",
            "2013-03-21T20:04:00.Z",
            "2013-03-21T20:04:00+0200",
            "2013-03-21T20:04:00+2é:0",
            "+013-03-21T20:04:00Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}

//! How numbers, links and bytes are spelled in text (Core TS 1.2.2 Appendix C).

use data_encoding::{BASE64, BASE64URL_NOPAD};

use super::quirk::{self, Quirks};

/// A decimal integer in the one spelling of the formats: digits after an optional minus.
pub(super) fn parse_signed(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A decimal integer without sign.
pub(super) fn parse_unsigned(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A decimal number, finite, with optional fraction and exponent.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let first = text.strip_prefix('-').unwrap_or(text).bytes().next()?;
    // Words such as "inf" are numbers for the standard library and not for the formats.
    let spelt = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !spelt || !(first.is_ascii_digit() || first == b'.') {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// `66:0` as an object link; also the null link as some examples print it.
pub(super) fn parse_link(text: &str, quirks: &mut Quirks) -> Option<(u16, u16)> {
    if text.eq_ignore_ascii_case("FFFF:FFFF") {
        quirks.note(quirk::HEXADECIMAL_NULL_LINK);
        return Some((u16::MAX, u16::MAX));
    }
    let (object, instance) = text.split_once(':')?;
    let id = |part: &str| -> Option<u16> { parse_unsigned(part).and_then(|number| u16::try_from(number).ok()) };
    Some((id(object)?, id(instance)?))
}

/// Base64 in either alphabet, padded or not; `url_safe` says which form is the regular one.
pub(super) fn decode_base64(text: &str, url_safe: bool, quirks: &mut Quirks) -> Option<Vec<u8>> {
    let regular = if url_safe { &BASE64URL_NOPAD } else { &BASE64 };
    if let Ok(bytes) = regular.decode(text.as_bytes()) {
        return Some(bytes);
    }
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return None;
    }
    let body: Vec<u8> = body
        .bytes()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => other,
        })
        .collect();
    let bytes = BASE64URL_NOPAD.decode(&body).ok()?;
    quirks.note(quirk::BASE64_VARIANT);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_all_four_forms() {
        for text in ["-_8=", "-_8", "+/8=", "+/8"] {
            assert_eq!(decode_base64(text, true, &mut Quirks::default()), Some(vec![0xfb, 0xff]), "{text}");
            assert_eq!(decode_base64(text, false, &mut Quirks::default()), Some(vec![0xfb, 0xff]), "{text}");
        }
        for text in ["-_8==", "A", "=", "AQ=ID", "!!!", "AQ=", "AQI==="] {
            assert_eq!(decode_base64(text, true, &mut Quirks::default()), None, "{text}");
        }
    }
}

//! Device names as one topic level.
//!
//! `%`, `/`, `+`, `#` and control characters are percent-encoded, and so is the first letter of a device called
//! `bridge`, since that level belongs to the gateway itself. Everything else stays as it is, so that names remain
//! readable.

/// The level that belongs to the gateway.
pub const BRIDGE: &str = "bridge";

/// The topic level of a device name.
pub fn encode_level(name: &str) -> String {
    use std::fmt::Write as _;
    if name == BRIDGE {
        return "%62ridge".to_owned();
    }
    let mut level = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '%' | '/' | '+' | '#') || character.is_control() {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                let _ = write!(level, "%{byte:02X}");
            }
        } else {
            level.push(character);
        }
    }
    level
}

/// The device name of a topic level; `None` if a percent sign is not followed by two hexadecimal digits or the result
/// is not UTF-8.
pub fn decode_level(level: &str) -> Option<String> {
    if !level.contains('%') {
        return Some(level.to_owned());
    }
    let mut bytes = Vec::with_capacity(level.len());
    let mut rest = level.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether a topic may be published to: not empty, no wildcards, no NUL, at most 65,535 bytes (MQTT 3.1.1 section 4.7).
pub fn is_publishable(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= 65_535 && !topic.contains(['+', '#', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_becomes_one_publishable_level_and_comes_back() {
        for name in ["weather-1", "urn:imei:1", "a/b+c#d%e", "bridge", "bridge2", "gerät", "\u{7f}x\u{85}", "%62ridge"]
        {
            let level = encode_level(name);
            assert!(is_publishable(&level) && !level.contains('/') && level != BRIDGE, "{level}");
            assert_eq!(decode_level(&level).as_deref(), Some(name));
        }
        assert_eq!(encode_level("a/b"), "a%2Fb");
        assert_eq!(encode_level("bridge"), "%62ridge");
    }

    #[test]
    fn broken_percent_encoding_is_refused() {
        for level in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode_level(level), None, "{level}");
        }
    }
}

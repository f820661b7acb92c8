//! Versions of the enabler and of objects: `1.1`, `1.0`, `2.1`.

use std::fmt;
use std::str::FromStr;

/// A version of two numbers; a third one (`1.0.0`) is accepted in text and ignored, as devices in the field write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Changes of this number break compatibility.
    pub major: u8,
    /// Changes of this number add.
    pub minor: u8,
}

impl Version {
    /// 1.0, the version of everything that does not say its version.
    pub const V1_0: Self = Self::new(1, 0);
    /// 1.1.
    pub const V1_1: Self = Self::new(1, 1);
    /// 1.2.
    pub const V1_2: Self = Self::new(1, 2);

    /// The version `major.minor`.
    #[must_use]
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version such as 1.1")]
pub struct VersionError(pub String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let invalid = || VersionError(text.chars().take(20).collect());
        let number = |part: &str| -> Result<u8, VersionError> {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse().map_err(|_| invalid()) } else { Err(invalid()) }
        };
        let mut parts = text.split('.');
        let major = number(parts.next().unwrap_or_default())?;
        let minor = number(parts.next().ok_or_else(invalid)?)?;
        if let Some(patch) = parts.next() {
            number(patch)?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_or_three_numbers_are_a_version() {
        assert_eq!("1.1".parse(), Ok(Version::V1_1));
        assert_eq!("1.0.0".parse(), Ok(Version::V1_0));
        for text in ["", "1", "1.", ".1", "a.b", "1.0.0.0", "1.-1", "300.1"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}

//! Endpoint names (Core TS 1.2.2 section 6.2.1): what a device calls itself.

use std::fmt;
use std::sync::Arc;

/// The name by which a device registers. Cheap to clone; compared byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(Arc<str>);

/// Why a text cannot be an endpoint name here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The name is empty.
    #[error("the endpoint name is empty")]
    Empty,
    /// The name has more than [`Endpoint::MAX_BYTES`] bytes.
    #[error("the endpoint name has {0} bytes, more than {max}", max = Endpoint::MAX_BYTES)]
    TooLong(usize),
    /// The name holds a control character, which no topic, log line or terminal should carry.
    #[error("the endpoint name holds a control character")]
    ControlCharacter,
}

impl Endpoint {
    /// The longest name taken. A CoAP option carries 255 bytes of which `ep=` takes three.
    pub const MAX_BYTES: usize = 252;

    /// Checks a name.
    ///
    /// # Errors
    /// If it is empty, too long or holds control characters.
    pub fn new(name: &str) -> Result<Self, EndpointError> {
        if name.is_empty() {
            return Err(EndpointError::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(EndpointError::TooLong(name.len()));
        }
        if name.chars().any(char::is_control) {
            return Err(EndpointError::ControlCharacter);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for Endpoint {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_field_are_taken_and_unusable_ones_refused() {
        for name in ["urn:uuid:f81d4fae", "weather-1", "a/b+c#d%", "gerät"] {
            assert_eq!(Endpoint::new(name).unwrap().as_str(), name);
        }
        assert_eq!(Endpoint::new(""), Err(EndpointError::Empty));
        assert_eq!(Endpoint::new("a\nb"), Err(EndpointError::ControlCharacter));
        assert_eq!(Endpoint::new(&"x".repeat(1_000)), Err(EndpointError::TooLong(1_000)));
    }
}

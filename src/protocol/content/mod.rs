//! Content formats: payload bytes to samples and back (Core TS 1.2.2 section 7.4).
//!
//! Decoding goes by the format that the message itself names, never by what was asked for. Types come from the object
//! model where it knows the resource and from the payload alone where it does not: a value is never dropped for lack
//! of a definition. A malformed payload is refused whole; no partial result leaves this module.

use std::fmt;

use crate::model::object::ResourceTypes;
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::time::WallTime;
use crate::model::value::Value;

/// A CoAP content-format number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentFormat(pub u16);

impl ContentFormat {
    /// `text/plain`: one resource.
    pub const TEXT: Self = Self(0);
    /// `application/link-format`.
    pub const LINK_FORMAT: Self = Self(40);
    /// `application/octet-stream`: one opaque resource.
    pub const OPAQUE: Self = Self(42);
    /// `application/cbor`: one resource.
    pub const CBOR: Self = Self(60);
    /// `application/senml+json`.
    pub const SENML_JSON: Self = Self(110);
    /// `application/senml+cbor`.
    pub const SENML_CBOR: Self = Self(112);
    /// `application/vnd.oma.lwm2m+tlv`.
    pub const TLV: Self = Self(11542);
    /// `application/vnd.oma.lwm2m+json`, LwM2M 1.0 only.
    pub const OMA_JSON: Self = Self(11543);
    /// `application/vnd.oma.lwm2m+cbor`.
    pub const LWM2M_CBOR: Self = Self(11544);
    /// Text, by its number before IANA gave one; accepted on input.
    pub const OLD_TEXT: Self = Self(1541);
    /// TLV, by its old number.
    pub const OLD_TLV: Self = Self(1542);
    /// JSON, by its old number.
    pub const OLD_JSON: Self = Self(1543);

    /// The names of the command line and of commands: `text`, `tlv`, `senml-cbor`, ...
    pub const NAMES: [(&'static str, Self); 9] = [
        ("text", Self::TEXT),
        ("link", Self::LINK_FORMAT),
        ("opaque", Self::OPAQUE),
        ("cbor", Self::CBOR),
        ("senml-json", Self::SENML_JSON),
        ("senml-cbor", Self::SENML_CBOR),
        ("tlv", Self::TLV),
        ("json", Self::OMA_JSON),
        ("lwm2m-cbor", Self::LWM2M_CBOR),
    ];

    /// A format by name or number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
        named.or_else(|| text.parse().ok().map(Self))
    }
}

impl fmt::Display for ContentFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, format)| format == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// What a decoder knows besides the bytes.
#[derive(Clone, Copy)]
pub struct DecodeContext<'a> {
    /// Path of the request or observation; the root for Send.
    pub base: Path,
    /// Alternate root path of the device (`/lwm2m`), or empty: stripped from SenML names.
    pub root: &'a str,
    /// Types of resources.
    pub types: &'a dyn ResourceTypes,
    /// When the payload arrived: relative times count from here.
    pub received: WallTime,
}

/// What a payload said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Samples in the order of the payload.
    pub samples: Vec<Sample>,
    /// Short fixed words for each way in which the payload bent the standard and was tolerated.
    pub quirks: Vec<&'static str>,
}

/// Why a payload was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Nobody here reads this format.
    #[error("content format {0} is not supported")]
    UnsupportedFormat(u16),
    /// The bytes break the format; says where and how.
    #[error("{0}")]
    Malformed(String),
    /// The format is fine and the content is not: a path outside the request, a value of the wrong type.
    #[error("{0}")]
    Unfitting(String),
}

/// Decodes a payload.
///
/// # Errors
/// If the format is not supported or the payload is malformed.
pub fn decode(format: ContentFormat, payload: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, ContentError> {
    let _ = (payload, context);
    Err(ContentError::UnsupportedFormat(format.0))
}

/// Encodes values for a request on `base`: a resource, an instance, or (Create) an object.
///
/// # Errors
/// If the format cannot carry these values, for example text for several resources.
pub fn encode(
    format: ContentFormat,
    base: Path,
    values: &[(Path, Value)],
    types: &dyn ResourceTypes,
) -> Result<Vec<u8>, ContentError> {
    let _ = (base, values, types);
    Err(ContentError::UnsupportedFormat(format.0))
}

/// Encodes the values of a Create that chooses the id of the new instance: the request goes to the object.
///
/// # Errors
/// As [`encode`].
pub fn encode_new_instance(
    format: ContentFormat,
    instance: Path,
    values: &[(Path, Value)],
    types: &dyn ResourceTypes,
) -> Result<Vec<u8>, ContentError> {
    let _ = (instance, values, types);
    Err(ContentError::UnsupportedFormat(format.0))
}

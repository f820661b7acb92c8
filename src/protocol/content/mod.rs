//! Content formats: payload bytes to samples and back (Core TS 1.2.2 section 7.5).
//!
//! Decoding goes by the format that the message itself names, never by what was asked for. Types come from the object
//! model where it knows the resource and from the payload alone where it does not: a value is never dropped for lack
//! of a definition. A malformed payload is refused whole; no partial result leaves this module.
//!
//! ```text
//!  bytes ─► syntax            ─► names, ids and scalars         ─► samples
//!           tlv::parse           (alternate root, base fields,     (declared types, quirks)
//!           cbor_item            times, nesting)                    scalar::typed, tlv_layout
//!           json_scalar          senml, lwm2m_cbor, oma_json
//! ```
//!
//! Every step is a public function of its own, so that a payload that is sound SenML or CBOR and no LwM2M can still be
//! looked at. Leniency: what devices in the field bend is accepted and named by a word of [`quirk`]; what contradicts
//! the format or the declared type is refused. Nothing is allocated by a length that the payload only claims, and
//! nesting is bounded.

mod cbor;
pub mod cbor_item;
mod entry;
mod json_scalar;
pub mod lwm2m_cbor;
pub mod oma_json;
mod opaque;
pub mod quirk;
pub mod scalar;
pub mod senml;
mod senml_cbor;
mod senml_json;
mod senml_record;
mod spelling;
mod text;
mod timestamp;
pub mod tlv;
mod tlv_layout;
mod tlv_value;

#[cfg(test)]
mod mutation_test;
#[cfg(test)]
mod round_trip_test;
#[cfg(test)]
mod test_types;
#[cfg(test)]
mod vectors_test;

use std::fmt;

use crate::model::object::ResourceTypes;
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::time::WallTime;
use crate::model::value::Value;

use entry::Entry;
use quirk::Quirks;
use scalar::Wire;

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
    /// `application/senml-etch+json`: bodies of composite requests.
    pub const SENML_ETCH_JSON: Self = Self(320);
    /// `application/senml-etch+cbor`: bodies of composite requests.
    pub const SENML_ETCH_CBOR: Self = Self(322);
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
    pub const NAMES: [(&'static str, Self); 11] = [
        ("text", Self::TEXT),
        ("link", Self::LINK_FORMAT),
        ("opaque", Self::OPAQUE),
        ("cbor", Self::CBOR),
        ("senml-json", Self::SENML_JSON),
        ("senml-cbor", Self::SENML_CBOR),
        ("senml-etch-json", Self::SENML_ETCH_JSON),
        ("senml-etch-cbor", Self::SENML_ETCH_CBOR),
        ("tlv", Self::TLV),
        ("json", Self::OMA_JSON),
        ("lwm2m-cbor", Self::LWM2M_CBOR),
    ];

    /// The registered number of a format that has an old one too; every other format as it is.
    #[must_use]
    pub const fn current(self) -> Self {
        match self {
            Self::OLD_TEXT => Self::TEXT,
            Self::OLD_TLV => Self::TLV,
            Self::OLD_JSON => Self::OMA_JSON,
            other => other,
        }
    }

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

impl ContentError {
    fn malformed(text: impl Into<String>) -> Self {
        Self::Malformed(text.into())
    }

    fn unfitting(text: impl Into<String>) -> Self {
        Self::Unfitting(text.into())
    }
}

/// What a writing payload asks for: values, and resource instances to delete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Path and new value in the order of the payload; `None` deletes the resource instance.
    pub changes: Vec<(Path, Option<Value>)>,
    /// Short fixed words for each way in which the payload bent the standard and was tolerated.
    pub quirks: Vec<&'static str>,
}

/// Decodes a payload into samples.
///
/// The old numbers of text, TLV and JSON and the numbers of SenML-ETCH (with values) are accepted. Formats of a single
/// value need a `base` that names a resource or a resource instance; TLV needs at least an object.
///
/// # Errors
/// If the format is not supported (also for the link format, which carries no values) or the payload is malformed,
/// holds a path outside `base` or a value that contradicts the declared type.
pub fn decode(format: ContentFormat, payload: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, ContentError> {
    let mut quirks = Quirks::default();
    let samples = match format.current() {
        ContentFormat::TEXT => vec![text::decode(payload, context, &mut quirks)?],
        ContentFormat::OPAQUE => vec![opaque::decode(payload, context, &mut quirks)?],
        ContentFormat::CBOR => vec![cbor::decode(payload, context, &mut quirks)?],
        ContentFormat::SENML_JSON | ContentFormat::SENML_ETCH_JSON => {
            senml::decode(Wire::SenmlJson, payload, context, &mut quirks)?
        }
        ContentFormat::SENML_CBOR | ContentFormat::SENML_ETCH_CBOR => {
            senml::decode(Wire::SenmlCbor, payload, context, &mut quirks)?
        }
        ContentFormat::TLV => tlv_layout::decode(payload, context, &mut quirks)?,
        ContentFormat::OMA_JSON => oma_json::decode(payload, context, &mut quirks)?,
        ContentFormat::LWM2M_CBOR => lwm2m_cbor::decode(payload, context, &mut quirks)?,
        other => return Err(ContentError::UnsupportedFormat(other.0)),
    };
    Ok(Decoded { samples, quirks: quirks.into_words() })
}

/// What a pack for several devices said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecodedByRoot {
    /// Samples in the order of the payload, each with the position of its context.
    pub samples: Vec<(usize, Sample)>,
    /// Short fixed words for each way in which the payload bent the standard and was tolerated.
    pub quirks: Vec<&'static str>,
}

/// Decodes a pack whose names lie below several roots, as a gateway device sends for the devices behind it: the samples
/// in their order, each with the position of its context. Names below none of the roots belong to the first context.
///
/// # Errors
/// As for [`decode`]; only SenML names roots.
pub fn decode_by_root(
    format: ContentFormat,
    payload: &[u8],
    contexts: &[DecodeContext<'_>],
) -> Result<DecodedByRoot, ContentError> {
    let wire = match format {
        ContentFormat::SENML_JSON | ContentFormat::SENML_ETCH_JSON => Wire::SenmlJson,
        ContentFormat::SENML_CBOR | ContentFormat::SENML_ETCH_CBOR => Wire::SenmlCbor,
        other => return Err(ContentError::UnsupportedFormat(other.0)),
    };
    let mut quirks = Quirks::default();
    let samples = senml::decode_by_root(wire, payload, contexts, &mut quirks)?;
    Ok(DecodedByRoot { samples, quirks: quirks.into_words() })
}

/// Decodes the body of a write that may delete resource instances: `v: null` in SenML, `null` in LwM2M CBOR.
///
/// # Errors
/// As for [`decode`]; other formats than these have no null.
pub fn decode_changes(
    format: ContentFormat,
    payload: &[u8],
    context: &DecodeContext<'_>,
) -> Result<Changes, ContentError> {
    let mut quirks = Quirks::default();
    let changes = match format.current() {
        ContentFormat::SENML_JSON | ContentFormat::SENML_ETCH_JSON => {
            senml::decode_changes(Wire::SenmlJson, payload, context, &mut quirks)?
        }
        ContentFormat::SENML_CBOR | ContentFormat::SENML_ETCH_CBOR => {
            senml::decode_changes(Wire::SenmlCbor, payload, context, &mut quirks)?
        }
        ContentFormat::LWM2M_CBOR => lwm2m_cbor::decode_changes(payload, context, &mut quirks)?,
        _ => {
            let decoded = decode(format, payload, context)?;
            let changes = decoded.samples.into_iter().map(|sample| (sample.path, Some(sample.value))).collect();
            return Ok(Changes { changes, quirks: decoded.quirks });
        }
    };
    Ok(Changes { changes, quirks: quirks.into_words() })
}

/// Decodes the body of a Read-Composite or Observe-Composite: SenML names without values.
///
/// `root` is the alternate root path, or empty.
///
/// # Errors
/// If the format is not SenML, the pack is malformed, or a record carries a value.
pub fn decode_paths(format: ContentFormat, payload: &[u8], root: &str) -> Result<Vec<Path>, ContentError> {
    match format {
        ContentFormat::SENML_JSON | ContentFormat::SENML_ETCH_JSON => {
            senml::decode_paths(Wire::SenmlJson, payload, root)
        }
        ContentFormat::SENML_CBOR | ContentFormat::SENML_ETCH_CBOR => {
            senml::decode_paths(Wire::SenmlCbor, payload, root)
        }
        other => Err(ContentError::UnsupportedFormat(other.0)),
    }
}

/// Encodes values for a request on `base`: a resource, an instance, or (Create) an object.
///
/// With an object as `base`, values of instance 0 alone stand for "the device chooses the instance": TLV then carries
/// the bare resources, without an Object Instance around them. SenML, JSON and LwM2M CBOR have no such form and name
/// `/object/0/..`. Use [`encode_samples`] where the instance must be named, as in answers and in a Create of a certain
/// instance. The root as `base` is for composite requests and Send.
///
/// # Errors
/// If the format cannot carry these values, for example text for several resources.
pub fn encode(
    format: ContentFormat,
    base: Path,
    values: &[(Path, Value)],
    types: &dyn ResourceTypes,
) -> Result<Vec<u8>, ContentError> {
    encode_below_root(format, "", base, values, types)
}

/// Encodes as [`encode`] does, with the alternate root (`/lwm2m`) of the device before every name that the format
/// spells out: SenML and OMA JSON.
///
/// # Errors
/// As for [`encode`].
pub fn encode_below_root(
    format: ContentFormat,
    root: &str,
    base: Path,
    values: &[(Path, Value)],
    types: &dyn ResourceTypes,
) -> Result<Vec<u8>, ContentError> {
    let entries: Vec<Entry<'_>> =
        values.iter().map(|(path, value)| Entry { path: *path, value: Some(value), ts: None }).collect();
    let chosen_by_device = base.depth() == 1 && entries.iter().all(|entry| entry.path.instance_id() == Some(0));
    encode_entries(format, root, base, &entries, types, chosen_by_device)
}

/// Encodes samples as a device does in the answer to a Read of `base`, in a notification or (base is the root) in Send.
///
/// A sample with a time keeps it, as absolute seconds with a fraction of milliseconds; only SenML and OMA JSON can
/// carry one. TLV names object instances wherever `base` does not.
///
/// # Errors
/// If the format cannot carry these samples: several for a single-value format, a time for TLV, a time before July
/// 1978, which SenML would take for a relative one.
pub fn encode_samples(
    format: ContentFormat,
    base: Path,
    samples: &[Sample],
    types: &dyn ResourceTypes,
) -> Result<Vec<u8>, ContentError> {
    let entries: Vec<Entry<'_>> =
        samples.iter().map(|sample| Entry { path: sample.path, value: Some(&sample.value), ts: sample.ts }).collect();
    encode_entries(format, "", base, &entries, types, false)
}

/// Encodes the body of a Read-Composite or Observe-Composite: SenML names without values.
///
/// `root` is the alternate root path, or empty.
///
/// # Errors
/// If the format is not SenML.
pub fn encode_paths(format: ContentFormat, paths: &[Path], root: &str) -> Result<Vec<u8>, ContentError> {
    match format {
        ContentFormat::SENML_JSON | ContentFormat::SENML_ETCH_JSON => Ok(senml_json::encode_paths(paths, root)),
        ContentFormat::SENML_CBOR | ContentFormat::SENML_ETCH_CBOR => senml_cbor::encode_paths(paths, root),
        other => Err(ContentError::UnsupportedFormat(other.0)),
    }
}

/// Encodes the body of a Write-Composite: values by full path, `None` deletes a resource instance.
///
/// `root` is the alternate root path, or empty. Null belongs to SenML-ETCH and LwM2M CBOR (Core TS 1.2.2 section 7.5.5).
///
/// # Errors
/// If the format is no multi-value format that names objects, or has no null and one is there.
pub fn encode_changes(
    format: ContentFormat,
    changes: &[(Path, Option<Value>)],
    types: &dyn ResourceTypes,
    root: &str,
) -> Result<Vec<u8>, ContentError> {
    let deletes = changes.iter().any(|(_, value)| value.is_none());
    if deletes && matches!(format, ContentFormat::SENML_JSON | ContentFormat::SENML_CBOR) {
        return Err(ContentError::unfitting(format!("format {format} has no null; SenML-ETCH has")));
    }
    let entries: Vec<Entry<'_>> =
        changes.iter().map(|(path, value)| Entry { path: *path, value: value.as_ref(), ts: None }).collect();
    encode_entries(format, root, Path::ROOT, &entries, types, false)
}

/// The path of a single-value payload: the resource or resource instance that was asked for.
fn single_path(context: &DecodeContext<'_>) -> Result<Path, ContentError> {
    let path = context.base;
    if path.depth() >= 3 {
        return Ok(path);
    }
    Err(ContentError::unfitting(format!("this format carries one value, and {path} is no resource")))
}

fn encode_entries(
    format: ContentFormat,
    root: &str,
    base: Path,
    entries: &[Entry<'_>],
    types: &dyn ResourceTypes,
    chosen_by_device: bool,
) -> Result<Vec<u8>, ContentError> {
    entry::check(format, base, entries)?;
    match format.current() {
        ContentFormat::TEXT => text::encode(entry::single(base, entries)?),
        ContentFormat::OPAQUE => opaque::encode(entry::single(base, entries)?),
        ContentFormat::CBOR => cbor::encode(entry::single(base, entries)?),
        ContentFormat::SENML_JSON | ContentFormat::SENML_ETCH_JSON => senml_json::encode(root, entries),
        ContentFormat::SENML_CBOR | ContentFormat::SENML_ETCH_CBOR => senml_cbor::encode(root, entries),
        ContentFormat::TLV => tlv::encode(base, entries, types, chosen_by_device),
        ContentFormat::OMA_JSON => oma_json::encode(root, base, entries),
        ContentFormat::LWM2M_CBOR => lwm2m_cbor::encode(base, entries),
        other => Err(ContentError::UnsupportedFormat(other.0)),
    }
}

/// Encodes the values of a Create that chooses the id of the new instance: the request goes to the object. `root` is
/// the alternate root path, or empty.
///
/// # Errors
/// As [`encode`].
pub fn encode_new_instance(
    format: ContentFormat,
    root: &str,
    instance: Path,
    values: &[(Path, Value)],
    types: &dyn ResourceTypes,
) -> Result<Vec<u8>, ContentError> {
    let object = instance.truncated(1).unwrap_or(instance);
    let entries: Vec<Entry<'_>> =
        values.iter().map(|(path, value)| Entry { path: *path, value: Some(value), ts: None }).collect();
    encode_entries(format, root, object, &entries, types, false)
}

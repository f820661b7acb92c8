//! What targets share: how an input is split, and what has to hold for each content format.

pub mod choices;

use lwm2mqtt::model::object::{NoTypes, ResourceShape, ResourceTypes};
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::time::WallTime;
use lwm2mqtt::model::value::{ResourceType, Value};
use lwm2mqtt::protocol::content::{ContentFormat, DecodeContext, decode, encode};

/// A model in which the last digit of the resource identifier is its type, so that every type meets every encoding.
struct TypesByLastDigit;

impl ResourceTypes for TypesByLastDigit {
    fn shape(&self, path: &Path) -> Option<ResourceShape> {
        let id = path.resource_id()?;
        let resource_type = match id % 10 {
            0 => ResourceType::String,
            1 => ResourceType::Integer,
            2 => ResourceType::UnsignedInteger,
            3 => ResourceType::Float,
            4 => ResourceType::Boolean,
            5 => ResourceType::Opaque,
            6 => ResourceType::Time,
            7 => ResourceType::ObjectLink,
            8 => ResourceType::CoreLink,
            _ => return None,
        };
        Some(ResourceShape { resource_type: Some(resource_type), multiple: id / 10 % 2 == 1 })
    }
}

/// Decodes `input` in a format. Its first byte chooses path, root and model. What was decoded is encoded again, and
/// what was encoded has to be readable.
pub fn content(format: ContentFormat, input: &[u8]) {
    let Some((&choice, payload)) = input.split_first() else { return };
    let base = match choice % 5 {
        0 => Path::ROOT,
        1 => Path::object(3303),
        2 => Path::instance(3303, 0),
        3 => Path::resource(3303, 0, 5700),
        _ => Path::resource_instance(3303, 0, 5711, 1),
    };
    let types: &dyn ResourceTypes = if choice & 0x40 == 0 { &NoTypes } else { &TypesByLastDigit };
    let root = if choice & 0x80 == 0 { "" } else { "/lwm2m" };
    let context = DecodeContext { base, root, types, received: WallTime::from_secs(1_750_000_000) };
    let Ok(decoded) = decode(format, payload, &context) else { return };
    for sample in &decoded.samples {
        assert!(base.contains(&sample.path), "{:?} lies outside {base:?}", sample.path);
    }
    let values: Vec<(Path, Value)> = decoded.samples.iter().map(|sample| (sample.path, sample.value.clone())).collect();
    if let Ok(encoded) = encode(format, base, &values, types) {
        let without_root = DecodeContext { root: "", ..context };
        let again = decode(format, &encoded, &without_root);
        assert!(again.is_ok(), "{again:?} for what was encoded from {values:?}");
    }
}

//! OMA TLV (Core TS 1.2.2 section 7.5.5, content format 11542).
//!
//! [`parse`] reads the structure alone, `tlv_layout` lays it over the requested path, `tlv_value` gives the bytes of
//! values their types. The writer sorts by identifier and wraps resources with instances, also if there is only one.

use std::collections::BTreeMap;

use crate::model::object::ResourceTypes;
use crate::model::path::{Path, RESERVED_ID};
use crate::model::value::Value;

use super::ContentError;
use super::entry::Entry;
use super::tlv_value::bytes_of;

/// The longest value: its length has 24 bits.
pub const MAX_VALUE_BYTES: usize = 0x00ff_ffff;

/// What an element is: bits 7 and 6 of its type byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 00: holds resources.
    ObjectInstance,
    /// 01: holds a value.
    ResourceInstance,
    /// 10: holds resource instances.
    MultipleResource,
    /// 11: holds a value.
    Resource,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'p> {
    /// The bytes of a value.
    Value(&'p [u8]),
    /// The elements within.
    Elements(Vec<Element<'p>>),
}

/// One type-length-value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element<'p> {
    /// What it is.
    pub kind: Kind,
    /// Its identifier, never 65,535.
    pub id: u16,
    /// What it holds.
    pub content: Content<'p>,
}

/// Reads the structure of a payload.
///
/// # Errors
/// If an element is cut off, has identifier 65,535, or stands where elements of its kind do not belong.
pub fn parse(payload: &[u8]) -> Result<Vec<Element<'_>>, ContentError> {
    parse_level(&mut Reader { payload, position: 0, end: payload.len() }, Level::Top)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    InObjectInstance,
    InMultipleResource,
}

struct Reader<'p> {
    payload: &'p [u8],
    position: usize,
    end: usize,
}

impl<'p> Reader<'p> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'p [u8], ContentError> {
        let to = self.position.checked_add(count).filter(|to| *to <= self.end);
        let taken = to.and_then(|to| self.payload.get(self.position..to));
        let taken = taken.ok_or_else(|| {
            ContentError::malformed(format!("TLV at byte {}: {what} of {count} bytes is cut off", self.position))
        })?;
        self.position += count;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize, what: &str) -> Result<usize, ContentError> {
        Ok(self.take(bytes, what)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}

fn parse_level<'p>(reader: &mut Reader<'p>, level: Level) -> Result<Vec<Element<'p>>, ContentError> {
    let mut elements: Vec<Element<'p>> = Vec::new();
    while reader.position < reader.end {
        let at = reader.position;
        let misplaced =
            |kind| ContentError::malformed(format!("TLV at byte {at}: a {kind:?} does not belong at this level"));
        let type_byte = reader.number(1, "a type")?;
        let kind = match type_byte >> 6 {
            0 => Kind::ObjectInstance,
            1 => Kind::ResourceInstance,
            2 => Kind::MultipleResource,
            _ => Kind::Resource,
        };
        let is_resource = |kind| matches!(kind, Kind::Resource | Kind::MultipleResource);
        let belongs = match level {
            Level::Top => elements
                .first()
                .is_none_or(|first| first.kind == kind || (is_resource(first.kind) && is_resource(kind))),
            Level::InObjectInstance => is_resource(kind),
            Level::InMultipleResource => kind == Kind::ResourceInstance,
        };
        let id = reader.number(if type_byte & 0x20 == 0 { 1 } else { 2 }, "an identifier")? as u16;
        let length = match type_byte >> 3 & 0b11 {
            0 => type_byte & 0b111,
            bytes => reader.number(bytes, "a length")?,
        };
        if reader.end - reader.position < length {
            return Err(ContentError::malformed(format!(
                "TLV at byte {at}: a value of {length} bytes is announced and {} are left",
                reader.end - reader.position
            )));
        }
        if !belongs {
            return Err(misplaced(kind));
        }
        if id == RESERVED_ID {
            return Err(ContentError::malformed(format!("TLV at byte {at}: identifier 65535 is reserved")));
        }
        let within = match kind {
            Kind::ObjectInstance => Some(Level::InObjectInstance),
            Kind::MultipleResource => Some(Level::InMultipleResource),
            Kind::Resource | Kind::ResourceInstance => None,
        };
        let content = match within {
            // Levels only go down the kinds, so the recursion ends at the second one.
            Some(within) => {
                let end = reader.position + length;
                let mut inner = Reader { payload: reader.payload, position: reader.position, end };
                let elements = parse_level(&mut inner, within)?;
                reader.position = end;
                Content::Elements(elements)
            }
            None => Content::Value(reader.take(length, "a value")?),
        };
        elements.push(Element { kind, id, content });
    }
    Ok(elements)
}

/// The elements of one object instance, sorted: resources with a value (`None`) or with instances.
type Resources<'v> = BTreeMap<u16, BTreeMap<Option<u16>, &'v Value>>;

/// Writes elements sorted by identifier. `chosen_by_device` leaves out the Object Instance below an object.
pub(super) fn encode(
    base: Path,
    entries: &[Entry<'_>],
    types: &dyn ResourceTypes,
    chosen_by_device: bool,
) -> Result<Vec<u8>, ContentError> {
    let mut payload = Vec::new();
    let mut instances: BTreeMap<u16, Resources<'_>> = BTreeMap::new();
    for entry in entries {
        if let (Some(instance), Some(resource)) = (entry.path.instance_id(), entry.path.resource_id()) {
            let values = instances.entry(instance).or_default().entry(resource).or_default();
            values.insert(entry.path.resource_instance_id(), entry.present()?);
        }
    }
    match base.depth() {
        0 => return Err(ContentError::unfitting("TLV names no object and cannot serve a composite request")),
        1 if !chosen_by_device => {
            for (instance, resources) in &instances {
                let content = encode_resources(resources)?;
                write_element(&mut payload, Kind::ObjectInstance, *instance, &content)?;
            }
        }
        4 => {
            for entry in entries {
                let id = entry.path.resource_instance_id().unwrap_or_default();
                write_element(&mut payload, Kind::ResourceInstance, id, &bytes_of(entry.present()?))?;
            }
        }
        depth => {
            for resources in instances.values() {
                payload.extend(encode_resources(resources)?);
            }
            let exists_empty =
                entries.is_empty() && depth == 3 && types.shape(&base).is_some_and(|shape| shape.multiple);
            if let (true, Some(resource)) = (exists_empty, base.resource_id()) {
                write_element(&mut payload, Kind::MultipleResource, resource, &[])?;
            }
        }
    }
    Ok(payload)
}

fn encode_resources(resources: &Resources<'_>) -> Result<Vec<u8>, ContentError> {
    let mut payload = Vec::new();
    for (resource, values) in resources {
        if let (Some(value), 1) = (values.get(&None), values.len()) {
            write_element(&mut payload, Kind::Resource, *resource, &bytes_of(value))?;
            continue;
        }
        let mut content = Vec::new();
        for (instance, value) in values {
            let Some(instance) = instance else {
                return Err(ContentError::unfitting(format!("resource {resource} has both a value and instances")));
            };
            write_element(&mut content, Kind::ResourceInstance, *instance, &bytes_of(value))?;
        }
        write_element(&mut payload, Kind::MultipleResource, *resource, &content)?;
    }
    Ok(payload)
}

fn write_element(payload: &mut Vec<u8>, kind: Kind, id: u16, content: &[u8]) -> Result<(), ContentError> {
    let length = content.len();
    if length > MAX_VALUE_BYTES {
        return Err(ContentError::unfitting(format!("a TLV holds at most {MAX_VALUE_BYTES} bytes, not {length}")));
    }
    let kind_bits = match kind {
        Kind::ObjectInstance => 0x00,
        Kind::ResourceInstance => 0x40,
        Kind::MultipleResource => 0x80,
        Kind::Resource => 0xc0,
    };
    let id_bits = if id > 0xff { 0x20 } else { 0 };
    let (length_bits, length_bytes) = match length {
        0..=7 => (length as u8, 0),
        8..=0xff => (0x08, 1),
        0x100..=0xffff => (0x10, 2),
        _ => (0x18, 3),
    };
    payload.push(kind_bits | id_bits | length_bits);
    payload.extend(id.to_be_bytes().into_iter().skip(usize::from(id_bits == 0)));
    payload.extend((length as u32).to_be_bytes().into_iter().skip(4 - length_bytes));
    payload.extend_from_slice(content);
    Ok(())
}

#[cfg(test)]
#[path = "tlv_tests.rs"]
mod tests;

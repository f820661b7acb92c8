//! OMA TLV (Core TS 1.2.2 section 7.4.5, content format 11542).
//!
//! [`parse`] reads the structure alone; [`decode`](super::decode) lays it over the requested path. An answer has many
//! shapes in the field: with or without the Object Instance around it, Resource Instances without their Multiple
//! Resource, a single value under another identifier. All of them say what they mean and are taken. Numbers are read
//! as binary first and as decimal text where their length is no binary one.

use std::collections::BTreeMap;

use crate::model::object::ResourceTypes;
use crate::model::path::{Path, RESERVED_ID};
use crate::model::report::Sample;
use crate::model::value::{ResourceType, Value};

use super::entry::Entry;
use super::quirk::{self, Quirks};
use super::{ContentError, DecodeContext, scalar, text};

/// The longest value: its length has 24 bits.
pub const MAX_VALUE_BYTES: usize = 0x00ff_ffff;

/// Times from here on are taken for milliseconds: as seconds they would lie after the year 5138, as milliseconds they
/// lie after March 1973.
const MILLISECONDS_FROM: i64 = 100_000_000_000;
/// Up to here: the year 2286 in milliseconds.
const MILLISECONDS_TO: i64 = 10_000_000_000_000;

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

pub(super) fn decode(
    payload: &[u8],
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Vec<Sample>, ContentError> {
    let elements = parse(payload)?;
    let mut layout = Layout { base: context.base, types: context.types, quirks, samples: Vec::new() };
    layout.top(&elements)?;
    Ok(layout.samples)
}

/// Lays elements over the requested path.
struct Layout<'c, 'q> {
    base: Path,
    types: &'c dyn ResourceTypes,
    quirks: &'q mut Quirks,
    samples: Vec<Sample>,
}

impl Layout<'_, '_> {
    fn top(&mut self, elements: &[Element<'_>]) -> Result<(), ContentError> {
        let Some(first) = elements.first() else { return Ok(()) };
        let Some(object) = self.base.truncated(1) else {
            return Err(ContentError::unfitting("TLV names no object, and neither does the request"));
        };
        match (first.kind, self.base.truncated(2), self.base.truncated(3)) {
            (Kind::ObjectInstance, _, _) => self.instances(object, elements),
            (Kind::Resource | Kind::MultipleResource, Some(instance), _) => self.resources(instance, elements),
            (Kind::Resource | Kind::MultipleResource, None, _) => {
                self.quirks.note(quirk::TLV_NO_INSTANCE);
                self.children(object, 0, |layout, instance| layout.resources(instance, elements))
            }
            (Kind::ResourceInstance, _, Some(resource)) => {
                if self.base.depth() == 3 {
                    self.quirks.note(quirk::TLV_OTHER_LEVEL);
                }
                self.resource_instances(resource, elements)
            }
            (Kind::ResourceInstance, _, None) => {
                Err(ContentError::unfitting(format!("TLV holds resource instances, and {} is no resource", self.base)))
            }
        }
    }

    fn instances(&mut self, object: Path, elements: &[Element<'_>]) -> Result<(), ContentError> {
        if self.base.depth() > 2 {
            self.quirks.note(quirk::TLV_WRAPPED);
        }
        for (element, id) in elements.iter().zip(self.placed(1, elements)?) {
            if let Content::Elements(resources) = &element.content {
                self.children(object, id, |layout, instance| layout.resources(instance, resources))?;
            }
        }
        Ok(())
    }

    fn resources(&mut self, instance: Path, elements: &[Element<'_>]) -> Result<(), ContentError> {
        for (element, id) in elements.iter().zip(self.placed(2, elements)?) {
            self.children(instance, id, |layout, resource| match &element.content {
                Content::Elements(instances) => layout.resource_instances(resource, instances),
                Content::Value(bytes) if layout.base.depth() == 4 => {
                    layout.quirks.note(quirk::TLV_OTHER_LEVEL);
                    layout.value(layout.base, bytes)
                }
                Content::Value(bytes) => layout.value(resource, bytes),
            })?;
        }
        Ok(())
    }

    fn resource_instances(&mut self, resource: Path, elements: &[Element<'_>]) -> Result<(), ContentError> {
        for (element, id) in elements.iter().zip(self.placed(3, elements)?) {
            if let Content::Value(bytes) = &element.content {
                self.children(resource, id, |layout, path| layout.value(path, bytes))?;
            }
        }
        Ok(())
    }

    /// The identifiers of `elements` as parts of paths at `position`: those of the elements, but what was asked for
    /// where a single element has another one.
    fn placed(&mut self, position: usize, elements: &[Element<'_>]) -> Result<Vec<u16>, ContentError> {
        let mut ids: Vec<u16> = elements.iter().map(|element| element.id).collect();
        if let Some(wanted) = self.base.ids().get(position).copied() {
            if let [id] = ids.as_mut_slice() {
                if *id != wanted {
                    self.quirks.note(quirk::TLV_OTHER_ID);
                    *id = wanted;
                }
            } else if let Some(other) = ids.iter().find(|id| **id != wanted) {
                return Err(ContentError::unfitting(format!(
                    "TLV holds identifier {other} among others, which lies outside {}",
                    self.base
                )));
            }
        }
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(ContentError::malformed(format!("TLV holds identifier {} twice", pair[0]))),
            None => Ok(ids),
        }
    }

    fn children(
        &mut self,
        parent: Path,
        id: u16,
        lay: impl FnOnce(&mut Self, Path) -> Result<(), ContentError>,
    ) -> Result<(), ContentError> {
        let path =
            parent.child(id).ok_or_else(|| ContentError::unfitting(format!("TLV holds elements below {parent}")))?;
        lay(self, path)
    }

    fn value(&mut self, path: Path, bytes: &[u8]) -> Result<(), ContentError> {
        let shape = self.types.shape(&path);
        if let Some(shape) = shape {
            scalar::note_multiplicity(&path, shape, self.quirks);
        }
        let value = match shape.and_then(|shape| shape.resource_type) {
            None => Value::Opaque(bytes.to_vec()),
            Some(wanted) => value_of(bytes, wanted, self.quirks).ok_or_else(|| {
                ContentError::unfitting(format!("{path} is of type {wanted}, not these {} bytes", bytes.len()))
            })?,
        };
        self.samples.push(Sample { path, value, ts: None });
        Ok(())
    }
}

/// The value of `bytes` for a resource of a known type.
fn value_of(bytes: &[u8], wanted: ResourceType, quirks: &mut Quirks) -> Option<Value> {
    let binary = match wanted {
        ResourceType::Opaque => return Some(Value::Opaque(bytes.to_vec())),
        ResourceType::String => return String::from_utf8(bytes.to_vec()).ok().map(Value::String),
        ResourceType::CoreLink => return String::from_utf8(bytes.to_vec()).ok().map(Value::CoreLink),
        ResourceType::Integer => signed(bytes).map(Value::Integer),
        ResourceType::Time => signed(bytes).map(Value::Time),
        ResourceType::UnsignedInteger => unsigned(bytes).map(Value::UnsignedInteger),
        ResourceType::Float => float(bytes).map(Value::Float),
        ResourceType::Boolean => match bytes {
            [0] => Some(Value::Boolean(false)),
            [1] => Some(Value::Boolean(true)),
            _ => None,
        },
        ResourceType::ObjectLink => match bytes {
            [a, b, c, d] => Some(Value::ObjectLink(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))),
            _ => None,
        },
    };
    let value = match binary {
        Some(value) => value,
        None => {
            let value = text::value_of(std::str::from_utf8(bytes).ok()?, wanted, quirks)?;
            quirks.note(quirk::TLV_ASCII);
            value
        }
    };
    match value {
        Value::Time(millis) if (MILLISECONDS_FROM..MILLISECONDS_TO).contains(&millis) => {
            quirks.note(quirk::TLV_MILLISECONDS);
            Some(Value::Time(millis / 1_000))
        }
        value => Some(value),
    }
}

fn signed(bytes: &[u8]) -> Option<i64> {
    Some(match bytes.len() {
        1 => i64::from(i8::from_be_bytes(bytes.try_into().ok()?)),
        2 => i64::from(i16::from_be_bytes(bytes.try_into().ok()?)),
        4 => i64::from(i32::from_be_bytes(bytes.try_into().ok()?)),
        8 => i64::from_be_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    matches!(bytes.len(), 1 | 2 | 4 | 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        4 => Some(f64::from(f32::from_be_bytes(bytes.try_into().ok()?))),
        8 => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
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
            values.insert(entry.path.resource_instance_id(), entry.value);
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
                write_element(&mut payload, Kind::ResourceInstance, id, &bytes_of(entry.value))?;
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

/// The bytes of a value: integers in the fewest bytes, floats in four where that is exact.
fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) | Value::CoreLink(text) => text.as_bytes().to_vec(),
        Value::Integer(number) | Value::Time(number) => {
            let fits = |bits: u32| *number >= -(1_i64 << (bits - 1)) && *number < 1_i64 << (bits - 1);
            let bytes = if fits(8) {
                1
            } else if fits(16) {
                2
            } else if fits(32) {
                4
            } else {
                8
            };
            number.to_be_bytes().into_iter().skip(8 - bytes).collect()
        }
        Value::UnsignedInteger(number) => {
            let bytes = match *number {
                0..=0xff => 1,
                0x100..=0xffff => 2,
                0x1_0000..=0xffff_ffff => 4,
                _ => 8,
            };
            number.to_be_bytes().into_iter().skip(8 - bytes).collect()
        }
        Value::Float(number) => {
            let single = *number as f32;
            if f64::from(single).to_bits() == number.to_bits() {
                single.to_be_bytes().to_vec()
            } else {
                number.to_be_bytes().to_vec()
            }
        }
        Value::Boolean(flag) => vec![u8::from(*flag)],
        Value::Opaque(bytes) => bytes.clone(),
        Value::ObjectLink(object, instance) => [object.to_be_bytes(), instance.to_be_bytes()].concat(),
    }
}

#[cfg(test)]
#[path = "tlv_tests.rs"]
mod tests;

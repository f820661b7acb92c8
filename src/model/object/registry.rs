//! The compact text form of object definitions, and the registry that is built in.
//!
//! One line for each version of an object, followed by one line for each of its resources, which begins with a tab.
//! Fields are separated by tabs; the last ones may be missing when they are empty; `#` begins a comment line:
//!
//! ```text
//! 3303 1.1 1.0 MO Temperature
//!      5700 R SM Flt Sensor Value
//!      5605 E SO -   Reset Min and Max Measured Values
//!      ID  OPERATIONS SHAPE TYPE NAME RANGE UNIT
//! ```
//!
//! An object line holds id, version, enabler version, shape and name. A shape is `M` or `S` (multiple or single
//! instances) and `M` or `O` (mandatory or optional). `-` stands for no operation and for no type.
//!
//! [`write`](write()) makes this form of definitions, sorted, so that equal definitions give equal bytes. Reading is
//! split: `blocks` finds the objects without looking into them, `parse_block` reads one when it is needed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::names::path_name;
use super::{ObjectDefinition, Operations, ResourceDefinition};
use crate::model::value::ResourceType;
use crate::model::version::Version;

/// The definitions of the OMA registry, from `models/oma.tsv`.
pub(super) const BUILT_IN: &str = include_str!("../../../models/oma.tsv");

const TYPES: [(&str, ResourceType); 9] = [
    ("Str", ResourceType::String),
    ("Int", ResourceType::Integer),
    ("UInt", ResourceType::UnsignedInteger),
    ("Flt", ResourceType::Float),
    ("Bool", ResourceType::Boolean),
    ("Opq", ResourceType::Opaque),
    ("Time", ResourceType::Time),
    ("Obl", ResourceType::ObjectLink),
    ("Cor", ResourceType::CoreLink),
];

/// One version of an object in the text form, not yet read beyond its first line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// Object identifier.
    pub(super) id: u16,
    /// Version of the object.
    pub(super) version: Version,
    /// Name as registered.
    pub(super) name: &'a str,
    /// The object line and its resource lines.
    pub(super) text: &'a str,
}

/// The objects of a text. Lines that cannot be read are left out.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let (block, after) = rest.split_at(block_length(rest));
            rest = after;
            let mut fields = block.lines().next().unwrap_or_default().split('\t');
            let id = fields.next().and_then(|id| id.parse().ok());
            let version = fields.next().and_then(|version| version.parse().ok());
            if let (Some(id), Some(version), Some(name)) = (id, version, fields.nth(2)) {
                return Some(Block { id, version, name, text: block });
            }
        }
    })
}

/// Where the first line ends that is followed by something else than a resource line.
fn block_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(end) = text.get(at..).and_then(|rest| rest.find('\n')) {
        at += end + 1;
        if bytes.get(at) != Some(&b'\t') {
            return at;
        }
    }
    text.len()
}

/// Reads one object; `None` if its object line or one of its resource lines cannot be read.
pub(super) fn parse_block(block: &str) -> Option<ObjectDefinition> {
    let mut lines = block.lines();
    let mut fields = lines.next()?.split('\t');
    let id = fields.next()?.parse().ok()?;
    let version = fields.next()?.parse().ok()?;
    let enabler = fields.next()?.parse().ok()?;
    let (multiple, mandatory) = parse_shape(fields.next()?)?;
    let name = fields.next()?.to_owned();
    let resources: BTreeMap<u16, ResourceDefinition> =
        lines.map(|line| parse_resource(line).map(|resource| (resource.id, resource))).collect::<Option<_>>()?;
    let path_name = path_name(&name, "object", id);
    Some(ObjectDefinition { id, version, enabler, name, path_name, multiple, mandatory, resources })
}

fn parse_resource(line: &str) -> Option<ResourceDefinition> {
    let mut fields = line.strip_prefix('\t')?.split('\t');
    let id = fields.next()?.parse().ok()?;
    let operations = fields.next()?;
    let operations = Operations {
        read: operations.contains('R'),
        write: operations.contains('W'),
        execute: operations.contains('E'),
    };
    let (multiple, mandatory) = parse_shape(fields.next()?)?;
    let resource_type = match fields.next()? {
        "-" => None,
        text => Some(TYPES.iter().find(|(short, _)| *short == text)?.1),
    };
    let name = fields.next().unwrap_or_default().to_owned();
    let path_name = path_name(&name, "resource", id);
    let range = fields.next().unwrap_or_default().to_owned();
    let unit = fields.next().unwrap_or_default().to_owned();
    Some(ResourceDefinition { id, name, path_name, operations, multiple, mandatory, resource_type, range, unit })
}

fn parse_shape(text: &str) -> Option<(bool, bool)> {
    match text {
        "MM" => Some((true, true)),
        "MO" => Some((true, false)),
        "SM" => Some((false, true)),
        "SO" => Some((false, false)),
        _ => None,
    }
}

/// The text form of these definitions, sorted by object, version and resource. The same definitions give the same bytes.
#[must_use]
pub fn write(definitions: &[ObjectDefinition]) -> String {
    let sorted: BTreeMap<(u16, Version), &ObjectDefinition> =
        definitions.iter().map(|definition| ((definition.id, definition.version), definition)).collect();
    let mut text = String::new();
    for object in sorted.values() {
        let ObjectDefinition { id, version, enabler, name, .. } = object;
        let shape = shape(object.multiple, object.mandatory);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{id}\t{version}\t{enabler}\t{shape}\t{}", one_line(name));
        for resource in object.resources.values() {
            let operations = operations(resource.operations);
            let shape = self::shape(resource.multiple, resource.mandatory);
            let short = resource.resource_type.map_or("-", short_type);
            let (name, range, unit) = (one_line(&resource.name), one_line(&resource.range), one_line(&resource.unit));
            let line = format!("\t{}\t{operations}\t{shape}\t{short}\t{name}\t{range}\t{unit}", resource.id);
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

/// Tabs and line ends separate fields, so they cannot stand in one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn short_type(resource_type: ResourceType) -> &'static str {
    TYPES.iter().find(|(_, known)| *known == resource_type).map_or("-", |(short, _)| short)
}

const fn shape(multiple: bool, mandatory: bool) -> &'static str {
    match (multiple, mandatory) {
        (true, true) => "MM",
        (true, false) => "MO",
        (false, true) => "SM",
        (false, false) => "SO",
    }
}

fn operations(operations: Operations) -> String {
    let letters = [(operations.read, 'R'), (operations.write, 'W'), (operations.execute, 'E')];
    let text: String = letters.iter().filter(|(allowed, _)| *allowed).map(|(_, letter)| letter).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\n\
        9\t1.0\t1.0\tMO\tPump\n\
        \t0\tRW\tSM\tInt\tSpeed\t0..100\t/100\n\
        \t1\tE\tSO\t-\tStop\n\
        9\t2.0\t1.1\tSM\tPump\n\
        \t4\t-\tMO\tCor\tLinks\t\tm\n";

    #[test]
    fn written_definitions_are_read_back_alike() {
        let read: Vec<_> = blocks(TEXT).map(|block| parse_block(block.text).unwrap()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].resources[&1].operations, Operations { read: false, write: false, execute: true });
        assert_eq!(read[1].resources[&4].unit, "m");
        let reversed: Vec<_> = read.iter().rev().cloned().collect();
        assert_eq!(write(&reversed), TEXT.strip_prefix("# a comment\n").unwrap());
    }

    #[test]
    fn unreadable_lines_cost_only_themselves() {
        let text = format!("nonsense\n\t1\tR\n{TEXT}99999\t1.0\t1.0\tMO\tToo high\n7\t1.0\n\t\n\n");
        assert_eq!(blocks(&text).count(), 2);
        assert_eq!(parse_block("9\t1.0\t1.0\tMO\tPump\n\t0\tRW\tSM\tNumber\tSpeed\n"), None);
        assert_eq!(parse_block(""), None);
    }

    #[test]
    fn white_space_within_fields_is_one_space() {
        let mut read = parse_block(blocks(TEXT).next().unwrap().text).unwrap();
        read.resources.get_mut(&0).unwrap().range = "0: off\n\t\t1: on".to_owned();
        assert!(write(&[read]).contains("\tSpeed\t0: off 1: on\t/100\n"));
    }
}

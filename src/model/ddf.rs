//! Object definitions from DDF XML, the form in which OMA and makers of devices publish them (schemas LWM2M 1.0 and 1.1).
//!
//! Flow: bounded text → XML tree without DTD and entities → definitions. Descriptions are skipped. Files in the field
//! are sloppy where it does no harm (byte order mark, versions left out, empty types, ranges in prose), so that is
//! accepted; what would change the meaning of data (an identifier, a type, an operation that cannot be read) is refused
//! with its line.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, ParsingOptions};

use super::object::{ObjectDefinition, Operations, ResourceDefinition, snake_case};
use super::path::RESERVED_ID;
use super::value::ResourceType;
use super::version::Version;

/// The longest file that is read. The longest definition of the OMA registry has 34 kB.
pub const MAX_DDF_BYTES: usize = 512 * 1024;

/// The most XML nodes of a file: the tree costs about 100 bytes for each.
const MAX_DDF_NODES: u32 = 60_000;

/// Why a file holds no usable definitions, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {cause}")]
pub struct DdfError {
    /// Line of the file, counted from 1.
    pub line: u32,
    /// What is wrong there.
    pub cause: DdfCause,
}

/// What is wrong with a DDF file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DdfCause {
    /// The file is longer than [`MAX_DDF_BYTES`].
    #[error("the file has {0} bytes, more than the {MAX_DDF_BYTES} that are read")]
    TooLong(usize),
    /// The file has a document type declaration, which is never read for safety.
    #[error("a document type declaration (DTD) is not allowed; remove it")]
    DocumentType,
    /// The file is no well-formed XML, or has too many elements.
    #[error("no well-formed XML: {0}")]
    Malformed(String),
    /// There is no `Object` of type `MODefinition` in it.
    #[error("no object definition in this file: expected LWM2M/Object with ObjectType=\"MODefinition\"")]
    NoDefinition,
    /// An element or attribute that a definition needs is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An element or attribute has a content that cannot be read.
    #[error("{element} is '{found}', expected {expected}")]
    Invalid {
        /// The element or attribute.
        element: &'static str,
        /// Its content, shortened.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Two resources of one object have the same identifier.
    #[error("resource {0} is defined twice")]
    DuplicateResource(u16),
    /// Two objects of the file have the same identifier and version.
    #[error("object {0} version {1} is defined twice")]
    DuplicateObject(u16, Version),
}

/// Reads the object definitions of a DDF file.
///
/// Path names are those of each definition by itself; a model makes them unique when it takes them in.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(xml: &str) -> Result<Vec<ObjectDefinition>, DdfError> {
    if xml.len() > MAX_DDF_BYTES {
        return Err(DdfError { line: 1, cause: DdfCause::TooLong(xml.len()) });
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_DDF_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(xml, options).map_err(|error| malformed(xml, &error))?;
    let root = document.root_element();
    let mut definitions: Vec<ObjectDefinition> = Vec::new();
    let objects = root.children().filter(|node| node.has_tag_name("Object") && root.has_tag_name("LWM2M"));
    for node in objects.filter(|node| node.attribute("ObjectType").is_none_or(|kind| kind == "MODefinition")) {
        let definition = parse_object(node)?;
        let (id, version) = (definition.id, definition.version);
        if definitions.iter().any(|earlier| (earlier.id, earlier.version) == (id, version)) {
            return Err(at(node, DdfCause::DuplicateObject(id, version)));
        }
        definitions.push(definition);
    }
    if definitions.is_empty() { Err(at(root, DdfCause::NoDefinition)) } else { Ok(definitions) }
}

fn parse_object(node: Node<'_, '_>) -> Result<ObjectDefinition, DdfError> {
    let id_node = child(node, "ObjectID").ok_or_else(|| at(node, DdfCause::Missing("ObjectID")))?;
    let id = identifier(id_node, "ObjectID", &text(id_node))?;
    let name = Some(child_text(node, "Name")).filter(|name| !name.is_empty()).unwrap_or_else(|| format!("Object {id}"));
    let list = child(node, "Resources").ok_or_else(|| at(node, DdfCause::Missing("Resources")))?;
    let mut resources = BTreeMap::new();
    for item in list.children().filter(|node| node.has_tag_name("Item")) {
        let resource = parse_resource(item)?;
        let id = resource.id;
        if resources.insert(id, resource).is_some() {
            return Err(at(item, DdfCause::DuplicateResource(id)));
        }
    }
    Ok(ObjectDefinition {
        id,
        version: version(node, "ObjectVersion")?,
        enabler: version(node, "LWM2MVersion")?,
        path_name: snake_case(&name),
        name,
        multiple: choice(node, "MultipleInstances", "Multiple", "Single")?,
        mandatory: choice(node, "Mandatory", "Mandatory", "Optional")?,
        resources,
    })
}

fn parse_resource(item: Node<'_, '_>) -> Result<ResourceDefinition, DdfError> {
    let id = item.attribute("ID").ok_or_else(|| at(item, DdfCause::Missing("the ID of an Item")))?;
    let id = identifier(item, "the ID of an Item", id)?;
    let name =
        Some(child_text(item, "Name")).filter(|name| !name.is_empty()).unwrap_or_else(|| format!("Resource {id}"));
    Ok(ResourceDefinition {
        id,
        path_name: snake_case(&name),
        name,
        operations: operations(item)?,
        multiple: choice(item, "MultipleInstances", "Multiple", "Single")?,
        mandatory: choice(item, "Mandatory", "Mandatory", "Optional")?,
        resource_type: resource_type(item)?,
        range: child_text(item, "RangeEnumeration"),
        unit: child_text(item, "Units"),
    })
}

fn operations(item: Node<'_, '_>) -> Result<Operations, DdfError> {
    let mut operations = Operations::default();
    let Some(node) = child(item, "Operations") else { return Ok(operations) };
    let letters = text(node);
    for letter in letters.chars().filter(|letter| !letter.is_whitespace()) {
        match letter.to_ascii_uppercase() {
            'R' => operations.read = true,
            'W' => operations.write = true,
            'E' => operations.execute = true,
            _ => return Err(invalid(node, "Operations", &letters, "R, W, RW, E or nothing")),
        }
    }
    Ok(operations)
}

fn resource_type(item: Node<'_, '_>) -> Result<Option<ResourceType>, DdfError> {
    let Some(node) = child(item, "Type") else { return Ok(None) };
    let text = text(node);
    let spelling: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    Ok(Some(match spelling.as_str() {
        "" | "none" => return Ok(None),
        "string" => ResourceType::String,
        "integer" => ResourceType::Integer,
        "unsignedinteger" => ResourceType::UnsignedInteger,
        "float" => ResourceType::Float,
        "boolean" => ResourceType::Boolean,
        "opaque" => ResourceType::Opaque,
        "time" => ResourceType::Time,
        "objlnk" | "objectlink" => ResourceType::ObjectLink,
        "corelnk" | "corelink" => ResourceType::CoreLink,
        _ => {
            let expected =
                "String, Integer, Unsigned Integer, Float, Boolean, Opaque, Time, Objlnk, Corelnk or nothing";
            return Err(invalid(node, "Type", &text, expected));
        }
    }))
}

/// One of two words; false, the second, when the element is empty or missing.
fn choice(node: Node<'_, '_>, element: &'static str, yes: &str, no: &str) -> Result<bool, DdfError> {
    let Some(node) = child(node, element) else { return Ok(false) };
    let found = text(node);
    if found.eq_ignore_ascii_case(yes) {
        Ok(true)
    } else if found.is_empty() || found.eq_ignore_ascii_case(no) {
        Ok(false)
    } else {
        let expected = if element == "Mandatory" { "Mandatory or Optional" } else { "Multiple or Single" };
        Err(invalid(node, element, &found, expected))
    }
}

/// A version; 1.0 when the element is empty or missing, `N.0` when it has one number only.
fn version(object: Node<'_, '_>, element: &'static str) -> Result<Version, DdfError> {
    let Some(node) = child(object, element) else { return Ok(Version::V1_0) };
    let found = text(node);
    if found.is_empty() {
        return Ok(Version::V1_0);
    }
    found
        .parse()
        .or_else(|_| found.parse().map(|major| Version::new(major, 0)))
        .map_err(|_| invalid(node, element, &found, "a version such as 1.1"))
}

fn identifier(node: Node<'_, '_>, element: &'static str, text: &str) -> Result<u16, DdfError> {
    text.trim()
        .parse()
        .ok()
        .filter(|id| *id != RESERVED_ID)
        .ok_or_else(|| invalid(node, element, text, "a number from 0 to 65534"))
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn child_text(node: Node<'_, '_>, name: &str) -> String {
    child(node, name).map(text).unwrap_or_default()
}

/// All text of an element, also in several pieces, with single spaces.
fn text(node: Node<'_, '_>) -> String {
    let pieces: String = node.children().filter(Node::is_text).filter_map(|piece| piece.text()).collect();
    pieces.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn invalid(node: Node<'_, '_>, element: &'static str, found: &str, expected: &'static str) -> DdfError {
    const MAX_CHARS: usize = 40;
    at(node, DdfCause::Invalid { element, found: found.chars().take(MAX_CHARS).collect(), expected })
}

fn at(node: Node<'_, '_>, cause: DdfCause) -> DdfError {
    DdfError { line: node.document().text_pos_at(node.range().start).row, cause }
}

fn malformed(xml: &str, error: &roxmltree::Error) -> DdfError {
    if matches!(error, roxmltree::Error::DtdDetected) {
        let before = xml.split("<!DOCTYPE").next().unwrap_or_default();
        let lines = before.bytes().filter(|byte| *byte == b'\n').count();
        return DdfError {
            line: u32::try_from(lines).unwrap_or(u32::MAX).saturating_add(1),
            cause: DdfCause::DocumentType,
        };
    }
    DdfError { line: error.pos().row, cause: DdfCause::Malformed(error.to_string()) }
}

#[cfg(test)]
mod tests;

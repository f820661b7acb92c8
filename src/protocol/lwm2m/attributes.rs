//! Attributes on the wire (Core TS 1.2.2 section 5.1): the query of Write-Attributes, and the links of Discover answers.
//!
//! Write-Attributes sets notification attributes and, by a bare name, takes them back. Discover answers show them again
//! beside the properties of what they are set on: `dim`, `ver`, `ssid`, `uri`, `lwm2m`.

use std::collections::{BTreeMap, BTreeSet};

use super::link_format::{self, Link, LinkFormatError};
use crate::model::attributes::NotificationAttributes;
use crate::model::path::{Path, PathError};
use crate::model::version::Version;

/// Why attributes are refused; a device answers 4.00.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// An empty query argument.
    #[error("an attribute is empty")]
    Empty,
    /// No attribute that a server may write.
    #[error("{0:?} is no notification attribute")]
    Unknown(String),
    /// The same attribute twice in one query.
    #[error("{0} stands twice")]
    Duplicate(String),
    /// A value that the attribute cannot have.
    #[error("{name} cannot be {value:?}")]
    InvalidValue {
        /// The attribute.
        name: String,
        /// Its value as written, shortened.
        value: String,
    },
    /// Values that exclude one another.
    #[error("{0}")]
    Contradiction(String),
    /// A Discover answer that is no link format.
    #[error("the answer is no link format: {0}")]
    LinkFormat(#[from] LinkFormatError),
    /// A Discover answer with a wrong identifier.
    #[error("the link '{target}' is wrong: {error}")]
    InvalidPath {
        /// The target as written, shortened.
        target: String,
        /// What is wrong with it.
        error: PathError,
    },
    /// A Discover answer with the same link twice.
    #[error("the link '{0}' stands twice")]
    DuplicateLink(Path),
}

/// What one Write-Attributes request changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeChange {
    /// Attributes that get a value.
    pub set: NotificationAttributes,
    /// Attributes that are taken back.
    pub unset: BTreeSet<&'static str>,
}

impl AttributeChange {
    /// The attributes `before` with this change made.
    ///
    /// # Errors
    /// If the result contradicts itself, though each part alone does not: `gt` then `lt`, for example.
    pub fn applied_to(&self, before: &NotificationAttributes) -> Result<NotificationAttributes, AttributesError> {
        fn pick<T>(name: &str, change: &AttributeChange, new: Option<T>, old: Option<T>) -> Option<T> {
            if change.unset.contains(name) { None } else { new.or(old) }
        }
        let new = &self.set;
        let after = NotificationAttributes {
            pmin: pick("pmin", self, new.pmin, before.pmin),
            pmax: pick("pmax", self, new.pmax, before.pmax),
            gt: pick("gt", self, new.gt, before.gt),
            lt: pick("lt", self, new.lt, before.lt),
            st: pick("st", self, new.st, before.st),
            epmin: pick("epmin", self, new.epmin, before.epmin),
            epmax: pick("epmax", self, new.epmax, before.epmax),
            edge: pick("edge", self, new.edge, before.edge),
            con: pick("con", self, new.con, before.con),
            hqmax: pick("hqmax", self, new.hqmax, before.hqmax),
        };
        after.check().map_err(AttributesError::Contradiction)?;
        Ok(after)
    }
}

/// Reads the Uri-Query arguments of Write-Attributes, or of an Observe that brings its own attributes (1.2).
///
/// # Errors
/// For unknown or repeated names, impossible values, and values that exclude one another.
pub fn parse_write_attributes(query: &[String]) -> Result<AttributeChange, AttributesError> {
    let mut change = AttributeChange::default();
    let mut seen = BTreeSet::new();
    for argument in query {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        if argument.is_empty() {
            return Err(AttributesError::Empty);
        }
        let known = notification_name(name).ok_or_else(|| AttributesError::Unknown(shortened(name)))?;
        if !seen.insert(known) {
            return Err(AttributesError::Duplicate(known.to_owned()));
        }
        match value {
            Some(value) => set(&mut change.set, known, value)?,
            None => {
                change.unset.insert(known);
            }
        }
    }
    change.set.check().map_err(AttributesError::Contradiction)?;
    Ok(change)
}

/// What a Discover answer says about one path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiscoveredAttributes {
    /// Attributes that were written to it, or that it inherits.
    pub notification: NotificationAttributes,
    /// `dim`: how many instances a resource has.
    pub dimension: Option<u16>,
    /// `ver`: the version of an object.
    pub version: Option<Version>,
    /// `ssid`: the Short Server ID that an instance of /0, /1 or /21 belongs to, 1 to 65534.
    pub short_server_id: Option<u16>,
    /// `uri`: the address in an instance of /0.
    pub uri: Option<String>,
    /// `lwm2m`: the version of the enabler, in Bootstrap-Discover answers.
    pub enabler: Option<Version>,
    /// Everything else; empty values for bare names.
    pub others: BTreeMap<String, String>,
}

/// Reads the answer to Discover or Bootstrap-Discover. `root` is the device's alternate path, or empty; links that are
/// no LwM2M path below it are left out.
///
/// # Errors
/// If the text is no link format, or a path or attribute is wrong or stands twice.
pub fn parse_discover(text: &str, root: &str) -> Result<Vec<(Path, DiscoveredAttributes)>, AttributesError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for link in link_format::parse(text)? {
        let Some(path) = path_below(&link.target, root)? else { continue };
        if !seen.insert(path) {
            return Err(AttributesError::DuplicateLink(path));
        }
        found.push((path, discovered(&link)?));
    }
    Ok(found)
}

fn path_below(target: &str, root: &str) -> Result<Option<Path>, AttributesError> {
    let with_slash = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let Some(below_root) = with_slash.strip_prefix(root) else { return Ok(None) };
    let trimmed = below_root.strip_suffix('/').unwrap_or(below_root);
    if trimmed.is_empty() {
        return Ok(Some(Path::ROOT));
    }
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !trimmed.strip_prefix('/').is_some_and(|path| path.split('/').all(is_number)) {
        return Ok(None);
    }
    let path = trimmed.parse().map_err(|error| AttributesError::InvalidPath { target: shortened(target), error })?;
    Ok(Some(path))
}

fn discovered(link: &Link) -> Result<DiscoveredAttributes, AttributesError> {
    let mut attributes = DiscoveredAttributes::default();
    for (name, value) in &link.parameters {
        let invalid = || AttributesError::InvalidValue {
            name: shortened(name),
            value: shortened(value.as_deref().unwrap_or_default()),
        };
        let text = value.as_deref();
        let number = || text.and_then(decimal::<u16>).ok_or_else(invalid);
        let version = || text.and_then(|text| text.parse().ok()).ok_or_else(invalid);
        match name.as_str() {
            "dim" => attributes.dimension = Some(number()?),
            "ssid" => {
                let id = number()?;
                if id == 0 || id == u16::MAX {
                    return Err(invalid());
                }
                attributes.short_server_id = Some(id);
            }
            "ver" => attributes.version = Some(version()?),
            "lwm2m" => attributes.enabler = Some(version()?),
            "uri" => attributes.uri = Some(text.ok_or_else(invalid)?.to_owned()),
            _ => match notification_name(name) {
                Some(known) => set(&mut attributes.notification, known, text.ok_or_else(invalid)?)?,
                None => {
                    attributes.others.insert(name.clone(), text.unwrap_or_default().to_owned());
                }
            },
        }
    }
    Ok(attributes)
}

const NOTIFICATION_NAMES: [&str; 10] = ["pmin", "pmax", "gt", "lt", "st", "epmin", "epmax", "edge", "con", "hqmax"];

fn notification_name(name: &str) -> Option<&'static str> {
    NOTIFICATION_NAMES.into_iter().find(|known| *known == name)
}

fn set(attributes: &mut NotificationAttributes, name: &'static str, text: &str) -> Result<(), AttributesError> {
    let invalid = || AttributesError::InvalidValue { name: name.to_owned(), value: shortened(text) };
    let seconds = || decimal::<u32>(text).map(Some).ok_or_else(invalid);
    let flag = || decimal::<u32>(text).filter(|&flag| flag <= 1).map(Some).ok_or_else(invalid);
    let number = || fraction(text).map(Some).ok_or_else(invalid);
    match name {
        "pmin" => attributes.pmin = seconds()?,
        "pmax" => attributes.pmax = seconds()?,
        "gt" => attributes.gt = number()?,
        "lt" => attributes.lt = number()?,
        "st" => attributes.st = number()?,
        "epmin" => attributes.epmin = seconds()?,
        "epmax" => attributes.epmax = seconds()?,
        "edge" => attributes.edge = flag()?,
        "con" => attributes.con = flag()?,
        "hqmax" => attributes.hqmax = seconds()?,
        _ => return Err(AttributesError::Unknown(shortened(name))),
    }
    Ok(())
}

/// Digits only: `parse` alone would take a plus sign.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { text.parse().ok() } else { None }
}

/// A finite decimal number. The grammar of 1.2 has neither sign nor exponent; devices and servers use both.
fn fraction(text: &str) -> Option<f64> {
    let is_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    text.parse().ok().filter(|number: &f64| is_numeric && number.is_finite())
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Result<AttributeChange, AttributesError> {
        parse_write_attributes(&text.split('&').map(ToOwned::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn core_5_1_2_all_attributes_are_set_as_they_are_written() {
        let text = "pmin=1&pmax=2&gt=30.5&lt=-4e1&st=0.5&epmin=3&epmax=4&edge=1&con=0&hqmax=5";
        let expected = NotificationAttributes {
            pmin: Some(1),
            pmax: Some(2),
            gt: Some(30.5),
            lt: Some(-40.0),
            st: Some(0.5),
            epmin: Some(3),
            epmax: Some(4),
            edge: Some(1),
            con: Some(0),
            hqmax: Some(5),
        };
        let read = change(text).unwrap();
        assert_eq!(read, AttributeChange { set: expected.clone(), unset: BTreeSet::new() });
        assert_eq!(parse_write_attributes(&expected.to_query()).unwrap().set, expected);
    }

    #[test]
    fn core_5_1_2_bare_names_take_attributes_back() {
        let before = NotificationAttributes { pmin: Some(1), gt: Some(5.0), hqmax: Some(9), ..Default::default() };
        let after = change("pmin&pmax=60&gt=2").unwrap().applied_to(&before).unwrap();
        let expected = NotificationAttributes { pmax: Some(60), gt: Some(2.0), hqmax: Some(9), ..Default::default() };
        assert_eq!(after, expected);
        let nothing: String = NOTIFICATION_NAMES.join("&");
        assert!(change(&nothing).unwrap().applied_to(&expected).unwrap().is_empty());
    }

    #[test]
    fn core_5_1_2_a_change_that_contradicts_what_is_set_is_refused() {
        let before = NotificationAttributes { gt: Some(10.0), ..Default::default() };
        let refused = change("lt=20").unwrap().applied_to(&before);
        assert!(matches!(refused, Err(AttributesError::Contradiction(_))));
        assert!(change("lt=20&gt").unwrap().applied_to(&before).is_ok());
        for text in ["lt=50&gt=40", "lt=20&gt=40&st=10", "epmin=20&epmax=10", "st=-1"] {
            assert!(matches!(change(text), Err(AttributesError::Contradiction(_))), "{text}");
        }
    }

    #[test]
    fn impossible_values_and_names_are_refused() {
        for text in [
            "pmin=",
            "pmin=-1",
            "pmin=+1",
            "pmax=2.7",
            "pmax=4294967296",
            "gt=",
            "gt=inf",
            "gt=NaN",
            "lt=1e999",
            "edge=2",
            "con=yes",
            "hqmax=-1",
        ] {
            assert!(matches!(change(text), Err(AttributesError::InvalidValue { .. })), "{text}");
        }
        assert_eq!(change("foo=1"), Err(AttributesError::Unknown("foo".to_owned())));
        assert_eq!(change("dim=1"), Err(AttributesError::Unknown("dim".to_owned())));
        assert_eq!(change("pmin=1&pmin"), Err(AttributesError::Duplicate("pmin".to_owned())));
        assert_eq!(change("pmin=1&&pmax=2"), Err(AttributesError::Empty));
    }

    #[test]
    fn core_6_3_2_discover_answers_show_properties_beside_attributes() {
        let text = "</m>;rt=\"oma.lwm2m\",</m/3/0/7>;dim=2;gt=50;lt=42.2,</m/0/1>;ssid=101;uri=\"coaps://a,b\",</x/1>";
        let found = parse_discover(text, "/m").unwrap();
        let paths: Vec<String> = found.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(paths, ["/", "/3/0/7", "/0/1"]);
        assert_eq!(found[0].1.others["rt"], "oma.lwm2m");
        assert_eq!((found[1].1.dimension, found[1].1.notification.gt), (Some(2), Some(50.0)));
        assert_eq!((found[2].1.short_server_id, found[2].1.uri.as_deref()), (Some(101), Some("coaps://a,b")));
    }

    #[test]
    fn bootstrap_discover_gives_the_version_with_or_without_a_link() {
        for text in ["</>;lwm2m=1.1,</0/0>;ssid=1", "lwm2m=1.1,</0/0>;ssid=1"] {
            let found = parse_discover(text, "").unwrap();
            assert_eq!((found[0].0, found[0].1.enabler), (Path::ROOT, Some(Version::V1_1)), "{text}");
        }
    }

    #[test]
    fn discover_answers_with_impossible_properties_are_refused() {
        for text in ["</3/0/11>;dim=65536", "</0/1>;ssid=0", "</0/1>;ssid=65535", "</3/0/1>;pmin", "</3>;ver=1"] {
            assert!(matches!(parse_discover(text, ""), Err(AttributesError::InvalidValue { .. })), "{text}");
        }
        for text in ["</65535/0>", "</1/2/3/4/5>"] {
            assert!(matches!(parse_discover(text, ""), Err(AttributesError::InvalidPath { .. })), "{text}");
        }
        assert_eq!(parse_discover("</1/0>,</1/0>", ""), Err(AttributesError::DuplicateLink(Path::instance(1, 0))));
    }
}

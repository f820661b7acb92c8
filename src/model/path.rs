//! Numeric LwM2M paths: `/`, `/3303`, `/3303/0`, `/3303/0/5700`, `/3/0/7/1`.
//!
//! A [`Path`] has zero to four identifiers, each 0 to 65,534 (65,535 is reserved, Core TS 1.2.2 section 6.2). Names
//! such as `/temperature/0/sensor_value` are resolved by the object model before they become a path.

use std::fmt;
use std::str::FromStr;

/// Object, instance, resource or resource instance identifier reserved by the standard.
pub const RESERVED_ID: u16 = u16::MAX;

/// A path of zero to four identifiers. Order is lexicographic, a parent before its children.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Path {
    ids: [u16; 4],
    length: u8,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The text does not begin with `/`.
    #[error("a path begins with '/'")]
    NoLeadingSlash,
    /// More than four identifiers.
    #[error("a path has at most four parts: object, instance, resource, resource instance")]
    TooDeep,
    /// A part is empty, no decimal number, has leading zeros, or is above 65534.
    #[error("'{0}' is no identifier from 0 to 65534")]
    InvalidIdentifier(String),
}

impl Path {
    /// `/`, the root of the object tree.
    pub const ROOT: Self = Self { ids: [0; 4], length: 0 };

    /// The path of an object.
    #[must_use]
    pub const fn object(object: u16) -> Self {
        Self { ids: [object, 0, 0, 0], length: 1 }
    }

    /// The path of an object instance.
    #[must_use]
    pub const fn instance(object: u16, instance: u16) -> Self {
        Self { ids: [object, instance, 0, 0], length: 2 }
    }

    /// The path of a resource.
    #[must_use]
    pub const fn resource(object: u16, instance: u16, resource: u16) -> Self {
        Self { ids: [object, instance, resource, 0], length: 3 }
    }

    /// The path of one instance of a multiple-instance resource.
    #[must_use]
    pub const fn resource_instance(object: u16, instance: u16, resource: u16, resource_instance: u16) -> Self {
        Self { ids: [object, instance, resource, resource_instance], length: 4 }
    }

    /// The path of these identifiers; `None` if there are more than four or one is 65,535.
    #[must_use]
    pub fn from_ids(ids: &[u16]) -> Option<Self> {
        if ids.len() > 4 || ids.contains(&RESERVED_ID) {
            return None;
        }
        let mut path = Self::ROOT;
        for &id in ids {
            path = path.child(id)?;
        }
        Some(path)
    }

    /// The identifiers, zero to four.
    #[must_use]
    pub fn ids(&self) -> &[u16] {
        &self.ids[..usize::from(self.length)]
    }

    /// How many identifiers: 0 root, 1 object, 2 instance, 3 resource, 4 resource instance.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.length as usize
    }

    /// The object identifier, if the path has one.
    #[must_use]
    pub fn object_id(&self) -> Option<u16> {
        self.ids().first().copied()
    }

    /// The object instance identifier, if the path has one.
    #[must_use]
    pub fn instance_id(&self) -> Option<u16> {
        self.ids().get(1).copied()
    }

    /// The resource identifier, if the path has one.
    #[must_use]
    pub fn resource_id(&self) -> Option<u16> {
        self.ids().get(2).copied()
    }

    /// The resource instance identifier, if the path has one.
    #[must_use]
    pub fn resource_instance_id(&self) -> Option<u16> {
        self.ids().get(3).copied()
    }

    /// This path with one more identifier; `None` below a resource instance.
    #[must_use]
    pub fn child(&self, id: u16) -> Option<Self> {
        if self.length >= 4 {
            return None;
        }
        let mut child = *self;
        child.ids[usize::from(self.length)] = id;
        child.length += 1;
        Some(child)
    }

    /// This path without its last identifier; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.truncated(self.depth().checked_sub(1)?)
    }

    /// The first `depth` identifiers; `None` if there are fewer.
    #[must_use]
    pub fn truncated(&self, depth: usize) -> Option<Self> {
        if depth > self.depth() {
            return None;
        }
        let mut path = Self::ROOT;
        path.ids[..depth].copy_from_slice(&self.ids[..depth]);
        path.length = u8::try_from(depth).ok()?;
        Some(path)
    }

    /// Whether this is `other` or an ancestor of it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.ids().starts_with(self.ids())
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.ids().cmp(other.ids())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == 0 {
            return f.write_str("/");
        }
        self.ids().iter().try_for_each(|id| write!(f, "/{id}"))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let rest = text.strip_prefix('/').ok_or(PathError::NoLeadingSlash)?;
        if rest.is_empty() {
            return Ok(Self::ROOT);
        }
        let mut path = Self::ROOT;
        for part in rest.split('/') {
            path = path.child(parse_identifier(part)?).ok_or(PathError::TooDeep)?;
        }
        Ok(path)
    }
}

/// One identifier in its only spelling: decimal, no sign, no leading zero.
fn parse_identifier(part: &str) -> Result<u16, PathError> {
    let invalid = || PathError::InvalidIdentifier(part.to_owned());
    let canonical = part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
    if !canonical {
        return Err(invalid());
    }
    let id: u16 = part.parse().map_err(|_| invalid())?;
    if id == RESERVED_ID { Err(invalid()) } else { Ok(id) }
}

impl serde::Serialize for Path {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Path {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_path_agree_both_ways() {
        for text in ["/", "/3", "/3/0", "/3303/0/5700", "/3/0/7/65534"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn texts_that_are_no_path_are_refused_with_their_part() {
        assert_eq!("3/0".parse::<Path>(), Err(PathError::NoLeadingSlash));
        assert_eq!("/1/2/3/4/5".parse::<Path>(), Err(PathError::TooDeep));
        for part in ["", "+1", "01", "65535", "65536", "x", "-1", " 1"] {
            let refused = format!("/3/{part}/1").parse::<Path>();
            assert_eq!(refused, Err(PathError::InvalidIdentifier(part.to_owned())));
        }
    }

    #[test]
    fn a_parent_contains_and_precedes_its_children() {
        let instance = Path::instance(3303, 0);
        let resource = Path::resource(3303, 0, 5700);
        assert!(instance.contains(&resource) && !resource.contains(&instance));
        assert!(Path::ROOT.contains(&instance));
        assert!(instance < resource && resource < Path::instance(3303, 1));
        assert_eq!(resource.parent(), Some(instance));
        assert_eq!(Path::ROOT.parent(), None);
    }
}

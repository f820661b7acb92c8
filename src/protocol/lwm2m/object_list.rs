//! The object list of a registration (Core TS 1.2.2 sections 6.2.1 and 6.2.2): links to objects with their meaning.
//!
//! One link may stand for the root: by `rt="oma.lwm2m"` it names the alternate path below which all objects are, by
//! `ct` the formats that the device speaks. All other links are objects or instances, with the object's `ver` on
//! either. Objects that only a bootstrap server may touch (0, 21, 23) are left out, as are links that lead elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::link_format::{self, Link, LinkFormatError};
use crate::model::path::{Path, PathError};
use crate::model::report::RegisteredObject;
use crate::model::version::Version;

/// The most formats kept of the `ct` of the root link. The standard defines about a dozen.
pub const MAX_FORMATS: usize = 32;

/// Security, OSCORE and COSE: no server but the bootstrap server may know of their instances.
const BOOTSTRAP_OBJECTS: [u16; 3] = [0, 21, 23];

const ROOT_RESOURCE_TYPE: &str = "oma.lwm2m";

/// What a device has, in the words of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectList {
    /// The alternate path without its trailing slash: empty, or for example `/lwm2m`.
    pub root: String,
    /// Content formats of the root link in its order; empty if it names none.
    pub formats: Vec<u16>,
    /// Objects with their versions and instances.
    pub objects: BTreeMap<u16, RegisteredObject>,
    /// A fixed word for each way in which the list bent the standard and was tolerated.
    pub quirks: Vec<&'static str>,
}

/// Why a payload is no object list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectListError {
    /// The payload is no text.
    #[error("the object list is not UTF-8")]
    NotUtf8,
    /// The text is no list of links.
    #[error("the object list is no link format: {0}")]
    LinkFormat(#[from] LinkFormatError),
    /// A numeric link that is no path.
    #[error("the link '{target}' is no object or instance: {error}")]
    InvalidPath {
        /// The target as written.
        target: String,
        /// What is wrong with it.
        error: PathError,
    },
    /// A `ver` that is no version.
    #[error("the link '{0}' has a ver that is no version such as 1.1")]
    InvalidVersion(String),
    /// The same object or instance twice.
    #[error("the link '{0}' stands twice")]
    Duplicate(Path),
}

impl ObjectList {
    /// Reads the payload of a Register or Update.
    ///
    /// # Errors
    /// If it is no link format, or a link to an object has a wrong identifier or version or stands twice.
    pub fn decode(payload: &[u8]) -> Result<Self, ObjectListError> {
        let text = std::str::from_utf8(payload).map_err(|_| ObjectListError::NotUtf8)?;
        let (links, deviations) = link_format::parse_leniently(text)?;
        let mut list = Self::default();
        if deviations.blanks {
            list.note("blanks_between_links");
        }
        if deviations.empty_elements {
            list.note("empty_links");
        }
        list.read_root(&links);
        let mut seen = BTreeSet::new();
        for link in &links {
            list.read_link(link, &mut seen)?;
        }
        Ok(list)
    }

    fn read_root(&mut self, links: &[Link]) {
        let is_root = |link: &&Link| {
            let types = link.value("rt").unwrap_or_default();
            types.split_ascii_whitespace().any(|word| word == ROOT_RESOURCE_TYPE)
        };
        let mut marked = links.iter().filter(is_root);
        let root = marked.find(|link| !link.target.split('/').any(is_number));
        if root.is_none() && links.iter().any(|link| is_root(&link)) {
            self.note("numeric_root_path");
        }
        if let Some(link) = root.or_else(|| links.iter().find(|link| link.target == "/")) {
            link.target.trim_end_matches('/').clone_into(&mut self.root);
            if !self.root.is_empty() && !self.root.starts_with('/') {
                self.root.insert(0, '/');
            }
            self.read_formats(link.value("ct").unwrap_or_default());
        }
    }

    fn read_formats(&mut self, formats: &str) {
        for word in formats.split_ascii_whitespace() {
            match word.parse() {
                Ok(format) if self.formats.contains(&format) => {}
                Ok(format) if self.formats.len() < MAX_FORMATS => self.formats.push(format),
                _ => self.note("unusable_ct"),
            }
        }
    }

    fn read_link(&mut self, link: &Link, seen: &mut BTreeSet<Path>) -> Result<(), ObjectListError> {
        let mut target = link.target.clone();
        if !target.is_empty() && !target.starts_with('/') {
            target.insert(0, '/');
            self.note("targets_without_slash");
        }
        let Some(below_root) = target.strip_prefix(&self.root) else { return Ok(()) };
        let trimmed = below_root.strip_suffix('/').unwrap_or(below_root);
        let is_numeric = trimmed.strip_prefix('/').is_some_and(|path| path.split('/').all(is_number));
        if !is_numeric {
            return Ok(());
        }
        if trimmed.len() != below_root.len() {
            self.note("trailing_slashes");
        }
        let path: Path = trimmed
            .parse()
            .map_err(|error| ObjectListError::InvalidPath { target: link.target.chars().take(60).collect(), error })?;
        let (Some(object), true) = (path.object_id(), path.depth() <= 2) else {
            self.note("resources_listed");
            return Ok(());
        };
        if BOOTSTRAP_OBJECTS.contains(&object) {
            self.note("bootstrap_objects_listed");
            return Ok(());
        }
        if !seen.insert(path) {
            return Err(ObjectListError::Duplicate(path));
        }
        let version = stated_version(link)?;
        let registered = self.objects.entry(object).or_default();
        match path.instance_id() {
            Some(instance) => {
                let place = registered.instances.binary_search(&instance).unwrap_or_else(|place| place);
                registered.instances.insert(place, instance);
                registered.version = registered.version.or(version);
            }
            // The object's own link is where the version belongs: it outranks what its instances say.
            None => registered.version = version.or(registered.version),
        }
        Ok(())
    }

    fn note(&mut self, quirk: &'static str) {
        if !self.quirks.contains(&quirk) {
            self.quirks.push(quirk);
        }
    }
}

fn stated_version(link: &Link) -> Result<Option<Version>, ObjectListError> {
    match link.parameters.iter().find(|(name, _)| name == "ver") {
        None => Ok(None),
        Some((_, value)) => {
            let version = value.as_deref().unwrap_or_default().parse();
            version.map(Some).map_err(|_| ObjectListError::InvalidVersion(link.target.chars().take(60).collect()))
        }
    }
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(version: Option<&str>, instances: &[u16]) -> RegisteredObject {
        let version = version.map(|version| version.parse().unwrap());
        RegisteredObject { version, instances: instances.to_vec() }
    }

    #[test]
    fn core_6_2_1_versions_stand_on_objects_or_instances() {
        let list = ObjectList::decode(b"</3>;ver=1.1,</3/0>;ver=1.2,</5/0>;ver=1.1,</6>,</1/1>,</1/0>").unwrap();
        let expected = [
            (1, registered(None, &[0, 1])),
            (3, registered(Some("1.1"), &[0])),
            (5, registered(Some("1.1"), &[0])),
            (6, registered(None, &[])),
        ];
        assert_eq!(list.objects, BTreeMap::from(expected));
        assert_eq!((list.root.as_str(), list.quirks.len()), ("", 0));
        let reversed = ObjectList::decode(b"</3/0>;ver=1.2,</3>;ver=1.1").unwrap();
        assert_eq!(reversed.objects[&3], registered(Some("1.1"), &[0]));
    }

    #[test]
    fn core_6_2_1_an_alternate_path_holds_all_objects() {
        let list = ObjectList::decode(b"</m/>;rt=\"x oma.lwm2m\";ct=\"112 60\",</m/3/0>,</3303/0>,</mm/4>").unwrap();
        assert_eq!((list.root.as_str(), list.formats.as_slice()), ("/m", &[112, 60][..]));
        assert_eq!(list.objects, BTreeMap::from([(3, registered(None, &[0]))]));
        assert_eq!(list.quirks, [""; 0]);
    }

    #[test]
    fn formats_stand_on_the_root_link_with_or_without_resource_type() {
        assert_eq!(ObjectList::decode(b"</>;ct=110,</3/0>").unwrap().formats, [110]);
        let list = ObjectList::decode(b"</>;rt=oma.lwm2m;ct=\"60 x 60 70000 112\",</3/0>;ct=0").unwrap();
        assert_eq!((list.formats, list.quirks), (vec![60, 112], vec!["unusable_ct"]));
    }

    #[test]
    fn more_formats_than_the_bound_are_dropped() {
        let formats: Vec<String> = (0..=MAX_FORMATS).map(|format| format.to_string()).collect();
        let list = ObjectList::decode(format!("</>;ct=\"{}\"", formats.join(" ")).as_bytes()).unwrap();
        assert_eq!((list.formats.len(), list.quirks), (MAX_FORMATS, vec!["unusable_ct"]));
    }

    #[test]
    fn deviations_of_the_field_are_taken_and_named() {
        for (text, quirk) in [
            ("</3/0>, </1/0>", "blanks_between_links"),
            ("</3/0>,,</1/0>,", "empty_links"),
            ("<3/0>,</1/0>", "targets_without_slash"),
            ("</3/0/>,</1/0>", "trailing_slashes"),
            ("</0/0>,</3/0>,</21/1>,</23>,</1/0>", "bootstrap_objects_listed"),
            ("</3/0>,</1/0>,</1/0/1>", "resources_listed"),
            ("</1/0>,</3/0>;rt=\"oma.lwm2m\"", "numeric_root_path"),
        ] {
            let list = ObjectList::decode(text.as_bytes()).unwrap();
            assert_eq!(list.quirks, [quirk], "{text}");
            let expected = [(1, registered(None, &[0])), (3, registered(None, &[0]))];
            assert_eq!(list.objects, BTreeMap::from(expected), "{text}");
        }
    }

    #[test]
    fn links_that_lead_elsewhere_are_ignored() {
        let list = ObjectList::decode(b"</.well-known/core>,</3/name>,</uri//>,</3/0>").unwrap();
        assert_eq!(list.objects.keys().collect::<Vec<_>>(), [&3]);
    }

    #[test]
    fn wrong_identifiers_versions_and_repeated_links_are_refused() {
        for text in ["</65535/0>", "</3/65536>", "</03/0>", "</1/2/3/4/5>"] {
            let refused = ObjectList::decode(text.as_bytes()).unwrap_err();
            assert!(matches!(refused, ObjectListError::InvalidPath { .. }), "{text}: {refused}");
        }
        for text in ["</3>;ver=1", "</3/0>;ver=\"\"", "</3/0>;ver"] {
            let refused = ObjectList::decode(text.as_bytes()).unwrap_err();
            assert!(matches!(refused, ObjectListError::InvalidVersion(_)), "{text}: {refused}");
        }
        for text in ["</3>,</3>", "</3/0>,</1/0>,</3/0/>"] {
            let refused = ObjectList::decode(text.as_bytes()).unwrap_err();
            assert!(matches!(refused, ObjectListError::Duplicate(_)), "{text}: {refused}");
        }
        assert_eq!(ObjectList::decode(b"\xff"), Err(ObjectListError::NotUtf8));
        assert!(matches!(ObjectList::decode(b"</3></1>"), Err(ObjectListError::LinkFormat(_))));
    }
}

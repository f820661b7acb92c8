//! Path patterns: `/3303/*/5700`, `/3/0/7/*`, `/3_1.2/0/9`, `/temperature/*/sensor_value`.
//!
//! A pattern has one to four parts and fits a path that has at least as many, part by part; what is below fits too.
//! So `/3/0/7` takes the instances of the resource, and `/4` everything of an object.

use std::fmt;

use super::names;
use super::template::{Field, KeyTemplate};
use crate::model::object::{ObjectModel, implied_version};
use crate::model::path::{Path, RESERVED_ID};
use crate::model::report::DeviceFacts;
use crate::model::version::Version;

/// One part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// `*`.
    Any,
    /// One identifier.
    Id(u16),
}

impl Segment {
    fn covers(self, other: Self) -> bool {
        self == Self::Any || self == other
    }

    fn fits(self, id: u16) -> bool {
        self == Self::Any || self == Self::Id(id)
    }

    /// The identifier, if it is one.
    pub(super) fn id(self) -> Option<u16> {
        match self {
            Self::Any => None,
            Self::Id(id) => Some(id),
        }
    }
}

/// A compiled pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PathPattern {
    segments: [Segment; 4],
    depth: usize,
    version: Option<Version>,
}

/// Why a text is no pattern or path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternError {
    pub(super) message: String,
    pub(super) hint: String,
}

impl PatternError {
    pub(super) fn new(message: String, hint: impl Into<String>) -> Self {
        Self { message, hint: hint.into() }
    }
}

impl PathPattern {
    /// Parses a pattern; names are looked up in the model.
    pub(super) fn parse(text: &str, model: &ObjectModel) -> Result<Self, PatternError> {
        let Some(rest) = text.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
            return Err(PatternError::new(format!("'{text}' is no path"), "write it like \"/3303/*/5700\""));
        };
        if rest.split('/').count() > 4 {
            return Err(PatternError::new(
                format!("'{text}' has more than four parts"),
                "a path is /object/instance/resource/resource instance",
            ));
        }
        let mut pattern = Self { segments: [Segment::Any; 4], depth: 0, version: None };
        let mut parts = rest.split('/');
        for position in 0..4 {
            let Some(mut part) = parts.next() else { break };
            if position == 0
                && let Some((object, version)) = part.rsplit_once('_')
                && version.contains('.')
            {
                let version = version.parse();
                pattern.version = Some(version.map_err(|problem| {
                    PatternError::new(format!("'{text}': {problem}"), "write a version like \"/3_1.2/0/9\"")
                })?);
                part = object;
            }
            let segment = if part == "*" {
                Segment::Any
            } else {
                Segment::Id(identifier(part, position, pattern.object(), text, model)?)
            };
            if let Some(slot) = pattern.segments.get_mut(position) {
                *slot = segment;
            }
            pattern.depth = position + 1;
        }
        Ok(pattern)
    }

    /// How many parts.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn object(&self) -> Segment {
        self.segments[0]
    }

    pub(super) fn instance(&self) -> Segment {
        self.segments[1]
    }

    pub(super) fn resource(&self) -> Segment {
        self.segments[2]
    }

    /// The fourth part; `None` if there is none.
    pub(super) fn resource_instance(&self) -> Option<Segment> {
        (self.depth == 4).then_some(self.segments[3])
    }

    /// The version of the object that it asks for.
    pub(super) fn version(&self) -> Option<Version> {
        self.version
    }

    /// Whether the path, or a parent of it, fits. The version is not looked at.
    pub(super) fn fits(&self, path: &Path) -> bool {
        let ids = path.ids();
        let parts = self.segments.get(..self.depth).unwrap_or_default();
        ids.len() >= self.depth && parts.iter().zip(ids).all(|(segment, id)| segment.fits(*id))
    }

    /// Whether the version fits what the device registered.
    pub(super) fn fits_version(&self, facts: &DeviceFacts) -> bool {
        let Some(wanted) = self.version else { return true };
        self.object().id().is_none_or(|object| object_version(object, facts) == wanted)
    }

    /// Whether all that `other` fits fits here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.depth <= other.depth
            && (self.version.is_none() || self.version == other.version)
            && self.segments.iter().zip(&other.segments).take(self.depth).all(|(here, there)| here.covers(*there))
    }

    /// Whether a key has different values for this pattern and another, because it names an identifier in which they
    /// differ.
    pub(super) fn is_told_apart(&self, other: &Self, key: &KeyTemplate) -> bool {
        let fields = [Field::Object, Field::Instance, Field::Resource, Field::ResourceInstance];
        let pairs = self.segments.iter().zip(&other.segments).take(self.depth.min(other.depth));
        pairs.zip(fields).any(|((here, there), field)| !here.covers(*there) && !there.covers(*here) && key.has(field))
    }

    /// The path of these identifiers, the last ones of the pattern left out if not given; `None` if one is missing.
    pub(super) fn path_with(&self, ids: [Option<u16>; 4], depth: usize) -> Option<Path> {
        let mut path = Path::ROOT;
        for (segment, id) in self.segments.iter().zip(ids).take(depth) {
            path = path.child(segment.id().or(id)?)?;
        }
        Some(path)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.segments.iter().take(self.depth).enumerate() {
            match segment {
                Segment::Any => f.write_str("/*")?,
                Segment::Id(id) => write!(f, "/{id}")?,
            }
            if let (0, Some(version)) = (position, self.version) {
                write!(f, "_{version}")?;
            }
        }
        Ok(())
    }
}

/// The identifier that a part without wildcard means at its position.
pub(super) fn identifier(
    part: &str,
    position: usize,
    object: Segment,
    text: &str,
    model: &ObjectModel,
) -> Result<u16, PatternError> {
    if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
        let canonical = part == "0" || !part.starts_with('0');
        return part.parse().ok().filter(|id| canonical && *id != RESERVED_ID).ok_or_else(|| {
            PatternError::new(format!("'{text}': '{part}' is no identifier"), "identifiers are 0 to 65534")
        });
    }
    match (position, object) {
        (0, _) => names::object(part, model)
            .map_err(|hint| PatternError::new(format!("'{text}': no object is called '{part}'"), hint)),
        (2, Segment::Id(object)) => names::resource(object, part, model).map_err(|hint| {
            PatternError::new(format!("'{text}': object {object} has no resource called '{part}'"), hint)
        }),
        (2, Segment::Any) => Err(PatternError::new(
            format!("'{text}': the name '{part}' needs an object"),
            "resources have names within their object; write a number beside /*",
        )),
        _ => Err(PatternError::new(
            format!("'{text}': '{part}' is no instance"),
            "only objects and resources have names; write a number or *",
        )),
    }
}

/// The version of an object as the device registered it, else as its enabler version implies.
fn object_version(object: u16, facts: &DeviceFacts) -> Version {
    let stated = facts.objects.get(&object).and_then(|registered| registered.version);
    stated.unwrap_or_else(|| implied_version(object, facts.lwm2m_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text, &ObjectModel::default()).unwrap()
    }

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    #[test]
    fn wildcards_take_any_identifier_and_short_patterns_what_is_below() {
        assert!(pattern("/3303/*/5700").fits(&path("/3303/7/5700")));
        assert!(!pattern("/3303/*/5700").fits(&path("/3303/7/5701")));
        assert!(pattern("/3/0/7").fits(&path("/3/0/7/1")) && pattern("/3/0/7/*").fits(&path("/3/0/7/1")));
        assert!(!pattern("/3/0/7/*").fits(&path("/3/0/7")));
        assert!(pattern("/4").fits(&path("/4/0/2")) && pattern("/*/*/9").fits(&path("/3/0/9")));
    }

    #[test]
    fn text_and_pattern_agree() {
        for text in ["/3303/*/5700", "/3_1.2/0/9", "/3/0/7/*", "/4"] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    #[test]
    fn a_version_is_that_of_the_registration_or_implied() {
        let mut facts = DeviceFacts { lwm2m_version: Some(Version::V1_1), ..DeviceFacts::default() };
        assert!(pattern("/3_1.1/0/9").fits_version(&facts) && !pattern("/3_1.2/0/9").fits_version(&facts));
        facts.objects.entry(3).or_default().version = Some(Version::V1_2);
        assert!(pattern("/3_1.2/0/9").fits_version(&facts) && pattern("/3/0/9").fits_version(&facts));
    }

    #[test]
    fn covering_is_the_order_of_generality() {
        assert!(pattern("/3303/*/*").covers(&pattern("/3303/*/5700")) && pattern("/3").covers(&pattern("/3/0/7/*")));
        assert!(!pattern("/3303/0/5700").covers(&pattern("/3303/*/5700")));
        assert!(!pattern("/3_1.2/0/9").covers(&pattern("/3/0/9")) && pattern("/3/0/9").covers(&pattern("/3_1.2/0/9")));
    }

    #[test]
    fn texts_that_are_no_pattern_say_why() {
        for (text, why) in [
            ("3303/0", "no path"),
            ("/", "no path"),
            ("/3303/x/5700", "no instance"),
            ("/65535/0/1", "no identifier"),
            ("/03/0/1", "no identifier"),
            ("/3/0/1/2/3", "four parts"),
            ("/3_1.x/0/1", "version"),
            ("/*/0/sensor_value", "needs an object"),
            ("/3//1", "no instance"),
        ] {
            let error = PathPattern::parse(text, &ObjectModel::default()).unwrap_err();
            assert!(error.message.contains(why), "{text}: {}", error.message);
        }
    }
}

//! `[match]`: which devices a file is for.

use wildmatch::WildMatch;

use super::file::{Diagnostics, Section};
use crate::model::path::RESERVED_ID;
use crate::model::report::DeviceFacts;

/// The conditions of a file; none: every device.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DeviceMatch {
    endpoint: Option<WildMatch>,
    objects: Vec<u16>,
    tags: Vec<String>,
    manufacturer: Option<WildMatch>,
    model: Option<WildMatch>,
    firmware: Option<WildMatch>,
    lwm2m_version: Option<WildMatch>,
    identity: Option<WildMatch>,
}

/// What is done about a fact that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It does not fit: the device may be another one.
    DoesNotFit,
    /// It fits: an example states only what matters to it.
    Fits,
}

impl DeviceMatch {
    /// Compiles the section.
    pub(super) fn compile(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Self {
        let glob = |key: &str, diagnostics: &mut Diagnostics| {
            let text = section.text(key, diagnostics)?;
            if text.value.is_empty() {
                diagnostics.error(text.offset, format!("{key} in [match] is empty"), "write \"*\" or leave it out");
            }
            Some(WildMatch::new(text.value))
        };
        Self {
            endpoint: glob("endpoint", diagnostics),
            objects: section
                .integers("objects", diagnostics)
                .unwrap_or_default()
                .into_iter()
                .filter_map(|object| {
                    let id = u16::try_from(object.value).ok().filter(|id| *id != RESERVED_ID);
                    if id.is_none() {
                        let message = format!("objects in [match]: {} is no object", object.value);
                        diagnostics.error(object.offset, message, "identifiers are 0 to 65534");
                    }
                    id
                })
                .collect(),
            tags: section
                .texts("tags", diagnostics)
                .unwrap_or_default()
                .into_iter()
                .map(|tag| tag.value.to_owned())
                .collect(),
            manufacturer: glob("manufacturer", diagnostics),
            model: glob("model", diagnostics),
            firmware: glob("firmware", diagnostics),
            lwm2m_version: glob("lwm2m_version", diagnostics),
            identity: glob("identity", diagnostics),
        }
    }

    /// Whether every device fits.
    pub(super) fn is_unconditional(&self) -> bool {
        *self == Self::default()
    }

    /// The one endpoint name that fits, if the file names one without wildcards.
    pub(super) fn only_endpoint(&self) -> Option<String> {
        self.endpoint.as_ref().map(WildMatch::pattern).filter(|name| !name.contains(['*', '?']))
    }

    /// The first condition that a device does not meet, in words; `None` if it meets all.
    pub(super) fn mismatch(&self, facts: &DeviceFacts, unknown: Unknown) -> Option<String> {
        let lenient = unknown == Unknown::Fits;
        let version = facts.lwm2m_version.map(|version| version.to_string());
        let globs = [
            ("endpoint", &self.endpoint, Some(facts.endpoint.as_str()).filter(|name| !name.is_empty())),
            ("manufacturer", &self.manufacturer, facts.manufacturer.as_deref()),
            ("model", &self.model, facts.model.as_deref()),
            ("firmware", &self.firmware, facts.firmware.as_deref()),
            ("lwm2m_version", &self.lwm2m_version, version.as_deref()),
            ("identity", &self.identity, facts.identity.as_deref()),
        ];
        for (name, wanted, found) in globs {
            let Some(wanted) = wanted else { continue };
            match found {
                Some(found) if wanted.matches(found) => {}
                None if lenient => {}
                Some(found) => return Some(format!("{name} is \"{found}\", not \"{}\"", wanted.pattern())),
                None => return Some(format!("{name} is not known yet, wanted \"{}\"", wanted.pattern())),
            }
        }
        if let Some(object) = self.objects.iter().find(|object| !facts.objects.contains_key(object) && !lenient) {
            return Some(format!("object {object} is not registered"));
        }
        let untold = lenient && facts.tags.is_empty();
        let missing = self.tags.iter().find(|tag| !untold && !facts.tags.contains(tag));
        missing.map(|tag| format!("tag \"{tag}\" is not given"))
    }
}

//! The compiled plan, which of its files a device selects, and the search for the rules that take a path.

use std::time::Duration;

use super::downlink::{CommandRule, DesiredRule};
use super::examples::Example;
use super::http::EndpointRule;
use super::index::RuleIndex;
use super::matching::{DeviceMatch, Unknown};
use super::publish::PublishRule;
use super::rule::{Action, Rule, ValueRule};
use super::uplink::KeyKind;
use crate::model::path::Path;
use crate::model::report::DeviceFacts;

/// All mapping files, compiled.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) files: Vec<PlanFile>,
    /// Telemetry, attribute and ignore rules in the order of search.
    pub(super) rules: Vec<Rule>,
    pub(super) index: RuleIndex,
    pub(super) desired: Vec<DesiredRule>,
    pub(super) commands: Vec<CommandRule>,
    pub(super) publishes: Vec<PublishRule>,
    pub(super) endpoints: Vec<EndpointRule>,
    /// Whether one of them answers with last known values.
    pub(super) has_cached_endpoints: bool,
    pub(super) examples: Vec<Example>,
}

/// What a plan keeps of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct PlanFile {
    pub(super) name: String,
    pub(super) devices: DeviceMatch,
    pub(super) settings: DeviceSettings,
    /// Its queue mode, where it says one: an explicit "auto" wins over later files too.
    pub(super) queue_mode: Option<QueueMode>,
}

/// Which files of a [`Plan`] apply to one device. Belongs to the plan that made it; the empty one selects nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One bit for each file.
    files: Vec<u64>,
}

impl Selection {
    pub(super) fn add(&mut self, file: usize) {
        let word = file / 64;
        if self.files.len() <= word {
            self.files.resize(word + 1, 0);
        }
        if let Some(bits) = self.files.get_mut(word) {
            *bits |= 1 << (file % 64);
        }
    }

    pub(super) fn has(&self, file: usize) -> bool {
        self.files.get(file / 64).is_some_and(|bits| bits >> (file % 64) & 1 == 1)
    }
}

/// How the observations of a file's rules are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObserveStrategy {
    /// One observation for each path.
    #[default]
    Single,
    /// One composite observation for all paths of a device.
    CompositeAll,
    /// One composite observation for each object.
    CompositeByObject,
    /// Composite observations of the paths whose attributes agree.
    Auto,
}

impl ObserveStrategy {
    /// The words of mapping files.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("single", Self::Single),
        ("composite_all", Self::CompositeAll),
        ("composite_by_object", Self::CompositeByObject),
        ("auto", Self::Auto),
    ];
}

/// When queue mode applies to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueMode {
    /// As it registered.
    #[default]
    Auto,
    /// Always.
    Force,
    /// Never.
    Never,
}

impl QueueMode {
    /// The words of mapping files, of the configuration and of settings.
    pub const NAMES: [(&'static str, Self); 3] = [("auto", Self::Auto), ("force", Self::Force), ("never", Self::Never)];

    /// A mode by its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(name, _)| *name == word).map(|(_, mode)| *mode)
    }

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Force => "force",
            Self::Never => "never",
        }
    }
}

/// How to treat a device, where the mapping says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceSettings {
    /// Queue mode.
    pub queue_mode: QueueMode,
    /// Awake window in queue mode.
    pub awake_window: Option<Duration>,
    /// CoAP acknowledgement timeout.
    pub ack_timeout: Option<Duration>,
    /// Content format of writes.
    pub write_format: Option<u16>,
}

/// The rules that take a path.
#[derive(Debug, Default)]
pub(super) struct Takers<'p> {
    /// In rule order.
    pub(super) rules: Vec<(usize, &'p Rule, &'p ValueRule)>,
    /// The ignore rule that ended a search.
    pub(super) ignored_by: Option<usize>,
}

impl Plan {
    /// Which files apply to a device.
    #[must_use]
    pub fn select(&self, facts: &DeviceFacts) -> Selection {
        let mut selection = Selection::default();
        for (position, file) in self.files.iter().enumerate() {
            if file.devices.mismatch(facts, Unknown::DoesNotFit).is_none() {
                selection.add(position);
            }
        }
        selection
    }

    /// Names of the files that apply to the device, in the order of search.
    #[must_use]
    pub fn selected_files(&self, selection: &Selection) -> Vec<&str> {
        let files = self.files.iter().enumerate().filter(|(position, _)| selection.has(*position));
        files.map(|(_, file)| file.name.as_str()).collect()
    }

    /// How to treat the device: the first file that says something wins, each setting on its own.
    #[must_use]
    pub fn settings(&self, selection: &Selection) -> DeviceSettings {
        let mut settings = DeviceSettings::default();
        let mut queue_mode = None;
        for (_, file) in self.files.iter().enumerate().filter(|(position, _)| selection.has(*position)) {
            let said = &file.settings;
            queue_mode = queue_mode.or(file.queue_mode);
            settings.awake_window = settings.awake_window.or(said.awake_window);
            settings.ack_timeout = settings.ack_timeout.or(said.ack_timeout);
            settings.write_format = settings.write_format.or(said.write_format);
        }
        settings.queue_mode = queue_mode.unwrap_or_default();
        settings
    }

    /// The rules that take a path: the first that fits for each kind, those with `also` before it, none behind an
    /// ignore rule.
    pub(super) fn takers(&self, selection: &Selection, facts: &DeviceFacts, path: &Path) -> Takers<'_> {
        let mut takers = Takers::default();
        let (mut telemetry, mut attribute) = (true, true);
        for &position in self.index.candidates(path) {
            let Some(rule) = self.rules.get(position) else { continue };
            if !selection.has(rule.file) || !rule.pattern.fits(path) || !rule.pattern.fits_version(facts) {
                continue;
            }
            match &rule.action {
                Action::Ignore => {
                    takers.ignored_by = Some(position);
                    break;
                }
                Action::Value(value) => {
                    let open = match value.kind {
                        KeyKind::Telemetry => &mut telemetry,
                        KeyKind::Attribute => &mut attribute,
                    };
                    if *open {
                        *open = value.also;
                        takers.rules.push((position, rule, value));
                    }
                    if !telemetry && !attribute {
                        break;
                    }
                }
            }
        }
        takers
    }
}

//! What the mapping wants of a device: observations and reads.
//!
//! Only rules that would take the values are asked: what an earlier rule takes or ignores is not observed for a later
//! one. A rule with a wildcard resource observes the instance once; instances of a resource are observed as the
//! resource.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::plan::{ObserveStrategy, Plan, Selection};
use super::rule::Rule;
use crate::model::attributes::NotificationAttributes;
use crate::model::object::DeviceModel;
use crate::model::path::Path;
use crate::model::report::DeviceFacts;
use crate::model::version::Version;

/// An observation that the mapping wants.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservationWish {
    /// What to observe.
    pub path: Path,
    /// Attributes to write before.
    pub attributes: NotificationAttributes,
    /// Whether it may be one of several paths that are observed as one.
    pub strategy: ObserveStrategy,
}

/// When the mapping wants a Read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadWhen {
    /// Once after each Register.
    OnRegister,
    /// Each time the device wakes.
    OnWake,
    /// Periodically.
    Every(Duration),
}

/// A Read that the mapping wants.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadWish {
    /// What to read.
    pub path: Path,
    /// When.
    pub when: ReadWhen,
}

/// A wish with the rule that it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    /// The file of the rule.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its section and pattern, such as `[[telemetry]] /3303/*/5700`.
    pub rule: String,
    /// What is wanted.
    pub path: Path,
    /// Attributes to observe with, if it is to be observed.
    pub observe: Option<NotificationAttributes>,
    /// When it is to be read, if it is.
    pub read: Option<ReadWhen>,
}

/// Everything the mapping wants of one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// Observations, each path once, in rule order.
    pub observations: Vec<ObservationWish>,
    /// Reads, each (path, when) once.
    pub reads: Vec<ReadWish>,
}

impl Plan {
    /// What to observe and read. Wildcard instances are those of the registration; what the object model says cannot
    /// be read is left out; a path below an observed one is not observed again. Several resources of one instance that
    /// are read on register are one read of the instance; what is observed is not read on register as well, because
    /// the answer to the Observe brings it.
    #[must_use]
    pub fn wishes(&self, selection: &Selection, facts: &DeviceFacts, model: &DeviceModel<'_>) -> Wishes {
        let mut observations: Vec<ObservationWish> = Vec::new();
        let mut observed = BTreeSet::new();
        let mut reads: Vec<ReadWish> = Vec::new();
        for (position, rule) in self.rules.iter().enumerate() {
            let Some(value) = rule.value().filter(|_| selection.has(rule.file)) else { continue };
            if value.observe.is_none() && value.read.is_none() {
                continue;
            }
            for path in targets(rule, facts, model) {
                if !self.wants(position, rule, selection, facts, model, &path) {
                    continue;
                }
                if let Some(attributes) = &value.observe
                    && observed.insert(path)
                {
                    let attributes = attributes_for(attributes, &path, facts);
                    observations.push(ObservationWish { path, attributes, strategy: value.strategy });
                }
                if let Some(when) = value.read {
                    push_read(&mut reads, ReadWish { path, when });
                }
            }
        }
        let below_observed = |path: &Path| {
            (0..path.depth()).any(|depth| path.truncated(depth).is_some_and(|parent| observed.contains(&parent)))
        };
        observations.retain(|wish| !below_observed(&wish.path));
        reads.retain(|wish| {
            wish.when != ReadWhen::OnRegister || !(observed.contains(&wish.path) || below_observed(&wish.path))
        });
        Wishes { observations, reads: grouped(reads) }
    }

    /// Where wishes come from: each rule that wants something, with each path that it wants it of. What [`Self::wishes`]
    /// joins into one request stands here one by one.
    #[must_use]
    pub fn provenance(&self, selection: &Selection, facts: &DeviceFacts, model: &DeviceModel<'_>) -> Vec<Provenance> {
        let mut found = Vec::new();
        for (position, rule) in self.rules.iter().enumerate() {
            let Some(value) = rule.value().filter(|_| selection.has(rule.file)) else { continue };
            let Some(file) = self.files.get(rule.file) else { continue };
            if value.observe.is_none() && value.read.is_none() {
                continue;
            }
            for path in targets(rule, facts, model) {
                if self.wants(position, rule, selection, facts, model, &path) {
                    found.push(Provenance {
                        file: file.name.clone(),
                        line: rule.line,
                        rule: format!("{} {}", rule.section(), rule.pattern),
                        path,
                        observe: value.observe.as_ref().map(|attributes| attributes_for(attributes, &path, facts)),
                        read: value.read,
                    });
                }
            }
        }
        found
    }

    /// Whether a rule would take values of a target of its own, and the device would give them.
    fn wants(
        &self,
        position: usize,
        rule: &Rule,
        selection: &Selection,
        facts: &DeviceFacts,
        model: &DeviceModel<'_>,
        target: &Path,
    ) -> bool {
        let takes =
            |path: &Path| self.takers(selection, facts, path).rules.iter().any(|(taker, ..)| *taker == position);
        if target.depth() >= 3 {
            let readable = model.resource(target).is_none_or(|resource| resource.operations.read);
            let sample_path = match rule.pattern.resource_instance() {
                Some(segment) if target.depth() == 3 => target.child(segment.id().unwrap_or(0)),
                _ => Some(*target),
            };
            return readable && sample_path.is_some_and(|path| takes(&path));
        }
        let Some(object) = target.object_id() else { return false };
        let stated = facts.objects.get(&object).and_then(|registered| registered.version);
        let known = model.model.object(object, stated, model.enabler);
        let readable = known.into_iter().flat_map(|definition| definition.resources.values());
        let readable = readable.filter(|resource| resource.operations.read).map(|resource| resource.id);
        std::iter::once(self.index.unnamed_resource())
            .chain(readable)
            .any(|resource| target.child(resource).is_some_and(|path| takes(&path)))
    }
}

/// What a rule would observe or read on a device: resources, resource instances, or instances for a wildcard resource.
fn targets(rule: &Rule, facts: &DeviceFacts, model: &DeviceModel<'_>) -> Vec<Path> {
    let pattern = &rule.pattern;
    // A wildcard object would make a request for each object that the device has; such rules take what others bring.
    let Some(object) = pattern.object().id() else { return Vec::new() };
    let Some(registered) = facts.objects.get(&object).filter(|_| pattern.fits_version(facts)) else {
        return Vec::new();
    };
    // LwM2M 1.0 cannot address the instances of a resource.
    let has_resource_instances = facts.lwm2m_version.is_some_and(|version| version >= Version::V1_1);
    let depth = match (pattern.resource().id(), pattern.resource_instance()) {
        (None, _) => 2,
        (Some(_), Some(segment)) if segment.id().is_some() && has_resource_instances => 4,
        (Some(_), _) => 3,
    };
    instances(pattern.instance().id(), object, &registered.instances, facts, model)
        .into_iter()
        .filter_map(|instance| pattern.path_with([None, Some(instance), None, None], depth))
        .collect()
}

/// The instances that a pattern means on a device.
pub(super) fn instances(
    wanted: Option<u16>,
    object: u16,
    registered: &[u16],
    facts: &DeviceFacts,
    model: &DeviceModel<'_>,
) -> Vec<u16> {
    match wanted {
        Some(id) if registered.is_empty() || registered.contains(&id) => vec![id],
        Some(_) => Vec::new(),
        None if registered.is_empty() => {
            // A device that lists only the object has no instance of it, unless there can be but one.
            let stated = facts.objects.get(&object).and_then(|registered| registered.version);
            let single =
                model.model.object(object, stated, model.enabler).is_some_and(|definition| !definition.multiple);
            if single { vec![0] } else { Vec::new() }
        }
        None => registered.to_vec(),
    }
}

/// The attributes that a device of this version takes at this path.
fn attributes_for(wanted: &NotificationAttributes, path: &Path, facts: &DeviceFacts) -> NotificationAttributes {
    let version = facts.lwm2m_version.unwrap_or(Version::V1_0);
    let mut attributes = wanted.clone();
    if path.depth() < 3 {
        (attributes.gt, attributes.lt, attributes.st) = (None, None, None);
    }
    if version < Version::V1_1 {
        (attributes.epmin, attributes.epmax) = (None, None);
    }
    if version < Version::V1_2 {
        (attributes.edge, attributes.con, attributes.hqmax) = (None, None, None);
    }
    attributes
}

fn push_read(reads: &mut Vec<ReadWish>, wish: ReadWish) {
    if !reads.contains(&wish) {
        reads.push(wish);
    }
}

/// Replaces several reads on register within an instance by one read of the instance, at the place of the first, and
/// leaves out reads below another of the same time.
fn grouped(reads: Vec<ReadWish>) -> Vec<ReadWish> {
    let mut counts: BTreeMap<Path, usize> = BTreeMap::new();
    for wish in reads.iter().filter(|wish| wish.when == ReadWhen::OnRegister && wish.path.depth() >= 3) {
        if let Some(instance) = wish.path.truncated(2) {
            *counts.entry(instance).or_default() += 1;
        }
    }
    let mut result = Vec::with_capacity(reads.len());
    for mut wish in reads {
        if wish.when == ReadWhen::OnRegister
            && let Some(instance) = wish.path.truncated(2)
            && counts.get(&instance).is_some_and(|count| *count >= 2)
        {
            wish.path = instance;
        }
        push_read(&mut result, wish);
    }
    let all = result.clone();
    result.retain(|wish| {
        !all.iter().any(|other| other.when == wish.when && other.path != wish.path && other.path.contains(&wish.path))
    });
    result
}

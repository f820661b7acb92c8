//! Finds the rules that a path may fit without looking at all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::Segment;
use super::rule::Rule;
use crate::model::path::Path;

/// Rule positions by object and resource, each list in rule order and with the wildcard rules in it.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleIndex {
    by_resource: BTreeMap<(u16, u16), Vec<usize>>,
    by_object: BTreeMap<u16, Vec<usize>>,
    others: Vec<usize>,
    unnamed_resource: u16,
}

impl RuleIndex {
    pub(super) fn build(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        let mut named = BTreeSet::new();
        let mut any_object = Vec::new();
        let mut of_object: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (position, rule) in rules.iter().enumerate() {
            named.extend(resource_of(rule).id());
            match rule.pattern.object() {
                Segment::Any => any_object.push(position),
                Segment::Id(object) => of_object.entry(object).or_default().push(position),
            }
        }
        for (object, mut own) in of_object {
            let resources: BTreeSet<u16> = own
                .iter()
                .filter_map(|position| rules.get(*position))
                .filter_map(|rule| resource_of(rule).id())
                .collect();
            own.extend(&any_object);
            own.sort_unstable();
            let resource_at = |position: &usize| rules.get(*position).map_or(Segment::Any, resource_of);
            for resource in resources {
                let fitting = |position: &&usize| {
                    matches!(resource_at(position), Segment::Any) || resource_at(position) == Segment::Id(resource)
                };
                index.by_resource.insert((object, resource), own.iter().filter(fitting).copied().collect());
            }
            let wide =
                |position: &&usize| resource_at(position) == Segment::Any || any_object.binary_search(position).is_ok();
            index.by_object.insert(object, own.iter().filter(wide).copied().collect());
        }
        index.others = any_object;
        index.unnamed_resource = (0..u16::MAX).rev().find(|id| !named.contains(id)).unwrap_or(0);
        index
    }

    /// Positions of the rules that may fit a path, in rule order.
    pub(super) fn candidates(&self, path: &Path) -> &[usize] {
        let Some(object) = path.object_id() else { return &[] };
        path.resource_id()
            .and_then(|resource| self.by_resource.get(&(object, resource)))
            .or_else(|| self.by_object.get(&object))
            .unwrap_or(&self.others)
    }

    /// A resource that no rule names: what fits it fits by a wildcard.
    pub(super) fn unnamed_resource(&self) -> u16 {
        self.unnamed_resource
    }
}

fn resource_of(rule: &Rule) -> Segment {
    if rule.pattern.depth() >= 3 { rule.pattern.resource() } else { Segment::Any }
}

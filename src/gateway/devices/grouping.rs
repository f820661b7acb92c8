//! Which paths are observed as one: the strategies of the mapping, for devices that know composite operations.
//!
//! Some clients apply the periods of one path to the whole composite, so only what agrees is grouped, unless the mapping
//! says `composite_all` or `composite_by_object`. The order of the wishes decides the order of the groups.

use super::device::Device;
use super::observation::Target;
use crate::mapping::{ObservationWish, ObserveStrategy};
use crate::model::attributes::NotificationAttributes;
use crate::model::command::MAX_COMPOSITE_PATHS;
use crate::model::version::Version;

/// An observation to be made.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::gateway) struct Group {
    /// What to observe.
    pub(in crate::gateway) target: Target,
    /// Attributes of all paths, or the shortest periods where they differ.
    pub(in crate::gateway) attributes: NotificationAttributes,
    /// Attributes of each path where they differ.
    pub(in crate::gateway) own_attributes: Option<Box<[NotificationAttributes]>>,
}

impl Device {
    /// Whether composite operations can be expected to work.
    pub(in crate::gateway) fn takes_composite(&self) -> bool {
        let version = self.registration.as_ref().map(|registration| registration.version);
        version.is_some_and(|version| version >= Version::V1_1) && !self.formats.no_composite
    }
}

/// What wishes may share an observation with one another.
#[derive(Clone, Debug, PartialEq)]
enum Shared {
    Nothing,
    Everything,
    Object(Option<u16>),
    Attributes(NotificationAttributes),
}

/// Groups wishes as their strategies say; without `composite` each stands alone.
pub(in crate::gateway) fn group(wishes: Vec<ObservationWish>, composite: bool) -> Vec<Group> {
    let mut groups: Vec<(Shared, Vec<ObservationWish>)> = Vec::new();
    for wish in wishes {
        let shared = match wish.strategy {
            _ if !composite => Shared::Nothing,
            ObserveStrategy::Single => Shared::Nothing,
            ObserveStrategy::CompositeAll => Shared::Everything,
            ObserveStrategy::CompositeByObject => Shared::Object(wish.path.object_id()),
            ObserveStrategy::Auto => Shared::Attributes(wish.attributes.clone()),
        };
        let joined = groups.iter_mut().find(|(other, members)| {
            *other == shared && shared != Shared::Nothing && members.len() < MAX_COMPOSITE_PATHS
        });
        match joined {
            Some((_, members)) => members.push(wish),
            None => groups.push((shared, vec![wish])),
        }
    }
    groups.into_iter().filter_map(|(_, members)| as_group(members)).collect()
}

fn as_group(mut members: Vec<ObservationWish>) -> Option<Group> {
    members.sort_by_key(|wish| wish.path);
    let first = members.first()?;
    if members.len() == 1 {
        return Some(Group {
            target: Target::Path(first.path),
            attributes: first.attributes.clone(),
            own_attributes: None,
        });
    }
    let agree = members.iter().all(|wish| wish.attributes == first.attributes);
    let attributes = if agree { first.attributes.clone() } else { shortest(&members) };
    let paths: Vec<_> = members.iter().map(|wish| wish.path).collect();
    let own_attributes = (!agree).then(|| members.into_iter().map(|wish| wish.attributes).collect());
    Some(Group { target: Target::composite(&paths), attributes, own_attributes })
}

/// Any path makes the composite report, so the shortest periods are what can be expected of it.
fn shortest(members: &[ObservationWish]) -> NotificationAttributes {
    let least = |period: fn(&NotificationAttributes) -> Option<u32>| {
        members.iter().filter_map(|wish| period(&wish.attributes)).min()
    };
    NotificationAttributes {
        pmin: least(|attributes| attributes.pmin),
        pmax: least(|attributes| attributes.pmax),
        ..NotificationAttributes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(path: &str, pmin: u32, strategy: ObserveStrategy) -> ObservationWish {
        let attributes = NotificationAttributes { pmin: Some(pmin), pmax: Some(60), ..Default::default() };
        ObservationWish { path: path.parse().unwrap(), attributes, strategy }
    }

    fn targets(wishes: Vec<ObservationWish>, composite: bool) -> Vec<String> {
        group(wishes, composite).iter().map(|group| group.target.to_string()).collect()
    }

    #[test]
    fn auto_groups_what_agrees_and_leaves_single_paths_alone() {
        let auto = ObserveStrategy::Auto;
        let wishes = vec![wish("/3303/0/5700", 1, auto), wish("/3/0/9", 5, auto), wish("/3304/0/5700", 1, auto)];
        assert_eq!(targets(wishes.clone(), true), ["/3303/0/5700, /3304/0/5700", "/3/0/9"]);
        assert_eq!(targets(wishes, false), ["/3303/0/5700", "/3/0/9", "/3304/0/5700"], "1.0, or refused");
    }

    #[test]
    fn other_strategies_group_all_or_by_object_and_keep_the_attributes_of_each_path() {
        let all = ObserveStrategy::CompositeAll;
        let groups = group(vec![wish("/3303/0/5700", 9, all), wish("/3/0/9", 5, all)], true);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].attributes.pmin, Some(5));
        let own: Vec<_> = groups[0].own_attributes.as_ref().unwrap().iter().map(|own| own.pmin).collect();
        assert_eq!(own, [Some(5), Some(9)], "in the order of the paths");
        let by_object = ObserveStrategy::CompositeByObject;
        let wishes = ["/3/0/9", "/3303/0/5700", "/3303/1/5700"].map(|path| wish(path, 1, by_object)).to_vec();
        assert_eq!(targets(wishes, true), ["/3/0/9", "/3303/0/5700, /3303/1/5700"]);
    }

    #[test]
    fn a_composite_has_at_most_64_paths() {
        let wishes: Vec<_> =
            (0..130).map(|id| wish(&format!("/3303/{id}/5700"), 1, ObserveStrategy::CompositeAll)).collect();
        let sizes: Vec<_> = group(wishes, true).iter().map(|group| group.target.paths().len()).collect();
        assert_eq!(sizes, [64, 64, 2]);
    }
}

//! The notification attributes that a server attached to paths (Core TS 1.2.2 section 7.3.2).
//!
//! Each level holds its own; what a level leaves open it takes from the level above.

use std::collections::BTreeMap;

use crate::model::attributes::NotificationAttributes;
use crate::model::path::Path;

/// Attributes by path. Entries are bounded by the paths that the device has: it is asked to attach nothing elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttributeTable {
    attached: BTreeMap<Path, NotificationAttributes>,
}

impl AttributeTable {
    /// What was attached to this very path.
    #[must_use]
    pub fn own(&self, path: &Path) -> NotificationAttributes {
        self.attached.get(path).cloned().unwrap_or_default()
    }

    /// What holds at a path: its own attributes, then those of each level above.
    #[must_use]
    pub fn in_force(&self, path: &Path) -> NotificationAttributes {
        let mut effective = NotificationAttributes::default();
        self.complete(&mut effective, path);
        effective
    }

    /// Fills what is unset from a path and the levels above it.
    pub(super) fn complete(&self, target: &mut NotificationAttributes, path: &Path) {
        if self.attached.is_empty() {
            return;
        }
        for depth in (1..=path.depth()).rev() {
            if let Some(level) = path.truncated(depth).and_then(|level| self.attached.get(&level)) {
                inherit(target, level);
            }
        }
    }

    /// Applies `name=value` arguments, and removes what stands there by its name alone. `None`, and no change, if an
    /// argument is unknown or no number, or if the attributes would contradict one another.
    #[must_use]
    pub fn change(&mut self, path: Path, arguments: &[String]) -> Option<()> {
        let changed = apply_arguments(self.own(&path), arguments)?;
        if changed.is_empty() {
            self.attached.remove(&path);
        } else {
            self.attached.insert(path, changed);
        }
        Some(())
    }

    /// Forgets everything at and below a path.
    pub fn forget_below(&mut self, path: &Path) {
        self.attached.retain(|candidate, _| !path.contains(candidate));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.attached.clear();
    }
}

/// Fills what is unset from a level above.
fn inherit(target: &mut NotificationAttributes, above: &NotificationAttributes) {
    target.pmin = target.pmin.or(above.pmin);
    target.pmax = target.pmax.or(above.pmax);
    target.gt = target.gt.or(above.gt);
    target.lt = target.lt.or(above.lt);
    target.st = target.st.or(above.st);
    target.epmin = target.epmin.or(above.epmin);
    target.epmax = target.epmax.or(above.epmax);
    target.edge = target.edge.or(above.edge);
    target.con = target.con.or(above.con);
    target.hqmax = target.hqmax.or(above.hqmax);
}

/// Applies `name=value` and bare `name` arguments; `None` if one is unknown, no number, or the result is forbidden.
pub(super) fn apply_arguments(
    mut attributes: NotificationAttributes,
    arguments: &[String],
) -> Option<NotificationAttributes> {
    for argument in arguments {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        let integer = || value.map(str::parse::<u32>).transpose().ok();
        let number = || value.map(str::parse::<f64>).transpose().ok();
        match name {
            "pmin" => attributes.pmin = integer()?,
            "pmax" => attributes.pmax = integer()?,
            "epmin" => attributes.epmin = integer()?,
            "epmax" => attributes.epmax = integer()?,
            "edge" => attributes.edge = integer()?,
            "con" => attributes.con = integer()?,
            "hqmax" => attributes.hqmax = integer()?,
            "gt" => attributes.gt = number()?,
            "lt" => attributes.lt = number()?,
            "st" => attributes.st = number()?,
            _ => return None,
        }
    }
    attributes.check().is_ok().then_some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Vec<String> {
        text.split('&').map(str::to_owned).collect()
    }

    #[test]
    fn core_7_3_2_a_lower_level_overrides_and_a_removed_attribute_is_inherited_again() {
        let mut table = AttributeTable::default();
        let resource = Path::resource(3, 0, 7);
        table.change(Path::object(3), &arguments("pmin=10&pmax=60&epmin=1&epmax=5&con=1&hqmax=9")).unwrap();
        table.change(resource, &arguments("pmin=5&gt=4000&edge=1")).unwrap();
        let shown = |table: &AttributeTable, path| table.in_force(&path).to_query().join("&");
        assert_eq!(shown(&table, resource), "pmin=5&pmax=60&gt=4000&epmin=1&epmax=5&edge=1&con=1&hqmax=9");
        table.change(resource, &arguments("pmin&gt")).unwrap();
        assert_eq!(shown(&table, resource), "pmin=10&pmax=60&epmin=1&epmax=5&edge=1&con=1&hqmax=9");
        table.forget_below(&Path::object(3));
        assert!(table.in_force(&resource).is_empty());
    }

    #[test]
    fn unknown_and_contradicting_attributes_change_nothing() {
        let mut table = AttributeTable::default();
        table.change(Path::object(3), &arguments("pmin=10")).unwrap();
        for refused in ["speed=1", "pmin=x", "pmin=", "epmin=5&epmax=5", "gt=1&lt=2"] {
            assert_eq!(table.change(Path::object(3), &arguments(refused)), None, "{refused}");
        }
        assert_eq!(table.own(&Path::object(3)).to_query(), ["pmin=10"]);
    }
}

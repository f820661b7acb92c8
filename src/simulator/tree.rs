//! The objects of a simulated device: values, and what a server may do with each resource.
//!
//! The tree judges what is there and what is allowed; which CoAP code that becomes is said by [`TreeError`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Bound;

use crate::model::object::{ResourceShape, ResourceTypes};
use crate::model::path::Path;
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::coap::message::Code;

use super::attribute_table::AttributeTable;

/// Why an operation on the tree is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Nothing there.
    #[error("nothing is at this path")]
    NotFound,
    /// It is there and does not allow the operation.
    #[error("the operation is not allowed at this path")]
    NotAllowed,
    /// The value or path in the payload does not fit.
    #[error("the payload does not fit the resource")]
    Unfitting,
}

impl TreeError {
    /// The response code that a client answers with.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::NotFound => Code::NOT_FOUND,
            Self::NotAllowed => Code::METHOD_NOT_ALLOWED,
            Self::Unfitting => Code::BAD_REQUEST,
        }
    }
}

/// Objects, instances and resources with their values and permissions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectTree {
    values: BTreeMap<Path, Value>,
    writable: BTreeSet<Path>,
    unreadable: BTreeSet<Path>,
    executable: BTreeSet<Path>,
    multiple: BTreeSet<Path>,
    instances: BTreeSet<Path>,
    creatable: BTreeSet<u16>,
    versions: BTreeMap<u16, Version>,
}

impl ObjectTree {
    /// Sets a value at a resource (depth 3) or resource instance (depth 4); other depths are ignored. A path of
    /// depth 4 makes its resource a multiple one.
    pub fn set(&mut self, path: Path, value: Value) {
        if path.depth() < 3 {
            return;
        }
        if let (4, Some(resource)) = (path.depth(), path.parent()) {
            self.multiple.insert(resource);
        }
        if let Some(slot) = self.values.get_mut(&path) {
            *slot = value;
            return;
        }
        self.remember_instance(&path);
        self.values.insert(path, value);
    }

    /// Lets a server write a resource.
    pub fn allow_write(&mut self, resource: Path) {
        self.writable.insert(resource.truncated(3).unwrap_or(resource));
    }

    /// Forbids a server to read a resource, as with write-only ones such as a firmware package.
    pub fn forbid_read(&mut self, resource: Path) {
        self.unreadable.insert(resource.truncated(3).unwrap_or(resource));
    }

    /// Adds a resource that a server can execute.
    pub fn add_executable(&mut self, resource: Path) {
        self.remember_instance(&resource);
        self.executable.insert(resource);
    }

    /// Adds an object instance without resources.
    pub fn add_instance(&mut self, instance: Path) {
        self.remember_instance(&instance);
    }

    /// Lets a server create and delete instances of an object.
    pub fn allow_create(&mut self, object: u16) {
        self.creatable.insert(object);
    }

    /// States the version of an object in links.
    pub fn set_version(&mut self, object: u16, version: Version) {
        self.versions.insert(object, version);
    }

    /// Removes everything at and below a path.
    pub fn remove(&mut self, path: Path) {
        self.values.retain(|candidate, _| !path.contains(candidate));
        self.executable.retain(|candidate| !path.contains(candidate));
        self.multiple.retain(|candidate| !path.contains(candidate));
        self.instances.retain(|candidate| !path.contains(candidate));
    }

    /// One value.
    #[must_use]
    pub fn value(&self, path: &Path) -> Option<&Value> {
        self.values.get(path)
    }

    /// Whether anything is at or below a path.
    #[must_use]
    pub fn exists(&self, path: &Path) -> bool {
        self.below(path).next().is_some()
            || self.multiple.contains(path)
            || self.executable.iter().chain(&self.instances).any(|candidate| path.contains(candidate))
    }

    /// Whether a resource can be executed.
    #[must_use]
    pub fn is_executable(&self, path: &Path) -> bool {
        self.executable.contains(path)
    }

    /// Whether a resource has resource instances.
    #[must_use]
    pub fn is_multiple(&self, path: &Path) -> bool {
        path.truncated(3).is_some_and(|resource| self.multiple.contains(&resource))
    }

    /// Whether a server may create instances of an object.
    #[must_use]
    pub fn is_creatable(&self, object: u16) -> bool {
        self.creatable.contains(&object)
    }

    /// All object instances, in order.
    pub fn instances(&self) -> impl Iterator<Item = Path> {
        self.instances.iter().copied()
    }

    /// The ids of the instances of one object, in order.
    pub fn instances_of(&self, object: u16) -> impl Iterator<Item = u16> {
        let object = Path::object(object);
        let from = self.instances.range(object..);
        from.take_while(move |instance| object.contains(instance)).filter_map(Path::instance_id)
    }

    /// The version of an object, where it was stated.
    #[must_use]
    pub fn version(&self, object: u16) -> Option<Version> {
        self.versions.get(&object).copied()
    }

    /// The lowest instance id of an object that is free; `None` if all are taken.
    #[must_use]
    pub fn free_instance(&self, object: u16) -> Option<u16> {
        (0..u16::MAX).find(|id| !self.instances.contains(&Path::instance(object, *id)))
    }

    /// The values at and below a path that a server may read.
    ///
    /// # Errors
    /// If nothing is there, or the path names a single resource that cannot be read.
    pub fn read(&self, path: &Path) -> Result<Vec<(Path, Value)>, TreeError> {
        let readable = |resource: &Path| !self.unreadable.contains(resource) && !self.executable.contains(resource);
        if !self.exists(path) {
            return Err(TreeError::NotFound);
        }
        if path.truncated(3).is_some_and(|resource| !readable(&resource)) {
            return Err(TreeError::NotAllowed);
        }
        let allowed = |candidate: &Path| candidate.truncated(3).is_some_and(|resource| readable(&resource));
        Ok(self
            .below(path)
            .filter(|(candidate, _)| allowed(candidate))
            .map(|(path, value)| (*path, value.clone()))
            .collect())
    }

    /// Judges and applies a write; nothing changes if one value is refused. `replace` empties what `target` holds
    /// and a server may write first, as PUT demands (Core TS 1.2.2 section 6.3.3).
    ///
    /// # Errors
    /// If a resource is missing, cannot be written, or has another type.
    pub fn write(&mut self, target: &Path, values: &[(Path, Value)], replace: bool) -> Result<(), TreeError> {
        let new_instance = target.depth() == 4 && self.is_multiple(target);
        if target.depth() < 2 || !(self.exists(target) || new_instance) {
            return Err(TreeError::NotFound);
        }
        if target.truncated(3).is_some_and(|resource| !self.writable.contains(&resource)) {
            return Err(TreeError::NotAllowed);
        }
        for (path, value) in values {
            self.judge_write(target, path, value)?;
        }
        if replace {
            self.empty_for_replacement(target, values);
        }
        for (path, value) in values {
            self.set(*path, value.clone());
        }
        Ok(())
    }

    /// Judges and applies the creation of an instance.
    ///
    /// # Errors
    /// If the object does not allow it, the instance exists, or a value lies outside of it.
    pub fn create(&mut self, instance: Path, values: &[(Path, Value)]) -> Result<(), TreeError> {
        let object = instance.object_id().ok_or(TreeError::NotAllowed)?;
        if !self.is_creatable(object) {
            return Err(if self.exists(&Path::object(object)) { TreeError::NotAllowed } else { TreeError::NotFound });
        }
        let outside = values.iter().any(|(path, _)| path.depth() < 3 || !instance.contains(path));
        if outside || self.instances.contains(&instance) {
            return Err(TreeError::Unfitting);
        }
        self.add_instance(instance);
        for (path, value) in values {
            self.set(*path, value.clone());
            self.allow_write(*path);
        }
        Ok(())
    }

    /// Judges and applies the deletion of an instance, or of one instance of a multiple resource.
    ///
    /// # Errors
    /// If nothing is there or it cannot be deleted.
    pub fn delete(&mut self, path: &Path) -> Result<(), TreeError> {
        if !self.exists(path) {
            return Err(TreeError::NotFound);
        }
        let allowed = match (path.depth(), path.object_id(), path.truncated(3)) {
            (2, Some(object), _) => self.is_creatable(object),
            (4, _, Some(resource)) => self.writable.contains(&resource),
            _ => false,
        };
        if !allowed {
            return Err(TreeError::NotAllowed);
        }
        self.remove(*path);
        Ok(())
    }

    /// The object list of a registration in link format; `root` is an alternate root path or empty, `formats` the
    /// content formats that the root link names.
    #[must_use]
    pub fn registration_links(&self, root: &str, formats: &[u16]) -> String {
        let mut text = String::new();
        if !root.is_empty() || !formats.is_empty() {
            let _ = write!(text, "<{}>;rt=\"oma.lwm2m\"", if root.is_empty() { "/" } else { root });
            match formats {
                [] => {}
                [one] => {
                    let _ = write!(text, ";ct={one}");
                }
                several => {
                    let numbers: Vec<String> = several.iter().map(u16::to_string).collect();
                    let _ = write!(text, ";ct=\"{}\"", numbers.join(" "));
                }
            }
        }
        let mut previous = None;
        for instance in &self.instances {
            let Some(object) = instance.object_id().filter(|object| !is_protected(*object)) else { continue };
            let version = self.versions.get(&object).filter(|_| previous != Some(object));
            previous = Some(object);
            if let Some(version) = version {
                push_link(&mut text, &format!("{root}/{object}"), &format!(";ver={version}"));
            }
            push_link(&mut text, &format!("{root}{instance}"), "");
        }
        for object in self.creatable.iter().filter(|object| !self.exists(&Path::object(**object))) {
            let version = self.versions.get(object).map(|version| format!(";ver={version}")).unwrap_or_default();
            push_link(&mut text, &format!("{root}/{object}"), &version);
        }
        text
    }

    /// The answer to Discover: links of what is at and up to `depth` levels below a path; without a depth, two levels
    /// below an object and one below anything else. The link of the path itself carries the attributes in force there,
    /// inherited ones too; the others carry their own (Core TS 1.2.2 section 6.3.2).
    ///
    /// # Errors
    /// If nothing is there.
    pub fn discover(
        &self,
        path: &Path,
        root: &str,
        attributes: &AttributeTable,
        depth: Option<u8>,
    ) -> Result<String, TreeError> {
        // An object that a server may create instances of is there also while it has none.
        let empty = path.depth() == 1 && path.object_id().is_some_and(|object| self.is_creatable(object));
        if !(self.exists(path) || empty) {
            return Err(TreeError::NotFound);
        }
        let levels = depth.map_or(if path.depth() <= 1 { 2 } else { 1 }, usize::from);
        let deepest = path.depth().saturating_add(levels);
        let listed: BTreeSet<Path> = self
            .values
            .keys()
            .chain(&self.executable)
            .chain(&self.multiple)
            .chain(&self.instances)
            .filter(|candidate| path.contains(candidate))
            .flat_map(|candidate| (path.depth()..=candidate.depth()).filter_map(|depth| candidate.truncated(depth)))
            .filter(|candidate| candidate.depth() <= deepest)
            .chain([*path])
            .collect();
        let mut text = String::new();
        for link in &listed {
            let mut parameters = String::new();
            if let (1, Some(version)) = (link.depth(), link.object_id().and_then(|object| self.versions.get(&object))) {
                let _ = write!(parameters, ";ver={version}");
            }
            if link.depth() == 3 && self.multiple.contains(link) {
                let _ = write!(parameters, ";dim={}", self.below(link).count());
            }
            let shown = if link == path { attributes.in_force(link) } else { attributes.own(link) };
            for argument in shown.to_query() {
                let _ = write!(parameters, ";{argument}");
            }
            push_link(&mut text, &format!("{root}{link}"), &parameters);
        }
        Ok(text)
    }

    fn judge_write(&self, target: &Path, path: &Path, value: &Value) -> Result<(), TreeError> {
        let resource = path.truncated(3).ok_or(TreeError::Unfitting)?;
        if !target.contains(path) {
            return Err(TreeError::Unfitting);
        }
        if !self.writable.contains(&resource) {
            return Err(if self.exists(&resource) { TreeError::NotAllowed } else { TreeError::NotFound });
        }
        if self.multiple.contains(&resource) != (path.depth() == 4) {
            return Err(TreeError::Unfitting);
        }
        let wanted = self.shape(path).and_then(|shape| shape.resource_type);
        if wanted.is_some_and(|wanted| wanted != value.resource_type()) {
            return Err(TreeError::Unfitting);
        }
        Ok(())
    }

    /// An instance keeps its single resources when a replacement leaves them out: the simulated device treats them
    /// as mandatory. Resource instances that are left out go.
    fn empty_for_replacement(&mut self, target: &Path, values: &[(Path, Value)]) {
        let named: BTreeSet<Path> = values.iter().filter_map(|(path, _)| path.truncated(3)).collect();
        let Self { values: held, multiple, .. } = self;
        held.retain(|path, _| {
            let resource = path.truncated(3).unwrap_or(*path);
            let replaced = target.depth() < 4 && multiple.contains(&resource) && named.contains(&resource);
            !(replaced && target.contains(path))
        });
    }

    fn below(&self, path: &Path) -> impl Iterator<Item = (&Path, &Value)> {
        let path = *path;
        self.values
            .range((Bound::Included(path), Bound::Unbounded))
            .take_while(move |(candidate, _)| path.contains(candidate))
    }

    fn remember_instance(&mut self, path: &Path) {
        if let Some(instance) = path.truncated(2) {
            self.instances.insert(instance);
        }
    }
}

impl ResourceTypes for ObjectTree {
    fn shape(&self, path: &Path) -> Option<ResourceShape> {
        let resource = path.truncated(3)?;
        if self.executable.contains(&resource) {
            return Some(ResourceShape { resource_type: None, multiple: false });
        }
        let multiple = self.multiple.contains(&resource);
        let resource_type = self.below(&resource).next().map(|(_, value)| value.resource_type());
        (resource_type.is_some() || multiple).then_some(ResourceShape { resource_type, multiple })
    }
}

/// Objects that no management server may touch or see: security and OSCORE, COSE keys.
pub(super) const fn is_protected(object: u16) -> bool {
    matches!(object, 0 | 21 | 23)
}

fn push_link(text: &mut String, target: &str, parameters: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    let _ = write!(text, "<{target}>{parameters}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::value::ResourceType;

    fn tree() -> ObjectTree {
        let mut tree = ObjectTree::default();
        tree.set(Path::resource(3, 0, 0), Value::String("Acme".to_owned()));
        tree.set(Path::resource_instance(3, 0, 7, 0), Value::Integer(3_300));
        tree.set(Path::resource_instance(3, 0, 7, 1), Value::Integer(5_000));
        tree.add_executable(Path::resource(3, 0, 4));
        tree.set(Path::resource(3303, 1, 5700), Value::Float(21.5));
        tree.set(Path::resource(1, 0, 1), Value::Integer(60));
        tree.allow_write(Path::resource(1, 0, 1));
        tree.set(Path::resource(0, 0, 0), Value::String("coap://server".to_owned()));
        tree
    }

    #[test]
    fn registration_lists_instances_with_versions_and_without_security() {
        let mut tree = tree();
        assert_eq!(tree.registration_links("", &[]), "</1/0>,</3/0>,</3303/1>");
        tree.set_version(3303, Version::V1_1);
        tree.allow_create(10);
        assert_eq!(
            tree.registration_links("/lwm2m", &[112]),
            "</lwm2m>;rt=\"oma.lwm2m\";ct=112,</lwm2m/1/0>,</lwm2m/3/0>,</lwm2m/3303>;ver=1.1,</lwm2m/3303/1>,</lwm2m/10>"
        );
    }

    #[test]
    fn discover_shows_dimensions_and_attributes() {
        let mut attributes = AttributeTable::default();
        attributes.change(Path::resource(3, 0, 7), &["pmin=5".to_owned()]).unwrap();
        let discover = |path, depth| tree().discover(&path, "", &attributes, depth);
        let instance = Path::instance(3, 0);
        assert_eq!(discover(instance, None).unwrap(), "</3/0>,</3/0/0>,</3/0/4>,</3/0/7>;dim=2;pmin=5");
        let resource = Path::resource(3, 0, 7);
        assert_eq!(discover(resource, None).unwrap(), "</3/0/7>;dim=2;pmin=5,</3/0/7/0>,</3/0/7/1>");
        assert_eq!(discover(Path::object(9), None), Err(TreeError::NotFound));
        let mut creatable = tree();
        creatable.allow_create(9);
        assert_eq!(creatable.discover(&Path::object(9), "", &attributes, None).unwrap(), "</9>");
    }

    #[test]
    fn core_6_3_2_a_depth_says_how_far_discover_looks() {
        let attributes = AttributeTable::default();
        let object = |depth| tree().discover(&Path::object(3), "", &attributes, Some(depth)).unwrap();
        assert_eq!(object(0), "</3>");
        assert_eq!(object(1), "</3>,</3/0>");
        assert_eq!(object(2), tree().discover(&Path::object(3), "", &attributes, None).unwrap());
        assert_eq!(object(3), "</3>,</3/0>,</3/0/0>,</3/0/4>,</3/0/7>;dim=2,</3/0/7/0>,</3/0/7/1>");
    }

    #[test]
    fn core_6_3_2_the_discovered_path_shows_what_it_inherits() {
        let mut attributes = AttributeTable::default();
        attributes.change(Path::object(3), &["pmin=10".to_owned(), "pmax=60".to_owned()]).unwrap();
        attributes.change(Path::resource(3, 0, 7), &["pmax=30".to_owned()]).unwrap();
        let discover = |path, depth| tree().discover(&path, "", &attributes, Some(depth)).unwrap();
        assert_eq!(discover(Path::object(3), 1), "</3>;pmin=10;pmax=60,</3/0>");
        assert_eq!(discover(Path::resource(3, 0, 7), 0), "</3/0/7>;dim=2;pmin=10;pmax=30");
        assert_eq!(discover(Path::resource_instance(3, 0, 7, 1), 0), "</3/0/7/1>;pmin=10;pmax=30");
    }

    #[test]
    fn reading_leaves_out_what_cannot_be_read() {
        assert_eq!(tree().read(&Path::instance(3, 0)).unwrap().len(), 3);
        assert_eq!(tree().read(&Path::resource(3, 0, 4)), Err(TreeError::NotAllowed));
        assert_eq!(tree().read(&Path::resource(3, 0, 5)), Err(TreeError::NotFound));
        assert_eq!(tree().shape(&Path::resource(3, 0, 7)).unwrap().resource_type, Some(ResourceType::Integer));
    }

    #[test]
    fn a_write_with_one_refused_value_changes_nothing() {
        let mut tree = tree();
        let values = [(Path::resource(1, 0, 1), Value::Integer(30)), (Path::resource(1, 0, 9), Value::Integer(1))];
        assert_eq!(tree.write(&Path::instance(1, 0), &values, false), Err(TreeError::NotFound));
        assert_eq!(tree.value(&Path::resource(1, 0, 1)), Some(&Value::Integer(60)));
        assert_eq!(tree.write(&Path::resource(3, 0, 0), &[], false), Err(TreeError::NotAllowed));
        let wrong_type = [(Path::resource(1, 0, 1), Value::Boolean(true))];
        assert_eq!(tree.write(&Path::instance(1, 0), &wrong_type, false), Err(TreeError::Unfitting));
        assert_eq!(tree.write(&Path::instance(1, 0), &values[..1], true), Ok(()));
        assert_eq!(tree.value(&Path::resource(1, 0, 1)), Some(&Value::Integer(30)));
    }

    #[test]
    fn instances_are_created_and_deleted_only_where_allowed() {
        let mut tree = tree();
        let value = [(Path::resource(10, 0, 1), Value::Integer(1))];
        assert_eq!(tree.create(Path::instance(10, 0), &value), Err(TreeError::NotFound));
        tree.allow_create(10);
        assert_eq!(tree.create(Path::instance(10, 0), &value), Ok(()));
        assert_eq!(tree.create(Path::instance(10, 0), &value), Err(TreeError::Unfitting));
        assert_eq!(tree.free_instance(10), Some(1));
        assert_eq!(tree.delete(&Path::instance(3, 0)), Err(TreeError::NotAllowed));
        assert_eq!(tree.delete(&Path::instance(10, 0)), Ok(()));
        assert!(!tree.exists(&Path::instance(10, 0)));
    }
}

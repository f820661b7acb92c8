//! The object model: which objects, resources, types and operations exist, in several versions at once.
//!
//! An [`ObjectModel`] knows the definitions of the OMA registry and those that were added from DDF files
//! ([`super::ddf`]). All versions stay side by side, because a major version may replace resources and the devices of a
//! fleet differ; [`DeviceModel`] is the view of one device. Content formats see only [`ResourceTypes`].
//!
//! A definition never decides whether data is accepted: an object, version or resource that nobody knows is typed by its
//! payload, and the closest known version stands in for one that is missing.

mod catalogue;
mod names;
mod paths;
mod range;
pub mod registry;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use catalogue::ObjectModel;
pub(crate) use catalogue::implied_version;
pub(in crate::model) use names::snake_case;

use super::path::Path;
use super::value::ResourceType;
use super::version::Version;

/// What a server may do with a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Read, Observe, Discover.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Execute.
    pub execute: bool,
}

/// The definition of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceDefinition {
    /// Identifier within the object.
    pub id: u16,
    /// Name as registered, for example `Sensor Value`.
    pub name: String,
    /// Name in paths, for example `sensor_value`; unique within the object, and the same in all versions that share the
    /// major number.
    pub path_name: String,
    /// What a server may do with it. All false: only the bootstrap server, or Send.
    pub operations: Operations,
    /// Whether it has resource instances.
    pub multiple: bool,
    /// Whether every instance has it.
    pub mandatory: bool,
    /// Its type as registered; `None` for executables, and for the few where the registry forgot it.
    pub resource_type: Option<ResourceType>,
    /// Range or enumeration as registered, for people; empty if none.
    pub range: String,
    /// Unit as registered; empty if none.
    pub unit: String,
}

/// The definition of one version of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectDefinition {
    /// Object identifier.
    pub id: u16,
    /// Version of the object.
    pub version: Version,
    /// The enabler version that the definition asks for (`LWM2MVersion`); 1.0 where it says nothing.
    pub enabler: Version,
    /// Name as registered.
    pub name: String,
    /// Name in paths, unique among all objects and the same in all versions; `name_ID` for all but the lowest id of a
    /// shared name.
    pub path_name: String,
    /// Whether it has several instances.
    pub multiple: bool,
    /// Whether every device has it.
    pub mandatory: bool,
    /// Resources by id.
    pub resources: BTreeMap<u16, ResourceDefinition>,
}

/// What content formats need to know of the object model: the type of a resource and whether it has instances.
///
/// Implemented by a view of the [`ObjectModel`] with the versions that one device registered.
pub trait ResourceTypes {
    /// The shape of the resource that contains `path` (depth 3 or 4); `None` if the model does not know it.
    fn shape(&self, path: &Path) -> Option<ResourceShape>;
}

/// Type and multiplicity of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceShape {
    /// Its type; `None` for executables.
    pub resource_type: Option<ResourceType>,
    /// Whether it has resource instances.
    pub multiple: bool,
}

/// A device's view of the model: its objects in the versions it registered.
#[derive(Clone, Copy, Debug)]
pub struct DeviceModel<'a> {
    /// All definitions.
    pub model: &'a ObjectModel,
    /// What the device registered.
    pub objects: &'a BTreeMap<u16, super::report::RegisteredObject>,
    /// The device's enabler version.
    pub enabler: Option<Version>,
}

impl<'a> DeviceModel<'a> {
    /// The definition of the resource that contains `path`, from another version if the device's own lacks it
    /// ([`ObjectModel::resource`]).
    #[must_use]
    pub fn resource(&self, path: &Path) -> Option<&'a ResourceDefinition> {
        let object = path.object_id()?;
        self.model.resource(object, self.stated(object), self.enabler, path.resource_id()?)
    }

    /// The definition of an object in the version that the device has.
    #[must_use]
    pub fn object(&self, id: u16) -> Option<&'a ObjectDefinition> {
        self.model.object(id, self.stated(id), self.enabler).map(AsRef::as_ref)
    }

    /// The path names of object and resource of `path`, in the device's version.
    #[must_use]
    pub fn names(&self, path: &Path) -> Option<(&'a str, &'a str)> {
        Some((self.model.object_path_name(path.object_id()?)?, &self.resource(path)?.path_name))
    }

    fn stated(&self, object: u16) -> Option<Version> {
        self.objects.get(&object).and_then(|registered| registered.version)
    }
}

impl ResourceTypes for DeviceModel<'_> {
    fn shape(&self, path: &Path) -> Option<ResourceShape> {
        let resource = self.resource(path)?;
        Some(ResourceShape { resource_type: resource.resource_type, multiple: resource.multiple })
    }
}

/// A model that knows nothing: everything is typed by the payload alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTypes;

impl ResourceTypes for NoTypes {
    fn shape(&self, _path: &Path) -> Option<ResourceShape> {
        None
    }
}

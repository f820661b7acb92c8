//! The object model: which objects, resources, types and operations exist, in several versions at once.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// Name in paths, for example `sensor_value`; unique within the object.
    pub path_name: String,
    /// What a server may do with it. All false: only the bootstrap server, or Send.
    pub operations: Operations,
    /// Whether it has resource instances.
    pub multiple: bool,
    /// Whether every instance has it.
    pub mandatory: bool,
    /// Its type; `None` for executables.
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
    /// Name as registered.
    pub name: String,
    /// Name in paths, unique among all objects; `name_ID` for all but the lowest id of a shared name.
    pub path_name: String,
    /// Whether it has several instances.
    pub multiple: bool,
    /// Whether every device has it.
    pub mandatory: bool,
    /// Resources by id.
    pub resources: BTreeMap<u16, ResourceDefinition>,
}

/// All known object definitions.
#[derive(Clone, Debug, Default)]
pub struct ObjectModel {
    objects: BTreeMap<(u16, Version), Arc<ObjectDefinition>>,
}

impl ObjectModel {
    /// The definition for an object as a device registered it.
    ///
    /// `stated` is the `ver` of the registration, `enabler` its `lwm2m` parameter, which implies the versions of core
    /// objects. Falls back to the newest known version: a version mismatch never costs data.
    #[must_use]
    pub fn object(&self, id: u16, stated: Option<Version>, enabler: Option<Version>) -> Option<&Arc<ObjectDefinition>> {
        let _ = (stated, enabler);
        self.objects
            .range((id, Version::new(0, 0))..=(id, Version::new(255, 255)))
            .next_back()
            .map(|(_, object)| object)
    }

    /// Parses a path that may use names: `/3303/0/5700` or `/temperature/0/sensor_value`.
    ///
    /// # Errors
    /// Says which part is unknown, with the nearest known name where there is one.
    pub fn parse_path(&self, text: &str) -> Result<Path, String> {
        text.parse().map_err(|error: super::path::PathError| error.to_string())
    }
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
    /// The definition of the resource that contains `path`.
    #[must_use]
    pub fn resource(&self, path: &Path) -> Option<&'a ResourceDefinition> {
        let object = path.object_id()?;
        let stated = self.objects.get(&object).and_then(|registered| registered.version);
        self.model.object(object, stated, self.enabler)?.resources.get(&path.resource_id()?)
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

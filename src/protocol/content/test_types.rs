//! Declared types for tests.

use std::collections::BTreeMap;

use crate::model::object::{ResourceShape, ResourceTypes};
use crate::model::path::Path;
use crate::model::value::ResourceType;

/// The same shape for every resource.
pub(super) struct OneType(ResourceShape);

impl OneType {
    pub(super) const fn single(resource_type: ResourceType) -> Self {
        Self(ResourceShape { resource_type: Some(resource_type), multiple: false })
    }
}

impl ResourceTypes for OneType {
    fn shape(&self, _path: &Path) -> Option<ResourceShape> {
        Some(self.0)
    }
}

/// Shapes by object and resource.
#[derive(Default)]
pub(super) struct TypeTable {
    shapes: BTreeMap<(u16, u16), ResourceShape>,
}

impl TypeTable {
    /// One resource of each type at `/1000/x/0..=8`, and the same with instances at `/1000/x/10..=18`.
    pub(super) fn every_type() -> Self {
        let mut table = Self::default();
        for (number, resource_type) in (0..).zip(EVERY_TYPE) {
            table.add(1000, number, resource_type, false);
            table.add(1000, number + 10, resource_type, true);
        }
        table
    }

    /// Some of the core objects.
    pub(super) fn core() -> Self {
        use ResourceType::{Boolean, Integer, Opaque, String, Time};
        let mut table = Self::default();
        for (object, resource, resource_type, multiple) in [
            (1, 0, Integer, false),
            (1, 1, Integer, false),
            (1, 2, Integer, false),
            (1, 3, Integer, false),
            (1, 5, Integer, false),
            (1, 6, Boolean, false),
            (1, 7, String, false),
            (2, 0, Integer, false),
            (2, 1, Integer, false),
            (2, 2, Integer, true),
            (2, 3, Integer, false),
            (3, 0, String, false),
            (3, 1, String, false),
            (3, 2, String, false),
            (3, 3, String, false),
            (3, 6, Integer, true),
            (3, 7, Integer, true),
            (3, 8, Integer, true),
            (3, 9, Integer, false),
            (3, 10, Integer, false),
            (3, 11, Integer, true),
            (3, 13, Time, false),
            (3, 14, String, false),
            (3, 15, String, false),
            (3, 16, String, false),
            (5, 0, Opaque, false),
            (10, 14, Integer, false),
        ] {
            table.add(object, resource, resource_type, multiple);
        }
        table
    }

    pub(super) fn add(&mut self, object: u16, resource: u16, resource_type: ResourceType, multiple: bool) {
        self.shapes.insert((object, resource), ResourceShape { resource_type: Some(resource_type), multiple });
    }
}

/// All types in the order of the specification.
pub(super) const EVERY_TYPE: [ResourceType; 9] = [
    ResourceType::String,
    ResourceType::Integer,
    ResourceType::UnsignedInteger,
    ResourceType::Float,
    ResourceType::Boolean,
    ResourceType::Opaque,
    ResourceType::Time,
    ResourceType::ObjectLink,
    ResourceType::CoreLink,
];

impl ResourceTypes for TypeTable {
    fn shape(&self, path: &Path) -> Option<ResourceShape> {
        self.shapes.get(&(path.object_id()?, path.resource_id()?)).copied()
    }
}

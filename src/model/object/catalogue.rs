//! All known definitions, the choice among their versions, and the names of objects and resources.
//!
//! The built-in registry stays text until somebody asks for an object: at start only the object lines are looked at,
//! and the versions of one object are read together, once, on the first question about it (their resource names depend
//! on one another). A gateway thus pays for the few objects that its devices have: about 250 kB and half a millisecond
//! for the index, where everything read would be 2 MB and 5 ms.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::names::{NameTable, path_name};
use super::registry::{self, BUILT_IN};
use super::{ObjectDefinition, ResourceDefinition};
use crate::model::version::Version;

/// All known object definitions. A clone is cheap and shares everything.
#[derive(Clone, Default)]
pub struct ObjectModel {
    objects: Arc<BTreeMap<u16, Arc<ObjectVersions>>>,
    names: Arc<NameTable>,
}

/// Equal are clones of the same model.
impl PartialEq for ObjectModel {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.objects, &other.objects)
    }
}

/// One object in all its versions.
struct ObjectVersions {
    path_name: Box<str>,
    sources: BTreeMap<Version, Source>,
    /// What `sources` mean; filled by the first question.
    parsed: OnceLock<ParsedVersions>,
}

/// Where the definition of one version comes from.
#[derive(Clone)]
enum Source {
    /// A piece of the built-in registry.
    BuiltIn(&'static str),
    /// A definition that was added.
    Added(Arc<ObjectDefinition>),
}

struct ParsedVersions {
    definitions: BTreeMap<Version, Arc<ObjectDefinition>>,
    resource_names: NameTable,
}

impl ObjectModel {
    /// The definitions of the OMA registry, in all published versions.
    #[must_use]
    pub fn built_in() -> Self {
        let mut sources: BTreeMap<u16, BTreeMap<Version, (&str, Source)>> = BTreeMap::new();
        for block in registry::blocks(BUILT_IN) {
            sources.entry(block.id).or_default().insert(block.version, (block.name, Source::BuiltIn(block.text)));
        }
        Self::default().extended(sources)
    }

    /// This model and further definitions, which take the place of those with the same id and version.
    ///
    /// The names of known objects stay as they are, so that a further object never changes what an existing mapping
    /// means: a new object that wants a name in use becomes `name_ID`, even if its id is lower.
    #[must_use]
    pub fn with_definitions(&self, definitions: Vec<ObjectDefinition>) -> Self {
        let added: Vec<Arc<ObjectDefinition>> = definitions.into_iter().map(Arc::new).collect();
        let mut sources: BTreeMap<u16, BTreeMap<Version, (&str, Source)>> = BTreeMap::new();
        for definition in &added {
            let source = Source::Added(Arc::clone(definition));
            sources.entry(definition.id).or_default().insert(definition.version, (definition.name.as_str(), source));
        }
        self.extended(sources)
    }

    /// This model with further versions, each with the object's name as registered.
    fn extended(&self, added: BTreeMap<u16, BTreeMap<Version, (&str, Source)>>) -> Self {
        let mut objects = (*self.objects).clone();
        let mut names = (*self.names).clone();
        let wishes: Vec<(u16, String)> = added
            .iter()
            .filter(|(id, _)| !objects.contains_key(id))
            .filter_map(|(&id, versions)| {
                let (_, (name, _)) = versions.last_key_value()?;
                Some((id, path_name(name, "object", id)))
            })
            .collect();
        let given: BTreeMap<u16, String> = wishes.iter().map(|(id, _)| *id).zip(names.assign(&wishes)).collect();
        for (&id, versions) in &added {
            for (name, _) in versions.values() {
                names.add_alias(path_name(name, "object", id), id);
            }
        }
        for (id, versions) in added {
            let known = objects.get(&id);
            let Some(path_name) = known
                .map(|object| object.path_name.clone())
                .or_else(|| given.get(&id).map(|name| name.as_str().into()))
            else {
                continue;
            };
            let mut sources = known.map(|object| object.sources.clone()).unwrap_or_default();
            sources.extend(versions.into_iter().map(|(version, (_, source))| (version, source)));
            objects.insert(id, Arc::new(ObjectVersions { path_name, sources, parsed: OnceLock::new() }));
        }
        Self { objects: Arc::new(objects), names: Arc::new(names) }
    }

    /// The definition for an object as a device registered it.
    ///
    /// `stated` is the `ver` of the registration, `enabler` its `lwm2m` parameter, which implies the versions of core
    /// objects (TS 1.1.1 and 1.2.2 Core, Table E-1); every other object without `ver` is 1.0. A version that nobody
    /// knows is replaced by the newest with the same major number, else by the newest of all: a mismatch never costs
    /// data.
    #[must_use]
    pub fn object(&self, id: u16, stated: Option<Version>, enabler: Option<Version>) -> Option<&Arc<ObjectDefinition>> {
        let definitions = &self.versions_of(id)?.definitions;
        let wanted = stated.unwrap_or_else(|| implied_version(id, enabler));
        definitions.get(&wanted).or_else(|| preference(definitions, wanted).next())
    }

    /// The definition of a resource for an object as a device registered it.
    ///
    /// If the version chosen by [`ObjectModel::object`] lacks the resource, the newest one with the same major number
    /// that has it stands in, else the newest of all: devices often say 1.0 and send what a later version added.
    #[must_use]
    pub fn resource(
        &self,
        object: u16,
        stated: Option<Version>,
        enabler: Option<Version>,
        resource: u16,
    ) -> Option<&ResourceDefinition> {
        let chosen = self.object(object, stated, enabler)?;
        chosen.resources.get(&resource).or_else(|| {
            let definitions = &self.versions_of(object)?.definitions;
            preference(definitions, chosen.version).find_map(|definition| definition.resources.get(&resource))
        })
    }

    /// The definition of exactly this version.
    #[must_use]
    pub fn exact(&self, id: u16, version: Version) -> Option<&Arc<ObjectDefinition>> {
        self.versions_of(id)?.definitions.get(&version)
    }

    /// The newest definition of an object.
    #[must_use]
    pub fn newest(&self, id: u16) -> Option<&Arc<ObjectDefinition>> {
        Some(self.versions_of(id)?.definitions.last_key_value()?.1)
    }

    /// All object identifiers with their versions, sorted. Reads no definition.
    pub fn objects(&self) -> impl Iterator<Item = (u16, Vec<Version>)> {
        self.objects.iter().map(|(id, object)| (*id, object.sources.keys().copied().collect()))
    }

    /// The name of an object in paths.
    #[must_use]
    pub fn object_path_name(&self, id: u16) -> Option<&str> {
        self.objects.get(&id).map(|object| &*object.path_name)
    }

    /// The object that a name in paths stands for, also by the name that an older version had.
    #[must_use]
    pub fn object_id_by_name(&self, name: &str) -> Option<u16> {
        self.names.id(name)
    }

    /// The resource of an object that a name in paths stands for, in any version.
    #[must_use]
    pub fn resource_id_by_name(&self, object: u16, name: &str) -> Option<u16> {
        self.versions_of(object)?.resource_names.id(name)
    }

    /// The known object name most like `name`, for hints; `None` if none comes close.
    #[must_use]
    pub fn nearest_object_name(&self, name: &str) -> Option<&str> {
        self.names.nearest(name)
    }

    /// The known resource name most like `name`, for hints; `None` if none comes close.
    #[must_use]
    pub fn nearest_resource_name(&self, object: u16, name: &str) -> Option<&str> {
        self.versions_of(object)?.resource_names.nearest(name)
    }

    fn versions_of(&self, id: u16) -> Option<&ParsedVersions> {
        let object = self.objects.get(&id)?;
        Some(object.parsed.get_or_init(|| ParsedVersions::new(&object.path_name, &object.sources)))
    }
}

impl fmt::Debug for ObjectModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: usize = self.objects.values().map(|object| object.sources.len()).sum();
        f.debug_struct("ObjectModel")
            .field("objects", &self.objects.len())
            .field("versions", &versions)
            .finish_non_exhaustive()
    }
}

impl ParsedVersions {
    fn new(object_path_name: &str, sources: &BTreeMap<Version, Source>) -> Self {
        let mut read: Vec<ObjectDefinition> = sources
            .values()
            .filter_map(|source| match source {
                Source::BuiltIn(text) => registry::parse_block(text),
                Source::Added(definition) => Some(ObjectDefinition::clone(definition)),
            })
            .collect();
        let resource_names = name_resources(&mut read);
        let definitions = read
            .into_iter()
            .map(|mut definition| {
                object_path_name.clone_into(&mut definition.path_name);
                (definition.version, Arc::new(definition))
            })
            .collect();
        Self { definitions, resource_names }
    }
}

/// Sets the path names of all resources of one object, given in the order of their versions.
///
/// Within a major number a resource has the name of the newest version, so that a topic made of it does not depend on a
/// device's minor version. Older names stay known where they are not taken.
fn name_resources(versions: &mut [ObjectDefinition]) -> NameTable {
    let mut current: BTreeMap<(u8, u16), String> = BTreeMap::new();
    let mut former: Vec<(u16, String)> = Vec::new();
    for definition in versions.iter() {
        for (&id, resource) in &definition.resources {
            let name = path_name(&resource.name, "resource", id);
            if let Some(older) = current.insert((definition.version.major, id), name) {
                former.push((id, older));
            }
        }
    }
    let mut table = NameTable::default();
    let (keys, wishes): (Vec<_>, Vec<_>) = current.into_iter().map(|(key, name)| (key, (key.1, name))).unzip();
    let given: BTreeMap<(u8, u16), String> = keys.into_iter().zip(table.assign(&wishes)).collect();
    for (id, name) in former {
        table.add_alias(name, id);
    }
    for definition in versions {
        let major = definition.version.major;
        for (&id, resource) in &mut definition.resources {
            if let Some(name) = given.get(&(major, id)) {
                resource.path_name.clone_from(name);
            }
        }
    }
    table
}

/// All versions, those most likely to fit `wanted` first: same major number, then the others, each newest first.
fn preference(
    definitions: &BTreeMap<Version, Arc<ObjectDefinition>>,
    wanted: Version,
) -> impl Iterator<Item = &Arc<ObjectDefinition>> {
    let same = definitions.values().rev().filter(move |known| known.version.major == wanted.major);
    let other = definitions.values().rev().filter(move |known| known.version.major != wanted.major);
    same.chain(other)
}

/// The version of an object that a device does not state (Core TS 1.2.2 Table E-1; TS 1.1 Appendix E).
///
/// A device that does not even state its enabler version counts as 1.0.
pub(crate) fn implied_version(id: u16, enabler: Option<Version>) -> Version {
    let enabler = enabler.unwrap_or(Version::V1_0);
    if enabler >= Version::V1_2 {
        match id {
            0 | 1 | 3 => Version::V1_2,
            2 | 5 => Version::V1_1,
            4 => Version::new(1, 3),
            21 => Version::new(2, 0),
            _ => Version::V1_0,
        }
    } else if enabler >= Version::V1_1 {
        match id {
            0 | 1 | 3 => Version::V1_1,
            4 => Version::V1_2,
            _ => Version::V1_0,
        }
    } else {
        Version::V1_0
    }
}

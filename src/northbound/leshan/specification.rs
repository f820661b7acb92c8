//! Object definitions in Leshan's JSON (`objectspecs`).

use serde_json::{Value as Json, json};

use super::value::type_name;
use crate::model::object::{DeviceModel, ObjectDefinition, Operations, ResourceDefinition};
use crate::model::version::Version;

/// The definitions of the objects that a device registered, in its versions. Descriptions are not kept by the object
/// model and are empty.
#[must_use]
pub fn specifications(types: &DeviceModel<'_>) -> Json {
    types.objects.keys().filter_map(|id| types.object(*id)).map(object_json).collect()
}

fn object_json(object: &ObjectDefinition) -> Json {
    let resources: Vec<Json> = object.resources.values().map(resource_json).collect();
    json!({
        "id": object.id,
        "name": object.name,
        "instancetype": instance_type(object.multiple),
        "mandatory": object.mandatory,
        "urn": urn(object.id, object.version),
        "version": object.version.to_string(),
        "lwm2mversion": object.enabler.to_string(),
        "description": "",
        "description2": "",
        "resourcedefs": resources,
    })
}

fn resource_json(resource: &ResourceDefinition) -> Json {
    json!({
        "id": resource.id,
        "name": resource.name,
        "operations": operations(resource.operations),
        "instancetype": instance_type(resource.multiple),
        "mandatory": resource.mandatory,
        "type": resource.resource_type.map_or_else(|| "none".to_owned(), |kind| type_name(kind).to_lowercase()),
        "range": resource.range,
        "units": resource.unit,
        "description": "",
    })
}

const fn instance_type(multiple: bool) -> &'static str {
    if multiple { "multiple" } else { "single" }
}

fn operations(operations: Operations) -> String {
    let letters = [(operations.read, 'R'), (operations.write, 'W'), (operations.execute, 'E')];
    let text: String = letters.iter().filter(|(allowed, _)| *allowed).map(|(_, letter)| letter).collect();
    if text.is_empty() { "NONE".to_owned() } else { text }
}

/// The registered name of an object: by the class of its number (Core TS 1.2.2 Annex B), the version if it is not 1.0.
fn urn(id: u16, version: Version) -> String {
    let class = match id {
        0..=1023 => "oma",
        1024..=10240 => "ext",
        _ => "x",
    };
    let version = if version == Version::V1_0 { String::new() } else { format!(":{version}") };
    format!("urn:oma:lwm2m:{class}:{id}{version}")
}

//! Object definitions as JSON.

use serde_json::{Map, Value as Json, json};

use crate::model::object::{ObjectModel, ResourceDefinition};

/// Ids, names and versions of all objects that have a definition.
pub(super) fn list_objects(model: &ObjectModel) -> Json {
    let items = model.objects().map(|(id, versions)| {
        let name = model.newest(id).map(|definition| definition.name.clone());
        let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
        json!({ "id": id, "name": name, "versions": versions })
    });
    json!({ "items": items.collect::<Vec<_>>(), "next": null })
}

/// The definition of an object in a version, or in its newest by `latest`.
pub(super) fn show_object(model: &ObjectModel, id: u16, version: &str) -> Option<Json> {
    let definition = if version == "latest" { model.newest(id)? } else { model.exact(id, version.parse().ok()?)? };
    let resources: Map<String, Json> =
        definition.resources.values().map(|resource| (resource.id.to_string(), resource_json(resource))).collect();
    Some(json!({
        "id": definition.id,
        "version": definition.version.to_string(),
        "lwm2m_version": definition.enabler.to_string(),
        "name": definition.name,
        "path_name": definition.path_name,
        "multiple": definition.multiple,
        "mandatory": definition.mandatory,
        "resources": resources,
    }))
}

fn resource_json(resource: &ResourceDefinition) -> Json {
    let allowed = resource.operations;
    let operations: String = [(allowed.read, 'R'), (allowed.write, 'W'), (allowed.execute, 'E')]
        .iter()
        .filter_map(|(is_allowed, letter)| is_allowed.then_some(*letter))
        .collect();
    json!({
        "id": resource.id,
        "name": resource.name,
        "path_name": resource.path_name,
        "operations": operations,
        "multiple": resource.multiple,
        "mandatory": resource.mandatory,
        "type": resource.resource_type,
        "range": resource.range,
        "unit": resource.unit,
    })
}

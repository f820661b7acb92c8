//! Names of objects and resources in paths.

use crate::model::object::ObjectModel;

/// The object that a name means.
///
/// # Errors
/// A hint: the nearest name, or what to write instead.
pub(super) fn object(name: &str, model: &ObjectModel) -> Result<u16, String> {
    model.object_id_by_name(name).ok_or_else(|| match model.nearest_object_name(name) {
        Some(known) => format!("did you mean '{known}'?"),
        None => "write the number of the object, or add its definition to the models folder".to_owned(),
    })
}

/// The resource that a name means in an object.
///
/// # Errors
/// A hint: the nearest name, or what to write instead.
pub(super) fn resource(object: u16, name: &str, model: &ObjectModel) -> Result<u16, String> {
    model.resource_id_by_name(object, name).ok_or_else(|| match model.nearest_resource_name(object, name) {
        Some(known) => format!("did you mean '{known}'?"),
        None => "write the number of the resource, or add the object's definition to the models folder".to_owned(),
    })
}

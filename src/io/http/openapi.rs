//! The OpenAPI document: what the handlers say of themselves, and what holds for all of them.

use serde_json::{Map, Value, json};
use utoipa::PartialSchema as _;
use utoipa::openapi::OpenApi;

use super::schema::ErrorBody;

/// Where it is served.
pub(super) const PATH: &str = "/api/openapi.json";

/// What every path below `/api/v1` may answer: the guard, the bounds and the core in front of each handler.
const COMMON: [(&str, &str); 11] = [
    ("400", "The request is wrong"),
    ("401", "No token, or one that is not known"),
    ("403", "The role does not allow it, or a web page elsewhere asks"),
    ("404", "No such device, command or file"),
    ("408", "The request was not complete in time"),
    ("409", "The state does not allow it; an id was used before; expired or cancelled"),
    ("413", "Too large"),
    ("429", "A queue is full, or too many wrong tokens came from this address"),
    ("502", "The device answered with an error; the body has its code"),
    ("503", "The gateway has more to do than it can take, or is stopping"),
    ("504", "No answer in time"),
];

/// The document as it is served.
pub(super) fn document(api: &OpenApi) -> Value {
    let mut document = serde_json::to_value(api).unwrap_or_default();
    document["info"] = json!({
        "title": "lwm2mqtt",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "LwM2M devices, their values and commands. Points in time are milliseconds since 1970, \
                        durations texts such as 30s.",
        "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
    });
    // Without tokens in the configuration the API needs none.
    document["security"] = json!([{ "token": [] }, {}]);
    document["components"]["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    document["components"]["schemas"]["ErrorBody"] = serde_json::to_value(ErrorBody::schema()).unwrap_or_default();
    let paths = document["paths"].as_object_mut().map(std::mem::take).unwrap_or_default();
    document["paths"] =
        paths.into_iter().map(|(path, item)| (plain(&path), completed(&path, item))).collect::<Map<_, _>>().into();
    document
}

/// A path as OpenAPI writes it: a parameter that takes the rest of the path is one like all others.
pub(super) fn plain(path: &str) -> String {
    path.replace("{*", "{")
}

fn completed(path: &str, mut item: Value) -> Value {
    let Some(methods) = item.as_object_mut() else { return item };
    for operation in methods.values_mut() {
        if !path.starts_with("/api/v1") {
            operation["security"] = json!([]);
            continue;
        }
        for (status, description) in COMMON {
            let response = &mut operation["responses"][status];
            if response.is_null() {
                *response = json!({
                    "description": description,
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ErrorBody" } } },
                });
            }
        }
    }
    item
}

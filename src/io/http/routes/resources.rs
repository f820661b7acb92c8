//! Resources of a device, by their path: each method is the operation that it sounds like.

use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::Api;
use super::commands::{OPTIONS, command_of, hold_of_resource, run};
use crate::gateway::configuration::Role;
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{JsonObject, Parameters, Segments};

type Target = Segments<(String, String)>;

pub(super) async fn read(
    State(api): State<Api>,
    _caller: Caller,
    Segments((device, path)): Target,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    // Looking is what a viewer may do; towards the core every command is one of an operator.
    run(&api, &device, command_of("read", &path, &parameters), Role::Operator, hold_of_resource(&parameters)?).await
}

pub(super) async fn write(
    State(api): State<Api>,
    caller: Caller,
    Segments((device, path)): Target,
    parameters: Parameters,
    body: JsonObject,
) -> Result<Response, ApiError> {
    let body = body.with_fields(&[&["value", "values", "type"], OPTIONS].concat())?;
    with_body(&api, &device, command_of("write", &path, &parameters), body, &parameters, caller).await
}

pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Segments((device, path)): Target,
    parameters: Parameters,
    body: JsonObject,
) -> Result<Response, ApiError> {
    let body = body.with_fields(&[&["value", "values", "type"], OPTIONS].concat())?;
    with_body(&api, &device, command_of("write_update", &path, &parameters), body, &parameters, caller).await
}

pub(super) async fn create_or_execute(
    State(api): State<Api>,
    caller: Caller,
    Segments((device, path)): Target,
    parameters: Parameters,
    body: JsonObject,
) -> Result<Response, ApiError> {
    let depth = path.split('/').filter(|segment| !segment.is_empty()).count();
    let (operation, own): (_, &[&str]) =
        if depth <= 2 { ("create", &["values", "value"]) } else { ("execute", &["arguments"]) };
    let mut body = body.with_fields(&[own, OPTIONS].concat())?;
    if operation == "create" && !body.contains_key("values") && !body.contains_key("value") {
        // An instance whose resources all have what the device gives them.
        body.insert("values".to_owned(), Value::Object(serde_json::Map::new()));
    }
    with_body(&api, &device, command_of(operation, &path, &parameters), body, &parameters, caller).await
}

pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments((device, path)): Target,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    caller.demand(Role::Operator)?;
    run(&api, &device, command_of("delete", &path, &parameters), caller.role(), hold_of_resource(&parameters)?).await
}

async fn with_body(
    api: &Api,
    device: &str,
    mut command: Value,
    body: serde_json::Map<String, Value>,
    parameters: &Parameters,
    caller: Caller,
) -> Result<Response, ApiError> {
    caller.demand(Role::Operator)?;
    for (field, value) in body {
        command[field] = value;
    }
    run(api, device, command, caller.role(), hold_of_resource(parameters)?).await
}

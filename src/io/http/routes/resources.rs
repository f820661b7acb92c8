//! Resources of a device, by their path: each method is the operation that it sounds like.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::Api;
use super::commands::{OPTIONS, command_of, hold_of_resource, run};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{DeviceView, Query};
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{JsonObject, Parameters, Segments};
use crate::io::http::schema::{AnyJson, CommandResult, CreateOrExecuteBody, WriteBody};

type Target = Segments<(String, String)>;

#[utoipa::path(get, path = "/api/v1/devices/{device}/resources/{*path}", operation_id = "read_resource", tag = "resources",
    params(("device" = String, Path, description = "Name or endpoint"), ("path" = String, Path, description = "Numbers or names, such as 3303/0/5700"), ("format" = Option<String>, Query, description = "Content format by name or number"), ("wait" = Option<String>, Query, description = "How long to hold for the result, such as 10s", pattern = "^[0-9]{1,2}s$"), ("cached" = Option<bool>, Query, description = "The last known value, without asking the device")),
    responses((status = 200, description = "Done", body = AnyJson), (status = 202, description = "Waits for a device that sleeps", body = CommandResult)))]
pub(super) async fn read(
    State(api): State<Api>,
    _caller: Caller,
    Segments((device, path)): Target,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    if parameters.flag("cached")? {
        let view = DeviceView::Cached { path: format!("/{path}") };
        let body = api.body_of(Query::View { device: device.clone(), view }, &device).await?;
        return Ok(Json(body).into_response());
    }
    // Looking is what a viewer may do; towards the core every command is one of an operator.
    run(&api, &device, command_of("read", &path, &parameters), Role::Operator, hold_of_resource(&parameters)?).await
}

#[utoipa::path(put, path = "/api/v1/devices/{device}/resources/{*path}", operation_id = "write_resource", tag = "resources",
    params(("device" = String, Path, description = "Name or endpoint"), ("path" = String, Path, description = "Numbers or names, such as 3303/0/5700"), ("format" = Option<String>, Query, description = "Content format by name or number"), ("wait" = Option<String>, Query, description = "How long to hold for the result, such as 10s", pattern = "^[0-9]{1,2}s$")),
    request_body = WriteBody,
    responses((status = 200, description = "Done", body = CommandResult), (status = 202, description = "Waits for a device that sleeps", body = CommandResult)))]
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

#[utoipa::path(patch, path = "/api/v1/devices/{device}/resources/{*path}", operation_id = "update_resource", tag = "resources",
    params(("device" = String, Path, description = "Name or endpoint"), ("path" = String, Path, description = "Numbers or names, such as 3303/0/5700"), ("format" = Option<String>, Query, description = "Content format by name or number"), ("wait" = Option<String>, Query, description = "How long to hold for the result, such as 10s", pattern = "^[0-9]{1,2}s$")),
    request_body = WriteBody,
    responses((status = 200, description = "Done", body = CommandResult), (status = 202, description = "Waits for a device that sleeps", body = CommandResult)))]
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

#[utoipa::path(post, path = "/api/v1/devices/{device}/resources/{*path}", operation_id = "create_or_execute", tag = "resources",
    params(("device" = String, Path, description = "Name or endpoint"), ("path" = String, Path, description = "Numbers or names, such as 3303/0/5700"), ("format" = Option<String>, Query, description = "Content format by name or number"), ("wait" = Option<String>, Query, description = "How long to hold for the result, such as 10s", pattern = "^[0-9]{1,2}s$")),
    request_body = Option<CreateOrExecuteBody>,
    responses((status = 200, description = "Done", body = CommandResult), (status = 202, description = "Waits for a device that sleeps", body = CommandResult), (status = 201, description = "Created", body = CommandResult)))]
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

#[utoipa::path(delete, path = "/api/v1/devices/{device}/resources/{*path}", operation_id = "delete_resource", tag = "resources",
    params(("device" = String, Path, description = "Name or endpoint"), ("path" = String, Path, description = "Numbers or names, such as 3303/0/5700"), ("wait" = Option<String>, Query, description = "How long to hold for the result, such as 10s", pattern = "^[0-9]{1,2}s$")),
    responses((status = 200, description = "Done", body = CommandResult), (status = 202, description = "Waits for a device that sleeps", body = CommandResult)))]
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

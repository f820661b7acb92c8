//! Devices: records, values, what no rule took.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::commands::{Hold, OPTIONS, run};
use super::{Api, JsonResponse, page_of};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{DeviceView, Query};
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{DEFAULT_LIMIT, DEFAULT_WAIT, JsonObject, MAX_LIMIT, Parameters, Segments};
use crate::io::http::schema::{
    AnyJson, CommandResult, DesiredValue, DeviceOptions, DeviceRecord, Diagnosis, KeyValue, MappingPlan,
    ObservationState, Page, TwinKey, UnmappedValue,
};

#[utoipa::path(get, path = "/api/v1/devices", operation_id = "list_devices", tag = "devices",
    params(("q" = Option<String>, Query, description = "Only what contains this"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "Devices by endpoint", body = Page<DeviceRecord>)))]
pub(super) async fn list(State(api): State<Api>, _caller: Caller, parameters: Parameters) -> JsonResponse {
    let search = parameters.get("q").unwrap_or_default().to_owned();
    let after = parameters.get("after").filter(|after| !after.is_empty()).map(str::to_owned);
    let limit = parameters.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    api.body_of(Query::Devices { search, after, limit }, "").await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/devices/{device}", operation_id = "get_device", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint")),
    responses((status = 200, description = "The device", body = DeviceRecord)))]
pub(super) async fn one(State(api): State<Api>, _caller: Caller, Segments(device): Segments<String>) -> JsonResponse {
    api.body_of(Query::Device { device: device.clone() }, &device).await.map(Json)
}

#[utoipa::path(patch, path = "/api/v1/devices/{device}", operation_id = "change_device", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint")),
    request_body = DeviceOptions,
    responses((status = 200, description = "As it is now", body = AnyJson)))]
pub(super) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Segments(device): Segments<String>,
    body: JsonObject,
) -> JsonResponse {
    caller.demand(Role::Operator)?;
    let mut options = body.with_fields(&["name", "label", "tags", "settings"])?;
    options.insert("device".to_owned(), device.into());
    api.bridge("device/options", Value::Object(options), caller.role()).await.map(Json)
}

#[utoipa::path(delete, path = "/api/v1/devices/{device}", operation_id = "remove_device", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint")),
    responses((status = 204, description = "Forgotten")))]
pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Segments(device): Segments<String>,
) -> Result<StatusCode, ApiError> {
    caller.demand(Role::Admin)?;
    api.bridge("device/remove", json!({ "device": device }), caller.role()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(get, path = "/api/v1/devices/{device}/values", operation_id = "get_values", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint")),
    responses((status = 200, description = "The latest value of each key", body = BTreeMap<String, KeyValue>)))]
pub(super) async fn values(
    State(api): State<Api>,
    _caller: Caller,
    Segments(device): Segments<String>,
) -> JsonResponse {
    api.body_of(Query::Values { device: device.clone() }, &device).await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/devices/{device}/values/{key}", operation_id = "get_value", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint"), ("key" = String, Path)),
    responses((status = 200, description = "The latest value", body = KeyValue)))]
pub(super) async fn value(
    State(api): State<Api>,
    _caller: Caller,
    Segments((device, key)): Segments<(String, String)>,
) -> JsonResponse {
    let mut values = api.body_of(Query::Values { device: device.clone() }, &device).await?;
    let message = || format!("device '{device}' has no value under the key '{key}'");
    let unknown = || ApiError::new(StatusCode::NOT_FOUND, "not_found", message());
    values.get_mut(&key).map(|value| Json(value.take())).ok_or_else(unknown)
}

#[utoipa::path(put, path = "/api/v1/devices/{device}/values/{key}", operation_id = "set_value", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint"), ("key" = String, Path, description = "Key of a [[desired]] rule"), ("wait" = Option<String>, Query, description = "How long to hold for the result, such as 10s", pattern = "^[0-9]{1,2}s$")),
    request_body = DesiredValue,
    responses((status = 200, description = "Done", body = CommandResult), (status = 202, description = "Waits for a device that sleeps", body = CommandResult)))]
pub(super) async fn set_value(
    State(api): State<Api>,
    caller: Caller,
    Segments((device, key)): Segments<(String, String)>,
    parameters: Parameters,
    body: JsonObject,
) -> Result<Response, ApiError> {
    caller.demand(Role::Operator)?;
    let wait = parameters.wait()?;
    let mut command = body.with_fields(&[&["value"], OPTIONS].concat())?;
    if !command.contains_key("value") {
        return Err(ApiError::invalid("value", "is missing"));
    }
    command.insert("operation".to_owned(), "set".into());
    command.insert("key".to_owned(), key.into());
    let hold = wait.map_or(Hold::QueuedOrResult(DEFAULT_WAIT), Hold::Result);
    run(&api, &device, Value::Object(command), caller.role(), hold).await
}

#[utoipa::path(get, path = "/api/v1/devices/{device}/unmapped", operation_id = "get_unmapped", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint"), ("q" = Option<String>, Query, description = "Only what contains this"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "Values that no rule took", body = Page<UnmappedValue>)))]
pub(super) async fn unmapped(
    State(api): State<Api>,
    _caller: Caller,
    Segments(device): Segments<String>,
    parameters: Parameters,
) -> JsonResponse {
    page_of(api.body_of(Query::Unmapped { device: device.clone() }, &device).await?, &parameters, "path")
}

async fn view(api: &Api, device: String, view: DeviceView) -> Result<Value, ApiError> {
    api.body_of(Query::View { device: device.clone(), view }, &device).await
}

#[utoipa::path(get, path = "/api/v1/devices/{device}/twin", operation_id = "get_twin", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint")),
    responses((status = 200, description = "Desired keys", body = BTreeMap<String, TwinKey>)))]
pub(super) async fn twin(State(api): State<Api>, _caller: Caller, Segments(device): Segments<String>) -> JsonResponse {
    view(&api, device, DeviceView::Twin).await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/devices/{device}/observations", operation_id = "get_observations", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint"), ("q" = Option<String>, Query, description = "Only what contains this"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "What is observed and why", body = Page<ObservationState>)))]
pub(super) async fn observations(
    State(api): State<Api>,
    _caller: Caller,
    Segments(device): Segments<String>,
    parameters: Parameters,
) -> JsonResponse {
    page_of(view(&api, device, DeviceView::Observations).await?, &parameters, "path")
}

#[utoipa::path(get, path = "/api/v1/devices/{device}/plan", operation_id = "get_plan", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint")),
    responses((status = 200, description = "What the mapping wants", body = MappingPlan)))]
pub(super) async fn plan(State(api): State<Api>, _caller: Caller, Segments(device): Segments<String>) -> JsonResponse {
    view(&api, device, DeviceView::Plan).await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/devices/{device}/diagnosis", operation_id = "get_diagnosis", tag = "devices",
    params(("device" = String, Path, description = "Name or endpoint")),
    responses((status = 200, description = "Whether it is up, and if not, why", body = Diagnosis)))]
pub(super) async fn diagnosis(
    State(api): State<Api>,
    _caller: Caller,
    Segments(device): Segments<String>,
) -> JsonResponse {
    view(&api, device, DeviceView::Diagnosis).await.map(Json)
}

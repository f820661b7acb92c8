//! Devices: records, values, what no rule took.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::commands::{Hold, OPTIONS, run};
use super::{Api, JsonResponse};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::Query;
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{DEFAULT_WAIT, JsonObject, Parameters, Segments};

/// Items of a page when the request does not say.
const DEFAULT_LIMIT: usize = 100;

/// Most items of a page.
const MAX_LIMIT: usize = 1_000;

pub(super) async fn list(State(api): State<Api>, _caller: Caller, parameters: Parameters) -> JsonResponse {
    let search = parameters.get("q").unwrap_or_default().to_owned();
    let after = parameters.get("after").filter(|after| !after.is_empty()).map(str::to_owned);
    let limit = parameters.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    api.body_of(Query::Devices { search, after, limit }, "").await.map(Json)
}

pub(super) async fn one(State(api): State<Api>, _caller: Caller, Segments(device): Segments<String>) -> JsonResponse {
    api.body_of(Query::Device { device: device.clone() }, &device).await.map(Json)
}

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

pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Segments(device): Segments<String>,
) -> Result<StatusCode, ApiError> {
    caller.demand(Role::Admin)?;
    api.bridge("device/remove", json!({ "device": device }), caller.role()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn values(
    State(api): State<Api>,
    _caller: Caller,
    Segments(device): Segments<String>,
) -> JsonResponse {
    api.body_of(Query::Values { device: device.clone() }, &device).await.map(Json)
}

pub(super) async fn value(
    State(api): State<Api>,
    _caller: Caller,
    Segments((device, key)): Segments<(String, String)>,
) -> JsonResponse {
    let mut values = api.body_of(Query::Values { device: device.clone() }, &device).await?;
    match values.get_mut(&key).map(Value::take) {
        Some(value) => Ok(Json(value)),
        None => {
            let message = format!("device '{device}' has no value under the key '{key}'");
            Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message))
        }
    }
}

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

pub(super) async fn unmapped(
    State(api): State<Api>,
    _caller: Caller,
    Segments(device): Segments<String>,
) -> JsonResponse {
    api.body_of(Query::Unmapped { device: device.clone() }, &device).await.map(Json)
}

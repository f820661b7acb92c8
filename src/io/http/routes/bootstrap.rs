//! What the bootstrap server hands out, to whom, and how its sessions went. Nothing secret is answered.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::{Api, JsonResponse, page_of};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{BootstrapQuery, Query};
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{DEFAULT_LIMIT, JsonObject, MAX_LIMIT, Parameters, Segments};
use crate::io::http::schema::Page;
use crate::io::http::schema::bootstrap::{
    Approval, ApprovedDevice, BootstrapDevice, BootstrapDeviceRequest, BootstrapServer, BootstrapServerRequest,
    BootstrapSession, PendingDevice, RemovedEntries, ServerToAdd,
};

impl Api {
    async fn bootstrap(&self, query: BootstrapQuery) -> Result<Value, ApiError> {
        self.body_of(Query::Bootstrap(query), "").await
    }
}

#[utoipa::path(get, path = "/api/v1/bootstrap/servers", operation_id = "list_bootstrap_servers", tag = "bootstrap",
    params(("q" = Option<String>, Query, description = "Only names that contain this"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "Server accounts by name, without what is secret", body = Page<BootstrapServer>)))]
pub(super) async fn list_servers(State(api): State<Api>, caller: Caller, parameters: Parameters) -> JsonResponse {
    caller.demand(Role::Admin)?;
    page_of(api.bootstrap(BootstrapQuery::Servers).await?, &parameters, "name")
}

#[utoipa::path(get, path = "/api/v1/bootstrap/servers/{name}", operation_id = "get_bootstrap_server", tag = "bootstrap",
    params(("name" = String, Path, description = "Name of the account")),
    responses((status = 200, description = "The account, without what is secret", body = BootstrapServer)))]
pub(super) async fn server(State(api): State<Api>, caller: Caller, Segments(name): Segments<String>) -> JsonResponse {
    caller.demand(Role::Admin)?;
    api.bootstrap(BootstrapQuery::Server { name }).await.map(Json)
}

#[utoipa::path(put, path = "/api/v1/bootstrap/servers/{name}", operation_id = "put_bootstrap_server", tag = "bootstrap",
    params(("name" = String, Path, description = "Name of the account"), ("dry_run" = Option<bool>, Query, description = "Only tell what is wrong")),
    request_body = BootstrapServerRequest,
    responses((status = 200, description = "Changed, or tried", body = BootstrapServer), (status = 201, description = "Created", body = BootstrapServer)))]
pub(super) async fn put_server(
    State(api): State<Api>,
    caller: Caller,
    Segments(name): Segments<String>,
    parameters: Parameters,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    caller.demand(Role::Admin)?;
    let dry_run = parameters.flag("dry_run")?;
    let answer = api.bootstrap(BootstrapQuery::PutServer { name, body: Value::Object(body), dry_run }).await?;
    Ok(put_response(answer, dry_run))
}

#[utoipa::path(delete, path = "/api/v1/bootstrap/servers/{name}", operation_id = "remove_bootstrap_server", tag = "bootstrap",
    params(("name" = String, Path, description = "Name of the account"), ("cascade" = Option<bool>, Query, description = "Take it out of the device entries that name it, too")),
    responses((status = 204, description = "Removed")))]
pub(super) async fn remove_server(
    State(api): State<Api>,
    caller: Caller,
    Segments(name): Segments<String>,
    parameters: Parameters,
) -> Result<StatusCode, ApiError> {
    caller.demand(Role::Admin)?;
    let cascade = parameters.flag("cascade")?;
    api.bootstrap(BootstrapQuery::RemoveServer { name, cascade }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(get, path = "/api/v1/bootstrap/devices", operation_id = "list_bootstrap_devices", tag = "bootstrap",
    params(("q" = Option<String>, Query, description = "Only those whose name or accounts contain this"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "Device entries by name, without what is secret", body = Page<BootstrapDevice>)))]
pub(super) async fn list_devices(State(api): State<Api>, caller: Caller, parameters: Parameters) -> JsonResponse {
    caller.demand(Role::Admin)?;
    let search = parameters.get("q").unwrap_or_default().to_owned();
    let limit = parameters.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    api.bootstrap(BootstrapQuery::Devices { search, after: given(&parameters, "after"), limit }).await.map(Json)
}

#[utoipa::path(delete, path = "/api/v1/bootstrap/devices", operation_id = "remove_bootstrap_devices", tag = "bootstrap",
    responses((status = 200, description = "All device entries are removed but those of the configuration file", body = RemovedEntries)))]
pub(super) async fn remove_devices(State(api): State<Api>, caller: Caller) -> JsonResponse {
    caller.demand(Role::Admin)?;
    api.bootstrap(BootstrapQuery::RemoveDevices).await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/bootstrap/devices/{name}", operation_id = "get_bootstrap_device", tag = "bootstrap",
    params(("name" = String, Path, description = "Endpoint name or pattern")),
    responses((status = 200, description = "The entry, without what is secret", body = BootstrapDevice)))]
pub(super) async fn device(State(api): State<Api>, caller: Caller, Segments(name): Segments<String>) -> JsonResponse {
    caller.demand(Role::Admin)?;
    api.bootstrap(BootstrapQuery::Device { name }).await.map(Json)
}

#[utoipa::path(put, path = "/api/v1/bootstrap/devices/{name}", operation_id = "put_bootstrap_device", tag = "bootstrap",
    params(("name" = String, Path, description = "Endpoint name or pattern"), ("dry_run" = Option<bool>, Query, description = "Only tell what is wrong")),
    request_body = BootstrapDeviceRequest,
    responses((status = 200, description = "Changed, or tried", body = BootstrapDevice), (status = 201, description = "Created", body = BootstrapDevice)))]
pub(super) async fn put_device(
    State(api): State<Api>,
    caller: Caller,
    Segments(name): Segments<String>,
    parameters: Parameters,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    caller.demand(Role::Admin)?;
    let dry_run = parameters.flag("dry_run")?;
    let answer = api.bootstrap(BootstrapQuery::PutDevice { name, body: Value::Object(body), dry_run }).await?;
    Ok(put_response(answer, dry_run))
}

#[utoipa::path(delete, path = "/api/v1/bootstrap/devices/{name}", operation_id = "remove_bootstrap_device", tag = "bootstrap",
    params(("name" = String, Path, description = "Endpoint name or pattern")),
    responses((status = 204, description = "Removed")))]
pub(super) async fn remove_device(
    State(api): State<Api>,
    caller: Caller,
    Segments(name): Segments<String>,
) -> Result<StatusCode, ApiError> {
    caller.demand(Role::Admin)?;
    api.bootstrap(BootstrapQuery::RemoveDevice { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/api/v1/bootstrap/devices/{name}/servers", operation_id = "add_bootstrap_device_server", tag = "bootstrap",
    params(("name" = String, Path, description = "Endpoint name or pattern")),
    request_body = ServerToAdd,
    responses((status = 200, description = "The entry with the account", body = BootstrapDevice), (status = 201, description = "The entry was made for it", body = BootstrapDevice)))]
pub(super) async fn add_server(
    State(api): State<Api>,
    caller: Caller,
    Segments(device): Segments<String>,
    body: JsonObject,
) -> Result<Response, ApiError> {
    caller.demand(Role::Admin)?;
    let Some(server @ (Value::String(_) | Value::Object(_))) = body.with_fields(&["server"])?.remove("server") else {
        return Err(ApiError::invalid("server", "must be the name of an account, or an account"));
    };
    let answer = api.bootstrap(BootstrapQuery::AddServer { device, server }).await?;
    Ok(put_response(answer, false))
}

#[utoipa::path(delete, path = "/api/v1/bootstrap/devices/{name}/servers/{server}", operation_id = "take_bootstrap_device_server", tag = "bootstrap",
    params(("name" = String, Path, description = "Endpoint name or pattern"), ("server" = String, Path, description = "Name of the account, or the position of one that has none, from 0")),
    responses((status = 204, description = "The entry goes on without the account")))]
pub(super) async fn take_server(
    State(api): State<Api>,
    caller: Caller,
    Segments((device, server)): Segments<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.demand(Role::Admin)?;
    api.bootstrap(BootstrapQuery::TakeServer { device, server }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(get, path = "/api/v1/bootstrap/sessions", operation_id = "list_bootstrap_sessions", tag = "bootstrap",
    params(("endpoint" = Option<String>, Query, description = "Only those of this device"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "Sessions, the latest first", body = Page<BootstrapSession>)))]
pub(super) async fn list_sessions(State(api): State<Api>, _caller: Caller, parameters: Parameters) -> JsonResponse {
    let limit = parameters.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let (endpoint, after) = (given(&parameters, "endpoint"), given(&parameters, "after"));
    api.bootstrap(BootstrapQuery::Sessions { endpoint, after, limit }).await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/bootstrap/sessions/{id}", operation_id = "get_bootstrap_session", tag = "bootstrap",
    params(("id" = String, Path)),
    responses((status = 200, description = "The session, step by step", body = BootstrapSession)))]
pub(super) async fn session(State(api): State<Api>, _caller: Caller, Segments(id): Segments<String>) -> JsonResponse {
    api.bootstrap(BootstrapQuery::Session { id }).await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/bootstrap/pending", operation_id = "list_bootstrap_pending", tag = "bootstrap",
    params(("q" = Option<String>, Query, description = "Only endpoints that contain this"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "Devices that asked and wait for approval", body = Page<PendingDevice>)))]
pub(super) async fn list_pending(State(api): State<Api>, _caller: Caller, parameters: Parameters) -> JsonResponse {
    page_of(api.bootstrap(BootstrapQuery::Pending).await?, &parameters, "endpoint")
}

/// Whoever may let devices join may also let them bootstrap, by accounts that are there. Accounts of the request's own
/// would be a change of what is handed out, which admins alone make.
#[utoipa::path(post, path = "/api/v1/bootstrap/pending/{endpoint}", operation_id = "approve_bootstrap", tag = "bootstrap",
    params(("endpoint" = String, Path, description = "Endpoint name")),
    request_body = Approval,
    responses((status = 200, description = "The device is let in, now and in future", body = ApprovedDevice)))]
pub(super) async fn approve(
    State(api): State<Api>,
    caller: Caller,
    Segments(endpoint): Segments<String>,
    body: JsonObject,
) -> JsonResponse {
    caller.demand(Role::Operator)?;
    let request = body.with_fields(&["servers"])?;
    match request.get("servers") {
        None | Some(Value::Null) => {}
        Some(Value::Array(servers)) if servers.iter().all(Value::is_string) => {}
        Some(Value::Array(_)) => caller.demand(Role::Admin)?,
        Some(_) => return Err(ApiError::invalid("servers", "must be a list of accounts")),
    }
    api.bootstrap(BootstrapQuery::Approve { endpoint, body: Value::Object(request) }).await.map(Json)
}

/// 201 with what was created, else 200.
fn put_response(answer: Value, dry_run: bool) -> Response {
    let created = answer.get("created") == Some(&Value::Bool(true)) && !dry_run;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(answer)).into_response()
}

/// A parameter that is there and not empty.
fn given(parameters: &Parameters, name: &str) -> Option<String> {
    parameters.get(name).filter(|text| !text.is_empty()).map(str::to_owned)
}

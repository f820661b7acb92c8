//! The gateway itself: health, metrics, the join window, who was turned away.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{Api, JsonResponse, page_of};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Query};
use crate::instrumentation::metrics::CONTENT_TYPE;
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{JsonObject, Parameters};
use crate::io::http::schema::{
    Alive, AnyJson, JoinWindow, JoinWindowOpen, Links, LogLevel, Page, Readiness, RefusedPeer,
};
use crate::model::units::parse_duration;

/// Everything there is, by name.
pub(super) const LINKS: [(&str, &str); 44] = [
    ("devices", "/api/v1/devices"),
    ("device", "/api/v1/devices/{device}"),
    ("resources", "/api/v1/devices/{device}/resources/{path}"),
    ("values", "/api/v1/devices/{device}/values"),
    ("value", "/api/v1/devices/{device}/values/{key}"),
    ("twin", "/api/v1/devices/{device}/twin"),
    ("commands_of_device", "/api/v1/devices/{device}/commands"),
    ("observations", "/api/v1/devices/{device}/observations"),
    ("unmapped", "/api/v1/devices/{device}/unmapped"),
    ("plan", "/api/v1/devices/{device}/plan"),
    ("diagnosis", "/api/v1/devices/{device}/diagnosis"),
    ("trace", "/api/v1/devices/{device}/trace"),
    ("bootstrap_request", "/api/v1/devices/{device}/bootstrap"),
    ("commands", "/api/v1/commands"),
    ("command", "/api/v1/commands/{id}"),
    ("refused", "/api/v1/refused"),
    ("permit_join", "/api/v1/permit_join"),
    ("events", "/api/v1/events"),
    ("credentials", "/api/v1/credentials"),
    ("credential", "/api/v1/credentials/{endpoint}"),
    ("bootstrap_servers", "/api/v1/bootstrap/servers"),
    ("bootstrap_server", "/api/v1/bootstrap/servers/{name}"),
    ("bootstrap_devices", "/api/v1/bootstrap/devices"),
    ("bootstrap_device", "/api/v1/bootstrap/devices/{name}"),
    ("bootstrap_device_servers", "/api/v1/bootstrap/devices/{name}/servers"),
    ("bootstrap_device_server", "/api/v1/bootstrap/devices/{name}/servers/{server}"),
    ("bootstrap_sessions", "/api/v1/bootstrap/sessions"),
    ("bootstrap_session", "/api/v1/bootstrap/sessions/{id}"),
    ("bootstrap_pending", "/api/v1/bootstrap/pending"),
    ("bootstrap_pending_device", "/api/v1/bootstrap/pending/{endpoint}"),
    ("mappings", "/api/v1/mappings"),
    ("mapping", "/api/v1/mappings/{file}"),
    ("models", "/api/v1/models"),
    ("model", "/api/v1/models/{file}"),
    ("objects", "/api/v1/objects"),
    ("object", "/api/v1/objects/{id}/{version}"),
    ("config", "/api/v1/config"),
    ("log_level", "/api/v1/log_level"),
    ("reload", "/api/v1/reload"),
    ("restart", "/api/v1/restart"),
    ("health", "/healthz"),
    ("ready", "/readyz"),
    ("metrics", "/metrics"),
    ("openapi", "/api/openapi.json"),
];

/// Longest time that one request may open the join window for.
const MAX_JOIN_TIME: Duration = Duration::from_secs(24 * 60 * 60);

#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "monitoring",
    responses((status = 200, description = "The process lives", body = Alive)))]
pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// 200 while every part works, else 503; the body of both names the parts.
#[utoipa::path(get, path = "/readyz", operation_id = "ready", tag = "monitoring",
    responses((status = 200, description = "Every part works", body = Readiness), (status = 503, description = "Some part does not", body = Readiness)))]
pub(super) async fn ready(State(api): State<Api>) -> Response {
    match api.core.ask(Query::Ready).await {
        Ok(Answer::Body(body)) if body.get("ready").and_then(Value::as_bool) != Some(false) => {
            Json(body).into_response()
        }
        Ok(Answer::Body(body)) => (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response(),
        Ok(_) | Err(_) => {
            let body = json!({ "ready": false, "reason": "the core does not answer" });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "monitoring",
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics_page(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.encode()).into_response()
}

#[utoipa::path(get, path = "/api/v1", operation_id = "links", tag = "gateway",
    responses((status = 200, description = "Links to everything", body = Links)))]
pub(super) async fn links(_caller: Caller) -> Json<Value> {
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "links": LINKS.iter().map(|(name, path)| ((*name).to_owned(), (*path).into())).collect::<Map<_, _>>(),
    }))
}

#[utoipa::path(get, path = "/api/v1/refused", operation_id = "get_refused", tag = "gateway",
    params(("q" = Option<String>, Query, description = "Only what contains this"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "Peers that were turned away, the latest first", body = Page<RefusedPeer>)))]
pub(super) async fn refused(State(api): State<Api>, _caller: Caller, parameters: Parameters) -> JsonResponse {
    page_of(api.body_of(Query::Refused, "").await?, &parameters, "endpoint")
}

#[utoipa::path(post, path = "/api/v1/permit_join", operation_id = "permit_join", tag = "gateway",
    request_body = JoinWindow,
    responses((status = 200, description = "As it is now", body = JoinWindowOpen)))]
pub(super) async fn permit_join(State(api): State<Api>, caller: Caller, body: JsonObject) -> JsonResponse {
    caller.demand(Role::Operator)?;
    let request = body.with_fields(&["for"])?;
    let Some(text) = request.get("for").and_then(Value::as_str) else {
        return Err(ApiError::invalid("for", "must be a duration such as \"60s\""));
    };
    let duration = parse_duration(text).map_err(|error| ApiError::invalid("for", error.to_string()))?;
    if duration > MAX_JOIN_TIME {
        return Err(ApiError::invalid("for", "is longer than 24h"));
    }
    api.body_of(Query::PermitJoin { duration }, "").await.map(Json)
}

#[utoipa::path(put, path = "/api/v1/log_level", operation_id = "set_log_level", tag = "gateway",
    request_body = LogLevel,
    responses((status = 200, description = "As it is now", body = AnyJson)))]
pub(super) async fn log_level(State(api): State<Api>, caller: Caller, body: JsonObject) -> JsonResponse {
    caller.demand(Role::Admin)?;
    let request = body.with_fields(&["level"])?;
    api.bridge("log/level", Value::Object(request), caller.role()).await.map(Json)
}

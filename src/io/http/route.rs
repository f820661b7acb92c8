//! Paths, methods, parameters: what can be asked, and how answers become responses.

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query as UriQuery, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use super::error::ApiError;
use super::guard::guard;
use super::question::Asker;
use crate::gateway::vocabulary::{Answer, Query};
use crate::instrumentation::metrics::{CONTENT_TYPE, Metrics};
use crate::model::units::{format_duration, parse_duration};

/// Longest body of a request.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// How long one request may take, its body and answer included; then 408.
pub const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Items of a page when the request does not say.
const DEFAULT_LIMIT: usize = 100;

/// Most items of a page.
const MAX_LIMIT: usize = 1_000;

/// Longest time that one request may open the join window for.
const MAX_JOIN_TIME: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone)]
struct Api {
    core: Asker,
    metrics: Metrics,
}

type DevicePath = Result<Path<String>, PathRejection>;

/// All routes.
pub(super) fn router(core: Asker, metrics: Metrics, request_time: Duration) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "ok" }))))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_page))
        .route("/api/v1", get(async || Json(links())))
        .route("/api/v1/devices", get(devices))
        .route("/api/v1/devices/{device}", get(device))
        .route("/api/v1/devices/{device}/values", get(values))
        .route("/api/v1/devices/{device}/unmapped", get(unmapped))
        .route("/api/v1/refused", get(refused))
        .route("/api/v1/permit_join", post(permit_join))
        .fallback(async |uri: Uri| ApiError::no_such_path(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let message = format!("{} does not take {method}; the Allow header names what it takes", uri.path());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(move |request: Request, next: Next| limit_time(request, next, request_time)))
        .layer(from_fn(guard))
        .with_state(Api { core, metrics })
}

fn links() -> Value {
    json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "links": {
            "devices": "/api/v1/devices",
            "device": "/api/v1/devices/{device}",
            "values": "/api/v1/devices/{device}/values",
            "unmapped": "/api/v1/devices/{device}/unmapped",
            "refused": "/api/v1/refused",
            "permit_join": "/api/v1/permit_join",
            "health": "/healthz",
            "ready": "/readyz",
            "metrics": "/metrics",
        },
    })
}

async fn limit_time(request: Request, next: Next, most: Duration) -> Response {
    let Ok(response) = tokio::time::timeout(most, next.run(request)).await else {
        let message = format!("the request was not complete within {}", format_duration(most));
        let error = ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message);
        return ([(header::CONNECTION, "close")], error).into_response();
    };
    response
}

/// 200 while every part works, else 503; the body of both names the parts.
async fn ready(State(api): State<Api>) -> Response {
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

async fn metrics_page(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.encode()).into_response()
}

type Parameters = Result<UriQuery<Vec<(String, String)>>, QueryRejection>;

async fn devices(State(api): State<Api>, parameters: Parameters) -> Result<Json<Value>, ApiError> {
    let UriQuery(parameters) = parameters.map_err(|error| ApiError::unreadable(error.body_text()))?;
    let mut search = String::new();
    let mut after = None;
    let mut limit = DEFAULT_LIMIT;
    for (name, value) in parameters {
        match name.as_str() {
            "q" => search = value,
            "after" => after = Some(value).filter(|value| !value.is_empty()),
            "limit" => {
                let parsed = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                let message = || ApiError::invalid("limit", format!("is no number from 1 to {MAX_LIMIT}"));
                limit = parsed.ok_or_else(message)?;
            }
            // What a later version may know is no reason to fail.
            _ => {}
        }
    }
    body(api.core.ask(Query::Devices { search, after, limit }).await?, "")
}

async fn ask_about(api: &Api, device: DevicePath, query: fn(String) -> Query) -> Result<Json<Value>, ApiError> {
    let Path(device) = device.map_err(|error| ApiError::unreadable(error.body_text()))?;
    body(api.core.ask(query(device.clone())).await?, &device)
}

async fn device(State(api): State<Api>, device: DevicePath) -> Result<Json<Value>, ApiError> {
    ask_about(&api, device, |device| Query::Device { device }).await
}

async fn values(State(api): State<Api>, device: DevicePath) -> Result<Json<Value>, ApiError> {
    ask_about(&api, device, |device| Query::Values { device }).await
}

async fn unmapped(State(api): State<Api>, device: DevicePath) -> Result<Json<Value>, ApiError> {
    ask_about(&api, device, |device| Query::Unmapped { device }).await
}

async fn refused(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    body(api.core.ask(Query::Refused).await?, "")
}

async fn permit_join(State(api): State<Api>, request: Result<Bytes, BytesRejection>) -> Result<Json<Value>, ApiError> {
    let request = request.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the body has more than {MAX_BODY_BYTES} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        }
        _ => ApiError::unreadable(error.body_text()),
    })?;
    let request: Value = serde_json::from_slice(&request)
        .map_err(|error| ApiError::unreadable(format!("the body is no JSON: {error}")))?;
    let Some(request) = request.as_object() else {
        return Err(ApiError::unreadable("the body is no object; send {\"for\":\"60s\"}"));
    };
    if let Some(unknown) = request.keys().find(|key| *key != "for") {
        let shown: String = unknown.chars().take(40).collect();
        return Err(ApiError::unreadable(format!("unknown field '{shown}'; send {{\"for\":\"60s\"}}")));
    }
    let Some(text) = request.get("for").and_then(Value::as_str) else {
        return Err(ApiError::invalid("for", "must be a duration such as \"60s\""));
    };
    let duration = parse_duration(text).map_err(|error| ApiError::invalid("for", error.to_string()))?;
    if duration > MAX_JOIN_TIME {
        return Err(ApiError::invalid("for", "is longer than 24h"));
    }
    body(api.core.ask(Query::PermitJoin { duration }).await?, "")
}

fn body(answer: Answer, device: &str) -> Result<Json<Value>, ApiError> {
    match answer {
        Answer::Body(body) => Ok(Json(body)),
        Answer::UnknownDevice => Err(ApiError::unknown_device(device)),
        Answer::Failed(_) | Answer::Command(_) | Answer::Model { .. } | Answer::NoEndpoint { .. } => {
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the core answered something else"))
        }
    }
}

//! The gateway itself: health, metrics, the join window, who was turned away.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Api, JsonResponse};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Query};
use crate::instrumentation::metrics::CONTENT_TYPE;
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::JsonObject;
use crate::model::units::parse_duration;

/// Longest time that one request may open the join window for.
const MAX_JOIN_TIME: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// 200 while every part works, else 503; the body of both names the parts.
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

pub(super) async fn metrics_page(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.encode()).into_response()
}

pub(super) async fn links(_caller: Caller) -> Json<Value> {
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "links": {
            "devices": "/api/v1/devices",
            "device": "/api/v1/devices/{device}",
            "values": "/api/v1/devices/{device}/values",
            "value": "/api/v1/devices/{device}/values/{key}",
            "resources": "/api/v1/devices/{device}/resources/{path}",
            "commands_of_device": "/api/v1/devices/{device}/commands",
            "bootstrap_request": "/api/v1/devices/{device}/bootstrap",
            "unmapped": "/api/v1/devices/{device}/unmapped",
            "trace": "/api/v1/devices/{device}/trace",
            "refused": "/api/v1/refused",
            "events": "/api/v1/events",
            "permit_join": "/api/v1/permit_join",
            "health": "/healthz",
            "ready": "/readyz",
            "metrics": "/metrics",
        },
    }))
}

pub(super) async fn refused(State(api): State<Api>, _caller: Caller) -> JsonResponse {
    api.body_of(Query::Refused, "").await.map(Json)
}

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

//! Paths, methods, parameters: what can be asked, by subject.

mod commands;
mod devices;
mod gateway;
mod own;
mod resources;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::error::ApiError;
use super::guard::guard;
use super::question::Asker;
use super::request::body_permits;
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Query};
use crate::instrumentation::metrics::Metrics;

/// What all handlers share.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) core: Asker,
    pub(super) metrics: Metrics,
    pub(super) request_time: Duration,
    pub(super) bodies: Arc<Semaphore>,
}

impl Api {
    pub(super) fn new(core: Asker, metrics: Metrics, request_time: Duration) -> Self {
        Self { core, metrics, request_time, bodies: Arc::new(Semaphore::new(body_permits())) }
    }

    /// Asks for something that has a JSON body as answer. `device` is named where there is no such one.
    async fn body_of(&self, query: Query, device: &str) -> Result<Value, ApiError> {
        match self.core.ask(query).await? {
            Answer::Body(body) => Ok(body),
            Answer::UnknownDevice => Err(ApiError::unknown_device(device)),
            Answer::Failed(error) => Err(error.into()),
            Answer::Command(_) | Answer::Model { .. } | Answer::NoEndpoint { .. } => Err(ApiError::unexpected_answer()),
        }
    }

    /// Asks for what `bridge/request/{what}` does over MQTT.
    async fn bridge(&self, what: &str, body: Value, role: Role) -> Result<Value, ApiError> {
        self.body_of(Query::Bridge { what: what.to_owned(), body, role }, "").await
    }
}

/// All routes.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(gateway::health))
        .route("/readyz", get(gateway::ready))
        .route("/metrics", get(gateway::metrics_page))
        .route("/api/v1", get(gateway::links))
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/devices/{device}", get(devices::one).patch(devices::change).delete(devices::remove))
        .route("/api/v1/devices/{device}/values", get(devices::values))
        .route("/api/v1/devices/{device}/values/{key}", get(devices::value).put(devices::set_value))
        .route("/api/v1/devices/{device}/unmapped", get(devices::unmapped))
        .route("/api/v1/devices/{device}/commands", post(commands::send))
        .route("/api/v1/devices/{device}/bootstrap", post(commands::bootstrap))
        .route(
            "/api/v1/devices/{device}/resources/{*path}",
            get(resources::read)
                .put(resources::write)
                .patch(resources::update)
                .post(resources::create_or_execute)
                .delete(resources::delete),
        )
        .route("/api/v1/refused", get(gateway::refused))
        .route("/api/v1/permit_join", post(gateway::permit_join))
        .fallback(own::serve)
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let message = format!("{} does not take {method}; the Allow header names what it takes", uri.path());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .layer(from_fn(guard))
        .with_state(api)
}

type JsonResponse = Result<Json<Value>, ApiError>;

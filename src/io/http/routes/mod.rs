//! Paths, methods, parameters: what can be asked, by subject.

mod commands;
mod devices;
mod events;
mod gateway;
mod own;
mod resources;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::error::ApiError;
use super::events::{Events, MAX_STREAMS};
use super::guard::{Guard, guard};
use super::question::Asker;
use super::request::body_permits;
use super::tokens::Tokens;
use super::trace::Gallery;
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Query};
use crate::instrumentation::metrics::Metrics;

/// How long a browser may remember what a page elsewhere may ask.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(600);

/// What all handlers share.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) core: Asker,
    pub(super) events: Events,
    pub(super) metrics: Metrics,
    pub(super) request_time: Duration,
    pub(super) bodies: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
    pub(super) traces: Gallery,
}

/// Who may use it.
pub(super) struct Access {
    pub(super) tokens: Tokens,
    pub(super) origins: Arc<[String]>,
}

impl Access {
    /// The guard of a router.
    pub(super) fn guard(&self, metrics: &Metrics) -> Guard {
        Guard { tokens: self.tokens.clone(), origins: self.origins.clone(), metrics: metrics.clone() }
    }
}

impl Api {
    pub(super) fn new(core: Asker, events: Events, traces: Gallery, metrics: Metrics, request_time: Duration) -> Self {
        let bodies = Arc::new(Semaphore::new(body_permits()));
        Self { core, events, metrics, request_time, bodies, streams: Arc::new(Semaphore::new(MAX_STREAMS)), traces }
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
pub(super) fn router(api: Api, access: Access) -> Router {
    let guarding = access.guard(&api.metrics);
    let origins = access.origins;
    let router = Router::new()
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
        .route("/api/v1/devices/{device}/trace", get(trace::follow))
        .route("/api/v1/refused", get(gateway::refused))
        .route("/api/v1/events", get(events::follow))
        .route("/api/v1/permit_join", post(gateway::permit_join))
        .fallback(own::serve)
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let message = format!("{} does not take {method}; the Allow header names what it takes", uri.path());
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        })
        .layer(from_fn_with_state(guarding, guard))
        .with_state(api);
    // Outside of the guard: a browser asks without token what it may ask.
    if origins.is_empty() { router } else { router.layer(cross_origin(&origins)) }
}

/// What browsers are told of pages elsewhere.
fn cross_origin(origins: &[String]) -> CorsLayer {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static("last-event-id")])
        .expose_headers([header::LOCATION, header::RETRY_AFTER])
        .max_age(PREFLIGHT_KEPT)
}

type JsonResponse = Result<Json<Value>, ApiError>;

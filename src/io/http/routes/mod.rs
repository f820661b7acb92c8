//! Paths, methods, parameters: what can be asked, by subject.

mod bootstrap;
mod commands;
mod credentials;
mod devices;
mod events;
mod files;
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
use axum::routing::get;
use serde_json::Value;
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::openapi::{Info, OpenApi, Paths};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::events::{Events, MAX_STREAMS};
use super::guard::{Guard, guard};
use super::openapi;
use super::question::Asker;
use super::request::{DEFAULT_LIMIT, MAX_LIMIT, Parameters, body_permits};
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
    let (router, described) = OpenApiRouter::with_openapi(OpenApi::new(Info::new("", ""), Paths::new()))
        .routes(routes!(gateway::health))
        .routes(routes!(gateway::ready))
        .routes(routes!(gateway::metrics_page))
        .routes(routes!(gateway::links))
        .routes(routes!(gateway::refused))
        .routes(routes!(gateway::permit_join))
        .routes(routes!(gateway::log_level))
        .routes(routes!(devices::list))
        .routes(routes!(devices::one, devices::change, devices::remove))
        .routes(routes!(devices::values))
        .routes(routes!(devices::value, devices::set_value))
        .routes(routes!(devices::unmapped))
        .routes(routes!(devices::twin))
        .routes(routes!(devices::observations))
        .routes(routes!(devices::plan))
        .routes(routes!(devices::diagnosis))
        .routes(routes!(commands::send))
        .routes(routes!(commands::bootstrap))
        .routes(routes!(commands::list))
        .routes(routes!(commands::one, commands::cancel))
        .routes(routes!(
            resources::read,
            resources::write,
            resources::update,
            resources::create_or_execute,
            resources::delete
        ))
        .routes(routes!(credentials::list, credentials::put_many))
        .routes(routes!(credentials::one, credentials::put, credentials::remove))
        .routes(routes!(bootstrap::list_servers))
        .routes(routes!(bootstrap::server, bootstrap::put_server, bootstrap::remove_server))
        .routes(routes!(bootstrap::list_devices, bootstrap::remove_devices))
        .routes(routes!(bootstrap::device, bootstrap::put_device, bootstrap::remove_device))
        .routes(routes!(bootstrap::add_server))
        .routes(routes!(bootstrap::take_server))
        .routes(routes!(bootstrap::list_sessions))
        .routes(routes!(bootstrap::session))
        .routes(routes!(bootstrap::list_pending))
        .routes(routes!(bootstrap::approve))
        .routes(routes!(events::follow))
        .routes(routes!(trace::follow))
        .routes(routes!(files::list_mappings))
        .routes(routes!(files::get_mapping, files::put_mapping, files::delete_mapping))
        .routes(routes!(files::list_models))
        .routes(routes!(files::get_model, files::put_model, files::delete_model))
        .routes(routes!(files::list_objects))
        .routes(routes!(files::get_object, files::put_object, files::delete_object))
        .routes(routes!(files::get_config))
        .routes(routes!(files::reload))
        .routes(routes!(files::restart))
        .split_for_parts();
    let document = openapi::document(&described);
    let router = router
        .route(openapi::PATH, get(async move || Json(document)))
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

/// A page of a list that the core answers as a whole, searched by one of its fields. The cursor counts what was passed.
fn page_of(mut answer: Value, parameters: &Parameters, searched: &str) -> JsonResponse {
    let limit = parameters.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let passed: usize = match parameters.get("after").filter(|after| !after.is_empty()) {
        None => 0,
        Some(after) => after.parse().map_err(|_| ApiError::invalid("after", "is no cursor of this list"))?,
    };
    let mut items = answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    if let Some(search) = parameters.get("q").filter(|search| !search.is_empty()) {
        items.retain(|item| item[searched].as_str().is_some_and(|text| text.contains(search)));
    }
    let end = passed.saturating_add(limit);
    let next = (items.len() > end).then(|| end.to_string());
    items = items.into_iter().skip(passed).take(limit).collect();
    answer["items"] = items.into();
    answer["next"] = next.into();
    Ok(Json(answer))
}

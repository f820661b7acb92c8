//! Commands to devices, and how long a request waits for what becomes of them.
//!
//! ```text
//! request ─▶ core ─▶ accepted (durable) ─▶ queued ─▶ terminal result
//!                       │ 202                │ 202      │ by its outcome
//!                   no wait asked         no wait asked and the device sleeps
//! ```
//!
//! A command that was accepted goes on whatever becomes of the request that sent it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Api, JsonResponse, own};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, CommandProgress, Query};
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::outcome::{accepted, no_result_yet, response_of};
use crate::io::http::request::{DEFAULT_LIMIT, DEFAULT_WAIT, JsonObject, MAX_LIMIT, Parameters, Segments};
use crate::io::http::schema;
use crate::io::http::schema::{CommandBody, CommandOptions, CommandStatus, Page};
use crate::model::command::CommandResult;
use crate::model::units::format_duration;

/// What every request that becomes a command may say beside what it is about.
pub(super) const OPTIONS: &[&str] = &["id", "format", "ttl", "timeout", "priority", "not_before", "when_asleep"];

/// The words for how a command stands or ended.
const STATUSES: [&str; 7] = ["accepted", "queued", "done", "failed", "expired", "cancelled", "unknown"];

/// How long a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Until the command is durable.
    Accepted,
    /// Until the device answered, or is known to sleep.
    QueuedOrResult(Duration),
    /// Until the terminal result, also of a device that sleeps; then 202.
    Result(Duration),
    /// The same, but no result in time is an error where the device does not sleep.
    ResultOrTimeout(Duration),
}

impl Hold {
    const fn time(self) -> Duration {
        match self {
            Self::Accepted => Duration::ZERO,
            Self::QueuedOrResult(time) | Self::Result(time) | Self::ResultOrTimeout(time) => time,
        }
    }
}

#[utoipa::path(post, path = "/api/v1/devices/{device}/commands", operation_id = "send_command", tag = "commands",
    params(("device" = String, Path, description = "Name or endpoint"), ("wait" = Option<String>, Query, description = "How long to hold for the result, such as 10s", pattern = "^[0-9]{1,2}s$")),
    request_body = CommandBody,
    responses((status = 200, description = "Done", body = schema::CommandResult), (status = 202, description = "Waits for a device that sleeps", body = schema::CommandResult), (status = 201, description = "Created", body = schema::CommandResult)))]
pub(super) async fn send(
    State(api): State<Api>,
    caller: Caller,
    Segments(device): Segments<String>,
    parameters: Parameters,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    caller.demand(Role::Operator)?;
    let hold = parameters.wait()?.map_or(Hold::Accepted, Hold::Result);
    run(&api, &device, Value::Object(body), caller.role(), hold).await
}

#[utoipa::path(post, path = "/api/v1/devices/{device}/bootstrap", operation_id = "request_bootstrap", tag = "commands",
    params(("device" = String, Path, description = "Name or endpoint"), ("wait" = Option<String>, Query, description = "How long to hold for the result, such as 10s", pattern = "^[0-9]{1,2}s$")),
    request_body = Option<CommandOptions>,
    responses((status = 200, description = "Done", body = schema::CommandResult), (status = 202, description = "Waits for a device that sleeps", body = schema::CommandResult)))]
pub(super) async fn bootstrap(
    State(api): State<Api>,
    caller: Caller,
    Segments(device): Segments<String>,
    parameters: Parameters,
    body: JsonObject,
) -> Result<Response, ApiError> {
    caller.demand(Role::Operator)?;
    let mut command = body.with_fields(OPTIONS)?;
    command.insert("operation".to_owned(), "bootstrap".into());
    run(&api, &device, Value::Object(command), caller.role(), hold_of_resource(&parameters)?).await
}

#[utoipa::path(get, path = "/api/v1/commands", operation_id = "list_commands", tag = "commands",
    params(("device" = Option<String>, Query, description = "Name or endpoint"), ("status" = Option<CommandStatus>, Query), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, description = "Commands, the latest first", body = Page<schema::CommandResult>)))]
pub(super) async fn list(State(api): State<Api>, _caller: Caller, parameters: Parameters) -> JsonResponse {
    let text = |name| parameters.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let status = text("status");
    if let Some(status) = &status
        && !STATUSES.contains(&status.as_str())
    {
        return Err(ApiError::invalid("status", format!("is none of {}", STATUSES.join(", "))));
    }
    let limit = parameters.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let device = text("device");
    let named = device.clone().unwrap_or_default();
    api.body_of(Query::Commands { device, status, after: text("after"), limit }, &named).await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/commands/{id}", operation_id = "get_command", tag = "commands",
    params(("id" = String, Path), ("device" = Option<String>, Query, description = "Where several devices have this id")),
    responses((status = 200, description = "How it stands or ended", body = schema::CommandResult)))]
pub(super) async fn one(
    State(api): State<Api>,
    _caller: Caller,
    Segments(id): Segments<String>,
    parameters: Parameters,
) -> JsonResponse {
    let device = parameters.get("device").map(str::to_owned);
    api.body_of(Query::CommandOf { id, device }, "").await.map(Json)
}

#[utoipa::path(delete, path = "/api/v1/commands/{id}", operation_id = "cancel_command", tag = "commands",
    params(("id" = String, Path), ("device" = Option<String>, Query, description = "Where several devices have this id")),
    responses((status = 200, description = "Withdrawn", body = schema::CommandResult)))]
pub(super) async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    Segments(id): Segments<String>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    caller.demand(Role::Operator)?;
    let device = parameters.get("device").map(str::to_owned);
    let query = Query::CancelCommand { id: id.clone(), device: device.clone(), role: caller.role() };
    let cancelled = follow(&api, query, "", Hold::Result(DEFAULT_WAIT)).await?;
    if !cancelled.status().is_success() {
        return Ok(cancelled);
    }
    // What became of the command says more than what became of the wish.
    api.body_of(Query::CommandOf { id, device }, "").await.map(|body| Json(body).into_response())
}

/// How long a route holds that answers with the result.
pub(super) fn hold_of_resource(parameters: &Parameters) -> Result<Hold, ApiError> {
    Ok(parameters.wait()?.map_or(Hold::QueuedOrResult(DEFAULT_WAIT), Hold::ResultOrTimeout))
}

/// Sends a command and answers with what became of it.
pub(super) async fn run(api: &Api, device: &str, body: Value, role: Role, hold: Hold) -> Result<Response, ApiError> {
    follow(api, Query::Command { device: device.to_owned(), body, role }, device, hold).await
}

/// Asks for something that becomes a command, and answers with what became of it. `device` is named in errors.
pub(super) async fn follow(api: &Api, query: Query, device: &str, hold: Hold) -> Result<Response, ApiError> {
    let until = Instant::now() + hold.time();
    let mut following = api.core.follow(query).await?;
    let mut next = Some(following.first().await?);
    let mut id = None;
    let mut queued: Option<CommandResult> = None;
    while let Some(answer) = next {
        match answer {
            Answer::Command(CommandProgress::Result(result)) if result.outcome.is_terminal() => {
                return Ok(response_of(&result));
            }
            Answer::Command(CommandProgress::Result(result)) => {
                if matches!(hold, Hold::QueuedOrResult(_)) {
                    return Ok(response_of(&result));
                }
                queued = Some(result);
            }
            Answer::Command(CommandProgress::Accepted { endpoint, id: accepted_id }) => {
                if hold == Hold::Accepted {
                    return Ok(accepted(endpoint.as_str(), &accepted_id));
                }
                id = Some((endpoint, accepted_id));
            }
            Answer::UnknownDevice => return Err(ApiError::unknown_device(device)),
            Answer::Failed(error) => return Err(error.into()),
            // A last known value, where an own endpoint may answer with one.
            Answer::Body(body) => return Ok(Json(body).into_response()),
            Answer::NoEndpoint { allowed } => return Ok(own::no_endpoint(device, &allowed)),
            Answer::Model { .. } => return Err(ApiError::unexpected_answer()),
        }
        next = tokio::time::timeout_at(until, following.next()).await.unwrap_or_default();
    }
    match (queued, id, hold) {
        (Some(queued), _, _) => Ok(response_of(&queued)),
        (None, Some((endpoint, id)), Hold::Accepted | Hold::Result(_)) => Ok(accepted(endpoint.as_str(), &id)),
        (None, Some((endpoint, id)), Hold::QueuedOrResult(waited) | Hold::ResultOrTimeout(waited)) => {
            Ok(no_result_yet(endpoint.as_str(), &id, &format_duration(waited)))
        }
        (None, None, _) => Err(ApiError::busy("the gateway is stopping")),
    }
}

/// A command without a body of its own: what the query says.
pub(super) fn command_of(operation: &str, path: &str, parameters: &Parameters) -> Value {
    let mut command = json!({ "operation": operation, "path": format!("/{path}") });
    for option in OPTIONS {
        let Some(text) = parameters.get(option) else { continue };
        // Numbers stay numbers: a content format, a priority, a time. An id may look like one and is a text all the same.
        let number = (*option != "id").then(|| text.parse::<i64>().ok()).flatten();
        command[*option] = number.map_or_else(|| text.into(), Value::from);
    }
    command
}

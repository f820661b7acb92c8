//! One request: from its route to the core and back.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::later::Promised;
use super::{Leshan, bootstrap, security, stream};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, CommandProgress, Query};
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::WholeBody;
use crate::model::object::{DeviceModel, ObjectModel};
use crate::model::report::DeviceFacts;
use crate::northbound::leshan::{
    DeviceRequest, LeshanCommand, Parameters, Refusal, Reply, Route, command, delayed, reply, route, specifications,
};

/// What is known of a device, for types.
pub(super) struct Known {
    model: std::sync::Arc<ObjectModel>,
    facts: Box<DeviceFacts>,
}

impl Known {
    pub(super) fn types(&self) -> DeviceModel<'_> {
        DeviceModel { model: &self.model, objects: &self.facts.objects, enabler: self.facts.lwm2m_version }
    }
}

/// What ends a request early.
pub(super) enum Early {
    /// In Leshan's words.
    Refused(Refusal),
    /// The gateway's own reasons: bounds, tokens, stopping.
    Own(ApiError),
}

impl From<Refusal> for Early {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ApiError> for Early {
    fn from(error: ApiError) -> Self {
        Self::Own(error)
    }
}

impl IntoResponse for Early {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => text(&refusal),
            Self::Own(error) => error.into_response(),
        }
    }
}

/// Every request.
pub(super) async fn serve(State(leshan): State<Leshan>, request: Request) -> Response {
    answer(&leshan, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(leshan: &Leshan, request: Request) -> Result<Response, Early> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, leshan).await?;
    let parameters = Parameters::parse(parts.uri.query().unwrap_or_default());
    let routed = route(leshan.server, parts.method.as_str(), parts.uri.path());
    let request = Request::from_parts(parts, body);
    Ok(match routed? {
        Route::Clients => registrations(leshan, None).await?,
        Route::Client { endpoint } => registrations(leshan, Some(endpoint)).await?,
        Route::Specifications { endpoint } => {
            let known = known(leshan, &endpoint).await?;
            Json(specifications(&known.types())).into_response()
        }
        Route::Events => stream::follow(&leshan.api, leshan.server, caller, &parameters).await?,
        Route::Credentials => security::list(leshan, caller).await?,
        Route::PutCredential => security::put(leshan, caller, request).await?,
        Route::RemoveCredential { endpoint } => security::remove(leshan, caller, endpoint).await?,
        Route::OwnSecurity => Json(json!({})).into_response(),
        Route::OwnEndpoints => Json((*leshan.endpoints).clone()).into_response(),
        Route::Configurations => bootstrap::list(leshan, caller).await?,
        Route::Configuration { endpoint } => bootstrap::show(leshan, caller, endpoint).await?,
        Route::PutConfiguration { endpoint } => bootstrap::put(leshan, caller, endpoint, request).await?,
        Route::RemoveConfiguration { endpoint } => bootstrap::remove(leshan, caller, endpoint).await?,
        Route::Device(asked) => device(leshan, caller, asked, &parameters, request).await?,
    })
}

async fn registrations(leshan: &Leshan, endpoint: Option<String>) -> Result<Response, Early> {
    let name = endpoint.clone().unwrap_or_default();
    match leshan.api.core.ask(Query::Registrations { endpoint }).await? {
        Answer::Body(body) => Ok(Json(body).into_response()),
        Answer::UnknownDevice => Err(Refusal::no_client(&name).into()),
        _ => Err(ApiError::unexpected_answer().into()),
    }
}

/// A device that is registered.
async fn known(leshan: &Leshan, endpoint: &str) -> Result<Known, Early> {
    registrations(leshan, Some(endpoint.to_owned())).await?;
    match leshan.api.core.ask(Query::Model { device: endpoint.to_owned() }).await? {
        Answer::Model { model, facts } => Ok(Known { model, facts }),
        Answer::UnknownDevice => Err(Refusal::no_client(endpoint).into()),
        _ => Err(ApiError::unexpected_answer().into()),
    }
}

async fn device(
    leshan: &Leshan,
    caller: Caller,
    asked: DeviceRequest,
    parameters: &Parameters,
    request: Request,
) -> Result<Response, Early> {
    caller.demand(if asked.wanted.only_reads() { Role::Viewer } else { Role::Operator })?;
    let known = known(leshan, &asked.endpoint).await?;
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.map(str::to_owned);
    let WholeBody(body) = WholeBody::from_request(request, &leshan.api).await?;
    let mut asked = command(asked, parameters, content_type.as_deref(), &body, &known.types())?;
    let place = leshan.delayed.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::busy("too many requests wait for devices that sleep"))?;
    let id = format!("leshan-{}-{}", leshan.run, leshan.commands.fetch_add(1, Ordering::Relaxed));
    asked.command["id"] = id.as_str().into();
    run(leshan, asked, known, &id, place).await
}

/// Sends a command and answers with its result, or with the promise of one where the device sleeps.
async fn run(
    leshan: &Leshan,
    asked: LeshanCommand,
    known: Known,
    id: &str,
    place: OwnedSemaphorePermit,
) -> Result<Response, Early> {
    // Devices are asked one thing at a time: as long as for the answer, the command may wait for its turn.
    let until = Instant::now() + 2 * asked.timeout;
    let endpoint = asked.request.endpoint.clone();
    // Who may read was decided above; commands themselves know only operators.
    let query = Query::Command { device: endpoint.clone(), body: asked.command.clone(), role: Role::Operator };
    let mut following = leshan.api.core.follow(query).await?;
    let mut next = Some(following.first().await?);
    while let Some(answer) = next {
        match answer {
            Answer::Command(CommandProgress::Accepted { .. }) => {}
            Answer::Command(CommandProgress::Result(result)) => {
                if result.outcome.is_terminal() || asked.is_passive() {
                    return Ok(shown(reply(&asked, &result, &known.types())));
                }
                let promise = delayed(&asked, result.endpoint.as_str(), id);
                // There is room for every place; the way is closed only when the server stops.
                let _ = leshan.later.try_send(Promised { following, asked, known, place });
                return Ok(Json(promise).into_response());
            }
            Answer::Failed(error) => return Err(Refusal::from((endpoint.as_str(), &error)).into()),
            Answer::UnknownDevice => return Err(Refusal::no_client(&endpoint).into()),
            _ => return Err(ApiError::unexpected_answer().into()),
        }
        next = tokio::time::timeout_at(until, following.next()).await.unwrap_or_default();
    }
    // Nobody would hear of it any more. If it is with the device already this changes nothing.
    let body = json!({ "operation": "cancel", "command": id });
    let cancel = Query::Command { device: endpoint, body, role: Role::Operator };
    let _ = leshan.api.core.ask(cancel).await;
    Err(Refusal::timeout().into())
}

fn shown(reply: Reply) -> Response {
    match reply {
        Reply::Json(json) => Json(json).into_response(),
        Reply::Empty => StatusCode::OK.into_response(),
        Reply::Text(refusal) => text(&refusal),
    }
}

fn text(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, refusal.text.clone()).into_response()
}

//! Credentials of devices. Nothing secret is answered but a key that the gateway made, once.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{Api, JsonResponse};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::Query;
use crate::io::credential_proofs::{Settled, settle};
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{DEFAULT_LIMIT, JsonObject, MAX_LIMIT, Parameters, Segments, WholeBody};
use crate::io::http::schema::{Credential, CredentialRequest, CredentialResults, Page, PutCredential};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::credential::{Scope, SecretBytes};
use crate::northbound::credential_json::parse_credential;

/// Most credentials of one request.
const MAX_CREDENTIALS: usize = 1_000;

#[utoipa::path(get, path = "/api/v1/credentials", operation_id = "list_credentials", tag = "credentials",
    params(("q" = Option<String>, Query, description = "Only what contains this"), ("scope" = Option<String>, Query, description = "server or bootstrap", pattern = "^(server|bootstrap)$"), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query, description = "next of the page before")),
    responses((status = 200, description = "Credentials by endpoint", body = Page<Credential>)))]
pub(super) async fn list(State(api): State<Api>, caller: Caller, parameters: Parameters) -> JsonResponse {
    caller.demand(Role::Admin)?;
    let search = parameters.get("q").unwrap_or_default().to_owned();
    let after = parameters.get("after").filter(|after| !after.is_empty()).map(str::to_owned);
    let limit = parameters.count("limit", DEFAULT_LIMIT, MAX_LIMIT)?;
    let scope = scope_of(&parameters)?;
    api.body_of(Query::Credentials { search, scope, after, limit }, "").await.map(Json)
}

#[utoipa::path(post, path = "/api/v1/credentials", operation_id = "put_credentials", tag = "credentials",
    params(("all_or_nothing" = Option<bool>, Query, description = "Put none unless all can be put"), ("dry_run" = Option<bool>, Query, description = "Only tell what would happen")),
    request_body = Vec<CredentialRequest>,
    responses((status = 200, description = "What became of each", body = CredentialResults)))]
pub(super) async fn put_many(
    State(api): State<Api>,
    caller: Caller,
    parameters: Parameters,
    WholeBody(body): WholeBody,
) -> Result<Response, ApiError> {
    caller.demand(Role::Admin)?;
    let (all_or_nothing, dry_run) = (parameters.flag("all_or_nothing")?, parameters.flag("dry_run")?);
    let requests = match serde_json::from_slice(&body) {
        Ok(Value::Array(requests)) => requests,
        Ok(_) => return Err(ApiError::unreadable("the body is no list of credentials")),
        Err(error) => return Err(ApiError::unreadable(format!("the body is no JSON: {error}"))),
    };
    if requests.len() > MAX_CREDENTIALS {
        let message = format!("{} credentials in one request, more than {MAX_CREDENTIALS}", requests.len());
        return Err(CommandError::new(ErrorKind::TooLarge, message).into());
    }
    let mut made = Vec::with_capacity(requests.len());
    let mut wishes = Vec::with_capacity(requests.len());
    for request in &requests {
        let settled = match request {
            Value::Object(fields) => settled(fields),
            _ => Err(CommandError::new(ErrorKind::Invalid, "a credential is a JSON object")),
        };
        let (wish, key) = match settled {
            Ok(Settled { wish, made_key }) => (Ok(wish), made_key),
            Err(error) => (Err(error), None),
        };
        wishes.push(wish);
        made.push(key);
    }
    let mut answer = api.body_of(Query::PutCredentials { wishes, all_or_nothing, dry_run }, "").await?;
    let items = answer["items"].as_array_mut().into_iter().flatten();
    for ((item, key), request) in items.zip(made).zip(&requests) {
        if item.get("endpoint").is_none()
            && let Some(endpoint) = request["endpoint"].as_str()
        {
            item["endpoint"] = endpoint.into();
        }
        if !dry_run && matches!(item["status"].as_str(), Some("created" | "changed")) {
            tell_key(item, key.as_ref());
        }
    }
    let failed = answer["failed"].as_u64().unwrap_or_default();
    if all_or_nothing && failed > 0 && !dry_run {
        let message = format!("{failed} of {} credentials are wrong, so that none was put", requests.len());
        answer["error"] = json!({ "kind": "conflict", "message": message });
        return Ok((StatusCode::CONFLICT, Json(answer)).into_response());
    }
    Ok(Json(answer).into_response())
}

#[utoipa::path(get, path = "/api/v1/credentials/{endpoint}", operation_id = "get_credential", tag = "credentials",
    params(("endpoint" = String, Path, description = "Endpoint name"), ("scope" = Option<String>, Query, description = "server or bootstrap", pattern = "^(server|bootstrap)$")),
    responses((status = 200, description = "The credential, without what is secret", body = Credential)))]
pub(super) async fn one(
    State(api): State<Api>,
    caller: Caller,
    Segments(endpoint): Segments<String>,
    parameters: Parameters,
) -> JsonResponse {
    caller.demand(Role::Admin)?;
    let scope = scope_of(&parameters)?.unwrap_or_default();
    api.body_of(Query::Credential { scope, endpoint }, "").await.map(Json)
}

#[utoipa::path(put, path = "/api/v1/credentials/{endpoint}", operation_id = "put_credential", tag = "credentials",
    params(("endpoint" = String, Path, description = "Endpoint name"), ("scope" = Option<String>, Query, description = "server or bootstrap", pattern = "^(server|bootstrap)$")),
    request_body = CredentialRequest,
    responses((status = 200, description = "Changed; a key that was made is told here alone", body = PutCredential), (status = 201, description = "Created; a key that was made is told here alone", body = PutCredential)))]
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    Segments(endpoint): Segments<String>,
    parameters: Parameters,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    caller.demand(Role::Admin)?;
    let scope = scope_of(&parameters)?;
    let mut request = parse_credential(&body, Some(&endpoint)).map_err(CommandError::from)?;
    match (scope, request.scope) {
        (Some(asked), Some(said)) if asked != said => {
            return Err(ApiError::invalid("scope", "differs between the address and the body"));
        }
        (asked, said) => request.scope = said.or(asked),
    }
    let Settled { wish, made_key } = settle(request).map_err(CommandError::from)?;
    let mut answer = api.body_of(Query::PutCredential(Box::new(wish)), "").await?;
    tell_key(&mut answer, made_key.as_ref());
    let status = if answer["created"] == true { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(answer)).into_response())
}

#[utoipa::path(delete, path = "/api/v1/credentials/{endpoint}", operation_id = "remove_credential", tag = "credentials",
    params(("endpoint" = String, Path, description = "Endpoint name"), ("scope" = Option<String>, Query, description = "server or bootstrap", pattern = "^(server|bootstrap)$")),
    responses((status = 204, description = "Removed, with the live session")))]
pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Segments(endpoint): Segments<String>,
    parameters: Parameters,
) -> Result<StatusCode, ApiError> {
    caller.demand(Role::Admin)?;
    let scope = scope_of(&parameters)?.unwrap_or_default();
    api.body_of(Query::RemoveCredential { scope, endpoint }, "").await?;
    Ok(StatusCode::NO_CONTENT)
}

fn scope_of(parameters: &Parameters) -> Result<Option<Scope>, ApiError> {
    match parameters.get("scope") {
        None | Some("") => Ok(None),
        Some("server") => Ok(Some(Scope::Server)),
        Some("bootstrap") => Ok(Some(Scope::Bootstrap)),
        Some(_) => Err(ApiError::invalid("scope", "is neither server nor bootstrap")),
    }
}

/// Reads a credential that names its endpoint.
fn settled(fields: &Map<String, Value>) -> Result<Settled, CommandError> {
    Ok(settle(parse_credential(fields, None)?)?)
}

fn tell_key(answer: &mut Value, made: Option<&SecretBytes>) {
    if let Some(key) = made {
        answer["key"] = data_encoding::HEXLOWER.encode(key.expose()).into();
    }
}

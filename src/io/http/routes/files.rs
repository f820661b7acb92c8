//! Mapping files, files of object definitions, and what is in force of both.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Api, JsonResponse, page_of};
use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::Query;
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{Parameters, Segments, WholeBody};
use crate::io::http::schema::{AnyJson, KnownObject, ObjectDefinition, Page};
use crate::model::ddf;
use crate::model::version::Version;

#[utoipa::path(get, path = "/api/v1/mappings", operation_id = "list_mappings", tag = "mappings",
    params(("q" = Option<String>, Query), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, description = "Mapping files", body = Page<AnyJson>)))]
pub(super) async fn list_mappings(State(api): State<Api>, caller: Caller, parameters: Parameters) -> JsonResponse {
    let answer = api.bridge("mapping/list", json!({}), caller.role()).await?;
    page_of(answer, &parameters, "file")
}

#[utoipa::path(get, path = "/api/v1/models", operation_id = "list_models", tag = "models",
    params(("q" = Option<String>, Query), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, description = "Files of object definitions", body = Page<AnyJson>)))]
pub(super) async fn list_models(State(api): State<Api>, caller: Caller, parameters: Parameters) -> JsonResponse {
    let answer = api.bridge("model/list", json!({}), caller.role()).await?;
    page_of(answer, &parameters, "file")
}

#[utoipa::path(get, path = "/api/v1/mappings/{file}", operation_id = "get_mapping", tag = "mappings",
    params(("file" = String, Path, description = "Name of the file, such as site.toml")),
    responses((status = 200, description = "Its text", body = AnyJson)))]
pub(super) async fn get_mapping(
    State(api): State<Api>,
    caller: Caller,
    Segments(file): Segments<String>,
) -> JsonResponse {
    api.bridge("mapping/get", json!({ "file": file }), caller.role()).await.map(Json)
}

#[utoipa::path(put, path = "/api/v1/mappings/{file}", operation_id = "put_mapping", tag = "mappings",
    params(("file" = String, Path), ("dry_run" = Option<bool>, Query, description = "Only tell what would happen")),
    request_body(content = String, content_type = "text/plain", description = "The text of the file"),
    responses((status = 200, description = "What was, or would be, done", body = AnyJson)))]
pub(super) async fn put_mapping(
    State(api): State<Api>,
    caller: Caller,
    Segments(file): Segments<String>,
    parameters: Parameters,
    body: WholeBody,
) -> JsonResponse {
    put(&api, caller, "mapping/put", &file, &parameters, body).await
}

#[utoipa::path(delete, path = "/api/v1/mappings/{file}", operation_id = "delete_mapping", tag = "mappings",
    params(("file" = String, Path), ("dry_run" = Option<bool>, Query, description = "Only tell what would happen")),
    responses((status = 200, description = "What was, or would be, done", body = AnyJson)))]
pub(super) async fn delete_mapping(
    State(api): State<Api>,
    caller: Caller,
    Segments(file): Segments<String>,
    parameters: Parameters,
) -> JsonResponse {
    delete(&api, caller, "mapping/delete", &file, &parameters).await
}

#[utoipa::path(get, path = "/api/v1/models/{file}", operation_id = "get_model", tag = "models",
    params(("file" = String, Path, description = "Name of the file, such as 42001.xml")),
    responses((status = 200, description = "Its text", body = AnyJson)))]
pub(super) async fn get_model(
    State(api): State<Api>,
    caller: Caller,
    Segments(file): Segments<String>,
) -> JsonResponse {
    api.bridge("model/get", json!({ "file": file }), caller.role()).await.map(Json)
}

#[utoipa::path(put, path = "/api/v1/models/{file}", operation_id = "put_model", tag = "models",
    params(("file" = String, Path), ("dry_run" = Option<bool>, Query, description = "Only tell what would happen")),
    request_body(content = String, content_type = "text/plain", description = "An OMA object definition (DDF XML)"),
    responses((status = 200, description = "What was, or would be, done", body = AnyJson)))]
pub(super) async fn put_model(
    State(api): State<Api>,
    caller: Caller,
    Segments(file): Segments<String>,
    parameters: Parameters,
    body: WholeBody,
) -> JsonResponse {
    put(&api, caller, "model/put", &file, &parameters, body).await
}

#[utoipa::path(delete, path = "/api/v1/models/{file}", operation_id = "delete_model", tag = "models",
    params(("file" = String, Path), ("dry_run" = Option<bool>, Query, description = "Only tell what would happen")),
    responses((status = 200, description = "What was, or would be, done", body = AnyJson)))]
pub(super) async fn delete_model(
    State(api): State<Api>,
    caller: Caller,
    Segments(file): Segments<String>,
    parameters: Parameters,
) -> JsonResponse {
    delete(&api, caller, "model/delete", &file, &parameters).await
}

#[utoipa::path(get, path = "/api/v1/objects", operation_id = "list_objects", tag = "models",
    params(("q" = Option<String>, Query), ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, description = "Objects whose definition is known", body = Page<KnownObject>)))]
pub(super) async fn list_objects(State(api): State<Api>, _caller: Caller, parameters: Parameters) -> JsonResponse {
    page_of(api.body_of(Query::Objects, "").await?, &parameters, "name")
}

#[utoipa::path(get, path = "/api/v1/objects/{id}/{version}", operation_id = "get_object", tag = "models",
    params(("id" = u16, Path), ("version" = String, Path, description = "Such as 1.1, or latest")),
    responses((status = 200, description = "The definition", body = ObjectDefinition)))]
pub(super) async fn get_object(
    State(api): State<Api>,
    _caller: Caller,
    Segments((id, version)): Segments<(String, String)>,
) -> JsonResponse {
    let id = id.parse().map_err(|_| ApiError::invalid("id", "is no number from 0 to 65535"))?;
    api.body_of(Query::Object { id, version }, "").await.map(Json)
}

#[utoipa::path(put, path = "/api/v1/objects/{id}/{version}", operation_id = "put_object", tag = "models",
    params(("id" = u16, Path), ("version" = String, Path, description = "Such as 1.1"),
        ("dry_run" = Option<bool>, Query, description = "Only tell what would happen")),
    request_body(content = String, content_type = "text/plain", description = "The OMA definition (DDF XML) of this object and version"),
    responses((status = 200, description = "What was, or would be, done", body = AnyJson)))]
pub(super) async fn put_object(
    State(api): State<Api>,
    caller: Caller,
    Segments((id, version)): Segments<(String, String)>,
    parameters: Parameters,
    body: WholeBody,
) -> JsonResponse {
    caller.demand(Role::Admin)?;
    let file = file_of_object(&id, &version)?;
    let text = std::str::from_utf8(&body.0).map_err(|_| ApiError::unreadable("the body is no text in UTF-8"))?;
    let defined =
        ddf::parse(text).map_err(|error| ApiError::unreadable(format!("the body is no definition: {error}")))?;
    let wanted = |object: &crate::model::object::ObjectDefinition| {
        object.id.to_string() == id && object.version.to_string() == version
    };
    if !matches!(defined.as_slice(), [only] if wanted(only)) {
        return Err(ApiError::unreadable(format!(
            "the body does not define object {id} in version {version}, and no other"
        )));
    }
    put(&api, caller, "model/put", &file, &parameters, body).await
}

#[utoipa::path(delete, path = "/api/v1/objects/{id}/{version}", operation_id = "delete_object", tag = "models",
    params(("id" = u16, Path), ("version" = String, Path, description = "Such as 1.1"),
        ("dry_run" = Option<bool>, Query, description = "Only tell what would happen")),
    responses((status = 200, description = "A definition that was put here is gone; a built-in one then holds again", body = AnyJson)))]
pub(super) async fn delete_object(
    State(api): State<Api>,
    caller: Caller,
    Segments((id, version)): Segments<(String, String)>,
    parameters: Parameters,
) -> JsonResponse {
    delete(&api, caller, "model/delete", &file_of_object(&id, &version)?, &parameters).await
}

/// The file of definitions that a single object is put into.
fn file_of_object(id: &str, version: &str) -> Result<String, ApiError> {
    let id: u16 = id.parse().map_err(|_| ApiError::invalid("id", "is no number from 0 to 65535"))?;
    let version: Version = version.parse().map_err(|_| ApiError::invalid("version", "is no version such as 1.1"))?;
    Ok(format!("{id}-{version}.xml"))
}

async fn put(
    api: &Api,
    caller: Caller,
    what: &str,
    file: &str,
    parameters: &Parameters,
    body: WholeBody,
) -> JsonResponse {
    caller.demand(Role::Admin)?;
    let dry_run = parameters.flag("dry_run")?;
    let text = std::str::from_utf8(&body.0).map_err(|_| ApiError::unreadable("the body is no text in UTF-8"))?;
    let request = json!({ "file": file, "text": text, "dry_run": dry_run });
    api.bridge(what, request, caller.role()).await.map(Json)
}

async fn delete(api: &Api, caller: Caller, what: &str, file: &str, parameters: &Parameters) -> JsonResponse {
    caller.demand(Role::Admin)?;
    let request = json!({ "file": file, "dry_run": parameters.flag("dry_run")? });
    api.bridge(what, request, caller.role()).await.map(Json)
}

#[utoipa::path(get, path = "/api/v1/config", operation_id = "get_config", tag = "gateway",
    responses((status = 200, description = "The configuration in force, without secrets", body = AnyJson)))]
pub(super) async fn get_config(State(api): State<Api>, caller: Caller) -> JsonResponse {
    api.bridge("config/get", json!({}), caller.role()).await.map(Json)
}

#[utoipa::path(post, path = "/api/v1/reload", operation_id = "reload", tag = "gateway",
    responses((status = 200, description = "Mapping files and object definitions are read anew", body = AnyJson)))]
pub(super) async fn reload(State(api): State<Api>, caller: Caller) -> JsonResponse {
    caller.demand(Role::Admin)?;
    api.bridge("reload", json!({}), caller.role()).await.map(Json)
}

#[utoipa::path(post, path = "/api/v1/restart", operation_id = "restart", tag = "gateway",
    responses((status = 200, description = "The process ends, for the service manager to start it anew", body = AnyJson)))]
pub(super) async fn restart(State(api): State<Api>, caller: Caller) -> JsonResponse {
    caller.demand(Role::Admin)?;
    api.bridge("restart", Value::Object(serde_json::Map::new()), caller.role()).await.map(Json)
}

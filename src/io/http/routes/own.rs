//! Endpoints of the mapping (`[[http]]`): every request that no route of the gateway itself takes is put to the core.

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::Api;
use super::commands::{follow, hold_of_resource};
use crate::gateway::vocabulary::Query;
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{Parameters, WholeBody};

pub(super) async fn serve(
    State(api): State<Api>,
    caller: Caller,
    method: Method,
    uri: Uri,
    parameters: Parameters,
    WholeBody(body): WholeBody,
) -> Result<Response, ApiError> {
    let body = if body.is_empty() {
        Value::Null
    } else {
        // Whether a body was wanted at all is for the core to say; what is no JSON is at least no object.
        serde_json::from_slice(&body).unwrap_or_else(|_| Value::from("no JSON"))
    };
    let (method, path) = (method.as_str().to_owned(), uri.path().to_owned());
    let query = Query::Own { method, path, body, role: caller.role() };
    follow(&api, query, uri.path(), hold_of_resource(&parameters)?).await
}

/// The response where the mapping has no endpoint for a request.
pub(super) fn no_endpoint(path: &str, allowed: &[&str]) -> Response {
    if allowed.is_empty() {
        return ApiError::no_such_path(path).into_response();
    }
    let message = format!("{path} takes {} only", allowed.join(" and "));
    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    let mut response = error.into_response();
    if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

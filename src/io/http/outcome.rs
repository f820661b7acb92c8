//! How a command ended, as status and body of a response.
//!
//! | outcome | status |
//! |---|---|
//! | done | 200; 201 after a Create |
//! | queued | 202 |
//! | failed by the device | 502, with its `code` |
//! | failed by the gateway | by the kind of the error |
//! | expired, cancelled | 409 |
//! | unknown | 504 |
//!
//! The body is the result message itself. Where the status is an error, an `error` stands beside it, so that whoever
//! reads errors alone finds one.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::{ApiError, status_of};
use crate::model::command::{CommandResult, Outcome};
use crate::northbound::command_json::result_json;

/// The response for a result, terminal or `queued`.
pub(super) fn response_of(result: &CommandResult) -> Response {
    let mut body = result_json(result);
    let (status, error) = match &result.outcome {
        Outcome::Queued => (StatusCode::ACCEPTED, None),
        Outcome::Done { .. } if result.operation == "create" => (StatusCode::CREATED, None),
        Outcome::Done { .. } => (StatusCode::OK, None),
        Outcome::Failed { code, error: Some(error) } => {
            let status = if code.is_some() { StatusCode::BAD_GATEWAY } else { status_of(error.kind) };
            (status, Some(ApiError::from(error.clone()).to_json()))
        }
        Outcome::Failed { code, error: None } => {
            let code = code.as_deref().unwrap_or("nothing that can be told");
            let message = format!("the device answered {code}");
            (StatusCode::BAD_GATEWAY, Some(json!({ "kind": "device", "message": message })))
        }
        Outcome::Expired => (StatusCode::CONFLICT, Some(conflict("the command expired before the device was heard"))),
        Outcome::Cancelled { replaced_by: None } => (StatusCode::CONFLICT, Some(conflict("the command was cancelled"))),
        Outcome::Cancelled { replaced_by: Some(newer) } => {
            (StatusCode::CONFLICT, Some(conflict(&format!("command '{newer}' took the place of this one"))))
        }
        Outcome::Unknown => {
            let message = "the device was asked and never answered; asking again might do it twice";
            (StatusCode::GATEWAY_TIMEOUT, Some(json!({ "kind": "timeout", "message": message })))
        }
    };
    if let Some(error) = error {
        body["error"] = error;
    }
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::ACCEPTED {
        point_to(&mut response, &result.id);
    }
    response
}

/// 202 for a command that is durable and waits.
pub(super) fn accepted(endpoint: &str, id: &str) -> Response {
    let body = json!({ "id": id, "endpoint": endpoint, "status": "accepted" });
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    point_to(&mut response, id);
    response
}

/// 504 for a command that is under way and has no result yet. It is not lost: the body names its id.
pub(super) fn no_result_yet(endpoint: &str, id: &str, waited: &str) -> Response {
    let message = format!("no result within {waited}; the command goes on, and its id tells how it ends");
    let body = json!({
        "id": id,
        "endpoint": endpoint,
        "status": "accepted",
        "error": { "kind": "timeout", "message": message },
    });
    let mut response = (StatusCode::GATEWAY_TIMEOUT, Json(body)).into_response();
    point_to(&mut response, id);
    response
}

fn conflict(message: &str) -> Value {
    json!({ "kind": "conflict", "message": message })
}

/// Names where the command is to be looked at.
fn point_to(response: &mut Response, id: &str) {
    let location = format!("/api/v1/commands/{}", super::request::encode_segment(id));
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::{CommandError, ErrorKind};
    use crate::model::endpoint::Endpoint;
    use crate::model::time::WallTime;

    fn status(operation: &str, outcome: Outcome) -> u16 {
        let result = CommandResult {
            id: "a b".to_owned(),
            endpoint: Endpoint::new("d").unwrap(),
            operation: operation.to_owned(),
            path: None,
            key: None,
            ts: WallTime::from_secs(1),
            outcome,
        };
        response_of(&result).status().as_u16()
    }

    #[test]
    fn each_outcome_has_the_status_of_the_contract() {
        let done = || Outcome::Done { code: "2.04".to_owned(), answer: serde_json::Map::new() };
        let failed = |kind| Outcome::Failed { code: None, error: Some(CommandError::new(kind, "x")) };
        let coded = |error| Outcome::Failed { code: Some("4.05".to_owned()), error };
        for (operation, outcome, expected) in [
            ("read", done(), 200),
            ("create", done(), 201),
            ("read", Outcome::Queued, 202),
            ("read", coded(None), 502),
            ("read", coded(Some(CommandError::new(ErrorKind::NotSupported, "x"))), 502),
            ("read", failed(ErrorKind::Invalid), 400),
            ("read", failed(ErrorKind::NotSupported), 400),
            ("read", failed(ErrorKind::UnknownDevice), 404),
            ("read", failed(ErrorKind::Asleep), 409),
            ("read", failed(ErrorKind::Conflict), 409),
            ("read", failed(ErrorKind::Timeout), 504),
            ("read", failed(ErrorKind::Unreachable), 504),
            ("read", failed(ErrorKind::TooLarge), 413),
            ("read", failed(ErrorKind::BadAnswer), 502),
            ("read", failed(ErrorKind::QueueFull), 429),
            ("read", failed(ErrorKind::Forbidden), 403),
            ("read", failed(ErrorKind::Internal), 500),
            ("read", Outcome::Expired, 409),
            ("read", Outcome::Cancelled { replaced_by: None }, 409),
            ("read", Outcome::Cancelled { replaced_by: Some("2".to_owned()) }, 409),
            ("execute", Outcome::Unknown, 504),
        ] {
            assert_eq!(status(operation, outcome.clone()), expected, "{operation} {outcome:?}");
        }
    }

    #[test]
    fn what_goes_on_names_its_command() {
        let response = accepted("d", "a b/ä");
        assert_eq!(response.headers()[header::LOCATION], "/api/v1/commands/a%20b%2F%C3%A4");
    }
}

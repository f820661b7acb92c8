//! Errors as every caller sees them: `{"error":{"kind","message","field","problems"}}`.

use std::borrow::Cow;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::model::command::{CommandError, ErrorKind};
use crate::northbound::command_json::FIELDS;
use crate::northbound::credential_json;

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    field: Option<Cow<'static, str>>,
    problems: Option<Box<Value>>,
}

impl ApiError {
    /// An error with its status, its word and what to tell.
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), field: None, problems: None }
    }

    /// 400: a field of the request is wrong.
    pub(super) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        let message = format!("{field}: {}", message.into());
        Self { field: Some(field.into()), ..Self::new(StatusCode::BAD_REQUEST, "invalid", message) }
    }

    /// 400: the request as a whole is wrong.
    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 403.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404 for a path that leads nowhere.
    pub(super) fn no_such_path(path: &str) -> Self {
        let message = format!("there is nothing at {path}; GET /api/v1 lists what there is");
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 404 for a device.
    pub(super) fn unknown_device(device: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_device", format!("no device has the name or endpoint '{device}'"))
    }

    /// 413: the body is longer than what is taken.
    pub(super) fn too_large(most: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the body has more than {most} bytes"))
    }

    /// 503: try again later.
    pub(super) fn busy(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    /// 500: the core answered what no question of this kind has as answer.
    pub(super) fn unexpected_answer() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the core answered something else")
    }

    /// The status.
    #[cfg(test)]
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The value of `error`.
    pub(super) fn to_json(&self) -> Value {
        let mut error = json!({ "kind": self.kind, "message": self.message });
        if let Some(field) = &self.field {
            error["field"] = field.as_ref().into();
        }
        if let Some(problems) = &self.problems {
            error["problems"] = (**problems).clone();
        }
        error
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let field = match &error.problems {
            Some(problems) => first_field(problems),
            None if error.kind == ErrorKind::Invalid => field_named(&error.message),
            None => None,
        };
        let status = status_of(error.kind);
        Self { status, kind: error.kind.as_str(), message: error.message, field, problems: error.problems }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.to_json() }))).into_response()
    }
}

/// The status that tells a kind of failure.
pub(super) const fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid | ErrorKind::NotSupported => StatusCode::BAD_REQUEST,
        ErrorKind::UnknownDevice | ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Asleep | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Timeout | ErrorKind::Unreachable => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::BadAnswer => StatusCode::BAD_GATEWAY,
        ErrorKind::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Fields of requests that are no commands; a message about a field begins with its name.
const FURTHER_FIELDS: [&str; 10] =
    ["keys", "for", "device", "label", "tags", "settings", "file", "text", "dry_run", "level"];

/// The field that a message is about: by convention of the core its first word, where that is a field.
fn field_named(message: &str) -> Option<Cow<'static, str>> {
    let word = message.split([' ', ':', '.']).next().unwrap_or_default();
    FIELDS
        .iter()
        .chain(&FURTHER_FIELDS)
        .chain(&credential_json::FIELDS)
        .find(|field| **field == word)
        .map(|field| Cow::Borrowed(*field))
}

/// The field that the first of some problems is about; those of files are about none.
fn first_field(problems: &Value) -> Option<Cow<'static, str>> {
    let field = problems.get(0)?.get("field")?.as_str()?;
    (!field.is_empty()).then(|| Cow::Owned(field.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_at_fault_is_told_where_the_message_names_one() {
        for (message, field) in [
            ("path '/x': no such object", Some("path")),
            ("ttl: no duration", Some("ttl")),
            ("attributes.gt is no number", Some("attributes")),
            ("a command is a JSON object", None),
            ("", None),
        ] {
            assert_eq!(field_named(message).as_deref(), field, "{message}");
        }
        let error = ApiError::from(CommandError::new(ErrorKind::Invalid, "ttl is no duration"));
        assert_eq!(error.to_json(), json!({ "kind": "invalid", "message": "ttl is no duration", "field": "ttl" }));
        let error = ApiError::from(CommandError::new(ErrorKind::Conflict, "id: another command has it"));
        assert_eq!((error.status(), error.to_json().get("field")), (StatusCode::CONFLICT, None));
    }

    #[test]
    fn all_problems_are_told_and_the_first_names_the_field() {
        let told = |problems: Value| {
            let error = CommandError::new(ErrorKind::Invalid, "path: and more");
            ApiError::from(CommandError { problems: Some(Box::new(problems)), ..error }).to_json()
        };
        let fields = json!([{ "field": "psk_key", "message": "a" }, { "field": "uri", "message": "b" }]);
        let error = told(fields.clone());
        assert_eq!((&error["field"], &error["problems"]), (&json!("psk_key"), &fields));
        let file = json!([{ "file": "a.toml", "line": 3, "message": "c" }]);
        let error = told(file.clone());
        assert_eq!((error.get("field"), &error["problems"]), (None, &file));
        assert_eq!(told(json!([{ "field": "", "message": "d" }])).get("field"), None, "the whole is no field");
    }
}

//! Errors as every caller sees them: `{"error":{"kind","message","field"}}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    field: Option<&'static str>,
}

impl ApiError {
    /// An error with its status, its word and what to tell.
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), field: None }
    }

    /// 400: a field of the request is wrong.
    pub(super) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        let message = format!("{field}: {}", message.into());
        Self { status: StatusCode::BAD_REQUEST, kind: "invalid", message, field: Some(field) }
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

    /// 503: try again later.
    pub(super) fn busy(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut error = serde_json::json!({ "kind": self.kind, "message": self.message });
        if let Some(field) = self.field {
            error["field"] = field.into();
        }
        (self.status, Json(serde_json::json!({ "error": error }))).into_response()
    }
}

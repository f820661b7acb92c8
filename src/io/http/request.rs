//! What handlers take from a request: bodies within bounds, parameters, and how long to wait.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::routes::Api;
use crate::model::units::{format_duration, parse_duration};

/// Longest body of a request: a value of `limits.max_transfer` as base64 within JSON.
pub const MAX_BODY_BYTES: usize = 2 << 20;

/// Bodies of requests, taken together, that are read at the same time; further ones get 503.
pub const MAX_BODIES_BYTES: usize = 16 << 20;

/// How long the body of a request may take; then 408.
pub const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Items of a page when the request does not say.
pub(super) const DEFAULT_LIMIT: usize = 100;

/// Most items of a page.
pub(super) const MAX_LIMIT: usize = 1_000;

/// How long resource routes wait for the result when the request does not say.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// Longest time that a request may wait for a result.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(600);

/// Bodies are charged in pieces of this size.
const CHARGED_PIECE: usize = 1 << 10;

/// The permits that bodies share.
pub(super) const fn body_permits() -> usize {
    MAX_BODIES_BYTES / CHARGED_PIECE
}

/// The bytes of a body, complete and within bounds.
pub(super) struct WholeBody(pub(super) Bytes);

impl FromRequest<Api> for WholeBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let announced = request.headers().get(axum::http::header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()).and_then(|length| length.parse().ok());
        let length = announced.unwrap_or(MAX_BODY_BYTES);
        if length > MAX_BODY_BYTES {
            return Err(ApiError::too_large(MAX_BODY_BYTES));
        }
        let pieces = u32::try_from(length.div_ceil(CHARGED_PIECE)).unwrap_or(u32::MAX);
        let permit = api.bodies.try_acquire_many(pieces);
        let _permit = permit.map_err(|_| ApiError::busy("too many bodies are read at the same time"))?;
        read_whole(request.into_body(), api.request_time).await.map(Self)
    }
}

fn is_too_long(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<http_body_util::LengthLimitError>()
}

async fn read_whole(body: Body, within: Duration) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(within, axum::body::to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if std::error::Error::source(&error).is_some_and(is_too_long) => {
            Err(ApiError::too_large(MAX_BODY_BYTES))
        }
        Ok(Err(error)) => Err(ApiError::unreadable(format!("the body cannot be read: {error}"))),
        Err(_) => {
            let message = format!("the request was not complete within {}", format_duration(within));
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message))
        }
    }
}

/// A JSON object. An empty body is an empty object.
pub(super) struct JsonObject(pub(super) Map<String, Value>);

impl FromRequest<Api> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let WholeBody(bytes) = WholeBody::from_request(request, api).await?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(ApiError::unreadable("the body is no JSON object")),
            Err(error) => Err(ApiError::unreadable(format!("the body is no JSON: {error}"))),
        }
    }
}

impl JsonObject {
    /// Refuses fields that the route does not take.
    pub(super) fn with_fields(self, known: &[&str]) -> Result<Map<String, Value>, ApiError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(self.0),
            Some(unknown) => {
                let shown: String = unknown.chars().take(40).collect();
                Err(ApiError::unreadable(format!("unknown field '{shown}'; known here: {}", known.join(", "))))
            }
        }
    }
}

/// The parameters behind the question mark, in order.
pub(super) struct Parameters(Vec<(String, String)>);

impl FromRequestParts<Api> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let parsed = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, api).await;
        parsed.map(|query| Self(query.0)).map_err(|error| ApiError::unreadable(error.body_text()))
    }
}

impl Parameters {
    /// The last value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter, in order.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A truth value; `?name` alone is true.
    pub(super) fn flag(&self, name: &'static str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(ApiError::invalid(name, "is neither true nor false")),
        }
    }

    /// A whole number from 1 to `most`.
    pub(super) fn count(&self, name: &'static str, default: usize, most: usize) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let parsed = text.parse().ok().filter(|count| (1..=most).contains(count));
        parsed.ok_or_else(|| ApiError::invalid(name, format!("is no number from 1 to {most}")))
    }

    /// `wait`: how long to hold the request for the result.
    pub(super) fn wait(&self) -> Result<Option<Duration>, ApiError> {
        let Some(text) = self.get("wait") else { return Ok(None) };
        let wait = parse_duration(text).map_err(|error| ApiError::invalid("wait", error.to_string()))?;
        if wait > MAX_WAIT {
            return Err(ApiError::invalid("wait", format!("is longer than {}", format_duration(MAX_WAIT))));
        }
        Ok(Some(wait))
    }
}

/// Parts of the path, decoded.
pub(super) struct Segments<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned + Send> FromRequestParts<Api> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let parsed = axum::extract::Path::<T>::from_request_parts(parts, api).await;
        parsed.map(|path| Self(path.0)).map_err(|error| ApiError::unreadable(error.body_text()))
    }
}

/// A text as one segment of a path.
pub(super) fn encode_segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

//! `GET /api/v1/devices/{device}/trace`: the messages of a device, live, as Server-Sent Events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use crate::gateway::configuration::Role;
use crate::io::http::error::ApiError;
use crate::io::http::guard::Caller;
use crate::io::http::request::{Parameters, Segments};
use crate::io::http::trace::{Heard, Onlooker};
use crate::model::units::parse_duration;

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Somebody who looks on, and where it stands.
struct Reader {
    onlooker: Onlooker,
    endpoint: String,
    until: tokio::time::Instant,
    /// The last thing was told.
    over: bool,
    _place: OwnedSemaphorePermit,
}

#[utoipa::path(get, path = "/api/v1/devices/{device}/trace", operation_id = "trace_device", tag = "events",
    params(("device" = String, Path, description = "Name or endpoint"), ("for" = Option<String>, Query, description = "How long, such as 5m")),
    responses((status = 200, description = "Server-Sent Events until the time is over", body = String, content_type = "text/event-stream")))]
pub(super) async fn follow(
    State(api): State<Api>,
    caller: Caller,
    Segments(device): Segments<String>,
    parameters: Parameters,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    caller.demand(Role::Operator)?;
    let place = api.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::busy("too many event streams are open"))?;
    let mut request = json!({ "device": device });
    if let Some(duration) = parameters.get("for") {
        request["for"] = duration.into();
    }
    // Looks on first, so that no line falls between.
    let onlooker = api.traces.look_on().ok_or_else(|| ApiError::busy("the gateway is stopping"))?;
    let begun = api.bridge("device/trace", request, caller.role()).await?;
    let duration = begun.get("for").and_then(Value::as_str).and_then(|text| parse_duration(text).ok());
    let endpoint = begun.get("endpoint").and_then(Value::as_str).unwrap_or_default().to_owned();
    let until = tokio::time::Instant::now() + duration.unwrap_or_default();
    let reader = Reader { onlooker, endpoint, until, over: false, _place: place };
    let hello = stream::once(async move { event("begin", &begun) });
    let lines = stream::unfold(reader, async |mut reader| {
        let next = reader.next().await?;
        Some((next, reader))
    });
    Ok(Sse::new(hello.chain(lines).map(Ok)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.over {
                return None;
            }
            match tokio::time::timeout_at(self.until, self.onlooker.next()).await {
                Ok(Some(Heard::Line(line))) if line.endpoint.as_str() == self.endpoint => {
                    return Some(event("trace", &line.line));
                }
                Ok(Some(Heard::Line(_))) => {}
                Ok(Some(Heard::Missed(count))) => return Some(event("missed", &json!({ "count": count }))),
                Ok(None) => return None,
                Err(_) => {
                    self.over = true;
                    return Some(event("end", &json!({ "reason": "the time is over" })));
                }
            }
        }
    }
}

fn event(kind: &str, data: &Value) -> Event {
    // JSON holds no line break.
    Event::default().event(kind).data(data.to_string())
}

//! `GET /api/v1/events`: Server-Sent Events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use crate::gateway::vocabulary::{Answer, Query};
use crate::io::http::error::ApiError;
use crate::io::http::events::{Answered, Events, FURTHER_TYPES, Filter, Position, missed};
use crate::io::http::guard::Caller;
use crate::io::http::request::Parameters;
use crate::model::event::EventKind;

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);

/// Where one client stands.
struct Reader {
    events: Events,
    filter: Arc<Filter>,
    position: Position,
    _place: OwnedSemaphorePermit,
}

#[utoipa::path(get, path = "/api/v1/events", operation_id = "follow_events", tag = "events",
    params(("device" = Option<String>, Query), ("type" = Option<String>, Query, description = "Types, separated by commas"), ("Last-Event-ID" = Option<String>, Header, description = "Replays what came behind this event")),
    responses((status = 200, description = "Server-Sent Events without end", body = String, content_type = "text/event-stream")))]
pub(super) async fn follow(
    State(api): State<Api>,
    _caller: Caller,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let filter = Filter { device: device_of(&api, &parameters).await?, types: types_of(&parameters)?, leshan: None };
    let place = api.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::busy("too many event streams are open"))?;
    let filter = Arc::new(filter);
    let position = if let Some(id) = headers.get("last-event-id") {
        api.events.position_of(id.to_str().unwrap_or_default())
    } else {
        // Where the end is now: what comes while the response begins is not lost.
        let now = api.events.next(Position::Now, &filter).await;
        Position::Behind(now.ok_or_else(|| ApiError::busy("the gateway is stopping"))?.position)
    };
    let reader = Reader { events: api.events.clone(), filter, position, _place: place };
    let hello = stream::once(async { Event::default().comment("connected").retry(RETRY) });
    let answers = stream::unfold(reader, async |mut reader| {
        let answered = reader.events.next(reader.position, &reader.filter).await?;
        reader.position = Position::Behind(answered.position);
        let events = shown(&reader.events, &answered);
        Some((stream::iter(events), reader))
    });
    let stream = hello.chain(answers.flatten()).map(Ok);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn shown(events: &Events, answered: &Answered) -> Vec<Event> {
    let mut all = Vec::with_capacity(answered.events.len() + 1);
    if let Some(gap) = answered.gap {
        let message = "what came behind this id is not kept any more; lists tell how things stand";
        all.push(event("missed", &missed(gap.count(), message)));
    }
    for (number, told) in &answered.events {
        all.push(event(told.kind(), &told.data()).id(events.id_of(*number)));
    }
    all
}

fn event(kind: &str, data: &Value) -> Event {
    // JSON holds no line break, and the words of events neither.
    Event::default().event(kind).data(data.to_string())
}

/// `device`: a name or endpoint. One that nobody has yet may come.
async fn device_of(api: &Api, parameters: &Parameters) -> Result<Option<String>, ApiError> {
    let Some(device) = parameters.get("device") else { return Ok(None) };
    let known = api.core.ask(Query::Device { device: device.to_owned() }).await?;
    let endpoint = match &known {
        Answer::Body(record) => record.get("endpoint").and_then(Value::as_str),
        _ => None,
    };
    Ok(Some(endpoint.unwrap_or(device).to_owned()))
}

/// `type`: words, separated by commas or given several times.
fn types_of(parameters: &Parameters) -> Result<Vec<String>, ApiError> {
    let words = parameters.all("type").flat_map(|words| words.split(','));
    let words: Vec<String> = words.map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let is_known =
        |word: &&str| FURTHER_TYPES.contains(word) || EventKind::ALL.iter().any(|kind| kind.as_str() == *word);
    match words.iter().find(|word| !is_known(&word.as_str())) {
        None => Ok(words),
        Some(unknown) => {
            let shown: String = unknown.chars().take(40).collect();
            Err(ApiError::invalid("type", format!("'{shown}' is no type of events")))
        }
    }
}

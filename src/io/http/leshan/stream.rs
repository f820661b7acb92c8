//! `GET /api/event[?ep=..]`: Leshan's event stream. It has no ids and tells nothing twice; a client that is too slow
//! loses events, and is not told.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use crate::io::http::error::ApiError;
use crate::io::http::events::{Events, Filter, Position, StreamEvent};
use crate::io::http::routes::Api;
use crate::model::event::EventKind;
use crate::northbound::leshan::{self, Parameters};

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where one client stands.
struct Reader {
    events: Events,
    filter: Arc<Filter>,
    position: Position,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn follow(api: &Api, parameters: &Parameters) -> Result<Response, ApiError> {
    let place = api.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::busy("too many event streams are open"))?;
    let endpoint = parameters.pairs.iter().find(|(name, _)| name == "ep").and_then(|(_, value)| value.clone());
    let filter = Arc::new(Filter { device: endpoint, leshan: true, ..Filter::default() });
    // Whoever sees the head of the response hears of everything that happens from then on.
    let now = api.events.next(Position::Now, &filter).await;
    let now = now.ok_or_else(|| ApiError::busy("the gateway is stopping"))?;
    let position = Position::Behind(now.position);
    let reader = Reader { events: api.events.clone(), filter, position, _place: place };
    let answers = stream::unfold(reader, async |mut reader| {
        let answered = reader.events.next(reader.position, &reader.filter).await?;
        reader.position = Position::Behind(answered.position);
        let events: Vec<Result<Event, Infallible>> = answered.events.iter().map(|(_, told)| Ok(shown(told))).collect();
        Some((stream::iter(events), reader))
    });
    Ok(Sse::new(answers.flatten()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn shown(told: &StreamEvent) -> Event {
    let event = |name: &str, data: &Value| {
        // JSON holds no line break, and the words of events neither.
        Event::default().event(name).data(data.to_string())
    };
    if let StreamEvent::Bridge(presence) = told
        && let Some(endpoint) = &presence.endpoint
    {
        let told = leshan::Event::presence(presence.kind == EventKind::Awake, endpoint.as_str());
        return event(told.name.as_str(), &told.data);
    }
    event(told.kind(), &told.data())
}

//! `GET /api/event[?ep=..]`: Leshan's event stream. It has no ids and tells nothing twice; a client that is too slow
//! loses events, and is not told.
//!
//! With `ep=` the LwM2M server tells the messages of that device too (`COAPLOG`): the device is traced as long as the
//! stream is open. Tracing has bounds of its own and needs an operator; where it cannot be had, the stream goes without.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::gateway::configuration::Role;
use crate::gateway::vocabulary::{Answer, Query};
use crate::io::http::error::ApiError;
use crate::io::http::events::{Answered, Events, Filter, Position, StreamEvent};
use crate::io::http::guard::Caller;
use crate::io::http::question::Asker;
use crate::io::http::routes::Api;
use crate::io::http::trace::{Heard, Onlooker};
use crate::model::credential::Scope;
use crate::model::event::EventKind;
use crate::northbound::leshan::{self, Parameters};

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a device is traced unless the stream asks again, and when it does.
const TRACE_TIME: &str = "2m";
const TRACE_AGAIN: Duration = Duration::from_secs(90);

/// When a device that could not be traced, such as one that is not known yet, is tried again.
const TRACE_LATER: Duration = Duration::from_secs(10);

/// Where one client stands.
struct Reader {
    events: Events,
    filter: Arc<Filter>,
    position: Position,
    tracing: Option<Tracing>,
    _place: OwnedSemaphorePermit,
}

/// The trace beside the events.
struct Tracing {
    core: Asker,
    role: Role,
    endpoint: String,
    onlooker: Onlooker,
    ask_at: Instant,
}

pub(super) async fn follow(
    api: &Api,
    server: Scope,
    caller: Caller,
    parameters: &Parameters,
) -> Result<Response, ApiError> {
    let place = api.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| ApiError::busy("too many event streams are open"))?;
    let endpoint = parameters.pairs.iter().find(|(name, _)| name == "ep").and_then(|(_, value)| value.clone());
    let mut tracing = match (&endpoint, api.traces.look_on()) {
        (Some(endpoint), Some(onlooker)) if server == Scope::Server && caller.role() >= Role::Operator => {
            let (core, endpoint) = (api.core.clone(), endpoint.clone());
            Some(Tracing { core, role: caller.role(), endpoint, onlooker, ask_at: Instant::now() })
        }
        _ => None,
    };
    let filter = Arc::new(Filter { device: endpoint, leshan: Some(server), ..Filter::default() });
    if let Some(tracing) = &mut tracing {
        tracing.ask().await;
    }
    // Whoever sees the head of the response hears of everything that happens from then on.
    let now = api.events.next(Position::Now, &filter).await;
    let now = now.ok_or_else(|| ApiError::busy("the gateway is stopping"))?;
    let position = Position::Behind(now.position);
    let reader = Reader { events: api.events.clone(), filter, position, tracing, _place: place };
    let told = stream::unfold(reader, async |mut reader| {
        let events = reader.next().await?;
        Some((stream::iter(events.into_iter().map(Ok::<_, Infallible>)), reader))
    });
    Ok(Sse::new(told.flatten()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

impl Reader {
    /// What comes next; `None` when the server stops.
    async fn next(&mut self) -> Option<Vec<Event>> {
        let next = self.events.next(self.position, &self.filter);
        let answered: Answered = match &mut self.tracing {
            None => next.await?,
            // A question to the ring that is given up here is asked again: the position moves with answers alone.
            Some(tracing) => tokio::select! {
                answered = next => answered?,
                line = tracing.next() => return Some(line.into_iter().collect()),
            },
        };
        self.position = Position::Behind(answered.position);
        Some(answered.events.iter().map(|(_, told)| shown(told)).collect())
    }
}

impl Tracing {
    /// The next message of the device; `None` now and then, and when nothing comes any more.
    async fn next(&mut self) -> Option<Event> {
        match tokio::time::timeout_at(self.ask_at, self.onlooker.next()).await {
            Ok(Some(Heard::Line(line))) if line.endpoint.as_str() == self.endpoint => {
                let told = leshan::Event::coap_log(&self.endpoint, &line.line);
                Some(event(told.name.as_str(), &told.data))
            }
            Ok(Some(_)) => None,
            // The gateway stops, and the ring with it.
            Ok(None) => std::future::pending().await,
            Err(_) => {
                self.ask().await;
                None
            }
        }
    }

    /// Has the device traced for a while.
    async fn ask(&mut self) {
        let body = json!({ "device": self.endpoint, "for": TRACE_TIME });
        let asked = self.core.ask(Query::Bridge { what: "device/trace".to_owned(), body, role: self.role }).await;
        let begun = matches!(asked, Ok(Answer::Body(_)));
        self.ask_at = Instant::now() + if begun { TRACE_AGAIN } else { TRACE_LATER };
    }
}

fn shown(told: &StreamEvent) -> Event {
    if let StreamEvent::Bridge(presence) = told
        && let Some(endpoint) = &presence.endpoint
    {
        let told = leshan::Event::presence(presence.kind == EventKind::Awake, endpoint.as_str());
        return event(told.name.as_str(), &told.data);
    }
    event(told.kind(), &told.data())
}

fn event(name: &str, data: &Value) -> Event {
    // JSON holds no line break, and the words of events neither.
    Event::default().event(name).data(data.to_string())
}

//! The event stream: the latest events in a ring, and clients that read along at their own pace.
//!
//! ```text
//! host ──batches──▶ hub: ring ◀──"what is behind this id?"── stream of a client
//!                         └──────────── up to 64 events ─────────▶
//! ```
//!
//! A client has a position in the ring, not a queue: one that is slow costs nothing but its place. Whoever asks for what
//! the ring no longer holds, or for what another run of the gateway numbered, is told so by an event `missed` before the
//! events that are there. The core never waits: batches that find the way full are counted, and told as `missed` too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use crate::model::command::CommandResult;
use crate::model::credential::Scope;
use crate::model::endpoint::Endpoint;
use crate::model::event::{Event, EventKind};
use crate::model::path::Path;
use crate::model::time::WallTime;
use crate::northbound::command_json::result_json;
use crate::northbound::leshan;

/// Events kept for clients that come back.
pub const MAX_EVENTS: usize = 10_000;

/// Bytes of kept events; beyond it the oldest go earlier.
pub const MAX_EVENT_BYTES: usize = 16 << 20;

/// Clients that read along; further ones get 503.
pub const MAX_STREAMS: usize = 64;

/// Batches of events that may wait for the hub; further ones are lost to the streams, and counted.
const QUEUED_BATCHES: usize = 256;

/// How long values are kept for clients after the last one was there: they are most of all events, and cost a gateway
/// that nobody listens to a sixth of its work for each notification.
pub const VALUES_KEPT: Duration = Duration::from_secs(10 * 60);

/// Events handed to a client at once.
const EVENTS_PER_ANSWER: usize = 64;

/// What an event costs beside its texts.
const EVENT_COST: usize = 160;

/// Types of events beside the bridge events.
pub(super) const FURTHER_TYPES: [&str; 4] = ["value", "result", "log", "missed"];

/// Something that streams tell.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamEvent {
    /// A bridge event.
    Bridge(Event),
    /// A value came under a key.
    Value {
        /// The device.
        endpoint: Endpoint,
        /// Where the value came from.
        path: Path,
        /// Its key.
        key: String,
        /// The value.
        value: Value,
        /// Its time.
        ts: WallTime,
    },
    /// A result of a command.
    Result(CommandResult),
    /// An event of the Leshan-compatible stream, which the stream of the own API does not tell.
    Leshan(Box<leshan::Event>),
    /// A line of the log, while somebody asked for them.
    Log(Value),
    /// So many events could not be kept.
    Missed(u64),
}

impl StreamEvent {
    /// The word behind `event:`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Bridge(event) => event.kind.as_str(),
            Self::Value { .. } => "value",
            Self::Result(_) => "result",
            Self::Leshan(event) => event.name.as_str(),
            Self::Log(_) => "log",
            Self::Missed(_) => "missed",
        }
    }

    /// What stands behind `data:`.
    pub(super) fn data(&self) -> Value {
        match self {
            Self::Bridge(event) => event.to_json(),
            Self::Value { endpoint, path, key, value, ts } => json!({
                "endpoint": endpoint.as_str(), "path": path.to_string(), "key": key, "value": value, "ts": ts.millis(),
            }),
            Self::Result(result) => result_json(result),
            Self::Leshan(event) => event.data.clone(),
            Self::Log(line) => line.clone(),
            Self::Missed(count) => missed(Some(*count), "the gateway had more to do than the stream could take"),
        }
    }

    fn concerns(&self, device: &str) -> bool {
        match self {
            Self::Bridge(event) => {
                event.endpoint.as_ref().is_some_and(|endpoint| endpoint.as_str() == device)
                    || event.name.as_deref() == Some(device)
            }
            Self::Value { endpoint, .. } => endpoint.as_str() == device,
            Self::Log(_) => false,
            Self::Result(result) => result.endpoint.as_str() == device,
            Self::Leshan(event) => event.endpoint == device,
            Self::Missed(_) => true,
        }
    }

    /// About how much memory it takes.
    fn weight(&self) -> usize {
        let texts = match self {
            Self::Bridge(event) => event.reason.len(),
            Self::Value { key, value, .. } => key.len() + weight_of(value),
            Self::Result(result) => match &result.outcome {
                crate::model::command::Outcome::Done { answer, .. } => answer.values().map(weight_of).sum(),
                _ => 0,
            },
            Self::Leshan(event) => weight_of(&event.data),
            Self::Log(line) => weight_of(line),
            Self::Missed(_) => 0,
        };
        EVENT_COST + texts
    }
}

fn weight_of(value: &Value) -> usize {
    const NODE_COST: usize = 32;
    NODE_COST
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight_of).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + weight_of(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// The data of an event `missed`. `count` is `None` where nobody knows.
pub(super) fn missed(count: Option<u64>, message: &str) -> Value {
    json!({ "count": count, "message": message })
}

/// The host's end: it never waits.
#[derive(Clone, Debug)]
pub struct EventSender {
    batches: mpsc::Sender<Vec<StreamEvent>>,
    lost: Arc<AtomicU64>,
    values: Arc<ValueGate>,
}

/// Whether values are kept, and how many were not.
#[derive(Debug, Default)]
struct ValueGate {
    open: AtomicBool,
    passed_over: AtomicU64,
}

impl EventSender {
    /// Whether a value is to be handed over. One that is not is counted, and told as `missed` to a client that was
    /// there before.
    pub fn keeps_value(&self) -> bool {
        let open = self.values.open.load(Ordering::Relaxed);
        if !open {
            self.values.passed_over.fetch_add(1, Ordering::Relaxed);
        }
        open
    }

    /// Hands over the events of a turn. `false`: the way is full, and they are lost to the streams.
    #[must_use]
    pub fn send(&self, batch: Vec<StreamEvent>) -> bool {
        let count = batch.len() as u64;
        let sent = self.batches.try_send(batch).is_ok();
        if !sent {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
        sent
    }
}

/// What a client wants to hear.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Endpoint or name.
    pub(super) device: Option<String>,
    /// Types; empty: all.
    pub(super) types: Vec<String>,
    /// For the Leshan-compatible stream of this server, which has events of its own and no types.
    pub(super) leshan: Option<Scope>,
}

impl Filter {
    fn takes(&self, event: &StreamEvent) -> bool {
        if self.leshan.is_some() || matches!(event, StreamEvent::Leshan(_)) {
            return self.leshan.is_some_and(|server| self.takes_for_leshan(server, event));
        }
        matches!(event, StreamEvent::Missed(_))
            || ((self.types.is_empty() || self.types.iter().any(|kind| kind == event.kind()))
                && self.device.as_deref().is_none_or(|device| event.concerns(device)))
    }

    /// Its own events, and those of presence, which are the same.
    fn takes_for_leshan(&self, server: Scope, event: &StreamEvent) -> bool {
        let told = match event {
            StreamEvent::Leshan(event) => event.name.server() == server,
            StreamEvent::Bridge(event) => {
                server == Scope::Server && matches!(event.kind, EventKind::Awake | EventKind::Asleep)
            }
            _ => false,
        };
        told && self.device.as_deref().is_none_or(|device| event.concerns(device))
    }
}

/// Where a client stands: behind the event of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// At the end: answered at once with where that is.
    Now,
    /// Behind an event.
    Behind(u64),
    /// Behind an event of another run, or none that could be: everything there is.
    Unknown,
}

/// How many events are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// So many.
    Known(u64),
    /// Nobody knows.
    Unknown,
}

impl Gap {
    /// The count, where it is known.
    pub(super) const fn count(self) -> Option<u64> {
        match self {
            Self::Known(count) => Some(count),
            Self::Unknown => None,
        }
    }
}

/// What the hub answers.
#[derive(Debug)]
pub(super) struct Answered {
    /// Events with their numbers.
    pub(super) events: Vec<(u64, Arc<StreamEvent>)>,
    /// Where the client stands now.
    pub(super) position: u64,
    /// Set if events before these are gone.
    pub(super) gap: Option<Gap>,
}

struct Ask {
    position: Position,
    filter: Arc<Filter>,
    reply: oneshot::Sender<Answered>,
}

/// The streams' end.
#[derive(Clone)]
pub(super) struct Events {
    asks: mpsc::Sender<Ask>,
    run: Arc<str>,
}

impl Events {
    /// The next events behind a position; waits until there are some. `None`: the server stops.
    pub(super) async fn next(&self, position: Position, filter: &Arc<Filter>) -> Option<Answered> {
        let (reply, answered) = oneshot::channel();
        self.asks.send(Ask { position, filter: filter.clone(), reply }).await.ok()?;
        answered.await.ok()
    }

    /// The id of an event.
    pub(super) fn id_of(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// Where a client stands that saw this id last.
    pub(super) fn position_of(&self, id: &str) -> Position {
        let number = id.strip_prefix(&*self.run).and_then(|rest| rest.strip_prefix('-'));
        number.and_then(|number| number.parse().ok()).map_or(Position::Unknown, Position::Behind)
    }
}

/// The task that holds the ring.
pub(super) struct Hub {
    batches: mpsc::Receiver<Vec<StreamEvent>>,
    lost: Arc<AtomicU64>,
    values: Arc<ValueGate>,
    asks: mpsc::Receiver<Ask>,
    ring: VecDeque<(Arc<StreamEvent>, usize)>,
    bytes: usize,
    /// Number of the first event in the ring; the first of all is 1.
    first: u64,
    waiting: Vec<(Ask, u64)>,
}

/// A hub, the way in and the way out. `run` tells this run of the gateway from others.
pub(super) fn hub(run: &str) -> (EventSender, Events, Hub) {
    let (batches, incoming) = mpsc::channel(QUEUED_BATCHES);
    let (asks, asked) = mpsc::channel(MAX_STREAMS);
    let lost = Arc::new(AtomicU64::new(0));
    let values = Arc::new(ValueGate::default());
    let hub = Hub {
        batches: incoming,
        lost: lost.clone(),
        values: values.clone(),
        asks: asked,
        ring: VecDeque::new(),
        bytes: 0,
        first: 1,
        waiting: Vec::new(),
    };
    (EventSender { batches, lost, values }, Events { asks, run: run.into() }, hub)
}

impl Hub {
    /// Takes events and answers clients until the server stops or every client end is gone.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut host_lives = true;
        let mut quiet_at = tokio::time::Instant::now() + VALUES_KEPT;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(quiet_at) => {
                    self.close_values();
                    quiet_at = tokio::time::Instant::now() + VALUES_KEPT;
                }
                // An error means that the server was dropped, which is a stop as well.
                _ = stopped.wait_for(|stop| *stop) => return,
                batch = self.batches.recv(), if host_lives => match batch {
                    Some(batch) => self.take(batch),
                    None => host_lives = false,
                },
                ask = self.asks.recv() => match ask {
                    Some(ask) => {
                        quiet_at = tokio::time::Instant::now() + VALUES_KEPT;
                        self.open_values();
                        self.answer(ask);
                    }
                    None => return,
                },
            }
        }
    }

    /// A client is there: values are kept from now on.
    fn open_values(&mut self) {
        if self.values.open.swap(true, Ordering::Relaxed) {
            return;
        }
        let passed_over = self.values.passed_over.swap(0, Ordering::Relaxed);
        if passed_over > 0 {
            // For a client that was here before; a new one begins behind it.
            self.take(vec![StreamEvent::Missed(passed_over)]);
        }
    }

    /// Nobody asked for long: unless somebody still waits, values are passed over.
    fn close_values(&mut self) {
        self.waiting.retain(|(waiting, _)| !waiting.reply.is_closed());
        if self.waiting.is_empty() {
            self.values.open.store(false, Ordering::Relaxed);
        }
    }

    /// The number that the next event gets.
    fn next_number(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    fn take(&mut self, batch: Vec<StreamEvent>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let lost = (lost > 0).then_some(StreamEvent::Missed(lost));
        for event in lost.into_iter().chain(batch) {
            let weight = event.weight();
            self.bytes += weight;
            self.ring.push_back((Arc::new(event), weight));
            while self.ring.len() > MAX_EVENTS || (self.bytes > MAX_EVENT_BYTES && self.ring.len() > 1) {
                let Some((_, weight)) = self.ring.pop_front() else { break };
                self.bytes = self.bytes.saturating_sub(weight);
                self.first += 1;
            }
        }
        for (mut ask, position) in std::mem::take(&mut self.waiting) {
            if ask.reply.is_closed() {
                continue;
            }
            ask.position = Position::Behind(position);
            self.answer(ask);
        }
    }

    /// Answers with what is there, or keeps the question until something comes.
    fn answer(&mut self, ask: Ask) {
        let next = self.next_number();
        let (from, gap) = match ask.position {
            Position::Now => (next, None),
            Position::Unknown => (self.first, Some(Gap::Unknown)),
            // A number that was never given is of no run that we know.
            Position::Behind(number) if number >= next => (self.first, Some(Gap::Unknown)),
            Position::Behind(number) if number + 1 < self.first => {
                (self.first, Some(Gap::Known(self.first - number - 1)))
            }
            Position::Behind(number) => (number + 1, None),
        };
        let mut position = from.saturating_sub(1);
        let mut events = Vec::new();
        let skipped = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        for (number, (event, _)) in (from..).zip(self.ring.iter().skip(skipped)) {
            position = number;
            if ask.filter.takes(event) {
                events.push((number, event.clone()));
                if events.len() >= EVENTS_PER_ANSWER {
                    break;
                }
            }
        }
        if events.is_empty() && gap.is_none() && ask.position != Position::Now {
            self.waiting.retain(|(waiting, _)| !waiting.reply.is_closed());
            self.waiting.push((ask, position));
            return;
        }
        // Whoever is gone meanwhile misses nothing.
        let _ = ask.reply.send(Answered { events, position, gap });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(device: &str, number: i64) -> StreamEvent {
        StreamEvent::Value {
            endpoint: Endpoint::new(device).unwrap(),
            path: "/3303/0/5700".parse().unwrap(),
            key: "t".to_owned(),
            value: number.into(),
            ts: WallTime::from_secs(number),
        }
    }

    fn values(count: i64) -> Vec<StreamEvent> {
        (1..=count).map(|number| value("a", number)).collect()
    }

    /// What a client at `position` gets without waiting.
    fn ask(hub: &mut Hub, position: Position, filter: &Filter) -> Option<Answered> {
        let (reply, mut answered) = oneshot::channel();
        hub.answer(Ask { position, filter: Arc::new(filter.clone()), reply });
        answered.try_recv().ok()
    }

    fn numbers(answered: &Answered) -> Vec<u64> {
        answered.events.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn values_are_kept_while_clients_are_there_and_counted_otherwise() {
        let (sender, events, mut hub) = hub("run");
        assert!(!sender.keeps_value() && !sender.keeps_value(), "nobody was ever there");
        hub.open_values();
        assert!(sender.keeps_value());
        let start = ask(&mut hub, Position::Now, &Filter::default()).unwrap();
        assert_eq!(numbers(&start), [0; 0], "what was passed over before a client came is nothing to it");
        // A client that waits keeps them, one that is gone does not.
        let (reply, waits) = oneshot::channel();
        hub.answer(Ask { position: Position::Behind(start.position), filter: Arc::default(), reply });
        hub.close_values();
        assert!(sender.keeps_value());
        drop(waits);
        hub.close_values();
        assert!(!sender.keeps_value() && !sender.keeps_value() && !sender.keeps_value());
        hub.open_values();
        let back = events.position_of(&events.id_of(start.position));
        let answered = ask(&mut hub, back, &Filter::default()).unwrap();
        assert_eq!(*answered.events[0].1, StreamEvent::Missed(3), "one that comes back hears how many");
    }

    #[test]
    fn a_client_that_comes_back_gets_what_it_missed() {
        let (_sender, events, mut hub) = hub("run");
        hub.take(values(5));
        let answered = ask(&mut hub, events.position_of("run-3"), &Filter::default()).unwrap();
        assert_eq!((numbers(&answered), answered.position, answered.gap), (vec![4, 5], 5, None));
        assert!(ask(&mut hub, Position::Behind(5), &Filter::default()).is_none(), "nothing is new");
        let now = ask(&mut hub, Position::Now, &Filter::default()).unwrap();
        assert_eq!((now.events.len(), now.position, now.gap), (0, 5, None), "who begins hears where the end is");
    }

    #[test]
    fn who_waits_hears_of_what_comes() {
        let (_sender, _events, mut hub) = hub("run");
        hub.take(values(2));
        let (reply, mut answered) = oneshot::channel();
        hub.answer(Ask { position: Position::Behind(2), filter: Arc::default(), reply });
        assert!(answered.try_recv().is_err());
        hub.take(values(1));
        assert_eq!(numbers(&answered.try_recv().unwrap()), [3]);
        assert!(hub.waiting.is_empty());
    }

    #[test]
    fn what_is_gone_is_told() {
        let (_sender, events, mut hub) = hub("run");
        hub.take(values(i64::try_from(MAX_EVENTS).unwrap() + 7));
        assert_eq!((hub.ring.len(), hub.first), (MAX_EVENTS, 8));
        let answered = ask(&mut hub, Position::Behind(2), &Filter::default()).unwrap();
        assert_eq!((answered.gap, answered.events[0].0), (Some(Gap::Known(5)), 8));
        assert_eq!(answered.events.len(), EVENTS_PER_ANSWER);
        assert_eq!(ask(&mut hub, Position::Behind(7), &Filter::default()).unwrap().gap, None);
        for id in ["other-3", "run-99999", "run-", "", "run-x"] {
            let answered = ask(&mut hub, events.position_of(id), &Filter::default()).unwrap();
            assert_eq!((answered.gap, answered.events[0].0), (Some(Gap::Unknown), 8), "{id}");
        }
    }

    #[test]
    fn large_events_leave_earlier() {
        let (_sender, _events, mut hub) = hub("run");
        let mut large = value("a", 1);
        if let StreamEvent::Value { value, .. } = &mut large {
            *value = "x".repeat(MAX_EVENT_BYTES / 4).into();
        }
        hub.take(vec![large; 8]);
        assert_eq!(hub.ring.len(), 3);
        assert!(hub.bytes <= MAX_EVENT_BYTES);
    }

    #[test]
    fn a_filter_passes_over_what_it_does_not_take() {
        let (_sender, _events, mut hub) = hub("run");
        hub.take(vec![value("a", 1), value("b", 2), value("a", 3)]);
        let of_b = Filter { device: Some("b".to_owned()), types: vec!["value".to_owned()], leshan: None };
        let answered = ask(&mut hub, Position::Behind(0), &of_b).unwrap();
        assert_eq!((numbers(&answered), answered.position), (vec![2], 3));
        let results = Filter { types: vec!["result".to_owned()], ..Filter::default() };
        assert!(ask(&mut hub, Position::Behind(0), &results).is_none());
    }

    #[test]
    fn what_finds_the_way_full_is_counted_and_told() {
        let (sender, _events, mut hub) = hub("run");
        for _ in 0..QUEUED_BATCHES {
            assert!(sender.send(values(1)));
        }
        assert!(!sender.send(values(3)), "the core does not wait");
        let batch = hub.batches.try_recv().unwrap();
        hub.take(batch);
        let answered = ask(&mut hub, Position::Behind(0), &Filter::default()).unwrap();
        assert_eq!(*answered.events[0].1, StreamEvent::Missed(3));
    }

    #[test]
    fn clients_that_are_gone_do_not_pile_up() {
        let (_sender, _events, mut hub) = hub("run");
        for _ in 0..100 {
            assert!(ask(&mut hub, Position::Behind(0), &Filter::default()).is_none());
        }
        assert_eq!(hub.waiting.len(), 1, "each further one makes room for itself");
    }
}

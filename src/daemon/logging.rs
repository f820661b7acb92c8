//! The log: lines to standard error, filtered by level and target. systemd keeps them; there are no log files.
//!
//! From afar the filter can be changed for a while, and meanwhile the lines go to the sinks too:
//!
//! ```text
//! event ──filter──▶ standard error
//!            └──▶ LogStream ──at most LINES_PER_SECOND──▶ Input::LogLine ──▶ core ──▶ {base}/bridge/log
//! ```
//!
//! What a line causes on its way must not become a line again. So the stream leaves out every target on that way
//! ([`ON_THE_WAY`]), the core logs nothing for a line, lines are never stored, their number a second is bounded, and the
//! stream ends by itself.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{LogFormat, LogSettings};
use crate::gateway::vocabulary::Input;
use crate::io::InputSender;
use crate::io::clock::{RunClock, wall_now};
use crate::model::time::Instant;

/// Libraries that report ordinary events as errors.
const QUIET: [&str; 2] = ["rumqttd=off", "rumqttc=error"];

/// Targets that work while a line is on its way to a broker: their lines stay on this machine.
const ON_THE_WAY: [&str; 8] = [
    "lwm2mqtt::io::mqtt",
    "lwm2mqtt::gateway::delivery",
    "lwm2mqtt::gateway::core",
    "rumqttc",
    "rumqttd",
    "mio",
    "tokio",
    "polling",
];

/// Lines of one second that leave; the rest is counted in the next line that does.
pub const LINES_PER_SECOND: u64 = 50;

/// Longest text of a line or of one of its fields; the rest is cut off.
const MAX_TEXT_BYTES: usize = 2_048;

/// The switch of the log of this process.
#[derive(Clone)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
    configured: String,
    stream: Arc<LogStream>,
}

impl LogControl {
    /// Lines go to this core while they are asked for.
    pub fn connect(&self, inputs: InputSender) {
        if self.stream.inputs.set(inputs).is_err() {
            tracing::warn!("the log is connected to a gateway already");
        }
    }

    /// Filters by `level` and streams the lines for `duration`.
    ///
    /// # Errors
    /// If the level is no filter; nothing changes then.
    pub fn change(&self, level: &str, duration: Duration) -> Result<(), String> {
        let filter = parse(level)?;
        self.filter.reload(filter).map_err(|error| error.to_string())?;
        self.stream.begin(duration);
        Ok(())
    }

    /// Filters as configured, and streams no more.
    pub fn reset(&self) {
        self.stream.end();
        let configured = parse(&self.configured).and_then(|filter| {
            let reloaded = self.filter.reload(filter);
            reloaded.map_err(|error| error.to_string())
        });
        if let Err(error) = configured {
            tracing::error!(error, "the configured level of the log could not be restored");
        }
    }

    /// A switch of no log, for tests of those who have one.
    #[cfg(test)]
    pub(super) fn of_nothing(level: &str) -> Self {
        let (_, filter) = reload::Layer::new(parse(level).unwrap());
        Self { filter, configured: level.to_owned(), stream: Arc::new(LogStream::new()) }
    }

    /// The level that the configuration names.
    pub fn configured(&self) -> &str {
        &self.configured
    }
}

/// Starts logging for this process.
///
/// # Errors
/// If the level is no filter, or logging was started before.
pub fn start(settings: &LogSettings) -> Result<LogControl, String> {
    let filter = parse(&settings.level).map_err(|error| format!("log.level: {error}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let stream = Arc::new(LogStream::new());
    let control = LogControl { filter: handle, configured: settings.level.clone(), stream: Arc::clone(&stream) };
    let registry = tracing_subscriber::registry().with(filter).with(StreamLayer(stream));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
    started.map_err(|error| error.to_string())?;
    Ok(control)
}

fn parse(level: &str) -> Result<EnvFilter, String> {
    let mut filter = EnvFilter::try_new(level).map_err(|error| format!("'{level}' is no filter: {error}"))?;
    for directive in QUIET {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    Ok(filter)
}

/// Lines on their way to the core. Any thread logs, so that everything here is atomic.
struct LogStream {
    inputs: OnceLock<InputSender>,
    clock: RunClock,
    /// Microseconds of the clock until which lines are wanted; 0: not at all.
    until: AtomicU64,
    /// The second that is being counted, and the lines of it.
    second: AtomicU64,
    lines: AtomicU64,
    left_out: AtomicU64,
}

impl LogStream {
    fn new() -> Self {
        Self {
            inputs: OnceLock::new(),
            clock: RunClock::start(),
            until: AtomicU64::new(0),
            second: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    fn begin(&self, duration: Duration) {
        let until = self.now() + duration;
        self.until.store(micros(until).max(1), Ordering::Relaxed);
    }

    fn end(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Whether a line of this target may leave now; counts it.
    fn takes(&self, target: &str, now: Instant) -> bool {
        if self.until.load(Ordering::Relaxed) <= micros(now) || is_on_the_way(target) {
            return false;
        }
        let second = micros(now) / 1_000_000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        if self.lines.fetch_add(1, Ordering::Relaxed) < LINES_PER_SECOND {
            return true;
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn send(&self, line: Json) {
        let Some(inputs) = self.inputs.get() else { return };
        // The core must not be waited for: it may be the one that logs.
        if inputs.try_send(vec![Input::LogLine { line }]).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn micros(instant: Instant) -> u64 {
    u64::try_from(instant.saturating_since(Instant::ZERO).as_micros()).unwrap_or(u64::MAX)
}

fn is_on_the_way(target: &str) -> bool {
    ON_THE_WAY.iter().any(|way| target.strip_prefix(way).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

struct StreamLayer(Arc<LogStream>);

impl<S: Subscriber> Layer<S> for StreamLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        if !self.0.takes(metadata.target(), self.0.now()) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Map::new();
        line.insert("ts".to_owned(), wall_now().millis().into());
        line.insert("level".to_owned(), metadata.level().as_str().to_ascii_lowercase().into());
        line.insert("target".to_owned(), metadata.target().into());
        line.insert("message".to_owned(), fields.message.into());
        if !fields.others.is_empty() {
            line.insert("fields".to_owned(), fields.others.into());
        }
        let left_out = self.0.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            line.insert("left_out".to_owned(), left_out.into());
        }
        self.0.send(line.into());
    }
}

/// Message and fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Json>,
}

impl Fields {
    fn put(&mut self, field: &Field, mut text: String) {
        if text.len() > MAX_TEXT_BYTES {
            let end = (0..=MAX_TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        if field.name() == "message" {
            self.message = text;
        } else {
            self.others.insert(field.name().to_owned(), text.into());
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            self.put(field, text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn lines_leave_only_while_they_are_asked_for() {
        let stream = LogStream::new();
        assert!(!stream.takes("lwm2mqtt::daemon", stream.now()), "nobody asked");
        stream.begin(Duration::from_secs(600));
        assert!(stream.takes("lwm2mqtt::daemon", stream.now()));
        assert!(!stream.takes("lwm2mqtt::daemon", stream.now() + Duration::from_secs(601)), "the time is over");
        stream.end();
        assert!(!stream.takes("lwm2mqtt::daemon", stream.now()));
    }

    #[test]
    fn lines_of_a_second_are_bounded_and_the_rest_is_counted() {
        let stream = LogStream::new();
        stream.until.store(u64::MAX, Ordering::Relaxed);
        let taken = (0..LINES_PER_SECOND + 7).filter(|_| stream.takes("lwm2mqtt", at(3))).count();
        assert_eq!(taken as u64, LINES_PER_SECOND);
        assert_eq!(stream.left_out.load(Ordering::Relaxed), 7);
        assert!(stream.takes("lwm2mqtt", at(4)), "the next second counts anew");
    }

    #[test]
    fn what_delivers_lines_makes_none() {
        let stream = LogStream::new();
        stream.until.store(u64::MAX, Ordering::Relaxed);
        for target in ["lwm2mqtt::io::mqtt::task", "lwm2mqtt::gateway::delivery::sink", "rumqttc::state", "mio::poll"] {
            assert!(!stream.takes(target, at(1)), "{target}");
        }
        for target in ["lwm2mqtt::io::mqtt_like", "lwm2mqtt::gateway::devices", "lwm2mqtt"] {
            assert!(stream.takes(target, at(1)), "{target}");
        }
    }
}

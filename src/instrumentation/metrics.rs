//! Counters and gauges for `/metrics`, in the OpenMetrics text format that Prometheus reads.
//!
//! [`Metrics`] is cheap to clone and its values are atomic, so that machines count without owning it alone. Labels
//! come from fixed sets (and the names of configured sinks), never from what a peer sends: the number of series is
//! bounded.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::model::event::EventKind;

/// Content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An enum whose variants are label values.
macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The label value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                encoder.write_str(self.as_str())
            }
        }
    };
}

/// A set of one label.
macro_rules! label_set {
    ($name:ident { $($field:ident: $kind:ty),+ }) => {
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: $kind),+ }
    };
}

label_values! {
    /// Why a datagram went no further.
    DatagramDrop {
        /// No CoAP message.
        Malformed => "malformed",
        /// Longer than any message taken.
        TooLarge => "too_large",
        /// Came from a port that cannot be answered.
        Unanswerable => "unanswerable",
        /// A queue was full.
        Overload => "overload",
        /// The same message again.
        Duplicate => "duplicate",
        /// An answer that nobody asked for.
        Unexpected => "unexpected",
    }
}

label_values! {
    /// Method of a CoAP request.
    CoapMethod {
        /// 0.01.
        Get => "GET",
        /// 0.02.
        Post => "POST",
        /// 0.03.
        Put => "PUT",
        /// 0.04.
        Delete => "DELETE",
        /// 0.05.
        Fetch => "FETCH",
        /// 0.07.
        Ipatch => "iPATCH",
        /// Any other.
        Other => "other",
    }
}

label_values! {
    /// What became of a registration.
    RegistrationResult {
        /// A device that was not registered.
        New => "new",
        /// A device that was registered replaced its registration.
        Replaced => "replaced",
        /// An update.
        Updated => "updated",
        /// The device said good-bye.
        Deregistered => "deregistered",
        /// The lifetime ended.
        Expired => "expired",
        /// Turned away.
        Refused => "refused",
    }
}

label_values! {
    /// State of a device.
    DeviceStateLabel {
        /// Reachable.
        Online => "online",
        /// In queue mode, beyond its awake window.
        Asleep => "asleep",
        /// Not registered.
        Offline => "offline",
    }
}

label_values! {
    /// What the mapping made of a value.
    SampleResult {
        /// A rule took it.
        Mapped => "mapped",
        /// An `[[ignore]]` rule took it.
        Ignored => "ignored",
        /// No rule took it.
        Unmapped => "unmapped",
        /// A rule fitted and could not use it.
        Failed => "failed",
    }
}

label_values! {
    /// Terminal outcome of a command.
    CommandOutcome {
        /// The device did it.
        Done => "done",
        /// It could not be done.
        Failed => "failed",
        /// Its time ran out before it was sent.
        Expired => "expired",
        /// Withdrawn or replaced.
        Cancelled => "cancelled",
        /// Sent, not answered, not safe to repeat.
        Unknown => "unknown",
    }
}

label_values! {
    /// Why a spool row was dropped.
    SpoolDrop {
        /// The bound in bytes.
        Full => "full",
        /// The bound in age.
        Age => "age",
        /// The broker refuses the message for good.
        Rejected => "rejected",
        /// Longer than the broker takes.
        TooLarge => "too_large",
    }
}

/// A CoAP code as label value: `2.05`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CodeLabel(u8);

impl EncodeLabelValue for CodeLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{}.{:02}", self.0 >> 5, self.0 & 0x1f)
    }
}

label_set!(DropLabels { reason: DatagramDrop });
label_set!(RequestLabels { method: CoapMethod, code: CodeLabel });
label_set!(RegistrationLabels { result: RegistrationResult });
label_set!(StateLabels { state: DeviceStateLabel });
label_set!(SampleLabels { result: SampleResult });
label_set!(FormatLabels { format: &'static str });
label_set!(QuirkLabels { quirk: &'static str });
label_set!(OutcomeLabels { outcome: CommandOutcome });
label_set!(SinkLabels { sink: String });
label_set!(SpoolDropLabels { sink: String, reason: SpoolDrop });
label_set!(EventLabels { kind: &'static str });
label_set!(ReasonLabels { reason: &'static str });
label_set!(BuildLabels { version: &'static str });

/// All metrics of the gateway. Clones count into the same values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Datagrams taken from sockets.
    pub datagrams_received: Counter,
    /// Datagrams handed to sockets.
    pub datagrams_sent: Counter,
    /// Notifications taken.
    pub notifications: Counter,
    /// Confirmable messages sent again.
    pub retransmissions: Counter,
    /// Requests that a device never answered.
    pub exchanges_timed_out: Counter,
    /// Transactions of the store.
    pub store_commits: Counter,
    /// Writes that are not durable yet.
    pub store_pending: Gauge,
    /// Transactions that failed.
    pub store_failures: Counter,
    datagrams_dropped: Family<DropLabels, Counter>,
    coap_requests: Family<RequestLabels, Counter>,
    registrations: Family<RegistrationLabels, Counter>,
    devices: Family<StateLabels, Gauge>,
    samples: Family<SampleLabels, Counter>,
    content_errors: Family<FormatLabels, Counter>,
    quirks: Family<QuirkLabels, Counter>,
    commands: Family<OutcomeLabels, Counter>,
    spool_rows: Family<SinkLabels, Gauge>,
    spool_bytes: Family<SinkLabels, Gauge>,
    spool_dropped: Family<SpoolDropLabels, Counter>,
    delivered: Family<SinkLabels, Counter>,
    mqtt_connected: Family<SinkLabels, Gauge>,
    events: Family<EventLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lwm2mqtt");
        let all = &mut registry;
        let build: Family<BuildLabels, Gauge> = register(all, "build_info", "Version of this program");
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        // The fields are named without the registry first, which must be complete before it is shared.
        let datagrams_received = register(all, "datagrams_received", "Datagrams taken from sockets");
        let datagrams_sent = register(all, "datagrams_sent", "Datagrams handed to sockets");
        let datagrams_dropped = register(all, "datagrams_dropped", "Datagrams that went no further");
        let coap_requests = register(all, "coap_requests", "Requests of devices by method and code of the answer");
        let retransmissions = register(all, "retransmissions", "Confirmable messages sent again");
        let exchanges_timed_out = register(all, "exchanges_timed_out", "Requests that a device never answered");
        let registrations = register(all, "registrations", "Registrations, updates and their ends");
        let devices = register(all, "devices", "Known devices by state");
        let notifications = register(all, "notifications", "Notifications taken");
        let samples = register(all, "samples", "Values by what the mapping made of them");
        let content_errors = register(all, "content_errors", "Payloads that could not be read, by format");
        let quirks = register(all, "quirks", "Deviations from the standard that were tolerated");
        let commands = register(all, "commands", "Commands by terminal outcome");
        let spool_rows = register(all, "spool_rows", "Messages that wait for a sink");
        let spool_bytes = register(all, "spool_bytes", "Bytes of messages that wait for a sink");
        let spool_dropped = register(all, "spool_dropped", "Messages that were dropped by a policy");
        let delivered = register(all, "delivered", "Messages that a sink took responsibility for");
        let store_commits = register(all, "store_commits", "Transactions of the store");
        let store_pending = register(all, "store_pending", "Writes that are not durable yet");
        let store_failures = register(all, "store_failures", "Transactions that failed");
        let mqtt_connected = register(all, "mqtt_connected", "Whether a sink is connected to its broker");
        let events = register(all, "events", "Bridge events by kind");
        let refused = register(all, "refused", "Peers that were turned away");
        let metrics = Self {
            registry: Arc::new(registry),
            datagrams_received,
            datagrams_sent,
            notifications,
            retransmissions,
            exchanges_timed_out,
            store_commits,
            store_pending,
            store_failures,
            datagrams_dropped,
            coap_requests,
            registrations,
            devices,
            samples,
            content_errors,
            quirks,
            commands,
            spool_rows,
            spool_bytes,
            spool_dropped,
            delivered,
            mqtt_connected,
            events,
            refused,
        };
        metrics.show_zeros();
        metrics
    }

    /// Makes series of fixed labels visible before their first event: an alert on a rate needs the zero.
    fn show_zeros(&self) {
        for &reason in DatagramDrop::ALL {
            let _ = self.datagrams_dropped.get_or_create(&DropLabels { reason });
        }
        for &result in RegistrationResult::ALL {
            let _ = self.registrations.get_or_create(&RegistrationLabels { result });
        }
        for &state in DeviceStateLabel::ALL {
            let _ = self.devices.get_or_create(&StateLabels { state });
        }
        for &result in SampleResult::ALL {
            let _ = self.samples.get_or_create(&SampleLabels { result });
        }
        for &outcome in CommandOutcome::ALL {
            let _ = self.commands.get_or_create(&OutcomeLabels { outcome });
        }
    }

    /// A datagram went no further.
    pub fn datagram_dropped(&self, reason: DatagramDrop) {
        self.datagrams_dropped.get_or_create(&DropLabels { reason }).inc();
    }

    /// A request of a device was answered with this code, in the form of the wire (2.05 = 69).
    pub fn coap_request(&self, method: CoapMethod, code: u8) {
        self.coap_requests.get_or_create(&RequestLabels { method, code: CodeLabel(code) }).inc();
    }

    /// Something became of a registration.
    pub fn registration(&self, result: RegistrationResult) {
        self.registrations.get_or_create(&RegistrationLabels { result }).inc();
    }

    /// So many devices are in this state.
    pub fn set_devices(&self, state: DeviceStateLabel, count: usize) {
        self.devices.get_or_create(&StateLabels { state }).set(gauge(count as u64));
    }

    /// The mapping saw a value.
    pub fn sample(&self, result: SampleResult) {
        self.samples.get_or_create(&SampleLabels { result }).inc();
    }

    /// A payload could not be read. `format` is a name of the program, not text of the peer.
    pub fn content_error(&self, format: &'static str) {
        self.content_errors.get_or_create(&FormatLabels { format }).inc();
    }

    /// A deviation was tolerated.
    pub fn quirk(&self, quirk: &'static str) {
        self.quirks.get_or_create(&QuirkLabels { quirk }).inc();
    }

    /// A command ended.
    pub fn command(&self, outcome: CommandOutcome) {
        self.commands.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// So much waits for a sink.
    pub fn set_spool(&self, sink: &str, rows: u64, bytes: u64) {
        self.spool_rows.get_or_create(&sink_labels(sink)).set(gauge(rows));
        self.spool_bytes.get_or_create(&sink_labels(sink)).set(gauge(bytes));
    }

    /// Rows of a spool were dropped.
    pub fn spool_dropped(&self, sink: &str, reason: SpoolDrop, rows: u64) {
        self.spool_dropped.get_or_create(&SpoolDropLabels { sink: sink.to_owned(), reason }).inc_by(rows);
    }

    /// A sink took responsibility for messages.
    pub fn delivered(&self, sink: &str, messages: u64) {
        self.delivered.get_or_create(&sink_labels(sink)).inc_by(messages);
    }

    /// A sink connected or lost its connection.
    pub fn set_mqtt_connected(&self, sink: &str, connected: bool) {
        self.mqtt_connected.get_or_create(&sink_labels(sink)).set(i64::from(connected));
    }

    /// A bridge event happened.
    pub fn event(&self, kind: EventKind) {
        self.events.get_or_create(&EventLabels { kind: kind.as_str() }).inc();
    }

    /// A peer was turned away. `reason` is a word of the program, not text of the peer.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// All values as text, of the type [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut encoded = String::with_capacity(8 << 10);
        // Writing to a string cannot fail, and half a page is better than none.
        let _ = text::encode(&mut encoded, &self.registry);
        encoded
    }
}

fn sink_labels(sink: &str) -> SinkLabels {
    SinkLabels { sink: sink.to_owned() }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_line(metrics: &Metrics, line: &str) {
        let text = metrics.encode();
        assert!(text.lines().any(|candidate| candidate == line), "{line} is not in\n{text}");
    }

    #[test]
    fn what_is_counted_is_shown_with_its_labels() {
        let metrics = Metrics::new();
        let clone = metrics.clone();
        clone.datagrams_received.inc_by(3);
        clone.datagram_dropped(DatagramDrop::Malformed);
        clone.coap_request(CoapMethod::Post, 0x41);
        clone.coap_request(CoapMethod::Post, 0x41);
        clone.set_devices(DeviceStateLabel::Asleep, 7);
        clone.sample(SampleResult::Unmapped);
        clone.set_spool("local", 5, 500);
        clone.spool_dropped("local", SpoolDrop::Age, 4);
        clone.set_mqtt_connected("local", true);
        clone.event(EventKind::Registered);
        clone.store_pending.set(9);
        for line in [
            "lwm2mqtt_datagrams_received_total 3",
            "lwm2mqtt_datagrams_dropped_total{reason=\"malformed\"} 1",
            "lwm2mqtt_coap_requests_total{method=\"POST\",code=\"2.01\"} 2",
            "lwm2mqtt_devices{state=\"asleep\"} 7",
            "lwm2mqtt_samples_total{result=\"unmapped\"} 1",
            "lwm2mqtt_spool_rows{sink=\"local\"} 5",
            "lwm2mqtt_spool_bytes{sink=\"local\"} 500",
            "lwm2mqtt_spool_dropped_total{sink=\"local\",reason=\"age\"} 4",
            "lwm2mqtt_mqtt_connected{sink=\"local\"} 1",
            "lwm2mqtt_events_total{kind=\"registered\"} 1",
            "lwm2mqtt_store_pending 9",
            "# EOF",
        ] {
            assert_line(&metrics, line);
        }
        clone.set_mqtt_connected("local", false);
        assert_line(&metrics, "lwm2mqtt_mqtt_connected{sink=\"local\"} 0");
    }

    #[test]
    fn every_metric_is_prefixed_and_explained() {
        let metrics = Metrics::new();
        metrics.coap_request(CoapMethod::Get, 0x45);
        metrics.content_error("tlv");
        metrics.quirk("old_tlv_number");
        metrics.set_spool("local", 0, 0);
        metrics.spool_dropped("local", SpoolDrop::Full, 1);
        metrics.delivered("local", 1);
        metrics.set_mqtt_connected("local", false);
        metrics.event(EventKind::Quirk);
        metrics.refused("window_closed");
        let text = metrics.encode();
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
        assert!(names.len() >= 23, "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("lwm2mqtt_")), "{names:?}");
    }
}

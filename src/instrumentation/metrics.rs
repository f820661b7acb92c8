//! Counters and gauges for `/metrics`, in the OpenMetrics text format that Prometheus reads.
//!
//! ```text
//! Core::take_occurrences ──▶ Metrics::record      Core::gauges ──▶ Metrics::set_gauges
//!                                  └───────▶ Metrics::encode ◀───────────┘
//! ```
//!
//! [`Metrics`] is cheap to clone and its values are atomic, so that the one who counts and the one who shows need not
//! be the same. Labels are words of the program and names of configured sinks, never what a peer sends: the number of
//! series is bounded. Counting for labels that were seen before allocates nothing.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use super::gauges::Gauges;
use super::occurrence::Occurrence;
use crate::model::event::EventKind;

/// Content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Words whose series are shown before their first occurrence, since an alert on a rate needs the zero.
const SAMPLE_RESULTS: [&str; 4] = ["mapped", "ignored", "unmapped", "failed"];
const COMMAND_STATUSES: [&str; 7] = ["queued", "refused", "done", "failed", "expired", "cancelled", "unknown"];
const INTERFACES: [&str; 5] = ["register", "update", "deregister", "send", "other"];

/// Names of content formats by number. A device may state any number, so the others share one series.
const FORMATS: [(u16, &str); 14] = [
    (0, "text"),
    (40, "link"),
    (42, "opaque"),
    (60, "cbor"),
    (110, "senml-json"),
    (112, "senml-cbor"),
    (320, "senml-etch-json"),
    (322, "senml-etch-cbor"),
    (1541, "text"),
    (1542, "tlv"),
    (1543, "json"),
    (11542, "tlv"),
    (11543, "json"),
    (11544, "lwm2m-cbor"),
];

/// A set of labels.
macro_rules! label_set {
    ($name:ident { $($field:ident: $kind:ty),+ }) => {
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: $kind),+ }
    };
}

label_set!(ReasonLabels { reason: &'static str });
label_set!(RequestLabels { interface: &'static str, code: &'static str });
label_set!(HandshakeLabels { result: &'static str, suite: &'static str });
label_set!(ResultLabels { result: &'static str });
label_set!(FormatLabels { format: &'static str });
label_set!(QuirkLabels { quirk: &'static str });
label_set!(StatusLabels { status: &'static str });
label_set!(StateLabels { state: &'static str });
label_set!(BoundLabels { bound: &'static str });
label_set!(KindLabels { kind: &'static str });
label_set!(VersionLabels { version: &'static str });
label_set!(SinkLabels { sink: SinkLabel });
label_set!(SpoolDropLabels { sink: SinkLabel, reason: &'static str });

/// The name of a sink, shared so that counting copies no text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SinkLabel(Arc<str>);

impl EncodeLabelValue for SinkLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(&self.0)
    }
}

/// All metrics of the gateway. Clones count into the same values.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    datagrams_received: Counter,
    datagrams_sent: Counter,
    datagrams_dropped: Family<ReasonLabels, Counter>,
    hello_verify: Counter,
    handshakes: Family<HandshakeLabels, Counter>,
    handshakes_failed: Family<ReasonLabels, Counter>,
    records_dropped: Family<ReasonLabels, Counter>,
    sessions_moved: Counter,
    sessions_ended: Family<ReasonLabels, Counter>,
    connections_opened: Counter,
    connections_closed: Family<ReasonLabels, Counter>,
    coap_requests: Family<RequestLabels, Counter>,
    duplicates_answered: Counter,
    notifications: Counter,
    notifications_stale: Counter,
    samples: Family<ResultLabels, Counter>,
    content_errors: Family<FormatLabels, Counter>,
    quirks: Family<QuirkLabels, Counter>,
    retransmissions: Counter,
    exchanges_timed_out: Counter,
    commands: Family<StatusLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    inbound_ignored: Family<ReasonLabels, Counter>,
    delivered: Family<SinkLabels, Counter>,
    spool_dropped: Family<SpoolDropLabels, Counter>,
    bounds_reached: Family<BoundLabels, Counter>,
    bootstrap_sessions: Family<ResultLabels, Counter>,
    api_refused: Family<ReasonLabels, Counter>,
    events: Family<KindLabels, Counter>,
    devices: Family<StateLabels, Gauge>,
    connections: Gauge,
    sessions: Gauge,
    handshakes_pending: Gauge,
    bootstrap_sessions_pending: Gauge,
    commands_waiting: Gauge,
    sink_connected: Family<SinkLabels, Gauge>,
    sink_in_flight: Family<SinkLabels, Gauge>,
    spool_rows: Family<SinkLabels, Gauge>,
    spool_bytes: Family<SinkLabels, Gauge>,
    store_pending: Gauge,
    store_pending_bytes: Gauge,
    store_broken: Gauge,
    store_commits: Counter,
    store_failures: Counter,
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
        let build: Family<VersionLabels, Gauge> = register(all, "build_info", "Version of this program");
        build.get_or_create(&VersionLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        let metrics = Self {
            datagrams_received: register(all, "datagrams_received", "Datagrams taken from devices"),
            datagrams_sent: register(all, "datagrams_sent", "Datagrams sent to devices"),
            datagrams_dropped: register(all, "datagrams_dropped", "Datagrams that went no further"),
            hello_verify: register(all, "dtls_hello_verify", "ClientHellos that were asked for a cookie"),
            handshakes: register(all, "dtls_handshakes", "DTLS handshakes that ended in a session"),
            handshakes_failed: register(
                all,
                "dtls_handshakes_failed",
                "Handshakes of DTLS, and of CoAP over TLS, that failed",
            ),
            records_dropped: register(all, "dtls_records_dropped", "DTLS records that went no further"),
            sessions_moved: register(all, "dtls_sessions_moved", "DTLS sessions that went on from another address"),
            sessions_ended: register(all, "dtls_sessions_ended", "DTLS sessions that ended"),
            connections_opened: register(all, "connections_opened", "Connections of devices over TCP that were taken"),
            connections_closed: register(all, "connections_closed", "Connections of devices over TCP that ended"),
            coap_requests: register(all, "coap_requests", "Requests of devices by interface and class of the answer"),
            duplicates_answered: register(all, "duplicates_answered", "Repeated requests answered from memory"),
            notifications: register(all, "notifications", "Notifications taken"),
            notifications_stale: register(all, "notifications_stale", "Notifications that came late and were left out"),
            samples: register(all, "samples", "Values by what the mapping made of them"),
            content_errors: register(all, "content_errors", "Payloads that could not be read, by format"),
            quirks: register(all, "quirks", "Deviations from the standard that were tolerated"),
            retransmissions: register(all, "retransmissions", "Requests to devices that were repeated"),
            exchanges_timed_out: register(all, "exchanges_timed_out", "Requests to devices that were given up"),
            commands: register(all, "commands", "Commands that reached a status"),
            refused: register(all, "refused", "Peers that were turned away"),
            inbound_ignored: register(all, "inbound_ignored", "Messages of brokers that could not be used"),
            delivered: register(all, "delivered", "Messages that a sink took responsibility for"),
            spool_dropped: register(all, "spool_dropped", "Messages that were dropped by a policy"),
            bounds_reached: register(all, "bounds_reached", "Times that something full gave way"),
            bootstrap_sessions: register(all, "bootstrap_sessions", "Bootstrap sessions that ended"),
            api_refused: register(all, "api_refused", "Requests to the HTTP API that were turned away"),
            events: register(all, "events", "Bridge events by kind"),
            devices: register(all, "devices", "Known devices by state"),
            sessions: register(all, "dtls_sessions", "DTLS sessions"),
            handshakes_pending: register(all, "dtls_handshakes_pending", "DTLS handshakes under way"),
            bootstrap_sessions_pending: register(
                all,
                "bootstrap_sessions_pending",
                "Bootstrap sessions under way, those that wait for approval among them",
            ),
            connections: register(all, "connections", "Connections of devices over TCP"),
            commands_waiting: register(all, "commands_waiting", "Commands that wait for their device"),
            sink_connected: register(all, "sink_connected", "Whether a sink is connected"),
            sink_in_flight: register(all, "sink_in_flight", "Messages that a sink has not acknowledged yet"),
            spool_rows: register(all, "spool_rows", "Messages that wait for a sink"),
            spool_bytes: register(all, "spool_bytes", "Bytes of messages that wait for a sink"),
            store_pending: register(all, "store_pending", "Writes that are not durable yet"),
            store_pending_bytes: register(all, "store_pending_bytes", "Bytes of writes that are not durable yet"),
            store_broken: register(all, "store_broken", "Whether the store cannot be written"),
            store_commits: register(all, "store_commits", "Transactions of the store that became durable"),
            store_failures: register(all, "store_failures", "Transactions of the store that failed"),
            registry: Arc::new(registry),
        };
        metrics.show_zeros();
        metrics
    }

    fn show_zeros(&self) {
        for result in SAMPLE_RESULTS {
            let _ = self.samples.get_or_create(&ResultLabels { result });
        }
        for status in COMMAND_STATUSES {
            let _ = self.commands.get_or_create(&StatusLabels { status });
        }
        for interface in INTERFACES {
            for class in [2, 4, 5] {
                let _ = self.coap_requests.get_or_create(&RequestLabels { interface, code: class_word(class) });
            }
        }
    }

    /// Counts an occurrence. `sinks` are the names of the configured sinks, in their order.
    pub fn record(&self, occurrence: &Occurrence, sinks: &[Arc<str>]) {
        match *occurrence {
            Occurrence::DatagramReceived => drop(self.datagrams_received.inc()),
            Occurrence::DatagramSent => drop(self.datagrams_sent.inc()),
            Occurrence::DatagramDropped(reason) => {
                self.datagrams_dropped.get_or_create(&ReasonLabels { reason }).inc();
            }
            Occurrence::HelloVerify => drop(self.hello_verify.inc()),
            Occurrence::Handshake(result, suite) => {
                self.handshakes.get_or_create(&HandshakeLabels { result, suite }).inc();
            }
            Occurrence::HandshakeFailed(reason) => {
                self.handshakes_failed.get_or_create(&ReasonLabels { reason }).inc();
            }
            Occurrence::RecordDropped(reason) => {
                self.records_dropped.get_or_create(&ReasonLabels { reason }).inc();
            }
            Occurrence::SessionMoved => drop(self.sessions_moved.inc()),
            Occurrence::SessionEnded(reason) => {
                self.sessions_ended.get_or_create(&ReasonLabels { reason }).inc();
            }
            Occurrence::ConnectionOpened => drop(self.connections_opened.inc()),
            Occurrence::ConnectionClosed(reason) => {
                self.connections_closed.get_or_create(&ReasonLabels { reason }).inc();
            }
            Occurrence::Request(interface, class) => {
                self.coap_requests.get_or_create(&RequestLabels { interface, code: class_word(class) }).inc();
            }
            Occurrence::DuplicateAnswered => drop(self.duplicates_answered.inc()),
            Occurrence::Notification => drop(self.notifications.inc()),
            Occurrence::StaleNotification => drop(self.notifications_stale.inc()),
            Occurrence::Sample(result) => drop(self.samples.get_or_create(&ResultLabels { result }).inc()),
            Occurrence::ContentError(number) => {
                self.content_errors.get_or_create(&FormatLabels { format: format_word(number) }).inc();
            }
            Occurrence::Quirk(quirk) => drop(self.quirks.get_or_create(&QuirkLabels { quirk }).inc()),
            Occurrence::Retransmission => drop(self.retransmissions.inc()),
            Occurrence::ExchangeTimedOut => drop(self.exchanges_timed_out.inc()),
            Occurrence::Command(status) => drop(self.commands.get_or_create(&StatusLabels { status }).inc()),
            Occurrence::Refused(reason) => drop(self.refused.get_or_create(&ReasonLabels { reason }).inc()),
            Occurrence::InboundIgnored(reason) => {
                self.inbound_ignored.get_or_create(&ReasonLabels { reason }).inc();
            }
            Occurrence::Delivered(sink, messages) => {
                self.delivered.get_or_create(&SinkLabels { sink: sink_label(sinks, sink) }).inc_by(messages);
            }
            Occurrence::SpoolDropped(sink, reason, messages) => {
                let sink = sink_label(sinks, sink);
                self.spool_dropped.get_or_create(&SpoolDropLabels { sink, reason }).inc_by(messages);
            }
            Occurrence::BoundReached(bound) => {
                self.bounds_reached.get_or_create(&BoundLabels { bound }).inc();
            }
            Occurrence::BootstrapEnded(result) => {
                self.bootstrap_sessions.get_or_create(&ResultLabels { result }).inc();
            }
            Occurrence::ApiRefused(reason) => drop(self.api_refused.get_or_create(&ReasonLabels { reason }).inc()),
        }
    }

    /// Counts a bridge event.
    pub fn event(&self, kind: EventKind) {
        self.events.get_or_create(&KindLabels { kind: kind.as_str() }).inc();
    }

    /// Sets the numbers of the moment.
    pub fn set_gauges(&self, gauges: &Gauges) {
        let states =
            [("online", gauges.devices_online), ("asleep", gauges.devices_asleep), ("offline", gauges.devices_offline)];
        for (state, count) in states {
            self.devices.get_or_create(&StateLabels { state }).set(shown(count));
        }
        for sink in &gauges.sinks {
            let labels = SinkLabels { sink: SinkLabel(sink.name.clone()) };
            self.sink_connected.get_or_create(&labels).set(i64::from(sink.connected));
            self.sink_in_flight.get_or_create(&labels).set(shown(sink.in_flight));
            self.spool_rows.get_or_create(&labels).set(shown(sink.rows));
            self.spool_bytes.get_or_create(&labels).set(shown(sink.bytes));
        }
        self.connections.set(shown(gauges.connections));
        self.sessions.set(shown(gauges.sessions));
        self.handshakes_pending.set(shown(gauges.handshakes));
        self.bootstrap_sessions_pending.set(shown(gauges.bootstrap_sessions));
        self.commands_waiting.set(shown(gauges.waiting_commands));
        self.store_pending.set(shown(gauges.pending_writes));
        self.store_pending_bytes.set(shown(gauges.pending_write_bytes));
        self.store_broken.set(i64::from(gauges.store_broken));
    }

    /// Sets the store's own counts, which only rise.
    pub fn set_store(&self, commits: u64, failures: u64) {
        self.store_commits.inc_by(commits.saturating_sub(self.store_commits.get()));
        self.store_failures.inc_by(failures.saturating_sub(self.store_failures.get()));
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

fn sink_label(sinks: &[Arc<str>], position: usize) -> SinkLabel {
    SinkLabel(sinks.get(position).cloned().unwrap_or_else(|| Arc::from("unknown")))
}

const fn class_word(class: u8) -> &'static str {
    match class {
        2 => "2.xx",
        4 => "4.xx",
        5 => "5.xx",
        _ => "other",
    }
}

fn format_word(number: u16) -> &'static str {
    FORMATS.iter().find(|(known, _)| *known == number).map_or("other", |(_, word)| *word)
}

fn shown(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::gauges::SinkGauges;
    use super::*;

    #[track_caller]
    fn assert_line(metrics: &Metrics, line: &str) {
        let text = metrics.encode();
        assert!(text.lines().any(|candidate| candidate == line), "{line} is not in\n{text}");
    }

    /// The occurrence of the variant behind, with the line that shows it. A new variant must be put in here.
    fn successor(of: Option<Occurrence>) -> Option<(Occurrence, &'static str)> {
        use Occurrence as O;
        Some(match of {
            None => (O::DatagramReceived, "lwm2mqtt_datagrams_received_total 1"),
            Some(O::DatagramReceived) => (O::DatagramSent, "lwm2mqtt_datagrams_sent_total 1"),
            Some(O::DatagramSent) => {
                (O::DatagramDropped("malformed"), "lwm2mqtt_datagrams_dropped_total{reason=\"malformed\"} 1")
            }
            Some(O::DatagramDropped(_)) => (O::ConnectionOpened, "lwm2mqtt_connections_opened_total 1"),
            Some(O::ConnectionOpened) => {
                (O::ConnectionClosed("silent"), "lwm2mqtt_connections_closed_total{reason=\"silent\"} 1")
            }
            Some(O::ConnectionClosed(_)) => {
                (O::Request("send", 4), "lwm2mqtt_coap_requests_total{interface=\"send\",code=\"4.xx\"} 1")
            }
            Some(O::Request(..)) => (O::DuplicateAnswered, "lwm2mqtt_duplicates_answered_total 1"),
            Some(O::DuplicateAnswered) => (O::Notification, "lwm2mqtt_notifications_total 1"),
            Some(O::Notification) => (O::StaleNotification, "lwm2mqtt_notifications_stale_total 1"),
            Some(O::StaleNotification) => (O::Sample("unmapped"), "lwm2mqtt_samples_total{result=\"unmapped\"} 1"),
            Some(O::Sample(_)) => (O::ContentError(1542), "lwm2mqtt_content_errors_total{format=\"tlv\"} 1"),
            Some(O::ContentError(_)) => (O::Quirk("bent"), "lwm2mqtt_quirks_total{quirk=\"bent\"} 1"),
            Some(O::Quirk(_)) => (O::Retransmission, "lwm2mqtt_retransmissions_total 1"),
            Some(O::Retransmission) => (O::ExchangeTimedOut, "lwm2mqtt_exchanges_timed_out_total 1"),
            Some(O::ExchangeTimedOut) => (O::Command("done"), "lwm2mqtt_commands_total{status=\"done\"} 1"),
            Some(O::Command(_)) => (O::Refused("closed"), "lwm2mqtt_refused_total{reason=\"closed\"} 1"),
            Some(O::Refused(_)) => {
                (O::InboundIgnored("unknown_topic"), "lwm2mqtt_inbound_ignored_total{reason=\"unknown_topic\"} 1")
            }
            Some(O::InboundIgnored(_)) => (O::Delivered(1, 7), "lwm2mqtt_delivered_total{sink=\"cloud\"} 7"),
            Some(O::Delivered(..)) => {
                (O::SpoolDropped(0, "age", 4), "lwm2mqtt_spool_dropped_total{sink=\"local\",reason=\"age\"} 4")
            }
            Some(O::SpoolDropped(..)) => {
                (O::BoundReached("max_refused"), "lwm2mqtt_bounds_reached_total{bound=\"max_refused\"} 1")
            }
            Some(O::BoundReached(_)) => {
                (O::ApiRefused("no_token"), "lwm2mqtt_api_refused_total{reason=\"no_token\"} 1")
            }
            Some(O::ApiRefused(_)) => {
                (O::BootstrapEnded("done"), "lwm2mqtt_bootstrap_sessions_total{result=\"done\"} 1")
            }
            Some(O::BootstrapEnded(_)) => (O::HelloVerify, "lwm2mqtt_dtls_hello_verify_total 1"),
            Some(O::HelloVerify) => (
                O::Handshake("full", "TLS_PSK_WITH_AES_128_CCM_8"),
                "lwm2mqtt_dtls_handshakes_total{result=\"full\",suite=\"TLS_PSK_WITH_AES_128_CCM_8\"} 1",
            ),
            Some(O::Handshake(..)) => {
                (O::HandshakeFailed("wrong_key"), "lwm2mqtt_dtls_handshakes_failed_total{reason=\"wrong_key\"} 1")
            }
            Some(O::HandshakeFailed(_)) => {
                (O::RecordDropped("replayed"), "lwm2mqtt_dtls_records_dropped_total{reason=\"replayed\"} 1")
            }
            Some(O::RecordDropped(_)) => (O::SessionMoved, "lwm2mqtt_dtls_sessions_moved_total 1"),
            Some(O::SessionMoved) => {
                (O::SessionEnded("unused"), "lwm2mqtt_dtls_sessions_ended_total{reason=\"unused\"} 1")
            }
            Some(O::SessionEnded(_)) => return None,
        })
    }

    #[test]
    fn every_occurrence_lands_in_a_metric() {
        let metrics = Metrics::new();
        let sinks = ["local".into(), "cloud".into()];
        let mut last = None;
        while let Some((occurrence, line)) = successor(last) {
            assert!(!metrics.encode().lines().any(|candidate| candidate == line), "{line} before {occurrence:?}");
            metrics.clone().record(&occurrence, &sinks);
            assert_line(&metrics, line);
            last = Some(occurrence);
        }
    }

    #[test]
    fn gauges_show_the_moment() {
        let metrics = Metrics::new();
        let sink = SinkGauges { name: "local".into(), connected: true, rows: 5, bytes: 500, in_flight: 2 };
        let mut gauges = Gauges {
            devices_online: 3,
            devices_asleep: 7,
            devices_offline: 1,
            connections: 4,
            sessions: 12,
            handshakes: 13,
            bootstrap_sessions: 14,
            sinks: vec![sink],
            pending_writes: 9,
            pending_write_bytes: 900,
            waiting_commands: 6,
            store_broken: true,
        };
        metrics.set_gauges(&gauges);
        for line in [
            "lwm2mqtt_devices{state=\"online\"} 3",
            "lwm2mqtt_devices{state=\"asleep\"} 7",
            "lwm2mqtt_devices{state=\"offline\"} 1",
            "lwm2mqtt_dtls_sessions 12",
            "lwm2mqtt_dtls_handshakes_pending 13",
            "lwm2mqtt_bootstrap_sessions_pending 14",
            "lwm2mqtt_sink_connected{sink=\"local\"} 1",
            "lwm2mqtt_sink_in_flight{sink=\"local\"} 2",
            "lwm2mqtt_spool_rows{sink=\"local\"} 5",
            "lwm2mqtt_spool_bytes{sink=\"local\"} 500",
            "lwm2mqtt_connections 4",
            "lwm2mqtt_store_pending 9",
            "lwm2mqtt_store_pending_bytes 900",
            "lwm2mqtt_store_broken 1",
            "lwm2mqtt_commands_waiting 6",
            "# EOF",
        ] {
            assert_line(&metrics, line);
        }
        gauges.sinks[0].connected = false;
        gauges.sinks[0].rows = u64::MAX;
        metrics.set_gauges(&gauges);
        assert_line(&metrics, "lwm2mqtt_sink_connected{sink=\"local\"} 0");
        assert_line(&metrics, &format!("lwm2mqtt_spool_rows{{sink=\"local\"}} {}", i64::MAX));
    }

    #[test]
    fn numbers_that_devices_choose_make_no_series_of_their_own() {
        let metrics = Metrics::new();
        for number in 60_000..60_500 {
            metrics.record(&Occurrence::ContentError(number), &[]);
        }
        for class in 0..=u8::MAX {
            metrics.record(&Occurrence::Request("other", class), &[]);
        }
        assert_line(&metrics, "lwm2mqtt_content_errors_total{format=\"other\"} 500");
        assert_line(&metrics, "lwm2mqtt_coap_requests_total{interface=\"other\",code=\"other\"} 253");
        metrics.record(&Occurrence::Delivered(9, 1), &[]);
        assert_line(&metrics, "lwm2mqtt_delivered_total{sink=\"unknown\"} 1");
    }

    #[test]
    fn every_metric_is_prefixed_and_explained() {
        let metrics = Metrics::new();
        metrics.event(EventKind::Registered);
        assert_line(&metrics, "lwm2mqtt_events_total{kind=\"registered\"} 1");
        let mut last = None;
        while let Some((occurrence, _)) = successor(last) {
            metrics.record(&occurrence, &["local".into()]);
            last = Some(occurrence);
        }
        let text = metrics.encode();
        let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
        assert!(names.iter().all(|name| name.starts_with("lwm2mqtt_") && name.contains(' ')), "{names:?}");
        let count = names.len();
        names.dedup();
        assert!(count >= 21 && names.len() == count, "{names:?}");
    }

    #[test]
    fn zeros_are_shown_where_rates_are_watched() {
        let metrics = Metrics::new();
        assert_line(&metrics, "lwm2mqtt_samples_total{result=\"failed\"} 0");
        assert_line(&metrics, "lwm2mqtt_commands_total{status=\"unknown\"} 0");
        assert_line(&metrics, "lwm2mqtt_coap_requests_total{interface=\"register\",code=\"2.xx\"} 0");
    }
}

//! The MQTT adapter against a real broker. The tests play the core: they send again what was not acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use lwm2mqtt::gateway::vocabulary::{DeliveryId, Input, ReceiptId, SinkIndex, SinkInput};
use lwm2mqtt::io::mqtt::{BrokerAddress, MqttConfiguration, MqttHandle, MqttOrder, ProtocolVersion, build};
use lwm2mqtt::model::message::{Message, QualityOfService};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::harness::Mosquitto;

const PATIENCE: Duration = Duration::from_secs(40);

const BOTH: [ProtocolVersion; 2] = [ProtocolVersion::V4, ProtocolVersion::V5];

/// A running sink with the core's end of its channels.
struct Sink {
    handle: MqttHandle,
    inputs: mpsc::Receiver<Vec<Input>>,
    waiting: VecDeque<SinkInput>,
    task: JoinHandle<()>,
}

impl Sink {
    fn start(configuration: MqttConfiguration) -> Self {
        let (sender, inputs) = mpsc::channel(1_024);
        let (handle, sink) = build(configuration, sender).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test is the daemon")]
        let task = tokio::spawn(sink.run());
        Self { handle, inputs, waiting: VecDeque::new(), task }
    }

    async fn next(&mut self) -> SinkInput {
        loop {
            if let Some(input) = self.waiting.pop_front() {
                return input;
            }
            let batch = tokio::time::timeout(PATIENCE, self.inputs.recv()).await.expect("the sink is silent");
            self.waiting.extend(batch.expect("the sink is gone").into_iter().map(|input| match input {
                Input::Sink { sink: SinkIndex(0), input } => input,
                other => panic!("unexpected {other:?}"),
            }));
        }
    }

    /// The receive maximum.
    async fn connected(&mut self) -> usize {
        loop {
            if let SinkInput::Connected { receive_maximum, .. } = self.next().await {
                return receive_maximum;
            }
        }
    }

    /// Receipt and payload of the next message.
    async fn inbound(&mut self) -> (ReceiptId, String) {
        loop {
            if let SinkInput::Inbound { receipt, payload, .. } = self.next().await {
                return (receipt, String::from_utf8(payload.to_vec()).unwrap());
            }
        }
    }

    fn publish(&self, delivery: u64, message: Message) {
        self.handle.order(MqttOrder::Publish { delivery: DeliveryId(delivery), message }).unwrap();
    }

    /// Waits for room: a test acknowledges faster than the task, which shares its thread, can take.
    async fn acknowledge(&self, receipt: ReceiptId) {
        let mut order = MqttOrder::AcknowledgeInbound { receipt };
        while let Err(refused) = self.handle.order(order) {
            order = refused;
            tokio::task::yield_now().await;
        }
    }

    async fn shut_down(mut self) {
        self.handle.order(MqttOrder::Shutdown { within: PATIENCE }).unwrap();
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the sink does not end").unwrap();
    }

    async fn abort(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn configuration(broker: &Mosquitto, client_id: &str, protocol: ProtocolVersion) -> MqttConfiguration {
    let address = BrokerAddress::parse(&format!("mqtt://127.0.0.1:{}", broker.port())).unwrap();
    MqttConfiguration { protocol, ..MqttConfiguration::new(SinkIndex(0), "test", address, client_id) }
}

fn subscriber(broker: &Mosquitto, client_id: &str, protocol: ProtocolVersion, filter: &str) -> MqttConfiguration {
    MqttConfiguration { subscriptions: vec![filter.to_owned()], ..configuration(broker, client_id, protocol) }
}

fn message(topic: &str, payload: impl Into<Bytes>) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: payload.into(),
        qos: QualityOfService::AtLeastOnce,
        retain: false,
        correlation: None,
    }
}

/// What the core does with a spool: a cursor, deliveries in flight, back to the first unacknowledged row after a loss.
struct Spool {
    rows: u64,
    next: u64,
    open: BTreeMap<DeliveryId, u64>,
    deliveries: u64,
    acknowledged: BTreeSet<u64>,
    connected: bool,
}

impl Spool {
    fn of(rows: u64) -> Self {
        Self { rows, next: 0, open: BTreeMap::new(), deliveries: 0, acknowledged: BTreeSet::new(), connected: false }
    }

    fn first_unacknowledged(&self) -> u64 {
        (0..self.rows).find(|row| !self.acknowledged.contains(row)).unwrap_or(self.rows)
    }

    fn handle(&mut self, input: SinkInput) {
        match input {
            SinkInput::Connected { .. } => self.connected = true,
            SinkInput::Disconnected { .. } => {
                self.connected = false;
                self.open.clear();
                self.next = self.first_unacknowledged();
            }
            SinkInput::Acknowledged { delivery } => {
                if let Some(row) = self.open.remove(&delivery) {
                    self.acknowledged.insert(row);
                }
            }
            SinkInput::Rejected { reason, .. } => panic!("rejected: {reason}"),
            SinkInput::Inbound { .. } => {}
        }
    }

    fn send(&mut self, sink: &Sink) {
        while self.connected && self.open.len() < 256 && self.next < self.rows {
            if !self.acknowledged.contains(&self.next) {
                self.deliveries += 1;
                self.open.insert(DeliveryId(self.deliveries), self.next);
                sink.publish(self.deliveries, message("t/row", self.next.to_string()));
            }
            self.next += 1;
        }
    }

    async fn run_until_acknowledged(&mut self, sink: &mut Sink, count: usize) {
        while self.acknowledged.len() < count {
            self.send(sink);
            let input = sink.next().await;
            self.handle(input);
        }
    }
}

#[tokio::test]
async fn broker_killed_under_load_loses_no_message_that_the_core_still_holds() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start();
        let mut receiver = Sink::start(subscriber(&broker, "receiver", protocol, "t/#"));
        receiver.connected().await;
        let mut sender = Sink::start(configuration(&broker, "sender", protocol));
        let mut spool = Spool::of(6_000);
        for acknowledged in [1_500, 3_000] {
            spool.run_until_acknowledged(&mut sender, acknowledged).await;
            broker.kill_nine();
            while spool.connected {
                let input = sender.next().await;
                spool.handle(input);
            }
            broker.restart();
            // Only what is sent once the receiver is back can be checked there.
            receiver.connected().await;
        }
        let first = spool.first_unacknowledged();
        assert!((3_000..6_000).contains(&first), "{first}");
        spool.run_until_acknowledged(&mut sender, 6_000).await;
        let mut missing: BTreeSet<u64> = (first..6_000).collect();
        while !missing.is_empty() {
            let (receipt, payload) = receiver.inbound().await;
            receiver.acknowledge(receipt).await;
            missing.remove(&payload.parse().unwrap());
        }
        sender.shut_down().await;
        receiver.shut_down().await;
    }
}

#[tokio::test]
async fn subscriptions_come_back_after_a_restart_of_the_broker() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start();
        let mut sink = Sink::start(subscriber(&broker, "both", protocol, "command/+"));
        sink.connected().await;
        for round in 0..3 {
            sink.publish(round, message("command/x", format!("round {round}")));
            let (receipt, payload) = sink.inbound().await;
            assert_eq!(payload, format!("round {round}"));
            sink.acknowledge(receipt).await;
            broker.kill_nine();
            broker.restart();
            loop {
                if let SinkInput::Disconnected { reason } = sink.next().await {
                    assert!(!reason.is_empty());
                    break;
                }
            }
            sink.connected().await;
        }
    }
}

#[tokio::test]
async fn unacknowledged_message_comes_again_and_acknowledged_one_does_not() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let commands = || subscriber(&broker, "gateway", protocol, "command");
        let mut other = Sink::start(configuration(&broker, "other", protocol));
        other.connected().await;
        let mut first = Sink::start(commands());
        first.connected().await;
        other.publish(1, message("command", "one"));
        assert_eq!(first.inbound().await.1, "one");
        first.abort().await;

        let mut second = Sink::start(commands());
        let (receipt, payload) = second.inbound().await;
        assert_eq!(payload, "one");
        second.acknowledge(receipt).await;
        second.shut_down().await;

        let mut third = Sink::start(commands());
        third.connected().await;
        other.publish(2, message("command", "two"));
        assert_eq!(third.inbound().await.1, "two");
    }
}

#[tokio::test]
async fn answers_carry_response_topic_and_correlation_of_mqtt_5() {
    let broker = Mosquitto::start();
    let mut sink = Sink::start(subscriber(&broker, "gateway", ProtocolVersion::V5, "command"));
    sink.connected().await;
    let mut options = rumqttc::v5::MqttOptions::new("caller", "127.0.0.1", broker.port());
    options.set_keep_alive(Duration::from_secs(5));
    let (caller, mut events) = rumqttc::v5::AsyncClient::new(options, 10);
    caller.try_subscribe("answers/7", rumqttc::v5::mqttbytes::QoS::AtLeastOnce).unwrap();
    let properties = rumqttc::v5::mqttbytes::v5::PublishProperties {
        response_topic: Some("answers/7".to_owned()),
        correlation_data: Some(Bytes::from_static(b"id-7")),
        ..Default::default()
    };
    let question = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
    caller.try_publish_with_properties("command", question, false, "read", properties).unwrap();
    let answer = async {
        loop {
            if let rumqttc::v5::Event::Incoming(rumqttc::v5::Incoming::Publish(publish)) = events.poll().await.unwrap()
            {
                return publish;
            }
        }
    };
    let gateway = async {
        loop {
            if let SinkInput::Inbound { topic, response_topic, correlation, retain, .. } = sink.next().await {
                assert_eq!((topic.as_str(), retain), ("command", false));
                sink.publish(1, Message { correlation, ..message(&response_topic.unwrap(), "42") });
                return;
            }
        }
    };
    let both = async { tokio::join!(answer, gateway) };
    let (answer, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(answer.payload, "42");
    assert_eq!(answer.properties.unwrap().correlation_data.unwrap(), "id-7");
}

#[tokio::test]
async fn message_published_as_retained_says_so_at_once_where_mqtt_5_was_asked_for_that() {
    let broker = Mosquitto::start();
    let asked = subscriber(&broker, "gateway", ProtocolVersion::V5, "command");
    let subscriptions = vec!["command".to_owned(), "info".to_owned()];
    let mut sink = Sink::start(MqttConfiguration { subscriptions, retain_told: vec!["command".to_owned()], ..asked });
    sink.connected().await;
    for (delivery, topic) in [(1, "command"), (2, "info")] {
        sink.publish(delivery, Message { retain: true, ..message(topic, "x") });
    }
    let mut told = BTreeMap::new();
    while told.len() < 2 {
        if let SinkInput::Inbound { topic, retain, .. } = sink.next().await {
            told.insert(topic, retain);
        }
    }
    assert_eq!(told, BTreeMap::from([("command".to_owned(), true), ("info".to_owned(), false)]));
}

#[tokio::test]
async fn messages_that_cannot_be_sent_are_rejected_and_the_next_one_goes() {
    for protocol in BOTH {
        let broker = Mosquitto::start_configured("message_size_limit 2000", &[]);
        let small = MqttConfiguration { max_packet_bytes: 4_000, ..configuration(&broker, "gateway", protocol) };
        let mut sink = Sink::start(small);
        sink.connected().await;
        sink.publish(1, message("t", vec![0; 4_000]));
        sink.publish(2, message("a/+/b", "x"));
        sink.publish(3, message("", "x"));
        sink.publish(4, Message { qos: QualityOfService::AtMostOnce, ..message("t", "x") });
        sink.publish(5, message("t", "x"));
        let mut answers = BTreeMap::new();
        while answers.len() < 5 {
            match sink.next().await {
                SinkInput::Rejected { delivery, reason } => answers.insert(delivery.0, reason),
                SinkInput::Acknowledged { delivery } => answers.insert(delivery.0, "acknowledged".to_owned()),
                other => panic!("unexpected {other:?}"),
            };
        }
        assert!(answers[&1].contains("bytes") && answers[&2].contains("topic") && answers[&3].contains("topic"));
        assert_eq!((answers[&4].as_str(), answers[&5].as_str()), ("acknowledged", "acknowledged"));
    }
}

#[tokio::test]
async fn message_that_the_broker_does_not_authorize_is_rejected_with_its_reason() {
    let acl = ("acl", &b"topic write allowed/#\n"[..]);
    let broker = Mosquitto::start_configured("acl_file {dir}/acl", &[acl]);
    let mut sink = Sink::start(configuration(&broker, "gateway", ProtocolVersion::V5));
    sink.connected().await;
    sink.publish(1, message("secret/a", "x"));
    sink.publish(2, message("allowed/a", "x"));
    let first = sink.next().await;
    assert!(
        matches!(&first, SinkInput::Rejected { delivery: DeliveryId(1), reason } if reason.contains("NotAuthorized")),
        "{first:?}"
    );
    // Some brokers hang up after a refusal; then the core sends again what was not refused.
    let mut delivery = 2;
    loop {
        match sink.next().await {
            SinkInput::Acknowledged { delivery: acknowledged } => {
                assert_eq!(acknowledged.0, delivery);
                return;
            }
            SinkInput::Connected { .. } => {
                delivery += 1;
                sink.publish(delivery, message("allowed/a", "x"));
            }
            SinkInput::Disconnected { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn message_too_large_to_be_taken_does_not_come_back_for_ever() {
    let broker = Mosquitto::start();
    // MQTT 3.1.1 cannot tell the broker about the bound.
    let bounded =
        MqttConfiguration { max_packet_bytes: 1_000, ..subscriber(&broker, "gateway", ProtocolVersion::V4, "command") };
    let mut sink = Sink::start(bounded);
    let mut other = Sink::start(configuration(&broker, "other", ProtocolVersion::V4));
    sink.connected().await;
    other.connected().await;
    other.publish(1, message("command", vec![b'x'; 50_000]));
    other.publish(2, message("command", "small"));
    assert_eq!(sink.inbound().await.1, "small");
    assert_eq!(sink.handle.counters().dropped.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn will_is_published_after_a_crash_and_not_after_a_shutdown() {
    for protocol in BOTH {
        let broker = Mosquitto::start();
        let mut watcher = Sink::start(subscriber(&broker, "watcher", protocol, "state"));
        watcher.connected().await;
        let mortal = || MqttConfiguration {
            will: Some(message("state", "will")),
            ..configuration(&broker, "gateway", protocol)
        };
        let mut sink = Sink::start(mortal());
        sink.connected().await;
        // The last word is ordered before the shutdown and reaches the broker first.
        sink.publish(1, message("state", "offline"));
        sink.shut_down().await;
        assert_eq!(watcher.inbound().await.1, "offline");
        let mut sink = Sink::start(mortal());
        sink.connected().await;
        sink.publish(1, message("state", "online"));
        assert_eq!(watcher.inbound().await.1, "online");
        sink.abort().await;
        assert_eq!(watcher.inbound().await.1, "will");
    }
}

#[tokio::test]
async fn receive_maximum_of_the_broker_bounds_what_is_in_flight() {
    let broker = Mosquitto::start_configured("max_inflight_messages 5", &[]);
    let mut sink = Sink::start(configuration(&broker, "gateway", ProtocolVersion::V5));
    assert_eq!(sink.connected().await, 4);
    let mut spool = Spool::of(500);
    spool.connected = true;
    spool.run_until_acknowledged(&mut sink, 500).await;
    assert_eq!(sink.handle.counters().failures.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn repeated_failure_is_told_once() {
    let mut broker = Mosquitto::start();
    broker.kill_nine();
    let mut sink = Sink::start(configuration(&broker, "gateway", ProtocolVersion::V5));
    let first = sink.next().await;
    assert!(matches!(&first, SinkInput::Disconnected { reason } if reason.contains("refused")), "{first:?}");
    while sink.handle.counters().failures.load(std::sync::atomic::Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
        tokio::time::timeout(Duration::from_millis(20), sink.inputs.recv()).await.expect_err("told again");
    }
    // A shutdown ends a sink that is not connected without waiting.
    sink.shut_down().await;
}

#[cfg(feature = "embedded-broker")]
#[tokio::test]
async fn embedded_broker_serves_a_sink() {
    let broker = lwm2mqtt::io::broker::start("127.0.0.1:0".parse().unwrap(), None, &BTreeMap::new()).unwrap();
    let address = BrokerAddress { host: "127.0.0.1".to_owned(), port: broker.address().port(), tls: false };
    let sink = |client_id: &str, filters: &[&str]| {
        Sink::start(MqttConfiguration {
            protocol: ProtocolVersion::V4,
            subscriptions: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            will: Some(message("state", "will")),
            ..MqttConfiguration::new(SinkIndex(0), "test", address.clone(), client_id)
        })
    };
    let mut receiver = sink("receiver", &["t/#", "state"]);
    receiver.connected().await;
    let mut sender = sink("sender", &[]);
    let mut spool = Spool::of(2_000);
    spool.run_until_acknowledged(&mut sender, 2_000).await;
    let mut missing: BTreeSet<u64> = (0..2_000).collect();
    while !missing.is_empty() {
        let (receipt, payload) = receiver.inbound().await;
        receiver.acknowledge(receipt).await;
        missing.remove(&payload.parse().unwrap());
    }
    sender.publish(9_000, message("state", "offline"));
    sender.shut_down().await;
    assert_eq!(receiver.inbound().await.1, "offline");
    let mut sender = sink("sender", &[]);
    sender.connected().await;
    sender.publish(9_001, message("state", "online"));
    assert_eq!(receiver.inbound().await.1, "online");
    sender.abort().await;
    assert_eq!(receiver.inbound().await.1, "will");
}

mod tls {
    use lwm2mqtt::io::mqtt::MqttConfiguration;
    use openssl::asn1::Asn1Time;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::{PKey, Private};
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use openssl::x509::{X509, X509NameBuilder};

    use super::*;

    struct Identity {
        certificate: X509,
        key: PKey<Private>,
        /// The key as `openssl ecparam -genkey` writes it.
        sec1: Vec<u8>,
    }

    fn identity(name: &str, issuer: Option<&Identity>) -> Identity {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let ec_key = EcKey::generate(&group).unwrap();
        let sec1 = ec_key.private_key_to_pem().unwrap();
        let key = PKey::from_ec_key(ec_key).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(u32::try_from(name.len()).unwrap()).unwrap().to_asn1_integer().unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(issuer.map_or(&subject, |issuer| issuer.certificate.subject_name())).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        if issuer.is_none() {
            builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        } else {
            let names =
                SubjectAlternativeName::new().dns("localhost").build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(names).unwrap();
        }
        builder.sign(issuer.map_or(&key, |issuer| &issuer.key), MessageDigest::sha256()).unwrap();
        Identity { certificate: builder.build(), key, sec1 }
    }

    #[tokio::test]
    async fn broker_and_gateway_show_certificates_to_each_other() {
        let authority = identity("authority", None);
        let stranger = identity("stranger!", None);
        let server = identity("server", Some(&authority));
        let client = identity("gateway-1", Some(&authority));
        let pem = |certificate: &X509| certificate.to_pem().unwrap();
        let broker = Mosquitto::start_configured(
            "cafile {dir}/ca\ncertfile {dir}/cert\nkeyfile {dir}/key\nrequire_certificate true",
            &[
                ("ca", &pem(&authority.certificate)),
                ("cert", &pem(&server.certificate)),
                ("key", &server.key.private_key_to_pem_pkcs8().unwrap()),
            ],
        );
        let configuration = |protocol, ca: &X509| MqttConfiguration {
            address: BrokerAddress { host: "localhost".to_owned(), port: broker.port(), tls: true },
            ca: Some(pem(ca)),
            certificate: Some(pem(&client.certificate)),
            private_key: Some(client.sec1.clone()),
            ..configuration(&broker, "gateway", protocol)
        };
        for protocol in BOTH {
            let mut sink = Sink::start(configuration(protocol, &authority.certificate));
            sink.connected().await;
            sink.publish(1, message("t", "x"));
            assert!(matches!(sink.next().await, SinkInput::Acknowledged { delivery: DeliveryId(1) }));
            sink.shut_down().await;

            let mut sink = Sink::start(configuration(protocol, &stranger.certificate));
            let refusal = sink.next().await;
            assert!(
                matches!(&refusal, SinkInput::Disconnected { reason } if reason.contains("certificate")),
                "{refusal:?}"
            );
        }
    }
}

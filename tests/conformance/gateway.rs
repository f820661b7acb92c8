//! A gateway whose host is the test: raw datagrams go in, everything that leaves is kept to be looked at.
//!
//! The store confirms and the broker acknowledges at once, unless the test holds them back. Time passes only by
//! [`Gateway::pass`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lwm2mqtt::gateway::configuration::Configuration;
use lwm2mqtt::gateway::core::{Core, Start};
use lwm2mqtt::gateway::store::StoredState;
use lwm2mqtt::gateway::vocabulary::{Answer, DeliveryId, Input, Output, Peer, Query, ReceiptId, RequestId};
use lwm2mqtt::gateway::vocabulary::{ConnectionId, SinkIndex, SinkInput, StreamOrder};
use lwm2mqtt::instrumentation::gauges::Gauges;
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::mapping::{MappingFile, Plan};
use lwm2mqtt::model::credential::{Proof, SecretBytes};
use lwm2mqtt::model::credential_wish::{CredentialWish, Means};
use lwm2mqtt::model::endpoint::Endpoint;
use lwm2mqtt::model::object::ObjectModel;
use lwm2mqtt::model::time::Instant;
use lwm2mqtt::protocol::coap::block::Block;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::simulator::store::SimulatedStore;
use lwm2mqtt::simulator::world::{WORLD_BEGINS, WorldScript};
use serde_json::Value as Json;

/// Observes every temperature.
pub(crate) const OBSERVE_TEMPERATURES: &str = "version = 1\n[[telemetry]]\npath = \"/3303/*/5700\"\n\
                                               key = \"t_{instance}\"\nobserve = {}\n";

/// The query of a Register that nothing is wrong with.
pub(crate) const GOOD_QUERY: &str = "ep=dev&lt=300&lwm2m=1.1&b=U";

const SINK: SinkIndex = SinkIndex(0);

/// A core and its host.
pub(crate) struct Gateway {
    core: Core,
    model: Arc<ObjectModel>,
    now: Instant,
    store: SimulatedStore,
    /// Whether the store keeps what it gets to itself.
    pub(crate) store_holds: bool,
    /// Whether the broker takes messages without acknowledging them.
    pub(crate) broker_holds: bool,
    deliveries: VecDeque<DeliveryId>,
    next_receipt: u64,
    /// Receipts of messages from the cloud that the gateway acknowledged.
    pub(crate) receipts: usize,
    /// Messages to devices that no test has looked at.
    pub(crate) sent: VecDeque<(Instant, Peer, Message)>,
    /// What connections were ordered and no test has looked at.
    pub(crate) orders: VecDeque<(ConnectionId, StreamOrder)>,
    /// Messages to the broker.
    pub(crate) published: Vec<(String, Json)>,
    /// Everything counted.
    pub(crate) occurrences: Vec<Occurrence>,
    /// Pages of the spool that were read back.
    pub(crate) spool_reads: usize,
    answers: Vec<Answer>,
    /// What left for the Leshan-compatible event stream.
    pub(crate) streamed: Vec<Output>,
    /// What the bootstrap server asked for.
    pub(crate) bootstrap_orders: Vec<Output>,
    /// What the handshakes were ordered.
    pub(crate) handshake_orders: Vec<Output>,
}

impl Gateway {
    /// A connected gateway without any mapping: it asks nothing of devices by itself.
    pub(crate) fn new() -> Self {
        Self::with("version = 1\n", |_| {})
    }

    /// A connected gateway with one mapping file and a changed configuration.
    pub(crate) fn with(mapping: &str, change: impl FnOnce(&mut Configuration)) -> Self {
        let mut configuration = WorldScript::new(1).configuration;
        change(&mut configuration);
        let model = Arc::new(ObjectModel::built_in());
        let start = Start {
            configuration,
            model: model.clone(),
            plan: plan(mapping, &model),
            stored: StoredState::default(),
            seed: [7; 32],
            wall: WORLD_BEGINS,
            synced: true,
            version: "0".to_owned(),
            store_damage: None,
        };
        let mut gateway = Self {
            core: Core::new(Instant::ZERO, start),
            model,
            now: Instant::ZERO,
            store: SimulatedStore::new(Duration::ZERO),
            store_holds: false,
            broker_holds: false,
            deliveries: VecDeque::new(),
            next_receipt: 0,
            receipts: 0,
            sent: VecDeque::new(),
            orders: VecDeque::new(),
            published: Vec::new(),
            occurrences: Vec::new(),
            spool_reads: 0,
            answers: Vec::new(),
            streamed: Vec::new(),
            bootstrap_orders: Vec::new(),
            handshake_orders: Vec::new(),
        };
        gateway.drain();
        gateway.connect();
        gateway
    }

    /// Time of the gateway.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The broker becomes reachable.
    pub(crate) fn connect(&mut self) {
        let input = SinkInput::Connected { max_packet_bytes: 1 << 20, receive_maximum: 1_000 };
        self.input(Input::Sink { sink: SINK, input });
    }

    /// The broker goes away.
    pub(crate) fn disconnect(&mut self) {
        self.deliveries.clear();
        self.input(Input::Sink { sink: SINK, input: SinkInput::Disconnected { reason: "away".into() } });
    }

    /// Another mapping file takes the place of the first.
    pub(crate) fn load(&mut self, mapping: &str) {
        let plan = plan(mapping, &self.model);
        self.input(Input::Plan { plan });
    }

    /// Gives the core one input and does everything that it asks for.
    pub(crate) fn input(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
        self.drain();
    }

    /// Bytes arrive from a peer.
    pub(crate) fn receive_bytes(&mut self, peer: Peer, bytes: &[u8]) {
        self.input(Input::Datagram { peer, bytes: bytes.to_vec() });
    }

    /// A message arrives from a peer.
    pub(crate) fn receive(&mut self, peer: Peer, message: &Message) {
        self.receive_bytes(peer, &message.encode());
    }

    /// A message arrives from a peer; the one message that answers it.
    pub(crate) fn ask(&mut self, peer: Peer, message: &Message) -> Message {
        assert!(self.sent.is_empty(), "not looked at: {:?}", self.sent);
        self.receive(peer, message);
        let answer = self.next_sent().expect("an answer");
        assert_eq!(answer.token, message.token);
        answer
    }

    /// The next message to a device.
    pub(crate) fn next_sent(&mut self) -> Option<Message> {
        self.sent.pop_front().map(|(_, _, message)| message)
    }

    /// Registers a device with these objects; its location id. What the gateway then asks is in [`Gateway::sent`].
    pub(crate) fn register(&mut self, peer: Peer, query: &str, objects: &str) -> String {
        let answer = self.ask(peer, &registration(query, objects));
        assert_eq!(answer.code, Code::CREATED, "{query}");
        let location: Vec<&[u8]> = answer.option_values(OptionNumber::LOCATION_PATH).collect();
        assert_eq!(location.len(), 2);
        assert_eq!(location[0], b"rd");
        String::from_utf8(location[1].to_vec()).unwrap()
    }

    /// Registers a device with a temperature and takes the attributes that its observation gets; the Observe.
    pub(crate) fn register_for_observe(&mut self, peer: Peer, query: &str) -> Message {
        self.register(peer, query, "</3303/0>");
        self.next_observe(peer)
    }

    /// Lets the device take the attributes that come next; the Observe behind them.
    pub(crate) fn next_observe(&mut self, peer: Peer) -> Message {
        let attributes = self.next_sent().expect("Write-Attributes");
        assert_eq!((attributes.code, attributes.payload.len()), (Code::PUT, 0));
        self.receive(peer, &answer(&attributes, Code::CHANGED));
        let observe = self.next_sent().expect("an Observe");
        assert_eq!((observe.code, observe.observe()), (Code::GET, Some(0)));
        observe
    }

    /// Time passes, with everything that falls due in it.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.core.next_deadline() <= end {
            self.now = self.now.max(self.core.next_deadline());
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// When something falls due next.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.core.next_deadline()
    }

    /// The store confirms everything that it holds, and holds nothing back any more.
    pub(crate) fn confirm(&mut self) {
        self.store_holds = false;
        self.commit();
    }

    /// The broker acknowledges the oldest messages, as many as it holds now.
    pub(crate) fn acknowledge(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some(delivery) = self.deliveries.pop_front() else { return };
            self.input(Input::Sink { sink: SINK, input: SinkInput::Acknowledged { delivery } });
        }
    }

    /// Messages that the broker has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.deliveries.len()
    }

    /// The cloud publishes below the base topic.
    pub(crate) fn downlink(&mut self, leaf: &str, body: &Json) {
        let receipt = ReceiptId(self.next_receipt);
        self.next_receipt += 1;
        let input = SinkInput::Inbound {
            receipt,
            topic: format!("lwm2m/{leaf}"),
            payload: body.to_string().into(),
            retain: false,
            response_topic: None,
            correlation: None,
        };
        self.input(Input::Sink { sink: SINK, input });
    }

    /// Asks the gateway.
    pub(crate) fn query(&mut self, query: Query) -> Json {
        self.input(Input::Request { request: RequestId(0), query });
        match self.answers.pop() {
            Some(Answer::Body(body)) => body,
            other => panic!("{other:?}"),
        }
    }

    /// Gives an endpoint a pre-shared key, in hex, with its name as identity.
    pub(crate) fn put_psk(&mut self, endpoint: &str, key: &str) {
        let key = SecretBytes::new(&data_encoding::HEXLOWER.decode(key.as_bytes()).unwrap());
        let proof = Proof::Psk { identity: endpoint.as_bytes().into(), key };
        let wish = CredentialWish::new(Endpoint::new(endpoint).unwrap(), Means::Proof(proof));
        self.query(Query::PutCredential(Box::new(wish)));
    }

    /// Asks the gateway, and gives everything that is answered at once.
    pub(crate) fn answers_to(&mut self, query: Query) -> Vec<Answer> {
        self.answers.clear();
        self.input(Input::Request { request: RequestId(0), query });
        self.take_answers()
    }

    /// What was answered since the last look.
    pub(crate) fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// The numbers of the moment.
    pub(crate) fn gauges(&self) -> Gauges {
        self.core.gauges()
    }

    /// Bodies that left on a topic below the base.
    pub(crate) fn bodies(&self, leaf: &str) -> Vec<&Json> {
        let topic = format!("lwm2m/{leaf}");
        self.published.iter().filter(|(on, _)| *on == topic).map(|(_, body)| body).collect()
    }

    /// The result of a command.
    pub(crate) fn result(&self, endpoint: &str, id: &str) -> Option<&Json> {
        self.bodies(&format!("{endpoint}/response")).into_iter().rfind(|body| body["id"] == id)
    }

    /// Values of a key, in the order in which they left.
    pub(crate) fn values(&self, endpoint: &str, key: &str) -> Vec<f64> {
        let bodies = self.bodies(&format!("{endpoint}/telemetry"));
        bodies.into_iter().filter_map(|body| body["values"][key].as_f64()).collect()
    }

    /// How often something was counted.
    pub(crate) fn count(&self, occurrence: Occurrence) -> usize {
        self.occurrences.iter().filter(|counted| **counted == occurrence).count()
    }

    fn commit(&mut self) {
        if let Some(up_to) = self.store.commit(self.now) {
            self.input(Input::Durable { up_to });
        }
    }

    fn drain(&mut self) {
        let mut follow_up = Vec::new();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Transmit { peer, bytes } => {
                    let message = Message::decode(&bytes).expect("what the gateway sends is CoAP");
                    self.sent.push_back((self.now, peer, message));
                }
                Output::Stream { connection, order } => self.orders.push_back((connection, order)),
                Output::Store(batch) => self.store.submit(self.now, batch),
                Output::ReadSpool { sink, after, max_rows } => {
                    self.spool_reads += 1;
                    let rows = self.store.read_spool("local", after, max_rows);
                    follow_up.push(Input::SpoolRows { sink, rows });
                }
                Output::ReadRetained { sink, after, max_rows } => {
                    let rows = self.store.read_retained("local", after.as_deref(), max_rows);
                    follow_up.push(Input::RetainedRows { sink, rows });
                }
                Output::Publish { delivery, message, .. } => {
                    let body = serde_json::from_slice(&message.payload).unwrap_or(Json::Null);
                    self.published.push((message.topic, body));
                    self.deliveries.push_back(delivery);
                }
                Output::AcknowledgeInbound { .. } => self.receipts += 1,
                Output::Answer { answer, .. } => self.answers.push(answer),
                Output::Samples { .. } | Output::Registration { .. } => self.streamed.push(output),
                Output::Bootstrap(_) => self.bootstrap_orders.push(output),
                Output::Handshake(_) => self.handshake_orders.push(output),
                Output::Event(_)
                | Output::Reload
                | Output::Value { .. }
                | Output::Result(_)
                | Output::Trace { .. }
                | Output::Log { .. }
                | Output::BootstrapNews(_)
                | Output::Shell { .. } => {}
            }
        }
        self.occurrences.extend(self.core.take_occurrences());
        for input in follow_up {
            self.input(input);
        }
        if !self.store_holds {
            self.commit();
        }
        if !self.broker_holds {
            self.acknowledge(self.deliveries.len());
        }
    }
}

fn plan(mapping: &str, model: &ObjectModel) -> Arc<Plan> {
    let file = MappingFile { name: "test.toml".to_owned(), text: mapping.to_owned() };
    let compiled = Plan::compile(&[file], model, false);
    compiled.plan.map_or_else(|| panic!("{:?}", compiled.problems), Arc::new)
}

/// Device number `number`.
pub(crate) fn peer(number: u16) -> Peer {
    let [high, low] = number.to_be_bytes();
    Peer { listener: 0, remote: SocketAddr::from(([10, 1, high, low], 40_000)), local: None, session: None }
}

/// A confirmable request with a token of its own; `target` is `path?query&query` without a leading slash.
pub(crate) fn request(code: Code, id: u16, target: &str) -> Message {
    let token = Token::new(&[0xaa, id.to_be_bytes()[0], id.to_be_bytes()[1]]).unwrap();
    let mut message = Message::new(MessageType::Confirmable, code, id, token);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        message.push_option(OptionNumber::URI_PATH, segment);
    }
    for argument in query.split('&').filter(|argument| !argument.is_empty()) {
        message.push_option(OptionNumber::URI_QUERY, argument);
    }
    message
}

/// A Register with message id 1 and an object list.
pub(crate) fn registration(query: &str, objects: &str) -> Message {
    let mut message = request(Code::POST, 1, &format!("rd?{query}"));
    message.push_uint(OptionNumber::CONTENT_FORMAT, 40);
    message.payload = objects.as_bytes().to_vec();
    message
}

/// The same message without confirmation, under another id.
pub(crate) fn non_confirmable(mut message: Message, id: u16) -> Message {
    message.message_type = MessageType::NonConfirmable;
    message.id = id;
    message
}

/// The piggybacked answer to a request of the gateway.
pub(crate) fn answer(request: &Message, code: Code) -> Message {
    Message::new(MessageType::Acknowledgement, code, request.id, request.token)
}

/// The same with a text.
pub(crate) fn text_answer(request: &Message, text: &str) -> Message {
    let mut message = answer(request, Code::CONTENT);
    message.push_uint(OptionNumber::CONTENT_FORMAT, 0);
    message.payload = text.as_bytes().to_vec();
    message
}

/// The same with a text and an Observe option: the observation is made.
pub(crate) fn observed(request: &Message, sequence: u32, text: &str) -> Message {
    let mut message = text_answer(request, text);
    message.push_uint(OptionNumber::OBSERVE, sequence);
    message
}

/// A confirmable message of a device under the token of a request.
pub(crate) fn confirmable(request: &Message, id: u16, code: Code, text: &str) -> Message {
    let mut message = Message::new(MessageType::Confirmable, code, id, request.token);
    if !text.is_empty() {
        message.push_uint(OptionNumber::CONTENT_FORMAT, 0);
        message.payload = text.as_bytes().to_vec();
    }
    message
}

/// A confirmable notification.
pub(crate) fn notification(request: &Message, id: u16, sequence: u32, text: &str) -> Message {
    let mut message = confirmable(request, id, Code::CONTENT, text);
    message.push_uint(OptionNumber::OBSERVE, sequence);
    message
}

/// Adds a block option.
pub(crate) fn with_block(mut message: Message, option: OptionNumber, number: u32, more: bool, size: usize) -> Message {
    let size_exponent = u8::try_from(size.ilog2() - 4).unwrap();
    message.push_option(option, Block { number, more, size_exponent }.encode());
    message
}

/// Number, continuation and size of a block option.
pub(crate) fn block(message: &Message, option: OptionNumber) -> Option<(u32, bool, usize)> {
    message.block(option).unwrap().map(|block| (block.number, block.more, block.size()))
}

/// What a request of the gateway asks for, as a path.
pub(crate) fn target(message: &Message) -> String {
    message.uri_path().iter().fold(String::new(), |path, segment| path + "/" + segment)
}

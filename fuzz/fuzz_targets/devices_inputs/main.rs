//! The whole core among hostile devices, brokers and clocks: no panic, no endless work, bounds kept, only sound messages
//! leave, and what waits for a sink gets there once the world is well again, also after power cuts. Some devices are in
//! DTLS sessions, whose datagrams are lost, doubled, damaged and sent from elsewhere, and whose handshakes may tell
//! anything.
#![no_main]

mod choices;
mod sessions;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lwm2mqtt::gateway::configuration::{
    Configuration, Limits, Lwm2mConfiguration, Role, SinkConfiguration, Transport, UnknownDevices, WhenFull,
};
use lwm2mqtt::gateway::core::{Core, Start};
use lwm2mqtt::gateway::handshakes::HandshakeInput;
use lwm2mqtt::gateway::query::Query;
use lwm2mqtt::gateway::vocabulary::{DeliveryId, Input, Output, Peer, ReceiptId, RequestId, SinkIndex, SinkInput};
use lwm2mqtt::mapping::{MappingFile, Plan};
use lwm2mqtt::model::credential::Scope;
use lwm2mqtt::model::object::ObjectModel;
use lwm2mqtt::model::time::{Instant, WallTime};
use lwm2mqtt::northbound::topic::is_publishable;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::dtls::record::split_first;
use lwm2mqtt::simulator::dtls::client::DtlsClient;
use lwm2mqtt::simulator::dtls::handshakes::SimulatedHandshakes;
use lwm2mqtt::simulator::store::SimulatedStore;
use lwm2mqtt_fuzz::choices::Choices;

use choices::{BINDINGS, BODIES, CODES, FORMATS, LIFETIMES, OBJECTS, TOPICS, VERSIONS, payload};
use sessions::{client, credential, secure_peer};

/// Steps taken of one input.
const MAX_STEPS: usize = 256;
/// Outputs that one input of the core may cause, with what the host answers at once.
const MAX_OUTPUTS: usize = 10_000;
/// Deadlines served while time passes; the rest of a long time is skipped.
const MAX_DEADLINES: usize = 1_000;
/// Times that the core may be due again without time passing.
const MAX_REPEATS: usize = 100;
/// Requests of the gateway that a device may still answer.
const MAX_REMEMBERED: usize = 16;
/// The listener for DTLS.
const DTLS: u16 = 1;
/// Devices on DTLS.
const CLIENTS: u8 = 4;
/// What handshakes have told and the core has not heard.
const MAX_TOLD: usize = 32;
/// DTLS sessions that the core keeps.
const MAX_SESSIONS: usize = 3;
/// DTLS handshakes at a time.
const MAX_HANDSHAKES: usize = 2;
/// Messages that the broker takes before it acknowledges one.
const RECEIVE_MAXIMUM: usize = 3;

const MAPPING: &str = r#"
version = 1
[defaults]
observe_strategy = "auto"
[[telemetry]]
path = "/3303/*/5700"
key = "t_{instance}"
report = { on_change_or_every = "10s" }
[[telemetry]]
path = "/3304/*/5700"
key = "h_{instance}"
observe = false
read = { every = "1m" }
[[telemetry]]
path = "/19/0/0"
key = "frame"
decode = "cbor"
[[ignore]]
path = "/3315"
[[desired]]
key = "setpoint"
path = "/3308/0/5900"
min = 5
max = 30
[[command]]
name = "reboot"
path = "/3/0/4"
operation = "execute"
[[publish]]
sink = "local"
on = "telemetry"
topic = "own/{device}/{key}"
exclusive = true
"#;

struct Host {
    core: Core,
    now: Instant,
    boots: u8,
    store: SimulatedStore,
    connected: bool,
    in_flight: VecDeque<DeliveryId>,
    asked: VecDeque<(Peer, Message)>,
    locations: VecDeque<String>,
    plans: [Arc<Plan>; 2],
    model: Arc<ObjectModel>,
    clients: Vec<DtlsClient>,
    handshakes: SimulatedHandshakes,
    told: VecDeque<HandshakeInput>,
    /// Datagrams on their way to clients: the number of the client.
    under_way: VecDeque<(usize, Vec<u8>)>,
}

fn compiled() -> &'static (Arc<ObjectModel>, [Arc<Plan>; 2]) {
    static COMPILED: OnceLock<(Arc<ObjectModel>, [Arc<Plan>; 2])> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let model = Arc::new(ObjectModel::built_in());
        let file = MappingFile { name: "fuzz.toml".to_owned(), text: MAPPING.to_owned() };
        let plan = |files: &[MappingFile]| Arc::new(Plan::compile(files, &model, true).plan.expect("it compiles"));
        let plans = [plan(&[]), plan(&[file])];
        (model, plans)
    })
}

/// Small bounds, so that they are reached.
fn configuration() -> Configuration {
    Configuration {
        gateway_name: "fuzz".to_owned(),
        lwm2m: Lwm2mConfiguration { unknown_devices: UnknownDevices::Accept, ..Lwm2mConfiguration::default() },
        limits: Limits {
            max_devices: 4,
            max_commands_per_device: 3,
            max_command_bytes: 4 << 10,
            max_transfer_bytes: 4 << 10,
            max_transfers_bytes: 8 << 10,
            max_pending_writes: 64,
            max_pending_write_bytes: 64 << 10,
            max_cached_answers: 8,
            max_observations_per_device: 6,
            max_unmapped_per_device: 4,
            max_refused: 3,
            max_in_flight: RECEIVE_MAXIMUM,
            max_spool_rows_in_memory: 8,
            max_keys_per_device: 8,
            max_last_values_per_device: 3,
            max_results: 4,
            max_shell_tasks: 2,
            max_sessions: MAX_SESSIONS,
            max_handshakes: MAX_HANDSHAKES,
            ..Limits::default()
        },
        sinks: vec![SinkConfiguration {
            name: "local".into(),
            base: "lwm2m".to_owned(),
            role: Role::Admin,
            max_spool_bytes: 16 << 10,
            max_spool_age: Duration::from_secs(86_400),
            when_full: WhenFull::DropOldest,
        }],
        listeners: vec!["coap://[::]:5683".to_owned(), "coaps://[::]:5684".to_owned()],
        transports: vec![Transport::Udp, Transport::Dtls],
        streams_values: true,
        streams_samples: true,
        ..Configuration::default()
    }
}

fn switched_on(store: &SimulatedStore, boots: u8, synced: bool) -> Core {
    let (model, [plan, _]) = compiled();
    let start = Start {
        configuration: configuration(),
        model: Arc::clone(model),
        plan: Arc::clone(plan),
        stored: store.stored(),
        seed: [boots; 32],
        wall: WallTime::from_secs(if synced { 1_750_000_000 } else { 0 }),
        synced,
        version: "fuzz".to_owned(),
        store_damage: None,
    };
    Core::new(Instant::ZERO, start)
}

fn peer(number: u8) -> Peer {
    let remote = SocketAddr::from(([192, 0, 2, number % 4], 5_000 + u16::from(number % 2)));
    Peer { listener: 0, remote, local: None, session: None }
}

impl Host {
    fn new(synced: bool) -> Self {
        let (model, plans) = compiled();
        let store = SimulatedStore::new(Duration::ZERO);
        let core = switched_on(&store, 0, synced);
        let mut host = Self {
            core,
            now: Instant::ZERO,
            boots: 0,
            store,
            connected: false,
            in_flight: VecDeque::new(),
            asked: VecDeque::new(),
            locations: VecDeque::new(),
            plans: plans.clone(),
            model: Arc::clone(model),
            clients: (0..CLIENTS).map(client).collect(),
            handshakes: SimulatedHandshakes::new(0),
            told: VecDeque::new(),
            under_way: VecDeque::new(),
        };
        host.drain();
        for number in 0..CLIENTS - 1 {
            host.ask(Query::PutCredential(Box::new(credential(number, number))));
        }
        host.commit();
        host
    }

    fn input(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
        self.drain();
    }

    fn ask(&mut self, query: Query) {
        self.input(Input::Request { request: RequestId(1), query });
    }

    fn drain(&mut self) {
        let mut answers = VecDeque::new();
        let mut outputs = 0;
        loop {
            while let Some(output) = self.core.poll_output() {
                outputs += 1;
                assert!(outputs <= MAX_OUTPUTS, "one input causes endless outputs, the last is {output:?}");
                answers.extend(self.serve(output));
            }
            let _ = self.core.take_occurrences();
            let Some(answer) = answers.pop_front() else { break };
            self.core.handle_input(self.now, answer);
        }
        let gauges = self.core.gauges();
        assert!(gauges.sessions <= MAX_SESSIONS, "{} sessions", gauges.sessions);
        assert!(gauges.handshakes <= MAX_HANDSHAKES, "{} handshakes", gauges.handshakes);
        let [sink] = &*gauges.sinks else { panic!("one sink") };
        assert!(sink.in_flight <= RECEIVE_MAXIMUM, "{} messages in flight", sink.in_flight);
        assert_eq!(sink.connected, self.connected);
    }

    /// Does what the core wants; what it hears back at once.
    fn serve(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Transmit { peer, bytes } if peer.listener == DTLS => {
                split_first(&bytes, 0).or_else(|| split_first(&bytes, 2)).expect("what leaves are records");
                let number = (0..CLIENTS).find(|number| secure_peer(*number, false).remote.ip() == peer.remote.ip());
                if let Some(number) = number {
                    self.under_way.push_back((usize::from(number), bytes));
                }
                None
            }
            Output::Transmit { peer, bytes } => {
                self.hear(peer, &bytes);
                None
            }
            Output::Handshake(order) => {
                self.order(order);
                None
            }
            Output::Store(batch) => {
                self.store.submit(self.now, batch);
                None
            }
            Output::ReadSpool { sink, after, max_rows } => {
                Some(Input::SpoolRows { sink, rows: self.store.read_spool("local", after, max_rows) })
            }
            Output::ReadRetained { sink, after, max_rows } => {
                let rows = self.store.read_retained("local", after.as_deref(), max_rows);
                Some(Input::RetainedRows { sink, rows })
            }
            Output::Publish { delivery, message, .. } => {
                assert!(self.connected, "{} leaves without a connection", message.topic);
                assert!(is_publishable(&message.topic), "{:?}", message.topic);
                assert!(!self.in_flight.contains(&delivery));
                self.in_flight.push_back(delivery);
                assert!(self.in_flight.len() <= RECEIVE_MAXIMUM);
                None
            }
            Output::Reload => Some(Input::Plan { plan: Arc::clone(&self.plans[1]) }),
            Output::AcknowledgeInbound { .. }
            | Output::Answer { .. }
            | Output::Event(_)
            | Output::Value { .. }
            | Output::Result(_)
            | Output::Registration { .. }
            | Output::Samples { .. }
            | Output::Trace { .. }
            | Output::Log { .. }
            | Output::Bootstrap(_)
            | Output::BootstrapNews(_)
            | Output::Stream { .. } => None,
            Output::Shell { task, .. } => Some(Input::ShellDone { task, answer: Ok(().into()), trial: None }),
        }
    }

    /// A message of the core arrives at a device.
    fn hear(&mut self, peer: Peer, bytes: &[u8]) {
        let message = Message::decode(bytes).expect("what leaves is sound");
        let segments: Vec<&[u8]> = message.option_values(OptionNumber::LOCATION_PATH).collect();
        if let [b"rd", location] = segments[..] {
            self.locations.push_front(String::from_utf8_lossy(location).into_owned());
            self.locations.truncate(MAX_REMEMBERED);
        }
        if message.code.is_request() {
            self.asked.push_front((peer, message));
            self.asked.truncate(MAX_REMEMBERED);
        }
    }

    fn sink(&mut self, input: SinkInput) {
        self.input(Input::Sink { sink: SinkIndex(0), input });
    }

    fn connect(&mut self) {
        if !self.connected {
            self.connected = true;
            self.sink(SinkInput::Connected { max_packet_bytes: 4 << 10, receive_maximum: RECEIVE_MAXIMUM });
        }
    }

    fn disconnect(&mut self) {
        if self.connected {
            self.connected = false;
            self.in_flight.clear();
            self.sink(SinkInput::Disconnected { reason: "gone".to_owned() });
        }
    }

    fn acknowledge(&mut self) {
        if let Some(delivery) = self.in_flight.pop_front() {
            self.sink(SinkInput::Acknowledged { delivery });
        }
    }

    fn commit(&mut self) {
        if let Some(up_to) = self.store.commit(self.now) {
            self.input(Input::Durable { up_to });
        }
    }

    fn cut_power(&mut self, synced: bool) {
        self.store.forget();
        self.store.failing = false;
        self.boots = self.boots.wrapping_add(1);
        self.handshakes = SimulatedHandshakes::new(u64::from(self.boots));
        self.told.clear();
        self.core = switched_on(&self.store, self.boots, synced);
        self.now = Instant::ZERO;
        self.connected = false;
        self.in_flight.clear();
        self.asked.clear();
        self.drain();
    }

    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut repeats = 0;
        for _ in 0..MAX_DEADLINES {
            let due = self.core.next_deadline();
            if due > end {
                break;
            }
            repeats = if due <= self.now { repeats + 1 } else { 0 };
            assert!(repeats <= MAX_REPEATS, "the core is due at {due:?} again and again");
            self.now = self.now.max(due);
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.max(end);
        self.core.handle_timeout(self.now);
        self.drain();
    }

    /// Which device a choice means; the higher ones are on DTLS.
    fn from(choice: u8) -> Peer {
        if choice & 0x40 == 0 { peer(choice) } else { secure_peer(choice, false) }
    }

    fn datagram(&mut self, peer: Peer, message: &Message) {
        if peer.listener == DTLS {
            let number = (0..CLIENTS).find(|number| secure_peer(*number, false) == peer).unwrap_or_default();
            self.clients[usize::from(number)].send(self.now, message.encode());
            self.settle_sessions();
            return;
        }
        self.input(Input::Datagram { peer, bytes: message.encode() });
    }

    fn request(choices: &mut Choices<'_>, code: Code, path: &[&str]) -> Message {
        let id = u16::from(choices.byte());
        let kind = if id % 5 == 4 { MessageType::NonConfirmable } else { MessageType::Confirmable };
        let mut message = Message::new(kind, code, id, Token::new(&[choices.byte()]).unwrap_or(Token::EMPTY));
        for segment in path {
            message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
        }
        message
    }

    fn register(&mut self, choices: &mut Choices<'_>) {
        let from = Self::from(choices.byte());
        let mut message = Self::request(choices, Code::POST, &["rd"]);
        let endpoint = format!("ep=e{}", choices.byte() % 6);
        let queries = [&*endpoint, choices.of(&LIFETIMES), choices.of(&BINDINGS), choices.of(&VERSIONS)];
        message.push_uint(OptionNumber::CONTENT_FORMAT, 40);
        for query in queries {
            message.push_option(OptionNumber::URI_QUERY, query.as_bytes());
        }
        message.payload = choices.of(&OBJECTS).as_bytes().to_vec();
        self.datagram(from, &message);
    }

    fn update(&mut self, choices: &mut Choices<'_>, code: Code) {
        let from = Self::from(choices.byte());
        let place = usize::from(choices.byte()) % MAX_REMEMBERED;
        let location = self.locations.get(place).or(self.locations.front()).cloned().unwrap_or_default();
        let mut message = Self::request(choices, code, &["rd", &location]);
        let more = choices.byte();
        if more & 1 == 1 {
            message.push_option(OptionNumber::URI_QUERY, choices.of(&LIFETIMES).as_bytes());
        }
        if more & 2 == 2 {
            message.payload = choices.of(&OBJECTS).as_bytes().to_vec();
        }
        self.datagram(from, &message);
    }

    fn send(&mut self, choices: &mut Choices<'_>) {
        let from = Self::from(choices.byte());
        let mut message = Self::request(choices, Code::POST, &["dp"]);
        message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(choices.of(&FORMATS)));
        let block = choices.byte();
        if block >= 0x80 {
            message.push_uint(OptionNumber::BLOCK1, u32::from(block & 0x7f));
        }
        message.payload = payload(choices);
        self.datagram(from, &message);
    }

    /// Answers something that the gateway asked, also late and again, which makes notifications of it.
    fn answer(&mut self, choices: &mut Choices<'_>) {
        let place = usize::from(choices.byte()) % MAX_REMEMBERED;
        let Some((peer, request)) = self.asked.get(place).or(self.asked.front()).cloned() else { return };
        let how = choices.byte();
        if how % 16 == 15 {
            return self.datagram(peer, &Message::reset(request.id));
        }
        if how % 16 == 14 {
            return self.datagram(peer, &Message::acknowledgement(request.id));
        }
        let (kind, id) = match how % 3 {
            0 => (MessageType::Acknowledgement, request.id),
            1 => (MessageType::Confirmable, u16::from(choices.byte())),
            _ => (MessageType::NonConfirmable, u16::from(choices.byte())),
        };
        let mut message = Message::new(kind, choices.of(&CODES), id, request.token);
        if how & 0x10 != 0 {
            message.push_uint(OptionNumber::OBSERVE, u32::from(choices.byte()));
        }
        if how & 0x20 == 0 {
            message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(choices.of(&FORMATS)));
        }
        if how & 0x40 != 0 {
            message.push_uint(OptionNumber::BLOCK2, u32::from(choices.byte()));
        }
        if how & 0x80 != 0 {
            message.push_uint(OptionNumber::BLOCK1, u32::from(choices.byte()));
        }
        message.payload = payload(choices);
        self.datagram(peer, &message);
    }

    fn inbound(&mut self, choices: &mut Choices<'_>) {
        let choice = choices.byte();
        let topic = TOPICS
            .get(usize::from(choice % 11))
            .map_or_else(|| String::from_utf8_lossy(choices.bytes()).into_owned(), |topic| (*topic).to_owned());
        let body = usize::from(choices.byte()) % (BODIES.len() + 1);
        let payload = BODIES.get(body).map_or_else(|| choices.bytes().to_vec(), |body| body.as_bytes().to_vec());
        self.sink(SinkInput::Inbound {
            receipt: ReceiptId(u64::from(choice)),
            topic,
            payload: payload.into(),
            retain: choice >= 0xf0,
            response_topic: (choice & 0x40 != 0).then(|| "answers/here".to_owned()),
            correlation: (choice & 0x20 != 0).then(|| vec![choice].into()),
        });
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 24 {
            0 => {
                let (peer, bytes) = (peer(choices.byte()), choices.bytes().to_vec());
                self.input(Input::Datagram { peer, bytes });
            }
            1 => self.register(choices),
            2 => self.update(choices, Code::POST),
            3 => self.update(choices, Code::DELETE),
            4 => self.send(choices),
            5..=8 => self.answer(choices),
            9 | 10 => self.inbound(choices),
            11 => {
                let secs = choices.of(&[0, 1, 2, 31, 93, 600, 3_600, 86_400, 4_000_000]);
                self.pass(Duration::from_millis(u64::from(choices.byte())) + Duration::from_secs(secs));
            }
            12 | 13 => self.commit(),
            14 => self.connect(),
            15 => match choices.byte() % 8 {
                0 => self.disconnect(),
                1 => {
                    if let Some(delivery) = self.in_flight.pop_back() {
                        self.sink(SinkInput::Rejected { delivery, reason: "no".to_owned() });
                    }
                }
                2 => {
                    // Also one that is not in flight, or not the oldest.
                    let delivery = DeliveryId(u64::from(choices.byte()));
                    self.in_flight.retain(|known| *known != delivery);
                    self.sink(SinkInput::Acknowledged { delivery });
                }
                _ => self.acknowledge(),
            },
            16 => {
                let wall = WallTime::from_secs(choices.of(&[0, 1, 1_750_000_000, 1_750_000_100, 4_000_000_000, -1]));
                self.input(Input::Clock { wall, synced: choices.byte() % 2 == 1 });
            }
            17 => {
                self.store.failing = choices.byte() % 2 == 1;
                let failure = self.store.failing.then(|| "the disk is full".to_owned());
                self.input(Input::StoreHealth { failure });
            }
            18 => {
                let device = format!("e{}", choices.byte() % 6);
                let query = match choices.byte() % 9 {
                    0 => Query::Devices { search: String::new(), after: Some(device), limit: 2 },
                    1 => Query::Device { device },
                    2 => Query::Values { device },
                    3 => Query::Unmapped { device },
                    4 => Query::Refused,
                    5 => Query::PermitJoin { duration: Duration::from_secs(60) },
                    6 => Query::Ready,
                    7 => Query::RemoveCredential { scope: Scope::Server, endpoint: device },
                    _ => {
                        let mut wish = credential(choices.byte() % 6, choices.byte() % 6);
                        wish.keep_old = (choices.byte() % 2 == 1).then_some(Duration::from_secs(60));
                        wish.endpoints = (choices.byte() % 4 == 3).then(|| "e*".to_owned());
                        Query::PutCredential(Box::new(wish))
                    }
                };
                self.ask(query);
            }
            20 => self.session(choices),
            21 => self.settle_sessions(),
            22 => self.handshake(choices),
            23 => {
                let (number, bytes) = (choices.byte(), choices.bytes().to_vec());
                self.input(Input::Datagram { peer: secure_peer(number, number & 0x80 != 0), bytes });
            }
            _ => match choices.byte() % 6 {
                0 => self.cut_power(true),
                1 => self.cut_power(false),
                2 => self.input(Input::Plan { plan: Arc::clone(&self.plans[0]) }),
                3 => self.input(Input::Model { model: Arc::clone(&self.model) }),
                4 => self.input(Input::MappingHealth { failure: Some("broken".to_owned()) }),
                _ => self.input(Input::Plan { plan: Arc::clone(&self.plans[1]) }),
            },
        }
    }

    /// The store works, the broker takes everything: nothing may be left behind.
    fn recover(&mut self) {
        self.store.failing = false;
        self.input(Input::StoreHealth { failure: None });
        self.connect();
        for _ in 0..MAX_OUTPUTS {
            self.commit();
            // What became durable may lead to more that is written.
            if self.in_flight.is_empty() && self.store.waiting_batches() == 0 {
                break;
            }
            self.acknowledge();
        }
        self.commit();
        let gauges = self.core.gauges();
        assert_eq!(gauges.sinks[0].rows, 0, "rows wait although the sink takes everything");
        assert_eq!(gauges.pending_writes, 0, "writes wait although the store works");
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut choices = Choices(input);
    let mut host = Host::new(choices.byte() % 4 != 0);
    for _ in 0..MAX_STEPS {
        if choices.0.is_empty() {
            break;
        }
        host.step(&mut choices);
    }
    host.recover();
});

//! The whole core with a bootstrap server, among devices that answer anything, operators that change anything, keys that
//! are made wrongly or never, a store that fails, and power cuts: no panic, no endless work, only sound messages leave,
//! one request at a time is under way to a device, no key is told, and no session stays behind.
#![no_main]

mod under_way;
mod words;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lwm2mqtt::gateway::bootstrap::MAX_SESSIONS;
use lwm2mqtt::gateway::bootstrap::orders::{
    BootstrapInput, BootstrapOrder, KeyPair, KeyWish, Made, OrderId, ProvisionCredential,
};
use lwm2mqtt::gateway::configuration::{
    BootstrapConfiguration, Configuration, Limits, Lwm2mConfiguration, Role, Transport, UnknownBootstrap,
    UnknownDevices,
};
use lwm2mqtt::gateway::core::{Core, Start};
use lwm2mqtt::gateway::query::Query;
use lwm2mqtt::gateway::vocabulary::{BootstrapQuery, Input, Output, Peer, RequestId};
use lwm2mqtt::mapping::Plan;
use lwm2mqtt::model::credential::{Scope, SecretBytes};
use lwm2mqtt::model::event::EventKind;
use lwm2mqtt::model::object::{DeviceModel, ObjectModel};
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::time::{Instant, WallTime};
use lwm2mqtt::model::value::Value;
use lwm2mqtt::northbound::bootstrap_json::{ACCOUNT_FIELDS, ENTRY_FIELDS};
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::content::{ContentFormat, DecodeContext, decode};
use lwm2mqtt::simulator::store::SimulatedStore;
use lwm2mqtt_fuzz::choices::Choices;
use serde_json::Value as Json;

use under_way::UnderWay;
use words::{ACCOUNTS, CODES, ENTRIES, FORMATS, PAYLOADS, PREFERRED, VALUES, VERSIONS};

/// Steps taken of one input.
const MAX_STEPS: usize = 256;
/// Outputs that one input of the core may cause, with what the host answers at once.
const MAX_OUTPUTS: usize = 10_000;
/// Deadlines served while time passes; the rest of a long time is skipped.
const MAX_DEADLINES: usize = 1_000;
/// Times that the core may be due again without time passing.
const MAX_REPEATS: usize = 100;
/// Requests and orders of the gateway that may still be answered.
const MAX_REMEMBERED: usize = 16;
/// The listener of the bootstrap server.
const BOOTSTRAP: u16 = 1;
/// Longer than a session may be silent or wait for an operator.
const OVER: Duration = Duration::from_secs(600);
/// How often sessions may begin by themselves after the end.
const MAX_ROUNDS: usize = 256;
/// Shorter keys may stand anywhere.
const MIN_KEY_BYTES: usize = 8;

/// The key of accounts that hold one: `given-key-given!`.
pub(crate) const GIVEN_KEY: &[u8] = b"given-key-given!";
/// What stands for a private key in PKCS #8.
const PRIVATE_KEY: &[u8] = b"made-private-key-9";

struct Host {
    core: Core,
    now: Instant,
    boots: u8,
    policy: UnknownBootstrap,
    store: SimulatedStore,
    /// Requests that devices may answer, the latest first.
    asked: VecDeque<(Peer, Message)>,
    orders: VecDeque<BootstrapOrder>,
    under_way: UnderWay,
    /// Keys that devices were given, in hexadecimal and base64.
    keys: Vec<String>,
}

fn compiled() -> &'static (Arc<ObjectModel>, Arc<Plan>) {
    static COMPILED: OnceLock<(Arc<ObjectModel>, Arc<Plan>)> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let model = Arc::new(ObjectModel::built_in());
        let plan = Arc::new(Plan::compile(&[], &model, true).plan.expect("nothing compiles"));
        (model, plan)
    })
}

/// Small bounds, so that they are reached.
fn configuration(policy: UnknownBootstrap) -> Configuration {
    Configuration {
        gateway_name: "fuzz".to_owned(),
        lwm2m: Lwm2mConfiguration { unknown_devices: UnknownDevices::Accept, ..Lwm2mConfiguration::default() },
        limits: Limits {
            max_devices: 4,
            max_transfer_bytes: 4 << 10,
            max_transfers_bytes: 8 << 10,
            max_pending_writes: 64,
            max_pending_write_bytes: 64 << 10,
            max_cached_answers: 8,
            max_refused: 3,
            max_credentials: 6,
            ..Limits::default()
        },
        listeners: ["coap://192.0.2.100:5683", "coap://[::]:5783", "coaps://[::]:5684", "coaps://[::]:5784"]
            .map(str::to_owned)
            .to_vec(),
        // Nobody comes by DTLS, but devices are sent there.
        addresses: [5683, 5783, 5684, 5784].map(|port| SocketAddr::from(([0, 0, 0, 0], port))).to_vec(),
        transports: vec![Transport::Udp, Transport::Udp, Transport::Dtls, Transport::Dtls],
        scopes: vec![Scope::Server, Scope::Bootstrap, Scope::Server, Scope::Bootstrap],
        bootstrap: Some(BootstrapConfiguration { unknown_devices: policy, ..BootstrapConfiguration::default() }),
        streams_bootstrap: true,
        ..Configuration::default()
    }
}

fn switched_on(store: &SimulatedStore, boots: u8, policy: UnknownBootstrap) -> Core {
    let (model, plan) = compiled();
    let start = Start {
        configuration: configuration(policy),
        model: Arc::clone(model),
        plan: Arc::clone(plan),
        stored: store.stored(),
        seed: [boots; 32],
        wall: WallTime::from_secs(1_750_000_000),
        synced: true,
        version: "fuzz".to_owned(),
        store_damage: None,
    };
    Core::new(Instant::ZERO, start)
}

fn peer(listener: u16, number: u8) -> Peer {
    let remote = SocketAddr::from(([192, 0, 2, number % 4], 5_000));
    let local = (number & 0x20 == 0).then(|| [192, 0, 2, 100].into());
    Peer { listener, remote, local, session: None }
}

/// Mostly the one that belongs to the address.
fn endpoint(choice: u8) -> String {
    if choice & 0x80 == 0 { format!("e{}", choice % 4) } else { format!("e{}", choice >> 2 & 3) }
}

impl Host {
    fn new(policy: UnknownBootstrap) -> Self {
        let store = SimulatedStore::new(Duration::ZERO);
        let mut host = Self {
            core: switched_on(&store, 0, policy),
            now: Instant::ZERO,
            boots: 0,
            policy,
            store,
            asked: VecDeque::new(),
            orders: VecDeque::new(),
            under_way: UnderWay::default(),
            keys: Vec::new(),
        };
        host.learn(GIVEN_KEY);
        host.learn(PRIVATE_KEY);
        host.drain();
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
        let mut outputs = 0;
        while let Some(output) = self.core.poll_output() {
            outputs += 1;
            assert!(outputs <= MAX_OUTPUTS, "one input causes endless outputs, the last is {output:?}");
            self.serve(output);
        }
        let _ = self.core.take_occurrences();
        let gauges = self.core.gauges();
        assert!(gauges.bootstrap_sessions <= MAX_SESSIONS, "{} sessions", gauges.bootstrap_sessions);
    }

    /// Does what the core wants.
    fn serve(&mut self, output: Output) {
        match output {
            Output::Transmit { peer, bytes } => self.hear(peer, &bytes),
            Output::Store(batch) => self.store.submit(self.now, batch),
            Output::Bootstrap(order) => self.remember(order),
            Output::Event(event) => {
                if matches!(event.kind, EventKind::Bootstrapped | EventKind::BootstrapFailed) {
                    self.under_way.forget_all();
                }
                self.tell_no_key(&event.to_json().to_string());
            }
            Output::Answer { answer, .. } => self.tell_no_key(&format!("{answer:?}")),
            Output::BootstrapNews(news) => self.tell_no_key(&format!("{news:?}")),
            _ => {}
        }
    }

    /// A message of the core arrives at a device.
    fn hear(&mut self, peer: Peer, bytes: &[u8]) {
        let message = Message::decode(bytes).expect("what leaves is sound");
        if !message.code.is_request() {
            return;
        }
        if peer.listener == BOOTSTRAP {
            self.under_way.sent(self.now, peer, &message);
            self.learn_written(&message);
        }
        self.asked.push_front((peer, message));
        self.asked.truncate(MAX_REMEMBERED);
    }

    fn remember(&mut self, order: BootstrapOrder) {
        if let BootstrapOrder::Provision { credential: ProvisionCredential::Psk { key, .. }, .. } = &order {
            self.learn(key.expose());
        }
        self.orders.push_front(order);
        self.orders.truncate(MAX_REMEMBERED);
    }

    /// The key of a security instance, where it came in one piece.
    fn learn_written(&mut self, message: &Message) {
        let Ok(path) = format!("/{}", message.uri_path().join("/")).parse::<Path>() else { return };
        let Some(format) = message.content_format().filter(|_| path.object_id() == Some(0)) else { return };
        let (model, _) = compiled();
        let objects = std::collections::BTreeMap::new();
        let types = DeviceModel { model, objects: &objects, enabler: None };
        let context =
            DecodeContext { base: path, root: "", types: &types, received: WallTime::from_secs(1_750_000_000) };
        let Ok(decoded) = decode(ContentFormat(format), &message.payload, &context) else { return };
        for sample in decoded.samples {
            if let (Some(5), Value::Opaque(key)) = (sample.path.resource_id(), sample.value) {
                self.learn(&key);
            }
        }
    }

    fn learn(&mut self, key: &[u8]) {
        if key.len() < MIN_KEY_BYTES {
            return;
        }
        let hex = data_encoding::HEXLOWER.encode(key);
        if !self.keys.contains(&hex) {
            self.keys.extend([hex, data_encoding::BASE64.encode(key)]);
        }
    }

    fn tell_no_key(&self, told: &str) {
        assert!(!self.keys.iter().any(|key| told.contains(key.as_str())), "a key is told: {told}");
    }

    fn commit(&mut self) {
        if let Some(up_to) = self.store.commit(self.now) {
            self.input(Input::Durable { up_to });
        }
    }

    fn cut_power(&mut self) {
        self.store.forget();
        self.store.failing = false;
        self.boots = self.boots.wrapping_add(1);
        self.core = switched_on(&self.store, self.boots, self.policy);
        self.now = Instant::ZERO;
        self.asked.clear();
        self.orders.clear();
        self.under_way = UnderWay::default();
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

    fn datagram(&mut self, peer: Peer, message: &Message) {
        self.under_way.heard(peer, message);
        self.input(Input::Datagram { peer, bytes: message.encode() });
    }

    fn request(choices: &mut Choices<'_>, code: Code, path: &str) -> Message {
        let id = u16::from(choices.byte());
        let kind = if id % 8 == 7 { MessageType::NonConfirmable } else { MessageType::Confirmable };
        let mut message = Message::new(kind, code, id, Token::new(&[choices.byte()]).unwrap_or(Token::EMPTY));
        message.push_option(OptionNumber::URI_PATH, path.as_bytes());
        message
    }

    /// `POST /bs`, or `GET /bspack`.
    fn begin(&mut self, choices: &mut Choices<'_>, pack: bool) {
        let number = choices.byte();
        let from = peer(BOOTSTRAP, number);
        let (code, path) = if pack { (Code::GET, "bspack") } else { (Code::POST, "bs") };
        let mut message = Self::request(choices, code, path);
        let endpoint = endpoint(number);
        let block = choices.byte();
        message.push_option(OptionNumber::URI_QUERY, format!("ep={endpoint}").as_bytes());
        if pack {
            if block & 1 == 1 {
                message.push_uint(OptionNumber::ACCEPT, u32::from(choices.of(&FORMATS)));
            }
            if block >= 0x40 {
                message.push_uint(OptionNumber::BLOCK2, u32::from(choices.byte()));
            }
        } else {
            let preferred = PREFERRED[usize::from(block) % PREFERRED.len()];
            if !preferred.is_empty() {
                message.push_option(OptionNumber::URI_QUERY, preferred.as_bytes());
            }
        }
        self.under_way.begins(from, &endpoint);
        self.datagram(from, &message);
    }

    /// A device of the LwM2M server, which may be commanded to bootstrap.
    fn register(&mut self, choices: &mut Choices<'_>) {
        let number = choices.byte();
        let mut message = Self::request(choices, Code::POST, "rd");
        message.push_uint(OptionNumber::CONTENT_FORMAT, 40);
        for query in [&*format!("ep={}", endpoint(number)), "lt=86400", "b=U", choices.of(&VERSIONS)] {
            message.push_option(OptionNumber::URI_QUERY, query.as_bytes());
        }
        message.payload = b"</1/0>,</3/0>".to_vec();
        let listener = u16::from(number & 0x40 != 0);
        self.under_way.begins(peer(BOOTSTRAP, number), &endpoint(number));
        self.datagram(peer(listener, number), &message);
    }

    /// Answers something that the gateway asked, also late, again, or from elsewhere.
    fn answer(&mut self, choices: &mut Choices<'_>) {
        let place = choices.byte();
        let number = usize::from(place & 0x0f);
        let Some((mut from, request)) = self.asked.get(number).or(self.asked.front()).cloned() else { return };
        if place & 0xf0 == 0xf0 {
            from = peer(BOOTSTRAP, place);
        }
        let how = choices.byte();
        match how & 0x0f {
            15 => return self.datagram(from, &Message::reset(request.id)),
            14 => return self.datagram(from, &Message::acknowledgement(request.id)),
            _ => {}
        }
        let wrong = u16::from(how & 0x0f == 13);
        let (kind, id) = match how & 3 {
            0 | 1 => (MessageType::Acknowledgement, request.id.wrapping_add(wrong)),
            2 => (MessageType::Confirmable, u16::from(choices.byte())),
            _ => (MessageType::NonConfirmable, u16::from(choices.byte())),
        };
        let token = if how & 0x0f == 12 { Token::new(&[choices.byte()]).unwrap_or_default() } else { request.token };
        let mut message = Message::new(kind, choices.of(&CODES), id, token);
        if how & 0x10 != 0 {
            message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(choices.of(&FORMATS)));
        }
        if how & 0x20 != 0 {
            message.push_uint(OptionNumber::BLOCK2, u32::from(choices.byte()));
        }
        // The piece that was sent is acknowledged as it is, or as another.
        let sent = request.option(OptionNumber::BLOCK1).map(<[u8]>::to_vec);
        match (how & 0xc0, sent) {
            (0x40, _) => message.push_uint(OptionNumber::BLOCK1, u32::from(choices.byte())),
            (_, Some(sent)) => message.push_option(OptionNumber::BLOCK1, sent),
            (_, None) => {}
        }
        if how & 0x80 != 0 {
            let payload = usize::from(choices.byte());
            let known = PAYLOADS.get(payload % (PAYLOADS.len() + 1));
            message.payload = known.map_or_else(|| choices.bytes().to_vec(), |payload| payload.to_vec());
        }
        self.datagram(from, &message);
    }

    /// A device that does as it should, for some requests.
    fn obey(&mut self, choices: &mut Choices<'_>) {
        for _ in 0..=choices.byte() % 16 {
            let Some((from, request)) = self.asked.front().cloned() else { return };
            let code = match request.code {
                Code::GET => Code::CONTENT,
                Code::DELETE => Code::DELETED,
                _ => Code::CHANGED,
            };
            let mut message = Message::new(MessageType::Acknowledgement, code, request.id, request.token);
            if let Some(block) = request.option(OptionNumber::BLOCK1) {
                // The whole is there when the last piece is.
                let more = block.last().is_some_and(|last| last & 8 != 0);
                message.code = if more { Code::CONTINUE } else { code };
                message.push_option(OptionNumber::BLOCK1, block);
            }
            if request.code == Code::GET {
                let format = request.uint(OptionNumber::ACCEPT).unwrap_or_default();
                message.push_uint(OptionNumber::CONTENT_FORMAT, format);
                message.payload = choices.of(&PAYLOADS).to_vec();
            }
            self.asked.pop_front();
            self.datagram(from, &message);
            self.commit();
        }
    }

    /// Answers an order, rightly or wrongly.
    fn fulfil(&mut self, choices: &mut Choices<'_>) {
        let choice = choices.byte();
        let place = usize::from(choice >> 4);
        let Some(order) = self.orders.get(place).or(self.orders.front()).cloned() else { return };
        let pair = |wish: &KeyWish| KeyPair {
            public: vec![0x30; 90].into(),
            private: SecretBytes::new(PRIVATE_KEY),
            subject: (*wish == KeyWish::Certificate).then(|| "CN=e".into()),
        };
        let made = |order: OrderId, wishes: &[KeyWish]| {
            let pairs = wishes.iter().map(pair).collect();
            let keys: &[u8] = if choice & 4 == 0 { &[7; 91] } else { &[] };
            let made = Made { pairs, server_public_key: keys.into(), server_certificate: keys.into() };
            BootstrapInput::Made { order, result: Ok(made) }
        };
        let (BootstrapOrder::Make { order: id, .. } | BootstrapOrder::Provision { order: id, .. }) = order;
        let input = match (choice & 3, &order) {
            (0 | 1, BootstrapOrder::Make { wishes, .. }) => made(id, wishes),
            (2, BootstrapOrder::Make { wishes, .. }) => made(id, wishes.get(1..).unwrap_or(&[KeyWish::Certificate])),
            (_, BootstrapOrder::Make { .. }) => BootstrapInput::Made { order: id, result: Err("no".to_owned()) },
            (0 | 1, BootstrapOrder::Provision { .. }) => BootstrapInput::Provisioned { order: id, result: Ok(()) },
            (2, BootstrapOrder::Provision { .. }) => made(id, &[]),
            _ => BootstrapInput::Provisioned { order: id, result: Err("no".to_owned()) },
        };
        if choice & 8 == 0 {
            self.orders.retain(|known| *known != order);
        }
        self.input(Input::Bootstrap(input));
    }

    /// A template of the table with some of its fields changed.
    fn body(choices: &mut Choices<'_>, templates: &[&str], fields: &[&str]) -> Json {
        let mut body: Json = serde_json::from_str(choices.of(templates)).expect("templates are JSON");
        for _ in 0..choices.byte() % 4 {
            let field = choices.of(fields);
            body[field] = serde_json::from_str(choices.of(&VALUES)).expect("values are JSON");
        }
        body
    }

    fn bootstrap_query(choices: &mut Choices<'_>) -> BootstrapQuery {
        let (what, which) = (choices.byte(), choices.byte());
        let dry_run = what & 0x40 != 0;
        let account = if which & 0x80 == 0 { format!("a{}", which % 3) } else { "management-psk".to_owned() };
        let device = ["e0", "e1", "e2", "e?", "*", "e*"][usize::from(which) % 6].to_owned();
        let limit = usize::from(which) % 4;
        match what % 16 {
            0 | 1 => {
                let body = Self::body(choices, &ACCOUNTS, &ACCOUNT_FIELDS);
                BootstrapQuery::PutServer { name: account, body, dry_run }
            }
            2..=4 => {
                let body = Self::body(choices, &ENTRIES, &ENTRY_FIELDS);
                BootstrapQuery::PutDevice { name: device, body, dry_run }
            }
            5 => BootstrapQuery::RemoveServer { name: account, cascade: dry_run },
            6 => BootstrapQuery::RemoveDevice { name: device },
            7 => BootstrapQuery::AddServer {
                device,
                server: if dry_run { account.into() } else { Self::body(choices, &ACCOUNTS, &ACCOUNT_FIELDS) },
            },
            8 => BootstrapQuery::TakeServer { device, server: if dry_run { account } else { limit.to_string() } },
            9 => BootstrapQuery::Approve {
                endpoint: format!("e{}", which % 4),
                body: if dry_run { serde_json::json!({}) } else { Self::body(choices, &ENTRIES, &ENTRY_FIELDS) },
            },
            10 => BootstrapQuery::Pending,
            11 => BootstrapQuery::Servers,
            12 => BootstrapQuery::Devices { search: String::new(), after: dry_run.then_some(device), limit },
            13 => BootstrapQuery::Device { name: device },
            14 if dry_run => BootstrapQuery::RemoveDevices,
            14 => BootstrapQuery::Server { name: account },
            _ => BootstrapQuery::Sessions { endpoint: dry_run.then_some(device), after: None, limit: 300 },
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.byte() % 20 {
            0 => {
                let (choice, bytes) = (choices.byte(), choices.bytes().to_vec());
                self.under_way.forget_all();
                self.input(Input::Datagram { peer: peer(u16::from(choice & 0x80 == 0), choice), bytes });
            }
            1 | 2 => self.begin(choices, false),
            3 => self.begin(choices, true),
            4..=7 => self.answer(choices),
            8 | 9 => self.obey(choices),
            10 => {
                let secs = choices.of(&[0, 1, 2, 31, 61, 93, 239, 248, 600, 86_400]);
                self.pass(Duration::from_millis(u64::from(choices.byte())) + Duration::from_secs(secs));
            }
            11 | 12 => self.commit(),
            13 | 14 => {
                let query = Self::bootstrap_query(choices);
                self.ask(Query::Bootstrap(query));
            }
            15 | 16 => self.fulfil(choices),
            17 => self.register(choices),
            18 => {
                let device = endpoint(choices.byte());
                let body = serde_json::json!({ "operation": "bootstrap" });
                self.ask(Query::Command { device, body, role: Role::Admin });
            }
            _ => match choices.byte() % 8 {
                0 => self.cut_power(),
                1..=3 => {
                    self.store.failing = !self.store.failing;
                    let failure = self.store.failing.then(|| "the disk is full".to_owned());
                    self.input(Input::StoreHealth { failure });
                }
                4 => {
                    let scope = if choices.byte() % 2 == 0 { Scope::Server } else { Scope::Bootstrap };
                    self.ask(Query::RemoveCredential { scope, endpoint: endpoint(choices.byte()) });
                }
                5 => self.input(Input::Model { model: Arc::clone(&compiled().0) }),
                _ => {
                    let endpoint = Some(endpoint(choices.byte()));
                    self.ask(Query::Bootstrap(BootstrapQuery::Sessions { endpoint, after: None, limit: 300 }));
                }
            },
        }
    }

    /// The store works and all devices are silent: no session may be left behind.
    fn recover(&mut self) {
        self.store.failing = false;
        self.input(Input::StoreHealth { failure: None });
        for _ in 0..MAX_ROUNDS {
            for _ in 0..MAX_OUTPUTS {
                self.commit();
                // What became durable may lead to more that is written.
                if self.store.waiting_batches() == 0 {
                    break;
                }
            }
            let all = BootstrapQuery::Sessions { endpoint: None, after: None, limit: 300 };
            self.ask(Query::Bootstrap(all));
            // A command may have waited for its turn, and begin another session.
            self.pass(OVER);
            if self.core.gauges().bootstrap_sessions == 0 && self.store.waiting_batches() == 0 {
                break;
            }
        }
        let gauges = self.core.gauges();
        assert_eq!(gauges.bootstrap_sessions, 0, "sessions go on without their devices");
        assert_eq!(gauges.pending_writes, 0, "writes wait although the store works");
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut choices = Choices(input);
    let policies = [UnknownBootstrap::Template, UnknownBootstrap::Approve, UnknownBootstrap::Refuse];
    let mut host = Host::new(choices.of(&policies));
    for _ in 0..MAX_STEPS {
        if choices.0.is_empty() {
            break;
        }
        host.step(&mut choices);
    }
    host.recover();
});

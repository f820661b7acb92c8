//! A gateway, its devices, its network, its store and its broker, all in virtual time.
//!
//! The gateway is the same [`Core`] that the daemon runs; only its host is simulated. [`World::run_until`] goes from
//! event to event, so that hours take milliseconds. Everything follows from the seed.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::bootstrap_orders::SimulatedOrders;
use super::broker::SimulatedBroker;
use super::device::{DeviceEvent, SimulatedDevice};
use super::dtls::client::{DtlsClient, DtlsEvent, DtlsScript};
use super::dtls::tap::{Sent, Tap};
use super::dtls::worker::Worker;
use super::network::{Conditions, Network};
use super::script::DeviceScript;
use super::store::SimulatedStore;
use super::stream_network::{Arrival, StreamNetwork};
use crate::gateway::bootstrap::news::SessionNews;
use crate::gateway::configuration::{
    BootstrapConfiguration, Configuration, Limits, Lwm2mConfiguration, Role, SinkConfiguration, Transport,
    UnknownDevices, WhenFull,
};
use crate::gateway::core::{Core, Start};
use crate::gateway::vocabulary::{Answer, Input, Output, Peer, Query, RequestId, SinkIndex, SinkInput, StreamInput};
use crate::instrumentation::occurrence::Occurrence;
use crate::mapping::{MappingFile, Plan};
use crate::model::credential::Scope;
use crate::model::event::Event;
use crate::model::object::ObjectModel;
use crate::model::time::{Instant, WallTime};

/// Where the simulated gateway listens.
pub const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 5683);

/// Where it listens for DTLS.
pub const GATEWAY_DTLS: SocketAddr = SocketAddr::new(GATEWAY.ip(), 5684);

/// The listener for DTLS.
pub const DTLS_LISTENER: u16 = 2;

/// Where its bootstrap server listens, if it has one.
pub const GATEWAY_BOOTSTRAP: SocketAddr = SocketAddr::new(GATEWAY.ip(), 5783);

/// Where its bootstrap server listens for DTLS.
pub const GATEWAY_BOOTSTRAP_DTLS: SocketAddr = SocketAddr::new(GATEWAY.ip(), 5784);

/// The addresses of its listeners, by their index; the second one takes connections.
const LISTENERS: [SocketAddr; 5] = [GATEWAY, GATEWAY, GATEWAY_DTLS, GATEWAY_BOOTSTRAP, GATEWAY_BOOTSTRAP_DTLS];

/// Wall time at the beginning of the world.
pub const WORLD_BEGINS: WallTime = WallTime::from_secs(1_800_000_000);

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldScript {
    /// Seed of everything.
    pub seed: u64,
    /// The network.
    pub conditions: Conditions,
    /// Time from a write to its durability.
    pub commit_interval: Duration,
    /// Mapping files; the default mapping is added.
    pub mappings: Vec<MappingFile>,
    /// The gateway.
    pub configuration: Configuration,
    /// Whether the gateway's wall clock is right from the start; otherwise it begins at 1970.
    pub clock_is_right: bool,
}

impl WorldScript {
    /// A perfect network, commits after 100 ms, everybody may register, one sink `local` with base `lwm2m`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            conditions: Conditions::perfect(),
            commit_interval: Duration::from_millis(100),
            mappings: Vec::new(),
            configuration: Configuration {
                gateway_name: "world".to_owned(),
                lwm2m: Lwm2mConfiguration { unknown_devices: UnknownDevices::Accept, ..Lwm2mConfiguration::default() },
                limits: Limits::default(),
                sinks: vec![SinkConfiguration {
                    name: "local".into(),
                    base: "lwm2m".to_owned(),
                    role: Role::Admin,
                    max_spool_bytes: 256 << 20,
                    max_spool_age: Duration::from_secs(7 * 24 * 60 * 60),
                    when_full: WhenFull::DropOldest,
                }],
                listeners: vec![GATEWAY.to_string(), GATEWAY.to_string(), GATEWAY_DTLS.to_string()],
                transports: vec![Transport::Udp, Transport::Tcp, Transport::Dtls],
                ..Configuration::default()
            },
            clock_is_right: true,
        }
    }

    /// The same gateway with a bootstrap server.
    #[must_use]
    pub fn with_bootstrap(mut self, bootstrap: BootstrapConfiguration) -> Self {
        let configuration = &mut self.configuration;
        configuration.bootstrap = Some(bootstrap);
        configuration.streams_bootstrap = true;
        configuration.listeners = LISTENERS.iter().map(SocketAddr::to_string).collect();
        configuration.addresses = LISTENERS.to_vec();
        configuration.transports =
            vec![Transport::Udp, Transport::Tcp, Transport::Dtls, Transport::Udp, Transport::Dtls];
        configuration.scopes = vec![Scope::Server, Scope::Server, Scope::Server, Scope::Bootstrap, Scope::Bootstrap];
        self
    }
}

/// The world.
pub struct World {
    script: WorldScript,
    now: Instant,
    boots: u64,
    /// When the gateway that runs now was switched on: its own clock counts from there.
    booted_at: Instant,
    core: Option<Core>,
    plan: Arc<Plan>,
    model: Arc<ObjectModel>,
    /// The network.
    pub network: Network,
    /// Connections of devices on TCP.
    pub streams: StreamNetwork,
    /// Sessions of devices on DTLS, by their own address.
    pub sessions: BTreeMap<SocketAddr, DtlsClient>,
    /// The servers that devices turned to, by the device's own address.
    servers: BTreeMap<SocketAddr, SocketAddr>,
    /// What happened to these sessions, with address and time.
    pub session_events: Vec<(Instant, SocketAddr, DtlsEvent)>,
    /// The handshakes of the gateway.
    pub worker: Worker,
    /// Listens to what the gateway sends over DTLS, if there is one.
    pub tap: Option<Tap>,
    /// What the bootstrap server has done outside of the gateway.
    pub orders: SimulatedOrders,
    /// What it told of its sessions.
    pub bootstrap_news: Vec<SessionNews>,
    /// The store.
    pub store: SimulatedStore,
    /// The broker.
    pub broker: SimulatedBroker,
    /// The devices by their own address.
    pub devices: BTreeMap<SocketAddr, SimulatedDevice>,
    /// What devices told, with their address and the time.
    pub device_events: Vec<(Instant, SocketAddr, DeviceEvent)>,
    /// What the gateway told.
    pub events: Vec<Event>,
    /// How often the gateway counted what.
    pub occurrences: HashMap<Occurrence, u64>,
    /// Answers to queries.
    pub answers: Vec<Answer>,
    /// A digest of everything that left the gateway: equal runs have equal traces.
    pub trace: u64,
}

impl World {
    /// A world whose gateway has just been switched on.
    ///
    /// # Panics
    /// If the script's mapping files do not compile.
    #[expect(clippy::expect_used, reason = "a world is built by tests and tools, whose mappings are their own")]
    pub fn new(script: WorldScript) -> Self {
        let model = Arc::new(ObjectModel::built_in());
        let compiled = Plan::compile(&script.mappings, &model, true);
        let plan = compiled.plan.map(Arc::new).expect("the mapping files of a world compile");
        let mut world = Self {
            now: Instant::from_secs(1),
            boots: 0,
            booted_at: Instant::ZERO,
            core: None,
            plan,
            model,
            network: Network::new(script.seed, script.conditions),
            streams: StreamNetwork::new(1),
            sessions: BTreeMap::new(),
            servers: BTreeMap::new(),
            session_events: Vec::new(),
            worker: Worker::new(0),
            tap: None,
            orders: SimulatedOrders::new(script.seed),
            bootstrap_news: Vec::new(),
            store: SimulatedStore::new(script.commit_interval),
            broker: SimulatedBroker::new(Duration::from_millis(2)),
            devices: BTreeMap::new(),
            device_events: Vec::new(),
            events: Vec::new(),
            occurrences: HashMap::new(),
            answers: Vec::new(),
            trace: 0,
            script,
        };
        world.switch_on();
        world
    }

    /// The time of the world.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// True wall time of the world.
    pub fn wall(&self) -> WallTime {
        WORLD_BEGINS.shifted(i64::try_from(self.now.micros() / 1_000).unwrap_or(i64::MAX))
    }

    /// Adds a device at `10.0.1.x` and switches it on.
    pub fn add_device(&mut self, script: DeviceScript) -> SocketAddr {
        let number = u16::try_from(self.devices.len()).unwrap_or(u16::MAX);
        let [high, low] = number.to_be_bytes();
        let address = SocketAddr::from(([10, 1, high, low], 40_000));
        let mut device = SimulatedDevice::new(script, self.script.seed.wrapping_add(u64::from(number) + 1));
        device.start(self.now);
        self.devices.insert(address, device);
        self.collect_device(address);
        address
    }

    /// Adds a device on TCP at `10.1.x.x` and switches it on.
    pub fn add_streamed_device(&mut self, mut script: DeviceScript) -> SocketAddr {
        let number = u16::try_from(self.devices.len()).unwrap_or(u16::MAX);
        let [high, low] = number.to_be_bytes();
        let address = SocketAddr::from(([10, 1, high, low], 40_000));
        script.binding = Some("T".to_owned());
        let mut device = SimulatedDevice::new(script, self.script.seed.wrapping_add(u64::from(number) + 1));
        self.streams.connect(self.now, address);
        device.start(self.now);
        self.devices.insert(address, device);
        self.collect_device(address);
        address
    }

    /// Adds a device on DTLS at `10.1.x.x` and switches it on.
    pub fn add_secure_device(&mut self, script: DeviceScript, security: DtlsScript) -> SocketAddr {
        let number = u16::try_from(self.devices.len()).unwrap_or(u16::MAX);
        let [high, low] = number.to_be_bytes();
        let address = SocketAddr::from(([10, 1, high, low], 40_000));
        let seed = self.script.seed.wrapping_add(u64::from(number) + 1);
        self.sessions.insert(address, DtlsClient::new(security, seed));
        let mut device = SimulatedDevice::new(script, seed);
        device.start(self.now);
        self.devices.insert(address, device);
        self.collect_device(address);
        address
    }

    /// Does something with the session of a device and lets it send what came of it.
    pub fn with_session(&mut self, address: SocketAddr, action: impl FnOnce(&mut DtlsClient, Instant)) {
        if let Some(session) = self.sessions.get_mut(&address) {
            action(session, self.now);
        }
        self.collect_session(address);
    }

    /// A datagram arrives at the listener for DTLS, whoever sent it.
    pub fn inject(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        self.deliver(DTLS_LISTENER, from, bytes);
    }

    fn deliver(&mut self, listener: u16, from: SocketAddr, bytes: Vec<u8>) {
        let peer = Peer { listener, remote: from, local: None, session: None };
        self.input(Input::Datagram { peer, bytes });
    }

    /// Does something with a device and lets it send what came of it.
    pub fn with_device(&mut self, address: SocketAddr, action: impl FnOnce(&mut SimulatedDevice, Instant)) {
        if let Some(device) = self.devices.get_mut(&address) {
            action(device, self.now);
        }
        self.collect_device(address);
    }

    /// Switches the gateway on with what its store holds.
    pub fn switch_on(&mut self) {
        self.boots += 1;
        self.booted_at = self.now;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.script.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&self.boots.to_le_bytes());
        let right = self.script.clock_is_right;
        let core = Core::new(
            Instant::ZERO,
            Start {
                configuration: self.script.configuration.clone(),
                model: self.model.clone(),
                plan: self.plan.clone(),
                stored: self.store.stored(),
                seed,
                wall: if right { self.wall() } else { WallTime::from_millis(0) },
                synced: right,
                version: "simulated".to_owned(),
                store_damage: None,
            },
        );
        self.core = Some(core);
        self.worker = Worker::new(self.script.seed.wrapping_mul(31).wrapping_add(self.boots));
        self.drain();
    }

    /// The gateway is stopped as a service manager does it: what it wrote is durable before it is gone.
    pub fn shut_down(&mut self) {
        self.input(Input::Stop);
        self.run_for(self.script.commit_interval);
        self.cut_power();
    }

    /// Power fails: memory and everything not durable is gone, datagrams on their way to the gateway too.
    pub fn cut_power(&mut self) {
        self.core = None;
        self.store.forget();
        self.orders.forget();
        self.worker = Worker::new(0);
        self.broker.break_connection();
        self.streams.break_all(self.now);
    }

    /// The gateway learns the right time.
    pub fn set_clock(&mut self) {
        let wall = self.wall();
        self.input(Input::Clock { wall, synced: true });
    }

    /// The cloud publishes to the gateway.
    pub fn downlink(&mut self, topic: &str, payload: &str) {
        self.broker.downlink(topic, payload);
    }

    /// Asks the gateway; the answer is the last of [`World::answers`].
    pub fn ask(&mut self, query: Query) -> Option<Answer> {
        self.input(Input::Request { request: RequestId(0), query });
        self.answers.pop()
    }

    /// Gives the gateway an input now, if it is on.
    pub fn input(&mut self, input: Input) {
        let now = self.core_now();
        if let Some(core) = &mut self.core {
            core.handle_input(now, input);
        }
        self.drain();
    }

    /// The gateway's numbers, if it is on.
    pub fn gauges(&self) -> Option<crate::instrumentation::gauges::Gauges> {
        self.core.as_ref().map(Core::gauges)
    }

    fn core_now(&self) -> Instant {
        Instant::from_micros(self.now.saturating_since(self.booted_at).as_micros() as u64)
    }

    /// Lets everything happen up to `end`.
    pub fn run_until(&mut self, end: Instant) {
        while let Some(at) = self.next_event()
            && at <= end
        {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Lets everything happen for so long.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    fn next_event(&self) -> Option<Instant> {
        let core = self.core.as_ref().map(|core| {
            let deadline = core.next_deadline().saturating_since(Instant::ZERO);
            self.booted_at + deadline
        });
        let broker = self.core.as_ref().and_then(|_| self.broker.next_event(self.now));
        let store = self.core.as_ref().and_then(|_| self.store.next_commit());
        let devices = self.devices.values().filter_map(SimulatedDevice::next_deadline).min();
        let sessions = self.sessions.values().filter_map(DtlsClient::next_deadline).min();
        let streams = self.streams.next_event(self.now);
        let worker = self.core.as_ref().and_then(|_| self.worker.next_event());
        let orders = self.core.as_ref().and_then(|_| self.orders.next_event());
        let network = self.network.next_delivery();
        [core, broker, store, devices, sessions, streams, worker, orders, network].into_iter().flatten().min()
    }

    fn step(&mut self) {
        while let Some((from, to, bytes)) = self.network.poll_delivery(self.now) {
            let listener = self.listener(to);
            if let Some(listener) = listener {
                self.deliver(listener, from, bytes);
            } else if self.servers.get(&to).is_some_and(|server| *server != from) {
                // The socket of the device belongs to the server that it turned to.
            } else if self.sessions.contains_key(&to) {
                self.with_session(to, |session, now| session.receive(now, &bytes));
            } else {
                self.with_device(to, |device, now| device.handle_datagram(now, &bytes));
            }
        }
        while let Some(arrival) = self.streams.poll(self.now) {
            match arrival {
                Arrival::Server(_, _, StreamInput::Opened { .. }) if self.core.is_none() => {
                    self.streams.break_all(self.now);
                }
                Arrival::Server(peer, connection, input) => self.input(Input::Stream { peer, connection, input }),
                Arrival::Device(address, datagram) => {
                    self.with_device(address, |device, now| device.handle_datagram(now, &datagram));
                }
                Arrival::Reconnected(address) => self.with_device(address, |device, now| {
                    device.forget_observations();
                    device.update(now);
                }),
            }
        }
        let due: Vec<SocketAddr> = self
            .devices
            .iter()
            .filter(|(_, device)| device.next_deadline().is_some_and(|deadline| deadline <= self.now))
            .map(|(address, _)| *address)
            .collect();
        for address in due {
            self.with_device(address, SimulatedDevice::handle_timeout);
        }
        let due = self.sessions.iter().filter(|(_, session)| session.next_deadline().is_some_and(|at| at <= self.now));
        for address in due.map(|(address, _)| *address).collect::<Vec<_>>() {
            self.with_session(address, DtlsClient::handle_timeout);
        }
        if self.core.is_none() {
            return;
        }
        while let Some(input) = self.worker.poll(self.now) {
            if let Some(tap) = &mut self.tap {
                tap.learn(&input);
            }
            self.input(Input::Handshake(input));
        }
        while let Some(input) = self.orders.poll(self.now) {
            self.input(Input::Bootstrap(input));
        }
        if let Some(up_to) = self.store.commit(self.now) {
            self.input(Input::Durable { up_to });
        }
        while let Some(input) = self.broker.poll(self.now) {
            self.input(Input::Sink { sink: SinkIndex(0), input });
        }
        let now = self.core_now();
        if let Some(core) = &mut self.core
            && core.next_deadline() <= now
        {
            core.handle_timeout(now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        let mut follow_up = Vec::new();
        while let Some(output) = self.core.as_mut().and_then(Core::poll_output) {
            self.note(&output);
            match output {
                Output::Transmit { peer, bytes } => {
                    let from = LISTENERS.get(usize::from(peer.listener)).copied().unwrap_or(GATEWAY);
                    let secure = [GATEWAY_DTLS, GATEWAY_BOOTSTRAP_DTLS].contains(&from);
                    if let Some(tap) = self.tap.as_mut().filter(|_| secure) {
                        tap.sent.push(Sent { at: self.now, to: peer.remote, bytes: bytes.clone() });
                    }
                    self.network.send(self.now, from, peer.remote, bytes);
                }
                Output::Handshake(order) => self.worker.order(self.now, order),
                Output::Stream { connection, order } => self.streams.order(self.now, connection, order),
                Output::Store(batch) => self.store.submit(self.now, batch),
                Output::ReadSpool { sink, after, max_rows } => {
                    let rows = self.store.read_spool(&self.sink_name(sink), after, max_rows);
                    follow_up.push(Input::SpoolRows { sink, rows });
                }
                Output::ReadRetained { sink, after, max_rows } => {
                    let rows = self.store.read_retained(&self.sink_name(sink), after.as_deref(), max_rows);
                    follow_up.push(Input::RetainedRows { sink, rows });
                }
                Output::Publish { delivery, message, .. } => self.broker.publish(self.now, delivery, message),
                Output::AcknowledgeInbound { receipt, .. } => self.broker.acknowledge_inbound(receipt),
                Output::Answer { answer, .. } => self.answers.push(answer),
                Output::Event(event) => self.events.push(event),
                Output::Bootstrap(order) => self.orders.order(self.now, order),
                Output::BootstrapNews(news) => self.bootstrap_news.push(news),
                // The simulation has no event streams and no files.
                Output::Value { .. }
                | Output::Result(_)
                | Output::Trace { .. }
                | Output::Log { .. }
                | Output::Registration { .. }
                | Output::Samples { .. }
                | Output::Shell { .. } => {}
                Output::Reload => follow_up.push(Input::Plan { plan: self.plan.clone() }),
            }
        }
        for occurrence in self.core.as_mut().map(Core::take_occurrences).unwrap_or_default() {
            *self.occurrences.entry(occurrence).or_default() += 1;
        }
        for input in follow_up {
            self.input(input);
        }
    }

    fn sink_name(&self, sink: SinkIndex) -> String {
        self.script.configuration.sinks.get(sink.0).map(|sink| sink.name.to_string()).unwrap_or_default()
    }

    fn note(&mut self, output: &Output) {
        use std::hash::{Hash, Hasher};
        let mut hasher = std::hash::DefaultHasher::new();
        (self.trace, self.now, format!("{output:?}")).hash(&mut hasher);
        self.trace = hasher.finish();
    }

    fn collect_device(&mut self, address: SocketAddr) {
        let Some(device) = self.devices.get_mut(&address) else { return };
        while let Some(event) = device.poll_event() {
            if let DeviceEvent::ServerChosen { account } = &event {
                let seed = self.script.seed ^ self.now.micros();
                let former = self.sessions.remove(&address);
                self.sessions.extend(DtlsClient::for_account(account, seed).map(|session| (address, session)));
                let server = self.servers.remove(&address).unwrap_or(GATEWAY_DTLS);
                self.servers.extend(account.address().map(|server| (address, server)));
                if let Some(mut former) = former {
                    former.close();
                    while let Some(datagram) = former.poll_server() {
                        self.network.send(self.now, address, server, datagram);
                    }
                }
            }
            if let Some(session) = self.sessions.get_mut(&address) {
                session.follow(&event);
            }
            self.device_events.push((self.now, address, event));
        }
        while let Some(bytes) = device.poll_transmit() {
            if self.streams.has(address) {
                self.streams.send(self.now, address, &bytes);
            } else if let Some(session) = self.sessions.get_mut(&address) {
                session.send(self.now, bytes);
            } else {
                let server = self.servers.get(&address).copied().unwrap_or(GATEWAY);
                self.network.send(self.now, address, server, bytes);
            }
        }
        self.send_records(address);
    }

    /// The listener for datagrams at an address.
    fn listener(&self, address: SocketAddr) -> Option<u16> {
        let mut known = self.script.configuration.transports.iter().zip(LISTENERS);
        let position = known.position(|(transport, own)| own == address && !transport.is_stream());
        position.and_then(|position| u16::try_from(position).ok())
    }

    /// What a session holds for its device and for the gateway.
    fn collect_session(&mut self, address: SocketAddr) {
        self.send_records(address);
        while let Some(datagram) = self.sessions.get_mut(&address).and_then(DtlsClient::poll_device) {
            self.with_device(address, |device, now| device.handle_datagram(now, &datagram));
        }
    }

    fn send_records(&mut self, address: SocketAddr) {
        let server = self.servers.get(&address).copied().unwrap_or(GATEWAY_DTLS);
        let Some(session) = self.sessions.get_mut(&address) else { return };
        while let Some(datagram) = session.poll_server() {
            self.network.send(self.now, address, server, datagram);
        }
        while let Some(event) = session.poll_event() {
            self.session_events.push((self.now, address, event));
        }
    }

    /// A new mapping plan reaches the gateway.
    pub fn load_plan(&mut self, plan: Plan) {
        self.plan = Arc::new(plan);
        let plan = self.plan.clone();
        self.input(Input::Plan { plan });
    }

    /// The sink breaks in the middle: what is in flight is lost, the broker stays.
    pub fn break_connection(&mut self) {
        self.broker.break_connection();
        self.input(Input::Sink {
            sink: SinkIndex(0),
            input: SinkInput::Disconnected { reason: "the connection broke".to_owned() },
        });
    }
}

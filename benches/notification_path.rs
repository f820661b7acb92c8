//! What one confirmable notification costs the whole core: datagram in, values mapped, batch written, acknowledgement
//! out, message published and acknowledged.
//!
//! Devices, broker and store are played in virtual time and only the calls of the core are timed. The store answers
//! each batch at once, so that every notification pays for a batch of its own: the dearest case.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use lwm2mqtt::gateway::configuration::{
    Configuration, Limits, Lwm2mConfiguration, Role, SinkConfiguration, UnknownDevices, WhenFull,
};
use lwm2mqtt::gateway::core::{Core, Start};
use lwm2mqtt::gateway::store::StoredState;
use lwm2mqtt::gateway::vocabulary::{Input, Output, Peer, SinkIndex, SinkInput};
use lwm2mqtt::io::clock::monotonic_now;
use lwm2mqtt::mapping::{MappingFile, Plan};
use lwm2mqtt::model::object::ObjectModel;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::time::{Instant, WallTime};
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::SimulatedDevice;
use lwm2mqtt::simulator::scripts::thermometer;

const TEMPERATURE: Path = Path::resource(3303, 0, 5700);
/// Each device reports that often in virtual time: more than the five seconds that the built-in plan asks for at least.
const ROUND: Duration = Duration::from_millis(5_100);

/// A core with its devices, broker and store.
struct World {
    core: Core,
    devices: Vec<SimulatedDevice>,
    now: Instant,
    inputs: VecDeque<Input>,
    /// Datagrams to devices, by number.
    datagrams: Vec<(usize, Vec<u8>)>,
    /// Time spent in the core.
    spent: Duration,
    acknowledgements: u64,
    published: u64,
}

impl World {
    /// Devices that are registered and observed.
    fn new(devices: usize, rules: usize) -> Self {
        let now = Instant::ZERO;
        let mut world = Self {
            core: core(now, rules),
            devices: (0..devices).map(|number| SimulatedDevice::new(device(number), number as u64)).collect(),
            now,
            inputs: VecDeque::new(),
            datagrams: Vec::new(),
            spent: Duration::ZERO,
            acknowledgements: 0,
            published: 0,
        };
        let connected = SinkInput::Connected { max_packet_bytes: 1 << 20, receive_maximum: 256 };
        world.feed(Input::Sink { sink: SinkIndex(0), input: connected });
        for number in 0..devices {
            world.devices[number].start(world.now);
            world.exchange(number);
        }
        // Whatever the core does a little later: reads, observations, retained topics.
        for _ in 0..60 {
            world.now = world.now + Duration::from_millis(500);
            world.pass_time();
            (0..devices).for_each(|number| world.exchange(number));
        }
        let observed =
            world.devices.iter().filter(|device| device.observed_paths().any(|path| path.contains(&TEMPERATURE)));
        assert_eq!(observed.count(), devices, "every temperature is observed");
        world
    }

    /// One notification of one device, and all that follows from it.
    fn notify(&mut self, turn: u64) {
        let number = turn as usize % self.devices.len();
        self.now = self.now + ROUND / self.devices.len() as u32;
        self.pass_time();
        let (before, published) = (self.acknowledgements, self.published);
        self.devices[number].handle_timeout(self.now);
        self.devices[number].set_value(self.now, TEMPERATURE, Value::Float(f64::from(turn as u16 % 40)));
        self.exchange(number);
        assert!(self.acknowledgements > before, "turn {turn} at {:?}: the notification was acknowledged", self.now);
        assert!(self.published > published, "turn {turn} at {:?}: the notification was published", self.now);
    }

    /// Lets a device and the core talk until both are silent.
    fn exchange(&mut self, number: usize) {
        loop {
            while let Some(bytes) = self.devices[number].poll_transmit() {
                let remote = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 5_683));
                self.feed(Input::Datagram { peer: Peer { listener: 0, remote, local: None, session: None }, bytes });
            }
            if self.datagrams.is_empty() {
                break;
            }
            let now = self.now;
            for (to, bytes) in std::mem::take(&mut self.datagrams) {
                self.devices[to].handle_datagram(now, &bytes);
                // Others than the one that talks may have been asked something.
                if to != number {
                    self.exchange(to);
                }
            }
        }
        while self.devices[number].poll_event().is_some() {}
    }

    fn pass_time(&mut self) {
        while self.core.next_deadline() <= self.now {
            let start = monotonic_now();
            self.core.handle_timeout(self.now);
            self.drain();
            self.spent += start.elapsed();
            self.feed_waiting();
        }
    }

    fn feed(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.feed_waiting();
    }

    fn feed_waiting(&mut self) {
        let start = monotonic_now();
        while let Some(input) = self.inputs.pop_front() {
            self.core.handle_input(self.now, input);
            self.drain();
        }
        self.spent += start.elapsed();
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Transmit { peer, bytes } => {
                    // Type 2 in the first byte and an empty code: what a confirmable notification waits for.
                    self.acknowledgements += u64::from(matches!(bytes.as_slice(), [0x60, 0, _, _]));
                    let [_, _, high, low] = match peer.remote.ip() {
                        std::net::IpAddr::V4(four) => four.octets(),
                        std::net::IpAddr::V6(_) => [0; 4],
                    };
                    self.datagrams.push((usize::from(high) << 8 | usize::from(low), bytes));
                }
                Output::Store(batch) => self.inputs.push_back(Input::Durable { up_to: batch.sequence }),
                Output::Publish { sink, delivery, .. } => {
                    self.published += 1;
                    self.inputs.push_back(Input::Sink { sink, input: SinkInput::Acknowledged { delivery } });
                }
                Output::ReadSpool { sink, .. } => {
                    self.inputs.push_back(Input::SpoolRows { sink, rows: Vec::new() });
                }
                Output::ReadRetained { sink, .. } => {
                    self.inputs.push_back(Input::RetainedRows { sink, rows: Vec::new() });
                }
                Output::Stream { .. }
                | Output::AcknowledgeInbound { .. }
                | Output::Answer { .. }
                | Output::Event(_)
                | Output::Value { .. }
                | Output::Trace { .. }
                | Output::Log { .. }
                | Output::Result(_)
                | Output::Registration { .. }
                | Output::Samples { .. }
                | Output::Handshake(_)
                | Output::Bootstrap(_)
                | Output::BootstrapNews(_)
                | Output::Shell { .. }
                | Output::Reload => {}
            }
        }
        self.core.take_occurrences();
    }
}

fn device(number: usize) -> lwm2mqtt::simulator::script::DeviceScript {
    thermometer(format!("urn:imei:{number:015}"))
}

fn core(now: Instant, rules: usize) -> Core {
    let model = Arc::new(ObjectModel::built_in());
    let mut text = "version = 1\n".to_owned();
    for number in 0..rules {
        let object = 33_000 + number;
        write!(text, "[[telemetry]]\npath = \"/{object}/*/5700\"\nkey = \"key_{number}\"\nobserve = false\n")
            .expect("a text takes everything");
    }
    let files = [MappingFile { name: "rules.toml".to_owned(), text }];
    let compiled = Plan::compile(&files, &model, true);
    let plan = compiled.plan.unwrap_or_else(|| panic!("the plan has errors: {:#?}", compiled.problems));
    let sink = SinkConfiguration {
        name: "local".into(),
        base: "lwm2m".to_owned(),
        role: Role::Operator,
        max_spool_bytes: 256 << 20,
        max_spool_age: Duration::from_secs(7 * 24 * 60 * 60),
        when_full: WhenFull::DropOldest,
    };
    let configuration = Configuration {
        gateway_name: "bench".to_owned(),
        lwm2m: Lwm2mConfiguration { unknown_devices: UnknownDevices::Accept, ..Lwm2mConfiguration::default() },
        limits: Limits::default(),
        sinks: vec![sink],
        streams_values: true,
        ..Configuration::default()
    };
    let wall = WallTime::from_secs(1_760_000_000);
    let (stored, version) = (StoredState::default(), "bench".to_owned());
    let plan = Arc::new(plan);
    Core::new(
        now,
        Start { configuration, model, plan, stored, seed: [7; 32], wall, synced: true, version, store_damage: None },
    )
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("notification_path");
    group.throughput(Throughput::Elements(1)).sample_size(30);
    for (devices, rules) in [(1, 0), (1_000, 0), (10_000, 0), (1_000, 200)] {
        let name = BenchmarkId::new(format!("{devices}_devices"), format!("{rules}_own_rules"));
        // Made when first asked for, so that a filter on the command line does not pay for the others.
        let mut world = None;
        let mut turn = 0;
        group.bench_function(name, |bencher| {
            let world = world.get_or_insert_with(|| World::new(devices, rules));
            bencher.iter_custom(|iterations| {
                world.spent = Duration::ZERO;
                for _ in 0..iterations {
                    turn += 1;
                    world.notify(turn);
                }
                world.spent
            });
        });
    }
    group.finish();
    criterion.final_summary();
}

//! Properties that must hold in every run, whatever the network, the broker and the power do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::DeviceEvent;
use lwm2mqtt::simulator::dtls::client::DtlsScript;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::World;
use serde_json::Value as Json;

/// The observed counter of a [`counting_device`].
pub(super) const COUNTER: Path = Path::resource(3303, 0, 5700);

/// A device whose temperature is a counter, so that every value is unlike every other.
pub(super) fn counting_device(endpoint: &str) -> DeviceScript {
    let mut script = DeviceScript::new(endpoint).with(COUNTER, Value::Float(0.0));
    script.registration_retry = Duration::from_secs(2);
    script
}

/// Whether a notification carries the counter: by itself, or among several paths.
fn is_counted(path: Path) -> bool {
    path == COUNTER || path == Path::ROOT
}

/// Counts on devices and remembers which number each notification carried.
pub(super) struct Counters {
    next: BTreeMap<SocketAddr, u32>,
    carried: BTreeMap<(SocketAddr, u32), BTreeSet<u32>>,
    seen_events: usize,
    /// Numbers whose notification was acknowledged, by endpoint.
    pub(super) acknowledged: BTreeMap<String, Vec<u32>>,
    endpoints: BTreeMap<SocketAddr, String>,
}

impl Counters {
    /// Cuts the power in rounds at moments that the seed chooses, with the broker away now and then, and checks the end.
    pub(crate) fn check_over_power_cuts(&mut self, world: &mut World, seed: u64, rounds: u64) {
        for round in 0..rounds {
            self.count(world);
            // Somewhere between the datagram, the commit, the acknowledgement and the broker.
            let moment = (seed.wrapping_mul(2_654_435_761).wrapping_add(round * 97)) % 400;
            for _ in 0..moment {
                world.run_for(Duration::from_millis(1));
            }
            self.follow(world);
            if round % 3 == 1 {
                world.broker.reachable = !world.broker.reachable;
            }
            world.cut_power();
            world.run_for(Duration::from_millis(700));
            self.follow(world);
            world.switch_on();
            world.run_for(Duration::from_secs(3));
            self.follow(world);
        }
        world.broker.reachable = true;
        world.run_for(Duration::from_secs(300));
        self.follow(world);
        self.check(world);
    }

    pub(super) fn new() -> Self {
        Self {
            next: BTreeMap::new(),
            carried: BTreeMap::new(),
            seen_events: 0,
            acknowledged: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        }
    }

    /// Adds a device to the world that counts.
    pub(super) fn add(&mut self, world: &mut World, script: DeviceScript) -> SocketAddr {
        let endpoint = script.endpoint.clone();
        let address = world.add_device(script);
        self.know(address, endpoint)
    }

    /// The same on TCP.
    pub(super) fn add_streamed(&mut self, world: &mut World, script: DeviceScript) -> SocketAddr {
        let endpoint = script.endpoint.clone();
        let address = world.add_streamed_device(script);
        self.know(address, endpoint)
    }

    /// The same on DTLS.
    pub(super) fn add_secure(&mut self, world: &mut World, script: DeviceScript, security: DtlsScript) -> SocketAddr {
        let endpoint = script.endpoint.clone();
        let address = world.add_secure_device(script, security);
        self.know(address, endpoint)
    }

    fn know(&mut self, address: SocketAddr, endpoint: String) -> SocketAddr {
        self.endpoints.insert(address, endpoint);
        self.next.insert(address, 1);
        address
    }

    /// The observations of a device are made anew: their Observe values begin again, and what was under way is lost.
    pub(super) fn begin_sequences_anew(&mut self, device: SocketAddr) {
        self.carried.retain(|(address, _), _| *address != device);
    }

    /// The next number on every device.
    pub(super) fn count(&mut self, world: &mut World) {
        // What was sent up to now carried the number before.
        self.follow(world);
        for (address, next) in &mut self.next {
            let value = Value::Float(f64::from(*next));
            *next += 1;
            world.with_device(*address, |device, now| device.set_value(now, COUNTER, value));
        }
        self.follow(world);
    }

    /// Looks at what devices told since the last call.
    pub(super) fn follow(&mut self, world: &World) {
        for (_, address, event) in world.device_events.iter().skip(self.seen_events) {
            match event {
                DeviceEvent::NotificationSent { path, sequence, .. } if is_counted(*path) => {
                    // Sent at the time of the count, or later by a timer: then it carries the newest number.
                    let current = self.next.get(address).map_or(0, |next| next - 1);
                    self.carried.entry((*address, *sequence)).or_default().insert(current);
                }
                DeviceEvent::NotificationAcknowledged { path, sequence, .. } if is_counted(*path) => {
                    let endpoint = self.endpoints.get(address).cloned().unwrap_or_default();
                    // Only where it is certain which number was carried.
                    if let Some(carried) = self.carried.get(&(*address, *sequence))
                        && carried.len() == 1
                    {
                        self.acknowledged.entry(endpoint).or_default().extend(carried);
                    }
                }
                _ => {}
            }
        }
        self.seen_events = world.device_events.len();
    }

    /// Runs the world in small steps, counting at the beginning of each.
    pub(super) fn run(&mut self, world: &mut World, counts: u32, step: Duration) {
        for _ in 0..counts {
            self.count(world);
            // Fine steps, so that a notification sent by a timer is seen before the next count.
            for _ in 0..4 {
                world.run_for(step / 4);
                self.follow(world);
            }
        }
    }

    /// Nothing acknowledged to a device is missing at the broker, and each device's values came in order.
    pub(super) fn check(&self, world: &World) {
        for (endpoint, acknowledged) in &self.acknowledged {
            let telemetry = telemetry_numbers(world, endpoint);
            let arrived: BTreeSet<u32> = telemetry.iter().copied().collect();
            for number in acknowledged {
                assert!(
                    arrived.contains(number),
                    "{endpoint}: {number} was acknowledged and never arrived: {telemetry:?}"
                );
            }
            let mut first_seen = BTreeSet::new();
            let mut highest = 0;
            for number in telemetry {
                if first_seen.insert(number) {
                    assert!(number >= highest, "{endpoint}: {number} arrived for the first time after {highest}");
                    highest = number;
                }
            }
        }
    }

    /// How many numbers were acknowledged: a test that checks nothing is no test.
    pub(super) fn total(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }
}

/// The numbers of a counting device in the order in which they reached the broker.
pub(super) fn telemetry_numbers(world: &World, endpoint: &str) -> Vec<u32> {
    bodies(world, &format!("lwm2m/{endpoint}/telemetry"))
        .iter()
        .filter_map(|body| body["values"]["temperature_0"].as_f64())
        .map(|number| {
            #[expect(clippy::cast_sign_loss, reason = "the devices count from 0 upwards")]
            let number = number as u32;
            number
        })
        .collect()
}

/// Bodies that reached the broker on a topic.
pub(super) fn bodies(world: &World, topic: &str) -> Vec<Json> {
    let on_topic = world.broker.received.iter().filter(|(_, message)| message.topic == topic);
    on_topic.filter_map(|(_, message)| serde_json::from_slice(&message.payload).ok()).collect()
}

/// The latest retained body of a topic.
pub(super) fn retained(world: &World, topic: &str) -> Option<Json> {
    serde_json::from_slice(world.broker.retained.get(topic)?).ok()
}

/// Results of a command by status, repetitions of one and the same result taken together.
pub(super) fn results(world: &World, endpoint: &str, id: &str) -> Vec<Json> {
    let mut seen: Vec<Json> = Vec::new();
    for body in bodies(world, &format!("lwm2m/{endpoint}/response")) {
        if body["id"] == id && !seen.contains(&body) {
            seen.push(body);
        }
    }
    seen
}

/// Exactly one terminal result.
pub(crate) fn terminal(world: &World, endpoint: &str, id: &str) -> Json {
    let terminal: Vec<Json> =
        results(world, endpoint, id).into_iter().filter(|result| result["status"] != "queued").collect();
    assert_eq!(terminal.len(), 1, "{id}: {terminal:?}");
    terminal.into_iter().next().unwrap()
}

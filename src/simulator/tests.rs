//! A fleet, a network and a tiny server together in virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use super::fleet::{Fleet, FleetPlan};
use super::network::{Conditions, Network, NetworkStatistics};
use super::scripts::DeviceKind;
use super::statistics::FleetStatistics;
use super::tiny_server::TinyServer;
use crate::model::path::Path;
use crate::model::time::Instant;

const TEMPERATURE: Path = Path::resource(3303, 0, 5700);

fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5683))
}

fn device_address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 1_000 + index as u16))
}

struct World {
    fleet: Fleet,
    network: Network,
    server: TinyServer,
    now: Instant,
}

impl World {
    fn new(devices: u32, interval: Duration, conditions: Conditions, seed: u64) -> Self {
        let plan = FleetPlan {
            transport: crate::gateway::configuration::Transport::Udp,
            devices,
            first_number: 0,
            endpoint_prefix: "sim-".to_owned(),
            kind: DeviceKind::Thermometer,
            lifetime_secs: 120,
            interval,
            registrations_per_second: 10.0,
            bootstrap: None,
            seed,
        };
        Self {
            fleet: Fleet::new(&plan, Instant::ZERO),
            network: Network::new(seed, conditions),
            server: TinyServer::new(TEMPERATURE),
            now: Instant::ZERO,
        }
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            while let Some(departure) = self.fleet.poll_transmit() {
                let from = device_address(departure.device);
                self.network.send(self.now, from, server_address(), departure.bytes);
            }
            for (to, bytes) in self.server.take_outgoing() {
                self.network.send(self.now, server_address(), to, bytes);
            }
            if let Some((from, to, bytes)) = self.network.poll_delivery(self.now) {
                if to == server_address() {
                    self.server.handle_datagram(self.now, from, &bytes);
                } else {
                    self.fleet.handle_datagram(self.now, usize::from(to.port()) - 1_000, &bytes);
                }
                continue;
            }
            let deadlines = [self.fleet.next_deadline(), self.server.next_deadline(), self.network.next_delivery()];
            let next = deadlines.into_iter().flatten().min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.fleet.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
    }

    fn summary(&self) -> (FleetStatistics, NetworkStatistics) {
        (self.fleet.statistics().clone(), self.network.statistics())
    }
}

#[test]
fn a_fleet_registers_and_reports_through_a_lossy_network() {
    let mut world = World::new(20, Duration::from_secs(5), Conditions::lossy(), 11);
    world.run_until(Instant::from_secs(600));
    let (statistics, network) = world.summary();
    assert!(network.lost > 100, "{network:?}");
    assert_eq!(world.fleet.registered(), 20);
    assert!(statistics.updates >= 20 * 8, "{statistics:?}");
    // 20 devices, 600 s, one report in 5 s; a report waits while the one before is retransmitted.
    assert!(statistics.acknowledged > 1_500, "{statistics:?}");
    assert!(statistics.lost <= statistics.sent / 100, "{statistics:?}");
    assert!(world.server.values() >= statistics.acknowledged);
    assert!(statistics.latency.percentile(50) >= Duration::from_millis(100));
    assert!(statistics.latency.max() > Duration::from_secs(2), "some were retransmitted");
}

#[test]
fn after_the_last_report_the_server_knows_the_state_of_every_device() {
    let mut world = World::new(10, Duration::from_secs(1), Conditions::lossy(), 12);
    world.run_until(Instant::from_secs(120));
    world.fleet.stop_reporting();
    world.run_until(Instant::from_secs(240));
    for index in 0..10 {
        let value = world.fleet.device(index).and_then(|device| device.tree().value(&TEMPERATURE)).unwrap();
        let shown = value.to_json().unwrap().as_f64().unwrap();
        let known: f64 =
            std::str::from_utf8(world.server.newest(device_address(index)).unwrap()).unwrap().parse().unwrap();
        assert!((shown - known).abs() < 1e-9, "device {index}: {shown} and {known}");
    }
}

#[test]
fn a_closed_loop_keeps_one_notification_of_each_device_in_flight() {
    let mut world = World::new(5, Duration::ZERO, Conditions::perfect(), 13);
    world.run_until(Instant::from_secs(11));
    let (statistics, _) = world.summary();
    // One round trip takes 2 ms; devices start within half a second.
    assert!(statistics.acknowledged > 5 * 5_000, "{statistics:?}");
    assert!(statistics.sent - statistics.acknowledged <= 5);
    assert_eq!((statistics.lost, statistics.registrations), (0, 5));
    assert_eq!(statistics.latency.percentile(99), Duration::from_millis(2));
}

#[test]
fn a_partition_ends_in_new_registrations_and_reports_go_on() {
    let mut world = World::new(3, Duration::from_secs(5), Conditions::perfect(), 14);
    world.run_until(Instant::from_secs(60));
    world.network.cut(server_address());
    world.run_until(Instant::from_secs(400));
    assert!(world.summary().0.lost > 0);
    let before = world.summary().0.acknowledged;
    world.network.restore(server_address());
    world.run_until(Instant::from_secs(1_000));
    assert_eq!(world.fleet.registered(), 3);
    assert!(world.server.registrations >= 6);
    assert!(world.summary().0.acknowledged > before + 100);
}

#[test]
fn a_run_is_the_same_for_the_same_seed_only() {
    let run = |seed| {
        let mut world = World::new(8, Duration::from_secs(3), Conditions::lossy(), seed);
        world.run_until(Instant::from_secs(200));
        world.summary()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

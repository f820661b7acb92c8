//! Many at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::model::time::Instant;
use lwm2mqtt::simulator::device::{DeviceEvent, SimulatedDevice};
use lwm2mqtt::simulator::dtls::client::DtlsEvent;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::WorldScript;

use super::super::checks::counting_device;
use super::{reports, security, world_of};

#[test]
fn a_thousand_devices_that_reboot_at_once_are_all_back_in_half_a_minute_while_others_report() {
    const DEVICES: usize = 1_000;
    let names: Vec<String> = (0..DEVICES).map(|number| format!("dev{number}")).collect();
    let mut world = world_of(WorldScript::new(1), names.iter().map(String::as_str).chain(["calm"]));
    world.tap = None;
    let calm = world.add_secure_device(counting_device("calm"), security("calm"));
    let mut devices = Vec::new();
    for name in &names {
        let mut script = DeviceScript::new(name.as_str());
        script.update_interval = Some(Duration::from_secs(3_600));
        devices.push(world.add_secure_device(script, security(name)));
    }
    world.run_for(Duration::from_secs(90));
    assert!(devices.iter().all(|device| world.devices[device].is_registered()));
    assert!(reports(&mut world, calm, 1));
    // The observation lets a value through each five seconds.
    world.run_for(Duration::from_secs(4));

    let (begun, seen) = (world.now(), world.device_events.len());
    for device in &devices {
        world.with_device(*device, SimulatedDevice::restart);
    }
    for number in 2..10 {
        assert!(reports(&mut world, calm, number), "{number}");
        world.run_for(Duration::from_secs(4));
    }
    let mut back: BTreeMap<SocketAddr, Instant> = BTreeMap::new();
    for (at, address, event) in world.device_events.iter().skip(seen) {
        if matches!(event, DeviceEvent::Registered { .. }) {
            back.entry(*address).or_insert(*at);
        }
    }
    assert_eq!(back.len(), DEVICES);
    let mut waits: Vec<Duration> = back.values().map(|at| at.saturating_since(begun)).collect();
    waits.sort_unstable();
    assert!(waits[DEVICES - 1] < Duration::from_secs(30), "{:?}", waits[DEVICES - 1]);
    assert!(waits[DEVICES / 2] < Duration::from_secs(10), "{:?}", waits[DEVICES / 2]);
    // Nobody gave up, and no more were served at a time than there is room for.
    assert!(!world.session_events.iter().any(|(_, _, event)| matches!(event, DtlsEvent::TimedOut)));
    assert!(world.worker.most_under_way() <= 256, "{}", world.worker.most_under_way());
    assert_eq!(world.gauges().unwrap().sessions, DEVICES + 1);
}

//! A site that is switched on.

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::BootstrapQuery;
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::simulator::bootstrap_script::BootstrapScript;
use lwm2mqtt::simulator::device::SimulatedDevice;
use lwm2mqtt::simulator::world::{World, WorldScript};

use super::{ask, counted, generous, is_there, know, refused_handshakes, runs_until, secure};

#[test]
fn a_thousand_devices_that_bootstrap_at_once_over_pre_shared_keys_all_arrive() {
    const DEVICES: usize = 1_000;
    let mut world = World::new(generous(WorldScript::new(1)));
    let names: Vec<String> = (0..DEVICES).map(|number| format!("dev{number}")).collect();
    for name in &names {
        know(&mut world, name);
    }
    world.run_for(Duration::from_secs(5));
    let devices: Vec<SocketAddr> =
        names.iter().map(|name| world.add_device(secure(name, BootstrapScript::default()))).collect();
    let all = |world: &World| world.devices.values().all(SimulatedDevice::is_registered);
    assert!(runs_until(&mut world, Duration::from_secs(120), all));
    assert!(devices.iter().all(|device| is_there(&world, *device)));
    assert_eq!(refused_handshakes(&world), 0);
    assert_eq!(counted(&world, Occurrence::BootstrapEnded("done")), DEVICES as u64);
    // Sessions with the bootstrap server are over; no more was served at a time than there is room for.
    let gauges = world.gauges().unwrap();
    assert_eq!((gauges.sessions, gauges.handshakes), (DEVICES, 0));
    assert!(world.worker.most_under_way() <= 256, "{}", world.worker.most_under_way());
    let page = ask(&mut world, BootstrapQuery::Sessions { endpoint: None, after: None, limit: 10_000 });
    let kept = page["items"].as_array().map_or(0, Vec::len);
    assert!((1..=DEVICES).contains(&kept), "{kept}");
}

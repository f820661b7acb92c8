//! Devices that know nothing but the bootstrap server, all at once: how long a site takes that is switched on, and what
//! its sessions leave in memory.

use std::time::Duration;

use lwm2mqtt::gateway::configuration::Transport;
use lwm2mqtt::io::fleet::{FleetConfiguration, run_fleet};
use lwm2mqtt::simulator::fleet::endpoint_name;
use lwm2mqtt::simulator::psk;
use lwm2mqtt::simulator::scripts::DeviceKind;

use super::rig::{Outcome, Rig, Settings};
use super::sessions::NO_RATES;
use super::{mib, tell};

const RUNS: usize = 3;
const DEVICES: u32 = 1_000;
const PREFIX: &str = "figures-";
/// For all of them to bootstrap, to turn to their server and to be observed.
const RUN_TIME: Duration = Duration::from_secs(20);

/// Prints all of it.
pub(crate) async fn bootstraps() -> Outcome<()> {
    for (rates, lwm2m) in [("as many a second as usual", ""), ("as many a second as come", NO_RATES)] {
        println!(
            "\nbootstrapping: {DEVICES} devices at once over PSK, handshakes {rates}, {RUNS} runs of {RUN_TIME:?}"
        );
        let mut figures: [Vec<f64>; 5] = Default::default();
        for _ in 0..RUNS {
            let rig = Rig::start(Settings { lwm2m, dtls: true, bootstrap: true, ..Settings::default() }).await?;
            know_devices(&rig).await?;
            let before = rig.usage()?;
            let mut fleet = FleetConfiguration::new(rig.bootstrap, DEVICES);
            PREFIX.clone_into(&mut fleet.endpoint_prefix);
            fleet.transport = Transport::Dtls;
            fleet.bootstraps = true;
            fleet.kind = DeviceKind::Thermometer;
            fleet.interval = Duration::from_secs(3_600);
            fleet.registrations_per_second = 0.0;
            fleet.deregisters = false;
            fleet.duration = Some(RUN_TIME);
            let report = run_fleet(fleet).await?;
            let after = rig.usage()?;
            if report.registered < u64::from(DEVICES) || report.bootstrap_failures > 0 {
                println!(
                    "  only {} bootstrapped and {} registered, {} sessions failed",
                    report.bootstraps, report.registered, report.bootstrap_failures
                );
            }
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            let resident = [before.resident_kib, after.resident_kib].map(mib);
            let cost = cpu * 1e6 / f64::from(DEVICES);
            let values = [report.bootstraps_per_s, report.registrations_per_s, cost, resident[0], resident[1]];
            figures.iter_mut().zip(values).for_each(|(figure, value)| figure.push(value));
        }
        let [sessions, registrations, cost, before, after] = figures;
        tell("bootstrap sessions, from the first to the last one that was finished", "1/s", &sessions);
        tell("registrations with the keys that they were told", "1/s", &registrations);
        tell("gateway CPU per device, both handshakes, registration and reads", "us", &cost);
        tell("resident memory before", "MiB", &before);
        tell("resident memory with all devices registered", "MiB", &after);
    }
    Ok(())
}

async fn know_devices(rig: &Rig) -> Outcome<()> {
    let credentials = (0..DEVICES).map(|number| {
        let endpoint = endpoint_name(PREFIX, number);
        let key = data_encoding::HEXLOWER.encode(psk::key(endpoint.as_bytes(), None).expose());
        serde_json::json!({
            "endpoint": endpoint, "mode": "psk", "key": key, "key_format": "hex", "scope": "bootstrap"
        })
    });
    rig.post("/api/v1/credentials", &credentials.collect()).await
}

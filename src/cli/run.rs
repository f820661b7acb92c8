//! `run`, `demo` and `simulate`: the commands that are a process of their own.

use std::io;
use std::time::Duration;

use super::arguments::{DemoArguments, RunArguments, SimulateArguments, SimulatedKind};
use super::{Ending, Terminal};
use crate::daemon;
use crate::simulator::scripts::DeviceKind;
use crate::simulator::statistics::FleetReport;

/// `lwm2mqtt run`.
pub(super) fn run(arguments: &RunArguments) -> Ending {
    match daemon::run::run(arguments.config.config.as_deref(), arguments.strict) {
        daemon::run::Exit::Fine => Ending::Fine,
        daemon::run::Exit::Failed => Ending::Failed,
        daemon::run::Exit::Wrong => Ending::Wrong,
    }
}

/// `lwm2mqtt demo`.
pub(super) fn demo(arguments: &DemoArguments, terminal: &mut Terminal<'_>) -> io::Result<Ending> {
    let demo = daemon::demo::Demo {
        seconds: arguments.seconds,
        devices: arguments.devices,
        bootstrap: arguments.bootstrap,
        lwm2m_port: arguments.lwm2m_port,
        mqtt_port: arguments.mqtt_port,
        http_port: arguments.http_port,
    };
    match daemon::demo::demo(demo) {
        Ok(()) => Ok(Ending::Fine),
        Err(error) => failed(&error, terminal),
    }
}

/// `lwm2mqtt simulate`.
pub(super) fn simulate(arguments: &SimulateArguments, terminal: &mut Terminal<'_>) -> io::Result<Ending> {
    let simulation = daemon::simulate::Simulation {
        server: arguments.server.clone(),
        devices: arguments.devices,
        interval: arguments.interval,
        duration: arguments.seconds.map(Duration::from_secs),
        endpoint_prefix: arguments.psk_prefix.clone(),
        psk_key_file: arguments.psk_key_file.clone(),
        registrations_per_second: arguments.registrations_per_second.map(f64::from),
        kind: match arguments.kind {
            SimulatedKind::Mixed => DeviceKind::Mixed,
            SimulatedKind::WeatherStation => DeviceKind::WeatherStation,
            SimulatedKind::Thermometer => DeviceKind::Thermometer,
        },
        bootstrap: arguments.bootstrap,
    };
    match daemon::simulate::simulate(&simulation) {
        Ok(report) if arguments.json => {
            terminal.say_json(&serde_json::to_value(&report).unwrap_or_default())?;
            Ok(Ending::Fine)
        }
        Ok(report) => tell(&report, terminal).map(|()| Ending::Fine),
        Err(error) => failed(&error, terminal),
    }
}

fn failed(error: &str, terminal: &mut Terminal<'_>) -> io::Result<Ending> {
    terminal.complain(&format!("error: {error}"))?;
    Ok(Ending::Failed)
}

fn tell(report: &FleetReport, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let latency = &report.latency_ms;
    terminal.say(&format!(
        "devices        {} of {} registered at the end, {:.0} registrations/s",
        report.registered, report.devices, report.registrations_per_s
    ))?;
    if report.handshakes + report.handshake_failures > 0 {
        terminal.say(&format!("handshakes     {} done, {} failed", report.handshakes, report.handshake_failures))?;
    }
    if report.bootstraps + report.bootstrap_failures > 0 {
        terminal.say(&format!(
            "bootstraps     {} finished ({:.0}/s), {} failed",
            report.bootstraps, report.bootstraps_per_s, report.bootstrap_failures
        ))?;
    }
    terminal.say(&format!(
        "notifications  {} sent, {} acknowledged ({:.0}/s), {} lost",
        report.sent, report.acknowledged, report.acknowledged_per_s, report.lost
    ))?;
    terminal.say(&format!(
        "latency        p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        latency.p50, latency.p90, latency.p99, latency.max
    ))?;
    terminal.say(&format!("duration       {:.1} s", report.duration_s))
}

//! Figures of the real binary, each with a mosquitto of its own on the loopback interface:
//! `tests/figures/run [commands] [registrations] [load] [latency] [memory] [tcp] [dtls]
//! [bootstrap]`; without words all, in about nine minutes.
//!
//! The program is `$LWM2MQTT_BINARY` or `target/release/lwm2mqtt`; its data lies below `$FIGURES_FOLDER` or
//! `target/figures`, which should be on the disk that counts. Everything shares the processors of this machine: the
//! gateway, the broker and the devices, so that figures per second say what the machine as a whole does, while the
//! processor time of the gateway is its own. Nothing is asserted: what is good enough depends on the machine.
#![expect(clippy::cast_precision_loss, reason = "figures are for people")]

#[path = "../../tests/end_to_end/harness/authority.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "made for tests, which use all of it and fail by panicking")]
mod authority;
mod bootstraps;
mod commands;
mod devices;
mod rig;
mod sessions;

use std::process::ExitCode;
use std::time::Duration;

use devices::Plan;
use lwm2mqtt::gateway::configuration::Transport;
use lwm2mqtt::io::fleet::{FleetConfiguration, run_fleet, run_fleet_until};
use lwm2mqtt::simulator::scripts::DeviceKind;
use rig::{Outcome, Rig, Settings};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

const PARTS: [&str; 8] = ["commands", "registrations", "load", "latency", "memory", "tcp", "dtls", "bootstrap"];
const RUNS: usize = 3;
const LOAD_DEVICES: u32 = 1_000;
const LOAD_TIME: Duration = Duration::from_secs(12);
const REGISTERING_DEVICES: u32 = 2_000;
const COMMANDED_DEVICES: u32 = 100;
const COMMAND_TIME: Duration = Duration::from_secs(8);
const STREAM_DEVICES: u32 = 2_000;
const WARM_UP: Duration = Duration::from_secs(3);
const LATENCY_TIME: Duration = Duration::from_secs(10);
/// For everything that should have happened long before.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|word| !PARTS.contains(&word.as_str())) {
        eprintln!("'{unknown}' is none of {}", PARTS.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|word| word == part);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = runtime.map_err(Into::into).and_then(|runtime| {
        println!("binary {}, data below {}", rig::binary().display(), rig::data_folder()?.display());
        let cpu_per_registration = if wanted("registrations") { Some(run(&runtime, registrations())?) } else { None };
        if wanted("load") {
            run(&runtime, load(cpu_per_registration.unwrap_or_default()))?;
        }
        if wanted("latency") {
            run(&runtime, latencies())?;
        }
        if wanted("commands") {
            run(&runtime, commands())?;
        }
        if wanted("memory") {
            run(&runtime, memory())?;
        }
        if wanted("tcp") {
            run(&runtime, streams())?;
        }
        if wanted("dtls") {
            run(&runtime, sessions::sessions())?;
        }
        if wanted("bootstrap") {
            run(&runtime, bootstraps::bootstraps())?;
        }
        Ok::<(), Box<dyn std::error::Error>>(())
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run<T>(runtime: &tokio::runtime::Runtime, part: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    LocalSet::new().block_on(runtime, part)
}

/// How fast devices are taken in; returns the processor time of one registration in seconds.
async fn registrations() -> Outcome<f64> {
    println!("\nregistrations: {REGISTERING_DEVICES} devices, 64 at a time, built-in mapping, {RUNS} runs");
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let rig = Rig::start(Settings { default_mapping: true, ..Settings::default() }).await?;
        let before = rig.usage()?;
        let plan = Plan {
            server: rig.lwm2m,
            devices: REGISTERING_DEVICES,
            registering: 64,
            interval: None,
            prefix: "figures-",
        };
        let (progress, _devices) = devices::start(plan).await?;
        let all = Instant::now() + PATIENCE;
        while progress.borrow().observed < REGISTERING_DEVICES && Instant::now() < all {
            sleep(Duration::from_millis(20)).await;
        }
        // Attributes of the devices are read and published after the observation.
        sleep(Duration::from_secs(1)).await;
        let after = rig.usage()?;
        let progress = progress.borrow();
        if progress.observed < REGISTERING_DEVICES {
            println!("  only {} registered, {} observed", progress.registered, progress.observed);
        }
        let span = progress.last_registration.zip(progress.first_registration);
        let span = span.map_or(0.0, |(last, first)| last.duration_since(first).as_secs_f64());
        rates.push(f64::from(progress.registered) / span.max(f64::MIN_POSITIVE));
        costs.push(after.cpu.saturating_sub(before.cpu).as_secs_f64() / f64::from(progress.registered.max(1)));
    }
    let micros: Vec<f64> = costs.iter().map(|cost| cost * 1e6).collect();
    tell("registrations", "1/s", &rates);
    tell("gateway CPU per registration, with reads and observation", "us", &micros);
    Ok(median(&costs))
}

/// Each device has one confirmable notification under way all the time.
async fn load(cpu_per_registration: f64) -> Outcome<()> {
    println!(
        "\nclosed loop: {LOAD_DEVICES} devices, durable before each acknowledgement, {RUNS} runs of {LOAD_TIME:?}"
    );
    let mut figures: [Vec<f64>; 6] = Default::default();
    for _ in 0..RUNS {
        let rig = Rig::start(Settings::default()).await?;
        let (received, _follower) = devices::follow_broker(rig.mqtt);
        let before = rig.usage()?;
        let mut fleet = FleetConfiguration::new(rig.lwm2m, LOAD_DEVICES);
        fleet.kind = DeviceKind::Thermometer;
        fleet.interval = Duration::ZERO;
        fleet.registrations_per_second = 0.0;
        fleet.lifetime_secs = 86_400;
        fleet.deregisters = false;
        fleet.duration = Some(LOAD_TIME);
        let report = run_fleet(fleet).await?;
        let after = rig.usage()?;
        let delivered = *received.borrow();
        if report.lost > 0 || report.registered < u64::from(LOAD_DEVICES) {
            println!("  {} registered, {} notifications lost", report.registered, report.lost);
        }
        let acknowledged = report.acknowledged.max(1) as f64;
        let registering = cpu_per_registration * report.registrations as f64;
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() - registering;
        let written = (after.written_bytes - before.written_bytes) as f64;
        let measured = [
            report.acknowledged_per_s,
            delivered as f64 / report.duration_s,
            cpu / acknowledged * 1e6,
            report.latency_ms.p50,
            report.latency_ms.p99,
            written / acknowledged,
        ];
        figures.iter_mut().zip(measured).for_each(|(figure, value)| figure.push(value));
    }
    let names = [
        ("notifications acknowledged", "1/s"),
        ("messages at the broker (it counts each second)", "1/s"),
        ("gateway CPU per notification", "us"),
        ("notification to acknowledgement, p50", "ms"),
        ("notification to acknowledgement, p99", "ms"),
        ("written to disk per notification", "bytes"),
    ];
    for ((name, unit), values) in names.iter().zip(&figures) {
        tell(name, unit, values);
    }
    Ok(())
}

/// From a notification to its MQTT message at a subscriber, at a steady thousand each second.
async fn latencies() -> Outcome<()> {
    println!("\nlatency: {LOAD_DEVICES} devices, one notification per second each, {RUNS} runs of {LATENCY_TIME:?}");
    let mut p99_medians = Vec::new();
    for (name, store) in [("default [store]", ""), ("commit_interval 0", "commit_interval = \"0s\"")] {
        let (mut p50, mut p99, mut cpu, mut written) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let rig = Rig::start(Settings { store, ..Settings::default() }).await?;
            let (server, interval, prefix) = (rig.lwm2m, Some(Duration::from_secs(1)), "figures-");
            let plan = Plan { server, devices: LOAD_DEVICES, registering: 64, interval, prefix };
            let (progress, _devices) = devices::start(plan).await?;
            let _subscriber = devices::subscribe(rig.mqtt, prefix, &progress);
            let all = Instant::now() + PATIENCE;
            while progress.borrow().observed < LOAD_DEVICES && Instant::now() < all {
                sleep(Duration::from_millis(20)).await;
            }
            sleep(WARM_UP).await;
            let before = rig.usage()?;
            progress.borrow_mut().count_from = Some(Instant::now());
            sleep(LATENCY_TIME).await;
            let after = rig.usage()?;
            let reports = progress.borrow().reports;
            let last = Instant::now() + Duration::from_secs(2);
            while progress.borrow().latency.count() < reports && Instant::now() < last {
                sleep(Duration::from_millis(20)).await;
            }
            let progress = progress.borrow();
            let (seen, percentile) = (progress.latency.count(), |percent| progress.latency.percentile(percent));
            if seen < reports {
                println!("  {name}: {} of {reports} notifications had not come after two seconds", reports - seen);
            }
            p50.push(percentile(50).as_secs_f64() * 1e3);
            p99.push(percentile(99).as_secs_f64() * 1e3);
            cpu.push(after.cpu.saturating_sub(before.cpu).as_secs_f64() / reports.max(1) as f64 * 1e6);
            written.push((after.written_bytes - before.written_bytes) as f64 / reports.max(1) as f64);
        }
        tell(&format!("{name}: notification to MQTT, p50"), "ms", &p50);
        tell(&format!("{name}: notification to MQTT, p99"), "ms", &p99);
        tell(&format!("{name}: gateway CPU per notification"), "us", &cpu);
        tell(&format!("{name}: written to disk per notification"), "bytes", &written);
        p99_medians.push(median(&p99));
    }
    if let [default, zero] = p99_medians[..] {
        println!("  ratio of p99, default to commit_interval 0: {:.2}", default / zero.max(f64::MIN_POSITIVE));
    }
    Ok(())
}

/// Reads of a resource, one under way to each device all the time.
async fn commands() -> Outcome<()> {
    println!(
        "\ncommands: {COMMANDED_DEVICES} devices that are awake, a read under way to each, {RUNS} runs of {COMMAND_TIME:?}"
    );
    for (name, store) in [("default [store]", ""), ("commit_interval 0", "commit_interval = \"0s\"")] {
        let mut figures: [Vec<f64>; 4] = Default::default();
        for _ in 0..RUNS {
            let rig = Rig::start(Settings { store, ..Settings::default() }).await?;
            let prefix = "figures-";
            let plan = Plan { server: rig.lwm2m, devices: COMMANDED_DEVICES, registering: 64, interval: None, prefix };
            let (progress, _devices) = devices::start(plan).await?;
            let all = Instant::now() + PATIENCE;
            while progress.borrow().observed < COMMANDED_DEVICES && Instant::now() < all {
                sleep(Duration::from_millis(20)).await;
            }
            let mut figures = figures.iter_mut();
            for by_mqtt in [true, false] {
                let before = rig.usage()?;
                let tally = if by_mqtt {
                    commands::by_mqtt(rig.mqtt, COMMANDED_DEVICES, prefix, COMMAND_TIME).await?
                } else {
                    commands::by_http(rig.http, COMMANDED_DEVICES, prefix, COMMAND_TIME).await?
                };
                let cpu = rig.usage()?.cpu.saturating_sub(before.cpu).as_secs_f64();
                if tally.failed > 0 {
                    println!("  {name}: {} commands failed", tally.failed);
                }
                let done = tally.done.max(1) as f64;
                figures
                    .by_ref()
                    .zip([done / COMMAND_TIME.as_secs_f64(), cpu / done * 1e6])
                    .take(2)
                    .for_each(|(figure, value)| figure.push(value));
            }
        }
        for (what, [rate, cpu]) in ["MQTT", "HTTP"].iter().zip([[0, 1], [2, 3]]) {
            tell(&format!("{name}: commands by {what}"), "1/s", &figures[rate]);
            tell(&format!("{name}: gateway CPU per command by {what}"), "us", &figures[cpu]);
        }
        println!("  ratio HTTP to MQTT: {:.2}", median(&figures[2]) / median(&figures[0]).max(f64::MIN_POSITIVE));
    }
    Ok(())
}

/// Resident memory while devices with three observations each come in.
async fn memory() -> Outcome<()> {
    println!("\nmemory: weather stations with three observations each, a report every ten seconds, one run");
    let rig = Rig::start(Settings { default_mapping: true, ..Settings::default() }).await?;
    let empty = rig.usage()?.resident_kib;
    println!("  resident with 0 devices: {:.1} MiB", mib(empty));
    let mut total = 0;
    for (devices, prefix) in [(1_000, "first-"), (9_000, "further-")] {
        let mut fleet = FleetConfiguration::new(rig.lwm2m, devices);
        fleet.kind = DeviceKind::WeatherStation;
        fleet.endpoint_prefix = prefix.to_owned();
        fleet.lifetime_secs = 86_400;
        fleet.deregisters = false;
        // All have registered after so long, and each has reported once more.
        fleet.duration = Some(Duration::from_secs(u64::from(devices) / 500 + 15));
        let report = run_fleet(fleet).await?;
        let usage = rig.usage()?;
        total += report.registered;
        let per_device = usage.resident_kib.saturating_sub(empty) as f64 / total.max(1) as f64;
        println!(
            "  resident with {total} devices: {:.1} MiB, {per_device:.2} KiB per device, {:.1} MiB written to disk",
            mib(usage.resident_kib),
            usage.written_bytes as f64 / f64::from(1 << 20),
        );
        if report.registered < u64::from(devices) {
            println!("  {} of {devices} did not register", u64::from(devices) - report.registered);
        }
    }
    Ok(())
}

/// Resident memory while as many devices report over UDP and over TCP, and what TCP carries in a closed loop.
async fn streams() -> Outcome<()> {
    println!("\nTCP: {STREAM_DEVICES} thermometers with a connection each, against as many over UDP, one run");
    let mut per_device = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp] {
        let rig = Rig::start(Settings::default()).await?;
        let empty = rig.usage()?.resident_kib;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stopped = async {
            // An error means that nobody measures any more.
            let _ = stopped.await;
        };
        let mut fleet = stream_fleet(&rig, transport);
        fleet.interval = Duration::from_secs(10);
        let measure = async {
            // All have registered after a few seconds, and each has reported once more.
            sleep(Duration::from_secs(20)).await;
            let usage = rig.usage();
            let _ = stop.send(());
            usage
        };
        let (report, usage) = tokio::join!(run_fleet_until(fleet, stopped), measure);
        let (report, usage) = (report?, usage?);
        let each = usage.resident_kib.saturating_sub(empty) as f64 / report.registered.max(1) as f64;
        println!(
            "  {}: {} devices, {:.1} MiB resident, {each:.2} KiB per device, {} of {} reports acknowledged",
            transport.as_str(),
            report.registered,
            mib(usage.resident_kib),
            report.acknowledged,
            report.sent,
        );
        per_device.push(each);
    }
    if let [udp, tcp] = per_device[..] {
        println!("  a connection adds {:.2} KiB to a device", tcp - udp);
    }
    for transport in [Transport::Udp, Transport::Tcp] {
        let rig = Rig::start(Settings::default()).await?;
        let before = rig.usage()?;
        let mut fleet = stream_fleet(&rig, transport);
        fleet.interval = Duration::ZERO;
        fleet.duration = Some(LOAD_TIME);
        let report = run_fleet(fleet).await?;
        let cpu = rig.usage()?.cpu.saturating_sub(before.cpu).as_secs_f64();
        println!(
            "  {}: {:.0} notifications/s acknowledged, p50 {:.1} ms, p99 {:.1} ms, {:.1} us of gateway CPU each",
            transport.as_str(),
            report.acknowledged_per_s,
            report.latency_ms.p50,
            report.latency_ms.p99,
            cpu / report.acknowledged.max(1) as f64 * 1e6,
        );
    }
    Ok(())
}

fn stream_fleet(rig: &Rig, transport: Transport) -> FleetConfiguration {
    let server = if transport.is_stream() { rig.lwm2m_tcp } else { rig.lwm2m };
    FleetConfiguration {
        kind: DeviceKind::Thermometer,
        transport,
        lifetime_secs: 86_400,
        deregisters: false,
        ..FleetConfiguration::new(server, STREAM_DEVICES)
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn tell(name: &str, unit: &str, values: &[f64]) {
    let all: Vec<String> = values.iter().map(|value| format!("{value:.1}")).collect();
    println!("  {name}: median {:.1} {unit} ({})", median(values), all.join(" "));
}

//! `lwm2mqtt demo`: broker, gateway and simulated devices in one process; nothing to install, nothing left behind.

#[cfg(feature = "embedded-broker")]
use std::net::SocketAddr;
#[cfg(feature = "embedded-broker")]
use std::time::Duration;

use crate::config::Settings;

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    /// End after so many seconds; `None`: at Ctrl-C.
    pub seconds: Option<u64>,
    /// Simulated devices.
    pub devices: u32,
    /// Whether they bootstrap first, and register over DTLS with the keys that they are told.
    pub bootstrap: bool,
    /// UDP port of the LwM2M server; 0: a free one.
    pub lwm2m_port: u16,
    /// TCP port of the broker; 0: a free one.
    pub mqtt_port: u16,
    /// TCP port of the API; 0: a free one.
    pub http_port: u16,
}

/// The bootstrap server of the demo: whoever asks is told to register over DTLS, with a key that is made for it.
#[cfg(feature = "embedded-broker")]
const BOOTSTRAP_SERVER: &str = "[bootstrap]\nudp = \"127.0.0.1:0\"\ndtls = \"off\"\nunknown_devices = \"template\"\n\
     [bootstrap.device.\"*\"]\nservers = [\"management-psk\"]\n";

/// Time between the reports of a simulated device.
#[cfg(feature = "embedded-broker")]
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Starts the embedded broker if the settings want it.
///
/// # Errors
/// In words for the operator.
#[cfg(feature = "embedded-broker")]
pub fn start_broker(settings: &Settings) -> Result<(), String> {
    if !settings.broker.enabled {
        return Ok(());
    }
    let users =
        settings.broker.users.iter().map(|(name, password)| (name.clone(), password.expose().to_owned())).collect();
    let mut listen_v5 = settings.broker.listen_v5.iter();
    for listen in &settings.broker.listen {
        let broker =
            crate::io::broker::start(*listen, listen_v5.next().copied(), &users).map_err(|error| error.to_string())?;
        tracing::info!(address = %broker.address(), "the embedded broker listens");
    }
    Ok(())
}

/// Without the feature the embedded broker cannot be switched on.
///
/// # Errors
/// If the settings want it.
#[cfg(not(feature = "embedded-broker"))]
pub fn start_broker(settings: &Settings) -> Result<(), String> {
    if settings.broker.enabled {
        return Err("this program was built without the embedded broker; use a broker of your own".to_owned());
    }
    Ok(())
}

/// Without the feature there is no demo.
///
/// # Errors
/// Always.
#[cfg(not(feature = "embedded-broker"))]
pub fn demo(_demo: Demo) -> Result<(), String> {
    Err("this program was built without the embedded broker, which the demo needs".to_owned())
}

/// Runs the demo on this thread.
///
/// # Errors
/// In words for the operator: a port in use, for example.
#[cfg(feature = "embedded-broker")]
pub fn demo(demo: Demo) -> Result<(), String> {
    let folder = crate::io::files::make_temporary_folder("lwm2mqtt-demo")
        .map_err(|error| format!("no temporary folder: {error}"))?;
    let ended = showing::show(demo, &folder);
    if let Err(error) = crate::io::files::remove_folder(&folder) {
        return Err(format!("{} could not be removed: {error}", folder.display()));
    }
    ended
}

#[cfg(feature = "embedded-broker")]
mod showing {
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::io::Write as _;
    use std::path::Path;

    use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};

    use super::{BOOTSTRAP_SERVER, Demo, Duration, REPORT_INTERVAL, SocketAddr};
    use crate::config::{self, Settings};
    use crate::daemon::gateway::Gateway;
    use crate::daemon::{knowledge, logging, sources};
    use crate::io::broker;
    use crate::io::fleet::{FleetConfiguration, run_fleet_until};
    use crate::model::credential::Scope;

    /// Lines about devices that bootstrap which wait to be printed.
    const MAX_MILESTONES: usize = 256;

    fn say(line: &str) {
        // Whoever reads may have closed the pipe; the demo ends by itself.
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    /// The settings of the demo: loopback only, everybody may join, quick commits.
    fn settings(demo: Demo, folder: &Path, broker: SocketAddr) -> Result<Settings, String> {
        let path = |name: &str| serde_json::Value::from(folder.join(name).to_string_lossy()).to_string();
        let text = format!(
            "version = 1\n[gateway]\nname = \"demo\"\ndata_dir = {}\nmappings = {}\nmodels = {}\n\
             [store]\ncommit_interval = \"20ms\"\n\
             [log]\nlevel = \"warn\"\n\
             [lwm2m]\nudp = \"127.0.0.1:{}\"\ndtls = \"{}\"\nunknown_devices = \"accept\"\n\
             [http]\nlisten = \"127.0.0.1:{}\"\n\
             [sink.local]\nurl = \"mqtt://{broker}\"\nprotocol = 4\nrole = \"admin\"\n{}",
            path("data"),
            path("mappings"),
            path("models"),
            demo.lwm2m_port,
            if demo.bootstrap { "127.0.0.1:0" } else { "off" },
            demo.http_port,
            if demo.bootstrap { BOOTSTRAP_SERVER } else { "" },
        );
        let file = folder.join("config.toml");
        crate::io::files::replace_text(&file, &text).map_err(|error| format!("{}: {error}", file.display()))?;
        let loaded = sources::with_sources(|sources| {
            // The demo is the same whatever the environment says.
            let mut alone = config::Sources {
                read_text: sources.read_text,
                list_folder: sources.list_folder,
                variables: BTreeMap::new(),
                host_name: sources.host_name.clone(),
            };
            alone.variables.clear();
            config::load(Some(&file), &alone)
        });
        loaded.settings.ok_or_else(|| loaded.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    pub(super) fn show(demo: Demo, folder: &Path) -> Result<(), String> {
        let broker = broker::start(SocketAddr::from(([127, 0, 0, 1], demo.mqtt_port)), None, &BTreeMap::new())
            .map_err(|error| format!("{error} (another port: --mqtt-port 0)"))?;
        let settings = settings(demo, folder, broker.address())?;
        let log = logging::start(&settings.log)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime: {error}"))?;
        runtime.block_on(run(demo, settings, log, broker.address()))
    }

    async fn run(demo: Demo, settings: Settings, log: logging::LogControl, broker: SocketAddr) -> Result<(), String> {
        let gateway = Gateway::build(&settings, &knowledge::read(&settings), log)
            .map_err(|error| format!("{error} (other ports: --lwm2m-port 0 --http-port 0)"))?;
        let lwm2m = *gateway.lwm2m_addresses.first().ok_or("no LwM2M listener")?;
        let http = gateway.http_addresses.first().copied();
        let bootstrap = settings.listeners().iter().position(|listener| listener.scope == Scope::Bootstrap);
        let bootstrap = bootstrap.and_then(|index| gateway.lwm2m_addresses.get(index).copied());
        introduce(demo, lwm2m, bootstrap, broker, http);
        let (stop_sender, stop) = tokio::sync::watch::channel(false);
        let until_stopped = |mut stop: tokio::sync::watch::Receiver<bool>| async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stop.wait_for(|stopped| *stopped).await;
        };
        let mut fleet = FleetConfiguration::new(bootstrap.unwrap_or(lwm2m), demo.devices);
        fleet.bootstraps = bootstrap.is_some();
        let (milestone_sender, milestones) = tokio::sync::mpsc::channel(MAX_MILESTONES);
        fleet.milestones = Some(milestone_sender);
        fleet.interval = REPORT_INTERVAL;
        "demo-".clone_into(&mut fleet.endpoint_prefix);
        let devices = run_fleet_until(fleet, until_stopped(stop.clone()));
        let limit = async {
            match demo.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        let end = async {
            tokio::select! {
                () = limit => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            // The devices say good-bye first, so that this too is seen.
            let _ = stop_sender.send(true);
        };
        let (gateway_stop_sender, gateway_stop) = tokio::sync::oneshot::channel::<()>();
        let gateway_stop = async {
            // An error means that the demo is over.
            let _ = gateway_stop.await;
        };
        let work = async {
            let (fleet, ()) = tokio::join!(devices, end);
            let _ = gateway_stop_sender.send(());
            fleet
        };
        let (fleet, ()) = tokio::select! {
            ended = async { tokio::join!(work, gateway.run(gateway_stop)) } => ended,
            never = print_milestones(milestones) => match never {},
            () = print_messages(broker) => return Err("the broker ended".to_owned()),
        };
        let report = fleet.map_err(|error| error.to_string())?;
        say(&format!(
            "\nThe demo is over: {} devices registered, {} notifications sent, {} acknowledged, {} lost.",
            report.registrations, report.sent, report.acknowledged, report.lost
        ));
        Ok(())
    }

    fn introduce(
        demo: Demo,
        lwm2m: SocketAddr,
        bootstrap: Option<SocketAddr>,
        broker: SocketAddr,
        http: Option<SocketAddr>,
    ) {
        let port = broker.port();
        say(&format!(
            "lwm2mqtt demo: {} simulated devices -> LwM2M gateway -> MQTT broker, all in this process",
            demo.devices
        ));
        say(&format!("  LwM2M   coap://{lwm2m}   (point your own device here: it may join)"));
        if let Some(bootstrap) = bootstrap {
            say(&format!(
                "  Boot    coap://{bootstrap}   (all that the devices know: it tells them their server and a key)"
            ));
        }
        say(&format!("  MQTT    mqtt://{broker}"));
        if let Some(http) = http {
            say(&format!("  HTTP    http://{http}/api/v1/devices"));
        }
        say("\nTry in another terminal (mosquitto-clients and curl):");
        say(&format!("  mosquitto_sub -p {port} -v -t 'lwm2m/+/values'"));
        if demo.devices >= 2 {
            say(&format!(
                "  mosquitto_pub -p {port} -t lwm2m/demo-000001/command -m '{{\"operation\":\"write\",\"path\":\"/3312/0/5850\",\"value\":false}}'"
            ));
        }
        say(&format!(
            "  mosquitto_pub -p {port} -t lwm2m/demo-000000/command -m '{{\"operation\":\"read\",\"path\":\"/3/0\"}}'"
        ));
        if let Some(http) = http {
            say(&format!("  curl -s http://{http}/api/v1/devices/demo-000000/values"));
        }
        match demo.seconds {
            Some(seconds) => say(&format!("\nEnds after {seconds} seconds. MQTT messages as they go by:\n")),
            None => say("\nCtrl-C ends it. MQTT messages as they go by:\n"),
        }
    }

    /// Prints what devices that bootstrap come to, for ever.
    async fn print_milestones(mut milestones: tokio::sync::mpsc::Receiver<String>) -> Infallible {
        while let Some(milestone) = milestones.recv().await {
            say(&format!("# {milestone}"));
        }
        // The devices are gone; the rest of the demo ends by itself.
        std::future::pending().await
    }

    /// Prints every message of the broker, for ever.
    async fn print_messages(broker: SocketAddr) {
        let mut options = MqttOptions::new("lwm2mqtt-demo-printer", broker.ip().to_string(), broker.port());
        options.set_max_packet_size(broker::MAX_PACKET_BYTES, broker::MAX_PACKET_BYTES);
        let (client, mut events) = AsyncClient::new(options, 64);
        if client.try_subscribe("lwm2m/#", QoS::AtMostOnce).is_err() {
            return;
        }
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    let body = String::from_utf8_lossy(&publish.payload);
                    say(&format!("{} {body}", publish.topic));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the printer lost the broker");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

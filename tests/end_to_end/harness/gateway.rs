//! The binary under test, with a folder, ports and configuration of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::mosquitto::Mosquitto;
use super::ports::free_port;
use super::process::{Process, poll};

const PAUSE: Duration = Duration::from_millis(20);
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// One key for every temperature, whatever the built-in mapping calls it.
const MAPPING: &str = r#"
version = 1
[[telemetry]]
path = "/3303/*/5700"
key = "temperature"
"#;

/// A gateway that accepts every device and delivers to one broker.
pub(crate) struct Gateway {
    lwm2m: u16,
    http: u16,
    process: Option<Process>,
    // Dropped last: the process shows what it wrote there.
    folder: TempDir,
}

impl Gateway {
    /// Starts it and waits until it is ready. `lwm2m_options` are further lines of the section `[lwm2m]`.
    pub(crate) fn start(broker: &Mosquitto, lwm2m_options: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let (lwm2m, http, mqtt) = (free_port(), free_port(), broker.port());
        fs::create_dir(folder.path().join("mappings")).expect("a writable folder");
        fs::write(folder.path().join("mappings/temperature.toml"), MAPPING).expect("a writable folder");
        let credentials = broker
            .credentials()
            .map(|(name, password)| format!("username = \"{name}\"\npassword = \"{password}\"\n"))
            .unwrap_or_default();
        let config = format!(
            "version = 1\n\
             [gateway]\nname = \"under-test\"\ndata_dir = \"data\"\n\
             [lwm2m]\nudp = \"127.0.0.1:{lwm2m}\"\ndtls = \"off\"\nunknown_devices = \"accept\"\n{lwm2m_options}\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\n\
             [sink.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{mqtt}\"\n{credentials}"
        );
        fs::write(folder.path().join("config.toml"), config).expect("a writable folder");
        let mut gateway = Self { folder, lwm2m, http, process: None };
        gateway.restart();
        gateway.wait_for("/readyz");
        gateway
    }

    /// Starts it again with the same configuration, ports and data, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "the gateway is running");
        let mut command = Command::new(binary());
        command.arg("run").arg("--config").arg(self.folder.path().join("config.toml"));
        command.current_dir(self.folder.path()).env_remove("LWM2MQTT_CONFIG");
        self.process = Some(Process::spawn("lwm2mqtt", &mut command, self.folder.path()));
        self.wait_for("/healthz");
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill_nine(&mut self) {
        self.process.take().expect("a running gateway").kill_nine();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.process.take().expect("a running gateway").stop();
    }

    /// Waits until this path answers 200.
    pub(crate) fn wait_for(&mut self, path: &str) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.http));
        let process = self.process.as_mut().expect("a running gateway");
        let ready = poll(PATIENCE, PAUSE, || {
            assert!(!process.has_ended(), "lwm2mqtt ended:\n{}", process.last_errors());
            get(address, path).filter(|(status, _)| *status == 200)
        });
        assert!(ready.is_some(), "lwm2mqtt does not answer 200 to {path}:\n{}", process.last_errors());
    }

    /// The status and JSON that its HTTP API answers; null where the body is no JSON.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = get(SocketAddr::from(([127, 0, 0, 1], self.http)), path).expect("an answer over HTTP");
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// Where LwM2M clients find it.
    pub(crate) fn lwm2m_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.lwm2m))
    }
}

/// The release binary where the whole run built one, else the one that came with these tests.
fn binary() -> PathBuf {
    std::env::var_os("LWM2MQTT_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_lwm2mqtt")), PathBuf::from)
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, HTTP_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

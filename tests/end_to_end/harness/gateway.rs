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

/// The bootstrap server beside the LwM2M server: its ports, and further lines of its section.
struct BootstrapSetup {
    udp: u16,
    dtls: u16,
    options: String,
}

/// What a gateway is started with; every part has a default that most tests can live with.
pub(crate) struct Setup {
    name: &'static str,
    unknown_devices: &'static str,
    dtls: Option<u16>,
    lwm2m_options: String,
    bootstrap: Option<BootstrapSetup>,
    http_options: String,
    sink_url: String,
    sink_options: String,
    files: Vec<(String, String)>,
    arguments: Vec<&'static str>,
}

impl Setup {
    /// A gateway that accepts every device and delivers to this broker.
    pub(crate) fn new(broker: &Mosquitto) -> Self {
        let sink_options = broker
            .credentials()
            .map(|(name, password)| format!("username = \"{name}\"\npassword = \"{password}\"\n"))
            .unwrap_or_default();
        Self {
            name: "under-test",
            unknown_devices: "accept",
            dtls: None,
            lwm2m_options: String::new(),
            bootstrap: None,
            http_options: String::new(),
            sink_url: format!("mqtt://127.0.0.1:{}", broker.port()),
            sink_options,
            files: vec![("mappings/temperature.toml".to_owned(), MAPPING.to_owned())],
            arguments: Vec::new(),
        }
    }

    /// Its own name; two gateways of one name would take each other's place at the broker.
    pub(crate) fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Whether devices without credentials are taken: the key of that name.
    pub(crate) fn unknown_devices(mut self, word: &'static str) -> Self {
        self.unknown_devices = word;
        self
    }

    /// Also listens for DTLS.
    pub(crate) fn dtls(mut self) -> Self {
        self.dtls = Some(free_port());
        self
    }

    /// Further lines of the section `[lwm2m]`.
    pub(crate) fn lwm2m(mut self, lines: &str) -> Self {
        self.lwm2m_options.push_str(lines);
        self
    }

    /// Also serves bootstrap over UDP and DTLS, with these further lines of the section `[bootstrap]`.
    pub(crate) fn bootstrap(mut self, lines: &str) -> Self {
        self.bootstrap = Some(BootstrapSetup { udp: free_port(), dtls: free_port(), options: lines.to_owned() });
        self
    }

    /// Further lines of the section `[http]`, and sections below it.
    pub(crate) fn http(mut self, lines: &str) -> Self {
        self.http_options.push_str(lines);
        self
    }

    /// Another way to the broker than plain MQTT.
    pub(crate) fn sink_url(mut self, url: String) -> Self {
        self.sink_url = url;
        self
    }

    /// Further lines of the section `[sink.local]`.
    pub(crate) fn sink(mut self, lines: &str) -> Self {
        self.sink_options.push_str(lines);
        self.sink_options.push('\n');
        self
    }

    /// A file beside the configuration, such as `mappings/more.toml`, in place of an earlier one of that name.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// One more argument of `lwm2mqtt run`.
    pub(crate) fn argument(mut self, argument: &'static str) -> Self {
        self.arguments.push(argument);
        self
    }

    /// Lays out folder and files and chooses ports, without starting anything.
    pub(crate) fn prepare(self) -> Gateway {
        let folder = TempDir::new().expect("a temporary folder");
        let (lwm2m, http) = (free_port(), free_port());
        let dtls = self.dtls.map_or_else(|| "off".to_owned(), |port| format!("127.0.0.1:{port}"));
        let Self { name, unknown_devices, lwm2m_options, http_options, sink_url, sink_options, .. } = self;
        let bootstrap = self.bootstrap.as_ref().map_or_else(String::new, |BootstrapSetup { udp, dtls, options }| {
            format!("[bootstrap]\nudp = \"127.0.0.1:{udp}\"\ndtls = \"127.0.0.1:{dtls}\"\n{options}\n")
        });
        let config = format!(
            "version = 1\n\
             [gateway]\nname = \"{name}\"\ndata_dir = \"data\"\n\
             [lwm2m]\nudp = \"127.0.0.1:{lwm2m}\"\ndtls = \"{dtls}\"\nunknown_devices = \"{unknown_devices}\"\n{lwm2m_options}\n\
             {bootstrap}\
             [http]\nlisten = \"127.0.0.1:{http}\"\n{http_options}\n\
             [sink.local]\ntype = \"mqtt\"\nurl = \"{sink_url}\"\n{sink_options}"
        );
        for subfolder in ["mappings", "models", "conf.d"] {
            fs::create_dir(folder.path().join(subfolder)).expect("a writable folder");
        }
        let bootstrap = self.bootstrap.map(|ports| (ports.udp, ports.dtls));
        let (dtls, arguments) = (self.dtls, self.arguments);
        let gateway = Gateway { folder, lwm2m, dtls, bootstrap, http, arguments, process: None };
        gateway.write_file("config.toml", &config);
        for (name, text) in &self.files {
            gateway.write_file(name, text);
        }
        gateway
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(self) -> Gateway {
        let mut gateway = self.prepare();
        gateway.restart();
        gateway.wait_for("/readyz");
        gateway
    }
}

/// A gateway, mostly one that runs.
pub(crate) struct Gateway {
    lwm2m: u16,
    dtls: Option<u16>,
    bootstrap: Option<(u16, u16)>,
    http: u16,
    arguments: Vec<&'static str>,
    process: Option<Process>,
    // Dropped last: the process shows what it wrote there.
    folder: TempDir,
}

impl Gateway {
    /// Starts one as [`Setup`] has it by default, with further lines of the section `[lwm2m]`.
    pub(crate) fn start(broker: &Mosquitto, lwm2m_options: &str) -> Self {
        Setup::new(broker).lwm2m(lwm2m_options).start()
    }

    /// Starts it again with the same configuration, ports and data, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.launch();
        self.wait_for("/healthz");
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "the gateway is running");
        let mut command = self.command("run");
        command.args(&self.arguments);
        self.process = Some(Process::spawn("lwm2mqtt", &mut command, self.folder.path()));
    }

    /// Starts it where it is expected to end by itself; answers its exit code and what it wrote to standard error.
    pub(crate) fn launch_to_its_end(&mut self) -> (Option<i32>, String) {
        self.launch();
        let mut process = self.process.take().expect("a running gateway");
        let code = process.exit_code_within(PATIENCE);
        (code.unwrap_or_else(|| panic!("lwm2mqtt goes on:\n{}", process.last_errors())), process.errors())
    }

    /// Another command of the same binary, which needs no configuration.
    pub(crate) fn program(&self, subcommand: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg(subcommand).current_dir(self.folder.path());
        command
    }

    /// Waits until it has ended by itself; answers its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("a running gateway");
        let code = process.exit_code_within(PATIENCE);
        code.unwrap_or_else(|| panic!("lwm2mqtt goes on:\n{}", process.last_errors()))
    }

    /// Another command of the same binary with the same configuration.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg(subcommand).arg("--config").arg(self.folder.path().join("config.toml"));
        command.current_dir(self.folder.path()).env_remove("LWM2MQTT_CONFIG").env_remove("LWM2MQTT_URL");
        command
    }

    /// The same binary without any argument yet, and with nothing in its environment that leads elsewhere.
    pub(crate) fn bare_command(&self) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.folder.path());
        for variable in ["LWM2MQTT_CONFIG", "LWM2MQTT_URL", "LWM2MQTT_TOKEN"] {
            command.env_remove(variable);
        }
        command
    }

    /// The path of a file beside the configuration.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the configuration.
    pub(crate) fn write_file(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("a writable folder");
    }

    /// The text of a file beside the configuration; `None` if it is not there.
    pub(crate) fn read_file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(name)).ok()
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill_nine(&mut self) {
        self.process.take().expect("a running gateway").kill_nine();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.process.take().expect("a running gateway").stop();
    }

    /// Asks it to end and answers its exit code, if that comes in time.
    pub(crate) fn exit_code_of_stop(&mut self, within: Duration) -> Option<i32> {
        let mut process = self.process.take().expect("a running gateway");
        process.signal("TERM");
        let code = process.exit_code_within(within);
        code.unwrap_or_else(|| panic!("lwm2mqtt does not end within {within:?}:\n{}", process.last_errors()))
    }

    /// Sends it a signal, named as `kill` names it.
    pub(crate) fn signal(&self, signal: &str) {
        self.process.as_ref().expect("a running gateway").signal(signal);
    }

    /// Waits until this path answers 200.
    pub(crate) fn wait_for(&mut self, path: &str) {
        let address = self.http_address();
        let process = self.process.as_mut().expect("a running gateway");
        let ready = poll(PATIENCE, PAUSE, || {
            assert!(!process.has_ended(), "lwm2mqtt ended:\n{}", process.last_errors());
            get(address, path).filter(|(status, _)| *status == 200)
        });
        assert!(ready.is_some(), "lwm2mqtt does not answer 200 to {path}:\n{}", process.last_errors());
    }

    /// Waits until this path answers 200 with JSON that fits, and answers that.
    pub(crate) fn wait_for_json(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = poll(PATIENCE, PAUSE, || {
            let (status, body) = self.get(path);
            last = body;
            (status == 200 && fits(&last)).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("{path} never answered what was wanted, last {last}"))
    }

    /// Waits until its log has a line with this text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        let process = self.process.as_ref().expect("a running gateway");
        let seen = poll(PATIENCE, PAUSE, || process.errors().contains(text).then_some(()));
        assert!(seen.is_some(), "lwm2mqtt did not log `{text}`:\n{}", process.last_errors());
    }

    /// Everything that it has logged, over restarts too.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().expect("a running gateway").errors()
    }

    /// The status and JSON that its HTTP API answers; null where the body is no JSON.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get_text(path);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// The status and JSON that it answers to a request with a body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = ask(self.http_address(), method, path, &body.to_string()).expect("an answer over HTTP");
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// The status and body that its HTTP API answers.
    pub(crate) fn get_text(&self, path: &str) -> (u16, String) {
        get(self.http_address(), path).expect("an answer over HTTP")
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.http))
    }

    /// Where LwM2M clients find it over DTLS.
    pub(crate) fn dtls_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.dtls.expect("a gateway with DTLS")))
    }

    /// Where they find its bootstrap server: over UDP, and over DTLS.
    pub(crate) fn bootstrap_addresses(&self) -> (SocketAddr, SocketAddr) {
        let (udp, dtls) = self.bootstrap.expect("a gateway with a bootstrap server");
        (SocketAddr::from(([127, 0, 0, 1], udp)), SocketAddr::from(([127, 0, 0, 1], dtls)))
    }

    /// Where LwM2M clients find it.
    pub(crate) fn lwm2m_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.lwm2m))
    }
}

/// The release binary where the whole run built one, else the one that came with these tests.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("LWM2MQTT_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_lwm2mqtt")), PathBuf::from)
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    ask(address, "GET", path, "")
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, HTTP_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT)).ok()?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}");
    write!(stream, "{head}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

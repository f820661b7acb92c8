//! LwM2M clients that others wrote, driven over standard input and output; see the programs in `tests/end_to_end/peers`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::process::{Process, deadline};

/// Whose code speaks LwM2M.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// npm's `lwm2m-node-lib`: LwM2M 1.0, plain text only.
    NodeLib,
    /// npm's `coap-node`: LwM2M 1.0, TLV and old JSON.
    CoapNode,
    /// Eclipse Leshan's client library: LwM2M 1.1.
    Leshan,
    /// java-coap over TCP, as Leshan uses it: LwM2M 1.1, SenML JSON and text only.
    JavaCoapTcp,
}

/// A device with a temperature at `/3303/0/5700` (20.5 at first) and a set point at `/3308/0/5900` (18.5 at first).
pub(crate) struct DeviceClient {
    library: Library,
    process: Process,
    seen: Vec<Value>,
    _folder: TempDir,
}

impl DeviceClient {
    /// Starts Leshan over DTLS with these arguments of its security and their files in the folder; it registers by
    /// itself.
    pub(crate) fn start_secure(server: SocketAddr, endpoint: &str, folder: TempDir, security: &[&str]) -> Self {
        Self::start_leshan(&[&format!("coaps://{server}"), endpoint, "300"], security, folder)
    }

    /// The same with a bootstrap server: it knows no other, and registers where that sends it.
    pub(crate) fn bootstrap_secure(server: SocketAddr, endpoint: &str, folder: TempDir, security: &[&str]) -> Self {
        Self::start_leshan(&["--bootstrap", &format!("coaps://{server}"), endpoint, "300"], security, folder)
    }

    fn start_leshan(arguments: &[&str], security: &[&str], folder: TempDir) -> Self {
        let mut command = java_client("LeshanClient");
        command.args(arguments).args(security).current_dir(folder.path());
        let process = Process::spawn("Leshan", &mut command, folder.path());
        Self { library: Library::Leshan, process, seen: Vec::new(), _folder: folder }
    }

    /// Starts java-coap over TLS with a certificate of its own, as [`Self::start_secure`] does with Leshan.
    pub(crate) fn start_over_tls(server: SocketAddr, endpoint: &str, folder: TempDir, files: &[&str]) -> Self {
        let mut command = java_client("JavaCoapTcpClient");
        command.args([&format!("coaps+tcp://{server}"), endpoint]).args(files).current_dir(folder.path());
        let process = Process::spawn("JavaCoapTcp", &mut command, folder.path());
        Self { library: Library::JavaCoapTcp, process, seen: Vec::new(), _folder: folder }
    }

    /// Goes on from another port, with the same DTLS session.
    pub(crate) fn move_to_another_port(&mut self) {
        self.process.tell("move");
        self.expect("moved", |_| true);
    }

    /// Starts the client; it registers by itself.
    pub(crate) fn start(library: Library, server: SocketAddr, endpoint: &str) -> Self {
        Self::enter(library, server, endpoint, &[])
    }

    /// Starts the client with a bootstrap server, of CoAP over UDP: it knows no other, and registers where that sends it.
    pub(crate) fn bootstrap(library: Library, server: SocketAddr, endpoint: &str) -> Self {
        Self::enter(library, server, endpoint, &["--bootstrap"])
    }

    fn enter(library: Library, server: SocketAddr, endpoint: &str, how: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/peers");
        let installed = installed_peers();
        let mut command = match library {
            Library::NodeLib | Library::CoapNode => {
                let program = if library == Library::NodeLib { "node_lib_client.js" } else { "coap_node_client.js" };
                let mut command = Command::new("node");
                command.env("NODE_PATH", installed.join("node_modules")).arg(sources.join(program));
                command.args(how).args([server.ip().to_string(), server.port().to_string()]);
                command
            }
            Library::Leshan | Library::JavaCoapTcp => {
                let (program, scheme) = match library {
                    Library::Leshan => ("LeshanClient", "coap"),
                    _ => ("JavaCoapTcpClient", "coap+tcp"),
                };
                let mut command = java_client(program);
                command.args(how).arg(format!("{scheme}://{server}"));
                command
            }
        };
        command.arg(endpoint).current_dir(folder.path());
        let process = Process::spawn(&format!("{library:?}"), &mut command, folder.path());
        Self { library, process, seen: Vec::new(), _folder: folder }
    }

    /// Waits for an event, of those that happened already and those to come, and answers it.
    pub(crate) fn expect(&mut self, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let until = deadline(PATIENCE);
        let mut next = 0;
        loop {
            while let Some(seen) = self.seen.get(next) {
                if seen["event"] == event && fits(seen) {
                    return seen.clone();
                }
                next += 1;
            }
            let Some(line) = self.process.next_line(until) else {
                panic!(
                    "{:?} did not report `{event}`; it reported {:?}\n{}",
                    self.library,
                    self.seen,
                    self.process.last_errors()
                );
            };
            self.seen.extend(serde_json::from_str::<Value>(&line));
        }
    }

    /// Changes a resource of its own, which notifies who observes it.
    pub(crate) fn set(&mut self, path: &str, value: f64) {
        self.process.tell(&format!("set {path} {value}"));
    }

    /// Reports a resource without being observed: Send.
    pub(crate) fn send(&mut self, path: &str) {
        self.process.tell(&format!("send {path}"));
        self.expect("sent", |_| true);
    }

    /// Sends a registration Update and waits for its answer.
    pub(crate) fn update(&mut self) {
        self.process.tell("update");
        self.expect("updated", |_| true);
    }

    /// Deregisters, waits for the answer and for the end of the program.
    pub(crate) fn deregister(mut self) {
        self.process.tell("deregister");
        self.expect("deregistered", |_| true);
        assert!(self.process.wait(true), "{:?} did not end well", self.library);
    }
}

fn java_client(program: &str) -> Command {
    let leshan = installed_peers().join("leshan");
    let mut command = Command::new("java");
    command.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]);
    command.arg("-cp").arg(format!("{0}/*:{0}/classes", leshan.display())).arg(program);
    command
}

pub(crate) fn installed_peers() -> PathBuf {
    let place = std::env::var_os("LWM2MQTT_PEERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"), PathBuf::from);
    assert!(
        place.join("installed").exists(),
        "no LwM2M clients in {}; run `tests/run packages peers`",
        place.display()
    );
    place
}

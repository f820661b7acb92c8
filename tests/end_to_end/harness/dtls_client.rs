//! DTLS clients that others wrote, as a session: datagrams go in and come out, whatever program keeps it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::PATIENCE;
use super::device::installed_peers;
use super::process::{Process, deadline};

/// How a program takes and tells datagrams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// As they are: what it reads at once is one datagram.
    Bytes,
    /// In hex, a line each; see `tests/end_to_end/peers/dtls`.
    Lines,
}

/// A DTLS session.
pub(crate) struct DtlsClient {
    process: Process,
    talk: Talk,
}

/// What the crates' clients show of themselves.
pub(crate) enum Shown<'a> {
    /// Identity and key in hex.
    Key(&'a str, &'a str),
    /// `ca.crt`, `device.crt` and `device.key` of the folder.
    Certificate,
}

impl DtlsClient {
    /// `openssl s_client` with these further arguments; files are looked for in the folder.
    pub(crate) fn openssl(server: SocketAddr, folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-dtls1_2", "-quiet", "-connect", &server.to_string()]).args(arguments);
        Self::bytes("s_client", command, folder)
    }

    /// `gnutls-cli` with this priority string behind the protocol version, and these further arguments.
    pub(crate) fn gnutls(server: SocketAddr, folder: &Path, priority: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("gnutls-cli");
        command.args(["--udp", "--logfile=gnutls.log", "--port", &server.port().to_string()]);
        command.arg("--priority").arg(format!("NORMAL:-VERS-ALL:+VERS-DTLS1.2:{priority}"));
        command.args(arguments).arg(server.ip().to_string());
        Self::bytes("gnutls-cli", command, folder)
    }

    /// Mbed TLS, which offers this connection id, or does not know of them.
    pub(crate) fn mbedtls(server: SocketAddr, folder: &Path, shown: &Shown, connection_id: Option<&str>) -> Self {
        let client = Self::lines("mbedtls_client", server, folder, shown, connection_id);
        client.connected(connection_id.is_some())
    }

    /// webrtc-dtls.
    pub(crate) fn webrtc(server: SocketAddr, folder: &Path, shown: &Shown) -> Self {
        Self::lines("webrtc_client", server, folder, shown, None).connected(false)
    }

    fn bytes(name: &str, mut command: Command, folder: &Path) -> Self {
        command.current_dir(folder);
        Self { process: Process::spawn_bytes(name, &mut command, folder), talk: Talk::Bytes }
    }

    fn lines(program: &str, server: SocketAddr, folder: &Path, shown: &Shown, connection_id: Option<&str>) -> Self {
        let mut command = Command::new(installed_peers().join("dtls/debug").join(program));
        command.arg(server.to_string()).current_dir(folder);
        match shown {
            Shown::Key(identity, key) => command.args(["psk", identity, key]),
            Shown::Certificate => command.args(["certificate", "ca.crt", "device.crt", "device.key"]),
        };
        command.args(connection_id);
        Self { process: Process::spawn(program, &mut command, folder), talk: Talk::Lines }
    }

    /// The handshake is over, and connection ids are used or not as wanted.
    fn connected(mut self, connection_id: bool) -> Self {
        let told = self.next_event();
        assert_eq!((&told["event"], &told["connection_id"]), (&"connected".into(), &connection_id.into()), "{told}");
        self
    }

    fn next_event(&mut self) -> Value {
        let line = self.process.next_line(deadline(PATIENCE));
        let line = line.unwrap_or_else(|| panic!("the client says nothing:\n{}", self.process.last_errors()));
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the client says {line}"))
    }

    /// Sends a datagram; before the handshake is over it waits for that.
    pub(crate) fn send(&mut self, datagram: &[u8]) {
        match self.talk {
            Talk::Bytes => self.process.tell_bytes(datagram),
            Talk::Lines => self.process.tell(&data_encoding::HEXLOWER.encode(datagram)),
        }
    }

    /// The next datagram of the gateway; `None` when the program has ended. A program may write a datagram piece by
    /// piece: `is_whole` says when there is no more to come.
    pub(crate) fn receive(&mut self, is_whole: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let mut datagram = Vec::new();
        loop {
            let line = self.process.next_line(deadline(PATIENCE))?;
            let hex = match self.talk {
                Talk::Bytes => line,
                Talk::Lines => {
                    let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the client says {line}"));
                    told["hex"].as_str().unwrap_or_else(|| panic!("the client says {line}")).to_owned()
                }
            };
            datagram.extend(data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hex"));
            if self.talk == Talk::Lines || is_whole(&datagram) {
                return Some(datagram);
            }
        }
    }

    /// Goes on from another port, with the same session.
    pub(crate) fn move_to_another_port(&mut self) -> u16 {
        self.process.tell("move");
        let told = self.next_event();
        told["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or_else(|| panic!("the client says {told}"))
    }

    /// Ends without a word, as a device that loses its power.
    pub(crate) fn vanish(&mut self) {
        self.process.kill_nine();
    }

    /// Whether the program ends by itself; what it wrote to standard error.
    pub(crate) fn end(mut self) -> String {
        let code = self.process.exit_code_within(PATIENCE);
        assert!(code.is_some(), "the client goes on:\n{}", self.process.last_errors());
        self.process.errors()
    }
}

//! Simulated devices of the binary itself, which answer reads and writes: `lwm2mqtt simulate`.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::gateway::binary;
use super::process::Process;

/// Devices `sim-000000`, `sim-000001` and so on; they vanish without a word when dropped.
pub(crate) struct SimulatedDevices {
    process: Process,
    _folder: TempDir,
}

impl SimulatedDevices {
    pub(crate) fn start(server: SocketAddr, count: u32) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut command = Command::new(binary());
        command.args(["simulate", "--server", &format!("coap://{server}"), "--devices", &count.to_string()]);
        command.args(["--interval", "1s"]).current_dir(folder.path());
        Self { process: Process::spawn("simulate", &mut command, folder.path()), _folder: folder }
    }

    /// They vanish at once, without deregistering.
    pub(crate) fn vanish(&mut self) {
        self.process.kill_nine();
    }
}

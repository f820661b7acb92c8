//! The demo with devices that know nothing but a bootstrap server.

use std::process::Command;

use tempfile::TempDir;

use super::harness::{PATIENCE, Process, binary, deadline};

#[test]
fn the_demo_shows_a_device_from_its_bootstrap_server_to_its_first_values() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(binary());
    command.args(["demo", "--bootstrap", "--seconds", "120", "--devices", "1"]);
    command.args(["--lwm2m-port", "0", "--mqtt-port", "0", "--http-port", "0"]).current_dir(folder.path());
    let mut demo = Process::spawn("demo", &mut command, folder.path());
    let until = deadline(PATIENCE);
    for wanted in [
        ["# demo-000000 asks the bootstrap server at coap://127.0.0.1:", ""],
        ["lwm2m/bridge/event ", "\"event\":\"bootstrapped\""],
        ["# demo-000000 was told to register at coaps://127.0.0.1:", " with the key of identity demo-000000"],
        ["# demo-000000 is registered at coaps://127.0.0.1:", ""],
        ["lwm2m/demo-000000/telemetry ", "temperature_0"],
    ] {
        loop {
            let line = demo.next_line(until);
            let line = line.unwrap_or_else(|| panic!("never said: {wanted:?}\n{}", demo.last_errors()));
            if line.starts_with(wanted[0]) && line.contains(wanted[1]) {
                break;
            }
        }
    }
}

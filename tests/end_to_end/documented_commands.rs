//! The commands that the documents show are run as they stand, against the demo.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{Mosquitto, PATIENCE, Process, Setup, binary, free_port, poll};

/// The lines of all `sh` blocks of a document.
fn commands_of(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).expect(document);
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.trim().is_empty() {
            commands.push(line.to_owned());
        }
    }
    commands
}

fn shell(command: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", command]).output().expect("a shell");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_command_of_the_documents_works_on_the_demo() {
    let (http, mqtt) = (free_port(), free_port());
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(binary());
    command.args(["demo", "--seconds", "120", "--devices", "3", "--lwm2m-port", "0"]);
    command.args(["--http-port", &http.to_string(), "--mqtt-port", &mqtt.to_string()]).current_dir(folder.path());
    let demo = Process::spawn("demo", &mut command, folder.path());
    // The values of all devices are there: nothing that the documents ask for is still to come.
    let values = |device: u32| format!("curl -s http://127.0.0.1:{http}/api/v1/devices/demo-00000{device}/values");
    let ready = poll(PATIENCE, Duration::from_millis(50), || {
        (0..3).all(|device| shell(&values(device)).1.contains("manufacturer")).then_some(())
    });
    assert!(ready.is_some(), "the demo is not ready:\n{}", demo.last_errors());

    for command in commands_of("README.md").iter().filter(|command| command.starts_with("mosquitto_pub -p 1883 ")) {
        let (succeeded, told) = shell(&command.replace("-p 1883", &format!("-p {mqtt}")));
        assert!(succeeded, "README.md: {command}\n{told}");
        let Some(id) = command.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()) else { continue };
        let ended = format!("curl -s http://127.0.0.1:{http}/api/v1/commands/{id}");
        let done =
            poll(PATIENCE, Duration::from_millis(50), || shell(&ended).1.contains("\"status\":\"done\"").then_some(()));
        assert!(done.is_some(), "README.md: {command}\n{}", shell(&ended).1);
    }
    let mut ran = 0;
    for document in ["docs/http.md", "README.md"] {
        for command in commands_of(document).iter().filter(|command| command.starts_with("curl ")) {
            let own = command.replace("127.0.0.1:8080", &format!("127.0.0.1:{http}"));
            let own = own.replacen("curl ", "curl --fail-with-body --max-time 30 ", 1);
            let (succeeded, told) = shell(&own);
            assert!(succeeded, "{document}: {command}\n{told}");
            let body: Result<Value, _> = serde_json::from_str(&told);
            assert!(body.is_ok_and(|body| body.get("error").is_none()), "{document}: {command}\n{told}");
            ran += 1;
        }
    }
    assert!(ran >= 15, "only {ran} commands were found");
}

/// Those of the page that leads through a first bootstrap; its devices come beside them.
#[test]
fn the_first_bootstrap_goes_as_its_page_says() {
    const PAGE: &str = "docs/bootstrap-start.md";
    let broker = Mosquitto::start();
    let setup = Setup::new(&broker).unknown_devices("refuse").dtls();
    let gateway = setup.bootstrap("unknown_devices = \"approve\"").start();
    let server = gateway.bootstrap_addresses().0;
    let folder = TempDir::new().expect("a temporary folder");
    let mut devices = Vec::new();
    let mut ran = 0;
    for command in commands_of(PAGE) {
        if let Some(arguments) = command.strip_prefix("lwm2mqtt ") {
            let arguments = arguments.replace("127.0.0.1:5783", &server.to_string());
            let mut device = Command::new(binary());
            device.args(arguments.split(' ')).current_dir(folder.path());
            devices.push(Process::spawn("simulate", &mut device, folder.path()));
            continue;
        }
        let own = command.replace("127.0.0.1:8080", &gateway.http_address().to_string());
        let own = own.replacen("curl ", "curl --fail-with-body --max-time 30 ", 1);
        assert_ne!(own, command, "{PAGE}: {command} is no command for the gateway");
        // What a command asks for may be still to come, since the devices take their time.
        let mut told = String::new();
        let succeeded = poll(PATIENCE, Duration::from_millis(50), || {
            let (succeeded, answer) = shell(&own);
            told = answer;
            (succeeded && !told.starts_with("{\"items\":[]")).then_some(())
        });
        assert!(succeeded.is_some(), "{PAGE}: {command}\n{told}");
        assert!(serde_json::from_str::<Value>(&told).is_ok(), "{PAGE}: {command}\n{told}");
        ran += 1;
    }
    assert!(ran >= 13 && devices.len() == 2, "only {ran} commands and {} devices were found", devices.len());
    for endpoint in ["meter-000000", "newcomer-000000"] {
        gateway.wait_for_json(&format!("/api/v1/devices/{endpoint}"), |record| record["transport"] == "dtls");
    }
    let again = "/api/v1/bootstrap/sessions?endpoint=meter-000000";
    gateway.wait_for_json(again, |page| page["items"].as_array().is_some_and(|sessions| sessions.len() > 1));
}

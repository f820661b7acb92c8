//! The OpenAPI document is played against the API by schemathesis: no fault of the server, no answer that the document
//! does not describe.

use std::path::Path;
use std::process::Command;

use super::harness::{Mosquitto, Setup, SimulatedDevices, installed_peers};

/// Longest time for all cases.
const SECONDS: &str = "120";

/// A key to set, so that writing a desired value leads somewhere.
const DESIRED: &str = "version = 1\n[[desired]]\nkey = \"setpoint\"\npath = \"/3303/0/5601\"\n";

#[test]
fn every_operation_answers_as_the_openapi_document_says() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).bootstrap("").file("mappings/desired.toml", DESIRED).start();
    let _devices = SimulatedDevices::start(gateway.lwm2m_address(), 2);
    gateway.wait_for_json("/api/v1/devices/sim-000000", |record| record["state"] == "online");

    let folder = tempfile::TempDir::new().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/peers/schemathesis/schemathesis.toml");
    let played = Command::new("timeout")
        .arg(SECONDS)
        .arg(installed_peers().join("schemathesis/bin/st"))
        .arg("--config-file")
        .arg(own)
        .args(["run", "--no-color", "--url", &format!("http://{}", gateway.http_address())])
        .arg(format!("http://{}/api/openapi.json", gateway.http_address()))
        .current_dir(folder.path())
        .output()
        .expect("schemathesis; run `tests/run packages peers`");
    let told = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{told}{}", String::from_utf8_lossy(&played.stderr));
    assert!(told.contains("Tested: "), "nothing was played: {told}");
    // The device was there to the end, so that its operations were more than 404.
    let (status, record) = gateway.get("/api/v1/devices/sim-000000");
    assert_eq!((status, record["endpoint"].as_str()), (200, Some("sim-000000")), "{record}");
    let done = gateway.get("/api/v1/commands?status=done&limit=1000").1;
    assert!(done["items"].as_array().is_some_and(|items| items.len() > 5), "hardly a command was done: {done}");
}

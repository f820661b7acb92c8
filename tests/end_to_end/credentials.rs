//! Credentials from the command line of a running gateway: given, imported, blocked and removed; and nowhere to be read.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::harness::{Gateway, Mosquitto, Setup};

/// A key in hex, and its bytes as text: neither may be found anywhere.
const KEY_HEX: &str = "7468652d7365637265742d6b65792d31";
const KEY_TEXT: &str = "the-secret-key-1";

fn gateway() -> (Mosquitto, Gateway) {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).sink("role = \"admin\"").start();
    (broker, gateway)
}

fn command(gateway: &Gateway, line: &[&str]) -> Command {
    let mut command = gateway.bare_command();
    command.env_remove("LWM2MQTT_DEVICE_KEY").arg("device").args(line).arg("--config").arg(gateway.path("config.toml"));
    command
}

fn run(gateway: &Gateway, line: &[&str]) -> Output {
    command(gateway, line).output().expect("the binary runs")
}

fn run_with_input(gateway: &Gateway, line: &[&str], input: &str) -> Output {
    let mut command = command(gateway, line);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the command reads its input");
    child.wait_with_output().expect("the command ends")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", out(output), err(output));
    out(output)
}

fn credential(gateway: &Gateway, endpoint: &str) -> Value {
    let (status, credential) = gateway.get(&format!("/api/v1/credentials/{endpoint}"));
    if status == 200 { credential } else { Value::Null }
}

fn assert_nowhere(folder: &Path, texts: &[&str]) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            assert_nowhere(&path, texts);
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        for text in texts {
            assert!(
                !bytes.windows(text.len()).any(|window| window == text.as_bytes()),
                "{} shows a key",
                path.display()
            );
        }
    }
}

#[test]
fn a_key_that_is_made_is_told_once_with_a_code_for_the_label() {
    let (_broker, gateway) = gateway();
    let told = said(&run(&gateway, &["add", "meter-1", "--psk"]));
    let key = told.lines().find_map(|line| line.strip_prefix("key, hex: ")).expect("the key").to_owned();
    assert_eq!(key.len(), 32, "{told}");
    assert!(told.starts_with("meter-1: credential added (psk)\nidentity: meter-1\n"), "{told}");
    assert!(!told.contains('█'), "no code where nobody sees it: {told}");
    let shown = credential(&gateway, "meter-1").to_string();
    assert!(!shown.contains(&key) && shown.contains("\"identity\":\"meter-1\""), "{shown}");

    let told = said(&run(&gateway, &["add", "meter-1", "--psk", "--identity", "m 1", "--keep-old", "24h", "--qr"]));
    assert!(told.starts_with("meter-1: credential changed (psk)\nidentity: m 1\n"), "{told}");
    assert!(told.contains('█') && told.contains("\nlwm2m:ep=meter-1;id=m%201;psk="), "{told}");
    assert_eq!(credential(&gateway, "meter-1")["old"]["identity"], "meter-1");
}

#[test]
fn a_given_key_comes_by_file_input_or_environment_and_is_found_nowhere() {
    let (broker, mut gateway) = gateway();
    let keys = tempfile::TempDir::new().unwrap();
    let file = keys.path().join("key");
    std::fs::write(&file, format!("{KEY_TEXT}\n")).unwrap();
    let file = file.to_str().unwrap();
    let by_file = run(&gateway, &["add", "file", "--psk", "--key-file", file, "--key-format", "text"]);
    let by_input = run_with_input(&gateway, &["add", "input", "--psk", "--key-file", "-"], KEY_HEX);
    let by_variable =
        command(&gateway, &["add", "variable", "--psk"]).env("LWM2MQTT_DEVICE_KEY", KEY_HEX).output().unwrap();
    let by_import = run_with_input(&gateway, &["import", "-"], &format!("endpoint,mode,key\nimport,psk,{KEY_HEX}\n"));
    for output in [&by_file, &by_input, &by_variable, &by_import] {
        let told = said(output) + &err(output);
        assert!(!told.contains(KEY_HEX) && !told.contains(KEY_TEXT), "{told}");
    }
    let refused = run_with_input(&gateway, &["add", "wrong", "--psk", "--key-file", "-"], KEY_TEXT);
    assert_eq!(refused.status.code(), Some(1));
    let told = out(&refused) + &err(&refused);
    assert!(told.contains("key: is no hexadecimal text") && !told.contains(KEY_TEXT), "{told}");
    for output in [
        run(&gateway, &["add", "x", "--psk", "--key-file", "nowhere"]),
        run(&gateway, &["add", "x", "--psk", "--nosec"]),
        run(&gateway, &["add", "x"]),
        run(&gateway, &["add", "x", "--nosec", "--identity", "i"]),
        run(&gateway, &["add", "x", "--psk", "--key", KEY_HEX]),
    ] {
        assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    }
    let before = credential(&gateway, "file");
    gateway.stop();
    assert_nowhere(&gateway.path("."), &[KEY_HEX, KEY_TEXT]);
    gateway.restart();
    assert_eq!(credential(&gateway, "file"), before);
    assert!(before["created_at"].is_i64(), "{before}");
    drop(broker);
}

#[test]
fn many_credentials_are_imported_and_every_bad_line_is_named() {
    let (_broker, gateway) = gateway();
    let table = format!(
        "endpoint,mode,identity,key,key_format,name,tags,scope\n\
         a,psk,id-a,{KEY_HEX},,Hall,x;y,\n\
         b,psk,,,,,,\n\
         c,psk,,zz,,,,\n\
         d,nosec,,,,,,bootstrap\n\
         e,psk,id-a,{KEY_HEX},,,,\n"
    );
    gateway.write_file("devices.csv", &table);
    let file = gateway.path("devices.csv");
    let file = file.to_str().unwrap();
    let none = run(&gateway, &["import", file, "--all-or-nothing"]);
    assert_eq!((none.status.code(), out(&none).as_str()), (Some(1), ""));
    assert!(err(&none).ends_with("none of 5 credentials was put\n"), "{}", err(&none));
    assert_eq!(gateway.get("/api/v1/credentials").1["items"], json!([]));

    let some = run(&gateway, &["import", file]);
    assert_eq!(some.status.code(), Some(1));
    let expected = "error: line 4: key: is no hexadecimal text; say key_format if it is base64 or text\n\
                    error: line 6: identity: the same as on line 2\n\
                    3 credentials added, 0 changed, 2 wrong\n";
    assert_eq!(err(&some), expected);
    let told = out(&some);
    let made: Vec<&str> = told.lines().collect();
    assert!(
        made.len() == 2 && made[0] == "endpoint,identity,identity_hex,key" && made[1].starts_with("b,b,,"),
        "{told}"
    );
    let a = credential(&gateway, "a");
    assert_eq!((&a["name"], &a["tags"], &a["identity"]), (&json!("Hall"), &json!(["x", "y"]), &json!("id-a")));
    assert_eq!(credential(&gateway, "d?scope=bootstrap")["mode"], "nosec");

    let list = json!([{ "endpoint": "f", "mode": "psk", "identity": "id-a", "key": KEY_HEX }]).to_string();
    let taken = run_with_input(&gateway, &["import", "-", "--all-or-nothing"], &list);
    assert_eq!(taken.status.code(), Some(1));
    assert!(
        err(&taken).contains("error: item 1: f: identity: 'id-a' is in use by the credential 'a'"),
        "{}",
        err(&taken)
    );
    let list =
        json!([{ "endpoint": "f", "mode": "psk", "key": KEY_HEX }, { "endpoint": "g", "mode": "psk" }]).to_string();
    let put = said(&run_with_input(&gateway, &["import", "-", "--all-or-nothing", "--json"], &list));
    let put: Value = serde_json::from_str(&put).unwrap();
    assert_eq!((&put[0]["status"], put[0].get("key")), (&json!("created"), None), "{put}");
    assert_eq!(put[1]["key"].as_str().map(str::len), Some(32), "{put}");
    let nothing = run(&gateway, &["import", "nowhere.csv"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", err(&nothing));
}

#[test]
fn public_keys_certificates_and_subjects_are_given_by_file_or_name() {
    let (_broker, gateway) = gateway();
    let openssl = |line: &str| {
        let made = Command::new("openssl").args(line.split(' ')).current_dir(gateway.path(".")).output();
        let made = made.expect("openssl is installed");
        assert!(made.status.success(), "{}", err(&made));
    };
    openssl("ecparam -name prime256v1 -genkey -noout -out device.key");
    openssl("ec -in device.key -pubout -out device.pub");
    openssl("req -new -x509 -key device.key -subj /CN=meter-3/O=ACME -days 30 -out device.crt");
    said(&run(&gateway, &["add", "meter-2", "--rpk", gateway.path("device.pub").to_str().unwrap()]));
    assert!(credential(&gateway, "meter-2")["public_key"].as_str().is_some_and(|key| key.starts_with("MFkw")));
    let told = said(&run(&gateway, &["add", "meter-3", "--x509", gateway.path("device.crt").to_str().unwrap()]));
    assert!(told.contains("\nSHA-256: "), "{told}");
    assert_eq!(credential(&gateway, "meter-3")["subject"], "CN=meter-3, O=ACME");
    said(&run(&gateway, &["add", "meter-4", "--subject", "CN=x,O=ACME", "--endpoints", "meter-4-*", "--tag", "t"]));
    let meter = credential(&gateway, "meter-4");
    assert_eq!((&meter["subject"], &meter["endpoints"]), (&json!("CN=x, O=ACME"), &json!("meter-4-*")));
    let private = run(&gateway, &["add", "meter-5", "--rpk", gateway.path("device.key").to_str().unwrap()]);
    assert_eq!(private.status.code(), Some(1));
    assert!(err(&private).contains("is a private key"), "{}", err(&private));
}

#[test]
fn devices_are_blocked_and_removed_known_or_not() {
    let (_broker, gateway) = gateway();
    said(&run(&gateway, &["add", "meter-1", "--nosec"]));
    said(&run(&gateway, &["block", "meter-1"]));
    assert_eq!(credential(&gateway, "meter-1")["mode"], "blocked");
    said(&run(&gateway, &["block", "never-seen"]));
    for device in ["meter-1", "never-seen"] {
        said(&run(&gateway, &["remove", device]));
        assert_eq!(credential(&gateway, device), Value::Null);
    }
    assert_eq!(run(&gateway, &["remove", "never-seen"]).status.code(), Some(1));
}

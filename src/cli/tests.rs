//! Whole command lines: what they print, where, and how they end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory as _;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::arguments::{DemoArguments, RunArguments};
use super::*;
use crate::config::ReadError;
use crate::gateway::vocabulary::{Answer, Input, Query};
use crate::instrumentation::metrics::Metrics;
use crate::io::http::{HttpConfiguration, HttpServer};

mod decode;
mod import;
mod mappings;

struct Ran {
    ending: Ending,
    out: String,
    err: String,
}

/// Runs a command line among files that exist in the test only.
fn run_among(files: &[(&str, &str)], line: &[&str]) -> Ran {
    run_with_variables(files, BTreeMap::new(), line)
}

fn run_with_variables(files: &[(&str, &str)], variables: BTreeMap<String, String>, line: &[&str]) -> Ran {
    let read_text = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or(ReadError::NotFound)
    };
    let list_folder = |folder: &Path| {
        let inside = files.iter().map(|(name, _)| PathBuf::from(name)).filter(|path| path.parent() == Some(folder));
        Ok(inside.collect())
    };
    let sources = Sources { read_text: &read_text, list_folder: &list_folder, variables, host_name: "gate".to_owned() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal { out: &mut out, err: &mut err, interactive: false };
    let arguments = std::iter::once("lwm2mqtt").chain(line.iter().copied()).map(OsString::from);
    let ending = run_with(arguments, &sources, &mut terminal);
    Ran { ending, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn run_line(line: &[&str]) -> Ran {
    run_among(&[], line)
}

fn parsed(line: &[&str]) -> Command {
    Arguments::try_parse_from(std::iter::once("lwm2mqtt").chain(line.iter().copied())).unwrap().command
}

#[test]
fn the_definition_of_the_command_line_has_no_contradictions() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_has_help_and_version() {
    for command in ["run", "demo", "simulate", "check", "explain", "decode", "schema", "permit-join"] {
        for option in ["--help", "--version"] {
            let ran = run_line(&[command, option]);
            assert_eq!((ran.ending, ran.err.as_str()), (Ending::Fine, ""), "{command} {option}");
            assert!(!ran.out.is_empty());
        }
    }
    assert!(run_line(&["--version"]).out.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_is_told_on_standard_error_and_ends_with_2() {
    for line in [
        &["fly"] as &[&str],
        &[],
        &["run", "--fast"],
        &["decode", "00"],
        &["decode", "--format", "xml", "00"],
        &["decode", "--format", "tlv", "--coap", "00"],
        &["schema", "device"],
        &["permit-join", "soon"],
        &["permit-join"],
        &["simulate", "--server", "coap://x", "--devices", "0"],
        &["explain"],
        &["demo", "--http-port", "70000"],
    ] {
        let ran = run_line(line);
        assert_eq!((ran.ending, ran.out.as_str()), (Ending::Wrong, ""), "{line:?}");
        assert!(!ran.err.is_empty(), "{line:?}");
    }
    assert_eq!(ExitCode::from(Ending::Wrong), ExitCode::from(2));
}

#[test]
fn arguments_arrive() {
    let Command::Run(run) = parsed(&["run", "--config", "a.toml", "--strict"]) else { panic!("no run") };
    let config = ConfigArguments { config: Some("a.toml".into()) };
    assert_eq!(run, RunArguments { config, strict: true });
    let Command::Demo(demo) = parsed(&["demo", "--seconds", "5", "--devices", "9", "--lwm2m-port", "0"]) else {
        panic!("no demo")
    };
    let ports = (0, 1883, 8080);
    let expected = DemoArguments {
        seconds: Some(5),
        devices: 9,
        bootstrap: false,
        lwm2m_port: ports.0,
        mqtt_port: ports.1,
        http_port: ports.2,
    };
    assert_eq!(demo, expected);
    let line = ["simulate", "--server", "coap://h", "--devices", "7", "--interval", "500ms", "--json"];
    let Command::Simulate(simulate) = parsed(&line) else { panic!("no simulate") };
    assert_eq!((simulate.devices, simulate.interval, simulate.json), (7, Duration::from_millis(500), true));
    assert!(!simulate.bootstrap);
    let line = ["simulate", "--server", "coap://h:5783", "--devices", "7", "--bootstrap"];
    let Command::Simulate(simulate) = parsed(&line) else { panic!("no simulate") };
    assert!(simulate.bootstrap);
}

#[test]
fn check_tells_every_problem_with_file_line_and_hint() {
    let files = [("c.toml", "[store]\ncommit_row = 1\n[lwm2m]\nudp = 1\n")];
    let ran = run_among(&files, &["check", "--config", "c.toml"]);
    assert_eq!(ran.ending, Ending::Wrong);
    assert!(
        ran.out.starts_with("c.toml:2: error: store.commit_row: unknown key\n  hint: did you mean 'commit_rows'?\n")
    );
    assert!(ran.out.contains("\nc.toml:4: error: lwm2m.udp: "), "{}", ran.out);
    assert!(ran.out.ends_with("c.toml: 2 errors\n"), "{}", ran.out);
}

#[test]
fn check_of_a_fine_configuration_says_what_it_read() {
    let files = [("/x/c.toml", ""), ("/x/mappings/a.toml", "version = 1\n")];
    let ran = run_among(&files, &["check", "--config", "/x/c.toml"]);
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Fine, "/x/c.toml and 1 mapping file: fine\n"));
}

#[test]
fn check_warns_where_everybody_may_register_beside_devices_that_prove_who_they_are() {
    let text = "[lwm2m]\nunknown_devices = \"accept\"\ndtls = \"off\"\nraw_public_key = \"raw.key\"\n";
    let key = include_str!("../../tests/fixtures/certificates/raw.key");
    let ran = run_among(&[("/c.toml", text), ("/raw.key", key)], &["check", "--config", "/c.toml"]);
    assert_eq!(ran.ending, Ending::Fine, "warnings alone are fine");
    assert!(ran.out.contains("/c.toml: warning: lwm2m.unknown_devices: \"accept\" lets everybody"), "{}", ran.out);
    assert!(ran.out.contains("but neither dtls nor tls is on"), "{}", ran.out);
}

#[test]
fn check_finds_an_expired_certificate() {
    let text = "[lwm2m]\ncertificate = \"s.crt\"\nprivate_key = \"s.key\"\n";
    let certificate = include_str!("../../tests/fixtures/certificates/expired.crt");
    let key = include_str!("../../tests/fixtures/certificates/server.key");
    let files = [("/c.toml", text), ("/s.crt", certificate), ("/s.key", key)];
    let ran = run_among(&files, &["check", "--config", "/c.toml"]);
    assert_eq!(ran.ending, Ending::Wrong, "{}", ran.out);
    assert!(
        ran.out.contains("/c.toml: error: lwm2m.certificate: /s.crt: the certificate expired at 2020-"),
        "{}",
        ran.out
    );
}

#[test]
fn schema_config_prints_json_schema() {
    let ran = run_line(&["schema", "config"]);
    let schema: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(schema["properties"]["store"]["properties"]["commit_rows"]["default"], 64);
    assert_eq!(ran.ending, Ending::Fine);
}

#[test]
fn decode_tells_a_malformed_message_on_standard_error_and_ends_with_1() {
    let ran = run_line(&["decode", "--coap", "ff"]);
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Failed, ""));
    assert!(ran.err.starts_with("error: "));
    let ran = run_line(&["decode", "--coap", "40 01 12 34"]);
    assert_eq!(ran.ending, Ending::Fine);
    assert_eq!(serde_json::from_str::<Json>(&ran.out).unwrap()["code"], "0.01");
    for line in [["decode", "--coap", "0g"], ["decode", "--coap", "000"]] {
        assert_eq!(run_line(&line).ending, Ending::Wrong, "{line:?}");
    }
}

#[test]
fn explain_refuses_paths_without_values_and_broken_configurations() {
    let ran = run_line(&["explain", "--path", "/3303/0"]);
    assert_eq!(ran.ending, Ending::Wrong);
    assert!(ran.err.contains("only resources have values"), "{}", ran.err);
    let ran = run_among(&[("c.toml", "x = 1")], &["explain", "--path", "/3303/0/5700", "--config", "c.toml"]);
    assert_eq!(ran.ending, Ending::Wrong);
    assert!(ran.err.contains("c.toml:1: error: x: unknown key"), "{}", ran.err);
}

#[test]
fn explain_tells_the_value_it_assumed_and_what_becomes_of_it() {
    let ran = run_line(&["explain", "--json", "--path", "/32769/0/1", "--endpoint", "weather-1"]);
    assert_eq!(ran.ending, Ending::Fine, "{}", ran.err);
    let json: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((json["endpoint"].as_str(), json["value_assumed"].as_bool()), (Some("weather-1"), Some(true)));
    assert_eq!((&json["values"], json["reason"].as_str()), (&json!([]), Some("no rule takes it")));
}

/// A gateway whose core answers `PermitJoin` and knows one device.
fn gateway() -> (HttpServer, String) {
    let (core, mut inputs) = mpsc::channel::<Vec<Input>>(4);
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let server =
        HttpServer::start(HttpConfiguration { listen, ..HttpConfiguration::default() }, core, Metrics::new()).unwrap();
    let answers = server.answers();
    std::thread::spawn(move || {
        while let Some(batch) = inputs.blocking_recv() {
            for input in batch {
                let Input::Request { request, query } = input else { continue };
                let answer = match query {
                    Query::PermitJoin { duration } => Answer::Body(json!({ "secs": duration.as_secs() })),
                    Query::Device { device } if device == "a/b" => Answer::Body(json!({ "endpoint": "urn:a/b" })),
                    _ => Answer::UnknownDevice,
                };
                answers.try_send((request, answer)).unwrap();
            }
        }
    });
    let address = server.addresses()[0].to_string();
    (server, address)
}

#[test]
fn permit_join_asks_the_gateway_of_the_configuration_or_of_the_url() {
    let (server, address) = gateway();
    let config = format!("[http]\nlisten = \"{address}\"\n");
    let files = [("c.toml", config.as_str())];
    let ran = run_among(&files, &["permit-join", "90s", "--config", "c.toml"]);
    let said = "devices without credentials may join for 1m30s\n";
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Fine, said), "{}", ran.err);
    let ran = run_line(&["permit-join", "0s", "--url", &format!("http://{address}/")]);
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Fine, "the join window is closed\n"), "{}", ran.err);
    let variables = BTreeMap::from([("LWM2MQTT_URL".to_owned(), format!("http://{address}"))]);
    assert_eq!(run_with_variables(&[], variables, &["permit-join", "1m"]).ending, Ending::Fine);
    let ran = run_line(&["permit-join", "48h", "--url", &format!("http://{address}")]);
    assert_eq!(ran.ending, Ending::Failed);
    assert!(ran.err.contains("refused (400): for: is longer than 24h"), "{}", ran.err);
    server.stop();
    let ran = run_among(&files, &["permit-join", "90s", "--config", "c.toml"]);
    assert_eq!(ran.ending, Ending::Failed);
    assert!(ran.err.contains(&format!("no gateway answers at http://{address}")), "{}", ran.err);
}

#[test]
fn permit_join_without_a_way_to_the_gateway_says_so() {
    let off = [("c.toml", "[http]\nlisten = \"off\"\n"), ("broken.toml", "[http]\nlisten = 1\n")];
    let ran = run_among(&off, &["permit-join", "1m", "--config", "c.toml"]);
    assert_eq!(ran.ending, Ending::Failed);
    let ran = run_among(&off, &["permit-join", "1m", "--config", "broken.toml"]);
    assert_eq!(ran.ending, Ending::Wrong);
    for url in ["127.0.0.1:8080", "ftp://h", "http://", "http://user@h/x"] {
        assert_eq!(run_line(&["permit-join", "1m", "--url", url]).ending, Ending::Wrong, "{url}");
    }
}

#[test]
fn explain_uses_what_the_gateway_knows_of_a_device() {
    let (server, address) = gateway();
    let url = format!("http://{address}");
    let line = ["explain", "--json", "--path", "/3303/0/5700", "--value", "-21.5", "--device", "a/b", "--url", &url];
    let ran = run_line(&line);
    assert_eq!(ran.ending, Ending::Fine, "{}", ran.err);
    let json: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((json["endpoint"].as_str(), json["value"].as_f64()), (Some("urn:a/b"), Some(-21.5)));
    let ran = run_line(&["explain", "--path", "/3303/0/5700", "--device", "nobody", "--url", &url]);
    assert_eq!(ran.ending, Ending::Failed);
    assert!(ran.err.contains("nobody"), "{}", ran.err);
    server.stop();
}

/// A DDF of object 32770 with a float `Sound Level`.
const OWN_OBJECT: &str = "<LWM2M><Object ObjectType=\"MODefinition\"><Name>Own</Name><ObjectID>32770</ObjectID>\
    <MultipleInstances>Multiple</MultipleInstances><Mandatory>Optional</Mandatory><Resources>\
    <Item ID=\"1\"><Name>Sound Level</Name><Operations>R</Operations><MultipleInstances>Single</MultipleInstances>\
    <Mandatory>Mandatory</Mandatory><Type>Float</Type></Item></Resources></Object></LWM2M>";

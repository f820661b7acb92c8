use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::{Loaded, ReadError, Settings, Sources, load};
use crate::gateway::configuration::{BootstrapConfiguration, UnknownBootstrap};
use crate::model::bootstrap::{AccountOrName, ClientKeys, Provision, PskKey, Security};

const CERTIFICATE: &str = include_str!("../../tests/fixtures/certificates/server.crt");
const KEY: &str = include_str!("../../tests/fixtures/certificates/server.key");

/// Loads `/etc/c.toml` beside other files and variables.
fn load_with(text: &str, files: &[(&str, &str)], variables: &[(&str, &str)]) -> Loaded {
    let main = ("/etc/c.toml", text);
    let read_text = |path: &Path| {
        let found = files.iter().chain([&main]).find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or(ReadError::NotFound)
    };
    let list_folder = |folder: &Path| {
        let inside: Vec<PathBuf> =
            files.iter().map(|(name, _)| PathBuf::from(name)).filter(|path| path.parent() == Some(folder)).collect();
        if inside.is_empty() { Err(ReadError::NotFound) } else { Ok(inside) }
    };
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { read_text: &read_text, list_folder: &list_folder, variables, host_name: "gate".to_owned() };
    load(Some(Path::new("/etc/c.toml")), &sources)
}

fn settings(loaded: Loaded) -> Settings {
    assert_eq!(loaded.problems, []);
    loaded.settings.unwrap()
}

fn core(text: &str) -> BootstrapConfiguration {
    settings(load_with(text, &[], &[])).bootstrap.unwrap().core
}

/// Problems as `line: message | hint`.
fn problems(text: &str) -> Vec<String> {
    let loaded = load_with(text, &[], &[]);
    let line = |line: Option<usize>| line.map_or_else(String::new, |line| line.to_string());
    loaded.problems.iter().map(|at| format!("{}: {} | {}", line(at.line), at.message, at.hint)).collect()
}

#[test]
fn without_the_section_there_is_no_bootstrap_server() {
    let without = settings(load_with("", &[], &[]));
    assert_eq!(without.bootstrap, None);
    assert_eq!(without.in_force["bootstrap"], "off");
    let with = settings(load_with("[bootstrap]\n", &[], &[]));
    let bootstrap = with.bootstrap.unwrap();
    assert_eq!(bootstrap.udp, ["[::]:5783".parse().unwrap()]);
    assert_eq!(bootstrap.dtls, ["[::]:5784".parse().unwrap()]);
    assert_eq!((bootstrap.tcp.len(), bootstrap.tls.len()), (0, 0));
    assert_eq!(bootstrap.core, BootstrapConfiguration::default());
    assert_eq!(with.in_force["bootstrap"]["udp"], "[::]:5783");
    // An account alone is a reason to serve it.
    assert_eq!(core("[bootstrap.server.a]\n").servers.len(), 1);
}

#[test]
fn accounts_and_entries_are_those_of_the_interface() {
    let read = core(
        r#"
        [bootstrap]
        unknown_devices = "template"
        [bootstrap.server.plant]
        uri = "coaps://lwm2m.example"
        ssid = 101
        security_mode = "psk"
        psk_identity = "{serial}"
        psk_key = { random = 32 }
        notification_storing = false
        provision = { type = "thingsboard", url = "https://tb.example", user = "me", password = "geheim" }
        [bootstrap.device.meters]
        endpoints = "meter-*"
        servers = ["plant", { type = "bootstrap", uri = "{host}:5783", provision = "none" }]
        writes = { "/3/0/15" = "Europe/Oslo", "/5/0" = { "3" = 1 }, "/33000/0/1" = 2.5, "/33000/0/2" = { "0" = "a" } }
        deletes = ["/0"]
        format = "tlv"
        order = [1, 0]
        verify = false
        [[bootstrap.device.meters.acls]]
        object = 3
        instance = 0
        acl = { "101" = 31 }
        "#,
    );
    assert_eq!(read.unknown_devices, UnknownBootstrap::Template);
    let [(name, account)] = read.servers.as_slice() else { panic!("{:?}", read.servers) };
    assert_eq!((name.as_str(), account.ssid, account.notification_storing), ("plant", Some(101), false));
    assert!(matches!(account.security, Security::Psk { key: PskKey::Random(32), .. }));
    assert!(matches!(&account.provision, Provision::Target(target) if target.url == "https://tb.example"));
    let [(name, entry)] = read.devices.as_slice() else { panic!("{:?}", read.devices) };
    assert_eq!(name.as_str(), "meter-*");
    assert!(matches!(&entry.servers[0], AccountOrName::Named(name) if name.as_str() == "plant"));
    assert!(matches!(&entry.servers[1], AccountOrName::Inline(account) if account.uri.is_some()));
    let writes: Vec<(String, serde_json::Value)> =
        entry.writes.iter().map(|(path, value)| (path.to_string(), value.clone())).collect();
    assert_eq!(
        writes,
        [
            ("/3/0/15".to_owned(), json!("Europe/Oslo")),
            ("/5/0".to_owned(), json!({"3": 1})),
            ("/33000/0/1".to_owned(), json!(2.5)),
            ("/33000/0/2".to_owned(), json!({"0": "a"})),
        ]
    );
    assert_eq!((entry.format, entry.verify, entry.order.as_slice()), (Some(11_542), Some(false), [1, 0].as_slice()));
    assert_eq!(entry.access_control[0].rights[&101], 31);
}

#[test]
fn secrets_keys_and_certificates_come_from_files_and_variables_too() {
    let text = r#"
        [bootstrap.server.a]
        uri = "a.example"
        security_mode = "psk"
        psk_key = { env = "A_KEY" }
        binding = "US"
        sms_binding_secret_key = { file = "sms.key" }
        [bootstrap.server.b]
        uri = "b.example"
        security_mode = "x509"
        client_certificate = { file = "certs/device.crt" }
        client_private_key = { file = "/secret/device.key" }
        server_certificate = { file = "certs/device.crt" }
        [bootstrap.device.d]
        servers = [{ uri = "c.example", security_mode = "psk", psk_key = { env = "A_KEY" } }]
        writes = { "/21/0/3" = { env = "OSCORE" }, "/21/1" = { "1" = { file = "sms.key" } } }
        [bootstrap.device.e]
        servers = [{ provision = { type = "coiote", url = "https://e.example", password = { env = "OSCORE" } } }]
    "#;
    let files = [
        ("/etc/sms.key", "00112233445566778899aabbccddeeff\n"),
        ("/etc/certs/device.crt", CERTIFICATE),
        ("/secret/device.key", KEY),
    ];
    let loaded = settings(load_with(text, &files, &[("A_KEY", "0011223344"), ("OSCORE", "hunter2")]));
    let read = loaded.bootstrap.unwrap().core;
    let a = &read.servers[0].1;
    assert!(
        matches!(&a.security, Security::Psk { key: PskKey::Given(key), .. } if key.expose() == [0, 0x11, 0x22, 0x33, 0x44])
    );
    assert_eq!(a.sms.binding_secret_key.as_ref().map(|key| key.expose().len()), Some(16));
    let b = &read.servers[1].1;
    let Security::X509 { client: ClientKeys::Given { public, .. }, server, .. } = &b.security else { panic!("{b:?}") };
    assert_eq!(Some(public), server.as_ref());
    let writes: Vec<_> =
        read.devices[0].1.writes.iter().map(|(path, value)| (path.to_string(), value.clone())).collect();
    let sms_key = json!({"1": "00112233445566778899aabbccddeeff"});
    assert_eq!(writes, [("/21/0/3".to_owned(), json!("hunter2")), ("/21/1".to_owned(), sms_key)]);

    let shown = &loaded.in_force["bootstrap"];
    let text = shown.to_string();
    for secret in ["0011223344", "hunter2", "00112233445566778899aabbccddeeff", "PRIVATE"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!((&shown["server"]["a"]["psk_key"], &shown["server"]["a"]["lifetime"]), (&json!("***"), &json!(86_400)));
    assert_eq!(shown["server"]["b"]["client_private_key"], "***");
    assert_eq!(shown["device"]["d"]["servers"][0]["psk_key"], "***");
    assert_eq!(shown["device"]["d"]["writes"]["/21/0/3"], "***");
    assert_eq!(shown["device"]["d"]["endpoints"], "d");
    assert_eq!(shown["device"]["e"]["servers"][0]["provision"]["password"], "***");
    assert!(!format!("{read:?}").contains("0011223344"));
}

#[test]
fn what_a_source_lacks_is_told_once_at_its_line() {
    let text = r#"
[bootstrap.server.a]
uri = "a.example"
security_mode = "psk"
psk_key = { env = "NOT_SET" }
[bootstrap.server.b]
security_mode = "rpk"
client_public_key = { file = "no.pem" }
client_private_key = { path = "x" }
[bootstrap.device.c]
writes = { "/21/0/3" = { file = "" }, "/3/0/13" = 1979-05-27T07:32:00Z, "/3/0/14" = nan }
"#;
    let found = problems(text);
    let expected = [
        "5: bootstrap.server.a.psk_key: the environment variable NOT_SET is not set | ",
        "8: bootstrap.server.b.client_public_key: there is no file /etc/no.pem | relative paths count from the folder of \
         the configuration file",
        "9: bootstrap.server.b.client_private_key: is an object, not a text | ",
        "11: bootstrap.device.c.writes./21/0/3: is empty | leave the key out instead",
        "11: bootstrap.device.c.writes./3/0/13: is a date or time | write seconds since 1970, or a text",
        "11: bootstrap.device.c.writes./3/0/14: is no finite number | ",
    ];
    for expected in expected {
        assert!(found.iter().any(|text| text == expected), "{expected}: {found:#?}");
    }
    assert_eq!(found.iter().filter(|text| text.contains("psk_key")).count(), 1, "{found:#?}");
}

#[test]
fn every_problem_stands_at_the_line_of_its_field() {
    let text = r#"
[bootstrap.server.main]
uri = "coaps://a.example"
lifetime = "1h"
psk_key = "00"
bindng = "U"

[bootstrap.device.meters]
servers = [
    "main",
    { ssid = 0 },
    { security_mode = "psk",
      psk_key = "hunter2!" },
]
verify = "yes"
[bootstrap.device.meters.writes]
"/3/0/15" = "Europe/Oslo"
"/devise/0/1" = 1
[[bootstrap.device.meters.acls]]
object = 3
instance = 0
[[bootstrap.device.meters.acls]]
object = 3
acl = { "70000" = 1 }

[bootstrap.server."two words"]
"#;
    let found = problems(text);
    for (line, words) in [
        (
            3,
            "bootstrap.server.main.uri: says coaps, which needs security_mode psk, rpk or x509 | without security write coap",
        ),
        (4, "bootstrap.server.main.lifetime: is a text, not an integer"),
        (5, "bootstrap.server.main.psk_key: goes with security_mode psk | say so"),
        (6, "bootstrap.server.main.bindng: unknown key | did you mean 'binding'?"),
        (11, "bootstrap.device.meters.servers[1].ssid: is 0"),
        (13, "bootstrap.device.meters.servers[2].psk_key: is neither hexadecimal nor base64"),
        (15, "bootstrap.device.meters.verify: is a text"),
        (18, "bootstrap.device.meters.writes./devise/0/1: is no path"),
        (22, "bootstrap.device.meters.acls[1].instance: is missing"),
        (24, "bootstrap.device.meters.acls[1].acl.70000: is no short server id"),
        (26, "bootstrap.server.two words: 'two words' cannot be a name"),
    ] {
        let begins = format!("{line}: {words}");
        assert!(found.iter().any(|text| text.starts_with(&begins)), "{begins}: {found:#?}");
    }
    assert_eq!(found.len(), 11, "{found:#?}");
    assert!(!found.iter().any(|text| text.contains("hunter2")));
}

#[test]
fn entries_stand_in_the_order_of_the_file() {
    let text = r#"
        [bootstrap.device.zebra]
        endpoints = "z*"
        [bootstrap.device."*"]
        [bootstrap.device."urn:imei:123"]
        verify = true
        [bootstrap.device.ant]
        servers = []
    "#;
    let further = "[bootstrap.device.late]\n[bootstrap.device.zebra]\nverify = true\n";
    let variables = [("LWM2MQTT__BOOTSTRAP__DEVICE__ANT__VERIFY", "false")];
    let read = settings(load_with(text, &[("/etc/conf.d/1.toml", further)], &variables)).bootstrap.unwrap().core;
    let names: Vec<&str> = read.devices.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["z*", "*", "urn:imei:123", "ant", "late"]);
    let verifies: Vec<Option<bool>> = read.devices.iter().map(|(_, entry)| entry.verify).collect();
    assert_eq!(verifies, [Some(true), None, Some(true), Some(false), None]);
}

#[test]
fn one_name_has_one_entry() {
    let text = "[bootstrap.device.a]\n[bootstrap.device.b]\nendpoints = \"a\"\n[bootstrap.device.c]\nendpoints = \"\"\n\
                [bootstrap.device.d]\nendpoints = [\"a\"]\n[bootstrap.device.\"e\\n\"]\n";
    let found = problems(text);
    assert_eq!(
        found,
        [
            "3: bootstrap.device.b.endpoints: \"a\" has an entry already | join both",
            "5: bootstrap.device.c.endpoints: is no endpoint name or pattern of 1 to 256 characters | ",
            "7: bootstrap.device.d.endpoints: is an array, not a string | write one name or pattern",
            "8: bootstrap.device.e\\n: is no endpoint name or pattern of 1 to 256 characters | ",
        ]
    );
}

#[test]
fn paths_may_have_the_names_of_the_models_folder() {
    let definition = r#"<LWM2M><Object ObjectType="MODefinition"><Name>Pump Station</Name><ObjectID>32999</ObjectID>
        <LWM2MVersion>1.0</LWM2MVersion><ObjectVersion>1.0</ObjectVersion><MultipleInstances>Multiple</MultipleInstances>
        <Mandatory>Optional</Mandatory><Resources><Item ID="7"><Name>Flow Limit</Name><Operations>RW</Operations>
        <MultipleInstances>Single</MultipleInstances><Mandatory>Optional</Mandatory><Type>Float</Type>
        <RangeEnumeration></RangeEnumeration><Units></Units></Item></Resources></Object></LWM2M>"#;
    let text = "[bootstrap.device.a]\nwrites = { \"/pump_station/0/flow_limit\" = 4 }\n";
    let read = settings(load_with(text, &[("/etc/models/pump.xml", definition)], &[])).bootstrap.unwrap().core;
    assert_eq!(read.devices[0].1.writes[0].0.to_string(), "/32999/0/7");
    assert_eq!(problems(text).len(), 1);
}

#[test]
fn both_servers_have_sockets_of_their_own() {
    let text = "[lwm2m]\ntcp = \"[::]:5683\"\ntls = \"off\"\n[bootstrap]\nudp = \"[::]:5683\"\ndtls = \"[::]:5684\"\n\
                tcp = \"[::]:5683\"\ntls = \"[::]:5683\"\n";
    let found = problems(text);
    let heads: Vec<&str> = found.iter().map(|text| text.split(" | ").next().unwrap()).collect();
    assert_eq!(
        heads,
        [
            "5: bootstrap.udp: [::]:5683 stands in lwm2m.udp too",
            "6: bootstrap.dtls: [::]:5684 stands in lwm2m.dtls too",
            "7: bootstrap.tcp: [::]:5683 stands in lwm2m.tcp too",
            "8: bootstrap.tls: [::]:5683 stands in lwm2m.tcp too",
            "8: bootstrap.tls: [::]:5683 stands in bootstrap.tcp too",
        ]
    );
    // What is not there does not collide.
    assert_eq!(problems("[lwm2m]\nudp = \"[::]:5783\"\n"), [] as [&str; 0]);
}

#[test]
fn the_schema_describes_accounts_and_entries() {
    let schema = crate::config::json_schema();
    let bootstrap = &schema["properties"]["bootstrap"]["properties"];
    let account = &bootstrap["server"]["additionalProperties"];
    assert_eq!(account["additionalProperties"], false);
    assert_eq!(account["properties"]["lifetime"]["default"], 86_400);
    assert_eq!(account["properties"]["psk_key"]["oneOf"].as_array().map(Vec::len), Some(4));
    let entry = &bootstrap["device"]["additionalProperties"];
    let inline = &entry["properties"]["servers"]["items"]["oneOf"][1];
    assert_eq!(inline["properties"].as_object().map(serde_json::Map::len), Some(40));
    assert_eq!(entry["properties"]["format"]["enum"][0], "tlv");
}

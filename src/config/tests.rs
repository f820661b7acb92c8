//! Tests of [`super::load`]: where files come from, how sources are laid over one another, what comes out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::gateway::configuration::{CertificateName, Rate, Role, Transport, UnknownDevices};
use crate::io::secure::identity::ClientAuthentication;

/// Loads from files and variables that exist in the test only.
fn load_from(named: Option<&str>, files: &[(&str, &str)], variables: &[(&str, &str)]) -> Loaded {
    with_sources(files, variables, |sources| load(named.map(Path::new), sources))
}

fn with_sources<T>(files: &[(&str, &str)], variables: &[(&str, &str)], use_them: impl FnOnce(&Sources<'_>) -> T) -> T {
    let read_text = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or(ReadError::NotFound)
    };
    let list_folder = |folder: &Path| {
        let inside = files.iter().map(|(name, _)| PathBuf::from(name)).filter(|path| path.parent() == Some(folder));
        let inside: Vec<PathBuf> = inside.collect();
        if inside.is_empty() { Err(ReadError::NotFound) } else { Ok(inside) }
    };
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources { read_text: &read_text, list_folder: &list_folder, variables, host_name: "gate".to_owned() };
    use_them(&sources)
}

fn load_text(text: &str) -> Loaded {
    load_from(Some("/etc/c.toml"), &[("/etc/c.toml", text)], &[])
}

#[track_caller]
fn settings(loaded: Loaded) -> Settings {
    assert_eq!(loaded.problems, []);
    loaded.settings.unwrap()
}

#[test]
fn without_any_file_everything_has_its_default() {
    let loaded = load_from(None, &[], &[]);
    assert_eq!(loaded.file, None);
    let settings = settings(loaded);
    assert_eq!(settings.gateway.name, "gate");
    assert_eq!(settings.lwm2m.udp, ["[::]:5683".parse().unwrap()]);
    assert_eq!(settings.store.commit_interval, Duration::from_millis(100));
    let [sink] = settings.sinks.as_slice() else { panic!("one sink") };
    assert_eq!((&*sink.core.name, sink.core.base.as_str()), ("local", "lwm2m"));
    assert_eq!(sink.client_id, "lwm2mqtt-gate-local");
    assert_eq!(sink.core.max_spool_bytes, 256 << 20);
    assert_eq!(sink.core.max_spool_age, Duration::from_secs(7 * 86_400));
    let core = settings.core();
    assert_eq!(core.lwm2m, crate::gateway::configuration::Lwm2mConfiguration::default());
    assert_eq!(core.limits, crate::gateway::configuration::Limits::default());
    assert_eq!(core.listeners, ["coap://[::]:5683", "coaps://[::]:5684"]);
    assert_eq!(core.transports, [Transport::Udp, Transport::Dtls]);
    let security = &settings.lwm2m.security;
    assert!(!security.is_configured());
    assert_eq!(security.client_authentication, ClientAuthentication::Required);
    assert_eq!(security.first_retransmission, Duration::from_secs(1));
}

#[test]
fn the_file_is_the_named_one_then_the_variable_then_the_usual_ones() {
    let files = [
        ("/a.toml", "gateway.name = \"a\""),
        ("/b.toml", "gateway.name = \"b\""),
        ("/etc/lwm2mqtt/config.toml", "gateway.name = \"etc\""),
        ("config.toml", "gateway.name = \"here\""),
    ];
    let variable = [(FILE_VARIABLE, "/b.toml")];
    let name = |loaded: Loaded| settings(loaded).gateway.name;
    assert_eq!(name(load_from(Some("/a.toml"), &files, &variable)), "a");
    assert_eq!(name(load_from(None, &files, &variable)), "b");
    assert_eq!(name(load_from(None, &files, &[])), "etc");
    assert_eq!(name(load_from(None, &files[3..], &[])), "here");
}

#[test]
fn a_named_file_that_is_not_there_is_an_error() {
    let loaded = load_from(Some("/nowhere.toml"), &[("config.toml", "")], &[]);
    assert_eq!(loaded.settings, None);
    assert_eq!(loaded.problems[0].to_string().lines().next(), Some("/nowhere.toml: error: there is no such file"));
}

#[test]
fn further_files_come_in_name_order_and_the_environment_last() {
    let files = [
        ("/etc/c.toml", "[gateway]\nname = \"main\"\n[store]\ncommit_rows = 1\n[log]\nlevel = \"warn\""),
        ("/etc/conf.d/20-b.toml", "[gateway]\nname = \"second\""),
        ("/etc/conf.d/10-a.toml", "[gateway]\nname = \"first\"\n[store]\ncommit_rows = 2"),
        ("/etc/conf.d/.hidden.toml", "nonsense"),
        ("/etc/conf.d/readme.txt", "nonsense"),
    ];
    let variables = [("LWM2MQTT__STORE__COMMIT_ROWS", "3"), ("LWM2MQTT__SINK__CLOUD__URL", "mqtts://cloud")];
    let settings = settings(load_from(Some("/etc/c.toml"), &files, &variables));
    assert_eq!(settings.gateway.name, "second");
    assert_eq!(settings.store.commit_rows, 3);
    assert_eq!(settings.log.level, "warn");
    assert_eq!(settings.sinks[0].url.to_string(), "mqtts://cloud:8883");
}

#[test]
fn problems_name_the_variable_they_come_from() {
    let variables = [("LWM2MQTT__STORE__COMMIT_ROWS", "many"), ("LWM2MQTT__SINK__LOCAL__ULR", "mqtt://x")];
    let loaded = load_from(None, &[], &variables);
    let texts: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "environment variable LWM2MQTT__SINK__LOCAL__ULR: error: sink.local.ulr: unknown key\n  hint: did you mean 'url'?",
            "environment variable LWM2MQTT__STORE__COMMIT_ROWS: error: store.commit_rows: is a string, not a whole \
             number\n  hint: write digits without quotes",
        ]
    );
}

#[test]
fn a_text_value_may_look_like_a_number_when_quoted() {
    let loaded = load_from(None, &[], &[("LWM2MQTT__GATEWAY__NAME", "\"7\"")]);
    assert_eq!(settings(loaded).gateway.name, "7");
}

#[test]
fn secrets_come_from_texts_files_and_variables_and_are_never_shown() {
    let text = "[sink.a]\nusername = \"u\"\npassword = \"hunter2\"\nclient_id = \"a\"\n\
                [sink.b]\npassword = { file = \"b.secret\" }\n\
                [sink.c]\npassword = { env = \"C_PASSWORD\" }\n";
    let files = [("/etc/c.toml", text), ("/etc/b.secret", "from file\r\n")];
    let settings = settings(load_from(Some("/etc/c.toml"), &files, &[("C_PASSWORD", "from variable")]));
    let passwords: Vec<&str> = settings.sinks.iter().map(|sink| sink.password.as_ref().unwrap().expose()).collect();
    assert_eq!(passwords, ["hunter2", "from file", "from variable"]);
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("from file"), "{shown}");
    let in_force = &settings.in_force["sink"];
    assert_eq!(in_force["a"]["password"], "***");
    assert_eq!(in_force["b"]["password"], serde_json::json!({ "file": "b.secret" }));
    assert_eq!(in_force["c"]["password"], serde_json::json!({ "env": "C_PASSWORD" }));
}

#[test]
fn paths_count_from_the_folder_of_the_configuration() {
    let settings = settings(load_text("[gateway]\ndata_dir = \"state\"\nmodels = \"/srv/models\"\n"));
    assert_eq!(settings.gateway.data_dir, Path::new("/etc/state"));
    assert_eq!(settings.gateway.mappings, Path::new("/etc/mappings"));
    assert_eq!(settings.gateway.models, Path::new("/srv/models"));
}

#[test]
fn every_key_of_the_format_is_in_force_with_its_value_or_default() {
    let settings = settings(load_text("[gateway]\nname = \"edge\"\nmodels = \"m\"\n[store]\ncommit_rows = 5\n"));
    let in_force = &settings.in_force;
    assert_eq!(
        (&in_force["store"]["commit_rows"], &in_force["store"]["commit_interval"]),
        (&5.into(), &"100ms".into())
    );
    assert_eq!((&in_force["gateway"]["name"], &in_force["gateway"]["models"]), (&"edge".into(), &"/etc/m".into()));
    assert_eq!(in_force["sink"]["local"]["base"], "lwm2m");
    let schema = json_schema();
    for (section, described) in schema["properties"].as_object().unwrap() {
        if let Some(keys) = described["properties"].as_object().filter(|_| section != "bootstrap") {
            for key in keys.keys().filter(|key| !keys[*key]["additionalProperties"].is_object()) {
                assert!(in_force[section].get(key).is_some(), "{section}.{key} is not told: {in_force}");
            }
        }
    }
}

#[test]
fn every_key_that_is_served_arrives() {
    let text = r#"
        [gateway]
        name = "edge-1"
        default_mapping = false
        [limits]
        commands_per_device = 5
        max_transfer = "32MiB"
        [lwm2m]
        udp = ["127.0.0.1:5683", "[::1]:5684"]
        unknown_devices = "refuse"
        default_lifetime = "1h"
        max_retransmit = 2
        [http]
        listen = "off"
        [broker]
        enabled = true
        listen = "0.0.0.0:1883"
        [broker.user.alice]
        password = "wonderland"
        [sink.north]
        url = "mqtts://[2001:db8::1]:8884"
        base = "lwm2m/{gateway}"
        role = "viewer"
        protocol = 4
        keep_alive = "30s"
        ca = "ca.crt"
        alpn = ["mqtt"]
        queue = { max_bytes = "1MiB", when_full = "drop_newest" }
    "#;
    let files = [("/etc/c.toml", text), ("/etc/ca.crt", "-----BEGIN CERTIFICATE-----\n")];
    let settings = settings(load_from(Some("/etc/c.toml"), &files, &[]));
    assert!(!settings.gateway.default_mapping);
    assert_eq!(settings.limits.max_commands_per_device, 5);
    assert_eq!(settings.limits.max_transfers_bytes, 32 << 20);
    assert_eq!(settings.lwm2m.udp.len(), 2);
    assert_eq!(settings.lwm2m.core.unknown_devices, UnknownDevices::Refuse);
    assert_eq!(settings.lwm2m.core.default_lifetime, Duration::from_secs(3_600));
    assert_eq!(settings.lwm2m.core.max_retransmit, 2);
    assert_eq!(settings.http.listen, []);
    assert_eq!(settings.broker.users[0].0, "alice");
    let [sink] = settings.sinks.as_slice() else { panic!("one sink") };
    assert_eq!((sink.core.base.as_str(), sink.core.role), ("lwm2m/edge-1", Role::Viewer));
    assert_eq!((sink.version, sink.keep_alive), (MqttVersion::V4, Duration::from_secs(30)));
    assert_eq!(sink.ca.as_ref().map(|ca| ca.path.as_path()), Some(Path::new("/etc/ca.crt")));
    assert_eq!(
        (sink.core.max_spool_bytes, sink.core.when_full),
        (1 << 20, crate::gateway::configuration::WhenFull::DropNewest)
    );
}

/// A self-signed certificate on P-256 and its key.
const CERTIFICATE: &str = include_str!("../../tests/fixtures/certificates/server.crt");
const KEY: &str = include_str!("../../tests/fixtures/certificates/server.key");
/// Another key on P-256.
const OTHER_KEY: &str = include_str!("../../tests/fixtures/certificates/raw.key");

#[test]
fn every_key_of_the_secure_transports_arrives() {
    let text = r#"
        [lwm2m]
        udp = "127.0.0.1:1"
        dtls = ["127.0.0.1:2", "[::1]:2"]
        tcp = "127.0.0.1:3"
        tls = "127.0.0.1:4"
        certificate = "server.crt"
        private_key = { file = "server.key" }
        raw_public_key = { env = "RAW_KEY" }
        trust = ["authorities", "one.pem"]
        client_auth = "optional"
        x509_endpoint = "any"
        connection_id_length = 0
        dtls_handshake_timeout = "5s"
        dtls_retransmission = "9s"
        dtls_alert_unknown = true
        dtls_hello_verify = "1.2"
        dtls_save_interval = "10s"
        dtls_unused_timeout = "7d"
        handshakes_per_second = 5
        handshakes_per_second_per_source = 6
        registrations_per_second = 7
        registrations_per_second_per_source = 8
    "#;
    let files = [
        ("/etc/c.toml", text),
        ("/etc/server.crt", CERTIFICATE),
        ("/etc/server.key", KEY),
        ("/etc/authorities/b.crt", CERTIFICATE),
        ("/etc/authorities/a.pem", CERTIFICATE),
        ("/etc/authorities/readme.txt", "not looked at"),
        ("/etc/authorities/.hidden.pem", "not looked at"),
        ("/etc/one.pem", CERTIFICATE),
    ];
    let settings = settings(load_from(Some("/etc/c.toml"), &files, &[("RAW_KEY", OTHER_KEY)]));
    let kinds: Vec<Transport> = settings.listeners().iter().map(|listener| listener.transport).collect();
    assert_eq!(kinds, [Transport::Udp, Transport::Dtls, Transport::Dtls, Transport::Tcp, Transport::Tls]);
    let security = &settings.lwm2m.security;
    assert_eq!(security.client_authentication, ClientAuthentication::Optional);
    assert_eq!(security.first_retransmission, Duration::from_secs(9));
    let trust: Vec<&Path> = security.trust.iter().map(|file| file.path.as_path()).collect();
    assert_eq!(trust, ["/etc/authorities/a.pem", "/etc/authorities/b.crt", "/etc/one.pem"].map(Path::new));
    let (certificate, key) = security.configured_pair().unwrap();
    assert_eq!((certificate.name.as_str(), key.name.as_str()), ("/etc/server.crt", "/etc/server.key"));
    let core = settings.core().lwm2m;
    assert_eq!(core.x509_endpoint, CertificateName::Any);
    assert_eq!(core.registration_rate, Rate { per_second: 7, burst: 14 });
    assert_eq!(core.registration_rate_per_source, Rate { per_second: 8, burst: 16 });
    let sessions = core.sessions;
    assert_eq!((sessions.connection_id_bytes, sessions.handshake_timeout), (0, Duration::from_secs(5)));
    assert_eq!(
        (sessions.save_interval, sessions.unused_timeout),
        (Duration::from_secs(10), 7 * Duration::from_secs(86_400))
    );
    assert!(sessions.alert_unknown && sessions.hello_verify_1_2);
    assert_eq!(sessions.handshake_rate, Rate { per_second: 5, burst: 5 });
    assert_eq!(sessions.handshake_rate_per_source, Rate { per_second: 6, burst: 6 });
    let in_force = &settings.in_force["lwm2m"];
    assert_eq!(in_force["private_key"], serde_json::json!({ "file": "server.key" }));
    assert_eq!(in_force["raw_public_key"], serde_json::json!({ "env": "RAW_KEY" }));
    assert_eq!(in_force["certificate"], "/etc/server.crt");
}

#[test]
fn a_key_that_stands_in_the_configuration_itself_is_refused_and_not_shown() {
    let text = format!("[lwm2m]\ncertificate = \"s.crt\"\nprivate_key = \"\"\"{KEY}\"\"\"\n");
    let loaded = load_from(Some("/etc/c.toml"), &[("/etc/c.toml", &text), ("/etc/s.crt", CERTIFICATE)], &[]);
    let [problem] = &loaded.problems[..] else { panic!("{:?}", loaded.problems) };
    assert!(problem.message.contains("is PEM itself"), "{problem}");
    let secret = KEY.lines().nth(1).unwrap();
    assert!(!format!("{loaded:?}").contains(secret));
}

#[test]
fn files_of_the_secure_transports_that_cannot_be_used_are_problems() {
    let text = "[lwm2m]\ncertificate = \"s.crt\"\nprivate_key = \"other.key\"\ntrust = \"other.key\"\nraw_public_key = \"s.crt\"\n";
    let files = [("/etc/c.toml", text), ("/etc/s.crt", CERTIFICATE), ("/etc/other.key", OTHER_KEY)];
    let loaded = load_from(Some("/etc/c.toml"), &files, &[]);
    let told: Vec<&str> = loaded.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        told,
        [
            "lwm2m.certificate: /etc/other.key: is not the private key of /etc/s.crt: give the two that were made together",
            "lwm2m.trust: /etc/other.key: holds no certificate that can be read: it needs lines -----BEGIN \
             CERTIFICATE-----",
            "lwm2m.raw_public_key: /etc/s.crt: holds no private key that can be read: it needs lines -----BEGIN PRIVATE \
             KEY-----",
        ]
    );
}

#[test]
fn files_of_the_secure_transports_are_read_anew_where_they_were() {
    let text = "[lwm2m]\ncertificate = \"s.crt\"\nprivate_key = \"s.key\"\ntrust = \"authorities\"\n";
    let files = [("/c.toml", text), ("/s.crt", CERTIFICATE), ("/s.key", KEY), ("/authorities/a.crt", CERTIFICATE)];
    let before = settings(load_from(Some("/c.toml"), &files, &[])).lwm2m.security;
    let reread = |files: &[(&str, &str)]| {
        with_sources(files, &[], |sources| before.reread(sources)).map(|after| (after.trust.len(), after == before))
    };
    assert_eq!(reread(&files), Ok((1, true)));
    assert_eq!(reread(&[&files[..], &[("/authorities/b.crt", CERTIFICATE)]].concat()), Ok((2, false)));
    let gone = reread(&files[1..2]).unwrap_err();
    assert!(gone.starts_with("there is no file /s.key"), "{gone}");
}

#[test]
fn two_sinks_do_not_push_one_another_from_a_broker() {
    let loaded = load_text("[sink.a]\nclient_id = \"x\"\n[sink.b]\nclient_id = \"x\"\n");
    assert_eq!(loaded.problems.len(), 1);
    assert_eq!(loaded.problems[0].line, Some(4));
}

#[test]
fn mapping_files_are_read_in_name_order() {
    let files = [("/m/20-b.toml", "b"), ("/m/10-a.toml", "a"), ("/m/notes.md", "")];
    let read_text = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned()).ok_or(ReadError::NotFound)
    };
    let list_folder = |folder: &Path| match folder.to_str() {
        Some("/m") => Ok(files.iter().map(|(name, _)| PathBuf::from(name)).collect()),
        _ => Err(ReadError::NotFound),
    };
    let sources = Sources {
        read_text: &read_text,
        list_folder: &list_folder,
        variables: BTreeMap::new(),
        host_name: "gate".to_owned(),
    };
    let mut settings = settings(load(None, &sources));
    let (nothing, problems) = read_mappings(&settings, &sources);
    assert!(nothing.is_empty() && problems.is_empty(), "a folder that is not there has no files");
    settings.gateway.mappings = PathBuf::from("/m");
    let (mappings, problems) = read_mappings(&settings, &sources);
    assert_eq!(problems, []);
    assert_eq!(mappings.iter().map(|file| file.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn the_shipped_file_shows_exactly_the_defaults() {
    let shipped = include_str!("../../config.toml");
    assert_eq!(settings(load_text(shipped)), settings(load_text("")), "as shipped, the file sets nothing");
    // Keys stand behind '#' without a space, text behind '# '; what is no default says "example".
    let uncommented = shipped.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) && !key.contains("# example") => key,
        _ => line,
    });
    // What is told as in force keeps the words of the file: "24h" there, "1d" as default.
    let alike = |text: &str| Settings { in_force: serde_json::Value::Null, ..settings(load_text(text)) };
    assert_eq!(alike(&uncommented.collect::<Vec<_>>().join("\n")), alike(""));
}

#[test]
fn the_shipped_file_shows_every_key_that_is_served() {
    const TO_COME: [&str; 1] = ["http.webhook_allow"];
    let shipped = include_str!("../../config.toml");
    for schema::KeyDescription { section, key, .. } in schema::describe() {
        let name = format!("{section}.{key}");
        // Accounts and entries have more fields than an example: docs/bootstrap.md has them all.
        if TO_COME.contains(&name.as_str()) || section.starts_with("bootstrap.") {
            continue;
        }
        let heading = section.strip_suffix(".queue").unwrap_or(&section).replace("sink.*", "sink.local");
        let heading = format!("[{}]", heading.replace("user.*", "user.alice").replace("token.*", "token.ops"));
        let below = shipped.split_once(&heading).filter(|_| !section.is_empty());
        let part = below.map_or(shipped, |(_, part)| part);
        let part = if heading.contains("user") || heading.contains("token") {
            part
        } else {
            part.split("\n[").next().unwrap_or(part)
        };
        assert!(part.contains(&format!("{key} = ")), "{name}");
    }
}

#[test]
fn hostile_texts_are_refused_without_harm() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        "\0\u{feff}=\"".to_owned(),
        "[sink.\"\\u0000\"]\nurl = \"mqtt://\\u0007\"".to_owned(),
    ] {
        let loaded = load_text(&text);
        assert_eq!(loaded.settings, None);
        assert!(!loaded.problems.is_empty());
    }
    let name = format!("LWM2MQTT__{}A", "A__".repeat(10_000));
    let loaded = load_from(None, &[], &[(&name, "1"), ("LWM2MQTT__LOG__LEVEL", &"[".repeat(100_000))]);
    assert_eq!(loaded.settings, None);
}

/// A self-signed certificate with its key, both PEM.
fn self_signed() -> (String, String) {
    use openssl::{asn1, bn, ec, hash, nid, pkey, x509};
    let group = ec::EcGroup::from_curve_name(nid::Nid::X9_62_PRIME256V1).unwrap();
    let key = pkey::PKey::from_ec_key(ec::EcKey::generate(&group).unwrap()).unwrap();
    let mut name = x509::X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut builder = x509::X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&bn::BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, hash::MessageDigest::sha256()).unwrap();
    let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
    (text(builder.build().to_pem().unwrap()), text(key.private_key_to_pem_pkcs8().unwrap()))
}

fn http_problems(text: &str, files: &[(&str, &str)]) -> Vec<String> {
    let mut files = files.to_vec();
    files.push(("/etc/c.toml", text));
    let loaded = load_from(Some("/etc/c.toml"), &files, &[]);
    loaded.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_api_leaves_loopback_only_with_a_token() {
    let beyond = "[http]\nlisten = \"0.0.0.0:8080\"\n";
    let problems = http_problems(beyond, &[]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("c.toml:2") && problems[0].contains("add [http.token.NAME]"), "{problems:?}");
    let text = format!("{beyond}[http.token.ops]\nrole = \"admin\"\nsecret = {{ file = \"ops.token\" }}\n");
    let files = [("/etc/c.toml", text.as_str()), ("/etc/ops.token", "open sesame\n")];
    let problems = http_problems(&text, &files[1..]);
    assert!(problems[0].contains("http.token.ops.secret: has characters that no header can carry"), "{problems:?}");
    let files = [("/etc/c.toml", text.as_str()), ("/etc/ops.token", "open-sesame\n")];
    let settings = settings(load_from(Some("/etc/c.toml"), &files, &[]));
    let [token] = settings.http.tokens.as_slice() else { panic!("one token") };
    assert_eq!((token.name.as_str(), token.role, token.secret.expose()), ("ops", Role::Admin, "open-sesame"));
    assert!(!format!("{settings:?}").contains("sesame"));
}

#[test]
fn tokens_have_a_secret_of_their_own() {
    for (text, told) in [
        ("[http.token.a]\nrole = \"admin\"\n", "http.token.a: has no secret"),
        ("[http.token.a]\nsecret = \"x\"\n[http.token.b]\nsecret = \"x\"\n", "is the secret of another token too"),
        ("[http.token.a]\nrole = \"root\"\nsecret = \"x\"\n", "\"root\" is none of its values"),
        ("[http]\ncors_origins = [\"example.com\"]\n", "\"example.com\" is no origin"),
        ("[http]\ncors_origins = [\"*\"]\n", "\"*\" would open the API"),
    ] {
        let problems = http_problems(text, &[]);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].contains(told), "{problems:?}");
    }
    for key in ["leshan_listen", "leshan_bootstrap_listen"] {
        let leshan = http_problems(&format!("[http]\n{key} = \"0.0.0.0:8081\"\n"), &[]);
        assert!(leshan[0].contains(&format!("http.{key}: 0.0.0.0:8081 is reachable from outside")), "{leshan:?}");
        assert_eq!(http_problems(&format!("[http]\n{key} = \"127.0.0.1:8081\"\n"), &[]), [""; 0]);
    }
    let fine = "[http]\ncors_origins = [\"*\", \"https://a.example\"]\n[http.token.a]\nsecret = \"x\"\n";
    assert_eq!(http_problems(fine, &[]), [""; 0]);
}

#[test]
fn the_leshan_compatible_bootstrap_api_without_a_bootstrap_server_is_a_warning() {
    let warned = |more: &str| {
        let settings = settings(load_text(&format!("[http]\nleshan_bootstrap_listen = \"127.0.0.1:1\"\n{more}")));
        settings.warnings(false).len()
    };
    assert_eq!((warned(""), warned("[bootstrap]\n")), (1, 0));
}

#[test]
fn https_needs_a_certificate_and_the_key_that_belongs_to_it() {
    let (certificate, key) = self_signed();
    let (_, other_key) = self_signed();
    let both = "[http]\ncertificate = \"a.crt\"\nprivate_key = \"a.key\"\n";
    let with = |key: &str| http_problems(both, &[("/etc/a.crt", &certificate), ("/etc/a.key", key)]);
    assert_eq!(with(&key), [""; 0]);
    assert!(with(&other_key)[0].contains("do not belong together"));
    assert!(
        with("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")[0]
            .contains("the private key cannot be read")
    );
    let alone = http_problems("[http]\ncertificate = \"a.crt\"\n", &[("/etc/a.crt", &certificate)]);
    assert!(alone[0].contains("stands there without private_key"), "{alone:?}");
}

//! Configuring and diagnosing a gateway that can be reached by nothing but its broker.

use serde_json::{Value, json};

use super::fleet::PAUSE;
use super::harness::{Gateway, Mosquitto, NotifyingDevice, Setup, Subscriber};

const MAPPING_FILE: &str = "mappings/temperature.toml";
const WARMTH: &str = "version = 1\n[[telemetry]]\npath = \"/3303/*/5700\"\nkey = \"warmth\"\n";
const BROKEN: &str = "version = 1\n[[telemetry]]\npath = \"/3303/*/5700\"\nkee = \"warmth\"\n";

/// The first thing in the order of rules: takes what the built-in mapping would observe.
const IGNORE: &str = "version = 1\n[[ignore]]\npath = \"/3303/*/*\"\n";
const SLOWER: &str = "version = 1\n[[telemetry]]\npath = \"/3303/*/5700\"\nkey = \"warmth\"\n\
                      observe = { pmin = \"7s\", pmax = \"77s\" }\n";

fn admin(broker: &Mosquitto) -> Gateway {
    Setup::new(broker).sink("role = \"admin\"").file(MAPPING_FILE, WARMTH).start()
}

/// Asks for something over MQTT and answers the response.
fn ask(broker: &Mosquitto, cloud: &mut Subscriber, what: &str, mut body: Value) -> Value {
    let id = format!("{}-{}", what.replace('/', "-"), cloud.count());
    body["id"] = id.as_str().into();
    broker.publish(&format!("lwm2m/bridge/request/{what}"), &body);
    let topic = format!("lwm2m/bridge/response/{what}");
    cloud
        .expect(&format!("the response to {what} {body}"), |seen, payload| seen == topic && payload["id"] == id)
        .payload
}

/// The same, where it must succeed; answers the data.
fn done(broker: &Mosquitto, cloud: &mut Subscriber, what: &str, body: Value) -> Value {
    let response = ask(broker, cloud, what, body);
    assert_eq!(response["status"], "ok", "{response}");
    response["data"].clone()
}

/// The same, where it must fail; answers the error.
fn refused(broker: &Mosquitto, cloud: &mut Subscriber, what: &str, body: Value) -> Value {
    let response = ask(broker, cloud, what, body);
    assert_eq!(response["status"], "error", "{response}");
    assert!(response.get("data").is_none(), "{response}");
    response["error"].clone()
}

fn expect_key(cloud: &mut Subscriber, after: usize, key: &str) {
    cloud.expect_after(after, &format!("telemetry `{key}`"), |topic, payload| {
        topic.ends_with("/telemetry") && payload["values"][key].is_number()
    });
}

#[test]
fn mapping_files_are_put_listed_read_and_deleted() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = admin(&broker);
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "warmth");

    let text = WARMTH.replace("warmth", "heat");
    let seen = cloud.count();
    let put = done(&broker, &mut cloud, "mapping/put", json!({ "file": "00-first.toml", "text": text }));
    assert_eq!((&put["in_force"], &put["bytes"]), (&json!(true), &json!(text.len())), "{put}");
    expect_key(&mut cloud, seen, "heat");
    assert_eq!(gateway.read_file("mappings/00-first.toml").as_deref(), Some(text.as_str()));
    assert_eq!(gateway.read_file("mappings/00-first.new"), None, "the file beside is gone");

    let list = done(&broker, &mut cloud, "mapping/list", json!({}));
    let names: Vec<&str> = list["items"].as_array().unwrap().iter().filter_map(|item| item["file"].as_str()).collect();
    assert_eq!(names, ["00-first.toml", "temperature.toml"], "{list}");
    assert_eq!((&list["items"][0]["compiles"], &list["compiles"]), (&json!(true), &json!(true)), "{list}");
    let warning = &list["items"][1]["problems"][0];
    assert_eq!(warning["severity"], "warning", "the second file's rule can never win: {list}");

    let got = done(&broker, &mut cloud, "mapping/get", json!({ "file": "00-first.toml" }));
    assert_eq!(got["text"], text, "{got}");
    let missing = refused(&broker, &mut cloud, "mapping/get", json!({ "file": "nowhere.toml" }));
    assert_eq!(missing["kind"], "not_found", "{missing}");
    let outside = refused(&broker, &mut cloud, "mapping/get", json!({ "file": "../config.toml" }));
    assert_eq!(outside["kind"], "invalid", "{outside}");

    let seen = cloud.count();
    done(&broker, &mut cloud, "mapping/delete", json!({ "file": "00-first.toml" }));
    expect_key(&mut cloud, seen, "warmth");
    assert_eq!(gateway.read_file("mappings/00-first.toml"), None);
    let twice = refused(&broker, &mut cloud, "mapping/delete", json!({ "file": "00-first.toml" }));
    assert_eq!(twice["kind"], "not_found", "{twice}");
    device.stop();
}

#[test]
fn a_broken_mapping_is_refused_with_its_problems_and_changes_nothing() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = admin(&broker);
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "warmth");

    let body = json!({ "file": "temperature.toml", "text": BROKEN });
    let error = refused(&broker, &mut cloud, "mapping/put", body.clone());
    assert_eq!(error["kind"], "invalid", "{error}");
    let problems = error["problems"].as_array().unwrap();
    let unknown = problems.iter().find(|problem| problem["message"].as_str().unwrap().contains("'kee'"));
    let unknown = unknown.unwrap_or_else(|| panic!("the unknown key is told: {error}"));
    assert_eq!(
        (&unknown["severity"], &unknown["file"], &unknown["line"]),
        (&json!("error"), &json!("temperature.toml"), &json!(4)),
        "{unknown}"
    );
    assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("key")), "{unknown}");
    assert_eq!(gateway.read_file(MAPPING_FILE).as_deref(), Some(WARMTH));

    let mut dry = body;
    dry["dry_run"] = true.into();
    let tried = done(&broker, &mut cloud, "mapping/put", dry);
    assert_eq!(tried["accepted"], false, "{tried}");
    assert_eq!(tried["problems"], error["problems"]);
    let seen = cloud.count();
    expect_key(&mut cloud, seen, "warmth");
    assert!(!cloud.has_seen(|topic, _| topic.starts_with("lwm2m/bridge/alarm/")), "no alarm: nothing happened");
    device.stop();
}

#[test]
fn a_dry_run_tells_which_observations_would_change_and_putting_changes_them() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = admin(&broker);
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "warmth");
    let active = |path: &str, attributes: &Value| {
        gateway.wait_for_json("/api/v1/devices/thermometer", |record| {
            let mut observations = record["observations"].as_array().into_iter().flatten();
            observations.any(|one| one["path"] == path && one["state"] == "active" && one["attributes"] == *attributes)
        });
    };

    let slower = json!({ "file": "temperature.toml", "text": SLOWER, "dry_run": true });
    let tried = done(&broker, &mut cloud, "mapping/put", slower.clone());
    assert_eq!((&tried["accepted"], &tried["problems"][0]["severity"]), (&json!(true), &json!("warning")), "{tried}");
    let observations = &tried["observations"];
    assert_eq!(
        (&observations["changed"], &observations["made"], &observations["ended"]),
        (&json!(1), &json!(0), &json!(0)),
        "{tried}"
    );
    assert_eq!(observations["devices"][0]["endpoint"], "thermometer", "{tried}");
    let changed = &observations["devices"][0]["changed"][0];
    assert_eq!(changed["path"], "/3303/0/5700", "{tried}");
    assert_eq!((&changed["attributes"]["pmin"], &changed["attributes"]["pmax"]), (&json!(7), &json!(77)), "{tried}");
    active("/3303/0/5700", &changed["now"]);
    assert_eq!(gateway.read_file(MAPPING_FILE).as_deref(), Some(WARMTH));

    let mut wanted = slower;
    wanted["dry_run"] = false.into();
    done(&broker, &mut cloud, "mapping/put", wanted);
    active("/3303/0/5700", &changed["attributes"]);

    let ignore = json!({ "file": "00-ignore.toml", "text": IGNORE, "dry_run": true });
    let tried = done(&broker, &mut cloud, "mapping/put", ignore);
    assert_eq!(tried["observations"]["devices"][0]["ended"][0]["path"], "/3303/0/5700", "{tried}");
    let gone = json!({ "file": "temperature.toml", "dry_run": true });
    let tried = done(&broker, &mut cloud, "mapping/delete", gone);
    assert_eq!(tried["observations"]["devices_affected"], 1, "{tried}");
    assert_eq!(gateway.read_file(MAPPING_FILE).as_deref(), Some(SLOWER));
    device.stop();
}

#[test]
fn what_changes_the_gateway_needs_the_role_admin() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let _gateway = Setup::new(&broker).sink("role = \"operator\"").file(MAPPING_FILE, WARMTH).start();
    done(&broker, &mut cloud, "mapping/list", json!({}));
    done(&broker, &mut cloud, "mapping/get", json!({ "file": "temperature.toml" }));
    for (what, body) in [
        ("mapping/put", json!({ "file": "a.toml", "text": WARMTH })),
        ("mapping/delete", json!({ "file": "temperature.toml" })),
        ("model/put", json!({ "file": "a.xml", "text": "" })),
        ("log/level", json!({ "level": "debug" })),
        ("restart", json!({})),
    ] {
        let error = refused(&broker, &mut cloud, what, body);
        assert_eq!(error["kind"], "forbidden", "{what}: {error}");
    }
}

#[test]
fn log_lines_leave_for_a_while_and_cause_no_further_lines() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = admin(&broker);
    let wrong = refused(&broker, &mut cloud, "log/level", json!({ "level": "loud=maybe", "for": "1m" }));
    assert_eq!(wrong["kind"], "invalid", "{wrong}");
    let wrong = refused(&broker, &mut cloud, "log/level", json!({ "level": "debug", "for": "48h" }));
    assert_eq!(wrong["kind"], "invalid", "{wrong}");

    let level = done(&broker, &mut cloud, "log/level", json!({ "level": "trace", "for": "5m" }));
    assert_eq!((&level["level"], &level["configured"]), (&json!("trace"), &json!("info")), "{level}");
    assert!(level["until"].is_i64(), "{level}");
    // Something that is logged: a device that registers.
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    let line = cloud.expect("a line of the log", |topic, payload| {
        topic == "lwm2m/bridge/log" && payload["fields"]["event"] == "registered"
    });
    assert!(!line.retained);
    assert_eq!((&line.payload["level"], line.payload["ts"].is_i64()), (&json!("info"), true), "{}", line.payload);
    device.stop();

    let level = done(&broker, &mut cloud, "log/level", json!({ "level": null }));
    assert_eq!((&level["level"], &level["until"]), (&json!("info"), &Value::Null), "{level}");
    // Two hundred publications later: each line that a line had caused would be here too.
    let lines = cloud.collect_until(|_| true).iter().filter(|message| message.topic == "lwm2m/bridge/log").count();
    assert!(lines < 200, "{lines} lines");
    let seen = cloud.count();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "other", PAUSE);
    cloud.expect_after(seen, "the event", |topic, payload| {
        topic == "lwm2m/bridge/event" && payload["event"] == "registered"
    });
    done(&broker, &mut cloud, "health", json!({}));
    assert_eq!(lines, cloud.collect_until(|_| true).iter().filter(|one| one.topic == "lwm2m/bridge/log").count());
    device.stop();
}

#[test]
fn the_log_falls_back_to_its_configured_level_by_itself() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = admin(&broker);
    done(&broker, &mut cloud, "log/level", json!({ "level": "debug", "for": "1s" }));
    gateway.wait_for_log("the level of the log is the configured one again");
}

#[test]
fn the_configuration_in_force_is_told_without_secrets() {
    let broker = Mosquitto::start_with_password("gateway", "hunter2");
    let mut cloud = broker.subscribe("lwm2m/#");
    let _gateway = Setup::new(&broker).file(MAPPING_FILE, WARMTH).start();
    let config = done(&broker, &mut cloud, "config/get", json!({}));
    assert!(!config.to_string().contains("hunter2"), "{config}");
    let sink = &config["sink"]["local"];
    assert_eq!((&sink["username"], &sink["password"]), (&json!("gateway"), &json!("***")), "{config}");
    assert_eq!(sink["url"], format!("mqtt://127.0.0.1:{}", broker.port()), "{config}");
    assert_eq!(config["lwm2m"]["max_retransmit"], 4, "a default: {config}");
    assert_eq!(config["gateway"]["name"], "under-test", "{config}");
}

#[test]
fn a_restart_is_answered_and_ends_the_process_cleanly_for_its_supervisor() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let mut gateway = admin(&broker);
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "warmth");
    for round in 1..=2 {
        let seen = cloud.count();
        done(&broker, &mut cloud, "restart", json!({}));
        cloud.expect_after(seen, "the goodbye", |topic, payload| {
            topic == "lwm2m/bridge/state" && payload["state"] == "offline"
        });
        assert_eq!(gateway.exit_code(), Some(0), "restart {round}");
        // What a supervisor does.
        let seen = cloud.count();
        gateway.restart();
        cloud.expect_after(seen, "it is back", |topic, payload| {
            topic == "lwm2m/bridge/state" && payload["state"] == "online"
        });
        let seen = cloud.count();
        expect_key(&mut cloud, seen, "warmth");
    }
    device.stop();
}

#[test]
fn a_traced_device_shows_its_exchanges_until_the_time_is_over() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/#");
    let gateway = Setup::new(&broker).file(MAPPING_FILE, WARMTH).start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    expect_key(&mut cloud, 0, "warmth");
    assert!(!cloud.has_seen(|topic, _| topic.ends_with("/trace")), "nobody asked");

    let unknown = refused(&broker, &mut cloud, "device/trace", json!({ "device": "nobody" }));
    assert_eq!(unknown["kind"], "unknown_device", "{unknown}");
    let traced = done(&broker, &mut cloud, "device/trace", json!({ "device": "thermometer", "for": "1m" }));
    assert_eq!(traced["topic"], "lwm2m/thermometer/trace", "{traced}");
    let is_line = |topic: &str| topic == "lwm2m/thermometer/trace";
    let notification = cloud.expect("a notification", |topic, payload| {
        is_line(topic) && payload["direction"] == "in" && payload["code"] == "2.05" && payload["type"] == "CON"
    });
    assert!(!notification.retained);
    let line = notification.payload;
    assert_eq!(line["path"], "/3303/0/5700", "{line}");
    assert_eq!(line["payload"]["format"], "senml-json", "{line}");
    assert!(line["payload"]["content"]["records"][0]["value"].is_number(), "{line}");
    let acknowledged = cloud.expect("its acknowledgement", |topic, payload| {
        is_line(topic) && payload["direction"] == "out" && payload["type"] == "ACK" && payload["id"] == line["id"]
    });
    assert_eq!(acknowledged.payload["code"], "0.00");

    let command = json!({ "id": "r1", "operation": "read", "path": "/3303/0/5700" });
    broker.publish("lwm2m/thermometer/command", &command);
    let request = cloud.expect("the request", |topic, payload| {
        is_line(topic) && payload["direction"] == "out" && payload["code"] == "0.01"
    });
    let answer = cloud.expect("its answer", |topic, payload| {
        is_line(topic) && payload["direction"] == "in" && payload["token"] == request.payload["token"]
    });
    assert_eq!((&answer.payload["type"], &answer.payload["path"]), (&json!("ACK"), &json!("/3303/0/5700")));

    done(&broker, &mut cloud, "device/trace", json!({ "device": "thermometer", "for": "0s" }));
    let last = cloud.expect("the end", |topic, payload| is_line(topic) && payload["ended"] == true);
    assert!(last.payload["lines"].as_u64().is_some_and(|lines| lines >= 4), "{}", last.payload);
    let seen = cloud.count();
    expect_key(&mut cloud, seen, "warmth");
    expect_key(&mut cloud, seen + 1, "warmth");
    cloud.collect_until(|_| true);
    let late = cloud.collect_until(|_| true).iter().skip(seen).filter(|message| is_line(&message.topic)).count();
    assert_eq!(late, 0, "the window is closed");
    device.stop();
}

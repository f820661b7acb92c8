//! What the running gateway answers over HTTP.

use serde_json::json;

use super::fleet::PAUSE;
use super::harness::{Gateway, Mosquitto, NotifyingDevice, Setup};

#[test]
fn health_readiness_and_metrics_are_answered() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).start();
    assert_eq!(gateway.get("/healthz"), (200, json!({ "status": "ok" })));
    let ready = gateway.wait_for_json("/readyz", |ready| ready["sinks"]["local"] == "connected");
    assert_eq!((&ready["ready"], &ready["store"]), (&json!(true), &json!("open")), "{ready}");

    let mut device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    device.expect_acknowledged(3);
    let (status, metrics) = gateway.get_text("/metrics");
    assert_eq!(status, 200);
    assert!(count(&metrics, "lwm2mqtt_notifications_total") >= 3, "{metrics}");
    assert!(count(&metrics, "lwm2mqtt_events_total{kind=\"registered\"}") == 1, "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    device.stop();
}

#[test]
fn readiness_names_a_sink_that_is_away() {
    let mut broker = Mosquitto::start();
    let gateway = Setup::new(&broker).start();
    gateway.wait_for_json("/readyz", |ready| ready["sinks"]["local"] == "connected");
    broker.stop();
    gateway.wait_for_json("/readyz", |ready| ready["sinks"]["local"] == "disconnected");
}

#[test]
fn devices_their_values_and_what_no_rule_took_are_answered() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).start();
    let mut device = NotifyingDevice::start(gateway.lwm2m_address(), "thermometer", PAUSE);
    device.expect_acknowledged(3);

    let (status, list) = gateway.get("/api/v1/devices");
    assert_eq!((status, list["items"].as_array().map(Vec::len)), (200, Some(1)), "{list}");
    let record = &list["items"][0];
    assert_eq!(record["endpoint"], "thermometer", "{record}");
    assert_eq!((&record["state"], &record["lwm2m_version"]), (&json!("online"), &json!("1.1")), "{record}");
    assert_eq!(record["lifetime_secs"], 86_400, "{record}");
    assert_eq!(record["objects"]["42001"]["instances"], json!([0]), "{record}");
    assert_eq!(gateway.get("/api/v1/devices/thermometer").1["endpoint"], "thermometer");

    let (status, values) = gateway.get("/api/v1/devices/thermometer/values");
    assert_eq!(status, 200, "{values}");
    assert!(values["temperature"]["value"].is_number() && values["temperature"]["ts"].is_i64(), "{values}");

    let command = json!({ "operation": "read", "path": "/42001/0/1", "format": "tlv" });
    broker.publish("lwm2m/thermometer/command", &command);
    let page = "/api/v1/devices/thermometer/unmapped";
    let of_42001 = |page: &serde_json::Value| {
        page["items"].as_array().and_then(|items| items.iter().find(|item| item["path"] == "/42001/0/1").cloned())
    };
    let unmapped = gateway.wait_for_json(page, |page| of_42001(page).is_some());
    let item = of_42001(&unmapped).unwrap();
    assert_eq!((&item["value"], &item["count"]), (&json!("ASw="), &json!(1)), "{item}");
    device.stop();
}

#[test]
fn unknown_devices_paths_and_methods_are_refused_in_json() {
    let broker = Mosquitto::start();
    let gateway = Gateway::start(&broker, "");
    for (path, status, kind) in [
        ("/api/v1/devices/nobody/values", 404, "unknown_device"),
        ("/api/v2", 404, ""),
        ("/api/v1/permit_join", 405, ""),
    ] {
        let (answered, body) = gateway.get(path);
        assert_eq!(answered, status, "{path}: {body}");
        let error = &body["error"];
        assert!(error["kind"].as_str().is_some_and(|word| word.contains(kind)), "{path}: {body}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {body}");
    }
}

/// The value of a metric; 0 where there is none.
fn count(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

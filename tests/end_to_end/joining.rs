//! Devices without credentials: when they may join, and what is remembered of those that may not.

use serde_json::{Value, json};

use super::fleet::PAUSE;
use super::harness::{Gateway, Mosquitto, NotifyingDevice, Setup};

#[test]
fn window_of_the_first_start_takes_a_device_that_then_stays_known() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).unknown_devices("window").start();
    let mut device = NotifyingDevice::start(gateway.lwm2m_address(), "newcomer", PAUSE);
    device.expect_acknowledged(1);
    permit_join(&gateway, "0s");
    device.expect_acknowledged(3);
    device.stop();
    // It comes again with another registration while the window is closed.
    let mut again = NotifyingDevice::start(gateway.lwm2m_address(), "newcomer", PAUSE);
    again.expect_acknowledged(1);
    again.stop();
}

#[test]
fn closed_window_refuses_until_permit_join_opens_it() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).unknown_devices("window").start();
    permit_join(&gateway, "0s");
    let mut device = NotifyingDevice::start(gateway.lwm2m_address(), "newcomer", PAUSE);
    expect_refused(&gateway, "newcomer");
    assert_eq!(gateway.get("/api/v1/devices/newcomer").0, 404);

    // The device goes on asking, as devices do.
    permit_join(&gateway, "60s");
    device.expect_acknowledged(1);
    assert_eq!(gateway.get("/api/v1/devices/newcomer").0, 200);
    device.stop();
}

#[test]
fn refuse_takes_no_unknown_device() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/bridge/event");
    let gateway = Setup::new(&broker).unknown_devices("refuse").start();
    let device = NotifyingDevice::start(gateway.lwm2m_address(), "stranger", PAUSE);
    let refused = expect_refused(&gateway, "stranger");
    assert!(refused["count"].as_u64().is_some_and(|count| count >= 1), "{refused}");
    assert!(refused["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{refused}");
    assert!(refused["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{refused}");
    let event = cloud.expect("the event", |_, payload| payload["event"] == "refused").payload;
    assert_eq!(event["endpoint"], "stranger", "{event}");
    assert_eq!(gateway.get("/api/v1/devices").1["items"], json!([]));
    assert!(device.stop().is_empty());
}

#[test]
fn permit_join_fails_in_words_where_no_gateway_runs() {
    let broker = Mosquitto::start();
    let gateway = Setup::new(&broker).prepare();
    let output = gateway.command("permit-join").arg("60s").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no gateway answers"), "{errors}");
}

/// The command of that name, which must succeed.
fn permit_join(gateway: &Gateway, duration: &str) {
    let output = gateway.command("permit-join").arg(duration).output().unwrap();
    assert!(output.status.success(), "permit-join {duration}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until the peer stands among those turned away, and answers its entry.
fn expect_refused(gateway: &Gateway, endpoint: &str) -> Value {
    let entry = |page: &Value| {
        page["items"].as_array().and_then(|items| items.iter().find(|item| item["endpoint"] == endpoint).cloned())
    };
    let page = gateway.wait_for_json("/api/v1/refused", |page| entry(page).is_some());
    entry(&page).unwrap()
}

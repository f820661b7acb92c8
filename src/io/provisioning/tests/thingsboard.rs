use serde_json::{Value, json};

use super::*;

const DEVICE: &str = r#"{"id":{"entityType":"DEVICE","id":"d-1"},"name":"x","type":"meters"}"#;
const LOGIN: &str = r#"{"token":"t-123456","refreshToken":"r-123456"}"#;
const CREDENTIALS: &str = r#"{"id":{"id":"c-1"},"createdTime":7,"deviceId":{"entityType":"DEVICE","id":"d-1"},
    "credentialsType":"ACCESS_TOKEN","credentialsId":"abc","credentialsValue":null,"version":3}"#;
const NAME_IN_QUERY: &str = "urn%3Adev%3Anode%201%26%C3%A4";

fn profiles(names: &[&str]) -> String {
    let data: Vec<Value> = names
        .iter()
        .map(|name| json!({ "id": { "entityType": "DEVICE_PROFILE", "id": format!("p-{name}") }, "name": name }))
        .collect();
    json!({ "data": data, "totalPages": 1, "totalElements": names.len(), "hasNext": false }).to_string()
}

fn thingsboard(mock: &Mock, domain: Option<&str>) -> ProvisionTarget {
    let domain = domain.map(str::to_owned);
    ProvisionTarget { domain, ..target(ProvisionKind::ThingsBoard, mock.url.clone()) }
}

#[tokio::test]
async fn a_new_device_is_made_with_the_only_profile_and_gets_its_credentials() {
    let mut mock = Mock::answering([
        (200, LOGIN.to_owned()),
        (404, r#"{"status":404,"message":"Requested item wasn't found!"}"#.to_owned()),
        (200, profiles(&["meters"])),
        (200, DEVICE.to_owned()),
        (200, CREDENTIALS.to_owned()),
        (200, CREDENTIALS.to_owned()),
    ])
    .await;
    told(&thingsboard(&mock, None), &psk()).await.unwrap();
    let asked = mock.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let find = format!("GET /api/tenant/devices?deviceName={NAME_IN_QUERY}");
    assert_eq!(
        lines,
        [
            "POST /api/auth/login",
            &find,
            "GET /api/deviceProfileInfos?pageSize=100&page=0&transportType=LWM2M",
            "POST /api/device",
            "GET /api/device/d%2D1/credentials",
            "POST /api/device/credentials",
        ]
    );
    assert_eq!(asked[0].authorization, None);
    for asked in &asked[1..] {
        assert_eq!(asked.authorization.as_deref(), Some("Bearer t-123456"), "{}", asked.line);
    }
    assert_eq!(asked[0].json(), json!({ "username": "ops", "password": PASSWORD }));
    let profile = json!({ "entityType": "DEVICE_PROFILE", "id": "p-meters" });
    assert_eq!(asked[3].json(), json!({ "name": ENDPOINT, "deviceProfileId": profile }));
    let sent = asked[5].json();
    let value: Value = serde_json::from_str(sent["credentialsValue"].as_str().unwrap()).unwrap();
    let no_sec = json!({ "securityMode": "NO_SEC" });
    let client = json!({ "securityConfigClientMode": "PSK", "endpoint": ENDPOINT, "identity": "id-1", "key": KEY_HEX });
    let bootstrap = json!({ "bootstrapServer": no_sec, "lwm2mServer": no_sec });
    assert_eq!(value, json!({ "client": client, "bootstrap": bootstrap }));
    let rest = json!({
        "id": { "id": "c-1" },
        "createdTime": 7,
        "deviceId": { "entityType": "DEVICE", "id": "d-1" },
        "credentialsType": "LWM2M_CREDENTIALS",
        "credentialsId": "id-1",
        "credentialsValue": sent["credentialsValue"],
        "version": 3,
    });
    assert_eq!(sent, rest);
}

/// What the credentials of a device that is there become.
async fn credentials_for(credential: &ProvisionCredential, former: &Value) -> (Value, Value) {
    let former = json!({ "deviceId": { "id": "d-1" }, "credentialsValue": former }).to_string();
    let mut mock =
        Mock::answering([(200, LOGIN), (200, DEVICE), (200, &former), (200, "{}")].map(|(s, b)| (s, b.to_owned())))
            .await;
    told(&thingsboard(&mock, Some("another")), credential).await.unwrap();
    let asked = mock.asked();
    assert_eq!(asked.len(), 4, "a device that is there keeps its profile");
    let sent = asked[3].json();
    let value = serde_json::from_str(sent["credentialsValue"].as_str().unwrap()).unwrap();
    (sent["credentialsId"].clone(), value)
}

#[tokio::test]
async fn a_device_that_is_there_gets_other_credentials_and_keeps_what_is_for_the_bootstrap_server() {
    let kept = json!({ "bootstrapServer": { "securityMode": "PSK" }, "lwm2mServer": { "securityMode": "NO_SEC" } });
    let former = json!({ "client": {}, "bootstrap": kept }).to_string();
    let (id, value) = credentials_for(&ProvisionCredential::NoSec, &json!(former)).await;
    assert_eq!(id, ENDPOINT);
    assert_eq!(value["client"], json!({ "securityConfigClientMode": "NO_SEC", "endpoint": ENDPOINT }));
    assert_eq!(value["bootstrap"], kept);
}

#[tokio::test]
async fn public_keys_and_certificates_are_in_base64() {
    let spki = ProvisionCredential::RawPublicKey([0x30, 0xff].as_slice().into());
    let (_, value) = credentials_for(&spki, &json!("not json")).await;
    let expected = json!({ "securityConfigClientMode": "RPK", "endpoint": ENDPOINT, "key": "MP8=" });
    assert_eq!(value["client"], expected);
    let certificate = ProvisionCredential::Certificate([0x30, 0xff].as_slice().into());
    let (_, value) = credentials_for(&certificate, &Value::Null).await;
    let expected = json!({ "securityConfigClientMode": "X509", "endpoint": ENDPOINT, "cert": "MP8=" });
    assert_eq!(value["client"], expected);
}

#[tokio::test]
async fn the_profile_is_the_one_that_is_named_and_none_is_made_up() {
    let answers = |profiles: String| {
        [(200, LOGIN.to_owned()), (404, String::new()), (200, profiles), (500, "far enough".to_owned())]
    };
    for (names, domain, expected) in [
        (&["meters", "meters 2"][..], Some("meters 2"), Ok("p-meters 2")),
        (&["meters 2"], Some("meters"), Err("no device profile with transport LwM2M that provision.domain names")),
        (&["a", "b"], None, Err("several device profiles")),
        (&[], None, Err("no device profile with transport LwM2M: make one")),
    ] {
        let mut mock = Mock::answering(answers(profiles(names))).await;
        let error = told(&thingsboard(&mock, domain), &psk()).await.unwrap_err();
        let asked = mock.asked();
        match expected {
            Ok(id) => assert_eq!(asked[3].json()["deviceProfileId"]["id"], id),
            Err(part) => {
                assert!(error.contains(part), "{error}");
                assert_eq!(asked.len(), 3);
            }
        }
        let searched = asked[2].line.contains("textSearch=meters");
        assert_eq!(searched, domain.is_some(), "{}", asked[2].line);
    }
}

#[tokio::test]
async fn a_key_that_thingsboard_would_refuse_is_told_before_anything_is_made() {
    let mut mock = Mock::answering([(200, LOGIN)]).await;
    let key = ProvisionCredential::Psk { identity: "i".to_owned(), key: SecretBytes::new(&[1; 20]) };
    let error = told(&thingsboard(&mock, None), &key).await.unwrap_err();
    assert!(error.contains("not of 20"), "{error}");
    assert_eq!(mock.asked(), []);
}

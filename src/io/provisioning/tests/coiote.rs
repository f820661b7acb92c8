use serde_json::{Value, json};

use super::*;

const TOKEN: &str = r#"{"access_token":"t-123456","token_type":"Bearer","expires_in":"1800"}"#;
const NONE: &str = r#"{"devices":[],"nextPageBookmark":null}"#;
const FIND: &str = "GET /api/coiotedm/v3/devices/find/details?searchCriteria=properties%2EendpointName%20eq%20%27\
                    urn%3Adev%3Anode%201%26%C3%A4%27&fieldSelection=id%2CconnectorType%2Cblacklisted%2C\
                    managementEnabled%2Cdescription%2CfriendlyName";

fn coiote(mock: &Mock) -> ProvisionTarget {
    ProvisionTarget { domain: Some("/fleet/".to_owned()), ..target(ProvisionKind::Coiote, mock.url.clone()) }
}

#[tokio::test]
async fn a_new_device_is_made_in_its_domain() {
    let mut mock = Mock::answering([(201, TOKEN), (200, NONE), (201, r#"{"id":"x","result":"created"}"#)]).await;
    told(&coiote(&mock), &psk()).await.unwrap();
    let asked = mock.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(lines, ["POST /api/auth/oauth_password", FIND, "POST /api/coiotedm/v3/devices"]);
    assert_eq!(asked[0].content_type.as_deref(), Some("application/x-www-form-urlencoded"));
    let password = PASSWORD.replace('-', "%2D");
    assert_eq!(asked[0].body, format!("grant%5Ftype=password&username=ops&password={password}"));
    assert_eq!(asked[1].authorization.as_deref(), Some("Bearer t-123456"));
    let expected = json!({
        "connectorType": "management",
        "properties": { "endpointName": ENDPOINT },
        "directGroups": [],
        "domain": "/fleet/",
        "securityMode": "psk",
        "dtlsIdentity": "id-1",
        "dtlsPsk": { "HexadecimalPsk": KEY_HEX },
    });
    assert_eq!(asked[2].json(), expected);
}

async fn update_for(credential: &ProvisionCredential) -> Value {
    let found = json!({ "devices": [
        { "id": "of-bootstrap", "connectorType": "bootstrap" },
        { "id": "urn:dev/1", "connectorType": "management", "blacklisted": true, "managementEnabled": true,
          "description": "at the gate" },
    ]});
    let mut mock = Mock::answering([(201, TOKEN.to_owned()), (200, found.to_string()), (204, String::new())]).await;
    told(&coiote(&mock), credential).await.unwrap();
    let asked = mock.asked();
    assert_eq!(asked[2].line, "PUT /api/coiotedm/v3/devices/urn%3Adev%2F1");
    asked[2].json()
}

#[tokio::test]
async fn a_device_that_is_there_gets_another_key_and_keeps_the_rest() {
    let expected = json!({
        "addProperties": {}, "removeProperties": [], "addGroups": [], "removeGroups": [],
        "blacklisted": true,
        "managementEnabled": true,
        "description": "at the gate",
        "securityMode": "psk",
        "dtlsIdentity": "id-1",
        "dtlsPsk": { "HexadecimalPsk": KEY_HEX },
    });
    assert_eq!(update_for(&psk()).await, expected);
}

#[tokio::test]
async fn without_a_pre_shared_key_only_the_mode_is_told() {
    let certificate = ProvisionCredential::Certificate([0x30].as_slice().into());
    for (credential, mode) in [(ProvisionCredential::NoSec, "nosec"), (certificate, "cert")] {
        let sent = update_for(&credential).await;
        assert_eq!(
            (&sent["securityMode"], &sent["dtlsIdentity"], &sent["dtlsPsk"]),
            (&json!(mode), &Value::Null, &Value::Null)
        );
    }
}

#[tokio::test]
async fn what_coiote_cannot_be_told_is_an_error_before_anything_is_made() {
    let mut mock = Mock::answering([(201, TOKEN), (200, NONE)]).await;
    let spki = ProvisionCredential::RawPublicKey([0x30].as_slice().into());
    assert!(told(&coiote(&mock), &spki).await.unwrap_err().contains("no raw public keys"));
    assert_eq!(mock.asked(), []);
    let error = told_of(&coiote(&mock), "a' or id eq 'b", &psk()).await.unwrap_err();
    assert!(error.contains("quotation mark"), "{error}");
    assert_eq!(mock.lines(), ["POST /api/auth/oauth_password"]);
}

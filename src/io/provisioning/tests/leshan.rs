use serde_json::json;

use super::*;

fn leshan(mock: &Mock) -> ProvisionTarget {
    ProvisionTarget { user: None, password: None, ..target(ProvisionKind::Leshan, mock.url.clone()) }
}

async fn body_for(credential: &ProvisionCredential) -> serde_json::Value {
    let mut mock = Mock::answering([(200, "")]).await;
    told(&leshan(&mock), credential).await.unwrap();
    let asked = mock.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "PUT /api/security/clients/");
    assert_eq!(asked[0].content_type.as_deref(), Some("application/json"));
    assert_eq!(asked[0].authorization, None);
    asked[0].json()
}

#[tokio::test]
async fn each_kind_of_credential_has_its_shape() {
    let details = json!({ "identity": "id-1", "key": KEY_HEX });
    let expected = json!({ "endpoint": ENDPOINT, "tls": { "mode": "psk", "details": details } });
    assert_eq!(body_for(&psk()).await, expected);
    let spki = ProvisionCredential::RawPublicKey([0x30, 0xff].as_slice().into());
    let expected = json!({ "endpoint": ENDPOINT, "tls": { "mode": "rpk", "details": { "key": "30ff" } } });
    assert_eq!(body_for(&spki).await, expected);
    let certificate = ProvisionCredential::Certificate([0x30].as_slice().into());
    assert_eq!(body_for(&certificate).await, json!({ "endpoint": ENDPOINT, "tls": { "mode": "x509" } }));
}

#[tokio::test]
async fn a_device_without_security_needs_no_request() {
    let mut mock = Mock::answering([(500, "")]).await;
    told(&leshan(&mock), &ProvisionCredential::NoSec).await.unwrap();
    assert_eq!(mock.asked(), []);
}

#[tokio::test]
async fn user_and_password_are_sent_where_they_are_given_and_the_url_may_have_a_path() {
    let mut mock = Mock::answering([(204, "")]).await;
    told(&target(ProvisionKind::Leshan, format!("{}/behind/", mock.url)), &psk()).await.unwrap();
    let asked = mock.asked();
    assert_eq!(asked[0].line, "PUT /behind/api/security/clients/");
    let expected = data_encoding::BASE64.encode(format!("ops:{PASSWORD}").as_bytes());
    assert_eq!(asked[0].authorization, Some(format!("Basic {expected}")));
}

#[tokio::test]
async fn half_a_login_is_told() {
    let mock = Mock::answering([(204, "")]).await;
    let target = ProvisionTarget { password: None, ..target(ProvisionKind::Leshan, mock.url.clone()) };
    assert!(told(&target, &psk()).await.unwrap_err().contains("needs a user and a password"));
}

use serde_json::{Value as Json, json};

use super::{configuration_of, entry_of};
use crate::model::object::ObjectModel;
use crate::northbound::bootstrap_json::{Secrets, entry_json, parse_entry};

/// What has the form of a certificate, and of a private key in PKCS #8.
const CERTIFICATE: [u8; 12] = [0x30, 10, 0x30, 3, 2, 1, 1, 0x30, 0, 3, 1, 1];
const PRIVATE_KEY: [u8; 10] = [0x30, 8, 2, 1, 0, 0x30, 0, 4, 1, 9];

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// What Leshan's page puts for a device with a bootstrap server and an LwM2M server.
fn of_the_page() -> Json {
    json!({
        "servers": { "0": {
            "binding": "U", "defaultMinPeriod": 1, "lifetime": 300, "notifIfDisabled": true, "shortId": 123,
        } },
        "security": {
            "0": {
                "bootstrapServer": true, "clientOldOffTime": 1, "publicKeyOrId": [], "secretKey": [],
                "securityMode": "NO_SEC", "serverSmsNumber": "", "smsBindingKeyParam": [],
                "smsBindingKeySecret": [], "smsSecurityMode": "NO_SEC", "uri": "coap://bs.example:5783",
            },
            "1": {
                "bootstrapServer": false, "clientOldOffTime": 1, "publicKeyOrId": [112, 117, 109, 112],
                "secretKey": [1, -1, 255], "securityMode": "PSK", "serverId": 123, "serverSmsNumber": "",
                "smsBindingKeyParam": [], "smsBindingKeySecret": [], "smsSecurityMode": "NO_SEC",
                "uri": "coaps://dm.example:5684",
            },
        },
        "oscore": {},
        "toDelete": ["/0", "/1", "/21"],
        "autoIdForSecurityObject": false,
    })
}

/// What the own API shows of an entry once it took it: the same without secrets.
fn shown(entry: &Json) -> Json {
    let entry = parse_entry(entry, &ObjectModel::built_in()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    entry_json(&entry, Secrets::Hidden)
}

#[test]
fn security_and_server_of_one_id_are_one_account() {
    let entry = entry_of(&of_the_page());
    assert_eq!(entry.problems, Vec::<String>::new());
    assert_eq!(
        entry.json,
        json!({
            "servers": [
                {
                    "type": "bootstrap", "transport": "udp", "uri": "coap://bs.example:5783", "provision": "none",
                    "security_mode": "nosec", "client_hold_off_time": 1, "bootstrap_server_account_timeout": 0,
                },
                {
                    "type": "management", "transport": "udp", "uri": "coaps://dm.example:5684", "provision": "none",
                    "security_mode": "psk", "psk_identity": "pump", "psk_key": "01ffff", "ssid": 123,
                    "binding": "U", "default_min_period": 1, "lifetime": 300, "notification_storing": true,
                    "client_hold_off_time": 1,
                },
            ],
            "deletes": ["/0", "/1", "/21"],
            "verify": false,
        })
    );
}

#[test]
fn what_was_put_is_shown_but_for_the_secrets() {
    let put = of_the_page();
    let entry = shown(&entry_of(&put).json);
    let configuration = configuration_of("pump", &entry, |_| None);
    let mut servers = put["servers"].clone();
    servers["0"]["disableTimeout"] = json!(86_400);
    assert_eq!(configuration["servers"], servers, "what an account has by default is written, and told");
    for part in ["toDelete", "oscore"] {
        assert_eq!(configuration[part], put[part], "{part}");
    }
    for id in ["0", "1"] {
        for (name, value) in put["security"][id].as_object().unwrap() {
            let expected = if name == "secretKey" { json!([]) } else { value.clone() };
            assert_eq!(configuration["security"][id][name], expected, "{id} {name}");
        }
    }
    assert_eq!(configuration["autoIdForSecurityObject"], true, "ids are always chosen");
}

#[test]
fn what_was_read_cannot_be_put_again_over_the_secrets() {
    let entry = shown(&entry_of(&of_the_page()).json);
    let again = entry_of(&configuration_of("pump", &entry, |_| None));
    assert_eq!(
        again.problems,
        ["security.1.secretKey: is missing: secrets are not shown, so what was read cannot be put again"]
    );
    assert_eq!(again.json["servers"].as_array().unwrap().len(), 1, "no account goes on with another key");
}

#[test]
fn every_field_is_carried_over_and_back() {
    let put = json!({
        "servers": { "0": {
            "shortId": 1, "lifetime": 60, "defaultMinPeriod": 2, "defaultMaxPeriod": 3, "disableTimeout": 4,
            "notifIfDisabled": false, "binding": "UQS", "apnLink": 5, "registrationPriority": 6, "initialDelay": 7,
            "registrationFailure": true, "bootstrapOnRegistrationFailure": false, "communicationRetryCount": 8,
            "CommunicationRetryTimer": 9, "SequenceDelayTimer": 10, "SequenceRetryCount": 11, "trigger": true,
            "preferredTransport": "U", "muteSend": true,
        } },
        "security": { "1": {
            "uri": "coaps+tcp://dm.example", "bootstrapServer": false, "securityMode": "X509",
            "publicKeyOrId": CERTIFICATE, "serverPublicKey": CERTIFICATE, "secretKey": PRIVATE_KEY,
            "smsSecurityMode": "SPS_DEVICE", "smsBindingKeyParam": [1, 2, 3, 4, 5, 6],
            "smsBindingKeySecret": vec![7; 16], "serverSmsNumber": "+4917", "serverId": 1, "clientOldOffTime": 12,
            "matchingType": "SHA256", "sni": "dm", "certificateUsage": "DOMAIN_ISSUER_CERTIFICATE",
        } },
        "acls": { "0": { "objectId": 3, "objectInstanceId": 0, "acls": { "1": 5 }, "AccessControlOwner": 65535 } },
        "oscore": { "2": {
            "oscoreMasterSecret": [9, 9], "oscoreSenderId": [1], "oscoreRecipientId": [2],
            "oscoreAeadAlgorithm": 10, "oscoreHmacAlgorithm": 5, "oscoreMasterSalt": [3],
        } },
        "toDelete": ["/0"],
        "contentFormat": 11542,
    });
    let entry = entry_of(&put);
    assert_eq!(entry.problems, Vec::<String>::new());
    assert_eq!(
        entry.json,
        json!({
            "servers": [{
                "type": "management", "transport": "tcp", "uri": "coaps+tcp://dm.example", "provision": "none",
                "ssid": 1, "security_mode": "x509", "client_certificate": hex(&CERTIFICATE), "client_private_key": hex(&PRIVATE_KEY),
                "server_certificate": hex(&CERTIFICATE), "certificate_usage": 3, "matching_type": 1, "sni": "dm",
                "client_hold_off_time": 12, "lifetime": 60, "default_min_period": 2, "default_max_period": 3,
                "disable_timeout": 4, "notification_storing": false, "binding": "UQS", "apn_link": "11:5",
                "registration_priority": 6, "initial_registration_delay": 7, "registration_failure_block": true,
                "bootstrap_on_registration_failure": false, "communication_retry_count": 8,
                "communication_retry_timer": 9, "communication_sequence_delay_timer": 10,
                "communication_sequence_retry_count": 11, "trigger": true, "preferred_transport": "U",
                "mute_send": true, "sms_number": "+4917", "sms_security_mode": 1,
                "sms_binding_key_parameters": "010203040506", "sms_binding_secret_key": "07".repeat(16),
            }],
            "acls": [{ "object": 3, "instance": 0, "owner": 65535, "acl": { "1": 5 } }],
            "writes": {
                "/21/2/0": "CQk=", "/21/2/1": "AQ==", "/21/2/2": "Ag==", "/21/2/3": 10, "/21/2/4": 5, "/21/2/5": "Aw==",
            },
            "deletes": ["/0"],
            "format": "tlv",
            "verify": false,
        })
    );
    let mut configuration = configuration_of("pump", &shown(&entry.json), |_| None);
    let mut expected = put;
    expected["security"]["1"]["secretKey"] = json!([]);
    expected["security"]["1"]["smsBindingKeySecret"] = json!([]);
    expected["oscore"]["2"] = json!({
        "oscoreMasterSecret": [], "oscoreMasterSalt": [], "oscoreSenderId": [], "oscoreRecipientId": [],
    });
    expected["autoIdForSecurityObject"] = json!(true);
    configuration["contentFormat"] = configuration["contentFormat"]["code"].take();
    assert_eq!(configuration, expected);
}

#[test]
fn accounts_that_stand_by_themselves_are_shown_as_a_whole() {
    let central = json!({ "type": "management", "uri": "coap://a", "security_mode": "nosec", "lifetime": 86_400 });
    let entry = json!({ "servers": ["central", "gone", { "type": "management", "ssid": 1, "security_mode": "psk" }] });
    let configuration = configuration_of("pump", &entry, |name| (name == "central").then_some(&central));
    assert_eq!(configuration["servers"]["0"], json!({ "shortId": 2, "lifetime": 86_400 }), "the lowest that is free");
    assert_eq!(configuration["security"]["1"]["uri"], "coap://a");
    assert_eq!(configuration["security"]["2"]["publicKeyOrId"], json!(b"pump"), "the endpoint name is the default");
    assert_eq!(configuration["security"].as_object().unwrap().len(), 2);
}

#[test]
fn everything_that_is_wrong_is_told_with_its_place() {
    let put = json!({
        "servers": {
            "0": { "shortId": 0 },
            "1": { "shortId": 2, "lifetime": -1, "speed": 3 },
            "2": { "shortId": 2 },
            "x": {},
        },
        "security": {
            "0": { "uri": "coap://a", "securityMode": "EST", "serverId": 3 },
            "1": { "bootstrapServer": true, "securityMode": "NO_SEC", "secretKey": [1] },
            "2": { "bootstrapServer": true, "uri": "coaps://a", "securityMode": 0, "publicKeyOrId": [200], "secretKey": [1] },
            "3": { "bootstrapServer": true, "uri": "coap://a", "securityMode": "NO_SEC", "oscoreSecurityMode": 0,
                   "cipherSuite": [1], "secretKey": [256] },
            "4": { "bootstrapServer": true, "uri": "coaps://a", "securityMode": "X509" },
        },
        "acls": { "0": {} },
        "oscore": { "0": { "oscoreSenderId": [1] } },
        "toDelete": [1],
        "contentFormat": 0,
    });
    let problems = entry_of(&put).problems;
    for place in [
        "servers.0.shortId:",
        "servers.1.lifetime:",
        "servers.1.speed:",
        "servers.2.shortId:",
        "servers:",
        "servers.1:",
        "security.0.securityMode:",
        "security.0.serverId:",
        "security.1.securityMode:",
        "security.1.uri:",
        "security.2.publicKeyOrId:",
        "security.3.oscoreSecurityMode:",
        "security.3.cipherSuite:",
        "security.3.secretKey:",
        "security.4.secretKey:",
        "security.4.publicKeyOrId:",
        "security.4.serverPublicKey:",
        "acls.0.objectId:",
        "oscore.0.oscoreMasterSecret:",
        "toDelete:",
        "contentFormat:",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(place)), "{place} {problems:#?}");
    }
    for not_a_configuration in [json!(null), json!([]), json!("x"), json!({ "servers": [] }), json!({ "acls": 1 })] {
        assert!(!entry_of(&not_a_configuration).problems.is_empty(), "{not_a_configuration}");
    }
    assert_eq!(entry_of(&json!({})).json, json!({ "servers": [], "deletes": [], "verify": false }));
}

use serde_json::{Value as Json, json};

use super::*;

/// What has the form of a certificate, of a public key, and of a private key in PKCS #8.
const CERTIFICATE: [u8; 12] = [0x30, 10, 0x30, 3, 2, 1, 1, 0x30, 0, 3, 1, 1];
const PUBLIC_KEY: [u8; 7] = [0x30, 5, 0x30, 0, 3, 1, 1];
const PRIVATE_KEY: [u8; 10] = [0x30, 8, 2, 1, 0, 0x30, 0, 4, 1, 9];

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

fn read(of: Neighbour, file: &Json, endpoint: Option<&str>) -> Imported {
    import(of, file, endpoint, &ObjectModel::built_in(), &|_, _| Vec::new()).unwrap()
}

fn refused(of: Neighbour, file: &Json, endpoint: Option<&str>) -> String {
    import(of, file, endpoint, &ObjectModel::built_in(), &|_, _| Vec::new()).unwrap_err()
}

/// The fragment as the tables that a reader of TOML sees.
fn tables(imported: &Imported) -> Json {
    toml::from_str(&imported.to_toml().unwrap()).unwrap()
}

#[test]
fn a_file_of_leshan_becomes_an_entry_for_each_endpoint() {
    let file = json!({
        "urn:imei:1": {
            "toDelete": ["/0", "/1"],
            "servers": { "0": { "shortId": 7, "lifetime": 600, "binding": "UQ" } },
            "security": { "1": {
                "uri": "coaps://dm.example:5684", "securityMode": "PSK", "serverId": 7,
                "publicKeyOrId": [112, 49], "secretKey": [-1, 0, 17], "cipherSuite": [{ "valueForSecurityObject": 49_320 }],
            } },
        },
        "b": { "security": { "0": { "bootstrapServer": true, "securityMode": "NO_SEC", "uri": "coap://bs" } } },
        "c": { "security": { "0": { "bootstrapServer": true, "securityMode": "RPK", "uri": "coaps://bs" } } },
    });
    let imported = read(Neighbour::Leshan, &file, None);
    assert_eq!(
        imported.notes,
        [
            "device c: security.0.secretKey: is missing: secrets are not shown, so what was read cannot be put again",
            "device c: security.0.publicKeyOrId: is missing",
            "device c: security.0.serverPublicKey: is missing",
            "device urn:imei:1: security.1.cipherSuite: cipher suites are not handed out",
            "device c: nothing is left to hand out; there is no entry for it",
        ]
    );
    assert_eq!(
        tables(&imported),
        json!({ "bootstrap": { "device": {
            "urn:imei:1": {
                "deletes": ["/0", "/1"], "verify": false,
                "servers": [{
                    "type": "management", "transport": "udp", "uri": "coaps://dm.example:5684", "provision": "none",
                    "security_mode": "psk", "psk_identity": "p1", "psk_key": "ff0011", "ssid": 7, "lifetime": 600,
                    "default_min_period": 1, "binding": "UQ", "client_hold_off_time": 1,
                }],
            },
            "b": {
                "deletes": [], "verify": false,
                "servers": [{
                    "type": "bootstrap", "transport": "udp", "uri": "coap://bs", "provision": "none",
                    "security_mode": "nosec", "client_hold_off_time": 1, "bootstrap_server_account_timeout": 0,
                }],
            },
        } } })
    );
}

#[test]
fn a_single_configuration_of_leshan_needs_a_name() {
    let one = json!({ "security": { "0": { "bootstrapServer": true, "securityMode": "NO_SEC", "uri": "coap://bs" } } });
    assert!(refused(Neighbour::Leshan, &one, None).contains("--endpoint"));
    assert!(read(Neighbour::Leshan, &one, Some("meter-*")).devices.contains_key("meter-*"));
    assert!(refused(Neighbour::Leshan, &json!({ "a": one }), Some("a")).contains("--endpoint"));
    assert!(refused(Neighbour::Leshan, &json!([]), None).contains("no object"));
}

#[test]
fn each_shape_of_bs_server_is_read() {
    let nosec = json!({ "serverURI": "coap://a:5683" });
    let account =
        json!({ "type": "management", "provision": "none", "uri": "coap://a:5683", "security_mode": "nosec" });
    let entry = json!({ "servers": [account], "deletes": ["/"] });
    for (file, endpoint) in [
        (json!({ "node": nosec }), None),
        (json!({ "node": [nosec] }), None),
        (json!({ "node": { "clientName": "node", "0": nosec } }), None),
        (json!({ "clientName": "node", "serverURI": "coap://a:5683" }), None),
        (nosec.clone(), Some("node")),
        (json!([nosec]), Some("node")),
    ] {
        let imported = read(Neighbour::BsServer, &file, endpoint);
        assert_eq!((&imported.notes, imported.devices.get("node")), (&Vec::new(), Some(&entry)), "{file}");
    }
    assert!(refused(Neighbour::BsServer, &nosec, None).contains("--endpoint"));
    assert!(refused(Neighbour::BsServer, &json!({ "node": nosec }), Some("node")).contains("--endpoint"));
    assert!(refused(Neighbour::BsServer, &json!("x"), None).contains("no object"));
}

#[test]
fn everything_of_bs_server_is_carried_over_or_told() {
    let file = json!({ "node": [
        {
            "serverURI": "coaps://a:5684", "securityMode": 0, "pubKeyId": "node-1", "secretKey": "s3cr3t", "serverPubKeyId": "",
            "shortServerId": 5, "clientHoldOffTime": 2, "lifetime": 60, "defaultMinPeriod": 1, "defaultMaxPeriod": 9,
            "disableTimeout": 7, "notificationStoring": false, "binding": "US", "lwm2mServerSmsNum": "+49",
            "smsSecurityMode": 3, "smsBindingKeyParam": "abcdef", "smsBindingSecretKey": { "type": "Buffer", "data": vec![1; 16] },
            "disable": true,
        },
        {
            "serverURI": "coaps://b", "securityMode": 2, "pubKeyId": { "type": "Buffer", "data": CERTIFICATE },
            "serverPubKeyId": base64(&CERTIFICATE), "secretKey": hex(&PRIVATE_KEY),
        },
        { "securityMode": 3 },
        { "serverURI": "coaps://c", "securityMode": 1, "pubKeyId": "x", "serverPubKeyId": "y", "secretKey": "z" },
    ] });
    let imported = read(Neighbour::BsServer, &file, None);
    assert_eq!(
        imported.devices["node"]["servers"],
        json!([
            {
                "type": "management", "provision": "none", "uri": "coaps://a:5684", "security_mode": "psk",
                "psk_identity": "node-1", "psk_key": hex(b"s3cr3t"), "ssid": 5, "client_hold_off_time": 2,
                "lifetime": 60, "default_min_period": 1, "default_max_period": 9, "disable_timeout": 7,
                "notification_storing": false, "binding": "US", "sms_number": "+49", "sms_security_mode": 3,
                "sms_binding_key_parameters": hex(b"abcdef"), "sms_binding_secret_key": "01".repeat(16),
            },
            {
                "type": "management", "provision": "none", "uri": "coaps://b", "security_mode": "x509",
                "client_certificate": hex(&CERTIFICATE), "server_certificate": base64(&CERTIFICATE),
                "client_private_key": hex(&PRIVATE_KEY),
            },
        ])
    );
    let told = |start: &str| imported.notes.iter().any(|note| note.starts_with(start));
    assert!(told("device node, configuration 0: disable: no such field"), "{:#?}", imported.notes);
    assert!(told("device node, configuration 2: serverURI: is missing"), "{:#?}", imported.notes);
    assert!(told("device node, account coaps://c: client_public_key: "), "{:#?}", imported.notes);
    assert!(!imported.notes.iter().any(|note| note.contains("s3cr3t")));
}

/// A profile of ThingsBoard with a server of each mode.
fn profile() -> Json {
    let server = |mode: &str, id: u64, is_bootstrap: bool| {
        json!({
            "securityMode": mode, "shortServerId": id, "bootstrapServerIs": is_bootstrap, "host": "tb.example",
            "port": 5685, "clientHoldOffTime": 1, "serverPublicKey": base64(&PUBLIC_KEY),
            "serverCertificate": base64(&CERTIFICATE), "bootstrapServerAccountTimeout": 0, "lifetime": 300,
            "defaultMinPeriod": 1, "notifIfDisabled": true, "binding": "U",
        })
    };
    json!({
        "name": "Water meter", "type": "DEFAULT",
        "profileData": { "transportConfiguration": { "type": "LWM2M", "bootstrap": [
            server("PSK", 123, false), server("NO_SEC", 111, true),
        ] } },
    })
}

fn credentials() -> Json {
    json!({
        "client": { "securityConfigClientMode": "PSK", "endpoint": "wm-1", "identity": "wm-1", "key": "00" },
        "bootstrap": {
            "bootstrapServer": { "securityMode": "NO_SEC" },
            "lwm2mServer": { "securityMode": "PSK", "clientPublicKeyOrId": "wm-1-id", "clientSecretKey": "00112233445566778899aabbccddeeff" },
        },
    })
}

#[test]
fn a_profile_of_thingsboard_with_credentials_becomes_an_entry_for_each_device() {
    let bootstrap = json!({
        "type": "bootstrap", "provision": "none", "uri": "coap://tb.example:5685", "security_mode": "nosec",
        "client_hold_off_time": 1, "bootstrap_server_account_timeout": 0,
    });
    let managing = json!({
        "type": "management", "provision": "none", "uri": "coaps://tb.example:5685", "security_mode": "psk",
        "psk_identity": "wm-1-id", "psk_key": "00112233445566778899aabbccddeeff", "ssid": 123, "lifetime": 300,
        "default_min_period": 1, "notification_storing": true, "binding": "U", "client_hold_off_time": 1,
    });
    let as_text = json!({
        "credentialsType": "LWM2M_CREDENTIALS", "credentialsId": "wm-1", "credentialsValue": credentials().to_string(),
    });
    for file in [
        json!([profile(), credentials()]),
        json!({ "profile": profile(), "credentials": credentials() }),
        json!({ "profile": profile(), "credentials": [as_text] }),
        json!([profile()["profileData"]["transportConfiguration"], credentials()]),
    ] {
        let imported = read(Neighbour::ThingsBoard, &file, None);
        let name = if file[0]["type"] == "LWM2M" { "thingsboard-bootstrap" } else { "Water-meter-bootstrap" };
        assert_eq!(
            tables(&imported),
            json!({ "bootstrap": {
                "server": { name: bootstrap },
                "device": { "wm-1": { "servers": [managing, name] } },
            } }),
            "{file}"
        );
        assert_eq!(imported.notes.len(), 1, "{:#?}", imported.notes);
        assert!(imported.notes[0].starts_with("device wm-1: by what it proves itself"), "{:#?}", imported.notes);
    }
}

#[test]
fn a_profile_alone_hands_out_what_needs_no_key_of_a_device() {
    let imported = read(Neighbour::ThingsBoard, &profile(), Some("wm-*"));
    assert_eq!(imported.devices["wm-*"], json!({ "servers": ["Water-meter-bootstrap"] }));
    assert_eq!(
        imported.notes,
        ["bootstrap[0]: its keys are those of each device: give the credentials of the devices in the same file"]
    );
    let mut mapped = profile();
    mapped["profileData"]["transportConfiguration"]["observeAttr"] = json!({ "observe": [] });
    let imported = read(Neighbour::ThingsBoard, &mapped, None);
    assert!(imported.devices.contains_key("*"));
    assert!(imported.notes[0].starts_with("observeAttr:"), "{:#?}", imported.notes);
    assert!(imported.notes.iter().any(|note| note.contains("unknown_devices = \"template\"")), "{:#?}", imported.notes);
}

#[test]
fn keys_and_certificates_of_thingsboard_are_base64() {
    let mut profile = profile();
    let servers = &mut profile["profileData"]["transportConfiguration"]["bootstrap"];
    servers[0]["securityMode"] = json!("X509");
    servers[1]["securityMode"] = json!("RPK");
    let mut credentials = credentials();
    credentials["bootstrap"]["lwm2mServer"] = json!({
        "securityMode": "X509", "clientPublicKeyOrId": base64(&CERTIFICATE), "clientSecretKey": base64(&PRIVATE_KEY),
    });
    credentials["bootstrap"]["bootstrapServer"] = json!({
        "securityMode": "RPK", "clientPublicKeyOrId": base64(&PUBLIC_KEY), "clientSecretKey": base64(&PRIVATE_KEY),
    });
    let imported = read(Neighbour::ThingsBoard, &json!([profile, credentials]), None);
    let servers = &imported.devices["wm-1"]["servers"];
    assert_eq!(servers[0]["client_certificate"], hex(&CERTIFICATE));
    assert_eq!(servers[0]["server_certificate"], base64(&CERTIFICATE));
    assert_eq!(servers[1]["client_private_key"], hex(&PRIVATE_KEY));
    assert_eq!(servers[1]["server_public_key"], base64(&PUBLIC_KEY));

    credentials["bootstrap"]["lwm2mServer"]["securityMode"] = json!("PSK");
    credentials["bootstrap"]["bootstrapServer"]["clientSecretKey"] = json!("?");
    let imported = read(Neighbour::ThingsBoard, &json!([profile, credentials]), None);
    assert!(imported.devices.is_empty());
    for part in ["lwm2mServer: have another security mode", "bootstrapServer: hold a key that is no base64"] {
        assert!(imported.notes.iter().any(|note| note.contains(part)), "{part} {:#?}", imported.notes);
    }
}

#[test]
fn other_files_are_refused() {
    for file in [json!({}), json!([]), json!({ "profileData": {} }), credentials(), json!(7)] {
        assert!(refused(Neighbour::ThingsBoard, &file, None).contains("no LwM2M device profile"), "{file}");
    }
    assert!(refused(Neighbour::ThingsBoard, &json!([profile(), profile()]), None).contains("more than one"));
    for of in [Neighbour::Leshan, Neighbour::BsServer, Neighbour::ThingsBoard] {
        for file in
            [json!({ "a": 1 }), json!({ "a": [1] }), json!({ "bootstrap": [1, {}] }), json!([{ "serverURI": 1 }])]
        {
            if let Ok(imported) = import(of, &file, None, &ObjectModel::built_in(), &|_, _| Vec::new()) {
                assert!(imported.devices.is_empty() && !imported.notes.is_empty(), "{of:?} {file}");
            }
        }
    }
}

#[test]
fn an_entry_that_does_not_hold_together_is_left_out_and_told() {
    let judge = |entry: &DeviceEntry, accounts: &[(AccountName, ServerAccount)]| {
        assert_eq!((entry.servers.len(), accounts.len()), (2, 1));
        vec![Problem { field: "servers[0]".to_owned(), message: "is not wanted".to_owned() }]
    };
    let file = json!([profile(), credentials()]);
    let imported = import(Neighbour::ThingsBoard, &file, None, &ObjectModel::built_in(), &judge).unwrap();
    assert!(imported.devices.is_empty());
    let note = "device wm-1: servers[0]: is not wanted; there is no entry for it";
    assert_eq!(imported.notes.last().map(String::as_str), Some(note));
}

#[test]
fn names_of_accounts_are_made_of_what_fits() {
    assert_eq!(account_name("Wasserzähler 2/b_c.d"), "Wasserz-hler-2-b_c.d");
    assert_eq!(account_name(""), "imported");
    assert_eq!(account_name(&"x".repeat(100)).len(), 48);
}

//! Fields of accounts: what each takes, and what is said where it does not.

use serde_json::{Value as Json, json};

use super::{account, private_key, problems, refused, with};
use crate::model::bootstrap::{
    AccountTransport, Provision, ProvisionKind, Registration, Security, ServerAccount, ServerKind,
};
use crate::model::credential::SecretBytes;

#[test]
fn an_empty_account_is_one_of_this_gateway_with_every_default() {
    assert_eq!(account(&json!({})), ServerAccount::new(ServerKind::Management, Security::NoSec));
    let all_null: Json = super::super::accounts::FIELDS.iter().map(|field| ((*field).to_owned(), Json::Null)).collect();
    assert_eq!(account(&all_null), account(&json!({})));
}

#[test]
fn every_field_of_a_management_account_is_read() {
    let read = account(&json!({
        "type": "management", "transport": "tcp", "ssid": 123, "uri": "coaps+tcp://{host}:5684/", "binding": "TS",
        "lifetime": 300, "client_hold_off_time": 1, "default_min_period": 2, "default_max_period": 3,
        "disable_timeout": 4, "notification_storing": false, "security_mode": "psk", "psk_identity": "{endpoint}-m",
        "psk_key": "0011", "sni": "lwm2m.example", "sms_number": "+44 1234", "sms_security_mode": 2,
        "sms_binding_key_parameters": "000102030405", "sms_binding_secret_key": "00112233445566778899aabbccddeeff",
        "registration_priority": 5, "initial_registration_delay": 6, "registration_failure_block": true,
        "bootstrap_on_registration_failure": false, "communication_retry_count": 7, "communication_retry_timer": 8,
        "communication_sequence_delay_timer": 9, "communication_sequence_retry_count": 10, "trigger": true,
        "preferred_transport": "T", "mute_send": true, "apn_link": "11:0", "provision": "self",
    }));
    assert_eq!((read.kind, read.transport, read.ssid), (ServerKind::Management, AccountTransport::Tcp, Some(123)));
    assert_eq!(read.uri.unwrap().as_str(), "coaps+tcp://{host}:5684/");
    assert_eq!((read.binding.as_str(), read.lifetime_secs, read.client_hold_off_time_secs), ("TS", 300, Some(1)));
    assert_eq!((read.default_min_period_secs, read.default_max_period_secs), (Some(2), Some(3)));
    assert_eq!((read.disable_timeout_secs, read.notification_storing), (4, false));
    assert!(matches!(&read.security, Security::Psk { identity: Some(text), .. } if text.as_str() == "{endpoint}-m"));
    assert_eq!(read.sni.as_deref(), Some("lwm2m.example"));
    assert_eq!((read.sms.number.as_deref(), read.sms.security_mode), (Some("+44 1234"), Some(2)));
    assert_eq!(read.sms.binding_key_parameters.as_deref(), Some([0, 1, 2, 3, 4, 5].as_slice()));
    assert_eq!(read.sms.binding_secret_key.unwrap().expose().len(), 16);
    let registration = Registration {
        priority: Some(5),
        initial_delay_secs: Some(6),
        failure_block: Some(true),
        bootstrap_on_failure: Some(false),
        communication_retry_count: Some(7),
        communication_retry_timer_secs: Some(8),
        communication_sequence_delay_timer_secs: Some(9),
        communication_sequence_retry_count: Some(10),
    };
    assert_eq!(read.registration, registration);
    assert_eq!(
        (read.trigger, read.preferred_transport.as_deref(), read.mute_send),
        (Some(true), Some("T"), Some(true))
    );
    assert_eq!((read.apn_link, read.provision), (Some((11, 0)), Provision::Own));
}

#[test]
fn a_bootstrap_account_has_a_timeout_and_nothing_of_the_server_object() {
    let read = account(&json!({"type": "bootstrap", "bootstrap_server_account_timeout": 60, "ssid": 1}));
    assert_eq!(
        (read.kind, read.bootstrap_server_account_timeout_secs, read.ssid),
        (ServerKind::Bootstrap, Some(60), Some(1))
    );
    refused(
        &json!({"bootstrap_server_account_timeout": 60}),
        "bootstrap_server_account_timeout",
        "goes with type bootstrap",
    );
    let number = json!(1);
    let flag = json!(true);
    for (field, value) in [
        ("default_min_period", &number),
        ("default_max_period", &number),
        ("registration_priority", &number),
        ("initial_registration_delay", &number),
        ("registration_failure_block", &flag),
        ("bootstrap_on_registration_failure", &flag),
        ("communication_retry_count", &number),
        ("communication_retry_timer", &number),
        ("communication_sequence_delay_timer", &number),
        ("communication_sequence_retry_count", &number),
        ("trigger", &flag),
        ("preferred_transport", &json!("U")),
        ("mute_send", &flag),
        ("apn_link", &json!("11:0")),
    ] {
        refused(&json!({"type": "bootstrap", field: value}), field, "goes with type management");
        account(&json!({ field: value }));
    }
}

#[test]
fn what_a_form_fills_in_for_a_bootstrap_account_has_no_effect() {
    let filled = json!({"type": "bootstrap", "lifetime": 5, "disable_timeout": 6, "notification_storing": false});
    assert_eq!(account(&filled), account(&json!({"type": "bootstrap"})));
    refused(&json!({"type": "bootstrap", "lifetime": "5"}), "lifetime", "is a text");
}

#[test]
fn numbers_have_their_ranges() {
    for (field, most) in [
        ("ssid", 65_534u64),
        ("lifetime", u64::from(u32::MAX)),
        ("client_hold_off_time", u64::from(u32::MAX)),
        ("default_max_period", u64::from(u32::MAX)),
        ("communication_retry_count", u64::from(u32::MAX)),
    ] {
        account(&json!({ field: most }));
        refused(&json!({ field: most + 1 }), field, &format!("is {}, not an integer from ", most + 1));
        refused(&json!({ field: -1 }), field, "is -1, not an integer");
        refused(&json!({ field: 1.5 }), field, "is 1.5, not an integer");
        refused(&json!({ field: "1" }), field, "is a text, not an integer");
        refused(&json!({ field: [1] }), field, "is a list, not an integer");
    }
    refused(&json!({"ssid": 0}), "ssid", "is 0, not an integer from 1 to 65534");
    let x509 = super::x509();
    refused(&with(&x509, &json!({"certificate_usage": 4})), "certificate_usage", "is 4, not an integer from 0 to 3");
    refused(&with(&x509, &json!({"matching_type": 4})), "matching_type", "is 4, not an integer from 0 to 3");
    let sms = json!({"binding": "US"});
    refused(
        &with(&sms, &json!({"sms_security_mode": 256})),
        "sms_security_mode",
        "is 256, not an integer from 0 to 255",
    );
    refused(&json!({"default_min_period": 9, "default_max_period": 8}), "default_max_period", "is shorter than");
    account(&json!({"default_min_period": 9, "default_max_period": 0}));
}

#[test]
fn flags_and_words_are_what_they_are() {
    for field in ["notification_storing", "registration_failure_block", "trigger", "mute_send"] {
        refused(&json!({ field: "yes" }), field, "is a text, not true or false");
    }
    refused(
        &json!({"type": "managment"}),
        "type",
        "is 'managment', not one of management, bootstrap; did you mean management?",
    );
    refused(&json!({"transport": "dtls"}), "transport", "is not one of udp, tcp");
    refused(&json!({"transport": true}), "transport", "is a boolean, not one of udp, tcp");
    refused(&json!({"security_mode": "PSK"}), "security_mode", "did you mean psk?");
    // Nothing is said of the fields of a mode that nobody knows.
    refused(&json!({"security_mode": "x508", "psk_key": "0011"}), "security_mode", "did you mean x509?");
}

#[test]
fn unknown_fields_and_other_bodies_are_refused() {
    refused(&json!({"life_time": 1}), "life_time", "is no field of a server account; did you mean lifetime?");
    refused(&json!({"colour": 1}), "colour", "is no field of a server account");
    refused(&json!([]), "", "a server account is a JSON object, not a list");
    refused(&json!(null), "", "a server account is a JSON object, not null");
}

#[test]
fn what_was_told_of_an_account_or_entry_can_be_put_again() {
    let told = json!({"name": "plant", "id": "17c0b39ac049", "source": "file", "created_at": 1, "changed_at": 2});
    assert_eq!(account(&told), account(&json!({})));
    assert_eq!(super::entry(&told), super::entry(&json!({})));
    let nested = json!({"security_mode": "psk", "psk_key": {"random": 16, "name": "plant"}});
    refused(&nested, "psk_key.name", "is no field of a key to be made; known are random");
}

#[test]
fn bindings_are_those_of_1_0_or_letters_of_later_versions() {
    for binding in ["U", "UQ", "S", "SQ", "US", "UQS", "USQ", "T", "UTSNMH", "N", "UTQ"] {
        assert_eq!(account(&json!({ "binding": binding })).binding, binding);
    }
    assert_eq!(account(&json!({"transport": "tcp"})).binding, "T");
    for (binding, words) in [
        ("UU", "has a letter twice"),
        ("UQQ", "has a letter twice"),
        ("Q", "begins with Q"),
        ("QU", "begins with Q"),
        ("X", "is not made of the letters U, T, S, N, M and H"),
        ("uq", "did you mean UQ?"),
        ("", "has 0 bytes, not 1 to 7"),
        ("UTSNMHQQ", "has 8 bytes"),
    ] {
        refused(&json!({ "binding": binding }), "binding", words);
    }
}

#[test]
fn sms_fields_go_with_a_binding_that_has_an_s() {
    let fields = json!({
        "sms_number": "0123", "sms_security_mode": 1, "sms_binding_key_parameters": "000102030405",
        "sms_binding_secret_key": "AAECAwQFBgcICQoLDA0ODw==",
    });
    for binding in ["S", "SQ", "US", "UQS", "UTS"] {
        account(&with(&fields, &json!({ "binding": binding })));
    }
    let found = problems(&fields);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|text| text.contains("goes with a binding that has an S")), "{found:?}");
    let sms = json!({"binding": "US"});
    for (field, value, words) in [
        ("sms_number", json!("call me"), "is no telephone number"),
        ("sms_number", json!("+"), "is no telephone number"),
        ("sms_binding_key_parameters", json!("0001020304"), "has 5 bytes, not 6"),
        ("sms_binding_secret_key", json!("00".repeat(15)), "has 15 bytes, not 16 to 48"),
        ("sms_binding_secret_key", json!("00".repeat(49)), "has 49 bytes, not 16 to 48"),
        ("sms_binding_secret_key", json!({"secret": true}), "give the secret anew"),
        ("sms_binding_secret_key", json!({"random": 16}), "is an object, not a text"),
    ] {
        refused(&with(&sms, &json!({ field: value })), field, words);
    }
}

#[test]
fn a_preferred_transport_is_one_letter_of_the_binding() {
    account(&json!({"binding": "UT", "preferred_transport": "T"}));
    refused(&json!({"preferred_transport": "T"}), "preferred_transport", "is no letter of binding");
    refused(&json!({"preferred_transport": "UT"}), "preferred_transport", "is not one of the letters");
    refused(&json!({"preferred_transport": "Q", "binding": "UQ"}), "preferred_transport", "is not one of the letters");
}

#[test]
fn an_apn_link_is_object_and_instance() {
    assert_eq!(account(&json!({"apn_link": "11:65535"})).apn_link, Some((11, 65_535)));
    for text in ["11", "11:", "11:+1", "70000:0", "/11/0", "11:0:0"] {
        refused(&json!({ "apn_link": text }), "apn_link", "is no link to an instance such as \"11:0\"");
    }
    refused(&json!({"apn_link": 11}), "apn_link", "is a number, not a text");
}

#[test]
fn a_uri_is_a_host_a_host_with_its_port_or_whole() {
    for uri in [
        "lwm2m.example",
        "192.0.2.1:5683",
        "[2001:db8::1]",
        "[2001:db8::1]:5683",
        "{host}",
        "{host}:5683",
        "{endpoint}.devices.example",
        "coap://lwm2m.example",
        "COAP://lwm2m.example:5683/",
        "coap://{host}:5683",
    ] {
        assert_eq!(account(&json!({ "uri": uri })).uri.unwrap().as_str(), uri);
    }
    for (uri, words) in [
        ("", "has 0 bytes"),
        ("coap://", "has no host"),
        (":5683", "has no host"),
        ("http://lwm2m.example", "has a scheme that is not one of coap, coaps, coap+tcp, coaps+tcp"),
        ("caop://lwm2m.example", "did you mean coap?"),
        ("coap+udp://lwm2m.example", "did you mean coap+tcp?"),
        ("2001:db8::1", "write an IPv6 address in brackets"),
        ("[2001:db8::1", "has a bracket that is not closed"),
        ("[lwm2m.example]:1", "has no IPv6 address in its brackets"),
        ("[{host}]:5683", "{host} brings its own"),
        ("[::1]5683", "behind its bracket that is no port"),
        ("lwm2m.example:0", "has a port that is no number from 1 to 65535"),
        ("lwm2m.example:65536", "has a port"),
        ("lwm2m.example:+1", "has a port"),
        ("lwm2m.example:", "has a port"),
        ("lwm2m.example/rd", "has a path or query"),
        ("coap://lwm2m.example/?ep=a", "has a path or query"),
        ("user:pass@lwm2m.example", "holds a user or password"),
        ("lwm2m example", "has a host with characters that no host name has"),
        ("b\u{fc}ro.example", "write other alphabets as xn--"),
        ("{endpont}.example", "holds {endpont}, which stands for nothing; did you mean {endpoint}?"),
        ("{tenant}.example", "holds braces that are no variable"),
        ("lwm2m.example\n", "holds a control character"),
    ] {
        refused(&json!({ "uri": uri }), "uri", words);
    }
    let long = format!("{}.example", "a".repeat(240));
    refused(&json!({ "uri": long }), "uri", "has 248 bytes, more than 237");
    account(&json!({ "uri": format!("coap://{long}") }));
}

#[test]
fn a_scheme_agrees_with_security_and_transport() {
    let psk = json!({"security_mode": "psk", "psk_key": "0011"});
    refused(
        &json!({"uri": "coaps://a.example"}),
        "uri",
        "says coaps, which needs security_mode psk, rpk or x509; without security write coap",
    );
    refused(
        &with(&psk, &json!({"uri": "coap://a.example"})),
        "uri",
        "says coap, which is without security; write coaps",
    );
    refused(&with(&psk, &json!({"uri": "coap+tcp://a.example"})), "uri", "write coaps+tcp");
    let over_tcp = json!({"transport": "tcp", "uri": "coap://a.example"});
    refused(&over_tcp, "uri", "says coap, but transport is tcp");
    refused(&with(&psk, &json!({"transport": "udp", "uri": "coaps+tcp://a.example"})), "uri", "but transport is udp");
    let both = problems(&json!({"transport": "tcp", "uri": "coaps://a.example"}));
    assert_eq!(both.len(), 2, "{both:?}");
    // Where nobody says the transport, the scheme does.
    assert_eq!(account(&json!({"uri": "coap+tcp://a.example"})).transport, AccountTransport::Tcp);
    assert_eq!(account(&with(&psk, &json!({"uri": "coaps://a.example"}))).transport, AccountTransport::Udp);
}

#[test]
fn an_identity_is_a_text_with_variables() {
    let psk = |identity: Json| json!({"security_mode": "psk", "psk_key": "0011", "psk_identity": identity});
    for identity in ["{endpoint}", "urn:{serial}", "plain {} text", "a{b"] {
        account(&psk(json!(identity)));
    }
    account(&psk(json!("x".repeat(255))));
    refused(&psk(json!("x".repeat(256))), "psk_identity", "has 256 bytes, not 1 to 255");
    refused(&psk(json!("")), "psk_identity", "has 0 bytes");
    refused(&psk(json!("{endpiont}")), "psk_identity", "did you mean {endpoint}?");
    refused(&psk(json!("a\u{0}b")), "psk_identity", "holds a control character");
    refused(&psk(json!(7)), "psk_identity", "is a number, not a text");
}

#[test]
fn who_is_told_is_this_gateway_unless_a_uri_says_another_server() {
    assert_eq!(account(&json!({})).provision, Provision::Own);
    assert_eq!(account(&json!({"provision": "none"})).provision, Provision::None);
    assert_eq!(account(&json!({"uri": "a.example"})).provision, Provision::None);
    assert_eq!(account(&json!({"uri": "a.example", "provision": "self"})).provision, Provision::Own);
    let target = json!({
        "type": "coiote", "url": "https://coiote.example/", "user": "me", "password": "geheim", "domain": "/plant/",
    });
    let Provision::Target(read) = account(&json!({ "provision": target })).provision else { panic!("no target") };
    assert_eq!((read.kind, read.url.as_str()), (ProvisionKind::Coiote, "https://coiote.example"));
    assert_eq!((read.user.as_deref(), read.domain.as_deref()), (Some("me"), Some("/plant/")));
    assert_eq!(read.password.as_ref().map(SecretBytes::expose), Some(b"geheim".as_slice()));
}

#[test]
fn a_wrong_target_is_refused_field_by_field() {
    let of = |target: Json| json!({ "provision": target });
    for (body, field, words) in [
        (json!("slef"), "provision", "did you mean self?"),
        (json!("leshan"), "provision", "needs a url: {\"type\":\"leshan\",\"url\":\"https://..\"}"),
        (json!(true), "provision", "is a boolean, not none, self or an object with type and url"),
        (json!({"url": "http://a.example"}), "provision.type", "is missing: leshan, thingsboard or coiote"),
        (json!({"type": "leshn", "url": "http://a.example"}), "provision.type", "did you mean leshan?"),
        (json!({"type": "leshan"}), "provision.url", "is missing"),
        (json!({"type": "leshan", "url": "coap://a.example"}), "provision.url", "begins with http:// or https://"),
        (json!({"type": "leshan", "url": "http://"}), "provision.url", "has no host"),
        (
            json!({"type": "leshan", "url": "http://me:geheim@a.example"}),
            "provision.url",
            "give them in user and password",
        ),
        (json!({"type": "leshan", "url": "http://a.example/?x=y"}), "provision.url", "has a query"),
        (
            json!({"type": "leshan", "url": "http://a.example", "domain": "x"}),
            "provision.domain",
            "does not go with leshan",
        ),
        (
            json!({"type": "leshan", "url": "http://a.example", "pasword": "x"}),
            "provision.pasword",
            "did you mean password?",
        ),
        (
            json!({"type": "leshan", "url": "http://a.example", "password": {"secret": true}}),
            "provision.password",
            "give the secret anew",
        ),
        (json!({"type": "leshan", "url": "http://a.example", "user": ""}), "provision.user", "has 0 bytes"),
    ] {
        refused(&of(body), field, words);
    }
    let found = problems(&of(json!({"type": "x", "url": "y", "user": 1})));
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn all_problems_are_told_at_once_and_no_secret_with_them() {
    let body = json!({
        "type": "x", "transport": "sctp", "ssid": 0, "uri": "a.example/rd", "binding": "Z", "lifetime": -1,
        "notification_storing": 0, "security_mode": "psk", "psk_key": "hunter2 hunter2", "psk_identity": "",
        "client_private_key": super::base64(&private_key(b"hunter2")), "sms_number": "x", "apn_link": "x",
        "provision": {"type": "leshan", "url": "http://me:hunter2@a.example", "password": 2}, "unknown": "hunter2",
        "sni": "", "mute_send": 1,
    });
    let found = problems(&body);
    let fields: Vec<&str> = found.iter().map(|text| text.split(": ").next().unwrap()).collect();
    for field in [
        "type",
        "transport",
        "ssid",
        "uri",
        "binding",
        "lifetime",
        "notification_storing",
        "psk_key",
        "psk_identity",
        "client_private_key",
        "sms_number",
        "apn_link",
        "provision.url",
        "provision.password",
        "unknown",
        "sni",
        "mute_send",
    ] {
        assert!(fields.contains(&field), "{field}: {found:#?}");
    }
    assert_eq!(found.len(), 17, "{found:#?}");
    assert!(!found.iter().any(|text| text.contains("hunter2")), "{found:#?}");
}

#[test]
fn no_more_than_a_hundred_problems_are_told() {
    let many: serde_json::Map<String, Json> = (0..1_000).map(|index| (format!("field-{index}"), json!(1))).collect();
    assert_eq!(problems(&Json::Object(many)).len(), 100);
    let long: serde_json::Map<String, Json> = [("x".repeat(100_000), json!(1))].into_iter().collect();
    assert!(problems(&Json::Object(long))[0].len() < 1_500);
}

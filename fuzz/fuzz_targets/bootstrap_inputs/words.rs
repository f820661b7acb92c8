//! What an input chooses from: words of devices and of operators, good and bad.

use lwm2mqtt::protocol::coap::message::Code;

/// Each with its own way to register.
pub(crate) const VERSIONS: [&str; 3] = ["lwm2m=1.0", "lwm2m=1.1", "lwm2m=1.2"];

/// Formats that a device may prefer; the last ones are none.
pub(crate) const PREFERRED: [&str; 7] = ["", "pct=11542", "pct=110", "pct=112", "pct=11544", "pct=42", "pct=x"];

pub(crate) const FORMATS: [u16; 8] = [40, 11542, 110, 112, 11543, 11544, 0, 42];

pub(crate) const CODES: [Code; 14] = [
    Code::CHANGED,
    Code::CONTENT,
    Code::DELETED,
    Code::CREATED,
    Code::CONTINUE,
    Code::NOT_FOUND,
    Code::METHOD_NOT_ALLOWED,
    Code::NOT_ACCEPTABLE,
    Code::BAD_REQUEST,
    Code::UNSUPPORTED_CONTENT_FORMAT,
    Code::REQUEST_ENTITY_INCOMPLETE,
    Code::REQUEST_ENTITY_TOO_LARGE,
    Code::SERVICE_UNAVAILABLE,
    Code::BAD_OPTION,
];

/// What devices answer to Discover and Read.
pub(crate) const PAYLOADS: [&[u8]; 11] = [
    b"",
    br#"</>;lwm2m=1.1,</0/0>;uri="coap://192.0.2.100:5783",</1>,</3/0>,</3303/0>"#,
    br#"</>;lwm2m=1.0,</0/0>;ssid=1;uri="coap://a",</0/1>,</0/2>;ssid=2,</1/0>;ssid=1,</1/1>;ssid=2,</2/0>,</21/0>"#,
    br#"</>;lwm2m="1.2",</0/65534>;uri="coaps://192.0.2.100",</1/0>;ssid=65534,</2/3>,</0/0>;ssid=1"#,
    b"</0/0>,</0/0>,</1>;ssid=1,</65535/65535>,</>;lwm2m=9",
    b"</lwm2m>;rt=\"oma.lwm2m\",</lwm2m/0/0>;ssid=70000,<",
    // The server account that was written first, as TLV and SenML JSON.
    &[0x08, 0, 6, 0xc1, 0, 1, 0xc1, 1, 60],
    br#"[{"bn":"/1/0/","n":"0","v":1},{"n":"1","v":86400},{"bn":"/1/1/","n":"0","v":2},{"n":"1","v":86400}]"#,
    br#"[{"bn":"/1/1/","n":"0","v":1},{"n":"1","v":86400}]"#,
    &[0xa1, 0x82, 1, 0, 0xa2, 0, 1, 1, 0x19, 0x01, 0x00],
    b"finish",
];

/// Server accounts. The keys are [`GIVEN_KEY`](crate::GIVEN_KEY).
pub(crate) const ACCOUNTS: [&str; 10] = [
    r#"{}"#,
    r#"{"security_mode":"psk"}"#,
    r#"{"security_mode":"rpk"}"#,
    r#"{"security_mode":"x509"}"#,
    r#"{"type":"bootstrap","security_mode":"psk","psk_key":{"random":64}}"#,
    r#"{"uri":"coaps://dm.example:5684","security_mode":"psk","psk_identity":"{endpoint}","psk_key":"676976656e2d6b65792d676976656e21"}"#,
    r#"{"uri":"coaps://{serial}.example","security_mode":"psk","provision":{"type":"leshan","url":"https://dm.example"}}"#,
    r#"{"uri":"coap+tcp://{host}","provision":{"type":"thingsboard","url":"http://tb","user":"u","password":"p"}}"#,
    r#"{"uri":"coap://dm.example","ssid":7,"lifetime":60,"binding":"UQS","sms_number":"+1","trigger":true,"apn_link":"11:0"}"#,
    r#"{"security_mode":"rpk","uri":"coaps://x","provision":{"type":"coiote","url":"https://c","domain":"/a/"}}"#,
];

/// Device entries.
pub(crate) const ENTRIES: [&str; 10] = [
    r#"{"servers":["management-nosec"]}"#,
    r#"{"servers":["management-psk"]}"#,
    r#"{"servers":["management-psk","bootstrap-psk","a0","a1"],"verify":true}"#,
    r#"{"servers":["a0","a1"],"write_by":"object","format":"tlv"}"#,
    r#"{"servers":[{"security_mode":"rpk"},{"security_mode":"x509","ssid":9}],"verify":true,"deletes":[]}"#,
    r#"{"servers":["management-nosec"],"deletes":["/","/0","/1/0","/2"],"format":"senml-cbor"}"#,
    r#"{"servers":["management-nosec"],"acls":[{"object":3,"instance":0,"owner":1,"acl":{"0":1,"1":31}}],"verify":true}"#,
    r#"{"servers":["a0"],"writes":{"/3/0/15":"Europe/Berlin","/5/0":{"1":"coap://a"},"/21/0/0":"eA=="},"order":[5,1,0]}"#,
    r#"{"servers":["management-nosec"],"writes":{"/2/0/2":{"0":1,"7":3},"/9999/1/2":1.5},"format":"senml-json"}"#,
    r#"{"servers":[],"writes":{"/3/0/14":"+01:00"},"format":"lwm2m-cbor"}"#,
];

/// What becomes of a field of an account or an entry.
pub(crate) const VALUES: [&str; 16] = [
    "null",
    "true",
    "0",
    "1",
    "65534",
    "65535",
    "4294967295",
    "-1",
    r#""""#,
    r#""bootstrap""#,
    r#""tcp""#,
    r#""coaps://[2001:db8::1]:1/{name}""#,
    r#"["a0","a1","*"]"#,
    r#"{"/0/0/5":"676976656e2d6b65792d676976656e21"}"#,
    r#"{"0":{"1":"x"}}"#,
    r#"["/65534","/3/0/1/2","/1/0"]"#,
];

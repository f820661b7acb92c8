//! What an input chooses from: words of devices and of the cloud, good and bad.

use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt_fuzz::choices::Choices;

pub(crate) const OBJECTS: [&str; 6] = [
    "</3/0>,</25/0>,</25/1>,</3303/0>",
    "</>;rt=\"oma.lwm2m\",</1/0>,</3/0>,</3303/0>,</3308/0>",
    "</3>,</3303/0>,</3303/1>,</3304/0>,</19/0>",
    "</lwm2m>;rt=\"oma.lwm2m\";ct=11543,</lwm2m/3/0>,</lwm2m/3303/0>",
    "</3/0>;ver=1.2,</33>, </3303/65535>",
    "",
];

pub(crate) const LIFETIMES: [&str; 5] = ["lt=60", "lt=1", "lt=86400", "lt=4294967295", "lt=0"];
pub(crate) const BINDINGS: [&str; 5] = ["b=U", "b=UQ", "Q", "b=TQ", "x"];
pub(crate) const VERSIONS: [&str; 4] = ["lwm2m=1.0", "lwm2m=1.1", "lwm2m=1.2", "lwm2m=9"];

pub(crate) const FORMATS: [u16; 10] = [0, 42, 60, 110, 112, 11542, 11543, 11544, 1542, 40];

pub(crate) const PAYLOADS: [&[u8]; 12] = [
    b"21.5",
    b"",
    &[0xe4, 0x16, 0x44, 0x41, 0xac, 0, 0],
    &[0x08, 0, 7, 0xe4, 0x16, 0x44, 0x41, 0xac, 0, 0],
    br#"[{"bn":"/3303/0/5700","bt":1700000000,"v":1},{"t":10,"v":2}]"#,
    br#"[{"n":"/3/0/0","vs":"ACME"},{"n":"/3303/1/5700","v":-1e300},{"n":"/9999/0/1","vb":true}]"#,
    br#"{"e":[{"n":"5700","v":21.5}]}"#,
    br#"[{"bn":"/25/0/","n":"0","vs":"s"},{"n":"1","vs":"d1"},{"n":"3","vs":"</3/0>,</3303/0>"}]"#,
    br#"[{"bn":"/25/0/","n":"1","vs":"d2"},{"bn":"/25/1/","n":"1","vs":"7"},{"n":"3","vs":"<"}]"#,
    br#"[{"n":"/d1/3303/0/5700","v":1},{"n":"/3303/0/5700","v":2},{"n":"/d2/3303/0/5700","v":3}]"#,
    &[0x81, 0xa2, 0, 0x6c, 0x2f, 0x33, 0x33, 0x30, 0x33, 0x2f, 0x30, 0x2f, 0x35, 0x37, 0x30, 0x30, 2, 0xf9, 0x4d, 0x60],
    &[0xa1, 0x83, 0x19, 0x0c, 0xe7, 0, 0x19, 0x16, 0x44, 0xf9, 0x4d, 0x60],
];

pub(crate) const CODES: [Code; 14] = [
    Code::CONTENT,
    Code::CHANGED,
    Code::CREATED,
    Code::DELETED,
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

pub(crate) const TOPICS: [&str; 12] = [
    "lwm2m/e0:d1/command",
    "lwm2m/bridge/request/mapping/put",
    "lwm2m/e0/command",
    "lwm2m/e1/command",
    "lwm2m/e0/set",
    "lwm2m/e1/get",
    "lwm2m/bridge/request/permit_join",
    "lwm2m/bridge/request/device/options",
    "lwm2m/bridge/request/device/remove",
    "lwm2m/bridge/request/reload",
    "lwm2m/bridge/info",
    "lwm2m/bridge/request/health",
];

pub(crate) const BODIES: [&str; 20] = [
    r#"{"id":"1","operation":"read","path":"/3303/0/5700"}"#,
    r#"{"id":"2","operation":"write","path":"/3308/0/5900","value":21,"ttl":"10s"}"#,
    r#"{"operation":"observe","path":"/3303/0"}"#,
    r#"{"operation":"cancel_observe","path":"/3303/0"}"#,
    r#"{"operation":"execute","path":"/3/0/4","arguments":"0='x'","when_asleep":"try"}"#,
    r#"{"operation":"discover","path":"/3"}"#,
    r#"{"operation":"create","path":"/3303","values":{"5700":1}}"#,
    r#"{"operation":"delete","path":"/3303/1"}"#,
    r#"{"command":"reboot","params":{}}"#,
    r#"{"setpoint":21}"#,
    r#"{"operation":"read_composite","paths":["/3/0","/3303"]}"#,
    r#"{"operation":"observe_composite","paths":["/3/0","/3303/0/5700"],"ttl":"5s"}"#,
    r#"{"operation":"cancel_observe_composite","paths":["/3303/0/5700","/3/0"],"passive":true}"#,
    r#"{"operation":"write_composite","values":{"/1/0/1":60,"/16/0/0":{"0":"a","1":null}}}"#,
    r#"{"operation":"execute","path":"/1/0/4"}"#,
    r#"{"operation":"read","path":"/d1/3303/0/5700"}"#,
    r#"{"keys":["t_0"]}"#,
    r#"{"for":"60s"}"#,
    r#"{"device":"e0","name":"e1","tags":["a"]}"#,
    r#"{"device":"e0"}"#,
];

/// A payload of the table, or one of the input itself.
pub(crate) fn payload(choices: &mut Choices<'_>) -> Vec<u8> {
    let choice = usize::from(choices.byte());
    PAYLOADS.get(choice % (PAYLOADS.len() + 2)).map_or_else(|| choices.bytes().to_vec(), |payload| payload.to_vec())
}

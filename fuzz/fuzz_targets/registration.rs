//! Register and Update: no panic, exact codes, and nothing in a request that its type excludes.
//!
//! An input is the query with `&` between arguments, a NUL, and the payload; the first byte chooses the format.
#![no_main]

use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::protocol::lwm2m::attributes::parse_write_attributes;
use lwm2mqtt::protocol::lwm2m::object_list::ObjectList;
use lwm2mqtt::protocol::lwm2m::registration::{Refused, parse_register, parse_update};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&choice, input)) = input.split_first() else { return };
    let content_format = match choice % 4 {
        0 => None,
        1 => Some(0),
        _ => Some(40),
    };
    let mut parts = input.splitn(2, |&byte| byte == 0);
    let query = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let query: Vec<String> = query.split('&').map(ToOwned::to_owned).collect();
    let payload = parts.next().unwrap_or_default();
    match parse_register(&query, content_format, payload) {
        Ok(request) => {
            assert!(request.endpoint.as_deref() != Some(""));
            assert!((Version::V1_0..=Version::V1_2).contains(&request.version));
            assert!(request.version == Version::V1_0 || request.lifetime_secs.is_some());
            check_list(&request.objects);
        }
        Err(refused) => check_refusal(&refused),
    }
    match parse_update(&query, content_format, payload) {
        Ok(request) => request.objects.iter().for_each(check_list),
        Err(refused) => check_refusal(&refused),
    }
    if let Ok(change) = parse_write_attributes(&query) {
        assert_eq!(change.set.check(), Ok(()));
    }
});

fn check_list(list: &ObjectList) {
    assert!(list.root.is_empty() || (list.root.starts_with('/') && !list.root.ends_with('/')));
    for (object, registered) in &list.objects {
        assert!(![0, 21, 23, u16::MAX].contains(object));
        assert!(registered.instances.is_sorted_by(|a, b| a < b));
    }
}

fn check_refusal(refused: &Refused) {
    assert!(
        matches!(
            refused.code,
            Code::BAD_REQUEST | Code::CONFLICT | Code::PRECONDITION_FAILED | Code::UNSUPPORTED_CONTENT_FORMAT
        ),
        "{refused}"
    );
    assert!(!refused.reason.is_empty());
}

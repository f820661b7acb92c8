//! Link format: no panic, strict and lenient reading agree, and links that were read are written readably.
#![no_main]

use lwm2mqtt::protocol::lwm2m::attributes::parse_discover;
use lwm2mqtt::protocol::lwm2m::link_format::{Link, parse, parse_leniently};
use lwm2mqtt::protocol::lwm2m::object_list::ObjectList;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let _ = ObjectList::decode(text);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let _ = (parse_discover(text, ""), parse_discover(text, "/lwm2m"));
    let lenient = parse_leniently(text);
    let Ok(links) = parse(text) else { return };
    assert_eq!(lenient.map(|(links, _)| links).as_ref(), Ok(&links));
    // The version of old Bootstrap-Discover answers stands without a link, which nobody writes any more.
    if links.first().is_none_or(|link| !link.target.is_empty()) {
        let written: Vec<String> = links.iter().map(Link::to_string).collect();
        assert_eq!(parse(&written.join(",")), Ok(links));
    }
});

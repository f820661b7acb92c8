//! Datagrams: no panic, and what was read is written so that it reads the same.
#![no_main]

use lwm2mqtt::protocol::coap::message::Message;
use lwm2mqtt::protocol::coap::option::OptionNumber;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| {
    let _ = Message::peek(datagram);
    let Ok(message) = Message::decode(datagram) else { return };
    let written = message.encode();
    assert!(written.len() <= datagram.len(), "the shortest form is longer than what was read");
    assert_eq!(Message::decode(&written).as_ref(), Ok(&message));
    let _ = message.first_unusable_option(&[OptionNumber::URI_PATH, OptionNumber::BLOCK1]);
    let _ = (message.uri_path(), message.uri_query(), message.content_format(), message.observe());
    if let Ok(Some(block)) = message.block(OptionNumber::BLOCK1) {
        let _ = block.offset();
        assert!(block.encode().len() <= 3);
    }
});

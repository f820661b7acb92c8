//! Payloads of one resource: text, opaque and CBOR, chosen by the last byte.
#![no_main]

use lwm2mqtt::protocol::content::ContentFormat;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&choice, input)) = input.split_last() else { return };
    let format = [ContentFormat::TEXT, ContentFormat::OPAQUE, ContentFormat::CBOR][usize::from(choice % 3)];
    lwm2mqtt_fuzz::content(format, input);
});

//! Object definitions as operators lay them into the models folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        // Refused or read: both are fine, a panic is not.
        let _ = lwm2mqtt::model::ddf::parse(text);
    }
});

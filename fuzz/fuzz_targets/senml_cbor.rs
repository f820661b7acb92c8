//! Payloads from devices: no panic, no path outside the request, and what is encoded again can be read.
#![no_main]

use lwm2mqtt::protocol::content::ContentFormat;

libfuzzer_sys::fuzz_target!(|input: &[u8]| lwm2mqtt_fuzz::content(ContentFormat::SENML_CBOR, input));

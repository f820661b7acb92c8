//! All integration tests in one binary, since each binary links everything again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod end_to_end {
    mod mosquitto;
    mod mqtt_sink;
}

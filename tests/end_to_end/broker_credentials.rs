//! A broker that wants a name and a password.

use super::fleet::Fleet;
use super::harness::{Gateway, Mosquitto};

#[test]
fn values_reach_a_broker_that_wants_a_password() {
    let broker = Mosquitto::start_with_password("edge", "correct horse");
    let mut cloud = broker.subscribe("lwm2m/+/telemetry");
    let gateway = Gateway::start(&broker, "");
    let mut fleet = Fleet::start(&gateway);
    fleet.expect_acknowledged(3);
    fleet.expect_everything_arrives(&mut cloud);
}

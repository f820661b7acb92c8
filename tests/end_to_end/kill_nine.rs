//! The gateway is killed while devices report. What was acknowledged to a device arrives after its restart.

use super::fleet::Fleet;
use super::harness::{Gateway, Mosquitto};

const KILLS: usize = 5;

#[test]
fn every_acknowledged_notification_arrives_though_the_gateway_is_killed() {
    let broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/+/telemetry");
    let mut gateway = Gateway::start(&broker, "");
    let mut fleet = Fleet::start(&gateway);

    for _ in 0..KILLS {
        fleet.expect_acknowledged(15);
        gateway.kill_nine();
        // Devices notice nothing: they neither register again nor are asked to.
        gateway.restart();
    }
    fleet.expect_acknowledged(15);
    fleet.expect_everything_arrives(&mut cloud);
}

#[test]
fn every_acknowledged_notification_arrives_though_gateway_and_broker_are_killed() {
    let mut broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/+/telemetry");
    broker.keep_sessions();
    let mut gateway = Gateway::start(&broker, "");
    let mut fleet = Fleet::start(&gateway);
    fleet.expect_acknowledged(20);

    broker.kill_nine();
    fleet.expect_acknowledged(20);
    gateway.kill_nine();
    gateway.restart();
    fleet.expect_acknowledged(20);
    broker.restart();
    fleet.expect_everything_arrives(&mut cloud);
}

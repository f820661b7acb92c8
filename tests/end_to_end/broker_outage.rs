//! The broker goes away while devices report. What was acknowledged to a device arrives later.

use super::fleet::Fleet;
use super::harness::{Gateway, Mosquitto};

#[test]
fn nothing_acknowledged_is_lost_while_the_broker_is_stopped() {
    let mut broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/+/telemetry");
    let gateway = Gateway::start(&broker, "");
    let mut fleet = Fleet::start(&gateway);
    fleet.expect_acknowledged(20);

    broker.stop();
    // Devices are acknowledged by what the gateway has stored, not by the broker.
    fleet.expect_acknowledged(50);

    broker.restart();
    fleet.expect_acknowledged(20);
    fleet.expect_everything_arrives(&mut cloud);
}

#[test]
fn nothing_acknowledged_is_lost_when_the_broker_is_killed() {
    let mut broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/+/telemetry");
    broker.keep_sessions();
    let gateway = Gateway::start(&broker, "");
    let mut fleet = Fleet::start(&gateway);
    fleet.expect_acknowledged(20);

    for connections in 2..5 {
        broker.kill_nine();
        fleet.expect_acknowledged(20);
        broker.restart();
        // What the broker has acknowledged and not yet passed on would be lost with the next kill.
        broker.wait_for_client(cloud.client_id(), connections);
        fleet.expect_acknowledged(20);
    }
    fleet.expect_everything_arrives(&mut cloud);
}

#[test]
fn a_gateway_started_without_its_broker_delivers_once_it_is_there() {
    let mut broker = Mosquitto::start();
    let mut cloud = broker.subscribe("lwm2m/+/telemetry");
    let mut gateway = Gateway::start(&broker, "");
    gateway.stop();
    broker.stop();

    gateway.restart();
    let mut fleet = Fleet::start(&gateway);
    fleet.expect_acknowledged(20);
    broker.restart();
    fleet.expect_everything_arrives(&mut cloud);
}

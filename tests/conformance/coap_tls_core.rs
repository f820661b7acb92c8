//! Connections over TLS against the whole core: who is refused before the first message, and how an operator sees it.

use std::sync::Arc;

use lwm2mqtt::gateway::handshakes::HandshakeFailure;
use lwm2mqtt::gateway::vocabulary::{Authenticated, ConnectionId, Query, StreamInput, StreamOrder};
use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::model::credential::Identity;

use super::gateway::Gateway;
use super::stream::{Connection, stream_peer};

fn connection(number: u16) -> Connection {
    Connection { peer: stream_peer(number), id: ConnectionId(u64::from(number)) }
}

#[test]
fn a_handshake_that_failed_is_listed_with_its_reason_and_opens_nothing() {
    let mut gateway = Gateway::new();
    let failure = HandshakeFailure {
        word: "wrong_key",
        detail: "the device has another key".to_owned(),
        claimed: Some(Arc::from("node-1")),
    };
    connection(1).input(&mut gateway, StreamInput::Refused(Box::new(failure)));
    assert_eq!(gateway.count(Occurrence::HandshakeFailed("wrong_key")), 1);
    assert_eq!((gateway.gauges().connections, gateway.orders.len()), (0, 0));
    let refused = gateway.query(Query::Refused);
    assert_eq!(refused["items"][0]["endpoint"], "node-1", "{refused}");
    assert!(refused["items"][0]["reason"].as_str().unwrap().starts_with("the device has another key"), "{refused}");
}

#[test]
fn a_connection_whose_credential_went_while_its_handshake_was_under_way_is_closed_at_once() {
    let mut gateway = Gateway::new();
    let who = Authenticated { identity: Identity::Psk(b"node-1".as_slice().into()), generation: 7 };
    let device = connection(1);
    device.input(&mut gateway, StreamInput::Opened { identity: Some(Box::new(who)) });
    assert_eq!(device.orders(&mut gateway), [StreamOrder::Close]);
    assert_eq!(gateway.count(Occurrence::ConnectionClosed("credential_gone")), 1);
    assert_eq!(gateway.gauges().connections, 0);
}

#[test]
fn an_identity_that_needs_no_credential_is_taken() {
    let mut gateway = Gateway::new();
    let who = Authenticated { identity: Identity::Anonymous, generation: 0 };
    let device = connection(1);
    device.input(&mut gateway, StreamInput::Opened { identity: Some(Box::new(who)) });
    assert_eq!(gateway.gauges().connections, 1);
}

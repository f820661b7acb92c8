//! Datagrams of the first epoch: ClientHellos whole, in fragments and broken. Nothing that may come from a stranger is
//! answered by more than three times as much, a cookie counts for one peer and hello alone, and a hello that comes in
//! pieces is the same as one that comes whole.
#![no_main]

use std::net::SocketAddr;

use lwm2mqtt::protocol::dtls::cookie::CookieSecrets;
use lwm2mqtt::protocol::dtls::hello::{
    ClientHello, Fragment, HelloStart, MAX_CLIENT_HELLO_BYTES, Reassembly, hello_verify_request, message, whole_record,
};
use lwm2mqtt::protocol::dtls::record::split_first;
use lwm2mqtt::simulator::dtls::wire;

fn peer(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 5_684))
}

/// A hello in pieces of so many bytes, the last one first.
fn in_pieces(body: &[u8], piece: usize) {
    let whole = wire::handshake(message::CLIENT_HELLO, 1, body);
    let mut pieces = wire::fragmented(&whole, piece);
    pieces.reverse();
    let (first, _) = Fragment::split_first(&pieces[0]).expect("a piece is a fragment");
    let Some(mut reassembly) = Reassembly::new(&first) else {
        assert!(body.len() > MAX_CLIENT_HELLO_BYTES);
        return;
    };
    for (number, bytes) in pieces.iter().enumerate() {
        let (fragment, rest) = Fragment::split_first(bytes).expect("a piece is a fragment");
        assert!(rest.is_empty());
        let complete = reassembly.add(&fragment).map(<[u8]>::to_vec);
        assert_eq!(complete.is_some(), number + 1 == pieces.len());
        if let Some(complete) = complete {
            assert_eq!(complete, body);
        }
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let secrets = CookieSecrets::new([1; 32], [2; 32]);
    let mut rest = input;
    while let Some((record, following)) = split_first(rest, 8) {
        let mut body = record.body;
        while let Some((fragment, next)) = Fragment::split_first(body) {
            assert!(fragment.offset + fragment.body.len() <= fragment.length && next.len() < body.len());
            if let Some(start) = HelloStart::parse(fragment.body).filter(|_| fragment.offset == 0) {
                let cookie = secrets.cookie(1, peer(1), &start.random);
                let answer = hello_verify_request(record.sequence, &cookie, record.epoch & 1 == 1);
                assert!(answer.len() <= 3 * record.whole.len());
                assert!(!secrets.verify(1, peer(1), &start.random, start.cookie) || start.cookie == cookie);
                assert!(secrets.verify(1, peer(1), &start.random, &cookie));
                assert!(!secrets.verify(1, peer(2), &start.random, &cookie));
                assert!(!secrets.verify(2, peer(1), &start.random, &cookie));
            }
            body = next;
        }
        rest = following;
    }

    // The same bytes as the body of a hello.
    let hello = ClientHello::parse(input);
    assert!(hello.is_none() || HelloStart::parse(input).is_some());
    // What simulated devices read in it is no less than what the gateway does.
    if let (Some(hello), Some(simulated)) = (&hello, wire::ClientHello::parse(input)) {
        assert_eq!((&hello.suites, &hello.connection_id), (&simulated.suites, &simulated.connection_id));
        let written = simulated.to_bytes();
        let again = ClientHello::parse(&written).expect("what was written is read");
        assert_eq!((again.suites, again.connection_id), (simulated.suites, simulated.connection_id));
    }
    if !input.is_empty() {
        in_pieces(input, usize::from(input[0]).max(input.len() / 16).max(1));
        if input.len() < 16_000 {
            let record = whole_record(3, message::CLIENT_HELLO, 1, input);
            let (record, rest) = split_first(&record, 0).expect("a record");
            let (fragment, behind) = Fragment::split_first(record.body).expect("a message");
            assert!(rest.is_empty() && behind.is_empty() && fragment.is_whole() && fragment.body == input);
        }
    }
});

//! The bytes of a connection after a byte that says how they are cut: no panic, the same messages however they are cut,
//! and what was read is written so that it reads the same.
#![no_main]

use std::time::Duration;

use lwm2mqtt::model::time::Instant;
use lwm2mqtt::protocol::coap::connection::{Connection, ConnectionParameters, Event};
use lwm2mqtt::protocol::coap::message::Code;
use lwm2mqtt::protocol::coap::signalling::Signal;
use lwm2mqtt::protocol::coap::tcp_frame;

const LONGEST: usize = 4_096;

fn parameters() -> ConnectionParameters {
    ConnectionParameters {
        max_message_bytes: LONGEST,
        capabilities_timeout: Duration::from_secs(10),
        message_timeout: Duration::from_secs(30),
        keep_alive: Some(Duration::from_secs(60)),
        idle_timeout: Some(Duration::from_secs(100)),
    }
}

/// Everything that comes of a stream in pieces of this size: events, and why it ended.
fn read(stream: &[u8], size: usize) -> (Vec<Event>, Option<&'static str>) {
    let parameters = parameters();
    let mut connection = Connection::open(Instant::ZERO, &parameters);
    let mut events = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        connection.receive(Instant::ZERO, piece.to_vec());
        while let Some(event) = connection.poll_event(Instant::ZERO, &parameters) {
            events.push(event);
        }
        assert!(connection.waiting_bytes() < LONGEST, "more waits than one message");
    }
    while let Some(frame) = connection.poll_transmit() {
        let (message, length) = tcp_frame::decode(&frame, usize::MAX).unwrap().unwrap();
        assert!(length == frame.len() && message.code.is_signal());
    }
    connection.handle_timeout(Instant::from_secs(1_000), &parameters, false);
    assert!(connection.closed().is_some() && connection.next_deadline(&parameters).is_none());
    (events, connection.closed().map(|closed| closed.word))
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else { return };
    let whole = read(stream, stream.len());
    assert_eq!(read(stream, usize::from(size)), whole);
    for event in &whole.0 {
        let Event::Message(message, length) = event else { continue };
        let frame = tcp_frame::encode(message);
        assert!(frame.len() <= *length, "the shortest form is longer than what was read");
        assert_eq!(tcp_frame::decode(&frame, LONGEST), Ok(Some((message.clone(), frame.len()))));
    }
    // The text of an Abort is cut and repaired; all else is kept.
    if let Ok(Some((message, _))) = tcp_frame::decode(stream, LONGEST)
        && message.code.class() == Code::CSM.class()
        && let Ok(Some(signal)) = Signal::read(&message)
        && !matches!(signal, Signal::Abort { .. })
    {
        let again = signal.message();
        assert_eq!(Signal::read(&again), Ok(Some(signal)));
    }
});

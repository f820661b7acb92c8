use super::super::message::MessageType;
use super::super::option::OptionNumber;
use super::*;

fn parameters() -> ConnectionParameters {
    ConnectionParameters {
        max_message_bytes: 4_096,
        capabilities_timeout: Duration::from_secs(10),
        message_timeout: Duration::from_secs(30),
        keep_alive: Some(Duration::from_secs(60)),
        idle_timeout: Some(Duration::from_secs(100)),
    }
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn capabilities() -> Vec<u8> {
    tcp_frame::encode(&Signal::Capabilities { max_message_size: None, block_wise: false }.message())
}

fn ping(custody: bool) -> Vec<u8> {
    tcp_frame::encode(&Signal::Ping { token: Token::new(&[7]).unwrap(), custody }.message())
}

fn request(payload: usize) -> Message {
    let mut message = Message::new(MessageType::Confirmable, Code::POST, 0, Token::new(&[1]).unwrap());
    message.push_option(OptionNumber::URI_PATH, *b"rd");
    message.payload = vec![b'x'; payload];
    message
}

/// What the connection sends, read.
fn sent(connection: &mut Connection) -> Vec<Signal> {
    std::iter::from_fn(|| connection.poll_transmit())
        .map(|frame| Signal::read(&tcp_frame::decode(&frame, 8_192).unwrap().unwrap().0).unwrap().unwrap())
        .collect()
}

/// A connection after both capabilities messages.
fn opened(now: Instant) -> Connection {
    let mut connection = Connection::open(now, &parameters());
    connection.receive(now, capabilities());
    assert_eq!(connection.poll_event(now, &parameters()), None);
    sent(&mut connection);
    connection
}

fn word(connection: &Connection) -> Option<&'static str> {
    connection.closed().map(|closed| closed.word)
}

#[test]
fn rfc8323_5_3_the_first_message_says_what_this_side_takes() {
    let mut connection = Connection::open(at(0), &parameters());
    assert_eq!(sent(&mut connection), [Signal::Capabilities { max_message_size: Some(4_096), block_wise: true }]);
}

#[test]
fn rfc8323_5_3_capabilities_add_up_and_start_from_the_base_value() {
    let mut connection = opened(at(0));
    assert_eq!((connection.peer_max_message_size(), connection.peer_knows_blocks()), (1_152, false));
    for (size, block_wise, expected) in
        [(Some(8_193), false, (8_193, false)), (None, true, (8_193, true)), (Some(17), false, (17, true))]
    {
        let signal = Signal::Capabilities { max_message_size: size, block_wise };
        connection.receive(at(1), tcp_frame::encode(&signal.message()));
        assert_eq!(connection.poll_event(at(1), &parameters()), None);
        assert_eq!((connection.peer_max_message_size(), connection.peer_knows_blocks()), expected);
    }
}

#[test]
fn messages_come_whole_whatever_pieces_the_stream_is_cut_into() {
    let stream =
        [capabilities(), tcp_frame::encode(&request(300)), vec![0, 0], tcp_frame::encode(&request(3))].concat();
    for size in [1, 2, 3, 7, 100, stream.len()] {
        let mut connection = Connection::open(at(0), &parameters());
        let mut messages = Vec::new();
        for piece in stream.chunks(size) {
            connection.receive(at(0), piece.to_vec());
            while let Some(event) = connection.poll_event(at(0), &parameters()) {
                let Event::Message(message, length) = event else { panic!("{event:?}") };
                assert_eq!(length, tcp_frame::encode(&message).len());
                messages.push(message.payload.len());
            }
        }
        assert_eq!((messages, word(&connection), connection.waiting_bytes()), (vec![300, 3], None, 0), "by {size}");
    }
}

#[test]
fn rfc8323_5_3_a_connection_that_begins_with_something_else_is_aborted() {
    let mut connection = Connection::open(at(0), &parameters());
    sent(&mut connection);
    connection.receive(at(0), [tcp_frame::encode(&request(3)), capabilities()].concat());
    assert_eq!(connection.poll_event(at(0), &parameters()), None);
    assert_eq!(word(&connection), Some("no_csm"));
    assert!(matches!(sent(&mut connection)[..], [Signal::Abort { bad_csm_option: None, .. }]));
    connection.receive(at(1), tcp_frame::encode(&request(3)));
    assert_eq!(connection.poll_event(at(1), &parameters()), None, "a closed connection says nothing more");
}

#[test]
fn rfc8323_5_3_a_peer_that_says_nothing_is_given_up_in_time() {
    let mut connection = Connection::open(at(5), &parameters());
    assert_eq!(connection.next_deadline(&parameters()), Some(at(15)));
    connection.receive(at(6), vec![0, 0]);
    assert_eq!(connection.poll_event(at(6), &parameters()), None);
    connection.handle_timeout(at(15), &parameters(), true);
    assert_eq!((word(&connection), connection.next_deadline(&parameters())), (Some("no_csm"), None));
}

#[test]
fn rfc8323_5_6_a_critical_option_of_capabilities_is_named_in_the_abort() {
    let mut connection = Connection::open(at(0), &parameters());
    sent(&mut connection);
    let mut message = Signal::Capabilities { max_message_size: None, block_wise: false }.message();
    message.push_option(OptionNumber(7), []);
    connection.receive(at(0), tcp_frame::encode(&message));
    assert_eq!(connection.poll_event(at(0), &parameters()), None);
    assert_eq!(word(&connection), Some("bad_signal"));
    assert!(matches!(sent(&mut connection)[..], [Signal::Abort { bad_csm_option: Some(7), .. }]));
}

#[test]
fn rfc8323_5_4_a_ping_is_answered_at_once_and_one_with_custody_by_the_owner() {
    let mut connection = opened(at(0));
    connection.receive(at(0), [ping(false), ping(true)].concat());
    let token = Token::new(&[7]).unwrap();
    assert_eq!(connection.poll_event(at(0), &parameters()), Some(Event::CustodyPing(token)));
    assert_eq!(sent(&mut connection), [Signal::Pong { token, custody: false }]);
}

#[test]
fn rfc8323_5_5_release_is_told_and_5_6_abort_ends_without_an_answer() {
    let mut connection = opened(at(0));
    connection.receive(at(0), tcp_frame::encode(&Signal::Release { hold_off: None }.message()));
    assert_eq!(connection.poll_event(at(0), &parameters()), Some(Event::Released));
    let abort = Signal::Abort { bad_csm_option: None, diagnostic: "no room".to_owned() };
    connection.receive(at(0), tcp_frame::encode(&abort.message()));
    assert_eq!(connection.poll_event(at(0), &parameters()), None);
    let closed = connection.closed().unwrap();
    assert_eq!((closed.word, closed.reason.as_str()), ("aborted_by_peer", "the peer aborted: no room"));
    assert_eq!(connection.poll_transmit(), None);
}

#[test]
fn rfc8323_5_6_too_large_and_malformed_messages_end_the_connection() {
    for (bytes, expected) in [(tcp_frame::encode(&request(4_096)), "too_large"), (vec![0x0f, 0x45], "malformed")] {
        let mut connection = opened(at(0));
        connection.receive(at(0), bytes);
        assert_eq!(connection.poll_event(at(0), &parameters()), None);
        assert_eq!(word(&connection), Some(expected));
        assert!(matches!(sent(&mut connection)[..], [Signal::Abort { .. }]));
    }
}

#[test]
fn a_silent_peer_is_pinged_once_and_then_given_up() {
    let mut connection = opened(at(0));
    assert_eq!(connection.next_deadline(&parameters()), Some(at(60)));
    connection.handle_timeout(at(60), &parameters(), false);
    assert!(matches!(sent(&mut connection)[..], [Signal::Ping { .. }]));
    assert_eq!(connection.next_deadline(&parameters()), Some(at(100)));
    // Anything at all shows that it lives.
    connection.receive(at(70), vec![0, 0]);
    assert_eq!(connection.poll_event(at(70), &parameters()), None);
    assert_eq!(connection.next_deadline(&parameters()), Some(at(130)));
    connection.handle_timeout(at(130), &parameters(), false);
    assert_eq!(sent(&mut connection).len(), 1);
    connection.handle_timeout(at(170), &parameters(), false);
    assert_eq!(word(&connection), Some("silent"));
}

#[test]
fn a_peer_that_may_be_silent_is_neither_pinged_nor_given_up() {
    let mut connection = opened(at(0));
    for minute in 1..10 {
        connection.handle_timeout(at(60 * minute), &parameters(), true);
        assert_eq!((sent(&mut connection), word(&connection)), (vec![], None));
        assert_eq!(connection.next_deadline(&parameters()), Some(at(60 * minute + 60)));
    }
    connection.handle_timeout(at(600), &parameters(), false);
    assert!(matches!(sent(&mut connection)[..], [Signal::Ping { .. }]));
}

#[test]
fn a_message_that_trickles_in_is_given_up_and_a_slow_link_is_served() {
    let frame = tcp_frame::encode(&request(3_000));
    let mut connection = opened(at(0));
    for (second, byte) in frame.iter().take(31).enumerate() {
        connection.receive(at(second as u64), vec![*byte]);
        assert_eq!(connection.poll_event(at(second as u64), &parameters()), None);
        connection.handle_timeout(at(second as u64), &parameters(), false);
    }
    assert_eq!(word(&connection), Some("slow_message"));

    let mut connection = opened(at(0));
    let (first, rest) = frame.split_at(2_048);
    connection.receive(at(0), first.to_vec());
    assert_eq!(connection.poll_event(at(0), &parameters()), None);
    assert_eq!(connection.next_deadline(&parameters()), Some(at(32)));
    connection.receive(at(31), rest.to_vec());
    assert!(matches!(connection.poll_event(at(31), &parameters()), Some(Event::Message(..))));
}

#[test]
fn what_waits_stays_below_the_longest_message() {
    let mut connection = opened(at(0));
    let frame = tcp_frame::encode(&request(4_000));
    for byte in &frame[..frame.len() - 1] {
        connection.receive(at(0), vec![*byte]);
        assert_eq!(connection.poll_event(at(0), &parameters()), None);
        assert!(connection.waiting_bytes() < 4_096);
    }
    connection.receive(at(0), frame[frame.len() - 1..].to_vec());
    assert!(connection.poll_event(at(0), &parameters()).is_some());
    assert_eq!(connection.poll_event(at(0), &parameters()), None);
    assert_eq!(connection.waiting_bytes(), 0);
}

#[test]
fn random_bytes_never_panic_and_never_pile_up() {
    use rand_core::{Rng as _, SeedableRng as _};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut ended = 0;
    for _ in 0..2_000 {
        let mut connection = opened(at(0));
        for _ in 0..20 {
            let mut bytes = vec![0; random.next_u32() as usize % 40];
            random.fill_bytes(&mut bytes);
            connection.receive(at(0), bytes);
            while connection.poll_event(at(0), &parameters()).is_some() {}
            assert!(connection.waiting_bytes() <= 4_096 + 40);
        }
        ended += usize::from(connection.closed().is_some());
    }
    assert!(ended > 1_000, "only {ended} ended");
}

//! Bounds of sessions, and what the store allows, without a network.

use std::net::SocketAddr;
use std::time::Duration;

use rand_core::SeedableRng as _;

use super::session::MAX_FLIGHT_REPEATS;
use super::*;
use crate::gateway::configuration::Transport;
use crate::gateway::store::{SecretKind, SecretRow};
use crate::model::credential::{Identity, SecretBytes};
use crate::protocol::dtls::hello::whole_record;
use crate::protocol::dtls::keys::SessionKeys;
use crate::protocol::dtls::suite::Suite;

const SUITE: Suite = Suite::PskAes128Ccm8;

fn keys(server: bool) -> SessionKeys {
    SessionKeys::derive(SUITE, &[1; 48], &[2; 32], &[3; 32], server)
}

fn peer(port: u16) -> Peer {
    Peer { listener: 0, remote: SocketAddr::from(([192, 0, 2, 1], port)), local: None, session: None }
}

fn sessions(change: impl FnOnce(&mut Configuration)) -> Sessions {
    let mut configuration = Configuration { transports: vec![Transport::Dtls], ..Configuration::default() };
    change(&mut configuration);
    Sessions::new(Instant::ZERO, Arc::new(configuration), ChaCha8Rng::from_seed([9; 32]))
}

fn established(port: u16) -> Established {
    Established {
        peer: peer(port),
        session: SessionId(u64::from(port)),
        identity: Identity::Psk(port.to_be_bytes().as_slice().into()),
        generation: 1,
        suite: SUITE,
        resumed: false,
        keys: Some(keys(true)),
        peer_connection_id: None,
        next_write_sequence: 1,
        newest_read_sequence: 0,
        last_flight: vec![b"flight".to_vec()],
    }
}

/// A session without connection id, as if its handshake were just through.
fn begin(sessions: &mut Sessions, now: Instant, port: u16) -> SessionId {
    let id = SessionId(u64::from(port));
    sessions.make_room();
    sessions.insert(id, Session::begun(now, established(port), None));
    id
}

fn own(sessions: &mut Sessions, id: SessionId) -> &mut session::OwnRecords {
    match &mut sessions.get_mut(id).unwrap().records {
        Records::Own(records) => records,
        Records::Library => panic!("the library keeps it"),
    }
}

fn actions(sessions: &mut Sessions) -> Vec<Action> {
    std::iter::from_fn(|| sessions.poll_action()).collect()
}

fn counted(actions: &[Action], occurrence: Occurrence) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Count(counted) if *counted == occurrence)).count()
}

fn transmitted(actions: &[Action]) -> Vec<&[u8]> {
    let datagrams = actions.iter().filter_map(|action| match action {
        Action::Transmit { datagram, .. } => Some(datagram.as_slice()),
        _ => None,
    });
    datagrams.collect()
}

#[test]
fn no_number_is_used_before_a_record_that_allows_it_is_in_the_store() {
    let mut sessions = sessions(|_| {});
    let id = begin(&mut sessions, Instant::ZERO, 1);
    let none = |_| false;
    assert!(matches!(sessions.seal(id, b"x", none), Sealed::MustBeSaved));
    own(&mut sessions, id).saving = Some((StoreSequence(5), 3));
    assert!(matches!(sessions.seal(id, b"x", |sequence| sequence < StoreSequence(5)), Sealed::MustBeSaved));
    for _ in 0..2 {
        assert!(matches!(sessions.seal(id, b"x", |sequence| sequence <= StoreSequence(5)), Sealed::Datagram(..)));
    }
    assert!(matches!(sessions.seal(id, b"x", |_| true), Sealed::MustBeSaved));
}

#[test]
fn a_record_that_was_never_handed_to_the_store_allows_nothing() {
    let mut sessions = sessions(|_| {});
    let id = begin(&mut sessions, Instant::ZERO, 1);
    own(&mut sessions, id).saving = Some((StoreSequence(5), 3));
    sessions.get_mut(id).unwrap().dirty = false;
    sessions.batch_lost(StoreSequence(5));
    assert!(matches!(sessions.seal(id, b"x", |_| true), Sealed::MustBeSaved));
    assert!(sessions.get(id).unwrap().dirty, "it is stored again");
}

#[test]
fn the_last_sequence_number_ends_a_session() {
    let mut sessions = sessions(|_| {});
    let id = begin(&mut sessions, Instant::ZERO, 1);
    let records = own(&mut sessions, id);
    (records.next_write, records.write_limit) = (MAX_SEQUENCE, u64::MAX);
    assert!(matches!(sessions.seal(id, b"x", |_| true), Sealed::Gone));
}

#[test]
fn at_the_bound_the_session_heard_least_lately_goes_those_without_a_device_first() {
    let mut sessions = sessions(|configuration| configuration.limits.max_sessions = 3);
    let oldest = begin(&mut sessions, Instant::from_secs(1), 1);
    sessions.join(oldest, 7);
    let second = begin(&mut sessions, Instant::from_secs(2), 2);
    begin(&mut sessions, Instant::from_secs(3), 3);
    begin(&mut sessions, Instant::from_secs(4), 4);
    assert_eq!((sessions.len(), sessions.get(second).is_none(), sessions.get(oldest).is_some()), (3, true, true));
    let counted_once = counted(&actions(&mut sessions), Occurrence::BoundReached("max_sessions"));
    assert_eq!(counted_once, 1);
}

#[test]
fn a_session_that_no_device_uses_ends_after_a_while_and_others_stay() {
    let mut sessions = sessions(|configuration| {
        configuration.lwm2m.sessions.unused_timeout = Duration::from_secs(600);
    });
    let unused = begin(&mut sessions, Instant::ZERO, 1);
    let used = begin(&mut sessions, Instant::ZERO, 2);
    sessions.join(used, 7);
    assert_eq!(sessions.handle_timeout(Instant::from_secs(599)), [unused, used], "changed ones are stored");
    assert!(sessions.get(unused).is_some());
    sessions.handle_timeout(Instant::from_secs(700));
    assert_eq!((sessions.get(unused).is_none(), sessions.get(used).is_some()), (true, true));
}

#[test]
fn the_last_flight_is_repeated_a_few_times_until_the_peer_shows_that_it_has_it() {
    let mut sessions = sessions(|_| {});
    let id = begin(&mut sessions, Instant::ZERO, 1);
    let flight = whole_record(4, crate::protocol::dtls::hello::message::CLIENT_KEY_EXCHANGE, 2, b"key");
    for _ in 0..MAX_FLIGHT_REPEATS + 4 {
        sessions.handle_datagram(Instant::ZERO, peer(1), &flight);
    }
    let all = actions(&mut sessions);
    assert_eq!(transmitted(&all), vec![b"flight".as_slice(); usize::from(MAX_FLIGHT_REPEATS)]);
    assert_eq!(counted(&all, Occurrence::RecordDropped("no_handshake")), 4);

    sessions.get_mut(id).unwrap().last_flight = Some(Box::new((vec![b"flight".to_vec()], 0)));
    let data = record::seal(&keys(false), PROTECTED_EPOCH, 1, &[], content::APPLICATION_DATA, b"hello");
    sessions.handle_datagram(Instant::ZERO, peer(1), &data);
    actions(&mut sessions);
    sessions.handle_datagram(Instant::ZERO, peer(1), &flight);
    assert_eq!(transmitted(&actions(&mut sessions)), Vec::<&[u8]>::new());
}

#[test]
fn a_record_of_an_unknown_session_is_answered_by_a_shorter_alert_if_that_is_wanted() {
    for wanted in [false, true] {
        let mut sessions = sessions(|configuration| configuration.lwm2m.sessions.alert_unknown = wanted);
        for id in [&b""[..], b"12345678"] {
            let data = record::seal(&keys(false), PROTECTED_EPOCH, 1, id, content::APPLICATION_DATA, b"hello");
            sessions.handle_datagram(Instant::ZERO, peer(1), &data);
            let all = actions(&mut sessions);
            assert_eq!(counted(&all, Occurrence::RecordDropped("unknown_session")), 1);
            let answers = transmitted(&all);
            assert_eq!(answers.len(), usize::from(wanted));
            assert!(answers.iter().all(|answer| answer.len() < data.len() && answer[0] == content::ALERT));
        }
        // An alert is never answered by another one.
        sessions.handle_datagram(Instant::ZERO, peer(1), &record::plain_alert(1, 2, 10));
        assert!(transmitted(&actions(&mut sessions)).is_empty());
    }
}

#[test]
fn a_session_without_connection_id_is_left_alone_by_records_with_one_and_the_other_way_round() {
    let mut sessions = sessions(|_| {});
    let id = SessionId(1);
    let own_id = ConnectionId::new(b"12345678").unwrap();
    let with_id = Established { peer_connection_id: Some(Vec::new()), ..established(1) };
    sessions.insert(id, Session::begun(Instant::ZERO, with_id, Some(own_id)));
    let plain = record::seal(&keys(false), PROTECTED_EPOCH, 1, &[], content::APPLICATION_DATA, b"hello");
    sessions.handle_datagram(Instant::ZERO, peer(1), &plain);
    assert!(!actions(&mut sessions).iter().any(|action| matches!(action, Action::Message { .. })));
    let named = record::seal(&keys(false), PROTECTED_EPOCH, 2, b"12345678", content::APPLICATION_DATA, b"hello");
    sessions.handle_datagram(Instant::ZERO, peer(2), &named);
    let all = actions(&mut sessions);
    assert!(all.iter().any(|action| matches!(action, Action::Message { plaintext, .. } if plaintext == b"hello")));
    assert!(all.iter().any(|action| matches!(action, Action::Moved { session } if *session == id)));
    assert_eq!(sessions.get(id).unwrap().peer.remote.port(), 2);
}

#[test]
fn a_stored_session_goes_on_with_other_listeners_but_not_with_ids_of_another_length() {
    let stored = |connection_id: Option<&[u8]>| {
        let established = Established { peer_connection_id: connection_id.map(|_| Vec::new()), ..established(1) };
        let session = Session::begun(Instant::ZERO, established, connection_id.and_then(ConnectionId::new));
        let (value, limit) = session.record().unwrap();
        assert_eq!(limit, 1 + RESERVED_SEQUENCES);
        SecretRow { kind: SecretKind::Session, key: 1_u64.to_be_bytes().to_vec(), value: SecretBytes::new(&value) }
    };
    for (row, taken) in [(stored(None), 1), (stored(Some(b"12345678")), 1), (stored(Some(b"123456")), 0)] {
        let mut sessions = sessions(|configuration| {
            configuration.transports = vec![Transport::Udp, Transport::Udp, Transport::Dtls];
        });
        let unusable = sessions.restore(Instant::ZERO, &[row]);
        assert_eq!((sessions.len(), unusable.len()), (taken, 1 - taken));
        assert!(sessions.iter().all(|(id, session)| (id, session.peer.listener) == (SessionId(1), 2)));
        // Nothing leaves before it is stored anew: the run before may have used what it reserved.
        if taken == 1 {
            assert!(matches!(sessions.seal(SessionId(1), b"x", |_| false), Sealed::MustBeSaved));
        }
    }
}

#[test]
fn many_sessions_that_changed_are_stored_in_portions_each_once() {
    let mut sessions = sessions(|_| {});
    let count = MAX_SAVED_AT_ONCE * 2 + 10;
    for port in 1..=count {
        begin(&mut sessions, Instant::ZERO, u16::try_from(port).unwrap());
    }
    let (mut now, mut saved, mut portions) = (Instant::ZERO, Vec::new(), Vec::new());
    for _ in 0..3 {
        now = sessions.next_deadline().unwrap();
        let portion = sessions.handle_timeout(now);
        for id in &portion {
            sessions.get_mut(*id).unwrap().dirty = false;
        }
        portions.push(portion.len());
        saved.extend(portion);
    }
    assert_eq!(portions, [MAX_SAVED_AT_ONCE, MAX_SAVED_AT_ONCE, 10]);
    assert_eq!(now, Instant::ZERO + Duration::from_secs(60) + 2 * SAVE_PAUSE);
    saved.sort_unstable();
    saved.dedup();
    assert_eq!(saved.len(), count);
    assert_eq!(sessions.next_deadline(), Some(now + Duration::from_secs(60)));
}

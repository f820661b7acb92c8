//! Peers that mean harm, beside honest ones.

use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::instrumentation::occurrence::Occurrence;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::dtls::record::{MAX_SEQUENCE, content};
use lwm2mqtt::simulator::dtls::client::DtlsClient;
use lwm2mqtt::simulator::dtls::wire;
use lwm2mqtt::simulator::world::{World, WorldScript};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::super::checks::counting_device;
use super::{counted, handshakes, registrations, reports, security, world_of, world_with_device};

fn stranger(number: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from_bits(0xc612_0000 + number), 20_000))
}

/// A datagram of a stranger; what it is answered with.
fn ask(world: &mut World, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
    let tap = world.tap.as_mut().unwrap();
    tap.sent.clear();
    world.inject(from, datagram.to_vec());
    let sent = world.tap.as_ref().unwrap().sent.iter();
    sent.filter(|sent| sent.to == from).map(|sent| sent.bytes.clone()).collect()
}

/// The first ClientHello of a client that nobody has seen.
fn hello(world: &World, number: u32) -> (DtlsClient, Vec<u8>) {
    let mut client = DtlsClient::new(security("dev"), u64::from(number) + 1_000);
    client.begin(world.now());
    let hello = client.poll_server().unwrap();
    (client, hello)
}

/// A CoAP ping, which every device may send and which is answered each time.
fn ping(id: u16) -> Vec<u8> {
    Message::new(MessageType::Confirmable, Code::EMPTY, id, Token::EMPTY).encode()
}

#[test]
fn garbage_leaves_nothing_behind_and_is_not_answered() {
    let (mut world, device) = world_with_device(1, security("dev"));
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let own = world.network.outer_address(device);
    for number in 0..100_000_u32 {
        let mut datagram = vec![0; (rng.next_u32() % 200) as usize];
        rng.fill_bytes(&mut datagram);
        // Most of it looks like records for a while.
        if number % 4 != 0 && datagram.len() > 40 {
            datagram[0] = [20, 21, 22, 23, 25][(rng.next_u32() % 5) as usize];
            datagram[1..3].copy_from_slice(&[0xfe, 0xfd]);
            datagram[3..5].copy_from_slice(&[0, (number % 3) as u8]);
            let length = datagram.len() - 13;
            datagram[11..13].copy_from_slice(&(length as u16).to_be_bytes());
        }
        // Some of it claims to come from the device.
        let from = if number % 10 == 0 { own } else { stranger(number % 5_000) };
        let answers = ask(&mut world, from, &datagram);
        let answered: usize = answers.iter().map(Vec::len).sum();
        assert!(answered <= 3 * datagram.len(), "{datagram:?}");
    }
    let gauges = world.gauges().unwrap();
    assert_eq!((gauges.sessions, gauges.handshakes, world.worker.under_way()), (1, 0, 0));
    assert!(reports(&mut world, device, 7));
    assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 1));
}

#[test]
fn spoofed_hellos_are_answered_by_less_than_three_times_as_much_and_nothing_is_kept() {
    let (mut world, device) = world_with_device(1, security("dev"));
    for number in 0..10_000 {
        let (mut client, first) = hello(&world, number);
        let answers = ask(&mut world, stranger(number), &first);
        assert_eq!(answers.len(), 1);
        assert!(answers[0].len() <= 3 * first.len());
        // The cookie of one address is worth nothing at another.
        client.receive(world.now(), &answers[0]);
        let second = client.poll_server().unwrap();
        assert_ne!(first, second);
        let answers = ask(&mut world, stranger(number + 10_000), &second);
        assert!(answers.iter().map(Vec::len).sum::<usize>() <= 3 * second.len());
        // The shortest beginning of a hello that could be answered.
        let mut least = first[..13 + 12 + 2 + 32 + 2].to_vec();
        least[12] = (least.len() - 13) as u8;
        let answers = ask(&mut world, stranger(number), &least);
        assert!(answers.iter().map(Vec::len).sum::<usize>() <= 3 * least.len());
    }
    let gauges = world.gauges().unwrap();
    assert_eq!((gauges.sessions, gauges.handshakes, world.worker.under_way()), (1, 0, 0));
    assert!(reports(&mut world, device, 7));
}

#[test]
fn half_open_handshakes_stay_within_their_bound_and_go_by_themselves() {
    let mut world = world_of(WorldScript::new(1), ["dev", "late"]);
    let device = world.add_secure_device(counting_device("dev"), security("dev"));
    world.run_for(Duration::from_secs(10));
    for number in 0..10_000 {
        let (mut client, first) = hello(&world, number);
        let answers = ask(&mut world, stranger(number), &first);
        client.receive(world.now(), &answers[0]);
        let second = client.poll_server().unwrap();
        world.inject(stranger(number), second);
        if number % 100 == 0 {
            world.run_for(Duration::from_millis(500));
        }
        assert!(world.gauges().unwrap().handshakes <= 256);
    }
    assert!(world.worker.most_under_way() <= 256);
    assert!(counted(&world, Occurrence::BoundReached("max_handshakes")) > 5_000);
    // Who has a session does not notice, and who wants one gets it when the others have taken too long.
    assert!(reports(&mut world, device, 7));
    let late = world.add_secure_device(counting_device("late"), security("late"));
    world.run_for(Duration::from_secs(60));
    assert!(reports(&mut world, late, 7));
    assert_eq!((world.gauges().unwrap().handshakes, world.worker.under_way()), (0, 0));
    assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 1));
}

#[test]
fn a_handshake_that_began_at_the_address_of_a_device_does_not_touch_its_session() {
    for client in [security("dev"), security("dev").without_connection_id()] {
        let (mut world, device) = world_with_device(1, client);
        let own = world.network.outer_address(device);
        let mut other = DtlsClient::new(super::DtlsScript::new("dev", b"not the key"), 99);
        other.begin(world.now());
        // Somebody on the path of the device answers for it, up to the proof that fails.
        for _ in 0..3 {
            let Some(datagram) = other.poll_server() else { break };
            let tap = world.tap.as_mut().unwrap();
            tap.sent.clear();
            world.inject(own, datagram);
            world.run_for(Duration::from_millis(10));
            for sent in world.tap.as_ref().unwrap().sent.clone() {
                other.receive(world.now(), &sent.bytes);
            }
        }
        assert_eq!(counted(&world, Occurrence::HandshakeFailed("wrong_key")), 1);
        assert!(reports(&mut world, device, 7));
        assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 1));
    }
}

#[test]
fn a_record_counts_once_and_moves_nobody_when_it_is_replayed_from_elsewhere() {
    for client in [security("dev"), security("dev").without_connection_id()] {
        let (mut world, device) = world_with_device(1, client);
        let own = world.network.outer_address(device);
        let session = world.sessions.get_mut(&device).unwrap();
        let record = session.seal(content::APPLICATION_DATA, &ping(1)).unwrap();
        assert_eq!(ask(&mut world, own, &record).len(), 1);
        assert!(ask(&mut world, own, &record).is_empty());
        assert!(ask(&mut world, stranger(1), &record).is_empty());
        assert!(counted(&world, Occurrence::RecordDropped("replayed")) >= 1);
        // An older one that was held back comes from elsewhere: it is taken, and the session stays where it was.
        let session = world.sessions.get_mut(&device).unwrap();
        let held_back = session.seal(content::APPLICATION_DATA, &ping(2)).unwrap();
        let newer = session.seal(content::APPLICATION_DATA, &ping(3)).unwrap();
        assert_eq!(ask(&mut world, own, &newer).len(), 1);
        world.inject(stranger(1), held_back);
        assert_eq!(counted(&world, Occurrence::SessionMoved), 0);
        world.downlink("lwm2m/dev/command", r#"{"id":"1","operation":"read","path":"/3303/0/5700"}"#);
        world.run_for(Duration::from_secs(5));
        assert_eq!(super::super::checks::terminal(&world, "dev", "1")["status"], "done");
    }
}

#[test]
fn forged_records_are_dropped_whatever_they_claim() {
    let mut world = world_of(WorldScript::new(1), ["one", "two"]);
    let one = world.add_secure_device(counting_device("one"), security("one"));
    let two = world.add_secure_device(counting_device("two"), security("two"));
    world.run_for(Duration::from_secs(10));
    let own = world.network.outer_address(one);
    let seal = |world: &mut World, device, id| {
        world.sessions.get_mut(&device).unwrap().seal(content::APPLICATION_DATA, &ping(id)).unwrap()
    };
    // Any changed byte but those of the version.
    let record = seal(&mut world, one, 1);
    for index in (0..record.len()).filter(|index| !(1..3).contains(index)) {
        let mut forged = record.clone();
        forged[index] ^= 1;
        assert!(ask(&mut world, own, &forged).is_empty(), "byte {index}");
    }
    assert!(counted(&world, Occurrence::RecordDropped("not_authentic")) > 10);
    assert_eq!(ask(&mut world, own, &record).len(), 1);
    // The connection id of another device on one's own record, and the other way round.
    let (mut mine, mut theirs) = (seal(&mut world, one, 2), seal(&mut world, two, 2));
    mine[11..19].swap_with_slice(&mut theirs[11..19]);
    assert!(ask(&mut world, own, &mine).is_empty());
    assert!(ask(&mut world, own, &theirs).is_empty());
    // Other epochs, and numbers far ahead.
    for (epoch, sequence) in [(0, 1), (2, 1), (u16::MAX, MAX_SEQUENCE), (1, MAX_SEQUENCE)] {
        let mut forged = seal(&mut world, one, 3);
        forged[3..5].copy_from_slice(&u16::to_be_bytes(epoch));
        forged[5..11].copy_from_slice(&u64::to_be_bytes(sequence)[2..]);
        assert!(ask(&mut world, own, &forged).is_empty());
    }
    assert_eq!(counted(&world, Occurrence::SessionMoved), 0);
    for device in [one, two] {
        assert!(reports(&mut world, device, 7));
        assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 1));
    }
}

#[test]
fn alerts_and_handshake_messages_that_nobody_protected_end_no_session() {
    for client in [security("dev"), security("dev").without_connection_id()] {
        let (mut world, device) = world_with_device(1, client);
        let own = world.network.outer_address(device);
        for description in 0..=120 {
            for level in [1, 2] {
                let alert = wire::plain(content::ALERT, u64::from(description), &[level, description]);
                assert!(ask(&mut world, own, &alert).is_empty());
            }
        }
        for kind in 0..=30 {
            let message = wire::handshake(kind, 1, &[0; 12]);
            let record = wire::plain(content::HANDSHAKE, u64::from(kind), &message);
            let answered: usize = ask(&mut world, own, &record).iter().map(Vec::len).sum();
            assert!(answered <= 3 * record.len());
            ask(&mut world, own, &wire::plain(content::CHANGE_CIPHER_SPEC, u64::from(kind), &[1]));
            ask(&mut world, own, &wire::plain(content::APPLICATION_DATA, u64::from(kind), &ping(1)));
        }
        assert_eq!(world.gauges().unwrap().handshakes, 0);
        assert!(reports(&mut world, device, 7));
        assert_eq!((registrations(&world, device), handshakes(&world, device)), (1, 1));
    }
}

//! Real sockets on the loopback interface; the system delivers there at once and in order.

use std::net::{Ipv4Addr, SocketAddrV6};
use std::time::Duration;

use super::*;
use crate::io::address::open_or_fall_back;

/// Long enough that only a fault takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

async fn receive(listener: &mut UdpListener, count: usize) -> Vec<(Peer, Vec<u8>)> {
    let mut received = Vec::new();
    let all = async {
        while received.len() < count {
            listener.readable().await.unwrap();
            listener.try_receive(RECEIVE_BUDGET, &mut received).unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the datagrams arrive");
    received
}

async fn answer(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 2_048];
    let answer = tokio::time::timeout(PATIENCE, socket.recv_from(&mut bytes)).await.expect("an answer arrives");
    let (length, from) = answer.unwrap();
    bytes.truncate(length);
    (bytes, from)
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

/// Whether this machine can be reached at `[::1]`.
fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[tokio::test]
async fn a_dual_stack_listener_sees_plain_ipv4_and_answers_from_the_asked_address() {
    let mut listener = UdpListener::bind(3, any(0)).unwrap();
    let port = listener.local_address().port();
    assert_ne!(port, 0);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for asked in [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 99, 1, 1)] {
        client.send_to(b"ping", (asked, port)).await.unwrap();
        let received = receive(&mut listener, 1).await;
        let peer = Peer { listener: 3, remote: client.local_addr().unwrap(), local: Some(asked.into()), session: None };
        assert_eq!(received, [(peer, b"ping".to_vec())]);
        assert_eq!(listener.try_send(&peer, b"pong"), Sent::Now);
        assert_eq!(answer(&client).await, (b"pong".to_vec(), SocketAddr::from((asked, port))));
    }
    let counters = listener.counters();
    assert_eq!((counters.received, counters.sent, counters.send_failures), (3, 3, 0));
}

#[tokio::test]
async fn an_ipv4_listener_answers_from_the_asked_address() {
    let mut listener = UdpListener::bind(0, "0.0.0.0:0".parse().unwrap()).unwrap();
    let port = listener.local_address().port();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"ping", (Ipv4Addr::new(127, 0, 0, 2), port)).await.unwrap();
    let received = receive(&mut listener, 1).await;
    listener.try_send(&received[0].0, b"pong");
    assert_eq!(answer(&client).await.1, SocketAddr::from(([127, 0, 0, 2], port)));
}

#[tokio::test]
async fn ipv6_peers_keep_their_address() {
    if !has_ipv6() {
        return;
    }
    let mut listener = UdpListener::bind(0, any(0)).unwrap();
    let port = listener.local_address().port();
    let client = UdpSocket::bind("[::1]:0").await.unwrap();
    client.send_to(b"ping", (Ipv6Addr::LOCALHOST, port)).await.unwrap();
    let received = receive(&mut listener, 1).await;
    let local = Some(Ipv6Addr::LOCALHOST.into());
    assert_eq!(received[0].0, Peer { listener: 0, remote: client.local_addr().unwrap(), local, session: None });
    listener.try_send(&received[0].0, b"pong");
    assert_eq!(answer(&client).await, (b"pong".to_vec(), SocketAddr::from((Ipv6Addr::LOCALHOST, port))));
}

#[tokio::test]
async fn an_answer_leaves_even_when_the_asked_address_is_gone() {
    let mut listener = UdpListener::bind(0, "0.0.0.0:0".parse().unwrap()).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let gone = Some(Ipv4Addr::new(192, 0, 2, 77).into());
    let peer = Peer { listener: 0, remote: client.local_addr().unwrap(), local: gone, session: None };
    assert_eq!(listener.try_send(&peer, b"late"), Sent::Now);
    assert_eq!(answer(&client).await.0, b"late");
}

#[tokio::test]
async fn the_budget_bounds_a_turn_and_nothing_is_lost_between_turns() {
    let mut listener = UdpListener::bind(0, "127.0.0.1:0".parse().unwrap()).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for number in 0..100_u8 {
        client.send_to(&[number, number], listener.local_address()).await.unwrap();
    }
    listener.readable().await.unwrap();
    let mut received = Vec::new();
    assert_eq!(listener.try_receive(RECEIVE_BUDGET, &mut received).unwrap(), RECEIVE_BUDGET);
    assert_eq!(listener.try_receive(10, &mut received).unwrap(), 10);
    assert_eq!(listener.try_receive(RECEIVE_BUDGET, &mut received).unwrap(), 26);
    assert_eq!(listener.try_receive(RECEIVE_BUDGET, &mut received).unwrap(), 0);
    let numbers: Vec<u8> = received.iter().map(|(_, bytes)| bytes[0]).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
}

#[tokio::test]
async fn empty_datagrams_use_up_the_budget_and_are_left_out() {
    let mut listener = UdpListener::bind(0, "127.0.0.1:0".parse().unwrap()).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..3 {
        client.send_to(b"", listener.local_address()).await.unwrap();
    }
    client.send_to(b"full", listener.local_address()).await.unwrap();
    listener.readable().await.unwrap();
    let mut received = Vec::new();
    assert_eq!(listener.try_receive(3, &mut received).unwrap(), 0);
    assert_eq!(listener.try_receive(3, &mut received).unwrap(), 1);
    assert_eq!(received[0].1, b"full");
}

#[tokio::test]
async fn the_longest_datagram_arrives_whole() {
    let mut listener = UdpListener::bind(0, "127.0.0.1:0".parse().unwrap()).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let longest: Vec<u8> = (0..65_507_u32).map(|number| number as u8).collect();
    client.send_to(&longest, listener.local_address()).await.unwrap();
    let received = receive(&mut listener, 1).await;
    assert_eq!(received[0].1, longest);
}

#[tokio::test]
async fn a_peer_that_went_away_hurts_nobody_else() {
    let mut listener = UdpListener::bind(0, any(0)).unwrap();
    let port = listener.local_address().port();
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let peer = Peer { listener: 0, remote: gone, local: None, session: None };
    for _ in 0..20 {
        listener.try_send(&peer, b"anybody there?");
    }
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"here", (Ipv4Addr::LOCALHOST, port)).await.unwrap();
    assert_eq!(receive(&mut listener, 1).await[0].1, b"here");
}

#[tokio::test]
async fn a_datagram_that_cannot_be_sent_is_counted_and_the_next_leaves() {
    let mut listener = UdpListener::bind(0, "127.0.0.1:0".parse().unwrap()).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer = Peer { listener: 0, remote: client.local_addr().unwrap(), local: None, session: None };
    assert_eq!(listener.try_send(&peer, &vec![0; 70_000]), Sent::Failed);
    assert_eq!(listener.try_send(&peer, b"short"), Sent::Now);
    assert_eq!(answer(&client).await.0, b"short");
    assert_eq!(listener.counters().send_failures, 1);
    assert!(!listener.has_queued() && listener.flush());
}

#[test]
fn errors_of_the_network_are_told_from_a_broken_socket() {
    // ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EMSGSIZE, EPROTO, ENOBUFS.
    for code in [111, 113, 101, 90, 71, 105] {
        assert!(tells_of_the_network(&io::Error::from_raw_os_error(code)), "{code}");
    }
    // EBADF, ENOTSOCK, EINVAL.
    for code in [9, 88, 22] {
        assert!(!tells_of_the_network(&io::Error::from_raw_os_error(code)), "{code}");
    }
}

#[test]
fn without_ipv6_all_addresses_means_all_of_ipv4() {
    for code in [97, 99] {
        let no_ipv6 = |address: SocketAddr| {
            if address.is_ipv6() { Err(io::Error::from_raw_os_error(code)) } else { Ok(address) }
        };
        let opened = open_or_fall_back("udp", any(5_683), no_ipv6).unwrap();
        assert_eq!(opened, (SocketAddr::from(([0, 0, 0, 0], 5_683)), true));
        assert!(open_or_fall_back("udp", SocketAddr::from((Ipv6Addr::LOCALHOST, 5_683)), no_ipv6).is_err());
    }
    let taken = |_: SocketAddr| -> io::Result<()> { Err(io::ErrorKind::AddrInUse.into()) };
    assert_eq!(open_or_fall_back("udp", any(5_683), taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_remedy() {
    let listener = UdpListener::bind(0, any(0)).unwrap();
    let error = UdpListener::bind(1, listener.local_address()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&listener.local_address().to_string()) && text.contains("choose another port"), "{text}");
}

#[test]
fn binding_outside_of_a_runtime_is_an_error_and_no_panic() {
    let error = UdpListener::bind(0, any(0)).unwrap_err();
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

#[test]
fn group_addresses_are_no_sources_of_answers() {
    for (asked, expected) in
        [("224.0.1.187", false), ("255.255.255.255", false), ("ff02::fd", false), ("10.0.0.1", true), ("fe80::1", true)]
    {
        assert_eq!(can_be_source(&asked.parse().unwrap()), expected, "{asked}");
    }
}

#[test]
fn scope_is_kept_and_flow_forgotten() {
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    let received = SocketAddr::V6(SocketAddrV6::new(link_local, 5_683, 7, 2));
    assert_eq!(canonical(received), SocketAddr::V6(SocketAddrV6::new(link_local, 5_683, 0, 2)));
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:9".parse().unwrap();
    let plain: SocketAddr = "192.0.2.1:9".parse().unwrap();
    assert_eq!(canonical(mapped), plain);
    assert_eq!(on_socket(plain, any(1)), mapped);
    assert_eq!(on_socket(plain, "0.0.0.0:1".parse().unwrap()), plain);
}

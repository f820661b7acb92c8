//! Peers that only take: garbage, first hellos from many ports, handshakes that stop after the cookie. Those who have a
//! session do not notice.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::dtls_site::{KEY, Site};
use super::harness::{DtlsClient, SecureDevice, Shown};

/// Each round is so much of everything: few enough for a shared machine, and handshakes that leave room for others.
const ROUNDS: usize = 4;
const GARBAGE: usize = 2_000;
const HELLOS: usize = 500;
const HALF_OPEN: usize = 40;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// Where the body of a handshake message begins: behind the headers of record and message (RFC 6347 4.1, 4.2.2).
const BODY: usize = 13 + 12;
/// TLS_PSK_WITH_AES_128_CCM_8.
const SUITE: [u8; 2] = [0xc0, 0xa8];

fn record(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, sequence][..], &length, body].concat()
}

/// A ClientHello (RFC 6347 4.2.1) by hand.
fn hello(cookie: &[u8]) -> Vec<u8> {
    let again = u8::from(!cookie.is_empty());
    let length = u8::try_from(cookie.len()).unwrap();
    let body = [&[0xfe, 0xfd][..], &[7; 32], &[0, length], cookie, &[0, 2], &SUITE, &[1, 0]].concat();
    let size = [0, 0, u8::try_from(body.len()).unwrap()];
    record(HANDSHAKE, again, &[&[CLIENT_HELLO][..], &size, &[0, again], &[0; 3], &size, &body].concat())
}

fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("a loopback address");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout that is not zero");
    socket
}

/// Bytes that look random and are the same in every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0.to_be_bytes()[0]
        };
        (0..count).map(|_| next()).collect()
    }
}

/// Sends garbage of all kinds: noise, noise in the clothes of records of each kind, pieces of a hello.
fn send_garbage(server: SocketAddr, noise: &mut Noise) {
    let socket = socket(server);
    for number in 0..GARBAGE {
        let length = usize::from(noise.bytes(1)[0]);
        let body = noise.bytes(length);
        let datagram = match number % 4 {
            0 => body,
            1 => record(20 + noise.bytes(1)[0] % 6, 0, &body),
            2 => [&[25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1][..], &body].concat(),
            _ => hello(&[])[..length.min(BODY)].to_vec(),
        };
        // A send that the system refuses is a datagram that was lost.
        drop(socket.send(&datagram));
    }
}

/// First hellos, each from a port of its own, whose answers nobody takes.
fn send_hellos(server: SocketAddr) {
    for _ in 0..HELLOS {
        drop(socket(server).send(&hello(&[])));
    }
}

/// Handshakes that stop when the gateway has begun one: the cookie comes back, and then nothing. How many got so far.
fn leave_half_open(server: SocketAddr) -> Vec<UdpSocket> {
    let mut left = Vec::new();
    for _ in 0..HALF_OPEN {
        let socket = socket(server);
        drop(socket.send(&hello(&[])));
        let mut answer = [0; 1_500];
        let Ok(length) = socket.recv(&mut answer) else { continue };
        assert_eq!(answer[13], HELLO_VERIFY_REQUEST, "{:?}", &answer[..length]);
        let cookie_length = usize::from(answer[BODY + 2]);
        let cookie = answer[BODY + 3..length][..cookie_length].to_vec();
        drop(socket.send(&hello(&cookie)));
        left.push(socket);
    }
    left
}

#[test]
fn honest_devices_are_served_through_a_flood() {
    let site = Site::start("node");
    for endpoint in ["node", "late"] {
        site.know_key(endpoint);
    }
    let server = site.gateway.dtls_address();
    let session = DtlsClient::mbedtls(server, site.files(), &Shown::Key("node", KEY), Some("c1d0"));
    let mut device = site.registers("node", session);
    let mut noise = Noise(1);
    let mut left = Vec::new();
    for _ in 0..ROUNDS {
        send_garbage(server, &mut noise);
        send_hellos(server);
        left.extend(leave_half_open(server));
        // One datagram, one answer.
        device.update();
    }
    assert!(!left.is_empty(), "no cookie came back");
    // Somebody new comes in beside those who hang.
    drop(left);
    let session = DtlsClient::mbedtls(server, site.files(), &Shown::Key("late", KEY), None);
    SecureDevice::new(session).register("late");
    let (_, metrics) = site.gateway.get_text("/metrics");
    assert!(metrics.contains("lwm2mqtt_"), "{metrics}");
}

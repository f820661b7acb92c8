//! Devices on DTLS, the stand-in for the TLS library, and what it tells that it never should.

use std::net::SocketAddr;

use lwm2mqtt::gateway::handshakes::{Established, HandshakeFailure, HandshakeInput, HandshakeOrder};
use lwm2mqtt::gateway::vocabulary::{Input, Peer, SessionId};
use lwm2mqtt::model::credential::{Identity, Proof, SecretBytes};
use lwm2mqtt::model::credential_wish::{CredentialWish, Means};
use lwm2mqtt::model::endpoint::Endpoint;
use lwm2mqtt::protocol::coap::message::Message;
use lwm2mqtt::protocol::dtls::keys::SessionKeys;
use lwm2mqtt::protocol::dtls::suite::Suite;
use lwm2mqtt::simulator::dtls::client::{DtlsClient, DtlsScript};

use super::{CLIENTS, DTLS, Host, MAX_REPEATS, MAX_TOLD};
use lwm2mqtt_fuzz::choices::Choices;

/// The key of a device on DTLS.
pub(crate) fn key_of(number: u8) -> [u8; 16] {
    [number; 16]
}

/// Its credential, for the endpoint `e0` and so on.
pub(crate) fn credential(number: u8, key: u8) -> CredentialWish {
    let proof = Proof::Psk { identity: format!("i{number}").into_bytes().into(), key: SecretBytes::new(&key_of(key)) };
    let endpoint = Endpoint::new(&format!("e{number}")).expect("it is a name");
    CredentialWish::new(endpoint, Means::Proof(proof))
}

/// Devices on DTLS: with an id of their own, with an empty one, with none, and with a suite whose records stay with the
/// handshakes. The last has no credential.
pub(crate) fn client(number: u8) -> DtlsClient {
    let mut script = DtlsScript::new(format!("i{number}"), &key_of(number));
    script.resumes = number % 2 == 0;
    match number {
        0 => {}
        1 => script.connection_id = Some(vec![1, 2]),
        2 => script = script.without_connection_id(),
        _ => {
            script = script.without_connection_id();
            script.suites = vec![Suite::PskAes128CbcSha256];
        }
    }
    DtlsClient::new(script, u64::from(number))
}

/// Where a device on DTLS is, and from where it may send as well.
pub(crate) fn secure_peer(number: u8, elsewhere: bool) -> Peer {
    let port = if elsewhere { 6_000 } else { 5_000 };
    let remote = SocketAddr::from(([198, 51, 100, number % CLIENTS], port));
    Peer { listener: DTLS, remote, local: None, session: None }
}

impl Host {
    pub(crate) fn order(&mut self, order: HandshakeOrder) {
        self.handshakes.handle(order);
        while let Some(input) = self.handshakes.poll() {
            self.told.push_back(input);
        }
        while self.told.len() > MAX_TOLD {
            self.told.pop_front();
        }
    }

    /// Handshakes get on, datagrams arrive at clients and at the core, until nothing moves any more.
    pub(crate) fn settle_sessions(&mut self) {
        for _ in 0..MAX_REPEATS {
            let mut moved = false;
            if let Some(input) = self.told.pop_front() {
                self.input(Input::Handshake(input));
                moved = true;
            }
            if let Some((number, bytes)) = self.under_way.pop_front() {
                self.clients[number].receive(self.now, &bytes);
                moved = true;
            }
            for number in 0..CLIENTS {
                let client = &mut self.clients[usize::from(number)];
                while client.poll_event().is_some() {}
                let (heard, sent) = (client.poll_device(), client.poll_server());
                moved |= heard.is_some() || sent.is_some();
                if let Some(bytes) = heard {
                    self.hear(secure_peer(number, false), &bytes);
                }
                if let Some(bytes) = sent {
                    self.input(Input::Datagram { peer: secure_peer(number, false), bytes });
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Something happens to the session of a device, and its datagrams fare as the input says.
    pub(crate) fn session(&mut self, choices: &mut Choices<'_>) {
        let number = choices.byte() % CLIENTS;
        let now = self.now;
        let client = &mut self.clients[usize::from(number)];
        match choices.byte() % 8 {
            0 => client.begin(now),
            1 => client.forget(),
            2 => client.reboot(),
            3 => client.close(),
            4 => {
                let kind = choices.byte();
                if let Some(record) = client.seal(kind, choices.bytes()) {
                    self.input(Input::Datagram { peer: secure_peer(number, false), bytes: record });
                }
            }
            5 => {
                if let Some(due) = client.next_deadline() {
                    client.handle_timeout(due);
                }
            }
            _ => client.send(now, Message::acknowledgement(u16::from(choices.byte())).encode()),
        }
        for _ in 0..choices.byte() % 8 {
            let client = &mut self.clients[usize::from(number)];
            if let Some((to, bytes)) = self.under_way.pop_front() {
                self.clients[to].receive(now, &bytes);
                continue;
            }
            let Some(mut bytes) = client.poll_server() else { break };
            let fate = choices.byte();
            if fate & 1 == 1 {
                let position = usize::from(choices.byte()) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(position) {
                    *byte ^= choices.byte();
                }
            }
            let peer = secure_peer(if fate & 2 == 2 { number + 1 } else { number }, fate & 4 == 4);
            for _ in 0..fate >> 6 {
                self.input(Input::Datagram { peer, bytes: bytes.clone() });
            }
        }
    }

    /// Handshakes tell what they never should.
    pub(crate) fn handshake(&mut self, choices: &mut Choices<'_>) {
        let (peer, session) = (secure_peer(choices.byte(), false), SessionId(u64::from(choices.byte())));
        let input = match choices.byte() % 6 {
            0 => HandshakeInput::Closed { session },
            1 => HandshakeInput::Opened { session, peer, plaintext: choices.bytes().to_vec() },
            2 => {
                let failure = HandshakeFailure { word: "protocol", detail: String::new(), claimed: Some("x".into()) };
                HandshakeInput::Failed { peer, session, failure }
            }
            3 => HandshakeInput::NotResumable { id: choices.bytes().to_vec() },
            // What was told is told again.
            4 => {
                let Some(input) = self.told.front().cloned() else { return };
                input
            }
            _ => {
                let keys = SessionKeys::derive(Suite::PskAes128Ccm8, &[1], &[2; 32], &[3; 32], true);
                HandshakeInput::Established(Box::new(Established {
                    peer,
                    session,
                    identity: Identity::Psk(choices.bytes().into()),
                    generation: u64::from(choices.byte()),
                    suite: Suite::PskAes128Ccm8,
                    resumed: false,
                    keys: (choices.byte() % 2 == 0).then_some(keys),
                    peer_connection_id: Some(choices.bytes().to_vec()),
                    next_write_sequence: u64::from(choices.byte()) << 41,
                    newest_read_sequence: u64::MAX,
                    last_flight: vec![choices.bytes().to_vec()],
                }))
            }
        };
        self.input(Input::Handshake(input));
    }
}

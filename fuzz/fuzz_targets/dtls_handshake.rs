//! Handshakes of an honest client with the TLS library, of whose datagrams the input drops, doubles, cuts and changes
//! some and puts others in between: nothing ends the process, a handshake ends once, and who it says the peer is had the
//! key.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lwm2mqtt::gateway::configuration::{Configuration, Transport};
use lwm2mqtt::gateway::handshakes::{HandshakeInput, HandshakeOrder};
use lwm2mqtt::gateway::sessions::{Action, Sessions};
use lwm2mqtt::gateway::vocabulary::Peer;
use lwm2mqtt::io::dtls::handshakes::Handshakes;
use lwm2mqtt::io::secure::identity::{ClientAuthentication, IdentityFiles, NamedPem, ServerIdentity};
use lwm2mqtt::model::credential::{Identity, Proof, Scope, SecretBytes};
use lwm2mqtt::model::time::Instant;
use lwm2mqtt::simulator::dtls::client::{DtlsClient, DtlsScript};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;

const KEY: &[u8] = b"0123456789abcdef";
const STEPS: usize = 48;

fn identity() -> &'static ServerIdentity {
    static IDENTITY: OnceLock<ServerIdentity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let files = IdentityFiles {
            certificate: NamedPem::new("server.crt", include_str!("../../tests/fixtures/certificates/server.crt")),
            private_key: NamedPem::new("server.key", include_str!("../../tests/fixtures/certificates/server.key")),
            raw_public_key: None,
            trust: Vec::new(),
            client_authentication: ClientAuthentication::Required,
        };
        ServerIdentity::load(&files).expect("the fixture is sound")
    })
}

fn configuration() -> Arc<Configuration> {
    Arc::new(Configuration { transports: vec![Transport::Dtls], ..Configuration::default() })
}

/// What the input does to a datagram on its way to the server.
fn tampered(datagram: &[u8], choices: &mut impl Iterator<Item = u8>) -> Vec<Vec<u8>> {
    let mut choose = || choices.next().unwrap_or_default();
    let mut changed = datagram.to_vec();
    match choose() % 8 {
        1 => return Vec::new(),
        2 => return vec![changed.clone(), changed],
        3 => {
            let position = usize::from(choose()) % changed.len().max(1);
            if let Some(byte) = changed.get_mut(position) {
                *byte ^= choose();
            }
        }
        4 => changed.truncate(usize::from(choose())),
        5 => {
            let (position, length) = (usize::from(choose()).min(changed.len()), usize::from(choose() % 32));
            let more: Vec<u8> = (0..length).map(|_| choose()).collect();
            changed.splice(position..position, more);
        }
        6 => {
            let length = usize::from(choose());
            let other = (0..length).map(|_| choose()).collect();
            return vec![other, changed];
        }
        _ => {}
    }
    vec![changed]
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut choices = input.iter().copied();
    let first = choices.next().unwrap_or_default();
    let peer = Peer { listener: 0, remote: SocketAddr::from(([192, 0, 2, 1], 5)), local: None, session: None };
    let mut sessions = Sessions::new(Instant::ZERO, configuration(), ChaCha8Rng::from_seed([1; 32]));
    let mut server = Handshakes::new(identity().clone(), Duration::from_secs(1));
    let proof = Proof::Psk { identity: b"node".as_slice().into(), key: SecretBytes::new(KEY) };
    server.handle(HandshakeOrder::Admit { scope: Scope::Server, proof, generation: 1 });
    let honest = first & 1 == 0;
    let key: &[u8] = if honest { KEY } else { b"another key....." };
    let script = DtlsScript {
        connection_id: (first & 2 == 0).then(|| vec![7; usize::from(first >> 6)]),
        ..DtlsScript::new("node", key)
    };
    let mut client = DtlsClient::new(script, u64::from(first));
    let mut now = Instant::ZERO;
    client.begin(now);
    let (mut begun, mut ended) = (0, 0);
    for _ in 0..STEPS {
        let mut to_client = Vec::new();
        while let Some(datagram) = client.poll_server() {
            for datagram in tampered(&datagram, &mut choices) {
                sessions.handle_datagram(now, peer, &datagram);
            }
        }
        loop {
            if let Some(action) = sessions.poll_action() {
                match action {
                    Action::Order(order) => {
                        begun += usize::from(matches!(order, HandshakeOrder::Begin { .. }));
                        server.handle(order);
                    }
                    Action::Transmit { datagram, .. } => to_client.push(datagram),
                    _ => {}
                }
                continue;
            }
            let Some(output) = server.poll() else { break };
            if let HandshakeInput::Established(established) = &output {
                assert!(honest, "a peer without the key is taken for one that has it");
                assert_eq!(established.identity, Identity::Psk(b"node".as_slice().into()));
            }
            ended +=
                usize::from(matches!(output, HandshakeInput::Established(_) | HandshakeInput::Failed { .. }));
            sessions.handle_handshake(now, output);
        }
        assert!(ended <= begun, "{ended} ends of {begun} handshakes");
        for datagram in to_client {
            client.receive(now, &datagram);
        }
        now = client.next_deadline().map_or(now, |deadline| now.max(deadline));
        client.handle_timeout(now);
    }
});

//! Real connections on the loopback interface, with clients of the same library.

use std::net::SocketAddr;
use std::pin::Pin;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVersion};
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509NameBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;

use super::*;
use crate::gateway::bootstrap::orders::KeyPair;
use crate::gateway::handshakes::HandshakeFailure;
use crate::gateway::vocabulary::{Authenticated, ConnectionId, Input, Peer, StreamInput, StreamOrder};
use crate::io::dtls_handshake::set_certificate_types;
use crate::io::secure::authority::{Authority, make_raw_public_key};
use crate::io::secure::identity::{ClientAuthentication, IdentityFiles, NamedPem};
use crate::io::secure::own;
use crate::io::tcp::TcpConnections;
use crate::model::credential::{Identity, Proof, Scope, SecretBytes};
use crate::model::time::WallTime;

/// Long enough that only a fault takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
const KEY: &[u8] = b"0123456789abcdef";

struct Bench {
    connections: TcpConnections,
    tls: TlsThread,
    inputs: mpsc::Receiver<Vec<Input>>,
    folder: tempfile::TempDir,
}

fn identity(folder: &std::path::Path, name: &str) -> ServerIdentity {
    identity_trusting(folder, name, Vec::new())
}

fn identity_trusting(folder: &std::path::Path, name: &str, trust: Vec<NamedPem>) -> ServerIdentity {
    std::fs::create_dir_all(folder.join(name)).unwrap();
    let own = own::load_or_make(&folder.join(name), name, WallTime::from_secs(1_793_491_200)).unwrap();
    ServerIdentity::load(&IdentityFiles {
        certificate: own.certificate,
        private_key: own.private_key,
        raw_public_key: None,
        trust,
        client_authentication: ClientAuthentication::Required,
    })
    .unwrap()
}

impl Bench {
    fn new() -> Self {
        Self::of(Vec::new(), TIMES)
    }

    fn trusting(authority: &X509) -> Self {
        let pem = String::from_utf8(authority.to_pem().unwrap()).unwrap();
        Self::of(vec![NamedPem::new("ca", &pem)], TIMES)
    }

    fn of(trust: Vec<NamedPem>, times: Times) -> Self {
        let (sender, inputs) = mpsc::channel(16);
        let mut connections = TcpConnections::new(8 << 20);
        let socket = connections.bind("tls", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let first = identity_trusting(folder.path(), "first", trust);
        let tls = TlsThread::start_with(
            vec![TlsSocket { index: 7, scope: Scope::Server, socket }],
            &first,
            &connections.acceptor(),
            &sender,
            times,
        )
        .unwrap();
        Self { connections, tls, inputs, folder }
    }

    async fn admit(&mut self, identity: &[u8], generation: u64) {
        self.admit_key(identity, KEY, generation).await;
    }

    async fn admit_key(&mut self, identity: &[u8], key: &[u8], generation: u64) {
        let proof = Proof::Psk { identity: identity.into(), key: SecretBytes::new(key) };
        self.tls.order(&HandshakeOrder::Admit { scope: Scope::Server, proof, generation });
        self.tls.flush();
        self.until_obeyed().await;
    }

    /// The thread obeys what it takes before it accepts anybody.
    async fn until_obeyed(&self) {
        while self.tls.orders.capacity() < WAITING_BATCHES {
            tokio::task::yield_now().await;
        }
    }

    async fn connect_tcp(&self) -> TcpStream {
        TcpStream::connect(self.connections.addresses()[0]).await.unwrap()
    }

    async fn next(&mut self) -> (Peer, ConnectionId, StreamInput) {
        let batch = timeout(PATIENCE, self.inputs.recv()).await.expect("an input").unwrap();
        match &batch[..] {
            [Input::Stream { peer, connection, input }] => (*peer, *connection, input.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// The fingerprint of the certificate that a client is shown, which then does not show one of its own.
    async fn shown(&mut self) -> [u8; 32] {
        let context = SslContext::builder(SslMethod::tls_client()).unwrap().build();
        let mut client = SslStream::new(Ssl::new(&context).unwrap(), self.connect_tcp().await).unwrap();
        // With TLS 1.3 a client learns only later that it is refused.
        let _ = timeout(PATIENCE, Pin::new(&mut client).connect()).await.unwrap();
        self.refused().await;
        let certificate = client.ssl().peer_certificate().expect("a certificate");
        certificate.digest(MessageDigest::sha256()).unwrap().as_ref().try_into().unwrap()
    }

    async fn refused(&mut self) -> HandshakeFailure {
        match self.next().await.2 {
            StreamInput::Refused(failure) => *failure,
            other => panic!("{other:?}"),
        }
    }

    /// A client that shows this identity and key, until it is taken.
    async fn psk(&mut self, identity: &str, key: &[u8]) -> (SslStream<TcpStream>, ConnectionId) {
        let mut client = psk_client(self.connect_tcp().await, identity, key);
        timeout(PATIENCE, Pin::new(&mut client).connect()).await.unwrap().unwrap();
        let (peer, id, input) = self.next().await;
        assert_eq!(peer.listener, 7);
        let StreamInput::Opened { identity: Some(who) } = input else { panic!("{input:?}") };
        assert_eq!(who.identity, Identity::Psk(identity.as_bytes().into()));
        (client, id)
    }
}

fn psk_client(stream: TcpStream, identity: &str, key: &[u8]) -> SslStream<TcpStream> {
    let (identity, key) = (identity.to_owned(), key.to_vec());
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    context.set_cipher_list("PSK-AES128-CCM8:@SECLEVEL=0").unwrap();
    context.set_psk_client_callback(move |_, _, identity_room, key_room| {
        identity_room[..identity.len()].copy_from_slice(identity.as_bytes());
        identity_room[identity.len()] = 0;
        key_room[..key.len()].copy_from_slice(&key);
        Ok(key.len())
    });
    SslStream::new(Ssl::new(&context.build()).unwrap(), stream).unwrap()
}

#[tokio::test]
async fn a_peer_that_has_its_key_is_taken_and_heard_in_both_directions() {
    let mut bench = Bench::new();
    bench.admit(b"node", 3).await;
    let (mut client, id) = bench.psk("node", KEY).await;
    client.write_all(b"up").await.unwrap();
    assert_eq!(bench.next().await.2, StreamInput::Bytes(b"up".to_vec()));
    let large = vec![7; 4 << 20];
    bench.connections.order(id, StreamOrder::Send(large.clone()));
    let mut read = vec![0; large.len()];
    timeout(PATIENCE, client.read_exact(&mut read)).await.unwrap().unwrap();
    assert!(read == large);
    bench.connections.order(id, StreamOrder::Send(b"bye".to_vec()));
    bench.connections.order(id, StreamOrder::Close);
    let mut rest = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"bye");
}

#[tokio::test]
async fn a_peer_that_says_goodbye_is_gone() {
    let mut bench = Bench::new();
    bench.admit(b"node", 3).await;
    let (mut client, id) = bench.psk("node", KEY).await;
    client.shutdown().await.unwrap();
    let (_, closed, input) = bench.next().await;
    let expected = StreamInput::Closed { reason: "the device closed the connection".to_owned() };
    assert_eq!((closed, input), (id, expected));
}

#[tokio::test]
async fn a_key_that_is_wrong_unknown_or_revoked_is_refused_with_a_reason_and_nothing_else_is_told() {
    let mut bench = Bench::new();
    bench.admit(b"node", 3).await;
    for (identity, key, word) in [("node", &KEY[1..], "wrong_key"), ("nobody", KEY, "unknown_identity")] {
        let mut client = psk_client(bench.connect_tcp().await, identity, key);
        assert!(Pin::new(&mut client).connect().await.is_err());
        let failure = bench.refused().await;
        assert!(failure.word == word && failure.detail.contains(identity), "{failure:?}");
    }
    let mut stranger = bench.connect_tcp().await;
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(bench.refused().await.word, "protocol");
    drop(bench.connect_tcp().await);
    let failure = bench.refused().await;
    assert_eq!((failure.word, failure.detail.as_str()), ("protocol", "the peer said nothing"));
    let proof = Proof::Psk { identity: b"node".as_slice().into(), key: SecretBytes::new(KEY) };
    bench.tls.order(&HandshakeOrder::Revoke { scope: Scope::Server, proof });
    bench.tls.flush();
    bench.until_obeyed().await;
    let mut client = psk_client(bench.connect_tcp().await, "node", KEY);
    assert!(Pin::new(&mut client).connect().await.is_err());
    bench.refused().await;
    assert!(bench.inputs.try_recv().is_err());
}

#[tokio::test]
async fn a_former_key_counts_beside_the_new_one() {
    let mut bench = Bench::new();
    bench.admit_key(b"node", b"former", 1).await;
    bench.admit_key(b"node", KEY, 2).await;
    let mut client = psk_client(bench.connect_tcp().await, "node", b"former");
    assert!(Pin::new(&mut client).connect().await.is_err(), "the newest is tried first");
    assert_eq!(bench.refused().await.word, "wrong_key");
    bench.psk("node", b"former").await;
}

/// A client that shows a certificate, or with `raw` the public half of a key.
async fn certificate_client(
    stream: TcpStream,
    key: &PKey<Private>,
    certificate: Option<&X509>,
    version: SslVersion,
) -> Result<SslStream<TcpStream>, openssl::ssl::Error> {
    let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
    context.set_min_proto_version(Some(version)).unwrap();
    context.set_max_proto_version(Some(version)).unwrap();
    context.set_cipher_list("ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0").unwrap();
    context.set_private_key(key).unwrap();
    match certificate {
        Some(certificate) => context.set_certificate(certificate).unwrap(),
        None => set_certificate_types(&mut context, &[2], &[2]).unwrap(),
    }
    let mut client = SslStream::new(Ssl::new(&context.build()).unwrap(), stream).unwrap();
    timeout(PATIENCE, Pin::new(&mut client).connect()).await.unwrap()?;
    Ok(client)
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A certificate of `issuer`, whose own one is named `authority`.
fn certificate(name: &str, key: &PKey<Private>, issuer: &PKey<Private>) -> X509 {
    let named = |name: &str| {
        let mut builder = X509NameBuilder::new().unwrap();
        builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
        builder.build()
    };
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&named(name)).unwrap();
    builder.set_issuer_name(&named("authority")).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    if name == "authority" {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    }
    builder.sign(issuer, MessageDigest::sha256()).unwrap();
    builder.build()
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_enough_over_both_versions() {
    let (authority, node) = (new_key(), new_key());
    let trusted = certificate("authority", &authority, &authority);
    let shown = certificate("node-1", &node, &authority);
    let mut bench = Bench::trusting(&trusted);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let client = certificate_client(bench.connect_tcp().await, &node, Some(&shown), version).await.unwrap();
        let StreamInput::Opened { identity: Some(who) } = bench.next().await.2 else { panic!("refused") };
        let Identity::Certificate(who) = who.identity else { panic!("{who:?}") };
        assert_eq!((who.trusted, who.common_name.as_deref()), (true, Some("node-1")));
        assert!(client.ssl().peer_certificate().is_some());
        drop(client);
        bench.next().await;
    }
    let stranger = new_key();
    let unknown = certificate("node-1", &stranger, &stranger);
    let _ = certificate_client(bench.connect_tcp().await, &stranger, Some(&unknown), SslVersion::TLS1_2).await;
    assert_eq!(bench.refused().await.word, "bad_certificate");
}

#[tokio::test]
async fn a_known_raw_public_key_is_enough_over_both_versions() {
    let mut bench = Bench::new();
    let (node, stranger) = (new_key(), new_key());
    let spki: Arc<[u8]> = node.public_key_to_der().unwrap().into();
    let proof = Proof::PublicKey { spki: spki.clone() };
    bench.tls.order(&HandshakeOrder::Admit { scope: Scope::Server, proof, generation: 9 });
    bench.tls.flush();
    bench.until_obeyed().await;
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let client = certificate_client(bench.connect_tcp().await, &node, None, version).await.unwrap();
        let StreamInput::Opened { identity: Some(who) } = bench.next().await.2 else { panic!("refused") };
        assert_eq!(*who, Authenticated { identity: Identity::PublicKey(spki.clone()), generation: 9 });
        drop(client);
        bench.next().await;
        let _ = certificate_client(bench.connect_tcp().await, &stranger, None, version).await;
        assert_eq!(bench.refused().await.word, "unknown_public_key");
    }
}

/// What is made for a device, as the device uses it: its key and its certificate.
fn as_used(pair: &KeyPair) -> (PKey<Private>, Option<X509>) {
    let key = PKey::private_key_from_pkcs8(pair.private.expose()).unwrap();
    (key, pair.subject.as_ref().map(|_| X509::from_der(&pair.public).unwrap()))
}

#[tokio::test]
async fn what_was_made_for_a_device_is_taken_as_it_is_and_by_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::load_or_make(folder.path()).unwrap();
    let certified = authority.make_certificate("urn:dev:node-1", Some(crate::io::clock::wall_now())).unwrap();
    let raw = make_raw_public_key().unwrap();
    let digest = *openssl::sha::sha256(&certified.public).first_chunk().unwrap();
    let proofs = [
        (&certified, Proof::Certificate { fingerprint: digest }),
        (&raw, Proof::PublicKey { spki: raw.public.clone() }),
    ];
    for (pair, proof) in proofs {
        let mut bench = Bench::new();
        bench.tls.order(&HandshakeOrder::Admit { scope: Scope::Server, proof, generation: 9 });
        bench.tls.flush();
        bench.until_obeyed().await;
        let (key, shown) = as_used(pair);
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let client = certificate_client(bench.connect_tcp().await, &key, shown.as_ref(), version).await.unwrap();
            let StreamInput::Opened { identity: Some(who) } = bench.next().await.2 else { panic!("refused") };
            assert_eq!(who.generation, 9);
            drop(client);
            bench.next().await;
        }
    }
    let mut bench = Bench::trusting(authority.certificate());
    let (key, shown) = as_used(&certified);
    let _client =
        certificate_client(bench.connect_tcp().await, &key, shown.as_ref(), SslVersion::TLS1_3).await.unwrap();
    let StreamInput::Opened { identity: Some(who) } = bench.next().await.2 else { panic!("refused") };
    let Identity::Certificate(who) = who.identity else { panic!("{who:?}") };
    assert!(who.trusted);
    assert_eq!(who.common_name.as_deref(), Some("urn:dev:node-1"));
    assert_eq!(who.alternative_names, ["urn:dev:node-1"]);
}

#[tokio::test]
async fn silent_peers_do_not_keep_others_out() {
    let mut bench = Bench::new();
    bench.admit(b"node", 3).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_HANDSHAKES + 2 {
        silent.push(bench.connect_tcp().await);
    }
    let mut client = psk_client(bench.connect_tcp().await, "node", KEY);
    let connected = timeout(HANDSHAKE_TIME / 2, Pin::new(&mut client).connect()).await;
    connected.expect("a turn before the silent ones run out of time").unwrap();
    for _ in 0..3 {
        assert_eq!(bench.refused().await.word, "gave_way");
    }
    assert!(matches!(bench.next().await.2, StreamInput::Opened { identity: Some(_) }));
}

#[tokio::test]
async fn a_handshake_has_its_time() {
    let mut bench = Bench::of(Vec::new(), Times { most: Duration::from_millis(100), ..TIMES });
    let _silent = bench.connect_tcp().await;
    assert_eq!(bench.refused().await.word, "timeout");
}

#[tokio::test]
async fn a_new_identity_counts_for_handshakes_that_begin_then() {
    let mut bench = Bench::new();
    let (first, second) = (identity(bench.folder.path(), "first"), identity(bench.folder.path(), "second"));
    bench.admit(b"node", 3).await;
    let (mut earlier, _) = bench.psk("node", KEY).await;
    assert_eq!(bench.shown().await, first.fingerprint());
    let set_identity = bench.tls.identity_setter();
    tokio::task::spawn_blocking(move || set_identity(&second)).await.unwrap();
    bench.until_obeyed().await;
    let second = identity(bench.folder.path(), "second");
    assert_eq!(bench.shown().await, second.fingerprint());
    earlier.write_all(b"still here").await.unwrap();
    assert_eq!(bench.next().await.2, StreamInput::Bytes(b"still here".to_vec()));
}

#[tokio::test]
async fn orders_that_find_no_room_are_kept() {
    let mut bench = Bench::new();
    for number in 0..1_000_u64 {
        let proof = Proof::Psk { identity: format!("node-{number}").as_bytes().into(), key: SecretBytes::new(KEY) };
        bench.tls.order(&HandshakeOrder::Admit { scope: Scope::Server, proof, generation: number });
        bench.tls.flush();
    }
    while !bench.tls.waiting.is_empty() {
        bench.until_obeyed().await;
        bench.tls.flush();
    }
    bench.until_obeyed().await;
    let mut connected = Vec::new();
    for number in [0, 500, 999] {
        connected.push(bench.psk(&format!("node-{number}"), KEY).await);
    }
}

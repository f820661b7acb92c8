//! Writes the first inputs of the fuzz targets: `cargo run --example fuzz_seeds -- FOLDER`, called by `fuzz/run`.
//!
//! FOLDER gets one folder for each target, named like it. Sources are the wire vectors of the conformance tests, the
//! mapping files that are shipped, the broken ones of the tests, and short stories for the target that runs the whole
//! core. Malformed vectors are seeds too: they are next to valid ones. Files that fuzzing found are left alone.
//!
//! Each function knows how its target cuts up an input; a target that changes that has to be followed here. Seeds that
//! miss their shape are still inputs, only poor ones.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lwm2mqtt::model::time::Instant;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::coap::signalling::Signal;
use lwm2mqtt::protocol::coap::tcp_frame;
use lwm2mqtt::protocol::dtls::keys::SessionKeys;
use lwm2mqtt::protocol::dtls::record;
use lwm2mqtt::protocol::dtls::suite::Suite;
use lwm2mqtt::simulator::dtls::client::{DtlsClient, DtlsScript};
use lwm2mqtt::simulator::dtls::wire::{self, content};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Kinds of vectors whose payload a target decodes after one byte of its own.
const CONTENT: [(&str, &[&str]); 5] = [
    ("tlv", &["tlv"]),
    ("senml_cbor", &["senml-cbor", "cbor"]),
    ("senml_json", &["senml-json"]),
    ("lwm2m_cbor", &["lwm2m-cbor", "cbor"]),
    ("oma_json", &["oma-json"]),
];

/// The first byte of such an input: five paths that were asked for, without and with types, and with the root /lwm2m.
const CHOICES: [u8; 12] = [0, 1, 2, 3, 4, 0x40, 0x41, 0x42, 0x43, 0x44, 0x80, 0xc0];

#[derive(serde::Deserialize)]
struct Vector {
    id: String,
    kind: String,
    text: Option<String>,
    hex: Option<String>,
    #[serde(default)]
    context: Context,
}

#[derive(Default, serde::Deserialize)]
struct Context {
    #[serde(default)]
    uri_query: Vec<String>,
    content_format: Option<u16>,
}

impl Vector {
    fn payload(&self) -> Outcome<Vec<u8>> {
        match (&self.hex, &self.text) {
            (Some(hex), _) => Ok(data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes())?),
            (None, Some(text)) => Ok(text.clone().into_bytes()),
            (None, None) => Err(format!("{}: has neither hex nor text", self.id).into()),
        }
    }
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: fuzz_seeds FOLDER");
        return ExitCode::from(2);
    };
    match write_all(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(folder: &Path) -> Outcome<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors: Vec<Vector> = serde_json::from_slice(&read(&project.join("tests/fixtures/vectors.json"))?)?;
    let targets = CONTENT.iter().map(|(target, kinds)| Ok((*target, content(&vectors, kinds)?)));
    let mut targets = targets.collect::<Outcome<Vec<_>>>()?;
    targets.push(("coap_message", datagrams(&vectors)?));
    targets.push(("tcp_frame", streams(&datagrams(&vectors)?)));
    targets.push(("dtls_handshake", tamperings()));
    targets.push(("dtls_hello", hellos()));
    targets.push(("dtls_record", records()));
    targets.push(("link_format", link_lists(&vectors)?));
    targets.push(("registration", registrations(&vectors)?));
    targets.push(("mapping_file", mapping_files(project)?));
    targets.push(("devices_inputs", stories()));
    targets.push(("bootstrap_inputs", bootstrap_stories()));
    targets.push(("bootstrap_json", bootstrap_json()));
    for (target, seeds) in targets {
        if seeds.is_empty() {
            return Err(format!("there is no seed for {target}; were the kinds of vectors renamed?").into());
        }
        let corpus = folder.join(target);
        fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
        for (number, seed) in seeds.iter().enumerate() {
            let file = corpus.join(format!("seed-{number:04}"));
            fs::write(&file, seed).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}

fn read(file: &Path) -> Outcome<Vec<u8>> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn of_kinds<'a>(vectors: &'a [Vector], kinds: &'a [&str]) -> impl Iterator<Item = &'a Vector> {
    vectors.iter().filter(|vector| kinds.contains(&vector.kind.as_str()))
}

fn content(vectors: &[Vector], kinds: &[&str]) -> Outcome<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for vector in of_kinds(vectors, kinds) {
        let payload = vector.payload()?;
        seeds.extend(CHOICES.map(|choice| [&[choice], &*payload].concat()));
    }
    Ok(seeds)
}

/// Messages of the vectors, and the requests in which devices would send the registrations.
fn datagrams(vectors: &[Vector]) -> Outcome<Vec<Vec<u8>>> {
    let mut seeds = of_kinds(vectors, &["coap"]).map(Vector::payload).collect::<Outcome<Vec<_>>>()?;
    for vector in of_kinds(vectors, &["registration"]) {
        let token = Token::new(&[1, 2, 3, 4]).ok_or("four bytes are a token")?;
        let mut message = Message::new(MessageType::Confirmable, Code::POST, 0x1234, token);
        message.push_option(OptionNumber::URI_PATH, b"rd");
        if let Some(format) = vector.context.content_format {
            message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format));
        }
        for argument in &vector.context.uri_query {
            message.push_option(OptionNumber::URI_QUERY, argument.as_bytes());
        }
        message.payload = vector.payload()?;
        seeds.push(message.encode());
    }
    Ok(seeds)
}

/// Connections: capabilities, then a ping and some of the messages that datagrams carry, by the size of the pieces.
fn streams(datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let frames: Vec<Vec<u8>> = datagrams
        .iter()
        .filter_map(|datagram| Message::decode(datagram).ok())
        .map(|message| tcp_frame::encode(&message))
        .collect();
    let capabilities = Signal::Capabilities { max_message_size: Some(8_193), block_wise: true };
    let ping = Signal::Ping { token: Token::EMPTY, custody: true };
    let begin = [capabilities, ping].map(|signal| tcp_frame::encode(&signal.message())).concat();
    let pieces = [1_u8, 7, 255].into_iter().cycle();
    frames.chunks(3).zip(pieces).map(|(some, size)| [&[size], &*begin, &*some.concat()].concat()).collect()
}

/// Clients on DTLS: with an id of their own, with an empty one, with none.
fn clients() -> [DtlsClient; 3] {
    let script = || DtlsScript::new("dev", b"0123456789abcdef");
    let named = DtlsScript { connection_id: Some(vec![1, 2]), resumes: true, ..script() };
    let all = [named, script(), script().without_connection_id()];
    all.map(|script| DtlsClient::new(script, 1))
}

/// ClientHellos as datagrams, whole and in fragments, and their bodies alone.
fn hellos() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for mut client in clients() {
        for piece_bytes in [1_200, 70] {
            client.script_mut().piece_bytes = piece_bytes;
            client.begin(Instant::ZERO);
            let mut hello = Vec::new();
            while let Some(datagram) = client.poll_server() {
                hello.extend(datagram);
            }
            seeds.push(hello.get(25..).unwrap_or_default().to_vec());
            seeds.push(hello);
            let cookie =
                wire::handshake(wire::message::HELLO_VERIFY_REQUEST, 0, &[&[254, 253, 32][..], &[5; 32]].concat());
            client.receive(Instant::ZERO, &wire::plain(content::HANDSHAKE, 0, &cookie));
            while let Some(datagram) = client.poll_server() {
                seeds.push(datagram.get(25..).unwrap_or_default().to_vec());
                seeds.push(datagram);
            }
        }
    }
    seeds
}

/// What happens to each datagram: nothing, then one thing to one of them; with and without connection id and the right key.
fn tamperings() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for client in [0, 1, 2, 0x40] {
        for what in 0..7 {
            seeds.extend((0..6).map(|datagram| {
                let mut seed = vec![client];
                seed.extend(vec![0; datagram]);
                seed.extend([what, 20, 9, 7, 5]);
                seed
            }));
        }
    }
    seeds
}

/// Records of all types after a byte that chooses suite and length of ids.
fn records() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for suite in [Suite::PskAes128Ccm8, Suite::PskAes128Ccm, Suite::PskAes128GcmSha256] {
        let keys = SessionKeys::derive(suite, &[1; 48], &[1; 32], &[2; 32], false);
        for id in [&b""[..], b"12345678", b"1234567890123456"] {
            let types = [content::HANDSHAKE, content::ALERT, content::APPLICATION_DATA];
            let all = types.map(|kind| record::seal(&keys, 1, u64::from(kind), id, kind, b"what is said"));
            for choice in 0..4 {
                seeds.push([&[(id.len() as u8) << 2 | choice], &*all.concat()].concat());
            }
        }
    }
    seeds.push([&[32], &*record::plain_alert(1, 2, 40), &wire::plain(content::CHANGE_CIPHER_SPEC, 2, &[1])].concat());
    seeds
}

fn link_lists(vectors: &[Vector]) -> Outcome<Vec<Vec<u8>>> {
    of_kinds(vectors, &["link-format", "registration"]).map(Vector::payload).collect()
}

/// A byte for the format, the query, a NUL, the payload. Attributes, names and profiles become arguments of a query.
fn registrations(vectors: &[Vector]) -> Outcome<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for vector in of_kinds(vectors, &["registration"]) {
        let format = if vector.context.content_format.is_some() { 2 } else { 0 };
        let query = vector.context.uri_query.join("&");
        seeds.push([&[format], query.as_bytes(), &[0], &*vector.payload()?].concat());
    }
    for (kind, before) in [
        ("uri-query-attributes", ""),
        ("endpoint-name", "lt=60&lwm2m=1.1&ep="),
        ("profile-id", "ep=n&lt=60&lwm2m=1.2&pid="),
    ] {
        for vector in of_kinds(vectors, &[kind]) {
            seeds.push([&[2], before.as_bytes(), &*vector.payload()?, b"\0</3/0>"].concat());
        }
    }
    for vector in of_kinds(vectors, &["link-format"]) {
        seeds.push([b"\x02ep=n&lt=60&lwm2m=1.2&b=U\0", &*vector.payload()?].concat());
    }
    Ok(seeds)
}

fn mapping_files(project: &Path) -> Outcome<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    find_mapping_files(&project.join("mappings"), &mut found)?;
    find_mapping_files(&project.join("tests/fixtures/mappings"), &mut found)?;
    found.sort();
    found.iter().map(|file| read(file)).collect()
}

fn find_mapping_files(folder: &Path, found: &mut Vec<PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find_mapping_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    Ok(())
}

/// Steps of the target `devices_inputs`: the numbers are those of its match and the places in its tables.
mod step {
    pub(crate) const SYNCED: &[u8] = &[1];
    pub(crate) const CONNECT: &[u8] = &[14];
    pub(crate) const DISCONNECT: &[u8] = &[15, 0];
    pub(crate) const STORE_FAILS: &[u8] = &[17, 1];
    pub(crate) const STORE_WORKS: &[u8] = &[17, 0];
    pub(crate) const POWER_CUT: &[u8] = &[19, 0];
    /// What was written lasts, and the broker takes up to three messages, twice.
    pub(crate) const SETTLE: &[u8] = &[12, 15, 3, 15, 3, 15, 3, 12, 15, 3, 15, 3, 15, 3];
    /// The gateway's last request is done, without a value.
    pub(crate) const DONE: &[u8] = &[5, 0, 0x20, 1, 1];

    /// A device with a row of the object lists comes, with a lifetime of a day.
    pub(crate) fn register(device: u8, binding: u8, version: u8, objects: u8) -> Vec<u8> {
        vec![1, device, 10 + device, device, device, 2, binding, version, objects]
    }

    /// An acknowledgement with the content of the last observation.
    pub(crate) fn observed(format: u8, payload: u8) -> Vec<u8> {
        vec![5, 0, 0x12, 0, 1, format, payload]
    }

    /// A notification of the observation asked for `place` requests ago, that needs no answer.
    pub(crate) fn notified(place: u8, number: u8, format: u8, payload: u8) -> Vec<u8> {
        vec![5, place, 0x11, number, 0, number, format, payload]
    }

    pub(crate) fn send(device: u8, number: u8, format: u8, block: u8, payload: u8) -> Vec<u8> {
        vec![4, device, number, number, format, block, payload]
    }

    pub(crate) fn update(device: u8, number: u8) -> Vec<u8> {
        vec![2, device, 0, number, number, 0]
    }

    pub(crate) fn inbound(topic: u8, body: u8) -> Vec<u8> {
        vec![9, topic, body]
    }

    /// Time passes: a place in the table of seconds.
    pub(crate) fn pass(secs: u8) -> Vec<u8> {
        vec![11, secs, 0]
    }

    /// The device is on DTLS.
    pub(crate) const SECURE: u8 = 0x40;
    /// Sessions and their datagrams get on.
    pub(crate) const SETTLE_SESSIONS: &[u8] = &[21];

    /// Something happens to the session of a device; then some of its datagrams fare so.
    pub(crate) fn session(device: u8, what: u8, fates: &[u8]) -> Vec<u8> {
        [&[20, device, what], &*if what == 4 { vec![23, 2, 1, 0] } else { vec![] }, &[fates.len() as u8], fates]
            .concat()
    }

    /// Handshakes tell something that they never should.
    pub(crate) fn told(device: u8, what: u8) -> Vec<u8> {
        vec![22, device, 0, what, 2, b'i', b'0', 1, 0, 1, 7, 1, 3, 23, 254, 253]
    }

    pub(crate) fn query(device: u8, query: u8) -> Vec<u8> {
        vec![18, device, query]
    }
}

/// What happens to gateways, told in steps.
fn stories() -> Vec<Vec<u8>> {
    use step::{CONNECT, DISCONNECT, DONE, POWER_CUT, SETTLE, STORE_FAILS, STORE_WORKS, SYNCED};
    const FORMATS: u8 = 10;
    const PAYLOADS: u8 = 9;
    const TOPICS: u8 = 10;
    const BODIES: u8 = 14;
    const QUERIES: u8 = 7;
    let mut stories = Vec::new();
    let beginning = |objects| [SYNCED, CONNECT, &step::register(0, 0, 1, objects), SETTLE, &step::pass(2)].concat();

    for format in 0..FORMATS {
        for payload in 0..PAYLOADS {
            let objects = payload % 4;
            let answers = step::observed(format, payload).repeat(4);
            let notification = step::notified(0, 7, format, payload);
            stories.push([beginning(objects), answers, SETTLE.to_vec(), notification, SETTLE.to_vec()].concat());
            let send = step::send(0, 40, format, 0, payload);
            let blocks = [step::send(0, 41, format, 0x88, payload), step::send(0, 42, format, 0x90, payload)].concat();
            stories.push([beginning(objects), send, blocks, SETTLE.to_vec()].concat());
        }
    }
    for body in 0..BODIES {
        let topic = body.saturating_sub(9);
        let asleep = [SYNCED, CONNECT, &step::register(0, 1, 1, 0), SETTLE, &step::pass(4)].concat();
        let command = step::inbound(topic, body);
        let later = [step::pass(2), step::update(0, 60), step::pass(1), DONE.to_vec(), SETTLE.to_vec()].concat();
        stories.push([beginning(0), DONE.repeat(4), command.clone(), DONE.repeat(2), SETTLE.to_vec()].concat());
        stories.push([asleep, command.clone(), SETTLE.to_vec(), later].concat());
        stories.push([beginning(1), command, step::pass(5), POWER_CUT.to_vec(), CONNECT.to_vec()].concat());
    }
    for topic in 0..TOPICS {
        let requests = (9..BODIES).flat_map(|body| [step::inbound(0x60 + topic, body), SETTLE.to_vec()].concat());
        stories.push([beginning(0), requests.collect()].concat());
    }
    let fleet: Vec<u8> = (0..6).flat_map(|device| step::register(device, device % 5, device % 4, device % 5)).collect();
    let queries: Vec<u8> = (0..QUERIES).flat_map(|query| step::query(0, query)).collect();
    stories.push([SYNCED, CONNECT, &fleet, SETTLE, &queries, &step::pass(7), SETTLE].concat());
    let measured = step::observed(3, 4).repeat(3);
    let notified: Vec<u8> = (10..30).flat_map(|number| step::notified(number % 3, number, 3, 4)).collect();
    let outage = [&*beginning(0), &measured, DISCONNECT, &notified, POWER_CUT, CONNECT, SETTLE].concat();
    let full_disk = [&*beginning(0), &measured, STORE_FAILS, &notified, &fleet, STORE_WORKS, SETTLE].concat();
    stories.extend([outage, full_disk]);
    stories.extend(secure_stories());
    stories
}

/// The same with devices on DTLS.
fn secure_stories() -> Vec<Vec<u8>> {
    use step::{CONNECT, DONE, POWER_CUT, SECURE, SETTLE, SETTLE_SESSIONS, STORE_FAILS, STORE_WORKS, SYNCED};
    const CLIENTS: u8 = 4;
    const HAPPENINGS: u8 = 8;
    let mut stories = Vec::new();
    let settle = [SETTLE, SETTLE_SESSIONS].concat();
    for device in 0..CLIENTS {
        let mut register = step::register(device, 0, 1, 0);
        register[1] = SECURE + device;
        let begin = [SYNCED, CONNECT, &register, &settle, DONE, DONE, &settle].concat();
        let update = [step::update(SECURE + device, 60), settle.clone()].concat();
        for what in 0..HAPPENINGS {
            // As it is, damaged, from another device's address, from elsewhere, twice.
            for fates in [&[0x40; 6][..], &[0x41, 3, 9, 0x41, 30, 1], &[0x42; 4], &[0x44; 4], &[0x80; 5]] {
                let happens = step::session(device, what, fates);
                stories.push([&*begin, &happens, &settle, &update, POWER_CUT, CONNECT, &update].concat());
            }
        }
        for what in 0..6 {
            stories.push([&*begin, &step::told(device, what), &settle, &update, &step::pass(6), &update].concat());
        }
        for query in [7, 8] {
            let changed = [step::query(device, query), vec![device, 5, query, 0]].concat();
            stories.push([&*begin, &changed, &settle, &update, &step::pass(4), &settle, &update].concat());
        }
        let broken = [&*begin, STORE_FAILS, &update, &step::session(device, 2, &[0x40; 6]), &update, STORE_WORKS];
        stories.push([&broken.concat(), &*settle, &update].concat());
    }
    let mut fleet: Vec<u8> = [SYNCED, CONNECT].concat();
    for device in 0..CLIENTS {
        let mut register = step::register(device, device, 2, device);
        register[1] = SECURE + device;
        fleet.extend([register, settle.clone(), step::observed(3, 4)].concat());
    }
    stories.push([&*fleet, &step::pass(7), &settle, POWER_CUT, CONNECT, &fleet].concat());
    stories
}

/// Steps of the target `bootstrap_inputs`: the numbers are those of its match and the places in its tables.
fn bootstrap_stories() -> Vec<Vec<u8>> {
    const ACCOUNTS: u8 = 10;
    const ENTRIES: u8 = 10;
    const PAYLOADS: u8 = 11;
    const PREFERRED: u8 = 7;
    const COMMIT: &[u8] = &[11];
    const MADE: &[u8] = &[15, 0, 11];
    const APPROVE: &[u8] = &[13, 0x49, 0, 11];
    const SESSIONS: &[u8] = &[13, 15, 0];
    const STORE_FAILS_OR_WORKS: &[u8] = &[19, 1];
    const POWER_CUT: &[u8] = &[19, 0];
    const COMMANDED: &[u8] = &[18, 0, 11];
    let account = |name: u8, account: u8| vec![13, 0, name, account, 0, 11];
    let entry = |entry: u8| vec![13, 2, 0, entry, 0, 11];
    let begin = |id: u8, preferred: u8| vec![1, 0, id, id, preferred, 11];
    // Discover and Read find a row of the payloads.
    let obey = |found: u8| vec![8, 15, found, 6, 6, 11];
    let later = |secs: u8| vec![10, secs, 0];
    let mut stories = Vec::new();
    for with in 0..ENTRIES {
        for preferred in 0..PREFERRED {
            let accounts = [account(0, (with + preferred) % ACCOUNTS), account(1, preferred)].concat();
            let session = [begin(1, preferred), MADE.to_vec(), obey(preferred), MADE.to_vec(), obey(6)].concat();
            let again = [begin(2, preferred), MADE.to_vec(), obey(1), later(5)].concat();
            let told = [&[0], &*accounts, &*entry(with), &*session, SESSIONS].concat();
            stories.push([&*told, POWER_CUT, &*again, SESSIONS].concat());
            let pack = vec![3, 0, 9, 9, 0x40, preferred, 11, 15, 0, 11, 3, 0, 10, 9, 0x40, 0x16];
            stories.push([&[0], &*accounts, &*entry(with), &*pack, MADE, &*pack].concat());
        }
        for found in 0..PAYLOADS {
            let held = [&[1], &*begin(3, 1), APPROVE, MADE, &*obey(found)].concat();
            stories.push([&*held, &*later(7), &*entry(with), STORE_FAILS_OR_WORKS, &*begin(4, found)].concat());
        }
        let registered = [17, 0, 20, 20, 0, 11];
        let unasked = [&[0], &*entry(with), &registered, COMMANDED, MADE, &*obey(0), MADE, &*obey(6), SESSIONS];
        stories.push([&*unasked.concat(), STORE_FAILS_OR_WORKS, &*begin(5, 3), COMMIT, &*later(5)].concat());
        // A reset, an empty acknowledgement, a separate answer, a wrong token, and silence.
        for answer in [&[4, 0, 15][..], &[4, 0, 14], &[4, 0, 2, 9, 0], &[4, 0, 12, 5, 0], &[10, 5, 0]] {
            let session = [&*begin(6, 1), MADE, answer, &*obey(1), answer, &*later(7)].concat();
            stories.push([&[0], &*entry(with), &*session].concat());
        }
    }
    stories
}

/// Accounts, entries, and what neighbours have.
fn bootstrap_json() -> Vec<Vec<u8>> {
    let (public, private, certificate) = ("300530000301 01", "3008020100300004 0109", "300a30030201013000030101");
    let secure = serde_json::json!([
        { "security_mode": "psk", "psk_identity": "{endpoint}", "psk_key": "00112233445566778899aabbccddeeff" },
        { "security_mode": "psk", "psk_key": { "random": 32 }, "type": "bootstrap", "client_hold_off_time": 1 },
        {
            "uri": "coaps://[2001:db8::1]:5684", "security_mode": "rpk", "client_public_key": public,
            "client_private_key": private, "server_public_key": public,
        },
        {
            "uri": "coaps+tcp://{serial}.example", "security_mode": "x509", "client_certificate": certificate,
            "client_private_key": private, "server_certificate": certificate, "certificate_usage": 3,
            "matching_type": 1, "sni": "dm.example",
        },
        {
            "uri": "coap://dm.example", "ssid": 7, "lifetime": 60, "binding": "UQS", "sms_number": "+44 1",
            "sms_security_mode": 2, "sms_binding_key_parameters": "010203040506",
            "sms_binding_secret_key": "000102030405060708090a0b0c0d0e0f", "apn_link": "11:0", "trigger": true,
            "preferred_transport": "U", "mute_send": false, "default_min_period": 1, "default_max_period": 9,
            "registration_priority": 1, "registration_failure_block": true, "communication_retry_count": 3,
        },
        {
            "uri": "coap://dm.example", "provision": {
                "type": "thingsboard", "url": "https://tb.example", "user": "u", "password": "pass word 1", "domain": "d",
            },
        },
    ]);
    let entry = serde_json::json!({
        "servers": ["management-psk", secure[0]],
        "writes": { "/3/0/15": "UTC", "/5/0": { "1": "coap://a" }, "/21/0/0": "78", "/2/0/2": { "0": 1 }, "/9/0/1/2": 1.5 },
        "deletes": ["/0", "/1", "/3/0/1/2"], "acls": [{ "object": 3, "instance": 0, "owner": 1, "acl": { "0": 1, "7": 31 } }],
        "format": "senml-cbor", "write_by": "object", "order": [5, 1, 0], "verify": true,
    });
    let leshan = serde_json::json!({
        "toDelete": ["/0"], "contentFormat": "TLV", "autoIdForSecurityObject": true,
        "servers": { "0": { "shortId": 1, "lifetime": 60, "binding": "UQ", "apnLink": 0, "trigger": true } },
        "security": {
            "0": { "bootstrapServer": true, "securityMode": "NO_SEC", "uri": "coap://bs" },
            "1": {
                "uri": "coaps://dm.example", "securityMode": "PSK", "serverId": 1, "publicKeyOrId": [112, -1],
                "secretKey": [1, 2, -3], "cipherSuite": [], "matchingType": "SHA256", "certificateUsage": 3,
            },
        },
        "acls": { "0": { "objectId": 3, "objectInstanceId": 0, "acls": { "1": 31 }, "AccessControlOwner": 1 } },
        "oscore": { "0": { "oscoreMasterSecret": [1], "oscoreSenderId": [2], "oscoreAeadAlgorithm": 10 } },
    });
    let bs_server = serde_json::json!([{
        "serverURI": "coaps://a:5684", "securityMode": 0, "pubKeyId": "n", "secretKey": { "type": "Buffer", "data": [1, 2] },
        "shortServerId": 5, "lifetime": 60, "binding": "US", "lwm2mServerSmsNum": "+49", "notificationStoring": false,
    }]);
    let profile = serde_json::json!({ "name": "Water meter", "transportConfiguration": { "bootstrap": [
        { "securityMode": "PSK", "host": "tb.example", "port": 5686, "shortServerId": 1, "lifetime": 60 },
        { "securityMode": "NO_SEC", "host": "tb.example", "port": 5687, "bootstrapServerIs": true },
    ] } });
    let credentials = serde_json::json!({ "client": { "endpoint": "urn:imei:1" }, "bootstrap": {
        "lwm2mServer": { "securityMode": "PSK", "clientPublicKeyOrId": "id", "clientSecretKey": "00112233" },
        "bootstrapServer": { "securityMode": "NO_SEC" },
    } });
    let accounts = secure.as_array().cloned().unwrap_or_default();
    let neighbours = [
        serde_json::json!({ "e": leshan }),
        leshan,
        serde_json::json!({ "e": bs_server }),
        bs_server,
        serde_json::json!([profile, credentials]),
        profile,
    ];
    let all = accounts.into_iter().chain([entry]).chain(neighbours);
    all.map(|value| value.to_string().into_bytes()).collect()
}

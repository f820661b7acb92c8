//! A gateway device in a DTLS session, taken up from the store, and what messages of those behind it do to its session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::device::{Device, Registration};
use super::end_devices::Behind;
use super::observation::{Observation, Target};
use super::record::DeviceRecord;
use crate::gateway::clock::WallClock;
use crate::gateway::configuration::{Configuration, Transport};
use crate::gateway::core::{Core, Start};
use crate::gateway::handshakes::Established;
use crate::gateway::sessions::session::Session;
use crate::gateway::store::{SecretKind, SecretRow, StoredState};
use crate::gateway::vocabulary::{Authenticated, Input, Peer, SessionId};
use crate::mapping::Plan;
use crate::model::attributes::NotificationAttributes;
use crate::model::credential::{Identity, SecretBytes};
use crate::model::endpoint::Endpoint;
use crate::model::object::ObjectModel;
use crate::model::path::Path;
use crate::model::time::{Instant, WallTime};
use crate::model::version::Version;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::dtls::keys::SessionKeys;
use crate::protocol::dtls::record::{PROTECTED_EPOCH, content, seal};
use crate::protocol::dtls::suite::Suite;

const SESSION: SessionId = SessionId(7);
const TOKEN: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

fn keys(server: bool) -> SessionKeys {
    SessionKeys::derive(Suite::PskAes128Ccm8, &[1; 48], &[2; 32], &[3; 32], server)
}

fn who() -> Arc<Authenticated> {
    Arc::new(Authenticated { identity: Identity::Psk(b"hub".as_slice().into()), generation: 1 })
}

fn peer() -> Peer {
    Peer { listener: 0, remote: SocketAddr::from(([192, 0, 2, 1], 5)), local: None, session: None }
}

/// A registered device in the session.
fn registered(name: &str, location: &str) -> Device {
    let peer = Peer { session: Some(SESSION), ..peer() };
    let mut device = Device::new(Endpoint::new(name).unwrap(), peer, WallTime::default());
    device.registration = Some(Registration {
        location: location.to_owned(),
        lifetime: Some(Duration::from_secs(3_000)),
        version: Version::V1_1,
        binding: None,
        queue_mode: false,
        only_sms: false,
        sms: None,
        parameters: std::collections::BTreeMap::new(),
        root: String::new(),
        formats: Vec::new(),
        registered_at: WallTime::default(),
        expires_at: None,
    });
    device
}

/// What the store holds of `hub`, of `hub:d01` behind it, which is observed, and of the session.
fn stored() -> StoredState {
    let mut hub = registered("hub", "00aa");
    hub.who = Some(who());
    let mut end = registered("hub:d01", "00bb");
    end.behind = Some(Behind { gateway: hub.endpoint.clone(), prefix: "d01".to_owned() });
    let mut observation =
        Observation::restored(Token::new(&TOKEN).unwrap(), NotificationAttributes::default(), Instant::ZERO);
    observation.by_command = true;
    end.observations.insert(Target::Path(Path::resource(3303, 0, 5700)), observation);
    let clock = WallClock::default();
    let record = |device: &Device| serde_json::to_vec(&DeviceRecord::of(device, &clock)).unwrap();
    let established = Established {
        peer: peer(),
        session: SESSION,
        identity: who().identity.clone(),
        generation: 1,
        suite: Suite::PskAes128Ccm8,
        resumed: false,
        keys: Some(keys(true)),
        peer_connection_id: None,
        next_write_sequence: 1,
        newest_read_sequence: 0,
        last_flight: Vec::new(),
    };
    let (session, _) = Session::begun(Instant::ZERO, established, None).record().unwrap();
    StoredState {
        devices: vec![(hub.endpoint.clone(), record(&hub)), (end.endpoint.clone(), record(&end))],
        secrets: vec![SecretRow {
            kind: SecretKind::Session,
            key: SESSION.0.to_be_bytes().to_vec(),
            value: SecretBytes::new(&session),
        }],
        ..StoredState::default()
    }
}

#[test]
fn what_an_end_device_says_belongs_to_the_session_of_its_gateway_device() {
    let model = Arc::new(ObjectModel::built_in());
    let plan = Plan::compile(&[], &model, false).plan.unwrap();
    let mut core = Core::new(
        Instant::ZERO,
        Start {
            configuration: Configuration { transports: vec![Transport::Dtls], ..Configuration::default() },
            plan: Arc::new(plan),
            model,
            stored: stored(),
            seed: [1; 32],
            wall: WallTime::from_secs(1_750_000_000),
            synced: true,
            version: String::new(),
            store_damage: None,
        },
    );
    while core.poll_output().is_some() {}
    let mut notification = Message::new(MessageType::NonConfirmable, Code::CONTENT, 9, Token::new(&TOKEN).unwrap());
    notification.push_uint(OptionNumber::OBSERVE, 5);
    notification.push_uint(OptionNumber::CONTENT_FORMAT, 0);
    notification.payload = b"20.5".to_vec();
    let bytes = seal(&keys(false), PROTECTED_EPOCH, 1, &[], content::APPLICATION_DATA, &notification.encode());
    core.handle_input(Instant::from_secs(1), Input::Datagram { peer: peer(), bytes });
    while core.poll_output().is_some() {}

    let (services, devices, _) = core.parts();
    let (hub, end) = (devices.key_of_endpoint("hub").unwrap(), devices.key_of_endpoint("hub:d01").unwrap());
    assert!(devices.table[end].heard_at.is_some(), "the notification was taken");
    assert_eq!(services.sessions.get(SESSION).unwrap().devices, [hub]);
    assert_eq!(devices.by_identity[&who().identity], [hub], "a new session of the identity still finds its device");
    assert_eq!(devices.table[end].who, None);
}

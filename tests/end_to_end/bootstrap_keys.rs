//! A device is given a certificate that the gateway made for it, and proves itself by that one: the real binary, a
//! simulated device that bootstraps, and OpenSSL's client with what the device was written.
#![expect(clippy::disallowed_methods, reason = "a device on a real network needs the real clock")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant as SystemInstant};

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::time::Instant;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::simulator::bootstrap_script::{BootstrapScript, FactoryKey};
use lwm2mqtt::simulator::device::{DeviceEvent, SimulatedDevice};
use lwm2mqtt::simulator::script::DeviceScript;
use openssl::pkey::PKey;
use openssl::x509::X509;
use serde_json::json;
use tempfile::TempDir;

use super::harness::{DtlsClient, Mosquitto, PATIENCE, SecureDevice, Setup, free_port};

const ENDPOINT: &str = "urn:dev:meter-1";

/// How often a device looks whether something is due.
const TICK: Duration = Duration::from_millis(5);

/// Runs a device until its bootstrap is over.
fn bootstrapped(server: SocketAddr) -> SimulatedDevice {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(TICK)).unwrap();
    let script = DeviceScript::new(ENDPOINT).with_version(Version::V1_1);
    let uri = format!("coap://{server}");
    let mut device =
        SimulatedDevice::new(script.with_bootstrap(BootstrapScript::default(), 0, &uri, FactoryKey::NoSec), 1);
    let started = SystemInstant::now();
    let now = || Instant::from_micros(u64::try_from(started.elapsed().as_micros()).unwrap());
    device.start(now());
    let mut buffer = vec![0; 65_535];
    let mut over = false;
    while !over {
        assert!(started.elapsed() < PATIENCE, "the device has no accounts");
        device.handle_timeout(now());
        if let Ok(length) = socket.recv(&mut buffer) {
            device.handle_datagram(now(), &buffer[..length]);
        }
        over = std::iter::from_fn(|| device.poll_event()).any(|event| matches!(event, DeviceEvent::Bootstrapped));
        while let Some(datagram) = device.poll_transmit() {
            socket.send(&datagram).unwrap();
        }
    }
    device
}

#[test]
fn a_device_registers_by_the_certificate_that_was_made_for_it() {
    let broker = Mosquitto::start();
    let port = free_port();
    // Nothing is asked of the device: of OpenSSL's client, messages one behind the other are understood only one by one.
    let section =
        format!("[gateway]\ndefault_mapping = false\n[bootstrap]\nudp = \"127.0.0.1:{port}\"\ndtls = \"off\"\n");
    let gateway = Setup::new(&broker).unknown_devices("refuse").dtls().file("conf.d/bootstrap.toml", &section).start();
    let account = json!({ "security_mode": "x509" });
    let (status, answer) = gateway.ask("PUT", "/api/v1/bootstrap/servers/here", &account);
    assert_eq!(status, 201, "{answer}");
    let (status, answer) =
        gateway.ask("PUT", "/api/v1/bootstrap/devices/urn:dev:meter-*", &json!({ "servers": ["here"] }));
    assert_eq!(status, 201, "{answer}");

    let device = bootstrapped(SocketAddr::from(([127, 0, 0, 1], port)));
    let tree = device.tree();
    let is_account = |instance: &u16| tree.value(&Path::resource(0, *instance, 1)) == Some(&Value::Boolean(false));
    let instance = tree.instances_of(0).find(is_account).expect("an account");
    let written = |resource: u16| match tree.value(&Path::resource(0, instance, resource)) {
        Some(Value::Opaque(bytes)) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    let own = X509::from_der(&written(3)).unwrap();
    let key = PKey::private_key_from_pkcs8(&written(5)).unwrap();
    let server = X509::from_der(&written(4)).unwrap();
    let authority = X509::from_pem(&fs::read(gateway.path("data/bootstrap-ca.crt")).unwrap()).unwrap();
    assert!(own.verify(&authority.public_key().unwrap()).unwrap(), "the authority vouches for it");
    let of_key = fs::metadata(gateway.path("data/bootstrap-ca.key")).unwrap().permissions();
    assert_eq!(of_key.mode() & 0o777, 0o600);

    let folder = TempDir::new().unwrap();
    let files = [
        ("device.crt", own.to_pem().unwrap()),
        ("device.key", key.private_key_to_pem_pkcs8().unwrap()),
        ("server.crt", server.to_pem().unwrap()),
    ];
    for (name, pem) in &files {
        fs::write(folder.path().join(name), pem).unwrap();
    }
    let arguments = ["-cert", "device.crt", "-key", "device.key", "-CAfile", "server.crt", "-verify_return_error"];
    let session = DtlsClient::openssl(gateway.dtls_address(), folder.path(), &arguments);
    SecureDevice::new(session).register(ENDPOINT);
    let shown = gateway.wait_for_json(&format!("/api/v1/credentials/{ENDPOINT}"), |shown| shown["mode"] == "x509");
    assert_eq!(shown["subject"], format!("CN={ENDPOINT}"), "{shown}");
    let in_hex = data_encoding::HEXLOWER.encode(&written(5));
    let log = gateway.log();
    assert!(!log.contains(&in_hex) && !log.contains("PRIVATE KEY"), "{log}");
}

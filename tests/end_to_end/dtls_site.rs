//! A gateway that listens for DTLS, with certificates for both sides, and what is known of its devices.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{
    Authority, Credentials, DtlsClient, Gateway, Mosquitto, SecureDevice, Setup, StreamDevice, TlsClient, free_port,
};

/// The key of every device here, in hex.
pub(crate) const KEY: &str = "6e6f7420666f7220616e79206c6f6721";
/// The same as text.
pub(crate) const KEY_TEXT: &str = "not for any log!";

/// Whom the gateway's certificate names.
const SERVER_NAME: &str = "server.example.com";

/// What devices over TLS say they take.
const MAX_MESSAGE_SIZE: u32 = 8_192;

/// Nothing is asked of devices: programs that write datagrams one behind the other are understood only one by one.
const QUIET: &str = "[gateway]\ndefault_mapping = false\n";

/// The gateway, and a folder with the files of a device.
pub(crate) struct Site {
    pub(crate) broker: Mosquitto,
    pub(crate) gateway: Gateway,
    /// Where it listens for CoAP over TLS, if it does.
    pub(crate) tls: Option<SocketAddr>,
    pub(crate) authority: Authority,
    /// What the gateway shows of itself.
    pub(crate) server: Credentials,
    /// `ca.crt`, `ca.crt.der`, and [`Credentials::write`] of `device` and `server`.
    pub(crate) folder: TempDir,
    /// What the device shows of itself.
    pub(crate) device: Credentials,
}

impl Site {
    /// Starts a gateway that takes only those whom it knows, and makes credentials for a device of this name.
    pub(crate) fn start(endpoint: &str) -> Self {
        Self::start_with(endpoint, "")
    }

    /// The same, listening for CoAP over TLS too.
    pub(crate) fn start_over_tls(endpoint: &str) -> Self {
        let tls = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { tls: Some(tls), ..Self::start_with(endpoint, &format!("tls = \"{tls}\"\n")) }
    }

    /// The same with further lines of the section `[lwm2m]`.
    pub(crate) fn start_with(endpoint: &str, lines: &str) -> Self {
        let broker = Mosquitto::start();
        let authority = Authority::make("authority");
        let (server, device) = (authority.issue(SERVER_NAME), authority.issue(endpoint));
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("ca.crt"), authority.certificate()).expect("a writable folder");
        std::fs::write(folder.path().join("ca.crt.der"), authority.der()).expect("a writable folder");
        device.write(folder.path(), "device");
        server.write(folder.path(), "server");
        let gateway = Setup::new(&broker)
            .unknown_devices("refuse")
            .dtls()
            .lwm2m("certificate = \"server.crt\"\nprivate_key = \"server.key\"\ntrust = [\"ca.crt\"]\n")
            .lwm2m("raw_public_key = \"server.key\"\n")
            .lwm2m(lines)
            .file("server.crt", &server.certificate_pem())
            .file("server.key", &server.key_pem())
            .file("ca.crt", &authority.certificate())
            .file("conf.d/quiet.toml", QUIET)
            .start();
        Self { broker, gateway, tls: None, authority, server, folder, device }
    }

    pub(crate) fn files(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a credential known.
    pub(crate) fn know(&self, endpoint: &str, credential: &Value) {
        let (status, answer) = self.gateway.ask("PUT", &format!("/api/v1/credentials/{endpoint}"), credential);
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    /// Makes [`KEY`] known for a device; its identity is its endpoint name.
    pub(crate) fn know_key(&self, endpoint: &str) {
        self.know(endpoint, &json!({"mode": "psk", "key": KEY, "key_format": "hex"}));
    }

    /// Makes the raw public key of the device known.
    pub(crate) fn know_public_key(&self, endpoint: &str) {
        self.know(endpoint, &json!({"mode": "rpk", "public_key": self.device.public_key_base64()}));
    }

    /// A session of OpenSSL with the key of this identity.
    pub(crate) fn openssl_with_key(&self, identity: &str, key: &str, suite: &str, more: &[&str]) -> DtlsClient {
        let suite = format!("{suite}:@SECLEVEL=0");
        let mut arguments = vec!["-psk", key, "-psk_identity", identity, "-cipher", &suite];
        arguments.extend(more);
        DtlsClient::openssl(self.gateway.dtls_address(), self.files(), &arguments)
    }

    /// A session of OpenSSL with the certificate of the device; the gateway's own is checked.
    pub(crate) fn openssl_with_certificate(&self, suite: &str, more: &[&str]) -> DtlsClient {
        let suite = format!("{suite}:@SECLEVEL=0");
        let mut arguments = vec!["-cert", "device.crt", "-key", "device.key", "-CAfile", "ca.crt", "-cipher", &suite];
        arguments.extend(["-verify_return_error", "-verify_hostname", SERVER_NAME, "-servername", SERVER_NAME]);
        arguments.extend(more);
        DtlsClient::openssl(self.gateway.dtls_address(), self.files(), &arguments)
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.tls.expect("a gateway with TLS")
    }

    /// A connection over TLS by `openssl s_client`, with these arguments of its security.
    pub(crate) fn connect_by_tls(&self, arguments: &[&str]) -> StreamDevice {
        let (certificate, key) = self.device.pems();
        let authority = self.authority.certificate();
        let files = [("device.crt", &*certificate), ("device.key", &*key), ("ca.crt", &*authority)];
        StreamDevice::over(TlsClient::connect(self.tls_address(), arguments, &files), MAX_MESSAGE_SIZE)
    }

    /// The same with the certificate of the device; the gateway's own is checked.
    pub(crate) fn connect_by_tls_with_certificate(&self, more: &[&str]) -> StreamDevice {
        let mut arguments = vec!["-cert", "device.crt", "-key", "device.key", "-CAfile", "ca.crt"];
        arguments.extend(["-verify_return_error", "-verify_hostname", SERVER_NAME, "-servername", SERVER_NAME]);
        arguments.extend(more);
        self.connect_by_tls(&arguments)
    }

    /// The same with [`KEY`].
    pub(crate) fn connect_by_tls_with_key(&self, identity: &str, suite: &str) -> StreamDevice {
        let suite = format!("{suite}:@SECLEVEL=0");
        self.connect_by_tls(&["-tls1_2", "-psk", KEY, "-psk_identity", identity, "-cipher", &suite])
    }

    /// Registers with a session and is seen.
    pub(crate) fn registers(&self, endpoint: &str, session: DtlsClient) -> SecureDevice {
        let mut device = SecureDevice::new(session);
        device.register(endpoint);
        self.is_seen(endpoint);
        device
    }

    /// The device is online over DTLS; its record.
    pub(crate) fn is_seen(&self, endpoint: &str) -> Value {
        self.is_seen_over(endpoint, "dtls")
    }

    /// The same with another transport.
    pub(crate) fn is_seen_over(&self, endpoint: &str, transport: &str) -> Value {
        let record = self.gateway.wait_for_json(&format!("/api/v1/devices/{endpoint}"), |record| {
            record["state"] == "online" && record["transport"] == transport
        });
        assert!(!record["identity"].is_null(), "{record}");
        record
    }

    /// Runs `coap-client-LIBRARY`, which registers and ends.
    pub(crate) fn coap_client(&self, library: &str, endpoint: &str, arguments: &[&str]) -> Output {
        let server = self.gateway.dtls_address();
        let uri = format!("coaps://{server}/rd?ep={endpoint}&lt=300&lwm2m=1.1&b=U");
        let program = format!("coap-client-{library}");
        let output = Command::new(&program)
            .args(["-v", "7", "-B", "20", "-m", "post", "-t", "40", "-e", "</1/0>,</3/0>"])
            .args(arguments)
            .arg(uri)
            .current_dir(self.files())
            .output();
        output.unwrap_or_else(|error| panic!("{program}: {error}; run `tests/run packages`"))
    }

    /// Waits until a peer that was turned away is told of with these words; the entry.
    pub(crate) fn expect_refused(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let entry =
            |page: &Value| page["items"].as_array().and_then(|items| items.iter().find(|item| fits(item)).cloned());
        let page = self.gateway.wait_for_json("/api/v1/refused", |page| entry(page).is_some());
        entry(&page).expect("it was there")
    }

    /// What no log may show, in any of its usual forms.
    pub(crate) fn expect_no_secret_in_the_log(&self) {
        let secret = self.device.secret_hex();
        let server = self.server.secret_hex();
        let bytes = data_encoding::HEXLOWER.decode(KEY.as_bytes()).unwrap();
        let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let forms = [
            KEY.to_owned(),
            KEY.to_uppercase(),
            data_encoding::BASE64.encode(&bytes).trim_end_matches('=').to_owned(),
            KEY_TEXT.to_owned(),
            decimal,
            secret.clone(),
            secret.to_uppercase(),
            server,
            "PRIVATE KEY".to_owned(),
        ];
        let log = self.gateway.log();
        assert!(!log.is_empty(), "the gateway logs something");
        for form in forms {
            assert!(!log.contains(&form), "the log shows a secret: {form}");
        }
    }
}

//! webrtc-dtls as a DTLS 1.2 client: see the library of this crate for its lines. It knows no connection ids.

use std::sync::Arc;
use std::time::Duration;

use dtls_clients::{Arguments, Proof, Wanted, connected, failed, received};
use rcgen::KeyPair;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UdpSocket;
use webrtc_dtls::cipher_suite::CipherSuiteId;
use webrtc_dtls::config::{Config, ExtendedMasterSecretType};
use webrtc_dtls::conn::DTLSConn;
use webrtc_dtls::crypto::{Certificate, CryptoPrivateKey};

/// Longer than any handshake on loopback that succeeds.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(proof: Proof) -> Config {
    match proof {
        Proof::Key { identity, key } => Config {
            psk: Some(Arc::new(move |_hint| Ok(key.clone()))),
            psk_identity_hint: Some(identity),
            cipher_suites: vec![CipherSuiteId::Tls_Psk_With_Aes_128_Ccm_8],
            extended_master_secret: ExtendedMasterSecretType::Request,
            ..Config::default()
        },
        Proof::Certificate { certificate, key, .. } => {
            let text = |path: &str| std::fs::read_to_string(path).unwrap_or_else(|error| failed(&error.to_string()));
            let pair = KeyPair::from_pem(&text(&key)).unwrap_or_else(|error| failed(&error.to_string()));
            let private_key = CryptoPrivateKey::try_from(&pair).unwrap_or_else(|error| failed(&error.to_string()));
            Config {
                certificates: vec![Certificate { certificate: chain(&text(&certificate)), private_key }],
                cipher_suites: vec![CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Ccm_8],
                // Other clients look at the server's certificate; this one has no store of authorities in files.
                insecure_skip_verify: true,
                ..Config::default()
            }
        }
    }
}

/// The certificates of a PEM file.
fn chain<T: From<Vec<u8>>>(text: &str) -> Vec<T> {
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|part| part.split("-----END").next())
        .map(|base64| base64.split_whitespace().collect::<String>())
        .map(|base64| {
            data_encoding::BASE64.decode(base64.as_bytes()).unwrap_or_else(|error| failed(&error.to_string()))
        })
        .map(T::from)
        .collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::read();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap_or_else(|error| failed(&error.to_string()));
    socket.connect(arguments.server).await.unwrap_or_else(|error| failed(&error.to_string()));
    let handshake = DTLSConn::new(Arc::new(socket), config(arguments.proof), true, None);
    let session = match tokio::time::timeout(PATIENCE, handshake).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => failed(&format!("the handshake: {error}")),
        Err(_) => failed("the handshake does not end"),
    };
    connected("CCM_8", false);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut buffer = vec![0; 2_048];
    loop {
        tokio::select! {
            line = lines.next_line() => match line.ok().flatten().as_deref().map(Wanted::parse) {
                Some(Some(Wanted::Send(bytes))) => {
                    if let Err(error) = session.write(&bytes, None).await {
                        failed(&format!("a datagram is not sent: {error}"));
                    }
                }
                Some(_) => failed("cannot obey"),
                None => break,
            },
            read = session.read(&mut buffer, None) => match read {
                Ok(count) => received(&buffer[..count]),
                Err(error) => failed(&format!("a read failed: {error}")),
            },
        }
    }
    drop(session.close().await);
}

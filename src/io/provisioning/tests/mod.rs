//! Each target against a server of the same shape on loopback.

mod coiote;
mod faults;
mod leshan;
mod mock;
mod thingsboard;

use std::time::Duration;

use super::*;
use crate::model::credential::SecretBytes;
use mock::Mock;

/// On loopback; only what never answers reaches it.
const QUICK: Times = Times { connect: Duration::from_secs(10), answer: Duration::from_secs(10) };

const ENDPOINT: &str = "urn:dev:node 1&ä";
const PASSWORD: &str = "hunter2-hunter2";
const KEY: [u8; 16] = *b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10";
const KEY_HEX: &str = "0102030405060708090a0b0c0d0e0f10";

fn psk() -> ProvisionCredential {
    ProvisionCredential::Psk { identity: "id-1".to_owned(), key: SecretBytes::new(&KEY) }
}

fn target(kind: ProvisionKind, url: String) -> ProvisionTarget {
    ProvisionTarget {
        kind,
        url,
        user: Some("ops".to_owned()),
        password: Some(SecretBytes::new(PASSWORD.as_bytes())),
        domain: None,
    }
}

async fn told(target: &ProvisionTarget, credential: &ProvisionCredential) -> Result<(), String> {
    told_of(target, ENDPOINT, credential).await
}

async fn told_of(target: &ProvisionTarget, name: &str, credential: &ProvisionCredential) -> Result<(), String> {
    provision_within(QUICK, target, &Endpoint::new(name).unwrap(), credential).await
}

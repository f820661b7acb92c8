//! The identity that a gateway makes for itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::identity::{ClientAuthentication, IdentityFiles, ServerIdentity};
use super::own::{CERTIFICATE_FILE, KEY_FILE, OwnIdentity, load_or_make};
use crate::model::time::WallTime;

const NOW: WallTime = WallTime::from_secs(1_793_491_200);

fn identity(own: OwnIdentity) -> ServerIdentity {
    ServerIdentity::load(&IdentityFiles {
        certificate: own.certificate,
        private_key: own.private_key,
        raw_public_key: None,
        trust: Vec::new(),
        client_authentication: ClientAuthentication::Required,
    })
    .unwrap()
}

#[test]
fn it_is_made_once_for_this_user_alone_and_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let made = load_or_make(folder.path(), "edge-1", NOW).unwrap();
    assert!(made.is_new);
    let of_key = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions();
    assert_eq!(of_key.mode() & 0o777, 0o600);
    let first = identity(made);
    assert_eq!(first.warnings(), [""; 0]);
    first.check_validity(NOW).unwrap();
    let years = (first.expires_at().millis() - NOW.millis()) / (365 * 86_400_000);
    assert!((19..=20).contains(&years), "{years}");
    let subject = first.certificate.subject_name().entries().next().unwrap();
    assert_eq!(subject.data().to_string().unwrap(), "edge-1");
    let names = first.certificate.subject_alt_names().unwrap();
    assert_eq!(names[0].dnsname(), Some("edge-1"));

    let again = load_or_make(folder.path(), "renamed", NOW).unwrap();
    assert!(!again.is_new);
    assert_eq!(identity(again).fingerprint(), first.fingerprint());
}

#[test]
fn a_lost_certificate_is_made_anew_for_the_key_that_devices_know() {
    let folder = tempfile::tempdir().unwrap();
    let first = identity(load_or_make(folder.path(), "edge-1", NOW).unwrap());
    fs::remove_file(folder.path().join(CERTIFICATE_FILE)).unwrap();
    let second = identity(load_or_make(folder.path(), "edge-1", NOW).unwrap());
    assert_ne!(second.fingerprint(), first.fingerprint());
    assert_eq!(second.raw_public_key_spki(), first.raw_public_key_spki());
}

#[test]
fn a_certificate_without_its_key_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let first = identity(load_or_make(folder.path(), "edge-1", NOW).unwrap());
    fs::remove_file(folder.path().join(KEY_FILE)).unwrap();
    let own = load_or_make(folder.path(), "edge-1", NOW).unwrap();
    assert!(own.is_new);
    assert_ne!(identity(own).fingerprint(), first.fingerprint());
}

#[test]
fn a_key_that_cannot_be_read_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(KEY_FILE);
    fs::write(&path, "not a key").unwrap();
    let error = load_or_make(folder.path(), "edge-1", NOW).unwrap_err();
    assert!(error.contains(KEY_FILE) && error.contains("remove it for a new one"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
}

#[test]
fn a_name_that_no_host_can_have_is_only_the_common_name() {
    let folder = tempfile::tempdir().unwrap();
    let long = "Werk Süd, Halle 7".repeat(5);
    let made = identity(load_or_make(folder.path(), &long, NOW).unwrap());
    assert!(made.certificate.subject_alt_names().is_none());
}

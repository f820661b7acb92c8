//! Keys and certificates for devices, and the authority that signs them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509PurposeId, X509StoreContext};

use super::authority::{Authority, CERTIFICATE_FILE, KEY_FILE, make_raw_public_key};
use super::identity::MIN_CURVE_BITS;
use super::peer::certificate_identity;
use crate::gateway::bootstrap::orders::KeyPair;
use crate::io::clock::NOT_BEFORE;
use crate::model::credential::CertificateIdentity;

/// What small devices take in one DTLS flight without fragments.
const SMALL: usize = 600;

fn authority(folder: &Path) -> Authority {
    Authority::load_or_make(folder).unwrap()
}

fn certificate(pair: &KeyPair) -> X509 {
    X509::from_der(&pair.public).unwrap()
}

fn said(pair: &KeyPair) -> CertificateIdentity {
    certificate_identity(&certificate(pair), true).unwrap()
}

/// Whether the authority vouches for a certificate, for a purpose and at a time.
fn verifies(authority: &Authority, certificate: &X509, purpose: X509PurposeId, unix_secs: i64) -> bool {
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(authority.certificate().clone()).unwrap();
    let mut parameters = X509VerifyParam::new().unwrap();
    parameters.set_time(unix_secs);
    parameters.set_purpose(purpose).unwrap();
    store.set_param(&parameters).unwrap();
    let store = store.build();
    let chain = Stack::new().unwrap();
    X509StoreContext::new()
        .unwrap()
        .init(&store, certificate, &chain, openssl::x509::X509StoreContextRef::verify_cert)
        .unwrap()
}

#[test]
fn a_raw_public_key_is_on_p_256_in_der_and_its_private_half_in_pkcs_8() {
    let (one, other) = (make_raw_public_key().unwrap(), make_raw_public_key().unwrap());
    assert_ne!(one, other);
    assert_eq!(one.subject, None);
    let public = PKey::public_key_from_der(&one.public).unwrap();
    assert_eq!(public.ec_key().unwrap().group().curve_name(), Some(Nid::X9_62_PRIME256V1));
    assert_eq!(one.public.len(), 91, "the point is not compressed");
    // Only PKCS #8 is read here, SEC 1 is not.
    let private = PKey::private_key_from_pkcs8(one.private.expose()).unwrap();
    assert!(private.public_eq(&public));
}

#[test]
fn a_certificate_is_of_the_device_and_vouched_for_by_the_authority_alone() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (own, other) = (authority(folder.path()), authority(elsewhere.path()));
    let pair = own.make_certificate("node-1", Some(NOT_BEFORE)).unwrap();
    assert_eq!(pair.subject.as_deref(), Some("CN=node-1"));
    let made = certificate(&pair);
    let private = PKey::private_key_from_pkcs8(pair.private.expose()).unwrap();
    assert!(made.public_key().unwrap().public_eq(&private));
    assert_eq!(made.version(), 2, "X.509 version 3");
    assert_eq!(made.serial_number().to_bn().unwrap().num_bytes(), 16);
    assert!(pair.public.len() < SMALL, "{} bytes", pair.public.len());
    let now = NOT_BEFORE.millis() / 1_000;
    for purpose in [X509PurposeId::SSL_CLIENT, X509PurposeId::SSL_SERVER] {
        assert!(verifies(&own, &made, purpose, now));
        assert!(!verifies(&other, &made, purpose, now));
    }
    let again = own.make_certificate("node-1", Some(NOT_BEFORE)).unwrap();
    assert_ne!(certificate(&again).serial_number().to_bn().unwrap(), made.serial_number().to_bn().unwrap());
}

#[test]
fn a_certificate_has_no_end_and_begins_a_day_ago_or_where_unset_clocks_do() {
    let folder = tempfile::tempdir().unwrap();
    let own = authority(folder.path());
    let told = certificate(&own.make_certificate("a", Some(NOT_BEFORE)).unwrap());
    assert_eq!(told.not_before().to_string(), "Oct 31 00:00:00 2026 GMT");
    let untold = certificate(&own.make_certificate("a", None).unwrap());
    assert_eq!(untold.not_before().to_string(), "Jan  1 00:00:00 2000 GMT");
    for made in [&told, &untold, own.certificate()] {
        assert_eq!(made.not_after().to_string(), "Dec 31 23:59:59 9999 GMT");
    }
    let year_2000 = 946_684_800;
    assert!(verifies(&own, &untold, X509PurposeId::SSL_CLIENT, year_2000 + 1));
    assert!(verifies(&own, &untold, X509PurposeId::SSL_CLIENT, year_2000 + 5_000 * 31_536_000));
}

#[test]
fn the_endpoint_name_is_found_by_common_name_and_by_alternative_name() {
    let folder = tempfile::tempdir().unwrap();
    let own = authority(folder.path());
    let urn = "urn:dev:ops:32473-Router_5-100";
    let (of_64, of_65) = ("n".repeat(64), "n".repeat(65));
    let long_urn = format!("urn:imei:{}", "4".repeat(243));
    for endpoint in ["node-1", "a_b,DNS:evil", urn, "IMEI=1", &of_64, &of_65, &long_urn] {
        let pair = own.make_certificate(endpoint, None).unwrap();
        let said = said(&pair);
        assert_eq!(said.alternative_names, [endpoint]);
        if endpoint.len() <= 64 {
            assert_eq!(said.common_name.as_deref(), Some(endpoint));
        }
        assert!(pair.public.len() < SMALL + 100 + endpoint.len(), "{} bytes for {endpoint}", pair.public.len());
    }
    let said = said(&own.make_certificate("Pumpe Süd, 7", None).unwrap());
    assert_eq!(said.common_name.as_deref(), Some("Pumpe Süd, 7"));
    assert_eq!(said.subject, "CN=Pumpe Süd\\, 7");
    assert_eq!(said.alternative_names, [""; 0], "X.509 has no letters for it");
}

#[test]
fn a_name_too_long_for_a_common_name_does_not_become_the_name_of_another_device() {
    let folder = tempfile::tempdir().unwrap();
    let own = authority(folder.path());
    let common_name = |endpoint: &str| said(&own.make_certificate(endpoint, None).unwrap()).common_name.unwrap();
    let (one, other) = ("ü".repeat(65), "ü".repeat(66));
    assert_ne!(common_name(&one), common_name(&other));
    assert_eq!(common_name(&one).len(), 64);
    assert_eq!(common_name(&"ü".repeat(64)), "ü".repeat(64));
}

#[test]
fn the_authority_is_made_once_and_its_key_is_for_this_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Authority::find(folder.path()).unwrap().is_none());
    let first = authority(folder.path());
    let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(KEY_FILE), 0o600);
    assert_eq!(mode(CERTIFICATE_FILE) & 0o600, 0o600);
    assert_eq!(mode(CERTIFICATE_FILE) & 0o133, 0);
    assert!(first.certificate().public_key().unwrap().bits() >= MIN_CURVE_BITS);
    let again = Authority::find(folder.path()).unwrap().unwrap();
    let print = |authority: &Authority| authority.certificate().digest(MessageDigest::sha256()).unwrap().to_vec();
    assert_eq!(print(&again), print(&first));
    assert_eq!(print(&authority(folder.path())), print(&first));
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [CERTIFICATE_FILE, KEY_FILE]);
}

#[test]
fn a_power_cut_between_key_and_certificate_leaves_an_authority_that_is_completed() {
    let folder = tempfile::tempdir().unwrap();
    let first = authority(folder.path());
    let key = fs::read(folder.path().join(KEY_FILE)).unwrap();
    fs::remove_file(folder.path().join(CERTIFICATE_FILE)).unwrap();
    let second = authority(folder.path());
    assert_eq!(fs::read(folder.path().join(KEY_FILE)).unwrap(), key);
    // Who trusts the former certificate trusts what is signed now.
    let made = certificate(&second.make_certificate("a", Some(NOT_BEFORE)).unwrap());
    assert!(verifies(&first, &made, X509PurposeId::SSL_CLIENT, NOT_BEFORE.millis() / 1_000));
}

#[test]
fn files_that_cannot_be_used_are_an_error_that_says_what_to_do_and_stay_as_they_are() {
    let other = tempfile::tempdir().unwrap();
    authority(other.path());
    let key_of_other = fs::read_to_string(other.path().join(KEY_FILE)).unwrap();
    let rsa = PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap().private_key_to_pem_pkcs8().unwrap();
    let rsa = String::from_utf8(rsa).unwrap();
    for (file, text, part) in [
        (KEY_FILE, Some("not a key"), "holds no private key"),
        (KEY_FILE, Some(rsa.as_str()), "no key on a curve"),
        (KEY_FILE, Some(key_of_other.as_str()), "is not the certificate of bootstrap-ca.key"),
        (KEY_FILE, None, "bootstrap-ca.key: is missing"),
        (CERTIFICATE_FILE, Some(""), "holds no certificate"),
        (CERTIFICATE_FILE, Some("-----BEGIN CERTIFICATE-----\nAA"), "holds no certificate"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        authority(folder.path());
        let path = folder.path().join(file);
        let kept = fs::read(folder.path().join(if file == KEY_FILE { CERTIFICATE_FILE } else { KEY_FILE })).unwrap();
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let Err(error) = Authority::load_or_make(folder.path()) else { panic!("{file}: {text:?} was taken") };
        assert!(error.contains(part) && error.contains("for a new authority"), "{error}");
        assert!(error.starts_with(&folder.path().display().to_string()), "{error}");
        assert!(!error.contains("PRIVATE KEY-----\nM"), "{error}");
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), text);
        let other = folder.path().join(if file == KEY_FILE { CERTIFICATE_FILE } else { KEY_FILE });
        assert_eq!(fs::read(other).unwrap(), kept);
    }
}

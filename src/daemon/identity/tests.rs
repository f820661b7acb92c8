//! The keeper on real files: what comes into force, what does not, and what the core hears.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::X509;
use tempfile::TempDir;

use super::*;
use crate::config::load;

const DAY_SECS: i64 = 86_400;
const NOW: WallTime = WallTime::from_secs(1_800_000_000);

/// Writes a certificate that ends so many days from [`NOW`], and its key.
fn write_pair(folder: &Path, ends_in_days: i64) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let at = |days: i64| Asn1Time::from_unix(NOW.millis() / 1_000 + days * DAY_SECS).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_not_before(&at(-100)).unwrap();
    builder.set_not_after(&at(ends_in_days)).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    std::fs::write(folder.join("s.crt"), builder.build().to_pem().unwrap()).unwrap();
    std::fs::write(folder.join("s.key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
}

struct Bench {
    keeper: IdentityKeeper,
    told: Receiver<[u8; 32]>,
    folder: TempDir,
}

impl Bench {
    fn new(lwm2m: &str, ends_in_days: i64) -> Self {
        let folder = TempDir::new().unwrap();
        write_pair(folder.path(), ends_in_days);
        let config = folder.path().join("config.toml");
        std::fs::write(&config, format!("[gateway]\nname = \"edge\"\ndata_dir = \"data\"\n[lwm2m]\n{lwm2m}")).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let settings = with_sources(|sources| load(Some(&config), sources)).settings.unwrap();
        let mut keeper = IdentityKeeper::start(&settings).unwrap();
        let (sender, told) = sync_channel(16);
        keeper.subscribe(move |identity| sender.send(identity.fingerprint()).unwrap());
        Self { keeper, told, folder }
    }

    fn configured(ends_in_days: i64) -> Self {
        Self::new("certificate = \"s.crt\"\nprivate_key = \"s.key\"\n", ends_in_days)
    }

    fn health(&mut self) -> Option<(Option<String>, Option<String>)> {
        match self.keeper.health(Some(NOW)) {
            Some(Input::IdentityHealth { failure, expiry }) => Some((failure, expiry)),
            None => None,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn good_files_come_into_force_and_the_handshakes_hear_of_them_once() {
    let mut bench = Bench::configured(1_000);
    let before = bench.keeper.identity().fingerprint();
    assert_eq!(bench.health(), None);
    bench.keeper.reload_at(Some(NOW));
    assert!(bench.told.try_recv().is_err(), "nothing changed");
    write_pair(bench.folder.path(), 2_000);
    bench.keeper.reload_at(Some(NOW));
    let after = bench.told.try_recv().unwrap();
    assert_ne!(after, before);
    assert_eq!(bench.keeper.identity().fingerprint(), after);
    assert_eq!(bench.health(), None);
}

#[test]
fn files_that_cannot_be_used_change_nothing_and_raise_an_alarm_until_they_can() {
    let mut bench = Bench::configured(1_000);
    let before = bench.keeper.identity().fingerprint();
    let key = std::fs::read(bench.folder.path().join("s.key")).unwrap();
    write_pair(bench.folder.path(), 2_000);
    std::fs::write(bench.folder.path().join("s.key"), &key).unwrap();
    bench.keeper.reload_at(Some(NOW));
    let (failure, expiry) = bench.health().unwrap();
    let failure = failure.unwrap();
    assert!(failure.contains("is not the private key of") && failure.contains("stays in force"), "{failure}");
    assert_eq!(expiry, None);
    assert_eq!(bench.health(), None, "told once");
    std::fs::remove_file(bench.folder.path().join("s.crt")).unwrap();
    bench.keeper.reload_at(Some(NOW));
    assert!(bench.health().unwrap().0.unwrap().starts_with("there is no file"));
    assert_eq!(bench.keeper.identity().fingerprint(), before);
    assert!(bench.told.try_recv().is_err());
    write_pair(bench.folder.path(), 3_000);
    bench.keeper.reload_at(Some(NOW));
    assert_eq!(bench.health(), Some((None, None)));
    assert_eq!(bench.told.try_recv(), Ok(bench.keeper.identity().fingerprint()));
}

#[test]
fn an_expired_certificate_is_used_at_start_and_refused_at_a_reload_by_who_knows_the_time() {
    let mut bench = Bench::configured(-1);
    let (failure, expiry) = bench.health().unwrap();
    assert_eq!(failure, None);
    assert!(expiry.unwrap().contains("expired at"));
    let before = bench.keeper.identity().fingerprint();
    write_pair(bench.folder.path(), -2);
    bench.keeper.reload_at(Some(NOW));
    assert!(bench.health().unwrap().0.unwrap().contains("expired at"));
    assert_eq!(bench.keeper.identity().fingerprint(), before);
    bench.keeper.reload_at(None);
    assert_ne!(bench.keeper.identity().fingerprint(), before);
}

#[test]
fn the_end_of_a_certificate_is_told_thirty_days_before_and_over_with_the_next_one() {
    let mut bench = Bench::configured(31);
    assert_eq!(bench.health(), None);
    write_pair(bench.folder.path(), 30);
    bench.keeper.reload_at(Some(NOW));
    let expiry = bench.health().unwrap().1.unwrap();
    let day = WallTime::from_secs(NOW.millis() / 1_000 + 30 * DAY_SECS).to_rfc3339();
    assert!(expiry.contains("s.crt: the certificate expires on") && expiry.contains(&day[..10]), "{expiry}");
    assert!(bench.keeper.health(None).is_none(), "who does not know the time says nothing new");
    write_pair(bench.folder.path(), 400);
    bench.keeper.reload_at(Some(NOW));
    assert_eq!(bench.health(), Some((None, None)));
}

#[test]
fn it_is_looked_at_once_an_hour_and_after_a_reload() {
    let mut bench = Bench::configured(1_000);
    let now = crate::io::clock::monotonic_now();
    bench.keeper.look(now);
    let at = bench.keeper.look_at.unwrap();
    assert!(at > now);
    bench.keeper.look(now);
    assert_eq!(bench.keeper.look_at, Some(at));
    bench.keeper.reload();
    assert_eq!(bench.keeper.look_at, None);
}

#[test]
fn without_a_configured_certificate_the_one_of_the_data_folder_is_used() {
    let mut bench = Bench::new("", 1_000);
    let before = bench.keeper.identity().fingerprint();
    assert!(bench.folder.path().join("data/server.key").exists());
    bench.keeper.reload_at(Some(NOW));
    assert!(bench.told.try_recv().is_err());
    assert_eq!(bench.keeper.identity().fingerprint(), before);
}

//! What is shown with its secrets reads back as the same, and what is shown without holds none.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde_json::{Value as Json, json};

use super::super::{FORMATS, Secrets, account_json, entry_json};
use super::{account, base64, certificate, entry, entry_problems, private_key, problems, public_key};
use crate::model::bootstrap::{
    AccessControl, AccountName, AccountOrName, AccountTransport, ClientKeys, DeviceEntry, Provision, ProvisionKind,
    ProvisionTarget, PskKey, Registration, Security, ServerAccount, ServerKind, Sms, Template, WriteBy,
};
use crate::model::credential::SecretBytes;
use crate::model::path::Path;

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u32) as usize].clone()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }

    fn bytes(&mut self, least: u32, most: u32) -> Vec<u8> {
        let mut bytes = vec![0; (least + self.below(most - least + 1)) as usize];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    fn seconds(&mut self) -> u32 {
        self.pick(&[0, 1, 60, 86_400, u32::MAX])
    }

    fn secret(&mut self, least: u32, most: u32) -> SecretBytes {
        SecretBytes::new(&self.bytes(least, most))
    }

    fn client(&mut self, public: fn(&[u8]) -> Vec<u8>, made_is_fine: bool) -> ClientKeys {
        if made_is_fine && self.below(2) == 0 {
            return ClientKeys::Made;
        }
        let (public, private) = (public(&self.bytes(1, 300)), private_key(&self.bytes(1, 300)));
        ClientKeys::Given { public: public.into(), private: SecretBytes::new(&private) }
    }

    fn account(&mut self) -> ServerAccount {
        let kind = self.pick(&[ServerKind::Management, ServerKind::Bootstrap]);
        let transport = self.pick(&[AccountTransport::Udp, AccountTransport::Tcp]);
        let target = ProvisionTarget {
            kind: self.pick(&[ProvisionKind::ThingsBoard, ProvisionKind::Coiote]),
            url: "https://server.example:8443/base".to_owned(),
            user: self.maybe(|_| "operator".to_owned()),
            password: self.maybe(|_| SecretBytes::new("geheim \u{fc}\"\\".as_bytes())),
            domain: self.maybe(|_| "plant".to_owned()),
        };
        let provision = self.pick(&[Provision::None, Provision::Own, Provision::Target(target.into())]);
        let told = provision != Provision::None;
        let own = provision == Provision::Own;
        let mode = self.below(4);
        let security = match mode {
            0 => Security::NoSec,
            1 => Security::Psk {
                identity: self.maybe(|dice| Template::new(dice.pick(&["{endpoint}", "a", "x {name} \u{e4}{"]))),
                key: if told && self.below(2) == 0 {
                    PskKey::Random(self.pick(&[1, 16, 64]))
                } else {
                    PskKey::Given(self.secret(1, 64))
                },
            },
            2 => Security::RawPublicKey {
                client: self.client(public_key, told),
                server: if own { None } else { Some(public_key(&self.bytes(1, 300)).into()) },
            },
            _ => Security::X509 {
                client: self.client(certificate, told),
                server: if own { None } else { Some(certificate(&self.bytes(1, 300)).into()) },
                certificate_usage: self.maybe(|dice| dice.pick(&[0, 1, 2, 3])),
            },
        };
        let scheme = match (mode > 0, transport) {
            (false, AccountTransport::Udp) => "coap",
            (true, AccountTransport::Udp) => "coaps",
            (false, AccountTransport::Tcp) => "coap+tcp",
            (true, AccountTransport::Tcp) => "coaps+tcp",
        };
        let uri = match self.below(3) {
            0 => None,
            1 => Some(Template::new(self.pick(&[
                "lwm2m.example",
                "{endpoint}.example:5684",
                "[2001:db8::1]:1",
                "{host}",
            ]))),
            _ => Some(Template::new(&format!("{scheme}://{{host}}:5683"))),
        };
        let binding = self.pick(&["U", "UQ", "S", "SQ", "US", "UQS", "USQ", "UTSNMH", "T"]).to_owned();
        let with_sms = binding.contains('S');
        let mut account = ServerAccount {
            transport,
            ssid: self.maybe(|dice| dice.pick(&[1, 123, 65_534])),
            uri,
            security,
            sni: if mode > 0 { self.maybe(|_| "lwm2m.example".to_owned()) } else { None },
            matching_type: if mode > 1 { self.maybe(|dice| dice.pick(&[0, 1, 2, 3])) } else { None },
            client_hold_off_time_secs: self.maybe(Self::seconds),
            preferred_transport: self.maybe(|_| binding[..1].to_owned()),
            binding,
            provision,
            ..ServerAccount::new(kind, Security::NoSec)
        };
        if with_sms {
            account.sms = Sms {
                number: self.maybe(|_| "+441234567890".to_owned()),
                security_mode: self.maybe(|dice| dice.pick(&[0, 3, 255])),
                binding_key_parameters: self.maybe(|dice| dice.bytes(6, 6).into()),
                binding_secret_key: self.maybe(|dice| dice.secret(16, 48)),
            };
        }
        if kind == ServerKind::Bootstrap {
            account.bootstrap_server_account_timeout_secs = self.maybe(Self::seconds);
            account.preferred_transport = None;
            return account;
        }
        account.lifetime_secs = self.seconds();
        account.disable_timeout_secs = self.seconds();
        account.notification_storing = self.below(2) == 0;
        account.default_min_period_secs = self.maybe(|_| 1);
        account.default_max_period_secs = self.maybe(Self::seconds);
        account.apn_link = self.maybe(|dice| dice.pick(&[(11, 0), (65_535, 65_535)]));
        account.registration = Registration {
            priority: self.maybe(Self::seconds),
            initial_delay_secs: self.maybe(Self::seconds),
            failure_block: self.maybe(|dice| dice.below(2) == 0),
            bootstrap_on_failure: self.maybe(|dice| dice.below(2) == 0),
            communication_retry_count: self.maybe(Self::seconds),
            communication_retry_timer_secs: self.maybe(Self::seconds),
            communication_sequence_delay_timer_secs: self.maybe(Self::seconds),
            communication_sequence_retry_count: self.maybe(Self::seconds),
        };
        account.trigger = self.maybe(|dice| dice.below(2) == 0);
        account.mute_send = self.maybe(|dice| dice.below(2) == 0);
        account
    }

    fn entry(&mut self) -> DeviceEntry {
        let mut servers = Vec::new();
        for index in 0..self.below(4) {
            servers.push(if self.below(2) == 0 {
                AccountOrName::Named(AccountName::new(&format!("server-{index}")).unwrap())
            } else {
                AccountOrName::Inline(Box::new(self.account()))
            });
        }
        let values = [json!(1), json!(-2.5), json!("text"), json!(true), json!({"0": "a", "7": 3})];
        let path = |text: &str| text.parse::<Path>().unwrap();
        let mut writes = Vec::new();
        for text in ["/0/5/16", "/3/0/13", "/3/0/14", "/5/1/3", "/21/0/1", "/33000/7/1"] {
            if self.below(2) == 0 {
                writes.push((path(text), self.pick(&values)));
            }
        }
        let control = |dice: &mut Self, instance| AccessControl {
            object: 3,
            instance,
            owner: dice.pick(&[1, 65_535]),
            rights: [(0, 1), (123, 31)].into_iter().take(dice.below(3) as usize).collect(),
        };
        DeviceEntry {
            servers,
            writes,
            deletes: self.maybe(|dice| dice.pick(&[vec![], vec![Path::ROOT], vec![path("/0"), path("/1/3")]])),
            access_control: (0..self.below(3) as u16).map(|instance| control(self, instance)).collect(),
            format: self.maybe(|dice| dice.pick(&FORMATS).1),
            write_by: self.pick(&[WriteBy::Instance, WriteBy::Object]),
            order: self.pick(&[vec![], vec![1, 0, 21]]),
            verify: self.maybe(|dice| dice.below(2) == 0),
        }
    }
}

/// Texts that would give away a secret of an account.
fn secrets_of(account: &ServerAccount) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut add = |secret: &SecretBytes| {
        secrets.push(base64(secret.expose()));
        secrets.push(data_encoding::HEXLOWER.encode(secret.expose()));
        // As JSON writes it, without the quotes.
        let text = Json::from(String::from_utf8_lossy(secret.expose()).into_owned()).to_string();
        secrets.push(text.trim_matches('"').trim_end_matches('\\').to_owned());
    };
    match &account.security {
        Security::Psk { key: PskKey::Given(key), .. } => add(key),
        Security::RawPublicKey { client: ClientKeys::Given { private, .. }, .. }
        | Security::X509 { client: ClientKeys::Given { private, .. }, .. } => add(private),
        _ => {}
    }
    account.sms.binding_secret_key.iter().for_each(&mut add);
    if let Provision::Target(target) = &account.provision {
        target.password.iter().for_each(add);
    }
    // Shorter ones stand in any text by chance.
    secrets.retain(|secret| secret.len() > 7);
    secrets
}

#[test]
fn any_account_reads_back_from_what_is_shown_with_its_secrets() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(1));
    for _ in 0..2_000 {
        let written = dice.account();
        let shown = account_json(&written, Secrets::Shown);
        assert_eq!(account(&shown), written, "{shown}");
        let text = serde_json::to_string(&shown).unwrap();
        assert_eq!(account(&serde_json::from_str(&text).unwrap()), written, "{text}");
    }
}

#[test]
fn any_entry_reads_back_from_what_is_shown_with_its_secrets() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(2));
    for _ in 0..2_000 {
        let written = dice.entry();
        let shown = entry_json(&written, Secrets::Shown);
        assert_eq!(entry(&shown), written, "{shown}");
    }
}

#[test]
fn what_is_shown_without_secrets_holds_none_and_is_refused_where_one_is_missing() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(3));
    let mut refused = 0;
    for _ in 0..1_000 {
        let written = dice.account();
        let shown = account_json(&written, Secrets::Hidden);
        let text = shown.to_string();
        let secrets = secrets_of(&written);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
        if text.contains("\"secret\":true") {
            refused += 1;
            let found = problems(&shown);
            assert!(found.iter().all(|text| text.contains("give the secret anew")), "{found:?}");
            assert!(!found.is_empty());
        } else {
            assert_eq!(account(&shown), written);
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn values_of_security_objects_are_hidden_in_entries_and_those_of_others_are_not() {
    let written = entry(&json!({
        "servers": [{"security_mode": "psk", "psk_key": "00112233445566778899aabbccddeeff"}],
        "writes": {"/21/0/1": "oscore key", "/0/3/5": "c2VjcmV0", "/23/0/2": {"0": "cose key"}, "/3/0/15": "Europe/Oslo"},
    }));
    let shown = entry_json(&written, Secrets::Hidden);
    let hidden = json!({"secret": true});
    assert_eq!(
        shown["writes"],
        json!({"/21/0/1": hidden, "/0/3/5": hidden, "/23/0/2": hidden, "/3/0/15": "Europe/Oslo"})
    );
    assert_eq!(shown["servers"][0]["psk_key"], hidden);
    let found = entry_problems(&shown);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|text| text.contains("give the secret anew")), "{found:?}");
    let fields: Vec<&str> = found.iter().map(|text| text.split(':').next().unwrap()).collect();
    assert_eq!(fields, ["servers[0].psk_key", "writes./0/3/5", "writes./21/0/1", "writes./23/0/2"]);
}

#[test]
fn damaged_accounts_never_tell_a_secret_in_their_problems() {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(4));
    let mut problems_seen = 0;
    for _ in 0..2_000 {
        let written = dice.account();
        let mut shown = account_json(&written, Secrets::Shown);
        let Json::Object(body) = &mut shown else { panic!("no object") };
        let names: Vec<String> = body.keys().cloned().collect();
        // Values change places, one goes, one gets a wrong name: each secret may stand in any field.
        let (one, other) = (dice.pick(&names), dice.pick(&names));
        let (left, right) = (body[&one].clone(), body[&other].clone());
        body.insert(one, right);
        body.insert(other, left);
        if let Some(gone) = body.remove(&dice.pick(&names)) {
            body.insert("securty_mode".to_owned(), gone);
        }
        let Err(found) = super::super::parse_account(&shown) else { continue };
        problems_seen += found.len();
        let text = format!("{found:?}");
        for secret in secrets_of(&written) {
            let beginning: String = secret.chars().take(8).collect();
            assert!(!text.contains(&beginning), "{text}");
        }
    }
    assert!(problems_seen > 2_000, "{problems_seen}");
}

//! Server accounts and device entries as JSON, and configurations of neighbours that are imported: no panic, what is
//! accepted reads back as the same from what is stored, no secret is in what is shown, and an import writes only what the
//! configuration takes.
#![no_main]

use std::sync::OnceLock;

use lwm2mqtt::gateway::bootstrap::check_among;
use lwm2mqtt::model::bootstrap::{AccountName, DeviceEntry, ServerAccount};
use lwm2mqtt::model::object::ObjectModel;
use lwm2mqtt::northbound::bootstrap_json::{Problem, Secrets, account_json, entry_json, parse_account, parse_entry};
use lwm2mqtt::northbound::import::{Imported, Neighbour, import};
use lwm2mqtt::northbound::leshan::{configuration_of, entry_of};
use serde_json::Value as Json;

/// Shorter texts may stand anywhere.
const MIN_SECRET_BYTES: usize = 8;

fn model() -> &'static ObjectModel {
    static MODEL: OnceLock<ObjectModel> = OnceLock::new();
    MODEL.get_or_init(ObjectModel::built_in)
}

/// Texts of an account that are secret and stand nowhere else in it: with a digit, so that they are no words of ours.
fn secrets(account: &Json) -> Vec<String> {
    let mut without = account.clone();
    let places = ["/psk_key", "/client_private_key", "/sms_binding_secret_key", "/provision/password"];
    let mut found = Vec::new();
    for place in places {
        if let Some(value) = without.pointer_mut(place)
            && let Json::String(text) = value.take()
        {
            let quoted = Json::from(text).to_string();
            found.push(quoted.trim_matches('"').to_owned());
        }
    }
    let rest = without.to_string();
    let is_telling = |text: &String| text.len() >= MIN_SECRET_BYTES && text.bytes().any(|byte| byte.is_ascii_digit());
    found.into_iter().filter(|text| is_telling(text) && !rest.contains(text.as_str())).collect()
}

fn account(body: &Json) {
    let read = parse_account(body);
    let told = match &read {
        Ok(account) => {
            let stored = account_json(account, Secrets::Shown);
            assert_eq!(parse_account(&stored).as_ref(), Ok(account), "{stored}");
            format!("{} {account:?}", account_json(account, Secrets::Hidden))
        }
        Err(problems) => wrong(problems),
    };
    for secret in secrets(body) {
        assert!(!told.contains(&secret), "{secret} is in {told}");
    }
}

/// What is told of problems.
fn wrong(problems: &[Problem]) -> String {
    assert!(!problems.is_empty(), "it is refused without a problem");
    assert!(problems.iter().all(|problem| !problem.message.is_empty()), "{problems:?}");
    format!("{problems:?}")
}

fn entry(body: &Json) {
    let read = parse_entry(body, model());
    let told = match &read {
        Ok(entry) => {
            let stored = entry_json(entry, Secrets::Shown);
            assert_eq!(parse_entry(&stored, model()).as_ref(), Ok(entry), "{stored}");
            let hidden = entry_json(entry, Secrets::Hidden);
            let leshan = configuration_of("fuzz", &hidden, |_| None);
            format!("{hidden} {entry:?} {leshan}")
        }
        Err(problems) => wrong(problems),
    };
    let servers = body["servers"].as_array().map(Vec::as_slice).unwrap_or_default();
    // What is no secret of one account may be one of another.
    if let [server] = servers {
        for secret in secrets(server) {
            let mut rest = body.clone();
            rest["servers"] = Json::Null;
            assert!(rest.to_string().contains(&secret) || !told.contains(&secret), "{secret} is in {told}");
        }
    }
}

/// As the command judges what it imports.
fn judge(entry: &DeviceEntry, accounts: &[(AccountName, ServerAccount)]) -> Vec<Problem> {
    let known = |name: &AccountName| accounts.iter().find(|(known, _)| known == name).map(|(_, account)| account);
    check_among(entry, known).expect("names of accounts that are not imported are left out")
}

fn imports(file: &Json) {
    for of in [Neighbour::Leshan, Neighbour::BsServer, Neighbour::ThingsBoard] {
        for endpoint in [None, Some("meter-1")] {
            let Ok(imported) = import(of, file, endpoint, model(), &judge) else { continue };
            reads_back(&imported);
        }
    }
}

fn reads_back(imported: &Imported) {
    for (name, account) in &imported.servers {
        assert!(AccountName::new(name).is_ok(), "{name}");
        assert!(parse_account(account).is_ok(), "{account}");
    }
    for (name, entry) in &imported.devices {
        assert!(parse_entry(entry, model()).is_ok(), "{name}: {entry}");
    }
    let text = imported.to_toml().expect("what is imported has a TOML");
    for line in text.lines().take(imported.notes.len()) {
        assert!(line.starts_with("# "), "a note goes on in the next line: {line}");
    }
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Json>(input) else { return };
    account(&body);
    entry(&body);
    imports(&body);
    let of_leshan = entry_of(&body);
    entry(&of_leshan.json);
    let _ = configuration_of("fuzz", &body, |_| Some(&body));
});

//! Accounts and entries as JSON. Absent options are left out; what has a default is there.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value as Json, json};

use super::Secrets;
use super::accounts::{KINDS, TRANSPORTS};
use super::entries::{FORMATS, WRITE_BY};
use super::fields::SECRET_FIELD;
use super::provisioning::KINDS as PROVISION_KINDS;
use super::security::mode_word;
use crate::model::bootstrap::{
    AccountOrName, ClientKeys, DeviceEntry, Provision, ProvisionTarget, PskKey, Registration, Security, ServerAccount,
    ServerKind, Sms, Template,
};
use crate::model::credential::SecretBytes;
use crate::model::path::Path;

/// The word for one of some values.
fn word<T: PartialEq>(words: &[(&'static str, T)], wanted: &T) -> &'static str {
    words.iter().find(|(_, value)| value == wanted).map_or("", |(word, _)| word)
}

/// Fields of an object, one after another.
#[derive(Default)]
struct Shown {
    body: Map<String, Json>,
}

impl Shown {
    fn put(&mut self, field: &str, value: impl Into<Json>) {
        self.body.insert(field.to_owned(), value.into());
    }

    fn put_some<T: Into<Json>>(&mut self, field: &str, value: Option<T>) {
        if let Some(value) = value {
            self.put(field, value);
        }
    }

    fn put_secret(&mut self, field: &str, secrets: Secrets, value: impl FnOnce() -> String) {
        match secrets {
            Secrets::Shown => self.put(field, value()),
            Secrets::Hidden => self.put(field, json!({ SECRET_FIELD: true })),
        }
    }
}

/// Keys without structure are shown in hexadecimal, which no base64 can be taken for.
fn hex(secret: &SecretBytes) -> String {
    HEXLOWER.encode(secret.expose())
}

/// A server account; with [`Secrets::Shown`] it reads back as the same.
#[must_use]
pub fn account_json(account: &ServerAccount, secrets: Secrets) -> Json {
    let mut shown = Shown::default();
    shown.put("type", word(&KINDS, &account.kind));
    shown.put("transport", word(&TRANSPORTS, &account.transport));
    shown.put_some("ssid", account.ssid);
    shown.put_some("uri", account.uri.as_ref().map(Template::as_str));
    put_security(&mut shown, &account.security, secrets);
    shown.put_some("sni", account.sni.as_deref());
    shown.put_some("matching_type", account.matching_type);
    shown.put_some("client_hold_off_time", account.client_hold_off_time_secs);
    shown.put_some("bootstrap_server_account_timeout", account.bootstrap_server_account_timeout_secs);
    shown.put("binding", account.binding.as_str());
    put_sms(&mut shown, &account.sms, secrets);
    shown.put("lifetime", account.lifetime_secs);
    shown.put_some("default_min_period", account.default_min_period_secs);
    shown.put_some("default_max_period", account.default_max_period_secs);
    shown.put("disable_timeout", account.disable_timeout_secs);
    shown.put("notification_storing", account.notification_storing);
    shown.put_some("apn_link", account.apn_link.map(|(object, instance)| format!("{object}:{instance}")));
    put_registration(&mut shown, &account.registration);
    shown.put_some("trigger", account.trigger);
    shown.put_some("preferred_transport", account.preferred_transport.as_deref());
    shown.put_some("mute_send", account.mute_send);
    shown.put(
        "provision",
        match &account.provision {
            Provision::None => json!("none"),
            Provision::Own => json!("self"),
            Provision::Target(target) => target_json(target, secrets),
        },
    );
    if account.kind == ServerKind::Bootstrap {
        // They are of an object that the account does not have.
        for field in ["lifetime", "disable_timeout", "notification_storing"] {
            shown.body.remove(field);
        }
    }
    Json::Object(shown.body)
}

fn put_security(shown: &mut Shown, security: &Security, secrets: Secrets) {
    shown.put("security_mode", mode_word(security.mode()));
    match security {
        Security::NoSec => {}
        Security::Psk { identity, key } => {
            shown.put_some("psk_identity", identity.as_ref().map(Template::as_str));
            match key {
                PskKey::Given(key) => shown.put_secret("psk_key", secrets, || hex(key)),
                PskKey::Random(bytes) => shown.put("psk_key", json!({ "random": bytes })),
            }
        }
        Security::RawPublicKey { client, server } => {
            put_client(shown, "client_public_key", client, secrets);
            shown.put_some("server_public_key", server.as_ref().map(|der| BASE64.encode(der)));
        }
        Security::X509 { client, server, certificate_usage } => {
            put_client(shown, "client_certificate", client, secrets);
            shown.put_some("server_certificate", server.as_ref().map(|der| BASE64.encode(der)));
            shown.put_some("certificate_usage", *certificate_usage);
        }
    }
}

fn put_client(shown: &mut Shown, public_field: &str, client: &ClientKeys, secrets: Secrets) {
    if let ClientKeys::Given { public, private } = client {
        shown.put(public_field, BASE64.encode(public));
        shown.put_secret("client_private_key", secrets, || BASE64.encode(private.expose()));
    }
}

fn put_sms(shown: &mut Shown, sms: &Sms, secrets: Secrets) {
    shown.put_some("sms_number", sms.number.as_deref());
    shown.put_some("sms_security_mode", sms.security_mode);
    shown.put_some(
        "sms_binding_key_parameters",
        sms.binding_key_parameters.as_ref().map(|bytes| HEXLOWER.encode(bytes)),
    );
    if let Some(key) = &sms.binding_secret_key {
        shown.put_secret("sms_binding_secret_key", secrets, || hex(key));
    }
}

fn put_registration(shown: &mut Shown, registration: &Registration) {
    shown.put_some("registration_priority", registration.priority);
    shown.put_some("initial_registration_delay", registration.initial_delay_secs);
    shown.put_some("registration_failure_block", registration.failure_block);
    shown.put_some("bootstrap_on_registration_failure", registration.bootstrap_on_failure);
    shown.put_some("communication_retry_count", registration.communication_retry_count);
    shown.put_some("communication_retry_timer", registration.communication_retry_timer_secs);
    shown.put_some("communication_sequence_delay_timer", registration.communication_sequence_delay_timer_secs);
    shown.put_some("communication_sequence_retry_count", registration.communication_sequence_retry_count);
}

fn target_json(target: &ProvisionTarget, secrets: Secrets) -> Json {
    let mut shown = Shown::default();
    shown.put("type", word(&PROVISION_KINDS, &target.kind));
    shown.put("url", target.url.as_str());
    shown.put_some("user", target.user.as_deref());
    if let Some(password) = &target.password {
        // It was read from a text.
        shown.put_secret("password", secrets, || String::from_utf8_lossy(password.expose()).into_owned());
    }
    shown.put_some("domain", target.domain.as_deref());
    Json::Object(shown.body)
}

/// A device entry; with [`Secrets::Shown`] it reads back as the same.
#[must_use]
pub fn entry_json(entry: &DeviceEntry, secrets: Secrets) -> Json {
    let mut shown = Shown::default();
    let server = |server: &AccountOrName| match server {
        AccountOrName::Named(name) => json!(name.as_str()),
        AccountOrName::Inline(account) => account_json(account, secrets),
    };
    shown.put("servers", entry.servers.iter().map(server).collect::<Vec<_>>());
    if !entry.writes.is_empty() {
        let write = |(path, value): &(Path, Json)| {
            let hides = secrets == Secrets::Hidden && DeviceEntry::is_secret(path);
            (path.to_string(), if hides { json!({ SECRET_FIELD: true }) } else { value.clone() })
        };
        shown.put("writes", entry.writes.iter().map(write).collect::<Map<_, _>>());
    }
    let texts = |paths: &Vec<Path>| paths.iter().map(Path::to_string).collect::<Vec<_>>();
    shown.put_some("deletes", entry.deletes.as_ref().map(texts));
    if !entry.access_control.is_empty() {
        let acl = |control: &crate::model::bootstrap::AccessControl| {
            let rights: Map<String, Json> =
                control.rights.iter().map(|(id, bits)| (id.to_string(), json!(bits))).collect();
            json!({ "object": control.object, "instance": control.instance, "owner": control.owner, "acl": rights })
        };
        shown.put("acls", entry.access_control.iter().map(acl).collect::<Vec<_>>());
    }
    let name =
        |number: u16| FORMATS.iter().find(|(_, known)| *known == number).map_or(json!(number), |(name, _)| json!(name));
    shown.put_some("format", entry.format.map(name));
    shown.put("write_by", word(&WRITE_BY, &entry.write_by));
    if !entry.order.is_empty() {
        shown.put("order", entry.order.clone());
    }
    shown.put_some("verify", entry.verify);
    Json::Object(shown.body)
}

//! Reading of server accounts.

use serde_json::Value as Json;

use super::addresses::check_uri;
use super::fields::{Fields, Problems};
use super::keys::bytes;
use super::provisioning::provision;
use super::security::{MODES, refuse_fields_of_others, security};
use super::{Problem, TOLD_FIELDS};
use crate::model::bootstrap::{
    AccountTransport, Provision, Registration, Security, SecurityMode, ServerAccount, ServerKind, Sms, Template,
};
use crate::model::credential::SecretBytes;

/// All fields of an account.
pub const FIELDS: [&str; 40] = [
    "type",
    "transport",
    "ssid",
    "uri",
    "binding",
    "lifetime",
    "client_hold_off_time",
    "bootstrap_server_account_timeout",
    "default_min_period",
    "default_max_period",
    "disable_timeout",
    "notification_storing",
    "security_mode",
    "psk_identity",
    "psk_key",
    "client_public_key",
    "client_certificate",
    "client_private_key",
    "server_public_key",
    "server_certificate",
    "certificate_usage",
    "matching_type",
    "sni",
    "sms_number",
    "sms_security_mode",
    "sms_binding_key_parameters",
    "sms_binding_secret_key",
    "registration_priority",
    "initial_registration_delay",
    "registration_failure_block",
    "bootstrap_on_registration_failure",
    "communication_retry_count",
    "communication_retry_timer",
    "communication_sequence_delay_timer",
    "communication_sequence_retry_count",
    "trigger",
    "preferred_transport",
    "mute_send",
    "apn_link",
    "provision",
];

/// Fields of the Server object without a default. A bootstrap account has no such object; those with a default may
/// stand there, as forms fill them in, and have no effect.
const SERVER_FIELDS: [&str; 14] = [
    "default_min_period",
    "default_max_period",
    "registration_priority",
    "initial_registration_delay",
    "registration_failure_block",
    "bootstrap_on_registration_failure",
    "communication_retry_count",
    "communication_retry_timer",
    "communication_sequence_delay_timer",
    "communication_sequence_retry_count",
    "trigger",
    "preferred_transport",
    "mute_send",
    "apn_link",
];

const SMS_FIELDS: [&str; 4] =
    ["sms_number", "sms_security_mode", "sms_binding_key_parameters", "sms_binding_secret_key"];

/// Words for kinds of servers and for transports.
pub(super) const KINDS: [(&str, ServerKind); 2] =
    [("management", ServerKind::Management), ("bootstrap", ServerKind::Bootstrap)];
pub(super) const TRANSPORTS: [(&str, AccountTransport); 2] =
    [("udp", AccountTransport::Udp), ("tcp", AccountTransport::Tcp)];

/// Letters of bindings (Core TS 1.2.2 section 6.2.1.2); Q is queue mode, before 1.1.
const BINDING_LETTERS: &str = "UTSNMH";

/// Short server ids (/0/x/10).
const SSIDS: std::ops::RangeInclusive<u32> = 1..=65_534;

/// Longest URI and server name, in bytes.
const MAX_URI_BYTES: usize = 255;
const MAX_SNI_BYTES: usize = 253;

/// Longest number of a server, in bytes: 15 digits (ITU-T E.164) with room for how people write them.
const MAX_NUMBER_BYTES: usize = 32;

/// Reads a server account.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_account(body: &Json) -> Result<ServerAccount, Vec<Problem>> {
    let mut problems = Problems::default();
    let account = read_account(body, String::new(), &mut problems);
    problems.result(account)
}

/// Reads an account whose fields stand behind `prefix` in problems; what it answers is good for nothing once there are
/// problems.
pub(super) fn read_account(body: &Json, prefix: String, problems: &mut Problems) -> Option<ServerAccount> {
    let mut opened = Fields::open(body, prefix, "a server account", &FIELDS, &TOLD_FIELDS, problems)?;
    let fields = &mut opened;
    let kind = fields.choice("type", &KINDS).map(Option::unwrap_or_default);
    let mode = fields.choice("security_mode", &MODES).map(|mode| mode.unwrap_or(SecurityMode::NoSec));
    let transport = fields.choice("transport", &TRANSPORTS).ok().flatten();
    let (uri, transport) = address(fields, transport, mode.as_ref().ok().copied());
    let provision = provision(fields).map(|given| match given {
        Some(given) => given,
        None if uri.is_none() => Provision::Own,
        None => Provision::None,
    });
    let provision = provision.ok();
    let security = mode.ok().and_then(|mode| {
        refuse_fields_of_others(fields, mode);
        let is_foreign = fields.has("uri") && provision.as_ref().is_some_and(|told| *told != Provision::Own);
        security(fields, mode, provision.as_ref(), is_foreign)
    });
    let binding = binding(fields, transport);
    let sms = sms(fields, binding.as_deref());
    let preferred_transport = preferred_transport(fields, binding.as_deref());
    if let Ok(kind) = kind {
        refuse_fields_of_other_kinds(fields, kind);
    }
    let all = 0..=u32::MAX;
    let mut account = ServerAccount {
        ssid: fields.integer("ssid", SSIDS),
        sni: fields.text("sni", 1..=MAX_SNI_BYTES).map(str::to_owned),
        matching_type: fields.integer("matching_type", 0..=3),
        client_hold_off_time_secs: fields.integer("client_hold_off_time", all.clone()),
        bootstrap_server_account_timeout_secs: fields.integer("bootstrap_server_account_timeout", all.clone()),
        lifetime_secs: fields.integer("lifetime", all.clone()).unwrap_or(ServerAccount::DEFAULT_SECONDS),
        default_min_period_secs: fields.integer("default_min_period", all.clone()),
        default_max_period_secs: periods(fields),
        disable_timeout_secs: fields.integer("disable_timeout", all.clone()).unwrap_or(ServerAccount::DEFAULT_SECONDS),
        notification_storing: fields.boolean("notification_storing").unwrap_or(true),
        apn_link: apn_link(fields),
        registration: Registration {
            priority: fields.integer("registration_priority", all.clone()),
            initial_delay_secs: fields.integer("initial_registration_delay", all.clone()),
            failure_block: fields.boolean("registration_failure_block"),
            bootstrap_on_failure: fields.boolean("bootstrap_on_registration_failure"),
            communication_retry_count: fields.integer("communication_retry_count", all.clone()),
            communication_retry_timer_secs: fields.integer("communication_retry_timer", all.clone()),
            communication_sequence_delay_timer_secs: fields.integer("communication_sequence_delay_timer", all.clone()),
            communication_sequence_retry_count: fields.integer("communication_sequence_retry_count", all),
        },
        trigger: fields.boolean("trigger"),
        mute_send: fields.boolean("mute_send"),
        kind: kind.ok()?,
        transport,
        uri,
        security: security?,
        binding: binding?,
        sms,
        preferred_transport,
        provision: provision?,
    };
    if account.kind == ServerKind::Bootstrap {
        let default = ServerAccount::new(account.kind, Security::NoSec);
        account.lifetime_secs = default.lifetime_secs;
        account.disable_timeout_secs = default.disable_timeout_secs;
        account.notification_storing = default.notification_storing;
    }
    Some(account)
}

/// URI and transport; the scheme of a whole URI says the transport where the account does not.
fn address(
    fields: &mut Fields<'_, '_>,
    given: Option<AccountTransport>,
    mode: Option<SecurityMode>,
) -> (Option<Template>, AccountTransport) {
    let Some(text) = fields.text("uri", 1..=MAX_URI_BYTES) else { return (None, given.unwrap_or_default()) };
    let scheme = match check_uri(text) {
        Ok(scheme) => scheme,
        Err(reason) => {
            fields.wrong::<()>("uri", reason);
            None
        }
    };
    if let Some(scheme) = scheme {
        let of_mode = mode.and_then(|mode| scheme.contradicts(mode));
        let of_transport = given.and_then(|transport| scheme.contradicts_transport(transport));
        for contradiction in [of_mode, of_transport].into_iter().flatten() {
            fields.wrong::<()>("uri", contradiction);
        }
    }
    let transport = given.or(scheme.map(|scheme| scheme.transport)).unwrap_or_default();
    (Some(Template::new(text)), transport)
}

/// The binding: by default the letter of the transport.
fn binding(fields: &mut Fields<'_, '_>, transport: AccountTransport) -> Option<String> {
    let Some(text) = fields.text("binding", 1..=BINDING_LETTERS.len() + 1) else {
        let default = if transport == AccountTransport::Tcp { "T" } else { "U" };
        return (!fields.has("binding")).then(|| default.to_owned());
    };
    let is_known = |letter: char| BINDING_LETTERS.contains(letter) || letter == 'Q';
    let is_repeated = |(at, letter): (usize, char)| text.get(..at).is_some_and(|before| before.contains(letter));
    if !text.chars().all(is_known) {
        let upper = text.to_ascii_uppercase();
        let hint = if upper.chars().all(is_known) { format!("; did you mean {upper}?") } else { String::new() };
        return fields.wrong(
            "binding",
            format!("is not made of the letters U, T, S, N, M and H, with a Q for queue mode before 1.1{hint}"),
        );
    }
    if text.char_indices().any(is_repeated) {
        return fields.wrong("binding", "has a letter twice");
    }
    if text.starts_with('Q') {
        return fields.wrong("binding", "begins with Q, which stands behind the letters of transports: UQ, SQ, UQS");
    }
    Some(text.to_owned())
}

fn sms(fields: &mut Fields<'_, '_>, binding: Option<&str>) -> Sms {
    if binding.is_some_and(|binding| !binding.contains('S')) {
        for field in SMS_FIELDS {
            if fields.has(field) {
                fields.wrong::<()>(field, "goes with a binding that has an S: S, SQ, US, UQS");
            }
        }
    }
    Sms {
        number: number(fields),
        security_mode: fields.integer("sms_security_mode", 0..=255),
        binding_key_parameters: fields
            .has("sms_binding_key_parameters")
            .then(|| bytes(fields, "sms_binding_key_parameters", 6..=6).map(Into::into))
            .flatten(),
        binding_secret_key: bytes(fields, "sms_binding_secret_key", 16..=48).map(|key| SecretBytes::new(&key)),
    }
}

fn number(fields: &mut Fields<'_, '_>) -> Option<String> {
    let text = fields.text("sms_number", 1..=MAX_NUMBER_BYTES)?;
    let is_number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit() || b"+ -()./".contains(&byte))
            && text.bytes().any(|byte| byte.is_ascii_digit())
    };
    if is_number(text) {
        Some(text.to_owned())
    } else {
        fields.wrong("sms_number", "is no telephone number such as +441234567890")
    }
}

fn preferred_transport(fields: &mut Fields<'_, '_>, binding: Option<&str>) -> Option<String> {
    let text = fields.text("preferred_transport", 1..=MAX_NUMBER_BYTES)?;
    if text.len() != 1 || !BINDING_LETTERS.contains(text) {
        return fields.wrong("preferred_transport", "is not one of the letters U, T, S, N, M and H");
    }
    if binding.is_some_and(|binding| !binding.contains(text)) {
        return fields.wrong("preferred_transport", "is no letter of binding; add it there");
    }
    Some(text.to_owned())
}

fn refuse_fields_of_other_kinds(fields: &mut Fields<'_, '_>, kind: ServerKind) {
    let (others, message): (&[&str], _) = match kind {
        ServerKind::Management => {
            (&["bootstrap_server_account_timeout"], "goes with type bootstrap: a management account never times out")
        }
        ServerKind::Bootstrap => {
            (&SERVER_FIELDS, "goes with type management: it is of the Server object, which a bootstrap account has not")
        }
    };
    for field in others {
        if fields.has(field) {
            fields.wrong::<()>(field, message);
        }
    }
}

/// The maximum period, which 0 switches off.
fn periods(fields: &mut Fields<'_, '_>) -> Option<u32> {
    let most: u32 = fields.integer("default_max_period", 0..=u32::MAX)?;
    let least = fields.get("default_min_period").and_then(Json::as_u64).unwrap_or_default();
    if most != 0 && u64::from(most) < least {
        return fields.wrong("default_max_period", "is shorter than default_min_period");
    }
    Some(most)
}

/// An object link: `11:0`.
fn apn_link(fields: &mut Fields<'_, '_>) -> Option<(u16, u16)> {
    let text = fields.text("apn_link", 1..=MAX_NUMBER_BYTES)?;
    let id = |digits: &str| digits.parse::<u16>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match text.split_once(':').and_then(|(object, instance)| Some((id(object)?, id(instance)?))) {
        Some(link) => Some(link),
        None => fields.wrong("apn_link", "is no link to an instance such as \"11:0\": object, colon, instance"),
    }
}

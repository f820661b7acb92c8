//! Who is told of a device before its bootstrap ends.

use std::sync::Arc;

use serde_json::Value as Json;

use super::fields::{Fields, HIDDEN_MESSAGE, Told, is_hidden, kind, wrong_word};
use crate::model::bootstrap::{Provision, ProvisionKind, ProvisionTarget};
use crate::model::credential::SecretBytes;

/// Longest URL of a target, in bytes.
const MAX_URL_BYTES: usize = 1_024;

/// Longest user, password and domain, in bytes.
const MAX_NAME_BYTES: usize = 255;
const MAX_PASSWORD_BYTES: usize = 4_096;

/// Words for targets.
pub(super) const KINDS: [(&str, ProvisionKind); 3] =
    [("leshan", ProvisionKind::Leshan), ("thingsboard", ProvisionKind::ThingsBoard), ("coiote", ProvisionKind::Coiote)];

/// Reads `provision`; `None` if it is not given.
pub(super) fn provision(fields: &mut Fields<'_, '_>) -> Result<Option<Provision>, Told> {
    match fields.get("provision") {
        None => Ok(None),
        Some(Json::String(word)) => match word.as_str() {
            "none" => Ok(Some(Provision::None)),
            "self" => Ok(Some(Provision::Own)),
            _ if KINDS.iter().any(|(kind, _)| kind == word) => {
                Err(fields.told("provision", format!("needs a url: {{\"type\":\"{word}\",\"url\":\"https://..\"}}")))
            }
            _ => Err(fields.told("provision", wrong_word(word, &["none", "self", "an object with type and url"]))),
        },
        Some(Json::Object(_)) => {
            let before = fields.problems().count();
            let known = ["type", "url", "user", "password", "domain"];
            let target =
                fields.nested("provision", "a provisioning target", &known).and_then(|mut fields| target(&mut fields));
            match target {
                Some(target) if fields.problems().count() == before => Ok(Some(Provision::Target(Arc::new(target)))),
                _ => Err(Told),
            }
        }
        Some(other) => {
            let message = format!("is {}, not none, self or an object with type and url", kind(other));
            Err(fields.told("provision", message))
        }
    }
}

fn target(fields: &mut Fields<'_, '_>) -> Option<ProvisionTarget> {
    let kind = match fields.choice("type", &KINDS) {
        Ok(Some(kind)) => Some(kind),
        Ok(None) => fields.wrong("type", "is missing: leshan, thingsboard or coiote"),
        Err(Told) => None,
    };
    let url = match fields.text("url", 1..=MAX_URL_BYTES) {
        Some(url) => match check_url(url) {
            Ok(()) => Some(url.trim_end_matches('/').to_owned()),
            Err(reason) => fields.wrong("url", reason),
        },
        None if fields.has("url") => None,
        None => fields.wrong("url", "is missing: where the server's API is, https://host:port"),
    };
    let user = fields.text("user", 1..=MAX_NAME_BYTES).map(str::to_owned);
    let password = match fields.get("password") {
        Some(value) if is_hidden(value) => fields.wrong("password", HIDDEN_MESSAGE),
        _ => fields.text("password", 1..=MAX_PASSWORD_BYTES).map(|text| SecretBytes::new(text.as_bytes())),
    };
    let domain = fields.text("domain", 1..=MAX_NAME_BYTES).map(str::to_owned);
    if kind == Some(ProvisionKind::Leshan) && domain.is_some() {
        return fields.wrong("domain", "does not go with leshan, which has none");
    }
    Some(ProvisionTarget { kind: kind?, url: url?, user, password, domain })
}

/// The URL is not repeated in what is wrong with it: people put passwords there.
fn check_url(url: &str) -> Result<(), String> {
    let begins = |scheme: &str| url.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme));
    let Some(scheme) = begins("http://").or_else(|| begins("https://")) else {
        return Err("is no URL that begins with http:// or https://".to_owned());
    };
    let rest = url.get(scheme.len()..).unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("holds a user or password; give them in user and password".to_owned());
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err("has no host".to_owned());
    }
    if rest.contains(['?', '#']) || url.contains(' ') {
        return Err("has a query, fragment or blank; give where the server's API begins".to_owned());
    }
    Ok(())
}

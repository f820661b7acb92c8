//! Credentials for API callers and requests over sinks: lists, changes, blocks. What is secret is never shown.

use std::ops::Bound;

use serde_json::{Value as Json, json};

use super::core::Core;
use super::credentials::changing::Claims;
use super::credentials::entry::{Entry, Pattern};
use super::credentials::scope_word;
use super::services::Held;
use super::vocabulary::{Answer, RequestId};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::credential::{Proof, Scope, shown_identity};
use crate::model::credential_wish::{CredentialWish, Means};
use crate::model::endpoint::Endpoint;
use crate::model::time::WallTime;

/// Both scopes, in the order of lists.
const SCOPES: [Scope; 2] = [Scope::Server, Scope::Bootstrap];

impl Core {
    /// A page of credentials.
    pub(super) fn list_credentials(
        &mut self,
        search: &str,
        scope: Option<Scope>,
        after: Option<&str>,
        limit: usize,
    ) -> Answer {
        let after = match after.map(parse_cursor) {
            None => None,
            Some(Some(after)) => Some(after),
            Some(None) => {
                let message = "after: this is no cursor of this list";
                return Answer::Failed(CommandError::new(ErrorKind::Invalid, message));
            }
        };
        let credentials = &self.services().credentials;
        let mut found: Vec<(&Entry, Scope)> = Vec::new();
        for of in SCOPES.into_iter().filter(|of| scope.is_none_or(|scope| scope == *of)) {
            let first = match after {
                None => Bound::Unbounded,
                Some((last, name)) if of <= last => Bound::Excluded(name),
                Some((_, name)) => Bound::Included(name),
            };
            let fitting = credentials.iter_from(of, first).filter(|entry| fits(entry, search));
            found.extend(fitting.take(limit.saturating_add(1)).map(|entry| (entry, of)));
        }
        found.sort_by(|(one, in_one), (other, in_other)| (&one.endpoint, in_one).cmp(&(&other.endpoint, in_other)));
        let more = found.len() > limit;
        found.truncate(limit);
        let cursor = |(entry, scope): &(&Entry, Scope)| format!("{}/{}", scope_word(*scope), entry.endpoint);
        let next = found.last().filter(|_| more).map(cursor);
        let items: Vec<Json> = found.iter().map(|(entry, scope)| credential_json(*scope, entry)).collect();
        Answer::Body(json!({ "items": items, "next": next }))
    }

    /// One credential.
    pub(super) fn show_credential(&mut self, scope: Scope, endpoint: &str) -> Answer {
        match self.services().credentials.get(scope, endpoint) {
            Some(entry) => Answer::Body(credential_json(scope, entry)),
            None => Answer::Failed(no_credential(scope, endpoint)),
        }
    }

    /// Puts a credential; the answer is to be told when it is durable.
    pub(super) fn put_credential(&mut self, wish: CredentialWish) -> Result<Json, CommandError> {
        let (scope, endpoint) = (wish.scope, wish.endpoint.clone());
        let created = self.put_one(wish)?;
        self.tell_credentials_changed();
        let entry = self.services().credentials.get(scope, endpoint.as_str());
        let mut about = entry.map(|entry| credential_json(scope, entry)).unwrap_or_default();
        about["created"] = created.into();
        Ok(about)
    }

    /// Puts many credentials, each with its own result.
    pub(super) fn put_credentials(
        &mut self,
        wishes: Vec<Result<CredentialWish, CommandError>>,
        all_or_nothing: bool,
        dry_run: bool,
    ) -> Json {
        let mut results: Vec<Result<bool, CommandError>> = Vec::with_capacity(wishes.len());
        if all_or_nothing || dry_run {
            let mut claims = Claims::default();
            for wish in &wishes {
                results.push(wish.as_ref().map_err(Clone::clone).and_then(|wish| self.check_one(wish, &mut claims)));
            }
        }
        let refused = results.iter().any(Result::is_err);
        let taken = !(dry_run || all_or_nothing && refused);
        let names: Vec<Option<(Scope, Endpoint)>> =
            wishes.iter().map(|wish| wish.as_ref().ok().map(|wish| (wish.scope, wish.endpoint.clone()))).collect();
        if taken {
            results = wishes.into_iter().map(|wish| wish.and_then(|wish| self.put_one(wish))).collect();
            self.tell_credentials_changed();
        }
        let (mut created, mut changed, mut failed) = (0, 0, 0);
        let items: Vec<Json> = results
            .iter()
            .zip(names)
            .map(|(result, name)| {
                let mut item = match result {
                    Err(error) => {
                        failed += 1;
                        json!({ "status": "failed", "error": error.to_json() })
                    }
                    Ok(_) if !taken && !dry_run => json!({ "status": "not_taken" }),
                    Ok(true) => {
                        created += 1;
                        json!({ "status": "created" })
                    }
                    Ok(false) => {
                        changed += 1;
                        json!({ "status": "changed" })
                    }
                };
                if let Some((scope, endpoint)) = name {
                    item["endpoint"] = endpoint.as_str().into();
                    item["scope"] = scope_word(scope).into();
                }
                item
            })
            .collect();
        json!({ "items": items, "created": created, "changed": changed, "failed": failed, "dry_run": dry_run })
    }

    /// Removes a credential.
    pub(super) fn remove_credential(&mut self, scope: Scope, endpoint: &str) -> Result<Json, CommandError> {
        if !self.services().remove_credential(scope, endpoint) {
            return Err(no_credential(scope, endpoint));
        }
        self.tell_credentials_changed();
        Ok(json!({ "endpoint": endpoint, "scope": scope_word(scope) }))
    }

    /// Blocks a device, known or not, by name or endpoint.
    pub(super) fn device_block(&mut self, body: &Json) -> Result<Json, CommandError> {
        let invalid = |message: String| CommandError::new(ErrorKind::Invalid, message);
        let name = body.get("device").and_then(Json::as_str).ok_or_else(|| invalid("device is missing".to_owned()))?;
        let (_, devices, _) = self.parts();
        let known = devices.key_of(name).and_then(|key| devices.table.get(key)).map(|device| device.endpoint.clone());
        let endpoint = match known {
            Some(endpoint) => endpoint,
            None => Endpoint::new(name).map_err(|error| invalid(format!("device: {error}")))?,
        };
        self.put_one(CredentialWish::new(endpoint.clone(), Means::Blocked))?;
        self.tell_credentials_changed();
        Ok(json!({ "endpoint": endpoint.as_str() }))
    }

    /// Holds an answer until what it tells is durable.
    pub(super) fn answer_when_durable(
        &mut self,
        request: RequestId,
        answer: Result<Json, CommandError>,
    ) -> Option<Answer> {
        match answer {
            Ok(body) => {
                self.services().journal.when_durable(Held::ApiAnswer { request, answer: Answer::Body(body) });
                None
            }
            Err(error) => Some(Answer::Failed(error)),
        }
    }

    fn check_one(&mut self, wish: &CredentialWish, claims: &mut Claims) -> Result<bool, CommandError> {
        let (services, devices, _) = self.parts();
        if let Some(name) = &wish.name
            && devices.key_of(name).is_some_and(|key| devices.key_of_endpoint(wish.endpoint.as_str()) != Some(key))
        {
            return Err(CommandError::new(ErrorKind::Conflict, format!("name: another device is called '{name}'")));
        }
        services.check_credential(wish, claims)?;
        Ok(services.credentials.get(wish.scope, wish.endpoint.as_str()).is_none())
    }

    fn put_one(&mut self, wish: CredentialWish) -> Result<bool, CommandError> {
        self.check_one(&wish, &mut Claims::default())?;
        let (endpoint, name, tags) = (wish.endpoint.clone(), wish.name.clone(), wish.tags.clone());
        let created = self.services().put_credential(wish)?;
        let (_, devices, _) = self.parts();
        let key = devices.key_of_endpoint(endpoint.as_str());
        if key.is_some() && devices.key_of(endpoint.as_str()) == key && (name.is_some() || tags.is_some()) {
            let mut options = json!({ "device": endpoint.as_str() });
            if let Some(name) = name {
                options["name"] = name.into();
            }
            if let Some(tags) = tags {
                options["tags"] = tags.into();
            }
            self.device_options(&options)?;
        }
        Ok(created)
    }

    fn tell_credentials_changed(&mut self) {
        let (services, devices, _) = self.parts();
        devices.credentials_changed(services);
    }
}

fn no_credential(scope: Scope, endpoint: &str) -> CommandError {
    let message = format!("there is no credential '{endpoint}' in scope {}", scope_word(scope));
    CommandError::new(ErrorKind::NotFound, message)
}

/// Scope and name of a cursor.
fn parse_cursor(cursor: &str) -> Option<(Scope, &str)> {
    let (word, name) = cursor.split_once('/')?;
    SCOPES.into_iter().find(|scope| scope_word(*scope) == word).map(|scope| (scope, name))
}

fn fits(entry: &Entry, search: &str) -> bool {
    if search.is_empty() || entry.endpoint.as_str().contains(search) {
        return true;
    }
    let proof = match entry.means.proof() {
        Some(Proof::Psk { identity, .. }) => shown_identity(identity).contains(search),
        Some(Proof::Subject { subject }) => subject.contains(search),
        Some(Proof::PublicKey { .. } | Proof::Certificate { .. }) | None => false,
    };
    proof || entry.name.as_deref().is_some_and(|name| name.contains(search))
}

/// A credential without what is secret.
fn credential_json(scope: Scope, entry: &Entry) -> Json {
    let mut about = json!({
        "endpoint": entry.endpoint.as_str(),
        "scope": scope_word(scope),
        "mode": entry.means.mode(),
        "endpoints": entry.endpoints.as_ref().map(Pattern::as_str),
        "created_at": entry.created_at.millis(),
        "changed_at": entry.changed_at.millis(),
        "last_used_at": entry.last_used_at.map(WallTime::millis),
        "name": entry.name,
        "tags": entry.tags,
    });
    if let Some(proof) = entry.means.proof() {
        show_proof(proof, &mut about);
    }
    if let Some(subject) = &entry.certificate_subject {
        about["subject"] = (**subject).into();
    }
    if let Some(former) = &entry.former {
        let mut old = json!({ "mode": Means::Proof(former.proof.clone()).mode(), "until": former.until.millis() });
        show_proof(&former.proof, &mut old);
        about["old"] = old;
    }
    about
}

fn show_proof(proof: &Proof, about: &mut Json) {
    match proof {
        Proof::Psk { identity, .. } => match std::str::from_utf8(identity) {
            Ok(text) if shown_identity(identity) == text => about["identity"] = text.into(),
            _ => about["identity_hex"] = data_encoding::HEXLOWER.encode(identity).into(),
        },
        Proof::PublicKey { spki } => about["public_key"] = data_encoding::BASE64.encode(spki).into(),
        Proof::Certificate { fingerprint } => {
            about["fingerprint"] = data_encoding::HEXLOWER.encode(fingerprint).into();
        }
        Proof::Subject { subject } => about["subject"] = (**subject).into(),
    }
}

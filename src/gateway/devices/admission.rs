//! Who may register under which endpoint name.
//!
//! | peer | may register |
//! |---|---|
//! | proved an identity | the names that its credential opens (Core TS 1.2.2, Transport section 5.2.1) |
//! | without, name has a credential | never |
//! | without, device is known by an identity that still counts | never |
//! | without, otherwise | known devices; others as `unknown_devices` says |
//!
//! An endpoint that registered by one identity is not taken over by another one, unless that is the name's own.

use std::sync::Arc;

use super::Devices;
use super::device::Device;
use crate::gateway::configuration::{Refusal, UnknownDevices};
use crate::gateway::credentials::PlainAccess;
use crate::gateway::services::Services;
use crate::gateway::vocabulary::{Authenticated, Peer};
use crate::model::credential::{Identity, Scope};
use crate::model::endpoint::Endpoint;
use crate::model::event::EventKind;
use crate::protocol::coap::message::Code;

/// A registration is not taken: the code to answer with, or silence.
pub(super) struct NotAdmitted(pub(super) Option<Code>);

impl Devices {
    /// Whether a peer may register under a name. A refusal is counted, listed and told of here.
    pub(super) fn admit(&self, services: &mut Services, peer: Peer, endpoint: &Endpoint) -> Result<(), NotAdmitted> {
        match proven(services, peer) {
            Some(who) => self.admit_proven(services, peer, &who, endpoint),
            None => self.admit_plain(services, peer, endpoint),
        }
    }

    /// A peer registers under the name of a device.
    pub(super) fn admitted(&mut self, services: &mut Services, key: usize, peer: Peer) {
        let who = services.who(peer).cloned();
        if let Some(who) = &who {
            services.credential_used(Scope::Server, who);
        }
        if let Some(device) = self.table.get(key) {
            let endpoint = device.endpoint.clone();
            services.credential_readmitted(Scope::Server, endpoint.as_str());
        }
        self.set_who(key, who);
    }

    fn admit_proven(
        &self,
        services: &mut Services,
        peer: Peer,
        who: &Authenticated,
        endpoint: &Endpoint,
    ) -> Result<(), NotAdmitted> {
        let rule = services.configuration.lwm2m.x509_endpoint;
        if let Err(denied) = services.credentials.secure_access(Scope::Server, who, endpoint.as_str(), rule) {
            services.refuse(endpoint.as_str(), peer, denied.word, &denied.reason);
            let code = if denied.word == "identity_mismatch" { Code::BAD_REQUEST } else { Code::FORBIDDEN };
            return Err(NotAdmitted(Some(code)));
        }
        let holder = self.key_of_endpoint(endpoint.as_str()).and_then(|key| self.table.get(key));
        let Some(holder) = holder.filter(|holder| holder.registration.is_some()) else { return Ok(()) };
        let taken = holder.who.as_ref().is_some_and(|holder| holder.identity != who.identity);
        if !taken || services.credentials.is_own(Scope::Server, who, endpoint.as_str()) {
            return Ok(());
        }
        let reason = format!(
            "'{}' wants to register a name that '{}' holds",
            who.identity,
            holder.who.as_ref().map(|holder| holder.identity.to_string()).unwrap_or_default()
        );
        let name = holder.name.clone();
        services.refuse(endpoint.as_str(), peer, "endpoint_conflict", &reason);
        services.event(EventKind::EndpointConflict, Some(endpoint), name.as_deref(), reason);
        Err(NotAdmitted(Some(Code::FORBIDDEN)))
    }

    fn admit_plain(&self, services: &mut Services, peer: Peer, endpoint: &Endpoint) -> Result<(), NotAdmitted> {
        let known = self.key_of_endpoint(endpoint.as_str()).and_then(|key| self.table.get(key));
        let refused = match services.credentials.plain_access(endpoint.as_str()) {
            PlainAccess::Allowed => None,
            PlainAccess::NeedsCredential => Some((
                "credential_required",
                "the endpoint has a credential, and came without: it must use DTLS or TLS".to_owned(),
            )),
            PlainAccess::Blocked => Some(("blocked", format!("endpoint '{endpoint}' is blocked"))),
            PlainAccess::Removed => Some((
                "credential_removed",
                "the credential of the endpoint was removed; give it one again, or permit joining".to_owned(),
            )),
            PlainAccess::Unknown => match known {
                Some(device) if proved(device) && still_proves(services, device) => Some((
                    "credential_required",
                    "the device registered by a credential before; remove it to let it in without".to_owned(),
                )),
                Some(device) if !proved(device) => None,
                // What it proved itself by is gone: it is as good as any other.
                _ if self.admits_unknown(services) => None,
                _ => Some(("unknown_device", "the device is unknown and the join window is closed".to_owned())),
            },
        };
        let Some((word, reason)) = refused else { return Ok(()) };
        services.refuse(endpoint.as_str(), peer, word, &reason);
        Err(NotAdmitted(match services.configuration.lwm2m.refusal {
            Refusal::Silent => None,
            Refusal::Answer => Some(Code::FORBIDDEN),
        }))
    }

    fn admits_unknown(&self, services: &Services) -> bool {
        match services.configuration.lwm2m.unknown_devices {
            UnknownDevices::Accept => true,
            UnknownDevices::Refuse => false,
            UnknownDevices::Window => self.join_until.is_some_and(|until| services.now < until),
        }
    }
}

/// The name of a peer that gives none in its Register: that of its credential (Core TS 1.2.2 section 6.2.1).
pub(super) fn name_by_identity(services: &Services, peer: Peer) -> Option<String> {
    let rule = services.configuration.lwm2m.x509_endpoint;
    services.credentials.endpoint_of(Scope::Server, services.who(peer)?, rule)
}

/// Who a peer proved to be; `None` if it proved nothing.
pub(in crate::gateway) fn proven(services: &Services, peer: Peer) -> Option<Arc<Authenticated>> {
    services.who(peer).filter(|who| who.identity != Identity::Anonymous).cloned()
}

/// Whether a device proved who it is when it registered.
fn proved(device: &Device) -> bool {
    device.who.as_ref().is_some_and(|who| who.identity != Identity::Anonymous)
}

/// Whether what a device proved itself by still counts.
fn still_proves(services: &Services, device: &Device) -> bool {
    device.who.as_ref().is_some_and(|who| services.credentials.is_current(Scope::Server, who))
}

/// Why the credentials in force would not let a registered device in again as it came.
pub(super) fn why_not(services: &Services, device: &Device) -> Option<&'static str> {
    let endpoint = device.endpoint.as_str();
    if !proved(device) {
        return match services.credentials.plain_access(endpoint) {
            PlainAccess::Unknown | PlainAccess::Allowed => None,
            PlainAccess::NeedsCredential => Some("credential required"),
            PlainAccess::Blocked => Some("blocked"),
            PlainAccess::Removed => Some("credential removed"),
        };
    }
    let who = device.who.as_ref()?;
    let rule = services.configuration.lwm2m.x509_endpoint;
    let allowed = services.credentials.secure_access(Scope::Server, who, endpoint, rule);
    allowed.err().map(|denied| match denied.word {
        "blocked" => "blocked",
        "identity_mismatch" => "credential is for other names",
        _ => "credential removed",
    })
}

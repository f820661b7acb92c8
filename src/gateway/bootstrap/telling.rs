//! Before Finish everybody who has to know the device does: this gateway by a credential, other servers by their API.
//!
//! Of this gateway the credential before stays valid until the new one was used, or [`KEEP_OLD`] passed: a device that
//! loses what it was given, or never gets to Finish, is still known by what it had.

use std::collections::BTreeMap;
use std::time::Duration;

use super::BootstrapServer;
use super::orders::{BootstrapOrder, OrderId};
use super::plan::Given;
use super::session::Stage;
use crate::gateway::devices::Devices;
use crate::gateway::services::{Held, Services};
use crate::gateway::vocabulary::Output;
use crate::model::bootstrap::{Provision, ProvisionKind, ProvisionTarget};
use crate::model::credential::Scope;
use crate::model::credential_wish::CredentialWish;

/// How long a credential stays valid whose successor is not used.
pub(super) const KEEP_OLD: Duration = Duration::from_secs(24 * 60 * 60);

impl BootstrapServer {
    /// Everything is written: others are told, once.
    ///
    /// # Errors
    /// Why this gateway cannot know the device.
    pub(super) fn tell_others(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        number: u64,
    ) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        if std::mem::replace(&mut session.told, true) {
            self.confirm(services, number);
            return Ok(());
        }
        let endpoint = session.endpoint.clone();
        let given = session.plan.given.clone();
        for given in &given {
            let Provision::Target(target) = &given.provision else { continue };
            let order = self.new_order(number);
            let (target, credential) = (target.clone(), given.credential.clone());
            if let Some(session) = self.sessions.get_mut(&number) {
                let step = session.log.begin("provision", shown(&target), services.wall(), services.now);
                if let Stage::Telling(orders) = &mut session.stage {
                    orders.insert(order, step);
                } else {
                    session.stage = Stage::Telling(BTreeMap::from([(order, step)]));
                }
            }
            let order = BootstrapOrder::Provision { order, target, endpoint: endpoint.clone(), credential };
            services.outputs.push_back(Output::Bootstrap(order));
        }
        let waits = self.sessions.get(&number).is_some_and(|session| matches!(session.stage, Stage::Telling(_)));
        if !waits {
            self.tell_gateway(services, devices, number)?;
        }
        Ok(())
    }

    /// The other servers know the device, or one of them does not.
    pub(super) fn provisioned(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        number: u64,
        order: OrderId,
        result: Result<(), String>,
    ) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let Stage::Telling(orders) = &mut session.stage else { return };
        let Some(step) = orders.remove(&order) else { return };
        session.log.end_step(step, services.now, None, result.as_ref().err().cloned().unwrap_or_default());
        let left = !orders.is_empty();
        let outcome = match result {
            Err(reason) => Err(format!("another server could not be told of the device: {reason}")),
            Ok(()) if left => Ok(()),
            Ok(()) => self.tell_gateway(services, devices, number),
        };
        if let Err(reason) = outcome {
            self.fail(services, number, &reason);
        }
    }

    /// This gateway knows the device last: what it had before counts as long as anything can still go wrong.
    fn tell_gateway(&mut self, services: &mut Services, devices: &mut Devices, number: u64) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        let (endpoint, peer) = (session.endpoint.clone(), session.peer);
        let own: Vec<Given> =
            session.plan.given.iter().filter(|given| given.provision == Provision::Own).cloned().collect();
        for given in own {
            let wish = CredentialWish {
                scope: given.scope,
                certificate_subject: given.certificate_subject,
                keep_old: Some(KEEP_OLD),
                until_used: true,
                ..CredentialWish::new(endpoint.clone(), given.means)
            };
            if let Some(session) = self.sessions.get_mut(&number) {
                session.log.begin("provision", "this gateway", services.wall(), services.now);
            }
            services.put_credential(wish).map_err(|error| format!("this gateway cannot know the device: {error}"))?;
            if let Some(session) = self.sessions.get_mut(&number) {
                session.log.end(services.now, None, "");
            }
            services.credentials_stale = true;
            if given.scope == Scope::Server {
                devices.know(services, &endpoint, peer);
            }
        }
        self.confirm(services, number);
        Ok(())
    }

    /// Whether the device has proven itself at this gateway by what this session gave it.
    pub(super) fn was_taken_up(&self, services: &Services, number: u64) -> bool {
        let Some(session) = self.sessions.get(&number) else { return false };
        session.plan.given.iter().filter(|given| given.provision == Provision::Own).any(|given| {
            let known = services.credentials.get(given.scope, session.endpoint.as_str());
            known.is_some_and(|known| known.means == given.means && known.last_used_at.is_some())
        })
    }

    fn confirm(&mut self, services: &mut Services, number: u64) {
        if let Some(session) = self.sessions.get_mut(&number) {
            session.stage = Stage::Confirming;
        }
        services.journal.when_durable(Held::Bootstrap(number));
    }
}

fn shown(target: &ProvisionTarget) -> String {
    let kind = match target.kind {
        ProvisionKind::Leshan => "leshan",
        ProvisionKind::ThingsBoard => "thingsboard",
        ProvisionKind::Coiote => "coiote",
    };
    format!("{kind} {}", target.url)
}

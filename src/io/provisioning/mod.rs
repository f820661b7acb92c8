//! Other servers that have to know a device before it comes to them.
//!
//! [`provision`] tells one server of one device, by the API of that server: [`leshan`], [`thingsboard`], [`coiote`]. A device
//! that is there already is updated: what is told twice is no error, and a device that bootstraps anew has new keys. What
//! the three have in common, requests with their bounds and errors for operators, is in [`api`].
//!
//! # Invariants
//! No error holds a password, token or key, not even where a server repeats what it was sent.

mod api;
mod coiote;
mod leshan;
#[cfg(test)]
mod tests;
mod thingsboard;

use std::time::Duration;

use super::http_client::{Place, Times};
use crate::gateway::bootstrap::orders::ProvisionCredential;
use crate::model::bootstrap::{ProvisionKind, ProvisionTarget};
use crate::model::endpoint::Endpoint;
use api::Api;

/// How long a server may take to be reached and to answer one request; there are up to five.
const TIMES: Times = Times { connect: Duration::from_secs(10), answer: Duration::from_secs(20) };

/// Tells a server of a device and of what it will prove itself by.
///
/// # Errors
/// Why not and what to do, in one line for the operator. Holds no secret.
pub async fn provision(
    target: &ProvisionTarget,
    endpoint: &Endpoint,
    credential: &ProvisionCredential,
) -> Result<(), String> {
    provision_within(TIMES, target, endpoint, credential).await
}

/// A target as messages name it: by its URL, unless something else may stand there.
#[must_use]
pub fn shown(target: &ProvisionTarget) -> &str {
    // People put passwords into what is no URL for us.
    if Place::parse(&target.url).is_some() { &target.url } else { "the provisioning target" }
}

async fn provision_within(
    times: Times,
    target: &ProvisionTarget,
    endpoint: &Endpoint,
    credential: &ProvisionCredential,
) -> Result<(), String> {
    let api = Api::new(target, credential, times)?;
    match target.kind {
        ProvisionKind::Leshan => leshan::provision(api, endpoint, credential).await,
        ProvisionKind::ThingsBoard => thingsboard::provision(api, endpoint, credential).await,
        ProvisionKind::Coiote => coiote::provision(api, endpoint, credential).await,
    }
}

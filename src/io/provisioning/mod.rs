//! Other servers that have to know a device before it comes to them.

use crate::gateway::bootstrap::orders::ProvisionCredential;
use crate::model::bootstrap::ProvisionTarget;
use crate::model::endpoint::Endpoint;

/// Tells a server of a device and of what it will prove itself by.
///
/// # Errors
/// Why not, for the operator. Holds no secret.
pub async fn provision(
    target: &ProvisionTarget,
    _endpoint: &Endpoint,
    _credential: &ProvisionCredential,
) -> Result<(), String> {
    Err(format!("{:?} cannot be told of devices yet", target.kind))
}

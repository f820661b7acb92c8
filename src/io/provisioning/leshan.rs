//! Leshan's demo server: `PUT /api/security/clients/`, which also replaces.

use data_encoding::{BASE64, HEXLOWER};
use hyper::header;
use serde_json::json;

use super::api::{Api, Body};
use crate::gateway::bootstrap::orders::ProvisionCredential;
use crate::model::endpoint::Endpoint;

pub(super) async fn provision(
    mut api: Api<'_>,
    endpoint: &Endpoint,
    credential: &ProvisionCredential,
) -> Result<(), String> {
    let tls = match credential {
        // It takes devices without security that it does not know.
        ProvisionCredential::NoSec => return Ok(()),
        ProvisionCredential::Psk { identity, key } => {
            json!({ "mode": "psk", "details": { "identity": identity, "key": HEXLOWER.encode(key.expose()) } })
        }
        ProvisionCredential::RawPublicKey(spki) => {
            json!({ "mode": "rpk", "details": { "key": HEXLOWER.encode(spki) } })
        }
        // Whom it believes is a matter of its trust store; the name has to be the endpoint's.
        ProvisionCredential::Certificate(_) => json!({ "mode": "x509" }),
    };
    // It asks for nothing itself, what stands in front of it may.
    if api.target.user.is_some() || api.target.password.is_some() {
        let (user, password) = api.login()?;
        api.authorize(header::AUTHORIZATION, "Basic", &BASE64.encode(format!("{user}:{password}").as_bytes()))?;
    }
    let body = json!({ "endpoint": endpoint.as_str(), "tls": tls });
    api.demand("PUT", "/api/security/clients/", Body::Json(&body), "the security of the device").await?;
    Ok(())
}

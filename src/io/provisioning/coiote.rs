//! Coiote IoT Device Management: `/api/coiotedm/v3/devices`, with a token for user and password.

use data_encoding::HEXLOWER;
use hyper::header;
use serde_json::{Value, json};

use super::api::{Api, Body, encoded, query};
use crate::gateway::bootstrap::orders::ProvisionCredential;
use crate::model::endpoint::Endpoint;

const DEVICES: &str = "/api/coiotedm/v3/devices";

/// What of a device that is there stays as it is, and has to be said again.
const KEPT_FIELDS: [&str; 4] = ["blacklisted", "managementEnabled", "description", "friendlyName"];

pub(super) async fn provision(
    mut api: Api<'_>,
    endpoint: &Endpoint,
    credential: &ProvisionCredential,
) -> Result<(), String> {
    let security = security(&api, credential)?;
    let (user, password) = api.login()?;
    let form = [("grant_type", "password"), ("username", user), ("password", password)];
    let login = api.demand("POST", "/api/auth/oauth_password", Body::Form(&form), "the login").await?;
    api.authorize_by_token(header::AUTHORIZATION, &login.json["access_token"])?;
    match find(&api, endpoint).await? {
        Some(device) => update(&api, &device, &security).await,
        None => create(&api, endpoint, &security).await,
    }
}

/// `securityMode` and what goes with it.
fn security(api: &Api<'_>, credential: &ProvisionCredential) -> Result<[(&'static str, Value); 3], String> {
    let (mode, identity, key) = match credential {
        ProvisionCredential::NoSec => ("nosec", Value::Null, Value::Null),
        ProvisionCredential::Psk { identity, key } => {
            ("psk", json!(identity), json!({ "HexadecimalPsk": HEXLOWER.encode(key.expose()) }))
        }
        // Whom it believes is a matter of the authorities that it was given.
        ProvisionCredential::Certificate(_) => ("cert", Value::Null, Value::Null),
        ProvisionCredential::RawPublicKey(_) => {
            return Err(api.told("Coiote's API takes no raw public keys: set security_mode to psk or x509"));
        }
    };
    Ok([("securityMode", json!(mode)), ("dtlsIdentity", identity), ("dtlsPsk", key)])
}

/// The device that has this name, unless it is its account at Coiote's bootstrap server.
async fn find(api: &Api<'_>, endpoint: &Endpoint) -> Result<Option<Value>, String> {
    let name = endpoint.as_str();
    if name.contains(['\'', '\\']) {
        return Err(api.told("cannot be asked for an endpoint name with a quotation mark or backslash"));
    }
    let criteria = format!("properties.endpointName eq '{name}'");
    let fields = format!("id,connectorType,{}", KEPT_FIELDS.join(","));
    let path =
        format!("{DEVICES}/find/details?{}", query(&[("searchCriteria", &criteria), ("fieldSelection", &fields)]));
    let found = api.demand("GET", &path, Body::None, "looking for the device").await?.json;
    let Some(devices) = found["devices"].as_array() else {
        return Err(api.told("answers without devices: check that provision.type fits the server"));
    };
    Ok(devices.iter().find(|device| device["connectorType"] != "bootstrap").cloned())
}

async fn create(api: &Api<'_>, endpoint: &Endpoint, security: &[(&str, Value)]) -> Result<(), String> {
    let mut device = json!({
        "connectorType": "management",
        "properties": { "endpointName": endpoint.as_str() },
        "directGroups": [],
    });
    if let Some(domain) = &api.target.domain {
        device["domain"] = json!(domain);
    }
    for (field, value) in security {
        device[*field] = value.clone();
    }
    api.demand("POST", DEVICES, Body::Json(&device), "making the device").await?;
    Ok(())
}

async fn update(api: &Api<'_>, found: &Value, security: &[(&str, Value)]) -> Result<(), String> {
    let Some(id) = found["id"].as_str() else {
        return Err(api.told("answers without an id: check that provision.type fits the server"));
    };
    let mut device = json!({ "addProperties": {}, "removeProperties": [], "addGroups": [], "removeGroups": [] });
    for field in KEPT_FIELDS {
        if let Some(value) = found.get(field) {
            device[field] = value.clone();
        }
    }
    for (field, value) in security {
        device[*field] = value.clone();
    }
    let path = format!("{DEVICES}/{}", encoded(id));
    api.demand("PUT", &path, Body::Json(&device), "the security of the device").await?;
    Ok(())
}

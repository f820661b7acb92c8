//! ThingsBoard: a device under its endpoint name, and its credentials of type `LWM2M_CREDENTIALS`.
//!
//! A new device gets a profile whose transport is LwM2M: the one that `domain` names, else the only one there is.
//! ThingsBoard itself would make up a profile for an unknown name, with another transport.

use data_encoding::{BASE64, HEXLOWER};
use hyper::header::HeaderName;
use serde_json::{Value, json};

use super::api::{Api, Body, encoded, query};
use crate::gateway::bootstrap::orders::ProvisionCredential;
use crate::model::endpoint::Endpoint;

/// Profiles looked at.
const MAX_PROFILES: &str = "100";

/// Lengths of keys that it takes are multiples of this, up to [`MAX_KEY_BYTES`].
const KEY_STEP_BYTES: usize = 16;
const MAX_KEY_BYTES: usize = 64;

pub(super) async fn provision(
    mut api: Api<'_>,
    endpoint: &Endpoint,
    credential: &ProvisionCredential,
) -> Result<(), String> {
    let (id, client) = client(&api, endpoint, credential)?;
    let (user, password) = api.login()?;
    let login = json!({ "username": user, "password": password });
    let login = api.demand("POST", "/api/auth/login", Body::Json(&login), "the login").await?;
    api.authorize_by_token(HeaderName::from_static("x-authorization"), &login.json["token"])?;
    let device = match find(&api, endpoint).await? {
        Some(device) => device,
        None => create(&api, endpoint).await?,
    };
    let path = format!("/api/device/{}/credentials", encoded(&device));
    let mut credentials = api.demand("GET", &path, Body::None, "reading the device's credentials").await?.json;
    let Some(fields) = credentials.as_object_mut() else {
        return Err(api.told("gives no credentials that can be read: check that provision.type fits the server"));
    };
    let former = fields.get("credentialsValue").and_then(Value::as_str);
    let value = json!({ "client": client, "bootstrap": bootstrap(former) });
    fields.insert("credentialsType".to_owned(), json!("LWM2M_CREDENTIALS"));
    fields.insert("credentialsId".to_owned(), json!(id));
    fields.insert("credentialsValue".to_owned(), json!(value.to_string()));
    api.demand("POST", "/api/device/credentials", Body::Json(&credentials), "the device's credentials").await?;
    Ok(())
}

/// By what it finds the device when that comes, and the client's part of the credentials.
fn client(api: &Api<'_>, endpoint: &Endpoint, credential: &ProvisionCredential) -> Result<(String, Value), String> {
    let ep = endpoint.as_str();
    Ok(match credential {
        ProvisionCredential::NoSec => (ep.to_owned(), json!({ "securityConfigClientMode": "NO_SEC", "endpoint": ep })),
        ProvisionCredential::Psk { identity, key } => {
            let length = key.expose().len();
            if length == 0 || !length.is_multiple_of(KEY_STEP_BYTES) || length > MAX_KEY_BYTES {
                let reason =
                    format!("ThingsBoard takes keys of 16, 32, 48 or 64 bytes, not of {length}: change psk_key");
                return Err(api.told(&reason));
            }
            let key = HEXLOWER.encode(key.expose());
            let client = json!({ "securityConfigClientMode": "PSK", "endpoint": ep, "identity": identity, "key": key });
            (identity.clone(), client)
        }
        ProvisionCredential::RawPublicKey(spki) => {
            (ep.to_owned(), json!({ "securityConfigClientMode": "RPK", "endpoint": ep, "key": BASE64.encode(spki) }))
        }
        ProvisionCredential::Certificate(der) => (
            // It puts the digest of the certificate in its place.
            ep.to_owned(),
            json!({ "securityConfigClientMode": "X509", "endpoint": ep, "cert": BASE64.encode(der) }),
        ),
    })
}

/// What its own bootstrap server would hand out: as it was, or nothing of use.
fn bootstrap(former: Option<&str>) -> Value {
    let former: Value = former.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match former.get("bootstrap") {
        Some(bootstrap) if bootstrap.is_object() => bootstrap.clone(),
        _ => {
            let no_sec = json!({ "securityMode": "NO_SEC" });
            json!({ "bootstrapServer": no_sec, "lwm2mServer": no_sec })
        }
    }
}

async fn find(api: &Api<'_>, endpoint: &Endpoint) -> Result<Option<String>, String> {
    let path = format!("/api/tenant/devices?{}", query(&[("deviceName", endpoint.as_str())]));
    let answer = api.ask("GET", &path, Body::None).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    if !answer.is_success() {
        return Err(api.refused(&answer, "looking for the device"));
    }
    entity_id(api, &answer.json).map(Some)
}

async fn create(api: &Api<'_>, endpoint: &Endpoint) -> Result<String, String> {
    let profile = profile(api).await?;
    let device = json!({
        "name": endpoint.as_str(),
        "deviceProfileId": { "entityType": "DEVICE_PROFILE", "id": profile },
    });
    let made = api.demand("POST", "/api/device", Body::Json(&device), "making the device").await?;
    entity_id(api, &made.json)
}

/// Id of the profile for new devices.
async fn profile(api: &Api<'_>) -> Result<String, String> {
    let name = api.target.domain.as_deref();
    let mut fields = vec![("pageSize", MAX_PROFILES), ("page", "0"), ("transportType", "LWM2M")];
    fields.extend(name.map(|name| ("textSearch", name)));
    let path = format!("/api/deviceProfileInfos?{}", query(&fields));
    let found = api.demand("GET", &path, Body::None, "looking for the device profile").await?.json;
    let profiles = found["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(name) = name {
        // The search finds parts of names too.
        return match profiles.iter().find(|profile| profile["name"] == *name) {
            Some(profile) => entity_id(api, profile),
            None => Err(api.told("has no device profile with transport LwM2M that provision.domain names: make it")),
        };
    }
    match profiles {
        [only] => entity_id(api, only),
        [] => Err(api.told("has no device profile with transport LwM2M: make one")),
        _ => Err(api.told("has several device profiles with transport LwM2M: name one as provision.domain")),
    }
}

fn entity_id(api: &Api<'_>, entity: &Value) -> Result<String, String> {
    let id = entity["id"]["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| api.told("answers without an id: check that provision.type fits the server"))
}

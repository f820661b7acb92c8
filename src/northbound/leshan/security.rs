//! Credentials as Leshan's demo server takes and tells them: `{"endpoint", "tls": {"mode", "details"}}`.
//!
//! Ours differ in three ways. Keys are never told. A credential without proof (`nosec`, `blocked`) has no shape here and is
//! left out. `x509` without details means a certificate of a trusted authority whose common name is the endpoint name.

use serde_json::{Map, Value, json};

use super::Refusal;

/// What is put, as our own JSON of a credential.
///
/// # Errors
/// 400 for what is no credential here.
pub fn credential_of(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::invalid("the body is no JSON"))?;
    let endpoint = body["endpoint"].as_str().ok_or_else(|| Refusal::invalid("endpoint is missing"))?;
    if body.get("oscore").is_some_and(|oscore| !oscore.is_null()) {
        return Err(Refusal::invalid("OSCORE is not served by this version"));
    }
    let (mode, details) = (body["tls"]["mode"].as_str(), &body["tls"]["details"]);
    let key = || details["key"].as_str().filter(|key| !key.is_empty());
    let mut credential = match mode {
        Some("psk") => {
            let identity =
                details["identity"].as_str().ok_or_else(|| Refusal::invalid("tls.details.identity is missing"))?;
            let key = key().ok_or_else(|| Refusal::invalid("tls.details.key is missing: a key in hex"))?;
            json!({ "mode": "psk", "identity": identity, "key": key, "key_format": "hex" })
        }
        Some("rpk") => {
            let key = key().ok_or_else(|| Refusal::invalid("tls.details.key is missing: a public key, DER in hex"))?;
            let der = data_encoding::HEXLOWER_PERMISSIVE.decode(key.as_bytes());
            let der = der.map_err(|_| Refusal::invalid("tls.details.key is no hexadecimal text"))?;
            json!({ "mode": "rpk", "public_key": data_encoding::BASE64.encode(&der) })
        }
        Some("x509") => {
            json!({ "mode": "x509", "subject": format!("CN={}", endpoint.replace('\\', "\\\\").replace(',', "\\,")) })
        }
        _ => return Err(Refusal::invalid("tls.mode is none of psk, rpk, x509")),
    };
    credential["endpoint"] = endpoint.into();
    match credential {
        Value::Object(credential) => Ok(credential),
        _ => Err(Refusal::invalid("the body is no credential")),
    }
}

/// A credential of our own list as Leshan tells it; `None` where it has no shape there.
#[must_use]
pub fn security_info(credential: &Value) -> Option<Value> {
    let tls = match credential["mode"].as_str()? {
        "psk" => {
            let identity = credential.get("identity").or_else(|| credential.get("identity_hex"))?;
            json!({ "mode": "psk", "details": { "identity": identity } })
        }
        "rpk" => {
            let der = data_encoding::BASE64.decode(credential["public_key"].as_str()?.as_bytes()).ok()?;
            json!({ "mode": "rpk", "details": { "key": data_encoding::HEXLOWER.encode(&der) } })
        }
        "x509" => json!({ "mode": "x509" }),
        _ => return None,
    };
    Some(json!({ "endpoint": credential["endpoint"], "tls": tls }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(body: &Value) -> Result<Value, Refusal> {
        credential_of(body.to_string().as_bytes()).map(Value::Object)
    }

    #[test]
    fn each_mode_becomes_a_credential() {
        for (tls, expected) in [
            (
                json!({ "mode": "psk", "details": { "identity": "i", "key": "00ff" } }),
                json!({ "endpoint": "ep", "mode": "psk", "identity": "i", "key": "00ff", "key_format": "hex" }),
            ),
            (
                json!({ "mode": "rpk", "details": { "key": "3059" } }),
                json!({ "endpoint": "ep", "mode": "rpk", "public_key": "MFk=" }),
            ),
            (json!({ "mode": "x509" }), json!({ "endpoint": "ep", "mode": "x509", "subject": "CN=ep" })),
        ] {
            assert_eq!(credential(&json!({ "endpoint": "ep", "tls": tls })), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_credential_is_400_and_no_key_is_made_that_nobody_would_hear_of() {
        for body in [
            json!({}),
            json!({ "endpoint": "ep" }),
            json!({ "endpoint": "ep", "tls": { "mode": "psk", "details": { "identity": "i" } } }),
            json!({ "endpoint": "ep", "tls": { "mode": "psk", "details": { "identity": "i", "key": "" } } }),
            json!({ "endpoint": "ep", "tls": { "mode": "psk", "details": { "key": "00" } } }),
            json!({ "endpoint": "ep", "tls": { "mode": "rpk", "details": { "key": "xy" } } }),
            json!({ "endpoint": "ep", "oscore": { "rid": "00" } }),
        ] {
            assert_eq!(credential(&body).unwrap_err().status, 400, "{body}");
        }
        assert_eq!(credential_of(b"{").unwrap_err().status, 400);
    }

    #[test]
    fn credentials_are_told_without_keys() {
        for (credential, expected) in [
            (
                json!({ "endpoint": "a", "mode": "psk", "identity": "i" }),
                Some(json!({ "endpoint": "a", "tls": { "mode": "psk", "details": { "identity": "i" } } })),
            ),
            (
                json!({ "endpoint": "a", "mode": "rpk", "public_key": "MFk=" }),
                Some(json!({ "endpoint": "a", "tls": { "mode": "rpk", "details": { "key": "3059" } } })),
            ),
            (
                json!({ "endpoint": "a", "mode": "x509", "fingerprint": "00" }),
                Some(json!({ "endpoint": "a", "tls": { "mode": "x509" } })),
            ),
            (json!({ "endpoint": "a", "mode": "blocked" }), None),
        ] {
            assert_eq!(security_info(&credential), expected);
        }
    }
}

//! What a device says at the bootstrap server: its request (Core TS 1.2.2 section 6.1.7.1), and the answer to
//! Bootstrap-Discover (section 6.1.7.4).

use std::collections::BTreeMap;

use super::attributes::{self, AttributesError};
use crate::model::path::Path;
use crate::model::version::Version;
use crate::protocol::coap::message::Code;
use crate::protocol::content::ContentFormat;

/// `POST /bs` or `GET /bspack`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootstrapRequest {
    /// `ep`; `None`: the peer's credential says who it is.
    pub endpoint: Option<String>,
    /// `pct`: the format that the device prefers (since 1.1).
    pub preferred: Option<ContentFormat>,
}

/// A request that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What to answer.
    pub code: Code,
    /// Why, for the operator.
    pub reason: String,
}

/// Formats that carry whole instances, and so what bootstrapping needs.
pub const INSTANCE_FORMATS: [ContentFormat; 5] = [
    ContentFormat::TLV,
    ContentFormat::SENML_CBOR,
    ContentFormat::SENML_JSON,
    ContentFormat::LWM2M_CBOR,
    ContentFormat::OMA_JSON,
];

/// Reads the query of a request. What is not known is left alone.
///
/// # Errors
/// 4.00 for an argument that stands twice or is no number, 4.15 for a format that cannot be written here.
pub fn parse_request(query: &[String]) -> Result<BootstrapRequest, Refused> {
    let bad = |reason: String| Refused { code: Code::BAD_REQUEST, reason };
    let mut request = BootstrapRequest::default();
    for argument in query {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match name {
            "ep" if request.endpoint.is_some() => return Err(bad("ep stands there twice".to_owned())),
            "ep" => request.endpoint = Some(value.to_owned()),
            "pct" if request.preferred.is_some() => return Err(bad("pct stands there twice".to_owned())),
            "pct" => {
                let number = value.parse().map_err(|_| bad("pct is no number".to_owned()))?;
                let format = ContentFormat(number);
                if !INSTANCE_FORMATS.contains(&format.current()) {
                    let reason = format!("pct={number} is no format that a bootstrap server writes");
                    return Err(Refused { code: Code::UNSUPPORTED_CONTENT_FORMAT, reason });
                }
                request.preferred = Some(format.current());
            }
            _ => {}
        }
    }
    Ok(request)
}

/// An instance that a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundInstance {
    /// Of which server it is.
    pub ssid: Option<u16>,
}

/// What a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The enabler version that it names.
    pub version: Option<Version>,
    /// Instances by object and instance.
    pub instances: BTreeMap<(u16, u16), FoundInstance>,
}

impl Found {
    /// The instance of the Security object that holds the bootstrap account: the one without a short server id.
    pub fn bootstrap_account(&self) -> Option<u16> {
        let mut security = self.instances.iter().filter(|((object, _), _)| *object == 0);
        security.find(|(_, found)| found.ssid.is_none()).map(|((_, instance), _)| *instance)
    }
}

/// Reads the answer to Bootstrap-Discover.
///
/// # Errors
/// If it is no link format.
pub fn parse_found(text: &str) -> Result<Found, AttributesError> {
    let mut found = Found::default();
    for (path, attributes) in attributes::parse_discover(text, "")? {
        found.version = found.version.or(attributes.enabler);
        if let (2, Some(object), Some(instance)) = (path.depth(), path.object_id(), path.instance_id()) {
            found.instances.insert((object, instance), FoundInstance { ssid: attributes.short_server_id });
        }
    }
    Ok(found)
}

/// The enabler version of a path's device, from what it listed or preferred: a device that names a preferred format has
/// 1.1 at least.
#[must_use]
pub fn version_of(found: Option<&Found>, preferred: Option<ContentFormat>) -> Option<Version> {
    let named = found.and_then(|found| found.version);
    let implied =
        preferred.map(|format| if format == ContentFormat::LWM2M_CBOR { Version::V1_2 } else { Version::V1_1 });
    named.max(implied)
}

/// Whether a Bootstrap-Delete of one path takes an instance with it. The bootstrap account and the Device object stay
/// (section 6.1.7.6).
#[must_use]
pub fn is_deleted_by(path: &Path, object: u16, instance: u16, bootstrap_account: Option<u16>) -> bool {
    let kept = (object == 0 && bootstrap_account == Some(instance)) || (object == 3 && instance == 0);
    !kept && path.object_id().is_none_or(|of| of == object) && path.instance_id().is_none_or(|of| of == instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &[&str]) -> Result<BootstrapRequest, Code> {
        let query: Vec<String> = query.iter().map(|text| (*text).to_owned()).collect();
        parse_request(&query).map_err(|refused| refused.code)
    }

    #[test]
    fn core_6_1_7_1_a_request_names_endpoint_and_preferred_format() {
        let both = BootstrapRequest { endpoint: Some("a".to_owned()), preferred: Some(ContentFormat::SENML_CBOR) };
        assert_eq!(request(&["ep=a", "pct=112", "x=1"]), Ok(both));
        assert_eq!(request(&["pct=1542"]).unwrap().preferred, Some(ContentFormat::TLV));
        assert_eq!(request(&["ep=a", "ep=b"]), Err(Code::BAD_REQUEST));
        assert_eq!(request(&["pct=112", "pct=112"]), Err(Code::BAD_REQUEST));
        assert_eq!(request(&["pct=cbor"]), Err(Code::BAD_REQUEST));
        assert_eq!(request(&["pct=0"]), Err(Code::UNSUPPORTED_CONTENT_FORMAT));
    }

    #[test]
    fn core_6_1_7_4_the_account_without_server_id_is_that_of_the_bootstrap_server() {
        let found = parse_found("</>;lwm2m=1.1,</0/0>;ssid=1,</0/2>,</1/0>;ssid=1,</3/0>,</4>").unwrap();
        assert_eq!(found.version, Some(Version::V1_1));
        assert_eq!(found.bootstrap_account(), Some(2));
        assert_eq!(found.instances.len(), 4);
        let old = parse_found("lwm2m=\"1.0\",</0/1>").unwrap();
        assert_eq!((old.version, old.bootstrap_account()), (Some(Version::V1_0), Some(1)));
        assert!(parse_found("<").is_err());
    }

    #[test]
    fn core_6_1_7_6_a_delete_spares_bootstrap_account_and_device_object() {
        assert!(is_deleted_by(&Path::ROOT, 0, 1, Some(0)) && is_deleted_by(&Path::object(0), 0, 1, Some(0)));
        assert!(!is_deleted_by(&Path::ROOT, 0, 0, Some(0)) && !is_deleted_by(&Path::ROOT, 3, 0, None));
        assert!(!is_deleted_by(&Path::object(1), 0, 1, Some(0)) && !is_deleted_by(&Path::instance(0, 1), 0, 2, None));
    }

    #[test]
    fn a_preferred_format_tells_the_least_version() {
        assert_eq!(version_of(None, None), None);
        assert_eq!(version_of(None, Some(ContentFormat::TLV)), Some(Version::V1_1));
        let found = Found { version: Some(Version::V1_0), ..Found::default() };
        assert_eq!(version_of(Some(&found), None), Some(Version::V1_0));
        assert_eq!(version_of(Some(&found), Some(ContentFormat::LWM2M_CBOR)), Some(Version::V1_2));
    }
}

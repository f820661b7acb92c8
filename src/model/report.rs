//! What a device says about its resources.

use super::path::Path;
use super::time::WallTime;
use super::value::Value;

/// One value of one resource at one time, as decoded from a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Resource or resource instance.
    pub path: Path,
    /// The value.
    pub value: Value,
    /// When it was measured, if the device said so; `None` means "now".
    pub ts: Option<WallTime>,
}

/// How samples came to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportSource {
    /// A notification, or the first answer to an Observe.
    Notify,
    /// The Send operation (`POST /dp`).
    Send,
    /// The answer to a Read that the mapping asked for.
    Read,
}

/// The device facts that a mapping may match on or substitute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceFacts {
    /// Endpoint name.
    pub endpoint: String,
    /// The operator's name for it, or the endpoint name: what `{device}` stands for.
    pub device: String,
    /// Object instances of the registration, with the version of each object where it was told.
    pub objects: std::collections::BTreeMap<u16, RegisteredObject>,
    /// Tags given by the operator.
    pub tags: Vec<String>,
    /// `/3/0/0`, once read.
    pub manufacturer: Option<String>,
    /// `/3/0/1`, once read.
    pub model: Option<String>,
    /// `/3/0/3`, once read.
    pub firmware: Option<String>,
    /// `lwm2m=` of the registration.
    pub lwm2m_version: Option<super::version::Version>,
    /// The authenticated identity, if there is one.
    pub identity: Option<String>,
}

/// One object of a registration.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RegisteredObject {
    /// `ver` of the link; `None` when the device did not say.
    pub version: Option<super::version::Version>,
    /// Instance identifiers, sorted. Empty when only the object was listed.
    pub instances: Vec<u16>,
}

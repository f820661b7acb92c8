//! Which request is which: methods and paths below `/api`.

use percent_encoding::percent_decode_str;

use super::Refusal;
use crate::model::credential::Scope;
use crate::model::path::Path;

/// A request by method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// All registrations.
    Clients,
    /// One registration.
    Client {
        /// Endpoint name.
        endpoint: String,
    },
    /// The object definitions of a device.
    Specifications {
        /// Endpoint name.
        endpoint: String,
    },
    /// The event stream.
    Events,
    /// The credentials that are stored.
    Credentials,
    /// Puts a credential.
    PutCredential,
    /// Removes a credential.
    RemoveCredential {
        /// Endpoint name.
        endpoint: String,
    },
    /// Our own key or certificate.
    OwnSecurity,
    /// Where devices may connect.
    OwnEndpoints,
    /// Something to ask of a device.
    Device(DeviceRequest),
    /// All bootstrap configurations by endpoint.
    Configurations,
    /// One bootstrap configuration, which Leshan does not serve.
    Configuration {
        /// Endpoint name.
        endpoint: String,
    },
    /// Puts a bootstrap configuration.
    PutConfiguration {
        /// Endpoint name.
        endpoint: String,
    },
    /// Removes a bootstrap configuration.
    RemoveConfiguration {
        /// Endpoint name.
        endpoint: String,
    },
}

/// Something to ask of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// Endpoint name.
    pub endpoint: String,
    /// The operation.
    pub wanted: Wanted,
    /// Its path; the root for composite operations.
    pub path: Path,
}

/// Operations, as the routes tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Read.
    Read,
    /// Read-Composite.
    ReadComposite,
    /// Discover.
    Discover,
    /// Write, replacing or updating.
    Write,
    /// Write-Attributes.
    WriteAttributes,
    /// Write-Composite.
    WriteComposite,
    /// Execute.
    Execute,
    /// Create.
    Create,
    /// Delete.
    Delete,
    /// Observe.
    Observe,
    /// Observe-Composite.
    ObserveComposite,
    /// Cancel-Observation.
    CancelObserve,
    /// Cancel Observation-Composite.
    CancelObserveComposite,
}

impl Wanted {
    /// Whether nothing changes on the device or in the gateway.
    #[must_use]
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadComposite | Self::Discover)
    }
}

/// What a request means. `path` is that of the URL, percent-encoded, without its query. `server` says which of Leshan's
/// servers is spoken to: they share events and credentials.
///
/// # Errors
/// The status and text to answer: 400 for paths that lead nowhere, 404 for what the server has not, 405 for methods.
pub fn route(server: Scope, method: &str, path: &str) -> Result<Route, Refusal> {
    let not_found = || Refusal { status: 404, text: "Not Found".to_owned() };
    let invalid = || Refusal { status: 400, text: "Invalid path".to_owned() };
    let parts: Option<Vec<String>> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned()))
        .collect();
    let parts = parts.ok_or_else(invalid)?;
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    let ["api", area, rest @ ..] = words.as_slice() else { return Err(not_found()) };
    let of = match *area {
        "clients" | "objectspecs" => Scope::Server,
        "bootstrap" => Scope::Bootstrap,
        _ => server,
    };
    if of != server {
        return Err(not_found());
    }
    match (*area, method, rest) {
        ("clients", "GET", []) => Ok(Route::Clients),
        ("clients", "GET", [endpoint]) => Ok(Route::Client { endpoint: (*endpoint).to_owned() }),
        ("clients", _, [endpoint, target @ ..]) => {
            let (wanted, ids) = device_request(method, target)?;
            let path = path_of(ids).ok_or_else(|| Refusal::invalid(format!("Invalid path : /{}", ids.join("/"))))?;
            Ok(Route::Device(DeviceRequest { endpoint: (*endpoint).to_owned(), wanted, path }))
        }
        ("clients", ..) => Err(invalid()),
        ("objectspecs", "GET", [endpoint]) => Ok(Route::Specifications { endpoint: (*endpoint).to_owned() }),
        ("event", "GET", []) => Ok(Route::Events),
        ("security", "GET", ["clients"]) => Ok(Route::Credentials),
        ("security" | "server", "GET", ["server" | "security"]) => Ok(Route::OwnSecurity),
        ("server", "GET", ["endpoint"]) => Ok(Route::OwnEndpoints),
        ("security", "PUT", ["clients"]) => Ok(Route::PutCredential),
        ("security", "DELETE", ["clients", endpoint]) => {
            Ok(Route::RemoveCredential { endpoint: (*endpoint).to_owned() })
        }
        ("bootstrap", method, rest) => configuration(method, rest),
        ("objectspecs" | "event" | "security" | "server", "GET", _) => Err(invalid()),
        ("objectspecs" | "event" | "security" | "server", ..) => {
            Err(Refusal { status: 405, text: format!("{method} is not allowed here") })
        }
        _ => Err(not_found()),
    }
}

/// Bootstrap configurations.
fn configuration(method: &str, rest: &[&str]) -> Result<Route, Refusal> {
    let endpoint = || match rest {
        [endpoint] => Ok((*endpoint).to_owned()),
        [] => Err("endpoint name should be specified in the URL"),
        _ => Err("endpoint name should be specified in the URL, nothing more"),
    };
    let route = match (method, rest) {
        ("GET", []) => Ok(Route::Configurations),
        ("GET", _) => endpoint().map(|endpoint| Route::Configuration { endpoint }),
        ("POST", _) => endpoint().map(|endpoint| Route::PutConfiguration { endpoint }),
        ("DELETE", _) => endpoint().map(|endpoint| Route::RemoveConfiguration { endpoint }),
        _ => return Err(Refusal { status: 405, text: format!("{method} is not allowed here") }),
    };
    route.map_err(|text| Refusal { status: 400, text: text.to_owned() })
}

/// The operation of a method below an endpoint, and what of the target is the path.
fn device_request<'a>(method: &str, target: &'a [&'a str]) -> Result<(Wanted, &'a [&'a str]), Refusal> {
    let invalid = || Refusal { status: 400, text: "Invalid path".to_owned() };
    Ok(match (method, target) {
        ("GET", ["composite"]) => (Wanted::ReadComposite, &[]),
        ("GET", [path @ .., "discover"]) if !path.is_empty() => (Wanted::Discover, path),
        ("GET", path) => (Wanted::Read, path),
        ("PUT", ["composite"]) => (Wanted::WriteComposite, &[]),
        ("PUT", [path @ .., "attributes"]) if !path.is_empty() => (Wanted::WriteAttributes, path),
        ("PUT", path) if path.len() >= 2 => (Wanted::Write, path),
        ("POST", ["composite", "observe"]) => (Wanted::ObserveComposite, &[]),
        ("POST", [path @ .., "observe"]) if !path.is_empty() => (Wanted::Observe, path),
        ("POST", path) if path.len() == 3 => (Wanted::Execute, path),
        ("POST", path) if (1..=2).contains(&path.len()) => (Wanted::Create, path),
        ("DELETE", ["composite", "observe"]) => (Wanted::CancelObserveComposite, &[]),
        ("DELETE", [path @ .., "observe"]) if !path.is_empty() => (Wanted::CancelObserve, path),
        ("DELETE", path) if !path.is_empty() => (Wanted::Delete, path),
        ("PUT" | "POST" | "DELETE", _) => return Err(invalid()),
        _ => return Err(Refusal { status: 405, text: format!("{method} is not allowed here") }),
    })
}

fn path_of(ids: &[&str]) -> Option<Path> {
    let ids: Vec<u16> = ids.iter().map(|id| id.parse().ok()).collect::<Option<_>>()?;
    Path::from_ids(&ids)
}

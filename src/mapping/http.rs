//! Own HTTP endpoints (`[[http]]`): which request means which resource of which device.
//!
//! ```text
//!  method and path of a request → Plan::own_endpoint → no route · another method · OwnRequest
//!  OwnRequest + selection and facts of its device → Plan::serves: does the file hold for this device?
//! ```
//!
//! Invariant: at most one rule answers a request. Routes that could both match one are refused when files are compiled.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::pattern::PathPattern;
use super::plan::{Plan, Selection};
use crate::model::path::Path;
use crate::model::report::DeviceFacts;

/// Longest path of a request that is looked at, in bytes.
pub(super) const MAX_ROUTE_BYTES: usize = 1_024;

/// Least role of the caller of an own endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnRole {
    /// Reads.
    Viewer,
    /// Also writes and executes.
    Operator,
    /// Everything.
    Admin,
}

/// What a request on an own endpoint asks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnOperation {
    /// GET.
    Read,
    /// PUT.
    Write,
    /// POST.
    Execute,
}

impl OwnOperation {
    /// All, by the word of HTTP.
    pub(super) const METHODS: [(&'static str, Self); 3] =
        [("GET", Self::Read), ("PUT", Self::Write), ("POST", Self::Execute)];

    /// The method of HTTP.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Read => "GET",
            Self::Write => "PUT",
            Self::Execute => "POST",
        }
    }

    /// The operation of a method; HEAD is a GET whose body nobody wants.
    fn of(method: &str) -> Option<Self> {
        let method = if method == "HEAD" { "GET" } else { method };
        Self::METHODS.into_iter().find(|(word, _)| *word == method).map(|(_, operation)| operation)
    }
}

/// A request that an own endpoint takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRequest {
    /// Name or endpoint of the device.
    pub device: String,
    /// The resource.
    pub path: Path,
    /// What to do with it.
    pub operation: OwnOperation,
    /// Who may.
    pub role: OwnRole,
    /// A read is answered with the last known value if that is younger.
    pub cached: Option<Duration>,
    /// Position of its rule.
    rule: usize,
}

/// What own endpoints make of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnEndpoint {
    /// No route matches.
    Unknown,
    /// Routes match, with these methods only.
    OtherMethod(Vec<&'static str>),
    /// A rule takes it.
    Found(OwnRequest),
}

/// An `[[http]]` rule.
#[derive(Clone, Debug)]
pub(super) struct EndpointRule {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) route: Route,
    /// The device, where the route does not name it.
    pub(super) device: Option<String>,
    pub(super) pattern: PathPattern,
    /// What it serves, each once.
    pub(super) operations: Vec<OwnOperation>,
    pub(super) role: Option<OwnRole>,
    pub(super) cached: Option<Duration>,
}

/// The path of an endpoint, as a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) text: String,
    pub(super) segments: Vec<RouteSegment>,
}

/// What stands between two slashes of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RouteSegment {
    Literal(String),
    /// `{device}`: anything that is not empty.
    Device,
    /// An identifier, for this position of the path.
    Id(usize),
}

impl RouteSegment {
    /// Whether one text could match both.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(one), Self::Literal(other)) => one == other,
            (Self::Literal(text), Self::Id(_)) | (Self::Id(_), Self::Literal(text)) => identifier(text).is_some(),
            _ => true,
        }
    }
}

impl Route {
    /// Whether some request matches both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|(one, other)| one.meets(other))
    }

    /// The device, if the route names it, and identifiers by their position in the path; `None` if it does not match.
    fn captures(&self, parts: &[String]) -> Option<(Option<String>, [Option<u16>; 4])> {
        if parts.len() != self.segments.len() {
            return None;
        }
        let (mut device, mut ids) = (None, [None; 4]);
        for (segment, part) in self.segments.iter().zip(parts) {
            match segment {
                RouteSegment::Literal(text) if text == part => {}
                RouteSegment::Literal(_) => return None,
                RouteSegment::Device if part.is_empty() => return None,
                RouteSegment::Device => device = Some(part.clone()),
                RouteSegment::Id(position) => *ids.get_mut(*position)? = Some(identifier(part)?),
            }
        }
        Some((device, ids))
    }
}

/// An identifier in its only spelling.
fn identifier(text: &str) -> Option<u16> {
    format!("/{text}").parse::<Path>().ok().and_then(|path| path.object_id())
}

/// The parts of a request's path, each decoded by itself so that a `%2F` separates nothing.
fn parts_of(path: &str) -> Option<Vec<String>> {
    let rest = path.strip_prefix('/').filter(|_| path.len() <= MAX_ROUTE_BYTES)?;
    rest.split('/').map(|part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned())).collect()
}

impl EndpointRule {
    fn request(&self, parts: &[String], operation: OwnOperation, rule: usize) -> Option<OwnRequest> {
        let (device, ids) = self.route.captures(parts)?;
        let least = if operation == OwnOperation::Read { OwnRole::Viewer } else { OwnRole::Operator };
        Some(OwnRequest {
            device: device.or_else(|| self.device.clone())?,
            path: self.pattern.path_with(ids, self.pattern.depth())?,
            operation,
            role: self.role.map_or(least, |role| role.max(least)),
            cached: self.cached.filter(|_| operation == OwnOperation::Read),
            rule,
        })
    }
}

impl Plan {
    /// What own endpoints make of a request. `path` is that of the URL without its query, percent-encoded.
    #[must_use]
    pub fn own_endpoint(&self, method: &str, path: &str) -> OwnEndpoint {
        let Some(parts) = parts_of(path).filter(|_| !self.endpoints.is_empty()) else { return OwnEndpoint::Unknown };
        let wanted = OwnOperation::of(method);
        let mut others: Vec<OwnOperation> = Vec::new();
        for (position, rule) in self.endpoints.iter().enumerate() {
            match wanted.filter(|wanted| rule.operations.contains(wanted)) {
                Some(operation) => {
                    if let Some(request) = rule.request(&parts, operation, position) {
                        return OwnEndpoint::Found(request);
                    }
                }
                None if rule.route.captures(&parts).is_some() => others.extend(&rule.operations),
                None => {}
            }
        }
        if others.is_empty() {
            return OwnEndpoint::Unknown;
        }
        others.sort_unstable();
        others.dedup();
        OwnEndpoint::OtherMethod(others.into_iter().map(OwnOperation::method).collect())
    }

    /// Whether the file of an endpoint is for this device, and the path for the version of its object.
    #[must_use]
    pub fn serves(&self, request: &OwnRequest, selection: &Selection, facts: &DeviceFacts) -> bool {
        let rule = self.endpoints.get(request.rule);
        rule.is_some_and(|rule| selection.has(rule.file) && rule.pattern.fits_version(facts))
    }

    /// Whether an own endpoint may want the last known value of a path of this device.
    #[must_use]
    pub fn keeps_last_value(&self, selection: &Selection, path: &Path) -> bool {
        self.has_cached_endpoints
            && self
                .endpoints
                .iter()
                .any(|rule| rule.cached.is_some() && selection.has(rule.file) && rule.pattern.fits(path))
    }
}

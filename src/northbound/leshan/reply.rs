//! Results of commands as Leshan's responses.

use serde_json::{Map, Value as Json, json};

use super::Refusal;
use super::node::{Leaves, node_of_answer};
use super::request::LeshanCommand;
use super::route::Wanted;
use crate::model::command::{CommandError, CommandResult, ErrorKind, Outcome};
use crate::model::object::DeviceModel;

/// What the caller of HTTP gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// 200 with this body: the device answered, whatever it said.
    Json(Json),
    /// 200 without a body.
    Empty,
    /// Another status with a line of text.
    Text(Refusal),
}

/// Codes that the standard gives a meaning, by Leshan's names.
const STATUSES: [(&str, &str); 15] = [
    ("2.01", "CREATED(201)"),
    ("2.02", "DELETED(202)"),
    ("2.04", "CHANGED(204)"),
    ("2.05", "CONTENT(205)"),
    ("4.00", "BAD_REQUEST(400)"),
    ("4.01", "UNAUTHORIZED(401)"),
    ("4.03", "FORBIDDEN(403)"),
    ("4.04", "NOT_FOUND(404)"),
    ("4.05", "METHOD_NOT_ALLOWED(405)"),
    ("4.06", "NOT_ACCEPTABLE(406)"),
    ("4.08", "REQUEST_ENTITY_INCOMPLETE(408)"),
    ("4.12", "PRECONDITION_FAILED(412)"),
    ("4.13", "REQUEST_ENTITY_TOO_LARGE(413)"),
    ("4.15", "UNSUPPORTED_CONTENT_FORMAT(415)"),
    ("5.00", "INTERNAL_SERVER_ERROR(500)"),
];

/// The result of a command for its caller. [`Outcome::Queued`] is [`delayed`] instead, except for the end of an
/// observation of which the device is not told.
#[must_use]
pub fn reply(asked: &LeshanCommand, result: &CommandResult, types: &DeviceModel<'_>) -> Reply {
    if asked.cancels() {
        // All else about the command was found right when it was made.
        let not_observed =
            matches!(&result.outcome, Outcome::Failed { error: Some(error), .. } if error.kind == ErrorKind::Invalid);
        if not_observed && asked.active {
            return Reply::Text(no_observation(asked));
        }
        if !asked.active && (not_observed || matches!(result.outcome, Outcome::Done { .. } | Outcome::Queued)) {
            return Reply::Empty;
        }
    }
    match response(asked, result, types) {
        Ok(json) => Reply::Json(json),
        Err(refusal) => Reply::Text(refusal),
    }
}

/// 404, in Leshan's words.
fn no_observation(asked: &LeshanCommand) -> Refusal {
    let endpoint = &asked.request.endpoint;
    let text = if asked.paths.is_empty() {
        format!("no observation for path {} for  client '{endpoint}'", asked.request.path)
    } else {
        let paths: Vec<String> = asked.paths.iter().map(ToString::to_string).collect();
        format!("no composite observation for paths [{}] for  client '{endpoint}'", paths.join(", "))
    };
    Refusal { status: 404, text }
}

/// The answer for a device that sleeps: the result follows on the event stream under the same `requestId`.
#[must_use]
pub fn delayed(asked: &LeshanCommand, endpoint: &str, id: &str) -> Json {
    let mut json = json!({ "ep": endpoint, "requestId": id, "delayed": true });
    if asked.request.path.depth() > 0 {
        json["path"] = asked.request.path.to_string().into();
    }
    json
}

/// What follows on the event stream; `None` for a result that Leshan has no response for, such as an expired command.
#[must_use]
pub fn delayed_response(asked: &LeshanCommand, result: &CommandResult, types: &DeviceModel<'_>) -> Option<Json> {
    let mut json = delayed(asked, result.endpoint.as_str(), &result.id);
    json["response"] = response(asked, result, types).ok()?;
    Some(json)
}

fn response(asked: &LeshanCommand, result: &CommandResult, types: &DeviceModel<'_>) -> Result<Json, Refusal> {
    match &result.outcome {
        Outcome::Done { code, answer } => {
            let mut response = head(code, true);
            fill(&mut response, asked, answer, types);
            Ok(Json::Object(response))
        }
        Outcome::Failed { code: Some(code), error: None } => Ok(Json::Object(head(code, false))),
        Outcome::Failed { error: Some(error), .. } => Err(refusal_of(&asked.request.endpoint, error)),
        Outcome::Failed { code: None, error: None } => {
            Err(Refusal { status: 500, text: "Unexpected exception: the command failed".to_owned() })
        }
        Outcome::Expired | Outcome::Unknown | Outcome::Queued => Err(Refusal::timeout()),
        Outcome::Cancelled { .. } => {
            Err(Refusal { status: 500, text: "Request cancelled: another took its place".to_owned() })
        }
    }
}

/// A code such as `2.05` by Leshan's name.
#[must_use]
pub fn status_of(code: &str) -> String {
    let named = STATUSES.iter().find(|(known, _)| *known == code).map(|(_, status)| (*status).to_owned());
    named.unwrap_or_else(|| format!("UNKNOWN({})", code.replace('.', "")))
}

/// `status`, `valid`, `success` and `failure`.
fn head(code: &str, success: bool) -> Map<String, Json> {
    let valid = STATUSES.iter().any(|(known, _)| *known == code);
    let status = status_of(code);
    let mut head = Map::new();
    head.insert("status".to_owned(), status.into());
    head.insert("valid".to_owned(), valid.into());
    head.insert("success".to_owned(), success.into());
    head.insert("failure".to_owned(), (!success).into());
    head
}

/// What belongs to the operation: `content`, `objectLinks` or `location`.
fn fill(response: &mut Map<String, Json>, asked: &LeshanCommand, answer: &Map<String, Json>, types: &DeviceModel<'_>) {
    match asked.request.wanted {
        Wanted::Read | Wanted::Observe => {
            if let Some(node) = node_of_answer(asked.request.path, answer, types) {
                response.insert("content".to_owned(), node);
            }
        }
        Wanted::CancelObserve => {
            let leaves = Leaves::of_answer(Some(asked.request.path), answer, types);
            response.extend(leaves.node(&asked.request.path).map(|node| ("content".to_owned(), node)));
        }
        Wanted::ReadComposite | Wanted::ObserveComposite | Wanted::CancelObserveComposite => {
            let leaves = Leaves::of_answer(None, answer, types);
            let nodes = asked.paths.iter().filter_map(|path| Some((path.to_string(), leaves.node(path)?)));
            response.insert("content".to_owned(), Json::Object(nodes.collect()));
        }
        Wanted::Discover => {
            let links = answer.get("links").and_then(Json::as_array);
            let links: Vec<Json> = links.into_iter().flatten().map(object_link).collect();
            response.insert("objectLinks".to_owned(), links.into());
        }
        Wanted::Create => {
            if let Some(location) = answer.get("location").and_then(Json::as_str) {
                response.insert("location".to_owned(), location.trim_start_matches('/').into());
            }
        }
        Wanted::Write | Wanted::WriteAttributes | Wanted::WriteComposite | Wanted::Execute | Wanted::Delete => {}
    }
}

/// A link: Leshan has attributes as text.
fn object_link(link: &Json) -> Json {
    let attributes: Map<String, Json> = link
        .get("attributes")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let text = match value {
                Json::Null | Json::String(_) => value.clone(),
                other => other.to_string().into(),
            };
            (name.clone(), text)
        })
        .collect();
    json!({ "url": link.get("path"), "attributes": attributes })
}

impl Refusal {
    /// 504: the device did not answer.
    #[must_use]
    pub fn timeout() -> Self {
        Self { status: 504, text: "Request timeout".to_owned() }
    }
}

/// The text for a command that the gateway did not carry out.
pub(super) fn refusal_of(endpoint: &str, error: &CommandError) -> Refusal {
    let message = &error.message;
    let (status, text) = match error.kind {
        ErrorKind::UnknownDevice => return Refusal::no_client(endpoint),
        ErrorKind::Timeout | ErrorKind::Unreachable => return Refusal::timeout(),
        ErrorKind::Invalid
        | ErrorKind::NotSupported
        | ErrorKind::NotFound
        | ErrorKind::Asleep
        | ErrorKind::TooLarge => {
            return Refusal::invalid(message);
        }
        ErrorKind::BadAnswer => (500, format!("Invalid Response: {message}")),
        ErrorKind::Conflict | ErrorKind::QueueFull => (500, format!("Request rejected: {message}")),
        ErrorKind::Forbidden => (403, format!("Request rejected: {message}")),
        ErrorKind::Internal => (500, format!("Unexpected exception: {message}")),
    };
    Refusal { status, text }
}

impl From<(&str, &CommandError)> for Refusal {
    fn from((endpoint, error): (&str, &CommandError)) -> Self {
        refusal_of(endpoint, error)
    }
}

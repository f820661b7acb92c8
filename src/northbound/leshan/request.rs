//! Query and body of a request become a command of ours.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json, json};

use super::Refusal;
use super::route::{DeviceRequest, Wanted};
use super::value::{for_command, parse, parse_type};
use crate::model::object::{DeviceModel, ResourceTypes};
use crate::model::path::Path;
use crate::model::value::{ResourceType, Value};

/// How long a request waits for the device when it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that it may wait.
const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The parameters of a query string that Leshan knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// How long to wait for the device.
    pub timeout: Duration,
    /// Name of a content format, in our spelling.
    pub format: Option<String>,
    /// Paths of a composite operation, as written.
    pub paths: Option<String>,
    /// Whether a write replaces.
    pub replace: bool,
    /// Whether an observation is cancelled by telling the device.
    pub active: bool,
    /// All of them in their order, `None` for those without a value.
    pub pairs: Vec<(String, Option<String>)>,
}

impl Parameters {
    /// The parameters of a raw query string. What is unreadable counts as absent, as it does in Leshan.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs: Vec<(String, Option<String>)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) => (decode(name), Some(decode(value))),
                None => (decode(pair), None),
            })
            .collect();
        let named = |name: &str| pairs.iter().find(|(found, _)| found == name);
        let value = |name: &str| named(name).and_then(|(_, value)| value.clone());
        let seconds = value("timeout").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let format = value("format").or_else(|| value("nodeformat"));
        Self {
            timeout: seconds.unwrap_or(DEFAULT_TIMEOUT).clamp(Duration::from_millis(1), MAX_TIMEOUT),
            format: format.and_then(|name| our_format(&name)),
            paths: value("paths"),
            replace: value("replace").is_none_or(|word| word.eq_ignore_ascii_case("true")),
            active: named("active").is_some(),
            pairs,
        }
    }
}

/// Our name of a content format; `None` for one that Leshan does not know either, which then counts as none given.
fn our_format(name: &str) -> Option<String> {
    let known = ["text", "link", "opaque", "cbor", "senml-json", "senml-cbor", "tlv", "json", "lwm2m-cbor"];
    let name = name.to_ascii_lowercase().replace('_', "-");
    known.contains(&name.as_str()).then_some(name)
}

/// A command, and what its result needs to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct LeshanCommand {
    /// What was asked.
    pub request: DeviceRequest,
    /// The paths of a composite operation.
    pub paths: Vec<Path>,
    /// Whether an observation is cancelled by telling the device.
    pub active: bool,
    /// How long to wait for the device.
    pub timeout: Duration,
    /// The command in the JSON of all interfaces, without an id.
    pub command: Json,
}

impl LeshanCommand {
    /// Whether an observation ends.
    #[must_use]
    pub const fn cancels(&self) -> bool {
        matches!(self.request.wanted, Wanted::CancelObserve | Wanted::CancelObserveComposite)
    }

    /// Whether an observation ends without the device being told, which needs no device that listens.
    #[must_use]
    pub const fn is_passive(&self) -> bool {
        self.cancels() && !self.active
    }
}

/// Makes the command of a request.
///
/// # Errors
/// 400 with what is wrong in query or body.
pub fn command(
    request: DeviceRequest,
    parameters: &Parameters,
    content_type: Option<&str>,
    body: &[u8],
    types: &DeviceModel<'_>,
) -> Result<LeshanCommand, Refusal> {
    let path = request.path;
    let mut paths = Vec::new();
    let mut command = Map::new();
    let operation = match request.wanted {
        Wanted::Read => "read",
        Wanted::Discover => "discover",
        Wanted::Delete => "delete",
        Wanted::Observe => "observe",
        Wanted::CancelObserve => "cancel_observe",
        Wanted::ReadComposite => "read_composite",
        Wanted::ObserveComposite => "observe_composite",
        Wanted::CancelObserveComposite => "cancel_observe_composite",
        Wanted::WriteComposite => "write_composite",
        Wanted::WriteAttributes => "write_attributes",
        Wanted::Execute => "execute",
        Wanted::Create => "create",
        Wanted::Write if parameters.replace => "write",
        Wanted::Write => "write_update",
    };
    let mut path_of_command = Some(path);
    match request.wanted {
        Wanted::Read | Wanted::Discover | Wanted::Delete | Wanted::Observe | Wanted::CancelObserve => {}
        Wanted::ReadComposite | Wanted::ObserveComposite | Wanted::CancelObserveComposite => {
            paths = composite_paths(parameters)?;
            command.insert("paths".to_owned(), json!(paths));
        }
        Wanted::WriteComposite => {
            command.insert("values".to_owned(), composite_values(body, types)?);
        }
        Wanted::WriteAttributes => {
            command.insert("attributes".to_owned(), attributes(parameters)?);
        }
        Wanted::Execute => {
            if !body.is_empty() {
                let arguments = std::str::from_utf8(body).map_err(|_| Refusal::invalid("arguments are no text"))?;
                command.insert("arguments".to_owned(), arguments.into());
            }
        }
        Wanted::Create => {
            let node = Node::of_body(path, content_type, body)?;
            let Node::Instance { id, resources } = node else {
                return Err(Refusal::invalid("payload must contain an object instance"));
            };
            // The instance may be chosen by the path or by the node; without either the device chooses.
            let target = match id.filter(|_| path.depth() == 1) {
                Some(id) => path.child(id).ok_or_else(|| Refusal::invalid("the path is too deep"))?,
                None => path,
            };
            path_of_command = Some(target);
            let base = if target.depth() == 1 { target.child(0).unwrap_or(target) } else { target };
            write_values(&mut command, base, &resources, types)?;
        }
        Wanted::Write => write(&mut command, path, Node::of_body(path, content_type, body)?, types)?,
    }
    command.insert("operation".to_owned(), operation.into());
    let composite = matches!(
        request.wanted,
        Wanted::ReadComposite | Wanted::ObserveComposite | Wanted::CancelObserveComposite | Wanted::WriteComposite
    );
    if let Some(path) = path_of_command.filter(|_| !composite) {
        command.insert("path".to_owned(), path.to_string().into());
    }
    let cancels = matches!(request.wanted, Wanted::CancelObserve | Wanted::CancelObserveComposite);
    if cancels && !parameters.active {
        command.insert("passive".to_owned(), true.into());
    }
    if let Some(format) = parameters.format.as_ref().filter(|_| carries_values(request.wanted)) {
        command.insert("format".to_owned(), format.as_str().into());
    }
    let millis = parameters.timeout.as_millis();
    command.insert("timeout".to_owned(), format!("{millis}ms").into());
    Ok(LeshanCommand {
        request,
        paths,
        active: parameters.active,
        timeout: parameters.timeout,
        command: Json::Object(command),
    })
}

/// Whether a content format means something to an operation.
const fn carries_values(wanted: Wanted) -> bool {
    !matches!(
        wanted,
        Wanted::Discover
            | Wanted::Delete
            | Wanted::Execute
            | Wanted::WriteAttributes
            | Wanted::CancelObserve
            | Wanted::CancelObserveComposite
    )
}

fn composite_paths(parameters: &Parameters) -> Result<Vec<Path>, Refusal> {
    let text = parameters.paths.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Refusal::invalid("the parameter 'paths' is missing"))?;
    let parse = |text: &str| {
        let text = text.trim();
        let path = if text.starts_with('/') { text.parse() } else { format!("/{text}").parse() };
        path.map_err(|error| Refusal::invalid(format!("path '{}': {error}", text.chars().take(60).collect::<String>())))
    };
    text.split(',').map(parse).collect()
}

/// `pmin=10&gt=4.5&pmax` as the attributes of a command: a name without a value removes it.
fn attributes(parameters: &Parameters) -> Result<Json, Refusal> {
    let mut attributes = Map::new();
    for (name, value) in &parameters.pairs {
        if matches!(name.as_str(), "timeout" | "format") {
            continue;
        }
        let json = match value.as_deref() {
            None => Json::Null,
            Some(text) => {
                let integer = text.parse::<i64>().ok().map(Json::from);
                let number = || text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Json::Number);
                integer.or_else(number).ok_or_else(|| {
                    let shown: String = text.chars().take(60).collect();
                    Refusal::invalid(format!("attribute {name} has no number: '{shown}'"))
                })?
            }
        };
        attributes.insert(name.clone(), json);
    }
    Ok(Json::Object(attributes))
}

/// A node of a body.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Instance { id: Option<u16>, resources: Vec<(u16, Content)> },
    Resource(Content),
    ResourceInstance(Value),
}

/// What a resource holds.
#[derive(Clone, Debug, PartialEq)]
enum Content {
    Single(Value),
    Multiple(Vec<(u16, Value)>),
}

impl Node {
    fn of_body(path: Path, content_type: Option<&str>, body: &[u8]) -> Result<Self, Refusal> {
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match kind {
            "application/json" => {
                let json: Json = serde_json::from_slice(body)
                    .map_err(|error| Refusal::invalid(format!("unable to parse json: {error}")))?;
                Self::parse(&json)
            }
            "text/plain" => {
                let text = std::str::from_utf8(body).map_err(|_| Refusal::invalid("the body is no text"))?;
                let value = Value::String(text.to_owned());
                let instance = path.depth() == 4;
                Ok(if instance { Self::ResourceInstance(value) } else { Self::Resource(Content::Single(value)) })
            }
            other => {
                let shown: String = other.chars().take(60).collect();
                Err(Refusal::invalid(format!("content type {shown} not supported")))
            }
        }
    }

    fn parse(json: &Json) -> Result<Self, Refusal> {
        let kind = json.get("kind").and_then(Json::as_str);
        if kind == Some("instance") || json.get("resources").is_some() {
            let items = json.get("resources").and_then(Json::as_array);
            let items = items.ok_or_else(|| Refusal::invalid("resources is no array"))?;
            let resources = items.iter().map(|item| match (id_of(item)?, Self::parse(item)?) {
                (Some(id), Self::Resource(content)) => Ok((id, content)),
                (None, _) => Err(Refusal::invalid("Missing id")),
                _ => Err(Refusal::invalid("an instance holds resources only")),
            });
            return Ok(Self::Instance { id: id_of(json)?, resources: resources.collect::<Result<_, _>>()? });
        }
        if json.get("instances").is_some() || json.get("objects").is_some() {
            return Err(Refusal::invalid("objects cannot be written as a whole"));
        }
        let declared = json.get("type").and_then(Json::as_str).unwrap_or_default();
        let resource_type = || {
            let shown: String = declared.chars().take(40).collect();
            parse_type(declared).ok_or_else(|| Refusal::invalid(format!("type '{shown}' is not known")))
        };
        if kind == Some("multiResource") || json.get("values").is_some() {
            let entries = json.get("values").and_then(Json::as_object);
            let entries = entries.ok_or_else(|| Refusal::invalid("Values element is not an object"))?;
            let resource_type = resource_type()?;
            let values = entries.iter().map(|(id, value)| {
                let id = id.parse().map_err(|_| Refusal::invalid("a resource instance has no number"))?;
                Ok((id, parse(value, resource_type).map_err(Refusal::invalid)?))
            });
            return Ok(Self::Resource(Content::Multiple(values.collect::<Result<_, Refusal>>()?)));
        }
        let value = json.get("value").ok_or_else(|| Refusal::invalid("Invalid node element"))?;
        let value = parse(value, resource_type()?).map_err(Refusal::invalid)?;
        Ok(if kind == Some("resourceInstance") {
            Self::ResourceInstance(value)
        } else {
            Self::Resource(Content::Single(value))
        })
    }
}

/// The id of a node: a number, or text that is one.
fn id_of(json: &Json) -> Result<Option<u16>, Refusal> {
    let Some(id) = json.get("id") else { return Ok(None) };
    let number = id.as_u64().or_else(|| id.as_str()?.parse().ok()).and_then(|id| u16::try_from(id).ok());
    number.map(Some).ok_or_else(|| Refusal::invalid("id is no identifier"))
}

/// `value` or `values` of a write at a path.
fn write(command: &mut Map<String, Json>, path: Path, node: Node, types: &DeviceModel<'_>) -> Result<(), Refusal> {
    match (path.depth(), node) {
        (2, Node::Instance { resources, .. }) => write_values(command, path, &resources, types),
        (3, Node::Resource(content)) => write_content(command, path, &content, types),
        (4, Node::ResourceInstance(value) | Node::Resource(Content::Single(value))) => {
            write_content(command, path, &Content::Single(value), types)
        }
        _ => Err(Refusal::invalid(format!("path '{path}' and the kind of the node do not match"))),
    }
}

fn write_content(
    command: &mut Map<String, Json>,
    path: Path,
    content: &Content,
    types: &DeviceModel<'_>,
) -> Result<(), Refusal> {
    command.insert("value".to_owned(), content_json(path, content, types)?);
    declare_types(command, &[(path, content)], types)
}

/// The resources of an instance, by their identifier.
fn write_values(
    command: &mut Map<String, Json>,
    instance: Path,
    resources: &[(u16, Content)],
    types: &DeviceModel<'_>,
) -> Result<(), Refusal> {
    let mut values = Map::new();
    let mut found = Vec::new();
    for (id, content) in resources {
        let path = instance.child(*id).ok_or_else(|| Refusal::invalid("the path is too deep"))?;
        values.insert(id.to_string(), content_json(path, content, types)?);
        found.push((path, content));
    }
    command.insert("values".to_owned(), Json::Object(values));
    let operation_takes_a_type = instance.depth() == 2;
    if operation_takes_a_type { declare_types(command, &found, types) } else { Ok(()) }
}

fn composite_values(body: &[u8], types: &DeviceModel<'_>) -> Result<Json, Refusal> {
    let nodes: Map<String, Json> =
        serde_json::from_slice(body).map_err(|error| Refusal::invalid(format!("unable to parse json: {error}")))?;
    let mut values = Map::new();
    for (text, node) in &nodes {
        let shown: String = text.chars().take(60).collect();
        let path: Path = text.parse().map_err(|error| Refusal::invalid(format!("path '{shown}': {error}")))?;
        let content = match (path.depth(), Node::parse(node)?) {
            (3, Node::Resource(content)) => content,
            (4, Node::ResourceInstance(value) | Node::Resource(Content::Single(value))) => Content::Single(value),
            (2, Node::Instance { resources, .. }) => {
                for (id, content) in &resources {
                    let child = path.child(*id).ok_or_else(|| Refusal::invalid("the path is too deep"))?;
                    values.insert(child.to_string(), content_json(child, content, types)?);
                }
                continue;
            }
            _ => return Err(Refusal::invalid(format!("path '{shown}' and the kind of its node do not match"))),
        };
        values.insert(path.to_string(), content_json(path, &content, types)?);
    }
    Ok(Json::Object(values))
}

fn content_json(path: Path, content: &Content, types: &DeviceModel<'_>) -> Result<Json, Refusal> {
    let wanted = known_type(path, types);
    let json = |value: &Value| {
        for_command(value, wanted).map_err(|reason| Refusal::invalid(format!("value of {path}: {reason}")))
    };
    match content {
        Content::Single(value) => json(value),
        Content::Multiple(values) => {
            let values = values.iter().map(|(id, value)| Ok((id.to_string(), json(value)?)));
            Ok(Json::Object(values.collect::<Result<_, Refusal>>()?))
        }
    }
}

fn known_type(path: Path, types: &DeviceModel<'_>) -> Option<ResourceType> {
    types.shape(&path).and_then(|shape| shape.resource_type)
}

/// Says the declared type where no object model knows it. A command has one type for all of its values, so an instance
/// whose resources are unknown and differ keeps the types of its JSON, which octets do not have.
fn declare_types(
    command: &mut Map<String, Json>,
    contents: &[(Path, &Content)],
    types: &DeviceModel<'_>,
) -> Result<(), Refusal> {
    let declared = |content: &Content| match content {
        Content::Single(value) => Some(value.resource_type()),
        Content::Multiple(values) => values.first().map(|(_, value)| value.resource_type()),
    };
    let unknown: Vec<ResourceType> = contents
        .iter()
        .filter(|(path, _)| known_type(*path, types).is_none())
        .filter_map(|(_, content)| declared(content))
        .collect();
    let Some(first) = unknown.first() else { return Ok(()) };
    let alike = unknown.len() == contents.len() && unknown.iter().all(|other| other == first);
    if alike {
        command.insert("type".to_owned(), first.to_string().into());
    } else if unknown.contains(&ResourceType::Opaque) {
        return Err(Refusal::invalid("the object is not known: write its opaque resources one by one"));
    }
    Ok(())
}

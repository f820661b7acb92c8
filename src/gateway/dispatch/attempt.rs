//! From an operation to a CoAP request, and from the device's answer to an outcome.
//!
//! Core TS 1.2.2 section 6.3 says which method an operation is; the format of a write is what the device is known to
//! take: text (or octets) for a single resource, TLV for 1.0, SenML CBOR since 1.1.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::gateway::devices::device::Device;
use crate::model::attributes::NotificationAttributes;
use crate::model::command::{CommandError, ErrorKind, Operation, Outcome};
use crate::model::object::{ObjectModel, ResourceTypes};
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::value::{ResourceType, Value};
use crate::model::version::Version;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::{self, ContentFormat};

/// The Server object and its trigger for bootstrapping (1.1).
pub const SERVER_OBJECT: u16 = 1;
const BOOTSTRAP_TRIGGER: u16 = 9;

/// A request without message id and token.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Method.
    pub code: Code,
    /// Target.
    pub path: Path,
    /// Uri-Query.
    pub query: Vec<String>,
    /// Observe option.
    pub observe: Option<u32>,
    /// Wanted format.
    pub accept: Option<ContentFormat>,
    /// Format of the body.
    pub format: Option<ContentFormat>,
    /// Body.
    pub payload: Vec<u8>,
}

impl Request {
    /// A request without body.
    pub fn new(code: Code, path: Path) -> Self {
        Self { code, path, query: Vec::new(), observe: None, accept: None, format: None, payload: Vec::new() }
    }

    /// The message, with the device's alternate root in front of the path.
    pub fn message(&self, root: &str, id: u16, token: Token) -> Message {
        let mut message = Message::new(MessageType::Confirmable, self.code, id, token);
        if let Some(observe) = self.observe {
            message.push_uint(OptionNumber::OBSERVE, observe);
        }
        // Composite requests go to the root of all; their names say where (some clients refuse a Uri-Path there).
        let root = if matches!(self.code, Code::FETCH | Code::IPATCH) { "" } else { root };
        for segment in root.split('/').filter(|segment| !segment.is_empty()) {
            message.push_option(OptionNumber::URI_PATH, segment);
        }
        for id in self.path.ids() {
            message.push_option(OptionNumber::URI_PATH, id.to_string());
        }
        if let Some(format) = self.format {
            message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format.0));
        }
        for argument in &self.query {
            message.push_option(OptionNumber::URI_QUERY, argument.as_str());
        }
        if let Some(accept) = self.accept {
            message.push_uint(OptionNumber::ACCEPT, u32::from(accept.0));
        }
        message.payload.clone_from(&self.payload);
        message
    }
}

/// The Accept option for reads: what the device announced, or the format that keeps times where its version has one.
///
/// A 1.0 device gets none: it answers in TLV or text anyway, and some drop a request with an Accept they do not know.
pub fn accept_for(device: &Device) -> Option<ContentFormat> {
    let registration = device.registration.as_ref()?;
    if device.formats.no_accept || registration.version < Version::V1_1 {
        return None;
    }
    let preference =
        [ContentFormat::SENML_CBOR, ContentFormat::SENML_JSON, ContentFormat::LWM2M_CBOR, ContentFormat::TLV];
    if registration.formats.is_empty() {
        return Some(ContentFormat::SENML_CBOR);
    }
    preference.into_iter().find(|format| registration.formats.contains(&format.0))
}

/// Why an operation is beyond the enabler version that the device registered; `None` if it is not.
pub fn beyond_version(device: &Device, operation: &Operation) -> Option<CommandError> {
    let version = device.registration.as_ref()?.version;
    let (since, what) = match operation {
        Operation::ReadComposite { .. }
        | Operation::ObserveComposite { .. }
        | Operation::CancelObserveComposite { .. }
        | Operation::WriteComposite { .. } => (Version::V1_1, "composite operations"),
        Operation::Bootstrap => (Version::V1_1, "asking a device to bootstrap"),
        Operation::Discover { depth: Some(_), .. } => (Version::V1_2, "depth"),
        Operation::Observe { attributes, .. } if !attributes.is_empty() => {
            (Version::V1_2, "attributes of one observation")
        }
        _ => return None,
    };
    (version < since).then(|| {
        CommandError::new(
            ErrorKind::NotSupported,
            format!("the device registered LwM2M {version}, and LwM2M has {what} since {since}"),
        )
    })
}

/// The request of an operation that goes to the device as it stands. `forced` is the command's own format.
///
/// # Errors
/// `invalid` when values do not fit their types, `not_supported` for operations that are no request.
pub fn request_for(
    device: &Device,
    operation: &Operation,
    forced: Option<u16>,
    model: &ObjectModel,
) -> Result<Request, CommandError> {
    let forced = forced.map(ContentFormat);
    Ok(match operation {
        Operation::Read { path } => {
            Request { accept: forced.or_else(|| accept_for(device)), ..Request::new(Code::GET, *path) }
        }
        Operation::Discover { path, depth } => Request {
            accept: Some(ContentFormat::LINK_FORMAT),
            query: depth.map(|depth| format!("depth={depth}")).into_iter().collect(),
            ..Request::new(Code::GET, *path)
        },
        Operation::Observe { path, attributes } => Request {
            observe: Some(0),
            accept: forced.or_else(|| accept_for(device)),
            query: if attributes.is_empty() {
                Vec::new()
            } else {
                NotificationAttributes::query_of_command(attributes)
                    .map_err(|error| CommandError::new(ErrorKind::Invalid, error))?
            },
            ..Request::new(Code::GET, *path)
        },
        Operation::ReadComposite { paths } => composite(device, paths, None, forced)?,
        Operation::ObserveComposite { paths } => composite(device, paths, Some(0), forced)?,
        Operation::CancelObserveComposite { paths, .. } => composite(device, paths, Some(1), forced)?,
        Operation::WriteComposite { values } => write_composite(device, values, forced, model)?,
        Operation::Bootstrap => {
            // Which of several servers of the device this gateway is, the device does not say; most have one.
            let servers = device.facts.objects.get(&SERVER_OBJECT);
            let server = servers.and_then(|servers| servers.instances.first().copied()).unwrap_or(0);
            Request::new(Code::POST, Path::resource(SERVER_OBJECT, server, BOOTSTRAP_TRIGGER))
        }
        Operation::CancelObserve { path, .. } => Request { observe: Some(1), ..Request::new(Code::GET, *path) },
        Operation::Write { path, values, value_type } => {
            with_values(device, Request::new(Code::PUT, *path), values, *value_type, forced, model)?
        }
        Operation::WriteUpdate { path, values, value_type } => {
            with_values(device, Request::new(Code::POST, *path), values, *value_type, forced, model)?
        }
        Operation::Create { path, values } => {
            let object = path.truncated(1).unwrap_or(*path);
            let request = Request::new(Code::POST, object);
            let format = forced.unwrap_or_else(|| multiple_format(device));
            if path.depth() == 2 {
                with_instance(device, request, *path, values, format, model)?
            } else if format.current() == ContentFormat::TLV {
                with_values(device, request, values, None, Some(format), model)?
            } else {
                // Only TLV leaves the number to the device. The others take the first that is free as far as it told.
                let instance = free_instance(device, object);
                let values = values.iter().map(|(path, value)| (moved_to(instance, path), value.clone())).collect();
                with_instance(device, request, instance, &values, format, model)?
            }
        }
        Operation::Execute { path, arguments } => {
            let mut request = Request::new(Code::POST, *path);
            if let Some(arguments) = arguments {
                request.format = Some(ContentFormat::TEXT);
                request.payload = arguments.clone().into_bytes();
            }
            request
        }
        Operation::Delete { path } => Request::new(Code::DELETE, *path),
        Operation::WriteAttributes { path, attributes } => Request {
            query: NotificationAttributes::query_of_command(attributes)
                .map_err(|error| CommandError::new(ErrorKind::Invalid, error))?,
            ..Request::new(Code::PUT, *path)
        },
        Operation::Cancel { .. } | Operation::Named { .. } | Operation::Set { .. } | Operation::Get { .. } => {
            return Err(CommandError::new(ErrorKind::Internal, "the operation was not resolved before it was sent"));
        }
    })
}

/// FETCH with the names of the paths (Core TS 1.2.2 sections 6.3.9 and 6.4.4).
///
/// # Errors
/// `invalid` if the forced format cannot carry names.
pub fn composite(
    device: &Device,
    paths: &[Path],
    observe: Option<u32>,
    forced: Option<ContentFormat>,
) -> Result<Request, CommandError> {
    let format = forced.unwrap_or_else(|| composite_format(device));
    let payload = content::encode_paths(format, paths, device.root()).map_err(|error| unencodable(&error))?;
    let accept = forced.or_else(|| accept_for(device)).map(|accept| match accept {
        ContentFormat::SENML_ETCH_JSON | ContentFormat::SENML_JSON => ContentFormat::SENML_JSON,
        ContentFormat::LWM2M_CBOR => ContentFormat::LWM2M_CBOR,
        _ => ContentFormat::SENML_CBOR,
    });
    Ok(Request { observe, accept, format: Some(format), payload, ..Request::new(Code::FETCH, Path::ROOT) })
}

/// iPATCH with values anywhere (Core TS 1.2.2 section 6.3.10); null deletes a resource instance.
fn write_composite(
    device: &Device,
    values: &BTreeMap<Path, Json>,
    forced: Option<ContentFormat>,
    model: &ObjectModel,
) -> Result<Request, CommandError> {
    let present: BTreeMap<Path, Json> =
        values.iter().filter(|(_, json)| !json.is_null()).map(|(path, json)| (*path, json.clone())).collect();
    let nulls = values.iter().filter(|(_, json)| json.is_null()).map(|(path, _)| (*path, None));
    let mut changes: Vec<(Path, Option<Value>)> = typed_values(device, &present, None, model)?
        .into_iter()
        .map(|(path, value)| (path, Some(value)))
        .chain(nulls)
        .collect();
    changes.sort_by_key(|(path, _)| *path);
    let deletes = changes.iter().any(|(_, value)| value.is_none());
    let format = forced.unwrap_or_else(|| match composite_format(device) {
        ContentFormat::SENML_JSON if deletes => ContentFormat::SENML_ETCH_JSON,
        ContentFormat::SENML_CBOR if deletes => ContentFormat::SENML_ETCH_CBOR,
        other => other,
    });
    let payload = content::encode_changes(format, &changes, &device.model(model), device.root())
        .map_err(|error| unencodable(&error))?;
    Ok(Request { format: Some(format), payload, ..Request::new(Code::IPATCH, Path::ROOT) })
}

/// SenML CBOR, unless the device announced only SenML JSON or refused the other before.
fn composite_format(device: &Device) -> ContentFormat {
    if let Some(learnt) = device.formats.composite {
        return ContentFormat(learnt);
    }
    let announced =
        device.registration.as_ref().map(|registration| registration.formats.as_slice()).unwrap_or_default();
    let only_json =
        announced.contains(&ContentFormat::SENML_JSON.0) && !announced.contains(&ContentFormat::SENML_CBOR.0);
    if only_json { ContentFormat::SENML_JSON } else { ContentFormat::SENML_CBOR }
}

/// The lowest instance of an object that the device did not list.
fn free_instance(device: &Device, object: Path) -> Path {
    let registered = object.object_id().and_then(|id| device.facts.objects.get(&id));
    let taken = registered.map(|registered| registered.instances.as_slice()).unwrap_or_default();
    let free = (0..u16::MAX).find(|id| !taken.contains(id)).unwrap_or_default();
    object.child(free).unwrap_or(object)
}

/// The same path below another instance of its object.
fn moved_to(instance: Path, path: &Path) -> Path {
    let below = path.ids().get(2..).unwrap_or_default();
    below.iter().try_fold(instance, |moved, id| moved.child(*id)).unwrap_or(*path)
}

/// A Create with a chosen instance id: the values are encoded below the object with their own instance.
fn with_instance(
    device: &Device,
    mut request: Request,
    instance: Path,
    values: &BTreeMap<Path, Json>,
    format: ContentFormat,
    model: &ObjectModel,
) -> Result<Request, CommandError> {
    let typed = typed_values(device, values, None, model)?;
    request.payload = content::encode_new_instance(format, device.root(), instance, &typed, &device.model(model))
        .map_err(|error| unencodable(&error))?;
    request.format = Some(format);
    Ok(request)
}

fn with_values(
    device: &Device,
    mut request: Request,
    values: &BTreeMap<Path, Json>,
    value_type: Option<ResourceType>,
    forced: Option<ContentFormat>,
    model: &ObjectModel,
) -> Result<Request, CommandError> {
    let encodable = typed_values(device, values, value_type, model)?;
    let format = forced.unwrap_or_else(|| match encodable.as_slice() {
        [(path, value)] if *path == request.path => single_format(device, value),
        _ => multiple_format(device),
    });
    request.payload = content::encode_below_root(format, device.root(), request.path, &encodable, &device.model(model))
        .map_err(|error| unencodable(&error))?;
    request.format = Some(format);
    Ok(request)
}

fn unencodable(error: &content::ContentError) -> CommandError {
    CommandError::new(ErrorKind::Invalid, format!("value: {error}"))
}

fn typed_values(
    device: &Device,
    values: &BTreeMap<Path, Json>,
    value_type: Option<ResourceType>,
    model: &ObjectModel,
) -> Result<Vec<(Path, Value)>, CommandError> {
    let types = device.model(model);
    let mut found = Vec::with_capacity(values.len());
    for (path, json) in values {
        let known = types.shape(path).and_then(|shape| shape.resource_type);
        let value = match value_type.or(known) {
            Some(resource_type) => Value::from_json(json, resource_type),
            None => Value::from_untyped_json(json),
        };
        let value =
            value.map_err(|error| CommandError::new(ErrorKind::Invalid, format!("value of {path}: {error}")))?;
        found.push((*path, value));
    }
    Ok(found)
}

fn single_format(device: &Device, value: &Value) -> ContentFormat {
    let configured = device.settings.write_format.or(device.formats.single);
    configured.map_or_else(
        || if matches!(value, Value::Opaque(_)) { ContentFormat::OPAQUE } else { ContentFormat::TEXT },
        ContentFormat,
    )
}

fn multiple_format(device: &Device) -> ContentFormat {
    let configured = device.settings.write_format.filter(|&format| is_multiple(ContentFormat(format)));
    if let Some(format) = configured.or(device.formats.multiple) {
        return ContentFormat(format);
    }
    match device.registration.as_ref() {
        Some(registration) if registration.version >= Version::V1_1 => {
            let announced =
                [ContentFormat::SENML_CBOR, ContentFormat::TLV, ContentFormat::SENML_JSON, ContentFormat::LWM2M_CBOR];
            let known = announced.into_iter().find(|format| registration.formats.contains(&format.0));
            known.unwrap_or(ContentFormat::SENML_CBOR)
        }
        _ => ContentFormat::TLV,
    }
}

fn is_multiple(format: ContentFormat) -> bool {
    !matches!(format, ContentFormat::TEXT | ContentFormat::OPAQUE | ContentFormat::CBOR)
}

/// The format to try after `refused` was answered with 4.15 or 4.06; `None` when all were tried.
pub fn next_write_format(request: &Request) -> Option<ContentFormat> {
    let refused = request.format?;
    if matches!(request.code, Code::FETCH | Code::IPATCH) {
        // The two spellings of the same pack, each with its variant for patches.
        return Some(match refused {
            ContentFormat::SENML_CBOR => ContentFormat::SENML_JSON,
            ContentFormat::SENML_ETCH_CBOR => ContentFormat::SENML_ETCH_JSON,
            ContentFormat::SENML_ETCH_JSON => ContentFormat::SENML_ETCH_CBOR,
            _ => ContentFormat::SENML_CBOR,
        });
    }
    let single = [ContentFormat::TEXT, ContentFormat::OPAQUE, ContentFormat::TLV, ContentFormat::SENML_CBOR];
    let multiple =
        [ContentFormat::TLV, ContentFormat::SENML_CBOR, ContentFormat::SENML_JSON, ContentFormat::LWM2M_CBOR];
    if single[..2].contains(&refused) {
        return Some(ContentFormat::TLV);
    }
    // One change of mind: the usual format of 1.0 after those of 1.1, and the other way round.
    (refused == ContentFormat::TLV)
        .then_some(ContentFormat::SENML_CBOR)
        .or_else(|| multiple.contains(&refused).then_some(ContentFormat::TLV))
}

/// The format that a device which takes this one for patches takes for other packs.
pub fn without_etch(format: ContentFormat) -> ContentFormat {
    match format {
        ContentFormat::SENML_ETCH_JSON => ContentFormat::SENML_JSON,
        ContentFormat::SENML_ETCH_CBOR => ContentFormat::SENML_CBOR,
        other => other,
    }
}

/// The outcome of an answered operation. `samples` is the decoded body of a read or observe.
pub fn outcome_of(
    operation: &Operation,
    answer: &Message,
    samples: Result<Vec<Sample>, String>,
    links: Option<Json>,
) -> Outcome {
    let code = answer.code.to_string();
    if !answer.code.is_success() {
        return Outcome::Failed { code: Some(code), error: None };
    }
    let mut body = Map::new();
    match operation {
        Operation::Read { .. }
        | Operation::Observe { .. }
        | Operation::ReadComposite { .. }
        | Operation::ObserveComposite { .. } => match samples {
            Err(error) => {
                return Outcome::Failed {
                    code: Some(code),
                    error: Some(CommandError::new(ErrorKind::BadAnswer, error)),
                };
            }
            Ok(samples) => insert_samples(&mut body, operation.path().copied().unwrap_or_default(), &samples),
        },
        Operation::Discover { .. } => {
            body.insert("links".to_owned(), links.unwrap_or_else(|| json!([])));
        }
        Operation::Create { .. } => {
            let location: Vec<_> = answer
                .option_values(OptionNumber::LOCATION_PATH)
                .map(|segment| String::from_utf8_lossy(segment).into_owned())
                .collect();
            if !location.is_empty() {
                body.insert("location".to_owned(), format!("/{}", location.join("/")).into());
            }
        }
        _ => {}
    }
    Outcome::Done { code, answer: body }
}

/// `value` for one resource, else `values` by path; `records` too when the device gave times.
fn insert_samples(body: &mut Map<String, Json>, asked: Path, samples: &[Sample]) {
    let json_of = |value: &Value| value.to_json().unwrap_or(Json::Null);
    let timed = samples.iter().any(|sample| sample.ts.is_some());
    if timed {
        let records = samples.iter().map(|sample| {
            let mut record = json!({ "path": sample.path.to_string(), "value": json_of(&sample.value) });
            if let Some(ts) = sample.ts {
                record["ts"] = ts.millis().into();
            }
            record
        });
        body.insert("records".to_owned(), records.collect());
    }
    if asked.depth() >= 3 {
        if let Some(sample) = samples.iter().rev().find(|sample| sample.path == asked) {
            body.insert("value".to_owned(), json_of(&sample.value));
            return;
        }
        // A multiple-instance resource: an object of its instances.
        let instances: Map<String, Json> = samples
            .iter()
            .filter_map(|sample| Some((sample.path.resource_instance_id()?.to_string(), json_of(&sample.value))))
            .collect();
        body.insert("value".to_owned(), Json::Object(instances));
        return;
    }
    let values: Map<String, Json> =
        samples.iter().map(|sample| (sample.path.to_string(), json_of(&sample.value))).collect();
    body.insert("values".to_owned(), Json::Object(values));
}

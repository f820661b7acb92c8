//! Requests to the gateway itself: the same over MQTT (`bridge/request/..`) and HTTP, with the same answers.
//!
//! ```text
//! sink or API ──▶ bridge_request ──▶ done at once ───────────────────────▶ response
//!                      └── Output::Shell ──▶ host ──▶ Input::ShellDone ──▶ response
//! ```
//!
//! Files, the log and the process belong to the shell. What it works on stands in [`Tasks`] with whoever asked;
//! at most [`Limits::max_shell_tasks`](super::configuration::Limits::max_shell_tasks) at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::configuration::Role;
use super::core::Core;
use super::devices::own_settings::OwnSettings;
use super::dispatch::record::Origin;
use super::inbound::{InboundMessage, demand};
use super::queries::own_settings_json;
use super::services::{Held, Services};
use super::trace::Onlooker;
use super::trial;
use super::vocabulary::{Answer, Output, RequestId, ShellWork, TaskId, Trial};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::command::{CommandError, ErrorKind};
use crate::model::units::{format_duration, parse_duration};
use crate::northbound::layout::native;
use crate::northbound::topic::{encode_level, is_publishable};

/// Names, labels and tags have at most so many bytes each; a device has at most so many tags.
const MAX_TEXT_BYTES: usize = 252;
const MAX_TAGS: usize = 32;

/// Longest name of a mapping or model file.
const MAX_FILE_NAME_BYTES: usize = 128;

/// Longest answer over a sink: what fits into the MQTT packets that adapters and usual brokers take.
const MAX_RESPONSE_BYTES: usize = 1_000_000;

/// How long another level of the log holds, and its lines go to the sinks, when nobody says; and at most.
const DEFAULT_LOG_TIME: Duration = Duration::from_secs(10 * 60);
const MAX_LOG_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a device is traced when nobody says; and at most.
const DEFAULT_TRACE_TIME: Duration = Duration::from_secs(5 * 60);
const MAX_TRACE_TIME: Duration = Duration::from_secs(60 * 60);

/// Who waits for the answer to a request.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    /// A message on a sink: where its response goes and what it echoes.
    Sink { sink: usize, topic: String, correlation: Option<Bytes>, echoed: serde_json::Map<String, Json> },
    /// An API caller.
    Api(RequestId),
}

/// Work of the shell under way.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    last: u64,
    waiting: BTreeMap<TaskId, Asker>,
}

/// What a request led to.
enum Served {
    /// The data of the response.
    Now(Json),
    /// The shell has to work first.
    Later(ShellWork),
}

impl Core {
    /// A request that came by a sink.
    pub(super) fn bridge_request_of_sink(
        &mut self,
        inbound: &InboundMessage,
        what: &str,
        body: Result<Json, CommandError>,
        role: Role,
        origin: &Origin,
    ) {
        let (services, _, _) = self.parts();
        let Some(base) = services.sinks.get(inbound.sink).map(|sink| sink.configuration.base.clone()) else { return };
        let mut echoed = serde_json::Map::new();
        for field in ["id", "transaction"] {
            if let Some(value) = body.as_ref().ok().and_then(|body| body.get(field)) {
                echoed.insert(field.to_owned(), value.clone());
            }
        }
        let topic = origin
            .response_topic
            .clone()
            .filter(|topic| is_publishable(topic))
            .unwrap_or_else(|| native::bridge_topic(&base, &format!("response/{what}")));
        let asker = Asker::Sink { sink: inbound.sink, topic, correlation: inbound.correlation.clone(), echoed };
        let body = body.and_then(|body| {
            if inbound.retain {
                return Err(CommandError::new(ErrorKind::Invalid, "a retained request is refused"));
            }
            Ok(body)
        });
        match body {
            Ok(body) => self.bridge_request(asker, what, &body, role),
            Err(error) => self.respond(asker, Err(error)),
        }
    }

    /// Serves a request; the response goes to `asker`, now or when the shell has done its part.
    pub(super) fn bridge_request(&mut self, asker: Asker, what: &str, body: &Json, role: Role) {
        if what == "device/trace" {
            let onlooker = match &asker {
                Asker::Sink { sink, .. } => Onlooker::Sink(*sink),
                Asker::Api(_) => Onlooker::Api,
            };
            let answer = demand(role, Role::Operator).and_then(|()| self.device_trace(body, onlooker));
            self.respond(asker, answer);
            return;
        }
        match self.serve_request(what, body, role) {
            Ok(Served::Now(data)) => self.respond(asker, Ok(data)),
            Ok(Served::Later(work)) => self.start_task(asker, work),
            Err(error) => self.respond(asker, Err(error)),
        }
    }

    fn start_task(&mut self, asker: Asker, work: ShellWork) {
        let limit = self.services().configuration.limits.max_shell_tasks;
        if self.tasks.waiting.len() >= limit {
            self.services().count(Occurrence::BoundReached("max_shell_tasks"));
            let message = format!("{limit} requests wait for files already; ask again later");
            self.respond(asker, Err(CommandError::new(ErrorKind::QueueFull, message)));
            return;
        }
        self.tasks.last += 1;
        let task = TaskId(self.tasks.last);
        self.tasks.waiting.insert(task, asker);
        self.services().outputs.push_back(Output::Shell { task, work });
    }

    /// The shell did its part.
    pub(super) fn shell_done(&mut self, task: TaskId, answer: Result<Json, CommandError>, trial: Option<&Trial>) {
        let Some(asker) = self.tasks.waiting.remove(&task) else { return };
        let answer = answer.map(|mut data| {
            if let (Some(trial), Json::Object(data)) = (trial, &mut data) {
                let (services, devices, _) = self.parts();
                let limit = services.configuration.limits.max_observations_per_device;
                data.insert("observations".to_owned(), trial::observation_changes(devices, trial, limit));
            }
            data
        });
        self.respond(asker, answer);
    }

    fn respond(&mut self, asker: Asker, answer: Result<Json, CommandError>) {
        let services = self.services();
        match asker {
            Asker::Sink { sink, topic, correlation, echoed } => {
                let mut response = match answer {
                    Ok(data) => json!({ "status": "ok", "data": data }),
                    Err(error) => {
                        json!({ "status": "error", "error": error.to_json() })
                    }
                };
                for (field, value) in echoed {
                    response[field] = value;
                }
                let mut message = native::message(topic, &response, false);
                if message.payload.len() > MAX_RESPONSE_BYTES {
                    // Brokers drop what is larger, and nobody would know.
                    let error = format!(
                        "the answer has {} bytes, more than the {MAX_RESPONSE_BYTES} that a message may have; ask over HTTP",
                        message.payload.len()
                    );
                    response["status"] = "error".into();
                    response["error"] = CommandError::new(ErrorKind::TooLarge, error).to_json();
                    if let Some(response) = response.as_object_mut() {
                        response.remove("data");
                    }
                    message = native::message(message.topic, &response, false);
                }
                message.correlation = correlation;
                services.spool(sink, None, message);
            }
            Asker::Api(request) => {
                let answer = answer.map_or_else(Answer::Failed, Answer::Body);
                services.journal.when_durable(Held::ApiAnswer { request, answer });
            }
        }
    }

    fn serve_request(&mut self, what: &str, body: &Json, role: Role) -> Result<Served, CommandError> {
        let now = Ok::<Json, CommandError>;
        let data = match what {
            "health" => {
                let (services, devices, bridge) = self.parts();
                now(bridge.health(services, devices))
            }
            "permit_join" => {
                demand(role, Role::Operator)?;
                let text = body.get("for").and_then(Json::as_str);
                let text =
                    text.ok_or_else(|| CommandError::new(ErrorKind::Invalid, "for is missing, such as \"60s\""))?;
                let duration = parse_duration(text)
                    .map_err(|error| CommandError::new(ErrorKind::Invalid, format!("for: {error}")))?;
                self.permit_join(duration);
                now(json!({ "for": text }))
            }
            "device/options" => {
                demand(role, Role::Operator)?;
                self.device_options(body)
            }
            "device/remove" => {
                demand(role, Role::Admin)?;
                self.device_remove(body)
            }
            "device/block" => {
                demand(role, Role::Admin)?;
                self.device_block(body)
            }
            "bootstrap/approve" => {
                // Accounts of the request's own change what is handed out.
                let servers = body.get("servers").and_then(Json::as_array);
                let brings_accounts = servers.is_some_and(|servers| !servers.iter().all(Json::is_string));
                demand(role, if brings_accounts { Role::Admin } else { Role::Operator })?;
                let device = body.get("device").and_then(Json::as_str);
                let device = device.ok_or_else(|| CommandError::new(ErrorKind::Invalid, "device is missing"))?;
                self.approve_bootstrap(device, body)
            }
            "reload" => {
                demand(role, Role::Admin)?;
                self.services().outputs.push_back(Output::Reload);
                now(json!({}))
            }
            _ => return shell_work(what, body, role).map(Served::Later),
        };
        data.map(Served::Now)
    }

    /// Opens the join window, or with zero closes it.
    pub(super) fn permit_join(&mut self, duration: Duration) {
        let (services, devices, _) = self.parts();
        devices.join_until = (!duration.is_zero()).then(|| services.now + duration);
        services.readmit_removed_until(devices.join_until);
    }

    fn named_device(&mut self, body: &Json) -> Result<usize, CommandError> {
        let device = body.get("device").and_then(Json::as_str);
        let device = device.ok_or_else(|| CommandError::new(ErrorKind::Invalid, "device is missing"))?;
        self.key_of(device)
    }

    pub(super) fn device_options(&mut self, body: &Json) -> Result<Json, CommandError> {
        let key = self.named_device(body)?;
        let name = text_change(body, "name")?;
        let label = text_change(body, "label")?;
        let tags = optional_tags(body)?;
        let settings = match body.get("settings") {
            None => None,
            Some(Json::Null) => Some(OwnSettings::default()),
            Some(Json::Object(changes)) => {
                let (_, devices, _) = self.parts();
                let own = devices.table.get(key).and_then(|device| device.own_settings.as_deref());
                Some(own.cloned().unwrap_or_default().changed(changes)?)
            }
            Some(_) => return Err(CommandError::new(ErrorKind::Invalid, "settings is no object")),
        };
        let (services, devices, _) = self.parts();
        let old = devices.table.get(key).map(|device| device.display_name().to_owned()).unwrap_or_default();
        if !matches!(name, TextChange::Unchanged) {
            let mut new = None;
            name.apply(&mut new);
            if !devices.rename(key, new) {
                return Err(CommandError::new(ErrorKind::Conflict, "name: another device has it"));
            }
            let renamed = devices.table.get(key).is_some_and(|device| device.display_name() != old);
            if renamed {
                clear_retained(services, &old);
            }
        }
        if let Some(device) = devices.table.get_mut(key) {
            label.apply(&mut device.label);
            if let Some(tags) = tags {
                device.facts.tags = tags;
            }
            if let Some(settings) = settings {
                device.own_settings = (settings != OwnSettings::default()).then(|| Box::new(settings));
            }
        }
        devices.persist(services, key);
        devices.reselect(services, key);
        devices.republish(services, key);
        let device = devices.table.get(key);
        Ok(json!({
            "endpoint": device.map(|device| device.endpoint.as_str()),
            "name": device.and_then(|device| device.name.clone()),
            "label": device.and_then(|device| device.label.clone()),
            "tags": device.map(|device| device.facts.tags.clone()),
            "settings": device.map(own_settings_json),
        }))
    }

    /// Opens a window on the messages of a device, or with zero closes it.
    fn device_trace(&mut self, body: &Json, onlooker: Onlooker) -> Result<Json, CommandError> {
        let key = self.named_device(body)?;
        let duration = span(body, DEFAULT_TRACE_TIME, MAX_TRACE_TIME)?;
        let (services, devices, _) = self.parts();
        let Some(device) = devices.table.get(key) else { return Ok(json!({})) };
        let (now, name) = (services.now, device.display_name().to_owned());
        if duration.is_zero() {
            services.traces.end(now, &device.endpoint, onlooker);
        } else {
            services.traces.begin(now, (&device.endpoint, &name), device.peer, onlooker, duration)?;
        }
        let mut data = json!({
            "endpoint": device.endpoint.as_str(),
            "for": format_duration(duration),
            "until": services.clock.at(now + duration).millis(),
        });
        if let Onlooker::Sink(sink) = onlooker
            && let Some(sink) = services.sinks.get(sink)
        {
            data["topic"] = native::device_topic(&sink.configuration.base, &name, "trace").into();
        }
        Ok(data)
    }

    /// Forgets a device and what it came in by.
    fn device_remove(&mut self, body: &Json) -> Result<Json, CommandError> {
        let name = body.get("device").and_then(Json::as_str);
        let name = name.ok_or_else(|| CommandError::new(ErrorKind::Invalid, "device is missing"))?;
        let (services, devices, _) = self.parts();
        let key = devices.key_of(name);
        let endpoint = key.and_then(|key| devices.table.get(key)).map_or(name, |device| device.endpoint.as_str());
        let endpoint = endpoint.to_owned();
        let had_credential = services.remove_credentials_of(&endpoint);
        if key.is_none() && !had_credential {
            return Err(self.key_of(name).err().unwrap_or_else(|| CommandError::new(ErrorKind::UnknownDevice, name)));
        }
        if let Some(key) = key {
            for end in devices.end_devices_of(key) {
                devices.settle_commands(services, end);
                if let Some(device) = devices.remove(services, end) {
                    clear_retained(services, device.display_name());
                }
            }
            devices.settle_commands(services, key);
            if let Some(device) = devices.remove(services, key) {
                clear_retained(services, device.display_name());
            }
        }
        if had_credential {
            devices.credentials_changed(services);
        }
        Ok(json!({ "endpoint": endpoint }))
    }
}

/// The requests that the shell carries out.
fn shell_work(what: &str, body: &Json, role: Role) -> Result<ShellWork, CommandError> {
    let least = if matches!(what, "mapping/list" | "mapping/get" | "model/list" | "model/get" | "config/get") {
        Role::Viewer
    } else {
        Role::Admin
    };
    let dry_run = || match body.get("dry_run") {
        None | Some(Json::Null) => Ok(false),
        Some(Json::Bool(dry_run)) => Ok(*dry_run),
        Some(_) => Err(CommandError::new(ErrorKind::Invalid, "dry_run is no boolean")),
    };
    let text = || {
        let text = body.get("text").and_then(Json::as_str).map(str::to_owned);
        text.ok_or_else(|| CommandError::new(ErrorKind::Invalid, "text is missing: the content of the file")).map(Some)
    };
    let work = match what {
        "mapping/list" => ShellWork::MappingList,
        "mapping/get" => ShellWork::MappingGet { file: file_name(body, "toml")? },
        "mapping/put" => ShellWork::MappingPut { file: file_name(body, "toml")?, text: text()?, dry_run: dry_run()? },
        "mapping/delete" => ShellWork::MappingPut { file: file_name(body, "toml")?, text: None, dry_run: dry_run()? },
        "model/list" => ShellWork::ModelList,
        "model/get" => ShellWork::ModelGet { file: file_name(body, "xml")? },
        "model/put" => ShellWork::ModelPut { file: file_name(body, "xml")?, text: text()?, dry_run: dry_run()? },
        "model/delete" => ShellWork::ModelPut { file: file_name(body, "xml")?, text: None, dry_run: dry_run()? },
        "config/get" => ShellWork::ConfigGet,
        "log/level" => ShellWork::LogLevel {
            level: match body.get("level") {
                None | Some(Json::Null) => None,
                Some(Json::String(level)) => Some(level.clone()),
                Some(_) => return Err(CommandError::new(ErrorKind::Invalid, "level is no string")),
            },
            duration: span(body, DEFAULT_LOG_TIME, MAX_LOG_TIME)?,
        },
        "restart" => ShellWork::Restart,
        _ => {
            let message = format!("request '{what}' is not served by this version");
            return Err(CommandError::new(ErrorKind::NotSupported, message));
        }
    };
    demand(role, least)?;
    Ok(work)
}

/// The `for` of a request that ends by itself.
fn span(body: &Json, default: Duration, most: Duration) -> Result<Duration, CommandError> {
    let invalid = |why: String| CommandError::new(ErrorKind::Invalid, format!("for: {why}"));
    let duration = match body.get("for") {
        None | Some(Json::Null) => default,
        Some(Json::String(text)) => parse_duration(text).map_err(|error| invalid(error.to_string()))?,
        Some(_) => return Err(invalid("is no text such as \"10m\"".to_owned())),
    };
    if duration > most {
        return Err(invalid(format!("at most {}", format_duration(most))));
    }
    Ok(duration)
}

/// The `file` of a request: a name within one folder, which leads nowhere else.
fn file_name(body: &Json, extension: &str) -> Result<String, CommandError> {
    let invalid = |message: String| CommandError::new(ErrorKind::Invalid, message);
    let file = body.get("file").and_then(Json::as_str).ok_or_else(|| invalid("file is missing".to_owned()))?;
    let stem = file.strip_suffix(extension).and_then(|file| file.strip_suffix('.')).unwrap_or_default();
    let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if stem.is_empty() || stem.starts_with('.') || file.len() > MAX_FILE_NAME_BYTES || !stem.chars().all(fits) {
        return Err(invalid(format!(
            "file '{file}' is no name of at most {MAX_FILE_NAME_BYTES} letters, digits, '-', '_' and '.' that ends in .{extension}"
        )));
    }
    Ok(file.to_owned())
}

/// Clears the retained topics of a device name at every sink.
fn clear_retained(services: &mut Services, device: &str) {
    for index in 0..services.sinks.len() {
        let Some(base) = services.sinks.get(index).map(|sink| sink.configuration.base.clone()) else { continue };
        for leaf in ["state", "values", "attributes", "info"] {
            let topic = format!("{base}/{}/{leaf}", encode_level(device));
            services.retain(index, None, native::raw_message(topic, Bytes::new(), true));
        }
    }
}

/// What a request says of a text of the device.
enum TextChange {
    Unchanged,
    Removed,
    Set(String),
}

impl TextChange {
    fn apply(self, text: &mut Option<String>) {
        match self {
            Self::Unchanged => {}
            Self::Removed => *text = None,
            Self::Set(new) => *text = Some(new),
        }
    }
}

fn text_change(body: &Json, field: &str) -> Result<TextChange, CommandError> {
    match body.get(field) {
        None => Ok(TextChange::Unchanged),
        Some(Json::Null) => Ok(TextChange::Removed),
        Some(Json::String(text))
            if !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control) =>
        {
            Ok(TextChange::Set(text.clone()))
        }
        Some(_) => Err(CommandError::new(
            ErrorKind::Invalid,
            format!("{field} is no text of 1 to {MAX_TEXT_BYTES} bytes without control characters"),
        )),
    }
}

fn optional_tags(body: &Json) -> Result<Option<Vec<String>>, CommandError> {
    let Some(tags) = body.get("tags") else { return Ok(None) };
    let tags: Option<Vec<String>> = tags.as_array().and_then(|tags| {
        tags.iter().map(|tag| tag.as_str().filter(|tag| tag.len() <= MAX_TEXT_BYTES).map(str::to_owned)).collect()
    });
    tags.filter(|tags| tags.len() <= MAX_TAGS)
        .map(Some)
        .ok_or_else(|| CommandError::new(ErrorKind::Invalid, format!("tags is no list of at most {MAX_TAGS} strings")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_lead_nowhere_else() {
        for file in ["a.toml", "10-site.b_2.toml"] {
            assert_eq!(file_name(&json!({ "file": file }), "toml").as_deref(), Ok(file));
        }
        for file in
            ["", ".toml", "..toml", "a.xml", "../a.toml", "a/b.toml", "/a.toml", "a\\b.toml", ".a.toml", "ä.toml", "a"]
        {
            assert!(file_name(&json!({ "file": file }), "toml").is_err(), "{file}");
        }
        assert!(file_name(&json!({ "file": format!("{}.toml", "a".repeat(200)) }), "toml").is_err());
    }

    #[test]
    fn what_changes_files_or_the_process_needs_the_role_admin() {
        for what in ["mapping/put", "mapping/delete", "model/put", "model/delete", "log/level", "restart"] {
            let body = json!({ "file": if what.starts_with("model") { "a.xml" } else { "a.toml" }, "text": "" });
            let refused = shell_work(what, &body, Role::Operator).unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Forbidden, "{what}");
            assert!(shell_work(what, &body, Role::Admin).is_ok(), "{what}");
        }
        assert_eq!(shell_work("mapping/list", &json!({}), Role::Viewer), Ok(ShellWork::MappingList));
        assert_eq!(shell_work("fly", &json!({}), Role::Admin).unwrap_err().kind, ErrorKind::NotSupported);
    }
}

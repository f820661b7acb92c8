//! From the cloud to the device: desired keys, the paths behind a key, and named commands.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::json_template::{self, JsonTemplate, fill_text};
use super::pattern::PathPattern;
use super::payload::Conversion;
use super::plan::{Plan, Selection};
use super::template::{KeyTemplate, Part};
use crate::model::command::{CommandError, ErrorKind, Operation};
use crate::model::object::DeviceModel;
use crate::model::path::Path;
use crate::model::report::DeviceFacts;
use crate::model::value::{ResourceType, Value};

/// What a desired value asks of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredWrite {
    /// Where to write.
    pub path: Path,
    /// What to write.
    pub value: Value,
}

/// A `[[desired]]` rule.
#[derive(Clone, Debug)]
pub(super) struct DesiredRule {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) key: KeyTemplate,
    pub(super) pattern: PathPattern,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) conversion: Conversion,
}

/// A `[[command]]` rule.
#[derive(Clone, Debug)]
pub(super) struct CommandRule {
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) path: Vec<CommandSegment>,
    pub(super) action: CommandAction,
}

/// A part of a command's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CommandSegment {
    Id(u16),
    Parameter(String),
}

/// What a command does.
#[derive(Clone, Debug)]
pub(super) enum CommandAction {
    Execute(Option<Vec<Part>>),
    Read,
    Discover,
    Delete,
    /// Values by identifiers below the path; none: the path itself.
    Write(Vec<(Vec<u16>, JsonTemplate)>),
    WriteUpdate(Vec<(Vec<u16>, JsonTemplate)>),
    Create(Vec<(Vec<u16>, JsonTemplate)>),
}

fn invalid(message: String) -> CommandError {
    CommandError::new(ErrorKind::Invalid, message)
}

impl Plan {
    /// What writing a desired key means.
    ///
    /// # Errors
    /// `invalid` for an unknown key or a value outside its bounds; the message names the key.
    pub fn desired(
        &self,
        selection: &Selection,
        facts: &DeviceFacts,
        model: &DeviceModel<'_>,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<DesiredWrite, CommandError> {
        let rules = self.desired.iter().filter(|rule| selection.has(rule.file));
        let found = rules.into_iter().find_map(|rule| Some((rule, rule.target(key, facts)?)));
        let Some((rule, path)) = found else {
            return Err(invalid(format!("key '{key}': no [[desired]] rule has it for this device")));
        };
        rule.write(path, value, model).map_err(|problem| invalid(format!("key '{key}': {problem}")))
    }

    /// Where writing a desired key writes; `None` for an unknown key.
    #[must_use]
    pub fn desired_target(&self, selection: &Selection, facts: &DeviceFacts, key: &str) -> Option<Path> {
        self.desired.iter().filter(|rule| selection.has(rule.file)).find_map(|rule| rule.target(key, facts))
    }

    /// The paths that a key is read from, for `get`.
    #[must_use]
    pub fn paths_of_key(&self, selection: &Selection, facts: &DeviceFacts, key: &str) -> Vec<Path> {
        let mut paths = Vec::new();
        for (position, rule) in self.rules.iter().enumerate() {
            let Some(value) = rule.value().filter(|_| selection.has(rule.file)) else { continue };
            if !rule.pattern.fits_version(facts) {
                continue;
            }
            // The instance of a resource that the key carries as a suffix is read with its resource.
            let bare = key.rsplit_once('_').filter(|(_, digits)| digits.parse::<u16>().is_ok()).map(|(bare, _)| bare);
            for template in value.keys.templates() {
                let open_instance = rule.pattern.resource_instance().is_none_or(|segment| segment.id().is_none());
                let captured =
                    template.captures(key, facts).or_else(|| template.captures(bare.filter(|_| open_instance)?, facts));
                let Some(ids) = captured else { continue };
                for path in readable_paths(&rule.pattern, ids, facts) {
                    let sample = match rule.pattern.resource_instance() {
                        Some(segment) if path.depth() == 3 => path.child(segment.id().or(ids[3]).unwrap_or(0)),
                        _ => Some(path),
                    };
                    let takes = sample.is_some_and(|sample| {
                        sample.depth() < 3
                            || self.takers(selection, facts, &sample).rules.iter().any(|(taker, ..)| *taker == position)
                    });
                    if takes && !paths.contains(&path) {
                        paths.push(path);
                    }
                }
            }
        }
        paths
    }

    /// What a named command means.
    ///
    /// # Errors
    /// `invalid` for an unknown name or a missing parameter.
    pub fn command(
        &self,
        selection: &Selection,
        name: &str,
        params: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Operation, CommandError> {
        let Some(rule) = self.commands.iter().find(|rule| selection.has(rule.file) && rule.name == name) else {
            return Err(invalid(format!("name '{name}': no [[command]] rule has it for this device")));
        };
        rule.operation(params).map_err(|problem| invalid(format!("command '{name}': {problem}")))
    }
}

impl DesiredRule {
    /// The resource that a key means on a device; `None` if the key is another or the device has no such resource.
    fn target(&self, key: &str, facts: &DeviceFacts) -> Option<Path> {
        let mut ids = self.key.captures(key, facts)?;
        if !self.pattern.fits_version(facts) {
            return None;
        }
        let object = self.pattern.object().id()?;
        let registered = facts.objects.get(&object);
        // Nothing is known of a device that never registered; its values wait for it.
        if registered.is_none() && !facts.objects.is_empty() {
            return None;
        }
        let instances = registered.map_or(&[][..], |registered| registered.instances.as_slice());
        if self.pattern.instance().id().is_none() && ids[1].is_none() {
            ids[1] = Some(instances.first().copied().unwrap_or(0));
        }
        let path = self.pattern.path_with(ids, self.pattern.depth())?;
        let exists = instances.is_empty() || path.instance_id().is_some_and(|id| instances.contains(&id));
        exists.then_some(path)
    }

    fn write(&self, path: Path, value: &Json, model: &DeviceModel<'_>) -> Result<DesiredWrite, String> {
        let bounded = self.min.is_some() || self.max.is_some();
        match value.as_f64() {
            Some(number) => {
                if let Some(min) = self.min.filter(|min| number < *min) {
                    return Err(format!("{value} is less than the minimum {min}"));
                }
                if let Some(max) = self.max.filter(|max| number > *max) {
                    return Err(format!("{value} is more than the maximum {max}"));
                }
            }
            None if bounded && self.conversion.names.is_empty() => {
                return Err(format!("expected a number, found {value}"));
            }
            None => {}
        }
        let raw = self.conversion.reversed(value)?;
        let definition = model.resource(&path);
        if definition.is_some_and(|resource| !resource.operations.write) {
            return Err(format!("{path} cannot be written"));
        }
        let value = match definition.and_then(|resource| resource.resource_type) {
            Some(wanted) => Value::from_json(&self.whole(raw, wanted), wanted),
            None => Value::from_untyped_json(&raw),
        };
        Ok(DesiredWrite { path, value: value.map_err(|mismatch| mismatch.to_string())? })
    }

    /// A scaled number rounded for a resource that takes integers; what came unscaled must be one by itself.
    fn whole(&self, raw: Json, wanted: ResourceType) -> Json {
        let integral = matches!(wanted, ResourceType::Integer | ResourceType::UnsignedInteger | ResourceType::Time);
        match raw.as_f64() {
            Some(number) if integral && raw.is_f64() && !self.conversion.is_linear_identity() => number.round().into(),
            _ => raw,
        }
    }
}

/// The resources, or the instance for a wildcard resource, that a pattern means with these identifiers.
fn readable_paths(pattern: &PathPattern, ids: [Option<u16>; 4], facts: &DeviceFacts) -> Vec<Path> {
    let Some(object) = pattern.object().id().or(ids[0]) else { return Vec::new() };
    let Some(registered) = facts.objects.get(&object) else { return Vec::new() };
    let instances = match pattern.instance().id().or(ids[1]) {
        Some(id) if registered.instances.is_empty() || registered.instances.contains(&id) => vec![id],
        Some(_) => Vec::new(),
        None => registered.instances.clone(),
    };
    let depth = if pattern.resource().id().or(ids[2]).is_some() { 3 } else { 2 };
    instances
        .into_iter()
        .filter_map(|instance| pattern.path_with([Some(object), Some(instance), ids[2], None], depth))
        .collect()
}

impl CommandRule {
    fn operation(&self, params: &BTreeMap<String, Json>) -> Result<Operation, String> {
        let mut lookup = |name: &str| params.get(name).cloned().ok_or_else(|| format!("params.{name} is missing"));
        let mut path = Path::ROOT;
        for segment in &self.path {
            let id = match segment {
                CommandSegment::Id(id) => *id,
                CommandSegment::Parameter(name) => {
                    let text = json_template::written(&lookup(name)?);
                    let id = text.parse().ok().filter(|id| *id != u16::MAX);
                    id.ok_or_else(|| format!("params.{name} must be an identifier from 0 to 65534, found \"{text}\""))?
                }
            };
            path = path.child(id).ok_or("the path has more than four parts")?;
        }
        let mut values = |base: Path, templates: &[(Vec<u16>, JsonTemplate)]| {
            let mut values = BTreeMap::new();
            for (below, template) in templates {
                let target = below.iter().try_fold(base, |path, id| path.child(*id));
                values.insert(target.ok_or("a value's path has more than four parts")?, template.fill(&mut lookup)?);
            }
            Ok::<_, String>(values)
        };
        Ok(match &self.action {
            CommandAction::Read => Operation::Read { path },
            CommandAction::Discover => Operation::Discover { path, depth: None },
            CommandAction::Delete => Operation::Delete { path },
            CommandAction::Write(templates) => {
                Operation::Write { path, values: values(path, templates)?, value_type: None }
            }
            CommandAction::WriteUpdate(templates) => {
                Operation::WriteUpdate { path, values: values(path, templates)?, value_type: None }
            }
            CommandAction::Create(templates) => {
                // The new instance has no identifier yet; instance 0 stands for it.
                let base = if path.depth() == 1 { path.child(0).unwrap_or(path) } else { path };
                Operation::Create { path, values: values(base, templates)? }
            }
            CommandAction::Execute(None) => Operation::Execute { path, arguments: None },
            CommandAction::Execute(Some(parts)) => {
                let mut argument = |name: &str| {
                    let text = json_template::written(&lookup(name)?);
                    // A quote would end the argument and let the caller add others (Core TS 1.2.2 section 6.3.5).
                    if text.contains('\'') || text.chars().any(char::is_control) {
                        return Err(format!("params.{name} must not contain quotes or control characters"));
                    }
                    Ok(text)
                };
                Operation::Execute { path, arguments: Some(fill_text(parts, &mut argument)?) }
            }
        })
    }
}

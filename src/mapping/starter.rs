//! A mapping file to start from: what one device registered, in the names and units of the object model.
//!
//! Active are rules for resources that every instance must have, and for those that the device was seen to have; rules
//! for optional resources stand there as comments, since each observed path costs a request after each registration.
//! The text compiles without errors and warnings; a test holds that for every object of the registry.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::model::object::{DeviceModel, ObjectDefinition, ResourceDefinition};
use crate::model::path::Path;
use crate::model::report::{DeviceFacts, RegisteredObject};
use crate::model::value::ResourceType;

/// Objects that configure the connection itself or hold credentials: no data for the cloud.
const NOT_DATA: [u16; 5] = [0, 1, 2, 21, 23];

/// The device object, whose resources need no name of the object before theirs.
const DEVICE: u16 = 3;

/// Firmware and software updates, which have an interface of their own.
const UPDATES: [u16; 2] = [5, 9];

/// `Sensor Value`, `Digital Input State` and the like: what their object is about, so that its name is enough.
const MAIN_RESOURCES: [u16; 3] = [5700, 5500, 5550];

/// Instances for which writable and executable resources are written out one by one.
const MAX_INSTANCES: usize = 4;

/// The text of the file. `seen`: resources that the device was seen to have.
#[must_use]
pub fn starter(facts: &DeviceFacts, model: &DeviceModel<'_>, seen: &BTreeSet<Path>) -> String {
    let mut file = File { text: String::new(), keys: BTreeSet::new(), commands: BTreeSet::new() };
    file.line(&format!("# A start for device {}, made of what it registered.", quoted(&facts.endpoint)));
    file.line("# Rules behind '#' are for resources that are optional: take the '#' away where the device has them.");
    file.line("version = 1\n\n[match]");
    file.line(&format!("endpoint = {} # a pattern: \"weather-*\" takes all devices like it", quoted(&glob(facts))));
    file.line("\n[defaults]\nobserve = { pmin = \"1s\", pmax = \"5m\" }");
    for (id, registered) in &facts.objects {
        if NOT_DATA.contains(id) {
            continue;
        }
        let Some(object) = model.object(*id) else {
            file.line(&format!(
                "\n# Object {id} is not known here: its definition (DDF XML) belongs into the models folder."
            ));
            continue;
        };
        file.line(&format!(
            "\n# ---------------------------------------------------------------- {id} {}",
            object.name
        ));
        if UPDATES.contains(id) {
            file.line("# Updates have an interface of their own; values of it need no rule.");
            continue;
        }
        file.object(object, registered, seen);
    }
    file.text
}

/// The endpoint name as a pattern that fits it; characters that a pattern gives a meaning fit any character.
fn glob(facts: &DeviceFacts) -> String {
    facts.endpoint.replace('*', "?")
}

struct File {
    text: String,
    keys: BTreeSet<String>,
    commands: BTreeSet<String>,
}

impl File {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn object(&mut self, object: &ObjectDefinition, registered: &RegisteredObject, seen: &BTreeSet<Path>) {
        let several = object.multiple || registered.instances.len() > 1;
        for resource in object.resources.values() {
            let is_there = resource.mandatory
                || seen
                    .iter()
                    .any(|path| path.object_id() == Some(object.id) && path.resource_id() == Some(resource.id));
            if resource.operations.read {
                self.value(object, resource, several, is_there);
            }
            if resource.operations.write && !resource.multiple && object.id != DEVICE {
                self.desired(object, resource, registered, several, is_there);
            }
            if resource.operations.execute {
                self.command(object, resource, registered, several, is_there);
            }
        }
    }

    /// A rule for values, of the kind that its type suggests.
    fn value(&mut self, object: &ObjectDefinition, resource: &ResourceDefinition, several: bool, is_there: bool) {
        let section = match resource.resource_type {
            Some(
                ResourceType::Integer | ResourceType::UnsignedInteger | ResourceType::Float | ResourceType::Boolean,
            ) => "telemetry",
            Some(ResourceType::String | ResourceType::Time) => "attribute",
            Some(ResourceType::Opaque | ResourceType::ObjectLink | ResourceType::CoreLink) | None => return,
        };
        let instance = if several { "*" } else { "0" };
        let name = self.unused_key(object, resource);
        let key = if several { format!("{name}_{{instance}}") } else { name };
        let mut lines = vec![
            format!("[[{section}]] # {}", one_line(&resource.name)),
            format!("path = \"/{}/{instance}/{}\"", object.id, resource.id),
            format!("key = {}", quoted(&key)),
        ];
        if section == "attribute" {
            lines.push("observe = false\nread = \"on_register\"".to_owned());
        } else if !resource.unit.is_empty() {
            lines.push(format!("unit = {}", quoted(&resource.unit)));
        }
        self.rule(&lines, is_there);
    }

    /// A key that the cloud may set, for each instance.
    fn desired(
        &mut self,
        object: &ObjectDefinition,
        resource: &ResourceDefinition,
        registered: &RegisteredObject,
        several: bool,
        is_there: bool,
    ) {
        if matches!(resource.resource_type, None | Some(ResourceType::Opaque | ResourceType::CoreLink)) {
            return;
        }
        let name = format!("set_{}", key_of(object, resource));
        for instance in instances(registered) {
            let key = if several { format!("{name}_{instance}") } else { name.clone() };
            let lines = [
                format!("[[desired]] # {}: may be set", one_line(&resource.name)),
                format!("key = {}", quoted(&key)),
                format!("path = \"/{}/{instance}/{}\"", object.id, resource.id),
            ];
            self.rule(&lines, is_there);
        }
    }

    /// A named command, for each instance.
    fn command(
        &mut self,
        object: &ObjectDefinition,
        resource: &ResourceDefinition,
        registered: &RegisteredObject,
        several: bool,
        is_there: bool,
    ) {
        for instance in instances(registered) {
            let mut name = key_of(object, resource);
            if several {
                let _ = write!(name, "_{instance}");
            }
            if !self.commands.insert(name.clone()) {
                continue;
            }
            let lines = [
                format!("[[command]] # {}", one_line(&resource.name)),
                format!("name = {}", quoted(&name)),
                format!("path = \"/{}/{instance}/{}\"", object.id, resource.id),
                "operation = \"execute\"".to_owned(),
            ];
            self.rule(&lines, is_there);
        }
    }

    fn rule(&mut self, lines: &[String], active: bool) {
        let mark = if active { "" } else { "# " };
        self.text.push('\n');
        for line in lines.iter().flat_map(|line| line.lines()) {
            self.line(&format!("{mark}{line}"));
        }
    }

    fn unused_key(&mut self, object: &ObjectDefinition, resource: &ResourceDefinition) -> String {
        let mut key = key_of(object, resource);
        if !self.keys.insert(key.clone()) {
            let _ = write!(key, "_{}", resource.id);
            self.keys.insert(key.clone());
        }
        key
    }
}

fn key_of(object: &ObjectDefinition, resource: &ResourceDefinition) -> String {
    if object.id == DEVICE {
        resource.path_name.clone()
    } else if MAIN_RESOURCES.contains(&resource.id) {
        object.path_name.clone()
    } else {
        format!("{}_{}", object.path_name, resource.path_name)
    }
}

/// The instances that are written out; an object that is listed alone is taken to have the first.
fn instances(registered: &RegisteredObject) -> Vec<u16> {
    if registered.instances.is_empty() {
        return vec![0];
    }
    registered.instances.iter().copied().take(MAX_INSTANCES).collect()
}

/// A text as a basic string of TOML, whose escapes are those of JSON.
fn quoted(text: &str) -> String {
    // TOML wants the delete character escaped too, which JSON does not.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{MappingFile, Plan};
    use crate::model::object::ObjectModel;
    use crate::model::version::Version;

    fn facts(endpoint: &str, objects: &[(u16, &[u16])]) -> DeviceFacts {
        let object =
            |(id, instances): &(u16, &[u16])| (*id, RegisteredObject { version: None, instances: instances.to_vec() });
        DeviceFacts {
            endpoint: endpoint.to_owned(),
            device: endpoint.to_owned(),
            objects: objects.iter().map(object).collect(),
            lwm2m_version: Some(Version::V1_1),
            ..DeviceFacts::default()
        }
    }

    fn made(model: &ObjectModel, facts: &DeviceFacts, seen: &[Path]) -> String {
        let view = DeviceModel { model, objects: &facts.objects, enabler: facts.lwm2m_version };
        starter(facts, &view, &seen.iter().copied().collect())
    }

    #[track_caller]
    fn compiled(model: &ObjectModel, text: &str) -> Plan {
        let file = MappingFile { name: "starter.toml".to_owned(), text: text.to_owned() };
        let compiled = Plan::compile(&[file], model, false);
        let problems: Vec<String> = compiled.problems.iter().map(ToString::to_string).collect();
        assert!(problems.is_empty(), "{}\n{text}", problems.join("\n"));
        compiled.plan.unwrap()
    }

    #[test]
    fn the_file_takes_what_the_device_must_have_and_offers_the_rest() {
        let model = ObjectModel::built_in();
        let facts = facts("weather-1", &[(0, &[0]), (1, &[0]), (3, &[0]), (3303, &[0, 1]), (42_001, &[0])]);
        let text = made(&model, &facts, &[]);
        let expected = "[[telemetry]] # Sensor Value\npath = \"/3303/*/5700\"\nkey = \"temperature_{instance}\"\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("\n# path = \"/3303/*/5601\""), "optional: {text}");
        assert!(text.contains("name = \"reboot\"\npath = \"/3/0/4\"\noperation = \"execute\""), "{text}");
        assert!(text.contains("# Object 42001 is not known here"), "{text}");
        assert!(!text.contains("/0/0/") && !text.contains("\"/1/"), "no credentials, no server account: {text}");
        let plan = compiled(&model, &text);
        let view = DeviceModel { model: &model, objects: &facts.objects, enabler: facts.lwm2m_version };
        let wishes = plan.wishes(&plan.select(&facts), &facts, &view);
        let observed: Vec<String> = wishes.observations.iter().map(|wish| wish.path.to_string()).collect();
        assert_eq!(observed, ["/3/0/11", "/3303/0/5700", "/3303/1/5700"]);
    }

    #[test]
    fn a_resource_that_was_seen_is_taken_although_it_is_optional() {
        let model = ObjectModel::built_in();
        let facts = facts("e", &[(3303, &[0])]);
        let text = made(&model, &facts, &[Path::resource(3303, 0, 5601)]);
        assert!(text.contains("\npath = \"/3303/*/5601\""), "{text}");
        compiled(&model, &text);
    }

    #[test]
    fn every_object_of_the_registry_gives_a_file_without_errors_and_warnings() {
        let model = ObjectModel::built_in();
        let all: Vec<u16> = model.objects().map(|(id, _)| id).collect();
        assert!(all.len() > 100, "{}", all.len());
        for id in &all {
            for instances in [&[0][..], &[0, 1], &[]] {
                compiled(&model, &made(&model, &facts("urn:imei:1", &[(*id, instances)]), &[]));
            }
        }
    }

    #[test]
    fn every_rule_that_is_offered_as_a_comment_works_when_it_is_taken() {
        let model = ObjectModel::built_in();
        for (id, _) in model.objects() {
            let facts = facts("e", &[(id, &[0])]);
            let text = made(&model, &facts, &[]);
            let is_rule = |line: &str| {
                [
                    "# [[",
                    "# path = ",
                    "# key = ",
                    "# unit = ",
                    "# observe = ",
                    "# read = ",
                    "# name = ",
                    "# operation = ",
                ]
                .iter()
                .any(|start| line.starts_with(start))
            };
            let taken: Vec<&str> =
                text.lines().map(|line| if is_rule(line) { line.get(2..).unwrap() } else { line }).collect();
            compiled(&model, &taken.join("\n"));
        }
    }

    #[test]
    fn names_with_quotes_and_patterns_stay_one_string_that_fits_the_device() {
        let model = ObjectModel::built_in();
        for endpoint in ["a\"b\\c", "star*and?", "tab\there", "ünï", "del\u{7f}"] {
            let facts = facts(endpoint, &[(3303, &[0])]);
            let plan = compiled(&model, &made(&model, &facts, &[]));
            let view = DeviceModel { model: &model, objects: &facts.objects, enabler: facts.lwm2m_version };
            let wishes = plan.wishes(&plan.select(&facts), &facts, &view);
            assert!(!wishes.observations.is_empty(), "{endpoint:?}");
        }
    }
}

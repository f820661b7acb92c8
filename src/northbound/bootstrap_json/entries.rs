//! Reading of device entries.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::accounts::read_account;
use super::fields::{Fields, HIDDEN_MESSAGE, Problems, is_hidden, kind, shown, wrong_word};
use super::{Problem, TOLD_FIELDS};
use crate::model::bootstrap::{AccessControl, AccountName, AccountOrName, DeviceEntry, WriteBy};
use crate::model::object::ObjectModel;
use crate::model::path::{Path, RESERVED_ID};

/// All fields of an entry.
pub const FIELDS: [&str; 8] = ["servers", "writes", "deletes", "acls", "format", "write_by", "order", "verify"];

/// Most items of each list, and most values written.
const MAX_SERVERS: usize = 32;
const MAX_WRITES: usize = 1_024;
const MAX_DELETES: usize = 128;
const MAX_ACCESS_CONTROL: usize = 1_024;
const MAX_ORDER: usize = 64;

/// Longest text of a path, in bytes.
const MAX_PATH_BYTES: usize = 512;

/// Content formats in which instances are written, with their names as in commands.
pub const FORMATS: [(&str, u16); 5] =
    [("tlv", 11_542), ("senml-json", 110), ("senml-cbor", 112), ("lwm2m-cbor", 11_544), ("json", 11_543)];

/// Words for how much one write carries.
pub(super) const WRITE_BY: [(&str, WriteBy); 2] = [("instance", WriteBy::Instance), ("object", WriteBy::Object)];

/// All rights that object 2 knows: read and observe, write, execute, delete, create.
const ALL_RIGHTS: u32 = 31;

/// Reads a device entry; paths may have the names of the object model.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_entry(body: &Json, model: &ObjectModel) -> Result<DeviceEntry, Vec<Problem>> {
    let mut problems = Problems::default();
    let entry =
        Fields::open(body, String::new(), "a device entry", &FIELDS, &TOLD_FIELDS, &mut problems).map(|mut fields| {
            let fields = &mut fields;
            DeviceEntry {
                servers: servers(fields),
                writes: writes(fields, model),
                deletes: deletes(fields, model),
                access_control: access_control(fields),
                format: format(fields),
                write_by: fields.choice("write_by", &WRITE_BY).ok().flatten().unwrap_or_default(),
                order: order(fields, model),
                verify: fields.boolean("verify"),
            }
        });
    problems.result(entry)
}

fn servers(fields: &mut Fields<'_, '_>) -> Vec<AccountOrName> {
    let mut servers = Vec::new();
    for (index, item) in fields.list("servers", MAX_SERVERS).unwrap_or_default().iter().enumerate() {
        let field = format!("servers[{index}]");
        let server = match item {
            Json::String(text) => match AccountName::new(text) {
                Ok(name) => Some(AccountOrName::Named(name)),
                Err(error) => fields.wrong(&field, format!("is no name of an account: {error}")),
            },
            Json::Object(_) => {
                let prefix = format!("{}.", fields.full(&field));
                let account = read_account(item, prefix, fields.problems());
                account.map(|account| AccountOrName::Inline(Box::new(account)))
            }
            other => fields.wrong(&field, format!("is {}, not the name of an account or an account", kind(other))),
        };
        match server {
            Some(AccountOrName::Named(_)) if server.as_ref().is_some_and(|server| servers.contains(server)) => {
                fields.wrong::<()>(&field, "stands there twice");
            }
            server => servers.extend(server),
        }
    }
    servers
}

/// Values by path of a resource or resource instance, or all those of an instance as one: each is a write of its own.
fn writes(fields: &mut Fields<'_, '_>, model: &ObjectModel) -> Vec<(Path, Json)> {
    let mut writes: BTreeMap<Path, Json> = BTreeMap::new();
    let entries = match fields.get("writes") {
        None => return Vec::new(),
        Some(Json::Object(entries)) => entries,
        Some(other) => {
            fields.wrong::<()>("writes", format!("is {}, not an object of values by path", kind(other)));
            return Vec::new();
        }
    };
    for (text, value) in entries {
        let field = format!("writes.{}", shown(text));
        let Some(path) = path(fields, &field, text, model) else { continue };
        match (path.depth(), value) {
            (0 | 1, _) => {
                fields.wrong::<()>(&field, "is no path of an instance, a resource or a resource instance");
            }
            (2, value) if is_hidden(value) => {
                fields.wrong::<()>(&field, HIDDEN_MESSAGE);
            }
            (2, Json::Object(resources)) => {
                let values = instance_values(fields, &field, path, resources, model);
                if writes.insert(path, Json::Object(values)).is_some() {
                    fields.wrong::<()>(&field, "is given twice");
                }
            }
            (2, other) => {
                let message =
                    format!("is {}; the value of an instance is an object of values by resource", kind(other));
                fields.wrong::<()>(&field, message);
            }
            _ => write(fields, &field, path, value, &mut writes),
        }
        if writes.len() > MAX_WRITES {
            fields.wrong::<()>("writes", format!("has more than {MAX_WRITES} values"));
            break;
        }
    }
    if let Some((parent, child)) = overlap(&writes) {
        fields.wrong::<()>("writes", format!("has values for {parent} and for {child}, which is a part of it"));
    }
    writes.into_iter().collect()
}

/// What is written both as a whole and in part.
fn overlap(writes: &BTreeMap<Path, Json>) -> Option<(Path, Path)> {
    let parent = |path: &Path| {
        let wholes = (2..path.depth()).filter_map(|depth| path.truncated(depth));
        wholes.into_iter().find(|whole| writes.contains_key(whole))
    };
    writes.keys().find_map(|path| Some((parent(path)?, *path)))
}

/// The values of an instance, by numbers of resources.
fn instance_values(
    fields: &mut Fields<'_, '_>,
    field: &str,
    instance: Path,
    resources: &Map<String, Json>,
    model: &ObjectModel,
) -> Map<String, Json> {
    let mut writes = BTreeMap::new();
    if resources.is_empty() {
        fields.wrong::<()>(field, "has no resource");
    }
    for (text, value) in resources.iter().take(MAX_WRITES) {
        let field = format!("{field}.{}", shown(text));
        let full = format!("{instance}/{text}");
        if let Some(path) = path(fields, &field, &full, model) {
            if path.depth() == 3 {
                write(fields, &field, path, value, &mut writes);
            } else {
                fields.wrong::<()>(&field, "is no resource");
            }
        }
    }
    let number = |path: &Path| path.resource_id().unwrap_or_default().to_string();
    writes.into_iter().map(|(path, value)| (number(&path), value)).collect()
}

fn write(fields: &mut Fields<'_, '_>, field: &str, path: Path, value: &Json, writes: &mut BTreeMap<Path, Json>) {
    let id = |text: &String| text.parse::<u16>().is_ok_and(|id| id != RESERVED_ID && *text == id.to_string());
    let message = match value {
        Json::Null => "is null; give a value, or leave the path out",
        Json::Array(_) => "is a list; the value of a multiple-instance resource is an object: {\"0\": .., \"1\": ..}",
        value if is_hidden(value) => HIDDEN_MESSAGE,
        Json::Object(_) if path.depth() == 4 => "is an object; a resource instance has one value",
        Json::Object(instances) if !instances.keys().all(id) => {
            "is an object whose keys are no numbers of resource instances"
        }
        Json::Object(instances)
            if instances.values().any(|value| value.is_null() || value.is_array() || value.is_object()) =>
        {
            "is an object whose values are not all texts, numbers or booleans"
        }
        _ if writes.contains_key(&path) => "is given twice",
        _ => {
            writes.insert(path, value.clone());
            return;
        }
    };
    fields.wrong::<()>(field, message);
}

fn path(fields: &mut Fields<'_, '_>, field: &str, text: &str, model: &ObjectModel) -> Option<Path> {
    if text.len() > MAX_PATH_BYTES {
        return fields.wrong(field, "is no path");
    }
    match model.parse_path(text) {
        Ok(path) => Some(path),
        Err(error) => fields.wrong(field, format!("is no path: {error}")),
    }
}

fn deletes(fields: &mut Fields<'_, '_>, model: &ObjectModel) -> Option<Vec<Path>> {
    let items = fields.list("deletes", MAX_DELETES)?;
    let mut deletes = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let field = format!("deletes[{index}]");
        let Json::String(text) = item else {
            fields.wrong::<()>(&field, format!("is {}, not a path", kind(item)));
            continue;
        };
        match path(fields, &field, text, model) {
            Some(path) if path.depth() > 2 => {
                fields
                    .wrong::<()>(&field, "is a resource; a bootstrap server deletes instances, objects or everything");
            }
            Some(path) if deletes.contains(&path) => {
                fields.wrong::<()>(&field, "stands there twice");
            }
            path => deletes.extend(path),
        }
    }
    Some(deletes)
}

fn access_control(fields: &mut Fields<'_, '_>) -> Vec<AccessControl> {
    let mut list: Vec<AccessControl> = Vec::new();
    let items = fields.list("acls", MAX_ACCESS_CONTROL).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        let prefix = format!("{}.", fields.full(&format!("acls[{index}]")));
        let known = ["object", "instance", "owner", "acl"];
        let Some(mut fields) = Fields::open(item, prefix, "an access control instance", &known, &[], fields.problems())
        else {
            continue;
        };
        let object = required_id(&mut fields, "object", 1..=65_534);
        let instance = required_id(&mut fields, "instance", 0..=65_535);
        let owner = fields.integer("owner", 0..=65_535).unwrap_or(RESERVED_ID);
        let rights = rights(&mut fields);
        let (Some(object), Some(instance)) = (object, instance) else { continue };
        if let Some(first) = list.iter().position(|other| (other.object, other.instance) == (object, instance)) {
            fields.wrong::<()>("instance", format!("stands for the same instance as in acls[{first}]"));
        }
        list.push(AccessControl { object, instance, owner, rights });
    }
    list
}

fn required_id(fields: &mut Fields<'_, '_>, field: &str, range: std::ops::RangeInclusive<u32>) -> Option<u16> {
    if fields.has(field) {
        return fields.integer(field, range);
    }
    fields.wrong(field, format!("is missing: {} to {}", range.start(), range.end()))
}

/// Rights by short server id; 0 stands for all that have none of their own.
fn rights(fields: &mut Fields<'_, '_>) -> BTreeMap<u16, u16> {
    let mut rights = BTreeMap::new();
    let entries = match fields.get("acl") {
        None => return rights,
        Some(Json::Object(entries)) => entries,
        Some(other) => {
            let message = format!("is {}, not an object of rights by short server id: {{\"101\": 3}}", kind(other));
            fields.wrong::<()>("acl", message);
            return rights;
        }
    };
    for (text, value) in entries {
        let field = format!("acl.{}", shown(text));
        let id = text.parse::<u16>().ok().filter(|id| *id != RESERVED_ID && *text == id.to_string());
        let Some(id) = id else {
            fields.wrong::<()>(&field, "is no short server id from 1 to 65534, or 0 for all others");
            continue;
        };
        let bits =
            value.as_u64().filter(|bits| *bits <= u64::from(ALL_RIGHTS)).and_then(|bits| u16::try_from(bits).ok());
        let Some(bits) = bits else {
            let message = format!(
                "is no sum from 0 to {ALL_RIGHTS} of 1 (read), 2 (write), 4 (execute), 8 (delete) and 16 (create)"
            );
            fields.wrong::<()>(&field, message);
            continue;
        };
        rights.insert(id, bits);
    }
    rights
}

fn format(fields: &mut Fields<'_, '_>) -> Option<u16> {
    let value = fields.get("format")?;
    let list = || FORMATS.map(|(name, _)| name).join(", ");
    let by_number = |number: u64| FORMATS.iter().find(|(_, known)| u64::from(*known) == number);
    match value {
        Json::String(text) => {
            let found = FORMATS.iter().find(|(name, _)| name == text);
            match found.or_else(|| text.parse().ok().and_then(by_number)) {
                Some((_, number)) => Some(*number),
                None => fields.wrong("format", wrong_word(text, &FORMATS.map(|(name, _)| name))),
            }
        }
        Json::Number(number) => match number.as_u64().and_then(by_number) {
            Some((_, number)) => Some(*number),
            None => fields.wrong("format", format!("is no format in which instances are written: {}", list())),
        },
        other => fields.wrong("format", format!("is {}, not one of {}", kind(other), list())),
    }
}

fn order(fields: &mut Fields<'_, '_>, model: &ObjectModel) -> Vec<u16> {
    let mut order = Vec::new();
    for (index, item) in fields.list("order", MAX_ORDER).unwrap_or_default().iter().enumerate() {
        let field = format!("order[{index}]");
        let object = match item {
            Json::Number(number) => {
                number.as_u64().and_then(|id| u16::try_from(id).ok()).filter(|id| *id != RESERVED_ID)
            }
            Json::String(name) => model.object_id_by_name(name.trim_start_matches('/')),
            _ => None,
        };
        match object {
            Some(object) if order.contains(&object) => {
                fields.wrong::<()>(&field, "stands there twice");
            }
            None => {
                fields.wrong::<()>(&field, "is no object: write its number, or its name as in paths");
            }
            object => order.extend(object),
        }
    }
    order
}

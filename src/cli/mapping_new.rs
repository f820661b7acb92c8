//! `mapping new`: a mapping file to start from, made of what a device registered.

use std::collections::BTreeSet;
use std::io;

use serde_json::Value as Json;

use super::arguments::NewMappingArguments;
use super::explain::facts_of_record;
use super::gateway_api::{Gateway, NoAnswer, device_path};
use super::{Ending, Terminal, object_model};
use crate::config::Sources;
use crate::mapping::starter;
use crate::model::object::DeviceModel;
use crate::model::path::Path;
use crate::model::report::DeviceFacts;

/// Prints the file.
pub(super) fn mapping_new(
    arguments: &NewMappingArguments,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Ending> {
    let (facts, seen) = match known(arguments, sources) {
        Ok(known) => known,
        Err(error) => return error.tell(terminal),
    };
    if facts.objects.is_empty() {
        terminal.complain(&format!("error: device '{}' has not registered any object yet", arguments.device))?;
        return Ok(Ending::Failed);
    }
    let model = object_model(sources, terminal)?;
    let view = DeviceModel { model: &model, objects: &facts.objects, enabler: facts.lwm2m_version };
    terminal.say(starter(&facts, &view, &seen).trim_end())?;
    Ok(Ending::Fine)
}

/// What the device registered, and the resources that it was seen to have.
fn known(arguments: &NewMappingArguments, sources: &Sources<'_>) -> Result<(DeviceFacts, BTreeSet<Path>), NoAnswer> {
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    let device = device_path(&arguments.device);
    let facts = facts_of_record(&gateway.ask("GET", &device, None)?);
    let mut seen = paths_of_values(&gateway.ask("GET", &format!("{device}/values"), None)?);
    seen.extend(paths_of_items(&gateway.ask("GET", &format!("{device}/unmapped"), None)?));
    Ok((facts, seen))
}

fn paths_of_values(values: &Json) -> BTreeSet<Path> {
    values.as_object().into_iter().flatten().filter_map(|(_, value)| path_of(value)).collect()
}

fn paths_of_items(list: &Json) -> BTreeSet<Path> {
    list["items"].as_array().into_iter().flatten().filter_map(path_of).collect()
}

fn path_of(about: &Json) -> Option<Path> {
    about.get("path")?.as_str()?.parse().ok()
}

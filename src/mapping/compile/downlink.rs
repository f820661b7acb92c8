//! `[[desired]]` and `[[command]]`.

use serde_json::Value as Json;

use super::{Context, pattern, unknown_word, value};
use crate::mapping::downlink::{CommandAction, CommandRule, CommandSegment, DesiredRule};
use crate::mapping::file::section::to_json;
use crate::mapping::file::{At, Diagnostics, Section};
use crate::mapping::json_template::JsonTemplate;
use crate::mapping::pattern::{PatternError, Segment, identifier};
use crate::mapping::template::{Field, Part, split};
use crate::model::object::ObjectModel;

/// Compiles `[[desired]]`.
pub(super) fn desired(
    section: &Section<'_>,
    context: &Context<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<DesiredRule> {
    let key = section.text("key", diagnostics).and_then(|key| value::template("key", section, key, diagnostics));
    let pattern = pattern(section, context.model, diagnostics);
    let (min, max) = (section.number("min", diagnostics), section.number("max", diagnostics));
    if let (Some(min), Some(max)) = (min, max)
        && min.value > max.value
    {
        let message = format!("[[desired]]: min {} is more than max {}", min.value, max.value);
        diagnostics.error(min.offset, message, "no value could be set");
    }
    let conversion = value::conversion(section, diagnostics);
    let (key, pattern) = (key?, pattern?);
    let offset = section.offset;
    if pattern.depth() < 3 || pattern.object().id().is_none() || pattern.resource().id().is_none() {
        let message = format!("path in [[desired]]: \"{pattern}\" is not one resource");
        diagnostics.error(offset, message, "write a resource such as \"/3308/0/5900\" or \"/3308/*/5900\"");
        return None;
    }
    if pattern.resource_instance() == Some(Segment::Any) && !key.has(Field::ResourceInstance) {
        let message = format!("path in [[desired]]: \"{pattern}\" is not one resource instance");
        diagnostics.error(offset, message, "add {resource_instance} to the key, or name one instance");
        return None;
    }
    if pattern.instance() == Segment::Any && !key.has(Field::Instance) {
        let message = format!("[[desired]]: key \"{}\" means the first instance of \"{pattern}\" only", key.text());
        diagnostics.warning(offset, message, "add {instance} to the key, or name one instance in the path");
    }
    let ids = (pattern.object().id(), pattern.resource().id());
    if let (Some(object), Some(resource)) = ids
        && let Some(definition) = context.model.resource(object, pattern.version(), None, resource)
        && !definition.operations.write
    {
        let message = format!("[[desired]]: \"{pattern}\" ({}) cannot be written", definition.name);
        let hint = if definition.operations.execute { "use [[command]]" } else { "choose a writable resource" };
        diagnostics.warning(offset, message, hint);
    }
    let (min, max) = (min.map(|min| min.value), max.map(|max| max.value));
    Some(DesiredRule { file: context.file, line: diagnostics.line(offset), key, pattern, min, max, conversion })
}

/// Compiles `[[command]]`.
pub(super) fn command(
    section: &Section<'_>,
    context: &Context<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<CommandRule> {
    let name = section.text("name", diagnostics);
    if let Some(name) = name.filter(|name| name.value.is_empty()) {
        diagnostics.error(name.offset, "name in [[command]] is empty", "");
    }
    let path = section.text("path", diagnostics).and_then(|text| command_path(text, context.model, diagnostics));
    let operation = section.text("operation", diagnostics);
    let has_values = section.raw("value").is_some() || section.raw("values").is_some();
    let word = match section.raw("operation") {
        Some(_) => operation?.value,
        None if has_values => "write",
        None => "execute",
    };
    let writes = matches!(word, "write" | "write_update" | "create");
    for (key, allowed) in [("arguments", word == "execute"), ("value", writes && word != "create"), ("values", writes)]
    {
        if let Some(value) = section.raw(key).filter(|_| !allowed) {
            let message = format!("{key} in [[command]] has no meaning for {word}");
            diagnostics.error(value.span().start, message, "remove it, or change the operation");
        }
    }
    let arguments = section.text("arguments", diagnostics).and_then(|text| match split(text.value) {
        Ok(parts) => Some(parts),
        Err(problem) => {
            diagnostics.error(text.offset, format!("arguments in [[command]]: {problem}"), "");
            None
        }
    });
    let path = path?;
    let values = if writes { command_values(section, &path, context.model, diagnostics) } else { Vec::new() };
    let depths = match word {
        "execute" => 3..=3,
        "write" | "delete" => 2..=4,
        "write_update" => 2..=3,
        "create" => 1..=2,
        _ => 1..=4,
    };
    if !depths.contains(&path.len()) {
        let message = format!("path in [[command]]: {word} takes no path of {} parts", path.len());
        let parts = if depths.start() == depths.end() {
            depths.start().to_string()
        } else {
            format!("{} to {}", depths.start(), depths.end())
        };
        diagnostics.error(section.offset, message, format!("write a path of {parts} parts"));
    }
    if let (Some(object), Some(resource)) = (id_at(&path, 0), id_at(&path, 2))
        && word == "execute"
        && let Some(definition) = context.model.resource(object, None, None, resource)
        && !definition.operations.execute
    {
        let message = format!("[[command]]: /{object}/../{resource} ({}) cannot be executed", definition.name);
        diagnostics.warning(section.offset, message, "write it with value = \"..\", or choose an executable resource");
    }
    let action = match word {
        "read" => CommandAction::Read,
        "discover" => CommandAction::Discover,
        "delete" => CommandAction::Delete,
        "write" => CommandAction::Write(values),
        "write_update" => CommandAction::WriteUpdate(values),
        "create" => CommandAction::Create(values),
        _ => CommandAction::Execute(arguments),
    };
    let (file, line) = (context.file, diagnostics.line(section.offset));
    Some(CommandRule { file, line, name: name?.value.to_owned(), path, action })
}

fn id_at(path: &[CommandSegment], position: usize) -> Option<u16> {
    match path.get(position) {
        Some(CommandSegment::Id(id)) => Some(*id),
        _ => None,
    }
}

fn command_path(text: At<&str>, model: &ObjectModel, diagnostics: &mut Diagnostics) -> Option<Vec<CommandSegment>> {
    let fail = |error: PatternError, diagnostics: &mut Diagnostics| {
        diagnostics.error(text.offset, format!("path in [[command]]: {}", error.message), error.hint);
        None
    };
    let rest = text.value.strip_prefix('/').filter(|rest| !rest.is_empty() && rest.split('/').count() <= 4);
    let Some(rest) = rest else {
        let message = format!("'{}' is no path", text.value);
        return fail(PatternError::new(message, "write it like \"/3/0/4\""), diagnostics);
    };
    let mut segments: Vec<CommandSegment> = Vec::new();
    for (position, part) in rest.split('/').enumerate() {
        if part == "*" {
            let message = format!("'{}' is not one place", text.value);
            return fail(PatternError::new(message, "write a number, or a {param} of the call"), diagnostics);
        }
        if part.contains(['{', '}']) {
            if let Ok([Part::Placeholder(name)]) = split(part).as_deref() {
                segments.push(CommandSegment::Parameter(name.clone()));
                continue;
            }
            let message = format!("'{part}' in '{}' is not one {{param}}", text.value);
            return fail(PatternError::new(message, "write \"/3308/{instance}/5900\""), diagnostics);
        }
        let object = id_at(&segments, 0).map_or(Segment::Any, Segment::Id);
        match identifier(part, position, object, text.value, model) {
            Ok(id) => segments.push(CommandSegment::Id(id)),
            Err(error) => return fail(error, diagnostics),
        }
    }
    Some(segments)
}

/// `value` or `values` as templates by the identifiers below the path.
fn command_values(
    section: &Section<'_>,
    path: &[CommandSegment],
    model: &ObjectModel,
    diagnostics: &mut Diagnostics,
) -> Vec<(Vec<u16>, JsonTemplate)> {
    let (value, values) = (section.raw("value"), section.raw("values"));
    if value.is_some() == values.is_some() {
        diagnostics.error(section.offset, "[[command]] that writes needs value or values", "one of the two");
        return Vec::new();
    }
    let compile = |json: Option<Json>, offset: usize, diagnostics: &mut Diagnostics| {
        let template = json.ok_or_else(|| "the value has no JSON form".to_owned());
        match template.and_then(|json| JsonTemplate::compile(&json)) {
            Ok(template) => Some(template),
            Err(problem) => {
                diagnostics.error(offset, format!("value in [[command]]: {problem}"), "");
                None
            }
        }
    };
    if let Some(value) = value {
        if path.len() < 3 {
            diagnostics.error(value.span().start, "value in [[command]] needs a resource as path", "use values");
        }
        let template = compile(to_json(value.get_ref()), value.span().start, diagnostics);
        return template.into_iter().map(|template| (Vec::new(), template)).collect();
    }
    // Values of an object to create stand below an instance that has no identifier yet.
    let depth = path.len().max(2);
    let object = id_at(path, 0).map_or(Segment::Any, Segment::Id);
    let mut templates = Vec::new();
    for (name, value) in section.entries("values", diagnostics) {
        let mut below = Vec::new();
        for (position, part) in name.value.trim_start_matches('/').split('/').enumerate() {
            match identifier(part, depth + position, object, name.value, model) {
                Ok(id) => below.push(id),
                Err(error) => {
                    diagnostics.error(name.offset, format!("values in [[command]]: {}", error.message), error.hint);
                }
            }
        }
        if depth + below.len() > 4 {
            let hint = unknown_word("", &["resource", "resource/instance"]);
            diagnostics.error(name.offset, format!("values in [[command]]: '{}' is too deep", name.value), hint);
        }
        if let Some(template) = compile(to_json(value.get_ref()), value.span().start, diagnostics) {
            templates.push((below, template));
        }
    }
    templates
}

//! `[[publish]]`.

use super::{Context, pattern};
use crate::mapping::file::section::to_json;
use crate::mapping::file::{Diagnostics, Section};
use crate::mapping::json_template::{JsonTemplate, placeholders};
use crate::mapping::publish::PublishRule;
use crate::mapping::template::{PATH_PLACEHOLDERS, Part, split};
use crate::model::message::QualityOfService;
use crate::model::nearest::nearest;

/// Placeholders beside those of paths and devices that some source has.
const FIELDS: [&str; 19] = [
    "path",
    "key",
    "value",
    "values",
    "ts",
    "ts_quality",
    "unit",
    "state",
    "reason",
    "event",
    "name",
    "id",
    "status",
    "operation",
    "code",
    "error",
    "records",
    "location",
    "links",
];

/// Compiles a rule.
pub(super) fn compile(
    section: &Section<'_>,
    context: &Context<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<PublishRule> {
    let sink = section.text("sink", diagnostics);
    let on = section.text("on", diagnostics);
    let pattern = section.raw("path").and_then(|_| pattern(section, context.model, diagnostics));
    if let Some(on) = on.filter(|on| pattern.is_some() && matches!(on.value, "state" | "event")) {
        let message = format!("path in [[publish]] has no meaning for on = \"{}\"", on.value);
        diagnostics.error(on.offset, message, "only telemetry, attribute and response have a path");
    }
    for key in ["url", "method", "headers"] {
        if let Some(value) = section.raw(key) {
            let message = format!("{key} in [[publish]] is not served yet");
            diagnostics.error(value.span().start, message, "publish to a topic of an mqtt sink");
        }
    }
    let topic = topic(section, diagnostics);
    let payload = section.raw("payload").and_then(|value| {
        let json = to_json(value.get_ref()).ok_or_else(|| "a number has no JSON form".to_owned());
        match json.and_then(|json| JsonTemplate::compile(&json)) {
            Ok(template) => {
                for name in template.placeholders() {
                    check_placeholder("payload", name, value.span().start, diagnostics);
                }
                Some(template)
            }
            Err(problem) => {
                diagnostics.error(value.span().start, format!("payload in [[publish]]: {problem}"), "");
                None
            }
        }
    });
    let qos = match section.raw("qos").map(|_| section.integer("qos", 0..=1, diagnostics).map(|qos| qos.value)) {
        Some(Some(0)) => QualityOfService::AtMostOnce,
        _ => QualityOfService::AtLeastOnce,
    };
    let exclusive = section.boolean("exclusive", diagnostics).unwrap_or(false);
    let retain = section.boolean("retain", diagnostics).unwrap_or(false);
    let (sink, on) = (sink?.value.to_owned(), on?.value.to_owned());
    let (file, line) = (context.file, diagnostics.line(section.offset));
    Some(PublishRule { file, line, sink, on, pattern, topic: topic?, payload, exclusive, qos, retain })
}

fn topic(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Part>> {
    let Some(text) = section.text("topic", diagnostics) else {
        if section.raw("topic").is_none() && section.raw("url").is_none() {
            diagnostics.error(section.offset, "[[publish]] has no 'topic'", "add topic = \"plant/{device}/{key}\"");
        }
        return None;
    };
    let parts = match split(text.value) {
        Ok(parts) => parts,
        Err(problem) => {
            diagnostics.error(text.offset, format!("topic in [[publish]]: {problem}"), "");
            return None;
        }
    };
    if text.value.is_empty() || text.value.contains(['+', '#']) || text.value.chars().any(char::is_control) {
        let message = format!("topic in [[publish]]: \"{}\" is no topic to publish to", text.value.escape_default());
        diagnostics.error(text.offset, message, "topics must not be empty and have neither + nor #");
    }
    for name in placeholders(&parts) {
        check_placeholder("topic", name, text.offset, diagnostics);
    }
    Some(parts)
}

/// A warning only, because events and results may carry more than is known here.
fn check_placeholder(key: &str, name: &str, offset: usize, diagnostics: &mut Diagnostics) {
    let known = || PATH_PLACEHOLDERS.into_iter().chain(FIELDS);
    if known().any(|known| known == name) {
        return;
    }
    let hint = match nearest(name, known()) {
        Some(known) => format!("did you mean {{{known}}}?"),
        None => String::new(),
    };
    diagnostics.warning(offset, format!("{key} in [[publish]]: {{{name}}} may never be filled"), hint);
}

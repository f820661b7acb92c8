//! `[[telemetry]]` and `[[attribute]]`.

use std::sync::Arc;

use super::{Context, observe, unknown_word};
use crate::mapping::file::keys::TELEMETRY;
use crate::mapping::file::{At, Diagnostics, Section};
use crate::mapping::pattern::PathPattern;
use crate::mapping::payload::{Conversion, DECODE_WORDS, Decode, Target};
use crate::mapping::rule::{Keys, ValueRule};
use crate::mapping::template::{Field, KeyTemplate, PATH_PLACEHOLDERS};
use crate::mapping::uplink::{KeyKind, ReportPolicy};
use crate::mapping::wishes::ReadWhen;
use crate::model::object::ObjectModel;
use crate::model::value::ResourceType;

/// Most decimals that `round` keeps: more than a 64-bit number has.
const MAX_DECIMALS: i64 = 15;

/// Compiles a rule; `None` if it has no usable key.
pub(super) fn compile(
    section: &Section<'_>,
    pattern: Option<&PathPattern>,
    context: &Context<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<ValueRule> {
    let keys = keys(section, diagnostics);
    let decode = section.text("decode", diagnostics).and_then(|word| decode(section, word, diagnostics));
    if let (Some(Keys::Extract(_)), None) = (&keys, section.raw("decode")) {
        diagnostics.error(
            section.offset,
            format!("{} has extract and no decode", section.keys.name),
            "say how the value is read, for example decode = \"json\"",
        );
    }
    let conversion = conversion(section, diagnostics);
    let own = observe::view(section, diagnostics);
    let observe =
        own.as_ref().map_or_else(|| context.defaults.observe.clone(), |own| own.over(&context.defaults.observe));
    let unit = section.text("unit", diagnostics).map(|unit| unit.value.into());
    let kind = if section.keys == &TELEMETRY { KeyKind::Telemetry } else { KeyKind::Attribute };
    let read = read(section, diagnostics);
    let report = report(section, diagnostics).unwrap_or(match kind {
        KeyKind::Telemetry => ReportPolicy::OnReceive,
        KeyKind::Attribute => ReportPolicy::OnChange,
    });
    let (sinks, also) = (sinks(section, diagnostics), section.boolean("also", diagnostics).unwrap_or(false));
    // Only here, so that one pass tells all that is wrong with the section.
    let keys = keys?;
    let observe = observe.into_attributes();
    let rule = ValueRule {
        kind,
        keys,
        decode,
        conversion,
        unit,
        observe,
        strategy: context.defaults.strategy,
        read,
        report,
        sinks,
        also,
    };
    if let Some(pattern) = pattern {
        check_pattern(section, pattern, &rule, diagnostics);
        let thresholds = own.is_some_and(|own| own.has_thresholds());
        check_model(section, pattern, &rule, thresholds, context.model, diagnostics);
    }
    Some(rule)
}

fn keys(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Option<Keys> {
    let name = section.keys.name;
    match (section.raw("key"), section.raw("extract")) {
        (None, None) => {
            diagnostics.error(section.offset, format!("{name} has neither key nor extract"), "add key = \"..\"");
            None
        }
        (Some(_), Some(_)) => {
            diagnostics.error(section.offset, format!("{name} has key and extract"), "keep one of them");
            None
        }
        (Some(_), None) => {
            Some(Keys::Single(template("key", section, section.text("key", diagnostics)?, diagnostics)?))
        }
        (None, Some(extract)) => {
            let mut keys = Vec::new();
            for (key, pointer) in section.text_entries("extract", diagnostics) {
                if !pointer.value.is_empty() && !pointer.value.starts_with('/') {
                    let message = format!("extract in {name}: \"{}\" is no JSON pointer", pointer.value);
                    diagnostics.error(pointer.offset, message, format!("write \"/{}\"", pointer.value));
                }
                if let Some(template) = template("extract", section, key, diagnostics) {
                    keys.push((template, pointer.value.to_owned()));
                }
            }
            if keys.is_empty() && extract.get_ref().as_table().is_some_and(toml::map::Map::is_empty) {
                diagnostics.error(
                    extract.span().start,
                    format!("extract in {name} is empty"),
                    "write { key = \"/pointer\" }",
                );
            }
            Some(Keys::Extract(keys))
        }
    }
}

/// Compiles the template of a key.
pub(super) fn template(
    key: &str,
    section: &Section<'_>,
    text: At<&str>,
    diagnostics: &mut Diagnostics,
) -> Option<KeyTemplate> {
    match KeyTemplate::compile(text.value) {
        Ok(template) => Some(template),
        Err(problem) => {
            let hint = format!("placeholders: {}", PATH_PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(" "));
            diagnostics.error(text.offset, format!("{key} in {}: {problem}", section.keys.name), hint);
            None
        }
    }
}

fn decode(section: &Section<'_>, word: At<&str>, diagnostics: &mut Diagnostics) -> Option<Decode> {
    match Decode::compile(word.value) {
        Ok(decode) => Some(decode),
        Err(problem) => {
            let structure = word.value.starts_with("struct:");
            let hint = if structure { String::new() } else { unknown_word(word.value, &DECODE_WORDS) };
            diagnostics.error(word.offset, format!("decode in {}: {problem}", section.keys.name), hint);
            None
        }
    }
}

/// `scale`, `offset`, `round`, `names` and, where the section has it, `as`.
pub(super) fn conversion(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Conversion {
    let mut conversion = Conversion::default();
    if let Some(scale) = section.number("scale", diagnostics) {
        conversion.scale = scale.value;
        if scale.value == 0.0 {
            let message = format!("scale in {} is 0, which makes every value the offset", section.keys.name);
            diagnostics.error(scale.offset, message, "write a factor such as 0.1");
        }
    }
    conversion.offset = section.number("offset", diagnostics).map_or(0.0, |offset| offset.value);
    conversion.round =
        section.integer("round", 0..=MAX_DECIMALS, diagnostics).and_then(|decimals| u8::try_from(decimals.value).ok());
    for (number, name) in section.text_entries("names", diagnostics) {
        conversion.names.insert(number.value.to_owned(), name.value.to_owned());
    }
    let has_target = section.keys.keys.iter().any(|key| key.name == "as");
    let target = if has_target { section.text("as", diagnostics) } else { None };
    conversion.target = target.and_then(|target| match target.value {
        "integer" => Some(Target::Integer),
        "float" => Some(Target::Float),
        "boolean" => Some(Target::Boolean),
        "string" => Some(Target::String),
        "rfc3339" => Some(Target::Rfc3339),
        _ => None,
    });
    conversion
}

fn read(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Option<ReadWhen> {
    let value = section.raw("read")?;
    match value.get_ref().as_str() {
        Some("on_register") => return Some(ReadWhen::OnRegister),
        Some("on_wake") => return Some(ReadWhen::OnWake),
        _ => {}
    }
    let every = value.get_ref().as_table().filter(|table| table.len() == 1).and_then(|table| {
        let (name, period) = table.iter().next()?;
        (name.get_ref() == "every").then_some(period)
    });
    let Some(period) = every else {
        section.mismatch("read", value, "\"on_register\", \"on_wake\" or { every = \"1h\" }", diagnostics);
        return None;
    };
    let period = section.duration_of("read.every", period, diagnostics)?;
    if period.value.as_secs() == 0 {
        let message = format!("read.every in {} is less than a second", section.keys.name);
        diagnostics.error(period.offset, message, "write a period such as \"1h\", or observe instead");
        return None;
    }
    Some(ReadWhen::Every(period.value))
}

/// When the value leaves; `None` where nothing usable is said.
fn report(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Option<ReportPolicy> {
    let value = section.raw("report")?;
    match value.get_ref().as_str() {
        Some("on_receive") => return Some(ReportPolicy::OnReceive),
        Some("on_change") => return Some(ReportPolicy::OnChange),
        _ => {}
    }
    let entry = value.get_ref().as_table().filter(|table| table.len() == 1).and_then(|table| table.iter().next());
    let Some((name, period)) =
        entry.filter(|(name, _)| matches!(name.get_ref().as_ref(), "every" | "on_change_or_every"))
    else {
        let wanted = "\"on_receive\", \"on_change\", { every = \"60s\" } or { on_change_or_every = \"60s\" }";
        section.mismatch("report", value, wanted, diagnostics);
        return None;
    };
    let name = name.get_ref().as_ref();
    let period = section.duration_of(&format!("report.{name}"), period, diagnostics)?;
    if period.value.as_millis() < 100 {
        let message = format!("report.{name} in {} is less than 100ms", section.keys.name);
        diagnostics.error(period.offset, message, "write a period such as \"60s\", or \"on_receive\"");
    }
    Some(if name == "every" { ReportPolicy::Every(period.value) } else { ReportPolicy::OnChangeOrEvery(period.value) })
}

fn sinks(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Option<Arc<[String]>> {
    let sinks = section.texts("sinks", diagnostics)?;
    if sinks.is_empty() {
        let message = format!("sinks in {} is empty, so the value would never leave", section.keys.name);
        diagnostics.error(section.offset, message, "name a sink, leave sinks out, or use [[ignore]]");
    }
    Some(sinks.into_iter().map(|sink| sink.value.to_owned()).collect())
}

fn check_pattern(section: &Section<'_>, pattern: &PathPattern, rule: &ValueRule, diagnostics: &mut Diagnostics) {
    let name = section.keys.name;
    if pattern.depth() < 3 {
        let stars = if pattern.depth() == 1 { "/*/*" } else { "/*" };
        let message = format!("path in {name}: \"{pattern}\" is no resource");
        diagnostics.error(section.offset, message, format!("write \"{pattern}{stars}\" for all resources"));
        return;
    }
    let missing = [
        (pattern.object().id().is_none(), Field::Object, "object"),
        (pattern.instance().id().is_none(), Field::Instance, "instance"),
        (pattern.resource().id().is_none(), Field::Resource, "resource"),
    ];
    for template in rule.keys.templates() {
        for (open, field, word) in missing {
            if open && !template.has(field) {
                diagnostics.warning(
                    section.offset,
                    format!("{name}: several {word}s of \"{pattern}\" would share the key \"{}\"", template.text()),
                    format!("add {{{word}}} to the key, or name one {word} in the path"),
                );
            }
        }
    }
}

fn check_model(
    section: &Section<'_>,
    pattern: &PathPattern,
    rule: &ValueRule,
    thresholds: bool,
    model: &ObjectModel,
    diagnostics: &mut Diagnostics,
) {
    let name = section.keys.name;
    if thresholds && pattern.resource().id().is_none() {
        let message = format!("{name}: gt, lt and st have no effect on all resources of \"{pattern}\"");
        diagnostics.warning(section.offset, message, "thresholds belong to one resource; name it in the path");
    }
    let (Some(object), Some(resource)) = (pattern.object().id(), pattern.resource().id()) else { return };
    let Some(definition) = model.resource(object, pattern.version(), None, resource) else { return };
    if thresholds && !definition.resource_type.is_some_and(ResourceType::is_numeric) {
        let message = format!("{name}: gt, lt and st need a number, \"{pattern}\" ({}) is none", definition.name);
        diagnostics.warning(section.offset, message, "remove them; some devices refuse the observation");
    }
    if definition.resource_type.is_none() && definition.operations.execute {
        let message = format!("{name}: \"{pattern}\" ({}) is executable and has no value", definition.name);
        diagnostics.warning(section.offset, message, "use [[command]]");
    }
    let decodable =
        matches!(definition.resource_type, Some(ResourceType::String | ResourceType::Opaque | ResourceType::CoreLink));
    if rule.decode.is_some() && definition.resource_type.is_some() && !decodable {
        let message = format!("{name}: \"{pattern}\" ({}) is neither string nor opaque", definition.name);
        diagnostics.warning(section.offset, message, "remove decode");
    }
}

//! `[[http]]`: routes, what they may do, and that no two of them could answer one request.

use std::ops::RangeInclusive;

use super::{Context, pattern, unknown_word};
use crate::mapping::file::{At, Diagnostics, Section};
use crate::mapping::http::{EndpointRule, MAX_ROUTE_BYTES, OwnOperation, OwnRole, Route, RouteSegment};
use crate::mapping::pattern::{PathPattern, Segment};
use crate::mapping::plan::Plan;
use crate::mapping::template::{Part, split};

/// First parts of paths that the gateway itself serves.
const OWN_ROOTS: [&str; 4] = ["api", "healthz", "readyz", "metrics"];

/// Compiles an endpoint. `only_device` is the one endpoint name that the file is for, if it is for one.
pub(super) fn compile(
    section: &Section<'_>,
    context: &Context<'_>,
    plan: &Plan,
    only_device: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Option<EndpointRule> {
    let text = section.text("route", diagnostics);
    let route = text.and_then(|text| route(text, diagnostics));
    let pattern = pattern(section, context.model, diagnostics);
    let operations = operations(section, diagnostics);
    let role = section.text("role", diagnostics).and_then(|word| match word.value {
        "viewer" => Some(OwnRole::Viewer),
        "operator" => Some(OwnRole::Operator),
        "admin" => Some(OwnRole::Admin),
        _ => None,
    });
    let cached = section.duration("cached", diagnostics);
    let (text, route, pattern) = (text?, route?, pattern?);
    let names_device = route.segments.contains(&RouteSegment::Device);
    if !names_device && only_device.is_none() {
        diagnostics.error(
            text.offset,
            format!("route in [[http]]: \"{}\" does not say which device", route.text),
            "add {device}, or let [match] name one endpoint without wildcards",
        );
    }
    check_path(section, &route, &pattern, &operations, diagnostics);
    check_model(section, &pattern, &operations, context, diagnostics);
    if let (Some(OwnRole::Viewer), Some(word)) = (role, section.raw("role"))
        && let Some(changing) = operations.iter().find(|operation| **operation != OwnOperation::Read)
    {
        let message = format!("role in [[http]]: viewers only read, {} needs an operator", changing.method());
        diagnostics.warning(word.span().start, message, "write role = \"operator\", or two sections");
    }
    if let Some(cached) = cached.filter(|_| !operations.contains(&OwnOperation::Read)) {
        diagnostics.error(cached.offset, "cached in [[http]] has no meaning without GET", "remove it, or add \"GET\"");
    }
    let cached = cached.map(|cached| cached.value);
    let device = only_device.filter(|_| !names_device).map(str::to_owned);
    let line = diagnostics.line(section.offset);
    let endpoint = EndpointRule { file: context.file, line, route, device, pattern, operations, role, cached };
    check_conflicts(&endpoint, text.offset, context, plan, diagnostics);
    Some(endpoint)
}

fn operations(section: &Section<'_>, diagnostics: &mut Diagnostics) -> Vec<OwnOperation> {
    let Some(words) = section.texts("methods", diagnostics) else { return vec![OwnOperation::Read] };
    if let (true, Some(value)) = (words.is_empty(), section.raw("methods")) {
        diagnostics.error(value.span().start, "methods in [[http]] is empty", "write methods = [\"GET\"]");
    }
    let mut operations = Vec::new();
    for word in words {
        if let Some((_, operation)) = OwnOperation::METHODS.iter().find(|(method, _)| *method == word.value) {
            operations.push(*operation);
        } else {
            let hint = unknown_word(word.value, &OwnOperation::METHODS.map(|(method, _)| method));
            diagnostics.error(word.offset, format!("methods in [[http]] cannot have \"{}\"", word.value), hint);
        }
    }
    operations.sort_unstable();
    operations.dedup();
    operations
}

/// Splits a route; everything that is wrong with its text is told here.
fn route(text: At<&str>, diagnostics: &mut Diagnostics) -> Option<Route> {
    let mut fail = |message: String, hint: &str| {
        diagnostics.error(text.offset, format!("route in [[http]]: {message}"), hint);
        None
    };
    let shown: String = text.value.escape_default().take(80).collect();
    let rest = text.value.strip_prefix('/').filter(|_| text.value.len() <= MAX_ROUTE_BYTES);
    let Some(rest) = rest else {
        return fail(format!("\"{shown}\" is no path"), "write it like \"/plant/{device}/setpoint\"");
    };
    if rest.is_empty() {
        return fail("\"/\" is the gateway's own".to_owned(), "begin with a word such as /plant");
    }
    let mut segments = Vec::new();
    for part in rest.split('/') {
        let segment = match split(part).as_deref() {
            Err(problem) => return fail(problem.clone(), ""),
            Ok([]) => {
                return fail(format!("\"{shown}\" has an empty part"), "write each '/' once, and none at the end");
            }
            Ok([Part::Literal(word)]) => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
                if !word.bytes().all(plain) || word.bytes().all(|byte| byte == b'.') {
                    let hint = "parts have letters, digits and - _ . ~ only, or are one {placeholder}";
                    return fail(format!("'{}' is no part of a path", word.escape_default()), hint);
                }
                RouteSegment::Literal(word.clone())
            }
            Ok([Part::Placeholder(name)]) => match name.as_str() {
                "device" => RouteSegment::Device,
                "instance" => RouteSegment::Id(1),
                "resource" => RouteSegment::Id(2),
                "resource_instance" => RouteSegment::Id(3),
                _ => {
                    let hint = "routes have {device} {instance} {resource} {resource_instance}";
                    return fail(format!("{{{name}}} has no meaning"), hint);
                }
            },
            Ok(_) => return fail(format!("'{part}' mixes words and placeholders"), "put a '/' between them"),
        };
        if !matches!(segment, RouteSegment::Literal(_)) && segments.contains(&segment) {
            return fail(format!("{part} stands twice in \"{shown}\""), "once is enough");
        }
        segments.push(segment);
    }
    match segments.first() {
        Some(RouteSegment::Literal(word)) if OWN_ROOTS.contains(&word.as_str()) => {
            fail(format!("/{word} is the gateway's own"), "begin with another word, such as /plant")
        }
        Some(RouteSegment::Literal(_)) => Some(Route { text: text.value.to_owned(), segments }),
        _ => {
            let roots = OWN_ROOTS.map(|root| format!("/{root}")).join(", ");
            fail(
                format!("\"{shown}\" would take the gateway's own paths ({roots}) too"),
                "begin with a word such as /plant",
            )
        }
    }
}

/// That each `*` of the path has its placeholder, and the path is as deep as the methods want.
fn check_path(
    section: &Section<'_>,
    route: &Route,
    pattern: &PathPattern,
    operations: &[OwnOperation],
    diagnostics: &mut Diagnostics,
) {
    let offset = section.raw("path").map_or(section.offset, |value| value.span().start);
    if pattern.object().id().is_none() {
        let message = format!("path in [[http]]: \"{pattern}\" leaves the object open");
        diagnostics.error(offset, message, "name one object");
    }
    let open = [
        (1, Some(pattern.instance()), "{instance}"),
        (2, Some(pattern.resource()), "{resource}"),
        (3, pattern.resource_instance(), "{resource_instance}"),
    ];
    for (position, segment, placeholder) in open {
        let named = route.segments.contains(&RouteSegment::Id(position));
        let open = position < pattern.depth() && segment == Some(Segment::Any);
        if open && !named {
            let message = format!("path in [[http]]: \"{pattern}\" is open where the route has no {placeholder}");
            diagnostics.error(offset, message, format!("add {placeholder} to the route, or write a number"));
        } else if named && !open {
            let message = format!("route in [[http]]: {placeholder} has no '*' in the path \"{pattern}\"");
            diagnostics.error(offset, message, "write * at its place in the path, or remove it from the route");
        }
    }
    let depths = |operation: &OwnOperation| -> RangeInclusive<usize> {
        match operation {
            OwnOperation::Read if section.raw("cached").is_some() => 3..=4,
            OwnOperation::Read => 1..=4,
            OwnOperation::Write => 2..=4,
            OwnOperation::Execute => 3..=3,
        }
    };
    if let Some(operation) = operations.iter().find(|operation| !depths(operation).contains(&pattern.depth())) {
        let cached = if *operation == OwnOperation::Read { " with cached" } else { "" };
        let message = format!("path in [[http]]: {}{cached} cannot take \"{pattern}\"", operation.method());
        diagnostics.error(offset, message, "name a resource such as \"/3308/0/5900\"");
    }
}

fn check_model(
    section: &Section<'_>,
    pattern: &PathPattern,
    operations: &[OwnOperation],
    context: &Context<'_>,
    diagnostics: &mut Diagnostics,
) {
    let (Some(object), Some(resource)) = (pattern.object().id(), pattern.resource().id()) else { return };
    if pattern.depth() < 3 {
        return;
    }
    let Some(definition) = context.model.resource(object, pattern.version(), None, resource) else { return };
    for operation in operations {
        let (can, verb) = match operation {
            OwnOperation::Read => (definition.operations.read, "read"),
            OwnOperation::Write => (definition.operations.write, "written"),
            OwnOperation::Execute => (definition.operations.execute, "executed"),
        };
        if !can {
            let message =
                format!("[[http]] {}: \"{pattern}\" ({}) cannot be {verb}", operation.method(), definition.name);
            diagnostics.warning(section.offset, message, "devices will refuse it");
        }
    }
}

/// Which of two answers a request would depend on the order of files, so neither may.
fn check_conflicts(
    rule: &EndpointRule,
    offset: usize,
    context: &Context<'_>,
    plan: &Plan,
    diagnostics: &mut Diagnostics,
) {
    for operation in &rule.operations {
        let earlier = plan
            .endpoints
            .iter()
            .find(|earlier| earlier.operations.contains(operation) && earlier.route.meets(&rule.route));
        let Some(earlier) = earlier else { continue };
        let file = plan.files.get(earlier.file).map_or("", |file| file.name.as_str());
        let place = if earlier.file == context.file {
            format!("line {}", earlier.line)
        } else {
            format!("{file}:{}", earlier.line)
        };
        diagnostics.error(
            offset,
            format!("[[http]] {} \"{}\" is taken", operation.method(), rule.route.text),
            format!("\"{}\" at {place} could answer the same request", earlier.route.text),
        );
    }
}

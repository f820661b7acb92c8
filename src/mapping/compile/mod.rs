//! Mapping files become a [`Plan`]: each section checked and compiled, problems of all files collected.

mod downlink;
mod example;
mod http;
mod observe;
mod publish;
mod settings;
mod shadow;
mod value;

use super::file::keys::{self, SectionKeys};
use super::file::section::{integer, joined};
use super::file::{self, Diagnostics, Section};
use super::index::RuleIndex;
use super::matching::DeviceMatch;
use super::pattern::PathPattern;
use super::plan::{Plan, PlanFile};
use super::problem::{Compiled, MappingFile, Problem, Severity};
use super::rule::{Action, Rule};
use crate::model::nearest::nearest;
use crate::model::object::ObjectModel;

/// Name of the built-in default mapping in messages.
pub const DEFAULT_MAPPING_NAME: &str = "mappings/default.toml";

/// Text of the built-in default mapping.
pub const DEFAULT_MAPPING: &str = include_str!("../../../mappings/default.toml");

/// Most telemetry, attribute and ignore rules of all files.
pub const MAX_RULES: usize = 5_000;

/// What the compilation of a section needs to know.
pub(super) struct Context<'a> {
    pub(super) model: &'a ObjectModel,
    /// Position of the file in the plan.
    pub(super) file: usize,
    pub(super) defaults: settings::Defaults,
}

impl Plan {
    /// Compiles files, in the order given, with the built-in default mapping last if `default_mapping`.
    #[must_use]
    pub fn compile(files: &[MappingFile], model: &ObjectModel, default_mapping: bool) -> Compiled {
        let mut plan = Self::default();
        let mut problems = Vec::new();
        for file in files {
            problems.extend(compile_file(&mut plan, &file.name, &file.text, false, model));
        }
        if default_mapping {
            problems.extend(compile_file(&mut plan, DEFAULT_MAPPING_NAME, DEFAULT_MAPPING, true, model));
        }
        plan.index = RuleIndex::build(&plan.rules);
        plan.has_cached_endpoints = plan.endpoints.iter().any(|rule| rule.cached.is_some());
        let broken = problems.iter().any(|problem| problem.severity == Severity::Error);
        Compiled { plan: (!broken).then_some(plan), problems }
    }
}

fn compile_file(plan: &mut Plan, name: &str, text: &str, built_in: bool, model: &ObjectModel) -> Vec<Problem> {
    let mut diagnostics = Diagnostics::new(name, text);
    let Some(table) = file::parse(text, &mut diagnostics) else { return diagnostics.into_problems() };
    let root = Section::check(&keys::ROOT, table.span().start, table.get_ref(), &mut diagnostics);
    check_version(&root, &mut diagnostics);
    let mut one = |key: &str| root.tables(key, &mut diagnostics).into_iter().next();
    let (devices, settings, defaults) = (one("match"), one("settings"), one("defaults"));
    let position = plan.files.len();
    let (settings, queue_mode) =
        settings.map(|section| settings::compile(&section, &mut diagnostics)).unwrap_or_default();
    plan.files.push(PlanFile {
        name: name.to_owned(),
        devices: devices.map(|section| DeviceMatch::compile(&section, &mut diagnostics)).unwrap_or_default(),
        settings,
        queue_mode,
    });
    let defaults = settings::Defaults::compile(defaults.as_ref(), &mut diagnostics);
    let context = Context { model, file: position, defaults };
    let (first_rule, first_desired, first_command) = (plan.rules.len(), plan.desired.len(), plan.commands.len());
    compile_rules(plan, &root, &context, &mut diagnostics);
    compile_others(plan, &root, &context, built_in, &mut diagnostics);
    // The default mapping stands behind others on purpose.
    if !built_in {
        shadow::check(plan, &context, first_rule, first_desired, first_command, &mut diagnostics);
    }
    refuse(&root, &keys::SUBSCRIBE, &mut diagnostics);
    diagnostics.into_problems()
}

fn check_version(root: &Section<'_>, diagnostics: &mut Diagnostics) {
    let Some(value) = root.raw("version") else { return };
    if integer(value.get_ref()) != Some(1) {
        root.mismatch("version", value, "1", diagnostics);
    }
}

/// Telemetry, attribute and ignore rules, in the order in which they stand in the file.
fn compile_rules(plan: &mut Plan, root: &Section<'_>, context: &Context<'_>, diagnostics: &mut Diagnostics) {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for key in ["telemetry", "attribute", "ignore"] {
        sections.extend(root.tables(key, diagnostics));
    }
    sections.sort_by_key(|section| section.offset);
    for section in sections {
        let pattern = pattern(&section, context.model, diagnostics);
        let action = if section.keys == &keys::IGNORE {
            Some(Action::Ignore)
        } else {
            value::compile(&section, pattern.as_ref(), context, diagnostics).map(|value| Action::Value(Box::new(value)))
        };
        let (Some(pattern), Some(action)) = (pattern, action) else { continue };
        if plan.rules.len() >= MAX_RULES {
            diagnostics.error(section.offset, format!("there are more than {MAX_RULES} rules"), "use wildcards");
            return;
        }
        let line = diagnostics.line(section.offset);
        plan.rules.push(Rule { file: context.file, line, pattern, action });
    }
}

/// Desired keys, commands, publish rules, own endpoints and examples.
fn compile_others(
    plan: &mut Plan,
    root: &Section<'_>,
    context: &Context<'_>,
    built_in: bool,
    diagnostics: &mut Diagnostics,
) {
    for section in root.tables("desired", diagnostics) {
        plan.desired.extend(downlink::desired(&section, context, diagnostics));
    }
    for section in root.tables("command", diagnostics) {
        plan.commands.extend(downlink::command(&section, context, diagnostics));
    }
    for section in root.tables("publish", diagnostics) {
        plan.publishes.extend(publish::compile(&section, context, diagnostics));
    }
    let only_device = plan.files.get(context.file).and_then(|file| file.devices.only_endpoint());
    for section in root.tables("http", diagnostics) {
        let rule = http::compile(&section, context, plan, only_device.as_deref(), diagnostics);
        plan.endpoints.extend(rule);
    }
    for section in root.tables("example", diagnostics) {
        // The default mapping promises nothing for paths that another file may take.
        if built_in && context.file > 0 {
            break;
        }
        plan.examples.extend(example::compile(&section, context, diagnostics));
    }
    let others =
        [plan.desired.len(), plan.commands.len(), plan.publishes.len(), plan.endpoints.len(), plan.examples.len()];
    if others.into_iter().any(|count| count > MAX_RULES) {
        diagnostics.error_in_file(format!("there are more than {MAX_RULES} sections of one kind"), "use wildcards");
    }
}

/// The pattern under `path`.
fn pattern(section: &Section<'_>, model: &ObjectModel, diagnostics: &mut Diagnostics) -> Option<PathPattern> {
    let text = section.text("path", diagnostics)?;
    match PathPattern::parse(text.value, model) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            diagnostics.error(text.offset, format!("path in {}: {}", section.keys.name, error.message), error.hint);
            None
        }
    }
}

/// Sections whose keys are checked and which nothing serves yet.
fn refuse(root: &Section<'_>, keys: &'static SectionKeys, diagnostics: &mut Diagnostics) {
    let key = keys.name.trim_matches(['[', ']']);
    for section in root.tables(key, diagnostics) {
        diagnostics.error(
            section.offset,
            format!("{} is not served yet", keys.name),
            "remove it; use the topics of the layout",
        );
    }
}

/// A known word or an error with the nearest or all of them.
fn unknown_word(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(known) => format!("did you mean \"{known}\"?"),
        None => format!("one of: {}", joined(known.iter().copied())),
    }
}

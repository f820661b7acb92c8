//! `check`: every problem of the configuration, the object definitions, the mappings and their examples.

use std::io;

use super::arguments::ConfigArguments;
use super::{Ending, Terminal};
use crate::config::{Settings, Sources, load, read_mappings, read_models};
use crate::gateway::bootstrap::check_among;
use crate::gateway::preview::run_message_examples;
use crate::io::clock::{wall_is_trusted, wall_now};
use crate::io::secure::identity::ServerIdentity;
use crate::mapping::{Plan, Problem, Severity};
use crate::model::bootstrap::AccountName;

/// Tells every problem on standard output; warnings alone are fine.
pub(super) fn check(
    arguments: &ConfigArguments,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Ending> {
    let loaded = load(arguments.config.as_deref(), sources);
    let mut errors = loaded.problems.len();
    for problem in &loaded.problems {
        terminal.say(&problem.to_string())?;
    }
    let name = loaded.file.map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
    let mut checked = name;
    if let Some(settings) = &loaded.settings {
        for warning in settings.warnings(false) {
            terminal.say(&format!("{checked}: {warning}"))?;
        }
        errors += tell_identity(settings, &checked, terminal)?;
        errors += tell_entries(settings, &checked, terminal)?;
        let (model, problems) = read_models(settings, sources);
        let (files, unreadable) = read_mappings(settings, sources);
        for problem in problems.iter().chain(&unreadable) {
            errors += 1;
            terminal.say(&problem.to_string())?;
        }
        let compiled = Plan::compile(&files, &model, settings.gateway.default_mapping);
        let mut problems = compiled.problems;
        if let Some(plan) = &compiled.plan {
            problems.extend(unknown_sinks(plan, settings));
            let mut failed = plan.run_examples();
            failed.extend(run_message_examples(plan));
            failed.sort_by(|left, right| (&left.file, left.line).cmp(&(&right.file, right.line)));
            problems.extend(failed);
        }
        for problem in &problems {
            errors += usize::from(problem.severity == Severity::Error);
            terminal.say(&shown(problem))?;
        }
        checked = match files.len() {
            1 => format!("{checked} and 1 mapping file"),
            count => format!("{checked} and {count} mapping files"),
        };
    } else {
        // Where the mappings are is not known for sure.
        terminal.say("the mappings were not checked: first the configuration must be right")?;
    }
    match errors {
        0 => terminal.say(&format!("{checked}: fine"))?,
        1 => terminal.say(&format!("{checked}: 1 error"))?,
        errors => terminal.say(&format!("{checked}: {errors} errors"))?,
    }
    Ok(if errors == 0 { Ending::Fine } else { Ending::Wrong })
}

/// What is to be said of what devices get from the bootstrap server; how much of it is wrong.
fn tell_entries(settings: &Settings, file: &str, terminal: &mut Terminal<'_>) -> io::Result<usize> {
    let Some(bootstrap) = &settings.bootstrap else { return Ok(0) };
    let (servers, devices) = (&bootstrap.core.servers, &bootstrap.core.devices);
    let account = |name: &AccountName| servers.iter().find(|(known, _)| known == name).map(|(_, account)| account);
    let mut errors = 0;
    for (device, entry) in devices {
        match check_among(entry, account) {
            Ok(problems) => {
                errors += problems.len();
                for problem in problems {
                    let place = format!("bootstrap.device.\"{device}\".{}", problem.field);
                    terminal.say(&format!("{file}: error: {place}: {}", problem.message))?;
                }
            }
            // It may have been put over an interface, or be one of those that every gateway has.
            Err(name) => terminal.say(&format!(
                "{file}: warning: bootstrap.device.\"{device}\": no server account '{name}' stands in the configuration"
            ))?,
        }
    }
    Ok(errors)
}

/// What is to be said of the server's certificate; how much of it is wrong.
fn tell_identity(settings: &Settings, file: &str, terminal: &mut Terminal<'_>) -> io::Result<usize> {
    let security = &settings.lwm2m.security;
    let Some(pair) = security.configured_pair() else { return Ok(0) };
    let identity = match ServerIdentity::load(&security.identity_files(pair)) {
        Ok(identity) => identity,
        Err(error) => {
            terminal.say(&format!("{file}: error: lwm2m.certificate: {error}"))?;
            return Ok(1);
        }
    };
    for warning in identity.warnings() {
        terminal.say(&format!("{file}: warning: lwm2m.certificate: {warning}"))?;
    }
    match identity.check_validity(wall_now()) {
        Err(error) if wall_is_trusted() => {
            terminal.say(&format!("{file}: error: lwm2m.certificate: {error}"))?;
            Ok(1)
        }
        _ => Ok(0),
    }
}

/// Mapping files may be shared by gateways with different sinks, so that this is no error.
fn unknown_sinks(plan: &Plan, settings: &Settings) -> Vec<Problem> {
    let known = |name: &str| settings.sinks.iter().any(|sink| *sink.core.name == *name);
    plan.sink_references()
        .into_iter()
        .filter(|reference| !known(&reference.sink))
        .map(|reference| Problem {
            severity: Severity::Warning,
            file: reference.file,
            line: Some(reference.line),
            message: format!("no sink is called '{}': nothing leaves there", reference.sink),
            hint: format!("the configuration has no [sink.{}]", reference.sink),
        })
        .collect()
}

/// A problem of a mapping in the form of those of the configuration.
pub(super) fn shown(problem: &Problem) -> String {
    let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let hint = if problem.hint.is_empty() { String::new() } else { format!("\n  hint: {}", problem.hint) };
    format!("{}{line}: {severity}: {}{hint}", problem.file, problem.message)
}

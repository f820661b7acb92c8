//! `check`: every problem of the configuration and the mappings.

use std::io;

use super::arguments::ConfigArguments;
use super::{Ending, Terminal};
use crate::config::{Sources, load, read_mappings};
use crate::mapping::{Plan, Problem, Severity};
use crate::model::object::ObjectModel;

/// Tells every problem on standard output; warnings alone are fine.
pub(super) fn check(
    arguments: &ConfigArguments,
    sources: &Sources<'_>,
    model: &ObjectModel,
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
        let (files, problems) = read_mappings(settings, sources);
        errors += problems.len();
        for problem in &problems {
            terminal.say(&problem.to_string())?;
        }
        let compiled = Plan::compile(&files, model, settings.gateway.default_mapping);
        for problem in &compiled.problems {
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

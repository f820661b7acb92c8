//! Warnings about rules that can never win and keys that stand for two things.
//!
//! Only what is certain is told: the earlier rule must stand in the same file or in one for every device.

use super::Context;
use crate::mapping::file::Diagnostics;
use crate::mapping::plan::Plan;
use crate::mapping::rule::{Action, Keys, Rule, ValueRule};
use crate::mapping::template::KeyTemplate;

/// Looks at the rules of the file that was compiled last, which begin at these positions.
pub(super) fn check(
    plan: &Plan,
    context: &Context<'_>,
    first_rule: usize,
    first_desired: usize,
    first_command: usize,
    diagnostics: &mut Diagnostics,
) {
    let certain =
        |file: usize| file == context.file || plan.files.get(file).is_some_and(|file| file.devices.is_unconditional());
    let place = |file: usize, line: usize| {
        let name = plan.files.get(file).map_or("", |file| file.name.as_str());
        if file == context.file { format!("line {line}") } else { format!("{name}:{line}") }
    };
    for (position, rule) in plan.rules.iter().enumerate().skip(first_rule) {
        let earlier = plan.rules.iter().take(position).filter(|earlier| certain(earlier.file));
        if let Some(winner) = earlier.clone().find(|earlier| shadows(earlier, rule)) {
            diagnostics.warning_at_line(
                rule.line,
                format!("{} \"{}\" can never win", rule.section(), rule.pattern),
                format!("{} at {} takes its paths first", winner.section(), place(winner.file, winner.line)),
            );
        } else if let Some((template, other)) =
            rule.value().and_then(|value| earlier.clone().find_map(|earlier| shared_key(earlier, rule, value)))
        {
            diagnostics.warning_at_line(
                rule.line,
                format!("{} \"{}\": key \"{}\" is given twice", rule.section(), rule.pattern, template.text()),
                format!("{} \"{}\" at {} has it too", other.section(), other.pattern, place(other.file, other.line)),
            );
        }
    }
    for (position, rule) in plan.desired.iter().enumerate().skip(first_desired) {
        let earlier = plan.desired.iter().take(position).find(|earlier| {
            certain(earlier.file) && earlier.key.text() == rule.key.text() && earlier.pattern.version().is_none()
        });
        if let Some(earlier) = earlier {
            diagnostics.warning_at_line(
                rule.line,
                format!("[[desired]] key \"{}\" is given twice", rule.key.text()),
                format!("the one at {} wins", place(earlier.file, earlier.line)),
            );
        }
    }
    for (position, rule) in plan.commands.iter().enumerate().skip(first_command) {
        let earlier = plan.commands.iter().take(position);
        if let Some(earlier) = earlier.into_iter().find(|earlier| certain(earlier.file) && earlier.name == rule.name) {
            diagnostics.warning_at_line(
                rule.line,
                format!("[[command]] name \"{}\" is given twice", rule.name),
                format!("the one at {} wins", place(earlier.file, earlier.line)),
            );
        }
    }
}

/// Whether `earlier` takes all that `rule` could.
fn shadows(earlier: &Rule, rule: &Rule) -> bool {
    let ends = match (&earlier.action, &rule.action) {
        (Action::Ignore, _) => true,
        (Action::Value(earlier), Action::Value(rule)) => earlier.kind == rule.kind && !earlier.also,
        (Action::Value(_), Action::Ignore) => false,
    };
    ends && earlier.pattern.covers(&rule.pattern)
}

/// A key of `value` that `earlier` has word for word, where both may take values of one device.
fn shared_key<'p>(earlier: &'p Rule, rule: &'p Rule, value: &'p ValueRule) -> Option<(&'p KeyTemplate, &'p Rule)> {
    let other = earlier.value().filter(|other| other.kind == value.kind)?;
    let shared = |template: &&KeyTemplate| {
        other.keys.templates().any(|other| other.text() == template.text())
            && !earlier.pattern.is_told_apart(&rule.pattern, template)
    };
    // Rules for versions of an object, and rules after `also`, share keys on purpose.
    let on_purpose = other.also || earlier.pattern.version().is_some() || matches!(&value.keys, Keys::Extract(_));
    value.keys.templates().find(shared).filter(|_| !on_purpose).map(|template| (template, earlier))
}

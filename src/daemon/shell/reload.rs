//! What the core and the log hear of mappings and models that were read anew.

use crate::daemon::knowledge::Knowledge;
use crate::gateway::vocabulary::Input;

/// Logs everything that is wrong.
pub fn tell_problems(knowledge: &Knowledge) {
    for problem in &knowledge.problems {
        tracing::warn!("{problem}");
    }
    if knowledge.broken {
        tracing::error!("the mapping files cannot be used: the last good mapping stays in force");
    }
}

/// The first error, for the alarm.
pub fn first_problem(knowledge: &Knowledge) -> String {
    let first = knowledge.problems.iter().find(|problem| problem.contains("error"));
    first.cloned().unwrap_or_else(|| "the mapping files cannot be read".to_owned())
}

/// What the core hears: broken files change nothing and raise the alarm.
pub(super) fn inputs(knowledge: Knowledge) -> Vec<Input> {
    if knowledge.broken {
        return vec![Input::MappingHealth { failure: Some(first_problem(&knowledge)) }];
    }
    vec![
        Input::Model { model: knowledge.model },
        Input::Plan { plan: knowledge.plan },
        Input::MappingHealth { failure: None },
    ]
}

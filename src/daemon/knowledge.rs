//! What the gateway knows of objects and mappings: reading, compiling, and the last good mapping.

use std::path::Path;
use std::sync::Arc;

use crate::config::{self, Settings, Sources, read_mappings, read_models};
use crate::daemon::sources::with_sources;
use crate::io::files;
use crate::mapping::{MappingFile, Plan, Problem, Severity};
use crate::model::object::ObjectModel;

/// File in the data folder that holds the mapping files which compiled last.
const LAST_GOOD: &str = "mappings.last-good.json";

/// What reading led to.
pub struct Knowledge {
    /// Object definitions.
    pub model: Arc<ObjectModel>,
    /// The plan to use.
    pub plan: Arc<Plan>,
    /// Everything that is wrong with mapping files, as lines for people.
    pub problems: Vec<String>,
    /// Whether the mapping files cannot be used and `plan` is an earlier one.
    pub broken: bool,
}

/// All files of both folders, read and compiled; nothing is kept or replaced.
pub struct Reading {
    /// The usable object definitions.
    pub model: Arc<ObjectModel>,
    /// The plan, if the mapping files can be used.
    pub plan: Option<Arc<Plan>>,
    /// The mapping files.
    pub files: Vec<MappingFile>,
    /// What is wrong with object definitions: each costs only itself.
    pub model_problems: Vec<Problem>,
    /// What is wrong with mapping files.
    pub mapping_problems: Vec<Problem>,
}

/// Reads the object definitions and mapping files that the settings name.
///
/// Broken mapping files give the plan that worked last, or the built-in one alone, and say so.
pub fn read(settings: &Settings) -> Knowledge {
    let reading = with_sources(|sources| read_all(settings, sources));
    let mut problems: Vec<String> =
        reading.model_problems.iter().chain(&reading.mapping_problems).map(ToString::to_string).collect();
    let Some(plan) = reading.plan else { return last_good(settings, reading.model, problems) };
    problems.extend(keep(settings, &reading.files).err());
    Knowledge { model: reading.model, plan, problems, broken: false }
}

/// Reads and compiles everything, without effect.
pub fn read_all(settings: &Settings, sources: &Sources<'_>) -> Reading {
    let (model, unusable) = read_models(settings, sources);
    let model = Arc::new(model);
    let model_problems = unusable.into_iter().map(of_configuration).collect();
    let (files, unreadable) = read_mappings(settings, sources);
    if !unreadable.is_empty() {
        let mapping_problems = unreadable.into_iter().map(of_configuration).collect();
        return Reading { model, plan: None, files, model_problems, mapping_problems };
    }
    let compiled = Plan::compile(&files, &model, settings.gateway.default_mapping);
    Reading { model, plan: compiled.plan.map(Arc::new), files, model_problems, mapping_problems: compiled.problems }
}

/// A problem of reading in the words of a mapping.
fn of_configuration(problem: config::Problem) -> Problem {
    let config::Problem { file, line, message, hint } = problem;
    Problem { severity: Severity::Error, file, line, message, hint }
}

fn last_good(settings: &Settings, model: Arc<ObjectModel>, mut problems: Vec<String>) -> Knowledge {
    let files: Vec<MappingFile> = files::read_text(&settings.gateway.data_dir.join(LAST_GOOD))
        .ok()
        .and_then(|text| serde_json::from_str::<Vec<(String, String)>>(&text).ok())
        .map(|files| files.into_iter().map(|(name, text)| MappingFile { name, text }).collect())
        .unwrap_or_default();
    let earlier = Plan::compile(&files, &model, settings.gateway.default_mapping).plan;
    let plan = earlier.unwrap_or_else(|| {
        problems.push("no earlier mapping works either: only the built-in one is used".to_owned());
        Plan::compile(&[], &model, settings.gateway.default_mapping).plan.unwrap_or_default()
    });
    Knowledge { model, plan: Arc::new(plan), problems, broken: true }
}

/// Keeps the mapping files that compiled, for a start with broken ones.
///
/// # Errors
/// In words for the log.
pub fn keep(settings: &Settings, files: &[MappingFile]) -> Result<(), String> {
    let path = settings.gateway.data_dir.join(LAST_GOOD);
    write_pairs(&path, files).map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

fn write_pairs(path: &Path, files: &[MappingFile]) -> std::io::Result<()> {
    let pairs: Vec<(&str, &str)> = files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
    if let Some(folder) = path.parent() {
        files::make_folder(folder)?;
    }
    files::replace_text(path, &serde_json::to_string(&pairs).unwrap_or_default())
}

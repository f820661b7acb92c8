//! What the gateway knows of objects and mappings: reading, compiling, and the last good mapping.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Settings, read_mappings, read_models};
use crate::daemon::sources::with_sources;
use crate::io::files;
use crate::mapping::{MappingFile, Plan};
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

/// Reads the object definitions and mapping files that the settings name.
///
/// Broken mapping files give the plan that worked last, or the built-in one alone, and say so.
pub fn read(settings: &Settings) -> Knowledge {
    // A definition that cannot be used costs only itself.
    let (model, unusable) = with_sources(|sources| read_models(settings, sources));
    let model = Arc::new(model);
    let mut problems: Vec<String> = unusable.iter().map(ToString::to_string).collect();
    let kept = settings.gateway.data_dir.join(LAST_GOOD);
    let (files, unreadable) = with_sources(|sources| read_mappings(settings, sources));
    if !unreadable.is_empty() {
        problems.extend(unreadable.iter().map(ToString::to_string));
        return last_good(settings, model, problems, &kept);
    }
    let compiled = Plan::compile(&files, &model, settings.gateway.default_mapping);
    problems.extend(compiled.problems.iter().map(ToString::to_string));
    let Some(plan) = compiled.plan else { return last_good(settings, model, problems, &kept) };
    if let Err(error) = keep(&kept, &files) {
        problems.push(format!("{}: cannot be written: {error}", kept.display()));
    }
    Knowledge { model, plan: Arc::new(plan), problems, broken: false }
}

fn last_good(settings: &Settings, model: Arc<ObjectModel>, mut problems: Vec<String>, kept: &Path) -> Knowledge {
    let files: Vec<MappingFile> = files::read_text(kept)
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

fn keep(path: &Path, mappings: &[MappingFile]) -> std::io::Result<()> {
    // At the very first start the mapping is read before anything else makes the data folder.
    if let Some(folder) = path.parent() {
        files::make_folder(folder)?;
    }
    let pairs: Vec<(&str, &str)> = mappings.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
    files::replace_text(path, &serde_json::to_string(&pairs).unwrap_or_default())
}

//! The two folders that can be changed from afar: mapping files and object definitions.
//!
//! A change is tried first: all files of both folders are read with the changed one laid over them and compiled. What
//! does not compile is refused with every problem, and nothing changes. The one exception leads out of a folder that is
//! broken already: a change after which fewer files are broken is written, and the plan in force stays.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Done, Shell};
use crate::config::{ReadError, Settings, Sources};
use crate::daemon::knowledge::{self, Reading, read_all};
use crate::daemon::sources::with_sources;
use crate::gateway::preview::run_message_examples;
use crate::gateway::vocabulary::{Input, Trial};
use crate::io::files;
use crate::mapping::{Problem, Severity};
use crate::model::command::{CommandError, ErrorKind};

/// Problems told in one answer; the rest is counted.
const MAX_PROBLEMS: usize = 200;

/// Which folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// `gateway.mappings`, files `*.toml`.
    Mappings,
    /// `gateway.models`, files `*.xml`.
    Models,
}

impl Folder {
    fn path(self, settings: &Settings) -> &Path {
        match self {
            Self::Mappings => &settings.gateway.mappings,
            Self::Models => &settings.gateway.models,
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Mappings => "toml",
            Self::Models => "xml",
        }
    }

    fn problems(self, reading: &Reading) -> &[Problem] {
        match self {
            Self::Mappings => &reading.mapping_problems,
            Self::Models => &reading.model_problems,
        }
    }

    /// Names, sizes and problems of the files, by name.
    pub(super) fn list(self, settings: &Settings) -> Result<Json, CommandError> {
        let folder = self.path(settings);
        let mut paths = match files::list_folder(folder) {
            Ok(paths) => paths,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(folder, "cannot be read", &error)),
        };
        paths.retain(|path| self.has_file(path));
        paths.sort();
        let reading = with_sources(|sources| read_all(settings, sources));
        let mut left = MAX_PROBLEMS;
        let items: Vec<Json> = paths
            .iter()
            .map(|path| {
                let name = path.display().to_string();
                let of_file: Vec<&Problem> =
                    self.problems(&reading).iter().filter(|problem| problem.file == name).collect();
                let errors = of_file.iter().filter(|problem| problem.severity == Severity::Error).count();
                let told = of_file.len().min(left);
                left -= told;
                json!({
                    "file": path.file_name().map(|name| name.to_string_lossy()),
                    "bytes": files::length(path).ok(),
                    "compiles": errors == 0,
                    "problems": of_file.iter().take(told).map(|problem| shown(problem, folder)).collect::<Vec<_>>(),
                    "problems_left_out": of_file.len() - told,
                })
            })
            .collect();
        let mut answer = json!({ "folder": folder.display().to_string(), "items": items });
        if self == Self::Mappings {
            answer["compiles"] = reading.plan.is_some().into();
            answer["default_mapping"] = settings.gateway.default_mapping.into();
        }
        Ok(answer)
    }

    /// Whether a path is one of this folder's files, as the readers of the folder see it.
    fn has_file(self, path: &Path) -> bool {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        !hidden && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(self.extension()))
    }

    /// The text of a file.
    pub(super) fn get(self, settings: &Settings, file: &str) -> Result<Json, CommandError> {
        let folder = self.path(settings);
        let path = folder.join(file);
        check_place(folder, &path)?;
        match files::read_text(&path) {
            Ok(text) => Ok(json!({ "file": file, "bytes": text.len(), "text": text })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(no_file(&path)),
            Err(error) => Err(failed(&path, "cannot be read", &error)),
        }
    }

    /// Reads everything as it would be with `path` holding `text`, or gone.
    fn try_out(self, settings: &Settings, path: &Path, text: Option<&str>) -> Reading {
        let folder = self.path(settings);
        with_sources(|sources| {
            let read_text = |asked: &Path| match text {
                Some(text) if asked == path => Ok(text.to_owned()),
                _ => (sources.read_text)(asked),
            };
            let list_folder = |asked: &Path| {
                if asked != folder {
                    return (sources.list_folder)(asked);
                }
                let mut paths: Vec<PathBuf> = match (sources.list_folder)(asked) {
                    Err(ReadError::NotFound) => Vec::new(),
                    listed => listed?,
                };
                paths.retain(|listed| listed != path);
                paths.extend(text.map(|_| path.to_owned()));
                Ok(paths)
            };
            let laid_over = Sources {
                read_text: &read_text,
                list_folder: &list_folder,
                variables: sources.variables.clone(),
                host_name: sources.host_name.clone(),
            };
            read_all(settings, &laid_over)
        })
    }
}

impl Shell {
    /// Puts a file, or without `text` deletes it.
    pub(super) fn put(&mut self, folder: Folder, file: &str, text: Option<&str>, dry_run: bool) -> Done {
        let place = folder.path(&self.settings).to_owned();
        let path = place.join(file);
        if let Err(error) = check_put(&place, &path, text) {
            return Err(error).into();
        }
        let reading = folder.try_out(&self.settings, &path, text);
        let acceptable = self.is_acceptable(folder, &path, &reading);
        let mut problems: Vec<&Problem> = reading.mapping_problems.iter().chain(&reading.model_problems).collect();
        let examples = failed_examples(&reading);
        problems.extend(&examples);
        let left_out = problems.len().saturating_sub(MAX_PROBLEMS);
        let shown: Vec<Json> = problems.iter().take(MAX_PROBLEMS).map(|problem| shown(problem, &place)).collect();
        if dry_run {
            let answer = json!({
                "file": file,
                "dry_run": true,
                "accepted": acceptable,
                "problems": shown,
                "problems_left_out": left_out,
            });
            let trial = reading.plan.map(|plan| Trial { plan, model: reading.model });
            return Done { answer: Ok(answer), trial, news: Vec::new() };
        }
        if !acceptable {
            let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
            let first = problems.iter().find(|problem| problem.severity == Severity::Error);
            let first = first.map(ToString::to_string).unwrap_or_default();
            let message =
                format!("nothing was changed, since the files would not compile: {errors} errors, first {first}");
            return Err(CommandError {
                problems: Some(Box::new(shown.into())),
                ..CommandError::new(ErrorKind::Invalid, message)
            })
            .into();
        }
        let written = match text {
            Some(text) => files::make_folder(&place).and_then(|()| files::replace_text(&path, text)),
            None => files::remove_file(&path),
        };
        if let Err(error) = written {
            let what = if text.is_some() { "cannot be written" } else { "cannot be deleted" };
            return Err(failed(&path, what, &error)).into();
        }
        tracing::info!(file = %path.display(), deleted = text.is_none(), "a file was changed by request");
        let answer = json!({
            "file": file,
            "deleted": text.is_none(),
            "bytes": text.map(str::len),
            "in_force": reading.plan.is_some(),
            "problems": shown,
            "problems_left_out": left_out,
        });
        Done { answer: Ok(answer), trial: None, news: self.take_into_force(folder, reading) }
    }

    /// Whether a change may be made: everything compiles, or fewer files are broken than now.
    fn is_acceptable(&self, folder: Folder, path: &Path, after: &Reading) -> bool {
        let name = path.display().to_string();
        if folder == Folder::Models && after.model_problems.iter().any(|problem| problem.file == name) {
            return false;
        }
        if after.plan.is_some() {
            return true;
        }
        let now = with_sources(|sources| read_all(&self.settings, sources));
        broken_files(after).len() < broken_files(&now).len()
    }

    /// What the core hears of files that were just written.
    fn take_into_force(&mut self, folder: Folder, reading: Reading) -> Vec<Input> {
        let Reading { model, plan, files, mapping_problems, .. } = reading;
        let Some(plan) = plan else {
            let first = mapping_problems.iter().find(|problem| problem.severity == Severity::Error);
            return vec![Input::MappingHealth { failure: first.map(ToString::to_string) }];
        };
        if let Err(problem) = knowledge::keep(&self.settings, &files) {
            tracing::warn!("{problem}");
        }
        let mut news = Vec::new();
        if folder == Folder::Models {
            self.models = files::fingerprint(&self.settings.gateway.models);
            news.push(Input::Model { model: Arc::clone(&model) });
        }
        news.extend([Input::Plan { plan }, Input::MappingHealth { failure: None }]);
        news
    }
}

/// Examples of the files that do not hold: told, but no reason to refuse, since they promise nothing to devices.
fn failed_examples(reading: &Reading) -> Vec<Problem> {
    let Some(plan) = &reading.plan else { return Vec::new() };
    let mut failed = plan.run_examples();
    failed.extend(run_message_examples(plan));
    for problem in &mut failed {
        problem.severity = Severity::Warning;
    }
    failed
}

fn broken_files(reading: &Reading) -> BTreeSet<&str> {
    let errors = reading.mapping_problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(|problem| problem.file.as_str()).collect()
}

/// Refuses what cannot be done whatever the text says.
fn check_put(folder: &Path, path: &Path, text: Option<&str>) -> Result<(), CommandError> {
    check_place(folder, path)?;
    if let Some(text) = text
        && text.len() as u64 > files::MAX_TEXT_BYTES
    {
        let message = format!("text has more than {} bytes", files::MAX_TEXT_BYTES);
        return Err(CommandError::new(ErrorKind::TooLarge, message));
    }
    match files::length(path) {
        Err(error) if text.is_none() && error.kind() == std::io::ErrorKind::NotFound => Err(no_file(path)),
        _ => Ok(()),
    }
}

/// Refuses what a link leads out of the folder.
fn check_place(folder: &Path, path: &Path) -> Result<(), CommandError> {
    let (Ok(folder), Ok(real)) = (files::canonical(folder), files::canonical(path)) else { return Ok(()) };
    if real.starts_with(&folder) {
        return Ok(());
    }
    let message = format!("{} is a link that leads out of its folder, to {}", path.display(), real.display());
    Err(CommandError::new(ErrorKind::Forbidden, message))
}

fn no_file(path: &Path) -> CommandError {
    CommandError::new(ErrorKind::NotFound, format!("there is no file {}", path.display()))
}

/// What the system said, word for word.
fn failed(path: &Path, what: &str, error: &std::io::Error) -> CommandError {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "; the user that the gateway runs as must own the folder",
        std::io::ErrorKind::ReadOnlyFilesystem => {
            "; the folder is mounted read-only, for systemd see ReadWritePaths of the service"
        }
        _ => "",
    };
    CommandError::new(ErrorKind::Internal, format!("{} {what}: {error}{hint}", path.display()))
}

/// A problem for programs; files of the folder by their name alone, as requests name them.
fn shown(problem: &Problem, folder: &Path) -> Json {
    let file = Path::new(&problem.file);
    let file = file.strip_prefix(folder).unwrap_or(file);
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "severity": severity,
        "file": file.display().to_string(),
        "line": problem.line,
        "message": problem.message,
        "hint": problem.hint,
    })
}

//! Object definitions of the operator: DDF files in the models folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Problem, ReadError, Settings, Sources};
use crate::model::ddf;
use crate::model::object::ObjectModel;
use crate::model::version::Version;

/// Most DDF files that are read. The whole OMA registry has 424.
pub const MAX_MODEL_FILES: usize = 1_024;

/// The built-in definitions and those of the models folder, in name order of the files (`*.xml`).
///
/// A folder that is not there has no files. What cannot be used is a problem, and the rest counts all the same.
pub fn read_models(settings: &Settings, sources: &Sources<'_>) -> (ObjectModel, Vec<Problem>) {
    read_models_of(&settings.gateway.models, sources)
}

/// The same of a folder.
pub(super) fn read_models_of(folder: &Path, sources: &Sources<'_>) -> (ObjectModel, Vec<Problem>) {
    let problem = |file: &Path, line: Option<usize>, message: String, hint: &str| {
        let (file, hint) = (file.display().to_string(), hint.to_owned());
        Problem { file, line, message, hint }
    };
    let mut paths: Vec<PathBuf> = match (sources.list_folder)(folder) {
        Ok(paths) => paths.into_iter().filter(|path| is_definition(path)).collect(),
        Err(ReadError::NotFound) => Vec::new(),
        Err(ReadError::Other(reason)) => {
            let unreadable = problem(folder, None, format!("cannot be read: {reason}"), "");
            return (ObjectModel::built_in(), vec![unreadable]);
        }
    };
    paths.sort();
    let mut problems = Vec::new();
    if paths.len() > MAX_MODEL_FILES {
        let message = format!("{} DDF files, more than the {MAX_MODEL_FILES} that are read", paths.len());
        problems.push(problem(folder, None, message, "keep those that your devices have"));
        paths.truncate(MAX_MODEL_FILES);
    }
    let mut definitions = Vec::new();
    let mut origins: BTreeMap<(u16, Version), PathBuf> = BTreeMap::new();
    for path in paths {
        let text = match (sources.read_text)(&path) {
            Ok(text) => text,
            Err(error) => {
                let reason = match error {
                    ReadError::NotFound => "it is not there".to_owned(),
                    ReadError::Other(reason) => reason,
                };
                problems.push(problem(&path, None, format!("cannot be read: {reason}"), ""));
                continue;
            }
        };
        match ddf::parse(&text) {
            Ok(found) => {
                for definition in found {
                    if let Some(first) = origins.get(&(definition.id, definition.version)) {
                        let message = format!(
                            "object {} version {} is defined in {} already",
                            definition.id,
                            definition.version,
                            first.display()
                        );
                        problems.push(problem(&path, None, message, "remove one of them"));
                        continue;
                    }
                    origins.insert((definition.id, definition.version), path.clone());
                    definitions.push(definition);
                }
            }
            Err(error) => {
                let line = usize::try_from(error.line).ok();
                problems.push(problem(&path, line, error.cause.to_string(), ""));
            }
        }
    }
    let model = ObjectModel::built_in();
    let model = if definitions.is_empty() { model } else { model.with_definitions(definitions) };
    (model, problems)
}

fn is_definition(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xml"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    /// A definition of object 32770 with one resource, a float of this name.
    fn ddf(name: &str) -> String {
        format!(
            "<LWM2M><Object ObjectType=\"MODefinition\"><Name>Own</Name><ObjectID>32770</ObjectID>\
             <MultipleInstances>Multiple</MultipleInstances><Mandatory>Optional</Mandatory><Resources>\
             <Item ID=\"1\"><Name>{name}</Name><Operations>R</Operations>\
             <MultipleInstances>Single</MultipleInstances><Mandatory>Mandatory</Mandatory><Type>Float</Type>\
             </Item></Resources></Object></LWM2M>"
        )
    }

    fn read(files: &BTreeMap<PathBuf, String>) -> (ObjectModel, Vec<String>) {
        let read_text = |path: &Path| match files.get(path) {
            Some(text) if text == "unreadable" => Err(ReadError::Other("no permission".to_owned())),
            Some(text) => Ok(text.clone()),
            None => Err(ReadError::NotFound),
        };
        let list_folder = |folder: &Path| {
            let inside: Vec<PathBuf> = files.keys().filter(|path| path.parent() == Some(folder)).cloned().collect();
            if inside.is_empty() { Err(ReadError::NotFound) } else { Ok(inside) }
        };
        let variables = BTreeMap::new();
        let sources =
            Sources { read_text: &read_text, list_folder: &list_folder, variables, host_name: "gate".to_owned() };
        let (model, problems) = read_models(&load(None, &sources).settings.unwrap(), &sources);
        (model, problems.iter().map(ToString::to_string).collect())
    }

    fn files(all: &[(&str, &str)]) -> BTreeMap<PathBuf, String> {
        all.iter().map(|(name, text)| (Path::new("models").join(name), (*text).to_owned())).collect()
    }

    #[test]
    fn definitions_of_the_folder_stand_beside_the_built_in_ones() {
        let (model, problems) = read(&files(&[("own.XML", &ddf("Sound Level")), ("notes.txt", "x"), (".a.xml", "x")]));
        assert_eq!(problems, [""; 0]);
        assert_eq!(model.parse_path("/own/0/sound_level").unwrap().to_string(), "/32770/0/1");
        assert!(model.newest(3303).is_some());
        let (model, problems) = read(&BTreeMap::new());
        assert!(problems.is_empty() && model.newest(3303).is_some() && model.newest(32770).is_none());
    }

    #[test]
    fn what_cannot_be_used_is_told_with_file_and_line_and_the_rest_counts() {
        let good = ddf("Sound Level");
        let (model, problems) = read(&files(&[
            ("a.xml", "<LWM2M>\n</Object>"),
            ("b.xml", &good),
            ("c.xml", "unreadable"),
            ("d.xml", &good),
        ]));
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("models/a.xml:2: error: no well-formed XML"), "{problems:?}");
        assert_eq!(problems[1], "models/c.xml: error: cannot be read: no permission");
        assert!(problems[2].starts_with("models/d.xml: error: object 32770 version 1.0 is defined in models/b.xml"));
        assert!(model.newest(32770).is_some());
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let many = (0..=MAX_MODEL_FILES).map(|number| (PathBuf::from(format!("models/{number}.xml")), String::new()));
        let (_, problems) = read(&many.collect());
        assert!(problems[0].contains("1025 DDF files, more than the 1024"), "{}", problems[0]);
        assert_eq!(problems.len(), 1 + MAX_MODEL_FILES, "each is empty");
    }
}

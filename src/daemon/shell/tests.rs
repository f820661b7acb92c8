//! The shell on real folders: what is refused, what is written, and what the core hears of it.

use std::path::Path;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{Done, Shell};
use crate::config::load;
use crate::daemon::logging::LogControl;
use crate::daemon::sources::with_sources;
use crate::gateway::vocabulary::{Input, ShellWork};
use crate::model::command::{CommandError, ErrorKind};

const GOOD: &str = "version = 1\n[[telemetry]]\npath = \"/3303/0/5700\"\nkey = \"t\"\n";
const BROKEN: &str = "version = 1\n[[telemetry]]\npath = \"/3303/0/5700\"\nkee = \"t\"\n";
const DEFINITION: &str = "<LWM2M><Object ObjectType=\"MODefinition\"><Name>Own Thing</Name><ObjectID>32770</ObjectID>\
                          <MultipleInstances>Multiple</MultipleInstances><Mandatory>Optional</Mandatory><Resources>\
                          <Item ID=\"1\"><Name>Level</Name><Operations>R</Operations>\
                          <MultipleInstances>Single</MultipleInstances><Mandatory>Mandatory</Mandatory>\
                          <Type>Float</Type></Item></Resources></Object></LWM2M>";

/// A shell over a folder with these files.
fn shell(files: &[(&str, &str)]) -> (Shell, TempDir) {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[gateway]\ndata_dir = \"data\"\n").unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let settings = with_sources(|sources| load(Some(&config), sources)).settings.unwrap();
    let (inputs, _) = mpsc::channel(1);
    (
        Shell { settings, identity: None, log: LogControl::of_nothing("info"), log_until: None, inputs, models: 0 },
        folder,
    )
}

fn put(shell: &mut Shell, file: &str, text: Option<&str>) -> Done {
    let (file, text) = (file.to_owned(), text.map(str::to_owned));
    shell.work(if Path::new(&file).extension().is_some_and(|extension| extension == "xml") {
        ShellWork::ModelPut { file, text, dry_run: false }
    } else {
        ShellWork::MappingPut { file, text, dry_run: false }
    })
}

#[track_caller]
fn done(done: &Done) -> &Json {
    done.answer.as_ref().unwrap()
}

#[track_caller]
fn refused(done: &Done) -> &CommandError {
    assert!(done.news.is_empty(), "the core hears nothing of what was refused");
    done.answer.as_ref().unwrap_err()
}

#[test]
fn a_file_that_compiles_is_written_and_comes_into_force() {
    let (mut shell, folder) = shell(&[]);
    let put = put(&mut shell, "a.toml", Some(GOOD));
    assert_eq!(done(&put)["in_force"], true);
    assert!(
        matches!(put.news.as_slice(), [Input::Plan { .. }, Input::MappingHealth { failure: None }]),
        "{:?}",
        put.news
    );
    assert_eq!(std::fs::read_to_string(folder.path().join("mappings/a.toml")).unwrap(), GOOD);
    let kept = std::fs::read_to_string(folder.path().join("data/mappings.last-good.json")).unwrap();
    assert!(kept.contains("a.toml"), "the next start has it as the last good one");
}

#[test]
fn what_is_broken_already_may_be_repaired_file_by_file_and_not_be_made_worse() {
    let (mut shell, folder) = shell(&[("mappings/a.toml", BROKEN), ("mappings/b.toml", BROKEN)]);
    let worse = put(&mut shell, "c.toml", Some(GOOD));
    assert_eq!(refused(&worse).kind, ErrorKind::Invalid, "two are broken before and after");
    let repaired = put(&mut shell, "a.toml", Some(GOOD));
    assert_eq!(done(&repaired)["in_force"], false);
    assert!(matches!(repaired.news.as_slice(), [Input::MappingHealth { failure: Some(_) }]), "{:?}", repaired.news);
    let gone = put(&mut shell, "b.toml", None);
    assert_eq!(done(&gone)["in_force"], true);
    assert!(!folder.path().join("mappings/b.toml").exists());
}

#[test]
fn a_definition_that_is_no_xml_or_that_a_mapping_needs_stays_out_or_in() {
    let by_name = "version = 1\n[[telemetry]]\npath = \"/own_thing/0/level\"\nkey = \"level\"\n";
    let (mut shell, folder) = shell(&[]);
    let broken = put(&mut shell, "own.xml", Some("<LWM2M>\n<Object></LWM2M>"));
    let error = refused(&broken);
    let problems = error.problems.as_deref().unwrap();
    assert_eq!((&problems[0]["file"], &problems[0]["line"]), (&json!("own.xml"), &json!(2)), "{problems}");
    let without = put(&mut shell, "names.toml", Some(by_name));
    assert_eq!(refused(&without).kind, ErrorKind::Invalid, "nobody knows the name yet");
    let defined = put(&mut shell, "own.xml", Some(DEFINITION));
    assert!(matches!(defined.news.as_slice(), [Input::Model { .. }, Input::Plan { .. }, ..]), "{:?}", defined.news);
    done(&put(&mut shell, "names.toml", Some(by_name)));
    let needed = put(&mut shell, "own.xml", None);
    assert_eq!(refused(&needed).kind, ErrorKind::Invalid, "the mapping would not compile without it");
    assert!(folder.path().join("models/own.xml").exists());
}

#[test]
fn links_out_of_the_folder_are_neither_read_nor_written_through() {
    let (mut shell, folder) = shell(&[("mappings/a.toml", GOOD), ("secret.toml", "hunter2 = 1")]);
    let link = folder.path().join("mappings/link.toml");
    std::os::unix::fs::symlink(folder.path().join("secret.toml"), &link).unwrap();
    let read = shell.work(ShellWork::MappingGet { file: "link.toml".to_owned() });
    let error = refused(&read);
    assert_eq!(error.kind, ErrorKind::Forbidden);
    assert!(error.message.contains("secret.toml") && !error.message.contains("hunter2"), "{}", error.message);
    assert_eq!(refused(&put(&mut shell, "link.toml", Some(GOOD))).kind, ErrorKind::Forbidden);
    assert_eq!(std::fs::read_to_string(folder.path().join("secret.toml")).unwrap(), "hunter2 = 1");
}

#[test]
fn what_the_system_refuses_is_told_in_its_words() {
    let (mut shell, folder) = shell(&[("models", "a file where the folder should be")]);
    let refused_put = put(&mut shell, "own.xml", Some(DEFINITION));
    let error = refused(&refused_put);
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.contains("models") && error.message.contains("os error"), "{}", error.message);
    let long = "#".repeat(5 << 20);
    assert_eq!(refused(&put(&mut shell, "a.toml", Some(&long))).kind, ErrorKind::TooLarge);
    drop(folder);
}

#[test]
fn a_dry_run_writes_nothing_and_gives_the_plan_to_try() {
    let (mut shell, folder) = shell(&[]);
    let file = "a.toml".to_owned();
    let tried = shell.work(ShellWork::MappingPut { file, text: Some(GOOD.to_owned()), dry_run: true });
    assert_eq!(done(&tried)["accepted"], true);
    assert!(tried.trial.is_some() && tried.news.is_empty());
    assert!(!folder.path().join("mappings/a.toml").exists());
}

//! Each wrong configuration of `fixtures/config/invalid` with exactly the problems it must be told.
//!
//! With `UPDATE_EXPECTED=1` the expected texts are written anew, to be read before they are committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lwm2mqtt::config::{ReadError, Sources, load};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/invalid")
}

/// Loads a fixture by its bare name, so that messages do not depend on where the project lies.
fn problems_of(name: &str) -> String {
    let read_text = |path: &Path| match std::fs::read_to_string(folder().join(path)) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ReadError::NotFound),
        Err(error) => Err(ReadError::Other(error.to_string())),
    };
    let sources = Sources {
        read_text: &read_text,
        list_folder: &|_| Err(ReadError::NotFound),
        variables: BTreeMap::new(),
        host_name: "gate".to_owned(),
    };
    let loaded = load(Some(Path::new(name)), &sources);
    assert_eq!(loaded.settings, None, "{name} is taken");
    loaded.problems.iter().fold(String::new(), |mut text, problem| {
        let _ = writeln!(text, "{problem}");
        text
    })
}

#[test]
fn every_wrong_configuration_is_told_all_its_problems() {
    let mut checked = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let problems = problems_of(path.file_name().unwrap().to_str().unwrap());
        let expected = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected, &problems).unwrap();
        }
        assert_eq!(problems, std::fs::read_to_string(&expected).unwrap_or_default(), "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} fixtures were found");
}

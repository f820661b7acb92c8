//! Broken files with what is said of them: `tests/fixtures/mappings/invalid/NAME.toml` and `NAME.expected`.

use std::fmt::Write as _;

use super::*;

/// All problems of a file, one a line, as `check` prints them; failed examples too.
fn told(name: &str, text: String) -> String {
    let file = MappingFile { name: name.to_owned(), text };
    let compiled = Plan::compile(&[file], &ObjectModel::built_in(), true);
    let examples = compiled.plan.iter().flat_map(Plan::run_examples);
    let mut lines = String::new();
    for problem in compiled.problems.iter().cloned().chain(examples) {
        writeln!(lines, "{problem}").unwrap();
    }
    lines
}

#[test]
fn every_broken_file_gets_exactly_the_expected_messages() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mappings/invalid");
    let mut wrong = String::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        files += 1;
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let told = told(&name, std::fs::read_to_string(&path).unwrap());
        assert!(!told.is_empty(), "{name} has nothing wrong");
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        if told != expected {
            writeln!(wrong, "--- {name}: expected\n{expected}--- found\n{told}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(files >= 10);
}

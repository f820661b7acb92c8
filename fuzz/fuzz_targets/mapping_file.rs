//! Mapping files: no panic, and a plan exactly if no problem is an error.
#![no_main]

use lwm2mqtt::mapping::{MappingFile, Plan, Severity};
use lwm2mqtt::model::object::ObjectModel;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let file = MappingFile { name: "fuzz.toml".to_owned(), text: text.to_owned() };
    let compiled = Plan::compile(&[file], &ObjectModel::default(), false);
    let has_error = compiled.problems.iter().any(|problem| problem.severity == Severity::Error);
    assert_eq!(compiled.plan.is_none(), has_error);
    for problem in &compiled.problems {
        assert!(!problem.message.is_empty());
        assert!(problem.line.is_none_or(|line| line >= 1 && line <= text.lines().count().max(1)));
    }
});

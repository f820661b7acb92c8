use std::fmt::Write as _;

use super::*;
use crate::mapping::MAX_RULES;

fn problems(text: String) -> Vec<Problem> {
    let file = MappingFile { name: "test.toml".to_owned(), text };
    Plan::compile(&[file], &ObjectModel::default(), false).problems
}

#[test]
fn one_rule_too_many_is_refused() {
    let mut text = String::from("version = 1\n");
    for rule in 0..MAX_RULES {
        write!(text, "[[ignore]]\npath = \"/{rule}\"\n").unwrap();
    }
    assert_eq!(problems(text.clone()), []);
    text += "[[ignore]]\npath = \"/60000\"\n";
    let problems = problems(text);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("more than 5000 rules"), "{}", problems[0]);
}

#[test]
fn a_file_beyond_the_bound_is_not_even_parsed() {
    let problems = problems("#".repeat(crate::mapping::file::MAX_FILE_BYTES + 1));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].line.is_none() && problems[0].message.contains("more than 1048576"), "{}", problems[0]);
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let nested = format!("version = 1\nx = {}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(!problems(nested).is_empty());
    let nested = format!("version = 1\n[[publish]]\npayload = {}1{}", "{a=".repeat(20_000), "}".repeat(20_000));
    assert!(!problems(nested).is_empty());
}

#[test]
fn a_key_of_thousands_of_parts_is_an_error_and_no_overflow() {
    let problems = problems(format!("version = 1\na{} = 1\n", ".a".repeat(100_000)));
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].line, problems[0].message.as_str()), (Some(2), "more than 128 dots on one line"));
}

#[test]
fn no_text_and_no_value_makes_it_panic() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/examples");
    let model = ObjectModel::built_in();
    let values = [
        Value::String("{\"a\":[1e308,null]}".into()),
        Value::Integer(i64::MIN),
        Value::UnsignedInteger(u64::MAX),
        Value::Float(f64::NEG_INFINITY),
        Value::Float(1e308),
        Value::Boolean(true),
        Value::Opaque(vec![0xFF; 8]),
        Value::Time(i64::MAX),
        Value::ObjectLink(65_535, 65_535),
        Value::CoreLink("</3>".into()),
    ];
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for cut in (0..text.len()).step_by(13).filter(|cut| text.is_char_boundary(*cut)) {
            let (before, after) = text.split_at(cut);
            for broken in
                [before.to_owned(), after.to_owned(), format!("{before}\"{after}"), format!("{before}]{after}")]
            {
                let file = MappingFile { name: "broken.toml".to_owned(), text: broken };
                let Some(plan) = Plan::compile(&[file], &model, false).plan else { continue };
                let _ = plan.run_examples();
            }
        }
        let file = MappingFile { name: "whole.toml".to_owned(), text };
        let plan = Plan::compile(&[file], &model, true).plan.unwrap();
        let mut selection = Selection::default();
        selection.add(0);
        selection.add(1);
        for path in ["/3/0/7/65534", "/19/0/0", "/31024/65534/2", "/3303/0/5700", "/6/0/6", "/", "/3303", "/3303/0"] {
            for value in &values {
                let uplink = plan.uplink(&selection, &DeviceFacts::default(), &sample(path, value.clone()));
                assert!(uplink.values.iter().all(|value| !value.value.is_null()));
            }
        }
    }
}

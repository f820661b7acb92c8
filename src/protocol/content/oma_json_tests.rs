use super::super::test_types::TypeTable;
use super::super::{ContentFormat, Decoded, decode};
use super::*;
use crate::model::time::WallTime;

fn read(base: &str, root: &str, text: &str) -> Result<Decoded, ContentError> {
    let received = WallTime::from_secs(1_700_000_000);
    let context = DecodeContext { base: base.parse().unwrap(), root, types: &TypeTable::core(), received };
    decode(ContentFormat::OLD_JSON, text.as_bytes(), &context)
}

#[test]
fn names_are_joined_in_every_way_of_the_field() {
    for (base, root, text, path, quirks) in [
        ("/3/0", "", r#"{"bn":"/3/0/","e":[{"n":"9","v":1}]}"#, "/3/0/9", vec![]),
        ("/3/0", "", r#"{"e":[{"v":1,"n":"9"}],"bn":"3/0/"}"#, "/3/0/9", vec![]),
        ("/3/0", "", r#"{"bn":"/3/0","e":[{"n":"9","v":1}]}"#, "/3/0/9", vec!["json_no_slash"]),
        ("/3/0", "", r#"{"bn":"/3/0","e":[{"n":"/9","v":1}]}"#, "/3/0/9", vec![]),
        ("/3/0/9", "", r#"{"bn":"/3/0/9","e":[{"v":1}]}"#, "/3/0/9", vec![]),
        ("/3/0/9", "", r#"{"e":[{"v":1}]}"#, "/3/0/9", vec![]),
        ("/3/0", "", r#"{"e":[{"n":"/3/0/9","v":1}]}"#, "/3/0/9", vec![]),
        ("/3/0", "/lwm2m", r#"{"bn":"/lwm2m/3/0/","e":[{"n":"9","v":1}]}"#, "/3/0/9", vec![]),
    ] {
        let decoded = read(base, root, text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let paths: Vec<String> = decoded.samples.iter().map(|sample| sample.path.to_string()).collect();
        assert_eq!((paths, decoded.quirks), (vec![path.to_owned()], quirks), "{text}");
    }
}

#[test]
fn values_come_by_their_types() {
    let decoded =
        read("/", "", r#"{"bn":"/","e":[{"n":"5/0/0","sv":"AQI="},{"n":"1/0/6","v":1},{"n":"9/0/1","ov":"3:0"}]}"#)
            .unwrap();
    let values: Vec<Value> = decoded.samples.into_iter().map(|sample| sample.value).collect();
    assert_eq!(values, [Value::Opaque(vec![1, 2]), Value::Boolean(true), Value::ObjectLink(3, 0)]);
    assert_eq!(decoded.quirks, ["number_for_boolean"]);
}

#[test]
fn times_are_relative_below_the_bound_of_senml() {
    let decoded =
        read("/3/0", "", r#"{"bt":-5,"e":[{"n":"9","v":1},{"n":"9","v":2,"t":-0.5},{"n":"9","v":3,"t":1600000005}]}"#)
            .unwrap();
    let times: Vec<Option<i64>> = decoded.samples.iter().map(|sample| sample.ts.map(WallTime::millis)).collect();
    assert_eq!(times, [Some(1_699_999_995_000), Some(1_699_999_994_500), Some(1_600_000_000_000)]);
}

#[test]
fn documents_that_break_the_rules_are_refused() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"bn":"/3/0/"}"#,
        r#"{"e":null}"#,
        r#"{"e":[1]}"#,
        r#"{"e":[{"n":"9"}]}"#,
        r#"{"e":[{"n":"9","v":null}]}"#,
        r#"{"e":[{"n":"9","v":"1"}]}"#,
        r#"{"e":[{"n":9,"v":1}]}"#,
        r#"{"e":[{"n":"9","n":"9","v":1}]}"#,
        r#"{"e":[{"n":"9","v":1}],"e":[]}"#,
        r#"{"bn":"/3/0/","bn":"/3/0/","e":[]}"#,
        r#"{"bn":1,"e":[]}"#,
        r#"{"bt":"now","e":[]}"#,
        r#"{"e":[{"n":"9","v":1}]} x"#,
        r#"{"e":[{"n":"9","v":1},{"n":"9","v":2}]}"#,
        r#"{"bn":"/4/0/","e":[{"n":"9","v":1}]}"#,
        r#"{"e":[{"n":"x","v":1}]}"#,
        r#"{"e":[{"n":"13","ov":"3"}]}"#,
    ] {
        assert!(read("/3/0", "", text).is_err(), "{text}");
    }
    let long = format!(r#"{{"bn":"{}","e":[{{"n":"/3/0/9","v":1}}]}}"#, "/".repeat(MAX_NAME_BYTES));
    assert!(read("/3/0", "", &long).is_err());
}

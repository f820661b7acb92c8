use super::super::test_types::TypeTable;
use super::super::{ContentFormat, Decoded, decode, encode};
use super::*;
use crate::model::object::NoTypes;
use crate::model::time::WallTime;

fn context<'c>(base: &str, root: &'c str) -> DecodeContext<'c> {
    let received = WallTime::from_millis(1_700_000_000_500);
    DecodeContext { base: base.parse().unwrap(), root, types: &NoTypes, received }
}

fn read(text: &str) -> Result<Decoded, ContentError> {
    decode(ContentFormat::SENML_JSON, text.as_bytes(), &context("/", ""))
}

fn paths(decoded: &Decoded) -> Vec<String> {
    decoded.samples.iter().map(|sample| sample.path.to_string()).collect()
}

#[test]
fn rfc8428_4_5_3_relative_times_count_from_reception() {
    let decoded = read(
        r#"[{"bn":"/3303/0/","n":"5700","v":1,"t":-10},{"n":"5700","v":2,"t":-0.25},{"n":"5700","v":3},
            {"n":"5700","v":4,"bt":1699877805.766},{"n":"5700","v":5,"t":0.101}]"#,
    )
    .unwrap();
    let times: Vec<Option<i64>> = decoded.samples.iter().map(|sample| sample.ts.map(WallTime::millis)).collect();
    let received = 1_700_000_000_500;
    assert_eq!(
        times,
        [Some(received - 10_000), Some(received - 250), None, Some(1_699_877_805_766), Some(1_699_877_805_867)]
    );
    assert_eq!(decoded.quirks, Vec::<&str>::new());
}

#[test]
fn as_many_samples_come_out_as_records_go_in() {
    let records: Vec<String> =
        (0..500).map(|number| format!(r#"{{"n":"/3303/0/5700","v":{number},"t":{}}}"#, number - 500)).collect();
    let decoded = read(&format!("[{}]", records.join(","))).unwrap();
    let values: Vec<Value> = decoded.samples.into_iter().map(|sample| sample.value).collect();
    assert_eq!(values, (0..500).map(Value::Integer).collect::<Vec<_>>());
}

#[test]
fn repeated_records_are_kept_and_named() {
    let decoded = read(r#"[{"n":"/3303/0/5700","v":1},{"n":"/3303/0/5700","v":2}]"#).unwrap();
    assert_eq!(decoded.samples.len(), 2);
    assert_eq!(decoded.quirks, ["senml_repeated"]);
}

#[test]
fn the_alternate_root_is_stripped_from_names() {
    for root in ["/lwm2m", "lwm2m", "/lwm2m/"] {
        let named = br#"[{"bn":"/lwm2m/3/0/","n":"9","v":1}]"#;
        let decoded = decode(ContentFormat::SENML_JSON, named, &context("/3/0", root)).unwrap();
        assert_eq!((paths(&decoded), decoded.quirks), (vec!["/3/0/9".to_owned()], vec![]));
        let bare = decode(ContentFormat::SENML_JSON, br#"[{"n":"/3/0/9","v":1}]"#, &context("/", root)).unwrap();
        assert_eq!((paths(&bare), bare.quirks), (vec!["/3/0/9".to_owned()], vec!["senml_no_root"]));
        let similar = br#"[{"n":"/lwm2m2/3/0/9","v":1}]"#;
        assert!(decode(ContentFormat::SENML_JSON, similar, &context("/", root)).is_err());
    }
    assert_eq!(decode_paths(Wire::SenmlJson, br#"[{"n":"/lwm2m"}]"#, "/lwm2m"), Ok(vec![Path::ROOT]));
}

#[test]
fn base_records_before_others_carry_no_sample() {
    let decoded = read(r#"[{"bn":"/3/0/","bt":1700000000},{"n":"9","v":1},{"n":"10","v":2}]"#).unwrap();
    assert_eq!(
        (paths(&decoded), decoded.quirks),
        (vec!["/3/0/9".to_owned(), "/3/0/10".to_owned()], vec!["senml_base_only"])
    );
    assert!(read(r#"[{"bn":"/3/0/9"}]"#).is_err());
    assert!(read(r#"[{"n":"/3/0/9","v":1},{"bn":"/3/0/"}]"#).is_err());
}

#[test]
fn base_values_are_added_and_stay_exact() {
    let decoded = read(
        r#"[{"bn":"/9/0/","n":"1","bv":9007199254740993,"v":1},{"n":"2","vs":"x"},{"n":"3","bv":0.5,"v":1},
            {"n":"4","bv":1,"v":18446744073709551614}]"#,
    )
    .unwrap();
    let values: Vec<Value> = decoded.samples.into_iter().map(|sample| sample.value).collect();
    let expected = [
        Value::Integer(9_007_199_254_740_994),
        Value::String("x".to_owned()),
        Value::Float(1.5),
        Value::UnsignedInteger(u64::MAX),
    ];
    assert_eq!(values, expected);
}

#[test]
fn packs_that_break_the_rules_are_refused() {
    for text in [
        "",
        r"[1]",
        r"[{}]",
        r"[[]]",
        r#"[{"n":"/3/0/9","v":1}] x"#,
        r#"[{"n":"/3/0/9"}]"#,
        r#"[{"n":"/3/0/9","s":1}]"#,
        r#"[{"n":"/3/0/9","v":"1"}]"#,
        r#"[{"n":"/3/0/9","v":true}]"#,
        r#"[{"n":"/3/0/9","v":[1]}]"#,
        r#"[{"n":"/3/0/9","vb":1}]"#,
        r#"[{"n":"/3/0/9","vs":1}]"#,
        r#"[{"n":"/3/0/9","vs":null}]"#,
        r#"[{"n":"/3/0/9","n":"/3/0/9","v":1}]"#,
        r#"[{"n":"/3/0/9","v":1,"v":1}]"#,
        r#"[{"n":"/3/0/9","v":1,"t":"now"}]"#,
        r#"[{"n":"/3/0/9","v":1,"t":1e300}]"#,
        r#"[{"n":"/3/0/9","v":1e999}]"#,
        r#"[{"bver":11,"n":"/3/0/9","v":1}]"#,
        r#"[{"bver":0,"n":"/3/0/9","v":1}]"#,
        r#"[{"bver":"10","n":"/3/0/9","v":1}]"#,
        r#"[{"n":"/3/0/9/","v":1}]"#,
        r#"[{"n":"/3/00/9","v":1}]"#,
        r#"[{"n":"/3/0/65535","v":1}]"#,
        r#"[{"n":"/dev/3/0/9","v":1}]"#,
        r#"[{"n":"urn:dev:1","v":1}]"#,
        r#"[{"n":"/3/0","v":1}]"#,
    ] {
        assert!(read(text).is_err(), "{text}");
    }
    let long = format!(r#"[{{"bn":"/{}","n":"/3/0/9","v":1}}]"#, "x".repeat(MAX_NAME_BYTES));
    assert!(read(&long).is_err());
    let outside = decode(ContentFormat::SENML_JSON, br#"[{"n":"/3/0/9","v":1}]"#, &context("/3/1", ""));
    assert!(matches!(outside, Err(ContentError::Unfitting(_))));
    assert!(decode(ContentFormat::SENML_JSON, b"[{\"n\":\"/3/0/9\",\"vs\":\"\xff\"}]", &context("/", "")).is_err());
}

#[test]
fn nested_unknown_fields_are_skipped_without_a_deep_stack() {
    let decoded = read(r#"[{"x":[[{"y":[1]}]],"n":"/3/0/9","v":1}]"#).unwrap();
    assert_eq!(paths(&decoded), ["/3/0/9"]);
    assert!(read(&format!(r#"[{{"x":{}"#, "[".repeat(100_000))).is_err());
}

#[test]
fn cbor_dates_fractions_and_text_labels_are_read() {
    let read = |payload: &[u8], types| {
        decode(ContentFormat::SENML_CBOR, payload, &DecodeContext { types, ..context("/", "") })
    };
    let core = TypeTable::core();
    // [{0: "/3/0/13", 3: 0("2013-03-21T20:04:00Z")}]
    let date = [b"\x81\xa2\x00\x67/3/0/13\x03\xc0\x74".as_slice(), b"2013-03-21T20:04:00Z"].concat();
    assert_eq!(read(&date, &core).unwrap().samples[0].value, Value::Time(1_363_896_240));
    // [{0: "/9/0/1", 2: 4([-2, 27315])}]
    let fraction = b"\x81\xa2\x00\x66/9/0/1\x02\xc4\x82\x21\x19\x6a\xb3";
    assert_eq!(read(fraction, &NoTypes).unwrap().samples[0].value, Value::Float(273.15));
    // [{"n": "/9/0/1", "v": 5}]
    let spelled = read(b"\x81\xa2\x61n\x66/9/0/1\x61v\x05", &NoTypes).unwrap();
    assert_eq!((spelled.samples[0].value.clone(), spelled.quirks), (Value::Integer(5), vec!["senml_text_label"]));
    // [{0: "/9/0/1", 2: "5"}], [{0: "/9/0/1", 2: [5]}], [{h'00': 1}]
    for payload in
        [&b"\x81\xa2\x00\x66/9/0/1\x02\x615"[..], b"\x81\xa2\x00\x66/9/0/1\x02\x81\x05", b"\x81\xa1\x41\x00\x01"]
    {
        assert!(read(payload, &NoTypes).is_err());
    }
}

#[test]
fn packs_are_written_with_base_name_and_short_names() {
    let write = |base: &str, values: &[(&str, Value)]| {
        let values: Vec<(Path, Value)> =
            values.iter().map(|(path, value)| (path.parse().unwrap(), value.clone())).collect();
        let payload = encode(ContentFormat::SENML_JSON, base.parse().unwrap(), &values, &NoTypes).unwrap();
        String::from_utf8(payload).unwrap()
    };
    let battery = ("/3/0/9", Value::Integer(95));
    assert_eq!(write("/3/0/9", std::slice::from_ref(&battery)), r#"[{"bn":"/3/0/","n":"9","v":95}]"#);
    assert_eq!(
        write("/3/0", &[battery.clone(), ("/3/0/6/1", Value::Integer(5))]),
        r#"[{"bn":"/3/0/","n":"9","v":95},{"n":"6/1","v":5}]"#
    );
    assert_eq!(
        write("/", &[battery, ("/3303/0/5700", Value::Float(20.0))]),
        r#"[{"n":"/3/0/9","v":95},{"n":"/3303/0/5700","v":20.0}]"#
    );
}

#[test]
fn null_deletes_in_changes_and_is_refused_in_samples() {
    let payload = br#"[{"bn":"/16/0/0/","n":"1","v":300},{"n":"2","v":null}]"#;
    let changes = decode_changes(Wire::SenmlJson, payload, &context("/", ""), &mut Quirks::default()).unwrap();
    let instance = |id| Path::resource_instance(16, 0, 0, id);
    assert_eq!(changes, [(instance(1), Some(Value::Integer(300))), (instance(2), None)]);
    assert!(decode(ContentFormat::SENML_JSON, payload, &context("/", "")).is_err());
}

//! `decode` in all formats.

use super::*;

/// What `decode` prints, which must be JSON on standard output only.
#[track_caller]
fn decoded(line: &[&str]) -> Json {
    let ran = run_line(&["decode"].iter().chain(line).copied().collect::<Vec<_>>());
    assert_eq!((ran.ending, ran.err.as_str()), (Ending::Fine, ""));
    serde_json::from_str(&ran.out).unwrap()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    data_encoding::HEXLOWER.encode(bytes.as_ref())
}

#[test]
fn decode_reads_every_format() {
    let single = json!({ "values": { "/3303/0/5700": 21.5 } });
    assert_eq!(decoded(&["--format", "text", "--path", "/3303/0/5700", &hex("21.5")]), single);
    assert_eq!(decoded(&["--format", "0", "--path", "/temperature/0/sensor_value", &hex("21.5")]), single);
    assert_eq!(decoded(&["--format", "cbor", "--path", "/3303/0/5700", "f9 4d60"]), single);
    assert_eq!(decoded(&["--format", "tlv", "--path", "/3303/0", "e4 16 44 41 ac 00 00"]), single);
    assert_eq!(decoded(&["--format", "senml-json", &hex(r#"[{"bn":"/3303/0/","n":"5700","v":21.5}]"#)]), single);
    assert_eq!(decoded(&["--format", "senml-cbor", "81 a2 00 6c 2f333330332f302f35373030 02 f9 4d60"]), single);
    assert_eq!(decoded(&["--format", "json", "--path", "/3303/0", &hex(r#"{"e":[{"n":"5700","v":21.5}]}"#)]), single);
    assert_eq!(decoded(&["--format", "lwm2m-cbor", "a1 83 19 0ce7 00 19 1644 f9 4d60"]), single);
    let opaque = decoded(&["--format", "opaque", "--path", "/19/0/0/0", "00 ff"]);
    assert_eq!(opaque, json!({ "values": { "/19/0/0/0": "AP8=" } }));
    let links = decoded(&["--format", "link", &hex("</3303/0>;ver=1.1;empty,</3>")]);
    assert_eq!(
        links,
        json!({ "links": [
            { "target": "/3303/0",
              "parameters": [{ "name": "ver", "value": "1.1" }, { "name": "empty", "value": null }] },
            { "target": "/3", "parameters": [] },
        ] })
    );
}

#[test]
fn decode_tells_records_deletions_and_bare_paths_apart() {
    let times = r#"[{"bn":"/3303/0/5700","bt":1700000000,"v":1},{"t":10,"v":2}]"#;
    let records = json!({ "records": [
        { "path": "/3303/0/5700", "value": 1.0, "ts": 1_700_000_000_000_u64 },
        { "path": "/3303/0/5700", "value": 2.0, "ts": 1_700_000_010_000_u64 },
    ] });
    assert_eq!(decoded(&["--format", "senml-json", &hex(times)]), records);
    let deletion = r#"[{"n":"/3/0/7/1","v":null},{"n":"/3/0/7/0","v":3600}]"#;
    let values = json!({ "values": { "/3/0/7/0": 3600, "/3/0/7/1": null } });
    assert_eq!(decoded(&["--format", "senml-json", &hex(deletion)]), values);
    let paths = r#"[{"n":"/3303/0/5700"},{"n":"/3/0"}]"#;
    assert_eq!(decoded(&["--format", "320", &hex(paths)]), json!({ "paths": ["/3303/0/5700", "/3/0"] }));
}

#[test]
fn decode_uses_the_object_definitions_of_the_models_folder() {
    let files = [("models/own.xml", OWN_OBJECT)];
    let line = ["decode", "--format", "tlv", "--path", "/own/0", "e4 00 01 41 ac 00 00"];
    let ran = run_among(&files, &line);
    let json: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json, json!({ "values": { "/32770/0/1": 21.5 } }));
    let ran = run_among(&[("config.toml", "x = 1"), files[0]], &line);
    assert_eq!(ran.ending, Ending::Wrong, "own is not known then");
    assert!(ran.err.starts_with("note: config.toml is wrong"), "{}", ran.err);
}

#[test]
fn decode_asks_for_the_path_that_a_format_does_not_carry() {
    for format in ["text", "opaque", "cbor", "tlv"] {
        let ran = run_line(&["decode", "--format", format, "00"]);
        assert_eq!((ran.ending, ran.out.as_str()), (Ending::Wrong, ""), "{format}");
        assert!(ran.err.starts_with("error: --path: "), "{}", ran.err);
    }
}

#[test]
fn decode_of_malformed_bytes_prints_nothing_and_ends_with_1() {
    for (format, bytes) in [
        ("tlv", "c8"),
        ("senml-json", "5b"),
        ("senml-cbor", "81"),
        ("json", "7b"),
        ("lwm2m-cbor", "a1"),
        ("cbor", "f9"),
        ("link", "3c"),
        ("65000", "00"),
    ] {
        let ran = run_line(&["decode", "--format", format, "--path", "/3303/0/5700", bytes]);
        assert_eq!((ran.ending, ran.out.as_str()), (Ending::Failed, ""), "{format}");
        assert!(ran.err.starts_with("error: "), "{format}: {}", ran.err);
    }
}

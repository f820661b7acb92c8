//! `check`, `explain` and `schema mapping` among mapping files.

use super::*;

const WEATHER: &str = r#"version = 1
[[telemetry]]
path = "/temperature/*/sensor_value"
key = "outside_{instance}"
unit = "Cel"
[[telemetry]]
path = "/3304/0/5700"
key = "humidity"
sinks = ["cloud"]
[[telemetry]]
path = "/19/0/0"
key = "frame"
decode = "json"
[[ignore]]
path = "/3315"
"#;

#[test]
fn check_runs_the_examples_of_the_mappings() {
    let fine = format!(
        "{WEATHER}[[example]]\nendpoint = \"w\"\nreport = {{ path = \"/3303/0/5700\", value = 2, ts = 3 }}\n\
         expect = {{ telemetry = {{ outside_0 = 2 }}, messages = [{{ topic = \"lwm2m/w/telemetry\", payload = \
         {{ ts = 3, values = {{ outside_0 = 2 }} }} }}] }}\n"
    );
    let cloud = "[sink.cloud]\nurl = \"mqtt://cloud\"\n";
    let ran = run_among(&[("/x/c.toml", cloud), ("/x/mappings/a.toml", &fine)], &["check", "--config", "/x/c.toml"]);
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Fine, "/x/c.toml and 1 mapping file: fine\n"));
    let broken = fine.replace("outside_0 = 2 }", "outside_0 = 4 }");
    let ran = run_among(&[("/x/c.toml", ""), ("/x/mappings/a.toml", &broken)], &["check", "--config", "/x/c.toml"]);
    assert_eq!(ran.ending, Ending::Wrong);
    for part in [
        "/x/mappings/a.toml:6: warning: no sink is called 'cloud'",
        "/x/mappings/a.toml:16: error: example: expected telemetry {\"outside_0\":4}, found {\"outside_0\":2.0}",
        "/x/mappings/a.toml:16: error: example: expected {\"ts\":3,\"values\":{\"outside_0\":4}} on lwm2m/w/telemetry",
    ] {
        assert!(ran.out.contains(part), "{part} is not in\n{}", ran.out);
    }
    assert!(ran.out.ends_with("1 mapping file: 2 errors\n"), "{}", ran.out);
}

#[test]
fn check_reads_the_object_definitions_of_the_models_folder() {
    let mapping = "version = 1\n[[telemetry]]\npath = \"/own/*/sound_level\"\nkey = \"level\"\n";
    let files = [("/x/c.toml", ""), ("/x/mappings/a.toml", mapping), ("/x/models/own.xml", OWN_OBJECT)];
    let ran = run_among(&files, &["check", "--config", "/x/c.toml"]);
    assert_eq!(ran.ending, Ending::Fine, "{}", ran.out);
    let ran = run_among(&files[..2], &["check", "--config", "/x/c.toml"]);
    assert!(ran.out.contains("/x/mappings/a.toml:3: error: "), "{}", ran.out);
    let files = [("/x/c.toml", ""), ("/x/models/own.xml", "<LWM2M>\n</Object>")];
    let ran = run_among(&files, &["check", "--config", "/x/c.toml"]);
    assert_eq!(ran.ending, Ending::Wrong);
    assert!(ran.out.contains("/x/models/own.xml:2: error: no well-formed XML"), "{}", ran.out);
}

/// Explains among the weather mapping.
fn explain(more: &[&str]) -> Ran {
    let line: Vec<&str> = ["explain", "--config", "/x/c.toml"].iter().chain(more).copied().collect();
    run_among(&[("/x/c.toml", ""), ("/x/mappings/a.toml", WEATHER)], &line)
}

#[test]
fn explain_tells_people_the_rule_the_key_and_the_messages() {
    let ran = explain(&["--path", "/temperature/0/sensor_value", "--endpoint", "w/1", "--value", "21.5"]);
    assert_eq!((ran.ending, ran.err.as_str()), (Ending::Fine, ""));
    for part in [
        "/3303/0/5700 of w/1: 21.5\n",
        "\nDecided by\n  /x/mappings/a.toml:2: [[telemetry]] /3303/*/5700 takes it: outside_0 = 21.5\n",
        "[[telemetry]] /3303/*/5700 comes after the rule that won\n",
        "\nKeys\n  telemetry outside_0 = 21.5 Cel\n",
        "\nMessages to 'local'\n  lwm2m/w%2F1/telemetry {\"ts\":",
        "lwm2m/w%2F1/values {\"ts\":",
    ] {
        assert!(ran.out.contains(part), "{part} is not in\n{}", ran.out);
    }
    assert!(ran.out.ends_with(" (retained)\n"), "{}", ran.out);
}

#[test]
fn explain_tells_why_nothing_leaves() {
    for (line, reason) in [
        (&["--path", "/3315/0/5700"][..], "an [[ignore]] rule takes it"),
        (&["--path", "/32769/0/1"], "no rule takes it"),
        (&["--path", "/19/0/0"], "cannot use the assumed value; give one with --value"),
        (&["--path", "/19/0/0", "--value", "AA=="], "the rules that fit cannot use the value"),
        (&["--path", "/3304/0/5700"], "the rule asks for sinks that are not configured"),
    ] {
        let ran = explain(line);
        assert_eq!(ran.ending, Ending::Fine, "{}", ran.err);
        let (_, told) = ran.out.split_once("\nNo message leaves\n").unwrap_or_else(|| panic!("{}", ran.out));
        assert!(told.contains(reason), "{line:?}: {}", ran.out);
    }
}

#[test]
fn explain_tells_programs_the_same_as_json() {
    let ran = explain(&["--path", "/3303/0/5700", "--endpoint", "w", "--value", "21.5", "--json"]);
    let json: Json = serde_json::from_str(&ran.out).unwrap();
    let taken = &json["rules"].as_array().unwrap()[0];
    assert_eq!((taken["file"].as_str(), taken["line"].as_u64()), (Some("/x/mappings/a.toml"), Some(2)));
    assert_eq!((taken["verdict"].as_str(), json.get("reason")), (Some("takes"), None));
    let first = &json["messages"]["local"][0];
    assert_eq!(first["topic"], "lwm2m/w/telemetry");
    assert_eq!(first["payload"]["values"], json!({ "outside_0": 21.5 }));
    assert!(json["messages"]["local"][1]["retain"].as_bool().unwrap());
}

#[test]
fn explain_tries_another_mapping_file() {
    let files = [
        ("/x/c.toml", ""),
        ("/x/mappings/a.toml", WEATHER),
        ("/new.toml", "version = 1\n[[telemetry]]\npath = \"/3303/0/5700\"\nkey = \"new\"\n"),
        ("/broken.toml", "version = 1\n[[telemetry]]\nkey = \"new\"\n"),
    ];
    let run = |mapping: &str| {
        run_among(&files, &["explain", "--config", "/x/c.toml", "--path", "/3303/0/5700", "--mapping", mapping])
    };
    let ran = run("/new.toml");
    assert!(ran.out.contains("/new.toml:2: [[telemetry]] /3303/0/5700 takes it: new\n"), "{}", ran.out);
    let ran = run("/broken.toml");
    assert_eq!(ran.ending, Ending::Wrong);
    assert!(ran.err.contains("/broken.toml:2: error: "), "{}", ran.err);
    let ran = run("/nowhere.toml");
    assert_eq!((ran.ending, ran.err.as_str()), (Ending::Wrong, "/nowhere.toml: error: there is no such file\n"));
}

#[test]
fn schema_mapping_prints_json_schema() {
    let ran = run_line(&["schema", "mapping"]);
    let schema: Json = serde_json::from_str(&ran.out).unwrap();
    assert!(schema["properties"]["telemetry"].is_object(), "{}", ran.out);
    assert_eq!(ran.ending, Ending::Fine);
}

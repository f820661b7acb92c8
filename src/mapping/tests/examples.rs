use serde_json::json;

use super::*;

fn failures(text: &str) -> Vec<String> {
    plan_with_problems(text, true).0.run_examples().iter().map(ToString::to_string).collect()
}

const RULES: &str = r#"
[match]
endpoint = "weather-*"
manufacturer = "ACME*"
objects = [3304]
[[telemetry]]
path = "/3303/*/5700"
key = "t_{instance}"
round = 2
[[ignore]]
path = "/3305"
"#;

#[test]
fn promises_that_hold_pass() {
    let text = format!(
        r#"{RULES}
        [[example]]
        endpoint = "weather-1"
        report = {{ path = "/temperature/0/sensor_value", value = 21.456, ts = 1700000000000 }}
        expect = {{ telemetry = {{ t_0 = 21.46 }} }}
        [[example]]
        endpoint = "weather-1"
        report = [{{ path = "/3303/0/5700", value = 21 }}, {{ path = "/3303/1/5700", value = 22 }}]
        expect = {{ telemetry = {{ t_0 = 21, t_1 = 22.0 }}, attributes = {{}} }}
        [[example]]
        endpoint = "weather-1"
        report = {{ path = "/3305/0/5800", value = 1 }}
        expect = {{}}
        [[example]]
        report = {{ path = "/3/0/7", value = {{ "0" = 3600, "1" = 3700 }} }}
        expect = {{ telemetry = {{ power_source_voltage_0 = 3.6, power_source_voltage_1 = 3.7 }} }}
        [[example]]
        report = {{ path = "/31024/0/1", value = "AP8=", type = "opaque" }}
        expect = {{ telemetry = {{}} }}
        "#
    );
    assert_eq!(failures(&text), [""; 0]);
}

#[test]
fn promises_that_do_not_hold_are_problems_with_their_line() {
    let text = format!(
        "{RULES}\n[[example]]\nendpoint = \"weather-1\"\nreport = {{ path = \"/3303/0/5700\", value = 1 }}\nexpect = {{}}\n\
         [[example]]\nendpoint = \"meter-1\"\nreport = {{ path = \"/3303/0/5700\", value = 1 }}\nexpect = {{}}\n"
    );
    assert_eq!(
        failures(&text),
        [
            "test.toml:14: error: example: expected telemetry {}, found {\"t_0\":1.0} \
             (`lwm2mqtt explain` tells which rule took it)",
            "test.toml:18: error: example: its device does not fit [match] of the file: \
             endpoint is \"meter-1\", not \"weather-*\" (change the example or [match])",
        ]
    );
}

#[test]
fn messages_are_left_to_the_layers_that_know_layouts() {
    let text = format!(
        r#"{RULES}
        [[example]]
        endpoint = "weather-1"
        report = {{ path = "/3303/0/5700", value = 21.456 }}
        expect = {{ messages = [{{ topic = "lwm2m/weather-1/telemetry", payload = {{ x = 1 }} }}] }}
        "#
    );
    let plan = plan(&text);
    assert_eq!(plan.run_examples(), []);
    let examples = plan.example_messages();
    assert_eq!((examples.len(), examples[0].line, examples[0].samples.len()), (1, 14, 1));
    assert_eq!(examples[0].messages[0].topic, "lwm2m/weather-1/telemetry");
    assert_eq!(examples[0].messages[0].payload, Some(json!({"x": 1})));
    let uplink = plan.uplink(&examples[0].selection, &examples[0].facts, &examples[0].samples[0]);
    assert_eq!(uplink.values[0].key, "t_0");
}

#[test]
fn the_files_of_the_repository_have_no_problems_and_keep_their_promises() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/examples");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("[[example]]"), "{path:?} has no example");
        let file = MappingFile { name: path.display().to_string(), text };
        let compiled = Plan::compile(&[file], &ObjectModel::built_in(), true);
        assert_eq!(compiled.problems, [], "{path:?}");
        assert_eq!(compiled.plan.unwrap().run_examples(), [], "{path:?}");
        files += 1;
    }
    assert!(files >= 5);
}

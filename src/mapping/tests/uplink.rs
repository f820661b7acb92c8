use serde_json::json;

use super::*;
use crate::mapping::{KeyKind, ReportPolicy};
use crate::model::time::WallTime;

#[test]
fn the_first_rule_that_fits_wins_for_each_kind() {
    let bench = Bench::new(
        plan(
            r#"
            [[telemetry]]
            path = "/3303/0/5700"
            key = "first"
            [[attribute]]
            path = "/3303/*/5700"
            key = "property_{instance}"
            [[telemetry]]
            path = "/3303/*/5700"
            key = "second_{instance}"
            "#,
        ),
        device(&[(3303, &[0, 1])]),
    );
    assert_eq!(bench.keys("/3303/0/5700", Value::Float(1.5)), ["first=1.5", "property_0=1.5"]);
    assert_eq!(bench.keys("/3303/1/5700", Value::Float(1.5)), ["property_1=1.5", "second_1=1.5"]);
    let uplink = bench.uplink("/3303/0/5701", Value::Float(1.5));
    assert_eq!(uplink, crate::mapping::Uplink::default());
}

#[test]
fn also_goes_on_and_ignore_ends_both_searches() {
    let bench = Bench::new(
        plan(
            r#"
            [[telemetry]]
            path = "/3303/0/5700"
            key = "a"
            also = true
            [[telemetry]]
            path = "/3303/0/5700"
            key = "b"
            [[ignore]]
            path = "/3303"
            [[attribute]]
            path = "/3303/0/5700"
            key = "c"
            "#,
        ),
        device(&[(3303, &[0])]),
    );
    let uplink = bench.uplink("/3303/0/5700", Value::Integer(1));
    assert_eq!(uplink.values.iter().map(|value| value.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(!uplink.ignored);
    assert!(bench.uplink("/3303/0/5601", Value::Integer(1)).ignored);
}

#[test]
fn names_in_paths_mean_the_registry() {
    let bench = Bench::new(
        plan("[[telemetry]]\npath = \"/temperature/*/sensor_value\"\nkey = \"t_{instance}\""),
        device(&[(3303, &[0])]),
    );
    assert_eq!(bench.keys("/3303/0/5700", Value::Float(2.5)), ["t_0=2.5"]);
}

#[test]
fn a_value_carries_everything_its_rule_says() {
    let bench = Bench::new(
        plan(
            r#"
            [[telemetry]]
            path = "/3303/*/5700"
            key = "{device}_{instance}"
            scale = 2
            round = 1
            unit = "Cel"
            report = { on_change_or_every = "60s" }
            sinks = ["cloud"]
            "#,
        ),
        device(&[]),
    );
    let ts = Some(WallTime::from_millis(1_700_000_000_000));
    let sample = Sample { path: "/3303/4/5700".parse().unwrap(), value: Value::Float(10.52), ts };
    let uplink = bench.plan.uplink(&bench.selection, &bench.facts, &sample);
    let [value] = uplink.values.as_slice() else { panic!("{uplink:?}") };
    assert_eq!((value.kind, value.key.as_str(), &value.value), (KeyKind::Telemetry, "roof_4", &json!(21.0)));
    assert_eq!((value.ts, value.path, value.unit.as_deref()), (ts, sample.path, Some("Cel")));
    assert_eq!(value.report, ReportPolicy::OnChangeOrEvery(std::time::Duration::from_secs(60)));
    assert_eq!(value.sinks.as_deref(), Some(&["cloud".to_owned()][..]));
}

#[test]
fn instances_of_a_resource_get_keys_of_their_own() {
    let bench = Bench::new(
        plan(
            r#"
            [[telemetry]]
            path = "/3/0/7"
            key = "voltage"
            [[telemetry]]
            path = "/3/0/8/*"
            key = "current_{resource_instance}"
            [[telemetry]]
            path = "/3/0/6/1"
            key = "source"
            "#,
        ),
        device(&[(3, &[0])]),
    );
    assert_eq!(bench.keys("/3/0/7/2", Value::Integer(5)), ["voltage_2=5"]);
    assert_eq!(bench.keys("/3/0/7", Value::Integer(5)), ["voltage=5"]);
    assert_eq!(bench.keys("/3/0/8/2", Value::Integer(5)), ["current_2=5"]);
    assert_eq!(bench.keys("/3/0/6/1", Value::Integer(5)), ["source=5"]);
    assert!(bench.keys("/3/0/6/0", Value::Integer(5)).is_empty());
}

#[test]
fn one_payload_gives_several_keys() {
    let bench = Bench::new(
        plan(
            r#"
            [[telemetry]]
            path = "/19/0/0"
            decode = "struct:<hB"
            extract = { temperature = "/0", humidity = "/1", missing = "/7" }
            scale = 0.1
            round = 1
            "#,
        ),
        device(&[]),
    );
    assert_eq!(bench.keys("/19/0/0", Value::Opaque(vec![0xD7, 0, 55])), ["temperature=21.5", "humidity=5.5"]);
    let uplink = bench.uplink("/19/0/0", Value::Opaque(vec![1]));
    assert!(uplink.values.is_empty());
    assert_eq!(
        uplink.failures,
        ["test.toml:3: [[telemetry]] /19/0/0: the payload has 1 bytes, the struct format needs 3"]
    );
}

#[test]
fn numbers_that_are_not_finite_are_failures_and_opaque_is_base64() {
    let bench = Bench::new(plan("[[telemetry]]\npath = \"/1000/0/1\"\nkey = \"v\""), device(&[]));
    let uplink = bench.uplink("/1000/0/1", Value::Float(f64::NAN));
    assert!(uplink.values.is_empty() && uplink.failures[0].contains("not finite"));
    assert_eq!(bench.keys("/1000/0/1", Value::Opaque(vec![0, 255])), ["v=\"AP8=\""]);
    assert_eq!(bench.keys("/1000/0/1", Value::Time(1_700_000_000)), ["v=1700000000"]);
}

#[test]
fn a_file_is_for_the_devices_that_it_names() {
    let text = r#"
        [match]
        endpoint = "weather-*"
        objects = [3303]
        tags = ["site-a"]
        manufacturer = "ACME*"
        lwm2m_version = "1.*"
        [[telemetry]]
        path = "/3303/*/5700"
        key = "t_{instance}"
    "#;
    let plan = plan(text);
    let mut facts = device(&[(3303, &[0])]);
    let fits = |facts: &DeviceFacts| {
        let uplink = plan.uplink(&plan.select(facts), facts, &sample("/3303/0/5700", Value::Integer(1)));
        !uplink.values.is_empty()
    };
    facts.tags = vec!["site-a".to_owned()];
    assert!(!fits(&facts), "the manufacturer is not known yet");
    facts.manufacturer = Some("ACME Ltd".to_owned());
    assert!(fits(&facts));
    for change in [
        |facts: &mut DeviceFacts| facts.endpoint = "meter-1".to_owned(),
        |facts: &mut DeviceFacts| facts.tags.clear(),
        |facts: &mut DeviceFacts| facts.manufacturer = Some("Other".to_owned()),
        |facts: &mut DeviceFacts| facts.lwm2m_version = None,
        |facts: &mut DeviceFacts| facts.objects.clear(),
    ] {
        let mut other = facts.clone();
        change(&mut other);
        assert!(!fits(&other), "{other:?}");
    }
}

#[test]
fn rules_of_one_object_version_leave_the_others() {
    let bench = Bench::new(
        plan("[[telemetry]]\npath = \"/3_1.2/0/9\"\nkey = \"new\"\n[[telemetry]]\npath = \"/3/0/9\"\nkey = \"old\""),
        device(&[(3, &[0])]),
    );
    assert_eq!(bench.keys("/3/0/9", Value::Integer(5)), ["old=5"]);
    let mut facts = bench.facts.clone();
    facts.objects.entry(3).or_default().version = Some(Version::V1_2);
    assert_eq!(Bench::new(bench.plan, facts).keys("/3/0/9", Value::Integer(5)), ["new=5"]);
}

#[test]
fn files_in_given_order_come_before_the_default_mapping() {
    let file = |name: &str, key: &str| MappingFile {
        name: name.to_owned(),
        text: format!("version = 1\n[[telemetry]]\npath = \"/3303/0/5700\"\nkey = \"{key}\""),
    };
    let files = [file("b.toml", "b"), file("a.toml", "a")];
    let compiled = Plan::compile(&files, &ObjectModel::built_in(), true);
    let bench = Bench::new(compiled.plan.unwrap(), device(&[]));
    assert_eq!(bench.keys("/3303/0/5700", Value::Integer(1)), ["b=1"]);
    assert_eq!(bench.keys("/3303/1/5700", Value::Integer(1)), ["temperature_1=1"]);
}

use super::*;

#[test]
fn every_rule_of_the_object_gets_its_verdict() {
    let file = |name: &str, text: &str| MappingFile { name: name.to_owned(), text: format!("version = 1\n{text}") };
    let files = [
        file("a.toml", "match = { endpoint = \"meter-*\" }\n[[telemetry]]\npath = \"/3303/0/5700\"\nkey = \"m\""),
        file(
            "b.toml",
            r#"
            [[telemetry]]
            path = "/3303/0/5601"
            key = "min"
            [[telemetry]]
            path = "/3303_2.0/0/5700"
            key = "v2"
            [[telemetry]]
            path = "/3303/*/5700"
            key = "t_{instance}"
            scale = 2
            [[ignore]]
            path = "/3303"
            [[attribute]]
            path = "/3303/1/5700"
            key = "never"
            [[telemetry]]
            path = "/3304/0/5700"
            key = "other_object"
            "#,
        ),
    ];
    let plan = Plan::compile(&files, &ObjectModel::built_in(), false).plan.unwrap();
    let bench = Bench::new(plan, device(&[(3303, &[0])]));
    let path = "/3303/1/5700".parse().unwrap();
    let told = |value: Option<&Value>| -> Vec<String> {
        let steps = bench.plan.explain(&bench.selection, &bench.facts, &path, value);
        steps.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        told(Some(&Value::Float(1.5))),
        [
            "a.toml:3: [[telemetry]] /3303/0/5700 is not for this device: endpoint is \"weather-1\", not \"meter-*\"",
            "b.toml:3: [[telemetry]] /3303/0/5601 does not fit the path",
            "b.toml:6: [[telemetry]] /3303_2.0/0/5700 does not fit the path",
            "b.toml:9: [[telemetry]] /3303/*/5700 takes it: t_1 = 3.0",
            "b.toml:13: [[ignore]] /3303 ignores it",
            "b.toml:15: [[attribute]] /3303/1/5700 comes after the rule that won",
        ]
    );
    assert_eq!(told(None)[3], "b.toml:9: [[telemetry]] /3303/*/5700 takes it: t_1");
    let failed = told(Some(&Value::String("warm".into())));
    assert!(failed[3].ends_with("takes it and cannot use the value: scale and offset need a number, this is \"warm\""));
}

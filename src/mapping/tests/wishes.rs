use std::time::Duration;

use super::*;
use crate::mapping::{ReadWhen, ReadWish};
use crate::model::attributes::NotificationAttributes;
use crate::model::path::Path;

#[test]
fn wildcards_are_the_registered_instances_and_defaults_fill_the_attributes() {
    let bench = Bench::new(
        plan(
            r#"
            [defaults]
            observe = { pmax = "5m" }
            [[telemetry]]
            path = "/3303/*/5700"
            key = "t_{instance}"
            observe = { pmin = "1500ms", gt = 30 }
            [[telemetry]]
            path = "/3304/0/5700"
            key = "h"
            [[telemetry]]
            path = "/3305/7/5800"
            key = "p"
            "#,
        ),
        device(&[(3303, &[0, 4]), (3304, &[0]), (3305, &[0])]),
    );
    let wishes = bench.wishes();
    assert_eq!(bench.observed(), ["/3303/0/5700", "/3303/4/5700", "/3304/0/5700"]);
    let attributes =
        NotificationAttributes { pmin: Some(2), pmax: Some(300), gt: Some(30.0), ..NotificationAttributes::default() };
    assert_eq!(wishes.observations[0].attributes, attributes);
    assert_eq!(wishes.observations[2].attributes.to_query(), ["pmin=1", "pmax=300"]);
}

#[test]
fn what_another_rule_takes_or_ignores_is_not_observed() {
    let (plan, _) = plan_with_problems(
        r#"
        [[telemetry]]
        path = "/3303/0/5700"
        key = "t"
        observe = false
        [[ignore]]
        path = "/4/*/*"
        "#,
        true,
    );
    let bench = Bench::new(plan, device(&[(3303, &[0, 1]), (4, &[0])]));
    assert_eq!(bench.observed(), ["/3303/1/5700"]);
}

#[test]
fn a_wildcard_resource_observes_the_instance_and_nothing_below_it() {
    let bench = Bench::new(
        plan(
            r#"
            [[telemetry]]
            path = "/3303/0/5700"
            key = "t"
            [[telemetry]]
            path = "/3303/*/*"
            key = "{instance}_{resource}"
            [[telemetry]]
            path = "/3/0/7/*"
            key = "v_{resource_instance}"
            [[telemetry]]
            path = "/3/0/8/1"
            key = "c"
            [[telemetry]]
            path = "/*/*/*"
            key = "{object}_{instance}_{resource}"
            "#,
        ),
        device(&[(3, &[0]), (3303, &[0, 1])]),
    );
    assert_eq!(bench.observed(), ["/3303/0", "/3303/1", "/3/0/7", "/3/0/8/1"]);
    let mut facts = bench.facts.clone();
    facts.lwm2m_version = None;
    assert_eq!(Bench::new(bench.plan, facts).observed(), ["/3303/0", "/3303/1", "/3/0/7", "/3/0/8"]);
}

#[test]
fn an_instance_whose_every_resource_is_taken_earlier_is_not_observed() {
    let bench = Bench::new(
        plan(
            r#"
            [[ignore]]
            path = "/3303/*/*"
            [[telemetry]]
            path = "/3303/0/*"
            key = "{resource}"
            "#,
        ),
        device(&[(3303, &[0])]),
    );
    assert!(bench.observed().is_empty());
}

#[test]
fn resources_that_cannot_be_read_are_left_out() {
    let bench = Bench::new(
        plan("[[telemetry]]\npath = \"/3/0/4\"\nkey = \"reboot\"\n[[telemetry]]\npath = \"/3/0/9\"\nkey = \"b\""),
        device(&[(3, &[])]),
    );
    assert_eq!(bench.observed(), ["/3/0/9"], "the only instance of the device object needs no mention");
}

#[test]
fn reads_on_register_of_one_instance_are_one_read() {
    let bench = Bench::new(
        plan(
            r#"
            [defaults]
            observe = false
            [[attribute]]
            path = "/3/0/0"
            key = "manufacturer"
            read = "on_register"
            [[attribute]]
            path = "/3/0/1"
            key = "model"
            read = "on_register"
            [[attribute]]
            path = "/3/0/9"
            key = "battery"
            read = { every = "1h" }
            [[attribute]]
            path = "/4/0/2"
            key = "rssi"
            read = "on_wake"
            [[attribute]]
            path = "/3303/*/5701"
            key = "unit_{instance}"
            read = "on_register"
            [[attribute]]
            path = "/3304/0/5701"
            key = "unit"
            observe = { pmin = "1s" }
            read = "on_register"
            "#,
        ),
        device(&[(3, &[0]), (4, &[0]), (3303, &[0]), (3304, &[0])]),
    );
    assert_eq!(
        bench.wishes().reads,
        [
            ReadWish { path: Path::instance(3, 0), when: ReadWhen::OnRegister },
            ReadWish { path: Path::resource(3, 0, 9), when: ReadWhen::Every(Duration::from_secs(3_600)) },
            ReadWish { path: Path::resource(4, 0, 2), when: ReadWhen::OnWake },
            ReadWish { path: Path::resource(3303, 0, 5701), when: ReadWhen::OnRegister },
        ]
    );
    assert_eq!(bench.observed(), ["/3304/0/5701"]);
}

#[test]
fn attributes_that_a_version_does_not_know_are_not_wanted_of_it() {
    let plan = plan(
        r#"
        [[telemetry]]
        path = "/3303/*/5700"
        key = "t_{instance}"
        observe = { pmin = "1s", pmax = "9s", epmin = "1s", epmax = "5s", con = 1 }
        "#,
    );
    for (version, query) in [
        (Version::V1_0, "pmin=1&pmax=9"),
        (Version::V1_1, "pmin=1&pmax=9&epmin=1&epmax=5"),
        (Version::V1_2, "pmin=1&pmax=9&epmin=1&epmax=5&con=1"),
    ] {
        let facts = DeviceFacts { lwm2m_version: Some(version), ..device(&[(3303, &[0])]) };
        let wishes = Bench::new(plan.clone(), facts).wishes();
        assert_eq!(wishes.observations[0].attributes.to_query().join("&"), query);
    }
}

#[test]
fn settings_of_the_first_file_that_says_something_win() {
    let file = |name: &str, settings: &str| MappingFile {
        name: name.to_owned(),
        text: format!("version = 1\n[settings]\n{settings}"),
    };
    let files = [
        file("a.toml", "awake_window = \"20s\""),
        file(
            "b.toml",
            "queue_mode = \"force\"\nawake_window = \"30s\"\nwrite_format = \"senml-cbor\"\nack_timeout = \"4s\"",
        ),
    ];
    let explicit = [file("a.toml", "queue_mode = \"auto\""), files[1].clone()];
    let plan = Plan::compile(&explicit, &ObjectModel::built_in(), true).plan.unwrap();
    assert_eq!(plan.settings(&plan.select(&device(&[]))).queue_mode, crate::mapping::QueueMode::Auto);
    let plan = Plan::compile(&files, &ObjectModel::built_in(), true).plan.unwrap();
    let settings = plan.settings(&plan.select(&device(&[])));
    assert_eq!(settings.queue_mode, crate::mapping::QueueMode::Force);
    assert_eq!(settings.awake_window, Some(Duration::from_secs(20)));
    assert_eq!((settings.ack_timeout, settings.write_format), (Some(Duration::from_secs(4)), Some(112)));
}

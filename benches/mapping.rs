//! What finding the rule of one value costs, with the built-in plan and with many rules before it.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::Criterion;
use lwm2mqtt::mapping::{MappingFile, Plan};
use lwm2mqtt::model::object::ObjectModel;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::report::{DeviceFacts, RegisteredObject, Sample};
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;

/// Rules for 20 resources of ten objects, each with a conversion.
fn rules(count: u16) -> String {
    let mut text = "version = 1\n".to_owned();
    for number in 0..count {
        let (object, resource) = (33_000 + number / 20, 5_000 + number % 20);
        write!(
            text,
            "[[telemetry]]\npath = \"/{object}/*/{resource}\"\nkey = \"key_{number}_{{instance}}\"\nscale = 0.1\n\
             observe = false\n"
        )
        .expect("a text takes everything");
    }
    text
}

fn plan(files: &[MappingFile]) -> Plan {
    let compiled = Plan::compile(files, &ObjectModel::built_in(), true);
    compiled.plan.unwrap_or_else(|| panic!("the plan has errors: {:#?}", compiled.problems))
}

fn facts() -> DeviceFacts {
    let object = |instances: &[u16]| RegisteredObject { version: None, instances: instances.to_vec() };
    let objects = [3, 3303, 3304].into_iter().chain(33_000..33_010).map(|id| (id, object(&[0, 1]))).collect();
    DeviceFacts {
        endpoint: "urn:imei:490154203237518".to_owned(),
        device: "boiler-room".to_owned(),
        objects,
        lwm2m_version: Some(Version::V1_1),
        ..DeviceFacts::default()
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let facts = facts();
    let temperature = Path::resource(3303, 0, 5700);
    let default = plan(&[]);
    let large = plan(&[MappingFile { name: "large.toml".to_owned(), text: rules(200) }]);
    let mut group = criterion.benchmark_group("uplink");
    for (name, plan, path) in [
        ("default_plan", &default, temperature),
        ("default_plan/unmapped", &default, Path::resource(3303, 0, 6_042)),
        ("200_rules/first", &large, Path::resource(33_000, 0, 5_000)),
        ("200_rules/last", &large, Path::resource(33_009, 1, 5_019)),
        ("200_rules/behind_them", &large, temperature),
    ] {
        let selection = plan.select(&facts);
        let sample = Sample { path, value: Value::Float(21.5), ts: None };
        let uplink = plan.uplink(&selection, &facts, &sample);
        assert_eq!(uplink.values.is_empty(), name.ends_with("unmapped"), "{name}: {uplink:?}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan.uplink(&selection, &facts, black_box(&sample)));
        });
    }
    group.finish();
    let text = rules(200);
    let model = ObjectModel::built_in();
    criterion.bench_function("compile/200_rules", |bencher| {
        let files = [MappingFile { name: "large.toml".to_owned(), text: text.clone() }];
        bencher.iter(|| Plan::compile(black_box(&files), &model, true));
    });
    criterion.final_summary();
}

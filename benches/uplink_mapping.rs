//! What one sample costs in a plan of 200 rules beside the default mapping.

use std::fmt::Write as _;

use criterion::{Criterion, criterion_group, criterion_main};
use lwm2mqtt::mapping::{MappingFile, Plan};
use lwm2mqtt::model::object::ObjectModel;
use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::report::{DeviceFacts, Sample};
use lwm2mqtt::model::value::Value;

fn uplink(criterion: &mut Criterion) {
    let mut text = String::from("version = 1\n");
    for rule in 0..200 {
        let object = 20_000 + rule % 20;
        let key = format!("v_{{instance}}_{rule}");
        let _ = write!(text, "[[telemetry]]\npath = \"/{object}/*/{rule}\"\nkey = \"{key}\"\nround = 2\n");
    }
    let file = MappingFile { name: "bench.toml".to_owned(), text };
    let plan = Plan::compile(&[file], &ObjectModel::default(), true).plan.expect("the rules are valid");
    let facts = DeviceFacts { endpoint: "bench".to_owned(), device: "bench".to_owned(), ..DeviceFacts::default() };
    let selection = plan.select(&facts);
    for (name, path) in [
        ("own rule", Path::resource(20_019, 3, 199)),
        ("default rule", Path::resource(3303, 0, 5700)),
        ("unmapped", Path::resource(40_000, 0, 1)),
    ] {
        let sample = Sample { path, value: Value::Float(21.456), ts: None };
        criterion.bench_function(name, |bencher| bencher.iter(|| plan.uplink(&selection, &facts, &sample)));
    }
}

criterion_group!(benches, uplink);
criterion_main!(benches);

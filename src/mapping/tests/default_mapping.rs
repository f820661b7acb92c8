use super::*;

fn default_plan() -> Plan {
    let compiled = Plan::compile(&[], &ObjectModel::built_in(), true);
    assert_eq!(compiled.problems, [], "the built-in mapping has no problems");
    let plan = compiled.plan.unwrap();
    assert_eq!(plan.run_examples(), [], "it keeps its promises");
    plan
}

#[test]
fn a_device_that_nobody_described_gives_useful_data() {
    let bench = Bench::new(
        default_plan(),
        device(&[(0, &[0]), (1, &[0]), (3, &[0]), (4, &[0]), (6, &[0]), (3303, &[0, 1]), (3313, &[0]), (3342, &[0])]),
    );
    assert_eq!(
        bench.observed(),
        ["/3/0/11", "/4/0/2", "/6/0", "/3303/0/5700", "/3303/1/5700", "/3313/0", "/3342/0/5500"]
    );
    let reads: Vec<String> = bench.wishes().reads.iter().map(|wish| wish.path.to_string()).collect();
    assert_eq!(reads, ["/3/0", "/4/0"]);
    assert_eq!(bench.keys("/3303/1/5700", Value::Float(21.5)), ["temperature_1=21.5"]);
    assert_eq!(bench.keys("/3/0/0", Value::String("ACME".into())), ["manufacturer=\"ACME\""]);
    assert_eq!(bench.keys("/3/0/11", Value::Integer(0)), ["error_code_0=0"]);
    assert_eq!(bench.keys("/3313/0/5702", Value::Float(0.5)), ["acceleration_x_0=0.5"]);
    assert_eq!(bench.keys("/6/0/5", Value::Time(0)), ["location_time=\"1970-01-01T00:00:00.000Z\""]);
    assert!(bench.uplink("/1/0/1", Value::Integer(86_400)).ignored);
    assert!(bench.uplink("/3303/0/5518", Value::Time(0)).ignored);
}

#[test]
fn every_readable_resource_of_device_and_connectivity_has_a_rule() {
    let bench = Bench::new(default_plan(), device(&[(3, &[0]), (4, &[0]), (6, &[0])]));
    for object in [3, 4, 6] {
        let definition = bench.model.newest(object).unwrap();
        for resource in definition.resources.values().filter(|resource| resource.operations.read) {
            let path = if resource.multiple {
                format!("/{object}/0/{}/0", resource.id)
            } else {
                format!("/{object}/0/{}", resource.id)
            };
            let path = path.parse().unwrap();
            let takers = bench.plan.takers(&bench.selection, &bench.facts, &path);
            assert!(takers.ignored_by.is_some() || !takers.rules.is_empty(), "{path} {}", resource.name);
        }
    }
}

#[test]
fn the_default_mapping_compiles_without_definitions() {
    assert!(Plan::compile(&[], &ObjectModel::default(), true).plan.is_some());
}

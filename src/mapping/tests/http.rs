//! Own HTTP endpoints.

use std::time::Duration;

use super::*;
use crate::mapping::{OwnEndpoint, OwnOperation, OwnRequest, OwnRole};
use crate::model::path::Path;

const PLANT: &str = r#"
    [[http]]
    route = "/plant/{device}/setpoint"
    path = "/3308/0/5900"
    methods = ["GET", "PUT"]
    cached = "30s"

    [[http]]
    route = "/plant/{device}/temperature/{instance}"
    path = "/temperature/*/sensor_value"

    [[http]]
    route = "/plant/{device}/reboot"
    path = "/3/0/4"
    methods = "POST"
    role = "admin"
"#;

fn found(plan: &Plan, method: &str, path: &str) -> OwnRequest {
    match plan.own_endpoint(method, path) {
        OwnEndpoint::Found(request) => request,
        other => panic!("{method} {path}: {other:?}"),
    }
}

/// All problems of two files, one a line.
fn problems(first: &str, second: &str) -> String {
    let file = |name: &str, text: &str| MappingFile { name: name.to_owned(), text: format!("version = 1\n{text}") };
    let compiled = Plan::compile(&[file("a.toml", first), file("b.toml", second)], &ObjectModel::built_in(), false);
    compiled.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_request_means_a_resource_of_the_device_in_its_route() {
    let plan = plan(PLANT);
    let read = found(&plan, "GET", "/plant/roof/setpoint");
    assert_eq!((read.device.as_str(), read.path.to_string().as_str()), ("roof", "/3308/0/5900"));
    assert_eq!(
        (read.operation, read.role, read.cached),
        (OwnOperation::Read, OwnRole::Viewer, Some(Duration::from_secs(30)))
    );
    let write = found(&plan, "PUT", "/plant/roof/setpoint");
    assert_eq!((write.operation, write.role, write.cached), (OwnOperation::Write, OwnRole::Operator, None));
    assert_eq!(found(&plan, "HEAD", "/plant/roof/setpoint").operation, OwnOperation::Read);
    assert_eq!(found(&plan, "POST", "/plant/roof/reboot").role, OwnRole::Admin);
}

#[test]
fn a_placeholder_for_a_wildcard_takes_identifiers_only() {
    let plan = plan(PLANT);
    assert_eq!(found(&plan, "GET", "/plant/roof/temperature/7").path, Path::resource(3303, 7, 5700));
    for instance in ["", "x", "07", "65535", "-1", "7/"] {
        let path = format!("/plant/roof/temperature/{instance}");
        assert_eq!(plan.own_endpoint("GET", &path), OwnEndpoint::Unknown, "{path}");
    }
}

#[test]
fn names_of_devices_are_decoded_after_the_path_was_split() {
    let plan = plan(PLANT);
    assert_eq!(found(&plan, "GET", "/plant/urn%3Aa%2Fb%20c/setpoint").device, "urn:a/b c");
    assert_eq!(found(&plan, "GET", "/plant/urn:imei:1/setpoint").device, "urn:imei:1");
    assert_eq!(found(&plan, "GET", "/pl%61nt/roof/setpoint").device, "roof");
    for path in ["/plant/%ff/setpoint", "/plant//setpoint", "plant/roof/setpoint", "", "/plant/roof/setpoint/"] {
        assert_eq!(plan.own_endpoint("GET", path), OwnEndpoint::Unknown, "{path}");
    }
    let long = format!("/plant/{}/setpoint", "x".repeat(2_000));
    assert_eq!(plan.own_endpoint("GET", &long), OwnEndpoint::Unknown);
}

#[test]
fn another_method_is_told_from_another_path() {
    let plan = plan(PLANT);
    assert_eq!(plan.own_endpoint("DELETE", "/plant/roof/setpoint"), OwnEndpoint::OtherMethod(vec!["GET", "PUT"]));
    assert_eq!(plan.own_endpoint("GET", "/plant/roof/reboot"), OwnEndpoint::OtherMethod(vec!["POST"]));
    assert_eq!(plan.own_endpoint("DELETE", "/plant/roof/nothing"), OwnEndpoint::Unknown);
}

#[test]
fn an_endpoint_serves_the_devices_of_its_file_and_the_version_of_its_path() {
    let file = |condition: &str, path: &str| {
        plan(&format!("[match]\n{condition}\n[[http]]\nroute = \"/p/{{device}}\"\npath = \"{path}\""))
    };
    let serves = |plan: Plan| {
        let bench = Bench::new(plan, device(&[(3303, &[0])]));
        let request = found(&bench.plan, "GET", "/p/roof");
        bench.plan.serves(&request, &bench.selection, &bench.facts)
    };
    assert!(serves(file("endpoint = \"weather-*\"", "/3303/0/5700")));
    assert!(!serves(file("endpoint = \"meter-*\"", "/3303/0/5700")));
    assert!(!serves(file("objects = [3303]", "/3303_9.9/0/5700")));
}

#[test]
fn a_file_for_one_endpoint_needs_no_device_in_its_routes() {
    let plan = plan("[match]\nendpoint = \"boiler\"\n[[http]]\nroute = \"/boiler/setpoint\"\npath = \"/3308/0/5900\"");
    assert_eq!(found(&plan, "GET", "/boiler/setpoint").device, "boiler");
}

#[test]
fn two_routes_that_could_answer_one_request_are_refused_across_files() {
    let http = |route: &str, methods: &str| {
        format!("[[http]]\nroute = \"{route}\"\npath = \"/3308/*/5900\"\nmethods = {methods}\n")
    };
    let first = http("/plant/{device}/{instance}", "[\"GET\"]");
    let taken = "error: [[http]] GET \"";
    for (second, refused) in [
        (http("/plant/{device}/{instance}", "[\"GET\", \"PUT\"]"), true),
        (http("/plant/{instance}/{device}", "[\"GET\"]"), true),
        (http("/plant/{device}/{instance}", "[\"PUT\"]"), false),
        (http("/plants/{device}/{instance}", "[\"GET\"]"), false),
        (http("/plant/{device}/x/{instance}", "[\"GET\"]"), false),
    ] {
        let told = problems(&first, &second);
        assert_eq!(told.contains(taken), refused, "{second}: {told}");
        assert!(!refused || told.contains("b.toml:3: ") && told.contains("at a.toml:2 "), "{told}");
    }
    let word = "[[http]]\nroute = \"/plant/{device}/state\"\npath = \"/3308/0/5900\"";
    assert_eq!(problems(&first, word), "", "a word is no identifier");
    let number = "[[http]]\nroute = \"/plant/{device}/7\"\npath = \"/3308/0/5900\"";
    assert!(problems(&first, number).contains(taken), "a number is one");
}

#[test]
fn last_values_are_kept_only_where_an_endpoint_answers_with_them() {
    let bench = Bench::new(plan(PLANT), device(&[(3303, &[0]), (3308, &[0])]));
    let keeps = |path: &str| bench.plan.keeps_last_value(&bench.selection, &path.parse().unwrap());
    assert!(keeps("/3308/0/5900") && !keeps("/3303/0/5700") && !keeps("/3308/1/5900"));
}

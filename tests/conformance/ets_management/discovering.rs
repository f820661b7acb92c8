//! Attributes that a server attaches, and Discover that shows them.

use serde_json::{Value as Json, json};

use crate::conformance::ets::bench::Bench;
use crate::conformance::ets::configurations::c4;
use crate::conformance::ets::page::{Case, case};
use crate::conformance::ets::{ALL, SINCE_1_1, SINCE_1_2, for_versions};

pub(super) const CASES: &[Case] = &[
    case!("1.1-int-260", "Discover what is there and what was attached", ets_1_1_int_260_discover_command),
    case!("1.1-int-261", "Attributes at every level", ets_1_1_int_261_write_attribute_on_a_multiple_resource),
    case!("1.2-int-264", "Discover one level", ets_1_2_int_264_discover_depth_1),
    case!("1.2-int-266", "Discover two and three levels", ets_1_2_int_266_discover_depth_3),
];

fn attach(bench: &mut Bench, path: &str, attributes: &Json, query: &str) {
    bench.done(json!({"operation": "write_attributes", "path": path, "attributes": attributes}));
    assert_eq!(bench.asked(), [format!("PUT {path}?{query}")]);
    assert!(bench.request().payload.is_empty());
    assert_eq!(bench.answered(), ["2.04"]);
}

/// Discovers a path, with a depth if one is given; attributes by path.
fn discover(bench: &mut Bench, path: &str, depth: Option<u8>) -> Json {
    let mut command = json!({"operation": "discover", "path": path});
    let mut asked = format!("GET {path}");
    if let Some(depth) = depth {
        command["depth"] = depth.into();
        asked = format!("{asked}?depth={depth}");
    }
    let result = bench.done(command);
    assert_eq!(bench.asked(), [format!("{asked} accept=link")]);
    let links = result["links"].as_array().cloned().unwrap_or_default();
    let entry = |link: Json| (link["path"].as_str().unwrap().to_owned(), link["attributes"].clone());
    Json::Object(links.into_iter().map(entry).collect())
}

/// What is below /3 in C.4.
fn device_links() -> Json {
    let mut links = json!({});
    for plain in ["/3/0", "/3/0/0", "/3/0/1", "/3/0/2", "/3/0/3", "/3/0/4", "/3/0/9", "/3/0/16"] {
        links[plain] = json!({});
    }
    for (multiple, dimension) in [("/3/0/6", 2), ("/3/0/7", 2), ("/3/0/8", 2), ("/3/0/11", 1)] {
        links[multiple] = json!({ "dim": dimension });
    }
    links
}

fn with(mut links: Json, path: &str, attributes: &Json) -> Json {
    links[path] = attributes.clone();
    links
}

#[test]
pub(crate) fn ets_1_1_int_260_discover_command() {
    for_versions("1.1-int-260", ALL, |version| {
        let mut bench = Bench::registered(c4(version));
        let object = with(device_links(), "/3", &json!({}));
        assert_eq!(discover(&mut bench, "/3", None), object);
        attach(&mut bench, "/3", &json!({"pmin": 10, "pmax": 200}), "pmax=200&pmin=10");
        let object = with(object, "/3", &json!({"pmin": 10, "pmax": 200}));
        assert_eq!(discover(&mut bench, "/3", None), object);
        attach(&mut bench, "/3/0/7", &json!({"lt": 1, "gt": 6, "st": 1}), "gt=6&lt=1&st=1");
        let resource = json!({"dim": 2, "gt": 6, "lt": 1, "st": 1});
        let instance = with(with(device_links(), "/3/0", &json!({"pmin": 10, "pmax": 200})), "/3/0/7", &resource);
        assert_eq!(discover(&mut bench, "/3/0", None), instance);
        let inherited = json!({
            "/3/0/7": {"dim": 2, "pmin": 10, "pmax": 200, "gt": 6, "lt": 1, "st": 1}, "/3/0/7/0": {}, "/3/0/7/1": {},
        });
        assert_eq!(discover(&mut bench, "/3/0/7", None), inherited);
        attach(&mut bench, "/3/0/7", &json!({"lt": null, "gt": null, "st": null}), "gt&lt&st");
        let removed = json!({"/3/0/7": {"dim": 2, "pmin": 10, "pmax": 200}, "/3/0/7/0": {}, "/3/0/7/1": {}});
        assert_eq!(discover(&mut bench, "/3/0/7", None), removed);
    });
}

#[test]
pub(crate) fn ets_1_1_int_261_write_attribute_on_a_multiple_resource() {
    for_versions("1.1-int-261", SINCE_1_1, |version| {
        let mut bench = Bench::registered(c4(version));
        attach(&mut bench, "/3", &json!({"pmin": 20, "pmax": 100}), "pmax=100&pmin=20");
        attach(&mut bench, "/3/0", &json!({"pmax": 60, "epmin": 1, "epmax": 2}), "epmax=2&epmin=1&pmax=60");
        attach(&mut bench, "/3/0/11/0", &json!({"pmin": 5, "epmax": 3}), "epmax=3&pmin=5");
        let object = with(
            with(device_links(), "/3", &json!({"pmin": 20, "pmax": 100})),
            "/3/0",
            &json!({"pmax": 60, "epmin": 1, "epmax": 2}),
        );
        assert_eq!(discover(&mut bench, "/3", None), object);
        let instance = discover(&mut bench, "/3/0", None);
        assert_eq!(instance["/3/0"], json!({"pmin": 20, "pmax": 60, "epmin": 1, "epmax": 2}));
        let resource = discover(&mut bench, "/3/0/11", None);
        assert_eq!(resource["/3/0/11"], json!({"dim": 1, "pmin": 20, "pmax": 60, "epmin": 1, "epmax": 2}));
        assert_eq!(resource["/3/0/11/0"], json!({"pmin": 5, "epmax": 3}));
    });
}

#[test]
pub(crate) fn ets_1_2_int_264_discover_depth_1() {
    for_versions("1.2-int-264", SINCE_1_2, |version| {
        let mut bench = Bench::registered(c4(version));
        assert_eq!(discover(&mut bench, "/3", Some(1)), json!({"/3": {}, "/3/0": {}}));
        assert_eq!(discover(&mut bench, "/3", Some(0)), json!({"/3": {}}));
    });
}

#[test]
pub(crate) fn ets_1_2_int_266_discover_depth_3() {
    for_versions("1.2-int-266", SINCE_1_2, |version| {
        let mut bench = Bench::registered(c4(version));
        attach(&mut bench, "/3/0/7/1", &json!({"pmin": 7, "con": 1, "hqmax": 3}), "con=1&hqmax=3&pmin=7");
        let two_levels = with(device_links(), "/3", &json!({}));
        assert_eq!(discover(&mut bench, "/3", Some(2)), two_levels);
        let instances = ["/3/0/6/0", "/3/0/6/1", "/3/0/7/0", "/3/0/8/0", "/3/0/8/1", "/3/0/11/0"];
        let three_levels = instances.iter().fold(two_levels, |links, path| with(links, path, &json!({})));
        let attached = with(three_levels, "/3/0/7/1", &json!({"pmin": 7, "con": 1, "hqmax": 3}));
        assert_eq!(discover(&mut bench, "/3", Some(3)), attached);
    });
}

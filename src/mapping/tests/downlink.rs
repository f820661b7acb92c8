use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::*;
use crate::mapping::DesiredWrite;
use crate::model::command::{CommandError, ErrorKind, Operation};
use crate::model::path::Path;

impl Bench {
    fn desired(&self, key: &str, value: &Json) -> Result<DesiredWrite, CommandError> {
        self.plan.desired(&self.selection, &self.facts, &self.device_model(), key, value)
    }

    fn command(&self, name: &str, params: &Json) -> Result<Operation, CommandError> {
        let params = params.as_object().unwrap().clone().into_iter().collect();
        self.plan.command(&self.selection, name, &params)
    }

    fn paths(&self, key: &str) -> Vec<String> {
        let paths = self.plan.paths_of_key(&self.selection, &self.facts, key);
        paths.iter().map(Path::to_string).collect()
    }
}

fn desired_bench() -> Bench {
    Bench::new(
        plan(
            r#"
            [[desired]]
            key = "setpoint"
            path = "/3308/0/5900"
            min = 5
            max = 30
            [[desired]]
            key = "light_{instance}"
            path = "/3311/*/5850"
            names = { "0" = "off", "1" = "on" }
            [[desired]]
            key = "dimmer"
            path = "/3311/1/5851"
            scale = 0.01
            [[desired]]
            key = "odd"
            path = "/3311/1/5852"
            [[desired]]
            key = "fahrenheit"
            path = "/3308/0/5900"
            scale = 1.8
            offset = 32
            [[desired]]
            key = "reboot"
            path = "/3/0/4"
            [[desired]]
            key = "private"
            path = "/31024/10/1"
            "#,
        ),
        device(&[(3, &[0]), (3308, &[0]), (3311, &[1, 2]), (31024, &[10])]),
    )
}

#[test]
fn a_desired_value_becomes_a_write_of_the_resource_type() {
    let bench = desired_bench();
    for (key, value, path, written) in [
        ("setpoint", json!(21), "/3308/0/5900", Value::Float(21.0)),
        ("light_2", json!("on"), "/3311/2/5850", Value::Boolean(true)),
        ("light_1", json!(false), "/3311/1/5850", Value::Boolean(false)),
        ("dimmer", json!(0.29), "/3311/1/5851", Value::Integer(29)),
        ("fahrenheit", json!(68), "/3308/0/5900", Value::Float(20.0)),
        ("private", json!("x"), "/31024/10/1", Value::String("x".into())),
    ] {
        let write = DesiredWrite { path: path.parse().unwrap(), value: written };
        assert_eq!(bench.desired(key, &value), Ok(write), "{key}");
    }
}

#[test]
fn refusals_of_desired_values_name_the_key() {
    let bench = desired_bench();
    for (key, value, why) in [
        ("setpoint", json!(4.9), "key 'setpoint': 4.9 is less than the minimum 5"),
        ("setpoint", json!(31), "key 'setpoint': 31 is more than the maximum 30"),
        ("setpoint", json!("warm"), "key 'setpoint': expected a number, found \"warm\""),
        ("light_1", json!("dim"), "key 'light_1': \"dim\" is none of off, on"),
        ("light_3", json!("on"), "key 'light_3': no [[desired]] rule has it for this device"),
        ("unknown", json!(1), "key 'unknown': no [[desired]] rule has it for this device"),
        ("odd", json!(1.5), "key 'odd': expected an integer, found 1.5"),
        ("reboot", json!(1), "key 'reboot': /3/0/4 cannot be written"),
    ] {
        let refused = bench.desired(key, &value).unwrap_err();
        assert_eq!((refused.kind, refused.message.as_str()), (ErrorKind::Invalid, why));
    }
}

#[test]
fn commands_fill_their_parameters() {
    let bench = Bench::new(
        plan(
            r#"
            [[command]]
            name = "reboot"
            path = "/3/0/4"
            operation = "execute"
            arguments = "0='{delay}'"
            [[command]]
            name = "set"
            path = "/set_point/{instance}/set_point_value"
            value = "{x}"
            [[command]]
            name = "blink"
            path = "/3311/0"
            operation = "write_update"
            values = { "5850" = true, "dimmer" = "{level}" }
            [[command]]
            name = "add"
            path = "/3303"
            operation = "create"
            values = { "5701" = "unit {u}" }
            "#,
        ),
        device(&[]),
    );
    let reboot = Operation::Execute { path: Path::resource(3, 0, 4), arguments: Some("0='5'".to_owned()) };
    assert_eq!(bench.command("reboot", &json!({"delay": 5})), Ok(reboot));
    let path = Path::resource(3308, 2, 5900);
    let set = Operation::Write { path, values: [(path, json!(21.5))].into(), value_type: None };
    assert_eq!(bench.command("set", &json!({"instance": 2, "x": 21.5})), Ok(set));
    let values: BTreeMap<Path, Json> =
        [(Path::resource(3311, 0, 5850), json!(true)), (Path::resource(3311, 0, 5851), json!(40))].into();
    let blink = Operation::WriteUpdate { path: Path::instance(3311, 0), values, value_type: None };
    assert_eq!(bench.command("blink", &json!({"level": 40})), Ok(blink));
    let values = [(Path::resource(3303, 0, 5701), json!("unit Cel"))].into();
    let add = Operation::Create { path: Path::object(3303), values };
    assert_eq!(bench.command("add", &json!({"u": "Cel"})), Ok(add));
    for (name, params, why) in [
        ("reboot", json!({}), "command 'reboot': params.delay is missing"),
        (
            "reboot",
            json!({"delay": "1',1='2"}),
            "command 'reboot': params.delay must not contain quotes or control characters",
        ),
        (
            "set",
            json!({"instance": "x", "x": 1}),
            "command 'set': params.instance must be an identifier from 0 to 65534, found \"x\"",
        ),
        ("halt", json!({}), "name 'halt': no [[command]] rule has it for this device"),
    ] {
        assert_eq!(bench.command(name, &params).unwrap_err().message, why);
    }
}

#[test]
fn a_key_is_read_from_the_paths_that_give_it() {
    let bench = Bench::new(
        plan(
            r#"
            [[telemetry]]
            path = "/3303/*/5700"
            key = "temperature_{instance}"
            [[telemetry]]
            path = "/3/0/7"
            key = "voltage"
            [[telemetry]]
            path = "/3/0/8/*"
            key = "current_{resource_instance}"
            [[telemetry]]
            path = "/1000/*/*"
            key = "r_{instance}_{resource}"
            [[telemetry]]
            path = "/1000/0/5"
            key = "five"
            [[telemetry]]
            path = "/19/0/0"
            decode = "json"
            extract = { a = "/a", b = "/b" }
            "#,
        ),
        device(&[(3, &[0]), (19, &[0]), (1000, &[0]), (3303, &[0, 4])]),
    );
    assert_eq!(bench.paths("temperature_4"), ["/3303/4/5700"]);
    assert_eq!(bench.paths("temperature_5"), [""; 0]);
    assert_eq!(bench.paths("voltage_1"), ["/3/0/7"]);
    assert_eq!(bench.paths("current_1"), ["/3/0/8"]);
    assert_eq!(bench.paths("r_0_7"), ["/1000/0/7"]);
    assert_eq!(bench.paths("b"), ["/19/0/0"]);
    assert_eq!(bench.paths("five"), [""; 0], "the rule before takes its path under another key");
}

//! The keys of the documented file format, all in one file.

use super::*;

#[test]
fn the_documented_keys_compile_and_mean_what_is_documented() {
    let (plan, problems) = plan_with_problems(
        r#"
        [match]
        endpoint = "weather-*"
        objects = [3303]
        tags = ["site-a"]
        manufacturer = "ACME*"

        [settings]
        queue_mode = "auto"
        awake_window = "93s"

        [defaults]
        observe = { pmin = "1s", pmax = "60s" }
        observe_strategy = "single"

        [[telemetry]]
        path = "/3303/*/5700"
        key = "temperature_{instance}"
        scale = 1.0
        offset = 0.0
        round = 2
        unit = "Cel"
        names = { "0" = "off", "1" = "on" }
        as = "float"
        observe = { pmin = "5s", pmax = "5m", gt = 30, st = 0.5 }
        read = "on_register"
        report = "on_change"
        sinks = ["cloud"]
        also = false

        [[attribute]]
        path = "/3/0/0"
        key = "manufacturer"

        [[ignore]]
        path = "/4/*/*"

        [[desired]]
        key = "setpoint"
        path = "/3308/0/5900"
        min = 5
        max = 30

        [[command]]
        name = "reboot"
        path = "/3/0/4"
        operation = "execute"
        arguments = "0='{delay}'"

        [[publish]]
        sink = "cloud"
        on = "telemetry"
        path = "/3303/*/5700"
        topic = "plant/{device}/{key}"
        payload = { v = "{value}", t = "{ts}", u = "{unit}" }
        exclusive = false
        qos = 1
        retain = false

        [[http]]
        route = "/plant/{device}/setpoint"
        path = "/3308/0/5900"
        methods = ["GET", "PUT"]
        role = "operator"
        cached = "30s"

        [[example]]
        endpoint = "weather-1"
        report = { path = "/3303/0/5700", value = 21.456, ts = 1700000000000 }
        expect = { telemetry = { temperature_0 = 21.46 } }
        "#,
        true,
    );
    assert_eq!(problems, []);
    assert_eq!(plan.run_examples(), []);
    let mut facts = device(&[(3, &[0]), (4, &[0]), (3303, &[0])]);
    facts.tags = vec!["site-a".to_owned()];
    facts.manufacturer = Some("ACME".to_owned());
    let bench = Bench::new(plan, facts);
    assert_eq!(bench.observed(), ["/3303/0/5700", "/3/0/0", "/3/0/11"]);
}

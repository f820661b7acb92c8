//! What the client of a case must hold: configurations C.1 to C.12 of the test specification, as far as cases here use
//! them. The server account has Short Server ID 1, the security account stands where no server can see it.

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::model::version::Version;
use lwm2mqtt::protocol::content::ContentFormat;
use lwm2mqtt::simulator::script::DeviceScript;

use super::bench::{ENDPOINT, of_version};

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// C.1: a server account and the least of a device.
pub(crate) fn c1(version: Version) -> DeviceScript {
    let mut script = DeviceScript::new(ENDPOINT)
        .with(Path::resource(0, 0, 0), text("coap://server"))
        .with(Path::resource(0, 0, 10), Value::Integer(1))
        .with(Path::resource(1, 0, 0), Value::Integer(1))
        .with_writable(Path::resource(1, 0, 1), Value::Integer(86_400))
        .with_writable(Path::resource(1, 0, 6), Value::Boolean(false))
        .with_writable(Path::resource(1, 0, 7), text("U"))
        .with_executable(Path::resource(1, 0, 8))
        .with(Path::resource(3, 0, 0), text("Acme"))
        .with(Path::resource(3, 0, 1), text("Anvil 3"))
        .with(Path::resource(3, 0, 2), text("345000123"))
        .with(Path::resource(3, 0, 3), text("1.0"))
        .with_executable(Path::resource(3, 0, 4))
        .with(Path::resource_instance(3, 0, 11, 0), Value::Integer(0))
        .with(Path::resource(3, 0, 16), text("U"));
    // The cases of object 1 want the optional OMA JSON where a release has it.
    script.formats.push(ContentFormat::OMA_JSON);
    of_version(script, version)
}

/// C.3: C.1 with the periods of the server account, and Disable.
pub(crate) fn c3(version: Version) -> DeviceScript {
    c1(version)
        .with_writable(Path::resource(1, 0, 2), Value::Integer(1))
        .with_writable(Path::resource(1, 0, 3), Value::Integer(10))
        .with_executable(Path::resource(1, 0, 4))
        .with_writable(Path::resource(1, 0, 5), Value::Integer(86_400))
}

/// C.4: C.3 with two power sources.
pub(crate) fn c4(version: Version) -> DeviceScript {
    c3(version)
        .with(Path::resource_instance(3, 0, 6, 0), Value::Integer(1))
        .with(Path::resource_instance(3, 0, 6, 1), Value::Integer(5))
        .with(Path::resource_instance(3, 0, 7, 0), Value::Integer(3_800))
        .with(Path::resource_instance(3, 0, 7, 1), Value::Integer(5_000))
        .with(Path::resource_instance(3, 0, 8, 0), Value::Integer(125))
        .with(Path::resource_instance(3, 0, 8, 1), Value::Integer(900))
        .with(Path::resource(3, 0, 9), Value::Integer(100))
}

/// C.5: C.4 with connectivity monitoring.
pub(crate) fn c5(version: Version) -> DeviceScript {
    c4(version)
        .with(Path::resource(4, 0, 0), Value::Integer(0))
        .with(Path::resource_instance(4, 0, 1, 0), Value::Integer(0))
        .with(Path::resource(4, 0, 2), Value::Integer(92))
        .with(Path::resource(4, 0, 3), Value::Integer(2))
        .with(Path::resource_instance(4, 0, 4, 0), text("192.168.0.100"))
}

/// C.6: C.4 with all of the device object that can be written.
pub(crate) fn c6(version: Version) -> DeviceScript {
    c4(version)
        .with_writable(Path::resource(3, 0, 13), Value::Time(1_367_491_215))
        .with_writable(Path::resource(3, 0, 14), text("+02:00"))
        .with_writable(Path::resource(3, 0, 15), text("Europe/Paris"))
}

/// C.7: C.4 with a position.
pub(crate) fn c7(version: Version) -> DeviceScript {
    c4(version)
        .with(Path::resource(6, 0, 0), Value::Float(43.612_33))
        .with(Path::resource(6, 0, 1), Value::Float(7.050_83))
        .with(Path::resource(6, 0, 5), Value::Time(1_367_491_215))
}

/// C.12: C.1 with an instance of the portfolio object that has four identities.
pub(crate) fn c12(version: Version) -> DeviceScript {
    let mut script = (0..4).fold(c1(version), |script, identity| {
        script.with_writable(Path::resource_instance(16, 0, 0, identity), text(&format!("identity {identity}")))
    });
    script.tree.allow_create(16);
    script
}

//! Ready devices for the demo and the load generator: objects, start values and how they drift.
//!
//! Bounds and steps are chosen so that the curves look like those of the thing: pressure drifts slowly, power jumps.

use std::time::Duration;

use super::script::{DeviceScript, Walk};
use crate::model::path::Path;
use crate::model::value::Value;
use crate::model::version::Version;

/// The devices that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// All of the others but the thermometer in turn, by the number of the device.
    #[default]
    Mixed,
    /// Temperature, humidity, pressure.
    WeatherStation,
    /// Power measurement and switches.
    SmartPlug,
    /// Position and cellular link.
    Tracker,
    /// Temperature and battery, asleep most of the time.
    BatterySleeper,
    /// One temperature and nothing to spare, for measuring throughput.
    Thermometer,
}

/// The script of the device with this number.
#[must_use]
pub fn script(kind: DeviceKind, endpoint: String, number: u32) -> DeviceScript {
    match (kind, number % 4) {
        (DeviceKind::WeatherStation, _) | (DeviceKind::Mixed, 0) => weather_station(endpoint),
        (DeviceKind::SmartPlug, _) | (DeviceKind::Mixed, 1) => smart_plug(endpoint),
        (DeviceKind::Tracker, _) | (DeviceKind::Mixed, 2) => tracker(endpoint),
        (DeviceKind::BatterySleeper | DeviceKind::Mixed, _) => battery_sleeper(endpoint),
        (DeviceKind::Thermometer, _) => thermometer(endpoint),
    }
}

/// Temperature (3303), humidity (3304) and pressure (3315) outdoors.
#[must_use]
pub fn weather_station(endpoint: impl Into<String>) -> DeviceScript {
    let script = sensor(basis(endpoint, "Meteora WS-3"), 3303, 14.2, (-12.0, 34.0), 0.4, "Cel");
    let script = sensor(script, 3304, 61.0, (25.0, 98.0), 1.5, "%RH");
    sensor(script, 3315, 101_320.0, (97_500.0, 104_000.0), 30.0, "Pa")
}

/// Active power (3305), a relay as power control (3312) and an indicator light (3306).
#[must_use]
pub fn smart_plug(endpoint: impl Into<String>) -> DeviceScript {
    let power = Path::resource(3305, 0, 5800);
    let energy = Path::resource(3305, 0, 5805);
    let mut script = basis(endpoint, "Socketry SP-16")
        .with_walk(walk(power, (0.0, 3_680.0), 120.0, 1), Value::Float(84.5))
        .with(energy, Value::Float(12_840.0))
        .with(Path::resource(3305, 0, 5820), Value::Float(0.97))
        .with_executable(Path::resource(3305, 0, 5822))
        .with_writable(Path::resource(3312, 0, 5850), Value::Boolean(true))
        .with_writable(Path::resource(3312, 0, 5750), Value::String("Socket".to_owned()))
        .with_writable(Path::resource(3306, 0, 5850), Value::Boolean(false))
        .with_writable(Path::resource(3306, 0, 5851), Value::Integer(100));
    script.tree.set_version(3305, Version::V1_1);
    script.tree.set_version(3312, Version::V1_1);
    script.tree.set_version(3306, Version::V1_1);
    script
}

/// Position (6) with speed, and the cellular link (4).
#[must_use]
pub fn tracker(endpoint: impl Into<String>) -> DeviceScript {
    basis(endpoint, "Wayfarer T2")
        .with_walk(walk(Path::resource(6, 0, 0), (47.2, 47.6), 0.002, 5), Value::Float(47.377_2))
        .with_walk(walk(Path::resource(6, 0, 1), (8.3, 8.8), 0.003, 5), Value::Float(8.541_7))
        .with_walk(walk(Path::resource(6, 0, 2), (380.0, 620.0), 6.0, 0), Value::Float(412.0))
        .with_walk(walk(Path::resource(6, 0, 6), (0.0, 33.0), 3.0, 1), Value::Float(8.5))
        .with(Path::resource(6, 0, 5), Value::Time(1_700_000_000))
        .with(Path::resource(4, 0, 0), Value::Integer(6))
        .with(Path::resource_instance(4, 0, 1, 0), Value::Integer(6))
        .with(Path::resource_instance(4, 0, 1, 1), Value::Integer(7))
        .with_walk(walk(Path::resource(4, 0, 2), (-121.0, -62.0), 4.0, 0), Value::Integer(-87))
        .with_walk(walk(Path::resource(4, 0, 3), (4.0, 30.0), 2.0, 0), Value::Integer(17))
        .with(Path::resource_instance(4, 0, 4, 0), Value::String("10.64.7.21".to_owned()))
        .with(Path::resource(4, 0, 8), Value::Integer(21_004_563))
        .with(Path::resource(4, 0, 9), Value::Integer(1))
        .with(Path::resource(4, 0, 10), Value::Integer(228))
}

/// A cellar thermometer on a coin cell: LwM2M 1.0 in queue mode, awake for 20 seconds after each report.
#[must_use]
pub fn battery_sleeper(endpoint: impl Into<String>) -> DeviceScript {
    let mut script = sensor(basis(endpoint, "Dormouse C1"), 3303, 9.1, (4.0, 16.0), 0.2, "Cel")
        .with_walk(walk(Path::resource(3, 0, 9), (5.0, 100.0), 1.0, 0), Value::Integer(83))
        .with_version(Version::V1_0);
    script.queue_mode = true;
    script.awake_window = Duration::from_secs(20);
    script
}

/// The least that reports: one temperature.
#[must_use]
pub fn thermometer(endpoint: impl Into<String>) -> DeviceScript {
    let mut script = DeviceScript::new(endpoint)
        .with(Path::resource(3, 0, 0), Value::String("Meteora".to_owned()))
        .with(Path::resource(3, 0, 16), Value::String("U".to_owned()))
        .with_walk(walk(Path::resource(3303, 0, 5700), (-12.0, 34.0), 0.4, 1), Value::Float(21.0));
    script.text_for_single_resources = true;
    script
}

/// The objects 1 and 3 that all of them have.
fn basis(endpoint: impl Into<String>, model: &str) -> DeviceScript {
    let (manufacturer, model) = model.split_once(' ').unwrap_or((model, ""));
    let text = |text: &str| Value::String(text.to_owned());
    let mut script = DeviceScript::new(endpoint);
    script.lifetime_secs = 3_600;
    script
        .with(Path::resource(1, 0, 0), Value::Integer(123))
        .with_writable(Path::resource(1, 0, 1), Value::Integer(3_600))
        .with_writable(Path::resource(1, 0, 6), Value::Boolean(true))
        .with_writable(Path::resource(1, 0, 7), text("U"))
        .with_executable(Path::resource(1, 0, 8))
        .with(Path::resource(3, 0, 0), text(manufacturer))
        .with(Path::resource(3, 0, 1), text(model))
        .with(Path::resource(3, 0, 3), text("1.4.2"))
        .with_executable(Path::resource(3, 0, 4))
        .with(Path::resource_instance(3, 0, 11, 0), Value::Integer(0))
        .with_writable(Path::resource(3, 0, 14), text("+01:00"))
        .with(Path::resource(3, 0, 16), text("U"))
}

/// Instance 0 of one of the sensor objects that share their resources.
fn sensor(
    script: DeviceScript,
    object: u16,
    start: f64,
    (minimum, maximum): (f64, f64),
    step: f64,
    unit: &str,
) -> DeviceScript {
    let mut script = script
        .with_walk(walk(Path::resource(object, 0, 5700), (minimum, maximum), step, 1), Value::Float(start))
        .with(Path::resource(object, 0, 5603), Value::Float(minimum))
        .with(Path::resource(object, 0, 5604), Value::Float(maximum))
        .with(Path::resource(object, 0, 5701), Value::String(unit.to_owned()))
        .with_executable(Path::resource(object, 0, 5605))
        .with_writable(Path::resource(object, 0, 5750), Value::String(String::new()));
    script.tree.set_version(object, Version::V1_1);
    script
}

const fn walk(path: Path, (minimum, maximum): (f64, f64), step: f64, decimals: u8) -> Walk {
    Walk { path, minimum, maximum, step, decimals }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_drifting_values_within_their_bounds() {
        for kind in [
            DeviceKind::WeatherStation,
            DeviceKind::SmartPlug,
            DeviceKind::Tracker,
            DeviceKind::BatterySleeper,
            DeviceKind::Thermometer,
        ] {
            let script = script(kind, "device".to_owned(), 0);
            assert!(!script.walks.is_empty(), "{kind:?}");
            for walk in &script.walks {
                let start = script.tree.value(&walk.path).and_then(Value::as_f64).unwrap();
                assert!((walk.minimum..=walk.maximum).contains(&start), "{kind:?} {}", walk.path);
            }
        }
    }

    #[test]
    fn a_mixed_fleet_has_all_of_the_demo_devices() {
        let models: Vec<_> = (0..4)
            .map(|number| {
                let script = script(DeviceKind::Mixed, "device".to_owned(), number);
                script.tree.value(&Path::resource(3, 0, 1)).cloned().unwrap()
            })
            .collect();
        assert_eq!(models, ["WS-3", "SP-16", "T2", "C1"].map(|model| Value::String(model.to_owned())));
    }

    #[test]
    fn the_sleeper_is_a_device_of_1_0_in_queue_mode() {
        let script = battery_sleeper("device");
        assert!(script.queue_mode);
        assert_eq!(script.lwm2m, Version::V1_0);
    }
}

//! The built-in registry and the choice among versions.

use std::collections::{BTreeMap, BTreeSet};

use super::registry::{self, BUILT_IN};
use super::{DeviceModel, NoTypes, ObjectDefinition, ObjectModel, Operations, ResourceDefinition, ResourceTypes};
use crate::model::ddf;
use crate::model::path::Path;
use crate::model::report::RegisteredObject;
use crate::model::value::ResourceType;
use crate::model::version::Version;

const V1_3: Version = Version::new(1, 3);
const V2_0: Version = Version::new(2, 0);

fn built_in_definitions() -> Vec<ObjectDefinition> {
    registry::blocks(BUILT_IN).map(|block| registry::parse_block(block.text).expect(block.name)).collect()
}

/// An object with one readable resource for each of the named.
fn object(id: u16, version: Version, name: &str, resources: &[(u16, &str)]) -> ObjectDefinition {
    let items: Vec<String> = resources
        .iter()
        .map(|(id, name)| {
            format!("<Item ID='{id}'><Name>{name}</Name><Operations>R</Operations><Type>Float</Type></Item>")
        })
        .collect();
    let items = items.concat();
    let xml = format!(
        "<LWM2M><Object ObjectType='MODefinition'><Name>{name}</Name><ObjectID>{id}</ObjectID>\
         <ObjectVersion>{version}</ObjectVersion><Resources>{items}</Resources></Object></LWM2M>"
    );
    ddf::parse(&xml).unwrap().remove(0)
}

#[test]
fn every_line_of_the_registry_is_read() {
    let definitions = built_in_definitions();
    let lines = BUILT_IN.lines().filter(|line| !line.starts_with('#')).count();
    let resources: usize = definitions.iter().map(|object| object.resources.len()).sum();
    assert_eq!((definitions.len(), resources), (424, 4506));
    assert_eq!(lines, definitions.len() + resources);
    assert_eq!(definitions.iter().map(|object| object.id).collect::<BTreeSet<_>>().len(), 327);
}

#[test]
fn registry_is_sorted_and_written_as_the_generator_writes_it() {
    let body: String = BUILT_IN.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect();
    assert!(registry::write(&built_in_definitions()) == body, "models/oma.tsv is not in the form of the generator");
}

#[test]
fn newest_versions_hold_the_known_numbers_of_types_and_operations() {
    let model = ObjectModel::built_in();
    let newest: Vec<_> = model.objects().map(|(id, _)| model.newest(id).unwrap()).collect();
    let resources = || newest.iter().flat_map(|object| object.resources.values());
    let of_type = |wanted: Option<ResourceType>| resources().filter(|one| one.resource_type == wanted).count();
    assert_eq!(resources().count(), 3464);
    assert_eq!(resources().filter(|one| one.multiple).count(), 245);
    assert_eq!(resources().filter(|one| one.mandatory).count(), 1082);
    for (wanted, count) in [
        (Some(ResourceType::Integer), 1031),
        (Some(ResourceType::Float), 762),
        (Some(ResourceType::String), 589),
        (Some(ResourceType::Boolean), 286),
        (None, 274),
        (Some(ResourceType::Time), 179),
        (Some(ResourceType::UnsignedInteger), 136),
        (Some(ResourceType::Opaque), 119),
        (Some(ResourceType::ObjectLink), 68),
        (Some(ResourceType::CoreLink), 20),
    ] {
        assert_eq!(of_type(wanted), count, "{wanted:?}");
    }
    for (read, write, execute, count) in [
        (true, false, false, 2058),
        (true, true, false, 1044),
        (false, false, true, 273),
        (false, true, false, 47),
        (false, false, false, 42),
    ] {
        let operations = Operations { read, write, execute };
        assert_eq!(resources().filter(|one| one.operations == operations).count(), count, "{operations:?}");
    }
    for (enabler, count) in [(Version::V1_0, 280), (Version::V1_1, 42), (Version::V1_2, 5)] {
        assert_eq!(newest.iter().filter(|object| object.enabler == enabler).count(), count, "{enabler}");
    }
}

#[test]
fn core_objects_follow_the_enabler_version_unless_they_state_theirs() {
    let model = ObjectModel::built_in();
    let table = [
        (0, [Version::V1_0, Version::V1_1, Version::V1_2]),
        (1, [Version::V1_0, Version::V1_1, Version::V1_2]),
        (2, [Version::V1_0, Version::V1_0, Version::V1_1]),
        (3, [Version::V1_0, Version::V1_1, Version::V1_2]),
        (4, [Version::V1_0, Version::V1_2, V1_3]),
        (5, [Version::V1_0, Version::V1_0, Version::V1_1]),
        (6, [Version::V1_0; 3]),
        (7, [Version::V1_0; 3]),
        (21, [Version::V1_0, Version::V1_0, V2_0]),
        (25, [Version::V1_0; 3]),
        (3303, [Version::V1_0; 3]),
    ];
    for (id, expected) in table {
        let enablers = [Version::V1_0, Version::V1_1, Version::V1_2];
        for (enabler, expected) in enablers.into_iter().zip(expected) {
            let chosen = model.object(id, None, Some(enabler)).unwrap();
            assert_eq!(chosen.version, expected, "object {id} of enabler {enabler}");
        }
        assert_eq!(model.object(id, None, None).unwrap().version, expected[0], "object {id} without enabler");
    }
    let stated = model.object(5, Some(Version::V1_1), Some(Version::V1_0)).unwrap();
    assert_eq!(stated.version, Version::V1_1);
}

#[test]
fn unknown_versions_are_replaced_by_the_closest_known() {
    let model = ObjectModel::built_in();
    let chosen = |id, major, minor| model.object(id, Some(Version::new(major, minor)), None).unwrap().version;
    assert_eq!(chosen(3, 1, 9), Version::V1_2, "newest with the same major number");
    assert_eq!(chosen(3336, 1, 7), Version::V1_1);
    assert_eq!(chosen(3336, 9, 0), V2_0, "else the newest of all");
    assert_eq!(chosen(20, 3, 1), Version::new(2, 1));
    assert!(model.object(31_024, None, None).is_none());
}

#[test]
fn major_versions_of_location_have_their_own_resources() {
    let model = ObjectModel::built_in();
    let (older, newer) = (model.exact(3336, Version::V1_1).unwrap(), model.exact(3336, V2_0).unwrap());
    assert_eq!(older.resources[&5514].resource_type, Some(ResourceType::String));
    assert_eq!(newer.resources[&6051].resource_type, Some(ResourceType::Float));
    assert!(!newer.resources.contains_key(&5514) && !older.resources.contains_key(&6051));
}

#[test]
fn resource_missing_in_the_stated_version_is_taken_from_a_later_one() {
    let model = ObjectModel::built_in();
    assert!(!model.exact(4, Version::V1_0).unwrap().resources.contains_key(&13));
    assert!(model.resource(4, Some(Version::V1_0), None, 13).is_some());
    assert!(model.resource(3336, Some(Version::V1_0), None, 6051).is_some(), "also from another major version");
    assert!(model.resource(3, None, None, 60_000).is_none());
}

#[test]
fn device_sees_its_objects_in_the_versions_it_registered() {
    let model = ObjectModel::built_in();
    let registered = RegisteredObject { version: Some(V2_0), instances: vec![0] };
    let objects = BTreeMap::from([(3336, registered)]);
    let device = DeviceModel { model: &model, objects: &objects, enabler: Some(Version::V1_2) };
    assert_eq!(device.object(3336).unwrap().version, V2_0);
    assert_eq!(device.object(3).unwrap().version, Version::V1_2);
    let voltage = device.shape(&Path::resource_instance(3, 0, 7, 1)).unwrap();
    assert_eq!((voltage.resource_type, voltage.multiple), (Some(ResourceType::Integer), true));
    assert_eq!(device.names(&Path::resource(3, 0, 7)), Some(("device", "power_source_voltage")));
    assert_eq!(device.shape(&Path::instance(3, 0)), None);
    assert_eq!(NoTypes.shape(&Path::resource(3, 0, 7)), None);
}

#[test]
fn names_are_unique_and_lead_back_to_their_identifiers() {
    let model = ObjectModel::built_in();
    let mut object_names = BTreeSet::new();
    for (id, versions) in model.objects() {
        let name = model.object_path_name(id).unwrap();
        assert!(object_names.insert(name.to_owned()), "{name} names two objects");
        assert_eq!(model.object_id_by_name(name), Some(id));
        let mut owners: BTreeMap<&str, u16> = BTreeMap::new();
        for version in versions {
            let definition = model.exact(id, version).unwrap();
            assert_eq!(definition.path_name, name);
            for resource in definition.resources.values() {
                let owner = *owners.entry(&resource.path_name).or_insert(resource.id);
                assert_eq!(owner, resource.id, "{} of object {id} names two resources", resource.path_name);
                assert_eq!(model.resource_id_by_name(id, &resource.path_name), Some(resource.id));
                let path = format!("/{name}/0/{}", resource.path_name);
                assert_eq!(model.parse_path(&path), Ok(Path::resource(id, 0, resource.id)));
            }
        }
    }
}

#[test]
fn shared_names_go_to_the_lowest_identifier() {
    let model = ObjectModel::built_in();
    assert_eq!(model.object_path_name(6), Some("location"));
    assert_eq!(model.object_path_name(3336), Some("location_3336"));
    assert_eq!(model.resource_id_by_name(3430, "satellite_identifiers"), Some(17));
    assert_eq!(model.resource_id_by_name(3430, "satellite_identifiers_18"), Some(18));
}

#[test]
fn renamed_objects_and_resources_are_found_by_both_names() {
    let model = ObjectModel::built_in();
    assert_eq!(model.object_path_name(10_260), Some("rdb"));
    assert_eq!(model.object_id_by_name("runtime_database"), Some(10_260));
    assert_eq!(model.exact(10, Version::V1_0).unwrap().resources[&4].path_name, "psm_timer");
    assert_eq!(model.resource_id_by_name(10, "psm_timer_1"), Some(4));
}

#[test]
fn hints_come_from_the_object_at_hand() {
    let model = ObjectModel::built_in();
    assert_eq!(model.nearest_object_name("humidty"), Some("humidity"));
    assert_eq!(model.nearest_resource_name(3303, "sensor_values"), Some("sensor_value"));
    assert_eq!(model.nearest_resource_name(31_024, "sensor_value"), None);
}

#[test]
fn added_definitions_replace_their_version_and_no_other() {
    let built_in = ObjectModel::built_in();
    let model = built_in.with_definitions(vec![
        object(3303, Version::V1_1, "Temperature", &[(1, "Own Value")]),
        object(33_629, Version::V1_0, "Advanced Firmware", &[(0, "State")]),
    ]);
    let replaced = model.exact(3303, Version::V1_1).unwrap();
    assert_eq!(replaced.resources.keys().copied().collect::<Vec<_>>(), [1]);
    assert!(model.exact(3303, Version::V1_0).unwrap().resources.contains_key(&5700));
    assert_eq!(model.parse_path("/advanced_firmware/0/state"), Ok(Path::resource(33_629, 0, 0)));
    assert!(built_in.object(33_629, None, None).is_none(), "the model that was extended stays as it is");
    assert!(built_in.exact(3303, Version::V1_1).unwrap().resources.contains_key(&5700));
}

#[test]
fn added_objects_take_no_name_that_is_in_use() {
    let model = ObjectModel::built_in().with_definitions(vec![
        object(2500, Version::V1_0, "Temperature", &[]),
        object(33_001, Version::V1_0, "Pump", &[(2, "Speed"), (1, "Speed")]),
        object(33_000, Version::V1_0, "Pump", &[]),
    ]);
    assert_eq!(model.object_id_by_name("temperature"), Some(3303));
    assert_eq!(model.object_path_name(2500), Some("temperature_2500"));
    assert_eq!((model.object_path_name(33_000), model.object_path_name(33_001)), (Some("pump"), Some("pump_33001")));
    assert_eq!(model.resource_id_by_name(33_001, "speed"), Some(1));
    assert_eq!(model.resource_id_by_name(33_001, "speed_2"), Some(2));
}

#[test]
fn ranges_of_the_registry_bound_writes() {
    use crate::model::value::Value;
    let model = ObjectModel::built_in();
    let dimmer: &ResourceDefinition = &model.newest(3311).unwrap().resources[&5851];
    assert!(dimmer.check(&Value::Integer(100)).is_ok());
    assert!(dimmer.check(&Value::Integer(101)).unwrap_err().contains("0..100"));
}

//! Configurations of Leshan's bootstrap server, by endpoint.

use serde_json::{Map, Value as Json};

use super::Imported;
use crate::northbound::leshan::entry_of;

/// Names that a configuration has, and hardly an endpoint.
const OF_CONFIGURATIONS: [&str; 3] = ["security", "servers", "toDelete"];

pub(super) fn import(file: &Json, endpoint: Option<&str>) -> Result<Imported, String> {
    let fields = file.as_object().ok_or("is no object of configurations by endpoint")?;
    let is_one = OF_CONFIGURATIONS.iter().any(|name| fields.contains_key(*name));
    let mut one = Map::new();
    let configurations = match endpoint {
        Some(endpoint) if is_one => {
            one.insert(endpoint.to_owned(), file.clone());
            &one
        }
        None if is_one => return Err("is the configuration of one device; name it by --endpoint".to_owned()),
        Some(_) => return Err("names the devices itself; --endpoint has no place".to_owned()),
        None => fields,
    };
    let mut imported = Imported::default();
    for (endpoint, configuration) in configurations {
        let about = format!("device {endpoint}");
        let entry = entry_of(configuration);
        for problem in &entry.problems {
            imported.note(&about, problem);
        }
        if endpoint.contains(['*', '?']) {
            imported
                .note(&about, "'*' and '?' stand for other characters here, and the entry for more than one device");
        }
        imported.devices.insert(endpoint.clone(), entry.json);
    }
    Ok(imported)
}

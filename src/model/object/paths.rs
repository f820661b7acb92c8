//! Paths with names in them: `/temperature/0/sensor_value` is `/3303/0/5700`.

use super::ObjectModel;
use crate::model::path::Path;

impl ObjectModel {
    /// Parses a path that may use names: `/3303/0/5700` or `/temperature/0/sensor_value`, also mixed.
    ///
    /// # Errors
    /// Says which part is unknown, with the nearest known name where there is one.
    pub fn parse_path(&self, text: &str) -> Result<Path, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return text.parse().map_err(|error: crate::model::path::PathError| error.to_string());
        };
        let mut numeric = String::with_capacity(text.len());
        let mut object = None;
        for (depth, part) in rest.split('/').enumerate() {
            numeric.push('/');
            let id = if is_name(part) { Some(self.named_part(depth, part, object)?) } else { part.parse().ok() };
            match id {
                // Written anew only when it was a name: the path itself judges the spelling of numbers.
                Some(id) if is_name(part) => numeric.push_str(&id.to_string()),
                _ => numeric.push_str(part),
            }
            if depth == 0 {
                object = id;
            }
        }
        numeric.parse().map_err(|error: crate::model::path::PathError| error.to_string())
    }

    /// The names of object and resource that `path` has (depth 3 or 4), from the newest version that knows the resource.
    #[must_use]
    pub fn definition_names(&self, path: &Path) -> Option<(&str, &str)> {
        let object = path.object_id()?;
        let newest = self.newest(object)?.version;
        let resource = self.resource(object, Some(newest), None, path.resource_id()?)?;
        Some((self.object_path_name(object)?, &resource.path_name))
    }

    /// What a part that is no number stands for; `object` is what the first part stood for.
    fn named_part(&self, depth: usize, part: &str, object: Option<u16>) -> Result<u16, String> {
        match depth {
            0 => self
                .object_id_by_name(part)
                .ok_or_else(|| unknown(part, "no known object", self.nearest_object_name(part))),
            2 => {
                let Some(object) = object else {
                    return Err(format!("'{}' cannot be looked up: the object is no identifier", shortened(part)));
                };
                self.resource_id_by_name(object, part).ok_or_else(|| match self.object_path_name(object) {
                    Some(name) => unknown(
                        part,
                        &format!("no resource of object {object} ({name})"),
                        self.nearest_resource_name(object, part),
                    ),
                    None => format!(
                        "'{}' cannot be looked up: no definition of object {object} is known; write the resource as a number",
                        shortened(part)
                    ),
                })
            }
            1 => Err(format!("'{}' is no instance: instances have numbers only", shortened(part))),
            _ => Err(format!("'{}' is no resource instance: they have numbers only", shortened(part))),
        }
    }
}

/// Whether a part is to be looked up. Parts that begin like a number but have letters are names too: `5gnr_connectivity`.
fn is_name(part: &str) -> bool {
    part.bytes().any(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

fn unknown(part: &str, what: &str, nearest: Option<&str>) -> String {
    let hint = nearest.map(|name| format!("; did you mean '{name}'?")).unwrap_or_default();
    format!("'{}' is {what}{hint}", shortened(part))
}

/// Enough of a part to recognise it.
fn shortened(part: &str) -> String {
    const MAX_CHARS: usize = 40;
    part.chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        ObjectModel::built_in().parse_path(text).unwrap_err()
    }

    #[test]
    fn names_and_numbers_may_be_mixed() {
        let model = ObjectModel::built_in();
        for text in ["/temperature/0/sensor_value", "/3303/0/sensor_value", "/temperature/0/5700", "/3303/0/5700"] {
            assert_eq!(model.parse_path(text), Ok(Path::resource(3303, 0, 5700)), "{text}");
        }
        assert_eq!(model.parse_path("/device"), Ok(Path::object(3)));
        assert_eq!(model.parse_path("/"), Ok(Path::ROOT));
        assert_eq!(model.parse_path("/5gnr_connectivity/0"), Ok(Path::instance(27, 0)));
        assert_eq!(model.parse_path("/device/0/power_source_voltage/1"), Ok(Path::resource_instance(3, 0, 7, 1)));
        assert_eq!(model.parse_path("/31024/0/1"), Ok(Path::resource(31024, 0, 1)), "numbers need no definition");
    }

    #[test]
    fn unknown_parts_are_named_with_the_nearest_known_name() {
        assert_eq!(refusal("/temprature/0/5700"), "'temprature' is no known object; did you mean 'temperature'?");
        assert_eq!(
            refusal("/3303/0/sensor_valu"),
            "'sensor_valu' is no resource of object 3303 (temperature); did you mean 'sensor_value'?"
        );
        assert_eq!(refusal("/Temperature/0"), "'Temperature' is no known object; did you mean 'temperature'?");
        assert_eq!(refusal("/zzzzzzzzz"), "'zzzzzzzzz' is no known object");
        assert!(refusal("/31024/0/speed").contains("no definition of object 31024 is known"));
        assert!(refusal("/3303/first/5700").contains("'first' is no instance"));
        assert!(refusal("/3/0/7/first").contains("'first' is no resource instance"));
        assert!(refusal("/99999/0/speed").contains("the object is no identifier"));
    }

    #[test]
    fn numbers_keep_the_rules_of_numeric_paths() {
        for text in ["temperature/0", "", "/3/00", "/3//1", "/65535", "/3/0/1/2/3", "/temperature/", "/3/0/+1"] {
            assert!(ObjectModel::built_in().parse_path(text).is_err(), "{text}");
        }
    }

    #[test]
    fn definition_names_come_from_the_newest_version_with_the_resource() {
        let model = ObjectModel::built_in();
        assert_eq!(model.definition_names(&Path::resource(3303, 0, 5700)), Some(("temperature", "sensor_value")));
        assert_eq!(model.definition_names(&Path::resource(3336, 0, 5514)), Some(("location_3336", "latitude")));
        assert_eq!(model.definition_names(&Path::instance(3303, 0)), None);
        assert_eq!(model.definition_names(&Path::resource(31024, 0, 1)), None);
    }
}

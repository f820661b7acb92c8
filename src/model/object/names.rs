//! Names in paths: snake_case, made unique, and the known name nearest to a mistyped one.

use std::collections::{BTreeMap, BTreeSet};

/// Longer texts get no hint: nobody mistypes them, and the distance costs their length squared.
const MAX_HINT_CHARS: usize = 64;

/// The name in paths for a registered name: `Sensor Value` is `sensor_value`, `PkgName` is `pkg_name`.
///
/// An upper-case letter begins a word only after two lower-case letters, so that `LwM2M`, `IoT` and `eDRX` stay whole.
/// The result holds `a-z`, `0-9` and `_` alone and is empty if the name has none of them.
pub(in crate::model) fn snake_case(name: &str) -> String {
    let mut result = String::with_capacity(name.len());
    let mut lower_run = 0_u32;
    let mut pending = false;
    for character in name.chars() {
        if !character.is_ascii_alphanumeric() {
            pending = true;
            lower_run = 0;
            continue;
        }
        let begins_word = character.is_ascii_uppercase() && lower_run >= 2;
        if (pending || begins_word) && !result.is_empty() {
            result.push('_');
        }
        pending = false;
        lower_run = if character.is_ascii_lowercase() { lower_run.saturating_add(1) } else { 0 };
        result.push(character.to_ascii_lowercase());
    }
    result
}

/// [`snake_case`], with `prefix_ID` for a name that would be empty or could be taken for a number.
pub(super) fn path_name(name: &str, prefix: &str, id: u16) -> String {
    let name = snake_case(name);
    if name.bytes().all(|byte| byte.is_ascii_digit()) { format!("{prefix}_{id}") } else { name }
}

/// Which identifier a name in paths stands for.
#[derive(Clone, Debug, Default)]
pub(super) struct NameTable {
    ids: BTreeMap<Box<str>, u16>,
}

impl NameTable {
    /// Gives every wish a name of its own and returns them in the order of the wishes.
    ///
    /// A name that is taken already or wished for by a lower identifier becomes `name_ID`. Wishes of one identifier for
    /// the same name share it.
    pub(super) fn assign(&mut self, wishes: &[(u16, String)]) -> Vec<String> {
        let mut owners: BTreeMap<&str, u16> = BTreeMap::new();
        for (id, name) in wishes {
            let owner = owners.entry(name).or_insert(*id);
            *owner = (*owner).min(*id);
        }
        // A made name must not take a name that somebody else has by nature.
        let natural: BTreeSet<&str> = owners.keys().copied().collect();
        let mut given = Vec::with_capacity(wishes.len());
        for (id, name) in wishes {
            let free = self.ids.get(name.as_str()).is_none_or(|owner| owner == id);
            let mut unique = name.clone();
            if !free || owners.get(name.as_str()) != Some(id) {
                loop {
                    unique = format!("{unique}_{id}");
                    let taken = self.ids.get(unique.as_str()).is_some_and(|owner| owner != id);
                    if !taken && !natural.contains(unique.as_str()) {
                        break;
                    }
                }
            }
            self.ids.insert(unique.as_str().into(), *id);
            given.push(unique);
        }
        given
    }

    /// Lets a further name stand for `id`, unless it means something already.
    pub(super) fn add_alias(&mut self, name: String, id: u16) {
        self.ids.entry(name.into_boxed_str()).or_insert(id);
    }

    /// What `name` stands for.
    pub(super) fn id(&self, name: &str) -> Option<u16> {
        self.ids.get(name).copied()
    }

    /// The known name most like `name`; `None` if none is close enough to be meant.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        if name.chars().count() > MAX_HINT_CHARS {
            return None;
        }
        let wanted = snake_case(name);
        // A third of the letters may be wrong; the first letters of a longer name count as one mistake.
        let allowed = (wanted.len() / 3).max(1);
        self.ids
            .keys()
            .map(|known| {
                let begins = wanted.len() >= 3 && known.starts_with(&wanted);
                (if begins && **known != *wanted { 1 } else { distance(&wanted, known) }, known.len(), &**known)
            })
            .filter(|(mistakes, ..)| *mistakes <= allowed)
            .min()
            .map(|(.., known)| known)
    }
}

/// How many letters have to be put in, taken out or changed to make `left` of `right` (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.bytes().enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(previous);
        for (other, &above) in right.bytes().zip(row.iter().skip(1)) {
            previous = (diagonal + usize::from(letter != other)).min(above + 1).min(previous + 1);
            diagonal = above;
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(wishes: &[(u16, &str)]) -> Vec<(u16, String)> {
        wishes.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
    }

    #[test]
    fn registered_names_become_snake_case() {
        for (name, expected) in [
            ("Sensor Value", "sensor_value"),
            ("LwM2M Server", "lwm2m_server"),
            ("LWM2M Software Management", "lwm2m_software_management"),
            ("PkgName", "pkg_name"),
            ("BinaryAppDataContainer", "binary_app_data_container"),
            ("eDRX parameters for A/Gb mode (1)", "edrx_parameters_for_a_gb_mode_1"),
            ("IoT QoS CoAP", "iot_qos_coap"),
            ("On/Off switch", "on_off_switch"),
            (" Group\u{a0} Address. ", "group_address"),
            ("温度", ""),
        ] {
            assert_eq!(snake_case(name), expected);
        }
    }

    #[test]
    fn names_that_look_like_numbers_or_nothing_get_their_kind_in_front() {
        assert_eq!(path_name("温度", "object", 33_000), "object_33000");
        assert_eq!(path_name("5", "resource", 7), "resource_7");
        assert_eq!(path_name("5GNR Connectivity", "object", 27), "5gnr_connectivity");
    }

    #[test]
    fn lowest_identifier_keeps_a_shared_name() {
        let mut table = NameTable::default();
        let given = table.assign(&wishes(&[(3336, "location"), (6, "location")]));
        assert_eq!(given, ["location_3336", "location"]);
        assert_eq!((table.id("location"), table.id("location_3336")), (Some(6), Some(3336)));
    }

    #[test]
    fn a_made_name_never_takes_a_natural_one() {
        let mut table = NameTable::default();
        let given = table.assign(&wishes(&[(1, "pump"), (2, "pump"), (3, "pump_2")]));
        assert_eq!(given, ["pump", "pump_2_2", "pump_2"]);
        let later = table.assign(&wishes(&[(0, "pump")]));
        assert_eq!(later, ["pump_0"], "a name that is taken stays where it is");
    }

    #[test]
    fn nearest_name_is_found_for_slips_and_beginnings_only() {
        let mut table = NameTable::default();
        table.assign(&wishes(&[(3303, "temperature"), (3304, "humidity"), (3, "device")]));
        assert_eq!(table.nearest("temprature"), Some("temperature"));
        assert_eq!(table.nearest("Temperature"), Some("temperature"));
        assert_eq!(table.nearest("temp"), Some("temperature"));
        assert_eq!(table.nearest("devise"), Some("device"));
        assert_eq!(table.nearest("barometer"), None);
        assert_eq!(table.nearest(&"e".repeat(10_000)), None);
    }

    #[test]
    fn distance_counts_single_letters() {
        for (left, right, expected) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(left, right), expected);
            assert_eq!(distance(right, left), expected);
        }
    }
}

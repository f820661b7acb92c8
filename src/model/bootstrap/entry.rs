//! Which device gets what.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{AccountName, ServerAccount};
use crate::model::path::Path;

/// An endpoint name, or a glob of endpoint names (`*`, `?`): 1 to 256 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryName(Arc<str>);

impl EntryName {
    /// Checks a name or pattern; `None` if it cannot be one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= 256 && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for more than one name.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Whether it is what unknown devices get.
    #[must_use]
    pub fn is_default(&self) -> bool {
        &*self.0 == "*"
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An account by its name, or as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountOrName {
    /// An account that stands by itself.
    Named(AccountName),
    /// An account of this entry alone.
    Inline(Box<ServerAccount>),
}

/// An instance of the Access Control object (2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessControl {
    /// /2/x/0.
    pub object: u16,
    /// /2/x/1; 65,535: the right to create instances.
    pub instance: u16,
    /// /2/x/3; 65,535: the bootstrap server.
    pub owner: u16,
    /// /2/x/2: rights by short server id; id 0: of all that have none of their own.
    pub rights: BTreeMap<u16, u16>,
}

/// How much one Bootstrap-Write carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteBy {
    /// One instance.
    #[default]
    Instance,
    /// All instances of an object.
    Object,
}

/// Objects whose values are secret wherever they are shown: Security, OSCORE and COSE.
const SECRET_OBJECTS: [u16; 3] = [0, 21, 23];

/// What the devices get whose name an entry fits.
#[derive(Clone, Default, PartialEq)]
pub struct DeviceEntry {
    /// Accounts, in the order in which they are written.
    pub servers: Vec<AccountOrName>,
    /// Further values by path of an instance, resource or resource instance, checked against nothing: the object model
    /// gives types, and where it knows none the values do.
    pub writes: Vec<(Path, serde_json::Value)>,
    /// What is deleted first; `None`: what was there of the objects 0 and 1, and of 2 and 21 if they are written.
    pub deletes: Option<Vec<Path>>,
    /// Access control.
    pub access_control: Vec<AccessControl>,
    /// Content format; `None`: what the device prefers, else what its version has.
    pub format: Option<u16>,
    /// How much one write carries.
    pub write_by: WriteBy,
    /// Objects in the order in which they are written; others follow by number. Empty: 0, 1, and then the rest.
    pub order: Vec<u16>,
    /// Whether what was written is read back before Finish; `None`: where the device has version 1.1 or later.
    pub verify: Option<bool>,
}

impl DeviceEntry {
    /// Whether the value of a path is not to be shown.
    #[must_use]
    pub fn is_secret(path: &Path) -> bool {
        path.object_id().is_some_and(|object| SECRET_OBJECTS.contains(&object))
    }
}

/// Shows all but values that are secret.
impl fmt::Debug for DeviceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(path, value): &(Path, serde_json::Value)| {
            if Self::is_secret(path) { format!("{path}: [secret]") } else { format!("{path}: {value}") }
        };
        f.debug_struct("DeviceEntry")
            .field("servers", &self.servers)
            .field("writes", &self.writes.iter().map(shown).collect::<Vec<_>>())
            .field("deletes", &self.deletes)
            .field("access_control", &self.access_control)
            .field("format", &self.format)
            .field("write_by", &self.write_by)
            .field("order", &self.order)
            .field("verify", &self.verify)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_a_secret_value() {
        let path = |text: &str| text.parse::<Path>().unwrap();
        let writes =
            ["/21/0/3", "/0/7/5", "/23/0/1", "/3/0/15"].map(|text| (path(text), serde_json::json!("hunter2"))).to_vec();
        let shown = format!("{:?}", DeviceEntry { writes, ..DeviceEntry::default() });
        assert_eq!(shown.matches("hunter2").count(), 1, "{shown}");
        assert!(shown.contains("/21/0/3: [secret]") && shown.contains("/3/0/15: \\\"hunter2"), "{shown}");
    }
}

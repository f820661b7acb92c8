//! From the cloud to the device: desired keys and named commands.

use std::collections::BTreeMap;

use super::plan::{Plan, Selection};
use crate::model::command::{CommandError, ErrorKind, Operation};
use crate::model::object::DeviceModel;
use crate::model::path::Path;
use crate::model::report::DeviceFacts;
use crate::model::value::Value;

/// What a desired value asks of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredWrite {
    /// Where to write.
    pub path: Path,
    /// What to write.
    pub value: Value,
}

impl Plan {
    /// What writing a desired key means.
    ///
    /// # Errors
    /// `invalid` for an unknown key or a value outside its bounds; the message names the key.
    pub fn desired(
        &self,
        selection: &Selection,
        facts: &DeviceFacts,
        model: &DeviceModel<'_>,
        key: &str,
        value: &serde_json::Value,
    ) -> Result<DesiredWrite, CommandError> {
        let _ = (selection, facts, model, value);
        Err(CommandError::new(ErrorKind::Invalid, format!("key '{key}': no [[desired]] rule has it")))
    }

    /// The paths that a key is read from, for `get`.
    #[must_use]
    pub fn paths_of_key(&self, selection: &Selection, facts: &DeviceFacts, key: &str) -> Vec<Path> {
        let _ = (selection, facts, key);
        Vec::new()
    }

    /// What a named command means.
    ///
    /// # Errors
    /// `invalid` for an unknown name or a missing parameter.
    pub fn command(
        &self,
        selection: &Selection,
        name: &str,
        params: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Operation, CommandError> {
        let _ = (selection, params);
        Err(CommandError::new(ErrorKind::Invalid, format!("name '{name}': no [[command]] rule has it")))
    }
}

//! The name and tags that a device has from its credential when it becomes known.

use super::Devices;
use crate::gateway::services::Services;

impl Devices {
    /// Gives a device that has just become known what its credential says. A name that another device has is left out,
    /// and `last_error` tells.
    pub(super) fn name_by_credential(&mut self, services: &Services, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        let (name, tags) = services.credentials.name_and_tags_of(device.endpoint.as_str());
        device.facts.tags = tags.to_vec();
        let Some(name) = name.map(str::to_owned) else { return };
        let refused = format!("the name '{name}' of its credential is that of another device");
        if !self.rename(key, Some(name))
            && let Some(device) = self.table.get_mut(key)
        {
            device.last_error = Some(refused);
        }
    }
}

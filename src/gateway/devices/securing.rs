//! DTLS sessions and the devices on them.

use super::Devices;
use crate::gateway::handshakes::HandshakeInput;
use crate::gateway::services::Services;

impl Devices {
    /// Takes what happened to a handshake.
    pub fn handle_handshake(&mut self, _services: &mut Services, _input: HandshakeInput) {}

    /// Ends what stands by a credential that counts no more.
    pub fn credentials_changed(&mut self, _services: &mut Services) {}
}

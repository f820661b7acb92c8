//! Send (Core TS 1.2.2 section 6.4.6): values that a device reports without being asked.

use super::Devices;
use super::requests::Reply;
use crate::gateway::services::Services;
use crate::gateway::vocabulary::Peer;
use crate::model::path::Path;
use crate::model::report::ReportSource;
use crate::protocol::coap::message::Code;
use crate::protocol::content::ContentFormat;

impl Devices {
    /// Send (`POST /dp`, Core TS 1.2.2 section 6.4.4).
    pub(super) fn receive_send(
        &mut self,
        services: &mut Services,
        peer: Peer,
        format: Option<u16>,
        body: &[u8],
        bytes: usize,
    ) -> Reply {
        let Some(key) = self.by_address.get(&(peer.listener, peer.remote)).copied() else {
            services.refuse("", peer, "unknown_sender", "Send from an address that registered nothing");
            return Reply::now(Code::NOT_FOUND);
        };
        if self.table.get(key).is_none_or(|device| device.registration.is_none()) {
            return Reply::now(Code::NOT_FOUND);
        }
        self.heard(services, key, peer, bytes);
        let format = format.map_or(ContentFormat::SENML_CBOR, ContentFormat);
        let mut reply = match self.decode_payload(services, key, Path::ROOT, Some(format), body) {
            Ok(samples) => {
                self.tell_samples(services, key, None, &samples);
                self.report(services, key, &samples, ReportSource::Send, false);
                Reply::when_durable(Code::CHANGED)
            }
            Err(error) => {
                if let Some(device) = self.table.get_mut(key) {
                    device.last_error = Some(format!("Send: {error}"));
                }
                let unsupported = ![110, 112, 11544, 11542, 11543].contains(&format.0);
                Reply::now(if unsupported { Code::UNSUPPORTED_CONTENT_FORMAT } else { Code::BAD_REQUEST })
            }
        };
        reply.asked_next = Some(key);
        reply
    }
}

//! Send (Core TS 1.2.2 section 6.4.6): values that a device reports without being asked.

use super::Devices;
use super::requests::Reply;
use crate::gateway::services::Services;
use crate::gateway::vocabulary::Peer;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::path::Path;
use crate::model::report::{ReportSource, Sample};
use crate::protocol::coap::message::Code;
use crate::protocol::content::{self, ContentFormat, DecodeContext};

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
        let Some(key) = self.by_place.get(&peer.place()).copied() else {
            services.refuse("", peer, "unknown_sender", "Send from an address that registered nothing");
            return Reply::now(Code::NOT_FOUND);
        };
        if self.table.get(key).is_none_or(|device| device.registration.is_none()) {
            return Reply::now(Code::NOT_FOUND);
        }
        self.heard(services, key, peer, bytes);
        let format = format.map_or(ContentFormat::SENML_CBOR, ContentFormat);
        let mut reply = match self.decode_send(services, key, format, body) {
            Ok(by_device) => {
                for (owner, samples) in by_device {
                    self.tell_samples(services, owner, None, &samples);
                    self.report(services, owner, &samples, ReportSource::Send, false);
                }
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

    /// The samples of a Send by device: a gateway device speaks for the end devices behind it too.
    fn decode_send(
        &mut self,
        services: &mut Services,
        key: usize,
        format: ContentFormat,
        body: &[u8],
    ) -> Result<Vec<(usize, Vec<Sample>)>, String> {
        let ends = self.end_devices_of(key);
        let senml = matches!(format, ContentFormat::SENML_JSON | ContentFormat::SENML_CBOR);
        if ends.is_empty() || !senml {
            return Ok(vec![(key, self.decode_payload(services, key, Path::ROOT, Some(format), body)?)]);
        }
        let (model, received) = (services.model.clone(), services.wall());
        let owners: Vec<usize> = std::iter::once(key).chain(ends).collect();
        let devices: Vec<_> = owners.iter().filter_map(|owner| self.table.get(*owner)).collect();
        let types: Vec<_> = devices.iter().map(|device| device.model(&model)).collect();
        let contexts: Vec<_> = devices
            .iter()
            .zip(&types)
            .map(|(device, types)| DecodeContext { base: Path::ROOT, root: device.root(), types, received })
            .collect();
        let decoded = content::decode_by_root(format, body, &contexts);
        let decoded = decoded.map_err(|error| {
            services.count(Occurrence::ContentError(format.0));
            format!("{error} (format {format})")
        })?;
        let mut by_device: Vec<(usize, Vec<Sample>)> = Vec::new();
        for (position, sample) in decoded.samples {
            let Some(owner) = owners.get(position).copied() else { continue };
            match by_device.iter_mut().find(|(known, _)| *known == owner) {
                Some((_, samples)) => samples.push(sample),
                None => by_device.push((owner, vec![sample])),
            }
        }
        if let Some(device) = self.table.get_mut(key) {
            for quirk in decoded.quirks {
                services.note_quirk(device, quirk);
            }
        }
        Ok(by_device)
    }
}

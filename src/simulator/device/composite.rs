//! Operations on several paths at once (Core TS 1.2.2 sections 6.3.8, 6.3.9 and 6.4.3): FETCH and iPATCH on the root.

use std::collections::BTreeMap;

use crate::model::attributes::NotificationAttributes;
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::model::value::Value;
use crate::protocol::coap::message::{Code, Message};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::{self, ContentFormat};
use crate::simulator::attribute_table::apply_arguments;
use crate::simulator::tree::{TreeError, is_protected};

use super::management::{Answer, coded};
use super::reporting::Target;
use super::{DeviceEvent, SimulatedDevice};

/// The attributes that an Observe-Composite may carry in its query.
const ATTRIBUTES_OF_COMPOSITES: [&str; 5] = ["pmin", "pmax", "epmin", "epmax", "con"];

impl SimulatedDevice {
    /// Read-Composite; with Observe 0 Observe-Composite, with Observe 1 its end.
    pub(super) fn fetch(&mut self, now: Instant, request: &Message, body: &[u8], query: &[String]) -> Answer {
        let format = ContentFormat(request.content_format().unwrap_or(ContentFormat::TEXT.0));
        if !self.script.reads(format) {
            return coded(request, Code::UNSUPPORTED_CONTENT_FORMAT);
        }
        let Ok(paths) = content::decode_paths(format, body, &self.script.root) else {
            return coded(request, Code::BAD_REQUEST);
        };
        let target = Target::composite(paths);
        if let Some(continued) = self.continued_body(request, &target) {
            return continued;
        }
        let plain = match format {
            ContentFormat::SENML_ETCH_JSON => ContentFormat::SENML_JSON,
            ContentFormat::SENML_ETCH_CBOR => ContentFormat::SENML_CBOR,
            other => other,
        };
        let accept = request.uint(OptionNumber::ACCEPT).or(Some(u32::from(plain.0)));
        let (format, body) = match self.render_composite(target.paths(), accept) {
            Ok(rendered) => rendered,
            Err(code) => return coded(request, code),
        };
        let sequence = match request.observe() {
            Some(0) => {
                let named = |argument: &String| argument.split('=').next().is_some_and(is_attribute_of_composites);
                let attributes = apply_arguments(NotificationAttributes::default(), query);
                let Some(attributes) = attributes.filter(|_| query.iter().all(named)) else {
                    return coded(request, Code::BAD_REQUEST);
                };
                self.observe(now, target.clone(), request.token, accept, attributes)
            }
            Some(1) => {
                self.cancel_observation(&target);
                None
            }
            _ => None,
        };
        self.body_answer(request, target, format, body, sequence)
    }

    /// Everything at these paths; what is missing or cannot be read is left out.
    pub(super) fn render_composite(
        &self,
        paths: &[Path],
        accept: Option<u32>,
    ) -> Result<(ContentFormat, Vec<u8>), Code> {
        let wanted = accept.and_then(|number| u16::try_from(number).ok()).map(ContentFormat);
        let format = wanted.filter(|format| self.script.formats.contains(format)).ok_or(Code::NOT_ACCEPTABLE)?;
        // Paths may lie within one another.
        let values: BTreeMap<Path, Value> = paths
            .iter()
            .filter_map(|path| self.tree.read(path).ok())
            .flatten()
            .filter(|(path, _)| !path.object_id().is_some_and(is_protected))
            .map(|(path, value)| (self.shown_path(path), value))
            .collect();
        let values: Vec<(Path, Value)> = values.into_iter().collect();
        let body = content::encode_below_root(format, &self.script.root, Path::ROOT, &values, &self.tree);
        Ok((format, body.map_err(|_| Code::NOT_ACCEPTABLE)?))
    }

    /// Write-Composite: all or nothing. In SenML-ETCH and LwM2M CBOR a null deletes a resource instance.
    pub(super) fn write_composite(&mut self, now: Instant, request: &Message, body: &[u8]) -> Result<Code, Code> {
        let format = ContentFormat(request.content_format().unwrap_or(ContentFormat::TEXT.0));
        let plain = matches!(format, ContentFormat::SENML_JSON | ContentFormat::SENML_CBOR);
        let patch = matches!(
            format,
            ContentFormat::SENML_ETCH_JSON | ContentFormat::SENML_ETCH_CBOR | ContentFormat::LWM2M_CBOR
        );
        if !(plain || patch) || !self.script.reads(format) {
            return Err(Code::UNSUPPORTED_CONTENT_FORMAT);
        }
        let context = self.decode_context(Path::ROOT);
        let changes = content::decode_changes(format, body, &context).map_err(|_| Code::BAD_REQUEST)?.changes;
        let mut copy = self.tree.clone();
        for (path, value) in &changes {
            if path.object_id().is_none_or(is_protected) {
                return Err(Code::UNAUTHORIZED);
            }
            match value {
                Some(value) => copy.write(path, &[(*path, value.clone())], false),
                None if plain || path.depth() != 4 => Err(TreeError::Unfitting),
                None => copy.delete(path),
            }
            .map_err(TreeError::code)?;
        }
        self.tree = copy;
        for (path, value) in changes {
            self.mark_changed(path, None, None);
            match value {
                Some(value) => {
                    self.emit(DeviceEvent::Written { path, value: value.clone() });
                    self.follow_write(now, path, &value);
                }
                None => self.emit(DeviceEvent::Deleted { path }),
            }
        }
        Ok(Code::CHANGED)
    }
}

fn is_attribute_of_composites(name: &str) -> bool {
    ATTRIBUTES_OF_COMPOSITES.contains(&name)
}

//! What the bootstrap server asks of the device (Core TS 1.2.2 sections 6.1.7.2 to 6.1.7.6).

use std::fmt::Write as _;

use crate::model::path::Path;
use crate::model::time::Instant;
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::coap::message::{Code, Message};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::ContentFormat;
use crate::simulator::account::{Account, integer, is_bootstrap};
use crate::simulator::bootstrap_script::Support;

use super::super::management::{Answer, coded};
use super::super::reporting::Target;
use super::super::{DeviceEvent, SimulatedDevice};
use super::Stage;

/// Objects that exist to be written by a bootstrap server: security, server, access control, OSCORE, COSE.
const CONFIGURATION: [u16; 5] = [0, 1, 2, 21, 23];

impl SimulatedDevice {
    /// Whether this request of the bootstrap server is the one with which the power goes.
    pub(in super::super) fn loses_power(&mut self, now: Instant) -> bool {
        if !self.is_bootstrapping() {
            return false;
        }
        self.bootstrapping.requests = self.bootstrapping.requests.saturating_add(1);
        let outage = self.script.bootstrap.as_ref().and_then(|script| script.outage);
        let Some(outage) = outage.filter(|outage| {
            outage.after_finished == self.bootstrapping.finished
                && outage.at_request == self.bootstrapping.requests
                && !self.bootstrapping.outage_over
        }) else {
            return false;
        };
        self.bootstrapping.outage_over = true;
        self.forget_session();
        self.bootstrapping.stage = None;
        self.restart_at = Some(now + outage.lasts);
        self.emit(DeviceEvent::PowerLost);
        true
    }

    /// Answers a request of the bootstrap server; `None`: with silence.
    pub(in super::super) fn serve_bootstrap(&mut self, now: Instant, request: &Message, body: &[u8]) -> Option<Answer> {
        if matches!(self.bootstrapping.stage, Some(Stage::HoldingOff { .. } | Stage::Asking)) {
            self.be_served(now);
        }
        if request.code == Code::POST && request.uri_path() == ["bs"] {
            let code = self.finish_bootstrap(now);
            return Some(coded(request, code));
        }
        if matches!(self.bootstrapping.stage, Some(Stage::Finished { .. })) {
            return Some(coded(request, Code::METHOD_NOT_ALLOWED));
        }
        let Some(path) = self.requested_path(request) else { return Some(coded(request, Code::NOT_FOUND)) };
        let code = match request.code {
            Code::GET => return self.serve_bootstrap_get(now, request, path),
            Code::PUT => self.bootstrap_write(request, path, body),
            Code::DELETE => self.bootstrap_delete(path),
            _ => Code::METHOD_NOT_ALLOWED,
        };
        Some(self.with_block1(coded(request, code), request))
    }

    fn serve_bootstrap_get(&mut self, now: Instant, request: &Message, path: Path) -> Option<Answer> {
        let target = Target::Path(path);
        if let Some(continued) = self.continued_body(request, &target) {
            return Some(continued);
        }
        let discovers = request.uint(OptionNumber::ACCEPT) == Some(u32::from(ContentFormat::LINK_FORMAT.0));
        let script = self.script.bootstrap.as_ref()?;
        match if discovers { script.discover } else { script.read } {
            Support::Full => {}
            Support::Refused(code) => return Some(coded(request, code)),
            Support::Silent => {
                let acknowledgement = Message::acknowledgement(request.id).encode();
                self.recent.remember(now, request.id, acknowledgement.clone());
                self.transmit(now, acknowledgement);
                return None;
            }
        }
        if discovers {
            let there = path.depth() == 0 || path.depth() == 1 && self.tree.exists(&path);
            return Some(if there {
                let links = self.bootstrap_links(path).into_bytes();
                self.body_answer(request, target, ContentFormat::LINK_FORMAT, links, None)
            } else {
                coded(request, if path.depth() > 1 { Code::BAD_REQUEST } else { Code::NOT_FOUND })
            });
        }
        // Bootstrap-Read came with 1.1, and shows the objects 1 and 2 alone.
        let readable = matches!(path.object_id(), Some(1 | 2)) && path.depth() <= 2;
        if self.version < Version::V1_1 || !readable {
            return Some(coded(request, Code::METHOD_NOT_ALLOWED));
        }
        Some(match self.render(&path, request.uint(OptionNumber::ACCEPT)) {
            Ok((format, body)) => self.body_answer(request, target, format, body, None),
            Err(code) => coded(request, code),
        })
    }

    /// The links of Bootstrap-Discover: objects and instances, with the short server ids and URIs of accounts.
    fn bootstrap_links(&self, within: Path) -> String {
        let mut text = if self.version < Version::V1_1 {
            format!("lwm2m=\"{}\"", self.version)
        } else {
            format!("</>;lwm2m={}", self.version)
        };
        let mut previous = None;
        for instance in self.tree.instances().filter(|instance| within.contains(instance)) {
            let (Some(object), Some(id)) = (instance.object_id(), instance.instance_id()) else { continue };
            if let Some(version) = self.tree.version(object).filter(|_| previous != Some(object)) {
                let _ = write!(text, ",</{object}>;ver={version}");
            }
            previous = Some(object);
            let _ = write!(text, ",<{instance}>");
            let short_id = match object {
                0 if !is_bootstrap(&self.tree, id) => integer(&self.tree, Path::resource(0, id, 10)),
                1 => integer(&self.tree, Path::resource(1, id, 0)),
                _ => None,
            };
            let Some(short_id) = short_id else { continue };
            let _ = write!(text, ";ssid={short_id}");
            if let (0, true, Some(Value::String(uri))) =
                (object, self.version >= Version::V1_1, self.tree.value(&Path::resource(0, id, 0)))
            {
                let _ = write!(text, ";uri=\"{uri}\"");
            }
        }
        text
    }

    fn bootstrap_write(&mut self, request: &Message, path: Path, body: &[u8]) -> Code {
        if !(1..=3).contains(&path.depth()) {
            return Code::METHOD_NOT_ALLOWED;
        }
        let refused = self.script.bootstrap.as_ref().and_then(|script| script.refuses_write);
        if let Some((_, code)) = refused.filter(|(refused, _)| *refused == path) {
            return code;
        }
        let format = ContentFormat(request.content_format().unwrap_or(ContentFormat::TEXT.0)).current();
        let knows_no_tlv = format == ContentFormat::TLV && self.script.misbehaviour.refuses_tlv;
        if !self.script.formats.contains(&format) || knows_no_tlv {
            return Code::UNSUPPORTED_CONTENT_FORMAT;
        }
        let decoded = if body.is_empty() { Some(Vec::new()) } else { self.decoded_bootstrap(format, path, body) };
        let Some(values) = decoded.filter(|values| values.iter().all(|(written, _)| path.contains(written))) else {
            return Code::BAD_REQUEST;
        };
        // Whatever stands below is replaced: each instance that the payload names, or the resource.
        let depth = path.depth().max(2);
        let replaced: std::collections::BTreeSet<Path> =
            values.iter().filter_map(|(written, _)| written.truncated(depth)).collect();
        if path.depth() == 3 && !replaced.contains(&path) {
            return Code::BAD_REQUEST;
        }
        for replaced in replaced {
            self.tree.remove(replaced);
        }
        if path.depth() == 2 {
            self.tree.remove(path);
            self.tree.add_instance(path);
        }
        for (path, value) in values {
            self.put_bootstrapped(path, value);
        }
        Code::CHANGED
    }

    /// Deletes what a bootstrap server may: never its own account, nor the device object, nor sensors.
    fn bootstrap_delete(&mut self, path: Path) -> Code {
        if path.depth() > 2 {
            return Code::METHOD_NOT_ALLOWED;
        }
        let own = Account::bootstrap(&self.tree);
        let linked = own.as_ref().and_then(|own| match self.tree.value(&Path::resource(0, own.security, 17)) {
            Some(Value::ObjectLink(object, instance)) => Some(Path::instance(*object, *instance)),
            _ => None,
        });
        let kept = |instance: &Path| {
            own.as_ref().is_some_and(|own| *instance == Path::instance(0, own.security))
                || linked == Some(*instance)
                || *instance == Path::instance(3, 0)
        };
        if path.depth() == 2 && kept(&path) {
            return Code::BAD_REQUEST;
        }
        let deletable = |object: u16| CONFIGURATION.contains(&object) || self.tree.is_creatable(object);
        if path.object_id().is_some_and(|object| !deletable(object)) {
            return Code::METHOD_NOT_ALLOWED;
        }
        let gone: Vec<Path> = self
            .tree
            .instances()
            .filter(|instance| path.contains(instance) && !kept(instance))
            .filter(|instance| instance.object_id().is_some_and(deletable))
            .collect();
        for instance in gone {
            self.tree.remove(instance);
        }
        Code::DELETED
    }

    fn finish_bootstrap(&mut self, now: Instant) -> Code {
        if matches!(self.bootstrapping.stage, Some(Stage::Finished { .. })) {
            return Code::CHANGED;
        }
        let refuses = self.script.bootstrap.as_ref().map_or(0, |script| script.refuses_finish);
        if self.bootstrapping.finishes_refused < refuses {
            self.bootstrapping.finishes_refused += 1;
            return Code::NOT_ACCEPTABLE;
        }
        if !Account::are_consistent(&self.tree) {
            return Code::NOT_ACCEPTABLE;
        }
        self.accept_bootstrap(now);
        Code::CHANGED
    }
}

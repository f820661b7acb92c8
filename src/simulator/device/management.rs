//! What the server asks of the device (Core TS 1.2.2 section 6.3): one request in, one answer out.
//!
//! A request is first compared with recent ones, then its options and blocks are judged, then its operation is done.
//! `None` as an answer means silence, which only a misbehaviour asks for.

use crate::model::attributes::NotificationAttributes;
use crate::model::object::NoTypes;
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::time::{Instant, WallTime};
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message, MessageType};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::{self, ContentFormat, DecodeContext};
use crate::simulator::attribute_table::apply_arguments;
use crate::simulator::tree::{TreeError, is_protected};

use super::reporting::Target;
use super::transfer::{Assembled, Cut, Intake, LargeBody, assemble};
use super::{DeviceEvent, MAX_SEPARATE_RESPONSES, REBOOT_TIME, SimulatedDevice};

/// The critical options that the device acts upon.
const UNDERSTOOD: [OptionNumber; 8] = [
    OptionNumber::URI_HOST,
    OptionNumber::URI_PORT,
    OptionNumber::URI_PATH,
    OptionNumber::URI_QUERY,
    OptionNumber::ACCEPT,
    OptionNumber::BLOCK1,
    OptionNumber::BLOCK2,
    OptionNumber::CONTENT_FORMAT,
];

/// An answer: a message whose type and id are set when it leaves.
pub(super) type Answer = Message;

impl SimulatedDevice {
    pub(super) fn handle_request(&mut self, now: Instant, request: &Message) {
        if let Some(earlier) = self.recent.answer(now, request.id).map(<[u8]>::to_vec) {
            if !earlier.is_empty() && request.message_type == MessageType::Confirmable {
                self.transmit(now, earlier);
            }
            return;
        }
        if self.falls_silent_at(request.code) {
            let acknowledgement = Message::acknowledgement(request.id).encode();
            self.recent.remember(now, request.id, acknowledgement.clone());
            self.transmit(now, acknowledgement);
            return;
        }
        if self.loses_power(now) {
            return;
        }
        let Some(mut answer) = self.serve(now, request) else { return };
        self.distort(&mut answer);
        self.emit(DeviceEvent::Answered { method: request.code, code: answer.code });
        if request.message_type == MessageType::NonConfirmable {
            answer.message_type = MessageType::NonConfirmable;
            answer.id = self.fresh_id();
            self.recent.remember(now, request.id, Vec::new());
            self.transmit(now, answer.encode());
            return;
        }
        let separate = self.script.misbehaviour.answers_after.filter(|_| self.delayed.len() < MAX_SEPARATE_RESPONSES);
        let bytes = if let Some(wait) = separate {
            answer.message_type = MessageType::Confirmable;
            answer.id = self.fresh_id();
            self.delayed.push((now + wait, answer));
            Message::acknowledgement(request.id).encode()
        } else {
            answer.message_type = MessageType::Acknowledgement;
            answer.id = request.id;
            answer.encode()
        };
        self.recent.remember(now, request.id, bytes.clone());
        self.transmit(now, bytes);
    }

    fn serve(&mut self, now: Instant, request: &Message) -> Option<Answer> {
        if request.first_unusable_option(&UNDERSTOOD).is_some() {
            return Some(coded(request, Code::BAD_OPTION));
        }
        let composite = matches!(request.code, Code::FETCH | Code::IPATCH);
        if let Some(code) = self.script.misbehaviour.refuses_composites.filter(|_| composite) {
            return Some(coded(request, code));
        }
        let intake = Intake {
            max_bytes: self.script.max_body_bytes,
            size_exponent: self.script.block_size_exponent,
            refuses_larger: self.script.refuses_larger_blocks,
        };
        let body = match assemble(&mut self.incoming_body, request, intake) {
            Assembled::Whole(body) => body,
            Assembled::Answer(code) => return Some(self.with_block1(coded(request, code), request)),
        };
        if self.is_bootstrapping() {
            return self.serve_bootstrap(now, request, &body);
        }
        let Some(query) = request.uri_query() else { return Some(coded(request, Code::BAD_REQUEST)) };
        let Some(path) = self.requested_path(request) else { return Some(coded(request, Code::NOT_FOUND)) };
        if path.object_id().is_some_and(is_protected) {
            return Some(coded(request, Code::UNAUTHORIZED));
        }
        let answer = match request.code {
            Code::GET => return self.serve_get(now, request, path, &query),
            Code::PUT if body.is_empty() && !query.is_empty() => self.write_attributes(path, &query),
            Code::PUT => self.write(now, request, path, &body, true),
            Code::POST if path.depth() == 1 => return Some(self.create(now, request, path, &body)),
            Code::POST if path.depth() == 3 && self.tree.is_executable(&path) => {
                self.execute(now, request, path, &body)
            }
            Code::POST if path.depth() == 3 && !self.tree.is_multiple(&path) => {
                Err(if self.tree.exists(&path) { Code::METHOD_NOT_ALLOWED } else { Code::NOT_FOUND })
            }
            Code::POST if path.depth() >= 2 => self.write(now, request, path, &body, false),
            Code::DELETE => self.delete(now, path),
            Code::FETCH if path.depth() == 0 => return Some(self.fetch(now, request, &body, &query)),
            Code::IPATCH if path.depth() == 0 => self.write_composite(now, request, &body),
            _ => Err(Code::METHOD_NOT_ALLOWED),
        };
        let code = match answer {
            Ok(code) | Err(code) => code,
        };
        Some(self.with_block1(coded(request, code), request))
    }

    /// The path below the alternate root; `None` if the segments are no identifiers.
    pub(super) fn requested_path(&self, request: &Message) -> Option<Path> {
        let segments = request.uri_path();
        if segments.is_empty() {
            return Some(Path::ROOT);
        }
        let text = segments.iter().fold(String::new(), |text, segment| text + "/" + segment);
        let below = text.strip_prefix(&self.script.root)?;
        if below.is_empty() { Some(Path::ROOT) } else { below.parse().ok() }
    }

    fn serve_get(&mut self, now: Instant, request: &Message, path: Path, query: &[String]) -> Option<Answer> {
        let accept = request.uint(OptionNumber::ACCEPT);
        let target = Target::Path(path);
        if let Some(continued) = self.continued_body(request, &target) {
            return Some(continued);
        }
        if accept == Some(u32::from(ContentFormat::LINK_FORMAT.0)) {
            return Some(self.discover(request, path, query));
        }
        if path.depth() == 0 {
            return Some(coded(request, Code::METHOD_NOT_ALLOWED));
        }
        let rendered = self.render(&path, accept);
        if rendered == Err(Code::NOT_ACCEPTABLE) && self.script.misbehaviour.drops_unknown_accept {
            return None;
        }
        let (format, body) = match rendered {
            Ok(rendered) => rendered,
            Err(code) => return Some(coded(request, code)),
        };
        let sequence = match request.observe() {
            Some(0) => {
                let Some(attributes) = apply_arguments(NotificationAttributes::default(), query) else {
                    return Some(coded(request, Code::BAD_REQUEST));
                };
                self.observe(now, target.clone(), request.token, accept, attributes)
            }
            Some(1) => {
                self.cancel_observation(&target);
                None
            }
            _ => None,
        };
        Some(self.body_answer(request, target, format, body, sequence))
    }

    fn discover(&mut self, request: &Message, path: Path, query: &[String]) -> Answer {
        let depth = match query {
            [] => None,
            [one] if self.version >= Version::V1_2 => match one.strip_prefix("depth=").map(str::parse) {
                Some(Ok(depth @ 0..=3)) => Some(depth),
                _ => return coded(request, Code::BAD_REQUEST),
            },
            _ => return coded(request, Code::BAD_REQUEST),
        };
        match self.tree.discover(&path, &self.script.root, &self.attributes, depth) {
            Ok(links) => {
                let target = Target::Path(path);
                self.body_answer(request, target, ContentFormat::LINK_FORMAT, links.into_bytes(), None)
            }
            Err(refused) => coded(request, refused.code()),
        }
    }

    /// A later block of a body that began before.
    pub(super) fn continued_body(&mut self, request: &Message, target: &Target) -> Option<Answer> {
        let wanted = request.block(OptionNumber::BLOCK2).ok().flatten().filter(|block| block.number > 0)?;
        let large = self.large_body.as_mut().filter(|large| large.target == *target)?;
        if self.etags_changed < self.script.misbehaviour.changes_etags {
            self.etags_changed += 1;
            large.change_etag();
        }
        let large = self.large_body.as_ref()?;
        let mut answer = coded(request, Code::CONTENT);
        self.put_format(&mut answer, large.format);
        let cut = large.cut(&mut answer, Some(wanted), self.script.block_size_exponent);
        Some(if cut == Cut::Beyond { coded(request, Code::BAD_OPTION) } else { answer })
    }

    pub(super) fn body_answer(
        &mut self,
        request: &Message,
        target: Target,
        format: ContentFormat,
        body: Vec<u8>,
        sequence: Option<u32>,
    ) -> Answer {
        let Ok(wanted) = request.block(OptionNumber::BLOCK2) else { return coded(request, Code::BAD_REQUEST) };
        let mut answer = coded(request, Code::CONTENT);
        if let Some(sequence) = sequence.filter(|_| !self.script.misbehaviour.omits_observe_option) {
            answer.push_uint(OptionNumber::OBSERVE, sequence);
        }
        self.put_format(&mut answer, format);
        let body = LargeBody::new(target, format, body);
        match body.cut(&mut answer, wanted, self.script.block_size_exponent) {
            Cut::Whole => {}
            Cut::Piece => self.large_body = Some(body),
            Cut::Beyond => return coded(request, Code::BAD_OPTION),
        }
        answer
    }

    /// The bytes of everything at a path that can be read.
    pub(super) fn render(&self, path: &Path, accept: Option<u32>) -> Result<(ContentFormat, Vec<u8>), Code> {
        let values = self.tree.read(path).map_err(TreeError::code)?;
        let format = match accept {
            Some(number) => {
                let wanted = u16::try_from(number).map(ContentFormat).ok();
                wanted.filter(|format| self.script.formats.contains(format)).ok_or(Code::NOT_ACCEPTABLE)?
            }
            None => self.format_of_choice(path, &values),
        };
        let samples: Vec<Sample> =
            values.into_iter().map(|(path, value)| Sample { path: self.shown_path(path), value, ts: None }).collect();
        let body = content::encode_samples(format, self.shown_path(*path), &samples, &self.tree);
        let body = body.map_err(|_| Code::NOT_ACCEPTABLE)?;
        Ok((format, body))
    }

    /// The bytes of everything that an observation covers.
    pub(super) fn render_target(&self, target: &Target, accept: Option<u32>) -> Result<(ContentFormat, Vec<u8>), Code> {
        match target {
            Target::Path(path) => self.render(path, accept),
            Target::Composite(paths) => self.render_composite(paths, accept),
        }
    }

    fn format_of_choice(&self, path: &Path, values: &[(Path, Value)]) -> ContentFormat {
        match values {
            [(only, value)] if only == path && self.script.text_for_single_resources => {
                if matches!(value, Value::Opaque(_)) { ContentFormat::OPAQUE } else { ContentFormat::TEXT }
            }
            _ => self.script.default_format,
        }
    }

    fn write_attributes(&mut self, path: Path, query: &[String]) -> Result<Code, Code> {
        if path.depth() == 0 || !self.tree.exists(&path) {
            return Err(Code::NOT_FOUND);
        }
        self.attributes.change(path, query).ok_or(Code::BAD_REQUEST)?;
        Ok(Code::CHANGED)
    }

    fn write(&mut self, now: Instant, request: &Message, path: Path, body: &[u8], replace: bool) -> Result<Code, Code> {
        let values = self.decoded(request, path, body)?;
        self.tree.write(&path, &values, replace).map_err(TreeError::code)?;
        self.mark_changed(path, None, None);
        for (path, value) in values {
            self.emit(DeviceEvent::Written { path, value: value.clone() });
            self.follow_write(now, path, &value);
        }
        Ok(Code::CHANGED)
    }

    /// A new lifetime or binding is told to the server at once (Core TS 1.2.2 section 6.2.2).
    pub(super) fn follow_write(&mut self, now: Instant, path: Path, value: &Value) {
        match (path.object_id(), path.resource_id(), value) {
            (Some(1), Some(1), Value::Integer(seconds)) => {
                self.script.lifetime_secs = u32::try_from(*seconds).unwrap_or(self.script.lifetime_secs);
                self.push_update(now, vec![format!("lt={}", self.script.lifetime_secs)], false);
            }
            (Some(1), Some(7), Value::String(binding)) if self.script.binding.as_ref() != Some(binding) => {
                self.script.binding = Some(binding.clone());
                self.push_update(now, vec![format!("b={binding}")], false);
            }
            _ => {}
        }
    }

    fn execute(&mut self, now: Instant, request: &Message, path: Path, body: &[u8]) -> Result<Code, Code> {
        if request.content_format().is_some_and(|format| format != ContentFormat::TEXT.0) {
            return Err(Code::UNSUPPORTED_CONTENT_FORMAT);
        }
        let arguments = String::from_utf8(body.to_vec()).map_err(|_| Code::BAD_REQUEST)?;
        self.emit(DeviceEvent::Executed { path, arguments });
        match (path.object_id(), path.resource_id()) {
            (Some(1), Some(8)) => self.push_update(now, Vec::new(), false),
            (Some(1), Some(4)) => self.disable(path),
            (Some(1), Some(9)) => {
                self.emit(DeviceEvent::BootstrapTriggered);
                if self.script.bootstrap.is_some() {
                    self.bootstrap_after(now, REBOOT_TIME);
                } else {
                    // There is no bootstrap server: the accounts stay as they are, and the device begins anew.
                    self.restart_at = Some(now + REBOOT_TIME);
                }
            }
            (Some(3), Some(4)) => self.restart_at = Some(now + REBOOT_TIME),
            _ => {}
        }
        Ok(Code::CHANGED)
    }

    fn create(&mut self, now: Instant, request: &Message, object: Path, body: &[u8]) -> Answer {
        let created = self.try_create(request, object, body);
        match created {
            Ok(instance) => {
                self.emit(DeviceEvent::Created { path: instance });
                self.mark_changed(instance, None, None);
                self.push_update(now, Vec::new(), true);
                let mut answer = coded(request, Code::CREATED);
                for id in instance.ids() {
                    answer.push_option(OptionNumber::LOCATION_PATH, id.to_string().into_bytes());
                }
                self.with_block1(answer, request)
            }
            Err(code) => self.with_block1(coded(request, code), request),
        }
    }

    fn try_create(&mut self, request: &Message, object: Path, body: &[u8]) -> Result<Path, Code> {
        let id = object.object_id().ok_or(Code::METHOD_NOT_ALLOWED)?;
        let free = Path::instance(id, self.tree.free_instance(id).ok_or(Code::METHOD_NOT_ALLOWED)?);
        // TLV without an Object Instance around the resources leaves the choice of its number to the device.
        let format = ContentFormat(request.content_format().unwrap_or(ContentFormat::TEXT.0)).current();
        let bare = format == ContentFormat::TLV && body.first().is_some_and(|first| first >> 6 != 0);
        let values =
            if body.is_empty() { Vec::new() } else { self.decoded(request, if bare { free } else { object }, body)? };
        if values.iter().any(|(path, _)| path.depth() < 3) {
            return Err(Code::BAD_REQUEST);
        }
        let instance = values.first().and_then(|(path, _)| path.truncated(2)).unwrap_or(free);
        self.tree.create(instance, &values).map_err(TreeError::code)?;
        Ok(instance)
    }

    fn delete(&mut self, now: Instant, path: Path) -> Result<Code, Code> {
        self.tree.delete(&path).map_err(TreeError::code)?;
        self.attributes.forget_below(&path);
        self.emit(DeviceEvent::Deleted { path });
        self.mark_changed(path, None, None);
        if path.depth() == 2 {
            self.push_update(now, Vec::new(), true);
        }
        Ok(Code::DELETED)
    }

    pub(super) fn decode_context(&self, base: Path) -> DecodeContext<'_> {
        DecodeContext { base, root: &self.script.root, types: &self.tree, received: WallTime::from_millis(0) }
    }

    /// The values of a request body, in the types of this device's resources.
    fn decoded(&self, request: &Message, base: Path, body: &[u8]) -> Result<Vec<(Path, Value)>, Code> {
        let format = ContentFormat(request.content_format().unwrap_or(ContentFormat::TEXT.0));
        let tlv = format.current() == ContentFormat::TLV;
        if !self.script.formats.contains(&format) || tlv && self.script.misbehaviour.refuses_tlv {
            return Err(Code::UNSUPPORTED_CONTENT_FORMAT);
        }
        let context = self.decode_context(base);
        let decoded = content::decode(format, body, &context);
        // Types of the object that a created instance follows are unknown to an empty tree.
        let decoded = decoded.or_else(|_| content::decode(format, body, &DecodeContext { types: &NoTypes, ..context }));
        let samples = decoded.map_err(|_| Code::BAD_REQUEST)?.samples;
        Ok(samples.into_iter().map(|Sample { path, value, .. }| (path, value)).collect())
    }

    /// Confirms the block that the request carried, and says which size is welcome.
    pub(super) fn with_block1(&self, mut answer: Answer, request: &Message) -> Answer {
        let welcome = self.script.block_size_exponent;
        match request.block(OptionNumber::BLOCK1) {
            Ok(Some(block)) => {
                let block = Block { size_exponent: block.size_exponent.min(welcome), ..block };
                answer.push_option(OptionNumber::BLOCK1, block.encode());
            }
            Ok(None) if answer.code == Code::REQUEST_ENTITY_TOO_LARGE => {
                let block = Block { number: 0, more: true, size_exponent: welcome };
                answer.push_option(OptionNumber::BLOCK1, block.encode());
            }
            _ => {}
        }
        if answer.code == Code::REQUEST_ENTITY_TOO_LARGE {
            let longest = u32::try_from(self.script.max_body_bytes).unwrap_or(u32::MAX);
            answer.push_uint(OptionNumber::SIZE1, longest);
        }
        answer
    }
}

pub(super) fn coded(request: &Message, code: Code) -> Answer {
    Message::new(MessageType::Acknowledgement, code, 0, request.token)
}

//! What the device asks of the server: Register, Update, De-register (Core TS 1.2.2 section 6.2) and Send (6.4.6).
//!
//! Requests are queued and one is open at a time. Bodies above 1,024 bytes go in Block1. A registration that fails is
//! tried again with a doubling wait; 4.12 steps the version down at once; an Update that is refused with 4.04 or 4.00,
//! or never answered, leads to a new registration.

use std::time::Duration;

use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::time::Instant;
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::{self, ContentFormat};
use crate::simulator::script::Profile;
use crate::simulator::send_pack;
use crate::simulator::transmission::{Due, Transmission};

use super::{DeviceEvent, MAX_WAITING_REQUESTS, SimulatedDevice};

/// How long a request that was acknowledged empty waits for its separate response (MAX_TRANSMIT_WAIT).
const SEPARATE_RESPONSE_WAIT: Duration = Duration::from_secs(93);
/// When an Update that found the queue full is tried again.
const UPDATE_BEHIND_FULL_QUEUE: Duration = Duration::from_secs(5);
/// The disable timeout where the server account has none: a day.
const DEFAULT_DISABLE_SECS: u64 = 86_400;
/// The wait after a failed registration doubles at most this often.
const MAX_DOUBLINGS: u32 = 5;

/// Where the registration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RegistrationState {
    /// Switched off, or de-registered.
    Off,
    /// A bootstrap session stands, or is being asked for.
    Bootstrapping,
    /// Register is under way.
    Registering,
    /// The last Register failed.
    Waiting {
        /// When it is tried again.
        until: Instant,
    },
    /// Accepted.
    Registered {
        /// Location-Path segments.
        location: Vec<Vec<u8>>,
    },
}

/// What a request of the device is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Bootstrap,
    BootstrapPack,
    Register,
    Update,
    Deregister,
    Send,
}

/// A request of the device, waiting or open.
#[derive(Clone, Debug)]
pub(super) struct ClientRequest {
    purpose: Purpose,
    code: Code,
    path: Vec<Vec<u8>>,
    query: Vec<String>,
    format: Option<ContentFormat>,
    accept: Option<ContentFormat>,
    body: Vec<u8>,
    block: Block,
    /// The block of the answer that is asked for.
    wanted: Option<Block>,
    token: Token,
    transmission: Option<Transmission>,
    answer_by: Option<Instant>,
}

impl ClientRequest {
    fn new(purpose: Purpose, code: Code, path: Vec<Vec<u8>>) -> Self {
        Self {
            purpose,
            code,
            path,
            query: Vec::new(),
            format: None,
            accept: None,
            body: Vec::new(),
            block: Block { number: 0, more: false, size_exponent: Block::MAX_SIZE_EXPONENT },
            wanted: None,
            token: Token::EMPTY,
            transmission: None,
            answer_by: None,
        }
    }

    /// Bootstrap-Request.
    pub(super) fn bootstrap(query: Vec<String>) -> Self {
        Self { query, ..Self::new(Purpose::Bootstrap, Code::POST, vec![b"bs".to_vec()]) }
    }

    /// Bootstrap-Pack-Request.
    pub(super) fn bootstrap_pack(endpoint: String, format: ContentFormat) -> Self {
        let request = Self::new(Purpose::BootstrapPack, Code::GET, vec![b"bspack".to_vec()]);
        Self { query: vec![endpoint], accept: Some(format), ..request }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.transmission.as_ref().map(|transmission| transmission.deadline).or(self.answer_by)
    }

    pub(super) fn is_transmission(&self, id: u16) -> bool {
        self.transmission.as_ref().is_some_and(|transmission| transmission.id == id)
    }

    pub(super) fn acknowledged_empty(&mut self, now: Instant, id: u16) {
        if self.is_transmission(id) {
            self.transmission = None;
            self.answer_by = Some(now + SEPARATE_RESPONSE_WAIT);
        }
    }

    /// The message for the present block, without type and id.
    fn message(&self, message_type: MessageType, id: u16) -> Message {
        let mut message = Message::new(message_type, self.code, id, self.token);
        for segment in &self.path {
            message.push_option(OptionNumber::URI_PATH, segment.clone());
        }
        if let Some(format) = self.format {
            message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format.0));
        }
        for argument in &self.query {
            message.push_option(OptionNumber::URI_QUERY, argument.clone().into_bytes());
        }
        if let Some(format) = self.accept {
            message.push_uint(OptionNumber::ACCEPT, u32::from(format.0));
        }
        if let Some(wanted) = self.wanted {
            message.push_option(OptionNumber::BLOCK2, wanted.encode());
        }
        let size = self.block.size();
        let from = self.block.offset().min(self.body.len());
        let to = from.saturating_add(size).min(self.body.len());
        if self.body.len() > size || self.block.number > 0 {
            let block = Block { more: to < self.body.len(), ..self.block };
            message.push_option(OptionNumber::BLOCK1, block.encode());
            if self.block.number == 0 {
                message.push_uint(OptionNumber::SIZE1, u32::try_from(self.body.len()).unwrap_or(u32::MAX));
            }
        }
        message.payload = self.body.get(from..to).unwrap_or_default().to_vec();
        message
    }

    /// Moves to the block after the one that the server confirmed, in the size that it asked for. False at the end.
    fn next_block(&mut self, confirmed: Block) -> bool {
        let sent_to = self.block.offset().saturating_add(self.block.size());
        if sent_to >= self.body.len() {
            return false;
        }
        self.block.size_exponent = self.block.size_exponent.min(confirmed.size_exponent);
        self.block.number = u32::try_from(sent_to / self.block.size()).unwrap_or(Block::MAX_NUMBER);
        true
    }
}

/// Why a Send did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The device has no registration.
    #[error("the device is not registered")]
    NotRegistered,
    /// LwM2M 1.0 has no Send.
    #[error("Send needs LwM2M 1.1")]
    VersionTooOld,
    /// The server does not want it (/1/x/23).
    #[error("the server muted Send")]
    Muted,
    /// The format of the script cannot carry the samples.
    #[error("the format of the device cannot carry these samples")]
    Unencodable,
    /// Too many requests wait already.
    #[error("{MAX_WAITING_REQUESTS} requests wait already")]
    QueueFull,
}

impl SimulatedDevice {
    /// Sends an Update now; wakes the device.
    pub fn update(&mut self, now: Instant) {
        if self.is_registered() {
            self.push_update(now, Vec::new(), false);
            self.advance(now);
        }
    }

    /// Ends the registration; the device is off after the answer.
    pub fn deregister(&mut self, now: Instant) {
        self.push_deregister();
        self.advance(now);
    }

    fn push_deregister(&mut self) {
        if let RegistrationState::Registered { location } = &self.registration {
            let request = ClientRequest::new(Purpose::Deregister, Code::DELETE, location.clone());
            // Whatever waits is of no use to a registration that ends.
            self.waiting_requests.clear();
            self.waiting_requests.push_back(request);
        }
    }

    /// The server does not want to hear from the device for the disable timeout (/1/x/5) of its account.
    pub(super) fn disable(&mut self, executed: Path) {
        let account = executed.instance_id().unwrap_or(0);
        let seconds = match self.tree.value(&Path::resource(1, account, 5)) {
            Some(Value::Integer(seconds)) => u64::try_from(*seconds).unwrap_or(DEFAULT_DISABLE_SECS),
            _ => DEFAULT_DISABLE_SECS,
        };
        let timeout = Duration::from_secs(seconds);
        self.disabled_for = Some(timeout);
        self.emit(DeviceEvent::Disabled { timeout });
        self.push_deregister();
    }

    /// Reports values without being observed: the Send operation.
    ///
    /// # Errors
    /// If the device cannot send now.
    pub fn send(&mut self, now: Instant, samples: &[Sample]) -> Result<(), SendError> {
        if !self.is_registered() {
            return Err(SendError::NotRegistered);
        }
        if self.version < Version::V1_1 {
            return Err(SendError::VersionTooOld);
        }
        if self.tree.value(&Path::resource(1, 0, 23)) == Some(&Value::Boolean(true)) {
            return Err(SendError::Muted);
        }
        if self.waiting_requests.len() >= MAX_WAITING_REQUESTS {
            return Err(SendError::QueueFull);
        }
        let mut request = ClientRequest::new(Purpose::Send, Code::POST, vec![b"dp".to_vec()]);
        let format = self.script.send_format;
        request.format = Some(format);
        request.body = if format == ContentFormat::SENML_CBOR {
            send_pack::encode(&self.script.root, samples)
        } else {
            let body = content::encode_samples(format, Path::ROOT, samples, &self.tree);
            body.map_err(|_| SendError::Unencodable)?
        };
        self.waiting_requests.push_back(request);
        self.advance(now);
        Ok(())
    }

    pub(super) fn begin_registration(&mut self, now: Instant) {
        self.forget_session();
        self.registration = RegistrationState::Registering;
        self.stay_awake(now);
        let mut request = ClientRequest::new(Purpose::Register, Code::POST, vec![b"rd".to_vec()]);
        request.query = self.registration_query();
        request.body =
            self.script.misbehaviour.registers_with_payload.clone().unwrap_or_else(|| self.links().into_bytes());
        request.format = (!request.body.is_empty()).then_some(ContentFormat::LINK_FORMAT);
        self.waiting_requests.push_back(request);
    }

    /// Queues an Update. `with_links` carries the object list anew.
    pub(super) fn push_update(&mut self, now: Instant, query: Vec<String>, with_links: bool) {
        let RegistrationState::Registered { location } = &self.registration else { return };
        if self.script.misbehaviour.registers_instead_of_update {
            self.begin_registration(now);
            return;
        }
        let mut request = ClientRequest::new(Purpose::Update, Code::POST, location.clone());
        request.query = query;
        if with_links {
            request.format = Some(ContentFormat::LINK_FORMAT);
            request.body = self.links().into_bytes();
        }
        let same = |waiting: &ClientRequest| {
            waiting.purpose == Purpose::Update && waiting.query == request.query && waiting.body == request.body
        };
        self.update_at = None;
        if self.waiting_requests.iter().any(same) {
            return;
        }
        if self.waiting_requests.len() < MAX_WAITING_REQUESTS {
            self.waiting_requests.push_back(request);
        } else {
            // The registration must not end because the device has much to send.
            self.update_at = Some(now + UPDATE_BEHIND_FULL_QUEUE);
        }
    }

    pub(super) fn advance_registration(&mut self, now: Instant) {
        if matches!(self.registration, RegistrationState::Waiting { until } if until <= now) {
            self.begin_registration(now);
        }
        if self.is_registered() && self.update_at.is_some_and(|at| at <= now) {
            self.push_update(now, Vec::new(), false);
        }
        let due = self.request.as_mut().map_or(Due::Later, |request| match &mut request.transmission {
            Some(transmission) => transmission.advance(now),
            None if request.answer_by.is_some_and(|by| by <= now) => Due::GiveUp,
            None => Due::Later,
        });
        match due {
            Due::Later => {}
            Due::Resend => {
                if let Some(transmission) = self.request.as_ref().and_then(|request| request.transmission.as_ref()) {
                    let bytes = transmission.bytes.clone();
                    self.transmit(now, bytes);
                }
            }
            Due::GiveUp => self.fail_request_if(now, |_| true),
        }
        while self.request.is_none() {
            let Some(request) = self.waiting_requests.pop_front() else { break };
            self.begin_request(now, request);
        }
    }

    fn begin_request(&mut self, now: Instant, mut request: ClientRequest) {
        request.token = self.fresh_token();
        let id = self.fresh_id();
        let one_message = request.body.len() <= request.block.size();
        if request.purpose == Purpose::Send && !self.script.confirmable_send && one_message {
            self.transmit(now, request.message(MessageType::NonConfirmable, id).encode());
            return;
        }
        let message = request.message(MessageType::Confirmable, id);
        request.transmission = Some(self.begin_transmission(now, &message));
        request.answer_by = None;
        self.request = Some(request);
    }

    pub(super) fn handle_response(&mut self, now: Instant, message: &Message) {
        let ours = self.request.as_ref().is_some_and(|request| {
            let piggybacked = message.message_type == MessageType::Acknowledgement;
            request.token == message.token && (!piggybacked || request.is_transmission(message.id))
        });
        if message.message_type == MessageType::Confirmable {
            let reply = if ours { Message::acknowledgement(message.id) } else { Message::reset(message.id) };
            self.transmit(now, reply.encode());
        }
        if !ours {
            return;
        }
        let Some(mut request) = self.request.take() else { return };
        if message.code == Code::CONTINUE
            && let Ok(Some(confirmed)) = message.block(OptionNumber::BLOCK1)
            && request.next_block(confirmed)
        {
            self.begin_request(now, request);
            return;
        }
        if request.purpose == Purpose::BootstrapPack {
            if let Some(wanted) = self.finish_pack(now, Some(message)) {
                request.wanted = Some(wanted);
                self.begin_request(now, request);
            }
            return;
        }
        self.finish_request(now, request.purpose, Some(message));
    }

    /// Puts a request at the end of those that wait.
    pub(super) fn push_request(&mut self, request: ClientRequest) {
        self.waiting_requests.push_back(request);
    }

    pub(super) fn fail_request_if(&mut self, now: Instant, concerned: impl Fn(&ClientRequest) -> bool) {
        if let Some(request) = self.request.take_if(|request| concerned(request)) {
            self.finish_request(now, request.purpose, None);
        }
    }

    fn finish_request(&mut self, now: Instant, purpose: Purpose, answer: Option<&Message>) {
        let code = answer.map(|answer| answer.code);
        match purpose {
            Purpose::Bootstrap => self.finish_bootstrap_request(now, answer),
            Purpose::BootstrapPack => {
                self.finish_pack(now, answer);
            }
            Purpose::Register => self.finish_registration(now, answer),
            Purpose::Update if code == Some(Code::CHANGED) => {
                self.schedule_update(now);
                self.emit(DeviceEvent::Updated);
            }
            Purpose::Update => {
                self.emit(DeviceEvent::UpdateFailed { code });
                match code {
                    None | Some(Code::NOT_FOUND | Code::BAD_REQUEST) => self.begin_registration(now),
                    Some(_) => {
                        let wait = self.script.registration_retry.max(max_age(answer));
                        self.update_at = Some(now + self.jittered(wait));
                    }
                }
            }
            Purpose::Deregister => {
                let disabled_for = self.disabled_for;
                self.forget_session();
                self.disabled = disabled_for.is_some();
                self.registration = disabled_for
                    .map_or(RegistrationState::Off, |timeout| RegistrationState::Waiting { until: now + timeout });
                self.emit(DeviceEvent::Deregistered { code });
            }
            Purpose::Send => {
                self.emit(code.map_or(DeviceEvent::SendLost, |code| DeviceEvent::SendAnswered { code }));
            }
        }
    }

    fn finish_registration(&mut self, now: Instant, answer: Option<&Message>) {
        let code = answer.map(|answer| answer.code);
        if let Some(answer) = answer.filter(|answer| answer.code == Code::CREATED) {
            let location: Vec<Vec<u8>> =
                answer.option_values(OptionNumber::LOCATION_PATH).map(<[u8]>::to_vec).collect();
            let text =
                location.iter().fold(String::new(), |text, segment| text + "/" + &String::from_utf8_lossy(segment));
            self.registration = RegistrationState::Registered { location };
            self.registration_failures = 0;
            self.schedule_update(now);
            self.emit(DeviceEvent::Registered { location: text });
            return;
        }
        self.emit(DeviceEvent::RegistrationFailed { code });
        if code == Some(Code::CONFLICT) && self.profile().is_some() {
            self.profile_refused = true;
            self.begin_registration(now);
            return;
        }
        let lower = match self.version {
            version if version > Version::V1_1 => Some(Version::V1_1),
            Version::V1_1 => Some(Version::V1_0),
            _ => None,
        };
        if let (Some(Code::PRECONDITION_FAILED), Some(lower)) = (code, lower) {
            self.version = lower;
            self.begin_registration(now);
            return;
        }
        let doublings = self.registration_failures.min(MAX_DOUBLINGS);
        self.registration_failures = self.registration_failures.saturating_add(1);
        if self.gives_account_up() {
            self.begin_bootstrap(now);
            return;
        }
        let wait = self.script.registration_retry.saturating_mul(1 << doublings).max(max_age(answer));
        self.registration = RegistrationState::Waiting { until: now + self.jittered(wait) };
    }

    fn schedule_update(&mut self, now: Instant) {
        self.update_at = self.script.time_between_updates().map(|wait| now + wait);
    }

    fn registration_query(&self) -> Vec<String> {
        let script = &self.script;
        let mut query = vec![
            format!("ep={}", script.endpoint),
            format!("lt={}", script.lifetime_secs),
            format!("lwm2m={}", self.version),
        ];
        let queue_in_binding = script.queue_mode && self.version == Version::V1_0;
        match &script.binding {
            Some(binding) if queue_in_binding && !binding.contains('Q') => query.push(format!("b={binding}Q")),
            Some(binding) => query.push(format!("b={binding}")),
            None if queue_in_binding => query.push("b=UQ".to_owned()),
            None => {}
        }
        if script.queue_mode && self.version > Version::V1_0 {
            query.push("Q".to_owned());
        }
        query.extend(script.register_arguments.iter().cloned());
        query.extend(self.profile().map(|profile| format!("pid={}", profile.id)));
        query
    }

    /// The profile to register with: none for older versions, or after the server refused it.
    fn profile(&self) -> Option<&Profile> {
        self.script.profile.as_ref().filter(|_| self.version >= Version::V1_2 && !self.profile_refused)
    }

    fn links(&self) -> String {
        let several: Vec<u16> = if self.version > Version::V1_0 {
            self.script.formats.iter().map(|format| format.0).collect()
        } else {
            Vec::new()
        };
        let Some(profile) = self.profile() else {
            return self.tree.registration_links(&self.script.root, &several);
        };
        let mut unlisted = self.tree.clone();
        profile.objects.iter().for_each(|object| unlisted.remove(Path::object(*object)));
        let rest = unlisted.registration_links(&self.script.root, &[]);
        if rest.is_empty() { rest } else { unlisted.registration_links(&self.script.root, &several) }
    }
}

/// The wait that the server asks for with a 5.03.
fn max_age(answer: Option<&Message>) -> Duration {
    let seconds = answer
        .filter(|answer| answer.code == Code::SERVICE_UNAVAILABLE)
        .and_then(|answer| answer.uint(OptionNumber::MAX_AGE));
    Duration::from_secs(u64::from(seconds.unwrap_or(0)))
}

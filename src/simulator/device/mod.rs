//! A scripted LwM2M client over CoAP and UDP.
//!
//! # Flow
//! [`start`](SimulatedDevice::start) registers; then one input ([`handle_datagram`](SimulatedDevice::handle_datagram),
//! [`handle_timeout`](SimulatedDevice::handle_timeout), [`set_value`](SimulatedDevice::set_value), …), then drain
//! [`poll_transmit`](SimulatedDevice::poll_transmit) and [`poll_event`](SimulatedDevice::poll_event), then wait until
//! [`next_deadline`](SimulatedDevice::next_deadline).
//!
//! # Parts
//! `bootstrap` is the session with a bootstrap server (Core TS 1.2.2 section 6.1), `registration` holds what the device asks of the server (Register, Update, De-register, Send; Core TS 1.2.2
//! sections 6.2 and 6.4.6), `management` what the server asks of the device (section 6.3), `composite` the same for
//! several paths at once, `reporting` observations and notifications (section 6.4), `transfer` blocks and repeated
//! requests, `distortion` what a misbehaving device makes of its answers.
//!
//! # Invariants
//! The same script, seed and inputs give the same datagrams, byte for byte. No input panics. One request of the device
//! is open at a time, and one confirmable notification for each observation (RFC 7252 section 4.7). All queues are
//! bounded: see the constants.

mod bootstrap;
mod composite;
#[cfg(test)]
mod composite_tests;
mod distortion;
#[cfg(test)]
mod fault_tests;
mod management;
mod registration;
mod reporting;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::model::attributes::NotificationAttributes;
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};

use super::account::Account;
use super::attribute_table::AttributeTable;
use super::script::{DeviceScript, Misbehaviour, Walk};
use super::transmission::{Due, Transmission};
use super::tree::ObjectTree;
use super::{chance, walk};
use bootstrap::Bootstrapping;
use registration::{ClientRequest, RegistrationState};
use reporting::{Observation, Target};
use transfer::{IncomingBody, LargeBody, RecentRequests};

pub use bootstrap::FINISH_WAIT;
pub use registration::SendError;

/// Datagrams that wait for [`SimulatedDevice::poll_transmit`]; more are lost, as in a full socket buffer.
pub const MAX_OUTGOING_DATAGRAMS: usize = 256;
/// Events that wait for [`SimulatedDevice::poll_event`]; the oldest are dropped and counted.
pub const MAX_EVENTS: usize = 1_024;
/// Observations of one device; more are answered as a plain Read (RFC 7641 section 4.1).
pub const MAX_OBSERVATIONS: usize = 256;
/// Own requests that wait behind the open one; a Send beyond is refused.
pub const MAX_WAITING_REQUESTS: usize = 16;
/// Separate responses under way; a request beyond is answered at once.
pub const MAX_SEPARATE_RESPONSES: usize = 16;

/// How long a device that was told to reboot stays silent.
const REBOOT_TIME: Duration = Duration::from_secs(1);

/// What happened to or at a device.
#[derive(Clone, Debug, PartialEq)]
pub enum DeviceEvent {
    /// The server accepted the registration.
    Registered {
        /// Path of the registration, for example `/rd/5a3f`.
        location: String,
    },
    /// The server refused the registration, or did not answer: `None`.
    RegistrationFailed {
        /// The response code.
        code: Option<Code>,
    },
    /// The server accepted an Update.
    Updated,
    /// The server refused an Update, or did not answer: `None`.
    UpdateFailed {
        /// The response code.
        code: Option<Code>,
    },
    /// The registration was ended by the device.
    Deregistered {
        /// The response code; `None` without an answer.
        code: Option<Code>,
    },
    /// The server observes a path.
    Observed {
        /// The path; here and in the events below the root where several paths are observed as one.
        path: Path,
    },
    /// The server no longer observes a path.
    ObservationCancelled {
        /// The path.
        path: Path,
    },
    /// A notification left for the first time.
    NotificationSent {
        /// The observed path.
        path: Path,
        /// The Observe option.
        sequence: u32,
        /// Whether it wants an acknowledgement.
        confirmable: bool,
    },
    /// A notification was acknowledged.
    NotificationAcknowledged {
        /// The observed path.
        path: Path,
        /// The Observe option.
        sequence: u32,
        /// When the acknowledgement came.
        at: Instant,
        /// When the notification first left.
        sent_at: Instant,
    },
    /// A notification was answered by a reset.
    NotificationReset {
        /// The observed path.
        path: Path,
    },
    /// A notification was never acknowledged.
    NotificationLost {
        /// The observed path.
        path: Path,
        /// The Observe option.
        sequence: u32,
    },
    /// The server wrote a value.
    Written {
        /// Resource or resource instance.
        path: Path,
        /// The new value.
        value: Value,
    },
    /// The server executed a resource.
    Executed {
        /// The resource.
        path: Path,
        /// The arguments as sent.
        arguments: String,
    },
    /// The server created an instance.
    Created {
        /// The instance.
        path: Path,
    },
    /// The server deleted an instance.
    Deleted {
        /// What was deleted.
        path: Path,
    },
    /// A Send was answered.
    SendAnswered {
        /// The response code.
        code: Code,
    },
    /// A Send was never answered.
    SendLost,
    /// A request of the server was answered.
    Answered {
        /// The method.
        method: Code,
        /// The response code.
        code: Code,
    },
    /// The awake window of queue mode is over.
    FellAsleep,
    /// The device sends again after it slept.
    Woke,
    /// The device forgot its session and starts anew.
    Restarted,
    /// The server asked the device to bootstrap (/1/x/9).
    BootstrapTriggered,
    /// The device turns to another server, or to the same with another key: what it sends from now on goes there.
    ServerChosen {
        /// Which, and how.
        account: Account,
    },
    /// The device accepted Bootstrap-Finish.
    Bootstrapped,
    /// The bootstrap server refused, or did not answer or finish in time: `None`.
    BootstrapFailed {
        /// The response code.
        code: Option<Code>,
    },
    /// The power went; the device begins anew when it is back.
    PowerLost,
    /// The server disabled itself (/1/x/4): the device ends its registration and stays away until this time.
    Disabled {
        /// For how long.
        timeout: Duration,
    },
}

/// A scripted LwM2M client. See the module for the contract.
#[derive(Debug)]
pub struct SimulatedDevice {
    script: DeviceScript,
    tree: ObjectTree,
    rng: ChaCha8Rng,
    version: Version,
    next_id: u16,
    registration: RegistrationState,
    update_at: Option<Instant>,
    registration_failures: u32,
    profile_refused: bool,
    request: Option<ClientRequest>,
    waiting_requests: VecDeque<ClientRequest>,
    attributes: AttributeTable,
    observations: BTreeMap<Target, Observation>,
    recent: RecentRequests,
    incoming_body: Option<IncomingBody>,
    large_body: Option<LargeBody>,
    etags_changed: u32,
    delayed: Vec<(Instant, Message)>,
    separate: Vec<Transmission>,
    awake_until: Option<Instant>,
    asleep: bool,
    restart_at: Option<Instant>,
    disabled_for: Option<Duration>,
    disabled: bool,
    bootstrapping: Bootstrapping,
    outgoing: VecDeque<Vec<u8>>,
    events: VecDeque<DeviceEvent>,
    dropped_events: u64,
}

impl SimulatedDevice {
    /// A device that is switched off; [`start`](Self::start) switches it on.
    #[must_use]
    pub fn new(mut script: DeviceScript, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let next_id = (rng.next_u32() >> 16) as u16;
        Self {
            tree: std::mem::take(&mut script.tree),
            version: script.lwm2m,
            script,
            rng,
            next_id,
            registration: RegistrationState::Off,
            update_at: None,
            registration_failures: 0,
            profile_refused: false,
            request: None,
            waiting_requests: VecDeque::new(),
            attributes: AttributeTable::default(),
            observations: BTreeMap::new(),
            recent: RecentRequests::default(),
            incoming_body: None,
            large_body: None,
            etags_changed: 0,
            delayed: Vec::new(),
            separate: Vec::new(),
            awake_until: None,
            asleep: false,
            restart_at: None,
            disabled_for: None,
            disabled: false,
            bootstrapping: Bootstrapping::default(),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            dropped_events: 0,
        }
    }

    /// Endpoint name.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.script.endpoint
    }

    /// The script, without its tree, which lives in [`tree`](Self::tree).
    #[must_use]
    pub const fn script(&self) -> &DeviceScript {
        &self.script
    }

    /// Objects and values as they are now.
    #[must_use]
    pub const fn tree(&self) -> &ObjectTree {
        &self.tree
    }

    /// The paths that are observed by themselves.
    pub fn observed_paths(&self) -> impl Iterator<Item = Path> {
        self.observations.keys().filter_map(|target| match target {
            Target::Path(path) => Some(*path),
            Target::Composite(_) => None,
        })
    }

    /// The paths of each observation of several paths, in ascending order.
    pub fn observed_composites(&self) -> impl Iterator<Item = &[Path]> {
        self.observations.keys().filter(|target| matches!(target, Target::Composite(_))).map(Target::paths)
    }

    /// The attributes that the server attached to this very path.
    #[must_use]
    pub fn attributes(&self, path: &Path) -> NotificationAttributes {
        self.attributes.own(path)
    }

    /// From now on the device misbehaves like this.
    pub fn misbehave(&mut self, misbehaviour: Misbehaviour) {
        self.script.misbehaviour = misbehaviour;
    }

    /// Whether the server accepted the registration and it has not ended since.
    #[must_use]
    pub const fn is_registered(&self) -> bool {
        matches!(self.registration, RegistrationState::Registered { .. })
    }

    /// Whether the device sleeps and hears nothing.
    #[must_use]
    pub const fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// Events that nobody fetched in time.
    #[must_use]
    pub const fn dropped_events(&self) -> u64 {
        self.dropped_events
    }

    /// Switches the device on: it registers, or bootstraps first.
    pub fn start(&mut self, now: Instant) {
        self.begin(now);
        self.advance(now);
    }

    /// Switches the device off and on: session, observations and attributes are forgotten, values stay.
    pub fn restart(&mut self, now: Instant) {
        self.forget_session();
        self.attributes.clear();
        self.version = self.script.lwm2m;
        self.registration_failures = 0;
        self.restart_at = None;
        self.emit(DeviceEvent::Restarted);
        self.start(now);
    }

    /// Takes one datagram from the server.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        self.fall_asleep_if_time(now);
        let off = self.disabled || matches!(self.registration, RegistrationState::Off);
        if self.asleep || off || self.bootstrapping.is_deaf() || self.restart_at.is_some() {
            return;
        }
        match Message::decode(bytes) {
            Ok(message) => self.handle_message(now, &message),
            Err(_) => {
                if let Some((MessageType::Confirmable, id)) = Message::peek(bytes) {
                    self.transmit(now, Message::reset(id).encode());
                }
            }
        }
        self.advance(now);
    }

    /// Does what time has come for.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// The next datagram for the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; `None` while only inputs matter.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let registered = self.is_registered();
        let retry = match self.registration {
            RegistrationState::Waiting { until } => Some(until),
            _ => None,
        };
        [
            self.restart_at,
            self.bootstrapping.deadline(),
            retry,
            self.update_at.filter(|_| registered),
            self.request.as_ref().and_then(ClientRequest::deadline),
            self.awake_until.filter(|_| self.sleeps() && !self.asleep && !self.is_busy()),
        ]
        .into_iter()
        .flatten()
        .chain(self.delayed.iter().map(|(at, _)| *at))
        .chain(self.separate.iter().map(|transmission| transmission.deadline))
        .chain(self.notification_deadline())
        .min()
    }

    /// A new value was measured: observers are notified as their attributes say, also if it equals the old one.
    pub fn set_value(&mut self, now: Instant, path: Path, value: Value) {
        self.change_value(now, path, value);
        self.advance(now);
    }

    /// Moves every drifting value under `within` by one random step. `within` may be the root.
    pub fn walk(&mut self, now: Instant, within: Path) {
        for index in 0..self.script.walks.len() {
            let Some(step) = self.script.walks.get(index).filter(|walk| within.contains(&walk.path)) else { continue };
            let path = step.path;
            let moved = self.tree.value(&path).and_then(|value| walk::step(step, value, &mut self.rng));
            if let Some(value) = moved {
                self.change_value(now, path, value);
            }
        }
        self.advance(now);
    }

    /// The values that drift.
    #[must_use]
    pub fn walks(&self) -> &[Walk] {
        &self.script.walks
    }

    fn handle_message(&mut self, now: Instant, message: &Message) {
        self.stay_awake(now);
        match (message.message_type, message.code) {
            (MessageType::Acknowledgement, Code::EMPTY) => self.handle_acknowledgement(now, message.id),
            (MessageType::Reset, _) => self.handle_reset(now, message.id),
            // A ping (RFC 7252 section 4.3).
            (_, Code::EMPTY) => self.transmit(now, Message::reset(message.id).encode()),
            (_, code) if code.is_request() => self.handle_request(now, message),
            _ => self.handle_response(now, message),
        }
    }

    fn handle_acknowledgement(&mut self, now: Instant, id: u16) {
        if self.acknowledge_notification(now, id) {
            return;
        }
        self.separate.retain(|transmission| transmission.id != id);
        if let Some(request) = &mut self.request {
            request.acknowledged_empty(now, id);
        }
    }

    fn handle_reset(&mut self, now: Instant, id: u16) {
        self.separate.retain(|transmission| transmission.id != id);
        if !self.reset_notification(id) {
            self.fail_request_if(now, |request| request.is_transmission(id));
        }
    }

    /// Everything that is due, in one fixed order.
    fn advance(&mut self, now: Instant) {
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart(now);
        }
        if matches!(self.registration, RegistrationState::Off) {
            return;
        }
        self.advance_bootstrap(now);
        self.advance_separate_responses(now);
        self.advance_registration(now);
        self.advance_notifications(now);
        self.fall_asleep_if_time(now);
    }

    fn advance_separate_responses(&mut self, now: Instant) {
        while let Some(position) = self.delayed.iter().position(|(at, _)| *at <= now) {
            let (_, message) = self.delayed.remove(position);
            let transmission = self.begin_transmission(now, &message);
            self.separate.push(transmission);
        }
        let mut resend = Vec::new();
        self.separate.retain_mut(|transmission| match transmission.advance(now) {
            Due::Later => true,
            Due::Resend => {
                resend.push(transmission.bytes.clone());
                true
            }
            Due::GiveUp => false,
        });
        for bytes in resend {
            self.transmit(now, bytes);
        }
    }

    /// Sends a confirmable message for the first time.
    fn begin_transmission(&mut self, now: Instant, message: &Message) -> Transmission {
        let bytes = message.encode();
        self.transmit(now, bytes.clone());
        Transmission::begin(now, message.id, bytes, &self.script.transmission, &mut self.rng)
    }

    fn transmit(&mut self, now: Instant, bytes: Vec<u8>) {
        self.stay_awake(now);
        let copies = if self.script.misbehaviour.duplicates_datagrams { 2 } else { 1 };
        for _ in 1..copies {
            if self.outgoing.len() < MAX_OUTGOING_DATAGRAMS {
                self.outgoing.push_back(bytes.clone());
            }
        }
        if self.outgoing.len() < MAX_OUTGOING_DATAGRAMS {
            self.outgoing.push_back(bytes);
        }
    }

    fn emit(&mut self, event: DeviceEvent) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
            self.dropped_events += 1;
        }
        self.events.push_back(event);
    }

    fn fresh_id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    fn fresh_token(&mut self) -> Token {
        Token::new(&self.rng.next_u32().to_be_bytes()).unwrap_or_default()
    }

    /// Whether the device sleeps at all.
    const fn sleeps(&self) -> bool {
        self.script.queue_mode || self.script.misbehaviour.sleeps_unannounced
    }

    /// Whether an exchange keeps the device awake.
    fn is_busy(&self) -> bool {
        !self.is_registered()
            || self.request.is_some()
            || !self.waiting_requests.is_empty()
            || !self.delayed.is_empty()
            || !self.separate.is_empty()
            || self.has_notification_in_flight()
    }

    fn stay_awake(&mut self, now: Instant) {
        if !self.sleeps() {
            return;
        }
        self.awake_until = Some(now + self.script.awake_window);
        if self.asleep {
            self.asleep = false;
            self.emit(DeviceEvent::Woke);
        }
    }

    fn fall_asleep_if_time(&mut self, now: Instant) {
        let over = self.awake_until.is_some_and(|until| until <= now);
        if self.sleeps() && !self.asleep && over && !self.is_busy() {
            self.asleep = true;
            self.incoming_body = None;
            self.emit(DeviceEvent::FellAsleep);
        }
    }

    /// Forgets who observes it without a word, as devices do that lose their connection to the network.
    pub fn forget_observations(&mut self) {
        self.observations.clear();
    }

    /// Forgets what a session with the server holds, as a reboot does.
    fn forget_session(&mut self) {
        self.observations.clear();
        self.request = None;
        self.waiting_requests.clear();
        self.recent = RecentRequests::default();
        self.incoming_body = None;
        self.large_body = None;
        self.delayed.clear();
        self.separate.clear();
        self.update_at = None;
        self.asleep = false;
        self.awake_until = None;
        self.disabled_for = None;
        self.disabled = false;
    }

    /// A jittered wait: between the given time and a quarter more, so that a fleet does not move in step.
    fn jittered(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(1.0 + 0.25 * chance::uniform(&mut self.rng))
    }
}

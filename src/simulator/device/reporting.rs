//! Observations and notifications (Core TS 1.2.2 section 6.4, RFC 7641).
//!
//! A change marks the observations that cover it; a marked one is sent when its `pmin` is over and nothing of the same
//! observation is in flight, an unmarked one when its `pmax` is over. Only the newest state is ever sent. An
//! observation is of one path, or of several at once (Observe-Composite, section 6.4.3).

use std::time::Duration;

use crate::model::attributes::NotificationAttributes;
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::model::value::Value;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::coap::option::OptionNumber;
use crate::simulator::transmission::{Due, Transmission};

use super::transfer::{Cut, LargeBody};
use super::{DeviceEvent, MAX_OBSERVATIONS, SimulatedDevice};

/// At least this often a notification is confirmable (RFC 7641 section 4.5).
const MAX_UNCONFIRMED: Duration = Duration::from_secs(86_400);
/// Observe numbers have 24 bits.
const SEQUENCE_MASK: u32 = 0x00ff_ffff;

/// What an observation covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// Everything at a path.
    Path(Path),
    /// Everything at several paths, which stand in ascending order, each once.
    Composite(Vec<Path>),
}

impl Target {
    /// Several paths, in whatever order they were asked for.
    pub(super) fn composite(mut paths: Vec<Path>) -> Self {
        paths.sort_unstable();
        paths.dedup();
        Self::Composite(paths)
    }

    pub(super) fn paths(&self) -> &[Path] {
        match self {
            Self::Path(path) => std::slice::from_ref(path),
            Self::Composite(paths) => paths,
        }
    }

    /// The path that events name: the root for several paths.
    pub(super) const fn named(&self) -> Path {
        match self {
            Self::Path(path) => *path,
            Self::Composite(_) => Path::ROOT,
        }
    }
}

/// One observation.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    token: Token,
    accept: Option<u32>,
    attributes: NotificationAttributes,
    sequence: u32,
    changed: bool,
    last_sent: Instant,
    last_confirmable: Instant,
    last_reported: Option<f64>,
    last_id: Option<u16>,
    in_flight: Option<Transmission>,
}

impl SimulatedDevice {
    /// Begins or renews an observation. The Observe number of the answer, or `None` if there is no room.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        target: Target,
        token: Token,
        accept: Option<u32>,
        attributes: NotificationAttributes,
    ) -> Option<u32> {
        let previous = self.observations.remove(&target);
        if self.observations.len() >= MAX_OBSERVATIONS {
            return None;
        }
        let sequence = previous.map_or(1, |previous| next_sequence(previous.sequence));
        let observation = Observation {
            token,
            accept,
            attributes,
            sequence,
            changed: false,
            last_sent: now,
            last_confirmable: now,
            last_reported: self.single_number(&target),
            last_id: None,
            in_flight: None,
        };
        let path = target.named();
        self.observations.insert(target, observation);
        self.emit(DeviceEvent::Observed { path });
        Some(sequence)
    }

    pub(super) fn cancel_observation(&mut self, target: &Target) {
        if self.observations.remove(target).is_some() {
            self.emit(DeviceEvent::ObservationCancelled { path: target.named() });
        }
    }

    /// Sets a value and marks the observations that are to report it.
    pub(super) fn change_value(&mut self, _now: Instant, path: Path, value: Value) {
        let old = self.tree.value(&path).and_then(Value::as_f64);
        let new = value.as_f64();
        self.tree.set(path, value);
        self.mark_changed(path, old, new);
    }

    /// Marks the observations of everything at, above and below a path.
    pub(super) fn mark_changed(&mut self, path: Path, old: Option<f64>, new: Option<f64>) {
        let touched = |observed: &&Path| observed.contains(&path) || path.contains(observed);
        let covering: Vec<(Target, Path)> = self
            .observations
            .keys()
            .filter_map(|target| Some((target.clone(), *target.paths().iter().find(touched)?)))
            .collect();
        for (target, observed) in covering {
            let mut attributes = NotificationAttributes::default();
            if matches!(target, Target::Path(_)) {
                attributes = self.effective_attributes(&target);
            } else {
                self.attributes.complete(&mut attributes, &observed);
            }
            let single = observed.depth() >= 3;
            let Some(observation) = self.observations.get_mut(&target) else { continue };
            if !single || is_reportable(&attributes, observation.last_reported, old, new) {
                observation.changed = true;
            }
        }
    }

    /// Whether a confirmable notification waits for its acknowledgement.
    #[must_use]
    pub fn has_notification_in_flight(&self) -> bool {
        self.observations.values().any(|observation| observation.in_flight.is_some())
    }

    /// When the next notification or retransmission is due.
    pub(super) fn notification_deadline(&self) -> Option<Instant> {
        if !self.is_registered() {
            return None;
        }
        self.observations
            .iter()
            .filter_map(|(target, observation)| match &observation.in_flight {
                Some(transmission) => Some(transmission.deadline),
                None => self.notification_due(target, observation),
            })
            .min()
    }

    pub(super) fn advance_notifications(&mut self, now: Instant) {
        if !self.is_registered() {
            return;
        }
        let due: Vec<Target> = self
            .observations
            .iter()
            .filter(|(target, observation)| match &observation.in_flight {
                Some(transmission) => transmission.deadline <= now,
                None => self.notification_due(target, observation).is_some_and(|at| at <= now),
            })
            .map(|(target, _)| target.clone())
            .collect();
        for target in due {
            let Some(observation) = self.observations.get_mut(&target) else { continue };
            let sequence = observation.sequence;
            match observation.in_flight.as_mut().map(|transmission| transmission.advance(now)) {
                None => self.notify(now, &target),
                Some(Due::Later) => {}
                Some(Due::Resend) => {
                    let bytes = observation.in_flight.as_ref().map(|transmission| transmission.bytes.clone());
                    self.transmit(now, bytes.unwrap_or_default());
                }
                Some(Due::GiveUp) => self.lose_notification(now, &target, sequence),
            }
        }
    }

    pub(super) fn acknowledge_notification(&mut self, now: Instant, id: u16) -> bool {
        for (target, observation) in &mut self.observations {
            if let Some(sent) = observation.in_flight.take_if(|transmission| transmission.id == id) {
                let (path, sequence) = (target.named(), observation.sequence);
                self.emit(DeviceEvent::NotificationAcknowledged { path, sequence, at: now, sent_at: sent.sent_at });
                return true;
            }
        }
        false
    }

    pub(super) fn reset_notification(&mut self, id: u16) -> bool {
        let found = self.observations.iter().find(|(_, observation)| observation.last_id == Some(id));
        let Some(target) = found.map(|(target, _)| target.clone()) else { return false };
        self.emit(DeviceEvent::NotificationReset { path: target.named() });
        if self.script.misbehaviour.ignores_reset {
            if let Some(observation) = self.observations.get_mut(&target) {
                observation.in_flight = None;
            }
        } else {
            self.cancel_observation(&target);
        }
        true
    }

    /// The server did not hear a notification. Whether it is still there is asked by an Update; the value stays marked
    /// and leaves again afterwards, unless the server account says that nothing is to be stored (/1/x/6).
    fn lose_notification(&mut self, now: Instant, target: &Target, sequence: u32) {
        self.emit(DeviceEvent::NotificationLost { path: target.named(), sequence });
        if self.script.misbehaviour.forgets_observation_when_lost {
            self.cancel_observation(target);
            return;
        }
        let stores = self.tree.value(&Path::resource(1, 0, 6)) != Some(&Value::Boolean(false));
        if let Some(observation) = self.observations.get_mut(target) {
            observation.in_flight = None;
            observation.changed = stores;
        }
        self.push_update(now, Vec::new(), false);
    }

    fn notification_due(&self, target: &Target, observation: &Observation) -> Option<Instant> {
        let attributes = self.effective_attributes(target);
        let pmin = attributes.pmin.unwrap_or(0);
        if observation.changed {
            return Some(observation.last_sent + Duration::from_secs(u64::from(pmin)));
        }
        let pmax = attributes.pmax.filter(|pmax| *pmax > 0 && *pmax >= pmin)?;
        Some(observation.last_sent + Duration::from_secs(u64::from(pmax)))
    }

    /// The attributes of an observation: those of the Observe request, then of the path, then of each level above,
    /// then the defaults of the server object. Several paths are reported as slowly as the slowest `pmin` among them
    /// and as often as the shortest `pmax`.
    fn effective_attributes(&self, target: &Target) -> NotificationAttributes {
        let own = self.observations.get(target).map(|observation| observation.attributes.clone());
        let mut effective = own.unwrap_or_default();
        match target {
            Target::Path(path) => self.attributes.complete(&mut effective, path),
            Target::Composite(paths) => {
                let attached: Vec<_> = paths.iter().map(|path| self.attributes.in_force(path)).collect();
                let pmin = attached.iter().filter_map(|attributes| attributes.pmin).max();
                effective.pmin = effective.pmin.or(pmin);
                let periods = attached.iter().filter_map(|attributes| attributes.pmax).filter(|pmax| *pmax > 0);
                effective.pmax = effective.pmax.or(periods.min());
                effective.con = effective.con.or(attached.iter().find_map(|attributes| attributes.con));
            }
        }
        let default = |resource| match self.tree.value(&Path::resource(1, 0, resource)) {
            Some(Value::Integer(seconds)) => u32::try_from(*seconds).ok(),
            _ => None,
        };
        effective.pmin = effective.pmin.or_else(|| default(2));
        effective.pmax = effective.pmax.or_else(|| default(3));
        effective
    }

    fn notify(&mut self, now: Instant, target: &Target) {
        let attributes = self.effective_attributes(target);
        let Some(observation) = self.observations.get(target) else { return };
        let (token, accept) = (observation.token, observation.accept);
        let sequence = next_sequence(observation.sequence);
        let overdue = now.saturating_since(observation.last_confirmable) >= MAX_UNCONFIRMED;
        let confirmable = overdue || attributes.con.map_or(self.script.confirmable_notifications, |con| con == 1);
        let message_type = if confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable };
        let id = self.fresh_id();
        let mut message = Message::new(message_type, Code::CONTENT, id, token);
        match self.render_target(target, accept) {
            Ok((format, body)) => {
                if !self.script.misbehaviour.omits_observe_option {
                    message.push_uint(OptionNumber::OBSERVE, sequence);
                }
                self.put_format(&mut message, format);
                let body = LargeBody::new(target.clone(), format, body);
                if body.cut(&mut message, None, self.script.block_size_exponent) == Cut::Piece {
                    self.large_body = Some(body);
                }
            }
            Err(code) => {
                // An error ends the observation (RFC 7641 section 4.2).
                message.message_type = MessageType::NonConfirmable;
                message.code = code;
                self.transmit(now, message.encode());
                self.cancel_observation(target);
                return;
            }
        }
        let in_flight = if confirmable {
            Some(self.begin_transmission(now, &message))
        } else {
            self.transmit(now, message.encode());
            None
        };
        let reported = self.single_number(target);
        if let Some(observation) = self.observations.get_mut(target) {
            observation.sequence = sequence;
            observation.changed = false;
            observation.last_sent = now;
            observation.last_reported = reported;
            observation.last_id = Some(id);
            observation.in_flight = in_flight;
            if confirmable {
                observation.last_confirmable = now;
            }
        }
        self.emit(DeviceEvent::NotificationSent { path: target.named(), sequence, confirmable });
    }

    /// The number at an observed resource, for the conditions on its changes.
    fn single_number(&self, target: &Target) -> Option<f64> {
        match target {
            Target::Path(path) => self.tree.value(path).and_then(Value::as_f64),
            Target::Composite(_) => None,
        }
    }
}

const fn next_sequence(sequence: u32) -> u32 {
    sequence.wrapping_add(1) & SEQUENCE_MASK
}

/// Whether a change of a single value meets the conditions `gt`, `lt`, `st` and `edge`; without any it does.
fn is_reportable(
    attributes: &NotificationAttributes,
    reported: Option<f64>,
    old: Option<f64>,
    new: Option<f64>,
) -> bool {
    let NotificationAttributes { gt, lt, st, edge, .. } = attributes;
    if gt.is_none() && lt.is_none() && st.is_none() && edge.is_none() {
        return true;
    }
    let (Some(old), Some(new)) = (reported.or(old), new) else { return true };
    let crosses = |bound: &f64| (old > *bound) != (new > *bound);
    gt.as_ref().is_some_and(crosses)
        || lt.as_ref().is_some_and(|bound| (old < *bound) != (new < *bound))
        || st.is_some_and(|step| (new - old).abs() >= step)
        || edge.is_some_and(|edge| if edge == 1 { old < new } else { old > new })
}

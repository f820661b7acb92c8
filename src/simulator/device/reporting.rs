//! Observations and notifications (Core TS 1.2.2 section 6.4, RFC 7641).
//!
//! A change marks the observations that cover it; a marked one is sent when its `pmin` is over and nothing of the same
//! path is in flight, an unmarked one when its `pmax` is over. Only the newest state is ever sent.

use std::time::Duration;

use crate::model::attributes::NotificationAttributes;
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::model::value::Value;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::coap::option::OptionNumber;
use crate::simulator::transmission::{Due, Transmission};

use super::transfer::{LargeBody, cut_block};
use super::{DeviceEvent, MAX_OBSERVATIONS, SimulatedDevice};

/// At least this often a notification is confirmable (RFC 7641 section 4.5).
const MAX_UNCONFIRMED: Duration = Duration::from_secs(86_400);
/// Observe numbers have 24 bits.
const SEQUENCE_MASK: u32 = 0x00ff_ffff;

/// One observed path.
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
        path: Path,
        token: Token,
        accept: Option<u32>,
        attributes: NotificationAttributes,
    ) -> Option<u32> {
        let previous = self.observations.remove(&path);
        if self.observations.len() >= MAX_OBSERVATIONS {
            return None;
        }
        let sequence = previous.map_or(1, |previous| next_sequence(previous.sequence));
        let last_reported = self.tree.value(&path).and_then(Value::as_f64);
        let observation = Observation {
            token,
            accept,
            attributes,
            sequence,
            changed: false,
            last_sent: now,
            last_confirmable: now,
            last_reported,
            last_id: None,
            in_flight: None,
        };
        self.observations.insert(path, observation);
        self.emit(DeviceEvent::Observed { path });
        Some(sequence)
    }

    pub(super) fn cancel_observation(&mut self, path: Path) {
        if self.observations.remove(&path).is_some() {
            self.emit(DeviceEvent::ObservationCancelled { path });
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
        let covering: Vec<Path> = self
            .observations
            .keys()
            .filter(|observed| observed.contains(&path) || path.contains(observed))
            .copied()
            .collect();
        for observed in covering {
            let attributes = self.effective_attributes(&observed);
            let single = observed.depth() >= 3;
            let Some(observation) = self.observations.get_mut(&observed) else { continue };
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
            .filter_map(|(path, observation)| match &observation.in_flight {
                Some(transmission) => Some(transmission.deadline),
                None => self.notification_due(path, observation),
            })
            .min()
    }

    pub(super) fn advance_notifications(&mut self, now: Instant) {
        if !self.is_registered() {
            return;
        }
        let due: Vec<Path> = self
            .observations
            .iter()
            .filter(|(path, observation)| match &observation.in_flight {
                Some(transmission) => transmission.deadline <= now,
                None => self.notification_due(path, observation).is_some_and(|at| at <= now),
            })
            .map(|(path, _)| *path)
            .collect();
        for path in due {
            let Some(observation) = self.observations.get_mut(&path) else { continue };
            let sequence = observation.sequence;
            match observation.in_flight.as_mut().map(|transmission| transmission.advance(now)) {
                None => self.notify(now, path),
                Some(Due::Later) => {}
                Some(Due::Resend) => {
                    let bytes = observation.in_flight.as_ref().map(|transmission| transmission.bytes.clone());
                    self.transmit(now, bytes.unwrap_or_default());
                }
                Some(Due::GiveUp) => self.lose_notification(now, path, sequence),
            }
        }
    }

    pub(super) fn acknowledge_notification(&mut self, now: Instant, id: u16) -> bool {
        for (path, observation) in &mut self.observations {
            if let Some(sent) = observation.in_flight.take_if(|transmission| transmission.id == id) {
                let (path, sequence) = (*path, observation.sequence);
                self.emit(DeviceEvent::NotificationAcknowledged { path, sequence, at: now, sent_at: sent.sent_at });
                return true;
            }
        }
        false
    }

    pub(super) fn reset_notification(&mut self, id: u16) -> bool {
        let found = self.observations.iter().find(|(_, observation)| observation.last_id == Some(id));
        let Some(path) = found.map(|(path, _)| *path) else { return false };
        self.emit(DeviceEvent::NotificationReset { path });
        if self.script.misbehaviour.ignores_reset {
            if let Some(observation) = self.observations.get_mut(&path) {
                observation.in_flight = None;
            }
        } else {
            self.cancel_observation(path);
        }
        true
    }

    /// The server did not hear a notification. Whether it is still there is asked by an Update; the value stays marked
    /// and leaves again afterwards.
    fn lose_notification(&mut self, now: Instant, path: Path, sequence: u32) {
        self.emit(DeviceEvent::NotificationLost { path, sequence });
        if self.script.misbehaviour.forgets_observation_when_lost {
            self.cancel_observation(path);
            return;
        }
        if let Some(observation) = self.observations.get_mut(&path) {
            observation.in_flight = None;
            observation.changed = true;
        }
        self.push_update(now, Vec::new(), false);
    }

    fn notification_due(&self, path: &Path, observation: &Observation) -> Option<Instant> {
        let attributes = self.effective_attributes(path);
        let pmin = attributes.pmin.unwrap_or(0);
        if observation.changed {
            return Some(observation.last_sent + Duration::from_secs(u64::from(pmin)));
        }
        let pmax = attributes.pmax.filter(|pmax| *pmax > 0 && *pmax >= pmin)?;
        Some(observation.last_sent + Duration::from_secs(u64::from(pmax)))
    }

    /// The attributes of an observed path: those of the Observe request, then of the path, then of each level above,
    /// then the defaults of the server object.
    fn effective_attributes(&self, path: &Path) -> NotificationAttributes {
        let own = self.observations.get(path).map(|observation| observation.attributes.clone());
        let mut effective = own.unwrap_or_default();
        if !self.attributes.is_empty() {
            for depth in (1..=path.depth()).rev() {
                let level = path.truncated(depth).and_then(|level| self.attributes.get(&level));
                if let Some(level) = level {
                    inherit(&mut effective, level);
                }
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

    fn notify(&mut self, now: Instant, path: Path) {
        let attributes = self.effective_attributes(&path);
        let Some(observation) = self.observations.get(&path) else { return };
        let (token, accept) = (observation.token, observation.accept);
        let overdue = now.saturating_since(observation.last_confirmable) >= MAX_UNCONFIRMED;
        let confirmable = overdue || attributes.con.map_or(self.script.confirmable_notifications, |con| con == 1);
        let message_type = if confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable };
        let id = self.fresh_id();
        let mut message = Message::new(message_type, Code::CONTENT, id, token);
        let sequence = next_sequence(observation_sequence(&self.observations, &path));
        match self.render(&path, accept) {
            Ok((format, body)) => {
                if !self.script.misbehaviour.omits_observe_option {
                    message.push_uint(OptionNumber::OBSERVE, sequence);
                }
                message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(self.claimed(format).0));
                cut_block(&mut message, None, &body);
                if body.len() > message.payload.len() {
                    self.large_body = Some(LargeBody { path, format, bytes: body });
                }
            }
            Err(code) => {
                // An error ends the observation (RFC 7641 section 4.2).
                message.message_type = MessageType::NonConfirmable;
                message.code = code;
                self.transmit(now, message.encode());
                self.cancel_observation(path);
                return;
            }
        }
        let in_flight = if confirmable {
            Some(self.begin_transmission(now, &message))
        } else {
            self.transmit(now, message.encode());
            None
        };
        let reported = self.tree.value(&path).and_then(Value::as_f64);
        if let Some(observation) = self.observations.get_mut(&path) {
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
        self.emit(DeviceEvent::NotificationSent { path, sequence, confirmable });
    }
}

fn observation_sequence(observations: &std::collections::BTreeMap<Path, Observation>, path: &Path) -> u32 {
    observations.get(path).map_or(0, |observation| observation.sequence)
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

/// Fills what is unset from a level above.
fn inherit(target: &mut NotificationAttributes, above: &NotificationAttributes) {
    target.pmin = target.pmin.or(above.pmin);
    target.pmax = target.pmax.or(above.pmax);
    target.gt = target.gt.or(above.gt);
    target.lt = target.lt.or(above.lt);
    target.st = target.st.or(above.st);
    target.epmin = target.epmin.or(above.epmin);
    target.epmax = target.epmax.or(above.epmax);
    target.edge = target.edge.or(above.edge);
    target.con = target.con.or(above.con);
    target.hqmax = target.hqmax.or(above.hqmax);
}

/// Applies `name=value` and bare `name` arguments; `None` if one is unknown, no number, or the result is forbidden.
pub(super) fn apply_arguments(
    mut attributes: NotificationAttributes,
    arguments: &[String],
) -> Option<NotificationAttributes> {
    for argument in arguments {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        let integer = || value.map(str::parse::<u32>).transpose().ok();
        let number = || value.map(str::parse::<f64>).transpose().ok();
        match name {
            "pmin" => attributes.pmin = integer()?,
            "pmax" => attributes.pmax = integer()?,
            "epmin" => attributes.epmin = integer()?,
            "epmax" => attributes.epmax = integer()?,
            "edge" => attributes.edge = integer()?,
            "con" => attributes.con = integer()?,
            "hqmax" => attributes.hqmax = integer()?,
            "gt" => attributes.gt = number()?,
            "lt" => attributes.lt = number()?,
            "st" => attributes.st = number()?,
            _ => return None,
        }
    }
    attributes.check().is_ok().then_some(attributes)
}

//! Notifications, and what becomes of an observation by the device's answers.
//!
//! A notification belongs to an observation by its token alone, from whatever address it comes: devices change theirs. A
//! confirmable one is acknowledged when its values are durable and for no other reason later. A device that refuses to
//! be observed in several paths at once is observed path by path from then on.

use std::time::Duration;

use super::end_devices::GATEWAY_OBJECT;
use super::exchange::ActiveExchange;
use super::observation::{Observation, Phase, Target};
use super::{Devices, TokenOwner};
use crate::gateway::services::{Held, Services};
use crate::gateway::vocabulary::Peer;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::attributes::NotificationAttributes;
use crate::model::event::EventKind;
use crate::model::path::Path;
use crate::model::report::{ReportSource, Sample};
use crate::protocol::coap::message::{Code, Message};
use crate::protocol::coap::observe_order::is_newer;
use crate::protocol::coap::option::OptionNumber;

/// After an observation ended by the device's own error: when to try again.
const OBSERVE_AGAIN: Duration = Duration::from_secs(60);

impl Devices {
    pub(super) fn handle_notification(
        &mut self,
        services: &mut Services,
        key: usize,
        target: &Target,
        peer: Peer,
        message: &Message,
        confirmable: bool,
    ) {
        services.count(Occurrence::Notification);
        let now = services.now;
        let Some(device) = self.table.get_mut(key) else { return };
        let Some(observation) = device.observations.get_mut(target) else { return };
        if !message.code.is_success() {
            // RFC 7641 section 4.2: an error ends the observation at the device.
            let token = message.token;
            device.last_error = Some(format!("the observation of {target} ended with {}", message.code));
            if observation.is_wanted() {
                observation.phase = Phase::Wanted { attributes_written: 0, not_before: Some(now + OBSERVE_AGAIN) };
            } else {
                device.observations.remove(target);
            }
            self.tokens.remove(&token);
            self.acknowledge_now(services, peer, message.id, confirmable);
            self.schedule(services, key);
            return;
        }
        let by_command = observation.by_command;
        if let Phase::Active { newest, heard_at, .. } = &mut observation.phase {
            *heard_at = now;
            if let Some(sequence) = message.observe() {
                // RFC 8323 section 7.1: a stream keeps the order, and its Observe values say nothing.
                let fresh = services.is_stream(peer)
                    || newest.is_none_or(|(previous, at)| is_newer(previous, at, sequence, now));
                if !fresh {
                    services.count(Occurrence::StaleNotification);
                    self.acknowledge_now(services, peer, message.id, confirmable);
                    return;
                }
                *newest = Some((sequence, now));
            } else {
                services.note_quirk(device, "no_observe_option");
            }
        }
        let block = message.block_over(OptionNumber::BLOCK2, services.is_stream(peer));
        let rest = block.ok().flatten().filter(|block| block.more);
        if rest.is_some() {
            // RFC 7959 section 2.6: the rest is fetched by plain requests. The whole is read anew, so that no piece of
            // an older value is joined to it.
            if let Some(device) = self.table.get_mut(key) {
                device.request_read(target.clone());
            }
            self.acknowledge_now(services, peer, message.id, confirmable);
        } else {
            let samples = self.report_body(services, key, target, message, ReportSource::Notify, by_command);
            self.tell_samples(services, key, Some(target), &samples);
            if confirmable {
                let datagram = Message::acknowledgement(message.id).encode();
                services.journal.when_durable(Held::Answer { peer, message_id: message.id, datagram });
            } else {
                self.answers.answered(peer, message.id, &[]);
            }
        }
        let idle = self.table.get(key).is_some_and(|device| device.exchange.is_none());
        if idle {
            self.advance_after_notification(services, key);
        }
    }

    /// After a notification there is often nothing to send: then the timer queue need not be touched either.
    fn advance_after_notification(&mut self, services: &mut Services, key: usize) {
        let Some(device) = self.table.get(key) else { return };
        let idle = device.commands.is_empty()
            && device.reads.is_empty()
            && !device
                .observations
                .values()
                .any(|observation| matches!(observation.phase, Phase::Wanted { .. } | Phase::Cancelling { .. }))
            && device.keys.values().all(|key_state| key_state.due.is_none());
        if idle { self.schedule_lazily(services, key) } else { self.advance(services, key) }
    }

    /// Takes the values of an answer or notification, as far as they were asked for; which these were.
    pub(super) fn report_body(
        &mut self,
        services: &mut Services,
        key: usize,
        target: &Target,
        message: &Message,
        source: ReportSource,
        by_command: bool,
    ) -> Vec<Sample> {
        match self.decode_body(services, key, target.base(), message) {
            Ok(samples) => {
                let samples = self.expected_samples(services, key, target, samples);
                if *target == Target::Path(Path::object(GATEWAY_OBJECT)) {
                    self.list_end_devices(services, key, &samples);
                }
                self.report(services, key, &samples, source, by_command);
                samples
            }
            Err(error) => {
                if let Some(device) = self.table.get_mut(key) {
                    device.last_error = Some(format!("values of {target}: {error}"));
                }
                Vec::new()
            }
        }
    }

    /// Leaves out what a composite answer holds beyond what was asked for: nobody knows why it is there.
    fn expected_samples(
        &mut self,
        services: &mut Services,
        key: usize,
        target: &Target,
        mut samples: Vec<Sample>,
    ) -> Vec<Sample> {
        let before = samples.len();
        samples.retain(|sample| target.covers(&sample.path));
        if samples.len() != before
            && let Some(device) = self.table.get_mut(key)
        {
            services.note_quirk(device, "unexpected_path");
        }
        samples
    }

    pub(super) fn attributes_done(&mut self, key: usize, target: &Target, position: usize) {
        let observation = self.table.get_mut(key).and_then(|device| device.observations.get_mut(target));
        if let Some(Phase::Wanted { attributes_written, .. }) = observation.map(|observation| &mut observation.phase) {
            *attributes_written = position + 1;
        }
    }

    /// The device answered the Observe of the mapping.
    pub(super) fn observe_answered(&mut self, services: &mut Services, key: usize, target: &Target, message: &Message) {
        if !message.code.is_success() {
            self.observe_refused(services, key, target, message.code);
            return;
        }
        // That of the Observe, also where later pieces were asked for under others.
        let token = message.token;
        let now = services.now;
        let Some(device) = self.table.get_mut(key) else { return };
        let Some(observation) = device.observations.get_mut(target) else { return };
        let by_command = observation.by_command;
        if let Some(sequence) = message.observe() {
            observation.phase = Phase::Active { token, newest: Some((sequence, now)), heard_at: now };
            self.tokens.insert(token, TokenOwner::Observation(key, target.clone()));
            self.persist(services, key);
        } else {
            // The value is welcome; the device will not report changes.
            observation.phase = Phase::Refused { code: message.code.0 };
            services.note_quirk(device, "observe_without_effect");
        }
        self.report_body(services, key, target, message, ReportSource::Notify, by_command);
    }

    /// An observation that the device refused.
    pub(super) fn observe_refused(&mut self, services: &mut Services, key: usize, target: &Target, code: Code) {
        if let Target::Composite(_) = target {
            self.composite_refused(services, key, &format!("the device answered {code}"));
            return;
        }
        let Some(device) = self.table.get_mut(key) else { return };
        if let Some(observation) = device.observations.get_mut(target) {
            observation.phase = Phase::Refused { code: code.0 };
        }
        if device.is_gateway() && *target == Target::Path(Path::object(GATEWAY_OBJECT)) {
            // Then at least once, and again with each list of objects that changes.
            device.request_read(target.clone());
        }
        // An optional resource that is not there is what a mapping for many devices must expect.
        if code == Code::NOT_FOUND || code == Code::METHOD_NOT_ALLOWED {
            tracing::debug!(endpoint = %device.endpoint, %target, %code, "not observed");
            return;
        }
        device.last_error = Some(format!("{target} is not observed: the device answered {code}"));
        self.device_event(services, key, EventKind::ObserveFailed, &format!("{target}: the device answered {code}"));
    }

    /// From now on the device is observed path by path; it is remembered with its record.
    pub(super) fn composite_refused(&mut self, services: &mut Services, key: usize, why: &str) {
        let Some(device) = self.table.get_mut(key) else { return };
        device.formats.no_composite = true;
        device.last_error = Some(format!("a composite observation was not made: {why}; paths are observed one by one"));
        services.note_quirk(device, "refuses_composite");
        // None of the mapping's composites was made, or it can be ended like any other that is not wanted.
        device.observations.retain(|target, observation| {
            !matches!(target, Target::Composite(_)) || observation.by_command || observation.token().is_some()
        });
        self.select_mapping(services, key);
        self.persist(services, key);
    }

    pub(super) fn observation_cancelled(&mut self, key: usize, target: &Target) {
        let Some(device) = self.table.get_mut(key) else { return };
        let Some(observation) = device.observations.get_mut(target) else { return };
        if let Some(token) = observation.token() {
            self.tokens.remove(&token);
        }
        if observation.is_wanted() {
            observation.reset();
        } else {
            device.observations.remove(target);
        }
    }

    /// The device answered the Observe of a command.
    pub(super) fn observed_by_command(
        &mut self,
        services: &mut Services,
        key: usize,
        target: &Target,
        active: &ActiveExchange,
        message: &Message,
    ) {
        let (Some(sequence), Some(0)) = (message.observe(), active.request.observe) else { return };
        let token = message.token;
        let Some(device) = self.table.get_mut(key) else { return };
        let observation = device
            .observations
            .entry(target.clone())
            .or_insert_with(|| Observation::wanted(NotificationAttributes::default()));
        observation.by_command = true;
        observation.phase = Phase::Active { token, newest: Some((sequence, services.now)), heard_at: services.now };
        self.tokens.insert(token, TokenOwner::Observation(key, target.clone()));
        self.persist(services, key);
    }
}

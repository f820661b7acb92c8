//! Unknown devices that wait for an operator.
//!
//! A device under `approve` hears 2.04, and its first write is held for [`APPROVAL_TIME`]: clients give up on a refusal.
//! Without a yes in time nothing is written; the device stays in the list, and its next attempt finds the answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::log::SessionState;
use super::session::Stage;
use super::tables::Source;
use super::{BootstrapServer, answering};
use crate::gateway::devices::Devices;
use crate::gateway::devices::admission::proven;
use crate::gateway::services::Services;
use crate::gateway::vocabulary::Peer;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::bootstrap::EntryName;
use crate::model::command::{CommandError, ErrorKind};
use crate::model::endpoint::Endpoint;
use crate::model::event::EventKind;
use crate::model::time::{Instant, WallTime};
use crate::northbound::bootstrap_json::parse_entry;

/// How long the first write is held: less than clients wait for Finish.
pub const APPROVAL_TIME: Duration = Duration::from_secs(240);

/// Devices that wait, those among them that do not ask now; the oldest go.
pub const MAX_WAITING: usize = 1_000;

/// Least time between two events.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// One device that waits.
#[derive(Clone, Debug)]
struct Waiting {
    endpoint: Endpoint,
    address: String,
    identity: Option<String>,
    first: WallTime,
    last: WallTime,
    count: u64,
    /// Its session, while that waits.
    session: Option<u64>,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    /// The latest last.
    waiting: VecDeque<Waiting>,
    /// When somebody was told last.
    told_at: Option<Instant>,
}

impl BootstrapServer {
    /// A session waits.
    pub(super) fn wait_for_approval(&mut self, services: &mut Services, number: u64) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.stage = Stage::Approval { until: services.now + APPROVAL_TIME };
        session.log.state = SessionState::Waiting;
        session.log.begin("approve", "", services.wall(), services.now);
        let (endpoint, peer) = (session.endpoint.clone(), session.peer);
        self.note_waiting(services, &endpoint, peer, Some(number));
        self.schedule(number);
    }

    /// An unknown device asked.
    pub(super) fn note_waiting(
        &mut self,
        services: &mut Services,
        endpoint: &Endpoint,
        peer: Peer,
        session: Option<u64>,
    ) {
        let wall = services.wall();
        let (address, identity) = (peer.remote.to_string(), proven(services, peer).map(|who| who.identity.to_string()));
        let known = self.approvals.waiting.iter().position(|waiting| waiting.endpoint == *endpoint);
        let waiting = if let Some(known) = known.and_then(|index| self.approvals.waiting.remove(index)) {
            Waiting { address, identity, last: wall, count: known.count + 1, session, ..known }
        } else {
            if self.approvals.waiting.len() >= MAX_WAITING {
                let oldest = self.approvals.waiting.pop_front();
                services.count(Occurrence::BoundReached("max_bootstrap_waiting"));
                if let Some(number) = oldest.and_then(|oldest| oldest.session) {
                    self.fail(services, number, "more devices wait for approval than may");
                }
            }
            let endpoint = endpoint.clone();
            Waiting { endpoint, address, identity, first: wall, last: wall, count: 1, session }
        };
        let reason = format!(
            "an unknown device at {} asks for bootstrapping; approve it within {} s",
            waiting.address,
            APPROVAL_TIME.as_secs()
        );
        self.approvals.waiting.push_back(waiting);
        // Whoever invents names must not fill the spools: the list tells all of them, events only some.
        let told = self.approvals.told_at.is_some_and(|at| services.now.saturating_since(at) < EVENT_INTERVAL);
        if !told {
            self.approvals.told_at = Some(services.now);
            services.event(EventKind::JoinRequested, Some(endpoint), None, reason);
        }
    }

    /// Nobody said yes in time.
    pub(super) fn approval_missed(&mut self, services: &mut Services, number: u64) {
        for waiting in &mut self.approvals.waiting {
            waiting.session.take_if(|session| *session == number);
        }
        self.fail(services, number, "nobody approved the device in time; approved later, its next attempt succeeds");
    }

    /// Who waits, the latest first.
    pub(super) fn show_waiting(&self) -> Json {
        let items = self.approvals.waiting.iter().rev().map(|waiting| {
            json!({
                "endpoint": waiting.endpoint.as_str(),
                "address": waiting.address,
                "identity": waiting.identity,
                "first_at": waiting.first.millis(),
                "last_at": waiting.last.millis(),
                "count": waiting.count,
                "waiting": waiting.session.is_some_and(|number| self.sessions.contains_key(&number)),
            })
        });
        json!({ "items": items.collect::<Vec<Json>>(), "next": null })
    }

    /// An operator lets a device in. What is decided is remembered as the entry of the device.
    ///
    /// # Errors
    /// What is wrong with the body, or that there is nobody to let in.
    pub fn approve(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        endpoint: &str,
        body: &Json,
    ) -> Result<Json, CommandError> {
        let index = self.approvals.waiting.iter().position(|waiting| waiting.endpoint.as_str() == endpoint);
        let Some(index) = index else {
            let message = format!("'{endpoint}' does not wait for approval");
            return Err(CommandError::new(ErrorKind::NotFound, message));
        };
        let servers = body.get("servers").filter(|servers| servers.as_array().is_none_or(|list| !list.is_empty()));
        let entry = match (servers, self.tables.default_entry()) {
            (Some(servers), _) => parse_entry(&json!({ "servers": servers }), &services.model)
                .map_err(|problems| answering::invalid(&problems))?,
            (None, Some(known)) => (*known.entry).clone(),
            (None, None) => {
                let message = "servers: name the accounts that the device gets, or make an entry '*'";
                return Err(CommandError::new(ErrorKind::Invalid, message));
            }
        };
        let problems = self.tables.check(&entry);
        if !problems.is_empty() {
            return Err(answering::invalid(&problems));
        }
        // A device must not choose which others come in with it.
        let Some(name) = EntryName::new(endpoint).filter(|name| !name.is_pattern()) else {
            let message =
                "an entry of this name would be a pattern that lets in others too; name the device differently";
            return Err(CommandError::new(ErrorKind::Conflict, message));
        };
        self.put_checked(services, name, entry.clone(), Source::Api)?;
        let waiting = self.approvals.waiting.remove(index).and_then(|waiting| waiting.session);
        if let Some(number) = waiting.filter(|number| self.sessions.contains_key(number)) {
            if let Some(session) = self.sessions.get_mut(&number) {
                session.log.end(services.now, None, "approved");
            }
            match self.let_in(services, number, Arc::new(entry)) {
                Ok(()) => self.advance(services, devices, number),
                Err(reason) => self.fail(services, number, &reason),
            }
        }
        Ok(json!({ "endpoint": endpoint, "waiting": waiting.is_some() }))
    }
}

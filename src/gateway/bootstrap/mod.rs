//! The bootstrap server: who gets which server accounts, and the sessions that write them (Core TS 1.2.2 section 6.1).
//!
//! ```text
//! peers ──▶ devices: decode, repetitions ──▶ inbox ──▶ serving: who is it, what does it get
//!                                                         │
//!            tables: accounts, entries ──────────────────▶│
//!            issued: keys made, durable ─────────────────▶│
//!                                                         ▼
//!                                  driving: Discover, Delete, Write, Read, Finish, one at a time
//! ```
//!
//! [`tables`] and [`checking`] hold what operators want; [`serving`] answers devices; [`driving`] leads a session through
//! its stages, [`exchanges`] its requests; [`plan`] says what is written; [`telling`] makes credentials at this gateway
//! and at other servers; [`approval`] keeps who waits for an operator; [`answering`] answers the interfaces.
//!
//! Invariants:
//! 1. What was made for a device is durable before its first byte leaves, and is given again until it was used.
//! 2. One request at a time is under way to a device, and it ends after a silence of [`IDLE_TIME`].
//! 3. Credentials change only when everything is written and before Finish; the ones before stay valid until the new ones
//!    were used.
//! 4. A device that was turned away or failed may begin again at any time.

mod answering;
pub mod approval;
mod checking;
mod driving;
mod exchanges;
mod issued;
mod log;
pub mod news;
pub mod orders;
pub mod pack;
mod plan;
mod serving;
mod session;
mod tables;
mod telling;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::configuration::Configuration;
use super::devices::Devices;
use super::services::{Held, Services};
use super::store::{SecretRow, StoreWrite, StoredState};
use super::vocabulary::{Output, Peer, Place};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::bootstrap::{AccountName, PskKey, Security, ServerAccount, ServerKind};
use crate::model::command::{ErrorKind, Outcome};
use crate::model::endpoint::Endpoint;
use crate::model::event::EventKind;
use crate::model::time::Instant;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use approval::Approvals;
pub use checking::check_among;
use issued::Issuance;
use log::{PastSessions, SessionState};
use news::{News, SessionNews};
use orders::OrderId;
use pack::Packs;
use session::{Session, Stage};
use tables::{Source, Tables};

/// After so long without a word from the device a session is over: EXCHANGE_LIFETIME, which is also how long a client
/// waits for Finish (Core TS 1.2.2 section 6.1.7.1).
pub const IDLE_TIME: Duration = Duration::from_secs(247);

/// Sessions at a time; beyond it requests are not answered, and come again.
pub const MAX_SESSIONS: usize = 4_096;

/// The value of the gateway itself that says that the built-in accounts were made.
const BUILT_IN_MADE: &str = "bootstrap/built_in";

/// What comes to the bootstrap server from the transports.
#[derive(Debug)]
pub enum Inbound {
    /// A message; requests were not seen before.
    Message {
        /// Who sent it.
        peer: Peer,
        /// The message.
        message: Message,
    },
    /// A command wants a device bootstrapped that cannot be asked to.
    Unasked {
        /// Whose.
        endpoint: Endpoint,
        /// Where the device is, and from which listener it is written to.
        peer: Peer,
        /// The command, which ends with the session.
        command: String,
    },
    /// A peer's connection or session is over.
    Gone {
        /// Where it was.
        place: Place,
    },
}

/// The bootstrap server.
#[derive(Debug, Default)]
pub struct BootstrapServer {
    tables: Tables,
    issued: Issuance,
    approvals: Approvals,
    packs: Packs,
    past: PastSessions,
    sessions: HashMap<u64, Session>,
    by_endpoint: HashMap<Endpoint, u64>,
    tokens: HashMap<Token, u64>,
    outstanding: HashMap<(Place, u16), u64>,
    orders: HashMap<OrderId, u64>,
    timers: BTreeSet<(Instant, u64)>,
    /// Bytes of answers that have not arrived whole, over all sessions.
    receiving_bytes: usize,
    next_order: u64,
}

impl BootstrapServer {
    /// Takes up what the store and the configuration hold.
    pub fn new(services: &mut Services, stored: &StoredState) -> Self {
        let mut server = Self::default();
        let Some(configured) = services.configuration.bootstrap.clone() else { return server };
        server.restore(services, &stored.secrets);
        if !stored.state.contains_key(BUILT_IN_MADE) {
            server.make_built_in(services);
        }
        let wall = services.wall();
        for (name, account) in configured.servers {
            let id = new_id(services);
            // Not stored: the file is the place of these.
            let _ = server.tables.put_account(name, account, Source::File, id, wall);
        }
        for (name, entry) in configured.devices {
            let _ = server.tables.put_entry(name, entry, Source::File, wall);
        }
        for (name, known) in server.tables.entries_after(None) {
            for problem in server.tables.check(&known.entry) {
                tracing::warn!(entry = %name, field = problem.field, "bootstrap entry: {}", problem.message);
            }
        }
        server
    }

    fn restore(&mut self, services: &Services, rows: &[SecretRow]) {
        let unreadable = self.tables.restore(rows, &services.model) + self.issued.restore(rows);
        if unreadable > 0 {
            tracing::error!(unreadable, "stored rows of the bootstrap server cannot be read and are ignored");
        }
    }

    /// What a fresh store holds: accounts of this gateway, with and without security.
    fn make_built_in(&mut self, services: &mut Services) {
        let psk = || Security::Psk { identity: None, key: PskKey::Random(16) };
        let accounts = [
            ("management-nosec", ServerAccount::new(ServerKind::Management, Security::NoSec)),
            ("management-psk", ServerAccount::new(ServerKind::Management, psk())),
            ("bootstrap-nosec", ServerAccount::new(ServerKind::Bootstrap, Security::NoSec)),
            ("bootstrap-psk", ServerAccount::new(ServerKind::Bootstrap, psk())),
        ];
        let wall = services.wall();
        for (name, account) in accounts {
            let Ok(name) = AccountName::new(name) else { continue };
            let id = new_id(services);
            let write = self.tables.put_account(name, account, Source::BuiltIn, id, wall);
            services.write(write);
        }
        services.write(StoreWrite::PutState { key: BUILT_IN_MADE.to_owned(), value: b"1".to_vec() });
    }

    /// All rows anew, after the store lost some.
    pub fn rewrite(&self, services: &mut Services) {
        for write in self.tables.rewrite().into_iter().chain(self.issued.rewrite()) {
            services.write(write);
        }
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Takes what came from the transports.
    pub fn receive(&mut self, services: &mut Services, devices: &mut Devices, inbound: Inbound) {
        match inbound {
            Inbound::Message { peer, message } if message.code.is_request() => {
                self.handle_request(services, devices, peer, &message);
            }
            Inbound::Message { peer, message } => self.handle_response(services, devices, peer, message),
            Inbound::Unasked { endpoint, peer, command } => {
                self.begin_unasked(services, devices, endpoint, peer, command);
            }
            Inbound::Gone { place } => {
                let gone = |(_, session): &(&u64, &Session)| session.peer.place() == place;
                let mut numbers: Vec<u64> = self.sessions.iter().filter(gone).map(|(number, _)| *number).collect();
                numbers.sort_unstable();
                for number in numbers {
                    self.fail(services, number, "the device ended its connection");
                }
            }
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, services: &mut Services, devices: &mut Devices) {
        while let Some((at, number)) = self.timers.first().copied()
            && at <= services.now
        {
            self.timers.pop_first();
            if let Some(session) = self.sessions.get_mut(&number) {
                session.scheduled = None;
            }
            self.elapse(services, devices, number);
            self.schedule(number);
        }
    }

    /// Puts a session under its earliest deadline.
    fn schedule(&mut self, number: u64) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let deadline = session.next_deadline();
        if session.scheduled == Some(deadline) {
            return;
        }
        if let Some(scheduled) = session.scheduled.replace(deadline) {
            self.timers.remove(&(scheduled, number));
        }
        self.timers.insert((deadline, number));
    }

    /// A session is over.
    fn end(&mut self, services: &mut Services, number: u64, state: SessionState, reason: &str) -> Option<Session> {
        self.end_exchange(number);
        let mut session = self.sessions.remove(&number)?;
        if let Some(scheduled) = session.scheduled {
            self.timers.remove(&(scheduled, number));
        }
        if self.by_endpoint.get(&session.endpoint) == Some(&number) {
            self.by_endpoint.remove(&session.endpoint);
        }
        if matches!(session.stage, Stage::Making | Stage::Telling(_)) {
            self.orders.retain(|_, of| *of != number);
        }
        services.release_peer(session.peer);
        let wall = services.wall();
        session.log.end(services.now, None, "");
        session.log.state = state;
        reason.clone_into(&mut session.log.reason);
        session.log.ended_at = Some(wall);
        self.past.keep(session.log.clone());
        services.count(Occurrence::BootstrapEnded(state.as_str()));
        Some(session)
    }

    /// A session came to nothing; the device may begin again.
    fn fail(&mut self, services: &mut Services, number: u64, reason: &str) {
        let Some(session) = self.end(services, number, SessionState::Failed, reason) else { return };
        if let Some(command) = session.command.clone() {
            let message =
                format!("the device has no resource that asks it to bootstrap, and writing unasked failed: {reason}");
            let outcome = Outcome::failed(ErrorKind::NotSupported, message);
            services.bootstrap_outcomes.push((session.endpoint.clone(), command, outcome));
        }
        if let Some(request) = &session.pack {
            let (message_type, id) = match request.message_type {
                MessageType::Confirmable => (MessageType::Acknowledgement, request.id),
                _ => (MessageType::NonConfirmable, session.next_message_id),
            };
            let answer = Message::new(message_type, Code::INTERNAL_SERVER_ERROR, id, request.token);
            let datagram = services.encode(session.peer, &answer);
            services.journal.when_durable(Held::Answer { peer: session.peer, message_id: request.id, datagram });
        }
        services.event(EventKind::BootstrapFailed, Some(&session.endpoint), None, reason);
        tell(services, &session, News::Failed { reason: reason.to_owned() });
    }
}

/// Tells the Leshan-compatible stream of a session.
fn tell(services: &mut Services, session: &Session, what: News) {
    tell_of(services, &session.log.id, &session.endpoint, what);
}

/// The same where there may be no session: of an empty id.
fn tell_of(services: &mut Services, session: &str, endpoint: &Endpoint, what: News) {
    if services.configuration.streams_bootstrap {
        let (session, endpoint) = (session.to_owned(), endpoint.clone());
        let news = SessionNews { session, endpoint, ts: services.wall(), what };
        services.outputs.push_back(Output::BootstrapNews(news));
    }
}

fn new_id(services: &mut Services) -> String {
    use rand_core::Rng as _;
    format!("{:012x}", services.random.next_u64() >> 16)
}

/// Whether there is a bootstrap server.
fn is_on(configuration: &Configuration) -> bool {
    configuration.bootstrap.is_some()
}

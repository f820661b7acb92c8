//! What the handshakes need over restarts: sessions that can be resumed by their id, and the keys of session tickets.

use std::time::Duration;

use crate::gateway::configuration::Configuration;
use crate::gateway::handshakes::{HandshakeOrder, Resumable, TicketKey};
use crate::gateway::services::Services;
use crate::gateway::store::{SecretKind, SecretRow, StoreWrite};
use crate::gateway::vocabulary::Output;
use crate::model::credential::SecretBytes;
use crate::model::time::Instant;

/// How long a key of tickets seals new ones.
const TICKET_KEY_TURN: Duration = Duration::from_secs(24 * 60 * 60);
/// Keys that open tickets: a ticket lives two days at least.
const TICKET_KEYS: usize = 3;
/// The one row of all ticket keys.
const TICKET_KEYS_ROW: &[u8] = b"keys";
/// Bytes of a key.
const TICKET_KEY_BYTES: usize = 80;

/// Keys of session tickets, and when there is a new one.
#[derive(Debug)]
pub struct Tickets {
    keys: Vec<TicketKey>,
    /// `None` where nobody asks for handshakes.
    turn_at: Option<Instant>,
}

impl Tickets {
    /// No keys yet; none ever if no listener needs them.
    #[must_use]
    pub fn new(now: Instant, configuration: &Configuration) -> Self {
        let needed = configuration.transports.iter().any(|transport| transport.is_secure());
        Self { keys: Vec::new(), turn_at: needed.then_some(now) }
    }

    /// When [`Services::turn_ticket_keys`] is due.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Instant> {
        self.turn_at
    }
}

impl Services {
    /// Takes up what the run before kept, and makes the first key of tickets.
    pub(in crate::gateway) fn restore_handshakes(&mut self, rows: &[SecretRow]) {
        let now = self.now;
        for key in self.sessions.restore(now, rows) {
            tracing::error!("the stored record of a session cannot be used and is removed");
            self.write(StoreWrite::DeleteSecret { kind: SecretKind::Session, key });
        }
        for row in rows {
            match row.kind {
                SecretKind::TicketKeys => {
                    let keys = row.value.expose().as_chunks::<TICKET_KEY_BYTES>().0;
                    self.tickets.keys = keys.iter().map(|key| TicketKey(*key)).collect();
                    self.tickets.turn_at = self.tickets.turn_at.map(|now| now + TICKET_KEY_TURN);
                }
                SecretKind::Resumable => {
                    let resumable = Resumable { id: row.key.clone(), state: row.value.expose().to_vec() };
                    self.outputs.push_back(Output::Handshake(HandshakeOrder::Resumable(resumable)));
                }
                SecretKind::Credential
                | SecretKind::Session
                | SecretKind::ServerAccount
                | SecretKind::DeviceEntry
                | SecretKind::Issued => {}
            }
        }
        if self.tickets.keys.is_empty() {
            self.turn_ticket_keys();
        } else {
            self.tell_ticket_keys();
        }
    }

    /// A new key of tickets, if it is time for one.
    pub(in crate::gateway) fn turn_ticket_keys(&mut self) {
        if self.tickets.turn_at.is_none_or(|at| self.now < at) {
            return;
        }
        self.tickets.turn_at = Some(self.now + TICKET_KEY_TURN);
        let mut key = [0; TICKET_KEY_BYTES];
        self.sessions.fill_random(&mut key);
        self.tickets.keys.insert(0, TicketKey(key));
        self.tickets.keys.truncate(TICKET_KEYS);
        let value: Vec<u8> = self.tickets.keys.iter().flat_map(|key| key.0).collect();
        self.write(StoreWrite::PutSecret {
            kind: SecretKind::TicketKeys,
            key: TICKET_KEYS_ROW.to_vec(),
            value: SecretBytes::new(&value),
        });
        self.tell_ticket_keys();
    }

    fn tell_ticket_keys(&mut self) {
        let keys = self.tickets.keys.clone();
        self.outputs.push_back(Output::Handshake(HandshakeOrder::TicketKeys(keys)));
    }

    /// Keeps a session that can be resumed.
    pub(in crate::gateway) fn keep_resumable(&mut self, resumable: Resumable) {
        self.write(StoreWrite::PutSecret {
            kind: SecretKind::Resumable,
            key: resumable.id,
            value: SecretBytes::new(&resumable.state),
        });
    }

    /// Forgets one.
    pub(in crate::gateway) fn forget_resumable(&mut self, id: Vec<u8>) {
        self.write(StoreWrite::DeleteSecret { kind: SecretKind::Resumable, key: id });
    }
}

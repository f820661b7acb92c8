//! Sending in a session, and keeping sessions in the store.
//!
//! A session is stored when it begins, when it moves, when its sequence numbers run low, and in sweeps; it is taken out
//! when it ends. What finds no free number waits until the session is stored.

use super::session::{Records, Session};
use super::{Sealed, Sessions};
use crate::gateway::configuration::Transport;
use crate::gateway::services::{Held, Services};
use crate::gateway::store::{SecretKind, SecretRow, StoreSequence, StoreWrite};
use crate::gateway::vocabulary::{Output, Peer, SessionId};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::credential::SecretBytes;
use crate::model::time::Instant;

impl Services {
    /// Sends a message in a session.
    pub(in crate::gateway) fn transmit_in_session(&mut self, session: SessionId, peer: Peer, message: Vec<u8>) {
        if !self.try_transmit(session, &message) {
            if !self.sessions.is_saving(session) {
                self.save_session(session);
            }
            self.journal.when_durable(Held::Message { peer, message });
        }
    }

    /// Sends a message that waited until its session was stored.
    pub(in crate::gateway) fn transmit_held(&mut self, session: SessionId, message: &[u8]) {
        if !self.try_transmit(session, message) {
            // The store is broken. A session that can say nothing is worse than none: its device begins another.
            self.count(Occurrence::RecordDropped("not_stored"));
            self.sessions.end(session, "not_stored");
        }
    }

    /// Sends a message; `false` if no sequence number is free.
    fn try_transmit(&mut self, session: SessionId, message: &[u8]) -> bool {
        let journal = &self.journal;
        match self.sessions.seal(session, message, |sequence| journal.is_written(sequence)) {
            Sealed::Datagram(peer, bytes) => {
                self.count(Occurrence::DatagramSent);
                self.outputs.push_back(Output::Transmit { peer, bytes });
                if self.sessions.runs_low(session) {
                    self.save_session(session);
                }
            }
            Sealed::Order(order) => self.outputs.push_back(Output::Handshake(order)),
            Sealed::MustBeSaved => return false,
            Sealed::Gone => self.count(Occurrence::DatagramDropped("no_session")),
        }
        true
    }

    /// Puts a session into this input's batch.
    pub(in crate::gateway) fn save_session(&mut self, id: SessionId) {
        let Some((value, write_limit)) = self.sessions.get(id).and_then(Session::record) else { return };
        self.write(StoreWrite::PutSecret {
            kind: SecretKind::Session,
            key: id.0.to_be_bytes().to_vec(),
            value: SecretBytes::new(&value),
        });
        let sequence = self.journal.sequence();
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.dirty = false;
        if let Records::Own(records) = &mut session.records {
            records.saving = Some((sequence, write_limit));
        }
    }

    /// Puts a session that has just begun into this input's batch. Its numbers may be used at once: a restart knows the
    /// session either not at all, or with this limit.
    pub(in crate::gateway) fn save_begun(&mut self, id: SessionId) {
        self.save_session(id);
        if let Some(Session { records: Records::Own(records), .. }) = self.sessions.get_mut(id)
            && let Some((_, write_limit)) = records.saving.take()
        {
            records.write_limit = write_limit;
        }
    }

    /// Stores every session that changed.
    pub(in crate::gateway) fn save_dirty_sessions(&mut self) {
        for id in self.sessions.dirty() {
            self.save_session(id);
        }
    }

    /// Takes a session out of the store.
    pub(in crate::gateway) fn forget_session(&mut self, id: SessionId) {
        self.write(StoreWrite::DeleteSecret { kind: SecretKind::Session, key: id.0.to_be_bytes().to_vec() });
    }
}

impl Sessions {
    /// Whether the record of a session is on its way to the store.
    fn is_saving(&self, id: SessionId) -> bool {
        self.get(id).is_some_and(|session| match &session.records {
            Records::Own(records) => records.saving.is_some(),
            Records::Library => false,
        })
    }

    /// A batch never reached the store: what it held allows nothing.
    pub fn batch_lost(&mut self, sequence: StoreSequence) {
        for session in self.table.values_mut() {
            if let Records::Own(records) = &mut session.records
                && records.saving.is_some_and(|(saving, _)| saving == sequence)
            {
                records.saving = None;
                session.dirty = true;
            }
        }
    }

    /// Takes up the sessions of the run before. Answers the rows that cannot be used: they cannot be read, or their
    /// connection ids have another length than those of now, by which no record would find them.
    pub fn restore(&mut self, now: Instant, rows: &[SecretRow]) -> Vec<Vec<u8>> {
        let id_bytes = self.configuration.lwm2m.sessions.connection_id_bytes;
        let dtls = self.configuration.transports.iter().position(|transport| *transport == Transport::Dtls);
        let listener = dtls.and_then(|index| u16::try_from(index).ok());
        let mut unusable = Vec::new();
        for row in rows.iter().filter(|row| row.kind == SecretKind::Session) {
            let session = row
                .key
                .as_slice()
                .try_into()
                .ok()
                .map(|key| SessionId(u64::from_be_bytes(key)))
                .and_then(|id| Some((id, Session::restored(now, id, row.value.expose())?)))
                .filter(|(_, session)| session.connection_id().is_none_or(|id| id.as_bytes().len() == id_bytes));
            match session {
                Some((id, mut session)) => {
                    if let Some(listener) = listener
                        && self.configuration.transport(session.peer.listener) != Transport::Dtls
                    {
                        // There are other listeners now than when it was stored.
                        session.peer.listener = listener;
                    }
                    self.insert(id, session);
                }
                None => unusable.push(row.key.clone()),
            }
        }
        unusable
    }
}

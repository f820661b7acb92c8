//! DTLS sessions and the devices on them.
//!
//! Unlike the end of a connection, that of a session ends no observation: what a device knows outlives its handshakes,
//! so a new session of the same peer goes on where the former one stood.

use std::sync::Arc;

use super::Devices;
use super::admission::why_not;
use super::device::{Device, State};
use crate::gateway::bootstrap::Inbound;
use crate::gateway::handshakes::HandshakeInput;
use crate::gateway::services::Services;
use crate::gateway::sessions::Action;
use crate::gateway::sessions::session::Session;
use crate::gateway::vocabulary::{Authenticated, Output, Peer, SessionId};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::credential::{Identity, Scope};
use crate::model::event::EventKind;

impl Devices {
    /// Takes a datagram of a DTLS listener.
    pub fn handle_records(&mut self, services: &mut Services, peer: Peer, bytes: &[u8]) {
        services.count(Occurrence::DatagramReceived);
        services.sessions.handle_datagram(services.now, peer, bytes);
        self.follow_sessions(services);
    }

    /// Takes what happened to a handshake.
    pub fn handle_handshake(&mut self, services: &mut Services, input: HandshakeInput) {
        match input {
            HandshakeInput::Resumable(resumable) => services.keep_resumable(resumable),
            HandshakeInput::NotResumable { id } => services.forget_resumable(id),
            input => services.sessions.handle_handshake(services.now, input),
        }
        self.follow_sessions(services);
    }

    /// Does what is due at sessions.
    pub fn elapse_sessions(&mut self, services: &mut Services) {
        for session in services.sessions.handle_timeout(services.now) {
            services.save_session(session);
        }
        services.turn_ticket_keys();
        self.follow_sessions(services);
    }

    /// Does what the sessions want done.
    pub fn follow_sessions(&mut self, services: &mut Services) {
        while let Some(action) = services.sessions.poll_action() {
            match action {
                Action::Transmit { peer, datagram } => {
                    services.count(Occurrence::DatagramSent);
                    services.outputs.push_back(Output::Transmit { peer, bytes: datagram });
                }
                Action::Order(order) => services.outputs.push_back(Output::Handshake(order)),
                Action::Message { peer, plaintext } => self.handle_message(services, peer, &plaintext),
                Action::Begun { session, replaced } => self.session_begun(services, session, replaced),
                Action::Moved { session } => self.session_moved(services, session),
                Action::Ended { session, reason } => {
                    if let Some(id) = session.peer.session {
                        services.forget_session(id);
                    }
                    if services.scope_of(session.peer) == Scope::Bootstrap {
                        services.bootstrap_inbox.push_back(Inbound::Gone { place: session.peer.place() });
                    }
                    for key in session.devices {
                        self.session_lost(services, key, reason);
                    }
                }
                Action::Failed { peer, failure } => services.refuse_handshake(peer, &failure),
                Action::Count(occurrence) => services.count(occurrence),
            }
        }
    }

    fn session_begun(&mut self, services: &mut Services, id: SessionId, replaced: Option<Session>) {
        let Some(session) = services.sessions.get(id) else { return };
        let (peer, who) = (session.peer, session.who.clone());
        let mut devices = Vec::new();
        if let Some(replaced) = replaced {
            if let Some(former) = replaced.peer.session {
                services.forget_session(former);
            }
            services.count(Occurrence::SessionEnded("replaced"));
            devices = replaced.devices;
        }
        let scope = services.scope_of(peer);
        if !services.credentials.is_current(scope, &who) {
            // It changed while the handshake was under way.
            services.sessions.close(id, "credential_gone");
            for key in devices {
                self.session_lost(services, key, "credential_gone");
            }
            return;
        }
        services.save_begun(id);
        for key in devices {
            if self.is_from(services, key, peer) {
                self.move_to(services, key, peer);
            } else {
                self.session_lost(services, key, "replaced");
            }
        }
        if scope == Scope::Bootstrap {
            return;
        }
        // A device that resumes its session, or begins another one, need not register again.
        if let Some([key]) = self.by_identity.get(&who.identity).map(Vec::as_slice) {
            let key = *key;
            if self.table.get(key).is_some_and(|device| device.registration.is_some()) {
                self.move_to(services, key, peer);
            }
        }
    }

    fn session_moved(&mut self, services: &mut Services, id: SessionId) {
        let Some(session) = services.sessions.get(id) else { return };
        let (peer, devices) = (session.peer, session.devices.clone());
        for key in devices {
            if let Some(device) = self.table.get_mut(key).filter(|device| device.peer.session == Some(id)) {
                device.peer = peer;
            }
        }
        services.save_session(id);
    }

    /// A device cannot be reached any more until it begins another session.
    fn session_lost(&mut self, services: &mut Services, key: usize, reason: &str) {
        self.interrupt(services, key);
        self.lose_way(services, key, reason);
    }

    /// Whether a message of a peer can be one of a device: it proved to be the same when the device registered.
    pub(super) fn is_from(&self, services: &Services, key: usize, peer: Peer) -> bool {
        let Some(device) = self.table.get(self.line_of(key)) else { return false };
        device.who.as_ref().map(|who| &who.identity) == services.who(peer).map(|who| &who.identity)
    }

    /// Notes who a device proved to be.
    pub(super) fn set_who(&mut self, key: usize, who: Option<Arc<Authenticated>>) {
        let Some(device) = self.table.get_mut(key) else { return };
        if device.who == who {
            return;
        }
        device.facts.identity = who.as_ref().map(|who| who.identity.to_string());
        let former = std::mem::replace(&mut device.who, who.clone());
        self.forget_identity(key, former.as_ref().map(|who| &who.identity));
        if let Some(who) = who {
            self.by_identity.entry(who.identity.clone()).or_default().push(key);
        }
    }

    pub(super) fn forget_identity(&mut self, key: usize, identity: Option<&Identity>) {
        let Some(identity) = identity else { return };
        let Some(keys) = self.by_identity.get_mut(identity) else { return };
        keys.retain(|known| *known != key);
        if keys.is_empty() {
            self.by_identity.remove(identity);
        }
    }

    /// Credentials changed: what they no longer allow ends at once.
    pub fn credentials_changed(&mut self, services: &mut Services) {
        let mut gone: Vec<SessionId> = services
            .sessions
            .iter()
            .filter(|(_, session)| !services.credentials.is_current(services.scope_of(session.peer), &session.who))
            .map(|(id, _)| id)
            .collect();
        gone.sort_unstable();
        for id in gone {
            services.sessions.close(id, "credential_gone");
        }
        self.follow_sessions(services);
        self.close_unproven_streams(services);
        let keys: Vec<usize> = self.table.iter().map(|(key, _)| key).collect();
        for key in keys {
            let registered = |device: &&Device| device.registration.is_some() && device.behind.is_none();
            let Some(device) = self.table.get(key).filter(registered) else { continue };
            if let Some(reason) = why_not(services, device) {
                self.end_registration(services, key, EventKind::Deregistered, reason);
            }
        }
    }

    /// The way to a device is gone.
    pub(super) fn lose_way(&mut self, services: &mut Services, key: usize, reason: &str) {
        let Some(device) = self.table.get_mut(key) else { return };
        device.disconnected = true;
        let place = device.peer.place();
        let (registered, queue_mode) = (device.registration.is_some(), device.in_queue_mode());
        let was_online = device.state == State::Online;
        self.forget_place(key, place);
        if registered && queue_mode {
            self.fall_asleep(services, key);
        } else if registered && was_online {
            self.set_state(services, key, State::Offline, "unreachable");
            self.device_event(services, key, EventKind::Unreachable, reason);
        }
        self.follow_gateway(services, key);
        self.schedule(services, key);
    }
}

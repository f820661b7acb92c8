//! Devices on stream transports (RFC 8323): messages without ids and acknowledgements, and what a lost connection means.
//!
//! A message that came over a connection takes the same ways as one from a datagram. The differences are here and in
//! the places that ask [`Services::is_stream`]: nothing is repeated or acknowledged, so nothing is looked up as seen
//! before; a token counts only on the connection of its device; while the store cannot follow, connections are not read.
//!
//! A connection is the address of its devices. With its end the request under way has failed and observations are gone
//! (RFC 8323 section 7.4); the registration stays, and an Update or Register on another connection brings the device
//! back, whereupon its observations are made anew.

use super::device::Device;
use super::exchange::{ActiveExchange, Job};
use std::sync::Arc;

use super::{Devices, TokenOwner};
use crate::gateway::bootstrap::Inbound;
use crate::gateway::services::{Held, Services};
use crate::gateway::streams::{Address, address_of};
use crate::gateway::vocabulary::{Authenticated, ConnectionId, Output, Peer, StreamInput, StreamOrder};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::credential::Scope;
use crate::protocol::coap::connection::Event;
use crate::protocol::coap::message::{Code, Message, MessageType};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::coap::signalling::Signal;
use crate::protocol::coap::tcp_frame;

impl Devices {
    /// Takes what happened to a connection.
    pub fn handle_stream(&mut self, services: &mut Services, peer: Peer, id: ConnectionId, input: StreamInput) {
        match input {
            StreamInput::Opened { identity } => self.stream_opened(services, peer, id, identity),
            StreamInput::Refused(failure) => services.refuse_handshake(peer, &failure),
            StreamInput::Bytes(bytes) => {
                let now = services.now;
                let Some(stream) = services.streams.current(peer, id) else { return };
                stream.connection.receive(now, bytes);
                self.read_stream(services, address_of(peer));
            }
            StreamInput::Closed { reason } => {
                let Some(stream) = services.streams.current(peer, id) else { return };
                stream.connection.close("closed_by_peer", reason);
                self.settle_stream(services, address_of(peer));
            }
        }
    }

    fn stream_opened(
        &mut self,
        services: &mut Services,
        peer: Peer,
        id: ConnectionId,
        identity: Option<Box<Authenticated>>,
    ) {
        if identity.as_ref().is_some_and(|who| !services.credentials.is_current(services.scope_of(peer), who)) {
            // It changed while the handshake was under way.
            services.count(Occurrence::ConnectionClosed("credential_gone"));
            services.outputs.push_back(Output::Stream { connection: id, order: StreamOrder::Close });
            return;
        }
        let address = address_of(peer);
        if let Some(former) = services.streams.get_mut(address) {
            // The same port again: the end of the former connection was not heard.
            former.connection.close("replaced", "another connection came from the same address");
            self.settle_stream(services, address);
        }
        match services.streams.open(services.now, peer, id, identity.map(|who| Arc::new(*who))) {
            Ok(()) => {
                services.count(Occurrence::ConnectionOpened);
                self.settle_stream(services, address);
            }
            Err(bound) => {
                services.count(Occurrence::BoundReached(bound));
                services.outputs.push_back(Output::Stream { connection: id, order: StreamOrder::Close });
            }
        }
    }

    /// Handles everything that came over a connection, as far as the store follows.
    fn read_stream(&mut self, services: &mut Services, address: Address) {
        loop {
            let now = services.now;
            if Self::store_is_behind(services) {
                services.pause_stream(address, true);
                break;
            }
            let parameters = services.streams.parameters().clone();
            let Some(stream) = services.streams.get_mut(address) else { return };
            let (peer, id) = (stream.peer, stream.id);
            let Some(event) = stream.connection.poll_event(now, &parameters) else {
                services.pause_stream(address, false);
                break;
            };
            match event {
                Event::Message(message, bytes) => self.stream_message(services, peer, id, message, bytes),
                Event::CustodyPing(token) => {
                    let pong = tcp_frame::encode(&Signal::Pong { token, custody: true }.message());
                    let message_id = id.message_id();
                    services.journal.when_durable(Held::Answer { peer, message_id, datagram: pong });
                }
                Event::Pong(_) => {}
                Event::Released => self.stream_released(services, peer, id),
            }
            // Answers that are ready leave in the order of the requests.
            Self::flush_stream(services, address);
        }
        if !services.streams.charge(address)
            && let Some(stream) = services.streams.get_mut(address)
        {
            stream.connection.abort("no_room", "too many large messages arrive at once");
            services.count(Occurrence::BoundReached("max_stream_bytes"));
        }
        self.settle_stream(services, address);
    }

    /// The store has caught up: connections are read again.
    pub fn resume_streams(&mut self, services: &mut Services) {
        for address in services.streams.paused() {
            if Self::store_is_behind(services) {
                return;
            }
            self.read_stream(services, address);
        }
    }

    fn stream_message(
        &mut self,
        services: &mut Services,
        peer: Peer,
        id: ConnectionId,
        mut message: Message,
        bytes: usize,
    ) {
        services.count(Occurrence::DatagramReceived);
        message.id = id.message_id();
        self.trace_incoming(services, peer, &message);
        if message.code.is_request() {
            self.handle_request(services, peer, &message, bytes);
            return;
        }
        if services.scope_of(peer) == Scope::Bootstrap {
            services.bootstrap_inbox.push_back(Inbound::Message { peer, message });
            return;
        }
        match self.tokens.get(&message.token).cloned() {
            Some(owner) if self.is_on(&owner, peer) => {
                self.handle_owned_response(services, peer, owner, message, bytes, false);
            }
            _ => Self::cancel_unwanted(services, peer, &message),
        }
    }

    /// Whether a token belongs to a device on this connection: tokens are local to it (RFC 8323 section 3.3).
    fn is_on(&self, owner: &TokenOwner, peer: Peer) -> bool {
        let Some(device) = self.table.get(owner.key()) else { return false };
        device.peer.place() == peer.place()
    }

    /// The same for a datagram: whether its token belongs to a device on some connection, and so not to it.
    pub(super) fn is_on_stream(&self, services: &Services, owner: &TokenOwner) -> bool {
        self.table.get(owner.key()).is_some_and(|device| services.is_stream(device.peer))
    }

    /// There is no reset on a stream. A notification that nobody wants is cancelled by its token (RFC 8323 section 7.4),
    /// once in a while: the answer, if it is another such notification, must not go round for ever.
    fn cancel_unwanted(services: &mut Services, peer: Peer, message: &Message) {
        services.count(Occurrence::DatagramDropped("unknown_token"));
        if message.option(OptionNumber::OBSERVE).is_none() || !services.streams.may_cancel(services.now, peer) {
            return;
        }
        let mut cancellation = Message::new(MessageType::Confirmable, Code::GET, 0, message.token);
        cancellation.push_uint(OptionNumber::OBSERVE, 1);
        let frame = services.encode(peer, &cancellation);
        services.transmit(peer, frame);
    }

    fn stream_released(&mut self, services: &mut Services, peer: Peer, id: ConnectionId) {
        let address = address_of(peer);
        services.streams.release(services.now, address);
        let devices = services.streams.get(address).map(|stream| stream.devices.clone()).unwrap_or_default();
        for key in devices {
            // Nothing new is asked over it; what was asked may still be answered.
            if let Some(device) = self.table.get_mut(key) {
                device.disconnected = true;
            }
        }
        services.journal.when_durable(Held::Released { peer, connection: id });
    }

    /// Everything that a device asked before it released its connection is answered.
    pub fn close_released(&mut self, services: &mut Services, peer: Peer, id: ConnectionId) {
        let Some(stream) = services.streams.current(peer, id) else { return };
        let busy =
            stream.devices.iter().any(|key| self.table.get(*key).is_some_and(|device| device.exchange.is_some()));
        if !busy {
            stream.connection.close("released", "the device wanted its connection closed");
            self.settle_stream(services, address_of(peer));
        }
    }

    /// Ends connections whose peer proved itself by what no longer counts.
    pub(super) fn close_unproven_streams(&mut self, services: &mut Services) {
        for address in services.streams.addresses() {
            let scope = services.configuration.scope(address.0);
            let Some(stream) = services.streams.get_mut(address) else { continue };
            let proven = stream.who.as_ref().is_none_or(|who| services.credentials.is_current(scope, who));
            if !proven {
                stream.connection.close("credential_gone", "its credential was removed or changed");
                self.settle_stream(services, address);
            }
        }
    }

    /// Does what is due at connections.
    pub fn elapse_streams(&mut self, services: &mut Services) {
        let now = services.now;
        while let Some(address) = services.streams.poll_due(now) {
            let devices = services.streams.get(address).map(|stream| stream.devices.as_slice()).unwrap_or_default();
            let sleeping = !devices.is_empty()
                && devices
                    .iter()
                    .all(|key| self.table.get(*key).is_some_and(|device| device.sleeps_on_connection(now)));
            services.streams.elapse(now, address, sleeping);
            self.settle_stream(services, address);
        }
    }

    /// The gateway stops: peers are told, so that they do not wait for the silence to tell them.
    pub fn release_streams(&mut self, services: &mut Services) {
        for address in services.streams.addresses() {
            if let Some(stream) = services.streams.get_mut(address) {
                stream.connection.signal(&Signal::Release { hold_off: None });
            }
            Self::flush_stream(services, address);
        }
    }

    fn flush_stream(services: &mut Services, address: Address) {
        let Some(stream) = services.streams.get_mut(address) else { return };
        let connection = stream.id;
        while let Some(frame) = stream.connection.poll_transmit() {
            services.outputs.push_back(Output::Stream { connection, order: StreamOrder::Send(frame) });
        }
    }

    /// Sends what waits, and ends the connection if it is over.
    fn settle_stream(&mut self, services: &mut Services, address: Address) {
        Self::flush_stream(services, address);
        let Some(closed) = services.streams.get(address).and_then(|stream| stream.connection.closed()).cloned() else {
            services.streams.schedule(address);
            return;
        };
        let Some(stream) = services.streams.remove(address) else { return };
        tracing::debug!(peer = %address.1, reason = closed.reason, "connection closed");
        services.count(Occurrence::ConnectionClosed(closed.word));
        services.outputs.push_back(Output::Stream { connection: stream.id, order: StreamOrder::Close });
        if services.scope_of(stream.peer) == Scope::Bootstrap {
            services.bootstrap_inbox.push_back(Inbound::Gone { place: stream.peer.place() });
        }
        for key in stream.devices {
            self.connection_lost(services, key, &closed.reason);
        }
    }

    fn connection_lost(&mut self, services: &mut Services, key: usize, reason: &str) {
        self.leave_connection(services, key);
        self.lose_way(services, key, reason);
    }

    /// What a device and those behind it had under way on their connection is over.
    fn leave_connection(&mut self, services: &mut Services, key: usize) {
        self.interrupt(services, key);
        for member in std::iter::once(key).chain(self.end_devices_of(key)) {
            self.begin_observations_anew(member);
        }
    }

    /// What was asked of a device and of those behind it will not be answered where it was asked.
    pub(super) fn interrupt(&mut self, services: &mut Services, key: usize) {
        for member in std::iter::once(key).chain(self.end_devices_of(key)) {
            if let Some(ended) = self.end_exchange(member) {
                self.exchange_interrupted(services, member, &ended);
            }
        }
    }

    /// The request under way went down with its connection. What may be repeated waits for the next one.
    fn exchange_interrupted(&mut self, services: &mut Services, key: usize, ended: &ActiveExchange) {
        services.count(Occurrence::ExchangeTimedOut);
        match &ended.job {
            Job::Command { id } => self.command_interrupted(services, key, id),
            Job::Read { target } => {
                if let Some(device) = self.table.get_mut(key) {
                    device.request_read(target.clone());
                }
            }
            Job::Observe { .. } | Job::Cancel { .. } | Job::WriteAttributes { .. } => {}
        }
    }

    /// The device forgets observations with the connection that they were made on.
    fn begin_observations_anew(&mut self, key: usize) {
        let Some(device) = self.table.get_mut(key) else { return };
        for observation in device.observations.values() {
            if let Some(token) = observation.token() {
                self.tokens.remove(&token);
            }
        }
        device.observations.retain(|_, observation| observation.is_wanted());
        device.observations.values_mut().for_each(super::observation::Observation::reset);
    }

    /// A device was heard from `peer`. Where a connection or a session is involved, that is its place from now on: unlike
    /// a datagram's address, the former one cannot be the right one as well.
    pub(super) fn move_to(&mut self, services: &mut Services, key: usize, peer: Peer) {
        let Some(device) = self.table.get(key) else { return };
        let (former, connected) = (device.peer, !device.disconnected);
        let who = services.who(peer).filter(|who| device.who.as_ref() != Some(*who)).cloned();
        if services.is_stream(peer) {
            services.streams.join(peer, key);
        }
        if let Some(session) = peer.session {
            services.sessions.join(session, key);
        }
        if who.is_some() {
            self.set_who(key, who);
        }
        let same = former.place() == peer.place();
        let streams = services.is_stream(peer) || services.is_stream(former);
        let sessions = peer.session.is_some() || former.session.is_some();
        if (same && connected) || !(streams || sessions) {
            return;
        }
        if streams {
            self.leave_connection(services, key);
        } else {
            self.interrupt(services, key);
        }
        if !same {
            self.forget_place(key, former.place());
        }
        if let Some(device) = self.table.get_mut(key) {
            device.peer = peer;
            device.alternate_peer = None;
            device.disconnected = false;
        }
        self.by_place.insert(peer.place(), key);
        if let Some(session) = former.session.filter(|_| !same) {
            services.sessions.leave(session, key, true);
        }
        if !same
            && services.streams.leave(services.now, former, key)
            && let Some(stream) = services.streams.get_mut(address_of(former))
        {
            stream.connection.abort("replaced", "the device goes on over another connection");
            self.settle_stream(services, address_of(former));
        }
        self.follow_gateway(services, key);
        self.persist(services, key);
    }

    /// A device of the run before was on a connection, which is gone.
    pub(super) fn restore_disconnected(device: &mut Device) {
        device.disconnected = true;
        device.observations.values_mut().for_each(super::observation::Observation::reset);
    }
}

impl TokenOwner {
    pub(super) fn key(&self) -> usize {
        match self {
            Self::Exchange(key) | Self::Observation(key, _) => *key,
        }
    }
}

impl Device {
    /// Whether nothing can be expected from the device on its connection: it sleeps, and its registration lasts.
    fn sleeps_on_connection(&self, now: crate::model::time::Instant) -> bool {
        self.registration.is_some() && self.in_queue_mode() && self.awake_until.is_some_and(|until| until <= now)
    }
}

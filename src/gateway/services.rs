//! What all machines of the core use: time, configuration, journal, sinks, randomness and the way out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use super::bootstrap::Inbound;
use super::clock::WallClock;
use super::configuration::Configuration;
use super::credentials::Credentials;
use super::delivery::sink::SinkDelivery;
use super::devices::device::Device;
use super::handshakes::HandshakeFailure;
use super::journal::Journal;
use super::sessions::Sessions;
use super::sessions::rate::RateLimiter;
use super::sessions::resuming::Tickets;
use super::store::StoreWrite;
use super::streams::{Address, Streams, address_of};
use super::trace::Traces;
use super::transfer::{Room, Sending};
use super::vocabulary::{
    Answer, Authenticated, ConnectionId, Output, Peer, ReceiptId, RequestId, SinkIndex, StreamOrder,
};
use crate::instrumentation::occurrence::Occurrence;
use crate::mapping::Plan;
use crate::model::command::{CommandResult, Outcome};
use crate::model::credential::Scope;
use crate::model::endpoint::Endpoint;
use crate::model::event::{Event, EventKind};
use crate::model::message::{Message, QualityOfService};
use crate::model::object::ObjectModel;
use crate::model::time::{Instant, WallTime};
use crate::northbound::layout::native;
use crate::protocol::coap;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::exchange::{Exchange, TransmissionParameters};

/// Least time between two `refused` events: a scan of the network must not fill the spools.
const REFUSED_EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// What waits in the journal until it is durable.
#[derive(Debug)]
pub enum Held {
    /// An answer to a device, and the message id that it answers.
    Answer {
        /// To whom.
        peer: Peer,
        /// The request's message id.
        message_id: u16,
        /// The encoded answer.
        datagram: Vec<u8>,
    },
    /// The acknowledgement of a message from a broker.
    Inbound {
        /// Which sink.
        sink: SinkIndex,
        /// Which message.
        receipt: ReceiptId,
    },
    /// An answer to an API caller.
    ApiAnswer {
        /// Whose question.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// A result of a command, for event streams.
    Result(CommandResult),
    /// A message for a session, whose next sequence numbers are being stored.
    Message {
        /// To whom.
        peer: Peer,
        /// The message.
        message: Vec<u8>,
    },
    /// A device whose command may leave now.
    Device(usize),
    /// A bootstrap session that may go on.
    Bootstrap(u64),
    /// A device that has the answer to its request: what waited for it may leave.
    Answered(usize),
    /// A connection that its device released: it may be closed.
    Released {
        /// The device's address.
        peer: Peer,
        /// The connection.
        connection: ConnectionId,
    },
}

/// A peer that was turned away.
#[derive(Clone, Debug)]
pub struct RefusedPeer {
    /// What it called itself; empty if it did not say.
    pub endpoint: String,
    /// Its address.
    pub address: String,
    /// Why.
    pub reason: String,
    /// How often since `first`.
    pub count: u64,
    /// First time.
    pub first: WallTime,
    /// Last time.
    pub last: WallTime,
}

/// Shared by all machines of one core.
pub struct Services {
    /// The instant of the input that is being handled.
    pub now: Instant,
    /// Wall time.
    pub clock: WallClock,
    /// Configuration.
    pub configuration: Arc<Configuration>,
    /// Object definitions.
    pub model: Arc<ObjectModel>,
    /// Mapping plan.
    pub plan: Arc<Plan>,
    /// Writes and what waits for them.
    pub journal: Journal<Held>,
    /// Sinks.
    pub sinks: Vec<SinkDelivery>,
    /// DTLS sessions.
    pub sessions: Sessions,
    /// How often devices may register.
    pub(super) registration_rate: RateLimiter,
    /// Keys of session tickets.
    pub(super) tickets: Tickets,
    /// Connections of stream transports.
    pub streams: Streams,
    /// Who may come under which name.
    pub credentials: Credentials,
    /// What leaves next.
    pub outputs: VecDeque<Output>,
    /// Seeded randomness.
    pub random: ChaCha8Rng,
    /// Counters since the last collection.
    pub occurrences: Vec<Occurrence>,
    /// Peers turned away, latest last.
    pub refused: VecDeque<RefusedPeer>,
    /// When a refusal was told last: events of refusals are limited, their counts are not.
    pub refused_event_at: Option<Instant>,
    /// Devices whose messages somebody looks at.
    pub(super) traces: Traces,
    /// What came for the bootstrap server in this input.
    pub(super) bootstrap_inbox: VecDeque<Inbound>,
    /// Commands that the bootstrap server carried out or could not, in this input.
    pub(super) bootstrap_outcomes: Vec<(Endpoint, String, Outcome)>,
    /// Whether a proof ended in this input: what stands by it ends too.
    pub(super) credentials_stale: bool,
    /// Resident memory of the process, as the host told last.
    pub resident_bytes: Option<u64>,
}

impl Services {
    /// Wall time of this input.
    pub fn wall(&self) -> WallTime {
        self.clock.at(self.now)
    }

    /// Counts something.
    pub fn count(&mut self, occurrence: Occurrence) {
        self.occurrences.push(occurrence);
    }

    /// Whether a peer has a connection, rather than sending datagrams.
    pub fn is_stream(&self, peer: Peer) -> bool {
        peer.session.is_none() && self.configuration.transport(peer.listener).is_stream()
    }

    /// Who a peer proved to be; `None` on a transport without security.
    pub fn who(&self, peer: Peer) -> Option<&Arc<Authenticated>> {
        match peer.session {
            Some(session) => self.sessions.who(session),
            None if self.is_stream(peer) => self.streams.get(address_of(peer))?.who.as_ref(),
            None => None,
        }
    }

    /// The bytes of a message to a peer: a datagram or a frame.
    pub fn encode(&self, peer: Peer, message: &coap::message::Message) -> Vec<u8> {
        if self.is_stream(peer) { coap::tcp_frame::encode(message) } else { message.encode() }
    }

    /// Sends what [`Self::encode`] made, now. A peer whose connection is gone gets nothing.
    pub fn transmit(&mut self, peer: Peer, bytes: Vec<u8>) {
        self.trace_outgoing(peer, &bytes);
        if let Some(session) = peer.session {
            self.transmit_in_session(session, peer, bytes);
            return;
        }
        let output = if self.is_stream(peer) {
            let Some(stream) = self.streams.get(address_of(peer)) else { return };
            Output::Stream { connection: stream.id, order: StreamOrder::Send(bytes) }
        } else {
            Output::Transmit { peer, bytes }
        };
        self.count(Occurrence::DatagramSent);
        self.outputs.push_back(output);
    }

    /// The longest body that goes to a peer in one message, and the size exponent of the blocks for longer ones; `None`
    /// for a peer that takes none.
    pub fn body_capacity(&self, peer: Peer) -> (usize, Option<u8>) {
        if self.is_stream(peer) {
            return self.streams.capacity(peer).unwrap_or_default();
        }
        let exponent = Block::MAX_SIZE_EXPONENT;
        (Block { number: 0, more: true, size_exponent: exponent }.size(), Some(exponent))
    }

    /// The body of a request in pieces, if it is too long for one message to a peer.
    pub(super) fn sending_for(&self, peer: Peer, body: &[u8]) -> Option<Sending> {
        let (whole, exponent) = self.body_capacity(peer);
        exponent.filter(|_| body.len() > whole).map(|size_exponent| Sending::new(body, size_exponent))
    }

    /// How much may arrive in pieces, where so many bytes of others have.
    pub(super) fn room_beside(&self, taken_bytes: usize) -> Room {
        let limits = &self.configuration.limits;
        Room {
            max_transfer_bytes: limits.max_transfer_bytes,
            max_transfers_bytes: limits.max_transfers_bytes,
            taken_bytes,
        }
    }

    /// The exchange that a request begins, and the bytes to transmit.
    pub(super) fn begin_exchange(
        &mut self,
        peer: Peer,
        request: &coap::message::Message,
        parameters: TransmissionParameters,
        give_up_at: Option<Instant>,
    ) -> (Exchange, Vec<u8>) {
        let datagram = self.encode(peer, request);
        let over_stream = self.is_stream(peer);
        let repeated = if over_stream { Vec::new() } else { datagram.clone() };
        let (id, token) = (request.id, request.token);
        let mut exchange = Exchange::start(self.now, repeated, id, token, parameters, give_up_at, &mut self.random);
        if over_stream {
            // The transport repeats what is lost; there is only the answer to wait for.
            exchange.acknowledge(self.now);
        }
        (exchange, datagram)
    }

    /// Whether a body can go to a peer at all.
    pub fn can_carry(&self, peer: Peer, length: usize) -> bool {
        let (whole, exponent) = self.body_capacity(peer);
        length <= self.configuration.limits.max_transfer_bytes && (length <= whole || exponent.is_some())
    }

    /// Which server a peer speaks to.
    pub fn scope_of(&self, peer: Peer) -> Scope {
        self.configuration.scope(peer.listener)
    }

    /// Whether something waits that the bootstrap server has to look at, or has done.
    pub(super) fn awaits_bootstrap(&self) -> bool {
        !self.bootstrap_inbox.is_empty() || !self.bootstrap_outcomes.is_empty() || self.credentials_stale
    }

    /// A peer has something to do here although no device is registered on its connection.
    pub(super) fn hold_peer(&mut self, peer: Peer) {
        if self.is_stream(peer) {
            self.streams.hold(address_of(peer));
        }
    }

    /// It has no more.
    pub(super) fn release_peer(&mut self, peer: Peer) {
        if self.is_stream(peer) {
            self.streams.let_go(self.now, address_of(peer));
        }
    }

    /// Reads a connection no further for now, or again.
    pub fn pause_stream(&mut self, address: Address, pause: bool) {
        let Some(stream) = self.streams.get_mut(address) else { return };
        if stream.paused != pause {
            stream.paused = pause;
            let (connection, order) = (stream.id, if pause { StreamOrder::Pause } else { StreamOrder::Resume });
            self.outputs.push_back(Output::Stream { connection, order });
        }
    }

    /// Adds a write to this input's batch.
    pub fn write(&mut self, write: StoreWrite) {
        self.journal.write(write);
    }

    /// Puts a message in the spool of one sink.
    pub fn spool(&mut self, sink: usize, endpoint: Option<&Endpoint>, message: Message) {
        let estimated = !self.clock.is_synced();
        self.spool_labelled(sink, endpoint, message, estimated);
    }

    /// The same, where `estimated` says whether the `ts` inside comes from a clock that is not set yet.
    pub fn spool_labelled(&mut self, sink: usize, endpoint: Option<&Endpoint>, message: Message, estimated: bool) {
        let wall = self.wall();
        let journal = &mut self.journal;
        // The row's own write makes this input's batch exist.
        let sequence = super::store::StoreSequence(journal.sealed_sequence().0 + 1);
        if let Some(sink) = self.sinks.get_mut(sink) {
            sink.append(wall, estimated, endpoint.cloned(), message, sequence, &mut |write| journal.write(write));
        }
    }

    /// Sets the latest payload of a retained topic at one sink.
    pub fn retain(&mut self, sink: usize, endpoint: Option<&Endpoint>, message: Message) {
        let journal = &mut self.journal;
        if let Some(sink) = self.sinks.get_mut(sink) {
            sink.retain(endpoint.cloned(), message, &mut |write| journal.write(write));
        }
    }

    /// Sends one JSON body to the same place below the base of every sink.
    pub fn publish_everywhere(
        &mut self,
        endpoint: Option<&Endpoint>,
        leaf: &str,
        payload: &serde_json::Value,
        retain: bool,
    ) {
        for index in 0..self.sinks.len() {
            let Some(base) = self.sinks.get(index).map(|sink| sink.configuration.base.clone()) else { continue };
            let message = native::message(format!("{base}/{leaf}"), payload, retain);
            if retain {
                self.retain(index, endpoint, message);
            } else {
                self.spool(index, endpoint, message);
            }
        }
    }

    /// Sends one JSON body to the same place below the base of every connected sink, now or never.
    pub fn publish_now(&mut self, leaf: &str, payload: &serde_json::Value) {
        for index in 0..self.sinks.len() {
            let Some(sink) = self.sinks.get_mut(index) else { continue };
            let mut message = native::message(format!("{}/{leaf}", sink.configuration.base), payload, false);
            message.qos = QualityOfService::AtMostOnce;
            if sink.is_connected() && !sink.send_now(message) {
                self.count(Occurrence::BoundReached("max_transient_waiting"));
            }
        }
    }

    /// Tells operators and event streams.
    pub fn event(
        &mut self,
        kind: EventKind,
        endpoint: Option<&Endpoint>,
        name: Option<&str>,
        reason: impl Into<String>,
    ) {
        let event = Event {
            kind,
            endpoint: endpoint.cloned(),
            name: name.map(str::to_owned),
            ts: self.wall(),
            reason: reason.into(),
        };
        let payload = event.to_json();
        self.publish_everywhere(endpoint, "bridge/event", &payload, false);
        self.outputs.push_back(Output::Event(event));
    }

    /// Counts a deviation from the standard that was tolerated, and tells of it when the device shows it first.
    pub fn note_quirk(&mut self, device: &mut Device, quirk: &'static str) {
        self.count(Occurrence::Quirk(quirk));
        if device.quirks.insert(quirk) {
            self.event(EventKind::Quirk, Some(&device.endpoint), device.name.as_deref(), quirk);
        }
    }

    /// Whether a device may begin a registration now: a storm is served as fast as the gateway can, the rest comes again.
    pub(super) fn admits_registration(&mut self, peer: Peer) -> bool {
        let taken = self.registration_rate.take(self.now, peer.remote.ip());
        if let Err(bound) = taken {
            self.count(Occurrence::BoundReached(bound));
        }
        taken.is_ok()
    }

    /// A handshake of a peer failed.
    pub(super) fn refuse_handshake(&mut self, peer: Peer, failure: &HandshakeFailure) {
        self.count(Occurrence::HandshakeFailed(failure.word));
        self.refuse(failure.claimed.as_deref().unwrap_or_default(), peer, failure.word, &failure.detail);
    }

    /// Remembers a peer that was turned away, and tells of it when it is new.
    pub fn refuse(&mut self, endpoint: &str, peer: Peer, word: &'static str, reason: &str) {
        self.count(Occurrence::Refused(word));
        let wall = self.wall();
        let address = peer.remote.to_string();
        if let Some(known) = self.refused.iter_mut().find(|known| known.endpoint == endpoint && known.reason == reason)
        {
            known.count += 1;
            known.last = wall;
            known.address = address;
            return;
        }
        if self.refused.len() >= self.configuration.limits.max_refused {
            self.refused.pop_front();
            self.count(Occurrence::BoundReached("max_refused"));
        }
        self.refused.push_back(RefusedPeer {
            endpoint: endpoint.to_owned(),
            address,
            reason: reason.to_owned(),
            count: 1,
            first: wall,
            last: wall,
        });
        if self.refused_event_at.is_some_and(|at| self.now.saturating_since(at) < REFUSED_EVENT_INTERVAL) {
            return;
        }
        self.refused_event_at = Some(self.now);
        let endpoint = Endpoint::new(endpoint).ok();
        self.event(EventKind::Refused, endpoint.as_ref(), None, format!("{reason} ({})", peer.remote));
    }
}

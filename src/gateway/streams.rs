//! Connections of stream transports: who may have one, which devices are on it, when something is due.
//!
//! A connection is the address of its devices for as long as it stands. What it says is [`Connection`]'s business, what
//! its end means to a device that of `devices::streaming`; here are the table, its bounds and its timers.
//!
//! Invariants: an address has at most one connection; every connection with something due stands in the timer queue
//! under its earliest deadline or an earlier one; `waiting_bytes` is the sum over all connections of what each keeps of
//! a message beyond [`FREE_BYTES`].

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::configuration::Configuration;
use super::sessions::rate::network;
use super::vocabulary::{Authenticated, ConnectionId, Peer};
use crate::model::time::Instant;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::connection::{Connection, ConnectionParameters};
use crate::protocol::coap::signalling::BASE_MAX_MESSAGE_SIZE;

/// What header and options of a message may take beside its body: that of RFC 7252 section 4.6.
const MESSAGE_OVERHEAD: usize = 128;
/// Bytes of a message that has not arrived whole and is not charged: whoever fills the bound only shuts out large ones.
const FREE_BYTES: usize = BASE_MAX_MESSAGE_SIZE as usize;
/// Header and options of messages that carry a whole transfer.
const TRANSFER_OVERHEAD: usize = 1_024;
/// How long a peer that released its connection may leave a request unanswered.
const RELEASE_TIME: Duration = Duration::from_secs(10);
/// Least time between two cancellations of notifications that nobody wants, on one connection.
const CANCEL_INTERVAL: Duration = Duration::from_secs(10);

/// Listener and the other side's address.
pub type Address = (u16, SocketAddr);

/// The address of a peer.
#[must_use]
pub const fn address_of(peer: Peer) -> Address {
    (peer.listener, peer.remote)
}

/// One connection.
#[derive(Debug)]
pub struct Stream {
    /// Its number.
    pub id: ConnectionId,
    /// The other side.
    pub peer: Peer,
    /// Who it proved to be, over TLS.
    pub who: Option<Arc<Authenticated>>,
    /// What was said.
    pub connection: Connection,
    /// The devices that are on it.
    pub devices: Vec<usize>,
    /// Since when no device has been on it.
    vacant_since: Option<Instant>,
    /// Until when its peer, who wants it closed, may still answer.
    release_until: Option<Instant>,
    /// When a notification that nobody wants was cancelled last.
    cancelled_at: Option<Instant>,
    /// Whether it is not read, as the store cannot follow.
    pub paused: bool,
    charged_bytes: usize,
    scheduled: Option<Instant>,
}

/// All connections.
#[derive(Debug)]
pub struct Streams {
    parameters: ConnectionParameters,
    register_timeout: Duration,
    max_connections: usize,
    max_connections_per_address: usize,
    max_waiting_bytes: usize,
    table: HashMap<Address, Stream>,
    by_network: HashMap<IpAddr, usize>,
    timers: BTreeSet<(Instant, Address)>,
    waiting_bytes: usize,
}

impl Streams {
    /// No connections.
    #[must_use]
    pub fn new(configuration: &Configuration) -> Self {
        let (streams, limits) = (&configuration.lwm2m.streams, &configuration.limits);
        Self {
            parameters: ConnectionParameters {
                max_message_bytes: limits.max_transfer_bytes.saturating_add(TRANSFER_OVERHEAD),
                capabilities_timeout: streams.capabilities_timeout,
                message_timeout: streams.message_timeout,
                keep_alive: streams.keep_alive,
                idle_timeout: Some(streams.idle_timeout),
            },
            register_timeout: streams.register_timeout,
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            max_waiting_bytes: limits.max_stream_bytes,
            table: HashMap::new(),
            by_network: HashMap::new(),
            timers: BTreeSet::new(),
            waiting_bytes: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// What holds for each.
    #[must_use]
    pub const fn parameters(&self) -> &ConnectionParameters {
        &self.parameters
    }

    /// The connection of an address.
    #[must_use]
    pub fn get(&self, address: Address) -> Option<&Stream> {
        self.table.get(&address)
    }

    /// The same, to be changed; [`Self::schedule`] follows.
    pub fn get_mut(&mut self, address: Address) -> Option<&mut Stream> {
        self.table.get_mut(&address)
    }

    /// The connection of an address if it still is this one.
    pub fn current(&mut self, peer: Peer, id: ConnectionId) -> Option<&mut Stream> {
        self.table.get_mut(&address_of(peer)).filter(|stream| stream.id == id)
    }

    /// Whether a message that waited for its answer came over the connection that the peer has now.
    #[must_use]
    pub fn is_message_of(&self, peer: Peer, message_id: u16) -> bool {
        self.table.get(&address_of(peer)).is_some_and(|stream| stream.id.message_id() == message_id)
    }

    /// Takes a new connection in.
    ///
    /// # Errors
    /// The name of the bound that is reached.
    pub fn open(
        &mut self,
        now: Instant,
        peer: Peer,
        id: ConnectionId,
        who: Option<Arc<Authenticated>>,
    ) -> Result<(), &'static str> {
        if self.table.len() >= self.max_connections {
            return Err("max_connections");
        }
        let of_network = self.by_network.entry(network(peer.remote.ip())).or_default();
        if *of_network >= self.max_connections_per_address {
            return Err("max_connections_per_address");
        }
        *of_network += 1;
        let stream = Stream {
            id,
            peer,
            who,
            connection: Connection::open(now, &self.parameters),
            devices: Vec::new(),
            vacant_since: Some(now),
            release_until: None,
            cancelled_at: None,
            paused: false,
            charged_bytes: 0,
            scheduled: None,
        };
        self.table.insert(address_of(peer), stream);
        Ok(())
    }

    /// Forgets a connection.
    pub fn remove(&mut self, address: Address) -> Option<Stream> {
        let stream = self.table.remove(&address)?;
        if let Some(scheduled) = stream.scheduled {
            self.timers.remove(&(scheduled, address));
        }
        self.waiting_bytes -= stream.charged_bytes;
        let network = network(stream.peer.remote.ip());
        if let Some(count) = self.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&network);
            }
        }
        Some(stream)
    }

    /// Charges what a connection keeps of a message that is not whole; `false` if that is too much for all.
    pub fn charge(&mut self, address: Address) -> bool {
        let Some(stream) = self.table.get_mut(&address) else { return true };
        let charge = stream.connection.waiting_bytes().saturating_sub(FREE_BYTES);
        self.waiting_bytes = self.waiting_bytes - stream.charged_bytes + charge;
        stream.charged_bytes = charge;
        charge == 0 || self.waiting_bytes <= self.max_waiting_bytes
    }

    /// A device is on the connection of `peer` now.
    pub fn join(&mut self, peer: Peer, key: usize) {
        if let Some(stream) = self.table.get_mut(&address_of(peer)) {
            stream.vacant_since = None;
            if !stream.devices.contains(&key) {
                stream.devices.push(key);
            }
        }
    }

    /// A device is on it no more; whether that leaves it without any.
    pub fn leave(&mut self, now: Instant, peer: Peer, key: usize) -> bool {
        let Some(stream) = self.table.get_mut(&address_of(peer)) else { return false };
        let before = stream.devices.len();
        stream.devices.retain(|device| *device != key);
        let left_vacant = stream.devices.is_empty() && before > 0;
        if left_vacant {
            stream.vacant_since = Some(now);
            self.schedule(address_of(peer));
        }
        left_vacant
    }

    /// The connection stays without a device.
    pub fn hold(&mut self, address: Address) {
        if let Some(stream) = self.table.get_mut(&address) {
            stream.vacant_since = None;
        }
    }

    /// It does no more.
    pub fn let_go(&mut self, now: Instant, address: Address) {
        if let Some(stream) = self.table.get_mut(&address).filter(|stream| stream.devices.is_empty()) {
            stream.vacant_since = Some(now);
        }
        self.schedule(address);
    }

    /// The peer wants its connection closed.
    pub fn release(&mut self, now: Instant, address: Address) {
        if let Some(stream) = self.table.get_mut(&address) {
            stream.release_until.get_or_insert(now + RELEASE_TIME);
        }
    }

    /// Whether a notification that nobody wants may be cancelled on this connection now; if so, it counts as done.
    pub fn may_cancel(&mut self, now: Instant, peer: Peer) -> bool {
        let Some(stream) = self.table.get_mut(&address_of(peer)) else { return false };
        let early = stream.cancelled_at.is_some_and(|at| now.saturating_since(at) < CANCEL_INTERVAL);
        if !early {
            stream.cancelled_at = Some(now);
        }
        !early
    }

    /// The longest body that goes to a peer in one message, and the size exponent of the blocks for longer ones, if it
    /// takes blocks. `None` for a peer without connection.
    #[must_use]
    pub fn capacity(&self, peer: Peer) -> Option<(usize, Option<u8>)> {
        let connection = &self.table.get(&address_of(peer))?.connection;
        let whole = (connection.peer_max_message_size() as usize).saturating_sub(MESSAGE_OVERHEAD);
        let exponent = (0..=Block::MAX_SIZE_EXPONENT).rev().find(|exponent| 16 << exponent <= whole.max(16));
        Some((whole, exponent.filter(|_| connection.peer_knows_blocks())))
    }

    /// Puts a connection under its earliest deadline.
    pub fn schedule(&mut self, address: Address) {
        let Some(stream) = self.table.get_mut(&address) else { return };
        let vacant = stream.vacant_since.map(|since| since + self.register_timeout);
        let next = [stream.connection.next_deadline(&self.parameters), vacant, stream.release_until];
        let next = next.into_iter().flatten().min();
        // Deadlines mostly move away with each message: looking too early costs less than moving the entry each time.
        if let (Some(scheduled), Some(next)) = (stream.scheduled, next)
            && scheduled <= next
        {
            return;
        }
        if let Some(scheduled) = std::mem::replace(&mut stream.scheduled, next) {
            self.timers.remove(&(scheduled, address));
        }
        if let Some(next) = next {
            self.timers.insert((next, address));
        }
    }

    /// When [`Self::poll_due`] has something; may be earlier than necessary.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A connection that has to be looked at; [`Self::elapse`] and [`Self::schedule`] follow.
    pub fn poll_due(&mut self, now: Instant) -> Option<Address> {
        let (at, address) = *self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        if let Some(stream) = self.table.get_mut(&address) {
            stream.scheduled = None;
        }
        Some(address)
    }

    /// Does what is due at a connection. `sleeping`: all its devices sleep.
    pub fn elapse(&mut self, now: Instant, address: Address, sleeping: bool) {
        let Some(stream) = self.table.get_mut(&address) else { return };
        let passed = |since: Option<Instant>| since.is_some_and(|at| at <= now);
        if passed(stream.release_until) {
            stream.connection.close("released", "the device wanted its connection closed");
        } else if passed(stream.vacant_since.map(|since| since + self.register_timeout)) {
            stream.connection.abort("unregistered", "no device registered on the connection in time");
        } else {
            stream.connection.handle_timeout(now, &self.parameters, sleeping || stream.paused);
        }
    }

    /// Connections that are not read since the store could not follow.
    pub fn paused(&self) -> Vec<Address> {
        let mut paused: Vec<Address> =
            self.table.iter().filter(|(_, stream)| stream.paused).map(|(address, _)| *address).collect();
        paused.sort_unstable();
        paused
    }

    /// The addresses of all connections, in order.
    pub fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<Address> = self.table.keys().copied().collect();
        addresses.sort_unstable();
        addresses
    }
}

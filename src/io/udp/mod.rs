//! UDP between devices and the core: datagrams in with the address that was asked, answers out from that address.
//!
//! # Flow
//! The owner waits for [`UdpListener::readable`], then calls [`UdpListener::try_receive`] until it returns fewer
//! datagrams than its budget; each becomes an `Input::Datagram`. An `Output::Transmit` goes to
//! [`UdpListener::try_send`]; while [`UdpListener::has_queued`], the owner also waits for [`UdpListener::writable`] and
//! then calls [`UdpListener::flush`].
//!
//! # Addresses
//! A socket on `[::]` serves IPv4 too. The core never sees an IPv4-mapped address: [`Peer`] holds plain IPv4 addresses,
//! and they are mapped again on the way out. A datagram to a multicast or broadcast address has no `local`, so that the
//! system chooses where the answer leaves from.
//!
//! # Bounds
//! The system keeps up to [`RECEIVE_BUFFER_BYTES`] of datagrams that were not read yet and drops further ones; devices
//! send again. What the system does not take at once waits in a queue of [`MAX_QUEUED_DATAGRAMS`], the oldest goes first
//! when it is full. Up to 32 datagrams, or 32 trains of them if the kernel joins equal ones of one sender (GRO), are
//! read with one system call. Each datagram is sent with one: trains to one peer, the only thing that could be joined,
//! do not occur as each device has one request under way.
//!
//! # Errors
//! No error of one datagram ends a listener. What ICMP tells (unreachable, refused) is known soon enough by a missing
//! acknowledgement.
//!
//! Datagrams are sent with fragmentation forbidden. Messages of the core stay below 1,280 bytes, the least that an IPv6
//! path carries (blocks of at most 1,024 bytes, RFC 7252 section 4.6).

mod bind;
mod send_queue;
#[cfg(test)]
mod tests;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::gateway::vocabulary::Peer;
use crate::io::address::{BindError, canonical};
use send_queue::SendQueue;
pub use send_queue::{MAX_QUEUED_DATAGRAMS, Sent};

/// Receive buffer asked of the system; it may grant less (`net.core.rmem_max`).
pub const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Datagrams that one call of [`UdpListener::try_receive`] usually takes before other work gets its turn.
pub const RECEIVE_BUDGET: usize = 64;
/// Room for one received datagram or train of joined datagrams; UDP has no longer ones.
const SLOT_BYTES: usize = 65_535;
/// Errors that the network left on the socket and that one call skips before it lets others run.
const MAX_SKIPPED_ERRORS: usize = 16;

/// What a listener counted since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams that the system took.
    pub sent: u64,
    /// Datagrams that the system refused to send: no route, too long, forbidden by a firewall.
    pub send_failures: u64,
    /// Datagrams dropped since the queue for sending was full.
    pub dropped: u64,
    /// Errors of earlier datagrams found while receiving.
    pub network_errors: u64,
}

/// A bound UDP socket that tells and sets local addresses.
#[derive(Debug)]
pub struct UdpListener {
    index: u16,
    socket: UdpSocket,
    state: UdpSocketState,
    local_address: SocketAddr,
    is_fallback: bool,
    queue: SendQueue,
    counters: UdpCounters,
    /// [`BATCH_SIZE`] slots; the system gives memory to those only that were ever written.
    buffer: Vec<u8>,
}

impl UdpListener {
    /// Binds a socket. `index` is the listener's place in the configuration and becomes [`Peer::listener`]. Port 0
    /// takes a free one. Must be called inside a tokio runtime with I/O.
    ///
    /// # Errors
    /// If the address cannot be bound. `[::]` on a system without IPv6 is no error: `0.0.0.0` is bound instead and the
    /// log says so ([`Self::is_fallback`]).
    pub fn bind(index: u16, address: SocketAddr) -> Result<Self, BindError> {
        let (socket, is_fallback) = bind::bind(address)?;
        let failed = |source| BindError::new("udp", address, source);
        let local_address = socket.local_addr().map_err(failed)?;
        let state = UdpSocketState::new((&socket).into()).map_err(failed)?;
        let socket = UdpSocket::from_std(socket).map_err(failed)?;
        let buffer = vec![0; BATCH_SIZE * SLOT_BYTES];
        let (queue, counters) = (SendQueue::default(), UdpCounters::default());
        Ok(Self { index, socket, state, local_address, is_fallback, queue, counters, buffer })
    }

    /// The bound address, with the port that was chosen for port 0.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Whether only IPv4 is served since the system has no IPv6.
    pub fn is_fallback(&self) -> bool {
        self.is_fallback
    }

    /// What was counted so far.
    pub fn counters(&self) -> UdpCounters {
        self.counters
    }

    /// Waits until something can be received. Cancelling loses nothing.
    ///
    /// # Errors
    /// Only if the runtime shuts down.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Waits until something can be sent; useful while [`Self::has_queued`] only. Cancelling loses nothing.
    ///
    /// # Errors
    /// Only if the runtime shuts down.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Whether datagrams wait for [`Self::flush`].
    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Appends what can be received, until nothing is left or `budget` datagrams were taken, and returns how many. The
    /// last system call may exceed the budget by the length of joined trains. Empty datagrams are left out: no CoAP
    /// message is empty.
    ///
    /// # Errors
    /// If the socket itself is broken; what was appended before stands.
    pub fn try_receive(&mut self, budget: usize, into: &mut Vec<(Peer, Vec<u8>)>) -> io::Result<usize> {
        let (before, mut taken, mut skipped) = (into.len(), 0, 0);
        let mut outcome = Ok(());
        while taken < budget && skipped < MAX_SKIPPED_ERRORS {
            let appended_before = into.len();
            match self.receive_batch(budget - taken, into) {
                // Counted by slots too, or a flood of empty datagrams would never use up the budget.
                Ok(slots) => taken += slots.max(into.len() - appended_before),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if tells_of_the_network(&error) => {
                    tracing::debug!(%error, listener = self.index, "an earlier datagram did not arrive");
                    self.counters.network_errors += 1;
                    skipped += 1;
                }
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let received = into.len() - before;
        self.counters.received += received as u64;
        outcome.map(|()| received)
    }

    /// One system call; returns the number of filled slots.
    fn receive_batch(&mut self, budget: usize, into: &mut Vec<(Peer, Vec<u8>)>) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let slots = budget.min(BATCH_SIZE);
        let mut chunks = self.buffer.chunks_mut(SLOT_BYTES).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| chunks.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let (socket, state) = (&self.socket, &self.state);
        let slices = slices.get_mut(..slots).unwrap_or_default();
        let count = socket.try_io(Interest::READABLE, || state.recv(socket.into(), slices, &mut metas))?;
        for (meta, slot) in metas.iter().take(count).zip(self.buffer.chunks(SLOT_BYTES)) {
            let peer = Peer {
                listener: self.index,
                remote: canonical(meta.addr),
                local: meta.dst_ip.map(|address| address.to_canonical()).filter(can_be_source),
                session: None,
            };
            let bytes = slot.get(..meta.len).unwrap_or_default();
            into.extend(bytes.chunks(meta.stride.max(1)).map(|datagram| (peer, datagram.to_vec())));
        }
        Ok(count)
    }

    /// Sends a datagram, from [`Peer::local`] if that is known; queues it if the system takes none now or others wait
    /// already. A failure is counted and logged and needs no reaction: a lost datagram looks the same.
    pub fn try_send(&mut self, peer: &Peer, bytes: &[u8]) -> Sent {
        let Self { socket, state, local_address, queue, counters, .. } = self;
        queue.send(counters, *peer, bytes, &mut |peer, bytes| transmit(socket, state, *local_address, peer, bytes))
    }

    /// Sends what waits, oldest first, until the system takes no more; returns whether nothing waits any longer.
    pub fn flush(&mut self) -> bool {
        let Self { socket, state, local_address, queue, counters, .. } = self;
        queue.flush(counters, &mut |peer, bytes| transmit(socket, state, *local_address, peer, bytes))
    }
}

/// One datagram to the system.
fn transmit(
    socket: &UdpSocket,
    state: &UdpSocketState,
    bound: SocketAddr,
    peer: &Peer,
    contents: &[u8],
) -> io::Result<()> {
    // EINVAL of older and ENETUNREACH of newer Linux both also mean that the source is not an address of this machine.
    use io::ErrorKind::{AddrNotAvailable, InvalidInput, NetworkUnreachable};
    let destination = on_socket(peer.remote, bound);
    let send = |src_ip: Option<IpAddr>| {
        let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip };
        match state.try_send(socket.into(), &transmit) {
            // Tried again by way of tokio, which then knows that `writable` has to wait. It is not asked first, as it
            // holds a socket for full until its reactor has run.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                socket.try_io(Interest::WRITABLE, || state.try_send(socket.into(), &transmit))
            }
            outcome => outcome,
        }
    };
    let source = peer.local.map(|local| on_socket(SocketAddr::new(local, 0), bound).ip());
    match send(source) {
        // The asked address left this machine meanwhile (DHCP, IPv6 privacy): better from another one than not at all.
        Err(error)
            if source.is_some() && matches!(error.kind(), InvalidInput | AddrNotAvailable | NetworkUnreachable) =>
        {
            send(None)
        }
        outcome => outcome,
    }
}

/// An address as the socket wants it: mapped if it is an IPv6 socket.
fn on_socket(address: SocketAddr, bound: SocketAddr) -> SocketAddr {
    match (address, bound) {
        (SocketAddr::V4(four), SocketAddr::V6(_)) => {
            let mapped: Ipv6Addr = four.ip().to_ipv6_mapped();
            SocketAddr::new(mapped.into(), four.port())
        }
        _ => address,
    }
}

/// Whether an answer can leave from the address that a datagram went to. Broadcasts to a subnet cannot be told by the
/// address; [`transmit`] sends such answers from an address that the system chooses.
fn can_be_source(asked: &IpAddr) -> bool {
    match asked {
        IpAddr::V4(four) => !four.is_multicast() && !four.is_broadcast() && !four.is_unspecified(),
        IpAddr::V6(six) => !six.is_multicast() && !six.is_unspecified(),
    }
}

/// Whether an error reports the fate of an earlier datagram (ICMP) or a passing shortage, not a broken socket.
fn tells_of_the_network(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, OutOfMemory, PermissionDenied, TimedOut,
    };
    /// `EPROTO`, `EMSGSIZE`, `ENOPROTOOPT`, `ENOBUFS`, `EHOSTDOWN`, `ENONET` of Linux, which have no kind.
    const PASSING: [i32; 6] = [71, 90, 92, 105, 112, 64];
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | OutOfMemory
            | PermissionDenied
            | TimedOut
    ) || error.raw_os_error().is_some_and(|code| PASSING.contains(&code))
}

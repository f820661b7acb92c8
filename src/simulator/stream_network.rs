//! Connections between simulated devices and a server in virtual time: whole, in order, until they break.
//!
//! Bytes take a constant time. A connection that breaks loses what is on its way in both directions; its device connects
//! again after [`RECONNECT`], from another port, as often as it takes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::stream::StreamAdapter;
use crate::gateway::vocabulary::{ConnectionId, Peer, StreamInput, StreamOrder};
use crate::model::time::Instant;

/// Time that bytes take.
const LATENCY: Duration = Duration::from_millis(20);
/// Time until a device connects again.
pub const RECONNECT: Duration = Duration::from_secs(5);

/// What arrives.
#[derive(Debug)]
pub enum Arrival {
    /// Something happens to a connection at the server.
    Server(Peer, ConnectionId, StreamInput),
    /// A datagram comes out of the adapter of a device.
    Device(SocketAddr, Vec<u8>),
    /// A device has connected again.
    Reconnected(SocketAddr),
}

#[derive(Debug)]
enum Moving {
    ToServer(StreamInput),
    ToDevice(Vec<u8>),
    EndedByServer,
}

#[derive(Debug)]
struct Line {
    id: ConnectionId,
    peer: Peer,
    /// `None` while the device has no connection.
    adapter: Option<StreamAdapter>,
    reconnect_at: Option<Instant>,
}

/// All connections.
#[derive(Debug)]
pub struct StreamNetwork {
    listener: u16,
    connections: u64,
    lines: BTreeMap<SocketAddr, Line>,
    moving: VecDeque<(Instant, SocketAddr, ConnectionId, Moving)>,
    ready: VecDeque<Arrival>,
}

impl StreamNetwork {
    /// No connections; `listener` is the server's.
    #[must_use]
    pub const fn new(listener: u16) -> Self {
        Self { listener, connections: 0, lines: BTreeMap::new(), moving: VecDeque::new(), ready: VecDeque::new() }
    }

    /// Whether a device has connections, rather than datagrams.
    #[must_use]
    pub fn has(&self, device: SocketAddr) -> bool {
        self.lines.contains_key(&device)
    }

    /// Connects a device, from a port that it never had.
    pub fn connect(&mut self, now: Instant, device: SocketAddr) {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let port = 50_000 + (self.connections % 15_000) as u16;
        let peer =
            Peer { listener: self.listener, remote: SocketAddr::new(device.ip(), port), local: None, session: None };
        let line = Line { id, peer, adapter: Some(StreamAdapter::new(now, self.connections)), reconnect_at: None };
        self.lines.insert(device, line);
        self.moving.push_back((now + LATENCY, device, id, Moving::ToServer(StreamInput::Opened { identity: None })));
        self.flush(now, device);
    }

    /// A device sends a datagram into its adapter; without connection it is lost.
    pub fn send(&mut self, now: Instant, device: SocketAddr, datagram: &[u8]) {
        if let Some(adapter) = self.lines.get_mut(&device).and_then(|line| line.adapter.as_mut()) {
            adapter.from_device(datagram);
            self.flush(now, device);
        }
    }

    /// The server wants something of a connection.
    pub fn order(&mut self, now: Instant, id: ConnectionId, order: StreamOrder) {
        let Some(device) = self.lines.iter().find(|(_, line)| line.id == id).map(|(device, _)| *device) else { return };
        let moving = match order {
            StreamOrder::Send(bytes) => Moving::ToDevice(bytes),
            StreamOrder::Close => Moving::EndedByServer,
            // What is on its way is not much, and the server keeps it.
            StreamOrder::Pause | StreamOrder::Resume => return,
        };
        self.moving.push_back((now + LATENCY, device, id, moving));
    }

    /// The connection of a device breaks; the server hears of it if `told`.
    pub fn break_off(&mut self, now: Instant, device: SocketAddr, told: bool) {
        let Some(line) = self.lines.get_mut(&device) else { return };
        line.adapter = None;
        line.reconnect_at = Some(now + RECONNECT);
        let id = line.id;
        self.moving.retain(|(_, _, moving, _)| *moving != id);
        if told {
            let closed = StreamInput::Closed { reason: "the connection broke".to_owned() };
            self.moving.push_back((now + LATENCY, device, id, Moving::ToServer(closed)));
        }
    }

    /// All connections break, as when the server loses its power.
    pub fn break_all(&mut self, now: Instant) {
        for device in self.lines.keys().copied().collect::<Vec<_>>() {
            self.break_off(now, device, false);
        }
    }

    fn flush(&mut self, now: Instant, device: SocketAddr) {
        let Some(line) = self.lines.get_mut(&device) else { return };
        let Some(adapter) = &mut line.adapter else { return };
        while let Some(bytes) = adapter.poll_server() {
            let moving = Moving::ToServer(StreamInput::Bytes(bytes));
            self.moving.push_back((now + LATENCY, device, line.id, moving));
        }
        while let Some(datagram) = adapter.poll_device() {
            self.ready.push_back(Arrival::Device(device, datagram));
        }
    }

    /// When something arrives next.
    #[must_use]
    pub fn next_event(&self, now: Instant) -> Option<Instant> {
        let ready = (!self.ready.is_empty()).then_some(now);
        let moving = self.moving.front().map(|(at, ..)| *at);
        let reconnect = self.lines.values().filter_map(|line| line.reconnect_at).min();
        [ready, moving, reconnect].into_iter().flatten().min()
    }

    /// The next thing that has arrived by now.
    pub fn poll(&mut self, now: Instant) -> Option<Arrival> {
        loop {
            if let Some(arrival) = self.ready.pop_front() {
                return Some(arrival);
            }
            let due = |line: &Line| line.reconnect_at.is_some_and(|at| at <= now);
            if let Some(device) = self.lines.iter().find(|(_, line)| due(line)).map(|(device, _)| *device) {
                self.connect(now, device);
                return Some(Arrival::Reconnected(device));
            }
            if self.moving.front().is_none_or(|(at, ..)| *at > now) {
                return None;
            }
            let (_, device, id, moving) = self.moving.pop_front()?;
            let Some(line) = self.lines.get_mut(&device).filter(|line| line.id == id) else { continue };
            match moving {
                Moving::ToServer(input) => return Some(Arrival::Server(line.peer, id, input)),
                Moving::EndedByServer => self.break_off(now, device, false),
                Moving::ToDevice(bytes) => {
                    if let Some(adapter) = &mut line.adapter {
                        adapter.from_server(now, bytes);
                        let ended = adapter.closed().is_some();
                        self.flush(now, device);
                        if ended {
                            self.break_off(now, device, true);
                        }
                    }
                }
            }
        }
    }
}

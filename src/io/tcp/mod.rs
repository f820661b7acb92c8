//! TCP between devices and the core: connections in, their bytes in both directions, their ends.
//!
//! # Flow
//! One task accepts for each listener, one task serves each connection; all live on the runtime of the core. What they
//! have to tell goes into the core's channel like that of every adapter: a connection whose bytes find it full waits,
//! and its peer with it. An `Output::Stream` goes to [`TcpConnections::order`], which writes at once what the system
//! takes and leaves the rest to the task.
//!
//! # Bounds
//! A connection with [`READ_BELOW_QUEUED_BYTES`] or more to write is not read: who does not listen is not listened to.
//! With room for two of the longest messages filled as well it is closed; so is one that takes no byte for [`STALL_TIME`]. Who may connect is the core's
//! question: it closes what exceeds its bounds. Nothing is accepted while the core's channel is full.
//!
//! # Ends
//! A closed connection gets what waits for it within [`LINGER_TIME`]; then the peer may still send for a moment, which
//! is thrown away: a reset would take from it what it has not read yet, such as the reason.

mod connection;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::InputSender;
use super::address::{BindError, canonical, open_or_fall_back};
use crate::gateway::vocabulary::{Authenticated, ConnectionId, Input, Peer, StreamInput, StreamOrder};
use connection::{Bounds, Port};

/// With so much to write, a connection is not read.
pub const READ_BELOW_QUEUED_BYTES: usize = 64 << 10;
/// A connection that takes nothing of what waits for so long is closed.
pub const STALL_TIME: Duration = Duration::from_secs(60);
/// How long a closed connection may take for what waits.
pub const LINGER_TIME: Duration = Duration::from_secs(5);
/// Connections that the system keeps for us until they are accepted.
const BACKLOG: i32 = 1_024;
/// Accepted connections that nobody has had an order for yet.
const NEW_CONNECTIONS: usize = 256;
/// Pause after an error of accepting, most likely too few files: turning round and round would help nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All connections of all listeners.
#[derive(Debug)]
pub struct TcpConnections {
    ports: HashMap<ConnectionId, Port>,
    accepted: mpsc::Receiver<(ConnectionId, Port)>,
    acceptor: Acceptor,
    /// Tasks that accept, which hold the tasks that serve; all end with this.
    accepting: JoinSet<()>,
    addresses: Vec<SocketAddr>,
}

/// What all listeners share, those of TLS included.
#[derive(Clone, Debug)]
pub struct Acceptor {
    next_id: Arc<AtomicU64>,
    accepted: mpsc::Sender<(ConnectionId, Port)>,
    bounds: Bounds,
}

impl TcpConnections {
    /// No listeners. `longest_message`: bytes of the longest message that the core sends.
    pub fn new(longest_message: usize) -> Self {
        let max_queued_bytes = longest_message.saturating_mul(2).saturating_add(READ_BELOW_QUEUED_BYTES);
        let (sender, accepted) = mpsc::channel(NEW_CONNECTIONS);
        Self {
            ports: HashMap::new(),
            accepted,
            acceptor: Acceptor {
                next_id: Arc::default(),
                accepted: sender,
                bounds: Bounds { max_queued_bytes, stall_time: STALL_TIME },
            },
            accepting: JoinSet::new(),
            addresses: Vec::new(),
        }
    }

    /// Listens on one more address. `index` becomes [`Peer::listener`]. Must be called inside a tokio runtime with I/O.
    ///
    /// # Errors
    /// If the address cannot be bound. `[::]` on a system without IPv6 is no error: `0.0.0.0` is bound instead.
    pub fn listen(&mut self, index: u16, address: SocketAddr, inputs: InputSender) -> Result<(), BindError> {
        let failed = |source| BindError::new("tcp", address, source);
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(failed(io::Error::other("sockets need a running tokio runtime")));
        }
        let listener = TcpListener::from_std(self.bind("tcp", address)?).map_err(failed)?;
        self.accepting.spawn(accept(index, listener, self.acceptor.clone(), inputs));
        Ok(())
    }

    /// A listening socket for whoever accepts elsewhere. Its address counts as one that is listened on.
    ///
    /// # Errors
    /// The same.
    pub fn bind(&mut self, transport: &'static str, address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
        let (socket, is_fallback) = open_or_fall_back(transport, address, open)?;
        if is_fallback {
            tracing::warn!(%address, "this system has no IPv6: listening on IPv4 only");
        }
        let listener: std::net::TcpListener = socket.into();
        self.addresses.push(listener.local_addr().map_err(|source| BindError::new(transport, address, source))?);
        Ok(listener)
    }

    /// What takes connections that were accepted elsewhere.
    pub fn acceptor(&self) -> Acceptor {
        self.acceptor.clone()
    }

    /// The addresses that are listened on, with the ports that were chosen for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Does what the core wants of a connection; nothing if it is gone.
    pub fn order(&mut self, connection: ConnectionId, order: StreamOrder) {
        while let Ok((id, port)) = self.accepted.try_recv() {
            self.ports.insert(id, port);
        }
        // The last order of each connection is to close it.
        let is_last = matches!(order, StreamOrder::Close);
        let taken = self.ports.get(&connection).is_some_and(|port| port.order(order));
        if is_last || !taken {
            self.ports.remove(&connection);
        }
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // Connections of the run before must not keep this one from starting; two listeners on a port it does not allow.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

async fn accept(index: u16, listener: TcpListener, acceptor: Acceptor, inputs: InputSender) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = next_connection(index, &listener) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Some(serving) = acceptor.take(stream, peer, None, &inputs).await else { return };
        connections.spawn(serving);
    }
}

/// The next connection that a peer opens. Nothing is lost if nobody waits for it to the end.
pub(super) async fn next_connection(index: u16, listener: &TcpListener) -> (TcpStream, Peer) {
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Messages are written whole; waiting for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %remote, "a connection was gone before it was taken");
            continue;
        }
        let local = stream.local_addr().ok().map(|address| canonical(address).ip());
        return (stream, Peer { listener: index, remote: canonical(remote), local, session: None });
    }
}

impl Acceptor {
    /// A number for a connection.
    pub(super) fn next_number(&self) -> ConnectionId {
        ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells of a new connection; what serves it to its end. `None`: the host is gone.
    pub(super) async fn take<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: Peer,
        identity: Option<Box<Authenticated>>,
        inputs: &InputSender,
    ) -> Option<impl Future<Output = ()> + use<S>> {
        let connection = self.next_number();
        let (port, served) = connection::open(stream, self.bounds);
        self.accepted.send((connection, port)).await.ok()?;
        let opened = Input::Stream { peer, connection, input: StreamInput::Opened { identity } };
        inputs.send(vec![opened]).await.ok()?;
        let inputs = inputs.clone();
        Some(async move {
            let closed = served
                .serve(|bytes| {
                    let input = Input::Stream { peer, connection, input: StreamInput::Bytes(bytes) };
                    let inputs = inputs.clone();
                    async move { inputs.send(vec![input]).await.is_ok() }
                })
                .await;
            if let Some(reason) = closed {
                let input = StreamInput::Closed { reason };
                // An error means that the core is gone as well.
                let _ = inputs.send(vec![Input::Stream { peer, connection, input }]).await;
            }
        })
    }
}

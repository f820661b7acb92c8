//! CoAP over TLS: connections whose peers prove who they are before the core hears of them.
//!
//! # Flow
//! One thread of its own accepts, shakes hands and carries bytes, since a handshake takes longer than a turn of the
//! core may. What passed is a connection like one over TCP: the same code serves it, and the core's orders reach it in
//! the same way ([`Acceptor`]). What peers may prove themselves by comes as `Admit` and `Revoke` from the core
//! ([`TlsThread::order`]); a new identity of the server comes from the shell ([`TlsThread::identity_setter`]). Both count for
//! handshakes that begin from then on; the core closes connections whose proof is gone.
//!
//! # Bounds
//! [`MAX_HANDSHAKES`] at a time on each listener, each for [`HANDSHAKE_TIME`] at most. With all of them under way, the
//! oldest gives way to a new connection once it has had [`UNDISTURBED_TIME`]: peers that connect and are silent cannot
//! keep others out. Every handshake that fails is told to the core, with the reason.

mod accept;
mod hello;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::SslContext;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::InputSender;
use super::secure::context::{Carrier, Face, server_context};
use super::secure::identity::ServerIdentity;
use super::secure::proofs::Proofs;
use super::tcp::Acceptor;
use crate::gateway::handshakes::HandshakeOrder;
use crate::model::credential::Scope;
use accept::Listener;

/// Handshakes under way on a listener.
pub const MAX_HANDSHAKES: usize = 64;
/// How long a handshake may take.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a handshake is left alone when others wait.
pub const UNDISTURBED_TIME: Duration = Duration::from_secs(1);
/// Batches of orders that the thread has not taken; what comes then waits with the host.
const WAITING_BATCHES: usize = 16;

/// How long handshakes may take.
#[derive(Clone, Copy, Debug)]
struct Times {
    most: Duration,
    undisturbed: Duration,
}

const TIMES: Times = Times { most: HANDSHAKE_TIME, undisturbed: UNDISTURBED_TIME };

/// What the thread is told.
enum Order {
    /// Proofs come and go.
    Proofs(Vec<HandshakeOrder>),
    /// Another identity of the server.
    Identity(Box<ServerIdentity>),
}

/// What a handshake begins with.
#[derive(Clone)]
struct Terms {
    contexts: Contexts,
    proofs: Arc<Proofs>,
}

/// Contexts by what the server shows.
#[derive(Clone)]
struct Contexts {
    certificate: SslContext,
    /// `None`: raw public keys are not served.
    raw_public_key: Option<SslContext>,
}

impl Contexts {
    fn new(identity: &ServerIdentity) -> Result<Self, ErrorStack> {
        // Connections last, and a device that sleeps keeps its own: nothing is resumed, so no tickets are made.
        let context = |face| server_context(Carrier::Stream, face, identity, None);
        let raw_public_key = identity.raw_public_key.is_some().then(|| context(Face::RawPublicKey)).transpose()?;
        Ok(Self { certificate: context(Face::Certificate)?, raw_public_key })
    }
}

/// A bound socket.
pub struct TlsSocket {
    /// Its position among all listeners.
    pub index: u16,
    /// Which server its peers speak to.
    pub scope: Scope,
    /// The socket.
    pub socket: std::net::TcpListener,
}

/// The thread that serves all listeners of TLS. It ends when this and everything from [`Self::identity_setter`] is gone.
pub struct TlsThread {
    orders: mpsc::Sender<Order>,
    /// Orders of a turn, and those that found no room.
    waiting: VecDeque<HandshakeOrder>,
}

impl TlsThread {
    /// Starts it with bound sockets.
    ///
    /// # Errors
    /// If the system gives no thread, or the identity cannot be used.
    pub fn start(
        sockets: Vec<TlsSocket>,
        identity: &ServerIdentity,
        acceptor: &Acceptor,
        inputs: &InputSender,
    ) -> io::Result<Self> {
        Self::start_with(sockets, identity, acceptor, inputs, TIMES)
    }

    fn start_with(
        sockets: Vec<TlsSocket>,
        identity: &ServerIdentity,
        acceptor: &Acceptor,
        inputs: &InputSender,
        times: Times,
    ) -> io::Result<Self> {
        let terms = Terms { contexts: Contexts::new(identity).map_err(io::Error::other)?, proofs: Arc::default() };
        let (orders, receiver) = mpsc::channel(WAITING_BATCHES);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (acceptor, inputs) = (acceptor.clone(), inputs.clone());
        std::thread::Builder::new().name("tls".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(run(sockets, terms, receiver, acceptor, inputs, times)) {
                tracing::error!(%error, "CoAP over TLS is not served");
            }
        })?;
        Ok(Self { orders, waiting: VecDeque::new() })
    }

    /// Takes `Admit` and `Revoke`; other orders are not for connections.
    pub fn order(&mut self, order: &HandshakeOrder) {
        if matches!(order, HandshakeOrder::Admit { .. } | HandshakeOrder::Revoke { .. }) {
            self.waiting.push_back(order.clone());
        }
    }

    /// Hands over what was ordered. What finds no room is kept; there is never more of it than there are credentials
    /// that change.
    pub fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        // An error means that the thread is full or gone.
        if let Ok(permit) = self.orders.try_reserve() {
            permit.send(Order::Proofs(std::mem::take(&mut self.waiting).into()));
        }
    }

    /// What takes another identity of the server, from any thread that may wait.
    pub fn identity_setter(&self) -> impl Fn(&ServerIdentity) + Send + 'static {
        let orders = self.orders.clone();
        move |identity| {
            if orders.blocking_send(Order::Identity(Box::new(identity.clone()))).is_err() {
                tracing::debug!("the thread of TLS is gone");
            }
        }
    }
}

async fn run(
    sockets: Vec<TlsSocket>,
    terms: Terms,
    mut orders: mpsc::Receiver<Order>,
    acceptor: Acceptor,
    inputs: InputSender,
    times: Times,
) -> io::Result<()> {
    let (terms, changes) = watch::channel(terms);
    let mut listeners = JoinSet::new();
    for TlsSocket { index, scope, socket } in sockets {
        let socket = TcpListener::from_std(socket)?;
        let place = (index, scope);
        let listener = Listener::new(place, socket, changes.clone(), acceptor.clone(), inputs.clone(), times);
        listeners.spawn(listener.run());
    }
    while let Some(order) = orders.recv().await {
        match order {
            Order::Proofs(orders) => terms.send_modify(|terms| {
                // Handshakes under way keep the table as it was when they began.
                let proofs = Arc::make_mut(&mut terms.proofs);
                for order in orders {
                    apply(proofs, order);
                }
            }),
            Order::Identity(identity) => match Contexts::new(&identity) {
                Ok(contexts) => terms.send_modify(|terms| terms.contexts = contexts),
                Err(error) => tracing::error!(%error, "the server's identity cannot be used for TLS: the former stays"),
            },
        }
    }
    Ok(())
}

fn apply(proofs: &mut Proofs, order: HandshakeOrder) {
    match order {
        HandshakeOrder::Admit { scope, proof, generation } => proofs.admit(scope, proof, generation),
        HandshakeOrder::Revoke { scope, proof } => proofs.revoke(scope, &proof),
        _ => {}
    }
}

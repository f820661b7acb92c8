//! The Leshan-compatible API, on listeners of its own: some speak as Leshan's LwM2M server, others as its bootstrap
//! server.
//!
//! ```text
//!  request ─▶ guard ─▶ route ─▶ registration? model? ─▶ command ─▶ core
//!                                      │ 400                        │ queued      │ terminal result
//!                                      ▼                            ▼             ▼
//!                               "no registered client"       delayed answer    response
//!                                                                   └─ later: REQUEST_RESPONSE on the stream
//! ```
//!
//! What is odd about requests and responses stands in [`crate::northbound::leshan`]; here are only sockets, waiting and
//! bounds. Leshan's demo server knows no users. This one does: without tokens it listens on loopback only, with tokens
//! each request needs one, as for the API beside it.

mod bootstrap;
mod later;
mod requests;
mod security;
mod sessions;
mod stream;

pub(super) use later::Later;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::middleware::from_fn_with_state;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use self::later::{Promised, later};
use super::events::EventSender;
use super::guard::{Guard, guard};
use super::routes::Api;
use crate::gateway::configuration::Transport;
use crate::model::credential::Scope;

/// Requests whose result follows on the event stream; further ones get 503. Each holds a place of
/// [`MAX_WAITING`](super::MAX_WAITING), so that it must stay well below.
pub const MAX_DELAYED: usize = 256;

/// What the handlers share.
#[derive(Clone)]
struct Leshan {
    api: Api,
    /// Whose place is taken: Leshan's LwM2M server, or its bootstrap server.
    server: Scope,
    /// For results that come later.
    later: mpsc::Sender<Promised>,
    delayed: Arc<Semaphore>,
    /// Tells commands of this run from those of others.
    run: Arc<str>,
    commands: Arc<AtomicU64>,
    /// Where devices may connect.
    endpoints: Arc<Value>,
}

/// An address of the LwM2M or the bootstrap server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reachable {
    /// What carries CoAP there.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
}

/// Where devices may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Of the LwM2M server.
    pub server: Vec<Reachable>,
    /// Of the bootstrap server.
    pub bootstrap: Vec<Reachable>,
}

/// The routes of the LwM2M server, those of the bootstrap server, and the task that tells `events` what comes later.
pub(super) fn routers(
    api: Api,
    guarding: &Guard,
    events: EventSender,
    run: &str,
    addresses: &Addresses,
) -> (Router, Router, Later) {
    let (sender, task) = later(events);
    let state = Leshan {
        api,
        server: Scope::Server,
        later: sender,
        delayed: Arc::new(Semaphore::new(MAX_DELAYED)),
        run: run.into(),
        commands: Arc::default(),
        endpoints: Arc::new(endpoints(&addresses.server)),
    };
    let bootstrap =
        Leshan { server: Scope::Bootstrap, endpoints: Arc::new(endpoints(&addresses.bootstrap)), ..state.clone() };
    let router = |state: Leshan| {
        Router::new().fallback(requests::serve).layer(from_fn_with_state(guarding.clone(), guard)).with_state(state)
    };
    (router(state), router(bootstrap), task)
}

fn endpoints(addresses: &[Reachable]) -> Value {
    let endpoint = |Reachable { transport, address }: &Reachable| {
        let scheme = transport.scheme();
        json!({
            "uri": {
                "full": format!("{scheme}://{address}"),
                "scheme": scheme,
                "host": address.ip().to_string(),
                "port": address.port(),
            },
            "description": match transport {
                Transport::Udp => "CoAP over UDP",
                Transport::Dtls => "CoAP over DTLS",
                Transport::Tcp => "CoAP over TCP",
                Transport::Tls => "CoAP over TLS",
            },
        })
    };
    addresses.iter().map(endpoint).collect()
}

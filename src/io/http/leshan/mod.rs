//! The Leshan-compatible API, on listeners of its own.
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

mod later;
mod requests;
mod security;
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

/// Requests whose result follows on the event stream; further ones get 503. Each holds a place of
/// [`MAX_WAITING`](super::MAX_WAITING), so that it must stay well below.
pub const MAX_DELAYED: usize = 256;

/// What the handlers share.
#[derive(Clone)]
struct Leshan {
    api: Api,
    /// For results that come later.
    later: mpsc::Sender<Promised>,
    delayed: Arc<Semaphore>,
    /// Tells commands of this run from those of others.
    run: Arc<str>,
    commands: Arc<AtomicU64>,
    /// Where devices may connect.
    endpoints: Arc<Value>,
}

/// All routes, and the task that tells `events` what comes later. `lwm2m` are the addresses of the LwM2M server.
pub(super) fn router(
    api: Api,
    guarding: Guard,
    events: EventSender,
    run: &str,
    lwm2m: &[SocketAddr],
) -> (Router, Later) {
    let (sender, task) = later(events);
    let state = Leshan {
        api,
        later: sender,
        delayed: Arc::new(Semaphore::new(MAX_DELAYED)),
        run: run.into(),
        commands: Arc::default(),
        endpoints: Arc::new(endpoints(lwm2m)),
    };
    let router = Router::new().fallback(requests::serve).layer(from_fn_with_state(guarding, guard)).with_state(state);
    (router, task)
}

fn endpoints(lwm2m: &[SocketAddr]) -> Value {
    let endpoint = |address: &SocketAddr| {
        json!({
            "uri": {
                "full": format!("coap://{address}"),
                "scheme": "coap",
                "host": address.ip().to_string(),
                "port": address.port(),
            },
            "description": "CoAP over UDP",
        })
    };
    lwm2m.iter().map(endpoint).collect()
}

//! The HTTP API: axum on a thread and runtime of its own, joined to the core by bounded channels.
//!
//! ```text
//!  connection → TLS → guard → routes → question ──Vec<Input>──▶ core
//!                                │        ▲                       │
//!                                │        └──(RequestId, Answer)──┤
//!                                └─────── hub ◀────events─────────┘
//! ```
//!
//! Without tokens the API answers on loopback only and refuses requests that a web page elsewhere made a browser send;
//! with tokens each request has the role of its token ([`guard`]). Connections, handshakes, waiting questions, bodies,
//! streams and times are bounded; see the constants.

pub mod api_client;
mod error;
mod events;
mod guard;
mod leshan;
mod openapi;
mod outcome;
mod question;
mod request;
mod routes;
mod schema;
mod tls;
mod tokens;
mod trace;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::clock::wall_now;
use crate::gateway::vocabulary::{Answer, Input, RequestId};
use crate::instrumentation::metrics::Metrics;

pub use events::{EventSender, MAX_EVENT_BYTES, MAX_EVENTS, MAX_STREAMS, StreamEvent, VALUES_KEPT};
pub use leshan::{Addresses, MAX_DELAYED, Reachable};
pub use question::{ANSWER_TIME, MAX_WAITING};
pub use request::{MAX_BODIES_BYTES, MAX_BODY_BYTES, REQUEST_TIME};
pub use tls::{HANDSHAKE_TIME, MAX_HANDSHAKES, Tls};
pub use tokens::{ATTEMPT_WINDOW, MAX_ATTEMPTS, Token};
pub use trace::{MAX_TRACE_LINES_BEHIND, TraceLine, TraceSender};

/// Connections served at once on one listener; further ones wait in the kernel. About 20 KiB each.
pub const MAX_CONNECTIONS: usize = 256;

/// How long a client may take to send the head of a request, idle time before it included.
pub const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long requests may still run when the server stops.
pub const STOP_TIME: Duration = Duration::from_secs(2);

/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// Answers of the core that may wait for the desk: three for each question.
const QUEUED_ANSWERS: usize = 3 * MAX_WAITING;

/// How long a request and its answer may take.
#[derive(Clone, Copy, Debug)]
struct Times {
    request: Duration,
    answer: Duration,
}

/// What is served, and to whom.
#[derive(Clone, Debug, Default)]
pub struct HttpConfiguration {
    /// Addresses; loopback only while there are no tokens.
    pub listen: Vec<SocketAddr>,
    /// HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// Who may ask; none: everybody on this machine.
    pub tokens: Vec<Token>,
    /// Web origins that may use the API from a browser; `*` for all.
    pub cors_origins: Vec<String>,
    /// Addresses of the Leshan-compatible API; with the same certificate and tokens.
    pub leshan_listen: Vec<SocketAddr>,
    /// Addresses of the Leshan-compatible bootstrap API; the same holds.
    pub leshan_bootstrap_listen: Vec<SocketAddr>,
    /// Where devices may connect, for the Leshan-compatible API to tell.
    pub addresses: Addresses,
}

/// A running server. Dropped, it stops without waiting.
#[derive(Debug)]
pub struct HttpServer {
    answers: mpsc::Sender<(RequestId, Answer)>,
    events: EventSender,
    traces: TraceSender,
    addresses: Vec<SocketAddr>,
    leshan_addresses: Vec<SocketAddr>,
    leshan_bootstrap_addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Binds the addresses and starts to serve.
    ///
    /// # Errors
    /// If an address is not loopback and there are no tokens, or it cannot be bound, or the system gives no thread.
    pub fn start(
        configuration: HttpConfiguration,
        core: mpsc::Sender<Vec<Input>>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        Self::start_with(configuration, core, metrics, Times { request: REQUEST_TIME, answer: ANSWER_TIME })
    }

    fn start_with(
        configuration: HttpConfiguration,
        core: mpsc::Sender<Vec<Input>>,
        metrics: Metrics,
        times: Times,
    ) -> io::Result<Self> {
        let HttpConfiguration { listen, tls, tokens, cors_origins, .. } = configuration;
        let loopback_only = tokens.is_empty();
        let (listeners, addresses) = bind(&listen, loopback_only)?;
        let (leshan_listeners, leshan_addresses) = bind(&configuration.leshan_listen, loopback_only)?;
        let (bootstrap_listeners, leshan_bootstrap_addresses) =
            bind(&configuration.leshan_bootstrap_listen, loopback_only)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (answers, incoming) = mpsc::channel(QUEUED_ANSWERS);
        let (asker, desk) = question::desk(core, incoming, times.answer);
        let run = format!("{:x}", wall_now().millis());
        let (event_sender, events, hub) = events::hub(&run);
        let access = routes::Access { tokens: tokens::Tokens::new(tokens), origins: Arc::from(cors_origins) };
        let traces = TraceSender::new();
        let api = routes::Api::new(asker, events, traces.gallery(), metrics, times.request);
        let guarding = access.guard(&api.metrics);
        let (leshan_router, bootstrap_router, later) =
            leshan::routers(api.clone(), &guarding, event_sender.clone(), &run, &configuration.addresses);
        let router = routes::router(api, access);
        let (stop, stopped) = watch::channel(false);
        let serving = Serving { router, tls, stopped };
        let leshan_serving = Serving { router: leshan_router, ..serving.clone() };
        let bootstrap_serving = Serving { router: bootstrap_router, ..serving.clone() };
        let listeners =
            [(listeners, serving), (leshan_listeners, leshan_serving), (bootstrap_listeners, bootstrap_serving)];
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || runtime.block_on(serve(listeners, desk, hub, later)))?;
        Ok(Self {
            answers,
            events: event_sender,
            traces,
            addresses,
            leshan_addresses,
            leshan_bootstrap_addresses,
            stop,
            thread: Some(thread),
        })
    }

    /// The addresses that are served, with the ports that the system chose for 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The same for the Leshan-compatible API.
    #[must_use]
    pub fn leshan_addresses(&self) -> &[SocketAddr] {
        &self.leshan_addresses
    }

    /// The same for the Leshan-compatible bootstrap API.
    #[must_use]
    pub fn leshan_bootstrap_addresses(&self) -> &[SocketAddr] {
        &self.leshan_bootstrap_addresses
    }

    /// Where the core's answers go. At most [`MAX_WAITING`] questions wait, so that it never is full of answers that
    /// somebody still waits for; use `try_send`.
    #[must_use]
    pub fn answers(&self) -> mpsc::Sender<(RequestId, Answer)> {
        self.answers.clone()
    }

    /// Where lines of traced devices go.
    #[must_use]
    pub fn traces(&self) -> TraceSender {
        self.traces.clone()
    }

    /// Where events for streams go.
    #[must_use]
    pub fn events(&self) -> EventSender {
        self.events.clone()
    }

    /// Stops: no new connection, running requests get [`STOP_TIME`]. Blocks until the thread is gone.
    pub fn stop(mut self) {
        let _ = self.stop.send(true);
        // Whoever looks at a trace hears that no line comes any more.
        self.traces = TraceSender::new();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the HTTP thread ended by a panic");
        }
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Serving {
    router: Router,
    tls: Option<Tls>,
    stopped: watch::Receiver<bool>,
}

/// Binds addresses; beyond loopback only where tokens protect what is served there.
fn bind(listen: &[SocketAddr], loopback_only: bool) -> io::Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
    let mut listeners = Vec::with_capacity(listen.len());
    for address in listen {
        if loopback_only && !address.ip().is_loopback() {
            let reason = format!("{address} is not loopback, and the API has no tokens to protect it there");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let bound = TcpListener::bind(address)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        bound.set_nonblocking(true)?;
        listeners.push(bound);
    }
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    Ok((listeners, addresses))
}

async fn serve(
    listeners: [(Vec<TcpListener>, Serving); 3],
    desk: question::Desk,
    hub: events::Hub,
    later: leshan::Later,
) {
    let mut accepting = JoinSet::new();
    let stopped = listeners[0].1.stopped.clone();
    for (listeners, serving) in listeners {
        for listener in listeners {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    accepting.spawn(accept(listener, serving.clone()));
                }
                Err(error) => tracing::error!(%error, "an HTTP listener cannot be used"),
            }
        }
    }
    // Desk and hub end by themselves when the last connection, and with it the last asker, is gone.
    let all_accepted = async { while accepting.join_next().await.is_some() {} };
    tokio::join!(desk.run(), hub.run(stopped), later.run(), all_accepted);
}

/// Accepts connections until told to stop.
async fn accept(listener: tokio::net::TcpListener, mut serving: Serving) {
    let mut connections = JoinSet::new();
    let told = serving.clone();
    loop {
        tokio::select! {
            () = told_to_stop(&mut serving.stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, remote)) => {
                    connections.spawn(take_connection(stream, remote, told.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    // Such as too many open files: trying at once would burn the processor.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    drop(told);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_TIME, drained).await;
}

/// Returns when the server is stopped, or dropped, which closes the channel.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn take_connection(stream: tokio::net::TcpStream, remote: SocketAddr, serving: Serving) {
    // Answers are small and whole; they gain nothing by waiting for more.
    let _ = stream.set_nodelay(true);
    let Serving { router, tls, mut stopped } = serving;
    match tls {
        None => serve_connection(stream, remote, router, stopped).await,
        Some(tls) => {
            let shaken = tokio::select! {
                shaken = tls.accept(stream) => shaken,
                () = told_to_stop(&mut stopped) => None,
            };
            if let Some(stream) = shaken {
                serve_connection(stream, remote, router, stopped).await;
            }
        }
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    remote: SocketAddr,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(guard::Remote(remote.ip()));
        router.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // What goes wrong on a connection concerns its client, which sees it as well.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = told_to_stop(&mut stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests;

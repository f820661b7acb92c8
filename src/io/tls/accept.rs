//! One listener: accepts, shakes hands with several peers at a time, and serves who passed.

use std::collections::VecDeque;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::Ssl;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_openssl::SslStream;

use super::super::InputSender;
use super::super::tcp::{Acceptor, next_connection};
use super::hello::{Reread, read_hello};
use super::{MAX_HANDSHAKES, Terms, Times};
use crate::gateway::handshakes::HandshakeFailure;
use crate::gateway::vocabulary::{Authenticated, Input, Peer, StreamInput};
use crate::io::secure::attempts::Attempts;
use crate::io::secure::negotiation::Negotiation;
use crate::io::secure::peer;
use crate::model::credential::Scope;

/// A handshake under way.
struct Running {
    id: Id,
    since: Instant,
    peer: Peer,
    abort: AbortHandle,
}

/// A connection whose peer proved who it is, or why there is none.
type Shaken = (Peer, Result<(SslStream<Reread>, Box<Authenticated>), Refused>);

/// A listener and everything that came over it.
pub(super) struct Listener {
    index: u16,
    scope: Scope,
    socket: TcpListener,
    terms: watch::Receiver<Terms>,
    acceptor: Acceptor,
    inputs: InputSender,
    times: Times,
    handshakes: JoinSet<Shaken>,
    /// The same handshakes, the oldest first.
    running: VecDeque<Running>,
    connections: JoinSet<()>,
    /// How many keys back the next handshake of an identity begins, where the newest did not fit.
    attempts: Attempts,
}

impl Listener {
    pub(super) fn new(
        (index, scope): (u16, Scope),
        socket: TcpListener,
        terms: watch::Receiver<Terms>,
        acceptor: Acceptor,
        inputs: InputSender,
        times: Times,
    ) -> Self {
        Self {
            index,
            scope,
            socket,
            terms,
            acceptor,
            inputs,
            times,
            handshakes: JoinSet::new(),
            running: VecDeque::new(),
            connections: JoinSet::new(),
            attempts: Attempts::default(),
        }
    }

    /// Serves until the host is gone.
    pub(super) async fn run(mut self) {
        // A connection that was accepted while all handshakes were under way.
        let mut next = None;
        loop {
            if self.running.len() < MAX_HANDSHAKES
                && let Some((stream, peer)) = next.take()
            {
                self.begin(stream, peer);
            }
            let disturbed_at = self.running.front().map(|oldest| oldest.since + self.times.undisturbed);
            let goes_on = tokio::select! {
                accepted = next_connection(self.index, &self.socket), if next.is_none() => {
                    next = Some(accepted);
                    true
                }
                Some(ended) = self.handshakes.join_next_with_id() => self.end(ended).await,
                Some(_) = self.connections.join_next() => true,
                () = wait_until(disturbed_at), if next.is_some() => self.give_way().await,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn begin(&mut self, stream: TcpStream, peer: Peer) {
        let (terms, attempts) = (self.terms.borrow().clone(), self.attempts.clone());
        let (most, scope) = (self.times.most, self.scope);
        let abort = self.handshakes.spawn(async move {
            let shaken = timeout(most, shake_hands(stream, scope, terms, attempts)).await;
            (peer, shaken.unwrap_or_else(|_| Err(Refused::new("timeout", "the handshake took too long"))))
        });
        self.running.push_back(Running { id: abort.id(), since: Instant::now(), peer, abort });
    }

    /// Hands over who passed and tells who did not. `false`: the host is gone.
    async fn end(&mut self, ended: Result<(Id, Shaken), JoinError>) -> bool {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        self.running.retain(|running| running.id != id);
        match ended {
            Ok((_, (peer, Ok((stream, identity))))) => {
                let taken = self.acceptor.take(stream, peer, Some(identity), &self.inputs).await;
                taken.map(|serving| self.connections.spawn(serving)).is_some()
            }
            Ok((_, (peer, Err(refused)))) => {
                if let Some(identity) = refused.other_key {
                    self.attempts.try_another(&self.terms.borrow().proofs, self.scope, &identity);
                }
                self.tell(peer, refused.failure).await
            }
            // It gave way, which was told.
            Err(_) => true,
        }
    }

    /// Ends the oldest handshake for a connection that waits.
    async fn give_way(&mut self) -> bool {
        let Some(oldest) = self.running.pop_front() else { return true };
        oldest.abort.abort();
        self.tell(oldest.peer, failure("gave_way", "too many handshakes were under way, and this was the oldest")).await
    }

    async fn tell(&self, peer: Peer, failure: HandshakeFailure) -> bool {
        let input = StreamInput::Refused(Box::new(failure));
        let connection = self.acceptor.next_number();
        self.inputs.send(vec![Input::Stream { peer, connection, input }]).await.is_ok()
    }
}

fn failure(word: &'static str, detail: &str) -> HandshakeFailure {
    HandshakeFailure { word, detail: detail.to_owned(), claimed: None }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Why there is no connection, and the identity whose key did not fit, for the next try.
struct Refused {
    failure: HandshakeFailure,
    other_key: Option<Vec<u8>>,
}

impl Refused {
    fn new(word: &'static str, detail: &str) -> Self {
        Self { failure: failure(word, detail), other_key: None }
    }
}

impl From<ErrorStack> for Refused {
    fn from(error: ErrorStack) -> Self {
        Self::new("protocol", &format!("the TLS library: {error}"))
    }
}

async fn shake_hands(
    stream: TcpStream,
    scope: Scope,
    terms: Terms,
    attempts: Attempts,
) -> Result<(SslStream<Reread>, Box<Authenticated>), Refused> {
    let (stream, hello) = read_hello(stream).await.map_err(|error| Refused::new("protocol", &error.to_string()))?;
    let raw_public_key = terms.contexts.raw_public_key.filter(|_| hello.takes_raw_public_key);
    let mut ssl = Ssl::new(&raw_public_key.unwrap_or(terms.contexts.certificate))?;
    let negotiation =
        Negotiation { scope, proofs: terms.proofs, attempts, offered: hello.suites, ..Negotiation::default() };
    negotiation.attach(&mut ssl)?;
    let mut stream = SslStream::new(ssl, stream)?;
    let accepted = Pin::new(&mut stream).accept().await;
    let negotiation = Negotiation::of(stream.ssl());
    if let Err(error) = accepted {
        let failure = peer::failure(negotiation, &told(&error));
        let used = negotiation.and_then(|negotiation| negotiation.used_key.get());
        let other_key = used.filter(|_| failure.word == "wrong_key").map(|(identity, _)| identity.clone());
        return Err(Refused { failure, other_key });
    }
    match negotiation.and_then(|negotiation| negotiation.authenticated(stream.ssl())) {
        Some(who) => Ok((stream, Box::new(who))),
        None => Err(Refused::new("credential_gone", "nothing that is known of the device fits what it showed")),
    }
}

/// What went wrong, as the library says.
fn told(error: &openssl::ssl::Error) -> String {
    error.ssl_error().map_or_else(|| error.to_string(), peer::told)
}

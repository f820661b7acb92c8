//! One CoAP connection over a reliable transport, of either side (RFC 8323): bytes in, messages out, and its timers.
//!
//! ```text
//! open ──first CSM──▶ open for messages ──abort, malformed, too large, slow, silent──▶ closed
//!   └──another message first, or none in time──────────────────────────────────────────▶ closed
//! ```
//!
//! # Flow
//! [`Connection::receive`] takes what arrived; [`Connection::poll_event`] gives one message after the other and handles
//! signalling by itself; [`Connection::poll_transmit`] gives what is to be written; [`Connection::closed`] says that the
//! stream is to be ended once that is written. [`Connection::handle_timeout`] is due at [`Connection::next_deadline`].
//!
//! # Invariants
//! No bytes panic. Nothing is kept but the bytes that make no whole message yet, fewer than
//! [`ConnectionParameters::max_message_bytes`] beside what the last call brought. A closed connection gives no events.

use std::collections::VecDeque;
use std::time::Duration;

use super::message::{Code, Message, Token};
use super::signalling::{BASE_MAX_MESSAGE_SIZE, Signal};
use super::tcp_frame::{self, FrameError};
use crate::model::time::Instant;

/// A message may take a second longer for each so many bytes of it that have arrived: slow links are served, and
/// whoever sends a byte now and then is not.
pub const LEAST_BYTES_PER_SECOND: usize = 1_024;

/// What holds for all connections of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionParameters {
    /// The longest message taken, in bytes; announced to the peer.
    pub max_message_bytes: usize,
    /// How long the peer's first message may take.
    pub capabilities_timeout: Duration,
    /// How long a message may take from its first byte to its last, beside [`LEAST_BYTES_PER_SECOND`].
    pub message_timeout: Duration,
    /// After so long without a word from the peer it is pinged; `None`: never.
    pub keep_alive: Option<Duration>,
    /// After so long without a word from the peer the connection is closed; `None`: never.
    pub idle_timeout: Option<Duration>,
}

/// What came over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request or a response, and its length on the wire.
    Message(Message, usize),
    /// A ping whose pong has to wait until everything before it has been processed.
    CustodyPing(Token),
    /// A pong.
    Pong(Token),
    /// The peer wants the connection to be closed when it has its answers.
    Released,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// A fixed word, for metrics.
    pub word: &'static str,
    /// The same for people.
    pub reason: String,
}

/// The connection. See the module.
#[derive(Debug)]
pub struct Connection {
    arrived: Vec<u8>,
    /// Bytes of `arrived` that were read already.
    read: usize,
    outgoing: VecDeque<Vec<u8>>,
    has_capabilities: bool,
    peer_max_message_size: u32,
    peer_block_wise: bool,
    opened_at: Instant,
    heard_at: Instant,
    /// Since when the first message in `arrived` has not been whole.
    partial_since: Option<Instant>,
    pinged_at: Option<Instant>,
    closed: Option<Closed>,
}

impl Connection {
    /// A connection that the transport has just established. Its first message waits to be sent.
    #[must_use]
    pub fn open(now: Instant, parameters: &ConnectionParameters) -> Self {
        let capabilities = Signal::Capabilities {
            max_message_size: Some(u32::try_from(parameters.max_message_bytes).unwrap_or(u32::MAX)),
            block_wise: true,
        };
        Self {
            arrived: Vec::new(),
            read: 0,
            outgoing: VecDeque::from([tcp_frame::encode(&capabilities.message())]),
            has_capabilities: false,
            peer_max_message_size: BASE_MAX_MESSAGE_SIZE,
            peer_block_wise: false,
            opened_at: now,
            heard_at: now,
            partial_since: None,
            pinged_at: None,
            closed: None,
        }
    }

    /// The longest message that the peer takes, in bytes.
    #[must_use]
    pub const fn peer_max_message_size(&self) -> u32 {
        self.peer_max_message_size
    }

    /// Whether the peer said that it knows block-wise transfer (RFC 7959).
    #[must_use]
    pub const fn peer_knows_blocks(&self) -> bool {
        self.peer_block_wise
    }

    /// Bytes that arrived and are not read.
    #[must_use]
    pub const fn waiting_bytes(&self) -> usize {
        self.arrived.len() - self.read
    }

    /// Whether the connection is over, and why. What [`Self::poll_transmit`] still gives is written first.
    #[must_use]
    pub const fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// Takes bytes of the stream.
    pub fn receive(&mut self, now: Instant, bytes: Vec<u8>) {
        if self.closed.is_some() || bytes.is_empty() {
            return;
        }
        self.heard_at = now;
        self.pinged_at = None;
        if self.waiting_bytes() == 0 {
            (self.arrived, self.read) = (bytes, 0);
        } else {
            self.arrived.extend_from_slice(&bytes);
        }
    }

    /// The next thing that arrived; `None` until more bytes come.
    pub fn poll_event(&mut self, now: Instant, parameters: &ConnectionParameters) -> Option<Event> {
        while self.closed.is_none() {
            let waiting = self.arrived.get(self.read..).unwrap_or_default();
            let (message, length) = match tcp_frame::decode(waiting, parameters.max_message_bytes) {
                Ok(Some(read)) => read,
                Ok(None) => {
                    self.keep_partial(now);
                    return None;
                }
                Err(error) => {
                    let word = match error {
                        FrameError::TooLarge { .. } => "too_large",
                        FrameError::Malformed(_) => "malformed",
                    };
                    self.abort(word, error.to_string());
                    return None;
                }
            };
            self.read += length;
            self.partial_since = None;
            if let Some(event) = self.take(message, length) {
                return Some(event);
            }
        }
        None
    }

    fn keep_partial(&mut self, now: Instant) {
        if self.waiting_bytes() == 0 {
            // Most connections wait for most of the time: they hold no memory then.
            (self.arrived, self.read, self.partial_since) = (Vec::new(), 0, None);
            return;
        }
        self.arrived.drain(..self.read);
        self.read = 0;
        self.partial_since.get_or_insert(now);
    }

    fn take(&mut self, message: Message, length: usize) -> Option<Event> {
        if message.code == Code::EMPTY {
            return None;
        }
        if !self.has_capabilities && message.code != Code::CSM {
            self.abort("no_csm", format!("the first message was {}, not 7.01", message.code));
            return None;
        }
        if !message.code.is_signal() {
            return Some(Event::Message(message, length));
        }
        match Signal::read(&message) {
            Ok(Some(Signal::Capabilities { max_message_size, block_wise })) => {
                self.has_capabilities = true;
                self.peer_max_message_size = max_message_size.unwrap_or(self.peer_max_message_size);
                self.peer_block_wise |= block_wise;
                None
            }
            Ok(Some(Signal::Ping { token, custody: true })) => Some(Event::CustodyPing(token)),
            Ok(Some(Signal::Ping { token, custody: false })) => {
                self.signal(&Signal::Pong { token, custody: false });
                None
            }
            Ok(Some(Signal::Pong { token, .. })) => Some(Event::Pong(token)),
            Ok(Some(Signal::Release { .. })) => Some(Event::Released),
            Ok(Some(Signal::Abort { diagnostic, bad_csm_option })) => {
                let option = bad_csm_option.map(|number| format!("option {number} of the capabilities; "));
                let reason = format!("the peer aborted: {}{diagnostic}", option.unwrap_or_default());
                self.close("aborted_by_peer", reason);
                None
            }
            Ok(None) => None,
            Err(error) => {
                self.abort_for_option("bad_signal", error.to_string(), error.bad_csm_option());
                None
            }
        }
    }

    /// The next frame to write.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// Sends a message behind those that wait already.
    pub fn send(&mut self, message: &Message) {
        if self.closed.is_none() {
            self.outgoing.push_back(tcp_frame::encode(message));
        }
    }

    /// Sends a signalling message.
    pub fn signal(&mut self, signal: &Signal) {
        self.send(&signal.message());
    }

    /// Ends the connection with a word to the peer.
    pub fn abort(&mut self, word: &'static str, reason: impl Into<String>) {
        self.abort_for_option(word, reason.into(), None);
    }

    fn abort_for_option(&mut self, word: &'static str, reason: String, bad_csm_option: Option<u16>) {
        self.signal(&Signal::Abort { bad_csm_option, diagnostic: reason.clone() });
        self.close(word, reason);
    }

    /// Ends the connection without a word to the peer.
    pub fn close(&mut self, word: &'static str, reason: impl Into<String>) {
        if self.closed.is_none() {
            self.closed = Some(Closed { word, reason: reason.into() });
            (self.arrived, self.read, self.partial_since) = (Vec::new(), 0, None);
        }
    }

    fn partial_deadline(&self, parameters: &ConnectionParameters) -> Option<Instant> {
        let allowance = Duration::from_secs((self.waiting_bytes() / LEAST_BYTES_PER_SECOND) as u64);
        self.partial_since.map(|since| since + parameters.message_timeout + allowance)
    }

    fn ping_at(&self, parameters: &ConnectionParameters) -> Option<Instant> {
        let keep_alive = parameters.keep_alive.filter(|_| self.has_capabilities && self.pinged_at.is_none())?;
        Some(self.heard_at + keep_alive)
    }

    /// When [`Self::handle_timeout`] is due; `None` while only the stream matters.
    #[must_use]
    pub fn next_deadline(&self, parameters: &ConnectionParameters) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        let first = (!self.has_capabilities).then(|| self.opened_at + parameters.capabilities_timeout);
        let idle = parameters.idle_timeout.map(|idle_timeout| self.heard_at + idle_timeout);
        [first, self.partial_deadline(parameters), self.ping_at(parameters), idle].into_iter().flatten().min()
    }

    /// Does what is due. `may_be_silent`: the peer cannot be expected to say anything now, as it sleeps or is not
    /// listened to; its silence then begins anew.
    pub fn handle_timeout(&mut self, now: Instant, parameters: &ConnectionParameters, may_be_silent: bool) {
        if self.closed.is_some() {
            return;
        }
        if !self.has_capabilities && self.opened_at + parameters.capabilities_timeout <= now {
            return self.abort("no_csm", "no 7.01 in time");
        }
        if may_be_silent {
            self.heard_at = now;
            self.partial_since = self.partial_since.map(|_| now);
            return;
        }
        if self.partial_deadline(parameters).is_some_and(|deadline| deadline <= now) {
            return self.abort("slow_message", "a message took too long to arrive");
        }
        if parameters.idle_timeout.is_some_and(|idle_timeout| self.heard_at + idle_timeout <= now) {
            return self.abort("silent", "nothing was heard for too long");
        }
        if self.ping_at(parameters).is_some_and(|ping_at| ping_at <= now) {
            self.pinged_at = Some(now);
            self.signal(&Signal::Ping { token: Token::EMPTY, custody: false });
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;

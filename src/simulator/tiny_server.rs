//! The least LwM2M server that a test needs: it registers everyone, observes one path of each and acknowledges.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::path::Path;
use crate::model::time::Instant;
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::coap::option::OptionNumber;

/// How long an Observe request waits before it is repeated.
const REPEAT_AFTER: Duration = Duration::from_secs(3);

/// What the server knows of one address.
#[derive(Debug, Default)]
struct Peer {
    next_id: u16,
    answers: BTreeMap<u16, Vec<u8>>,
    observe: Option<(Instant, Vec<u8>)>,
    token: Token,
    newest: Option<(u32, Vec<u8>)>,
    values: u64,
}

/// The server: datagrams in, datagrams out.
#[derive(Debug)]
pub(crate) struct TinyServer {
    observed: Path,
    peers: BTreeMap<SocketAddr, Peer>,
    outgoing: Vec<(SocketAddr, Vec<u8>)>,
    /// Registrations accepted.
    pub(crate) registrations: u64,
}

impl TinyServer {
    pub(crate) fn new(observed: Path) -> Self {
        Self { observed, peers: BTreeMap::new(), outgoing: Vec::new(), registrations: 0 }
    }

    pub(crate) fn take_outgoing(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.outgoing)
    }

    /// The newest payload of an address, by Observe number.
    pub(crate) fn newest(&self, from: SocketAddr) -> Option<&[u8]> {
        self.peers.get(&from)?.newest.as_ref().map(|(_, payload)| payload.as_slice())
    }

    /// Distinct notifications received, of all addresses.
    pub(crate) fn values(&self) -> u64 {
        self.peers.values().map(|peer| peer.values).sum()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.peers.values().filter_map(|peer| peer.observe.as_ref().map(|(at, _)| *at)).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (address, peer) in &mut self.peers {
            if let Some((at, bytes)) = peer.observe.as_mut().filter(|(at, _)| *at <= now) {
                *at = now + REPEAT_AFTER;
                self.outgoing.push((*address, bytes.clone()));
            }
        }
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let message = Message::decode(bytes).unwrap();
        let peer = self.peers.entry(from).or_default();
        if let Some(answer) = peer.answers.get(&message.id).filter(|_| message.message_type == MessageType::Confirmable)
        {
            self.outgoing.push((from, answer.clone()));
            return;
        }
        if message.code == Code::CONTENT && message.token == peer.token {
            peer.observe = None;
            if let Some(sequence) = message.observe() {
                peer.values += 1;
                if peer.newest.as_ref().is_none_or(|(newest, _)| sequence > *newest) {
                    peer.newest = Some((sequence, message.payload.clone()));
                }
            }
        }
        if message.message_type != MessageType::Confirmable {
            return;
        }
        let mut answer = Message::acknowledgement(message.id);
        answer.token = message.token;
        match (message.code, message.uri_path().len()) {
            (Code::POST, 1) => {
                answer.code = Code::CREATED;
                answer.push_option(OptionNumber::LOCATION_PATH, b"rd".to_vec());
                answer.push_option(OptionNumber::LOCATION_PATH, from.port().to_string().into_bytes());
            }
            (Code::POST, 2) => answer.code = Code::CHANGED,
            (Code::DELETE, 2) => answer.code = Code::DELETED,
            (Code::CONTENT, _) => answer.token = Token::EMPTY,
            _ => panic!("unexpected {message:?}"),
        }
        peer.answers.insert(message.id, answer.encode());
        self.outgoing.push((from, answer.encode()));
        if answer.code == Code::CREATED {
            self.registrations += 1;
            self.observe(now, from);
        }
    }

    fn observe(&mut self, now: Instant, device: SocketAddr) {
        let peer = self.peers.entry(device).or_default();
        peer.next_id += 1;
        peer.token = Token::new(&peer.next_id.to_be_bytes()).unwrap();
        peer.newest = None;
        let mut request = Message::new(MessageType::Confirmable, Code::GET, peer.next_id, peer.token);
        request.push_uint(OptionNumber::OBSERVE, 0);
        for id in self.observed.ids() {
            request.push_option(OptionNumber::URI_PATH, id.to_string().into_bytes());
        }
        peer.observe = Some((now + REPEAT_AFTER, request.encode()));
        self.outgoing.push((device, request.encode()));
    }
}

//! Which requests are under way to devices: a bootstrap server sends the next one only when the one before is answered,
//! rejected, given up, or its session over (RFC 7252 section 4.7, NSTART 1).

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use lwm2mqtt::gateway::vocabulary::Peer;
use lwm2mqtt::model::time::Instant;
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};

/// The shortest time after which a request that nobody answers is given up; RFC 7252 section 4.2 without its chance.
const GIVEN_UP: Duration = Duration::from_secs(60);

struct Request {
    id: u16,
    token: Token,
    sent_at: Instant,
}

/// What a bootstrap server is allowed to have under way.
#[derive(Default)]
pub(crate) struct UnderWay {
    requests: HashMap<SocketAddr, Vec<Request>>,
    /// Names by which a device came: each may have a session.
    names: HashMap<SocketAddr, BTreeSet<String>>,
}

impl UnderWay {
    /// A session may begin, and so one may end.
    pub(crate) fn begins(&mut self, peer: Peer, endpoint: &str) {
        self.forget_all();
        self.names.entry(peer.remote).or_default().insert(endpoint.to_owned());
    }

    pub(crate) fn forget_all(&mut self) {
        self.requests.clear();
    }

    /// A request leaves.
    pub(crate) fn sent(&mut self, now: Instant, peer: Peer, message: &Message) {
        let requests = self.requests.entry(peer.remote).or_default();
        requests.retain(|request| now.saturating_since(request.sent_at) < GIVEN_UP);
        if requests.iter().any(|request| request.id == message.id && request.token == message.token) {
            return;
        }
        requests.push(Request { id: message.id, token: message.token, sent_at: now });
        let most = self.names.get(&peer.remote).map_or(1, BTreeSet::len);
        assert!(requests.len() <= most, "{} requests are under way to {}", requests.len(), peer.remote);
    }

    /// A device says something.
    pub(crate) fn heard(&mut self, peer: Peer, message: &Message) {
        let Some(requests) = self.requests.get_mut(&peer.remote) else { return };
        let is_answer = |request: &Request| match message.message_type {
            MessageType::Reset => request.id == message.id,
            MessageType::Acknowledgement => {
                message.code != Code::EMPTY && request.id == message.id && request.token == message.token
            }
            _ => request.token == message.token,
        };
        requests.retain(|request| !is_answer(request));
    }
}

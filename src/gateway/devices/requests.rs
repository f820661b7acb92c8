//! Requests of devices: routing, large bodies, answers with exact codes.
//!
//! `POST /rd`, `POST /rd/{id}`, `DELETE /rd/{id}`, `POST /dp`, and 4.04 or 4.05 for everything else. Large bodies come
//! by Block1 (RFC 7959 section 2.5) and are put together here before anything looks at them.

use std::collections::HashMap;

use super::Devices;
use super::answers::EXCHANGE_LIFETIME;
use crate::gateway::bootstrap::Inbound;
use crate::gateway::services::{Held, Services};
use crate::gateway::vocabulary::{Peer, Place};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::credential::Scope;
use crate::model::time::Instant;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message, MessageType};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::ContentFormat;

/// Options that requests may have.
pub(in crate::gateway) const UNDERSTOOD: [OptionNumber; 8] = [
    OptionNumber::URI_HOST,
    OptionNumber::URI_PORT,
    OptionNumber::URI_PATH,
    OptionNumber::URI_QUERY,
    OptionNumber::CONTENT_FORMAT,
    OptionNumber::ACCEPT,
    OptionNumber::BLOCK1,
    OptionNumber::BLOCK2,
];

/// An answer to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Code.
    pub code: Code,
    /// Location-Path, Block1 and the like.
    pub options: Vec<(OptionNumber, Vec<u8>)>,
    /// Body.
    pub payload: Vec<u8>,
    /// Whether it must wait until this input's writes are durable.
    pub when_durable: bool,
    /// The device that may be asked things as soon as it has this answer.
    pub asked_next: Option<usize>,
}

impl Reply {
    /// An answer that leaves at once.
    pub fn now(code: Code) -> Self {
        Self { code, options: Vec::new(), payload: Vec::new(), when_durable: false, asked_next: None }
    }

    /// An answer that leaves when this input's writes are durable.
    pub fn when_durable(code: Code) -> Self {
        Self { when_durable: true, ..Self::now(code) }
    }
}

/// What a block of a large request led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// More is to come.
    Continue,
    /// The body is whole.
    Complete(Vec<u8>),
    /// A block is missing: 4.08.
    Incomplete,
    /// The body exceeds the bound: 4.13.
    TooLarge,
}

type UploadKey = (Place, Vec<String>, Vec<u8>);

#[derive(Debug)]
struct Upload {
    body: Vec<u8>,
    since: Instant,
}

/// Large requests that are not complete yet: at most one for each peer, target and Request-Tag.
#[derive(Debug)]
pub struct Uploads {
    max_bytes: usize,
    max_total_bytes: usize,
    total_bytes: usize,
    in_progress: HashMap<UploadKey, Upload>,
}

impl Uploads {
    /// Most uploads at a time, over all peers.
    const MAX_UPLOADS: usize = 1_024;

    /// None, with bounds for one and for all.
    pub fn new(max_bytes: usize, max_total_bytes: usize) -> Self {
        Self { max_bytes, max_total_bytes, total_bytes: 0, in_progress: HashMap::new() }
    }

    fn drop_upload(&mut self, key: &UploadKey) {
        if let Some(upload) = self.in_progress.remove(key) {
            self.total_bytes -= upload.body.len();
        }
    }

    fn take(&mut self, now: Instant, key: &UploadKey, block: Block, payload: &[u8]) -> Uploaded {
        let expired: Vec<UploadKey> = self
            .in_progress
            .iter()
            .filter(|(_, upload)| now.saturating_since(upload.since) >= EXCHANGE_LIFETIME)
            .map(|(key, _)| key.clone())
            .collect();
        for key in expired {
            self.drop_upload(&key);
        }
        if block.number == 0 {
            self.drop_upload(key);
        }
        let received = self.in_progress.get(key).map_or(0, |upload| upload.body.len());
        if block.offset() != received || !block.fits(payload.len()) {
            self.drop_upload(key);
            return Uploaded::Incomplete;
        }
        let too_large = received + payload.len() > self.max_bytes;
        let no_room = self.total_bytes + payload.len() > self.max_total_bytes
            || (received == 0 && self.in_progress.len() >= Self::MAX_UPLOADS);
        if too_large || no_room {
            self.drop_upload(key);
            return Uploaded::TooLarge;
        }
        let upload = self.in_progress.entry(key.clone()).or_insert_with(|| Upload { body: Vec::new(), since: now });
        upload.body.extend_from_slice(payload);
        upload.since = now;
        self.total_bytes += payload.len();
        if block.more {
            return Uploaded::Continue;
        }
        let body = self.in_progress.remove(key).map(|upload| upload.body).unwrap_or_default();
        self.total_bytes -= body.len();
        Uploaded::Complete(body)
    }
}

/// Whether a request is a Register, or the first block of one.
fn begins_registration(request: &Message) -> bool {
    if request.code != Code::POST || request.uri_path() != ["rd"] {
        return false;
    }
    request.block(OptionNumber::BLOCK1).ok().flatten().is_none_or(|block| block.number == 0)
}

impl Devices {
    /// Answers one request that was not seen before.
    pub(super) fn handle_request(&mut self, services: &mut Services, peer: Peer, request: &Message, bytes: usize) {
        if services.scope_of(peer) == Scope::Bootstrap {
            let message = request.clone();
            services.bootstrap_inbox.push_back(Inbound::Message { peer, message });
            return;
        }
        if begins_registration(request) && !services.admits_registration(peer) {
            self.answer_later(services, peer, request);
            return;
        }
        let Some(reply) = self.reply_to(services, peer, request, bytes) else {
            // Silence, also towards repetitions.
            self.answers.answered(peer, request.id, &[]);
            return;
        };
        services.count(Occurrence::Request(interface_word(request), reply.code.class()));
        self.answer(services, peer, request, reply);
    }

    fn reply_to(&mut self, services: &mut Services, peer: Peer, request: &Message, bytes: usize) -> Option<Reply> {
        if let Some(option) = request.first_unusable_option(&UNDERSTOOD) {
            tracing::debug!(peer = %peer.remote, option = option.0, "request with an unusable critical option");
            return (request.message_type == MessageType::Confirmable).then(|| Reply::now(Code::BAD_OPTION));
        }
        let Some(query) = request.uri_query() else { return Some(Reply::now(Code::BAD_REQUEST)) };
        let path = request.uri_path();
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        let Ok(block) = request.block_over(OptionNumber::BLOCK1, services.is_stream(peer)) else {
            return Some(Reply::now(Code::BAD_REQUEST));
        };
        let Some(block) = block else {
            return self.route(services, peer, request, &segments, &query, &request.payload, bytes);
        };
        let mut target = path.clone();
        target.extend(query.iter().cloned());
        let tag = request.option(OptionNumber::REQUEST_TAG).unwrap_or_default().to_vec();
        let key = (peer.place(), target, tag);
        let mut reply = match self.uploads.take(services.now, &key, block, &request.payload) {
            Uploaded::Continue => Reply::now(Code::CONTINUE),
            Uploaded::Incomplete => Reply::now(Code::REQUEST_ENTITY_INCOMPLETE),
            Uploaded::TooLarge => {
                services.count(Occurrence::BoundReached("max_transfer_bytes"));
                Reply::now(Code::REQUEST_ENTITY_TOO_LARGE)
            }
            Uploaded::Complete(body) => self.route(services, peer, request, &segments, &query, &body, bytes)?,
        };
        reply.options.push((OptionNumber::BLOCK1, block.encode()));
        Some(reply)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, taken apart by the only caller")]
    fn route(
        &mut self,
        services: &mut Services,
        peer: Peer,
        request: &Message,
        segments: &[&str],
        query: &[String],
        body: &[u8],
        bytes: usize,
    ) -> Option<Reply> {
        let format = request.content_format();
        match (request.code, segments) {
            (Code::POST, ["rd"]) => self.register(services, peer, query, format, body, bytes),
            (Code::POST, ["rd", location]) => Some(self.update(services, peer, location, query, format, body, bytes)),
            (Code::DELETE, ["rd", location]) => Some(self.deregister(services, peer, location, bytes)),
            (Code::POST, ["dp"]) => Some(self.receive_send(services, peer, format, body, bytes)),
            (Code::GET, [".well-known", "core"]) => Some(Reply {
                options: vec![(
                    OptionNumber::CONTENT_FORMAT,
                    crate::protocol::coap::message::encode_uint(u32::from(ContentFormat::LINK_FORMAT.0)),
                )],
                payload: b"</rd>;rt=\"core.rd\",</dp>".to_vec(),
                ..Reply::now(Code::CONTENT)
            }),
            (_, ["rd" | "dp"] | ["rd", _]) => Some(Reply::now(Code::METHOD_NOT_ALLOWED)),
            _ => {
                tracing::debug!(peer = %peer.remote, path = segments.join("/"), "request for a path that is not served");
                Some(Reply::now(Code::NOT_FOUND))
            }
        }
    }

    /// There is no room for what a request begins: its peer asks again.
    pub(in crate::gateway) fn answer_later(&mut self, services: &mut Services, peer: Peer, request: &Message) {
        if services.is_stream(peer) {
            self.answer(services, peer, request, Reply::now(Code::SERVICE_UNAVAILABLE));
        } else {
            // Nothing is said, and nothing kept: the repetition comes as new, when there may be room.
            self.answers.forget(peer, request.id);
        }
    }

    /// Answers a request, now or when it is durable.
    pub(in crate::gateway) fn answer(&mut self, services: &mut Services, peer: Peer, request: &Message, reply: Reply) {
        let confirmable = request.message_type == MessageType::Confirmable;
        let (message_type, id) = if confirmable {
            (MessageType::Acknowledgement, request.id)
        } else {
            use rand_core::Rng as _;
            (MessageType::NonConfirmable, services.random.next_u32() as u16)
        };
        let mut answer = Message::new(message_type, reply.code, id, request.token);
        answer.options = reply.options;
        answer.payload = reply.payload;
        let datagram = services.encode(peer, &answer);
        if reply.when_durable {
            services.journal.when_durable(Held::Answer { peer, message_id: request.id, datagram });
        } else {
            self.send_answer(services, peer, request.id, datagram);
        }
        // Behind the answer, since the journal keeps the order.
        if let Some(key) = reply.asked_next {
            services.journal.when_durable(Held::Answered(key));
        }
    }

    /// Sends an answer and keeps it for repetitions of its request.
    pub fn send_answer(&mut self, services: &mut Services, peer: Peer, message_id: u16, datagram: Vec<u8>) {
        self.answers.answered(peer, message_id, &datagram);
        if services.is_stream(peer) && !services.streams.is_message_of(peer, message_id) {
            return;
        }
        services.transmit(peer, datagram);
    }
}

fn interface_word(request: &Message) -> &'static str {
    let path = request.uri_path();
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    match (request.code, segments.as_slice()) {
        (Code::POST, ["rd"]) => "register",
        (Code::POST, ["rd", _]) => "update",
        (Code::DELETE, ["rd", _]) => "deregister",
        (Code::POST, ["dp"]) => "send",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> UploadKey {
        (Place::Address(0, std::net::SocketAddr::from(([127, 0, 0, number], 1))), vec!["rd".into()], Vec::new())
    }

    fn block(number: u32, more: bool) -> Block {
        Block { number, more, size_exponent: 0 }
    }

    #[test]
    fn rfc7959_2_5_blocks_in_order_become_one_body() {
        let mut uploads = Uploads::new(100, 100);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(0, true), &[1; 16]), Uploaded::Continue);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(1, true), &[2; 16]), Uploaded::Continue);
        let Uploaded::Complete(body) = uploads.take(Instant::ZERO, &key(1), block(2, false), &[3]) else { panic!() };
        assert_eq!((body.len(), uploads.total_bytes), (33, 0));
    }

    #[test]
    fn rfc7959_2_9_2_a_gap_or_a_lying_size_is_4_08() {
        let mut uploads = Uploads::new(100, 100);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(0, true), &[1; 16]), Uploaded::Continue);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(2, true), &[1; 16]), Uploaded::Incomplete);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(1, true), &[1; 16]), Uploaded::Incomplete);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(0, true), &[1; 15]), Uploaded::Incomplete);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(0, false), &[1; 17]), Uploaded::Incomplete);
        assert_eq!(uploads.total_bytes, 0);
    }

    #[test]
    fn rfc7959_2_9_3_bodies_beyond_a_bound_are_4_13_and_silent_ones_expire() {
        let mut uploads = Uploads::new(32, 40);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(0, true), &[1; 16]), Uploaded::Continue);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(1, true), &[1; 16]), Uploaded::Continue);
        assert_eq!(uploads.take(Instant::ZERO, &key(2), block(0, true), &[1; 16]), Uploaded::TooLarge);
        assert_eq!(uploads.take(Instant::ZERO, &key(1), block(2, true), &[1; 16]), Uploaded::TooLarge);
        assert_eq!(uploads.take(Instant::ZERO, &key(3), block(0, true), &[1; 16]), Uploaded::Continue);
        assert_eq!(uploads.take(Instant::from_secs(300), &key(4), block(0, true), &[1; 16]), Uploaded::Continue);
        assert_eq!(uploads.total_bytes, 16);
    }
}

//! Bootstrap-Pack (Core TS 1.2.2 section 6.1.7.3): a device of version 1.2 asks for everything at once.
//!
//! Such a session has the stages of any other but speaks only once: its request is answered when whoever has to know the
//! device does. Nobody knows what the device has, so that instances are chosen as for a device without Discover. There is
//! no Finish: the pack counts as delivered when its last block left.

use std::collections::HashMap;
use std::sync::Arc;

use super::exchanges::encode;
use super::serving::open;
use super::session::Task;
use super::{BootstrapServer, IDLE_TIME};
use crate::gateway::devices::Devices;
use crate::gateway::devices::requests::Reply;
use crate::gateway::services::Services;
use crate::gateway::vocabulary::{Peer, Place};
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message, encode_uint};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::ContentFormat;
use crate::protocol::lwm2m::bootstrap::parse_request;

/// Packs that are fetched block by block; the oldest go, and their devices ask anew.
pub const MAX_PACKS: usize = 256;

/// Formats of packs.
const FORMATS: [ContentFormat; 3] = [ContentFormat::SENML_CBOR, ContentFormat::SENML_JSON, ContentFormat::LWM2M_CBOR];

#[derive(Debug)]
struct Pack {
    payload: Arc<[u8]>,
    format: ContentFormat,
    made_at: Instant,
    /// The session to end when the last block leaves.
    session: u64,
}

/// Packs that are not fetched to the end.
#[derive(Debug, Default)]
pub(super) struct Packs {
    by_place: HashMap<Place, Pack>,
}

impl Packs {
    fn put(&mut self, place: Place, pack: Pack) {
        let now = pack.made_at;
        self.by_place.retain(|_, pack| now.saturating_since(pack.made_at) < IDLE_TIME);
        if self.by_place.len() >= MAX_PACKS
            && let Some(oldest) =
                self.by_place.iter().min_by_key(|(place, pack)| (pack.made_at, **place)).map(|(place, _)| *place)
        {
            self.by_place.remove(&oldest);
        }
        self.by_place.insert(place, pack);
    }
}

/// The block of a pack that a request asks for; whether it is the last.
fn block_of(pack: &Pack, wanted: Option<Block>) -> (Reply, bool) {
    let wanted = wanted.unwrap_or(Block { number: 0, more: false, size_exponent: Block::MAX_SIZE_EXPONENT });
    let start = wanted.offset();
    if start > 0 && start >= pack.payload.len() {
        return (Reply::now(Code::BAD_OPTION), false);
    }
    let end = (start + wanted.size()).min(pack.payload.len());
    let more = end < pack.payload.len();
    let mut options = vec![(OptionNumber::CONTENT_FORMAT, encode_uint(u32::from(pack.format.0)))];
    if more || start > 0 {
        options.push((OptionNumber::BLOCK2, Block { more, ..wanted }.encode()));
        let size = u32::try_from(pack.payload.len()).unwrap_or(u32::MAX);
        if start == 0 {
            options.push((OptionNumber::SIZE2, encode_uint(size)));
        }
    }
    let payload = pack.payload.get(start..end).unwrap_or_default().to_vec();
    (Reply { options, payload, ..Reply::now(Code::CONTENT) }, !more)
}

impl BootstrapServer {
    /// `GET /bspack`: a session begins, or goes on by another block. `None`: the answer follows.
    pub(super) fn ask_for_pack(
        &mut self,
        services: &mut Services,
        peer: Peer,
        request: &Message,
        query: &[String],
    ) -> (Option<Reply>, Option<u64>) {
        let now = |code| (Some(Reply::now(code)), None);
        let Ok(block) = request.block_over(OptionNumber::BLOCK2, services.is_stream(peer)) else {
            return now(Code::BAD_REQUEST);
        };
        if let Some(block) = block.filter(|block| block.number > 0) {
            let Some(pack) = self.packs.by_place.get(&peer.place()) else { return now(Code::NOT_FOUND) };
            let (reply, last) = block_of(pack, Some(block));
            let session = pack.session;
            if last {
                self.packs.by_place.remove(&peer.place());
                self.finished(services, session);
            }
            return (Some(reply), None);
        }
        let format = request.uint(OptionNumber::ACCEPT).map_or(Some(ContentFormat::SENML_CBOR), |accept| {
            FORMATS.into_iter().find(|format| u32::from(format.0) == accept)
        });
        let Some(format) = format else { return now(Code::NOT_ACCEPTABLE) };
        let asked = match parse_request(query) {
            Ok(asked) => asked,
            Err(refused) => return now(refused.code),
        };
        let (endpoint, entry) = match self.admit_for_pack(services, peer, &asked) {
            Ok(admitted) => admitted,
            Err(code) => return now(code),
        };
        if let Some(former) = self.by_endpoint.get(&endpoint).copied() {
            self.fail(services, former, "the device began another session");
        }
        let mut session = open(services, peer, endpoint, &asked);
        session.log.begin("request", "/bspack", services.wall(), services.now);
        session.log.end(services.now, None, format!("wants {format}"));
        session.version = Some(Version::V1_2);
        session.log.version = session.version.map(|version| version.to_string());
        session.preferred = Some(format);
        session.pack = Some(Box::new(request.clone()));
        let number = self.insert(services, session);
        if let Err(reason) = self.let_in(services, number, entry) {
            self.fail(services, number, &reason);
            return (None, None);
        }
        (None, Some(number))
    }

    /// The pack of a session leaves: everybody knows the device.
    pub(super) fn give_pack(&mut self, services: &mut Services, devices: &mut Devices, number: u64) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let Some(request) = session.pack.take() else { return };
        let peer = session.peer;
        let format = session.preferred.unwrap_or(ContentFormat::SENML_CBOR);
        let values: Vec<(Path, Value)> = session.plan.writes.iter().flat_map(|write| write.values.clone()).collect();
        let types = session.types(&services.model);
        session.log.begin("pack", "/", services.wall(), services.now);
        let payload = match encode(format, Path::ROOT, &values, &types) {
            Ok(payload) => payload,
            Err(error) => {
                session.pack = Some(request);
                self.fail(services, number, &format!("the pack cannot be written as {format}: {error}"));
                return;
            }
        };
        let pack = Pack { payload: payload.into(), format, made_at: services.now, session: number };
        let block = request.block_over(OptionNumber::BLOCK2, services.is_stream(peer)).ok().flatten();
        // What fits one message of the peer goes whole.
        let (whole, exponent) = services.body_capacity(peer);
        let most = Block { number: 0, more: false, size_exponent: exponent.unwrap_or(Block::MAX_SIZE_EXPONENT) };
        let wanted = block.or_else(|| (pack.payload.len() > whole).then_some(most));
        let (reply, last) = match wanted {
            Some(wanted) => block_of(&pack, Some(wanted)),
            None => (
                Reply {
                    options: vec![(OptionNumber::CONTENT_FORMAT, encode_uint(u32::from(format.0)))],
                    payload: pack.payload.to_vec(),
                    ..Reply::now(Code::CONTENT)
                },
                true,
            ),
        };
        session.log.end(services.now, Some(reply.code.to_string()), "");
        devices.answer(services, peer, &request, reply);
        if last {
            self.finished(services, number);
        } else {
            self.packs.put(peer.place(), pack);
        }
    }

    /// What a pack holds is known: nothing else is said to the device.
    pub(super) fn packed(&mut self, number: u64) {
        if let Some(session) = self.sessions.get_mut(&number).filter(|session| session.pack.is_some()) {
            session.tasks.retain(|task| !matches!(task, Task::Write(_) | Task::Read(_)));
        }
    }
}

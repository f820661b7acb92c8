//! What a misbehaving device does to answers that were right.

use crate::model::path::Path;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message, Token};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::ContentFormat;

use super::SimulatedDevice;

impl SimulatedDevice {
    /// Whether a request is acknowledged and never answered.
    pub(super) fn falls_silent_at(&self, method: Code) -> bool {
        let misbehaviour = &self.script.misbehaviour;
        let composite = matches!(method, Code::FETCH | Code::IPATCH);
        misbehaviour.acknowledges_and_falls_silent || composite && misbehaviour.acknowledges_composites_and_falls_silent
    }

    /// Names the format of a body, or another one, or none.
    pub(super) fn put_format(&self, message: &mut Message, format: ContentFormat) {
        if !self.script.misbehaviour.omits_content_format {
            let claimed = self.script.misbehaviour.claims_format.unwrap_or(format);
            message.push_uint(OptionNumber::CONTENT_FORMAT, u32::from(claimed.0));
        }
    }

    /// The path under which a value is shown.
    pub(super) fn shown_path(&self, path: Path) -> Path {
        if !self.script.misbehaviour.answers_for_next_instance {
            return path;
        }
        let mut ids = path.ids().to_vec();
        if let Some(instance) = ids.get_mut(1) {
            *instance = instance.saturating_add(1);
        }
        Path::from_ids(&ids).unwrap_or(path)
    }

    /// Spoils an answer that is about to leave.
    pub(super) fn distort(&self, answer: &mut Message) {
        let misbehaviour = &self.script.misbehaviour;
        if misbehaviour.answers_under_other_token {
            let mut bytes = answer.token.as_bytes().to_vec();
            match bytes.last_mut() {
                Some(last) => *last = !*last,
                None => bytes.push(1),
            }
            answer.token = Token::new(&bytes).unwrap_or_default();
        }
        if misbehaviour.answers_with_next_block {
            for (number, value) in &mut answer.options {
                let block = matches!(*number, OptionNumber::BLOCK1 | OptionNumber::BLOCK2);
                if let (true, Ok(block)) = (block, Block::decode(value)) {
                    let next = block.number.saturating_add(1).min(Block::MAX_NUMBER);
                    *value = Block { number: next, ..block }.encode();
                }
            }
        }
    }
}

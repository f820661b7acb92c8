//! SenML in CBOR (RFC 8428 section 6, content format 112).
//!
//! Read item by item without a tree of the whole pack; arrays and maps may leave their length open. Written with
//! definite lengths and the base name of the deepest path that all records share.

use minicbor::decode::Decoder;

use crate::model::path::Path;
use crate::model::value::Value;

use super::cbor::{self, Written};
use super::cbor_item::{Item, Remaining, expect_end, read_item};
use super::entry::{self, Entry};
use super::quirk::{self, Quirks};
use super::scalar::Wire;
use super::senml::Sink;
use super::senml_record::{Label, Record};
use super::{ContentError, timestamp};

/// Gives the records of a pack to `sink`.
pub(super) fn read<'p>(payload: &'p [u8], quirks: &mut Quirks, sink: Sink<'_, 'p>) -> Result<(), ContentError> {
    let mut decoder = Decoder::new(payload);
    let mut pack = Remaining::array(&mut decoder)?
        .ok_or_else(|| ContentError::malformed("SenML CBOR: a pack is an array of records"))?;
    while pack.more(&mut decoder)? {
        let at = decoder.position();
        let mut fields = Remaining::map(&mut decoder)?
            .ok_or_else(|| ContentError::malformed(format!("SenML CBOR at byte {at}: a record is a map")))?;
        let mut record = Record::default();
        while fields.more(&mut decoder)? {
            let label = label(read_item(&mut decoder)?, quirks)?;
            let field = read_item(&mut decoder)?;
            if let Some(label) = label {
                let field = field.into_scalar(quirks)?;
                record.set(label, field, Wire::SenmlCbor, quirks)?;
            }
        }
        sink(record, quirks)?;
    }
    expect_end(&decoder)
}

/// The label of a key; `None` if SenML does not define it.
fn label(key: Item<'_>, quirks: &mut Quirks) -> Result<Option<Label>, ContentError> {
    match key {
        Item::Unsigned(number) => Ok(i64::try_from(number).ok().and_then(Label::from_number)),
        Item::Negative(number) => Ok(i64::try_from(number).ok().and_then(|number| Label::from_number(-1 - number))),
        Item::Text(name) => {
            let label = Label::from_name(&name)?;
            if label.is_some_and(|label| label != Label::LinkValue) {
                quirks.note(quirk::SENML_TEXT_LABEL);
            }
            Ok(label)
        }
        _ => Err(ContentError::malformed("SenML CBOR: a label is neither a number nor text")),
    }
}

/// Writes a pack.
pub(super) fn encode(root: &str, entries: &[Entry<'_>]) -> Result<Vec<u8>, ContentError> {
    let parent = entry::common_parent(entries);
    let base_name = entry::base_name(root, parent);
    let times: Vec<Option<i64>> =
        entries.iter().map(|entry| entry.ts.map(timestamp::absolute_millis).transpose()).collect::<Result<_, _>>()?;
    cbor::written(|encoder| {
        encoder.array(entries.len() as u64)?;
        for (position, (entry, millis)) in entries.iter().zip(&times).enumerate() {
            let with_base = position == 0 && !base_name.is_empty();
            encoder.map(2 + u64::from(with_base) + u64::from(millis.is_some()))?;
            if with_base {
                encoder.i8(-2)?.str(&base_name)?;
            }
            encoder.u8(0)?.str(&entry::relative_name(parent, entry.path))?;
            if let Some(millis) = millis {
                encoder.u8(6)?;
                if millis % 1_000 == 0 {
                    encoder.i64(millis / 1_000)?;
                } else {
                    #[expect(clippy::cast_precision_loss, reason = "the time was bounded far below 2^53")]
                    encoder.f64(*millis as f64 / 1_000.0)?;
                }
            }
            let Some(value) = entry.value else {
                encoder.u8(2)?.null()?;
                continue;
            };
            match value {
                Value::String(_) | Value::CoreLink(_) => encoder.u8(3)?,
                Value::Boolean(_) => encoder.u8(4)?,
                Value::Opaque(_) => encoder.u8(8)?,
                Value::ObjectLink(..) => encoder.str("vlo")?,
                Value::Integer(_) | Value::UnsignedInteger(_) | Value::Float(_) | Value::Time(_) => encoder.u8(2)?,
            };
            cbor::write_value(encoder, value)?;
        }
        Written::Ok(())
    })
}

/// Writes a pack of names only.
pub(super) fn encode_paths(paths: &[Path], root: &str) -> Result<Vec<u8>, ContentError> {
    let root = entry::base_name(root, Path::ROOT);
    cbor::written(|encoder| {
        encoder.array(paths.len() as u64)?;
        for path in paths {
            encoder.map(1)?.u8(0)?.str(&format!("{root}{path}"))?;
        }
        Written::Ok(())
    })
}

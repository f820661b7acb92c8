//! From the value of a resource to the JSON that leaves: decode, extract, then scale, round, names and type.
//!
//! Everything here is total: a value that cannot be used becomes a sentence for the operator, never a wrong number.

mod cbor;
mod conversion;
mod decode;
mod structure;

pub(super) use conversion::{Conversion, Target};
pub(super) use decode::{DECODE_WORDS, Decode};

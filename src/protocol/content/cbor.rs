//! Single values in CBOR (Core TS 1.2.2 section 7.5, content format 60), and how values are written in CBOR at all.
//!
//! Times are written as plain integers, which every version of LwM2M reads; floats as singles where that is exact.

use std::convert::Infallible;

use minicbor::encode::{Encoder, Error};

use crate::model::report::Sample;
use crate::model::value::Value;

use super::cbor_item::decode_item;
use super::quirk::Quirks;
use super::scalar::{self, Wire};
use super::{ContentError, DecodeContext};

/// The outcome of writing into memory, which cannot fail but for what the encoder itself refuses.
pub(super) type Written = Result<(), Error<Infallible>>;

pub(super) fn decode(payload: &[u8], context: &DecodeContext<'_>, quirks: &mut Quirks) -> Result<Sample, ContentError> {
    let path = super::single_path(context)?;
    let scalar = decode_item(payload)?
        .into_scalar(quirks)?
        .ok_or_else(|| ContentError::malformed("CBOR: an array or a map is no value of a resource"))?;
    let value = scalar::typed(scalar, &path, Wire::Cbor, context.types, quirks)?;
    Ok(Sample { path, value, ts: None })
}

pub(super) fn encode(value: &Value) -> Result<Vec<u8>, ContentError> {
    written(|encoder| write_value(encoder, value))
}

/// The bytes that `write` writes.
pub(super) fn written(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) -> Result<Vec<u8>, ContentError> {
    let mut encoder = Encoder::new(Vec::new());
    write(&mut encoder).map_err(|error| ContentError::unfitting(format!("CBOR: {error}")))?;
    Ok(encoder.into_writer())
}

/// Writes one value; object links as text.
pub(super) fn write_value(encoder: &mut Encoder<Vec<u8>>, value: &Value) -> Written {
    match value {
        Value::String(text) | Value::CoreLink(text) => encoder.str(text)?,
        Value::Integer(number) | Value::Time(number) => encoder.i64(*number)?,
        Value::UnsignedInteger(number) => encoder.u64(*number)?,
        Value::Float(number) => {
            let single = *number as f32;
            if f64::from(single).to_bits() == number.to_bits() { encoder.f32(single)? } else { encoder.f64(*number)? }
        }
        Value::Boolean(flag) => encoder.bool(*flag)?,
        Value::Opaque(bytes) => encoder.bytes(bytes)?,
        Value::ObjectLink(object, instance) => encoder.str(&format!("{object}:{instance}"))?,
    };
    Ok(())
}

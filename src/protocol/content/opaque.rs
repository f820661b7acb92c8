//! Opaque values as they are (`application/octet-stream`, content format 42).

use crate::model::report::Sample;
use crate::model::value::{ResourceType, Value};

use super::quirk::{self, Quirks};
use super::{ContentError, DecodeContext, scalar};

pub(super) fn decode(payload: &[u8], context: &DecodeContext<'_>, quirks: &mut Quirks) -> Result<Sample, ContentError> {
    let path = super::single_path(context)?;
    let shape = context.types.shape(&path);
    if let Some(shape) = shape {
        scalar::note_multiplicity(&path, shape, quirks);
    }
    let mut text = || {
        quirks.note(quirk::BYTES_FOR_TEXT);
        String::from_utf8(payload.to_vec())
            .map_err(|_| ContentError::unfitting(format!("{path} is text, and the bytes are no UTF-8")))
    };
    let value = match shape.and_then(|shape| shape.resource_type) {
        Some(ResourceType::Opaque) | None => Value::Opaque(payload.to_vec()),
        Some(ResourceType::String) => Value::String(text()?),
        Some(ResourceType::CoreLink) => Value::CoreLink(text()?),
        Some(other) => {
            return Err(ContentError::unfitting(format!("{path} is of type {other}, and the payload is opaque")));
        }
    };
    Ok(Sample { path, value, ts: None })
}

pub(super) fn encode(value: &Value) -> Result<Vec<u8>, ContentError> {
    match value {
        Value::Opaque(bytes) => Ok(bytes.clone()),
        other => Err(ContentError::unfitting(format!("octet-stream carries no {}", other.resource_type()))),
    }
}

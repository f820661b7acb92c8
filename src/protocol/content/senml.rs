//! SenML packs (RFC 8428) whatever their representation: labels, base fields, times, names.
//!
//! Three steps, each usable alone: [`records`] reads a pack as it stands, [`Resolver`] applies base fields, and
//! [`decode`](super::decode), [`decode_changes`](super::decode_changes) and [`decode_paths`](super::decode_paths) make
//! LwM2M of it (Core TS 1.2.2 section 7.5). Packs are resolved while they are read; names are bounded by
//! [`MAX_NAME_BYTES`], so that a long base name cannot multiply.

use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::value::Value;

use super::quirk::{self, Quirks};
use super::scalar::{self, Scalar, Wire};
use super::senml_record::shortened;
pub use super::senml_record::{MAX_NAME_BYTES, MAX_VERSION, Record, Resolved, Resolver};
use super::{ContentError, DecodeContext, senml_cbor, senml_json, timestamp};

/// Takes the records of a pack one by one.
pub(super) type Sink<'s, 'p> = &'s mut dyn FnMut(Record<'p>, &mut Quirks) -> Result<(), ContentError>;

fn read<'p>(wire: Wire, payload: &'p [u8], quirks: &mut Quirks, sink: Sink<'_, 'p>) -> Result<(), ContentError> {
    match wire {
        Wire::SenmlCbor | Wire::Cbor => senml_cbor::read(payload, quirks, sink),
        Wire::SenmlJson | Wire::OmaJson => senml_json::read(payload, quirks, sink),
    }
}

/// The records of a pack as they stand, also of one whose names are no LwM2M paths.
///
/// # Errors
/// If the payload is no SenML pack.
pub fn records(wire: Wire, payload: &[u8]) -> Result<Vec<Record<'_>>, ContentError> {
    let mut records = Vec::new();
    read(wire, payload, &mut Quirks::default(), &mut |record, _| {
        records.push(record);
        Ok(())
    })?;
    Ok(records)
}

/// Gives every resolved record to `take`; records that only set base fields are left out where others follow.
fn each_resolved<'p>(
    wire: Wire,
    payload: &'p [u8],
    quirks: &mut Quirks,
    take: &mut dyn FnMut(Resolved<'p>, &mut Quirks) -> Result<(), ContentError>,
) -> Result<(), ContentError> {
    let mut base = Resolver::default();
    let mut waiting: Option<Resolved<'p>> = None;
    read(wire, payload, quirks, &mut |record, quirks| {
        if waiting.take().is_some() {
            quirks.note(quirk::SENML_BASE_ONLY);
        }
        let base_only = record.sets_only_base_fields();
        let resolved = base.resolve(record)?;
        if base_only {
            waiting = Some(resolved);
            return Ok(());
        }
        take(resolved, quirks)
    })?;
    // At the end it is a record like any other: a name without a value.
    waiting.map_or(Ok(()), |resolved| take(resolved, quirks))
}

/// The path of a name; absolute and numeric below the alternate root.
fn path_of(name: &str, root: &str, quirks: &mut Quirks) -> Result<Path, ContentError> {
    if name.is_empty() {
        return Err(ContentError::malformed("a record has no name"));
    }
    let root = root.trim_matches('/');
    let mut local = name;
    if !root.is_empty() {
        let below = name.strip_prefix('/').and_then(|name| name.strip_prefix(root));
        match below {
            Some("") => local = "/",
            Some(rest) if rest.starts_with('/') => local = rest,
            _ => quirks.note(quirk::SENML_NO_ROOT),
        }
    }
    local.parse().map_err(|error| ContentError::malformed(format!("name {} is no path: {error}", shortened(name))))
}

fn resource_of(name: &str, context: &DecodeContext<'_>, quirks: &mut Quirks) -> Result<Path, ContentError> {
    let path = path_of(name, context.root, quirks)?;
    if path.depth() < 3 {
        return Err(ContentError::malformed(format!("{path} has a value and is no resource")));
    }
    if !context.base.contains(&path) {
        return Err(ContentError::unfitting(format!("{path} lies outside {}", context.base)));
    }
    Ok(path)
}

/// The samples of a pack, one for each record, in order.
pub(super) fn decode(
    wire: Wire,
    payload: &[u8],
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Vec<Sample>, ContentError> {
    let mut samples = Vec::new();
    each_resolved(wire, payload, quirks, &mut |record, quirks| {
        samples.push(sample_of(wire, record, context, quirks)?);
        Ok(())
    })?;
    note_repetition(&samples, quirks);
    Ok(samples)
}

/// The samples of a pack whose names lie below several roots: each with the position of its context, which is the one
/// with the longest root that the name lies below, else the first.
pub(super) fn decode_by_root(
    wire: Wire,
    payload: &[u8],
    contexts: &[DecodeContext<'_>],
    quirks: &mut Quirks,
) -> Result<Vec<(usize, Sample)>, ContentError> {
    let mut samples = Vec::new();
    each_resolved(wire, payload, quirks, &mut |record, quirks| {
        let below = |root: &str| {
            let root = root.trim_matches('/');
            let rest = record.name.strip_prefix('/').and_then(|name| name.strip_prefix(root));
            !root.is_empty() && rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let named = contexts.iter().enumerate().filter(|(_, context)| below(context.root));
        let position = named.max_by_key(|(_, context)| context.root.len()).map_or(0, |(position, _)| position);
        let Some(context) = contexts.get(position) else { return Ok(()) };
        samples.push((position, sample_of(wire, record, context, quirks)?));
        Ok(())
    })?;
    Ok(samples)
}

fn sample_of(
    wire: Wire,
    record: Resolved<'_>,
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Sample, ContentError> {
    let path = resource_of(&record.name, context, quirks)?;
    let scalar = match record.value {
        Some(Scalar::Null) => return Err(ContentError::malformed(format!("{path} has the value null"))),
        Some(scalar) => scalar,
        None => return Err(ContentError::malformed(format!("the record of {path} has no value"))),
    };
    let value = scalar::typed(scalar, &path, wire, context.types, quirks)?;
    let ts = record.seconds.map(|seconds| timestamp::resolved(seconds, context.received)).transpose()?;
    Ok(Sample { path, value, ts })
}

fn note_repetition(samples: &[Sample], quirks: &mut Quirks) {
    if samples.len() < 2 {
        return;
    }
    let mut keys: Vec<_> = samples.iter().map(|sample| (sample.path, sample.ts)).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair.first() == pair.last()) {
        quirks.note(quirk::SENML_REPEATED);
    }
}

/// The changes of a patch pack: a value, or `None` where `v` is null.
pub(super) fn decode_changes(
    wire: Wire,
    payload: &[u8],
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Vec<(Path, Option<Value>)>, ContentError> {
    let mut changes = Vec::new();
    each_resolved(wire, payload, quirks, &mut |record, quirks| {
        let path = resource_of(&record.name, context, quirks)?;
        let value = match record.value {
            Some(Scalar::Null) => None,
            Some(scalar) => Some(scalar::typed(scalar, &path, wire, context.types, quirks)?),
            None => return Err(ContentError::malformed(format!("the record of {path} has no value"))),
        };
        changes.push((path, value));
        Ok(())
    })?;
    Ok(changes)
}

/// The paths of a fetch pack: names without values.
pub(super) fn decode_paths(wire: Wire, payload: &[u8], root: &str) -> Result<Vec<Path>, ContentError> {
    let mut paths = Vec::new();
    each_resolved(wire, payload, &mut Quirks::default(), &mut |record, quirks| {
        let path = path_of(&record.name, root, quirks)?;
        if record.value.is_some() {
            return Err(ContentError::malformed(format!("{path} has a value where only names belong")));
        }
        paths.push(path);
        Ok(())
    })?;
    Ok(paths)
}

#[cfg(test)]
#[path = "senml_tests.rs"]
mod tests;

//! LwM2M CBOR (Core TS 1.2.2 section 7.5.4, content format 11544): nested maps whose keys spell the path.
//!
//! A key is an identifier or an array of them; the keys along the nesting make the path, from the object on, whatever
//! the request path is. Behind a gateway the first key may begin with a prefix in text. [`entries`] reads this as it
//! stands, with prefixes and with instance 65,535 ("the client chooses"); the decoder proper refuses both.

use std::borrow::Cow;
use std::fmt;

use minicbor::decode::Decoder;
use minicbor::encode::Encoder;

use crate::model::path::{Path, RESERVED_ID};
use crate::model::report::Sample;
use crate::model::value::Value;

use super::cbor::{self, Written};
use super::cbor_item::{Item, Remaining, expect_end, read_item};
use super::entry::Entry;
use super::quirk::{self, Quirks};
use super::scalar::{self, Scalar, Wire};
use super::senml_record::shortened;
use super::{ContentError, DecodeContext};

/// Where in the tree a key or a value stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place<'p> {
    /// The prefix that a gateway gave the device behind it.
    pub prefix: Option<Cow<'p, str>>,
    /// At most four identifiers; 65,535 only as an object instance.
    pub ids: Vec<u16>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(prefix) = &self.prefix {
            write!(f, "/{prefix}")?;
        }
        self.ids.iter().try_for_each(|id| write!(f, "/{id}"))
    }
}

impl<'p> Place<'p> {
    fn extended(&self, key: Item<'p>) -> Result<Self, ContentError> {
        let mut place = self.clone();
        match key {
            Item::Array(parts) if parts.is_empty() => {
                return Err(ContentError::malformed("LwM2M CBOR: a key is an empty array"));
            }
            Item::Array(parts) => parts.into_iter().try_for_each(|part| place.push(part))?,
            part => place.push(part)?,
        }
        Ok(place)
    }

    fn push(&mut self, part: Item<'p>) -> Result<(), ContentError> {
        match part {
            Item::Unsigned(number) => {
                let id = u16::try_from(number).ok().filter(|id| *id != RESERVED_ID || self.ids.len() == 1);
                let id = id.ok_or_else(|| {
                    ContentError::malformed(format!("LwM2M CBOR: {number} below '{self}' is no identifier"))
                })?;
                if self.ids.len() >= 4 {
                    return Err(ContentError::malformed(format!("LwM2M CBOR: a path goes on below {self}")));
                }
                self.ids.push(id);
                Ok(())
            }
            Item::Text(prefix) if self.ids.is_empty() && self.prefix.is_none() => {
                self.prefix = Some(prefix);
                Ok(())
            }
            _ => Err(ContentError::malformed(format!("LwM2M CBOR: a key below '{self}' is no unsigned integer"))),
        }
    }
}

/// The values of a payload in their order, with their places.
///
/// # Errors
/// If the payload is cut off or no such map, a path is too short, too long or stands twice.
pub fn entries<'p>(payload: &'p [u8], quirks: &mut Quirks) -> Result<Vec<(Place<'p>, Scalar<'p>)>, ContentError> {
    let mut decoder = Decoder::new(payload);
    let mut found = Vec::new();
    let at_top =
        Remaining::map(&mut decoder)?.ok_or_else(|| ContentError::malformed("LwM2M CBOR: no map at the top"))?;
    let open = at_top.is_indefinite();
    let count = read_map(&mut decoder, at_top, &Place::default(), &mut found, quirks)?;
    expect_end(&decoder)?;
    match (count, open) {
        (0, false) => return Err(ContentError::malformed("LwM2M CBOR: the map at the top is empty")),
        (0, true) => quirks.note(quirk::EMPTY_MAP),
        _ => {}
    }
    let mut places: Vec<&Place<'_>> = found.iter().map(|(place, _)| place).collect();
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair.first() == pair.last()) {
        let place = pair.first().map(ToString::to_string).unwrap_or_default();
        return Err(ContentError::malformed(format!("LwM2M CBOR: {place} stands twice")));
    }
    Ok(found)
}

/// Reads the entries of a map below `above` and counts them. The nesting is bounded because every key lengthens the
/// place: by the prefix, once, or by one of four identifiers.
fn read_map<'p>(
    decoder: &mut Decoder<'p>,
    mut remaining: Remaining,
    above: &Place<'p>,
    found: &mut Vec<(Place<'p>, Scalar<'p>)>,
    quirks: &mut Quirks,
) -> Result<usize, ContentError> {
    let mut count: usize = 0;
    while remaining.more(decoder)? {
        count = count.saturating_add(1);
        let place = above.extended(read_item(decoder)?)?;
        if let Some(inner) = Remaining::map(decoder)? {
            read_map(decoder, inner, &place, found, quirks)?;
            continue;
        }
        let scalar = read_item(decoder)?
            .into_scalar(quirks)?
            .ok_or_else(|| ContentError::malformed(format!("LwM2M CBOR: {place} holds no value of a resource")))?;
        if place.ids.len() < 3 {
            return Err(ContentError::malformed(format!("LwM2M CBOR: {place} has a value and is no resource")));
        }
        found.push((place, scalar));
    }
    Ok(count)
}

fn path_of(place: &Place<'_>, context: &DecodeContext<'_>) -> Result<Path, ContentError> {
    if let Some(prefix) = &place.prefix
        && context.root.trim_matches('/') != prefix
    {
        let prefix = shortened(prefix);
        return Err(ContentError::unfitting(format!("{prefix} is a device behind a gateway, not this one")));
    }
    let path = Path::from_ids(&place.ids)
        .ok_or_else(|| ContentError::unfitting(format!("{place} leaves the object instance open")))?;
    if context.base.contains(&path) {
        return Ok(path);
    }
    Err(ContentError::unfitting(format!("{path} lies outside {}", context.base)))
}

pub(super) fn decode(
    payload: &[u8],
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Vec<Sample>, ContentError> {
    let mut samples = Vec::new();
    for (place, scalar) in entries(payload, quirks)? {
        let path = path_of(&place, context)?;
        let value = scalar::typed(scalar, &path, Wire::Cbor, context.types, quirks)?;
        samples.push(Sample { path, value, ts: None });
    }
    Ok(samples)
}

/// The changes of a writing payload: null deletes.
pub(super) fn decode_changes(
    payload: &[u8],
    context: &DecodeContext<'_>,
    quirks: &mut Quirks,
) -> Result<Vec<(Path, Option<Value>)>, ContentError> {
    let mut changes = Vec::new();
    for (place, scalar) in entries(payload, quirks)? {
        let path = path_of(&place, context)?;
        let value = match scalar {
            Scalar::Null => None,
            scalar => Some(scalar::typed(scalar, &path, Wire::Cbor, context.types, quirks)?),
        };
        changes.push((path, value));
    }
    Ok(changes)
}

/// Writes the map: what all paths share as one key, below it one level for each identifier, sorted.
pub(super) fn encode(base: Path, entries: &[Entry<'_>]) -> Result<Vec<u8>, ContentError> {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|entry| entry.path);
    let shared = match (sorted.first(), sorted.last()) {
        // In sorted order the first and the last share what all share.
        (Some(first), Some(last)) => {
            let depth = first.path.ids().iter().zip(last.path.ids()).take_while(|(a, b)| a == b).count();
            first.path.truncated(depth).unwrap_or(Path::ROOT)
        }
        _ => base,
    };
    if shared == Path::ROOT && sorted.is_empty() {
        return Err(ContentError::unfitting("LwM2M CBOR has no form for no values at all"));
    }
    if let Some(pair) = sorted.windows(2).find(|pair| holds_the_next(pair)) {
        let path = pair.first().map(|entry| entry.path).unwrap_or_default();
        return Err(ContentError::unfitting(format!("{path} has both a value and instances")));
    }
    cbor::written(|encoder| {
        match shared.ids() {
            [] => {}
            [id] => {
                encoder.map(1)?.u16(*id)?;
            }
            ids => {
                encoder.map(1)?.array(ids.len() as u64)?;
                for id in ids {
                    encoder.u16(*id)?;
                }
            }
        }
        write_below(encoder, shared.depth(), &sorted)
    })
}

fn holds_the_next(pair: &[Entry<'_>]) -> bool {
    matches!(pair, [first, second] if first.path.contains(&second.path))
}

/// Writes what stands below a path of `depth` identifiers that all `entries` share.
fn write_below(encoder: &mut Encoder<Vec<u8>>, depth: usize, entries: &[Entry<'_>]) -> Written {
    if let [only] = entries
        && only.path.depth() == depth
    {
        return match only.value {
            Some(value) => cbor::write_value(encoder, value),
            None => encoder.null().map(|_| ()),
        };
    }
    let groups = || entries.chunk_by(|a, b| a.path.ids().get(depth) == b.path.ids().get(depth));
    encoder.map(groups().count() as u64)?;
    for group in groups() {
        if let Some(id) = group.first().and_then(|entry| entry.path.ids().get(depth)) {
            encoder.u16(*id)?;
            write_below(encoder, depth.saturating_add(1), group)?;
        }
    }
    Ok(())
}

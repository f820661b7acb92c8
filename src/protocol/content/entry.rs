//! What is to be encoded, and the checks that all formats share.

use std::collections::BTreeSet;

use crate::model::path::Path;
use crate::model::time::WallTime;
use crate::model::value::Value;

use super::{ContentError, ContentFormat};

/// One value to encode.
#[derive(Clone, Copy)]
pub(super) struct Entry<'v> {
    pub(super) path: Path,
    /// `None` deletes the resource instance: null, which only patches have.
    pub(super) value: Option<&'v Value>,
    pub(super) ts: Option<WallTime>,
}

impl<'v> Entry<'v> {
    /// The value, for formats that have no null.
    pub(super) fn present(&self) -> Result<&'v Value, ContentError> {
        self.value.ok_or_else(|| ContentError::unfitting(format!("{}: this format has no null", self.path)))
    }
}

/// Refuses values that are no resources, lie outside `base`, or have a time or a repetition that the format cannot
/// express.
pub(super) fn check(format: ContentFormat, base: Path, entries: &[Entry<'_>]) -> Result<(), ContentError> {
    let carries_times = matches!(
        format.current(),
        ContentFormat::SENML_JSON
            | ContentFormat::SENML_CBOR
            | ContentFormat::SENML_ETCH_JSON
            | ContentFormat::SENML_ETCH_CBOR
            | ContentFormat::OMA_JSON
    );
    let mut seen = BTreeSet::new();
    for entry in entries {
        let path = entry.path;
        if path.depth() < 3 {
            return Err(ContentError::unfitting(format!("{path} is no resource and has no value")));
        }
        if !base.contains(&path) {
            return Err(ContentError::unfitting(format!("{path} lies outside {base}")));
        }
        if entry.ts.is_some() && !carries_times {
            return Err(ContentError::unfitting(format!("format {format} carries no times")));
        }
        if !seen.insert((path, entry.ts)) {
            return Err(ContentError::unfitting(format!("{path} stands twice")));
        }
    }
    Ok(())
}

/// The one value of a single-value format.
pub(super) fn single<'v>(base: Path, entries: &[Entry<'v>]) -> Result<&'v Value, ContentError> {
    match entries {
        [entry] if entry.path == base => entry.present(),
        _ => Err(ContentError::unfitting(format!("this format carries the value of {base} alone, and no more"))),
    }
}

/// The deepest path that contains all entries without being one of them; the root if there is none.
pub(super) fn common_parent(entries: &[Entry<'_>]) -> Path {
    let Some(first) = entries.first() else { return Path::ROOT };
    let shared = |a: &Path, b: &Path| a.ids().iter().zip(b.ids()).take_while(|(x, y)| x == y).count();
    let depth = entries.iter().map(|entry| shared(&first.path, &entry.path)).min().unwrap_or(0);
    let shortest = entries.iter().map(|entry| entry.path.depth()).min().unwrap_or(0);
    first.path.truncated(depth.min(shortest.saturating_sub(1))).unwrap_or(Path::ROOT)
}

/// The base name for names relative to `parent`: below the alternate root, empty if there is nothing to say.
pub(super) fn base_name(root: &str, parent: Path) -> String {
    let root = root.trim_matches('/');
    let slash = if root.is_empty() { "" } else { "/" };
    if parent == Path::ROOT { format!("{slash}{root}") } else { format!("{slash}{root}{parent}/") }
}

/// The name of `path` relative to `parent`, for example `6/0` for `/3/0/6/0` below `/3/0`; absolute below the root.
pub(super) fn relative_name(parent: Path, path: Path) -> String {
    let mut name = String::with_capacity(24);
    for id in path.ids().iter().skip(parent.depth()) {
        if !name.is_empty() || parent == Path::ROOT {
            name.push('/');
        }
        name.push_str(&id.to_string());
    }
    name
}

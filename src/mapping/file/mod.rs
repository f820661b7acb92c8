//! A mapping file as text: TOML tables with their places, checked key by key.
//!
//! The parser recovers from errors, so that one pass over a file tells all of them. What a key means is the business
//! of [`super::compile`].

pub(super) mod diagnostics;
pub(super) mod keys;
pub(super) mod section;

use toml::Spanned;
use toml::de::DeTable;

pub(super) use diagnostics::Diagnostics;
pub(super) use section::{At, Section};

/// Longest mapping file, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 1 << 20;

/// Most dots on one line. The parser bounds nested brackets, not dotted keys, and a key of thousands of parts would
/// exhaust the stack of whatever walks over it.
const MAX_DOTS_ON_A_LINE: usize = 128;

/// Parses the text of a file; syntax errors go to the diagnostics. `None` if there is nothing to look at.
pub(super) fn parse<'t>(text: &'t str, diagnostics: &mut Diagnostics) -> Option<Spanned<DeTable<'t>>> {
    if text.len() > MAX_FILE_BYTES {
        diagnostics.error_in_file(
            format!("the file has {} bytes, more than {MAX_FILE_BYTES}", text.len()),
            "split it into several files",
        );
        return None;
    }
    let dots_of = |line: &str| line.bytes().filter(|byte| *byte == b'.').count();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if dots_of(line) > MAX_DOTS_ON_A_LINE {
            diagnostics.error(offset, format!("more than {MAX_DOTS_ON_A_LINE} dots on one line"), "break the line");
            return None;
        }
        offset += line.len();
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        // The parser's messages may run over several lines; a problem is one line.
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        diagnostics.syntax_error(offset, message);
    }
    Some(table)
}

//! Pages under version control that a test writes: what it measured must be what stands there.

use std::path::Path;

/// Compares a page with its text of this run, or with `UPDATE_PAGES=1` rewrites it.
///
/// `tests` names the tests that write it, for the command in the message.
#[track_caller]
pub(crate) fn check_page(page: &str, text: &str, tests: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = written.lines().zip(text.lines()).find(|(old, new)| old != new);
    let how = format!("UPDATE_PAGES=1 cargo test --test main {tests}");
    assert!(written == text, "{page} is not what this run says; rewrite it with: {how}\n{difference:?}");
}

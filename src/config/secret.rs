//! Values that no log line, error or debug output may show.

use std::fmt;
use std::path::PathBuf;

/// A password, key or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A PEM file that was read with the configuration. Only its path is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PemFile {
    /// Where it was read.
    pub path: PathBuf,
    text: Secret,
}

impl PemFile {
    /// A file with its text.
    #[must_use]
    pub fn new(path: PathBuf, text: String) -> Self {
        Self { path, text: Secret::new(text) }
    }

    /// The text of the file.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }
}

impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PemFile").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_a_secret() {
        let secret = Secret::new("hunter2");
        let pem = PemFile::new("client.key".into(), "-----BEGIN hunter2".to_owned());
        let text = format!("{secret:?} {:?} {pem:?}", Some(&secret));
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("client.key"));
        assert_eq!(secret.expose(), "hunter2");
    }
}

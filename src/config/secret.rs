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

/// A private key in PEM, and where it was read.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PemFile),
    /// In an environment variable.
    Variable {
        /// Its name.
        name: String,
        /// The key.
        text: Secret,
    },
}

impl KeySource {
    /// Where it was read, in words.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => file.path.display().to_string(),
            Self::Variable { name, .. } => format!("the environment variable {name}"),
        }
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        match self {
            Self::File(file) => file.expose(),
            Self::Variable { text, .. } => text.expose(),
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySource({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_a_secret() {
        let secret = Secret::new("hunter2");
        let pem = PemFile::new("client.key".into(), "-----BEGIN hunter2".to_owned());
        let key = KeySource::Variable { name: "KEY".to_owned(), text: secret.clone() };
        let text = format!("{secret:?} {:?} {pem:?} {key:?}", Some(&secret));
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("client.key"));
        assert_eq!(secret.expose(), "hunter2");
    }
}

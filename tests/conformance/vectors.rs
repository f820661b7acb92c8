//! The wire vectors of `tests/fixtures/vectors.json`: small cases, each with its answer.

use serde_json::Value;

/// What has to become of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Validity {
    /// Is read as `decoded` says.
    Valid,
    /// Is refused.
    Malformed,
    /// Bends the standard, is met in the field, and is taken.
    Tolerate,
}

/// One case.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct Vector {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) validity: Validity,
    /// The input as text.
    pub(super) text: Option<String>,
    /// The input as bytes.
    pub(super) hex: Option<String>,
    /// What the reader knows besides the input.
    #[serde(default)]
    pub(super) context: Value,
    /// What the input means.
    #[serde(default)]
    pub(super) decoded: Value,
    /// `semantic`: well-formed, and refused by the layer above.
    pub(super) layer: Option<String>,
}

impl Vector {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let hex = self.hex.as_deref().expect("a vector of bytes");
        data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).expect("hexadecimal digits")
    }

    pub(super) fn text(&self) -> &str {
        self.text.as_deref().expect("a vector of text")
    }

    pub(super) fn is_semantic(&self) -> bool {
        self.layer.as_deref() == Some("semantic")
    }
}

/// All vectors.
pub(super) fn all() -> Vec<Vector> {
    serde_json::from_str(include_str!("../fixtures/vectors.json")).expect("the fixture is a list of vectors")
}

/// Fails with a sentence; the macro keeps checks one line long.
macro_rules! demand {
    ($condition:expr, $($arguments:tt)+) => {
        if !$condition {
            return Err(format!($($arguments)+));
        }
    };
}
pub(super) use demand;

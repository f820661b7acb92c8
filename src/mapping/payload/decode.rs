//! `decode`: what the bytes or text of a value hold.

use serde_json::Value as Json;

use super::cbor;
use super::structure::StructureFormat;
use crate::model::value::Value;

/// How a string or opaque value is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mapping) enum Decode {
    /// JSON text.
    Json,
    /// One CBOR item.
    Cbor,
    /// Bytes shown in hex.
    Hex,
    /// UTF-8 text.
    Utf8,
    /// A binary record.
    Structure(Box<StructureFormat>),
}

/// The words of `decode`.
pub(in crate::mapping) const DECODE_WORDS: [&str; 5] = ["json", "cbor", "hex", "utf8", "struct:<hI"];

impl Decode {
    /// Compiles the word.
    ///
    /// # Errors
    /// In words.
    pub(in crate::mapping) fn compile(text: &str) -> Result<Self, String> {
        Ok(match text {
            "json" => Self::Json,
            "cbor" => Self::Cbor,
            "hex" => Self::Hex,
            "utf8" => Self::Utf8,
            _ => match text.strip_prefix("struct:") {
                Some(format) => Self::Structure(Box::new(
                    StructureFormat::compile(format).map_err(|problem| format!("\"{text}\": {problem}"))?,
                )),
                None => return Err(format!("\"{text}\" is no way to decode")),
            },
        })
    }

    /// Decodes a value. A string stands for its text with `json` and `utf8`, else for the bytes that it writes in hex
    /// or base64, as some devices do.
    ///
    /// # Errors
    /// In words, if the value does not hold that.
    pub(in crate::mapping) fn decode(&self, value: &Value) -> Result<Json, String> {
        let decoded;
        let bytes: &[u8] = match (self, value) {
            (_, Value::Opaque(bytes)) => bytes,
            (Self::Json | Self::Utf8, Value::String(text) | Value::CoreLink(text)) => text.as_bytes(),
            (_, Value::String(text)) => {
                decoded = written_bytes(text).ok_or("the string is neither hex nor base64")?;
                &decoded
            }
            (_, other) => {
                return Err(format!("only strings and opaque values are decoded, this is {}", other.resource_type()));
            }
        };
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|error| format!("the value is no JSON: {error}")),
            Self::Cbor => cbor::decode(bytes),
            Self::Hex => Ok(data_encoding::HEXLOWER.encode(bytes).into()),
            Self::Utf8 => std::str::from_utf8(bytes).map(Json::from).map_err(|_| "the value is not UTF-8".to_owned()),
            Self::Structure(format) => format.decode(bytes),
        }
    }
}

fn written_bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .ok()
        .or_else(|| data_encoding::BASE64.decode(text.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decoded(word: &str, value: &Value) -> Result<Json, String> {
        Decode::compile(word).unwrap().decode(value)
    }

    #[test]
    fn bytes_and_strings_are_decoded() {
        let opaque = |bytes: &[u8]| Value::Opaque(bytes.to_vec());
        let string = |text: &str| Value::String(text.to_owned());
        assert_eq!(decoded("json", &opaque(b"{\"t\":1}")), Ok(json!({"t": 1})));
        assert_eq!(decoded("json", &string("[1]")), Ok(json!([1])));
        assert_eq!(decoded("cbor", &opaque(&[0x81, 0x01])), Ok(json!([1])));
        assert_eq!(decoded("cbor", &string("8101")), Ok(json!([1])));
        assert_eq!(decoded("hex", &opaque(&[0xAB, 1])), Ok(json!("ab01")));
        assert_eq!(decoded("utf8", &opaque(b"ok")), Ok(json!("ok")));
        assert_eq!(decoded("struct:<hB", &string("//8H")), Ok(json!([-1, 7])));
        assert_eq!(decoded("struct:<hB", &opaque(&[0xFF, 0xFF, 7])), Ok(json!([-1, 7])));
    }

    #[test]
    fn values_that_hold_something_else_say_so() {
        assert!(decoded("json", &Value::String("{".into())).unwrap_err().contains("no JSON"));
        assert!(decoded("utf8", &Value::Opaque(vec![0xFF])).unwrap_err().contains("UTF-8"));
        assert!(decoded("cbor", &Value::String("hello!".into())).unwrap_err().contains("base64"));
        assert!(decoded("json", &Value::Integer(1)).unwrap_err().contains("integer"));
        assert!(Decode::compile("xml").is_err() && Decode::compile("struct:h").is_err());
    }
}

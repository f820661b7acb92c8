//! The words that name how a payload bent the standard and was accepted all the same.
//!
//! They are counted and shown to operators, so they are fixed: a word may be added, never changed.

/// TLV: a number, boolean, time or link written as decimal text.
pub const TLV_ASCII: &str = "tlv_ascii";
/// TLV: a time in milliseconds instead of seconds.
pub const TLV_MILLISECONDS: &str = "tlv_milliseconds";
/// TLV: a single value under another identifier than the one asked for; the path that was asked for counts.
pub const TLV_OTHER_ID: &str = "tlv_other_id";
/// TLV: the answer for an object names no instance; taken for instance 0.
pub const TLV_NO_INSTANCE: &str = "tlv_no_instance";
/// TLV: wrapped in levels above the one that was asked for.
pub const TLV_WRAPPED: &str = "tlv_wrapped";
/// TLV: a resource where a resource instance was asked for, or the other way round.
pub const TLV_OTHER_LEVEL: &str = "tlv_other_level";
/// A multiple-instance resource with a value of its own, or instances of a single-instance resource.
pub const MULTIPLICITY: &str = "multiplicity";
/// A boolean sent as the number 0 or 1.
pub const NUMBER_FOR_BOOLEAN: &str = "number_for_boolean";
/// A number sent as a boolean.
pub const BOOLEAN_FOR_NUMBER: &str = "boolean_for_number";
/// An integer sent as a float without a fraction, or a time sent as a float, whose fraction is cut off.
pub const FLOAT_FOR_INTEGER: &str = "float_for_integer";
/// CBOR: a float sent as an integer.
pub const INTEGER_FOR_FLOAT: &str = "integer_for_float";
/// A number sent as text.
pub const TEXT_FOR_NUMBER: &str = "text_for_number";
/// A time sent as date text where seconds were expected.
pub const TEXT_FOR_TIME: &str = "text_for_time";
/// Bytes sent as text.
pub const TEXT_FOR_OPAQUE: &str = "text_for_opaque";
/// SenML: an object link sent as plain text.
pub const TEXT_FOR_LINK: &str = "text_for_link";
/// Text sent as a number or a boolean.
pub const NUMBER_FOR_TEXT: &str = "number_for_text";
/// Text sent as an object link.
pub const LINK_FOR_TEXT: &str = "link_for_text";
/// Text sent as bytes.
pub const BYTES_FOR_TEXT: &str = "bytes_for_text";
/// Base64 in another alphabet or padding than the format prescribes.
pub const BASE64_VARIANT: &str = "base64_variant";
/// The null link written in hexadecimal.
pub const HEXADECIMAL_NULL_LINK: &str = "hexadecimal_null_link";
/// SenML: a record that only sets base fields.
pub const SENML_BASE_ONLY: &str = "senml_base_only";
/// SenML CBOR: a label as text where a number is prescribed.
pub const SENML_TEXT_LABEL: &str = "senml_text_label";
/// SenML: the same path at the same time twice; both samples are kept.
pub const SENML_REPEATED: &str = "senml_repeated";
/// SenML: a name without the alternate root that the device registered.
pub const SENML_NO_ROOT: &str = "senml_no_root";
/// OMA JSON: a base name that lacks the slash before the names.
pub const JSON_NO_SLASH: &str = "json_no_slash";
/// CBOR: a tag that means nothing here.
pub const CBOR_TAG: &str = "cbor_tag";
/// LwM2M CBOR: an empty map at the top.
pub const EMPTY_MAP: &str = "empty_map";

/// Each word once, in order of appearance: a payload of thousands of bent values yields one word.
#[derive(Debug, Default)]
pub struct Quirks {
    words: Vec<&'static str>,
}

impl Quirks {
    /// Adds a word if it is new.
    pub fn note(&mut self, word: &'static str) {
        if !self.words.contains(&word) {
            self.words.push(word);
        }
    }

    /// The words.
    #[must_use]
    pub fn into_words(self) -> Vec<&'static str> {
        self.words
    }
}

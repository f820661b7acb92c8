//! Binary records in the notation of Python's `struct`: `<hI`, `>2B4xf`.
//!
//! The first character is the byte order, `<` little or `>` (also `!`) big; it may be left out when all fields are
//! single bytes. Fields are packed. A number before a field repeats it; before `s` it is the length of a text.

use serde_json::Value as Json;

/// Most fields of a record.
const MAX_FIELDS: usize = 1_024;

/// Most bytes of a record.
const MAX_BYTES: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Padding(usize),
    Boolean,
    Signed(usize),
    Unsigned(usize),
    Float(usize),
    Text(usize),
}

impl Field {
    fn size(self) -> usize {
        match self {
            Self::Boolean => 1,
            Self::Padding(size) | Self::Signed(size) | Self::Unsigned(size) | Self::Float(size) | Self::Text(size) => {
                size
            }
        }
    }
}

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mapping) struct StructureFormat {
    little_endian: bool,
    fields: Vec<Field>,
    size: usize,
}

impl StructureFormat {
    /// Compiles a format.
    ///
    /// # Errors
    /// In words, naming the character.
    pub(super) fn compile(format: &str) -> Result<Self, String> {
        let (little_endian, rest) = match format.split_at_checked(1) {
            Some(("<", rest)) => (Some(true), rest),
            Some((">" | "!", rest)) => (Some(false), rest),
            _ => (None, format),
        };
        let mut fields = Vec::new();
        let mut size = 0_usize;
        let mut count: Option<usize> = None;
        for code in rest.chars() {
            if let Some(digit) = code.to_digit(10) {
                let number = count.unwrap_or(0) * 10 + digit as usize;
                if number > MAX_BYTES {
                    return Err(format!("a count of {number} is more than {MAX_BYTES}"));
                }
                count = Some(number);
                continue;
            }
            let repeat = count.take().unwrap_or(1);
            let (field, times) = match code {
                'x' => (Field::Padding(repeat), 1),
                's' => (Field::Text(repeat), 1),
                '?' => (Field::Boolean, repeat),
                'b' => (Field::Signed(1), repeat),
                'B' => (Field::Unsigned(1), repeat),
                'h' => (Field::Signed(2), repeat),
                'H' => (Field::Unsigned(2), repeat),
                'i' | 'l' => (Field::Signed(4), repeat),
                'I' | 'L' => (Field::Unsigned(4), repeat),
                'q' => (Field::Signed(8), repeat),
                'Q' => (Field::Unsigned(8), repeat),
                'f' => (Field::Float(4), repeat),
                'd' => (Field::Float(8), repeat),
                _ => return Err(format!("'{code}' is no field; fields are b B h H i I q Q f d ? s x")),
            };
            if little_endian.is_none() && !matches!(field, Field::Padding(_) | Field::Text(_)) && field.size() > 1 {
                return Err(format!("'{code}' needs a byte order; begin with < (little endian) or > (big endian)"));
            }
            size = size.saturating_add(field.size().saturating_mul(times));
            if size > MAX_BYTES || fields.len().saturating_add(times) > MAX_FIELDS {
                return Err(format!("the record is longer than {MAX_FIELDS} fields or {MAX_BYTES} bytes"));
            }
            fields.extend(std::iter::repeat_n(field, times));
        }
        if count.is_some() {
            return Err("the last number stands before no field".to_owned());
        }
        if !fields.iter().any(|field| !matches!(field, Field::Padding(_))) {
            return Err("there is no field".to_owned());
        }
        Ok(Self { little_endian: little_endian.unwrap_or(true), fields, size })
    }

    /// Decodes a record: one field alone is its value, several are an array.
    ///
    /// # Errors
    /// In words, if the length differs, a text is not UTF-8 or a number not finite.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Json, String> {
        if bytes.len() != self.size {
            return Err(format!("the payload has {} bytes, the struct format needs {}", bytes.len(), self.size));
        }
        let mut rest = bytes;
        let mut values = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let Some((part, tail)) = rest.split_at_checked(field.size()) else {
                return Err("the payload ends early".to_owned());
            };
            rest = tail;
            values.push(match field {
                Field::Padding(_) => continue,
                Field::Boolean => part.iter().any(|byte| *byte != 0).into(),
                Field::Unsigned(_) => self.unsigned(part).into(),
                Field::Signed(size) => {
                    // Moves the sign bit to the top and back, which extends it.
                    let shift = 64_u32.saturating_sub(8 * u32::try_from(*size).unwrap_or(8));
                    ((self.unsigned(part) << shift).cast_signed() >> shift).into()
                }
                Field::Float(size) => {
                    let bits = self.unsigned(part);
                    let number = if *size == 4 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) };
                    serde_json::Number::from_f64(number).ok_or("a number of the struct is not finite")?.into()
                }
                Field::Text(_) => {
                    let text = std::str::from_utf8(part).map_err(|_| "a text of the struct is not UTF-8")?;
                    // Devices pad texts with zeros.
                    text.trim_end_matches('\0').into()
                }
            });
        }
        match <[Json; 1]>::try_from(values) {
            Ok([single]) => Ok(single),
            Err(several) => Ok(several.into()),
        }
    }

    fn unsigned(&self, bytes: &[u8]) -> u64 {
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.little_endian { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decoded(format: &str, bytes: &[u8]) -> Json {
        StructureFormat::compile(format).unwrap().decode(bytes).unwrap()
    }

    #[test]
    fn fields_are_read_in_both_byte_orders() {
        assert_eq!(decoded("<hI", &[0x18, 0xFC, 1, 0, 0, 0]), json!([-1000, 1]));
        assert_eq!(decoded(">hI", &[0xFC, 0x18, 0, 0, 0, 1]), json!([-1000, 1]));
        assert_eq!(decoded("<q", &[0xFF; 8]), json!(-1));
        assert_eq!(decoded("<Q", &[0xFF; 8]), json!(u64::MAX));
        assert_eq!(decoded("<f", &1.5_f32.to_le_bytes()), json!(1.5));
        assert_eq!(decoded(">d", &(-2.25_f64).to_be_bytes()), json!(-2.25));
    }

    #[test]
    fn counts_repeat_padding_is_skipped_and_single_bytes_need_no_order() {
        assert_eq!(decoded("2B2xb?", &[1, 2, 9, 9, 0xFF, 1]), json!([1, 2, -1, true]));
        assert_eq!(decoded("4sB", b"ab\0\0\x07"), json!(["ab", 7]));
        assert_eq!(decoded("B", &[200]), json!(200));
    }

    #[test]
    fn formats_and_payloads_that_do_not_fit_say_why() {
        for (format, why) in [
            ("", "no field"),
            ("<", "no field"),
            ("4x", "no field"),
            ("h", "byte order"),
            ("<k", "'k'"),
            ("<2", "no field"),
            ("<99999B", "more than"),
            ("<2000B", "longer"),
        ] {
            let error = StructureFormat::compile(format).unwrap_err();
            assert!(error.contains(why), "{format}: {error}");
        }
        let format = StructureFormat::compile("<f").unwrap();
        assert!(format.decode(&[0; 3]).unwrap_err().contains("3 bytes"));
        assert!(format.decode(&f32::NAN.to_le_bytes()).unwrap_err().contains("finite"));
    }
}

//! CBOR data items as a small tree (RFC 8949), and the scalars that the formats take from them.
//!
//! Strings borrow from the payload unless they came in chunks. Nesting is bounded by [`MAX_DEPTH`], and a length that
//! the payload only claims allocates nothing: items are read one by one.

use std::borrow::Cow;

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error};

use super::ContentError;
use super::quirk::{self, Quirks};
use super::scalar::{Number, Scalar};
use super::timestamp;

/// Arrays, maps and tags within one another; no format here needs more than six.
pub const MAX_DEPTH: usize = 16;

/// The tag that only says "this is CBOR" (RFC 8949 section 3.4.6).
const SELF_DESCRIBED: u64 = 55_799;

/// A data item.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'p> {
    /// Major type 0.
    Unsigned(u64),
    /// Major type 1: the number is −1 − this.
    Negative(u64),
    /// Major type 2.
    Bytes(Cow<'p, [u8]>),
    /// Major type 3.
    Text(Cow<'p, str>),
    /// Major type 4.
    Array(Vec<Item<'p>>),
    /// Major type 5, in the order of the payload.
    Map(Vec<(Item<'p>, Item<'p>)>),
    /// Major type 6.
    Tag(u64, Box<Item<'p>>),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`.
    Null,
    /// `undefined`.
    Undefined,
    /// A simple value without a meaning of its own.
    Simple(u8),
    /// A half, single or double.
    Float(f64),
}

/// Decodes one data item that fills the payload.
///
/// # Errors
/// If the payload is cut off, breaks CBOR, nests deeper than [`MAX_DEPTH`], or goes on after the item.
pub fn decode_item(payload: &[u8]) -> Result<Item<'_>, ContentError> {
    let mut decoder = Decoder::new(payload);
    let item = read_item(&mut decoder)?;
    expect_end(&decoder)?;
    Ok(item)
}

/// Reads the next data item.
pub(super) fn read_item<'p>(decoder: &mut Decoder<'p>) -> Result<Item<'p>, ContentError> {
    read_nested(decoder, MAX_DEPTH)
}

/// Refuses bytes after the last item.
pub(super) fn expect_end(decoder: &Decoder<'_>) -> Result<(), ContentError> {
    if decoder.position() == decoder.input().len() {
        return Ok(());
    }
    Err(ContentError::malformed(format!("CBOR at byte {}: bytes after the last item", decoder.position())))
}

/// Says where and how the decoder stopped.
pub(super) fn broken(decoder: &Decoder<'_>, error: &Error) -> ContentError {
    if error.is_end_of_input() {
        return ContentError::malformed(format!("CBOR is cut off after {} bytes", decoder.input().len()));
    }
    let position = error.position().unwrap_or_else(|| decoder.position());
    ContentError::malformed(format!("CBOR at byte {position}: {error}"))
}

/// Counts the items of an array or map whose head was read: a number of them, or all up to a break.
pub(super) struct Remaining(Option<u64>);

impl Remaining {
    /// Reads the head of an array; `None` if the next item is no array.
    pub(super) fn array(decoder: &mut Decoder<'_>) -> Result<Option<Self>, ContentError> {
        match kind(decoder)? {
            Type::Array | Type::ArrayIndef => {
                let length = decoder.array().map_err(|error| broken(decoder, &error))?;
                Ok(Some(Self(length)))
            }
            _ => Ok(None),
        }
    }

    /// Reads the head of a map; `None` if the next item is no map.
    pub(super) fn map(decoder: &mut Decoder<'_>) -> Result<Option<Self>, ContentError> {
        match kind(decoder)? {
            Type::Map | Type::MapIndef => {
                let length = decoder.map().map_err(|error| broken(decoder, &error))?;
                Ok(Some(Self(length)))
            }
            _ => Ok(None),
        }
    }

    /// Whether the length was left open.
    pub(super) const fn is_indefinite(&self) -> bool {
        self.0.is_none()
    }

    /// Whether another item follows; consumes the break.
    pub(super) fn more(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, ContentError> {
        match &mut self.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if kind(decoder)? == Type::Break => {
                decoder.set_position(decoder.position().saturating_add(1));
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

fn kind(decoder: &Decoder<'_>) -> Result<Type, ContentError> {
    decoder.datatype().map_err(|error| broken(decoder, &error))
}

fn read_nested<'p>(decoder: &mut Decoder<'p>, depth: usize) -> Result<Item<'p>, ContentError> {
    let at = decoder.position();
    let deeper = || {
        depth
            .checked_sub(1)
            .ok_or_else(|| ContentError::malformed(format!("CBOR at byte {at}: more than {MAX_DEPTH} items nested")))
    };
    match kind(decoder)? {
        Type::Array | Type::ArrayIndef => {
            let depth = deeper()?;
            let mut items = Vec::new();
            if let Some(mut remaining) = Remaining::array(decoder)? {
                while remaining.more(decoder)? {
                    items.push(read_nested(decoder, depth)?);
                }
            }
            Ok(Item::Array(items))
        }
        Type::Map | Type::MapIndef => {
            let depth = deeper()?;
            let mut entries = Vec::new();
            if let Some(mut remaining) = Remaining::map(decoder)? {
                while remaining.more(decoder)? {
                    let key = read_nested(decoder, depth)?;
                    entries.push((key, read_nested(decoder, depth)?));
                }
            }
            Ok(Item::Map(entries))
        }
        Type::Tag => {
            let depth = deeper()?;
            let tag = decoder.tag().map_err(|error| broken(decoder, &error))?;
            Ok(Item::Tag(tag.as_u64(), Box::new(read_nested(decoder, depth)?)))
        }
        other => read_leaf(decoder, other).map_err(|error| broken(decoder, &error)),
    }
}

fn read_leaf<'p>(decoder: &mut Decoder<'p>, kind: Type) -> Result<Item<'p>, Error> {
    Ok(match kind {
        Type::Bool => Item::Boolean(decoder.bool()?),
        Type::Null => {
            decoder.null()?;
            Item::Null
        }
        Type::Undefined => {
            decoder.undefined()?;
            Item::Undefined
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Item::Unsigned(decoder.u64()?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => negative(decoder)?,
        Type::F16 => Item::Float(f64::from(decoder.f16()?)),
        Type::F32 => Item::Float(f64::from(decoder.f32()?)),
        Type::F64 => Item::Float(decoder.f64()?),
        Type::Simple => {
            let at = decoder.position();
            let short = decoder.input().get(at).is_some_and(|byte| *byte != 0xf8);
            let value = decoder.simple()?;
            // RFC 8949 section 3.3: two bytes are for values from 32 on.
            if !short && value < 32 {
                return Err(Error::message("simple value below 32 in two bytes").at(at));
            }
            Item::Simple(value)
        }
        Type::Bytes => Item::Bytes(Cow::Borrowed(decoder.bytes()?)),
        Type::String => Item::Text(Cow::Borrowed(decoder.str()?)),
        Type::BytesIndef => {
            let mut all = Vec::new();
            for chunk in decoder.bytes_iter()? {
                all.extend_from_slice(chunk?);
            }
            Item::Bytes(Cow::Owned(all))
        }
        Type::StringIndef => {
            let mut all = String::new();
            for chunk in decoder.str_iter()? {
                all.push_str(chunk?);
            }
            Item::Text(Cow::Owned(all))
        }
        other => return Err(Error::type_mismatch(other).at(decoder.position())),
    })
}

fn negative<'p>(decoder: &mut Decoder<'p>) -> Result<Item<'p>, Error> {
    let number = i128::from(decoder.int()?);
    // An integer of major type 1 is -1 - n for an n of 64 bits; others do not come here.
    Ok(u64::try_from(-1 - number).map_or(Item::Unsigned(0), Item::Negative))
}

impl<'p> Item<'p> {
    /// The scalar that this item is: numbers, tagged times and decimal fractions included; `None` for arrays, maps,
    /// `undefined` and simple values.
    ///
    /// # Errors
    /// If a tag for dates, times or fractions holds something else.
    pub(super) fn into_scalar(self, quirks: &mut Quirks) -> Result<Option<Scalar<'p>>, ContentError> {
        Ok(Some(match self {
            Self::Unsigned(number) => Scalar::Number(Number::from_unsigned(number)),
            Self::Negative(number) => Scalar::Number(from_negative(number)),
            Self::Bytes(bytes) => Scalar::Bytes(bytes),
            Self::Text(text) => Scalar::Text(text),
            Self::Boolean(flag) => Scalar::Boolean(flag),
            Self::Null => Scalar::Null,
            Self::Float(number) => Scalar::Number(Number::Float(number)),
            Self::Tag(0, content) => match *content {
                Self::Text(text) => Scalar::Time(
                    timestamp::parse_rfc3339(&text)
                        .ok_or_else(|| ContentError::malformed("CBOR tag 0 holds no RFC 3339 date-time"))?,
                ),
                _ => return Err(ContentError::malformed("CBOR tag 0 holds no text")),
            },
            Self::Tag(1, content) => Scalar::Time(epoch(&content)?),
            Self::Tag(4, content) => Scalar::Number(Number::Float(decimal_fraction(*content)?)),
            Self::Tag(SELF_DESCRIBED, content) => return content.into_scalar(quirks),
            Self::Tag(_, content) => {
                quirks.note(quirk::CBOR_TAG);
                return content.into_scalar(quirks);
            }
            Self::Array(_) | Self::Map(_) | Self::Undefined | Self::Simple(_) => return Ok(None),
        }))
    }
}

fn from_negative(number: u64) -> Number {
    i64::try_from(-1 - i128::from(number))
        .map_or_else(|_| Number::Float(-1.0 - Number::Unsigned(number).as_f64()), Number::Signed)
}

/// Seconds of tag 1; a fraction is cut off.
fn epoch(content: &Item<'_>) -> Result<i64, ContentError> {
    let seconds = match content {
        Item::Unsigned(number) => Number::from_unsigned(*number),
        Item::Negative(number) => from_negative(*number),
        Item::Float(number) => Number::Float(number.floor()),
        _ => return Err(ContentError::malformed("CBOR tag 1 holds no number")),
    };
    match seconds {
        Number::Signed(seconds) => Ok(seconds),
        // Beyond 2^53 a double names no second any more.
        Number::Float(seconds) if seconds.abs() <= 9_007_199_254_740_992.0 => Ok(seconds as i64),
        _ => Err(ContentError::malformed("CBOR tag 1 holds a time out of range")),
    }
}

/// The number of tag 4: `[exponent of ten, mantissa]` (RFC 8949 section 3.4.4).
fn decimal_fraction(content: Item<'_>) -> Result<f64, ContentError> {
    let integer = |item: &Item<'_>| match item {
        Item::Unsigned(number) => Some(i128::from(*number)),
        Item::Negative(number) => Some(-1 - i128::from(*number)),
        _ => None,
    };
    let parts = match content {
        Item::Array(items) => match items.as_slice() {
            [exponent, mantissa] => integer(exponent).zip(integer(mantissa)),
            _ => None,
        },
        _ => None,
    };
    let (exponent, mantissa) =
        parts.ok_or_else(|| ContentError::malformed("CBOR tag 4 holds no exponent and mantissa"))?;
    // The decimal parser rounds correctly, which multiplying by a power of ten would not.
    let number: f64 = format!("{mantissa}e{exponent}").parse().unwrap_or(f64::NAN);
    if number.is_finite() { Ok(number) } else { Err(ContentError::malformed("CBOR tag 4 holds a number out of range")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    #[test]
    fn rfc8949_appendix_a_items_are_read() {
        let text = |text: &'static str| Item::Text(Cow::Borrowed(text));
        for (hex, item) in [
            ("1bffffffffffffffff", Item::Unsigned(u64::MAX)),
            ("3bffffffffffffffff", Item::Negative(u64::MAX)),
            ("3903e7", Item::Negative(999)),
            ("f97e00", Item::Float(f64::NAN)),
            ("f9c400", Item::Float(-4.0)),
            ("fa7f7fffff", Item::Float(f64::from(f32::MAX))),
            ("f7", Item::Undefined),
            ("f0", Item::Simple(16)),
            ("f8ff", Item::Simple(255)),
            ("5f42010243030405ff", Item::Bytes(vec![1, 2, 3, 4, 5].into())),
            ("7f657374726561646d696e67ff", text("streaming")),
            (
                "9f018202039f0405ffff",
                Item::Array(vec![
                    Item::Unsigned(1),
                    Item::Array(vec![Item::Unsigned(2), Item::Unsigned(3)]),
                    Item::Array(vec![Item::Unsigned(4), Item::Unsigned(5)]),
                ]),
            ),
            (
                "bf61610161629f0203ffff",
                Item::Map(vec![
                    (text("a"), Item::Unsigned(1)),
                    (text("b"), Item::Array(vec![Item::Unsigned(2), Item::Unsigned(3)])),
                ]),
            ),
        ] {
            let payload = bytes(hex);
            let read = decode_item(&payload).unwrap();
            match (&read, &item) {
                (Item::Float(a), Item::Float(b)) if a.is_nan() && b.is_nan() => {}
                _ => assert_eq!(read, item, "{hex}"),
            }
        }
    }

    #[test]
    fn broken_items_are_refused() {
        for hex in [
            "",
            "ff",
            "1c",
            "5c",
            "7d",
            "9e",
            "bf01ff",
            "a1",
            "81",
            "5f",
            "5f4101",
            "7f6161",
            "5f5f4101ffff",
            "c0",
            "f8",
            "f800",
            "f81f",
            "f818",
            "fe",
            "62c328",
            "9fa1ff",
            "df00",
            "3f",
        ] {
            assert!(decode_item(&bytes(hex)).is_err(), "{hex}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |count: usize| [vec![0x81; count], vec![0]].concat();
        assert!(decode_item(&nested(MAX_DEPTH)).is_ok());
        assert!(decode_item(&nested(MAX_DEPTH + 1)).is_err());
        assert!(decode_item(&vec![0x9f; 1_000_000]).is_err());
    }

    #[test]
    fn tagged_numbers_become_scalars() {
        let scalar = |hex: &str| {
            let payload: &'static [u8] = bytes(hex).leak();
            decode_item(payload).unwrap().into_scalar(&mut Quirks::default())
        };
        assert_eq!(scalar("c11a514b67b0"), Ok(Some(Scalar::Time(1_363_896_240))));
        assert_eq!(scalar("c1fb41d452d9ec200000"), Ok(Some(Scalar::Time(1_363_896_240))));
        assert_eq!(scalar("c48221196ab3"), Ok(Some(Scalar::Number(Number::Float(273.15)))));
        assert_eq!(scalar("d9d9f705"), Ok(Some(Scalar::Number(Number::Signed(5)))));
        assert_eq!(
            scalar("3bffffffffffffffff"),
            Ok(Some(Scalar::Number(Number::Float(-18_446_744_073_709_551_616.0))))
        );
        assert_eq!(scalar("80"), Ok(None));
        for hex in
            ["c100ff", "c16161", "c001", "c06161", "c401", "c48201", "c4821b7fffffffffffffff01", "c1fb7ff0000000000000"]
        {
            let payload = bytes(hex);
            let refused = decode_item(&payload).and_then(|item| item.into_scalar(&mut Quirks::default()));
            assert!(refused.is_err(), "{hex}");
        }
    }
}

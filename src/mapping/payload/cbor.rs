//! CBOR (RFC 8949) within a resource value as JSON: byte strings become base64, tags are looked through.

use minicbor::data::Type;
use minicbor::decode::Decoder;
use serde_json::Value as Json;

/// Deepest nesting of arrays, maps and tags.
const MAX_DEPTH: usize = 16;

/// Most items of a document.
const MAX_ITEMS: usize = 10_000;

/// Decodes one CBOR item that fills all bytes.
///
/// # Errors
/// In words, for malformed bytes, bytes after the item, nesting or size beyond the bounds, and numbers that are not
/// finite.
pub(super) fn decode(bytes: &[u8]) -> Result<Json, String> {
    let mut decoder = Decoder::new(bytes);
    let mut items = 0;
    let json = item(&mut decoder, MAX_DEPTH, &mut items)?;
    let used = decoder.position();
    if used == bytes.len() { Ok(json) } else { Err(format!("{} bytes follow the CBOR item", bytes.len() - used)) }
}

fn item(decoder: &mut Decoder<'_>, depth: usize, items: &mut usize) -> Result<Json, String> {
    let malformed = |error: minicbor::decode::Error| format!("the payload is no CBOR: {error}");
    let depth = depth.checked_sub(1).ok_or_else(|| format!("the CBOR is nested deeper than {MAX_DEPTH}"))?;
    *items += 1;
    if *items > MAX_ITEMS {
        return Err(format!("the CBOR has more than {MAX_ITEMS} items"));
    }
    Ok(match decoder.datatype().map_err(malformed)? {
        Type::Bool => decoder.bool().map_err(malformed)?.into(),
        Type::Null | Type::Undefined => {
            decoder.skip().map_err(malformed)?;
            Json::Null
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64().map_err(malformed)?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64().map_err(malformed)?.into(),
        Type::F16 | Type::F32 | Type::F64 => {
            let number = match decoder.datatype().map_err(malformed)? {
                Type::F16 => decoder.f16().map_err(malformed)?.into(),
                Type::F32 => decoder.f32().map_err(malformed)?.into(),
                _ => decoder.f64().map_err(malformed)?,
            };
            serde_json::Number::from_f64(number).ok_or("a number of the CBOR is not finite")?.into()
        }
        Type::Bytes | Type::BytesIndef => {
            let mut bytes = Vec::new();
            for chunk in decoder.bytes_iter().map_err(malformed)? {
                bytes.extend_from_slice(chunk.map_err(malformed)?);
            }
            data_encoding::BASE64.encode(&bytes).into()
        }
        Type::String | Type::StringIndef => text(decoder)?.into(),
        Type::Tag => {
            decoder.tag().map_err(malformed)?;
            item(decoder, depth, items)?
        }
        Type::Array | Type::ArrayIndef => {
            let length = decoder.array().map_err(malformed)?;
            let mut array = Vec::new();
            while more(decoder, length, array.len())? {
                array.push(item(decoder, depth, items)?);
            }
            array.into()
        }
        Type::Map | Type::MapIndef => {
            let length = decoder.map().map_err(malformed)?;
            let mut map = serde_json::Map::new();
            let mut count = 0;
            while more(decoder, length, count)? {
                count += 1;
                let key = match decoder.datatype().map_err(malformed)? {
                    Type::String | Type::StringIndef => text(decoder)?,
                    Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64().map_err(malformed)?.to_string(),
                    Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64().map_err(malformed)?.to_string(),
                    _ => return Err("a key of the CBOR map is neither text nor integer".to_owned()),
                };
                map.insert(key, item(decoder, depth, items)?);
            }
            map.into()
        }
        other => return Err(format!("the CBOR holds {other}, which JSON does not have")),
    })
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, String> {
    let malformed = |error: minicbor::decode::Error| format!("the payload is no CBOR: {error}");
    let mut text = String::new();
    for chunk in decoder.str_iter().map_err(malformed)? {
        text.push_str(chunk.map_err(malformed)?);
    }
    Ok(text)
}

/// Whether an array or map has a further entry; eats the break of an indefinite one.
fn more(decoder: &mut Decoder<'_>, length: Option<u64>, done: usize) -> Result<bool, String> {
    let malformed = |error: minicbor::decode::Error| format!("the payload is no CBOR: {error}");
    if let Some(length) = length {
        return Ok(u64::try_from(done).is_ok_and(|done| done < length));
    }
    if decoder.datatype().map_err(malformed)? == Type::Break {
        decoder.skip().map_err(malformed)?;
        return Ok(false);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_item_becomes_json() {
        // {"t": 21.5 (f16), 1: [true, null, -3, h'00ff'], "x": 1(1000)}
        let bytes = b"\xa3\x61t\xf9\x4d\x60\x01\x84\xf5\xf6\x22\x42\x00\xff\x61x\xc1\x19\x03\xe8";
        assert_eq!(decode(bytes).unwrap(), json!({"t": 21.5, "1": [true, null, -3, "AP8="], "x": 1000}));
        assert_eq!(decode(b"\x9f\x01\x7f\x61a\x61b\xff\xff").unwrap(), json!([1, "ab"]));
        assert_eq!(decode(b"\xbf\x61a\x01\xff").unwrap(), json!({"a": 1}));
    }

    #[test]
    fn malformed_deep_long_and_infinite_documents_are_refused() {
        assert!(decode(b"").is_err());
        assert!(decode(b"\x01\x02").unwrap_err().contains("follow"));
        assert!(decode(&[0x81; 100]).unwrap_err().contains("nested"));
        assert!(decode(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(decode(b"\xf9\x7c\x00").unwrap_err().contains("finite"));
        assert!(decode(b"\xa1\xf5\x01").unwrap_err().contains("key"));
        assert!(decode(b"\xff").is_err());
        let mut long = vec![0x9f];
        long.extend(std::iter::repeat_n(0x01, MAX_ITEMS + 1));
        assert!(decode(&long).unwrap_err().contains("items"));
    }
}

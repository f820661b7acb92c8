//! `decode`: one payload or one CoAP message, as JSON.

use std::io;

use serde_json::Value as Json;

use super::arguments::DecodeArguments;
use super::{Ending, Terminal};
use crate::gateway::shown_message::{shown_content, shown_head};
use crate::model::object::ObjectModel;
use crate::model::path::Path;
use crate::model::time::WallTime;
use crate::protocol::coap::message::Message;
use crate::protocol::content::ContentFormat;

/// Prints what the bytes mean. `received` is where relative times count from.
pub(super) fn decode(
    arguments: &DecodeArguments,
    model: &ObjectModel,
    received: WallTime,
    terminal: &mut Terminal<'_>,
) -> io::Result<Ending> {
    let base = match arguments.path.as_deref().map_or(Ok(Path::ROOT), |path| model.parse_path(path)) {
        Ok(base) => base,
        Err(error) => {
            terminal.complain(&format!("error: --path: {error}"))?;
            return Ok(Ending::Wrong);
        }
    };
    if let Some(problem) = arguments.format.and_then(|format| unfit_base(format, base)) {
        terminal.complain(&format!("error: --path: {problem}"))?;
        return Ok(Ending::Wrong);
    }
    let bytes = match parse_hex(&arguments.hex) {
        Ok(bytes) => bytes,
        Err(error) => {
            terminal.complain(&format!("error: HEX: {error}"))?;
            return Ok(Ending::Wrong);
        }
    };
    let decoded = match arguments.format {
        Some(format) => shown_content(format, &bytes, base, model, received),
        None => decode_message(&bytes, base, model, received),
    };
    match decoded {
        Ok(json) => terminal.say_json(&json).map(|()| Ending::Fine),
        Err(error) => {
            terminal.complain(&format!("error: {error}"))?;
            Ok(Ending::Failed)
        }
    }
}

/// Bytes from hexadecimal digits; blanks and colons between them are skipped.
fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|error| match error.kind {
        data_encoding::DecodeKind::Length => "an odd number of hexadecimal digits".to_owned(),
        _ => format!("digit {} is not hexadecimal", error.position + 1),
    })
}

/// Why a payload of this format says nothing on `base`; `None` if it does.
fn unfit_base(format: ContentFormat, base: Path) -> Option<String> {
    match format.current() {
        ContentFormat::TEXT | ContentFormat::OPAQUE | ContentFormat::CBOR if base.depth() < 3 => {
            Some(format!("{format} is the value of one resource; name it, such as --path /3303/0/5700"))
        }
        ContentFormat::TLV if base.depth() < 1 => {
            Some("tlv does not name its object; name at least that, such as --path /3303/0".to_owned())
        }
        _ => None,
    }
}

fn decode_message(bytes: &[u8], base: Path, model: &ObjectModel, received: WallTime) -> Result<Json, String> {
    let message = Message::decode(bytes).map_err(|error| error.to_string())?;
    let mut json = shown_head(&message);
    json["payload"] = data_encoding::HEXLOWER.encode(&message.payload).into();
    if let Some(format) = message.content_format().map(ContentFormat)
        && !message.payload.is_empty()
    {
        let own = format!("/{}", message.uri_path().join("/")).parse().unwrap_or(Path::ROOT);
        let base = if base == Path::ROOT { own } else { base };
        json["content"] = match shown_content(format, &message.payload, base, model, received) {
            Ok(content) => content,
            // The message is well-formed all the same.
            Err(error) => serde_json::json!({ "error": error }),
        };
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::coap::message::MessageType;
    use crate::protocol::coap::option::OptionNumber;

    #[test]
    fn hexadecimal_digits_may_have_blanks_colons_and_capitals() {
        assert_eq!(parse_hex(" 0A:ff 1 2 "), Ok(vec![10, 255, 0x12]));
        assert_eq!(parse_hex("0xff"), Ok(vec![255]));
        assert_eq!(parse_hex(""), Ok(Vec::new()));
        assert!(parse_hex("abc").unwrap_err().contains("odd number"));
        assert!(parse_hex("zz").unwrap_err().contains("digit 1"));
        assert!(parse_hex("ää").is_err());
    }

    #[test]
    fn a_message_is_shown_with_its_options_by_name() {
        // CON POST, id 0x1234, token ab, Uri-Path rd, Content-Format 40, Block1 1/1/64, an unknown option.
        let mut message = Message::new(
            MessageType::Confirmable,
            crate::protocol::coap::message::Code::POST,
            0x1234,
            crate::protocol::coap::message::Token::EMPTY,
        );
        message.push_option(OptionNumber::URI_PATH, *b"rd");
        message.push_uint(OptionNumber::CONTENT_FORMAT, 60_000);
        message.push_uint(OptionNumber::BLOCK1, 1 << 4 | 8 | 2);
        message.push_option(OptionNumber(2_051), [1, 2]);
        message.payload = b"x".to_vec();
        let json = decode_message(&message.encode(), Path::ROOT, &ObjectModel::default(), WallTime::default()).unwrap();
        assert_eq!((json["type"].as_str(), json["code"].as_str()), (Some("CON"), Some("0.02")));
        assert_eq!(
            json["options"],
            json!([
                { "number": 11, "name": "Uri-Path", "value": "rd" },
                { "number": 12, "name": "Content-Format", "value": 60_000 },
                { "number": 27, "name": "Block1", "value": { "num": 1, "more": true, "size": 64 } },
                { "number": 2_051, "value": "0102" },
            ])
        );
        assert_eq!(json["payload"], "78");
        assert!(json["content"]["error"].is_string(), "nobody reads format 60000");
    }
}

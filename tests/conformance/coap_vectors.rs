//! Vectors of CoAP: messages, block options, the order of notifications, request lines.

use data_encoding::HEXLOWER;
use serde_json::Value;

use super::vectors::{Validity, Vector, demand};
use lwm2mqtt::model::time::Instant;
use lwm2mqtt::protocol::coap::block::{Block, BlockError};
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token, decode_uint};
use lwm2mqtt::protocol::coap::observe_order::is_newer;
use lwm2mqtt::protocol::coap::option::OptionNumber;

/// Proxy-Uri and Proxy-Scheme, which have no name in the program because it is no proxy.
const PROXY_URI: OptionNumber = OptionNumber(35);

const UNDERSTOOD: [OptionNumber; 6] = [
    OptionNumber::URI_PATH,
    OptionNumber::URI_QUERY,
    OptionNumber::URI_PORT,
    OptionNumber::ACCEPT,
    OptionNumber::BLOCK1,
    OptionNumber::BLOCK2,
];

pub(super) fn message(vector: &Vector) -> Result<(), String> {
    let bytes = vector.bytes();
    let decoded = Message::decode(&bytes);
    if vector.validity == Validity::Malformed && !vector.is_semantic() {
        demand!(decoded.is_err(), "was read as {decoded:?}");
        return Ok(());
    }
    let message = decoded.map_err(|error| error.to_string())?;
    demand!(message.encode() == bytes, "is written as {}", HEXLOWER.encode(&message.encode()));
    if vector.validity == Validity::Malformed {
        return refused_above_the_codec(vector, &message);
    }
    match vector.id.as_str() {
        // The message is well-formed; its option is longer than Uri-Query may be.
        "coap-opt-len-269" => {
            let unusable = message.first_unusable_option(&UNDERSTOOD);
            demand!(unusable == Some(OptionNumber::URI_QUERY), "{unusable:?} is unusable");
            return Ok(());
        }
        // An elective option of wrong length is as good as absent.
        "coap-observe-4bytes" => demand!(message.observe().is_none(), "Observe is {:?}", message.observe()),
        _ => {}
    }
    compare(&message, &vector.decoded)
}

/// Well-formed messages that the layers above have to refuse: checks what those layers go by.
fn refused_above_the_codec(vector: &Vector, message: &Message) -> Result<(), String> {
    let unusable = message.first_unusable_option(&UNDERSTOOD);
    let block1 = message.block(OptionNumber::BLOCK1);
    match vector.id.as_str() {
        "coap-block-4bytes" => {
            let block2 = message.block(OptionNumber::BLOCK2);
            demand!(block2 == Err(BlockError::TooLong), "Block2 is {block2:?}");
            demand!(unusable == Some(OptionNumber::BLOCK2), "{unusable:?} is unusable");
        }
        "coap-block-short-nonfinal" => {
            let full = matches!(block1, Ok(Some(block)) if block.more && block.size() != message.payload.len());
            demand!(full, "Block1 is {block1:?} for {} bytes", message.payload.len());
        }
        "coap-block-gap" => demand!(matches!(block1, Ok(Some(Block { number: 3, .. }))), "Block1 is {block1:?}"),
        "coap-bad-unknown-critical" => demand!(unusable == Some(OptionNumber(25)), "{unusable:?} is unusable"),
        "coap-bad-proxy-scheme" => demand!(unusable == Some(OptionNumber(39)), "{unusable:?} is unusable"),
        "coap-bad-uri-port-4bytes" => {
            demand!(unusable == Some(OptionNumber::URI_PORT), "{unusable:?} is unusable");
        }
        "coap-bad-ct-3bytes" => {
            demand!(message.content_format().is_none(), "Content-Format is {:?}", message.content_format());
        }
        "coap-bad-method-008" => demand!(message.code == Code::new(0, 8) && message.code.is_request(), "{message:?}"),
        "coap-bad-bad-utf8-path" => {
            demand!(message.uri_path() == ["\u{fffd}\u{fffd}"], "the path is {:?}", message.uri_path());
        }
        _ => return Err("nobody says which layer refuses it".to_owned()),
    }
    Ok(())
}

fn compare(message: &Message, expected: &Value) -> Result<(), String> {
    let fields = expected.as_object().ok_or("decoded is no object")?;
    for (field, expected) in fields {
        let actual = match field.as_str() {
            "type" => match message.message_type {
                MessageType::Confirmable => "CON".into(),
                MessageType::NonConfirmable => "NON".into(),
                MessageType::Acknowledgement => "ACK".into(),
                MessageType::Reset => "RST".into(),
            },
            "code" => message.code.to_string().into(),
            "mid" => message.id.into(),
            "token" => HEXLOWER.encode(message.token.as_bytes()).into(),
            "options" => message.options.iter().map(|(number, value)| option(*number, value)).collect(),
            "payload_text" => String::from_utf8_lossy(&message.payload).into(),
            "payload_hex" => HEXLOWER.encode(&message.payload).into(),
            "payload_len" => message.payload.len().into(),
            "uri" => format!("/{}", message.uri_path().join("/")).into(),
            "block1" => block(message.option(OptionNumber::BLOCK1).ok_or("no Block1")?)?,
            "block2" => block(message.option(OptionNumber::BLOCK2).ok_or("no Block2")?)?,
            "size1" => message.uint(OptionNumber::SIZE1).into(),
            _ => return Err(format!("nobody compares {field}")),
        };
        demand!(actual == *expected, "{field} is {actual}, not {expected}");
    }
    let payload_named = ["payload_text", "payload_hex", "payload_len"].iter().any(|name| fields.contains_key(*name));
    demand!(payload_named || message.payload.is_empty(), "there is a payload");
    Ok(())
}

/// An option as the vectors write it.
pub(super) fn option(number: OptionNumber, value: &[u8]) -> Value {
    let text = || Value::from(String::from_utf8_lossy(value));
    let uint = || Value::from(decode_uint(value));
    let (name, value): (&str, Value) = match number {
        OptionNumber::URI_PATH => ("Uri-Path", text()),
        OptionNumber::URI_QUERY => ("Uri-Query", text()),
        OptionNumber::LOCATION_PATH => ("Location-Path", text()),
        PROXY_URI => ("Proxy-Uri", text()),
        OptionNumber::IF_NONE_MATCH => ("If-None-Match", text()),
        OptionNumber::OBSERVE => ("Observe", uint()),
        OptionNumber::CONTENT_FORMAT => ("Content-Format", uint()),
        OptionNumber::ACCEPT => ("Accept", uint()),
        OptionNumber::MAX_AGE => ("Max-Age", uint()),
        OptionNumber::SIZE1 => ("Size1", uint()),
        OptionNumber::ECHO => ("Echo", HEXLOWER.encode(value).into()),
        OptionNumber::BLOCK1 => ("Block1", block(value).unwrap_or_default()),
        OptionNumber::BLOCK2 => ("Block2", block(value).unwrap_or_default()),
        other => return Value::from(vec![other.0.to_string(), HEXLOWER.encode(value)]),
    };
    Value::from(vec![Value::from(name), value])
}

/// A block option as the vectors write it: number, more, size.
fn block(value: &[u8]) -> Result<Value, String> {
    let block = Block::decode(value).map_err(|error| error.to_string())?;
    Ok(format!("{}/{}/{}", block.number, u8::from(block.more), block.size()).into())
}

pub(super) fn block_option(vector: &Vector) -> Result<(), String> {
    let bytes = vector.bytes();
    let block = Block::decode(&bytes).map_err(|error| error.to_string())?;
    let actual = serde_json::json!({"num": block.number, "more": block.more, "size": block.size()});
    demand!(actual == vector.decoded, "is read as {actual}");
    demand!(block.encode() == bytes, "is written as {}", HEXLOWER.encode(&block.encode()));
    Ok(())
}

pub(super) fn observe_order(vector: &Vector) -> Result<(), String> {
    let number = |name: &str| u32::try_from(vector.decoded[name].as_u64().unwrap_or_default()).unwrap_or_default();
    let newer = is_newer(number("v1"), Instant::ZERO, number("v2"), Instant::from_secs(1));
    demand!(vector.decoded["v2_is_newer"] == newer, "is newer: {newer}");
    Ok(())
}

/// A request written as one line has to survive the way through a message.
pub(super) fn request_line(vector: &Vector) -> Result<(), String> {
    let (method, uri) = vector.text().split_once(' ').ok_or("no method")?;
    let code = match method {
        "GET" => Code::GET,
        "POST" => Code::POST,
        _ => return Err(format!("nobody reads the method {method}")),
    };
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut message = Message::new(MessageType::Confirmable, code, 1, Token::EMPTY);
    for segment in path.split('/').skip(1) {
        message.push_option(OptionNumber::URI_PATH, segment);
    }
    // Options carry the characters themselves (RFC 7252 section 6.4).
    let query: Vec<String> = query
        .split('&')
        .filter(|argument| !argument.is_empty())
        .map(|argument| argument.replace("%3C", "<").replace("%3E", ">"))
        .collect();
    for argument in &query {
        message.push_option(OptionNumber::URI_QUERY, argument.as_str());
    }
    let read = Message::decode(&message.encode()).map_err(|error| error.to_string())?;
    demand!(format!("/{}", read.uri_path().join("/")) == path, "the path is {:?}", read.uri_path());
    demand!(read.uri_query().as_ref() == Some(&query), "the query is {:?}", read.uri_query());
    demand!(read.first_unusable_option(&UNDERSTOOD).is_none(), "an option is unusable");
    Ok(())
}

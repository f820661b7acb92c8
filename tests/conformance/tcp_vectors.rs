//! Vectors of CoAP over TCP: frames, their first bytes, and whole streams.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::coap_vectors::option;
use super::stream::{Connection, stream_peer};
use super::vectors::{Validity, Vector, demand};
use crate::conformance::gateway::Gateway;
use lwm2mqtt::gateway::vocabulary::StreamOrder;
use lwm2mqtt::protocol::coap::block::Block;
use lwm2mqtt::protocol::coap::message::Message;
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::coap::signalling::Signal;
use lwm2mqtt::protocol::coap::tcp_frame;

/// Longer than all vectors that are valid.
const LIMIT: usize = 1 << 20;

pub(super) fn frame(vector: &Vector) -> Result<(), String> {
    let bytes = vector.bytes();
    let decoded = tcp_frame::decode(&bytes, LIMIT);
    if vector.validity == Validity::Malformed && !vector.is_semantic() {
        demand!(decoded.is_err(), "was read as {decoded:?}");
        return Ok(());
    }
    let (message, length) = decoded.map_err(|error| error.to_string())?.ok_or("is not whole")?;
    demand!(length == bytes.len(), "{length} bytes of {}", bytes.len());
    demand!(tcp_frame::encode(&message) == bytes, "is written as {}", HEXLOWER.encode(&tcp_frame::encode(&message)));
    for cut in 0..length {
        demand!(tcp_frame::decode(&bytes[..cut], LIMIT) == Ok(None), "is whole after {cut} bytes");
    }
    if vector.is_semantic() {
        demand!(Signal::read(&message).is_err(), "was taken as {:?}", Signal::read(&message));
        return Ok(());
    }
    if vector.validity == Validity::Tolerate {
        demand!(Signal::read(&message) == Ok(None), "was taken as {:?}", Signal::read(&message));
    }
    compare(&message, &vector.decoded)
}

fn compare(message: &Message, expected: &Value) -> Result<(), String> {
    let fields = expected.as_object().ok_or("decoded is no object")?;
    for (field, expected) in fields {
        let actual = match field.as_str() {
            "code" => message.code.to_string().into(),
            "token" => HEXLOWER.encode(message.token.as_bytes()).into(),
            "options" => message.options.iter().map(|(number, value)| named(message, *number, value)).collect(),
            "payload_text" => String::from_utf8_lossy(&message.payload).into(),
            "payload_hex" => HEXLOWER.encode(&message.payload).into(),
            "payload_len" => message.payload.len().into(),
            "header_hex" => HEXLOWER.encode(tcp_frame::encode(message).get(..4).unwrap_or_default()).into(),
            "block1" => block(message.option(OptionNumber::BLOCK1).ok_or("no Block1")?)?,
            _ => return Err(format!("nobody compares {field}")),
        };
        demand!(actual == *expected, "{field} is {actual}, not {expected}");
    }
    let payload_named = ["payload_text", "payload_hex", "payload_len"].iter().any(|name| fields.contains_key(*name));
    demand!(payload_named || message.payload.is_empty(), "there is a payload");
    Ok(())
}

/// An option as the vectors write it: those of signalling messages by number.
fn named(message: &Message, number: OptionNumber, value: &[u8]) -> Value {
    if message.code.is_signal() {
        return json!([number.0, HEXLOWER.encode(value)]);
    }
    option(number, value)
}

/// A block option as the vectors write it: number, more, size.
fn block(value: &[u8]) -> Result<Value, String> {
    let block = Block::decode_reliable(value).map_err(|error| error.to_string())?;
    let bert = block.size_exponent == Block::BERT_EXPONENT;
    let size = if bert { "BERT".to_owned() } else { block.size().to_string() };
    Ok(format!("{}/{}/{size}", block.number, u8::from(block.more)).into())
}

/// The first bytes of frames whose bodies are left out.
pub(super) fn header(vector: &Vector) -> Result<(), String> {
    let bytes = vector.bytes();
    let tokens = vector.decoded["tkl"].as_u64().ok_or("no token length")?;
    let body = vector.decoded["len"].as_u64().ok_or("no length")?;
    let length = tcp_frame::frame_length(&bytes).map_err(|error| error.to_string())?;
    let expected = bytes.len() as u64 + tokens + body;
    demand!(length == Some(expected), "the frame has {length:?} bytes, not {expected}");
    demand!(tcp_frame::decode(&bytes, LIMIT) == Ok(None), "is whole without its body");
    for cut in 0..bytes.len() {
        demand!(tcp_frame::frame_length(&bytes[..cut]) == Ok(None), "{cut} bytes tell the length");
    }
    Ok(())
}

/// Whole streams, in one segment and byte by byte, against the gateway.
pub(super) fn stream(vector: &Vector) -> Result<(), String> {
    let bytes = vector.bytes();
    for size in [bytes.len(), 1] {
        let mut gateway = Gateway::new();
        let connection = Connection::connect(&mut gateway, stream_peer(1), 1);
        connection.heard(&mut gateway);
        for piece in bytes.chunks(size) {
            connection.say_bytes(&mut gateway, piece);
        }
        let orders = connection.orders(&mut gateway);
        if vector.validity == Validity::Malformed {
            demand!(orders.last() == Some(&StreamOrder::Close), "goes on: {orders:?}");
            continue;
        }
        let asked = vector.decoded.as_array().ok_or("decoded is no list")?;
        let pings = asked.iter().filter_map(|message| message.as_str()?.strip_prefix("Ping "));
        let answered: Vec<String> = orders
            .iter()
            .filter_map(|order| match order {
                StreamOrder::Send(frame) => Some(tcp_frame::decode(frame, LIMIT).ok()??.0),
                _ => None,
            })
            .filter_map(|message| match Signal::read(&message) {
                Ok(Some(Signal::Pong { token, .. })) => Some(HEXLOWER.encode(token.as_bytes())),
                _ => None,
            })
            .collect();
        demand!(answered == pings.collect::<Vec<_>>() && answered.len() == orders.len(), "was answered by {orders:?}");
    }
    Ok(())
}

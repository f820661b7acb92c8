//! CoAP messages and their payloads as JSON, for people who look on: `decode` and traces.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::model::object::{DeviceModel, ObjectModel};
use crate::model::path::Path;
use crate::model::report::Sample;
use crate::model::time::WallTime;
use crate::model::value::Value;
use crate::protocol::coap::message::{Message, MessageType};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::{self, Changes, ContentFormat, DecodeContext, Decoded};
use crate::protocol::lwm2m::link_format::{self, Link};

/// The word for a type: `CON`, `NON`, `ACK` or `RST`.
pub const fn type_word(message_type: MessageType) -> &'static str {
    match message_type {
        MessageType::Confirmable => "CON",
        MessageType::NonConfirmable => "NON",
        MessageType::Acknowledgement => "ACK",
        MessageType::Reset => "RST",
    }
}

/// Everything of a message but its payload: `type`, `code`, `id`, `token` (hexadecimal), `options` by name.
pub fn shown_head(message: &Message) -> Json {
    let options: Vec<Json> = message.options.iter().map(|(number, value)| shown_option(*number, value)).collect();
    json!({
        "type": type_word(message.message_type),
        "code": message.code.to_string(),
        "id": message.id,
        "token": data_encoding::HEXLOWER.encode(message.token.as_bytes()),
        "options": options,
    })
}

/// Values, or what else a payload of the format may hold: values to delete, bare paths, links. `received` is where
/// relative times count from.
///
/// # Errors
/// In words, if the bytes are not of this format.
pub fn shown_content(
    format: ContentFormat,
    bytes: &[u8],
    base: Path,
    model: &ObjectModel,
    received: WallTime,
) -> Result<Json, String> {
    if format == ContentFormat::LINK_FORMAT {
        return decode_links(bytes);
    }
    let objects = BTreeMap::new();
    let types = DeviceModel { model, objects: &objects, enabler: None };
    let context = DecodeContext { base, root: "", types: &types, received };
    let error = match content::decode(format, bytes, &context) {
        Ok(decoded) => return Ok(shown(&decoded)),
        Err(error) => error,
    };
    // A writing payload may delete instances by null, a composite request may name paths alone. Neither are values.
    if let Ok(changes) = content::decode_changes(format, bytes, &context) {
        return Ok(shown_changes(&changes));
    }
    if let Ok(paths) = content::decode_paths(format, bytes, "") {
        return Ok(json!({ "paths": paths.iter().map(ToString::to_string).collect::<Vec<_>>() }));
    }
    Err(error.to_string())
}

/// Values by path. If any sample has a time of its own or a path comes twice, all are records; `ts` is null for "now".
fn shown(decoded: &Decoded) -> Json {
    let samples = &decoded.samples;
    let paths: BTreeSet<Path> = samples.iter().map(|sample| sample.path).collect();
    // A number that is not finite has no JSON form.
    let value = |value: &Value| value.to_json().unwrap_or(Json::Null);
    let mut json = if paths.len() < samples.len() || samples.iter().any(|sample| sample.ts.is_some()) {
        let record = |sample: &Sample| {
            let ts = sample.ts.map(WallTime::millis);
            json!({ "path": sample.path.to_string(), "value": value(&sample.value), "ts": ts })
        };
        json!({ "records": samples.iter().map(record).collect::<Vec<_>>() })
    } else {
        let values = samples.iter().map(|sample| (sample.path.to_string(), value(&sample.value)));
        json!({ "values": values.collect::<Map<_, _>>() })
    };
    tell_quirks(&mut json, &decoded.quirks);
    json
}

/// What a writing payload asks for; null deletes.
fn shown_changes(changes: &Changes) -> Json {
    let values = changes.changes.iter().map(|(path, value)| {
        let value = value.as_ref().and_then(Value::to_json).unwrap_or(Json::Null);
        (path.to_string(), value)
    });
    let mut json = json!({ "values": values.collect::<Map<_, _>>() });
    tell_quirks(&mut json, &changes.quirks);
    json
}

fn tell_quirks(json: &mut Json, quirks: &[&str]) {
    if !quirks.is_empty() {
        json["quirks"] = quirks.to_vec().into();
    }
}

fn decode_links(bytes: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("no UTF-8: {error}"))?;
    let (links, deviations) = link_format::parse_leniently(text).map_err(|error| error.to_string())?;
    let shown_link = |link: &Link| {
        let parameters: Vec<Json> =
            link.parameters.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        json!({ "target": link.target, "parameters": parameters })
    };
    let mut json = json!({ "links": links.iter().map(shown_link).collect::<Vec<_>>() });
    let quirks = [(deviations.blanks, "blanks"), (deviations.empty_elements, "empty_elements")];
    let quirks: Vec<&str> = quirks.into_iter().filter(|(found, _)| *found).map(|(_, word)| word).collect();
    tell_quirks(&mut json, &quirks);
    Ok(json)
}

fn shown_option(number: OptionNumber, value: &[u8]) -> Json {
    const TEXTS: [(OptionNumber, &str); 5] = [
        (OptionNumber::URI_HOST, "Uri-Host"),
        (OptionNumber::LOCATION_PATH, "Location-Path"),
        (OptionNumber::URI_PATH, "Uri-Path"),
        (OptionNumber::URI_QUERY, "Uri-Query"),
        (OptionNumber::LOCATION_QUERY, "Location-Query"),
    ];
    const NUMBERS: [(OptionNumber, &str); 8] = [
        (OptionNumber::OBSERVE, "Observe"),
        (OptionNumber::URI_PORT, "Uri-Port"),
        (OptionNumber::CONTENT_FORMAT, "Content-Format"),
        (OptionNumber::MAX_AGE, "Max-Age"),
        (OptionNumber::ACCEPT, "Accept"),
        (OptionNumber::SIZE2, "Size2"),
        (OptionNumber::SIZE1, "Size1"),
        (OptionNumber::NO_RESPONSE, "No-Response"),
    ];
    const BLOCKS: [(OptionNumber, &str); 2] = [(OptionNumber::BLOCK2, "Block2"), (OptionNumber::BLOCK1, "Block1")];
    let name_in = |table: &[(OptionNumber, &'static str)]| {
        table.iter().find(|(candidate, _)| *candidate == number).map(|(_, name)| *name)
    };
    let integer = || value.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let short = value.len() <= 4;
    let (name, shown) = if let Some(name) = name_in(&TEXTS) {
        (Some(name), Json::from(String::from_utf8_lossy(value)))
    } else if let Some(name) = name_in(&NUMBERS).filter(|_| short) {
        (Some(name), Json::from(integer()))
    } else if let Some(name) = name_in(&BLOCKS).filter(|_| short) {
        let bits = integer();
        let block = json!({ "num": bits >> 4, "more": bits & 8 != 0, "size": 16_u32 << (bits & 7) });
        (Some(name), block)
    } else {
        (None, Json::from(data_encoding::HEXLOWER.encode(value)))
    };
    let mut json = json!({ "number": number.0, "value": shown });
    if let Some(name) = name {
        json["name"] = name.into();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_with_times_become_records() {
        let path = Path::resource(3303, 0, 5700);
        let at = |ts| Sample { path, value: Value::Float(21.5), ts };
        let one = Decoded { samples: vec![at(None)], quirks: Vec::new() };
        assert_eq!(shown(&one), json!({ "values": { "/3303/0/5700": 21.5 } }));
        let times = Decoded { samples: [1, 2].map(|ms| at(Some(WallTime::from_millis(ms)))).into(), quirks: vec!["q"] };
        assert_eq!(
            shown(&times),
            json!({
                "records": [
                    { "path": "/3303/0/5700", "value": 21.5, "ts": 1 },
                    { "path": "/3303/0/5700", "value": 21.5, "ts": 2 },
                ],
                "quirks": ["q"],
            })
        );
        assert_eq!(shown(&Decoded::default()), json!({ "values": {} }));
        let mixed = Decoded { samples: vec![at(Some(WallTime::from_millis(1))), at(None)], quirks: Vec::new() };
        assert_eq!(shown(&mixed)["records"][1]["ts"], Json::Null);
        let twice = Decoded { samples: vec![at(None), at(None)], quirks: Vec::new() };
        assert_eq!(shown(&twice)["records"].as_array().unwrap().len(), 2, "no value is lost");
    }
}

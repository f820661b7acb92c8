//! Lines of a trace as Leshan's `COAPLOG`.

use serde_json::{Value as Json, json};

use super::event::{Event, EventName};

/// Names of request codes; responses are told by their number, as in `2.05`.
const METHODS: [(&str, &str); 7] = [
    ("0.01", "GET"),
    ("0.02", "POST"),
    ("0.03", "PUT"),
    ("0.04", "DELETE"),
    ("0.05", "FETCH"),
    ("0.06", "PATCH"),
    ("0.07", "IPATCH"),
];

impl Event {
    /// A message to or from a device. `line` is that of our own trace; payloads that it cut are cut here too.
    #[must_use]
    pub fn coap_log(endpoint: &str, line: &Json) -> Self {
        let mut data = json!({
            "ep": endpoint,
            "timestamp": line["ts"],
            "incoming": line["direction"] == "in",
            "type": line["type"],
            "mId": line["id"],
            "token": line["token"],
        });
        // An empty message has no code.
        let code = line["code"].as_str().filter(|code| *code != "0.00");
        if let Some(code) = code {
            let method = METHODS.iter().find(|(number, _)| *number == code);
            data["code"] = method.map_or(code, |(_, name)| name).into();
        }
        let options = line["options"].as_array().map(|options| shown_options(options)).unwrap_or_default();
        if !options.is_empty() {
            data["options"] = options.into();
        }
        if let Some(payload) = line["payload"]["hex"].as_str().filter(|hex| !hex.is_empty()) {
            data["payload"] = shown_payload(payload).into();
        }
        Self { name: EventName::CoapLog, endpoint: endpoint.to_owned(), data }
    }
}

/// `Uri-Path: "3", "0" - Accept: 112`.
fn shown_options(options: &[Json]) -> String {
    let mut named: Vec<(String, String)> = Vec::new();
    for option in options {
        let name = option["name"].as_str().map_or_else(|| format!("Unknown ({})", option["number"]), str::to_owned);
        let value = option["value"].to_string();
        if let Some((_, values)) = named.iter_mut().find(|(known, _)| *known == name) {
            values.push_str(", ");
            values.push_str(&value);
        } else {
            named.push((name, value));
        }
    }
    named.iter().map(|(name, values)| format!("{name}: {values}")).collect::<Vec<_>>().join(" - ")
}

/// Text where it can be read, else `Hex:` with the octets.
fn shown_payload(hex: &str) -> String {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap_or_default();
    let readable = !bytes.is_empty() && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    match String::from_utf8(bytes) {
        Ok(text) if readable => text,
        _ => format!("Hex:{hex}"),
    }
}

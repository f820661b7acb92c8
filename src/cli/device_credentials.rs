//! `device add` and `device block`: what lets a device in, and what keeps it out.
//!
//! Keys are read from a file, standard input or the environment, never from the command line, which other users of the
//! machine can see.

use std::path::Path;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value as Json, json};

use super::arguments::{AddArguments, BlockArguments};
use super::gateway_api::{Gateway, NoAnswer, device_path, encode_segment, refused};
use super::{Ending, Terminal};
use crate::config::{ReadError, Sources};
use crate::model::units::format_duration;

/// What a command did: it could not ask, or could (and perhaps not print).
type Done = Result<std::io::Result<Ending>, NoAnswer>;

/// The environment variable with a key.
const KEY_VARIABLE: &str = "LWM2MQTT_DEVICE_KEY";

/// Standard input as a file.
pub(super) const STANDARD_INPUT: &str = "/dev/stdin";

/// The path of a credential in the API.
fn credential_path(endpoint: &str) -> String {
    format!("/api/v1/credentials/{}", encode_segment(endpoint))
}

/// Reads a file that the command line names; `-` is standard input.
pub(super) fn read_named(option: &str, path: &Path, sources: &Sources<'_>) -> Result<String, NoAnswer> {
    let real = if path == Path::new("-") { Path::new(STANDARD_INPUT) } else { path };
    (sources.read_text)(real).map_err(|error| {
        NoAnswer::Wrong(match error {
            ReadError::NotFound => format!("error: {option}: there is no file {}", path.display()),
            ReadError::Other(reason) => format!("error: {option}: {} cannot be read: {reason}", path.display()),
        })
    })
}

/// Puts a credential.
pub(super) fn add(arguments: &AddArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let body = body_of(arguments, sources)?;
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    let answer = gateway.ask("PUT", &credential_path(&arguments.endpoint), Some(&body))?;
    Ok(tell(arguments, &body, &answer, terminal).map(|()| Ending::Fine))
}

/// The credential that the arguments describe.
fn body_of(arguments: &AddArguments, sources: &Sources<'_>) -> Result<Json, NoAnswer> {
    let mut body = json!({});
    let mut set = |field: &str, value: Option<Json>| {
        if let Some(value) = value {
            body[field] = value;
        }
    };
    let means = &arguments.means;
    if means.psk {
        set("mode", Some("psk".into()));
        set("identity", arguments.identity.as_deref().map(Json::from));
        set("identity_hex", arguments.identity_hex.as_deref().map(Json::from));
        let key = match &arguments.key_file {
            Some(path) => Some(read_named("--key-file", path, sources)?),
            None => sources.variables.get(KEY_VARIABLE).filter(|key| !key.is_empty()).cloned(),
        };
        // Editors end a file with a line break, which is no part of a key.
        let key = key.map(|key| {
            key.strip_suffix('\n').map(|key| key.strip_suffix('\r').unwrap_or(key).to_owned()).unwrap_or(key)
        });
        set("key_format", arguments.key_format.filter(|_| key.is_some()).map(|format| format.as_str().into()));
        set("key", Some(key.map_or(Json::Null, Json::from)));
    } else if let Some(path) = &means.rpk {
        set("mode", Some("rpk".into()));
        set("public_key", Some(read_named("--rpk", path, sources)?.into()));
    } else if let Some(path) = &means.x509 {
        set("mode", Some("x509".into()));
        set("certificate", Some(read_named("--x509", path, sources)?.into()));
    } else if let Some(subject) = &means.subject {
        set("mode", Some("x509".into()));
        set("subject", Some(subject.as_str().into()));
    } else {
        set("mode", Some("nosec".into()));
    }
    set("scope", arguments.scope.map(|scope| scope.as_str().into()));
    set("endpoints", arguments.endpoints.as_deref().map(Json::from));
    set("keep_old", arguments.keep_old.map(|keep_old| format_duration(keep_old).into()));
    set("name", arguments.name.as_deref().map(Json::from));
    set("tags", (!arguments.tags.is_empty()).then(|| json!(arguments.tags)));
    Ok(body)
}

fn tell(arguments: &AddArguments, body: &Json, answer: &Json, terminal: &mut Terminal<'_>) -> std::io::Result<()> {
    if arguments.json {
        return terminal.say_json(answer);
    }
    let endpoint = &arguments.endpoint;
    let mode = answer["mode"].as_str().or(body["mode"].as_str()).unwrap_or_default();
    let done = if answer["created"] == true { "added" } else { "changed" };
    terminal.say(&format!("{endpoint}: credential {done} ({mode})"))?;
    for (field, title) in [("identity", "identity"), ("identity_hex", "identity, hex"), ("fingerprint", "SHA-256")] {
        if let Some(text) = answer[field].as_str() {
            terminal.say(&format!("{title}: {text}"))?;
        }
    }
    let Some(key) = answer["key"].as_str() else { return Ok(()) };
    terminal.say(&format!("key, hex: {key}"))?;
    terminal.say("the key is not told again: give it to the device now")?;
    if arguments.qr || terminal.interactive {
        let text = label(endpoint, answer, key);
        if let Some(code) = drawn(&text, terminal.interactive) {
            terminal.say(&code)?;
            terminal.say(&text)?;
        }
    }
    Ok(())
}

/// What the code on the label of a device says: `lwm2m:ep=node-1;id=node-1;psk=00112233..`, percent-encoded within.
fn label(endpoint: &str, answer: &Json, key: &str) -> String {
    let identity = match answer["identity_hex"].as_str() {
        Some(hex) => format!("idhex={hex}"),
        None => format!("id={}", encode_segment(answer["identity"].as_str().unwrap_or(endpoint))),
    };
    format!("lwm2m:ep={};{identity};psk={key}", encode_segment(endpoint))
}

/// A QR code of blocks. On a terminal its colours are said, since a code in the wrong ones is not read by all cameras.
fn drawn(text: &str, coloured: bool) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let blocks = code.render::<Dense1x2>().build();
    if !coloured {
        return Some(blocks);
    }
    Some(blocks.lines().map(|line| format!("\u{1b}[30;107m{line}\u{1b}[0m")).collect::<Vec<_>>().join("\n"))
}

/// Blocks a device, known or not.
pub(super) fn block(arguments: &BlockArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    let (status, record) = gateway.ask_for_any("GET", &device_path(&arguments.device), None)?;
    let endpoint = match (status, record["endpoint"].as_str()) {
        (200..300, Some(endpoint)) => endpoint.to_owned(),
        (404, _) => arguments.device.clone(),
        _ => return Err(refused(status, &record)),
    };
    let mut body = json!({ "mode": "blocked" });
    if let Some(scope) = arguments.scope {
        body["scope"] = scope.as_str().into();
    }
    gateway.ask("PUT", &credential_path(&endpoint), Some(&body))?;
    Ok(terminal.say(&format!("endpoint '{endpoint}' is blocked; 'device remove' lifts that")).map(|()| Ending::Fine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_holds_what_a_device_needs() {
        let answer = json!({ "identity": "a;b" });
        assert_eq!(label("urn:dev:1", &answer, "00ff"), "lwm2m:ep=urn%3Adev%3A1;id=a%3Bb;psk=00ff");
        assert_eq!(label("x", &json!({ "identity_hex": "0a" }), "00"), "lwm2m:ep=x;idhex=0a;psk=00");
    }

    #[test]
    fn a_code_is_square_and_coloured_only_where_it_is_seen() {
        let plain = drawn("lwm2m:ep=a;id=a;psk=00", false).unwrap();
        let width = plain.lines().next().unwrap().chars().count();
        assert!(plain.lines().all(|line| line.chars().count() == width), "{plain}");
        assert_eq!(plain.lines().count(), width.div_ceil(2), "two rows in one line");
        assert!(!plain.contains('\u{1b}'));
        assert!(drawn("a", true).unwrap().lines().all(|line| line.ends_with("\u{1b}[0m")));
        assert_eq!(drawn(&"x".repeat(10_000), false), None);
    }
}

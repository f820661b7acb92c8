//! `trace`: the decoded CoAP messages of a device, live, and as a capture.

use std::io::{self, BufWriter};
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value as Json;

use super::arguments::TraceArguments;
use super::gateway_api::{Gateway, NoAnswer, device_path};
use super::pcapng::Capture;
use super::{Ending, Terminal};
use crate::config::Sources;
use crate::io::files;
use crate::io::http::api_client::ServerSentEvent;
use crate::model::time::WallTime;
use crate::model::units::format_duration;

/// Where the gateway is taken to be if it does not know its own address.
const UNKNOWN_LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5683);

/// Prints messages until the time is over.
pub(super) fn trace(
    arguments: &TraceArguments,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Ending> {
    let mut capture = match &arguments.pcap {
        None => None,
        Some(path) => match files::create(path).and_then(|file| Capture::begin(BufWriter::new(file))) {
            Ok(capture) => Some(capture),
            Err(error) => {
                terminal.complain(&format!("error: {}: {error}", path.display()))?;
                return Ok(Ending::Failed);
            }
        },
    };
    let gateway = match Gateway::of(&arguments.gateway, sources) {
        Ok(gateway) => gateway,
        Err(error) => return error.tell(terminal),
    };
    let path = format!("{}/trace?for={}", device_path(&arguments.device), format_duration(arguments.duration));
    let mut failure = None;
    let mut over = false;
    let followed = gateway.follow(&path, &mut |event| {
        let told = tell(&event, arguments.json, &mut capture, terminal);
        over = event.kind == "end";
        match told {
            Ok(()) => !over,
            Err(error) => {
                failure = Some(error);
                false
            }
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    match followed {
        Ok(()) if over => Ok(Ending::Fine),
        Ok(()) => NoAnswer::Failed("error: the gateway ended the trace early".to_owned()).tell(terminal),
        Err(error) => error.tell(terminal),
    }
}

fn tell<W: io::Write>(
    event: &ServerSentEvent,
    as_json: bool,
    capture: &mut Option<Capture<W>>,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    let line: Json = serde_json::from_str(&event.data).unwrap_or_default();
    match event.kind.as_str() {
        "trace" => {
            if let Some(capture) = capture {
                keep(&line, capture)?;
            }
            if as_json { terminal.say(&event.data) } else { terminal.say(&shown(&line)) }
        }
        "missed" => terminal.complain(&format!("note: {} messages are missing here", line["count"])),
        _ => Ok(()),
    }
}

/// Puts a message into the capture.
fn keep<W: io::Write>(line: &Json, capture: &mut Capture<W>) -> io::Result<()> {
    let address = |key: &str| line[key].as_str().and_then(|text| text.parse::<SocketAddr>().ok());
    let raw = line["raw"].as_str().and_then(|raw| data_encoding::HEXLOWER.decode(raw.as_bytes()).ok());
    let (Some(remote), Some(raw)) = (address("remote"), raw) else { return Ok(()) };
    let local = address("local").unwrap_or(UNKNOWN_LOCAL);
    let incoming = line["direction"] == "in";
    let way = if incoming { (remote, local) } else { (local, remote) };
    capture.packet(line["ts"].as_u64().unwrap_or_default(), way, &raw)
}

/// A message for people: time, direction, summary, and what it carries on a line of its own.
fn shown(line: &Json) -> String {
    let ts = WallTime::from_millis(line["ts"].as_i64().unwrap_or_default());
    let arrow = if line["direction"] == "in" { "<-" } else { "->" };
    let left_out = line["left_out"].as_u64();
    let left_out = left_out.map(|count| format!(" ({count} messages before it were left out)")).unwrap_or_default();
    let summary = line["summary"].as_str().unwrap_or_default();
    let mut lines = vec![format!("{} {arrow} {summary}{left_out}", ts.to_rfc3339())];
    for key in ["content", "content_cut", "text", "hex", "hidden"] {
        match &line["payload"][key] {
            Json::Null => {}
            Json::String(words) if key == "hidden" => lines.push(format!("      (hidden: {words})")),
            Json::String(words) => lines.push(format!("      {words}")),
            other => lines.push(format!("      {other}")),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::pcapng::tests::read;

    fn line(direction: &str) -> Json {
        json!({
            "ts": 1_700_000_000_123_i64, "direction": direction, "remote": "192.0.2.7:40001",
            "local": "192.0.2.1:5683", "raw": "600012ab", "summary": "ACK empty [0x12ab]",
            "payload": { "content": { "values": { "/3303/0/5700": 21.5 } } },
        })
    }

    #[test]
    fn messages_are_told_and_captured_in_their_direction() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut bytes = Vec::new();
        let mut capture = Some(Capture::begin(&mut bytes).unwrap());
        let mut terminal = Terminal { out: &mut out, err: &mut err, interactive: false };
        for direction in ["in", "out"] {
            let event = ServerSentEvent { kind: "trace".to_owned(), data: line(direction).to_string() };
            tell(&event, false, &mut capture, &mut terminal).unwrap();
        }
        let event = ServerSentEvent { kind: "missed".to_owned(), data: "{\"count\":4}".to_owned() };
        tell(&event, false, &mut capture, &mut terminal).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(" <- ACK empty [0x12ab]\n      {\"values\":{\"/3303/0/5700\":21.5}}\n"), "{text}");
        assert!(text.contains(" -> ACK empty"), "{text}");
        assert_eq!(String::from_utf8(err).unwrap(), "note: 4 messages are missing here\n");
        let packets = read(&bytes);
        let (device, gateway) = ("192.0.2.7:40001".parse().unwrap(), "192.0.2.1:5683".parse().unwrap());
        assert_eq!(packets[0], (1_700_000_000_123_000, device, gateway, vec![0x60, 0, 0x12, 0xab]));
        assert_eq!((packets[1].1, packets[1].2), (gateway, device));
    }
}

//! `device`: what the running gateway knows of its devices, and operations on them.

use std::io;

use serde_json::{Value as Json, json};

use super::arguments::{
    DeviceCommand, DeviceListArguments, ExecuteArguments, OneDeviceArguments, ResourceArguments, WriteArguments,
};
use super::device_credentials::{add, block};
use super::device_import::import;
use super::gateway_api::{Gateway, NoAnswer, device_path, encode_segment, refused};
use super::{Ending, Terminal};
use crate::config::Sources;
use crate::io::clock::wall_now;
use crate::model::time::WallTime;
use crate::model::units::format_duration;

/// Devices asked for at a time.
const PAGE: usize = 500;

/// Does what the command says.
pub(super) fn device(
    command: &DeviceCommand,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Ending> {
    let done = match command {
        DeviceCommand::List(arguments) => list(arguments, sources, terminal),
        DeviceCommand::Show(arguments) => show(arguments, sources, terminal),
        DeviceCommand::Why(arguments) => why(arguments, sources, terminal),
        DeviceCommand::Remove(arguments) => remove(arguments, sources, terminal),
        DeviceCommand::Read(arguments) => read(arguments, sources, terminal),
        DeviceCommand::Write(arguments) => write(arguments, sources, terminal),
        DeviceCommand::Execute(arguments) => execute(arguments, sources, terminal),
        DeviceCommand::Add(arguments) => add(arguments, sources, terminal),
        DeviceCommand::Block(arguments) => block(arguments, sources, terminal),
        DeviceCommand::Import(arguments) => import(arguments, sources, terminal),
    };
    match done {
        Ok(ending) => ending,
        Err(error) => error.tell(terminal),
    }
}

/// What a command did: it could not ask, or could (and perhaps not print).
type Done = Result<io::Result<Ending>, NoAnswer>;

fn list(arguments: &DeviceListArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    let search = arguments.search.as_deref().map(|text| format!("&q={}", encode_segment(text))).unwrap_or_default();
    let mut devices = Vec::new();
    let mut after = String::new();
    loop {
        let mut page = gateway.ask("GET", &format!("/api/v1/devices?limit={PAGE}{search}{after}"), None)?;
        devices.append(page["items"].as_array_mut().unwrap_or(&mut Vec::new()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encode_segment(next)),
            None => break,
        }
    }
    if arguments.json {
        return Ok(terminal.say_json(&devices.into()).map(|()| Ending::Fine));
    }
    let now = wall_now();
    let mut rows =
        vec![["DEVICE", "STATE", "HEARD", "VERSION", "TRANSPORT", "ADDRESS", "LAST ERROR"].map(str::to_owned)];
    rows.extend(devices.iter().map(|device| row(device, now)));
    Ok(table(&rows, terminal).map(|()| Ending::Fine))
}

fn row(device: &Json, now: WallTime) -> [String; 7] {
    let text = |key: &str| device[key].as_str().unwrap_or("-").to_owned();
    let name = device["name"].as_str().or(device["endpoint"].as_str()).unwrap_or("-");
    [
        name.to_owned(),
        text("state"),
        heard(device, now),
        text("lwm2m_version"),
        text("transport"),
        text("address"),
        text("last_error"),
    ]
}

/// How long ago the device was heard.
fn heard(device: &Json, now: WallTime) -> String {
    let Some(last) = device["last_seen_at"].as_i64() else { return "-".to_owned() };
    let seconds = now.millis().saturating_sub(last).max(0) / 1_000;
    format!("{} ago", format_duration(std::time::Duration::from_secs(seconds.unsigned_abs())))
}

fn table<const N: usize>(rows: &[[String; N]], terminal: &mut Terminal<'_>) -> io::Result<()> {
    let widths: Vec<usize> =
        (0..N).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        terminal.say(cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn show(arguments: &OneDeviceArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    let record = gateway.ask("GET", &device_path(&arguments.device), None)?;
    Ok(terminal.say_json(&record).map(|()| Ending::Fine))
}

fn remove(arguments: &OneDeviceArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    gateway.ask("DELETE", &device_path(&arguments.device), None)?;
    Ok(terminal.say(&format!("device '{}' is forgotten", arguments.device)).map(|()| Ending::Fine))
}

/// Up: 0; not up: 1, so that scripts can ask too.
fn why(arguments: &OneDeviceArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    let diagnosis = gateway.ask("GET", &format!("{}/diagnosis", device_path(&arguments.device)), None)?;
    let is_up = matches!(diagnosis["state"].as_str(), Some("online" | "asleep"));
    let said = if arguments.json {
        terminal.say_json(&diagnosis)
    } else {
        terminal.say(diagnosed(&diagnosis, wall_now()).trim_end())
    };
    Ok(said.map(|()| if is_up { Ending::Fine } else { Ending::Failed }))
}

/// A diagnosis for people.
fn diagnosed(diagnosis: &Json, now: WallTime) -> String {
    let text = |key: &str| diagnosis[key].as_str().filter(|text| !text.is_empty());
    let mut lines = Vec::new();
    let reason = text("reason").map(|reason| format!(" ({reason})")).unwrap_or_default();
    let since = diagnosis["since"].as_i64().map(|since| {
        let seconds = now.millis().saturating_sub(since).max(0) / 1_000;
        format!(" since {}", format_duration(std::time::Duration::from_secs(seconds.unsigned_abs())))
    });
    lines.push(format!(
        "{} is {}{reason}{}",
        text("endpoint").unwrap_or("it"),
        text("state").unwrap_or("unknown"),
        since.unwrap_or_default()
    ));
    for key in ["summary", "explanation"] {
        match &diagnosis[key] {
            Json::Array(sentences) => lines.extend(sentences.iter().map(|one| format!("  {}", words_of(one)))),
            Json::Null => {}
            other => lines.push(format!("  {}", words_of(other))),
        }
    }
    let waiting = diagnosis["queue"].get("waiting").unwrap_or(&diagnosis["pending_commands"]);
    for (title, about) in [
        ("last error", &diagnosis["last_error"]),
        ("tolerated", &diagnosis["quirks"]),
        ("unanswered requests", &diagnosis["unanswered"]),
        ("waiting commands", waiting),
        ("values without a rule", &diagnosis["unmapped"]),
        ("network", &diagnosis["nat"]["why"]),
    ] {
        let words = words_of(about);
        if !words.is_empty() && words != "0" {
            lines.push(format!("  {title}: {words}"));
        }
    }
    for (key, title) in [("refused", "refused"), ("refused_observations", "observation refused")] {
        for refused in diagnosis[key].as_array().into_iter().flatten() {
            lines.push(format!("  {title}: {}", words_of(refused)));
        }
    }
    lines.join("\n")
}

/// JSON as a few words.
fn words_of(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(words_of).collect::<Vec<_>>().join(", "),
        Json::Object(fields) => {
            let field = |(name, value): (&String, &Json)| format!("{name} {}", words_of(value));
            fields.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// The path of a resource in the API.
fn resource_path(arguments: &ResourceArguments) -> String {
    let path: Vec<String> =
        arguments.path.split('/').filter(|segment| !segment.is_empty()).map(encode_segment).collect();
    let wait = arguments.wait.map(|wait| format!("?wait={}", format_duration(wait))).unwrap_or_default();
    format!("{}/resources/{}{wait}", device_path(&arguments.device), path.join("/"))
}

fn read(arguments: &ResourceArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    operate(arguments, "GET", None, sources, terminal)
}

fn write(arguments: &WriteArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let value: Json = serde_json::from_str(&arguments.value).unwrap_or_else(|_| arguments.value.as_str().into());
    operate(&arguments.resource, "PUT", Some(&json!({ "value": value })), sources, terminal)
}

fn execute(arguments: &ExecuteArguments, sources: &Sources<'_>, terminal: &mut Terminal<'_>) -> Done {
    let body = arguments.arguments.as_ref().map_or_else(|| json!({}), |text| json!({ "arguments": text }));
    operate(&arguments.resource, "POST", Some(&body), sources, terminal)
}

/// Has the device do something and tells what became of it.
fn operate(
    arguments: &ResourceArguments,
    method: &str,
    body: Option<&Json>,
    sources: &Sources<'_>,
    terminal: &mut Terminal<'_>,
) -> Done {
    let gateway = Gateway::of(&arguments.gateway, sources)?;
    let (status, result) = gateway.ask_for_any(method, &resource_path(arguments), body)?;
    let Some(outcome) = result["status"].as_str() else { return Err(refused(status, &result)) };
    let ending = if matches!(outcome, "done" | "queued") { Ending::Fine } else { Ending::Failed };
    if arguments.json {
        return Ok(terminal.say_json(&result).map(|()| ending));
    }
    Ok(match outcome {
        "done" => told(&result, terminal),
        "queued" => terminal.say(&format!("queued until the device wakes up, as command {}", words_of(&result["id"]))),
        _ => {
            let reason = result["error"]["message"].as_str();
            let code = result["code"].as_str().map(|code| format!("the device answered {code}"));
            let reason = reason.map(str::to_owned).or(code).unwrap_or_default();
            terminal.complain(&format!("error: {outcome}: {reason}"))
        }
    }
    .map(|()| ending))
}

/// What the device answered: the value alone, or values by path.
fn told(result: &Json, terminal: &mut Terminal<'_>) -> io::Result<()> {
    if let Some(value) = result.get("value") {
        return match value {
            Json::String(text) => terminal.say(text),
            other => terminal.say(&other.to_string()),
        };
    }
    for (path, value) in result["values"].as_object().into_iter().flatten() {
        terminal.say(&format!("{path} {value}"))?;
    }
    for record in result["records"].as_array().into_iter().flatten() {
        terminal.say(&format!("{} {} {}", words_of(&record["path"]), record["value"], record["ts"]))?;
    }
    if result.get("values").is_none() && result.get("records").is_none() {
        terminal.say(result["code"].as_str().unwrap_or("done"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_reads_as_sentences() {
        let diagnosis = json!({
            "endpoint": "meter-1", "state": "offline", "reason": "lifetime", "since": 1_000,
            "summary": "It did not update its registration in time.",
            "refused": [{ "reason": "unknown_device", "count": 3 }],
            "refused_observations": [{ "path": "/3303/0/5700", "code": "4.05" }],
            "last_error": "no answer to a request for /3/0", "quirks": ["no_observe_option"], "unanswered": 2,
            "queue": { "waiting": 0, "oldest_at": null }, "nat": { "suspected": false, "why": null }, "unmapped": 0,
        });
        let expected = "meter-1 is offline (lifetime) since 1m\n  It did not update its registration in time.\n  \
                        last error: no answer to a request for /3/0\n  tolerated: no_observe_option\n  \
                        unanswered requests: 2\n  refused: count 3, reason unknown_device\n  \
                        observation refused: code 4.05, path /3303/0/5700";
        assert_eq!(diagnosed(&diagnosis, WallTime::from_millis(61_000)), expected);
        assert_eq!(diagnosed(&json!({}), WallTime::from_millis(0)), "it is unknown", "whatever the gateway leaves out");
    }
}

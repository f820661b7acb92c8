//! What `explain` tells, for people and for programs.

use serde_json::{Value as Json, json};

use crate::gateway::preview::shown_payload;
use crate::mapping::{ExplainStep, KeyKind, MappedValue, ReportPolicy, Uplink, Verdict};
use crate::model::message::Message;
use crate::model::path::Path;
use crate::model::report::DeviceFacts;
use crate::model::units::format_duration;
use crate::model::value::Value;

/// What is told of a value.
pub(super) struct Explanation {
    pub(super) path: Path,
    pub(super) facts: DeviceFacts,
    pub(super) value: Value,
    pub(super) value_assumed: bool,
    pub(super) steps: Vec<ExplainStep>,
    pub(super) uplink: Uplink,
    /// By sink.
    pub(super) messages: Vec<(String, Vec<Message>)>,
}

impl Explanation {
    /// Why nothing leaves; `None` if something does.
    fn reason(&self) -> Option<&'static str> {
        if !self.uplink.values.is_empty() {
            return None;
        }
        Some(if self.uplink.ignored {
            "an [[ignore]] rule takes it"
        } else if self.uplink.failures.is_empty() {
            "no rule takes it"
        } else if self.value_assumed {
            "the rules that fit cannot use the assumed value; give one with --value"
        } else {
            "the rules that fit cannot use the value"
        })
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Json {
        let messages: serde_json::Map<String, Json> = self
            .messages
            .iter()
            .map(|(sink, messages)| (sink.clone(), messages.iter().map(shown_message).collect()))
            .collect();
        let mut json = json!({
            "path": self.path.to_string(),
            "endpoint": self.facts.endpoint,
            "value": self.value.to_json(),
            "value_assumed": self.value_assumed,
            "rules": self.steps.iter().map(shown_step).collect::<Vec<_>>(),
            "values": self.uplink.values.iter().map(shown_value).collect::<Vec<_>>(),
            "ignored": self.uplink.ignored,
            "failures": self.uplink.failures,
            "messages": messages,
        });
        if let Some(reason) = self.reason() {
            json["reason"] = reason.into();
        }
        json
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let value = self.value.to_json().unwrap_or_else(|| "a number that is not finite".into());
        let assumed = if self.value_assumed { " (assumed; give one with --value)" } else { "" };
        let mut lines = vec![format!("{} of {}: {value}{assumed}", self.path, self.facts.endpoint)];
        let mut section = |title: &str, entries: Vec<String>| {
            if !entries.is_empty() {
                lines.push(format!("\n{title}"));
                lines.extend(entries.into_iter().map(|entry| format!("  {entry}")));
            }
        };
        let decides =
            |step: &&ExplainStep| matches!(step.verdict, Verdict::Takes(_) | Verdict::Fails(_) | Verdict::Ignores);
        section("Decided by", self.steps.iter().filter(decides).map(ToString::to_string).collect());
        let others = self.steps.iter().filter(|step| !decides(step)).map(ToString::to_string).collect();
        section("Other rules for this object", others);
        section("Keys", self.uplink.values.iter().map(value_line).collect());
        for (sink, messages) in &self.messages {
            section(&format!("Messages to '{sink}'"), messages.iter().map(message_line).collect());
        }
        match self.reason() {
            Some(reason) => section("No message leaves", vec![reason.to_owned()]),
            None if self.messages.iter().all(|(_, messages)| messages.is_empty()) => {
                section("No message leaves", vec!["the rule asks for sinks that are not configured".to_owned()]);
            }
            None => {}
        }
        lines.join("\n")
    }
}

fn kind_word(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Telemetry => "telemetry",
        KeyKind::Attribute => "attribute",
    }
}

fn shown_step(step: &ExplainStep) -> Json {
    let verdict = match &step.verdict {
        Verdict::OtherDevice(_) => "other_device",
        Verdict::OtherPath => "other_path",
        Verdict::OtherVersion => "other_version",
        Verdict::TooLate => "too_late",
        Verdict::Takes(_) => "takes",
        Verdict::Fails(_) => "fails",
        Verdict::Ignores => "ignores",
    };
    let text = step.verdict.to_string();
    json!({ "file": step.file, "line": step.line, "rule": step.rule, "verdict": verdict, "text": text })
}

fn shown_message(message: &Message) -> Json {
    json!({ "topic": message.topic, "payload": shown_payload(&message.payload), "retain": message.retain })
}

fn message_line(message: &Message) -> String {
    let retained = if message.retain { " (retained)" } else { "" };
    format!("{} {}{retained}", message.topic, String::from_utf8_lossy(&message.payload))
}

fn value_line(value: &MappedValue) -> String {
    let unit = value.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
    let sinks = value.sinks.as_deref().map(|sinks| format!(", only to {}", sinks.join(", "))).unwrap_or_default();
    let report = match value.report {
        ReportPolicy::OnReceive => String::new(),
        ReportPolicy::OnChange => ", when it changes".to_owned(),
        ReportPolicy::Every(interval) => format!(", every {}", format_duration(interval)),
        ReportPolicy::OnChangeOrEvery(interval) => {
            format!(", when it changes and every {}", format_duration(interval))
        }
    };
    format!("{} {} = {}{unit}{report}{sinks}", kind_word(value.kind), value.key, value.value)
}

fn shown_value(value: &MappedValue) -> Json {
    let report = match value.report {
        ReportPolicy::OnReceive => json!("on_receive"),
        ReportPolicy::OnChange => json!("on_change"),
        ReportPolicy::Every(duration) => json!({ "every": format_duration(duration) }),
        ReportPolicy::OnChangeOrEvery(duration) => json!({ "on_change_or_every": format_duration(duration) }),
    };
    let mut json = json!({ "kind": kind_word(value.kind), "key": value.key, "value": value.value, "report": report });
    if let Some(unit) = &value.unit {
        json["unit"] = (&**unit).into();
    }
    if let Some(sinks) = &value.sinks {
        json["sinks"] = sinks.to_vec().into();
    }
    json
}

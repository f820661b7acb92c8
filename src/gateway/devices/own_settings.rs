//! How an operator wants one device treated, over what the mapping says: the `settings` of `device/options`.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::mapping::{DeviceSettings, QueueMode};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::units::{format_duration, parse_duration};
use crate::protocol::content::ContentFormat;

/// Longest time that a setting may have.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Settings of one device; what is `None` is left to the mapping and the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OwnSettings {
    /// Whether it sleeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue_mode: Option<QueueMode>,
    /// How long it listens after its last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awake_window: Option<Duration>,
    /// CoAP acknowledgement timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ack_timeout: Option<Duration>,
    /// Content format of writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    write_format: Option<u16>,
}

fn invalid(message: String) -> CommandError {
    CommandError::new(ErrorKind::Invalid, message)
}

fn duration(name: &str, value: &Json) -> Result<Option<Duration>, CommandError> {
    if value.is_null() {
        return Ok(None);
    }
    let text = value.as_str().ok_or_else(|| invalid(format!("settings.{name} is no duration such as \"30s\"")))?;
    let duration = parse_duration(text).map_err(|error| invalid(format!("settings.{name}: {error}")))?;
    if duration.is_zero() || duration > LONGEST {
        return Err(invalid(format!("settings.{name} is not above 0 and at most 24h")));
    }
    Ok(Some(duration))
}

impl OwnSettings {
    /// These with the changes of a request, where null gives a setting back to the mapping.
    ///
    /// # Errors
    /// `invalid`, naming the setting.
    pub fn changed(&self, changes: &Map<String, Json>) -> Result<Self, CommandError> {
        let mut settings = self.clone();
        for (name, value) in changes {
            match name.as_str() {
                "queue_mode" => {
                    settings.queue_mode = value.as_str().and_then(QueueMode::parse);
                    if settings.queue_mode.is_none() && !value.is_null() {
                        return Err(invalid("settings.queue_mode is none of auto, force, never".to_owned()));
                    }
                }
                "awake_window" => settings.awake_window = duration(name, value)?,
                "ack_timeout" => settings.ack_timeout = duration(name, value)?,
                "write_format" => {
                    let format = value.as_str().and_then(ContentFormat::parse).map(|format| format.0);
                    let format = format.or_else(|| value.as_u64().and_then(|number| u16::try_from(number).ok()));
                    if format.is_none() && !value.is_null() {
                        return Err(invalid("settings.write_format is no content format".to_owned()));
                    }
                    settings.write_format = format;
                }
                _ => return Err(invalid(format!("settings.{name} is no setting of a device"))),
            }
        }
        Ok(settings)
    }

    /// Puts these over what the mapping says.
    pub fn apply(&self, settings: &mut DeviceSettings) {
        settings.queue_mode = self.queue_mode.unwrap_or(settings.queue_mode);
        settings.awake_window = self.awake_window.or(settings.awake_window);
        settings.ack_timeout = self.ack_timeout.or(settings.ack_timeout);
        settings.write_format = self.write_format.or(settings.write_format);
    }

    /// As they are written: durations and formats in words.
    pub fn to_json(&self) -> Json {
        let mut json = Map::new();
        if let Some(mode) = self.queue_mode {
            json.insert("queue_mode".to_owned(), mode.as_str().into());
        }
        for (name, duration) in [("awake_window", self.awake_window), ("ack_timeout", self.ack_timeout)] {
            if let Some(duration) = duration {
                json.insert(name.to_owned(), format_duration(duration).into());
            }
        }
        if let Some(format) = self.write_format {
            json.insert("write_format".to_owned(), ContentFormat(format).to_string().into());
        }
        Json::Object(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes(json: Json) -> Map<String, Json> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn settings_are_changed_one_by_one_and_null_gives_one_back() {
        let given = json!({"queue_mode": "force", "awake_window": "30s", "write_format": "tlv"});
        let settings = OwnSettings::default().changed(&changes(given.clone())).unwrap();
        assert_eq!(settings.to_json(), given);
        let settings = settings.changed(&changes(json!({"awake_window": null, "ack_timeout": "5s"}))).unwrap();
        assert_eq!(settings.to_json(), json!({"queue_mode": "force", "ack_timeout": "5s", "write_format": "tlv"}));
        let mut mapped = DeviceSettings { awake_window: Some(Duration::from_secs(7)), ..DeviceSettings::default() };
        settings.apply(&mut mapped);
        assert_eq!((mapped.queue_mode, mapped.awake_window), (QueueMode::Force, Some(Duration::from_secs(7))));
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        for (given, named) in [
            (json!({"speed": 1}), "settings.speed"),
            (json!({"queue_mode": "perhaps"}), "settings.queue_mode"),
            (json!({"awake_window": 30}), "settings.awake_window"),
            (json!({"awake_window": "0s"}), "settings.awake_window"),
            (json!({"ack_timeout": "soon"}), "settings.ack_timeout"),
            (json!({"write_format": "xml"}), "settings.write_format"),
        ] {
            let refused = OwnSettings::default().changed(&changes(given)).unwrap_err();
            assert!(refused.message.contains(named), "{refused}");
        }
    }
}

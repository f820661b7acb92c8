//! Commands of all devices: those that wait, and those that ended in the last day.

use serde_json::{Value as Json, json};

use super::configuration::Role;
use super::core::Core;
use super::devices::Devices;
use super::devices::commands::new_id;
use super::devices::device::Device;
use super::devices::exchange::Job;
use super::dispatch::queue::QueuedCommand;
use super::dispatch::record::Origin;
use super::inbound::demand;
use super::services::Services;
use super::vocabulary::{Answer, RequestId};
use crate::model::command::{Command, CommandError, ErrorKind, Operation};
use crate::northbound::command_json::result_json;

/// A command among others: latest first, then by device and id.
struct Listed {
    ts: i64,
    place: String,
    about: Json,
}

impl Listed {
    fn new(about: Json) -> Self {
        let text = |field: &str| about[field].as_str().unwrap_or_default();
        Self {
            ts: about["ts"].as_i64().unwrap_or_default(),
            place: format!("{}/{}", text("endpoint"), text("id")),
            about,
        }
    }

    fn rank(&self) -> (i64, &str) {
        (self.ts.saturating_neg(), &self.place)
    }

    fn cursor(&self) -> String {
        format!("{}/{}", self.ts, self.place)
    }
}

impl Core {
    /// A page of commands.
    pub(super) fn list_commands(
        &mut self,
        device: Option<&str>,
        status: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Answer {
        let (services, devices, _) = self.parts();
        let endpoint = match device {
            None => None,
            Some(name) => match devices.key_of(name).and_then(|key| devices.table.get(key)) {
                Some(device) => Some(device.endpoint.clone()),
                None => return Answer::UnknownDevice,
            },
        };
        let after = match after.map(parse_cursor) {
            None => None,
            Some(Some(after)) => Some(after),
            Some(None) => return failed(ErrorKind::Invalid, "after: this is no cursor of this list"),
        };
        let waiting = devices
            .table
            .iter()
            .filter(|(_, device)| endpoint.as_ref().is_none_or(|endpoint| device.endpoint == *endpoint))
            .flat_map(|(_, device)| device.commands.iter().map(|queued| waiting_json(device, queued, services)));
        let ended = devices
            .results
            .iter()
            .filter(|kept| endpoint.as_ref().is_none_or(|endpoint| kept.result.endpoint == *endpoint))
            .map(|kept| result_json(&kept.result));
        let mut found: Vec<Listed> = waiting
            .chain(ended)
            .filter(|about| status.is_none_or(|status| about["status"] == status))
            .map(Listed::new)
            .filter(|listed| after.as_ref().is_none_or(|(ts, place)| listed.rank() > (ts.saturating_neg(), place)))
            .collect();
        found.sort_unstable_by(|one, other| one.rank().cmp(&other.rank()));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(Listed::cursor);
        let items: Vec<Json> = found.into_iter().map(|listed| listed.about).collect();
        Answer::Body(json!({ "items": items, "next": next }))
    }

    /// How one command stands or ended.
    pub(super) fn show_command(&mut self, id: &str, device: Option<&str>) -> Answer {
        let (services, devices, _) = self.parts();
        match find(devices, id, device) {
            Ok(Found::Waiting(key)) => devices
                .table
                .get(key)
                .and_then(|device| device.commands.get(id).map(|queued| waiting_json(device, queued, services)))
                .map_or(Answer::UnknownDevice, Answer::Body),
            Ok(Found::Ended(result)) => Answer::Body(result),
            Err(error) => Answer::Failed(error),
        }
    }

    /// Withdraws a waiting command; the answer follows when that is durable.
    pub(super) fn cancel_by_api(
        &mut self,
        request: RequestId,
        id: &str,
        device: Option<&str>,
        role: Role,
    ) -> Result<(), CommandError> {
        demand(role, Role::Operator)?;
        let (services, devices, _) = self.parts();
        match find(devices, id, device)? {
            Found::Waiting(key) => {
                let command = Command::new(new_id(services), Operation::Cancel { command: id.to_owned() });
                let origin = Origin { by_api: true, request: Some(request), ..Origin::default() };
                devices.accept_command(services, key, command, origin);
                Ok(())
            }
            Found::Ended(result) => {
                let status = result["status"].as_str().unwrap_or_default();
                Err(CommandError::new(ErrorKind::Conflict, format!("command '{id}' ended already: {status}")))
            }
        }
    }
}

enum Found {
    /// With the device of this key.
    Waiting(usize),
    /// Its result.
    Ended(Json),
}

/// The command of an id, which is unique for its device only.
fn find(devices: &Devices, id: &str, device: Option<&str>) -> Result<Found, CommandError> {
    let key = match device {
        None => None,
        Some(name) => Some(
            devices
                .key_of(name)
                .ok_or_else(|| CommandError::new(ErrorKind::UnknownDevice, format!("no device is called '{name}'")))?,
        ),
    };
    let of_device =
        |endpoint| key.is_none_or(|key| devices.table.get(key).is_some_and(|device| device.endpoint == endpoint));
    let waiting = devices
        .table
        .iter()
        .filter(|(candidate, device)| key.is_none_or(|key| key == *candidate) && device.commands.get(id).is_some())
        .map(|(key, _)| Found::Waiting(key));
    let ended = devices
        .results
        .iter()
        .filter(|kept| kept.result.id == id && of_device(kept.result.endpoint.clone()))
        .map(|kept| Found::Ended(result_json(&kept.result)));
    let mut found = waiting.chain(ended);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => {
            let message = format!("several devices have a command '{id}'; say which by ?device=");
            Err(CommandError::new(ErrorKind::Conflict, message))
        }
        (None, _) => Err(CommandError::new(ErrorKind::NotFound, format!("there is no command '{id}'"))),
    }
}

fn waiting_json(device: &Device, queued: &QueuedCommand, services: &Services) -> Json {
    let id = queued.command.id.as_str();
    let under_way = device
        .exchange
        .as_ref()
        .is_some_and(|active| matches!(&active.job, Job::Command { id: sent, .. } if sent == id));
    let mut about = json!({
        "id": id,
        "endpoint": device.endpoint.as_str(),
        "operation": queued.asked.name(),
        "status": if queued.reported_queued { "queued" } else { "accepted" },
        "ts": queued.accepted_at.millis(),
        "expires_at": services.clock.at(queued.expires_at).millis(),
        "priority": queued.command.priority,
        "under_way": under_way,
    });
    if let Some(path) = queued.command.operation.path() {
        about["path"] = path.to_string().into();
    }
    if let Some(key) = queued.key() {
        about["key"] = key.into();
    }
    if let Some(not_before) = queued.command.not_before {
        about["not_before"] = not_before.millis().into();
    }
    about
}

fn parse_cursor(cursor: &str) -> Option<(i64, String)> {
    let (ts, place) = cursor.split_once('/')?;
    Some((ts.parse().ok()?, place.to_owned()))
}

fn failed(kind: ErrorKind, message: &str) -> Answer {
    Answer::Failed(CommandError::new(kind, message))
}

//! Answers for the interfaces: accounts, entries, sessions, who waits. What is secret is never shown.

use serde_json::{Value as Json, json};

use super::tables::{KnownAccount, KnownEntry, Source};
use super::{BootstrapServer, is_on, new_id};
use crate::gateway::bootstrap_query::BootstrapQuery;
use crate::gateway::devices::Devices;
use crate::gateway::services::{Held, Services};
use crate::gateway::store::StoreWrite;
use crate::gateway::vocabulary::{Answer, RequestId};
use crate::instrumentation::occurrence::Occurrence;
use crate::model::bootstrap::{AccountName, AccountOrName, DeviceEntry, EntryName};
use crate::model::command::{CommandError, ErrorKind};
use crate::northbound::bootstrap_json::{Problem, Secrets, account_json, entry_json, parse_account, parse_entry};

use super::tables::MAX_ACCOUNTS;

/// What the interfaces hear: at once, or when it is durable.
enum Told {
    Now(Json),
    WhenDurable(Json),
}

impl BootstrapServer {
    /// The answer to an API caller, or `None` where it follows when it is durable.
    pub fn answer(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        request: RequestId,
        query: BootstrapQuery,
    ) -> Option<Answer> {
        if !is_on(&services.configuration) {
            let message = "there is no bootstrap server: the configuration has no section [bootstrap]";
            return Some(Answer::Failed(CommandError::new(ErrorKind::NotSupported, message)));
        }
        match self.told(services, devices, query) {
            Ok(Told::Now(body)) => Some(Answer::Body(body)),
            Ok(Told::WhenDurable(body)) => {
                services.journal.when_durable(Held::ApiAnswer { request, answer: Answer::Body(body) });
                None
            }
            Err(error) => Some(Answer::Failed(error)),
        }
    }

    fn told(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        query: BootstrapQuery,
    ) -> Result<Told, CommandError> {
        Ok(match query {
            BootstrapQuery::Servers => {
                let items: Vec<Json> = self.tables.accounts().map(|(name, known)| about_account(name, known)).collect();
                Told::Now(json!({ "items": items, "next": null }))
            }
            BootstrapQuery::Server { name } => {
                let (name, known) = self.tables.account(&name).ok_or_else(|| no_account(&name))?;
                Told::Now(about_account(name, known))
            }
            BootstrapQuery::PutServer { name, body, dry_run } => self.put_server(services, &name, &body, dry_run)?,
            BootstrapQuery::RemoveServer { name, cascade } => self.remove_server(services, &name, cascade)?,
            BootstrapQuery::Devices { search, after, limit } => {
                let fits = |(name, known): &(&EntryName, &KnownEntry)| fits(name, known, &search);
                let mut found: Vec<(&EntryName, &KnownEntry)> =
                    self.tables.entries_after(after.as_deref()).filter(fits).take(limit.saturating_add(1)).collect();
                let more = found.len() > limit;
                found.truncate(limit);
                let next = found.last().filter(|_| more).map(|(name, _)| name.as_str());
                let items: Vec<Json> = found.iter().map(|(name, known)| about_entry(name, known)).collect();
                Told::Now(json!({ "items": items, "next": next }))
            }
            BootstrapQuery::Device { name } => {
                let (name, known) = self.tables.entry(&name).ok_or_else(|| no_entry(&name))?;
                Told::Now(about_entry(name, known))
            }
            BootstrapQuery::PutDevice { name, body, dry_run } => {
                let entry = parse_entry(&body, &services.model).map_err(|problems| invalid(&problems))?;
                self.put_device(services, &name, entry, dry_run)?
            }
            BootstrapQuery::RemoveDevice { name } => {
                let (name, known) = self.tables.entry(&name).ok_or_else(|| no_entry(&name))?;
                refuse_file(known.source, name.as_str())?;
                let name = name.clone();
                if let Some(write) = self.tables.remove_entry(&name) {
                    services.write(write);
                }
                Told::WhenDurable(json!({ "name": name.as_str() }))
            }
            BootstrapQuery::RemoveDevices => {
                let names = self.tables.removable_entries();
                let writes: Vec<StoreWrite> = names.iter().filter_map(|name| self.tables.remove_entry(name)).collect();
                for write in writes {
                    services.write(write);
                }
                Told::WhenDurable(json!({ "removed": names.len() }))
            }
            BootstrapQuery::AddServer { device, server } => {
                let known = self.tables.entry(&device).map(|(_, known)| (*known.entry).clone());
                let mut entry = known.unwrap_or_default();
                let parsed = parse_entry(&json!({ "servers": [server] }), &services.model);
                entry.servers.extend(parsed.map_err(|problems| invalid(&problems))?.servers);
                self.put_device(services, &device, entry, false)?
            }
            BootstrapQuery::TakeServer { device, server } => {
                let (_, known) = self.tables.entry(&device).ok_or_else(|| no_entry(&device))?;
                let mut entry = (*known.entry).clone();
                let position = position_of(&entry, &server).ok_or_else(|| {
                    let message = format!("the entry '{device}' has no account '{server}'");
                    CommandError::new(ErrorKind::NotFound, message)
                })?;
                entry.servers.remove(position);
                self.put_device(services, &device, entry, false)?
            }
            BootstrapQuery::Sessions { endpoint, after, limit } => {
                Told::Now(self.list_sessions(endpoint.as_deref(), after.as_deref(), limit))
            }
            BootstrapQuery::Session { id } => {
                let running = self.sessions.values().map(|session| &session.log).find(|log| log.id == id);
                let log = running.or_else(|| self.past.iter().find(|log| log.id == id));
                let missing = || CommandError::new(ErrorKind::NotFound, format!("there is no session '{id}'"));
                Told::Now(log.ok_or_else(missing)?.to_json())
            }
            BootstrapQuery::Pending => Told::Now(self.show_waiting()),
            BootstrapQuery::Approve { endpoint, body } => {
                Told::WhenDurable(self.approve(services, devices, &endpoint, &body)?)
            }
        })
    }

    fn list_sessions(&self, endpoint: Option<&str>, after: Option<&str>, limit: usize) -> Json {
        let mut running: Vec<_> = self.sessions.values().map(|session| &session.log).collect();
        running.sort_by(|one, other| (other.started_at, &other.id).cmp(&(one.started_at, &one.id)));
        let all = running.into_iter().chain(self.past.iter());
        let mut fitting = all.filter(|log| endpoint.is_none_or(|endpoint| log.endpoint.as_str() == endpoint));
        if let Some(after) = after {
            // What is behind a session that is forgotten by now is forgotten too.
            let _ = fitting.by_ref().find(|log| log.id == after);
        }
        let mut found: Vec<_> = fitting.take(limit.saturating_add(1)).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|log| log.id.as_str());
        json!({ "items": found.iter().map(|log| log.to_json()).collect::<Vec<Json>>(), "next": next })
    }

    fn put_server(
        &mut self,
        services: &mut Services,
        name: &str,
        body: &Json,
        dry_run: bool,
    ) -> Result<Told, CommandError> {
        let name =
            AccountName::new(name).map_err(|error| CommandError::new(ErrorKind::Invalid, format!("name: {error}")))?;
        let account = parse_account(body).map_err(|problems| invalid(&problems))?;
        let known = self.tables.account(name.as_str()).map(|(_, known)| known);
        if let Some(known) = known {
            refuse_file(known.source, name.as_str())?;
        } else if self.tables.accounts().count() >= MAX_ACCOUNTS {
            services.count(Occurrence::BoundReached("max_bootstrap_accounts"));
            let message = format!("there are {MAX_ACCOUNTS} accounts, as many as may be; remove some first");
            return Err(CommandError::new(ErrorKind::QueueFull, message));
        }
        let created = known.is_none();
        // Entries that name it must stay sound.
        let mut trial = self.tables.clone();
        let (id, wall) = (new_id(services), services.wall());
        let write = trial.put_account(name.clone(), account, Source::Api, id, wall);
        for user in trial.users_of(&name) {
            let problems = trial.entry(user.as_str()).map(|(_, known)| trial.check(&known.entry)).unwrap_or_default();
            if let Some(problem) = problems.first() {
                let message = format!("the entry '{user}' would be wrong: {}: {}", problem.field, problem.message);
                return Err(CommandError::new(ErrorKind::Conflict, message));
            }
        }
        let mut about =
            trial.account(name.as_str()).map(|(name, known)| about_account(name, known)).unwrap_or_default();
        about["created"] = created.into();
        if dry_run {
            about["dry_run"] = true.into();
            return Ok(Told::Now(about));
        }
        self.tables = trial;
        services.write(write);
        Ok(Told::WhenDurable(about))
    }

    fn remove_server(&mut self, services: &mut Services, name: &str, cascade: bool) -> Result<Told, CommandError> {
        let (name, known) = self.tables.account(name).ok_or_else(|| no_account(name))?;
        refuse_file(known.source, name.as_str())?;
        let name = name.clone();
        let users = self.tables.users_of(&name);
        if !users.is_empty() && !cascade {
            let users: Vec<String> = users.iter().map(|user| format!("'{user}'")).collect();
            let message = format!(
                "the account '{name}' is in use by {}; remove it there first, or ask for cascade",
                users.join(", ")
            );
            return Err(CommandError::new(ErrorKind::Conflict, message));
        }
        for user in &users {
            if let Some((_, known)) = self.tables.entry(user.as_str()) {
                refuse_file(known.source, user.as_str())?;
            }
        }
        let wall = services.wall();
        for write in self.tables.remove_account(&name, wall) {
            services.write(write);
        }
        let users: Vec<&str> = users.iter().map(EntryName::as_str).collect();
        Ok(Told::WhenDurable(json!({ "name": name.as_str(), "taken_out_of": users })))
    }

    fn put_device(
        &mut self,
        services: &mut Services,
        name: &str,
        entry: DeviceEntry,
        dry_run: bool,
    ) -> Result<Told, CommandError> {
        let name = EntryName::new(name).ok_or_else(|| {
            let message = "name: an endpoint name or pattern has 1 to 256 characters, none of them a control character";
            CommandError::new(ErrorKind::Invalid, message)
        })?;
        let problems = self.tables.check(&entry);
        if !problems.is_empty() {
            return Err(invalid(&problems));
        }
        let created = self.tables.entry(name.as_str()).is_none();
        if dry_run {
            return Ok(Told::Now(json!({ "name": name.as_str(), "created": created, "dry_run": true })));
        }
        self.put_checked(services, name.clone(), entry, Source::Api)?;
        let mut about =
            self.tables.entry(name.as_str()).map(|(name, known)| about_entry(name, known)).unwrap_or_default();
        about["created"] = created.into();
        Ok(Told::WhenDurable(about))
    }

    /// Puts an entry that was checked.
    pub(super) fn put_checked(
        &mut self,
        services: &mut Services,
        name: EntryName,
        entry: DeviceEntry,
        source: Source,
    ) -> Result<(), CommandError> {
        if let Some((name, known)) = self.tables.entry(name.as_str()) {
            refuse_file(known.source, name.as_str())?;
        }
        if let Err((bound, message)) = self.tables.has_room_for(&name) {
            services.count(Occurrence::BoundReached(bound));
            return Err(CommandError::new(ErrorKind::QueueFull, message));
        }
        let wall = services.wall();
        let write = self.tables.put_entry(name, entry, source, wall);
        services.write(write);
        Ok(())
    }
}

/// All problems, the first of them in words.
pub(super) fn invalid(problems: &[Problem]) -> CommandError {
    let list: Vec<Json> =
        problems.iter().map(|problem| json!({ "field": problem.field, "message": problem.message })).collect();
    let shown = problems.iter().map(|problem| match problem.field.as_str() {
        "" => problem.message.clone(),
        field => format!("{field}: {}", problem.message),
    });
    let message = shown.collect::<Vec<String>>().join("; ");
    CommandError { problems: Some(Box::new(list.into())), ..CommandError::new(ErrorKind::Invalid, message) }
}

fn about_account(name: &AccountName, known: &KnownAccount) -> Json {
    let mut about = account_json(&known.account, Secrets::Hidden);
    about["name"] = name.as_str().into();
    about["id"] = known.id.as_str().into();
    about["source"] = known.source.as_str().into();
    about["created_at"] = known.created_at.millis().into();
    about["changed_at"] = known.changed_at.millis().into();
    about
}

fn about_entry(name: &EntryName, known: &KnownEntry) -> Json {
    let mut about = entry_json(&known.entry, Secrets::Hidden);
    about["name"] = name.as_str().into();
    about["source"] = known.source.as_str().into();
    about["created_at"] = known.created_at.millis().into();
    about["changed_at"] = known.changed_at.millis().into();
    about
}

fn fits(name: &EntryName, known: &KnownEntry, search: &str) -> bool {
    let names = |server: &AccountOrName| matches!(server, AccountOrName::Named(name) if name.as_str().contains(search));
    search.is_empty() || name.as_str().contains(search) || known.entry.servers.iter().any(names)
}

/// The place of an account in an entry: by its name, or by its position.
fn position_of(entry: &DeviceEntry, server: &str) -> Option<usize> {
    let named = |of: &AccountOrName| matches!(of, AccountOrName::Named(name) if name.as_str() == server);
    let by_position = || server.parse().ok().filter(|position| *position < entry.servers.len());
    entry.servers.iter().position(named).or_else(by_position)
}

fn refuse_file(source: Source, name: &str) -> Result<(), CommandError> {
    if source != Source::File {
        return Ok(());
    }
    let message = format!("'{name}' stands in the configuration file; change it there");
    Err(CommandError::new(ErrorKind::Conflict, message))
}

fn no_account(name: &str) -> CommandError {
    CommandError::new(ErrorKind::NotFound, format!("there is no server account '{name}'"))
}

fn no_entry(name: &str) -> CommandError {
    CommandError::new(ErrorKind::NotFound, format!("there is no entry '{name}'"))
}

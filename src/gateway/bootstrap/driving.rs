//! Leads a session from stage to stage.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::issued::{Issued, IssuedSecret, Wish};
use super::log::SessionState;
use super::news::News;
use super::orders::{BootstrapInput, BootstrapOrder, KeyWish, Made, OrderId};
use super::plan::{Ingredients, plan};
use super::session::{Discovery, Prepared, Session, Stage, Task};
use super::{BootstrapServer, IDLE_TIME};
use crate::gateway::devices::Devices;
use crate::gateway::services::{Held, Services};
use crate::gateway::vocabulary::Output;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::bootstrap::{DeviceEntry, Security, ServerAccount, ServerKind, TemplateValues};
use crate::model::command::Outcome;
use crate::model::credential::{Scope, SecretBytes};
use crate::model::event::EventKind;
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::model::version::Version;
use crate::protocol::coap::message::Code;
use crate::protocol::lwm2m::bootstrap::{is_deleted_by, version_of};

/// While nothing can be written, a device would learn what a power cut makes the gateway forget.
const STORE_BROKEN: &str = "the store cannot be written now, so that keys could not be kept";

impl Session {
    /// When something is due at it.
    pub(super) fn next_deadline(&self) -> Instant {
        let idle = self.heard_at + IDLE_TIME;
        match (&self.stage, &self.active) {
            (Stage::Approval { until }, _) => (*until).min(idle),
            (_, Some(active)) => active.exchange.deadline().min(idle),
            _ => idle,
        }
    }
}

impl BootstrapServer {
    /// Does what is due at a session.
    pub(super) fn elapse(&mut self, services: &mut Services, devices: &mut Devices, number: u64) {
        let Some(session) = self.sessions.get(&number) else { return };
        let now = services.now;
        if let Stage::Approval { until } = session.stage
            && until <= now
        {
            self.approval_missed(services, number);
        } else if session.heard_at + IDLE_TIME <= now {
            let reason = format!("nothing was heard of the device for {} s", IDLE_TIME.as_secs());
            self.fail(services, number, &reason);
        } else {
            self.elapse_exchange(services, devices, number);
        }
    }

    /// Does what comes next in a session that waits for nothing.
    pub(super) fn advance(&mut self, services: &mut Services, devices: &mut Devices, number: u64) {
        let Some(session) = self.sessions.get(&number) else { return };
        let outcome = match session.stage {
            Stage::Steps if session.active.is_none() => self.next_task(services, devices, number),
            _ => Ok(()),
        };
        if let Err(reason) = outcome {
            self.fail(services, number, &reason);
        }
        self.schedule(number);
    }

    /// Sees to it that everything is there that the device is to get: orders key pairs if some are wanted.
    fn make(&mut self, services: &mut Services, number: u64) -> Result<(), String> {
        let Some(session) = self.sessions.get(&number) else { return Ok(()) };
        let wishes: Vec<KeyWish> = self
            .unmet(services, session)
            .into_iter()
            .filter_map(|(_, wish)| match wish {
                Wish::Pair(pair) => Some(pair),
                Wish::Random(_) => None,
            })
            .collect();
        let wants_identity = session.accounts.iter().any(|(_, account)| wants_own_identity(account));
        if wishes.is_empty() && !(wants_identity && session.own.public_key.is_none()) {
            return self.keep_made(services, number, None);
        }
        let endpoint = session.endpoint.clone();
        let order = self.new_order(number);
        if let Some(session) = self.sessions.get_mut(&number) {
            session.log.begin("make_keys", "", services.wall(), services.now);
        }
        services.outputs.push_back(Output::Bootstrap(BootstrapOrder::Make { order, endpoint, wishes }));
        Ok(())
    }

    /// What the accounts of a session want made, and what was made before does not meet. What the device has used by now
    /// is made anew.
    fn unmet(&self, services: &Services, session: &Session) -> Vec<(String, Wish)> {
        let issued = self.issued.get(&session.endpoint);
        let mut unmet = Vec::new();
        for (word, account) in &session.accounts {
            let Some(wish) = Wish::of(account) else { continue };
            let kept = issued.and_then(|issued| Some((issued.secrets.get(word)?, issued.delivered)));
            let meets = kept.is_some_and(|(secret, delivered)| {
                let fresh = !delivered || !was_used(services, session, account, secret);
                wish.is_met_by(secret) && fresh
            });
            if !meets {
                unmet.push((word.clone(), wish));
            }
        }
        unmet
    }

    /// Keeps what was made, and goes on when it is durable.
    fn keep_made(&mut self, services: &mut Services, number: u64, made: Option<Made>) -> Result<(), String> {
        let Some(session) = self.sessions.get(&number) else { return Ok(()) };
        let endpoint = session.endpoint.clone();
        let unmet = self.unmet(services, session);
        let words: BTreeSet<&String> = session.accounts.iter().map(|(word, _)| word).collect();
        let mut secrets: BTreeMap<String, IssuedSecret> =
            self.issued.get(&endpoint).map(|issued| issued.secrets.clone()).unwrap_or_default();
        secrets.retain(|word, _| words.contains(word));
        let mut pairs = made.as_ref().map(|made| made.pairs.clone()).unwrap_or_default().into_iter();
        let changes = !unmet.is_empty();
        for (word, wish) in unmet {
            let secret = match wish {
                Wish::Random(bytes) => IssuedSecret::Key(random_bytes(services, bytes)),
                Wish::Pair(kind) => {
                    let pair = pairs.next().ok_or("fewer key pairs were made than asked for")?;
                    match kind {
                        KeyWish::RawPublicKey => IssuedSecret::PublicKey(pair),
                        KeyWish::Certificate => IssuedSecret::Certificate(pair),
                    }
                }
            };
            secrets.insert(word, secret);
        }
        if changes {
            if !self.issued.has_room_for(&endpoint) {
                services.count(Occurrence::BoundReached("max_bootstrap_issued"));
                return Err("keys were made for as many devices as may be; remove what is not needed".to_owned());
            }
            let write = self.issued.put(&endpoint, Issued { secrets, delivered: false });
            services.write(write);
        }
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        if let Some(made) = made {
            let there = |bytes: Arc<[u8]>| Some(bytes).filter(|bytes| !bytes.is_empty());
            session.own.public_key = there(made.server_public_key);
            session.own.certificate = there(made.server_certificate);
        }
        session.stage = Stage::Storing;
        services.journal.when_durable(Held::Bootstrap(number));
        Ok(())
    }

    /// What a session waited for is durable.
    pub fn durable(&mut self, services: &mut Services, devices: &mut Devices, number: u64) {
        if services.journal.is_broken() {
            self.fail(services, number, STORE_BROKEN);
            return;
        }
        let Some(session) = self.sessions.get_mut(&number) else { return };
        match session.stage {
            Stage::Confirming if session.pack.is_some() => {
                self.give_pack(services, devices, number);
                return;
            }
            Stage::Storing => {
                session.prepared = Prepared::Made;
                if let (None, Some(entry)) = (&session.pack, session.entry.clone()) {
                    session.tasks = deletes(&entry, &session.discovery);
                }
            }
            Stage::Confirming => session.tasks = VecDeque::from([Task::Finish]),
            _ => return,
        }
        session.stage = Stage::Steps;
        self.advance(services, devices, number);
    }

    /// Takes what was ordered.
    pub fn handle_input(&mut self, services: &mut Services, devices: &mut Devices, input: BootstrapInput) {
        let order = match &input {
            BootstrapInput::Made { order, .. } | BootstrapInput::Provisioned { order, .. } => *order,
        };
        let Some(number) = self.orders.remove(&order) else { return };
        let Some(session) = self.sessions.get_mut(&number) else { return };
        match input {
            BootstrapInput::Made { result, .. } => {
                session.log.end(services.now, None, result.as_ref().err().cloned().unwrap_or_default());
                let kept = match result {
                    Ok(made) => self.keep_made(services, number, Some(made)),
                    Err(reason) => Err(format!("keys could not be made: {reason}")),
                };
                if let Err(reason) = kept {
                    self.fail(services, number, &reason);
                }
            }
            BootstrapInput::Provisioned { result, .. } => self.provisioned(services, devices, number, order, result),
        }
        self.schedule(number);
    }

    pub(super) fn new_order(&mut self, number: u64) -> OrderId {
        self.next_order += 1;
        let order = OrderId(self.next_order);
        self.orders.insert(order, number);
        order
    }

    /// Carries out the next task; without one, the next stage begins.
    fn next_task(&mut self, services: &mut Services, devices: &mut Devices, number: u64) -> Result<(), String> {
        loop {
            let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
            if let Some(task) = session.tasks.pop_front() {
                return self.send(services, number, task);
            }
            match session.prepared {
                Prepared::Nothing => {
                    session.stage = Stage::Making;
                    return self.make(services, number);
                }
                Prepared::Made => {
                    self.make_plan(services, devices, number)?;
                    self.packed(number);
                }
                Prepared::Planned => return self.tell_others(services, devices, number),
            }
        }
    }

    /// The device answered Discover, or does not know it.
    pub(super) fn discovered(&mut self, number: u64) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        session.version = version_of(session.discovery.found(), session.preferred);
        session.log.version = session.version.map(|version| version.to_string());
    }

    /// A delete was carried out.
    pub(super) fn deleted(&mut self, number: u64, path: Path) {
        let Some(session) = self.sessions.get_mut(&number) else { return };
        let Discovery::Found(found) = &mut session.discovery else { return };
        let bootstrap_account = found.bootstrap_account();
        found.instances.retain(|(object, instance), _| !is_deleted_by(&path, *object, *instance, bootstrap_account));
    }

    fn make_plan(&mut self, services: &Services, devices: &Devices, number: u64) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        let Some(entry) = session.entry.clone() else { return Ok(()) };
        let name = devices.name_of_endpoint(session.endpoint.as_str());
        let endpoint = session.endpoint.as_str();
        let values = TemplateValues { endpoint, name: name.unwrap_or(endpoint), host: session.own.host.as_deref() };
        let nothing = Issued::default();
        let types = session.types(&services.model);
        let made = plan(&Ingredients {
            entry: &entry,
            accounts: &session.accounts,
            issued: self.issued.get(&session.endpoint).unwrap_or(&nothing),
            found: session.discovery.found(),
            version: session.version,
            values,
            own: &session.own,
            types: &types,
        })?;
        session.tasks = made.writes.iter().cloned().map(Task::Write).collect();
        let verifies = entry.verify.unwrap_or(session.version.is_some_and(|version| version >= Version::V1_1));
        if verifies && !made.servers.is_empty() {
            session.tasks.push_back(Task::Read(1));
        }
        if verifies && !entry.access_control.is_empty() {
            session.tasks.push_back(Task::Read(2));
        }
        session.plan = made;
        session.prepared = Prepared::Planned;
        Ok(())
    }

    /// What was written is not what the device needs, or not what it kept: everything is written once more.
    pub(super) fn repair(&mut self, services: &mut Services, number: u64, why: &str) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        if std::mem::replace(&mut session.repaired, true) {
            return Err(why.to_owned());
        }
        let Some(entry) = session.entry.clone() else { return Err(why.to_owned()) };
        session.prepared = Prepared::Made;
        session.tasks = deletes(&entry, &session.discovery);
        session.log.begin("repair", "", services.wall(), services.now);
        session.log.end(services.now, None, why);
        Ok(())
    }

    /// The device has what it should.
    pub(super) fn finished(&mut self, services: &mut Services, number: u64) {
        let Some(session) = self.end(services, number, SessionState::Done, "") else { return };
        if let Some(write) = self.issued.delivered(&session.endpoint) {
            services.write(write);
        }
        if let Some(command) = session.command.clone() {
            let outcome = Outcome::Done { code: Code::CHANGED.to_string(), answer: serde_json::Map::new() };
            services.bootstrap_outcomes.push((session.endpoint.clone(), command, outcome));
        }
        let words: Vec<&str> = session.accounts.iter().map(|(word, _)| word.as_str()).collect();
        services.event(EventKind::Bootstrapped, Some(&session.endpoint), None, words.join(", "));
        super::tell(services, &session, News::Finished);
    }
}

/// What is deleted before anything is written.
fn deletes(entry: &DeviceEntry, discovery: &Discovery) -> VecDeque<Task> {
    if let Some(paths) = &entry.deletes {
        return paths.iter().map(|path| Task::Delete { path: *path, asked_for: true }).collect();
    }
    if matches!(discovery, Discovery::Basic) {
        // Version 1.0 has the delete of everything, but none of an object: some crash at that.
        return VecDeque::from([Task::Delete { path: Path::ROOT, asked_for: false }]);
    }
    let mut objects = vec![0, 1];
    let written = |object| entry.writes.iter().any(|(path, _)| path.object_id() == Some(object));
    if !entry.access_control.is_empty() || written(2) {
        objects.push(2);
    }
    if written(21) {
        objects.push(21);
    }
    objects.into_iter().map(|object| Task::Delete { path: Path::object(object), asked_for: false }).collect()
}

/// Whether a device proved itself by what was made for it, so that there is no doubt that it has it.
fn was_used(services: &Services, session: &Session, account: &ServerAccount, secret: &IssuedSecret) -> bool {
    use crate::model::bootstrap::Provision;
    use crate::model::credential::Proof;
    if account.provision != Provision::Own {
        return true;
    }
    let scope = if account.kind == ServerKind::Bootstrap { Scope::Bootstrap } else { Scope::Server };
    let Some(known) = services.credentials.get(scope, session.endpoint.as_str()) else { return true };
    let same = match (known.means.proof(), secret) {
        (Some(Proof::Psk { key, .. }), IssuedSecret::Key(made)) => key == made,
        (Some(Proof::PublicKey { spki }), IssuedSecret::PublicKey(pair)) => *spki == pair.public,
        (Some(Proof::Certificate { fingerprint }), IssuedSecret::Certificate(pair)) => {
            use sha2::Digest as _;
            <[u8; 32]>::from(sha2::Sha256::digest(&pair.public)) == *fingerprint
        }
        _ => false,
    };
    !same || known.last_used_at.is_some()
}

fn wants_own_identity(account: &ServerAccount) -> bool {
    match &account.security {
        Security::RawPublicKey { server, .. } | Security::X509 { server, .. } => server.is_none(),
        Security::NoSec | Security::Psk { .. } => false,
    }
}

fn random_bytes(services: &mut Services, bytes: u8) -> SecretBytes {
    use rand_core::Rng as _;
    let mut made = vec![0; usize::from(bytes)];
    services.random.fill_bytes(&mut made);
    SecretBytes::new(&made)
}

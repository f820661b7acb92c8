//! The device as the client of a bootstrap server (Core TS 1.2.2 section 6.1): it asks, is written to, and turns to the
//! LwM2M server that it was told of.
//!
//! ```text
//! HoldingOff ──▶ Asking ──2.04──▶ Served ──Finish──▶ Finished ──▶ registers with its new account
//!                  │                │ no Finish in time
//!                  └──▶ Waiting ◀───┘        an account from before: registers with that one again
//! ```
//!
//! Nothing that was written counts before Finish was accepted: whatever ends a session earlier leaves the objects as
//! they were before it.

mod serving;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::object::{DeviceModel, ObjectModel, ResourceShape, ResourceTypes};
use crate::model::path::Path;
use crate::model::time::{Instant, WallTime};
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::{Code, Message};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::content::{self, ContentFormat, DecodeContext};
use crate::simulator::account::{Account, integer};
use crate::simulator::tree::ObjectTree;

use super::registration::{ClientRequest, RegistrationState};
use super::{DeviceEvent, SimulatedDevice};

/// EXCHANGE_LIFETIME: without Finish for so long after its request was accepted, a client gives the session up.
pub const FINISH_WAIT: Duration = Duration::from_secs(247);
/// The wait after a failed attempt doubles at most this often.
const MAX_DOUBLINGS: u32 = 5;
/// Longest pack that the device takes, in bytes.
const MAX_PACK_BYTES: usize = 64 * 1024;

/// Where a session with the bootstrap server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The server may begin by itself until then (/0/x/11).
    HoldingOff { until: Instant },
    /// The request is under way.
    Asking,
    /// The server's turn.
    Served { until: Instant },
    /// Finish was accepted; repeated requests are still answered.
    Finished { until: Instant },
    /// The last attempt failed.
    Waiting { until: Instant },
}

/// What a device that bootstraps knows of that.
#[derive(Clone, Debug, Default)]
pub(super) struct Bootstrapping {
    stage: Option<Stage>,
    /// The objects before the session.
    before: Option<ObjectTree>,
    /// The server that the device speaks with.
    account: Option<Account>,
    /// Requests of the server in this session.
    requests: u32,
    finishes_refused: u32,
    failures: u32,
    /// Sessions that came to their end.
    finished: u32,
    pct_refused: bool,
    pack_refused: bool,
    outage_over: bool,
    /// When the device bootstraps because its LwM2M server said so (/1/x/9).
    triggered_at: Option<Instant>,
    /// What came of the pack.
    pack: Vec<u8>,
}

impl Bootstrapping {
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Some(
                Stage::HoldingOff { until }
                | Stage::Served { until }
                | Stage::Finished { until }
                | Stage::Waiting { until },
            ) => Some(until),
            Some(Stage::Asking) => None,
            None => self.triggered_at,
        }
    }

    /// Whether the device hears nothing.
    pub(super) const fn is_deaf(&self) -> bool {
        matches!(self.stage, Some(Stage::Waiting { .. }))
    }
}

/// Types for what a bootstrap server writes: of the registry, else of what is there.
struct WrittenTypes<'a> {
    model: DeviceModel<'a>,
    tree: &'a ObjectTree,
}

impl ResourceTypes for WrittenTypes<'_> {
    fn shape(&self, path: &Path) -> Option<ResourceShape> {
        self.model.shape(path).or_else(|| self.tree.shape(path))
    }
}

impl SimulatedDevice {
    /// The server that the device speaks with, as it was bootstrapped; `None`: it never bootstraps, or stands between
    /// two servers.
    #[must_use]
    pub const fn account(&self) -> Option<&Account> {
        self.bootstrapping.account.as_ref()
    }

    /// Whether a bootstrap session stands, or is being asked for.
    #[must_use]
    pub const fn is_bootstrapping(&self) -> bool {
        matches!(self.registration, RegistrationState::Bootstrapping)
    }

    /// Whether the bootstrap server accepted the request and has not finished.
    #[must_use]
    pub const fn is_being_bootstrapped(&self) -> bool {
        matches!(self.bootstrapping.stage, Some(Stage::Served { .. }))
    }

    /// Begins a bootstrap session, whatever the device did before.
    pub fn bootstrap(&mut self, now: Instant) {
        if self.script.bootstrap.is_some() {
            self.begin_bootstrap(now);
            self.advance(now);
        }
    }

    /// Registers with the server that the device was told of, or asks its bootstrap server for one.
    pub(super) fn begin(&mut self, now: Instant) {
        if let Some(before) = self.bootstrapping.before.take() {
            self.tree = before;
        }
        self.bootstrapping.stage = None;
        self.bootstrapping.triggered_at = None;
        if self.script.bootstrap.is_none() {
            self.begin_registration(now);
            return;
        }
        match Account::management(&self.tree) {
            Some(account) => {
                self.adopt(account.server);
                self.choose(account);
                self.begin_registration(now);
            }
            None => self.begin_bootstrap(now),
        }
    }

    /// The LwM2M server asked for it: first it gets its answer.
    pub(super) fn bootstrap_after(&mut self, now: Instant, wait: Duration) {
        self.bootstrapping.triggered_at = Some(now + wait);
    }

    pub(super) fn begin_bootstrap(&mut self, now: Instant) {
        self.forget_session();
        self.registration = RegistrationState::Bootstrapping;
        self.bootstrapping.triggered_at = None;
        if let Some(before) = self.bootstrapping.before.take() {
            self.tree = before;
        }
        self.bootstrapping.requests = 0;
        self.bootstrapping.finishes_refused = 0;
        let Some(account) = Account::bootstrap(&self.tree) else {
            self.fail_bootstrap(now, None);
            return;
        };
        let hold_off = integer(&self.tree, Path::resource(0, account.security, 11));
        let hold_off = Duration::from_secs(hold_off.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(0));
        self.bootstrapping.before = Some(self.tree.clone());
        self.choose(account);
        if hold_off.is_zero() {
            self.ask_for_bootstrap(now);
        } else {
            self.bootstrapping.stage = Some(Stage::HoldingOff { until: now + hold_off });
        }
    }

    fn choose(&mut self, account: Account) {
        if self.bootstrapping.account.as_ref() != Some(&account) {
            self.bootstrapping.account = Some(account.clone());
            self.emit(DeviceEvent::ServerChosen { account });
        }
    }

    /// Lifetime and binding are those of the account.
    fn adopt(&mut self, server: Option<u16>) {
        let Some(server) = server else { return };
        let lifetime = integer(&self.tree, Path::resource(1, server, 1)).and_then(|secs| u32::try_from(secs).ok());
        self.script.lifetime_secs = lifetime.unwrap_or(self.script.lifetime_secs);
        if let (Version::V1_0, Some(Value::String(binding))) =
            (self.version, self.tree.value(&Path::resource(1, server, 7)))
        {
            self.script.queue_mode = binding.contains('Q');
            self.script.binding = Some(binding.clone());
        }
    }

    fn ask_for_bootstrap(&mut self, now: Instant) {
        self.bootstrapping.stage = Some(Stage::Asking);
        self.stay_awake(now);
        let Some(script) = &self.script.bootstrap else { return };
        let endpoint = format!("ep={}", self.script.endpoint);
        let pack = script.pack.filter(|_| self.version >= Version::V1_2 && !self.bootstrapping.pack_refused);
        let request = if let Some(format) = pack {
            self.bootstrapping.pack.clear();
            ClientRequest::bootstrap_pack(endpoint, format)
        } else {
            let pct = script.pct.filter(|_| !self.bootstrapping.pct_refused).map(|format| format!("pct={}", format.0));
            ClientRequest::bootstrap(std::iter::once(endpoint).chain(pct).collect())
        };
        self.push_request(request);
    }

    /// The request for a session was answered, or not: `None`.
    pub(super) fn finish_bootstrap_request(&mut self, now: Instant, answer: Option<&Message>) {
        let code = answer.map(|answer| answer.code);
        match (code, self.bootstrapping.stage) {
            (Some(Code::CHANGED), Some(Stage::Asking)) => self.be_served(now),
            // The server did not wait for its answer to arrive.
            (None | Some(Code::CHANGED), Some(Stage::Served { .. } | Stage::Finished { .. })) => {}
            (Some(Code::UNSUPPORTED_CONTENT_FORMAT), Some(Stage::Asking)) if !self.bootstrapping.pct_refused => {
                self.bootstrapping.pct_refused = true;
                self.ask_for_bootstrap(now);
            }
            _ => self.fail_bootstrap(now, code),
        }
    }

    /// A pack was answered: its next block is asked for, or it is there; whatever is wrong with it leads to the usual
    /// request.
    pub(super) fn finish_pack(&mut self, now: Instant, answer: Option<&Message>) -> Option<Block> {
        let answer = answer.filter(|answer| answer.code == Code::CONTENT);
        let block = answer.and_then(|answer| answer.block(OptionNumber::BLOCK2).ok().flatten());
        if let Some(answer) = answer {
            let in_order = block.is_none_or(|block| block.offset() == self.bootstrapping.pack.len());
            if in_order && self.bootstrapping.pack.len() + answer.payload.len() <= MAX_PACK_BYTES {
                self.bootstrapping.pack.extend_from_slice(&answer.payload);
                if let Some(block) = block.filter(|block| block.more) {
                    return Some(Block { number: block.number.saturating_add(1), more: false, ..block });
                }
                let pack = std::mem::take(&mut self.bootstrapping.pack);
                if self.take_pack(answer, &pack).is_some() {
                    self.accept_bootstrap(now);
                    return None;
                }
            }
        }
        self.bootstrapping.pack_refused = true;
        if let Some(before) = &self.bootstrapping.before {
            self.tree = before.clone();
        }
        self.ask_for_bootstrap(now);
        None
    }

    /// Replaces each object that a pack holds; `None` if that leaves no account to work with.
    fn take_pack(&mut self, answer: &Message, pack: &[u8]) -> Option<()> {
        let format = ContentFormat(answer.content_format()?);
        let values = self.decoded_bootstrap(format, Path::ROOT, pack)?;
        let objects: std::collections::BTreeSet<u16> = values.iter().filter_map(|(path, _)| path.object_id()).collect();
        for object in objects {
            self.tree.remove(Path::object(object));
        }
        for (path, value) in values {
            self.put_bootstrapped(path, value);
        }
        Account::are_consistent(&self.tree).then_some(())
    }

    fn be_served(&mut self, now: Instant) {
        self.bootstrapping.stage = Some(Stage::Served { until: now + FINISH_WAIT });
    }

    fn accept_bootstrap(&mut self, now: Instant) {
        self.bootstrapping.before = None;
        self.bootstrapping.failures = 0;
        self.bootstrapping.finished = self.bootstrapping.finished.saturating_add(1);
        self.bootstrapping.pack_refused = false;
        // Never at once: what still is to leave goes to the bootstrap server.
        let lingers = self.script.bootstrap.as_ref().map_or(Duration::ZERO, |script| script.lingers);
        let lingers = lingers.saturating_add(self.script.misbehaviour.answers_after.unwrap_or_default());
        self.bootstrapping.stage = Some(Stage::Finished { until: now + lingers.max(Duration::from_micros(1)) });
        self.emit(DeviceEvent::Bootstrapped);
    }

    fn fail_bootstrap(&mut self, now: Instant, code: Option<Code>) {
        self.emit(DeviceEvent::BootstrapFailed { code });
        self.forget_session();
        if let Some(before) = self.bootstrapping.before.take() {
            self.tree = before;
        }
        self.bootstrapping.pack_refused = false;
        self.registration_failures = 0;
        let retry = self.script.bootstrap.as_ref().map_or(Duration::ZERO, |script| script.retry);
        let doublings = self.bootstrapping.failures.min(MAX_DOUBLINGS);
        self.bootstrapping.failures = self.bootstrapping.failures.saturating_add(1);
        let until = now + self.jittered(retry.saturating_mul(1 << doublings));
        self.bootstrapping.stage = Some(Stage::Waiting { until });
    }

    /// What time has come for in a bootstrap session.
    pub(super) fn advance_bootstrap(&mut self, now: Instant) {
        if self.bootstrapping.deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.bootstrapping.stage {
            Some(Stage::HoldingOff { .. }) => self.ask_for_bootstrap(now),
            Some(Stage::Served { .. }) => self.fail_bootstrap(now, None),
            Some(Stage::Finished { .. } | Stage::Waiting { .. }) => {
                self.forget_session();
                self.version = self.script.lwm2m;
                self.registration_failures = 0;
                self.begin(now);
            }
            None => self.begin_bootstrap(now),
            Some(Stage::Asking) => {}
        }
    }

    /// Whether so many registrations failed that the device asks its bootstrap server.
    pub(super) fn gives_account_up(&self) -> bool {
        self.script.bootstrap.as_ref().is_some_and(|script| self.registration_failures >= script.registration_attempts)
            && Account::bootstrap(&self.tree).is_some()
    }

    /// Values that a bootstrap server wrote; `None` if they make no sense.
    fn decoded_bootstrap(&self, format: ContentFormat, base: Path, body: &[u8]) -> Option<Vec<(Path, Value)>> {
        static DEFINITIONS: std::sync::LazyLock<ObjectModel> = std::sync::LazyLock::new(ObjectModel::built_in);
        let objects = std::collections::BTreeMap::new();
        let model = DeviceModel { model: &DEFINITIONS, objects: &objects, enabler: Some(self.version) };
        let types = WrittenTypes { model, tree: &self.tree };
        let context = DecodeContext { base, root: "", types: &types, received: WallTime::from_millis(0) };
        let samples = content::decode(format, body, &context).ok()?.samples;
        Some(samples.into_iter().map(|sample| (sample.path, sample.value)).collect())
    }

    /// A bootstrap server may set anything; the LwM2M server may change what it may in the Server object.
    fn put_bootstrapped(&mut self, path: Path, value: Value) {
        if path.object_id() == Some(1)
            && let Some(server) = path.instance_id()
        {
            self.tree.allow_write(path);
            for executable in [4, 8, 9] {
                self.tree.add_executable(Path::resource(1, server, executable));
            }
        }
        self.tree.set(path, value);
    }
}

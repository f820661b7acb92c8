//! Many simulated devices with one clock: when each registers and reports, and what came of it.
//!
//! # Flow
//! The contract of one device, with the number of the device beside each datagram. Each device starts in its turn
//! ([`FleetPlan::registrations_per_second`]). With an interval, all drifting values of a device move once per interval,
//! at a phase of its own. With an interval of zero the loop is closed: as soon as a device has no notification in
//! flight, the next observed path reports, so that each device has exactly one confirmable notification under way.
//!
//! # Cost
//! Deadlines stand in one heap, at most one entry counted per device; a deadline that moves later is looked at when the
//! old one comes. An acknowledged notification therefore touches the heap about once in two seconds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::account::{Account, Proof};
use super::bootstrap_script::{BootstrapScript, FactoryKey};
use super::chance::uniform;
use super::device::{DeviceEvent, SimulatedDevice};
use super::dtls::client::{DtlsClient, DtlsEvent, DtlsScript};
use super::psk;
use super::script::DeviceScript;
use super::scripts::{self, DeviceKind};
use super::statistics::FleetStatistics;
use crate::gateway::configuration::Transport;
use crate::model::credential::{SecretBytes, shown_identity};
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::model::value::Value;

/// What a fleet is and does.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetPlan {
    /// Number of devices.
    pub devices: u32,
    /// Number of the first device, for fleets that are parts of a larger one.
    pub first_number: u32,
    /// Endpoint names are this and the number in six digits.
    pub endpoint_prefix: String,
    /// What the devices are.
    pub kind: DeviceKind,
    /// What carries their messages; over a stream, each datagram goes through an adapter of the host.
    pub transport: Transport,
    /// Lifetime of each registration in seconds.
    pub lifetime_secs: u32,
    /// Time between reports of one device; zero closes the loop.
    pub interval: Duration,
    /// How fast the devices start; zero or less starts all at once.
    pub registrations_per_second: f64,
    /// The devices know nothing but this bootstrap server, which `transport` leads to; `None`: they know their server.
    pub bootstrap: Option<BootstrapServer>,
    /// The seed of everything random.
    pub seed: u64,
}

/// The bootstrap server of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapServer {
    /// Where it is.
    pub address: SocketAddr,
    /// What the pre-shared keys of the devices come from, as in [`Fleet::secure`]; not used without DTLS.
    pub secret: Option<SecretBytes>,
}

/// A datagram of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Number of the device within its fleet.
    pub device: usize,
    /// The server that it goes to; `None`: the one that the host knows.
    pub server: Option<SocketAddr>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Milestones that wait for [`Fleet::poll_milestone`]; more are not told.
const MAX_MILESTONES: usize = 64;

/// The endpoint name of a device, which is its identity too.
#[must_use]
pub fn endpoint_name(prefix: &str, number: u32) -> String {
    format!("{prefix}{number:06}")
}

#[derive(Debug)]
struct Member {
    device: SimulatedDevice,
    session: Option<Box<DtlsClient>>,
    /// The server that the device turned to.
    server: Option<SocketAddr>,
    start_at: Option<Instant>,
    report_at: Option<Instant>,
    scheduled: Option<Instant>,
    turn: usize,
}

/// The devices. See the module.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Member>,
    interval: Duration,
    deadlines: BinaryHeap<Reverse<(Instant, usize)>>,
    outgoing: VecDeque<Departure>,
    statistics: FleetStatistics,
    milestones: VecDeque<String>,
    rng: ChaCha8Rng,
    reporting: bool,
}

impl Fleet {
    /// A fleet whose first device starts at `begin`.
    #[must_use]
    pub fn new(plan: &FleetPlan, begin: Instant) -> Self {
        let scripts = (0..plan.devices).map(|index| {
            let number = plan.first_number.saturating_add(index);
            let mut script = scripts::script(plan.kind, endpoint_name(&plan.endpoint_prefix, number), number);
            script.lifetime_secs = plan.lifetime_secs;
            if plan.transport.is_stream() {
                script.binding = Some("T".to_owned());
            }
            let lifetime = Path::resource(1, 0, 1);
            if script.tree.exists(&lifetime) {
                script.tree.set(lifetime, Value::Integer(i64::from(plan.lifetime_secs)));
            }
            if let Some(server) = &plan.bootstrap {
                script = bootstrapping(script, server, plan.transport);
            }
            let wait = if plan.registrations_per_second > 0.0 {
                Duration::try_from_secs_f64(f64::from(number) / plan.registrations_per_second).unwrap_or(Duration::MAX)
            } else {
                Duration::ZERO
            };
            (script, begin + wait)
        });
        Self::of_scripts(scripts, plan.interval, plan.seed.wrapping_add(u64::from(plan.first_number)))
    }

    /// Puts every device on DTLS: its identity is its endpoint name, its key that of [`psk::key`].
    pub fn secure(&mut self, secret: Option<&SecretBytes>) {
        for member in &mut self.members {
            let identity = member.device.endpoint().as_bytes();
            let key = psk::key(identity, secret);
            let script = DtlsScript { resumes: true, ..DtlsScript::new(identity, key.expose()) };
            member.session = Some(Box::new(DtlsClient::new(script, self.rng.next_u64())));
        }
    }

    /// A fleet of any devices, each with the time at which it starts.
    #[must_use]
    pub fn of_scripts(
        scripts: impl IntoIterator<Item = (DeviceScript, Instant)>,
        interval: Duration,
        seed: u64,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut fleet = Self {
            members: Vec::new(),
            interval,
            deadlines: BinaryHeap::new(),
            outgoing: VecDeque::new(),
            statistics: FleetStatistics::default(),
            milestones: VecDeque::new(),
            rng: ChaCha8Rng::seed_from_u64(rng.next_u64()),
            reporting: true,
        };
        for (index, (script, start_at)) in scripts.into_iter().enumerate() {
            let device = SimulatedDevice::new(script, rng.next_u64());
            let (start, scheduled) = (Some(start_at), Some(start_at));
            let member =
                Member { device, session: None, server: None, start_at: start, report_at: None, scheduled, turn: 0 };
            fleet.members.push(member);
            fleet.deadlines.push(Reverse((start_at, index)));
        }
        fleet
    }

    /// Number of devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no devices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One device.
    #[must_use]
    pub fn device(&self, index: usize) -> Option<&SimulatedDevice> {
        self.members.get(index).map(|member| &member.device)
    }

    /// How many devices are registered.
    #[must_use]
    pub fn registered(&self) -> usize {
        self.members.iter().filter(|member| member.device.is_registered()).count()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn statistics(&self) -> &FleetStatistics {
        &self.statistics
    }

    /// Ends reporting: no value moves any more, and no device starts. What is in flight is still waited for.
    pub fn stop_reporting(&mut self) {
        self.reporting = false;
        for member in &mut self.members {
            member.report_at = None;
            member.start_at = None;
        }
    }

    /// Whether a notification waits for its acknowledgement.
    #[must_use]
    pub fn has_notification_in_flight(&self) -> bool {
        self.members.iter().any(|member| member.device.has_notification_in_flight())
    }

    /// De-registers all devices, and ends their sessions.
    pub fn deregister_all(&mut self, now: Instant) {
        for index in 0..self.members.len() {
            if let Some(member) = self.members.get_mut(index) {
                member.device.deregister(now);
            }
            self.settle(now, index);
            if let Some(session) = self.members.get_mut(index).and_then(|member| member.session.as_mut()) {
                session.close();
            }
            self.settle(now, index);
        }
    }

    /// The connection of a device was made anew: the device knows no observer any more, and says where it is now.
    pub fn reconnected(&mut self, now: Instant, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        member.device.forget_observations();
        member.device.update(now);
        self.settle(now, index);
    }

    /// Takes a datagram from the server for one device.
    pub fn handle_datagram(&mut self, now: Instant, index: usize, bytes: &[u8]) {
        let Some(member) = self.members.get_mut(index) else { return };
        match &mut member.session {
            Some(session) => session.receive(now, bytes),
            None => member.device.handle_datagram(now, bytes),
        }
        self.settle(now, index);
    }

    /// Does what time has come for.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(Reverse((at, index))) = self.deadlines.peek().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop();
            let Some(member) = self.members.get_mut(index) else { continue };
            if member.scheduled != Some(at) {
                continue;
            }
            member.scheduled = None;
            if member.start_at.take_if(|start| *start <= now).is_some() {
                member.device.start(now);
            }
            if member.report_at.is_some_and(|report| report <= now) {
                // From the plan rather than from now: a late turn does not slow the fleet down.
                let next = member.report_at.unwrap_or(now) + self.interval;
                member.report_at = Some(next.max(now));
                if member.device.is_registered() {
                    member.device.walk(now, Path::ROOT);
                }
            }
            if let Some(session) = &mut member.session {
                session.handle_timeout(now);
            }
            member.device.handle_timeout(now);
            self.settle(now, index);
        }
    }

    /// The server that a device listens to; `None`: the one that the host knows.
    #[must_use]
    pub fn server(&self, index: usize) -> Option<SocketAddr> {
        self.members.get(index)?.server
    }

    /// The next datagram.
    pub fn poll_transmit(&mut self) -> Option<Departure> {
        self.outgoing.pop_front()
    }

    /// What a device that bootstraps came to, in words; nothing secret in it.
    pub fn poll_milestone(&mut self) -> Option<String> {
        self.milestones.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; may be earlier than necessary.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// After an input to a device: counts, closes the loop, collects datagrams, plans the next look.
    fn settle(&mut self, now: Instant, index: usize) {
        loop {
            self.follow_events(now, index);
            let Some(member) = self.members.get_mut(index) else { return };
            while let Some(bytes) = member.device.poll_transmit() {
                match &mut member.session {
                    Some(session) => session.send(now, bytes),
                    None => self.outgoing.push_back(Departure { device: index, server: member.server, bytes }),
                }
            }
            let Some(session) = &mut member.session else { break };
            while let Some(bytes) = session.poll_server() {
                self.outgoing.push_back(Departure { device: index, server: member.server, bytes });
            }
            while let Some(event) = session.poll_event() {
                match event {
                    DtlsEvent::Established { .. } => self.statistics.handshakes += 1,
                    DtlsEvent::Ended { .. } | DtlsEvent::TimedOut => self.statistics.handshake_failures += 1,
                }
            }
            let Some(bytes) = session.poll_device() else { break };
            member.device.handle_datagram(now, &bytes);
        }
        let Some(member) = self.members.get_mut(index) else { return };
        let session = member.session.as_ref().and_then(|session| session.next_deadline());
        let next =
            [member.start_at, member.report_at, member.device.next_deadline(), session].into_iter().flatten().min();
        if let Some(next) = next
            && member.scheduled.is_none_or(|scheduled| next < scheduled)
        {
            member.scheduled = Some(next);
            self.deadlines.push(Reverse((next, index)));
        }
    }

    fn follow_events(&mut self, now: Instant, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        while let Some(event) = member.device.poll_event() {
            count(&mut self.statistics, now, &event);
            let milestone = milestone(&member.device, &event).filter(|_| self.milestones.len() < MAX_MILESTONES);
            self.milestones.extend(milestone);
            if let DeviceEvent::ServerChosen { account } = &event {
                if let Some(former) = &mut member.session {
                    former.close();
                    let goodbyes = std::iter::from_fn(|| former.poll_server());
                    let server = member.server;
                    self.outgoing.extend(goodbyes.map(|bytes| Departure { device: index, server, bytes }));
                }
                member.session = DtlsClient::for_account(account, self.rng.next_u64()).map(Box::new);
                member.server = account.address();
            }
            if let Some(session) = &mut member.session {
                session.follow(&event);
            }
            match event {
                DeviceEvent::Registered { .. } if !self.interval.is_zero() && self.reporting => {
                    let phase = self.interval.mul_f64(uniform(&mut self.rng));
                    member.report_at.get_or_insert(now + phase);
                }
                DeviceEvent::Observed { .. } | DeviceEvent::NotificationAcknowledged { .. }
                    if self.interval.is_zero() && self.reporting =>
                {
                    report_next(member, now);
                }
                _ => {}
            }
        }
    }
}

/// A device that knows nothing but a bootstrap server.
fn bootstrapping(script: DeviceScript, server: &BootstrapServer, transport: Transport) -> DeviceScript {
    let uri = format!("{}://{}", transport.scheme(), server.address);
    let identity = script.endpoint.clone();
    let key = psk::key(identity.as_bytes(), server.secret.as_ref());
    let factory_key = if transport.is_secure() {
        FactoryKey::Psk { identity: identity.as_bytes(), key: key.expose() }
    } else {
        FactoryKey::NoSec
    };
    script.with_bootstrap(BootstrapScript::default(), 0, &uri, factory_key)
}

/// What an event means on the way of a device to its server.
fn milestone(device: &SimulatedDevice, event: &DeviceEvent) -> Option<String> {
    let account = device.account()?;
    let said = match event {
        DeviceEvent::ServerChosen { account: Account { server: None, .. } } => {
            format!("asks the bootstrap server at {}", account.uri())
        }
        DeviceEvent::ServerChosen { account: Account { proof: Proof::Psk { identity, .. }, .. } } => {
            let identity = shown_identity(identity);
            format!("was told to register at {} with the key of identity {identity}", account.uri())
        }
        DeviceEvent::ServerChosen { .. } => format!("was told to register at {}", account.uri()),
        DeviceEvent::BootstrapFailed { code: Some(code) } => format!("was not bootstrapped: {code}"),
        DeviceEvent::BootstrapFailed { code: None } => "was not bootstrapped: no answer".to_owned(),
        DeviceEvent::Registered { .. } => format!("is registered at {}", account.uri()),
        _ => return None,
    };
    Some(format!("{} {said}", device.endpoint()))
}

/// Moves the values of the next observed path that has any, unless a notification is in flight already.
fn report_next(member: &mut Member, now: Instant) {
    if member.device.has_notification_in_flight() {
        return;
    }
    let drifts = |observed: &Path| member.device.walks().iter().any(|walk| observed.contains(&walk.path));
    let candidates = member.device.observed_paths().filter(drifts).count();
    if candidates == 0 {
        return;
    }
    let chosen = member.device.observed_paths().filter(drifts).nth(member.turn % candidates);
    member.turn = member.turn.wrapping_add(1);
    if let Some(path) = chosen {
        member.device.walk(now, path);
    }
}

fn count(statistics: &mut FleetStatistics, now: Instant, event: &DeviceEvent) {
    match event {
        DeviceEvent::Bootstrapped => {
            statistics.bootstraps += 1;
            statistics.first_bootstrap_micros.get_or_insert(now.micros());
            statistics.last_bootstrap_micros = Some(now.micros());
        }
        DeviceEvent::BootstrapFailed { .. } => statistics.bootstrap_failures += 1,
        DeviceEvent::Registered { .. } => {
            statistics.registrations += 1;
            statistics.first_registration_micros.get_or_insert(now.micros());
            statistics.last_registration_micros = Some(now.micros());
        }
        DeviceEvent::RegistrationFailed { .. } => statistics.registration_failures += 1,
        DeviceEvent::Updated => statistics.updates += 1,
        DeviceEvent::UpdateFailed { .. } => statistics.update_failures += 1,
        DeviceEvent::NotificationSent { .. } => statistics.sent += 1,
        DeviceEvent::NotificationAcknowledged { at, sent_at, .. } => {
            statistics.acknowledged += 1;
            statistics.latency.record(at.saturating_since(*sent_at));
        }
        DeviceEvent::NotificationLost { .. } => statistics.lost += 1,
        DeviceEvent::NotificationReset { .. } => statistics.reset += 1,
        DeviceEvent::Written { .. } => statistics.writes += 1,
        DeviceEvent::Executed { .. } => statistics.executes += 1,
        _ => {}
    }
}

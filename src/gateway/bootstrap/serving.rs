//! Requests of devices: `POST /bs` and `GET /bspack`.
//!
//! | device | gets |
//! |---|---|
//! | proved who it is, name fits the credential | what its entry says |
//! | proves nothing, name has no credential of scope `bootstrap` | what its entry says |
//! | no entry fits | 4.00, a place among those who wait for approval, or what the entry `*` says |
//! | name and credential do not fit, name is blocked | 4.00 |

use std::sync::Arc;

use super::log::{SessionLog, SessionState};
use super::news::News;
use super::plan::{OwnServer, Plan};
use super::session::{Discovery, Prepared, Session, Stage, Task};
use super::{BootstrapServer, MAX_SESSIONS, new_id};
use crate::gateway::configuration::{Configuration, UnknownBootstrap};
use crate::gateway::credentials::PlainAccess;
use crate::gateway::devices::Devices;
use crate::gateway::devices::admission::proven;
use crate::gateway::devices::requests::{Reply, UNDERSTOOD};
use crate::gateway::services::Services;
use crate::gateway::vocabulary::Peer;
use crate::instrumentation::occurrence::Occurrence;
use crate::model::bootstrap::{AccountTransport, DeviceEntry};
use crate::model::credential::Scope;
use crate::model::endpoint::Endpoint;
use crate::protocol::coap::message::{Code, Message, MessageType};
use crate::protocol::coap::option::OptionNumber;
use crate::protocol::lwm2m::bootstrap::{BootstrapRequest, parse_request, version_of};

/// Why a device gets nothing, and what it hears.
struct TurnedAway {
    code: Code,
    /// For counters.
    word: &'static str,
    /// For the operator.
    reason: String,
}

/// What a device that may bootstrap gets.
enum Decision {
    /// What an entry says.
    Entry(Arc<DeviceEntry>),
    /// An operator decides.
    Wait,
}

impl BootstrapServer {
    /// Answers a request that was not seen before.
    pub(super) fn handle_request(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        peer: Peer,
        request: &Message,
    ) {
        let begins = begins_session(request);
        if begins && (self.sessions.len() >= MAX_SESSIONS || !services.admits_registration(peer)) {
            if self.sessions.len() >= MAX_SESSIONS {
                services.count(Occurrence::BoundReached("max_bootstrap_sessions"));
            }
            devices.answer_later(services, peer, request);
            return;
        }
        let (reply, begun) = self.reply_to(services, peer, request);
        if let Some(reply) = reply {
            if begins {
                services.count(Occurrence::Request("bootstrap", reply.code.class()));
            }
            devices.answer(services, peer, request, reply);
        }
        // Behind the answer: a device expects nothing before.
        if let Some(number) = begun {
            self.advance(services, devices, number);
        }
    }

    fn reply_to(&mut self, services: &mut Services, peer: Peer, request: &Message) -> (Option<Reply>, Option<u64>) {
        let now = |code| (Some(Reply::now(code)), None);
        if request.first_unusable_option(&UNDERSTOOD).is_some() {
            let confirmable = request.message_type == MessageType::Confirmable;
            return now(if confirmable { Code::BAD_OPTION } else { Code::BAD_REQUEST });
        }
        let Some(query) = request.uri_query() else { return now(Code::BAD_REQUEST) };
        let path = request.uri_path();
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        match (request.code, segments.as_slice()) {
            (Code::POST, ["bs"]) => {
                let (reply, begun) = self.begin(services, peer, &query);
                (Some(reply), begun)
            }
            (Code::GET, ["bspack"]) => self.ask_for_pack(services, peer, request, &query),
            (_, ["bs" | "bspack"]) => now(Code::METHOD_NOT_ALLOWED),
            (Code::POST, ["rd"]) => {
                let endpoint = query.iter().find_map(|argument| argument.strip_prefix("ep=")).unwrap_or_default();
                let reason = "it wants to register at the bootstrap server: its server account has the wrong port";
                services.refuse(endpoint, peer, "wrong_port", reason);
                now(Code::NOT_FOUND)
            }
            _ => now(Code::NOT_FOUND),
        }
    }

    /// `POST /bs`.
    fn begin(&mut self, services: &mut Services, peer: Peer, query: &[String]) -> (Reply, Option<u64>) {
        let request = match parse_request(query) {
            Ok(request) => request,
            Err(refused) => {
                services.refuse("", peer, "malformed_request", &refused.reason);
                return (Reply::now(refused.code), None);
            }
        };
        let (endpoint, decision) = match self.decide(services, peer, &request) {
            Ok(decided) => decided,
            Err(code) => return (Reply::now(code), None),
        };
        if let Some(former) = self.by_endpoint.get(&endpoint).copied() {
            self.fail(services, former, "the device began another session");
        }
        let mut session = open(services, peer, endpoint, &request);
        session.log.begin("request", "/bs", services.wall(), services.now);
        session.log.end(services.now, Some(Code::CHANGED.to_string()), detail_of(&request));
        super::tell(services, &session, News::New);
        let number = self.insert(services, session);
        match decision {
            Decision::Entry(entry) => {
                if let Err(reason) = self.let_in(services, number, entry) {
                    self.fail(services, number, &reason);
                    return (Reply::now(Code::INTERNAL_SERVER_ERROR), None);
                }
                if let Some(session) = self.sessions.get(&number) {
                    super::tell(services, session, News::Authorized);
                }
                (Reply::now(Code::CHANGED), Some(number))
            }
            Decision::Wait => {
                self.wait_for_approval(services, number);
                (Reply::now(Code::CHANGED), None)
            }
        }
    }

    /// A command wants a device bootstrapped that cannot be asked to: it is written to where it was heard last.
    pub(super) fn begin_unasked(
        &mut self,
        services: &mut Services,
        devices: &mut Devices,
        endpoint: Endpoint,
        peer: Peer,
        command: String,
    ) {
        let entry = self.tables.fitting(endpoint.as_str()).map(|known| Arc::clone(&known.entry));
        if let Some(former) = self.by_endpoint.get(&endpoint).copied() {
            self.fail(services, former, "a command began another session");
        }
        let mut session = open(services, peer, endpoint, &BootstrapRequest::default());
        session.command = Some(command);
        let number = self.insert(services, session);
        let let_in = match entry {
            Some(entry) => self.let_in(services, number, entry),
            None => Err("no entry fits this device".to_owned()),
        };
        match let_in {
            Ok(()) => self.advance(services, devices, number),
            Err(reason) => self.fail(services, number, &reason),
        }
    }

    pub(super) fn insert(&mut self, services: &mut Services, session: Session) -> u64 {
        use rand_core::Rng as _;
        let mut number = services.random.next_u64();
        while self.sessions.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        services.hold_peer(session.peer);
        self.by_endpoint.insert(session.endpoint.clone(), number);
        self.sessions.insert(number, session);
        self.schedule(number);
        number
    }

    /// Gives a session the entry of its device.
    ///
    /// # Errors
    /// Why the entry cannot be followed.
    pub(super) fn let_in(
        &mut self,
        services: &mut Services,
        number: u64,
        entry: Arc<DeviceEntry>,
    ) -> Result<(), String> {
        let accounts = self
            .tables
            .resolve(&entry)
            .map_err(|problems| problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; "))?;
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        session.log.state = SessionState::Running;
        session.accounts = accounts;
        session.entry = Some(entry);
        // Whoever asks for a pack is asked nothing.
        session.tasks = session.pack.is_none().then_some(Task::Discover).into_iter().collect();
        session.stage = Stage::Steps;
        session.heard_at = services.now;
        Ok(())
    }

    /// Who a peer is, and what becomes of it. A refusal is counted, listed and told of here.
    fn decide(
        &mut self,
        services: &mut Services,
        peer: Peer,
        request: &BootstrapRequest,
    ) -> Result<(Endpoint, Decision), Code> {
        let claimed = request.endpoint.clone().unwrap_or_default();
        match self.admit(services, peer, request) {
            Ok(decided) => Ok(decided),
            Err(TurnedAway { code, word, reason }) => {
                services.refuse(&claimed, peer, word, &reason);
                self.note_refusal(services, peer, &claimed, word, &reason);
                Err(code)
            }
        }
    }

    /// The same for a request that is not answered by a session.
    pub(super) fn admit_for_pack(
        &mut self,
        services: &mut Services,
        peer: Peer,
        request: &BootstrapRequest,
    ) -> Result<(Endpoint, Arc<DeviceEntry>), Code> {
        match self.decide(services, peer, request)? {
            (endpoint, Decision::Entry(entry)) => Ok((endpoint, entry)),
            (endpoint, Decision::Wait) => {
                self.note_waiting(services, &endpoint, peer, None);
                Err(Code::METHOD_NOT_ALLOWED)
            }
        }
    }

    fn admit(
        &mut self,
        services: &mut Services,
        peer: Peer,
        request: &BootstrapRequest,
    ) -> Result<(Endpoint, Decision), TurnedAway> {
        let refused = |word, reason: String| TurnedAway { code: Code::BAD_REQUEST, word, reason };
        let who = proven(services, peer);
        let rule = services.configuration.lwm2m.x509_endpoint;
        let by_identity = || services.credentials.endpoint_of(Scope::Bootstrap, who.as_ref()?, rule);
        let Some(name) = request.endpoint.clone().filter(|name| !name.is_empty()).or_else(by_identity) else {
            return Err(refused("malformed_request", "it names no endpoint".to_owned()));
        };
        let endpoint =
            Endpoint::new(&name).map_err(|error| refused("malformed_request", format!("endpoint name: {error}")))?;
        if let Some(who) = &who {
            let access = services.credentials.secure_access(Scope::Bootstrap, who, endpoint.as_str(), rule);
            access.map_err(|denied| refused(denied.word, denied.reason))?;
        } else {
            let (word, reason) = match services.credentials.plain_access_to(Scope::Bootstrap, endpoint.as_str()) {
                PlainAccess::Unknown | PlainAccess::Allowed => ("", ""),
                PlainAccess::NeedsCredential => (
                    "credential_required",
                    "the endpoint has a credential of scope bootstrap, and came without: it must use DTLS or TLS",
                ),
                PlainAccess::Blocked => ("blocked", "the endpoint is blocked"),
                PlainAccess::Removed => (
                    "credential_removed",
                    "the credential of the endpoint was removed; give it one again, or permit joining",
                ),
            };
            if !word.is_empty() {
                return Err(refused(word, reason.to_owned()));
            }
        }
        let decision = self.decision(services, &endpoint).map_err(|reason| {
            super::tell_of(services, "", &endpoint, News::NoConfiguration);
            refused("no_bootstrap_entry", reason)
        })?;
        if let Some(who) = &who {
            services.credential_used(Scope::Bootstrap, who);
        }
        services.credential_readmitted(Scope::Bootstrap, endpoint.as_str());
        Ok((endpoint, decision))
    }

    fn decision(&self, services: &Services, endpoint: &Endpoint) -> Result<Decision, String> {
        if let Some(known) = self.tables.fitting(endpoint.as_str()) {
            return Ok(Decision::Entry(Arc::clone(&known.entry)));
        }
        let policy = services.configuration.bootstrap.as_ref().map(|bootstrap| bootstrap.unknown_devices);
        match (policy.unwrap_or_default(), self.tables.default_entry()) {
            (UnknownBootstrap::Approve, _) => Ok(Decision::Wait),
            (UnknownBootstrap::Template, Some(known)) => Ok(Decision::Entry(Arc::clone(&known.entry))),
            (UnknownBootstrap::Template, None) => {
                Err("no entry fits, and there is no entry '*' for unknown devices".to_owned())
            }
            (UnknownBootstrap::Refuse, Some(_)) => Err("no entry fits; the entry '*' counts only with \
                bootstrap.unknown_devices = \"template\""
                .to_owned()),
            (UnknownBootstrap::Refuse, None) => Err("no entry fits this device".to_owned()),
        }
    }

    /// Devices that were turned away stand among the sessions too.
    fn note_refusal(&mut self, services: &mut Services, peer: Peer, claimed: &str, word: &'static str, reason: &str) {
        let Ok(endpoint) = Endpoint::new(claimed) else { return };
        services.count(Occurrence::BootstrapEnded(SessionState::Refused.as_str()));
        if word != "no_bootstrap_entry" {
            super::tell_of(services, "", &endpoint, News::Unauthorized);
        }
        // That it was refused is told already, and not more often than once in a while.
        let mut session = open(services, peer, endpoint, &BootstrapRequest::default());
        session.log.state = SessionState::Refused;
        session.log.ended_at = Some(session.log.started_at);
        reason.clone_into(&mut session.log.reason);
        self.past.keep(session.log);
    }
}

/// Whether a request begins a session, rather than fetching another block of a pack.
fn begins_session(request: &Message) -> bool {
    let path = request.uri_path();
    let later_block = request.block(OptionNumber::BLOCK2).ok().flatten().is_some_and(|block| block.number > 0);
    (path == ["bs"] && request.code == Code::POST) || (path == ["bspack"] && request.code == Code::GET && !later_block)
}

/// A session of which nothing is done yet.
pub(super) fn open(services: &mut Services, peer: Peer, endpoint: Endpoint, request: &BootstrapRequest) -> Session {
    use rand_core::Rng as _;
    let log = SessionLog {
        id: new_id(services),
        endpoint: endpoint.clone(),
        address: peer.remote.to_string(),
        transport: services.configuration.transport(peer.listener).as_str(),
        identity: proven(services, peer).map(|who| who.identity.to_string()),
        started_at: services.wall(),
        ended_at: None,
        state: SessionState::Running,
        reason: String::new(),
        version: None,
        steps: Vec::new(),
        steps_left_out: 0,
    };
    Session {
        endpoint,
        peer,
        entry: None,
        accounts: Vec::new(),
        stage: Stage::Steps,
        own: own_server(&services.configuration, peer),
        preferred: request.preferred,
        refused_formats: Vec::new(),
        discovery: Discovery::Nothing,
        version: version_of(None, request.preferred),
        prepared: Prepared::Nothing,
        plan: Plan::default(),
        tasks: std::collections::VecDeque::new(),
        active: None,
        told: false,
        repaired: false,
        next_message_id: services.random.next_u32() as u16,
        heard_at: services.now,
        scheduled: None,
        pack: None,
        command: None,
        log,
    }
}

/// This gateway as the device of a peer sees it: by the address that the peer wrote to.
fn own_server(configuration: &Configuration, peer: Peer) -> OwnServer {
    let bound = configuration.addresses.get(usize::from(peer.listener)).map(std::net::SocketAddr::ip);
    let address =
        bound.filter(|address| !address.is_unspecified()).or(peer.local).map(|address| address.to_canonical());
    let host = address.map(|address| match address {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    });
    let ports =
        configuration.addresses.iter().zip(&configuration.transports).enumerate().map(|(index, (at, carries))| {
            let scope = configuration.scopes.get(index).copied().unwrap_or_default();
            let transport = if carries.is_stream() { AccountTransport::Tcp } else { AccountTransport::Udp };
            (scope, transport, carries.is_secure(), at.port())
        });
    OwnServer { host, ports: ports.collect(), public_key: None, certificate: None }
}

fn detail_of(request: &BootstrapRequest) -> String {
    request.preferred.map(|format| format!("prefers {format}")).unwrap_or_default()
}

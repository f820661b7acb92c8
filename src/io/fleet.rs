//! Sockets for a fleet of simulated devices: load for any LwM2M server, from one process.
//!
//! # Addresses
//! A server tells devices without credentials apart by their addresses, so each device needs its own:
//!
//! - To a server on the loopback interface of Linux, up to [`DEVICES_PER_LOOPBACK_SOCKET`] devices share one socket and
//!   each has its own address in 127.16.0.0/12, set and seen per datagram (`IP_PKTINFO`). 10,000 devices need 157
//!   files. Message ids cannot collide, as a server keeps them by address. The number is small so that a burst of
//!   acknowledgements for all devices of a socket always fits its receive buffer.
//! - Over TCP each device has a connection of its own (`stream_fleet`), to a server on the loopback interface from its
//!   own address.
//! - To any other server each device has a socket of its own: 10,000 devices need 10,000 files and the limit of open
//!   files must allow it, which is checked before anything is sent ([`FleetError::TooManySockets`]).
//!
//! Devices that bootstrap turn from one server to another: their sockets are connected to none.
//!
//! # Tasks
//! One task for each socket, holding the devices of that socket as a [`Fleet`] of its own; nothing is shared but one
//! receive buffer per thread. On a current-thread runtime everything stays on one core. Received datagrams are handled
//! in the buffer, up to 32 for each system call.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::stream_fleet::{StreamSecurity, StreamTask, Tls, open_socket};
use crate::gateway::configuration::Transport;
use crate::model::credential::SecretBytes;
use crate::model::time::Instant;
use crate::simulator::fleet::{BootstrapServer, Departure, Fleet, FleetPlan, endpoint_name};
use crate::simulator::psk;
use crate::simulator::scripts::DeviceKind;
use crate::simulator::statistics::{FleetReport, FleetStatistics};

/// Devices that share a socket to a server on the loopback interface.
pub const DEVICES_PER_LOOPBACK_SOCKET: u32 = 64;
/// The address of device 0 on the loopback interface; device n has the n-th address after it.
const FIRST_LOOPBACK_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 1);
/// Devices that fit into 127.16.0.0/12.
const MAX_LOOPBACK_DEVICES: u32 = 1_000_000;
/// How long acknowledgements are waited for after the end of the run.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Room for one received segment batch.
const RECEIVE_BYTES: usize = 65_535;
/// Receive batches that one turn of a task takes before it lets others run.
const MAX_BATCHES_PER_TURN: usize = 4;

/// What to run.
#[derive(Clone, Debug)]
pub struct FleetConfiguration {
    /// The server.
    pub server: SocketAddr,
    /// Number of devices.
    pub devices: u32,
    /// Time between reports of a device; zero sends the next as soon as the last was acknowledged.
    pub interval: Duration,
    /// Length of the run; `None` runs until it is stopped.
    pub duration: Option<Duration>,
    /// Endpoint names are this and the number in six digits.
    pub endpoint_prefix: String,
    /// How fast the devices start; zero or less starts all at once.
    pub registrations_per_second: f64,
    /// What the devices are.
    pub kind: DeviceKind,
    /// What carries their messages.
    pub transport: Transport,
    /// Secret that the pre-shared keys come from ([`psk::key`]); `None`: those that anybody can compute.
    pub psk_secret: Option<SecretBytes>,
    /// Whether `server` is a bootstrap server, which tells the devices where to register.
    pub bootstraps: bool,
    /// Lifetime of each registration in seconds; where they bootstrap, they are told.
    pub lifetime_secs: u32,
    /// Whether the devices de-register at the end.
    pub deregisters: bool,
    /// Where it is told in words what devices that bootstrap come to; what finds it full is not told.
    pub milestones: Option<mpsc::Sender<String>>,
    /// The seed of everything random.
    pub seed: u64,
}

impl FleetConfiguration {
    /// Mixed devices that report every ten seconds until they are stopped.
    #[must_use]
    pub fn new(server: SocketAddr, devices: u32) -> Self {
        Self {
            server,
            devices,
            interval: Duration::from_secs(10),
            duration: None,
            endpoint_prefix: "sim-".to_owned(),
            registrations_per_second: 500.0,
            kind: DeviceKind::Mixed,
            transport: Transport::Udp,
            psk_secret: None,
            bootstraps: false,
            lifetime_secs: 300,
            deregisters: true,
            milestones: None,
            seed: 1,
        }
    }

    /// A part of the fleet.
    fn plan(&self, first_number: u32, devices: u32) -> FleetPlan {
        FleetPlan {
            devices,
            first_number,
            endpoint_prefix: self.endpoint_prefix.clone(),
            kind: self.kind,
            transport: self.transport,
            lifetime_secs: self.lifetime_secs,
            interval: self.interval,
            registrations_per_second: self.registrations_per_second,
            bootstrap: self
                .bootstraps
                .then(|| BootstrapServer { address: self.server, secret: self.psk_secret.clone() }),
            seed: self.seed,
        }
    }
}

/// Why a fleet did not run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The limit of open files is too low.
    #[error(
        "{devices} devices to {server} need {sockets} sockets and this process may open only {opened}: \
         raise the limit with 'ulimit -n {}' or run fewer devices", .sockets + 64
    )]
    TooManySockets {
        /// Devices asked for.
        devices: u32,
        /// The server.
        server: SocketAddr,
        /// Sockets needed.
        sockets: u32,
        /// Sockets that could be opened.
        opened: usize,
    },
    /// A socket could not be opened for another reason.
    #[error("no socket for simulated devices to {server}: {source}")]
    Socket {
        /// The server.
        server: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The TLS library refused.
    #[error("no secure connections for simulated devices: {source}")]
    Library {
        /// What it said.
        source: ErrorStack,
    },
}

/// Runs a fleet for its duration.
///
/// # Errors
/// If the sockets cannot be opened. A server that does not answer is no error; the report says so.
pub async fn run_fleet(configuration: FleetConfiguration) -> Result<FleetReport, FleetError> {
    run_fleet_until(configuration, std::future::pending()).await
}

/// Runs a fleet for its duration or until `stop` is ready, whichever comes first.
///
/// # Errors
/// As [`run_fleet`].
pub async fn run_fleet_until(
    configuration: FleetConfiguration,
    stop: impl Future<Output = ()>,
) -> Result<FleetReport, FleetError> {
    let shares_sockets = shares_sockets(&configuration);
    let devices_per_socket = if shares_sockets { DEVICES_PER_LOOPBACK_SOCKET } else { 1 };
    if configuration.transport.is_stream() {
        return run_streams_until(configuration, stop, shares_sockets).await;
    }
    let sockets = configuration.devices.div_ceil(devices_per_socket);
    let sockets = open_sockets(&configuration, sockets, |_| {
        open_port(configuration.server, shares_sockets, configuration.bootstraps)
    })?;
    let clock = Clock { start: TokioInstant::now() };
    let (stopping, stopped) = watch::channel(false);
    let configuration = Arc::new(configuration);
    let mut tasks = JoinSet::new();
    let mut first_number = 0;
    for port in sockets {
        let plan = configuration.plan(first_number, devices_per_socket.min(configuration.devices - first_number));
        first_number += plan.devices;
        let mut fleet = Fleet::new(&plan, clock.now());
        if plan.transport == Transport::Dtls && plan.bootstrap.is_none() {
            fleet.secure(configuration.psk_secret.as_ref());
        }
        let (server, milestones) = (configuration.server, configuration.milestones.clone());
        let task = PortTask { port, fleet, first_number: plan.first_number, clock, server, milestones };
        tasks.spawn(task.run(stopped.clone(), configuration.deregisters));
    }
    Ok(finish(&configuration, clock, tasks, stopping, stop).await)
}

/// The same over TCP, where each device has a connection of its own.
async fn run_streams_until(
    configuration: FleetConfiguration,
    stop: impl Future<Output = ()>,
    own_addresses: bool,
) -> Result<FleetReport, FleetError> {
    let server = configuration.server;
    let sockets =
        open_sockets(&configuration, configuration.devices, |number| open_socket(server, number, own_addresses))?;
    let tls = configuration.transport.is_secure().then(Tls::new).transpose();
    let tls = tls.map_err(|source| FleetError::Library { source })?;
    let clock = Clock { start: TokioInstant::now() };
    let (stopping, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for (number, socket) in (0..).zip(sockets) {
        let fleet = Fleet::new(&configuration.plan(number, 1), clock.now());
        let security = tls.clone().map(|tls| {
            let identity = endpoint_name(&configuration.endpoint_prefix, number);
            let key = psk::key(identity.as_bytes(), configuration.psk_secret.as_ref());
            StreamSecurity { tls, identity, key }
        });
        let socket = Some(socket);
        let task = StreamTask { socket, fleet, number, own_address: own_addresses, clock, server, security };
        tasks.spawn(task.run(stopped.clone(), configuration.deregisters));
    }
    Ok(finish(&configuration, clock, tasks, stopping, stop).await)
}

/// Waits for the end of the run, then for the ends of all devices.
async fn finish(
    configuration: &FleetConfiguration,
    clock: Clock,
    mut tasks: JoinSet<(FleetStatistics, u64)>,
    stopping: watch::Sender<bool>,
    stop: impl Future<Output = ()>,
) -> FleetReport {
    match configuration.duration {
        Some(duration) => {
            let _ = tokio::time::timeout(duration, stop).await;
        }
        None => stop.await,
    }
    let duration = clock.start.elapsed();
    let _ = stopping.send(true);
    let mut statistics = FleetStatistics::default();
    let mut registered = 0;
    while let Some(joined) = tasks.join_next().await {
        if let Ok((part, part_registered)) = joined {
            statistics.merge(&part);
            registered += part_registered;
        }
    }
    FleetReport::new(u64::from(configuration.devices), registered, duration, &statistics)
}

/// The fleet's clock: it starts with the run.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) start: TokioInstant,
}

impl Clock {
    pub(super) fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn at(&self, instant: Instant) -> TokioInstant {
        self.start + Duration::from_micros(instant.micros().min(1 << 52))
    }
}

/// A socket and how it addresses its devices.
struct Port {
    socket: UdpSocket,
    /// There when devices share the socket.
    batches: Option<UdpSocketState>,
}

fn shares_sockets(configuration: &FleetConfiguration) -> bool {
    cfg!(target_os = "linux")
        && configuration.server.is_ipv4()
        && configuration.server.ip().is_loopback()
        && configuration.devices <= MAX_LOOPBACK_DEVICES
}

/// Opens all sockets before anything is sent, so that a limit shows at once.
fn open_sockets<Opened>(
    configuration: &FleetConfiguration,
    sockets: u32,
    open: impl Fn(u32) -> io::Result<Opened>,
) -> Result<Vec<Opened>, FleetError> {
    /// `EMFILE` and `ENFILE` of Linux.
    const TOO_MANY_FILES: [i32; 2] = [24, 23];
    let server = configuration.server;
    let mut ports = Vec::new();
    for number in 0..sockets {
        match open(number) {
            Ok(port) => ports.push(port),
            Err(error) if error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code)) => {
                let (devices, opened) = (configuration.devices, ports.len());
                return Err(FleetError::TooManySockets { devices, server, sockets, opened });
            }
            Err(source) => return Err(FleetError::Socket { server, source }),
        }
    }
    Ok(ports)
}

fn open_port(server: SocketAddr, shared: bool, roams: bool) -> io::Result<Port> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    let batches = if shared {
        Some(UdpSocketState::new((&socket).into())?)
    } else {
        if !roams {
            socket.connect(server)?;
        }
        None
    };
    Ok(Port { socket: UdpSocket::from_std(socket)?, batches })
}

thread_local! {
    /// Where datagrams are received before they are handled, one after the other, on this thread.
    static RECEIVE_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One socket with its devices.
struct PortTask {
    port: Port,
    fleet: Fleet,
    first_number: u32,
    clock: Clock,
    server: SocketAddr,
    milestones: Option<mpsc::Sender<String>>,
}

impl PortTask {
    async fn run(mut self, mut stopped: watch::Receiver<bool>, deregisters: bool) -> (FleetStatistics, u64) {
        let mut end = None;
        let timer = sleep_until(self.clock.start);
        tokio::pin!(timer);
        loop {
            self.fleet.handle_timeout(self.clock.now());
            self.tell_milestones();
            self.transmit_all().await;
            if end.is_some_and(|end| end <= TokioInstant::now() || !self.fleet.has_notification_in_flight()) {
                break;
            }
            let mut wake = self.fleet.next_deadline().map(|at| self.clock.at(at));
            wake = wake.into_iter().chain(end).min();
            let wake = wake.unwrap_or_else(|| TokioInstant::now() + Duration::from_secs(3_600));
            // A wheel entry is moved only when it must be: most turns change nothing.
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
            tokio::select! {
                _ = self.port.socket.readable() => self.receive_batches(),
                () = &mut timer => {}
                _ = stopped.changed(), if end.is_none() => {
                    self.fleet.stop_reporting();
                    end = Some(TokioInstant::now() + GRACE);
                }
            }
        }
        let registered = self.fleet.registered() as u64;
        let statistics = self.fleet.statistics().clone();
        if deregisters {
            self.fleet.deregister_all(self.clock.now());
            self.transmit_all().await;
        }
        (statistics, registered)
    }

    fn tell_milestones(&mut self) {
        while let Some(milestone) = self.fleet.poll_milestone() {
            if let Some(milestones) = &self.milestones {
                // An error means that nobody listens, or not fast enough.
                let _ = milestones.try_send(milestone);
            }
        }
    }

    /// Sends what the devices have to say. A full socket buffer is waited for; other errors are losses, which the
    /// devices repair as they would on the air.
    async fn transmit_all(&mut self) {
        while let Some(departure) = self.fleet.poll_transmit() {
            loop {
                let sent = self.port.socket.try_io(Interest::WRITABLE, || self.transmit(&departure));
                match sent {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if self.port.socket.writable().await.is_err() {
                            break;
                        }
                    }
                    _ => break,
                }
            }
        }
    }

    fn transmit(&self, departure: &Departure) -> io::Result<()> {
        let socket = socket2::SockRef::from(&self.port.socket);
        let Some(batches) = &self.port.batches else {
            let sent = match departure.server {
                Some(server) => socket.send_to(&departure.bytes, &server.into()),
                None => socket.send(&departure.bytes),
            };
            return sent.map(drop);
        };
        let number = self.first_number.saturating_add(u32::try_from(departure.device).unwrap_or(u32::MAX));
        let transmit = Transmit {
            destination: departure.server.unwrap_or(self.server),
            ecn: None,
            contents: &departure.bytes,
            segment_size: None,
            src_ip: Some(device_address(number)),
        };
        batches.try_send((&self.port.socket).into(), &transmit)
    }

    fn receive_batches(&mut self) {
        for _ in 0..MAX_BATCHES_PER_TURN {
            let received = RECEIVE_BUFFER.with_borrow_mut(|buffer| {
                buffer.resize(BATCH_SIZE * RECEIVE_BYTES, 0);
                self.receive_batch(buffer)
            });
            if received.is_err() {
                return;
            }
        }
    }

    /// Handles one batch; `WouldBlock` when there is none. Errors of a connected socket are answers of the network to
    /// what was sent and tell nothing that a missing acknowledgement does not.
    fn receive_batch(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let now = self.clock.now();
        let Some(batches) = &self.port.batches else {
            let (length, from) = self.port.socket.try_recv_from(buffer)?;
            if self.fleet.server(0).is_none_or(|server| server == from) {
                self.fleet.handle_datagram(now, 0, buffer.get(..length).unwrap_or_default());
            }
            return Ok(());
        };
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = {
            let mut slices = buffer.chunks_mut(RECEIVE_BYTES).map(IoSliceMut::new);
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let socket = &self.port.socket;
            socket.try_io(Interest::READABLE, || batches.recv(socket.into(), &mut slices, &mut metas))?
        };
        for (meta, segment) in metas.iter().take(count).zip(buffer.chunks(RECEIVE_BYTES)) {
            let index = meta.dst_ip.and_then(|address| self.device_index(address));
            let Some(index) = index.filter(|index| meta.addr == self.fleet.server(*index).unwrap_or(self.server))
            else {
                continue;
            };
            let bytes = segment.get(..meta.len).unwrap_or_default();
            for datagram in bytes.chunks(meta.stride.max(1)) {
                self.fleet.handle_datagram(now, index, datagram);
            }
        }
        Ok(())
    }

    fn device_index(&self, address: IpAddr) -> Option<usize> {
        let IpAddr::V4(address) = address else { return None };
        let number = address.to_bits().checked_sub(FIRST_LOOPBACK_ADDRESS.to_bits())?;
        usize::try_from(number.checked_sub(self.first_number)?).ok()
    }
}

/// The loopback address of a device.
pub(super) fn device_address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(FIRST_LOOPBACK_ADDRESS.to_bits().saturating_add(number)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path::Path;
    use crate::simulator::tiny_server::TinyServer;

    /// A server that runs until it is dropped.
    struct Serving {
        address: SocketAddr,
        /// Notifications received.
        values: watch::Receiver<u64>,
        _tasks: JoinSet<()>,
    }

    impl Serving {
        async fn at(address: &str) -> io::Result<Self> {
            let socket = UdpSocket::bind(address).await?;
            let address = socket.local_addr()?;
            let (sender, values) = watch::channel(0);
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                let mut server = TinyServer::new(Path::resource(3303, 0, 5700));
                let clock = Clock { start: TokioInstant::now() };
                let mut buffer = vec![0; 2_048];
                while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                    server.handle_datagram(clock.now(), from, &buffer[..length]);
                    for (to, bytes) in server.take_outgoing() {
                        let _ = socket.send_to(&bytes, to).await;
                    }
                    sender.send_replace(server.values());
                }
            });
            Ok(Self { address, values, _tasks: tasks })
        }

        /// Runs a closed loop of devices until this many notifications have come.
        async fn run(&self, devices: u32, notifications: u64) -> FleetReport {
            let configuration = FleetConfiguration {
                interval: Duration::ZERO,
                registrations_per_second: 0.0,
                kind: DeviceKind::Thermometer,
                ..FleetConfiguration::new(self.address, devices)
            };
            let mut values = self.values.clone();
            let enough = async {
                let _ = values.wait_for(|values| *values >= notifications).await;
            };
            run_fleet_until(configuration, enough).await.unwrap()
        }
    }

    #[tokio::test]
    async fn devices_that_share_loopback_sockets_register_and_report() {
        let server = Serving::at("127.0.0.1:0").await.unwrap();
        let devices = DEVICES_PER_LOOPBACK_SOCKET + 6;
        let report = server.run(devices, u64::from(devices) * 20).await;
        assert_eq!(report.devices, u64::from(devices));
        assert!(report.registered > u64::from(DEVICES_PER_LOOPBACK_SOCKET), "{report:?}");
        assert!(report.acknowledged > u64::from(devices) * 10, "{report:?}");
        assert_eq!(report.lost, 0);
        assert!(report.latency_ms.p50 > 0.0 && report.latency_ms.p50 <= report.latency_ms.max);
    }

    #[tokio::test]
    async fn devices_with_sockets_of_their_own_register_and_report() {
        // A machine without IPv6 has no loopback address that is reached this way.
        let Ok(server) = Serving::at("[::1]:0").await else { return };
        let report = server.run(5, 100).await;
        assert_eq!(report.registered, 5);
        assert!(report.acknowledged > 50, "{report:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_shows_in_the_report() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let brief = FleetConfiguration {
            duration: Some(Duration::from_millis(100)),
            ..FleetConfiguration::new(silent.local_addr().unwrap(), 3)
        };
        let report = run_fleet(brief).await.unwrap();
        assert_eq!((report.registered, report.sent), (0, 0));
        assert!(report.duration_s >= 0.1);
    }

    #[test]
    fn every_device_has_its_own_address_and_is_found_by_it() {
        let addresses: std::collections::BTreeSet<IpAddr> = (0..10_000).map(device_address).collect();
        assert_eq!(addresses.len(), 10_000);
        assert!(addresses.iter().all(IpAddr::is_loopback));
        assert!(device_address(MAX_LOOPBACK_DEVICES).is_loopback());
    }

    #[test]
    fn too_few_files_are_told_with_the_remedy() {
        let server = SocketAddr::from(([192, 0, 2, 1], 5683));
        let error = FleetError::TooManySockets { devices: 10_000, server, sockets: 10_000, opened: 1_010 };
        let text = error.to_string();
        assert!(text.contains("ulimit -n 10064") && text.contains("10000 devices"), "{text}");
    }
}

//! Devices with DTLS: what handshakes cost, what a session takes in memory, what records cost beside plain datagrams,
//! and how many sessions go on over a restart.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as BlockingSocket};
use std::rc::Rc;
use std::time::Duration;

use lwm2mqtt::model::time::Instant as DeviceInstant;
use lwm2mqtt::simulator::dtls::client::{DtlsClient, DtlsEvent, DtlsScript};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::rig::{Outcome, Rig, Settings};
use super::{mib, tell};

const RUNS: usize = 3;
const HANDSHAKES: u32 = 2_000;
const CERTIFICATE_HANDSHAKES: u32 = 1_000;
const SHAKING_HANDS: usize = 64;
const IDLE_SESSIONS: u32 = 10_000;
const ECHOING: u32 = 64;
const ECHO_TIME: Duration = Duration::from_secs(5);
/// Credentials that one request may bring.
const MAX_CREDENTIALS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(20);
/// 16 bytes, the same for all: it is not the keys that are measured.
const KEY: &str = "000102030405060708090a0b0c0d0e0f";
/// Without these the rates of one source would be measured.
pub(crate) const NO_RATES: &str = "handshakes_per_second = 1000000\nhandshakes_per_second_per_source = 1000000\n\
    registrations_per_second = 1000000\nregistrations_per_second_per_source = 1000000\n";
/// An empty confirmable message, which is answered by a reset (RFC 7252 section 4.3), and nothing is stored for it.
const PING: [u8; 4] = [0x40, 0, 0, 1];
/// How a reset and an acknowledgement without a token begin.
const RESET: u8 = 0x70;
const ACKNOWLEDGEMENT: u8 = 0x60;
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Prints all of it.
pub(crate) async fn sessions() -> Outcome<()> {
    println!("\nDTLS: handshakes one after the other on {SHAKING_HANDS} ways, {RUNS} runs");
    let (mut key, mut certificate) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        key.push(handshakes_with_keys().await?);
        certificate.push(handshakes_with_certificates().await?);
    }
    tell("PSK AES-128-CCM-8, for each second of gateway CPU", "1/s", &key);
    tell("X.509 on both sides, AES-128-CCM-8, for each second of gateway CPU", "1/s", &certificate);
    echoes().await?;
    idle_and_restarted().await
}

fn settings() -> Settings {
    Settings { lwm2m: NO_RATES, dtls: true, ..Settings::default() }
}

/// A device that has nothing but its session.
struct Member {
    number: u32,
    socket: UdpSocket,
    client: DtlsClient,
    epoch: Instant,
}

impl Member {
    async fn new(server: SocketAddr, number: u32, epoch: Instant) -> Outcome<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| {
            format!("{IDLE_SESSIONS} devices need as many sockets: raise the limit with 'ulimit -n' ({error})")
        })?;
        socket.connect(server).await?;
        let script = DtlsScript::new(identity(number), &data_encoding::HEXLOWER.decode(KEY.as_bytes())?);
        Ok(Self { number, socket, client: DtlsClient::new(script, u64::from(number)), epoch })
    }

    fn now(&self) -> DeviceInstant {
        DeviceInstant::ZERO + self.epoch.elapsed()
    }

    /// Goes on until an event or the deadline.
    async fn next_event(&mut self, deadline: Instant) -> Option<DtlsEvent> {
        let mut buffer = [0; 2_048];
        loop {
            if let Some(event) = self.client.poll_event() {
                return Some(event);
            }
            self.flush().await;
            let due = self.client.next_deadline().map(|at| self.epoch + at.saturating_since(DeviceInstant::ZERO));
            let wake = due.map_or(deadline, |due| due.min(deadline));
            match timeout_at(wake, self.socket.recv(&mut buffer)).await {
                Ok(Ok(length)) => self.client.receive(self.now(), buffer.get(..length).unwrap_or_default()),
                Ok(Err(_)) => {}
                Err(_) if Instant::now() >= deadline => return None,
                Err(_) => self.client.handle_timeout(self.now()),
            }
        }
    }

    async fn flush(&mut self) {
        while let Some(datagram) = self.client.poll_server() {
            // A lost datagram is sent again.
            let _ = self.socket.send(&datagram).await;
        }
    }

    async fn shake_hands(&mut self) -> bool {
        self.client.begin(self.now());
        matches!(self.next_event(Instant::now() + PATIENCE).await, Some(DtlsEvent::Established { .. }))
    }

    /// Whether one message in the session is answered, whatever else the gateway says.
    async fn is_answered(&mut self, message: &[u8], first_byte: u8) -> bool {
        self.client.send(self.now(), message.to_vec());
        self.flush().await;
        let (mut buffer, end) = ([0; 2_048], Instant::now() + ANSWER_TIME);
        while let Ok(Ok(length)) = timeout_at(end, self.socket.recv(&mut buffer)).await {
            self.client.receive(self.now(), buffer.get(..length).unwrap_or_default());
            self.flush().await;
            while let Some(answer) = self.client.poll_device() {
                if answer.first() == Some(&first_byte) {
                    return true;
                }
            }
        }
        false
    }

    async fn is_pinged(&mut self) -> bool {
        self.is_answered(&PING, RESET).await
    }

    async fn registers(&mut self) -> bool {
        let endpoint = format!("ep={}", identity(self.number));
        let mut message = vec![0x40, 0x02, 0, 2, 0xb2];
        message.extend(b"rd\x11\x28\x3d");
        message.push(u8::try_from(endpoint.len()).unwrap_or_default() - 13);
        message.extend(endpoint.as_bytes());
        message.extend(b"\x08lt=86400\x09lwm2m=1.1\xff</3/0>");
        self.is_answered(&message, ACKNOWLEDGEMENT).await
    }
}

fn identity(number: u32) -> String {
    format!("figures-{number:06}")
}

/// So many devices shake hands; those whose session stands.
async fn gather(rig: &Rig, devices: u32) -> Outcome<Vec<Member>> {
    let credentials: Vec<serde_json::Value> = (0..devices)
        .map(|number| serde_json::json!({"endpoint": identity(number), "mode": "psk", "key": KEY, "key_format": "hex"}))
        .collect();
    for part in credentials.chunks(MAX_CREDENTIALS) {
        rig.post("/api/v1/credentials", &serde_json::Value::from(part)).await?;
    }
    let (permits, epoch) = (Rc::new(Semaphore::new(SHAKING_HANDS)), Instant::now());
    let standing = Rc::new(RefCell::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..devices {
        let mut member = Member::new(rig.dtls, number, epoch).await?;
        let (permits, standing) = (Rc::clone(&permits), Rc::clone(&standing));
        tasks.push(spawn_local(async move {
            let _permit = permits.acquire().await;
            if member.shake_hands().await {
                standing.borrow_mut().push(member);
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    Ok(standing.take())
}

async fn handshakes_with_keys() -> Outcome<f64> {
    let rig = Rig::start(settings()).await?;
    // The first ones load what all need.
    gather(&rig, 16).await?;
    let before = rig.usage()?;
    let standing = gather(&rig, HANDSHAKES).await?.len();
    if standing < HANDSHAKES as usize {
        println!("  {} of {HANDSHAKES} handshakes failed", HANDSHAKES as usize - standing);
    }
    Ok(standing as f64 / rig.usage()?.cpu.saturating_sub(before.cpu).as_secs_f64())
}

/// The other side is OpenSSL here, on threads of its own.
async fn handshakes_with_certificates() -> Outcome<f64> {
    let rig = Rig::start(settings()).await?;
    let before = rig.usage()?;
    let (server, folder) = (rig.dtls, rig.folder().to_owned());
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let folder = folder.clone();
            std::thread::spawn(move || {
                (0..CERTIFICATE_HANDSHAKES / 8)
                    .filter(|_| shake_hands_with_certificate(server, &folder).is_ok())
                    .count()
            })
        })
        .collect();
    while threads.iter().any(|thread| !thread.is_finished()) {
        sleep(Duration::from_millis(20)).await;
    }
    let standing: usize = threads.into_iter().filter_map(|thread| thread.join().ok()).sum();
    if standing < CERTIFICATE_HANDSHAKES as usize {
        println!("  {} of {CERTIFICATE_HANDSHAKES} handshakes failed", CERTIFICATE_HANDSHAKES as usize - standing);
    }
    Ok(standing as f64 / rig.usage()?.cpu.saturating_sub(before.cpu).as_secs_f64())
}

#[derive(Debug)]
struct Datagrams(BlockingSocket);

impl Read for Datagrams {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.recv(bytes)
    }
}

impl Write for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shake_hands_with_certificate(server: SocketAddr, folder: &std::path::Path) -> Outcome<()> {
    let mut connector = SslConnector::builder(SslMethod::dtls())?;
    connector.set_cipher_list("ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0")?;
    connector.set_verify(SslVerifyMode::NONE);
    connector.set_certificate_chain_file(folder.join("device.crt"))?;
    connector.set_private_key_file(folder.join("device.key"), openssl::ssl::SslFiletype::PEM)?;
    let socket = BlockingSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut configuration = connector.build().configure()?.verify_hostname(false);
    configuration.set_mtu(1_200)?;
    let mut session = configuration.connect("server", Datagrams(socket)).map_err(|error| error.to_string())?;
    let _ = session.shutdown();
    Ok(())
}

/// A closed loop of pings in sessions, and as many without.
async fn echoes() -> Outcome<()> {
    println!("\nDTLS: {ECHOING} devices ping, each as soon as it has its answer, {ECHO_TIME:?}");
    let rig = Rig::start(settings()).await?;
    let members = gather(&rig, ECHOING).await?;
    let before = rig.usage()?;
    let end = Instant::now() + ECHO_TIME;
    let mut tasks = Vec::new();
    for mut member in members {
        tasks.push(spawn_local(async move {
            let mut answered = 0_u64;
            while Instant::now() < end {
                answered += u64::from(member.is_pinged().await);
            }
            answered
        }));
    }
    let secured = count(&rig, before.cpu, tasks).await?;
    let before = rig.usage()?;
    let end = Instant::now() + ECHO_TIME;
    let mut tasks = Vec::new();
    for _ in 0..ECHOING {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(rig.lwm2m).await?;
        tasks.push(spawn_local(async move {
            let (mut answered, mut buffer) = (0_u64, [0; 64]);
            while Instant::now() < end {
                let _ = socket.send(&PING).await;
                let answer = timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await;
                answered += u64::from(matches!(answer, Ok(Ok(_))));
            }
            answered
        }));
    }
    let plain = count(&rig, before.cpu, tasks).await?;
    for (name, (rate, micros)) in [("in records", secured), ("plain", plain)] {
        println!("  {name}: {rate:.0} answers/s, {micros:.1} us of gateway CPU each");
    }
    println!("  ratio of the gateway CPU: {:.2}", secured.1 / plain.1.max(f64::MIN_POSITIVE));
    Ok(())
}

/// Answers for each second, and the processor time of each in microseconds.
async fn count(rig: &Rig, cpu: Duration, tasks: Vec<tokio::task::JoinHandle<u64>>) -> Outcome<(f64, f64)> {
    let mut answered = 0;
    for task in tasks {
        answered += task.await?;
    }
    let cpu = rig.usage()?.cpu.saturating_sub(cpu).as_secs_f64();
    Ok((answered as f64 / ECHO_TIME.as_secs_f64(), cpu / answered.max(1) as f64 * 1e6))
}

async fn idle_and_restarted() -> Outcome<()> {
    println!("\nDTLS: {IDLE_SESSIONS} sessions that say nothing, then kill -9 and a restart");
    let mut rig = Rig::start(settings()).await?;
    gather(&rig, 16).await?;
    let empty = rig.usage()?.resident_kib;
    let members = gather(&rig, IDLE_SESSIONS).await?;
    // The last flights are kept until the first message.
    let (members, _) = each(members, |mut member| async move { (member.is_pinged().await, member) }).await?;
    sleep(Duration::from_secs(2)).await;
    let tell_memory = |what: &str| -> Outcome<()> {
        let resident = rig.usage()?.resident_kib;
        let each = resident.saturating_sub(empty) as f64 / f64::from(IDLE_SESSIONS);
        println!("  {what}: {:.1} MiB resident, {each:.2} KiB for each device", mib(resident));
        Ok(())
    };
    tell_memory("sessions and credentials")?;
    let (members, registered) = each(members, |mut member| async move { (member.registers().await, member) }).await?;
    sleep(Duration::from_secs(2)).await;
    tell_memory(&format!("{registered} of them registered"))?;
    let began = Instant::now();
    rig.restart().await?;
    println!("  ready {:.2} s after the restart", began.elapsed().as_secs_f64());
    let (members, going_on) = each(members, |mut member| async move { (member.is_pinged().await, member) }).await?;
    println!("  {going_on} of {} sessions go on without a handshake, at their first datagram", members.len());
    Ok(())
}

/// Has all members do something, some of them at a time; how many did it well.
async fn each<F>(members: Vec<Member>, action: fn(Member) -> F) -> Outcome<(Vec<Member>, usize)>
where
    F: Future<Output = (bool, Member)> + 'static,
{
    let permits = Rc::new(Semaphore::new(SHAKING_HANDS));
    let tasks: Vec<_> = members
        .into_iter()
        .map(|member| {
            let permits = Rc::clone(&permits);
            spawn_local(async move {
                let _permit = permits.acquire().await;
                action(member).await
            })
        })
        .collect();
    let (mut members, mut done) = (Vec::new(), 0);
    for task in tasks {
        let (well, member) = task.await?;
        done += usize::from(well);
        members.push(member);
    }
    Ok((members, done))
}

//! A device that counts: it registers, is observed, and sends confirmable notifications one after the other, each with
//! the next number and a time of its own, each again and again until the server has acknowledged it.
//!
//! It shares no code with the gateway (its CoAP is `coap-lite`'s), so that an error common to both sides cannot hide. What
//! was acknowledged to it is the promise that the tests hold the gateway to. Formats: SenML JSON only (RFC 8428), because
//! records carry their time; other Accepts are answered 4.06. One more resource, of an object that needs a definition to
//! be understood, can be read as TLV only.
#![expect(clippy::disallowed_methods, reason = "a device on a real network needs the real clock")]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};

use super::PATIENCE;
use super::process::deadline;

/// Shorter than RFC 7252 4.8 wants: the tests kill the server, and should not wait for the back-off.
const RETRANSMIT: Duration = Duration::from_millis(250);
/// How often the thread looks whether something is due.
const TICK: Duration = Duration::from_millis(5);
/// How often one Register is sent.
const MAX_SENT: u16 = 5;
/// Far from the ids of notifications, which begin at 1.
const FIRST_REGISTER_ID: u16 = 0xf000;
const SENML_JSON: usize = 110;
const TLV: usize = 11_542;
const LINK_FORMAT: usize = 40;
const OBSERVED: &str = "3303/0/5700";
/// A resource of an object that no registry has; it can be read as TLV (Core TS 7.5.5): resource 1, two bytes, 300.
const UNKNOWN: &str = "42001/0/1";
const UNKNOWN_TLV: [u8; 4] = [0b1100_0010, 1, 0x01, 0x2c];
/// The time of sample 0, in milliseconds since 1970; each sample is this much later than the one before.
const FIRST_SAMPLE_MS: u64 = 1_700_000_000_000;
const SAMPLE_STEP_MS: u64 = 1_000;
const MAX_UNREAD_ACKNOWLEDGEMENTS: usize = 1_000_000;

/// A notification that the server acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The value that was sent: 1, 2, 3..
    pub(crate) number: u64,
    /// Its time, in milliseconds since 1970.
    pub(crate) ts: u64,
}

/// The device, running on a thread until [`Self::stop`].
pub(crate) struct NotifyingDevice {
    endpoint: String,
    ended: Arc<AtomicBool>,
    acknowledgements: Receiver<Acknowledged>,
    acknowledged: Vec<Acknowledged>,
    thread: Option<JoinHandle<()>>,
}

impl NotifyingDevice {
    /// Starts a device that sends its next number `pause` after the last one was acknowledged.
    pub(crate) fn start(server: SocketAddr, endpoint: &str, pause: Duration) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_read_timeout(Some(TICK)).expect("a timeout that is not zero");
        let (report, acknowledgements) = sync_channel(MAX_UNREAD_ACKNOWLEDGEMENTS);
        let ended = Arc::new(AtomicBool::new(false));
        let session = Session {
            socket,
            server,
            endpoint: endpoint.to_owned(),
            pause,
            report,
            message_id: 1,
            registered: false,
            register_due: Instant::now(),
            register_sent: 0,
            observer: None,
            number: 0,
            in_flight: None,
            notify_due: Instant::now(),
        };
        let end = Arc::clone(&ended);
        let thread = Some(thread::spawn(move || session.run(&end)));
        Self { endpoint: endpoint.to_owned(), ended, acknowledgements, acknowledged: Vec::new(), thread }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Waits until `more` further notifications have been acknowledged.
    pub(crate) fn expect_acknowledged(&mut self, more: usize) {
        let until = deadline(PATIENCE);
        for received in 0..more {
            let remaining = until.saturating_duration_since(Instant::now());
            let next = self.acknowledgements.recv_timeout(remaining).unwrap_or_else(|reason| {
                panic!("{}: {received} of {more} notifications were acknowledged: {reason}", self.endpoint)
            });
            self.acknowledged.push(next);
        }
    }

    /// Ends it without deregistering; answers everything that was acknowledged to it, in order.
    pub(crate) fn stop(mut self) -> Vec<Acknowledged> {
        self.end();
        self.acknowledged.extend(self.acknowledgements.try_iter());
        std::mem::take(&mut self.acknowledged)
    }

    fn end(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "{}: the device failed", self.endpoint);
        }
    }
}

impl Drop for NotifyingDevice {
    fn drop(&mut self) {
        self.end();
    }
}

struct Session {
    socket: UdpSocket,
    server: SocketAddr,
    endpoint: String,
    pause: Duration,
    report: SyncSender<Acknowledged>,
    message_id: u16,
    registered: bool,
    register_due: Instant,
    register_sent: u16,
    observer: Option<Observer>,
    number: u64,
    in_flight: Option<InFlight>,
    notify_due: Instant,
}

struct Observer {
    token: Vec<u8>,
    sequence: u32,
}

struct InFlight {
    message_id: u16,
    bytes: Vec<u8>,
    due: Instant,
    sample: Acknowledged,
}

impl Session {
    fn run(mut self, end: &AtomicBool) {
        let mut buffer = [0; 2048];
        while !end.load(Ordering::Relaxed) {
            // A server that is down answers with an ICMP error, which shows up here and means nothing else.
            if let Ok(length) = self.socket.recv(&mut buffer)
                && let Ok(packet) = Packet::from_bytes(&buffer[..length])
            {
                self.handle(&packet);
            }
            let now = Instant::now();
            if !self.registered {
                self.register(now);
            } else if self.in_flight.is_none() {
                self.notify(now);
            }
            self.retransmit(now);
        }
    }

    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1);
        self.message_id
    }

    fn send(&self, packet: &Packet) -> Vec<u8> {
        let bytes = packet.to_bytes().expect("a message of few bytes");
        drop(self.socket.send_to(&bytes, self.server));
        bytes
    }

    fn register(&mut self, now: Instant) {
        if now < self.register_due {
            return;
        }
        self.register_due = now + RETRANSMIT;
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.code = MessageClass::Request(RequestType::Post);
        // The same message for a while, so that a lost answer makes no second registration; then a new attempt, which
        // is what a device makes that got no answer at all.
        packet.header.message_id = FIRST_REGISTER_ID + self.register_sent / MAX_SENT;
        self.register_sent += 1;
        packet.set_token(vec![0xee]);
        packet.add_option(CoapOption::UriPath, b"rd".to_vec());
        packet.add_option(CoapOption::ContentFormat, number_bytes(LINK_FORMAT));
        let endpoint = format!("ep={}", self.endpoint);
        for query in ["lwm2m=1.1", "lt=86400", "b=U", &endpoint] {
            packet.add_option(CoapOption::UriQuery, query.as_bytes().to_vec());
        }
        packet.payload = b"</>;rt=\"oma.lwm2m\";ct=110,</1/0>,</3/0>,</3303/0>,</42001/0>".to_vec();
        self.send(&packet);
    }

    fn handle(&mut self, packet: &Packet) {
        let message_id = packet.header.message_id;
        match packet.header.code {
            MessageClass::Response(ResponseType::Created) => self.registered = true,
            MessageClass::Request(RequestType::Get) => self.answer_get(packet),
            // Write-Attributes and whatever else is asked of it.
            MessageClass::Request(RequestType::Put) => self.answer(packet, ResponseType::Changed, None),
            MessageClass::Request(_) => self.answer(packet, ResponseType::MethodNotAllowed, None),
            MessageClass::Empty => match packet.header.get_type() {
                MessageType::Acknowledgement => self.acknowledge(message_id),
                MessageType::Reset if self.in_flight.as_ref().is_some_and(|sent| sent.message_id == message_id) => {
                    // The server no longer knows the observation. The sample is sent again once there is one.
                    self.in_flight = None;
                    self.observer = None;
                    self.number -= 1;
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn answer_get(&mut self, request: &Packet) {
        let segments = request.get_option(CoapOption::UriPath);
        let path: Vec<_> =
            segments.into_iter().flatten().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        let path = path.join("/");
        let within = !path.is_empty() && format!("{OBSERVED}/").starts_with(&format!("{path}/"));
        let accept = request.get_first_option(CoapOption::Accept).map(|bytes| number(bytes));
        if path == UNKNOWN {
            return match accept {
                None | Some(TLV) => self.answer_with(request, None, TLV, UNKNOWN_TLV.to_vec()),
                Some(_) => self.answer(request, ResponseType::NotAcceptable, None),
            };
        }
        if !within {
            return self.answer(request, ResponseType::NotFound, None);
        }
        if accept.is_some_and(|format| format != SENML_JSON) {
            return self.answer(request, ResponseType::NotAcceptable, None);
        }
        match request.get_first_option(CoapOption::Observe).map(|bytes| number(bytes)) {
            Some(0) => {
                let sequence = self.observer.as_ref().map_or(1, |observer| observer.sequence + 1);
                self.observer = Some(Observer { token: request.get_token().to_vec(), sequence });
                // The value of the answer is that of a sample which nobody counts: number 0.
                self.answer(request, ResponseType::Content, Some(sequence));
            }
            Some(_) => {
                self.observer = None;
                self.answer(request, ResponseType::Content, None);
            }
            None => self.answer(request, ResponseType::Content, None),
        }
    }

    fn answer(&self, request: &Packet, code: ResponseType, observe: Option<u32>) {
        if code == ResponseType::Content {
            return self.answer_with(request, observe, SENML_JSON, senml(sample(0)));
        }
        self.send(&answer_to(request, code));
    }

    fn answer_with(&self, request: &Packet, observe: Option<u32>, format: usize, payload: Vec<u8>) {
        let mut packet = answer_to(request, ResponseType::Content);
        if let Some(sequence) = observe {
            packet.add_option(CoapOption::Observe, number_bytes(sequence as usize));
        }
        packet.add_option(CoapOption::ContentFormat, number_bytes(format));
        packet.payload = payload;
        self.send(&packet);
    }

    fn notify(&mut self, now: Instant) {
        if now < self.notify_due {
            return;
        }
        let message_id = self.next_message_id();
        let Some(observer) = &mut self.observer else { return };
        observer.sequence += 1;
        self.number += 1;
        let sample = sample(self.number);
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.code = MessageClass::Response(ResponseType::Content);
        packet.header.message_id = message_id;
        packet.set_token(observer.token.clone());
        packet.add_option(CoapOption::Observe, number_bytes(observer.sequence as usize));
        packet.add_option(CoapOption::ContentFormat, number_bytes(SENML_JSON));
        packet.payload = senml(sample);
        let bytes = self.send(&packet);
        self.in_flight = Some(InFlight { message_id, bytes, due: now + RETRANSMIT, sample });
    }

    fn retransmit(&mut self, now: Instant) {
        if let Some(sent) = self.in_flight.as_mut().filter(|sent| sent.due <= now) {
            sent.due = now + RETRANSMIT;
            drop(self.socket.send_to(&sent.bytes, self.server));
        }
    }

    fn acknowledge(&mut self, message_id: u16) {
        if let Some(sent) = self.in_flight.take_if(|sent| sent.message_id == message_id) {
            self.notify_due = Instant::now() + self.pause;
            self.report.try_send(sent.sample).expect("somebody who reads what was acknowledged");
        }
    }
}

fn answer_to(request: &Packet, code: ResponseType) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Acknowledgement);
    packet.header.message_id = request.header.message_id;
    packet.set_token(request.get_token().to_vec());
    packet.header.code = MessageClass::Response(code);
    packet
}

fn sample(number: u64) -> Acknowledged {
    Acknowledged { number, ts: FIRST_SAMPLE_MS + number * SAMPLE_STEP_MS }
}

fn senml(sample: Acknowledged) -> Vec<u8> {
    let seconds = sample.ts / 1_000;
    format!(r#"[{{"bn":"/{OBSERVED}","bt":{seconds},"v":{}}}]"#, sample.number).into_bytes()
}

/// RFC 7252 3.2: a uint option in as few bytes as it needs.
fn number_bytes(number: usize) -> Vec<u8> {
    number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

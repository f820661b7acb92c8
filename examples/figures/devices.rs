//! Simulated devices, each with a socket of its own, that register a few at a time and report at a steady rate; and a
//! subscriber that recognises each report by its value.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::time::Instant as DeviceInstant;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::{DeviceEvent, SimulatedDevice};
use lwm2mqtt::simulator::scripts::thermometer;
use lwm2mqtt::simulator::statistics::LatencyHistogram;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::rig::Outcome;

const TEMPERATURE: Path = Path::resource(3303, 0, 5700);
/// Values of reports count from here; start values of the devices lie below.
const FIRST_VALUE: u32 = 1_000;

/// What the devices do.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) devices: u32,
    /// Devices that register at the same time.
    pub(crate) registering: usize,
    /// Time between reports of one device; `None`: they only register and are observed.
    pub(crate) interval: Option<Duration>,
    /// First part of the endpoint names.
    pub(crate) prefix: &'static str,
}

/// What happened so far.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) registered: u32,
    pub(crate) observed: u32,
    pub(crate) first_registration: Option<Instant>,
    pub(crate) last_registration: Option<Instant>,
    /// Reports on the way, by device and value.
    sent: HashMap<(u32, u32), Instant>,
    /// Reports that left before this time are not counted.
    pub(crate) count_from: Option<Instant>,
    /// Reports that left since.
    pub(crate) reports: u64,
    /// From a report to its MQTT message.
    pub(crate) latency: LatencyHistogram,
}

pub(crate) type Shared = Rc<RefCell<Progress>>;

/// Tasks that end with it.
pub(crate) struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Starts the devices.
pub(crate) async fn start(plan: Plan) -> Outcome<(Shared, Tasks)> {
    let progress = Shared::default();
    let permits = Rc::new(Semaphore::new(plan.registering));
    let epoch = Instant::now();
    let mut tasks = Tasks(Vec::new());
    for number in 0..plan.devices {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| {
            format!("{} devices need as many sockets: raise the limit with 'ulimit -n' ({error})", plan.devices)
        })?;
        socket.connect(plan.server).await?;
        let device = SimulatedDevice::new(thermometer(format!("{}{number:06}", plan.prefix)), u64::from(number));
        let member = Member { plan, number, socket, device, epoch, progress: Rc::clone(&progress) };
        tasks.0.push(spawn_local(member.run(Rc::clone(&permits))));
    }
    Ok((progress, tasks))
}

struct Member {
    plan: Plan,
    number: u32,
    socket: UdpSocket,
    device: SimulatedDevice,
    epoch: Instant,
    progress: Shared,
}

impl Member {
    async fn run(mut self, permits: Rc<Semaphore>) {
        let mut permit = permits.acquire().await.ok();
        let mut report_at = None;
        let mut value = FIRST_VALUE;
        let mut buffer = vec![0; 2_048];
        self.device.start(self.now());
        loop {
            while let Some(bytes) = self.device.poll_transmit() {
                // A lost datagram is sent again.
                let _ = self.socket.send(&bytes).await;
            }
            while let Some(event) = self.device.poll_event() {
                self.note(&event);
                match event {
                    DeviceEvent::Registered { .. } => drop(permit.take()),
                    DeviceEvent::Observed { path } if path.contains(&TEMPERATURE) => {
                        let phase = self.plan.interval.map(|interval| interval * self.number / self.plan.devices);
                        report_at = phase.map(|phase| Instant::now() + phase);
                    }
                    _ => {}
                }
            }
            let deadline = self.device.next_deadline();
            let deadline = deadline.map(|at| self.epoch + at.saturating_since(DeviceInstant::ZERO));
            let wake = [report_at, deadline].into_iter().flatten().min();
            let wake = wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                received = self.socket.recv(&mut buffer) => if let Ok(length) = received {
                    let now = self.now();
                    self.device.handle_datagram(now, buffer.get(..length).unwrap_or_default());
                },
                () = sleep_until(wake) => {
                    let now = self.now();
                    if let (Some(at), Some(interval)) = (report_at, self.plan.interval)
                        && at <= Instant::now()
                    {
                        report_at = Some(at + interval);
                        value += 1;
                        self.report(now, value);
                    }
                    self.device.handle_timeout(now);
                }
            }
        }
    }

    fn now(&self) -> DeviceInstant {
        DeviceInstant::ZERO + self.epoch.elapsed()
    }

    fn report(&mut self, now: DeviceInstant, value: u32) {
        let at = Instant::now();
        let mut progress = self.progress.borrow_mut();
        if progress.count_from.is_some_and(|from| from <= at) {
            progress.reports += 1;
            progress.sent.insert((self.number, value), at);
        }
        drop(progress);
        self.device.set_value(now, TEMPERATURE, Value::Float(f64::from(value)));
    }

    fn note(&self, event: &DeviceEvent) {
        let mut progress = self.progress.borrow_mut();
        match event {
            DeviceEvent::Registered { .. } => {
                let now = Instant::now();
                progress.registered += 1;
                progress.first_registration.get_or_insert(now);
                progress.last_registration = Some(now);
            }
            DeviceEvent::Observed { path } if path.contains(&TEMPERATURE) => progress.observed += 1,
            _ => {}
        }
    }
}

/// Follows the telemetry of devices with this prefix.
pub(crate) fn subscribe(mqtt: u16, prefix: &'static str, progress: &Shared) -> Tasks {
    let progress = Rc::clone(progress);
    Tasks(vec![spawn_local(async move {
        let mut options = MqttOptions::new("figures-telemetry", "127.0.0.1", mqtt);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut connection) = AsyncClient::new(options, 64);
        let _ = client.subscribe("lwm2m/+/telemetry", QoS::AtMostOnce).await;
        while let Ok(event) = connection.poll().await {
            let Event::Incoming(Packet::Publish(publish)) = event else { continue };
            let at = Instant::now();
            let number = publish.topic.split('/').nth(1).and_then(|device| device.strip_prefix(prefix)?.parse().ok());
            let body: serde_json::Value = serde_json::from_slice(&publish.payload).unwrap_or_default();
            let value = body.pointer("/values/temperature").and_then(whole_number);
            let (Some(number), Some(value)) = (number, value) else { continue };
            let mut progress = progress.borrow_mut();
            if let Some(sent) = progress.sent.remove(&(number, value)) {
                progress.latency.record(at - sent);
            }
        }
    })])
}

/// Reports are whole numbers, spelled with or without a decimal point.
fn whole_number(json: &serde_json::Value) -> Option<u32> {
    let text = json.to_string();
    text.strip_suffix(".0").unwrap_or(&text).parse().ok()
}

/// Messages that the broker received, as it counts them each second.
pub(crate) fn follow_broker(mqtt: u16) -> (Rc<RefCell<u64>>, Tasks) {
    const COUNTER: &str = "$SYS/broker/publish/messages/received";
    let received = Rc::new(RefCell::new(0));
    let counter = Rc::clone(&received);
    let task = spawn_local(async move {
        let (client, mut connection) = AsyncClient::new(MqttOptions::new("figures-broker", "127.0.0.1", mqtt), 64);
        let _ = client.subscribe(COUNTER, QoS::AtMostOnce).await;
        while let Ok(event) = connection.poll().await {
            if let Event::Incoming(Packet::Publish(publish)) = event
                && let Ok(count) = String::from_utf8_lossy(&publish.payload).parse()
            {
                *counter.borrow_mut() = count;
            }
        }
    });
    (received, Tasks(vec![task]))
}

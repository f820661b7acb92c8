//! The simulated device of the product on a real socket, with a script of its own: every operation of device
//! management, which none of the other clients here has.
#![expect(clippy::disallowed_methods, reason = "a device on a real network needs the real clock")]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as SystemInstant};

use lwm2mqtt::model::report::Sample;
use lwm2mqtt::model::time::Instant;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::device::SimulatedDevice;
use lwm2mqtt::simulator::script::DeviceScript;

/// How often the thread looks whether something is due or wanted.
const TICK: Duration = Duration::from_millis(5);
const MAX_DATAGRAM: usize = 65_535;

/// What a test wants of the device.
enum Wanted {
    /// A value was measured.
    Set(&'static str, Value),
    /// A Send of one value.
    Send(&'static str, Value),
    /// An Update.
    Update,
    /// The end.
    Stop,
}

/// The device, running on a thread until it is dropped.
pub(crate) struct ScriptedDevice {
    wanted: Sender<Wanted>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedDevice {
    /// Starts it; it registers by itself.
    pub(crate) fn start(server: SocketAddr, script: DeviceScript) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.connect(server).expect("a loopback address");
        socket.set_read_timeout(Some(TICK)).expect("a timeout that is not zero");
        let (wanted, wishes) = channel();
        let thread = Some(thread::spawn(move || run(&socket, SimulatedDevice::new(script, 1), &wishes)));
        Self { wanted, thread }
    }

    /// A value was measured: observers are told as their attributes say.
    pub(crate) fn set(&self, path: &'static str, value: Value) {
        self.wanted.send(Wanted::Set(path, value)).expect("a running device");
    }

    /// Sends a value by itself (Core TS 1.2.2 section 6.4.4).
    pub(crate) fn send(&self, path: &'static str, value: Value) {
        self.wanted.send(Wanted::Send(path, value)).expect("a running device");
    }

    /// Sends an Update, which also wakes a device that sleeps.
    pub(crate) fn update(&self) {
        self.wanted.send(Wanted::Update).expect("a running device");
    }
}

impl Drop for ScriptedDevice {
    fn drop(&mut self) {
        let _ = self.wanted.send(Wanted::Stop);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || thread::panicking(), "the device failed");
        }
    }
}

fn run(socket: &UdpSocket, mut device: SimulatedDevice, wishes: &Receiver<Wanted>) {
    let started = SystemInstant::now();
    let now = || Instant::from_micros(u64::try_from(started.elapsed().as_micros()).expect("a test that ends"));
    let mut buffer = vec![0; MAX_DATAGRAM];
    device.start(now());
    let mut waiting = VecDeque::new();
    loop {
        waiting.extend(wishes.try_iter());
        if waiting.iter().any(|wanted| matches!(wanted, Wanted::Stop)) {
            return;
        }
        // Before it has its answer to the Register nothing can be sent.
        while device.is_registered()
            && let Some(wanted) = waiting.pop_front()
        {
            match wanted {
                Wanted::Set(path, value) => device.set_value(now(), path.parse().expect("a path"), value),
                Wanted::Send(path, value) => {
                    let sample = Sample { path: path.parse().expect("a path"), value, ts: None };
                    device.send(now(), &[sample]).expect("a device that is registered");
                }
                Wanted::Update => device.update(now()),
                Wanted::Stop => {}
            }
        }
        device.handle_timeout(now());
        while device.poll_event().is_some() {}
        while let Some(datagram) = device.poll_transmit() {
            // A server that is not there yet is tried again by the device.
            let _ = socket.send(&datagram);
        }
        if let Ok(length) = socket.recv(&mut buffer) {
            device.handle_datagram(now(), &buffer[..length]);
        }
    }
}

//! A simulated device on a stream transport: its datagrams become messages of a connection (RFC 8323), and back.
//!
//! The device goes on as over UDP. Its requests are acknowledged as soon as they are written, so that it waits for their
//! answers without repeating them. Each of its confirmable notifications is followed by a ping with custody; the pong
//! becomes the acknowledgement, so that "acknowledged" means the same as over UDP: the server has processed it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::time::Instant;
use crate::protocol::coap::connection::{Closed, Connection, ConnectionParameters, Event};
use crate::protocol::coap::message::{Code, Message, MessageType, Token};
use crate::protocol::coap::signalling::Signal;

/// The longest message that a simulated device takes.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Distance between the first message ids of two connections of a device.
const ID_STEP: u64 = 4_001;

/// One connection of one device, beside the device.
#[derive(Debug)]
pub struct StreamAdapter {
    connection: Connection,
    parameters: ConnectionParameters,
    next_id: u16,
    to_device: VecDeque<Vec<u8>>,
}

impl StreamAdapter {
    /// A connection that has just been established; `number` counts the connections of a device. Message ids begin
    /// elsewhere on each, or the device would take requests for repetitions of earlier ones.
    #[must_use]
    pub fn new(now: Instant, number: u64) -> Self {
        let parameters = ConnectionParameters {
            max_message_bytes: MAX_MESSAGE_BYTES,
            capabilities_timeout: Duration::from_secs(60),
            message_timeout: Duration::from_secs(60),
            keep_alive: None,
            idle_timeout: None,
        };
        Self {
            connection: Connection::open(now, &parameters),
            parameters,
            next_id: number.wrapping_mul(ID_STEP) as u16,
            to_device: VecDeque::new(),
        }
    }

    /// Takes what the device sends.
    pub fn from_device(&mut self, datagram: &[u8]) {
        let Ok(message) = Message::decode(datagram) else { return };
        if message.code == Code::EMPTY {
            // Acknowledgements, resets and pings of the message layer have no place on a stream.
            return;
        }
        self.connection.send(&message);
        if message.message_type != MessageType::Confirmable {
            return;
        }
        if message.code.is_request() {
            self.to_device.push_back(Message::acknowledgement(message.id).encode());
        } else {
            let token = Token::new(&message.id.to_be_bytes()).unwrap_or_default();
            self.connection.signal(&Signal::Ping { token, custody: true });
        }
    }

    /// Takes what came from the server.
    pub fn from_server(&mut self, now: Instant, bytes: Vec<u8>) {
        self.connection.receive(now, bytes);
        while let Some(event) = self.connection.poll_event(now, &self.parameters) {
            match event {
                Event::Message(mut message, _) => {
                    self.next_id = self.next_id.wrapping_add(1);
                    message.id = self.next_id;
                    self.to_device.push_back(message.encode());
                }
                Event::Pong(token) => {
                    if let Ok(id) = token.as_bytes().try_into() {
                        let acknowledgement = Message::acknowledgement(u16::from_be_bytes(id));
                        self.to_device.push_back(acknowledgement.encode());
                    }
                }
                Event::CustodyPing(token) => self.connection.signal(&Signal::Pong { token, custody: true }),
                Event::Released => self.connection.close("released", "the server wants the connection closed"),
            }
        }
    }

    /// The next datagram for the device.
    pub fn poll_device(&mut self) -> Option<Vec<u8>> {
        self.to_device.pop_front()
    }

    /// The next bytes for the server.
    pub fn poll_server(&mut self) -> Option<Vec<u8>> {
        self.connection.poll_transmit()
    }

    /// Whether the connection is to be ended, and why.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::device::{DeviceEvent, SimulatedDevice};
    use super::super::scripts::{self, DeviceKind};
    use super::*;
    use crate::protocol::coap::option::OptionNumber;
    use crate::protocol::coap::tcp_frame;

    /// Moves everything between device and adapter; what the server gets.
    fn exchange(now: Instant, device: &mut SimulatedDevice, adapter: &mut StreamAdapter) -> Vec<Message> {
        let mut to_server = Vec::new();
        loop {
            while let Some(datagram) = device.poll_transmit() {
                adapter.from_device(&datagram);
            }
            while let Some(bytes) = adapter.poll_server() {
                to_server.push(tcp_frame::decode(&bytes, MAX_MESSAGE_BYTES).unwrap().unwrap().0);
            }
            let Some(datagram) = adapter.poll_device() else { return to_server };
            device.handle_datagram(now, &datagram);
        }
    }

    fn answer(request: &Message, code: Code) -> Message {
        Message::new(MessageType::NonConfirmable, code, 0, request.token)
    }

    #[test]
    fn a_device_registers_is_observed_and_hears_of_custody() {
        let now = Instant::from_secs(1);
        let script = scripts::script(DeviceKind::WeatherStation, "streamed".to_owned(), 0);
        let (mut device, mut adapter) = (SimulatedDevice::new(script, 1), StreamAdapter::new(now, 1));
        device.start(now);
        let capabilities = Signal::Capabilities { max_message_size: Some(5_000), block_wise: true }.message();
        adapter.from_server(now, tcp_frame::encode(&capabilities));
        let sent = exchange(now, &mut device, &mut adapter);
        assert_eq!(sent.iter().map(|message| message.code).collect::<Vec<_>>(), [Code::CSM, Code::POST]);
        let mut created = answer(&sent[1], Code::CREATED);
        created.push_option(OptionNumber::LOCATION_PATH, *b"rd");
        created.push_option(OptionNumber::LOCATION_PATH, *b"1");
        adapter.from_server(now, tcp_frame::encode(&created));
        exchange(now, &mut device, &mut adapter);
        assert!(device.is_registered());

        let mut observe = Message::new(MessageType::Confirmable, Code::GET, 0, Token::new(&[7]).unwrap());
        observe.push_uint(OptionNumber::OBSERVE, 0);
        for segment in ["3303", "0", "5700"] {
            observe.push_option(OptionNumber::URI_PATH, segment);
        }
        adapter.from_server(now, tcp_frame::encode(&observe));
        let sent = exchange(now, &mut device, &mut adapter);
        assert_eq!((sent[0].code, sent[0].token), (Code::CONTENT, observe.token));

        device.walk(now, crate::model::path::Path::ROOT);
        let sent = exchange(now, &mut device, &mut adapter);
        let [notification, ping] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((notification.code, notification.token), (Code::CONTENT, observe.token));
        assert!(device.has_notification_in_flight());
        let Ok(Some(Signal::Ping { token, custody: true })) = Signal::read(ping) else { panic!("{ping:?}") };
        adapter.from_server(now, tcp_frame::encode(&Signal::Pong { token, custody: true }.message()));
        exchange(now, &mut device, &mut adapter);
        assert!(!device.has_notification_in_flight());
        let events = std::iter::from_fn(|| device.poll_event());
        assert_eq!(events.filter(|event| matches!(event, DeviceEvent::NotificationAcknowledged { .. })).count(), 1);
    }
}

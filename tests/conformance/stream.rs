//! A connection of a device to the gateway of the conformance tests: frames in, frames out.

use std::net::SocketAddr;

use lwm2mqtt::gateway::vocabulary::{ConnectionId, Input, Peer, StreamInput, StreamOrder};
use lwm2mqtt::protocol::coap::message::{Code, Message, MessageType, Token};
use lwm2mqtt::protocol::coap::option::OptionNumber;
use lwm2mqtt::protocol::coap::signalling::Signal;
use lwm2mqtt::protocol::coap::tcp_frame;

use super::gateway::{Gateway, registration};

/// The longest frame that a test expects.
const LONGEST: usize = 4 << 20;

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    pub(crate) id: ConnectionId,
}

/// A peer on the TCP listener.
pub(crate) fn stream_peer(number: u16) -> Peer {
    let [high, low] = number.to_be_bytes();
    Peer { listener: 1, remote: SocketAddr::from(([10, 2, high, low], 50_000)), local: None, session: None }
}

/// The capabilities of a device.
pub(crate) fn capabilities(max_message_size: Option<u32>, block_wise: bool) -> Message {
    Signal::Capabilities { max_message_size, block_wise }.message()
}

impl Connection {
    /// Connects; nothing was said.
    pub(crate) fn connect(gateway: &mut Gateway, peer: Peer, id: u64) -> Self {
        let connection = Self { peer, id: ConnectionId(id) };
        connection.input(gateway, StreamInput::Opened { identity: None });
        connection
    }

    /// Connects, and both sides say what they take: this one the base value.
    pub(crate) fn open(gateway: &mut Gateway, number: u16) -> Self {
        let connection = Self::connect(gateway, stream_peer(number), u64::from(number));
        connection.say(gateway, &capabilities(None, false));
        let heard = connection.heard(gateway);
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0].code, Code::CSM);
        connection
    }

    /// Registers a device; its location id. What the gateway then asks is heard next.
    pub(crate) fn register(&self, gateway: &mut Gateway, query: &str, objects: &str) -> String {
        self.say(gateway, &registration(query, objects));
        let answer = self.next(gateway);
        assert_eq!(answer.code, Code::CREATED, "{query}");
        let location: Vec<&[u8]> = answer.option_values(OptionNumber::LOCATION_PATH).collect();
        String::from_utf8(location[1].to_vec()).unwrap()
    }

    pub(crate) fn input(&self, gateway: &mut Gateway, input: StreamInput) {
        gateway.input(Input::Stream { peer: self.peer, connection: self.id, input });
    }

    /// The connection breaks.
    pub(crate) fn break_off(&self, gateway: &mut Gateway) {
        self.input(gateway, StreamInput::Closed { reason: "the device closed the connection".to_owned() });
    }

    pub(crate) fn say_bytes(&self, gateway: &mut Gateway, bytes: &[u8]) {
        self.input(gateway, StreamInput::Bytes(bytes.to_vec()));
    }

    pub(crate) fn say(&self, gateway: &mut Gateway, message: &Message) {
        self.say_bytes(gateway, &tcp_frame::encode(message));
    }

    /// Orders for this connection, which nobody has looked at.
    pub(crate) fn orders(&self, gateway: &mut Gateway) -> Vec<StreamOrder> {
        let mut ours = Vec::new();
        for (connection, order) in std::mem::take(&mut gateway.orders) {
            if connection == self.id {
                ours.push(order);
            } else {
                gateway.orders.push_back((connection, order));
            }
        }
        ours
    }

    /// The messages of the gateway that nobody has looked at; nothing else may have been ordered.
    pub(crate) fn heard(&self, gateway: &mut Gateway) -> Vec<Message> {
        self.orders(gateway).iter().map(message_of).collect()
    }

    /// The oldest message of the gateway; later ones stay.
    pub(crate) fn next(&self, gateway: &mut Gateway) -> Message {
        let at = gateway.orders.iter().position(|(connection, _)| *connection == self.id);
        let (_, order) = at.and_then(|at| gateway.orders.remove(at)).expect("a message");
        message_of(&order)
    }

    /// The reason of the Abort with which the gateway has closed the connection, and the option that it names.
    pub(crate) fn abort(&self, gateway: &mut Gateway) -> (String, Option<u16>) {
        let orders = self.orders(gateway);
        let [abort, StreamOrder::Close] = &orders[..] else { panic!("no Abort and end: {orders:?}") };
        match Signal::read(&message_of(abort)) {
            Ok(Some(Signal::Abort { bad_csm_option, diagnostic })) => (diagnostic, bad_csm_option),
            other => panic!("{other:?}"),
        }
    }
}

fn message_of(order: &StreamOrder) -> Message {
    let StreamOrder::Send(frame) = order else { panic!("no message: {order:?}") };
    let (message, length) = tcp_frame::decode(frame, LONGEST).unwrap().expect("a whole frame");
    assert_eq!(length, frame.len(), "one frame");
    message
}

/// The answer to a request of the gateway, with a text if there is one.
pub(crate) fn stream_answer(request: &Message, code: Code, text: &str) -> Message {
    let mut message = Message::new(MessageType::NonConfirmable, code, 0, request.token);
    if !text.is_empty() {
        message.push_uint(OptionNumber::CONTENT_FORMAT, 0);
        message.payload = text.as_bytes().to_vec();
    }
    message
}

/// A notification whose Observe option is empty.
pub(crate) fn stream_notification(token: Token, text: &str) -> Message {
    let mut message = Message::new(MessageType::NonConfirmable, Code::CONTENT, 0, token);
    message.push_option(OptionNumber::OBSERVE, []);
    message.push_uint(OptionNumber::CONTENT_FORMAT, 0);
    message.payload = text.as_bytes().to_vec();
    message
}

//! A device on CoAP over TCP, moved step by step by its test.
//!
//! It shares no code with the gateway: options are `coap-lite`'s, the frames around them are made here by hand from
//! RFC 8323 section 3.2. What the gateway asks is kept and answered only when the test says so.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use coap_lite::{CoapOption, MessageClass, Packet, RequestType, ResponseType};

use super::PATIENCE;

/// 7.01, 7.02, 7.03 and 7.05 of RFC 8323 section 5.
pub(crate) const CSM: u8 = 0xe1;
pub(crate) const PING: u8 = 0xe2;
pub(crate) const PONG: u8 = 0xe3;
pub(crate) const ABORT: u8 = 0xe5;

const TEXT: u8 = 0;
const LINK_FORMAT: u8 = 40;

/// A message of a stream: code, token, and options and payload as they stand on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) code: u8,
    pub(crate) token: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(code: u8, token: &[u8], body: &[u8]) -> Self {
        Self { code, token: token.to_vec(), body: body.to_vec() }
    }

    /// Length, code, token, options and payload.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let length = self.body.len();
        let token_length = u8::try_from(self.token.len()).expect("a short token");
        let (nibble, extension) = match length {
            0..=12 => (u8::try_from(length).unwrap(), Vec::new()),
            13..=268 => (13, vec![u8::try_from(length - 13).unwrap()]),
            269..=65_804 => (14, u16::try_from(length - 269).unwrap().to_be_bytes().to_vec()),
            _ => (15, u32::try_from(length - 65_805).unwrap().to_be_bytes().to_vec()),
        };
        [&[nibble << 4 | token_length], &extension[..], &[self.code], &self.token, &self.body].concat()
    }

    /// The first frame of these bytes and its length.
    fn first(bytes: &[u8]) -> Option<(Self, usize)> {
        let first = *bytes.first()?;
        let (extension, base) = match first >> 4 {
            13 => (1, 13),
            14 => (2, 269),
            15 => (4, 65_805),
            length => (0, usize::from(length)),
        };
        let extended = bytes.get(1..=extension)?;
        let length = extended.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)) + base;
        let code = *bytes.get(1 + extension)?;
        let rest = bytes.get(2 + extension..)?;
        let token = rest.get(..usize::from(first & 15))?;
        let body = rest.get(token.len()..token.len() + length)?;
        Some((Self::new(code, token, body), 2 + extension + token.len() + length))
    }

    /// The same with the header of a datagram, for `coap-lite`.
    pub(crate) fn packet(&self) -> Packet {
        let token_length = u8::try_from(self.token.len()).expect("a short token");
        let bytes = [&[0x50 | token_length, self.code, 0, 0][..], &self.token, &self.body].concat();
        Packet::from_bytes(&bytes).expect("a well-formed message")
    }

    fn of(packet: &Packet) -> Self {
        let bytes = packet.to_bytes().expect("a message that fits");
        let (header, rest) = bytes.split_at(4);
        let (token, body) = rest.split_at(usize::from(header[0] & 15));
        Self::new(header[1], token, body)
    }
}

/// What carries the frames.
trait Carrier: Read + Write {}

impl<C: Read + Write> Carrier for C {}

/// The device.
pub(crate) struct StreamDevice {
    stream: Box<dyn Carrier>,
    arrived: Vec<u8>,
    /// Token of the observation of the temperature.
    observer: Option<Vec<u8>>,
}

impl StreamDevice {
    /// Connects and says nothing.
    pub(crate) fn connect_silently(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).expect("a connection");
        stream.set_nodelay(true).expect("an open connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not zero");
        Self { stream: Box::new(stream), arrived: Vec::new(), observer: None }
    }

    /// Over a connection that is there.
    pub(crate) fn over(stream: impl Read + Write + 'static, max_message_size: u32) -> Self {
        let mut device = Self { stream: Box::new(stream), arrived: Vec::new(), observer: None };
        device.exchange_capabilities(max_message_size);
        device
    }

    /// Connects; both sides say what they take: this one an odd size and that it knows blocks.
    pub(crate) fn connect(server: SocketAddr, max_message_size: u32) -> Self {
        let mut device = Self::connect_silently(server);
        device.exchange_capabilities(max_message_size);
        device
    }

    fn exchange_capabilities(&mut self, max_message_size: u32) {
        let mut packet = Packet::new();
        packet.add_option(CoapOption::Unknown(2), max_message_size.to_be_bytes().to_vec());
        packet.add_option(CoapOption::Unknown(4), Vec::new());
        let body = Frame::of(&packet).body;
        self.send(&Frame::new(CSM, &[], &body));
        assert_eq!(self.next().code, CSM, "the gateway begins with its capabilities");
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.to_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).expect("an open connection");
    }

    /// The next message of the gateway.
    pub(crate) fn next(&mut self) -> Frame {
        self.next_or_end().expect("a message before the end of the connection")
    }

    /// The same, or nothing when the gateway has closed the connection.
    pub(crate) fn next_or_end(&mut self) -> Option<Frame> {
        let mut buffer = [0; 4_096];
        loop {
            if let Some((frame, length)) = Frame::first(&self.arrived) {
                self.arrived.drain(..length);
                return Some(frame);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.arrived.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the gateway says nothing: {error}"),
            }
        }
    }

    /// Reads until the gateway has closed the connection.
    pub(crate) fn next_until_end(&mut self) -> bool {
        while self.next_or_end().is_some() {}
        true
    }

    fn request(
        &mut self,
        method: RequestType,
        path: &[&str],
        queries: &[String],
        format: Option<u8>,
        payload: &[u8],
    ) -> Frame {
        let mut packet = Packet::new();
        packet.header.code = MessageClass::Request(method);
        packet.set_token(vec![0xee, 1]);
        for segment in path {
            packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        if let Some(format) = format {
            packet.add_option(CoapOption::ContentFormat, vec![format]);
        }
        for query in queries {
            packet.add_option(CoapOption::UriQuery, query.as_bytes().to_vec());
        }
        packet.payload = payload.to_vec();
        self.send(&Frame::of(&packet));
        loop {
            let frame = self.next();
            if frame.token == [0xee, 1] {
                return frame;
            }
            self.answer(&frame);
        }
    }

    /// Registers with a temperature; its location.
    pub(crate) fn register(&mut self, endpoint: &str, queries: &[&str]) -> Vec<String> {
        let queries: Vec<String> =
            std::iter::once(format!("ep={endpoint}")).chain(queries.iter().map(|query| (*query).to_owned())).collect();
        let answer =
            self.request(RequestType::Post, &["rd"], &queries, Some(LINK_FORMAT), b"</1/0>,</3303/0>,</3308/0>");
        let answer = answer.packet();
        assert_eq!(answer.header.code, MessageClass::Response(ResponseType::Created));
        let location = answer.get_option(CoapOption::LocationPath).expect("a location");
        location.iter().map(|segment| String::from_utf8_lossy(segment).into_owned()).collect()
    }

    /// Sends an Update; the code of the answer.
    pub(crate) fn update(&mut self, location: &[String]) -> MessageClass {
        let path: Vec<&str> = location.iter().map(String::as_str).collect();
        self.request(RequestType::Post, &path, &[], None, &[]).packet().header.code
    }

    /// Deregisters; the code of the answer.
    pub(crate) fn deregister(&mut self, location: &[String]) -> MessageClass {
        let path: Vec<&str> = location.iter().map(String::as_str).collect();
        self.request(RequestType::Delete, &path, &[], None, &[]).packet().header.code
    }

    /// Answers requests until the temperature is observed.
    pub(crate) fn wait_for_observation(&mut self) {
        self.observer = None;
        while self.observer.is_none() {
            let frame = self.next();
            self.answer(&frame);
        }
    }

    /// Reports a temperature.
    pub(crate) fn notify(&mut self, value: &str) {
        let token = self.observer.clone().expect("an observation");
        self.send(&temperature(&token, value, true));
    }

    /// The next request of the gateway for this path, others being answered.
    pub(crate) fn next_request(&mut self, method: RequestType, path: &str) -> Packet {
        loop {
            let frame = self.next();
            let packet = frame.packet();
            if packet.header.code == MessageClass::Request(method) && path_of(&packet) == path {
                return packet;
            }
            self.answer(&frame);
        }
    }

    /// Answers a request with a code alone.
    pub(crate) fn answer_with(&mut self, request: &Packet, code: ResponseType) {
        let mut packet = Packet::new();
        packet.header.code = MessageClass::Response(code);
        packet.set_token(request.get_token().to_vec());
        self.send(&Frame::of(&packet));
    }

    /// Answers a request with a body.
    pub(crate) fn answer_with_body(&mut self, request: &Packet, format: u16, payload: &[u8]) {
        let mut packet = Packet::new();
        packet.header.code = MessageClass::Response(ResponseType::Content);
        packet.set_token(request.get_token().to_vec());
        packet.add_option(CoapOption::ContentFormat, format.to_be_bytes().to_vec());
        packet.payload = payload.to_vec();
        self.send(&Frame::of(&packet));
    }

    /// Answers whatever the gateway wants of a device with a temperature.
    fn answer(&mut self, frame: &Frame) {
        let request = frame.packet();
        match request.header.code {
            MessageClass::Request(RequestType::Get) if path_of(&request).starts_with("3303/0") => {
                let observe = request.get_first_option(CoapOption::Observe).map(|value| value.iter().all(|b| *b == 0));
                if observe == Some(true) {
                    self.observer = Some(frame.token.clone());
                }
                self.send(&temperature(&frame.token, "20.5", observe == Some(true)));
            }
            MessageClass::Request(RequestType::Get) => self.answer_with(&request, ResponseType::NotFound),
            MessageClass::Request(_) => self.answer_with(&request, ResponseType::Changed),
            _ if frame.code == PING => self.send(&Frame::new(PONG, &frame.token, &[])),
            _ => {}
        }
    }
}

/// A temperature as text; as a notification with an empty Observe option (RFC 8323 section 7.1).
fn temperature(token: &[u8], value: &str, observed: bool) -> Frame {
    let mut packet = Packet::new();
    packet.header.code = MessageClass::Response(ResponseType::Content);
    packet.set_token(token.to_vec());
    if observed {
        packet.add_option(CoapOption::Observe, Vec::new());
    }
    packet.add_option(CoapOption::ContentFormat, vec![TEXT]);
    packet.payload = value.as_bytes().to_vec();
    Frame::of(&packet)
}

fn path_of(request: &Packet) -> String {
    let segments = request.get_option(CoapOption::UriPath);
    let path: Vec<_> = segments.into_iter().flatten().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    path.join("/")
}

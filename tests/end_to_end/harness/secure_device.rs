//! A device whose DTLS a program of others does. Its CoAP is `coap-lite`'s; it never repeats itself, so that an answer
//! is the answer to the first datagram.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};

use super::dtls_client::DtlsClient;

const LINK_FORMAT: u8 = 40;
const OBJECTS: &[u8] = b"</1/0>,</3/0>";

/// The device.
pub(crate) struct SecureDevice {
    session: DtlsClient,
    message_id: u16,
    location: Vec<String>,
}

impl SecureDevice {
    pub(crate) fn new(session: DtlsClient) -> Self {
        // Another session of the same device must not look like a repetition.
        Self { session, message_id: super::free_port(), location: Vec::new() }
    }

    /// The same device with another session.
    pub(crate) fn with_session(self, session: DtlsClient) -> Self {
        Self { session, ..self }
    }

    pub(crate) fn session(&mut self) -> &mut DtlsClient {
        &mut self.session
    }

    /// What the program said to its end.
    pub(crate) fn end(self) -> String {
        self.session.end()
    }

    /// Registers; the code of the answer, or nothing if the session ended first.
    pub(crate) fn try_register(&mut self, endpoint: &str, version: &str) -> Option<MessageClass> {
        let queries = [format!("ep={endpoint}"), "lt=300".into(), format!("lwm2m={version}"), "b=U".into()];
        let answer = self.request(RequestType::Post, &["rd".to_owned()], &queries, OBJECTS)?;
        let location = answer.get_option(CoapOption::LocationPath);
        let segments = location.into_iter().flatten().map(|segment| String::from_utf8_lossy(segment).into_owned());
        self.location = segments.collect();
        Some(answer.header.code)
    }

    /// Registers, and that is accepted.
    pub(crate) fn register(&mut self, endpoint: &str) {
        self.register_as(endpoint, "1.1");
    }

    /// The same as a device of another version of LwM2M.
    pub(crate) fn register_as(&mut self, endpoint: &str, version: &str) {
        let code = self.try_register(endpoint, version);
        assert_eq!(code, Some(MessageClass::Response(ResponseType::Created)), "Register of {endpoint}");
        assert_eq!(self.location.first().map(String::as_str), Some("rd"), "{:?}", self.location);
    }

    /// Sends an Update, and that is accepted.
    pub(crate) fn update(&mut self) {
        let answer = self.request(RequestType::Post, &self.location.clone(), &[], &[]);
        let code = answer.map(|answer| answer.header.code);
        assert_eq!(code, Some(MessageClass::Response(ResponseType::Changed)), "Update of {:?}", self.location);
    }

    fn request(&mut self, method: RequestType, path: &[String], queries: &[String], payload: &[u8]) -> Option<Packet> {
        self.message_id = self.message_id.wrapping_add(1);
        let token = self.message_id.to_be_bytes().to_vec();
        let mut packet = Packet::new();
        packet.header.set_type(MessageType::Confirmable);
        packet.header.message_id = self.message_id;
        packet.header.code = MessageClass::Request(method);
        packet.set_token(token.clone());
        for segment in path {
            packet.add_option(CoapOption::UriPath, segment.as_bytes().to_vec());
        }
        if !payload.is_empty() {
            packet.add_option(CoapOption::ContentFormat, vec![LINK_FORMAT]);
        }
        for query in queries {
            packet.add_option(CoapOption::UriQuery, query.as_bytes().to_vec());
        }
        packet.payload = payload.to_vec();
        self.session.send(&packet.to_bytes().expect("a message that fits"));
        loop {
            let datagram = self.session.receive(is_whole)?;
            let packet = Packet::from_bytes(&datagram).expect("what the gateway sends is CoAP");
            if packet.get_token() == token && matches!(packet.header.code, MessageClass::Response(_)) {
                return Some(packet);
            }
            self.refuse(&packet);
        }
    }

    /// Answers the next request for this path with such a body; the request. Others are answered 4.04.
    pub(crate) fn answer_read(&mut self, path: &str, format: u16, payload: &[u8]) -> Packet {
        loop {
            let datagram = self.session.receive(is_whole).expect("an open session");
            let request = Packet::from_bytes(&datagram).expect("what the gateway sends is CoAP");
            let segments = request.get_option(CoapOption::UriPath).into_iter().flatten();
            let asked: Vec<_> = segments.map(|segment| String::from_utf8_lossy(segment)).collect();
            if asked.join("/") == path {
                let mut answer = acknowledgement(&request, ResponseType::Content);
                answer.add_option(CoapOption::ContentFormat, format.to_be_bytes().to_vec());
                answer.payload = payload.to_vec();
                self.session.send(&answer.to_bytes().expect("a message that fits"));
                return request;
            }
            self.refuse(&request);
        }
    }

    /// It has nothing to read: its purpose is to be heard.
    fn refuse(&mut self, request: &Packet) {
        if matches!(request.header.code, MessageClass::Request(_)) {
            let answer = acknowledgement(request, ResponseType::NotFound);
            self.session.send(&answer.to_bytes().expect("a message that fits"));
        }
    }
}

fn acknowledgement(request: &Packet, code: ResponseType) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(MessageType::Acknowledgement);
    packet.header.message_id = request.header.message_id;
    packet.header.code = MessageClass::Response(code);
    packet.set_token(request.get_token().to_vec());
    packet
}

/// Whether this is all of a message: a registration is told with a location of two segments, other answers are short.
fn is_whole(datagram: &[u8]) -> bool {
    let Ok(packet) = Packet::from_bytes(datagram) else { return false };
    let segments = packet.get_option(CoapOption::LocationPath).map_or(0, std::collections::LinkedList::len);
    packet.header.code != MessageClass::Response(ResponseType::Created) || segments == 2
}

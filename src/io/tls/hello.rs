//! The first message of a handshake, read before the library hears of it: it says which face of the server the client
//! takes (RFC 7250), and which suites it offers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::protocol::dtls::hello::ClientHello;

/// Longest ClientHello that is looked into; of a longer one the library judges alone.
pub(super) const MAX_HELLO_BYTES: usize = 16 << 10;

/// Content type of records of the handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// Message type (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;
/// Version and random, which stand before the session id.
const BEFORE_SESSION_BYTES: usize = 34;

/// A connection whose first bytes were read already, and are read once more.
#[derive(Debug)]
pub(super) struct Reread {
    /// What was read.
    bytes: Vec<u8>,
    given: usize,
    stream: TcpStream,
}

/// Reads until the ClientHello is whole, or until it is clear that there is none.
///
/// # Errors
/// As the system says, or if the peer ends the connection.
pub(super) async fn read_hello(mut stream: TcpStream) -> io::Result<(Reread, ClientHello)> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            let reason = if bytes.is_empty() { "the peer said nothing" } else { "the peer ended within a message" };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        if let Some(hello) = look(&bytes) {
            return Ok((Reread { bytes, given: 0, stream }, hello));
        }
    }
}

/// What the hello says; nothing if it is none. `None`: more has to come.
fn look(bytes: &[u8]) -> Option<ClientHello> {
    let nothing = Some(ClientHello::default());
    let (mut message, mut rest) = (Vec::new(), bytes);
    loop {
        match message.first() {
            Some(&kind) if kind != CLIENT_HELLO => return nothing,
            _ if bytes.len() > MAX_HELLO_BYTES => return nothing,
            _ => {}
        }
        if let [_, l1, l2, l3, body @ ..] = &message[..]
            && let Some(body) = body.get(..u32::from_be_bytes([0, *l1, *l2, *l3]) as usize)
        {
            return as_datagram(body).and_then(|body| ClientHello::parse(&body)).or(nothing);
        }
        match rest.first() {
            Some(&content) if content != HANDSHAKE => return nothing,
            _ => {}
        }
        let (header, after) = rest.split_first_chunk::<5>()?;
        let (fragment, after) = after.split_at_checked(usize::from(u16::from_be_bytes([header[3], header[4]])))?;
        if fragment.is_empty() {
            return nothing;
        }
        message.extend_from_slice(fragment);
        rest = after;
    }
}

/// The hello as it would stand in a datagram: it has another version, and an empty cookie behind the session id (RFC
/// 6347 section 4.2.1).
fn as_datagram(body: &[u8]) -> Option<Vec<u8>> {
    const DTLS_1_2: [u8; 2] = [0xFE, 0xFD];
    let (start, rest) = body.split_at_checked(BEFORE_SESSION_BYTES)?;
    let (session, rest) = rest.split_at_checked(1 + usize::from(*rest.first()?))?;
    Some([&DTLS_1_2[..], start.get(2..)?, session, &[0], rest].concat())
}

impl AsyncRead for Reread {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let again = this.bytes.get(this.given..).unwrap_or_default();
        if again.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, room);
        }
        let part = again.get(..room.remaining()).unwrap_or(again);
        room.put_slice(part);
        this.given += part.len();
        if this.given >= this.bytes.len() {
            this.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Reread {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with one suite and the extension `server_certificate_type`, in records of at most so many bytes.
    fn records(fragment_bytes: usize) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([2, 1, 1]);
        body.extend([0, 2, 0xC0, 0xAE]);
        body.extend([1, 0]);
        body.extend([0, 6, 0, 20, 0, 2, 1, 2]);
        let mut message = vec![CLIENT_HELLO, 0, 0, body.len() as u8];
        message.extend(body);
        let record = |part: &[u8]| [&[HANDSHAKE, 3, 1, 0, part.len() as u8], part].concat();
        message.chunks(fragment_bytes).flat_map(record).collect()
    }

    #[test]
    fn a_hello_is_read_however_it_is_cut() {
        for fragment_bytes in [1, 7, 255] {
            let bytes = records(fragment_bytes);
            for end in 0..bytes.len() {
                assert_eq!(look(&bytes[..end]), None, "{fragment_bytes} {end}");
            }
            let hello = look(&bytes).unwrap();
            assert_eq!((hello.suites, hello.takes_raw_public_key), (vec![0xC0AE], true));
        }
    }

    #[test]
    fn what_is_no_hello_is_left_to_the_library() {
        let nothing = Some(ClientHello::default());
        assert_eq!(look(b"GET / HTTP/1.1\r\n"), nothing);
        assert_eq!(look(&[HANDSHAKE, 3, 1, 0, 1, 2]), nothing, "another message");
        assert_eq!(look(&[HANDSHAKE, 3, 1, 0, 0]), nothing, "an empty record");
        assert_eq!(look(&[HANDSHAKE, 3, 1, 0, 5, CLIENT_HELLO, 0, 0, 1, 3]), nothing, "a short hello");
        let long = [&[HANDSHAKE, 3, 1, 0xFF, 0xFF, CLIENT_HELLO, 0, 0xFF, 0xFF][..], &[0; MAX_HELLO_BYTES]].concat();
        assert_eq!(look(&long), nothing, "a hello without end");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let bytes = records(9);
        for position in 0..bytes.len() {
            for value in [0, 1, 22, 127, 255] {
                let mut changed = bytes.clone();
                changed[position] = value;
                let _ = look(&changed);
            }
        }
    }
}

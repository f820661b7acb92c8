//! Opening the socket: dual stack, a large receive buffer, IPv4 alone where the system has no IPv6.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::RECEIVE_BUFFER_BYTES;

/// Why no socket listens on an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on udp {address}: {source}{}", remedy(source))]
pub struct UdpError {
    address: SocketAddr,
    source: io::Error,
}

impl UdpError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        Self { address, source }
    }

    /// What the system said.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program, or another listener of this one ([::] takes IPv4 too), has this port: \
             stop it or choose another port"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need the capability CAP_NET_BIND_SERVICE or root",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
        _ => "",
    }
}

/// Binds; the flag tells whether IPv4 alone was taken in place of both.
pub(super) fn bind(address: SocketAddr) -> Result<(UdpSocket, bool), UdpError> {
    // Registering a socket outside of a runtime panics, so that is found out first.
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(UdpError::new(address, io::Error::other("sockets need a running tokio runtime")));
    }
    let (socket, is_fallback) = open_or_fall_back(address, open)?;
    if is_fallback {
        tracing::warn!(%address, "this system has no IPv6: listening on IPv4 only");
    }
    // The system may grant less; a smaller buffer loses datagrams in bursts and devices send them again.
    let granted = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).and_then(|()| socket.recv_buffer_size());
    tracing::debug!(%address, ?granted, asked = RECEIVE_BUFFER_BYTES, "receive buffer of a UDP listener");
    Ok((socket.into(), is_fallback))
}

/// Binds what was asked, or `0.0.0.0` where `[::]` was asked and the system knows no IPv6.
pub(super) fn open_or_fall_back<Opened>(
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> io::Result<Opened>,
) -> Result<(Opened, bool), UdpError> {
    let error = match open(address) {
        Ok(opened) => return Ok((opened, false)),
        Err(error) => error,
    };
    if address.is_ipv6() && address.ip().is_unspecified() && means_no_ipv6(&error) {
        let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        return open(four).map(|opened| (opened, true)).map_err(|source| UdpError::new(four, source));
    }
    Err(UdpError::new(address, error))
}

fn means_no_ipv6(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` and `EPROTONOSUPPORT` of Linux, which have no kind.
    const NO_FAMILY: [i32; 2] = [97, 93];
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error().is_some_and(|code| NO_FAMILY.contains(&code))
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // No SO_REUSEADDR: on Linux it would let a second gateway share the port and take half of the datagrams.
    socket.bind(&address.into())?;
    Ok(socket)
}

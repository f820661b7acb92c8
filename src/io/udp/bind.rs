//! Opening the socket: dual stack, with a large receive buffer.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::RECEIVE_BUFFER_BYTES;
use crate::io::address::{BindError, open_or_fall_back};

/// Binds; the flag tells whether IPv4 alone was taken in place of both.
pub(super) fn bind(address: SocketAddr) -> Result<(UdpSocket, bool), BindError> {
    // Registering a socket outside of a runtime panics, so that is found out first.
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(BindError::new("udp", address, io::Error::other("sockets need a running tokio runtime")));
    }
    let (socket, is_fallback) = open_or_fall_back("udp", address, open)?;
    if is_fallback {
        tracing::warn!(%address, "this system has no IPv6: listening on IPv4 only");
    }
    // The system may grant less; a smaller buffer loses datagrams in bursts and devices send them again.
    let granted = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).and_then(|()| socket.recv_buffer_size());
    tracing::debug!(%address, ?granted, asked = RECEIVE_BUFFER_BYTES, "receive buffer of a UDP listener");
    Ok((socket.into(), is_fallback))
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

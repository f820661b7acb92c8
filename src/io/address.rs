//! Addresses to listen on and addresses of peers: dual stack, IPv4 alone where the system has no IPv6.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};

/// Why no socket listens on an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {protocol} {address}: {source}{}", remedy(source))]
pub struct BindError {
    protocol: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl BindError {
    /// `protocol`: `udp` or `tcp`.
    pub const fn new(protocol: &'static str, address: SocketAddr, source: io::Error) -> Self {
        Self { protocol, address, source }
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

/// Binds what was asked, or `0.0.0.0` where `[::]` was asked and the system knows no IPv6.
pub(super) fn open_or_fall_back<Opened>(
    protocol: &'static str,
    address: SocketAddr,
    open: impl Fn(SocketAddr) -> io::Result<Opened>,
) -> Result<(Opened, bool), BindError> {
    let error = match open(address) {
        Ok(opened) => return Ok((opened, false)),
        Err(error) => error,
    };
    if address.is_ipv6() && address.ip().is_unspecified() && means_no_ipv6(&error) {
        let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        return open(four).map(|opened| (opened, true)).map_err(|source| BindError::new(protocol, four, source));
    }
    Err(BindError::new(protocol, address, error))
}

fn means_no_ipv6(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` and `EPROTONOSUPPORT` of Linux, which have no kind.
    const NO_FAMILY: [i32; 2] = [97, 93];
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error().is_some_and(|code| NO_FAMILY.contains(&code))
}

/// An address as the core sees it: plain IPv4, and nothing in it that differs between messages of one sender.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(six) => match six.ip().to_ipv4_mapped() {
            Some(four) => SocketAddr::new(four.into(), six.port()),
            None => SocketAddrV6::new(*six.ip(), six.port(), 0, six.scope_id()).into(),
        },
    }
}

//! Captures for Wireshark: CoAP messages in UDP and IP packets, as they would have been without encryption.
//!
//! The format is pcapng (draft-ietf-opsawg-pcapng): a section header, one interface of raw IP packets with timestamps in
//! microseconds, then one enhanced packet block for each message. Everything is little-endian.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

/// Tells the byte order.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// LINKTYPE_RAW: a packet begins with its IPv4 or IPv6 header.
const RAW_IP: u16 = 101;

/// The longest UDP payload that fits into an IPv4 packet.
const MAX_PAYLOAD: usize = 65_507;

const UDP: u8 = 17;
const HOP_LIMIT: u8 = 64;

/// A capture that is being written.
pub(super) struct Capture<W> {
    out: W,
}

impl<W: Write> Capture<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn begin(out: W) -> io::Result<Self> {
        let mut capture = Self { out };
        let mut section = Vec::new();
        section.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        section.extend_from_slice(&1_u16.to_le_bytes());
        section.extend_from_slice(&0_u16.to_le_bytes());
        // The length of the section is not known yet.
        section.extend_from_slice(&u64::MAX.to_le_bytes());
        capture.block(SECTION_HEADER, &section)?;
        let mut interface = Vec::new();
        interface.extend_from_slice(&RAW_IP.to_le_bytes());
        interface.extend_from_slice(&0_u16.to_le_bytes());
        // No limit of the captured length; timestamps in microseconds are the default.
        interface.extend_from_slice(&0_u32.to_le_bytes());
        capture.block(INTERFACE_DESCRIPTION, &interface)?;
        Ok(capture)
    }

    /// Adds one message.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn packet(
        &mut self,
        millis: u64,
        (from, to): (SocketAddr, SocketAddr),
        message: &[u8],
    ) -> io::Result<()> {
        let packet = udp_packet(from, to, message.get(..MAX_PAYLOAD).unwrap_or(message));
        let micros = millis.saturating_mul(1_000);
        let mut block = Vec::with_capacity(packet.len() + 24);
        block.extend_from_slice(&0_u32.to_le_bytes());
        block.extend_from_slice(&((micros >> 32) as u32).to_le_bytes());
        block.extend_from_slice(&(micros as u32).to_le_bytes());
        let length = packet.len() as u32;
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(&packet);
        self.block(ENHANCED_PACKET, &block)?;
        // Somebody may look at it while it grows.
        self.out.flush()
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let padding = body.len().next_multiple_of(4) - body.len();
        let length = (12 + body.len() + padding) as u32;
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(body)?;
        self.out.write_all(&[0; 3][..padding])?;
        self.out.write_all(&length.to_le_bytes())
    }
}

/// A whole IP packet with UDP in it.
fn udp_packet(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend_from_slice(&from.port().to_be_bytes());
    datagram.extend_from_slice(&to.port().to_be_bytes());
    datagram.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, datagram),
        (from, to) => ipv6(mapped(from), mapped(to), datagram),
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, mut datagram: Vec<u8>) -> Vec<u8> {
    let mut pseudo = Vec::new();
    pseudo.extend_from_slice(&from.octets());
    pseudo.extend_from_slice(&to.octets());
    pseudo.extend_from_slice(&[0, UDP]);
    pseudo.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
    put_checksum(&mut datagram, &pseudo);
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&((20 + datagram.len()) as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, HOP_LIMIT, UDP, 0, 0]);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    let sum = checksum(&packet);
    packet.splice(10..12, sum.to_be_bytes());
    packet.append(&mut datagram);
    packet
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, mut datagram: Vec<u8>) -> Vec<u8> {
    let mut pseudo = Vec::new();
    pseudo.extend_from_slice(&from.octets());
    pseudo.extend_from_slice(&to.octets());
    pseudo.extend_from_slice(&(datagram.len() as u32).to_be_bytes());
    pseudo.extend_from_slice(&[0, 0, 0, UDP]);
    put_checksum(&mut datagram, &pseudo);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[UDP, HOP_LIMIT]);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.append(&mut datagram);
    packet
}

fn put_checksum(datagram: &mut Vec<u8>, pseudo: &[u8]) {
    let mut all = pseudo.to_vec();
    all.extend_from_slice(datagram);
    // RFC 768: a sum of zero is sent as all ones, since zero means that there is none.
    let sum = match checksum(&all) {
        0 => 0xffff,
        sum => sum,
    };
    datagram.splice(6..8, sum.to_be_bytes());
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            let high = pair.first().copied().unwrap_or_default();
            u32::from(high) << 8 | u32::from(pair.get(1).copied().unwrap_or_default())
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The packets of a capture: time in microseconds, addresses, UDP payload. Checks every length and checksum.
    pub(in crate::cli) fn read(mut bytes: &[u8]) -> Vec<(u64, SocketAddr, SocketAddr, Vec<u8>)> {
        let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(bytes, 0), word(bytes, 8)), (SECTION_HEADER, BYTE_ORDER_MAGIC));
        let mut packets = Vec::new();
        let mut interfaces = 0;
        while !bytes.is_empty() {
            let length = word(bytes, 4) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(word(bytes, length - 4) as usize, length, "the length stands at both ends");
            let block = &bytes[..length];
            match word(block, 0) {
                INTERFACE_DESCRIPTION => {
                    interfaces += 1;
                    assert_eq!(u16::from_le_bytes(block[8..10].try_into().unwrap()), RAW_IP);
                }
                ENHANCED_PACKET => {
                    assert_eq!((word(block, 8), interfaces), (0, 1), "of the first interface");
                    let micros = u64::from(word(block, 12)) << 32 | u64::from(word(block, 16));
                    let captured = word(block, 20) as usize;
                    assert_eq!(captured, word(block, 24) as usize);
                    let (from, to, payload) = parse_ip(&block[28..28 + captured]);
                    packets.push((micros, from, to, payload));
                }
                _ => {}
            }
            bytes = &bytes[length..];
        }
        packets
    }

    fn parse_ip(packet: &[u8]) -> (SocketAddr, SocketAddr, Vec<u8>) {
        let two = |at: usize, bytes: &[u8]| u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap());
        let (from, to, udp): (IpAddr, IpAddr, &[u8]) = if packet[0] >> 4 == 4 {
            assert_eq!(usize::from(two(2, packet)), packet.len());
            assert_eq!(checksum(&packet[..20]), 0, "the header's checksum");
            let ip = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
            (ip(12), ip(16), &packet[20..])
        } else {
            assert_eq!(usize::from(two(4, packet)) + 40, packet.len());
            let ip = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
            (ip(8), ip(24), &packet[40..])
        };
        assert_eq!(usize::from(two(4, udp)), udp.len());
        let mut pseudo = Vec::new();
        for ip in [from, to] {
            match ip {
                IpAddr::V4(ip) => pseudo.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => pseudo.extend_from_slice(&ip.octets()),
            }
        }
        pseudo.extend_from_slice(&[0, UDP]);
        pseudo.extend_from_slice(&(udp.len() as u16).to_be_bytes());
        pseudo.extend_from_slice(udp);
        assert_eq!(checksum(&pseudo), 0, "the checksum of UDP");
        (SocketAddr::new(from, two(0, udp)), SocketAddr::new(to, two(2, udp)), udp[8..].to_vec())
    }

    #[test]
    fn a_capture_is_read_back_with_valid_checksums() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mut bytes = Vec::new();
        let mut capture = Capture::begin(&mut bytes).unwrap();
        let (device, gateway) = (address("192.0.2.7:40001"), address("192.0.2.1:5683"));
        let (device6, gateway6) = (address("[2001:db8::7]:40001"), address("[2001:db8::1]:5683"));
        capture.packet(1_700_000_000_123, (device, gateway), &[0x40, 1, 0, 1]).unwrap();
        capture.packet(1_700_000_000_124, (gateway6, device6), &[0x60, 0x45, 0, 1, 0xff, 7]).unwrap();
        capture.packet(0, (address("[::ffff:192.0.2.7]:1"), gateway), &[]).unwrap();
        capture.packet(0, (device, gateway), &vec![9; 70_000]).unwrap();
        let packets = read(&bytes);
        assert_eq!(packets[0], (1_700_000_000_123_000, device, gateway, vec![0x40, 1, 0, 1]));
        assert_eq!(packets[1], (1_700_000_000_124_000, gateway6, device6, vec![0x60, 0x45, 0, 1, 0xff, 7]));
        assert_eq!(packets[2].1, address("192.0.2.7:1"), "an IPv4 address in IPv6 clothes");
        assert_eq!(packets[3].3.len(), MAX_PAYLOAD);
        assert_eq!(packets.len(), 4);
    }
}

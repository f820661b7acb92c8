//! Datagrams that the system did not take yet.
//!
//! Invariants: order is kept, nothing overtakes what waits; at most [`MAX_QUEUED_DATAGRAMS`] wait, the oldest goes when
//! one more comes, since for the newest its sender still waits longest.

use std::collections::VecDeque;
use std::io;

use super::UdpCounters;
use crate::gateway::vocabulary::Peer;

/// Datagrams that wait at most.
pub const MAX_QUEUED_DATAGRAMS: usize = 256;

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The system took it.
    Now,
    /// It waits for a flush.
    Queued,
    /// It waits for a flush, and the oldest waiting one was dropped for it.
    QueuedDroppingOldest,
    /// The system refused it; it is gone.
    Failed,
}

/// The queue of one socket.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    waiting: VecDeque<(Peer, Vec<u8>)>,
}

impl SendQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends by `transmit`, or queues.
    pub(super) fn send(
        &mut self,
        counters: &mut UdpCounters,
        peer: Peer,
        bytes: &[u8],
        transmit: &mut impl FnMut(&Peer, &[u8]) -> io::Result<()>,
    ) -> Sent {
        if self.waiting.is_empty()
            && let Some(sent) = attempt(counters, &peer, bytes, transmit)
        {
            return sent;
        }
        let dropped = self.waiting.len() >= MAX_QUEUED_DATAGRAMS && self.waiting.pop_front().is_some();
        self.waiting.push_back((peer, bytes.to_vec()));
        if dropped {
            counters.dropped += 1;
            return Sent::QueuedDroppingOldest;
        }
        Sent::Queued
    }

    /// Sends what waits until `transmit` would block; whether nothing waits any longer.
    pub(super) fn flush(
        &mut self,
        counters: &mut UdpCounters,
        transmit: &mut impl FnMut(&Peer, &[u8]) -> io::Result<()>,
    ) -> bool {
        while let Some((peer, bytes)) = self.waiting.front() {
            if attempt(counters, peer, bytes, transmit).is_none() {
                return false;
            }
            self.waiting.pop_front();
        }
        true
    }
}

/// `None` if it would block.
fn attempt(
    counters: &mut UdpCounters,
    peer: &Peer,
    bytes: &[u8],
    transmit: &mut impl FnMut(&Peer, &[u8]) -> io::Result<()>,
) -> Option<Sent> {
    match transmit(peer, bytes) {
        Ok(()) => {
            counters.sent += 1;
            Some(Sent::Now)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => {
            tracing::debug!(%error, remote = %peer.remote, bytes = bytes.len(), "a datagram could not be sent");
            counters.send_failures += 1;
            Some(Sent::Failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn peer() -> Peer {
        Peer { listener: 0, remote: SocketAddr::from(([192, 0, 2, 1], 5683)), local: None, session: None }
    }

    fn would_block(_: &Peer, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let (mut queue, mut counters) = (SendQueue::default(), UdpCounters::default());
        for number in 0..MAX_QUEUED_DATAGRAMS {
            let bytes = (number as u32).to_be_bytes();
            assert_eq!(queue.send(&mut counters, peer(), &bytes, &mut would_block), Sent::Queued);
        }
        for number in MAX_QUEUED_DATAGRAMS..MAX_QUEUED_DATAGRAMS + 3 {
            let bytes = (number as u32).to_be_bytes();
            assert_eq!(queue.send(&mut counters, peer(), &bytes, &mut would_block), Sent::QueuedDroppingOldest);
        }
        assert_eq!(counters, UdpCounters { dropped: 3, ..UdpCounters::default() });
        assert!(!queue.flush(&mut counters, &mut would_block));
        let mut left = Vec::new();
        let mut take = |_: &Peer, bytes: &[u8]| {
            left.push(u32::from_be_bytes(bytes.try_into().unwrap()));
            Ok(())
        };
        assert!(queue.flush(&mut counters, &mut take));
        let expected: Vec<u32> = (3..MAX_QUEUED_DATAGRAMS as u32 + 3).collect();
        assert_eq!(left, expected);
        assert_eq!(counters.sent, MAX_QUEUED_DATAGRAMS as u64);
    }

    #[test]
    fn nothing_overtakes_what_waits() {
        let (mut queue, mut counters) = (SendQueue::default(), UdpCounters::default());
        queue.send(&mut counters, peer(), b"first", &mut would_block);
        let sent = queue.send(&mut counters, peer(), b"second", &mut |_, _| panic!("overtaken"));
        assert_eq!(sent, Sent::Queued);
        let mut left = Vec::new();
        // Room for one only: the second goes on waiting.
        let mut take_one = |_: &Peer, bytes: &[u8]| {
            if left.is_empty() {
                left.push(bytes.to_vec());
                return Ok(());
            }
            Err(io::ErrorKind::WouldBlock.into())
        };
        assert!(!queue.flush(&mut counters, &mut take_one));
        assert_eq!(left, [b"first"]);
        assert!(!queue.is_empty());
    }

    #[test]
    fn a_refused_datagram_is_counted_and_does_not_block_the_next() {
        let (mut queue, mut counters) = (SendQueue::default(), UdpCounters::default());
        queue.send(&mut counters, peer(), b"bad", &mut would_block);
        queue.send(&mut counters, peer(), b"good", &mut would_block);
        let mut refuse_bad = |_: &Peer, bytes: &[u8]| {
            if bytes == b"bad" { Err(io::ErrorKind::HostUnreachable.into()) } else { Ok(()) }
        };
        assert!(queue.flush(&mut counters, &mut refuse_bad));
        assert_eq!((counters.sent, counters.send_failures, counters.dropped), (1, 1, 0));
        let sent = queue.send(&mut counters, peer(), b"bad", &mut refuse_bad);
        assert_eq!(sent, Sent::Failed);
        assert!(queue.is_empty());
    }
}

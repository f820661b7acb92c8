//! A seeded network between simulated devices and a server: loss, duplicates, delay, reordering, NAT, partitions.
//!
//! # Flow
//! [`send`](Network::send) decides the fate of a datagram at once, with draws from the seed;
//! [`next_delivery`](Network::next_delivery) says when the next one arrives; [`poll_delivery`](Network::poll_delivery)
//! hands it over.
//!
//! # Addresses
//! Everyone sends from an own, inner address. [`rebind`](Network::rebind) puts a NAT in front of one: from then on its
//! datagrams come from the new outer address, what is sent to that one reaches it, and what is sent to any older
//! address is lost, as after the loss of a NAT binding.
//!
//! # Invariants
//! The same seed and the same calls give the same deliveries in the same order. Without reordering, datagrams between
//! two addresses arrive in the order in which they left, whatever latency they drew. At most
//! [`Conditions::max_queued`] datagrams are under way; more are lost and counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::chance::{between, happens};
use crate::model::time::Instant;

/// Pairs of addresses whose order is kept; beyond, pairs with nothing under way are forgotten.
const MAX_ORDERED_PAIRS: usize = 65_536;
/// Lost NAT bindings that are remembered; beyond, the lowest address is forgotten and reachable again.
const MAX_LOST_BINDINGS: usize = 65_536;

/// How bad the network is. Probabilities are 0 to 1 for each datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Probability of loss.
    pub loss: f64,
    /// Probability of a second copy, which draws its own latency.
    pub duplicate: f64,
    /// Probability of being held back by up to `reorder_delay`, so that later datagrams overtake.
    pub reorder: f64,
    /// The most that a reordered datagram is held back.
    pub reorder_delay: Duration,
    /// Least time from one end to the other.
    pub latency_min: Duration,
    /// Most time from one end to the other.
    pub latency_max: Duration,
    /// Datagrams of more bytes are lost.
    pub max_datagram_bytes: usize,
    /// Datagrams under way at once; more are lost.
    pub max_queued: usize,
}

impl Conditions {
    /// Nothing is lost and everything takes a millisecond.
    #[must_use]
    pub const fn perfect() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
            latency_min: Duration::from_millis(1),
            latency_max: Duration::from_millis(1),
            max_datagram_bytes: 65_507,
            max_queued: 65_536,
        }
    }

    /// A cellular link on a bad day: a tenth lost, some doubled and reordered, 50 to 800 ms.
    #[must_use]
    pub const fn lossy() -> Self {
        Self {
            loss: 0.1,
            duplicate: 0.03,
            reorder: 0.05,
            reorder_delay: Duration::from_secs(1),
            latency_min: Duration::from_millis(50),
            latency_max: Duration::from_millis(800),
            max_datagram_bytes: 1_472,
            max_queued: 65_536,
        }
    }
}

/// What became of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkStatistics {
    /// Handed to [`Network::send`].
    pub sent: u64,
    /// Handed out by [`Network::poll_delivery`], copies included.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
    /// Lost to a partition.
    pub cut: u64,
    /// Sent to an address that is no longer bound.
    pub unreachable: u64,
    /// Longer than the link carries.
    pub too_long: u64,
    /// Lost because the queue was full.
    pub overflowed: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    at: Instant,
    order: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// The network. See the module for its rules.
#[derive(Debug)]
pub struct Network {
    rng: ChaCha8Rng,
    conditions: Conditions,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
    last_arrival: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    outer_of: BTreeMap<SocketAddr, SocketAddr>,
    inner_of: BTreeMap<SocketAddr, SocketAddr>,
    unbound: BTreeSet<SocketAddr>,
    cut: BTreeSet<SocketAddr>,
    statistics: NetworkStatistics,
}

impl Network {
    /// A network without NAT or partitions.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            conditions,
            under_way: BinaryHeap::new(),
            order: 0,
            last_arrival: BTreeMap::new(),
            outer_of: BTreeMap::new(),
            inner_of: BTreeMap::new(),
            unbound: BTreeSet::new(),
            cut: BTreeSet::new(),
            statistics: NetworkStatistics::default(),
        }
    }

    /// Changes the weather for what is sent from now on.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// What became of the datagrams so far.
    #[must_use]
    pub const fn statistics(&self) -> NetworkStatistics {
        self.statistics
    }

    /// How many datagrams are under way.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.under_way.len()
    }

    /// The address under which others see `device`.
    #[must_use]
    pub fn outer_address(&self, device: SocketAddr) -> SocketAddr {
        self.outer_of.get(&device).copied().unwrap_or(device)
    }

    /// Puts `device` behind a new outer address; its older ones lead nowhere from now on. An address that another
    /// device held before passes to this one.
    pub fn rebind(&mut self, device: SocketAddr, outer: SocketAddr) {
        let previous = self.outer_address(device);
        self.inner_of.remove(&previous);
        if self.unbound.len() >= MAX_LOST_BINDINGS {
            self.unbound.pop_first();
        }
        self.unbound.insert(previous);
        if let Some(robbed) = self.inner_of.insert(outer, device) {
            self.outer_of.remove(&robbed);
        }
        self.outer_of.insert(device, outer);
        self.unbound.remove(&outer);
    }

    /// Cuts an inner address off: nothing comes from it or reaches it, what is under way included.
    pub fn cut(&mut self, address: SocketAddr) {
        self.cut.insert(address);
    }

    /// Ends the partition of an address.
    pub fn restore(&mut self, address: SocketAddr) {
        self.cut.remove(&address);
    }

    /// Sends a datagram from an inner address to whatever address its sender knows.
    pub fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.statistics.sent += 1;
        // All draws are made for each datagram, so that one fault more or less leaves the fate of others alone.
        let lost = happens(&mut self.rng, self.conditions.loss);
        let duplicated = happens(&mut self.rng, self.conditions.duplicate);
        let first = self.draw_arrival(now);
        let second = self.draw_arrival(now);
        if self.cut.contains(&from) {
            self.statistics.cut += 1;
        } else if bytes.len() > self.conditions.max_datagram_bytes {
            self.statistics.too_long += 1;
        } else if lost {
            self.statistics.lost += 1;
        } else {
            let outer = self.outer_address(from);
            if duplicated {
                self.statistics.duplicated += 1;
                self.queue(now, second, outer, to, bytes.clone());
            }
            self.queue(now, first, outer, to, bytes);
        }
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_delivery(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(next)| next.at)
    }

    /// The next datagram that has arrived by `now`: the address that its receiver sees as sender, the inner address of
    /// the receiver, the bytes.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        while self.next_delivery().is_some_and(|at| at <= now) {
            let Reverse(arrived) = self.under_way.pop()?;
            let to = self.inner_of.get(&arrived.to).copied();
            let Some(to) = to.or_else(|| (!self.unbound.contains(&arrived.to)).then_some(arrived.to)) else {
                self.statistics.unreachable += 1;
                continue;
            };
            if self.cut.contains(&to) {
                self.statistics.cut += 1;
                continue;
            }
            self.statistics.delivered += 1;
            return Some((arrived.from, to, arrived.bytes));
        }
        None
    }

    /// Arrival and whether it was held back.
    fn draw_arrival(&mut self, now: Instant) -> (Instant, bool) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let conditions = self.conditions;
        let latency = between(&mut self.rng, micros(conditions.latency_min), micros(conditions.latency_max));
        let held_back = happens(&mut self.rng, conditions.reorder);
        let extra = between(&mut self.rng, 1, micros(conditions.reorder_delay));
        let delay = if held_back { latency.saturating_add(extra) } else { latency };
        (now + Duration::from_micros(delay), held_back)
    }

    fn queue(
        &mut self,
        now: Instant,
        (drawn, held_back): (Instant, bool),
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    ) {
        if self.under_way.len() >= self.conditions.max_queued {
            self.statistics.overflowed += 1;
            return;
        }
        let at = if held_back {
            self.statistics.reordered += 1;
            drawn
        } else {
            if self.last_arrival.len() >= MAX_ORDERED_PAIRS {
                self.last_arrival.retain(|_, last| *last > now);
            }
            let last = self.last_arrival.entry((from, to)).or_insert(drawn);
            *last = drawn.max(*last);
            *last
        };
        self.order += 1;
        self.under_way.push(Reverse(UnderWay { at, order: self.order, from, to, bytes }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn lost_bindings_are_remembered_up_to_their_bound() {
        let mut network = Network::new(1, Conditions::perfect());
        for number in 0..=MAX_LOST_BINDINGS as u32 + 5 {
            let outer = SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a01_0000 + number), 1));
            network.rebind(address(1), outer);
        }
        assert_eq!(network.unbound.len(), MAX_LOST_BINDINGS);
    }

    const FAR: Instant = Instant::from_secs(1_000);

    type Delivery = (Instant, SocketAddr, SocketAddr, Vec<u8>);

    fn deliveries(network: &mut Network) -> Vec<Delivery> {
        let mut all = Vec::new();
        while let Some(at) = network.next_delivery() {
            if let Some((from, to, bytes)) = network.poll_delivery(at) {
                all.push((at, from, to, bytes));
            }
        }
        all
    }

    fn storm(seed: u64, conditions: Conditions) -> (Network, Vec<Delivery>) {
        let mut network = Network::new(seed, conditions);
        for number in 0..2_000_u32 {
            let now = Instant::from_millis(u64::from(number));
            network.send(now, address(1), address(2), number.to_be_bytes().to_vec());
        }
        let all = deliveries(&mut network);
        (network, all)
    }

    #[test]
    fn the_same_seed_gives_the_same_deliveries_and_another_seed_others() {
        assert_eq!(storm(7, Conditions::lossy()).1, storm(7, Conditions::lossy()).1);
        assert_ne!(storm(7, Conditions::lossy()).1, storm(8, Conditions::lossy()).1);
    }

    #[test]
    fn faults_come_as_often_as_asked_for_and_everything_is_accounted_for() {
        let (network, all) = storm(1, Conditions::lossy());
        let statistics = network.statistics();
        assert!((120..=280).contains(&statistics.lost), "{statistics:?}");
        assert!((25..=100).contains(&statistics.duplicated), "{statistics:?}");
        assert!((50..=150).contains(&statistics.reordered), "{statistics:?}");
        assert_eq!(statistics.delivered, statistics.sent - statistics.lost + statistics.duplicated);
        assert_eq!(all.len() as u64, statistics.delivered);
        let latest = Duration::from_millis(2_000 + 800) + Duration::from_secs(1);
        assert!(all.iter().all(|(at, ..)| *at <= Instant::ZERO + latest));
    }

    #[test]
    fn order_is_kept_without_reordering_and_broken_with_it() {
        let sorted = |conditions| storm(3, conditions).1.is_sorted_by_key(|(.., bytes)| bytes.clone());
        let varying = Conditions { latency_max: Duration::from_millis(500), ..Conditions::perfect() };
        assert!(sorted(varying));
        let reordering = Conditions { reorder: 0.2, reorder_delay: Duration::from_millis(50), ..varying };
        assert!(!sorted(reordering));
    }

    #[test]
    fn a_rebound_device_is_reached_by_its_new_address_only() {
        let mut network = Network::new(1, Conditions::perfect());
        let (device, server, first, second) = (address(1), address(2), address(101), address(102));
        network.rebind(device, first);
        network.send(Instant::ZERO, device, server, vec![1]);
        assert_eq!(network.poll_delivery(FAR), Some((first, server, vec![1])));
        network.send(Instant::ZERO, server, first, vec![2]);
        network.rebind(device, second);
        assert_eq!(network.poll_delivery(FAR), None, "it was under way to the lost binding");
        network.send(Instant::ZERO, server, device, vec![3]);
        assert_eq!(network.poll_delivery(FAR), None);
        network.send(Instant::ZERO, server, second, vec![4]);
        assert_eq!(network.poll_delivery(FAR), Some((server, device, vec![4])));
        assert_eq!(network.statistics().unreachable, 2);
        network.rebind(device, first);
        network.send(Instant::ZERO, server, first, vec![5]);
        assert_eq!(network.poll_delivery(FAR), Some((server, device, vec![5])));
    }

    #[test]
    fn a_partition_holds_in_both_directions_until_it_is_restored() {
        let mut network = Network::new(1, Conditions::perfect());
        network.send(Instant::ZERO, address(1), address(2), vec![1]);
        network.cut(address(2));
        network.send(Instant::ZERO, address(2), address(1), vec![2]);
        assert_eq!(network.poll_delivery(FAR), None);
        assert_eq!(network.statistics().cut, 2);
        network.restore(address(2));
        network.send(Instant::ZERO, address(1), address(2), vec![3]);
        assert!(network.poll_delivery(FAR).is_some());
    }

    #[test]
    fn the_queue_is_bounded_and_long_datagrams_are_lost() {
        let mut network =
            Network::new(1, Conditions { max_queued: 10, max_datagram_bytes: 100, ..Conditions::perfect() });
        network.send(Instant::ZERO, address(1), address(2), vec![0; 101]);
        for _ in 0..15 {
            network.send(Instant::ZERO, address(1), address(2), vec![0; 100]);
        }
        assert_eq!(network.queued(), 10);
        assert_eq!((network.statistics().overflowed, network.statistics().too_long), (5, 1));
    }

    #[test]
    fn nothing_arrives_before_its_time() {
        let mut network = Network::new(1, Conditions::perfect());
        network.send(Instant::from_secs(1), address(1), address(2), vec![1]);
        assert_eq!(network.next_delivery(), Some(Instant::from_millis(1_001)));
        assert_eq!(network.poll_delivery(Instant::from_millis(1_000)), None);
    }
}

//! What the outage tests share: devices that count, and the promise they hold the gateway to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::harness::{Acknowledged, Gateway, Message, NotifyingDevice, Subscriber};

const DEVICES: usize = 5;
/// How long a counting device waits between its samples.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// A few devices, all notifying one gateway.
pub(crate) struct Fleet {
    devices: Vec<NotifyingDevice>,
}

impl Fleet {
    pub(crate) fn start(gateway: &Gateway) -> Self {
        let server = gateway.lwm2m_address();
        let device = |number| NotifyingDevice::start(server, &format!("counter-{number}"), PAUSE);
        Self { devices: (0..DEVICES).map(device).collect() }
    }

    /// Waits until each device has had so many further notifications acknowledged.
    pub(crate) fn expect_acknowledged(&mut self, more: usize) {
        self.devices.iter_mut().for_each(|device| device.expect_acknowledged(more));
    }

    /// Ends the devices and waits until everything acknowledged to them has arrived, each with its own time and, repeats
    /// aside, in the order of its device.
    pub(crate) fn expect_everything_arrives(self, cloud: &mut Subscriber) {
        let promised: BTreeMap<String, Vec<Acknowledged>> =
            self.devices.into_iter().map(|device| (device.endpoint().to_owned(), device.stop())).collect();
        assert!(promised.values().all(|samples| !samples.is_empty()), "nothing was acknowledged: {promised:?}");

        let arrived = arrivals(cloud.collect_until(|messages| {
            let arrived = arrivals(messages);
            promised.iter().all(|(endpoint, samples)| missing(samples, arrived.get(endpoint)).is_empty())
        }));
        for (endpoint, samples) in &promised {
            let lost = missing(samples, arrived.get(endpoint));
            assert!(lost.is_empty(), "{endpoint}: acknowledged, but never arrived: {lost:?}");
        }
        for (endpoint, samples) in &arrived {
            let mut known = BTreeSet::new();
            let first_arrivals: Vec<u64> =
                samples.iter().map(|sample| sample.number).filter(|number| known.insert(*number)).collect();
            assert!(first_arrivals.is_sorted(), "{endpoint}: out of order: {first_arrivals:?}");
        }
    }
}

/// The samples on the devices' telemetry topics, in the order of their arrival.
fn arrivals(messages: &[Message]) -> BTreeMap<String, Vec<Acknowledged>> {
    let mut arrived: BTreeMap<String, Vec<Acknowledged>> = BTreeMap::new();
    for message in messages {
        let endpoint = message.topic.strip_prefix("lwm2m/").and_then(|rest| rest.strip_suffix("/telemetry"));
        let number = message.payload["values"]["temperature"].as_f64();
        let ts = message.payload["ts"].as_u64();
        if let (Some(endpoint), Some(number), Some(ts)) = (endpoint, number, ts) {
            // Whole numbers far below 2^53.
            #[expect(clippy::cast_sign_loss, reason = "the devices count from 0 upwards")]
            let sample = Acknowledged { number: number as u64, ts };
            arrived.entry(endpoint.to_owned()).or_default().push(sample);
        }
    }
    arrived
}

fn missing(promised: &[Acknowledged], arrived: Option<&Vec<Acknowledged>>) -> Vec<Acknowledged> {
    promised.iter().filter(|sample| !arrived.is_some_and(|arrived| arrived.contains(sample))).copied().collect()
}

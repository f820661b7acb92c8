//! What the way of one message through the delivery to a sink costs: into the spool, out to the sink, acknowledged.

use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use lwm2mqtt::gateway::configuration::{Role, SinkConfiguration, WhenFull};
use lwm2mqtt::gateway::delivery::sink::SinkDelivery;
use lwm2mqtt::gateway::store::{SpoolExtent, StoreSequence, StoreWrite};
use lwm2mqtt::gateway::vocabulary::{DeliveryId, Output, SinkIndex};
use lwm2mqtt::model::endpoint::Endpoint;
use lwm2mqtt::model::message::{Message, QualityOfService};
use lwm2mqtt::model::time::{Instant, WallTime};

/// Messages of one turn.
const BATCH: u64 = 64;

struct Bench {
    sink: SinkDelivery,
    message: Message,
    endpoint: Endpoint,
    sequence: u64,
    now: Instant,
    written: u64,
}

impl Bench {
    fn new(max_spool_bytes: u64) -> Self {
        let configuration = SinkConfiguration {
            name: "local".into(),
            base: "lwm2m".to_owned(),
            role: Role::Operator,
            max_spool_bytes,
            max_spool_age: Duration::from_secs(7 * 24 * 60 * 60),
            when_full: WhenFull::DropOldest,
        };
        let sink = SinkDelivery::new(SinkIndex(0), configuration, &SpoolExtent::default(), Vec::new(), 4_096, 256);
        let message = Message {
            topic: "lwm2m/boiler-room/telemetry".to_owned(),
            payload: Bytes::from_static(br#"{"ts":1760000000000,"values":{"temperature":21.5}}"#),
            qos: QualityOfService::AtLeastOnce,
            retain: false,
            correlation: None,
        };
        let endpoint = Endpoint::new("urn:imei:490154203237518").expect("a valid name");
        Self { sink, message, endpoint, sequence: 0, now: Instant::ZERO, written: 0 }
    }

    fn append(&mut self) {
        let (written, endpoint) = (&mut self.written, Some(self.endpoint.clone()));
        self.sequence += 1;
        let queued_at = WallTime::from_secs(1_760_000_000);
        let mut write = |_: StoreWrite| *written += 1;
        self.sink.append(queued_at, false, endpoint, self.message.clone(), StoreSequence(self.sequence), &mut write);
    }

    /// Everything durable leaves and is acknowledged; returns how many.
    fn deliver(&mut self) -> u64 {
        let mut deliveries: Vec<DeliveryId> = Vec::new();
        let mut emit = |output| {
            if let Output::Publish { delivery, .. } = output {
                deliveries.push(delivery);
            }
        };
        self.sink.poll(|_| true, |_, _| None, &mut emit);
        self.now = self.now + Duration::from_millis(10);
        let written = &mut self.written;
        let mut write = |_: StoreWrite| *written += 1;
        for delivery in &deliveries {
            self.sink.acknowledged(self.now, *delivery, &mut write);
        }
        self.sink.flush_deletions(self.now, true, &mut write);
        self.sink.take_notices();
        deliveries.len() as u64
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("spool");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("append_deliver_acknowledge", |bencher| {
        let mut bench = Bench::new(256 << 20);
        bench.sink.connected(1 << 20, 256);
        bencher.iter(|| {
            for _ in 0..BATCH {
                bench.append();
            }
            assert_eq!(bench.deliver(), BATCH);
        });
        assert_eq!(bench.sink.depth().0, 0);
    });
    group.bench_function("append_to_a_full_spool", |bencher| {
        let mut bench = Bench::new(1 << 20);
        while bench.sink.take_notices().is_empty() {
            bench.append();
        }
        bencher.iter(|| {
            for _ in 0..BATCH {
                bench.append();
            }
            bench.sink.take_notices()
        });
    });
    group.finish();
    criterion.final_summary();
}

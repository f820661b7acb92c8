//! How long a write of 64 KiB takes in networks that lose datagrams, and that nothing but time is lost.

use std::fmt::Write as _;
use std::time::Duration;

use lwm2mqtt::model::path::Path;
use lwm2mqtt::model::time::Instant;
use lwm2mqtt::model::value::Value;
use lwm2mqtt::simulator::network::Conditions;
use lwm2mqtt::simulator::script::DeviceScript;
use lwm2mqtt::simulator::world::{World, WorldScript};
use serde_json::json;

use super::checks::terminal;
use crate::written_page::check_page;

const PACKAGE: Path = Path::resource(5, 0, 0);
const BODY_BYTES: usize = 64 * 1024;
const SEEDS: u64 = 31;

/// A network by name, with the time from one end to the other in milliseconds.
const NETWORKS: [(&str, u64, u64); 2] = [("local network", 1, 5), ("cellular", 50, 150)];
const LOSSES: [u32; 3] = [0, 5, 20];

fn body() -> Vec<u8> {
    (0..BODY_BYTES).map(|position| (position / 3 % 251) as u8).collect()
}

/// Writes the body once: how long it took, or `None` if it failed.
fn write_once(seed: u64, (from, to): (u64, u64), loss: u32) -> Option<Duration> {
    let mut world = World::new(WorldScript::new(seed));
    let mut script = DeviceScript::new("dev").with_writable(PACKAGE, Value::Opaque(Vec::new()));
    script.tree.forbid_read(PACKAGE);
    let address = world.add_device(script);
    world.run_for(Duration::from_secs(10));
    world.network.set_conditions(Conditions {
        loss: f64::from(loss) / 100.0,
        latency_min: Duration::from_millis(from),
        latency_max: Duration::from_millis(to),
        ..Conditions::perfect()
    });
    let value = data_encoding::BASE64.encode(&body());
    let write = json!({"id": "w", "operation": "write", "path": "/5/0/0", "value": value});
    let begun = world.now();
    world.downlink("lwm2m/dev/command", &write.to_string());
    world.run_for(Duration::from_secs(3_600));
    let result = terminal(&world, "dev", "w");
    let held = world.devices[&address].tree().value(&PACKAGE).cloned();
    if result["status"] != "done" {
        assert_eq!(held, Some(Value::Opaque(Vec::new())), "a write that failed changed nothing");
        return None;
    }
    assert_eq!(held, Some(Value::Opaque(body())), "seed {seed}");
    Some(ended(&world).saturating_since(begun))
}

/// When the result reached the broker.
fn ended(world: &World) -> Instant {
    let results = world.broker.received.iter().filter(|(_, message)| message.topic == "lwm2m/dev/response");
    results.map(|(at, _)| *at).next_back().unwrap()
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

const HEAD: &str = "# Large bodies\n
How long a write of 64 KiB takes, from the command at the broker to its result there, with blocks of 1,024 bytes, the
usual timers of CoAP (`ack_timeout` 2 s, four retransmissions) and a commit every 100 ms. One block is under way at a
time, as CoAP wants it. The network loses each datagram with the given probability, in both directions. The table is
written by a test in virtual time, over 31 seeds each.

A block whose five transmissions all fail is sent once more under a new message id. If that fails too, or the device
lost the beginning twice, the write ends as `failed` and the device keeps what it had.

| network | one way | loss | done | median | worst |
|---|---|---|---|---|---|
";

#[test]
fn the_page_says_how_long_a_large_write_takes() {
    let mut page = HEAD.to_owned();
    for (network, from, to) in NETWORKS {
        for loss in LOSSES {
            let mut times: Vec<Duration> = (1..=SEEDS).filter_map(|seed| write_once(seed, (from, to), loss)).collect();
            times.sort_unstable();
            if loss <= 5 {
                assert_eq!(times.len() as u64, SEEDS, "{network} at {loss} %");
            }
            let median = times[times.len() / 2];
            let worst = times[times.len() - 1];
            let _ = writeln!(
                page,
                "| {network} | {from} to {to} ms | {loss} % | {} of {SEEDS} | {} | {} |",
                times.len(),
                seconds(median),
                seconds(worst)
            );
        }
    }
    check_page("docs/blockwise.md", &page, "simulation::blockwise::");
}

#[test]
fn a_device_gives_and_gets_blocks_of_the_size_that_it_wants() {
    const TEXT: Path = Path::resource(3, 0, 15);
    for (exponent, refuses) in [(0, true), (0, false), (4, true), (4, false)] {
        let mut world = World::new(WorldScript::new(1));
        let mut script = DeviceScript::new("dev").with_writable(TEXT, Value::String(String::new()));
        script.block_size_exponent = exponent;
        script.refuses_larger_blocks = refuses;
        let address = world.add_device(script);
        world.run_for(Duration::from_secs(10));
        for (id, bytes) in [("pieces", 3_000), ("one message", 700)] {
            let text: String = (0..bytes).map(|position: u32| char::from(b'a' + (position % 26) as u8)).collect();
            let write = json!({"id": id, "operation": "write", "path": "/3/0/15", "value": text});
            world.downlink("lwm2m/dev/command", &write.to_string());
            world.run_for(Duration::from_secs(30));
            assert_eq!(terminal(&world, "dev", id)["status"], "done", "{exponent} {refuses} {id}");
            assert_eq!(world.devices[&address].tree().value(&TEXT), Some(&Value::String(text.clone())));
            let back = format!("{id} back");
            let read = json!({"id": back, "operation": "read", "path": "/3/0/15"});
            world.downlink("lwm2m/dev/command", &read.to_string());
            world.run_for(Duration::from_secs(30));
            assert_eq!(terminal(&world, "dev", &back)["value"], json!(text), "{exponent} {refuses} {id}");
        }
    }
}

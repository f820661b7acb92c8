//! The whole gateway in virtual time: real core, simulated host. A failing seed is printed; `SIM_SEED` replays it alone.

mod blockwise;
mod bootstrap;
mod bounds;
mod broker_outage;
pub(crate) mod checks;
mod clock_jump;
mod commands;
mod composite_observe;
mod credentials;
mod end_devices;
mod first_light;
mod leshan_stream;
mod lossy_network;
mod misbehaviour;
mod observing_much;
mod own_endpoints;
mod power_cut;
mod queue_mode;
mod registration;
mod reporting;
mod security;
mod store_failure;
mod streams;

/// The seeds of a test: 200 of them, or the one of `SIM_SEED`.
pub(crate) fn seeds() -> Vec<u64> {
    const SEEDS: u64 = 200;
    some_seeds(SEEDS)
}

fn some_seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=count).collect(),
    }
}

/// Runs a test with every seed and says which one failed.
pub(crate) fn for_each_seed(test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for_each_of(seeds(), test);
}

/// Runs a test that takes its time with so many seeds.
fn for_some_seeds(count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for_each_of(some_seeds(count), test);
}

fn for_each_of(seeds: Vec<u64>, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds {
        if let Err(cause) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("the test failed with SIM_SEED={seed}");
            std::panic::resume_unwind(cause);
        }
    }
}

//! The whole gateway in virtual time: real core, simulated host. A failing seed is printed; `SIM_SEED` replays it alone.

mod blockwise;
mod bounds;
mod broker_outage;
mod checks;
mod clock_jump;
mod commands;
mod first_light;
mod lossy_network;
mod own_endpoints;
mod power_cut;
mod queue_mode;
mod registration;
mod reporting;
mod store_failure;

/// The seeds of a test: 200 of them, or the one of `SIM_SEED`.
pub(crate) fn seeds() -> Vec<u64> {
    const SEEDS: u64 = 200;
    match std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=SEEDS).collect(),
    }
}

/// Runs a test with every seed and says which one failed.
pub(crate) fn for_each_seed(test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds() {
        if let Err(cause) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("the test failed with SIM_SEED={seed}");
            std::panic::resume_unwind(cause);
        }
    }
}

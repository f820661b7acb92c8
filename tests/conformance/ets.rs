//! Cases of the OMA Enabler Test Specification for LwM2M, server side: which there are, which versions they are for,
//! and the page that says how they went.
//!
//! A case is a test that is named after its id. It runs once for each version of LwM2M that it is for, by
//! [`for_versions`], which also writes down how that went. [`page`] runs all of them and compares what they wrote with
//! `docs/conformance.md`.

pub(crate) mod bench;
pub(crate) mod configurations;
pub(crate) mod page;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use lwm2mqtt::model::version::Version;

/// All releases.
pub(crate) const ALL: &[Version] = &[Version::V1_0, Version::V1_1, Version::V1_2];
/// Those with SenML, composites and Send.
pub(crate) const SINCE_1_1: &[Version] = &[Version::V1_1, Version::V1_2];
/// The latest alone.
pub(crate) const SINCE_1_2: &[Version] = &[Version::V1_2];

/// How a case went with one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The id without `LightweightM2M-`.
    pub(crate) id: &'static str,
    /// The version of the device.
    pub(crate) version: Version,
    /// Whether every assertion held.
    pub(crate) passed: bool,
}

thread_local! {
    static RUNS: RefCell<Vec<Run>> = const { RefCell::new(Vec::new()) };
}

/// Runs a case with devices of these versions.
pub(crate) fn for_versions(id: &'static str, versions: &[Version], case: impl Fn(Version)) {
    let mut failure = None;
    for &version in versions {
        let outcome = catch_unwind(AssertUnwindSafe(|| case(version)));
        RUNS.with_borrow_mut(|runs| runs.push(Run { id, version, passed: outcome.is_ok() }));
        if let Err(cause) = outcome {
            eprintln!("{id} fails with LwM2M {version}");
            failure = failure.or(Some(cause));
        }
    }
    if let Some(cause) = failure {
        resume_unwind(cause);
    }
}

/// What was written down on this thread since the last call.
fn take_runs() -> Vec<Run> {
    RUNS.with_borrow_mut(std::mem::take)
}

/// The bytes of a wire vector that the test specification gives.
pub(crate) fn vector(id: &str) -> Vec<u8> {
    let vector = super::vectors::all().into_iter().find(|vector| vector.id == id).expect("the vector is there");
    if vector.hex.is_some() { vector.bytes() } else { vector.text().as_bytes().to_vec() }
}

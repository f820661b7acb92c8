//! Several paths in one request.

use crate::conformance::ets::page::Case;

pub(super) const CASES: &[Case] = &[];

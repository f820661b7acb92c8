//! Topic layouts. [`native`] is the gateway's own; others translate to the conventions of platforms.

pub mod native;

//! Wiring of the parts in one visible order, and their life: start, reload, drain.

pub mod sources;

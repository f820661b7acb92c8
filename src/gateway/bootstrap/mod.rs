//! The bootstrap server: who gets which server accounts, and the sessions that write them (Core TS 1.2.2 section 6.1).

pub mod news;
pub mod orders;

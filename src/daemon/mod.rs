//! Wiring of the parts in one visible order, and their life: start, reload, drain.
//!
//! [`gateway`] builds and runs a gateway from [`Settings`](crate::config::Settings); [`host`] is the loop around the
//! core; [`identity`] watches over the server's certificate; [`knowledge`] reads mapping files and object definitions; [`shell`] serves what requests want of files, log and
//! process; [`run`], [`demo`] and [`simulate`] are the commands
//! that need a process of their own.

pub mod demo;
pub mod gateway;
pub mod host;
pub mod identity;
pub mod knowledge;
pub mod logging;
pub mod run;
pub mod shell;
pub mod simulate;
pub mod sources;

//! A scripted LwM2M device, a fleet of them and a seeded network, all in virtual time.
//!
//! Product code: the demo, the `simulate` command and every simulation test run these. [`device`] is one client,
//! [`script`] says how it behaves, [`tree`] what it holds, [`network`] loses, delays and doubles datagrams between
//! clients and a server. Nothing here knows a socket or a clock; the same seed gives the same run.

pub mod account;
pub mod attribute_table;
pub mod bootstrap_orders;
pub mod bootstrap_script;
pub mod broker;
mod chance;
pub mod device;
pub mod dtls;
pub mod fleet;
pub mod network;
pub mod psk;
pub mod script;
pub mod scripts;
mod send_pack;
pub mod statistics;
pub mod store;
pub mod stream;
pub mod stream_network;
mod transmission;
pub mod tree;
mod walk;
pub mod world;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tiny_server;

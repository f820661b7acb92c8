//! The other programs of an end-to-end test, each as a value: they start when made and are killed when dropped.
//!
//! Nothing here sleeps: whoever waits names a condition and has a deadline, and a test that fails prints the last lines
//! of what its programs wrote to their standard error.

mod authority;
mod device;
mod dtls_client;
mod gateway;
mod mosquitto;
mod notifying_device;
mod ports;
mod process;
mod rest_server;
mod scripted_device;
mod secure_device;
mod simulated;
mod stream_device;
mod tls_client;

pub(crate) use authority::{Authority, Credentials};
pub(crate) use device::{DeviceClient, Library, installed_peers};
pub(crate) use dtls_client::{DtlsClient, Shown};
pub(crate) use gateway::{Gateway, Setup, binary};
pub(crate) use mosquitto::{Message, Mosquitto, Subscriber};
pub(crate) use notifying_device::{Acknowledged, NotifyingDevice};
pub(crate) use ports::free_port;
pub(crate) use process::{Process, deadline, poll};
pub(crate) use rest_server::{Asked, RestServer};
pub(crate) use scripted_device::ScriptedDevice;
pub(crate) use secure_device::SecureDevice;
pub(crate) use simulated::SimulatedDevices;
pub(crate) use stream_device::{ABORT, CSM, Frame, PING, PONG, StreamDevice};
pub(crate) use tls_client::TlsClient;

use std::time::Duration;

/// Long enough for a loaded machine with two cores, short enough to fail while somebody still looks.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

//! How a simulated device bootstraps, and what it does differently from a well-made client.

use std::time::Duration;

use crate::model::path::Path;
use crate::model::value::Value;
use crate::protocol::coap::message::Code;
use crate::protocol::content::ContentFormat;

use super::script::DeviceScript;

/// What a device does when it is asked for something that not every client knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// Answers.
    #[default]
    Full,
    /// Refuses with this code.
    Refused(Code),
    /// Acknowledges, and no answer follows.
    Silent,
}

/// The device loses power in the middle of a bootstrap session, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// In the first session after so many that were finished.
    pub after_finished: u32,
    /// With this request of the bootstrap server, which it does not answer; the first one is 1.
    pub at_request: u32,
    /// For so long; then it begins anew.
    pub lasts: Duration,
}

/// How a device bootstraps (Core TS 1.2.2 section 6.1).
#[derive(Clone, Debug, PartialEq)]
pub struct BootstrapScript {
    /// The format that it asks for with `pct`; `None`: it names none.
    pub pct: Option<ContentFormat>,
    /// The format of the pack that it asks for first (1.2); `None`: it asks for none.
    pub pack: Option<ContentFormat>,
    /// Wait after the first failed attempt; doubles each time up to 32 times as much.
    pub retry: Duration,
    /// After so many failed registrations in a row it bootstraps anew.
    pub registration_attempts: u32,
    /// How long it goes on answering the bootstrap server after Finish before it turns to the LwM2M server.
    pub lingers: Duration,
    /// Bootstrap-Discover.
    pub discover: Support,
    /// Bootstrap-Read.
    pub read: Support,
    /// Writes to this path are refused with this code.
    pub refuses_write: Option<(Path, Code)>,
    /// The first so many Finish are refused with 4.06.
    pub refuses_finish: u32,
    /// Loss of power in the middle.
    pub outage: Option<Outage>,
}

impl Default for BootstrapScript {
    fn default() -> Self {
        Self {
            pct: None,
            pack: None,
            retry: Duration::from_secs(30),
            registration_attempts: 3,
            lingers: Duration::from_secs(1),
            discover: Support::Full,
            read: Support::Full,
            refuses_write: None,
            refuses_finish: 0,
            outage: None,
        }
    }
}

/// What the device was given at the factory to prove itself by to its bootstrap server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactoryKey<'a> {
    /// Nothing.
    NoSec,
    /// A pre-shared key.
    Psk {
        /// Its identity.
        identity: &'a [u8],
        /// The key.
        key: &'a [u8],
    },
}

impl DeviceScript {
    /// The device knows nothing but a bootstrap server: its account is Security instance `instance`, and there is no
    /// account of an LwM2M server.
    #[must_use]
    pub fn with_bootstrap(mut self, bootstrap: BootstrapScript, instance: u16, uri: &str, key: FactoryKey<'_>) -> Self {
        self.bootstrap = Some(bootstrap);
        for object in [0, 1, 2] {
            self.tree.remove(Path::object(object));
        }
        let (mode, identity, key) = match key {
            FactoryKey::NoSec => (3, [].as_slice(), [].as_slice()),
            FactoryKey::Psk { identity, key } => (0, identity, key),
        };
        for (resource, value) in [
            (0, Value::String(uri.to_owned())),
            (1, Value::Boolean(true)),
            (2, Value::Integer(mode)),
            (3, Value::Opaque(identity.to_vec())),
            (4, Value::Opaque(Vec::new())),
            (5, Value::Opaque(key.to_vec())),
        ] {
            self.tree.set(Path::resource(0, instance, resource), value);
        }
        self
    }
}

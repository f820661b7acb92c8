//! What the bootstrap server asks of the world, on a thread of its own: key pairs, and other servers that have to know a
//! device.
//!
//! # Flow
//! [`BootstrapOrder`]s come over a bounded channel; what became of them is put among the inputs of the core. Keys are made
//! at once, in the order in which they are asked for. Other servers are told side by side, [`PROVISIONS_AT_ONCE`] devices at
//! a time each, and each device within [`PROVISION_TIME`]: one that is silent holds up neither keys nor the others.
//!
//! # Invariants
//! Each order is answered exactly once; one that finds no room with an error, at once.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::InputSender;
use super::clock::{wall_is_trusted, wall_now};
use super::provisioning::{provision, shown};
use super::secure::authority::{Authority, make_raw_public_key};
use super::secure::identity::ServerIdentity;
use crate::gateway::bootstrap::orders::{BootstrapInput, BootstrapOrder, KeyPair, KeyWish, Made};
use crate::gateway::vocabulary::Input;
use crate::model::bootstrap::ProvisionTarget;
use crate::model::endpoint::Endpoint;

/// Orders on their way to the thread.
pub const QUEUED_ORDERS: usize = 4_096;

/// Devices that other servers are told of, those that wait included.
pub const MAX_PROVISIONS: usize = 1_024;

/// Devices that one of them is told of at a time.
pub const PROVISIONS_AT_ONCE: usize = 16;

/// How long telling one server of one device may take, waiting included. The device waits too.
pub const PROVISION_TIME: Duration = Duration::from_secs(60);

/// Orders that are taken before what they led to is told.
const ORDERS_PER_TURN: usize = 64;

/// Who the gateway is to devices.
#[derive(Clone)]
struct Introduction {
    public_key: Arc<[u8]>,
    certificate: Arc<[u8]>,
}

impl Introduction {
    fn new(identity: &ServerIdentity) -> Self {
        let public_key = identity.raw_public_key_spki().unwrap_or_default().into();
        Self { public_key, certificate: identity.certificate.to_der().unwrap_or_default().into() }
    }
}

/// The way to the thread, which ends when this is gone.
pub struct BootstrapThread {
    orders: mpsc::Sender<BootstrapOrder>,
    introduction: watch::Sender<Introduction>,
}

impl BootstrapThread {
    /// Starts the thread. `folder` keeps the authority of devices' certificates.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(folder: PathBuf, identity: &ServerIdentity, inputs: InputSender) -> std::io::Result<Self> {
        let (orders, receiver) = mpsc::channel(QUEUED_ORDERS);
        let (introduction, introductions) = watch::channel(Introduction::new(identity));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let keys = Keys { folder, authority: None, introductions };
        std::thread::Builder::new()
            .name("bootstrap".to_owned())
            .spawn(move || runtime.block_on(run(receiver, keys, inputs)))?;
        Ok(Self { orders, introduction })
    }

    /// Gives an order; the answer, if it finds no room.
    #[must_use]
    pub fn order(&self, order: BootstrapOrder) -> Option<Input> {
        let (order, reason) = match self.orders.try_send(order) {
            Ok(()) => return None,
            Err(mpsc::error::TrySendError::Full(order)) => (order, "too many orders of the bootstrap server wait"),
            Err(mpsc::error::TrySendError::Closed(order)) => (order, "the thread of the bootstrap server is gone"),
        };
        Some(refused(&order, reason))
    }

    /// What takes another identity of the gateway.
    pub fn identity_setter(&self) -> impl Fn(&ServerIdentity) + Send + 'static {
        let introduction = self.introduction.clone();
        move |identity| {
            introduction.send_replace(Introduction::new(identity));
        }
    }
}

/// The answer to an order that nobody carries out.
#[must_use]
pub fn refused(order: &BootstrapOrder, reason: &str) -> Input {
    let reason = reason.to_owned();
    Input::Bootstrap(match order {
        BootstrapOrder::Make { order, .. } => BootstrapInput::Made { order: *order, result: Err(reason) },
        BootstrapOrder::Provision { order, .. } => BootstrapInput::Provisioned { order: *order, result: Err(reason) },
    })
}

async fn run(mut orders: mpsc::Receiver<BootstrapOrder>, mut keys: Keys, inputs: InputSender) {
    keys.check();
    let mut provisions = Provisions::new(PROVISION_TIME);
    let mut taken = Vec::new();
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            count = orders.recv_many(&mut taken, ORDERS_PER_TURN) => {
                if count == 0 {
                    return;
                }
                for order in taken.drain(..) {
                    batch.extend(match order {
                        BootstrapOrder::Make { order, endpoint, wishes } => {
                            let result = keys.make(&endpoint, &wishes);
                            Some(Input::Bootstrap(BootstrapInput::Made { order, result }))
                        }
                        BootstrapOrder::Provision { .. } => provisions.begin(order),
                    });
                }
            }
            done = provisions.next() => batch.push(done),
        }
        if !batch.is_empty() && inputs.send(batch).await.is_err() {
            return;
        }
    }
}

/// What keys are made with.
struct Keys {
    folder: PathBuf,
    /// `None`: not needed yet, or its files cannot be used.
    authority: Option<Authority>,
    introductions: watch::Receiver<Introduction>,
}

impl Keys {
    /// Says early what would otherwise be found out when a device needs a certificate.
    fn check(&mut self) {
        match Authority::find(&self.folder) {
            Ok(found) => self.authority = found,
            Err(error) => tracing::error!(error, "no certificates can be made for devices"),
        }
    }

    fn make(&mut self, endpoint: &Endpoint, wishes: &[KeyWish]) -> Result<Made, String> {
        let pairs = wishes.iter().map(|wish| self.pair(endpoint, *wish)).collect::<Result<_, _>>()?;
        let Introduction { public_key, certificate } = self.introductions.borrow().clone();
        Ok(Made { pairs, server_public_key: public_key, server_certificate: certificate })
    }

    fn pair(&mut self, endpoint: &Endpoint, wish: KeyWish) -> Result<KeyPair, String> {
        match wish {
            KeyWish::RawPublicKey => make_raw_public_key(),
            KeyWish::Certificate => {
                let authority = match self.authority.take() {
                    Some(authority) => authority,
                    // Files that could not be used may have been put right meanwhile.
                    None => Authority::load_or_make(&self.folder)?,
                };
                let wall = wall_is_trusted().then(wall_now);
                self.authority.insert(authority).make_certificate(endpoint.as_str(), wall)
            }
        }
    }
}

/// Servers that are being told of devices.
struct Provisions {
    under_way: JoinSet<Input>,
    /// Room at each server, by its URL.
    rooms: HashMap<String, Arc<Semaphore>>,
    /// How long one may take.
    within: Duration,
}

impl Provisions {
    fn new(within: Duration) -> Self {
        Self { under_way: JoinSet::new(), rooms: HashMap::new(), within }
    }

    fn room(&mut self, target: &ProvisionTarget) -> Arc<Semaphore> {
        if let Some(room) = self.rooms.get(&target.url) {
            return room.clone();
        }
        // Those that are not being told of anything are forgotten.
        self.rooms.retain(|_, room| Arc::strong_count(room) > 1);
        let room = Arc::new(Semaphore::new(PROVISIONS_AT_ONCE));
        self.rooms.insert(target.url.clone(), room.clone());
        room
    }

    /// Begins with one; the answer, if there are too many.
    fn begin(&mut self, order: BootstrapOrder) -> Option<Input> {
        if self.under_way.len() >= MAX_PROVISIONS {
            return Some(refused(&order, "too many devices wait until another server is told of them"));
        }
        let BootstrapOrder::Provision { order, target, endpoint, credential } = order else { return None };
        let (room, within) = (self.room(&target), self.within);
        self.under_way.spawn(async move {
            let told = async {
                let _place = room.acquire().await;
                provision(&target, &endpoint, &credential).await
            };
            let result = tokio::time::timeout(within, told).await.unwrap_or_else(|_| {
                Err(format!("{}: took longer than {} s: check whether it can follow", shown(&target), within.as_secs()))
            });
            Input::Bootstrap(BootstrapInput::Provisioned { order, result })
        });
        None
    }

    /// The next answer; waits where nothing is under way.
    async fn next(&mut self) -> Input {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(done)) => return done,
                Some(Err(error)) => tracing::error!(%error, "telling a server of a device was broken off"),
                None => std::future::pending().await,
            }
        }
    }
}

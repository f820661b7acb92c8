//! What carries out the orders of the bootstrap server in a simulation: key pairs made by a counter, and other servers
//! that know devices as a script says.

use std::collections::VecDeque;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::gateway::bootstrap::orders::{
    BootstrapInput, BootstrapOrder, KeyPair, KeyWish, Made, OrderId, ProvisionCredential,
};
use crate::model::credential::SecretBytes;
use crate::model::endpoint::Endpoint;
use crate::model::time::Instant;

/// How other servers answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provisioning {
    /// They know every device from then on.
    #[default]
    Done,
    /// They refuse.
    Failing,
    /// They never answer.
    Silent,
}

/// The stand-in. What it was ordered and has not answered is gone after a power cut.
#[derive(Debug)]
pub struct SimulatedOrders {
    seed: u64,
    pairs: u64,
    done: VecDeque<(Instant, BootstrapInput)>,
    /// How long an order takes.
    pub takes: Duration,
    /// Whether key pairs can be made.
    pub makes_keys: bool,
    /// How other servers answer.
    pub provisioning: Provisioning,
    /// Which devices other servers were told of.
    pub provisioned: Vec<(Endpoint, ProvisionCredential)>,
}

impl SimulatedOrders {
    /// Orders take 20 ms and succeed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            pairs: 0,
            done: VecDeque::new(),
            takes: Duration::from_millis(20),
            makes_keys: true,
            provisioning: Provisioning::Done,
            provisioned: Vec::new(),
        }
    }

    /// Takes an order of the core.
    pub fn order(&mut self, now: Instant, order: BootstrapOrder) {
        let input = match order {
            BootstrapOrder::Make { order, endpoint, wishes } => self.make(order, &endpoint, &wishes),
            BootstrapOrder::Provision { order, endpoint, credential, .. } => {
                let result = match self.provisioning {
                    Provisioning::Silent => return,
                    Provisioning::Failing => Err("the server refused".to_owned()),
                    Provisioning::Done => {
                        self.provisioned.push((endpoint, credential));
                        Ok(())
                    }
                };
                BootstrapInput::Provisioned { order, result }
            }
        };
        let at = now + self.takes;
        let position = self.done.partition_point(|(other, _)| *other <= at);
        self.done.insert(position, (at, input));
    }

    /// When the core is told something next.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        self.done.front().map(|(at, _)| *at)
    }

    /// What the core is told by now.
    pub fn poll(&mut self, now: Instant) -> Option<BootstrapInput> {
        self.next_event().filter(|at| *at <= now)?;
        self.done.pop_front().map(|(_, input)| input)
    }

    /// Power fails: what was not answered never will be.
    pub fn forget(&mut self) {
        self.done.clear();
    }

    fn make(&mut self, order: OrderId, endpoint: &Endpoint, wishes: &[KeyWish]) -> BootstrapInput {
        if !self.makes_keys {
            return BootstrapInput::Made { order, result: Err("no key can be made".to_owned()) };
        }
        let pairs = wishes.iter().map(|wish| self.pair(endpoint, *wish)).collect();
        let result = Ok(Made {
            pairs,
            server_public_key: b"public key of the gateway".as_slice().into(),
            server_certificate: b"certificate of the gateway".as_slice().into(),
        });
        BootstrapInput::Made { order, result }
    }

    /// A pair like none before. Its halves are no keys of any curve: nothing in a simulation uses them.
    fn pair(&mut self, endpoint: &Endpoint, wish: KeyWish) -> KeyPair {
        self.pairs += 1;
        let half = |name: &str| {
            let digest = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(self.pairs.to_be_bytes());
            digest.chain_update(name).finalize()
        };
        KeyPair {
            public: half("public").as_slice().into(),
            private: SecretBytes::new(&half("private")),
            subject: match wish {
                KeyWish::RawPublicKey => None,
                KeyWish::Certificate => Some(format!("CN={endpoint}").into()),
            },
        }
    }
}

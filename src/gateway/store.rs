//! What the core asks its store to keep, and what it gets back at start.
//!
//! The core emits batches with rising sequence numbers; the host answers how far they are durable. Only then do
//! acknowledgements leave. Records are opaque bytes to the store, so that it needs no knowledge of their meaning.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::credential::SecretBytes;
use crate::model::endpoint::Endpoint;
use crate::model::message::Message;
use crate::model::time::WallTime;

/// Name of a sink, as in the configuration.
pub type SinkName = Arc<str>;

/// Number of a batch of writes; rises by one from 1 in each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StoreSequence(pub u64);

/// One message that waits for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolRow {
    /// Position; rises within its sink, with gaps, over restarts.
    pub id: u64,
    /// When it was put in the spool, for the age bound.
    pub queued_at: WallTime,
    /// Which boot's unset clock labelled it: the `ts` inside is estimated and is corrected when the clock is set.
    pub estimated: bool,
    /// The device it concerns.
    pub endpoint: Option<Endpoint>,
    /// The message.
    pub message: Message,
}

impl SpoolRow {
    /// Bytes charged against the bound of the spool: topic, payload and a fixed cost for the row.
    #[must_use]
    pub fn charged_bytes(&self) -> u64 {
        const ROW_COST: u64 = 64;
        ROW_COST + self.message.topic.len() as u64 + self.message.payload.len() as u64
    }
}

/// The latest payload of a retained topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedRow {
    /// The device it concerns.
    pub endpoint: Option<Endpoint>,
    /// The message; `retain` is set.
    pub message: Message,
}

/// What of the secrets a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretKind {
    /// A credential.
    Credential,
    /// A DTLS session, by its number.
    Session,
    /// A DTLS session that can be resumed, by its id.
    Resumable,
    /// Keys of session tickets.
    TicketKeys,
    /// A server account of the bootstrap server, by its name.
    ServerAccount,
    /// A device entry of the bootstrap server, by its name or pattern.
    DeviceEntry,
    /// What was made for a device of the bootstrap server, by its endpoint name.
    Issued,
}

impl SecretKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Credential,
        Self::Session,
        Self::Resumable,
        Self::TicketKeys,
        Self::ServerAccount,
        Self::DeviceEntry,
        Self::Issued,
    ];

    /// The word in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Session => "session",
            Self::Resumable => "resumable",
            Self::TicketKeys => "ticket_keys",
            Self::ServerAccount => "server_account",
            Self::DeviceEntry => "device_entry",
            Self::Issued => "issued",
        }
    }
}

/// Something secret, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    /// What it is.
    pub kind: SecretKind,
    /// Key within the kind.
    pub key: Vec<u8>,
    /// Value.
    pub value: SecretBytes,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreWrite {
    /// Insert or replace a device record.
    PutDevice {
        /// Key.
        endpoint: Endpoint,
        /// Record, JSON.
        record: Vec<u8>,
    },
    /// Remove a device record.
    DeleteDevice {
        /// Key.
        endpoint: Endpoint,
    },
    /// Insert or replace a command record.
    PutCommand {
        /// Device, first part of the key.
        endpoint: Endpoint,
        /// Id, second part of the key.
        id: String,
        /// Record, JSON.
        record: Vec<u8>,
    },
    /// Remove a command record.
    DeleteCommand {
        /// Device.
        endpoint: Endpoint,
        /// Id.
        id: String,
    },
    /// Append a row to a spool, or replace the row with that id.
    PutSpool {
        /// Which spool.
        sink: SinkName,
        /// The row.
        row: SpoolRow,
    },
    /// Remove all rows of a spool up to and including an id.
    DeleteSpool {
        /// Which spool.
        sink: SinkName,
        /// The last id to go.
        up_to: u64,
    },
    /// Insert or replace the latest payload of a retained topic.
    PutRetained {
        /// Which sink.
        sink: SinkName,
        /// The row; its topic is the key.
        row: RetainedRow,
    },
    /// Forget a retained topic.
    DeleteRetained {
        /// Which sink.
        sink: SinkName,
        /// Key.
        topic: String,
    },
    /// Insert or replace something secret; the store seals the value.
    PutSecret {
        /// What it is.
        kind: SecretKind,
        /// Key within the kind.
        key: Vec<u8>,
        /// Value.
        value: SecretBytes,
    },
    /// Forget something secret.
    DeleteSecret {
        /// What it is.
        kind: SecretKind,
        /// Key within the kind.
        key: Vec<u8>,
    },
    /// Insert or replace a value of the gateway itself.
    PutState {
        /// Key.
        key: String,
        /// Value.
        value: Vec<u8>,
    },
}

impl StoreWrite {
    /// Bytes charged against the bound of waiting writes.
    #[must_use]
    pub fn charged_bytes(&self) -> usize {
        const WRITE_COST: usize = 64;
        WRITE_COST
            + match self {
                Self::PutDevice { record, .. } | Self::PutCommand { record, .. } => record.len(),
                Self::PutSpool { row, .. } => row.message.topic.len() + row.message.payload.len(),
                Self::PutRetained { row, .. } => row.message.topic.len() + row.message.payload.len(),
                Self::PutState { key, value } => key.len() + value.len(),
                Self::PutSecret { key, value, .. } => key.len() + value.expose().len(),
                Self::DeleteDevice { .. }
                | Self::DeleteCommand { .. }
                | Self::DeleteSecret { .. }
                | Self::DeleteSpool { .. }
                | Self::DeleteRetained { .. } => 0,
            }
    }
}

/// Writes that become durable together.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreBatch {
    /// Its number.
    pub sequence: StoreSequence,
    /// Its writes, in order.
    pub writes: Vec<StoreWrite>,
}

/// Consecutive rows of a spool, summed up: what dropping the oldest data goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolSegment {
    /// Highest id in it.
    pub last: u64,
    /// Rows.
    pub rows: u64,
    /// Sum of [`SpoolRow::charged_bytes`].
    pub bytes: u64,
    /// When its newest row was queued.
    pub newest: WallTime,
}

/// Rows whose ids agree in `id / ROWS_PER_SEGMENT` are one [`SpoolSegment`].
pub const ROWS_PER_SEGMENT: u64 = 256;

/// What a spool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolExtent {
    /// Highest id ever used, 0 if none; survives the deletion of all rows.
    pub last: u64,
    /// The rows, in ascending order.
    pub segments: Vec<SpoolSegment>,
}

/// Everything the core needs at start. Spool rows and retained payloads stay in the store until they are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredState {
    /// Device records.
    pub devices: Vec<(Endpoint, Vec<u8>)>,
    /// Command records: device, id, record.
    pub commands: Vec<(Endpoint, String, Vec<u8>)>,
    /// Values of the gateway itself.
    pub state: BTreeMap<String, Vec<u8>>,
    /// Spools by sink name.
    pub spools: BTreeMap<String, SpoolExtent>,
    /// What is secret, in the order of the keys of each kind.
    pub secrets: Vec<SecretRow>,
    /// Secrets that are there but do not open, by kind and key.
    pub sealed_shut: Vec<(SecretKind, Vec<u8>)>,
    /// Retained rows of devices whose topic ends in `/values` or `/attributes`.
    pub latest: Vec<RetainedRow>,
}

//! Connection ids (RFC 9146): what names a session in a record, whatever address it comes from.

/// Extension number of `connection_id`.
pub const EXTENSION: u16 = 54;

/// Longest id that this side hands out, in bytes. An incoming record says nothing of the length: all have the same.
pub const MAX_OWN_BYTES: usize = 16;

/// Longest id of a peer, in bytes (RFC 9146 section 3).
pub const MAX_PEER_BYTES: usize = 255;

/// An id that this side handed out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    bytes: [u8; MAX_OWN_BYTES],
    length: u8,
}

impl ConnectionId {
    /// Takes an id of one to [`MAX_OWN_BYTES`] bytes.
    #[must_use]
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_OWN_BYTES];
        bytes.get_mut(..id.len()).filter(|room| !room.is_empty())?.copy_from_slice(id);
        Some(Self { bytes, length: id.len() as u8 })
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl std::fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(self.as_bytes()))
    }
}

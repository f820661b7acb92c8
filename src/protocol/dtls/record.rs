//! Records (RFC 6347 section 4.1) and those with a connection id (RFC 9146 section 4).
//!
//! ```text
//! type 1 | version 2 | epoch 2 | sequence number 6 | [connection id, type 25 only] | length 2 | body
//! ```

use super::keys::{NotAuthentic, SessionKeys};

/// Content types.
pub mod content {
    /// Change cipher spec.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake message.
    pub const HANDSHAKE: u8 = 22;
    /// Application data.
    pub const APPLICATION_DATA: u8 = 23;
    /// Any of these, protected and with a connection id.
    pub const TLS12_CID: u8 = 25;
}

/// `{254, 253}`.
pub const VERSION_1_2: [u8; 2] = [0xFE, 0xFD];
/// `{254, 255}`.
pub const VERSION_1_0: [u8; 2] = [0xFE, 0xFF];

/// Bytes of a header without connection id.
pub const HEADER_BYTES: usize = 13;

/// Highest sequence number.
pub const MAX_SEQUENCE: u64 = (1 << 48) - 1;

/// The epoch of all records after a handshake: nothing here negotiates keys a second time within a session.
pub const PROTECTED_EPOCH: u16 = 1;

/// A record as it stands in a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Content type; [`content::TLS12_CID`] hides the real one.
    pub content_type: u8,
    /// Version as written.
    pub version: [u8; 2],
    /// Epoch.
    pub epoch: u16,
    /// Sequence number.
    pub sequence: u64,
    /// Connection id; empty without one.
    pub connection_id: &'a [u8],
    /// What follows the header.
    pub body: &'a [u8],
    /// Header and body.
    pub whole: &'a [u8],
}

/// Takes the first record off a datagram. `connection_id_bytes` is the length of all ids that this side handed out.
/// `None`: the rest is no record, and so nothing behind it can be found either.
#[must_use]
pub fn split_first(datagram: &[u8], connection_id_bytes: usize) -> Option<(Record<'_>, &[u8])> {
    let (&[content_type, major, minor, e1, e0, s5, s4, s3, s2, s1, s0], rest) = datagram.split_first_chunk::<11>()?;
    let id_bytes = if content_type == content::TLS12_CID { connection_id_bytes } else { 0 };
    let (connection_id, rest) = rest.split_at_checked(id_bytes)?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (body, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let whole = datagram.get(..datagram.len() - rest.len())?;
    let is_known = matches!(content_type, 20..=23 | content::TLS12_CID) && major == 0xFE;
    let record = Record {
        content_type,
        version: [major, minor],
        epoch: u16::from_be_bytes([e1, e0]),
        sequence: u64::from_be_bytes([0, 0, s5, s4, s3, s2, s1, s0]),
        connection_id,
        body,
        whole,
    };
    is_known.then_some((record, rest))
}

/// The header of a record, for a body of `length` bytes.
fn push_header(out: &mut Vec<u8>, content_type: u8, explicit: [u8; 8], connection_id: &[u8], length: usize) {
    out.push(content_type);
    out.extend_from_slice(&VERSION_1_2);
    out.extend_from_slice(&explicit);
    out.extend_from_slice(connection_id);
    out.extend_from_slice(&(length as u16).to_be_bytes());
}

fn explicit(epoch: u16, sequence: u64) -> [u8; 8] {
    (u64::from(epoch) << 48 | sequence & MAX_SEQUENCE).to_be_bytes()
}

/// What is authenticated beside the plaintext (RFC 5246 section 6.2.3.3).
fn additional_data(explicit: [u8; 8], content_type: u8, length: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(HEADER_BYTES);
    data.extend_from_slice(&explicit);
    data.push(content_type);
    data.extend_from_slice(&VERSION_1_2);
    data.extend_from_slice(&(length as u16).to_be_bytes());
    data
}

/// The same with a connection id (RFC 9146 section 5.3).
fn additional_data_with_id(explicit: [u8; 8], connection_id: &[u8], length: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(23 + connection_id.len());
    data.extend_from_slice(&[0xFF; 8]);
    data.extend_from_slice(&[content::TLS12_CID, connection_id.len() as u8, content::TLS12_CID]);
    data.extend_from_slice(&VERSION_1_2);
    data.extend_from_slice(&explicit);
    data.extend_from_slice(connection_id);
    data.extend_from_slice(&(length as u16).to_be_bytes());
    data
}

/// A protected record. `connection_id` is what the other side wants to be called; empty: it has no id.
#[must_use]
pub fn seal(
    keys: &SessionKeys,
    epoch: u16,
    sequence: u64,
    connection_id: &[u8],
    content_type: u8,
    plaintext: &[u8],
) -> Vec<u8> {
    let explicit = explicit(epoch, sequence);
    let overhead = explicit.len() + keys.suite.tag_bytes();
    let mut out = Vec::with_capacity(HEADER_BYTES + connection_id.len() + overhead + plaintext.len() + 1);
    if connection_id.is_empty() {
        push_header(&mut out, content_type, explicit, &[], plaintext.len() + overhead);
        let additional = additional_data(explicit, content_type, plaintext.len());
        keys.write.seal(keys.suite, explicit, &additional, plaintext, &mut out);
    } else {
        let mut inner = Vec::with_capacity(plaintext.len() + 1);
        inner.extend_from_slice(plaintext);
        inner.push(content_type);
        push_header(&mut out, content::TLS12_CID, explicit, connection_id, inner.len() + overhead);
        let additional = additional_data_with_id(explicit, connection_id, inner.len());
        keys.write.seal(keys.suite, explicit, &additional, &inner, &mut out);
    }
    out
}

/// Opens a protected record: its real content type and its plaintext.
///
/// # Errors
/// If it does not authenticate, or holds nothing but padding.
pub fn open(keys: &SessionKeys, record: &Record<'_>) -> Result<(u8, Vec<u8>), NotAuthentic> {
    let explicit = explicit(record.epoch, record.sequence);
    if record.content_type != content::TLS12_CID {
        let plaintext =
            keys.read.open(keys.suite, record.body, |length| additional_data(explicit, record.content_type, length))?;
        return Ok((record.content_type, plaintext));
    }
    let mut inner = keys
        .read
        .open(keys.suite, record.body, |length| additional_data_with_id(explicit, record.connection_id, length))?;
    // Zeros behind the content type are padding (RFC 9146 section 4).
    while inner.last() == Some(&0) {
        inner.pop();
    }
    let content_type = inner.pop().ok_or(NotAuthentic)?;
    Ok((content_type, inner))
}

/// Alerts (RFC 5246 section 7.2).
pub mod alert {
    /// Level: the session goes on.
    pub const WARNING: u8 = 1;
    /// Level: the session is over.
    pub const FATAL: u8 = 2;
    /// The sender will send no more.
    pub const CLOSE_NOTIFY: u8 = 0;
    /// Something came at the wrong time: clients that hear it begin anew.
    pub const UNEXPECTED_MESSAGE: u8 = 10;
    /// Something is wrong here; try again.
    pub const INTERNAL_ERROR: u8 = 80;
}

/// An unprotected alert of the first epoch.
#[must_use]
pub fn plain_alert(sequence: u64, level: u8, description: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + 2);
    push_header(&mut out, content::ALERT, explicit(0, sequence), &[], 2);
    out.extend_from_slice(&[level, description]);
    out
}

#[cfg(test)]
mod tests {
    use super::super::suite::Suite;
    use super::*;

    fn both_sides(suite: Suite) -> (SessionKeys, SessionKeys) {
        let derive = |server| SessionKeys::derive(suite, &[7; 48], &[1; 32], &[2; 32], server);
        (derive(false), derive(true))
    }

    #[test]
    fn what_one_side_seals_the_other_opens_with_and_without_connection_id() {
        for suite in [Suite::PskAes128Ccm8, Suite::PskAes128Ccm, Suite::PskAes128GcmSha256] {
            let (client, server) = both_sides(suite);
            for id in [&b""[..], b"12345678"] {
                let datagram = seal(&client, 1, 5, id, content::APPLICATION_DATA, b"hello");
                let (record, rest) = split_first(&datagram, 8).unwrap();
                assert!(rest.is_empty());
                assert_eq!((record.epoch, record.sequence, record.connection_id), (1, 5, id));
                assert_eq!(open(&server, &record).unwrap(), (content::APPLICATION_DATA, b"hello".to_vec()));
            }
        }
    }

    #[test]
    fn any_changed_byte_makes_a_record_unreadable() {
        let (client, server) = both_sides(Suite::PskAes128Ccm8);
        for id in [&b""[..], b"12345678"] {
            let datagram = seal(&client, 1, 5, id, content::APPLICATION_DATA, b"hello");
            for index in 0..datagram.len() {
                let mut forged = datagram.clone();
                forged[index] ^= 1;
                // The version is not looked at: its bytes are authenticated as the only ones there are.
                let version = index == 1 || index == 2;
                let opened = split_first(&forged, 8).and_then(|(record, _)| open(&server, &record).ok());
                assert!(version || opened.is_none(), "byte {index}");
            }
        }
    }

    #[test]
    fn zeros_behind_the_content_type_are_padding() {
        let (client, server) = both_sides(Suite::PskAes128Ccm8);
        let inner = [b'h', b'i', content::APPLICATION_DATA, 0, 0, 0];
        let explicit = explicit(1, 9);
        let mut datagram = Vec::new();
        push_header(&mut datagram, content::TLS12_CID, explicit, b"abcdefgh", inner.len() + 16);
        let additional = additional_data_with_id(explicit, b"abcdefgh", inner.len());
        client.write.seal(client.suite, explicit, &additional, &inner, &mut datagram);
        let (record, _) = split_first(&datagram, 8).unwrap();
        assert_eq!(open(&server, &record).unwrap(), (content::APPLICATION_DATA, b"hi".to_vec()));
    }

    #[test]
    fn several_records_stand_in_one_datagram_and_garbage_behind_them_ends_it() {
        let mut datagram = plain_alert(1, alert::FATAL, alert::CLOSE_NOTIFY);
        datagram.extend(plain_alert(2, alert::FATAL, alert::INTERNAL_ERROR));
        datagram.extend([22, 3, 3]);
        let (first, rest) = split_first(&datagram, 8).unwrap();
        let (second, rest) = split_first(rest, 8).unwrap();
        assert_eq!((first.sequence, second.sequence), (1, 2));
        assert_eq!(second.body, [2, 80]);
        assert_eq!(split_first(rest, 8), None);
    }

    #[test]
    fn keys_survive_the_store() {
        let (client, _) = both_sides(Suite::EcdheEcdsaAes128GcmSha256);
        assert_eq!(SessionKeys::from_bytes(&client.to_bytes()), Some(client.clone()));
        let mut unknown = client.to_bytes();
        unknown[0] = 0xFF;
        assert_eq!(SessionKeys::from_bytes(&unknown), None);
    }
}

//! Everything countable that happens inside the core, as one type: whoever sees it records it in one call.

/// A countable thing. Words are fixed and few, so that they can be labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Occurrence {
    /// A datagram arrived.
    DatagramReceived,
    /// A datagram left.
    DatagramSent,
    /// A datagram was dropped: `malformed`, `duplicate_pending`, `store_full`, `unknown_token`, ...
    DatagramDropped(&'static str),
    /// A ClientHello without a valid cookie was answered by one.
    HelloVerify,
    /// A DTLS handshake ended in a session: `full` or `resumed`, and the suite.
    Handshake(&'static str, &'static str),
    /// A DTLS handshake failed: `unknown_identity`, `wrong_key`, `no_common_suite`, `timeout`, ...
    HandshakeFailed(&'static str),
    /// A DTLS record was dropped: `malformed`, `not_authentic`, `replayed`, `unknown_session`, ...
    RecordDropped(&'static str),
    /// A DTLS session went on from another address.
    SessionMoved,
    /// A DTLS session ended so: `closed_by_peer`, `replaced`, `unused`, `credential_gone`, ...
    SessionEnded(&'static str),
    /// A peer connected over a stream transport.
    ConnectionOpened,
    /// A connection ended so: `closed_by_peer`, `aborted_by_peer`, `no_csm`, `too_large`, `silent`, ...
    ConnectionClosed(&'static str),
    /// A request of a device was answered: `register`, `update`, `deregister`, `send`, `bootstrap`, `other`; and the code's class.
    Request(&'static str, u8),
    /// A repeated request was answered from memory.
    DuplicateAnswered,
    /// A notification was taken.
    Notification,
    /// A notification came late and was only acknowledged.
    StaleNotification,
    /// Samples took this way: `mapped`, `ignored`, `unmapped`, `failed`.
    Sample(&'static str),
    /// A payload in this format could not be read.
    ContentError(u16),
    /// A bent standard was tolerated.
    Quirk(&'static str),
    /// A request to a device was repeated.
    Retransmission,
    /// A request to a device was given up.
    ExchangeTimedOut,
    /// A command ended so: `done`, `failed`, `expired`, `cancelled`, `unknown`, or was `queued` or `refused`.
    Command(&'static str),
    /// A peer was turned away: fixed word.
    Refused(&'static str),
    /// A message could not be used: fixed word.
    InboundIgnored(&'static str),
    /// A sink (by position) took so many messages.
    Delivered(usize, u64),
    /// A sink (by position) lost so many messages to a policy: fixed word.
    SpoolDropped(usize, &'static str, u64),
    /// Something reached its bound and gave way: name of the bound.
    BoundReached(&'static str),
    /// A bootstrap session ended so: `done`, `failed` or `refused`.
    BootstrapEnded(&'static str),
    /// A request to the API was turned away: `no_token`, `wrong_token`, `too_often`, `foreign`.
    ApiRefused(&'static str),
}

//! Messages to the cloud.

use bytes::Bytes;

/// MQTT quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum QualityOfService {
    /// Sent once, never acknowledged.
    AtMostOnce,
    /// Repeated until acknowledged.
    AtLeastOnce,
}

/// One message for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes: an MQTT topic without wildcards.
    pub topic: String,
    /// The body, UTF-8 JSON unless a mapping says otherwise. Empty clears a retained topic.
    pub payload: Bytes,
    /// Delivery guarantee of the last hop; the spool keeps the message until that is fulfilled.
    pub qos: QualityOfService,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// Correlation data of the request that this answers (MQTT 5).
    pub correlation: Option<Bytes>,
}

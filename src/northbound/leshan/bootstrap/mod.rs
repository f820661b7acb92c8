//! The `BootstrapConfig` of Leshan's bootstrap server, to and from the JSON of our device entries.
//!
//! ```text
//! {"servers":{id:..}, "security":{id:..}, "acls":{id:..}, "oscore":{id:..}, "toDelete":[..]}
//!        └─ shortId = serverId ─┘              │                │               │
//!                   ▼                          ▼                ▼               ▼
//! {"servers":[inline account, ..],          "acls":[..], "writes":{..}, "deletes":[..], "verify":false}
//! ```
//!
//! A security instance and the server of its id become one inline account, in the order of the security instances; one
//! with `bootstrapServer` becomes a bootstrap account. Four things differ from Leshan:
//!
//! - Instance ids are not kept: the bootstrap server always chooses free ones, as Leshan does with
//!   `autoIdForSecurityObject`. What is shown has the ids that Leshan's own page would give: bootstrap accounts from 0,
//!   the others behind them and from 1 at least.
//! - Secrets are shown empty. As an empty secret is wrong in Leshan too, a configuration that was read and is put
//!   again is refused, and the secrets stay what they are.
//! - A list of cipher suites and the link to an OSCORE instance have no place in an account; they are refused.
//! - `disableTimeout` is 86400 where none was put.

mod reading;
mod showing;
#[cfg(test)]
mod tests;

pub use reading::{Entry, entry_of};
pub use showing::configuration_of;

/// Numbers of a server instance, by Leshan's name and ours.
const SERVER_NUMBERS: [(&str, &str); 10] = [
    ("lifetime", "lifetime"),
    ("defaultMinPeriod", "default_min_period"),
    ("defaultMaxPeriod", "default_max_period"),
    ("disableTimeout", "disable_timeout"),
    ("registrationPriority", "registration_priority"),
    ("initialDelay", "initial_registration_delay"),
    ("communicationRetryCount", "communication_retry_count"),
    ("CommunicationRetryTimer", "communication_retry_timer"),
    ("SequenceDelayTimer", "communication_sequence_delay_timer"),
    ("SequenceRetryCount", "communication_sequence_retry_count"),
];

/// The same for booleans.
const SERVER_BOOLEANS: [(&str, &str); 5] = [
    ("notifIfDisabled", "notification_storing"),
    ("registrationFailure", "registration_failure_block"),
    ("bootstrapOnRegistrationFailure", "bootstrap_on_registration_failure"),
    ("trigger", "trigger"),
    ("muteSend", "mute_send"),
];

/// Security modes, by Leshan's name and ours, in the order of their numbers.
const SECURITY_MODES: [(&str, &str); 4] = [("PSK", "psk"), ("RPK", "rpk"), ("X509", "x509"), ("NO_SEC", "nosec")];

/// Names of the values of /0/x/6.
const SMS_SECURITY_MODES: [(&str, u64); 5] =
    [("RESERVED", 0), ("SPS_DEVICE", 1), ("SPS_SMARTCARD", 2), ("NO_SEC", 3), ("PROPRIETARY", 255)];

/// Names of the values of /0/x/13.
const MATCHING_TYPES: [(&str, u64); 4] = [("EXACT_MATCH", 0), ("SHA256", 1), ("SHA384", 2), ("SHA512", 3)];

/// Names of the values of /0/x/15.
const CERTIFICATE_USAGES: [(&str, u64); 4] = [
    ("CA_CONSTRAINT", 0),
    ("SERVICE_CERTIFICATE_CONSTRAINT", 1),
    ("TRUST_ANCHOR_ASSERTION", 2),
    ("DOMAIN_ISSUER_CERTIFICATE", 3),
];

/// Content formats that a bootstrap server writes: number, our name, Leshan's name, media type.
const FORMATS: [(u64, &str, &str, &str); 4] = [
    (11542, "tlv", "TLV", "application/vnd.oma.lwm2m+tlv"),
    (11543, "json", "JSON", "application/vnd.oma.lwm2m+json"),
    (110, "senml-json", "SENML_JSON", "application/senml+json"),
    (112, "senml-cbor", "SENML_CBOR", "application/senml+cbor"),
];

/// Resources of an OSCORE instance that are bytes, by Leshan's name and number.
const OSCORE_BYTES: [(&str, u16); 4] =
    [("oscoreMasterSecret", 0), ("oscoreSenderId", 1), ("oscoreRecipientId", 2), ("oscoreMasterSalt", 5)];

/// Those that are numbers.
const OSCORE_NUMBERS: [(&str, u16); 2] = [("oscoreAeadAlgorithm", 3), ("oscoreHmacAlgorithm", 4)];

/// The OSCORE object.
const OSCORE: u16 = 21;

//! What a simulated device is and how it behaves: its [`DeviceScript`].
//!
//! A script is data only. Everything that a device does differently from a well-made client stands in
//! [`Misbehaviour`], each flag named after what is seen on the wire.

use std::time::Duration;

use crate::model::path::Path;
use crate::model::value::Value;
use crate::model::version::Version;
use crate::protocol::coap::block::Block;
use crate::protocol::coap::message::Code;
use crate::protocol::content::ContentFormat;

use super::bootstrap_script::BootstrapScript;
use super::tree::ObjectTree;

/// Parameters of the CoAP message layer (RFC 7252 section 4.8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransmissionParameters {
    /// Least time before the first retransmission.
    pub ack_timeout: Duration,
    /// The first timeout is drawn between `ack_timeout` and this many times as much; at least 1.
    pub ack_random_factor: f64,
    /// Retransmissions after the first transmission.
    pub max_retransmit: u8,
}

impl Default for TransmissionParameters {
    fn default() -> Self {
        Self { ack_timeout: Duration::from_secs(2), ack_random_factor: 1.5, max_retransmit: 4 }
    }
}

/// Ways in which real devices bend the standard. All off by default.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is one independent fault that a test switches on")]
pub struct Misbehaviour {
    /// A reset of a notification does not cancel the observation.
    pub ignores_reset: bool,
    /// Notifications lack the Observe option.
    pub omits_observe_option: bool,
    /// Answers and notifications name this content format whatever they carry.
    pub claims_format: Option<ContentFormat>,
    /// Requests are acknowledged empty and answered by a separate confirmable response after this time.
    pub answers_after: Option<Duration>,
    /// Each datagram leaves twice.
    pub duplicates_datagrams: bool,
    /// Sleeps like a device in queue mode without having said so at registration.
    pub sleeps_unannounced: bool,
    /// Registers anew where it should send an Update.
    pub registers_instead_of_update: bool,
    /// A request with an Accept that is not supported is never answered.
    pub drops_unknown_accept: bool,
    /// Writes in TLV are refused with 4.15.
    pub refuses_tlv: bool,
    /// An observation ends when its notification was never acknowledged (RFC 7641 section 4.5 to the letter). By
    /// default the value is kept and sent after the server has been found again.
    pub forgets_observation_when_lost: bool,
    /// The registration carries these bytes instead of the object links.
    pub registers_with_payload: Option<Vec<u8>>,
    /// Every request is acknowledged empty, and no answer follows.
    pub acknowledges_and_falls_silent: bool,
    /// The same for FETCH and iPATCH alone, as Wakaama does.
    pub acknowledges_composites_and_falls_silent: bool,
    /// FETCH and iPATCH are refused with this code.
    pub refuses_composites: Option<Code>,
    /// Answers carry a token that nobody asked under.
    pub answers_under_other_token: bool,
    /// Block options of answers name the block after the right one.
    pub answers_with_next_block: bool,
    /// Values in answers and notifications stand under the next instance of their object.
    pub answers_for_next_instance: bool,
    /// Answers and notifications lack the Content-Format.
    pub omits_content_format: bool,
    /// The ETag of the first so many large bodies changes between their blocks.
    pub changes_etags: u32,
}

/// A resource whose value drifts by a bounded random walk.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// The resource; its value must be numeric or boolean.
    pub path: Path,
    /// Lower bound.
    pub minimum: f64,
    /// Upper bound.
    pub maximum: f64,
    /// Largest change of one step; a boolean flips with a probability of this.
    pub step: f64,
    /// Decimals that a float keeps.
    pub decimals: u8,
}

/// A profile id that a device registers with (Core TS 1.2.2 section 6.2.1). A server that does not know it answers 4.09
/// and gets the whole list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The `pid` parameter.
    pub id: String,
    /// The objects that need not be listed.
    pub objects: Vec<u16>,
}

/// Everything that makes up a simulated device.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent choice of the device's maker")]
pub struct DeviceScript {
    /// Endpoint name.
    pub endpoint: String,
    /// The LwM2M version of the first Register; a 4.12 steps it down.
    pub lwm2m: Version,
    /// Lifetime in seconds; 0 never ends.
    pub lifetime_secs: u32,
    /// The `b` parameter; `None` leaves it out. In LwM2M 1.0 queue mode appends its `Q` by itself.
    pub binding: Option<String>,
    /// Whether the device sleeps after its awake window and says so.
    pub queue_mode: bool,
    /// How long the device listens after its last message in queue mode.
    pub awake_window: Duration,
    /// Alternate root path without trailing slash (`/lwm2m`), or empty.
    pub root: String,
    /// More query arguments of Register.
    pub register_arguments: Vec<String>,
    /// The profile that stands for a part of the object list (1.2).
    pub profile: Option<Profile>,
    /// Objects, instances, resources.
    pub tree: ObjectTree,
    /// Format of answers without Accept and of notifications.
    pub default_format: ContentFormat,
    /// Whether a single resource is text (or opaque) instead, if nothing else was asked for.
    pub text_for_single_resources: bool,
    /// Formats that Accept and Content-Format may name.
    pub formats: Vec<ContentFormat>,
    /// Whether notifications are confirmable, unless the `con` attribute says otherwise.
    pub confirmable_notifications: bool,
    /// Format of Send. In others than SenML CBOR names lie below no alternate root.
    pub send_format: ContentFormat,
    /// Whether Send is confirmable.
    pub confirmable_send: bool,
    /// Time between Updates; `None` means half of the lifetime.
    pub update_interval: Option<Duration>,
    /// Wait after the first failed registration; doubles each time up to 32 times as much.
    pub registration_retry: Duration,
    /// The message layer.
    pub transmission: TransmissionParameters,
    /// Largest body of a write in blocks; more is answered 4.13.
    pub max_body_bytes: usize,
    /// Size exponent of the largest block that the device sends or takes, 0 to 6: 16 to 1,024 bytes.
    pub block_size_exponent: u8,
    /// What happens to a larger first block of a write: refused with 4.13 and the size to use, or taken with the size
    /// to use from then on.
    pub refuses_larger_blocks: bool,
    /// How it bootstraps; `None`: it knows its server from the start, and its host knows where that is.
    pub bootstrap: Option<BootstrapScript>,
    /// Faults.
    pub misbehaviour: Misbehaviour,
    /// Values that drift.
    pub walks: Vec<Walk>,
}

impl DeviceScript {
    /// A device of LwM2M 1.1 with nothing but its endpoint name: SenML CBOR, UDP, a day of lifetime.
    #[must_use]
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            lwm2m: Version::V1_1,
            lifetime_secs: 86_400,
            binding: Some("U".to_owned()),
            queue_mode: false,
            awake_window: Duration::from_secs(93),
            root: String::new(),
            register_arguments: Vec::new(),
            profile: None,
            tree: ObjectTree::default(),
            default_format: ContentFormat::SENML_CBOR,
            text_for_single_resources: false,
            formats: vec![
                ContentFormat::TEXT,
                ContentFormat::OPAQUE,
                ContentFormat::CBOR,
                ContentFormat::SENML_JSON,
                ContentFormat::SENML_CBOR,
                ContentFormat::TLV,
            ],
            confirmable_notifications: true,
            send_format: ContentFormat::SENML_CBOR,
            confirmable_send: true,
            update_interval: None,
            registration_retry: Duration::from_secs(10),
            transmission: TransmissionParameters::default(),
            max_body_bytes: 1024 * 1024,
            block_size_exponent: Block::MAX_SIZE_EXPONENT,
            refuses_larger_blocks: false,
            bootstrap: None,
            misbehaviour: Misbehaviour::default(),
            walks: Vec::new(),
        }
    }

    /// The same device as a client of another LwM2M version, with the formats of that version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.lwm2m = version;
        if version == Version::V1_0 {
            self.default_format = ContentFormat::TLV;
            self.formats =
                vec![ContentFormat::TEXT, ContentFormat::OPAQUE, ContentFormat::TLV, ContentFormat::OMA_JSON];
        } else if version > Version::V1_1 {
            self.formats.push(ContentFormat::LWM2M_CBOR);
        }
        self
    }

    /// Whether a request body may have this format: one of `formats`, or the SenML-ETCH form of one of them, which
    /// came with 1.2.
    #[must_use]
    pub(super) fn reads(&self, format: ContentFormat) -> bool {
        let plain = match format {
            ContentFormat::SENML_ETCH_JSON if self.lwm2m >= Version::V1_2 => ContentFormat::SENML_JSON,
            ContentFormat::SENML_ETCH_CBOR if self.lwm2m >= Version::V1_2 => ContentFormat::SENML_CBOR,
            other => other,
        };
        self.formats.contains(&plain)
    }

    /// Adds a resource that a server can read.
    #[must_use]
    pub fn with(mut self, path: Path, value: Value) -> Self {
        self.tree.set(path, value);
        self
    }

    /// Adds a resource that a server can read and write.
    #[must_use]
    pub fn with_writable(mut self, path: Path, value: Value) -> Self {
        self.tree.set(path, value);
        self.tree.allow_write(path);
        self
    }

    /// Adds a resource that a server can execute.
    #[must_use]
    pub fn with_executable(mut self, path: Path) -> Self {
        self.tree.add_executable(path);
        self
    }

    /// Adds a numeric resource that drifts between two bounds.
    #[must_use]
    pub fn with_walk(mut self, walk: Walk, start: Value) -> Self {
        self.tree.set(walk.path, start);
        self.walks.push(walk);
        self
    }

    /// Time between Updates; `None` if the registration never ends.
    #[must_use]
    pub(super) fn time_between_updates(&self) -> Option<Duration> {
        self.update_interval
            .or_else(|| (self.lifetime_secs > 0).then(|| Duration::from_millis(u64::from(self.lifetime_secs) * 500)))
    }
}

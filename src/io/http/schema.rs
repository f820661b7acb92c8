//! The shapes of requests and answers, for the OpenAPI document alone: the core makes the JSON itself.
//!
//! What may be absent or null is an `Option`. Objects may have more than stands here: later versions add.
#![expect(dead_code, reason = "the fields are read by the derive alone")]

pub(super) mod bootstrap;

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// Any JSON value.
#[derive(ToSchema)]
#[schema(value_type = Value)]
pub(super) struct AnyJson(Value);

/// An error.
#[derive(ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(ToSchema)]
pub(super) struct ErrorDetail {
    /// A fixed word.
    kind: String,
    /// For people.
    message: String,
    /// The field of the request that is wrong; of several, the first.
    #[schema(nullable = false)]
    field: Option<String>,
    /// Everything that is wrong, where that may be much.
    #[schema(nullable = false)]
    problems: Option<Vec<ToldProblem>>,
}

/// Something that is wrong with a request or a file.
#[derive(ToSchema)]
pub(super) struct ToldProblem {
    message: String,
    /// Such as `psk_key` or `servers[0].uri`; empty for the whole.
    #[schema(nullable = false)]
    field: Option<String>,
    #[schema(nullable = false)]
    file: Option<String>,
    line: Option<u64>,
    #[schema(nullable = false)]
    severity: Option<String>,
    hint: Option<String>,
}

/// A page of a list.
#[derive(ToSchema)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// `after` of the next page; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// A device as the gateway knows it.
#[derive(ToSchema)]
pub(super) struct DeviceRecord {
    endpoint: String,
    name: Option<String>,
    label: Option<String>,
    tags: Vec<String>,
    /// What was set for this device alone.
    settings: DeviceSettings,
    state: DeviceState,
    reason: String,
    /// When a disabled device is expected back.
    expected_at: Option<i64>,
    /// The device that it is behind, and its prefix there.
    gateway: Option<String>,
    prefix: Option<String>,
    registered_at: Option<i64>,
    last_seen_at: i64,
    lifetime_secs: Option<u64>,
    expires_at: Option<i64>,
    lwm2m_version: Option<String>,
    binding: Option<String>,
    queue_mode: bool,
    transport: String,
    address: String,
    identity: Option<String>,
    sms: Option<String>,
    objects: BTreeMap<String, RegisteredObject>,
    observations: Vec<ObservationState>,
    pending_commands: u64,
    bytes_in: u64,
    bytes_out: u64,
    quirks: Vec<String>,
    last_error: Option<String>,
}

/// Whether a device can be expected to answer.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum DeviceState {
    Online,
    Asleep,
    Offline,
}

/// An object of a registration.
#[derive(ToSchema)]
pub(super) struct RegisteredObject {
    version: Option<String>,
    instances: Vec<u16>,
}

/// An observation; of one path, or of several as one.
#[derive(ToSchema)]
pub(super) struct ObservationState {
    #[schema(nullable = false)]
    path: Option<String>,
    #[schema(nullable = false)]
    paths: Option<Vec<String>>,
    state: ObservationPhase,
    /// Notification attributes, such as pmin and pmax.
    attributes: BTreeMap<String, Value>,
}

/// Where an observation stands.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum ObservationPhase {
    Wanted,
    Active,
    Cancelling,
    Refused,
}

/// How a device is treated, over what the mapping says. In a change null gives a setting back to the mapping.
#[derive(ToSchema)]
pub(super) struct DeviceSettings {
    /// `auto`, `force` or `never`.
    #[schema(pattern = "^(auto|force|never)$")]
    queue_mode: Option<String>,
    #[schema(pattern = "^([0-9]+(ms|s|m|h|d))+$")]
    awake_window: Option<String>,
    #[schema(pattern = "^([0-9]+(ms|s|m|h|d))+$")]
    ack_timeout: Option<String>,
    /// A content format by name or number.
    write_format: Option<Value>,
}

/// What may be changed of a device. What is absent stays; null takes name or label away.
#[derive(ToSchema)]
pub(super) struct DeviceOptions {
    #[schema(min_length = 1, max_length = 63, pattern = "^[A-Za-z0-9]+$")]
    name: Option<String>,
    #[schema(min_length = 1, max_length = 63, pattern = "^[A-Za-z0-9]+$")]
    label: Option<String>,
    #[schema(max_items = 32, nullable = false)]
    tags: Option<Vec<String>>,
    settings: Option<DeviceSettings>,
}

/// The latest value of a key.
#[derive(ToSchema)]
pub(super) struct KeyValue {
    value: Value,
    ts: i64,
    #[schema(nullable = false)]
    path: Option<String>,
    #[schema(nullable = false)]
    unit: Option<String>,
}

/// A desired value.
#[derive(ToSchema)]
pub(super) struct DesiredValue {
    /// In the unit of the key.
    value: Value,
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    ttl: Option<String>,
    #[schema(nullable = false)]
    when_asleep: Option<WhenAsleep>,
}

/// What is wanted of a key, what is reported, and how the last attempt went.
#[derive(ToSchema)]
pub(super) struct TwinKey {
    desired: Value,
    applied: bool,
    path: Option<String>,
    reported: Option<Value>,
    last_attempt: Option<Value>,
}

/// A value that no rule took.
#[derive(ToSchema)]
pub(super) struct UnmappedValue {
    path: String,
    value: Value,
    ts: i64,
    count: u64,
    failures: Vec<String>,
}

/// A peer that was turned away.
#[derive(ToSchema)]
pub(super) struct RefusedPeer {
    endpoint: String,
    address: String,
    reason: String,
    count: u64,
    first_at: i64,
    last_at: i64,
}

/// What the mapping wants of a device.
#[derive(ToSchema)]
pub(super) struct MappingPlan {
    files: Vec<String>,
    settings: Value,
    observe: Vec<Value>,
    read: Vec<Value>,
}

/// Whether a device is up, and if not, why.
#[derive(ToSchema)]
pub(super) struct Diagnosis {
    endpoint: String,
    up: bool,
    state: String,
    summary: String,
    refused: Vec<RefusedPeer>,
}

/// What to do with a command for a device that sleeps.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum WhenAsleep {
    Queue,
    Try,
    Fail,
}

/// A command: the same as over MQTT.
#[derive(ToSchema)]
pub(super) struct CommandBody {
    #[schema(min_length = 1, max_length = 63, nullable = false)]
    id: Option<String>,
    /// What to do; absent for a named command of the mapping.
    #[schema(nullable = false)]
    operation: Option<OperationName>,
    #[schema(nullable = false)]
    path: Option<String>,
    #[schema(nullable = false)]
    paths: Option<Vec<String>>,
    value: Option<Value>,
    #[schema(nullable = false)]
    values: Option<BTreeMap<String, Value>>,
    #[schema(nullable = false)]
    arguments: Option<String>,
    #[schema(nullable = false)]
    attributes: Option<BTreeMap<String, Value>>,
    #[schema(nullable = false)]
    command: Option<String>,
    #[schema(nullable = false)]
    key: Option<String>,
    #[schema(nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    params: Option<BTreeMap<String, Value>>,
    #[schema(nullable = false)]
    format: Option<String>,
    #[schema(nullable = false)]
    ttl: Option<String>,
    #[schema(nullable = false)]
    timeout: Option<String>,
    #[schema(nullable = false)]
    priority: Option<i32>,
    #[schema(nullable = false)]
    not_before: Option<i64>,
    #[schema(nullable = false)]
    when_asleep: Option<WhenAsleep>,
}

/// What a command does.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum OperationName {
    Read,
    Discover,
    Observe,
    CancelObserve,
    Delete,
    Write,
    WriteUpdate,
    Execute,
    Create,
    WriteAttributes,
    ReadComposite,
    ObserveComposite,
    CancelObserveComposite,
    WriteComposite,
    Bootstrap,
    Cancel,
    Set,
}

/// Options of a request that becomes a command.
#[derive(ToSchema)]
pub(super) struct CommandOptions {
    #[schema(min_length = 1, max_length = 63, nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    ttl: Option<String>,
    #[schema(nullable = false)]
    when_asleep: Option<WhenAsleep>,
}

/// What is written: one value, or several by relative or full path.
#[derive(ToSchema)]
pub(super) struct WriteBody {
    value: Option<Value>,
    #[schema(nullable = false)]
    values: Option<BTreeMap<String, Value>>,
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    ttl: Option<String>,
    #[schema(nullable = false)]
    when_asleep: Option<WhenAsleep>,
}

/// Object: the values of the new instance. Resource: arguments of Execute.
#[derive(ToSchema)]
pub(super) struct CreateOrExecuteBody {
    #[schema(nullable = false)]
    values: Option<BTreeMap<String, Value>>,
    #[schema(nullable = false)]
    arguments: Option<String>,
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    ttl: Option<String>,
    #[schema(nullable = false)]
    when_asleep: Option<WhenAsleep>,
}

/// How a command stands or ended.
#[derive(ToSchema)]
pub(super) struct CommandResult {
    id: String,
    endpoint: String,
    #[schema(nullable = false)]
    operation: Option<String>,
    #[schema(nullable = false)]
    path: Option<String>,
    #[schema(nullable = false)]
    key: Option<String>,
    status: CommandStatus,
    #[schema(nullable = false)]
    ts: Option<i64>,
    /// The device's CoAP code, such as 2.05.
    #[schema(nullable = false)]
    code: Option<String>,
    value: Option<Value>,
    #[schema(nullable = false)]
    values: Option<BTreeMap<String, Value>>,
    #[schema(nullable = false)]
    error: Option<ErrorDetail>,
}

/// The words for how a command stands or ended.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum CommandStatus {
    Accepted,
    Queued,
    Done,
    Failed,
    Expired,
    Cancelled,
    Unknown,
}

/// How long devices without credentials may join.
#[derive(ToSchema)]
pub(super) struct JoinWindow {
    /// Up to 24h; 0s closes the window.
    #[schema(pattern = "^[0-9]{1,4}s$")]
    r#for: String,
}

/// How long devices may join now.
#[derive(ToSchema)]
pub(super) struct JoinWindowOpen {
    for_secs: u64,
}

/// Another filter of the log.
#[derive(ToSchema)]
pub(super) struct LogLevel {
    /// A filter in the syntax of tracing; absent: only tells.
    level: Option<String>,
}

/// Whether every part works.
#[derive(ToSchema)]
pub(super) struct Readiness {
    ready: bool,
    #[schema(nullable = false)]
    store: Option<String>,
    #[schema(nullable = false)]
    sinks: Option<BTreeMap<String, String>>,
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// Name, version and links.
#[derive(ToSchema)]
#[expect(clippy::struct_field_names, reason = "that is what it is called outside")]
pub(super) struct Links {
    name: String,
    version: String,
    links: BTreeMap<String, String>,
}

/// The process lives.
#[derive(ToSchema)]
pub(super) struct Alive {
    status: String,
}

/// Versions of an object that are known.
#[derive(ToSchema)]
pub(super) struct KnownObject {
    id: u16,
    name: Option<String>,
    versions: Vec<String>,
}

/// The definition of an object.
#[derive(ToSchema)]
pub(super) struct ObjectDefinition {
    id: u16,
    version: String,
    name: String,
    path_name: String,
    multiple: bool,
    mandatory: bool,
    lwm2m_version: String,
    resources: BTreeMap<String, ResourceDefinition>,
}

/// The definition of a resource.
#[derive(ToSchema)]
pub(super) struct ResourceDefinition {
    id: u16,
    name: String,
    path_name: String,
    operations: String,
    multiple: bool,
    mandatory: bool,
    #[schema(required)]
    r#type: Option<String>,
    range: String,
    unit: String,
}

/// Which server a credential opens.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum CredentialScope {
    Server,
    Bootstrap,
}

/// What a credential is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum CredentialMode {
    Psk,
    Rpk,
    X509,
    Nosec,
    Blocked,
}

/// How the text of a key is written.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum KeyFormat {
    Hex,
    Base64,
    Text,
}

/// A credential to put.
#[derive(ToSchema)]
pub(super) struct CredentialRequest {
    /// Needed in a list; else the address says it.
    #[schema(nullable = false)]
    endpoint: Option<String>,
    mode: CredentialMode,
    #[schema(nullable = false)]
    scope: Option<CredentialScope>,
    /// psk: up to 255 bytes; absent: the endpoint name.
    identity: Option<String>,
    /// psk: an identity that is no text.
    identity_hex: Option<String>,
    /// psk: 1 to 64 bytes; null: the gateway makes one and tells it once.
    key: Option<String>,
    key_format: Option<KeyFormat>,
    /// rpk: SubjectPublicKeyInfo, base64 of its DER, or PEM.
    #[schema(nullable = false)]
    public_key: Option<String>,
    /// x509: the subject of a certificate of a trusted authority, such as CN=node-1.
    #[schema(nullable = false)]
    subject: Option<String>,
    /// x509: one certificate and no other, PEM.
    #[schema(nullable = false)]
    certificate: Option<String>,
    /// Glob of further endpoint names that it opens.
    endpoints: Option<String>,
    /// How long the proof before stays valid.
    keep_old: Option<String>,
    /// The name of the device, for when it is known.
    name: Option<String>,
    tags: Option<Vec<String>>,
}

/// A credential, without what is secret.
#[derive(ToSchema)]
pub(super) struct Credential {
    endpoint: String,
    scope: CredentialScope,
    mode: CredentialMode,
    #[schema(nullable = false)]
    identity: Option<String>,
    #[schema(nullable = false)]
    identity_hex: Option<String>,
    #[schema(nullable = false)]
    public_key: Option<String>,
    #[schema(nullable = false)]
    subject: Option<String>,
    /// SHA-256 of the certificate.
    #[schema(nullable = false)]
    fingerprint: Option<String>,
    endpoints: Option<String>,
    created_at: i64,
    changed_at: i64,
    /// When a device registered by its newest proof last.
    last_used_at: Option<i64>,
    name: Option<String>,
    tags: Vec<String>,
    #[schema(nullable = false)]
    old: Option<FormerProof>,
}

/// The proof before, while it is valid.
#[derive(ToSchema)]
pub(super) struct FormerProof {
    mode: CredentialMode,
    until: i64,
}

/// A credential that was put.
#[derive(ToSchema)]
pub(super) struct PutCredential {
    endpoint: String,
    scope: CredentialScope,
    mode: CredentialMode,
    created: bool,
    /// The key that was made, in hex.
    #[schema(nullable = false)]
    key: Option<String>,
}

/// What became of each credential of a list, in its order.
#[derive(ToSchema)]
pub(super) struct CredentialResults {
    items: Vec<CredentialResult>,
    created: u64,
    changed: u64,
    failed: u64,
    dry_run: bool,
}

/// What became of a credential.
#[derive(ToSchema)]
pub(super) struct CredentialResult {
    #[schema(nullable = false)]
    endpoint: Option<String>,
    #[schema(nullable = false)]
    scope: Option<CredentialScope>,
    status: CredentialStatus,
    /// The key that was made, in hex.
    #[schema(nullable = false)]
    key: Option<String>,
    #[schema(nullable = false)]
    error: Option<ErrorDetail>,
}

/// `not_taken`: it is right, but others were wrong.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum CredentialStatus {
    Created,
    Changed,
    Failed,
    NotTaken,
}

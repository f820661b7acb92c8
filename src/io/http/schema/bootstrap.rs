//! Shapes of the bootstrap server's routes.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// Which kind of server an account is for.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::io::http) enum ServerKind {
    Management,
    Bootstrap,
}

/// What carries CoAP to the server.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::io::http) enum AccountTransport {
    Udp,
    Tcp,
}

/// How device and server prove who they are.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::io::http) enum SecurityMode {
    Nosec,
    Psk,
    Rpk,
    X509,
}

/// Where an account or entry comes from. What comes from the file is changed there.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::io::http) enum EntrySource {
    File,
    Api,
    BuiltIn,
}

/// A server account to put: an instance of the Security object (0) with one of the Server object (1). Times are in
/// seconds. Keys and certificates are PEM, hex or base64. Texts may hold `{endpoint}`, `{name}` and `{serial}`.
#[derive(ToSchema)]
pub(in crate::io::http) struct BootstrapServerRequest {
    r#type: Option<ServerKind>,
    transport: Option<AccountTransport>,
    /// Absent: the lowest that the device's other accounts leave free.
    #[schema(minimum = 1, maximum = 65534)]
    ssid: Option<u32>,
    /// `host`, `host:port` or a whole URI; absent: this gateway.
    uri: Option<String>,
    binding: Option<String>,
    lifetime: Option<u32>,
    client_hold_off_time: Option<u32>,
    bootstrap_server_account_timeout: Option<u32>,
    default_min_period: Option<u32>,
    default_max_period: Option<u32>,
    disable_timeout: Option<u32>,
    notification_storing: Option<bool>,
    security_mode: Option<SecurityMode>,
    /// Absent: the endpoint name.
    psk_identity: Option<String>,
    /// A key for all devices that get the account, or `{"random": 32}`: so many bytes, 1 to 64, made for each device.
    psk_key: Option<Value>,
    /// Absent: made for each device.
    client_public_key: Option<Value>,
    /// Absent: made for each device, and signed by the gateway's own authority.
    client_certificate: Option<Value>,
    client_private_key: Option<Value>,
    /// Absent: that of this gateway.
    server_public_key: Option<Value>,
    /// Absent: that of this gateway.
    server_certificate: Option<Value>,
    #[schema(minimum = 0, maximum = 3)]
    certificate_usage: Option<u8>,
    matching_type: Option<u8>,
    sni: Option<String>,
    sms_number: Option<String>,
    sms_security_mode: Option<u8>,
    sms_binding_key_parameters: Option<Value>,
    sms_binding_secret_key: Option<Value>,
    registration_priority: Option<u32>,
    initial_registration_delay: Option<u32>,
    registration_failure_block: Option<bool>,
    bootstrap_on_registration_failure: Option<bool>,
    communication_retry_count: Option<u32>,
    communication_retry_timer: Option<u32>,
    communication_sequence_delay_timer: Option<u32>,
    communication_sequence_retry_count: Option<u32>,
    trigger: Option<bool>,
    preferred_transport: Option<String>,
    mute_send: Option<bool>,
    /// Object and instance, such as `11:0`.
    apn_link: Option<String>,
    /// `none`, `self`, or another server that is told of the device:
    /// `{"type":"leshan|thingsboard|coiote","url":..,"user":..,"password":..,"domain":..}`.
    provision: Option<Value>,
}

/// A server account. What is secret is told as `{"secret": true}`.
#[derive(ToSchema)]
pub(in crate::io::http) struct BootstrapServer {
    name: String,
    /// Stays the same while the account lives.
    id: String,
    source: EntrySource,
    created_at: Option<i64>,
    changed_at: Option<i64>,
    /// Whether this request made it.
    #[schema(nullable = false)]
    created: Option<bool>,
    /// Nothing was changed.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    r#type: ServerKind,
    transport: AccountTransport,
    security_mode: SecurityMode,
    ssid: Option<u32>,
    uri: Option<String>,
    binding: String,
    /// With the other fields of the Server object: not of a bootstrap account, which has none.
    lifetime: Option<u32>,
    psk_identity: Option<String>,
    psk_key: Option<Value>,
    provision: Option<Value>,
}

/// A device entry to put.
#[derive(ToSchema)]
pub(in crate::io::http) struct BootstrapDeviceRequest {
    /// Names of accounts, and whole accounts, in the order in which they are written.
    servers: Option<Vec<Value>>,
    /// Further values by path.
    writes: Option<BTreeMap<String, Value>>,
    /// What is deleted first; absent: what was there of the objects that are written.
    deletes: Option<Vec<String>>,
    acls: Option<Vec<AccessControlRequest>>,
    /// A content format by name or number; absent: what the device prefers.
    format: Option<Value>,
    /// How much one write carries.
    write_by: Option<WriteBy>,
    /// Objects in the order in which they are written.
    order: Option<Vec<u16>>,
    /// Whether what was written is read back.
    verify: Option<bool>,
}

/// An instance of the Access Control object (2).
#[derive(ToSchema)]
pub(in crate::io::http) struct AccessControlRequest {
    object: u16,
    instance: Option<u16>,
    owner: Option<u16>,
    /// Rights by short server id.
    acl: Option<BTreeMap<String, u16>>,
}

/// How much one Bootstrap-Write carries.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::io::http) enum WriteBy {
    Instance,
    Object,
}

/// What the devices get that an entry is for.
#[derive(ToSchema)]
pub(in crate::io::http) struct BootstrapDevice {
    /// An endpoint name or a pattern of such.
    name: String,
    #[schema(nullable = false)]
    source: Option<EntrySource>,
    created_at: Option<i64>,
    changed_at: Option<i64>,
    /// Whether this request made it.
    #[schema(nullable = false)]
    created: Option<bool>,
    /// Nothing was changed.
    #[schema(nullable = false)]
    dry_run: Option<bool>,
    /// Names of accounts, and whole accounts.
    #[schema(nullable = false)]
    servers: Option<Vec<Value>>,
    #[schema(nullable = false)]
    writes: Option<BTreeMap<String, Value>>,
    deletes: Option<Vec<String>>,
    #[schema(nullable = false)]
    acls: Option<Vec<Value>>,
    format: Option<Value>,
    write_by: Option<WriteBy>,
    order: Option<Vec<u16>>,
    verify: Option<bool>,
}

/// How many entries were removed.
#[derive(ToSchema)]
pub(in crate::io::http) struct RemovedEntries {
    removed: u64,
}

/// An account for a device entry.
#[derive(ToSchema)]
pub(in crate::io::http) struct ServerToAdd {
    /// The name of an account, or a whole account.
    server: Value,
}

/// How a bootstrap session stands or ended.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::io::http) enum SessionOutcome {
    Running,
    Waiting,
    Done,
    Failed,
    Refused,
}

/// A bootstrap session.
#[derive(ToSchema)]
pub(in crate::io::http) struct BootstrapSession {
    id: String,
    endpoint: String,
    address: String,
    transport: String,
    identity: Option<String>,
    started_at: i64,
    ended_at: Option<i64>,
    outcome: SessionOutcome,
    /// Why it failed or was refused.
    reason: Option<String>,
    /// The LwM2M version, where the device told it.
    version: Option<String>,
    #[schema(nullable = false)]
    steps: Option<Vec<SessionStep>>,
}

/// One exchange of a session.
#[derive(ToSchema)]
pub(in crate::io::http) struct SessionStep {
    at: i64,
    duration_ms: Option<u64>,
    /// `request` of the device, `discover`, `delete`, `write`, `read`, `finish` and the like.
    operation: String,
    path: Option<String>,
    /// The device's answer, such as 2.04.
    code: Option<String>,
    detail: Option<String>,
}

/// A device that asked and that no entry fits.
#[derive(ToSchema)]
pub(in crate::io::http) struct PendingDevice {
    endpoint: String,
    address: String,
    identity: Option<String>,
    first_at: i64,
    last_at: i64,
    count: u64,
    /// Whether its session is still held, so that it goes on at once.
    waiting: bool,
}

/// A device that was let in.
#[derive(ToSchema)]
pub(in crate::io::http) struct ApprovedDevice {
    endpoint: String,
    /// Whether its session goes on now; else its next attempt succeeds.
    waiting: bool,
}

/// What a device is let in with.
#[derive(ToSchema)]
pub(in crate::io::http) struct Approval {
    /// Names of accounts, or (for an admin) whole accounts; absent: what the entry `*` says.
    servers: Option<Vec<Value>>,
}

//! What stands on the command line, as `clap` reads it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::units::{UnitError, parse_duration};
use crate::protocol::content::ContentFormat;

/// Edge gateway: LwM2M devices in, MQTT and HTTP out, commands back.
#[derive(Clone, Debug, Parser)]
#[command(name = "lwm2mqtt", version, propagate_version = true, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the gateway.
    Run(RunArguments),
    /// Show everything in one process: broker, gateway and simulated devices; nothing is left behind.
    Demo(DemoArguments),
    /// Run a fleet of simulated devices against any LwM2M server.
    Simulate(SimulateArguments),
    /// Check configuration, mappings and the mappings' examples; tells every problem.
    Check(ConfigArguments),
    /// Tell what becomes of a value: which rule takes it, or why none does.
    Explain(ExplainArguments),
    /// Decode one payload, or one CoAP message.
    Decode(DecodeArguments),
    /// Print a JSON Schema.
    Schema(SchemaArguments),
    /// Let devices without credentials join for a while.
    PermitJoin(PermitJoinArguments),
    /// Look at and talk to devices of a running gateway.
    Device(DeviceArguments),
    /// Show the decoded CoAP messages of a device, live.
    Trace(TraceArguments),
    /// Make mapping files.
    Mapping(MappingArguments),
    /// Turn the bootstrap configuration of another server into a fragment of the configuration file.
    Import(ImportFromArguments),
}

/// How the running gateway is reached.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayArguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// The running gateway [default: $LWM2MQTT_URL, the one of the configuration]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Token of its API [default: $LWM2MQTT_TOKEN, one of the configuration where the URL is from there too]
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// PEM file with the authorities to believe for https, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// `device`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DeviceArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: DeviceCommand,
}

/// What `device` does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum DeviceCommand {
    /// List the devices.
    List(DeviceListArguments),
    /// Show what the gateway knows of a device.
    Show(OneDeviceArguments),
    /// Tell whether a device is up, and if not why.
    Why(OneDeviceArguments),
    /// Read a resource, an instance or an object.
    Read(ResourceArguments),
    /// Write a resource.
    Write(WriteArguments),
    /// Execute a resource.
    Execute(ExecuteArguments),
    /// Forget a device and its credential, or lift a block.
    Remove(OneDeviceArguments),
    /// Give a device a credential; a key that is made is told once.
    Add(AddArguments),
    /// Refuse a device from now on.
    Block(BlockArguments),
    /// Give many devices credentials, from a file.
    Import(ImportArguments),
}

/// `device list`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DeviceListArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Only devices whose endpoint or name has this text
    #[arg(value_name = "TEXT")]
    pub search: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `device show`, `why` and `remove`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OneDeviceArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Its name or endpoint name
    #[arg(value_name = "D")]
    pub device: String,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `device read`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ResourceArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Its name or endpoint name
    #[arg(value_name = "D")]
    pub device: String,
    /// What, such as /3303/0/5700 or /temperature/0/sensor_value
    #[arg(value_name = "PATH")]
    pub path: String,
    /// How long to wait for a sleeping device
    #[arg(long, value_name = "D", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Answer with the whole result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `device write`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WriteArguments {
    /// Device and resource.
    #[command(flatten)]
    pub resource: ResourceArguments,
    /// The value, as JSON or text
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub value: String,
}

/// `device execute`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ExecuteArguments {
    /// Device and resource.
    #[command(flatten)]
    pub resource: ResourceArguments,
    /// Arguments, such as 0='5'
    #[arg(value_name = "ARGUMENTS")]
    pub arguments: Option<String>,
}

/// `device add`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AddArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Its endpoint name
    #[arg(value_name = "EP")]
    pub endpoint: String,
    /// What the credential is.
    #[command(flatten)]
    pub means: MeansArguments,
    /// Identity of the pre-shared key [default: the endpoint name]
    #[arg(long, value_name = "I", conflicts_with_all = ["identity_hex", "rpk", "x509", "subject", "nosec"])]
    pub identity: Option<String>,
    /// Identity that is no text, hexadecimal
    #[arg(long, value_name = "HEX", conflicts_with_all = ["rpk", "x509", "subject", "nosec"])]
    pub identity_hex: Option<String>,
    /// File with the key, - for standard input [default: $LWM2MQTT_DEVICE_KEY, else one is made and told once]
    #[arg(long, value_name = "F", conflicts_with_all = ["rpk", "x509", "subject", "nosec"])]
    pub key_file: Option<PathBuf>,
    /// How the key is written [default: hex]
    #[arg(long, value_name = "FORMAT", value_enum, conflicts_with_all = ["rpk", "x509", "subject", "nosec"])]
    pub key_format: Option<KeyFormatArgument>,
    /// Which server it opens [default: server]
    #[arg(long, value_name = "SCOPE", value_enum)]
    pub scope: Option<ScopeArgument>,
    /// Further endpoint names that it opens, such as nrf-*
    #[arg(long, value_name = "GLOB")]
    pub endpoints: Option<String>,
    /// How long the proof before stays valid, such as 24h
    #[arg(long, value_name = "D", value_parser = duration)]
    pub keep_old: Option<Duration>,
    /// Name of the device
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Tag of the device; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Draw a QR code of a key that is made, even if the output is no terminal
    #[arg(long)]
    pub qr: bool,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// What a credential is.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(required = true, multiple = false)]
pub struct MeansArguments {
    /// A pre-shared key
    #[arg(long)]
    pub psk: bool,
    /// A raw public key: file with it in PEM or base64
    #[arg(long, value_name = "FILE")]
    pub rpk: Option<PathBuf>,
    /// This certificate and no other: PEM file
    #[arg(long, value_name = "FILE")]
    pub x509: Option<PathBuf>,
    /// Subject of a certificate of a trusted authority, such as CN=node-1
    #[arg(long, value_name = "S")]
    pub subject: Option<String>,
    /// No proof at all
    #[arg(long)]
    pub nosec: bool,
}

/// How the text of a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyFormatArgument {
    /// Hexadecimal
    Hex,
    /// Base64
    Base64,
    /// The text is the key
    Text,
}

impl KeyFormatArgument {
    /// The word of the interfaces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Text => "text",
        }
    }
}

/// Which server a credential opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeArgument {
    /// The LwM2M server
    Server,
    /// The bootstrap server
    Bootstrap,
}

impl ScopeArgument {
    /// The word of the interfaces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Bootstrap => "bootstrap",
        }
    }
}

/// `device block`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct BlockArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Its name or endpoint name, known or not
    #[arg(value_name = "D")]
    pub device: String,
    /// Which server refuses it [default: server]
    #[arg(long, value_name = "SCOPE", value_enum)]
    pub scope: Option<ScopeArgument>,
}

/// `device import`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ImportArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// CSV with the columns endpoint,mode,identity,key,key_format,name,tags,scope, or JSON; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Put none unless all are right
    #[arg(long)]
    pub all_or_nothing: bool,
    /// Answer with what became of each as JSON
    #[arg(long)]
    pub json: bool,
}

/// `trace`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TraceArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Its name or endpoint name
    #[arg(value_name = "D")]
    pub device: String,
    /// For how long; Ctrl-C ends it earlier
    #[arg(long = "for", value_name = "D", default_value = "5m", value_parser = duration)]
    pub duration: Duration,
    /// Also write the messages to a file for Wireshark (pcapng)
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Lines as JSON
    #[arg(long)]
    pub json: bool,
}

/// `import`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ImportFromArguments {
    /// Whose it is
    #[arg(value_name = "SERVER", value_enum)]
    pub from: ImportedServer,
    /// JSON: what GET /api/bootstrap of Leshan answers, or its file; what configure of lwm2m-bs-server takes; a device
    /// profile of ThingsBoard, credentials of devices beside it; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Whose configuration it is, where the file does not say: an endpoint name or pattern
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
}

/// Servers whose bootstrap configuration is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportedServer {
    /// ThingsBoard.
    Thingsboard,
    /// Leshan's bootstrap server.
    Leshan,
    /// The npm package lwm2m-bs-server.
    BsServer,
}

/// `mapping`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct MappingArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: MappingCommand,
}

/// What `mapping` does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum MappingCommand {
    /// Print a mapping file to start from, made of what a device registered.
    New(NewMappingArguments),
}

/// `mapping new`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct NewMappingArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// Its name or endpoint name
    #[arg(value_name = "D")]
    pub device: String,
}

/// Where the configuration is.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigArguments {
    /// Configuration file [default: $LWM2MQTT_CONFIG, /etc/lwm2mqtt/config.toml, ./config.toml, built-in defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `run`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct RunArguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Refuse to start with a broken mapping instead of using the last good one.
    #[arg(long)]
    pub strict: bool,
}

/// `demo`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DemoArguments {
    /// End after so many seconds [default: at Ctrl-C]
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Simulated devices
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub devices: u32,
    /// The devices know nothing but a bootstrap server, which tells them where to register and with which key
    #[arg(long)]
    pub bootstrap: bool,
    /// UDP port of the LwM2M server; 0: a free one
    #[arg(long, value_name = "P", default_value_t = 5683)]
    pub lwm2m_port: u16,
    /// TCP port of the MQTT broker; 0: a free one
    #[arg(long, value_name = "P", default_value_t = 1883)]
    pub mqtt_port: u16,
    /// TCP port of the HTTP API; 0: a free one
    #[arg(long, value_name = "P", default_value_t = 8080)]
    pub http_port: u16,
}

/// `simulate`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SimulateArguments {
    /// The server: coap, coaps, coap+tcp or coaps+tcp://HOST[:PORT]
    #[arg(long, value_name = "URI")]
    pub server: String,
    /// Simulated devices
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub devices: u32,
    /// The server is a bootstrap server: it tells the devices where to register
    #[arg(long)]
    pub bootstrap: bool,
    /// Time between the reports of one device
    #[arg(long, value_name = "D", default_value = "10s", value_parser = duration)]
    pub interval: Duration,
    /// End after so many seconds [default: at Ctrl-C]
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Start of the PSK identities and endpoint names
    #[arg(long, value_name = "TEXT")]
    pub psk_prefix: Option<String>,
    /// File with the secret of the pre-shared keys; each key is HMAC-SHA-256 of the identity under it [default: the first
    /// 16 bytes of SHA-256 of the identity]
    #[arg(long, value_name = "FILE")]
    pub psk_key_file: Option<PathBuf>,
    /// Registrations started in a second; 0: all at once
    #[arg(long, value_name = "N")]
    pub registrations_per_second: Option<u32>,
    /// What the devices are
    #[arg(long, value_enum, default_value_t = SimulatedKind::Mixed)]
    pub kind: SimulatedKind,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

/// What simulated devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulatedKind {
    /// Weather stations, smart plugs, trackers and battery sleepers in turn.
    Mixed,
    /// Temperature, humidity, pressure.
    WeatherStation,
    /// One temperature each, for measuring throughput.
    Thermometer,
}

/// `explain`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ExplainArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// The resource, such as /3303/0/5700 or /temperature/0/sensor_value
    #[arg(long, value_name = "PATH")]
    pub path: String,
    /// Endpoint name of the device that reports it
    #[arg(long, value_name = "E", conflicts_with = "device")]
    pub endpoint: Option<String>,
    /// The value, as JSON or text
    #[arg(long, value_name = "V", allow_hyphen_values = true)]
    pub value: Option<String>,
    /// A device that the running gateway knows
    #[arg(long, value_name = "D")]
    pub device: Option<String>,
    /// A mapping file to try instead of the current ones
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `decode`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DecodeArguments {
    /// Content format, by number or name: text, link, opaque, cbor, senml-json, senml-cbor, tlv, json, lwm2m-cbor
    #[arg(long, value_name = "F", value_parser = content_format, required_unless_present = "coap")]
    pub format: Option<ContentFormat>,
    /// Path of the request or observation, such as /3/0
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// The bytes are a whole CoAP message
    #[arg(long, conflicts_with = "format")]
    pub coap: bool,
    /// The bytes, hexadecimal; blanks and colons are skipped
    #[arg(value_name = "HEX")]
    pub hex: String,
}

/// What `schema` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// config.toml
    Config,
    /// A mapping file
    Mapping,
}

/// `schema`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct SchemaArguments {
    /// Which files to describe
    pub of: SchemaOf,
}

/// `permit-join`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct PermitJoinArguments {
    /// How the gateway is reached.
    #[command(flatten)]
    pub gateway: GatewayArguments,
    /// For how long, such as 60s or 5m; 0s closes the window
    #[arg(value_name = "D", value_parser = duration)]
    pub duration: Duration,
}

fn duration(text: &str) -> Result<Duration, UnitError> {
    parse_duration(text)
}

fn content_format(text: &str) -> Result<ContentFormat, String> {
    ContentFormat::parse(text).ok_or_else(|| {
        let names: Vec<&str> = ContentFormat::NAMES.iter().map(|(name, _)| *name).collect();
        format!("no content format has this name; use a number or one of {}", names.join(", "))
    })
}

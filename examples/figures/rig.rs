//! A mosquitto and a gateway of their own on the loopback interface, and what the system says of their use.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::authority::Authority;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(30);

/// One rule without the least period of a second that is usual, so that devices report as often as they like.
const MAPPING: &str = "version = 1\n[[telemetry]]\npath = \"/3303/0/5700\"\nkey = \"temperature\"\n\
    observe = { pmin = \"0s\" }\n";

/// How the gateway is set.
#[derive(Clone, Copy, Default)]
pub(crate) struct Settings {
    /// Lines of the section `[store]`; empty means the defaults.
    pub(crate) store: &'static str,
    /// Further lines of the section `[lwm2m]`.
    pub(crate) lwm2m: &'static str,
    /// Whether it listens for DTLS.
    pub(crate) dtls: bool,
    /// Whether it has a bootstrap server, which tells whoever has a key to register over DTLS.
    pub(crate) bootstrap: bool,
    /// Whether the built-in mapping is used, else one rule for temperatures.
    pub(crate) default_mapping: bool,
}

/// The two programs; both end with it.
pub(crate) struct Rig {
    gateway: Child,
    mosquitto: Child,
    /// Where devices find the gateway.
    pub(crate) lwm2m: SocketAddr,
    /// The same over DTLS.
    pub(crate) dtls: SocketAddr,
    /// Where they find its bootstrap server, over DTLS.
    pub(crate) bootstrap: SocketAddr,
    /// The LwM2M server over TCP.
    pub(crate) lwm2m_tcp: SocketAddr,
    /// Port of the broker.
    pub(crate) mqtt: u16,
    /// Port of the API.
    pub(crate) http: u16,
    folder: TempDir,
}

impl Rig {
    /// Starts both and waits until the gateway has its broker.
    pub(crate) async fn start(settings: Settings) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("figures-").tempdir_in(data_folder()?)?;
        let (mqtt, http) = (free_tcp_port()?, free_tcp_port()?);
        let lwm2m = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let dtls = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let bootstrap = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let lwm2m_tcp = SocketAddr::from((Ipv4Addr::LOCALHOST, free_tcp_port()?));
        let mosquitto = start_mosquitto(folder.path(), mqtt)?;
        let Settings { store, lwm2m: lines, default_mapping, .. } = settings;
        let (dtls_listener, secure) = if settings.dtls {
            write_certificates(folder.path())?;
            (dtls.to_string(), "certificate = \"server.crt\"\nprivate_key = \"server.key\"\ntrust = [\"ca.crt\"]\n")
        } else {
            ("off".to_owned(), "")
        };
        let bootstrap_section = if settings.bootstrap {
            format!(
                "[bootstrap]\nudp = \"off\"\ndtls = \"{bootstrap}\"\nunknown_devices = \"template\"\n\
                 [bootstrap.device.\"*\"]\nservers = [\"management-psk\"]\n"
            )
        } else {
            String::new()
        };
        let config = format!(
            "version = 1\n[gateway]\nname = \"figures\"\ndata_dir = \"data\"\ndefault_mapping = {default_mapping}\n\
             [store]\n{store}\n\
             [log]\nlevel = \"error\"\n\
             [lwm2m]\nudp = \"{lwm2m}\"\ntcp = \"{lwm2m_tcp}\"\ndtls = \"{dtls_listener}\"\n\
             unknown_devices = \"accept\"\n{secure}{lines}\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\n\
             [sink.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{mqtt}\"\n{bootstrap_section}"
        );
        fs::create_dir(folder.path().join("mappings"))?;
        if !default_mapping {
            fs::write(folder.path().join("mappings/temperature.toml"), MAPPING)?;
        }
        fs::write(folder.path().join("config.toml"), config)?;
        let gateway = start_gateway(folder.path())?;
        let mut rig = Self { gateway, mosquitto, lwm2m, dtls, bootstrap, lwm2m_tcp, mqtt, http, folder };
        rig.wait_until_ready(http).await?;
        Ok(rig)
    }

    /// Ends the gateway as a power cut would, and starts it again with its data.
    pub(crate) async fn restart(&mut self) -> Outcome<()> {
        self.gateway.kill()?;
        self.gateway.wait()?;
        self.gateway = start_gateway(self.folder.path())?;
        self.wait_until_ready(self.http).await
    }

    /// Where its configuration lies.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks its API to take something.
    pub(crate) async fn post(&self, path: &str, body: &serde_json::Value) -> Outcome<()> {
        let body = body.to_string();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.http)).await?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            self.http,
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        if answer.starts_with("HTTP/1.1 2") { Ok(()) } else { Err(answer.chars().take(500).collect::<String>().into()) }
    }

    async fn wait_until_ready(&mut self, http: u16) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_ready(http).await {
            if let Some(status) = self.gateway.try_wait()? {
                return Err(format!("the gateway ended: {status}").into());
            }
            if Instant::now() > deadline {
                return Err("the gateway is not ready: GET /readyz has no answer 200".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// What the gateway used so far.
    pub(crate) fn usage(&self) -> Outcome<Usage> {
        Usage::of(self.gateway.id())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in [&mut self.gateway, &mut self.mosquitto] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a process used since it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time, of user and system together.
    pub(crate) cpu: Duration,
    /// Resident memory in KiB.
    pub(crate) resident_kib: u64,
    /// Bytes that it caused to be written to disk.
    pub(crate) written_bytes: u64,
}

impl Usage {
    fn of(process: u32) -> Outcome<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}"));
        let field = |text: &str, name: &str| -> Outcome<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or(format!("no {name} in /proc"))?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        // The name of the program may hold spaces; it ends with the last parenthesis.
        let stat = read("stat")?;
        let after_name = stat.rsplit_once(')').ok_or("an unknown form of /proc/PID/stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks: u64 =
            fields.get(11..13).unwrap_or_default().iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Self {
            cpu: Duration::from_millis(ticks * 1_000 / ticks_per_second()),
            resident_kib: field(&read("status")?, "VmRSS:")?,
            written_bytes: field(&read("io")?, "write_bytes:")?,
        })
    }
}

fn ticks_per_second() -> u64 {
    let answer = Command::new("getconf").arg("CLK_TCK").output().ok();
    answer.and_then(|answer| String::from_utf8(answer.stdout).ok()?.trim().parse().ok()).unwrap_or(100)
}

/// The program that is measured.
pub(crate) fn binary() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/lwm2mqtt");
    std::env::var_os("LWM2MQTT_BINARY").map_or_else(built, PathBuf::from)
}

/// Where the gateway keeps its data: on a real disk, which a temporary folder may not be.
pub(crate) fn data_folder() -> Outcome<PathBuf> {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/figures");
    let folder = std::env::var_os("FIGURES_FOLDER").map_or_else(built, PathBuf::from);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// An authority, and what it vouches for: `server` and `device`.
fn write_certificates(folder: &Path) -> Outcome<()> {
    let authority = Authority::make("authority");
    fs::write(folder.join("ca.crt"), authority.certificate())?;
    authority.issue("gateway").write(folder, "server");
    authority.issue("figures-x509").write(folder, "device");
    Ok(())
}

fn start_gateway(folder: &Path) -> Outcome<Child> {
    let binary = binary();
    Command::new(&binary)
        .arg("run")
        .arg("--config")
        .arg(folder.join("config.toml"))
        .current_dir(folder)
        .env_remove("LWM2MQTT_CONFIG")
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", binary.display()).into())
}

fn start_mosquitto(folder: &Path, port: u16) -> Outcome<Child> {
    let file = folder.join("mosquitto.conf");
    // Without bounds, or the broker would drop what the subscriber is too slow for.
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_inflight_messages 0\n\
         max_queued_messages 0\nset_tcp_nodelay true\nsys_interval 1\nlog_dest none\n"
    );
    fs::write(&file, config)?;
    Command::new("mosquitto")
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("mosquitto does not start: {error}").into())
}

fn free_tcp_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

async fn is_ready(http: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, http)).await.ok()?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{http}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer.starts_with("HTTP/1.1 200"))
    };
    timeout(Duration::from_secs(2), ask).await.ok().flatten().unwrap_or(false)
}

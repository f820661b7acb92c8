//! `lwm2mqtt simulate`: a fleet of simulated devices against any LwM2M server.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::gateway::configuration::Transport;
use crate::io::files;
use crate::io::fleet::{FleetConfiguration, run_fleet_until};
use crate::model::credential::SecretBytes;
use crate::simulator::scripts::DeviceKind;
use crate::simulator::statistics::FleetReport;

/// The default port of `coap://` and `coap+tcp://`.
const COAP_PORT: u16 = 5683;
/// That of their secure forms.
const COAPS_PORT: u16 = 5684;

/// What to run.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// `coap://HOST[:PORT]`, `coaps://HOST[:PORT]`, `coap+tcp://HOST[:PORT]` or `coaps+tcp://HOST[:PORT]`.
    pub server: String,
    /// Number of devices.
    pub devices: u32,
    /// Time between reports of a device; zero: the next as soon as the last was acknowledged.
    pub interval: Duration,
    /// Length of the run; `None`: until Ctrl-C.
    pub duration: Option<Duration>,
    /// Start of the endpoint names, which are the identities of pre-shared keys too.
    pub endpoint_prefix: Option<String>,
    /// File with the secret that the pre-shared keys come from; `None`: keys that anybody can compute.
    pub psk_key_file: Option<PathBuf>,
    /// Registrations started in a second; `None`: the fleet's own pace.
    pub registrations_per_second: Option<f64>,
    /// What the devices are.
    pub kind: DeviceKind,
    /// Whether the server is a bootstrap server, which tells the devices where to register.
    pub bootstrap: bool,
}

/// Runs the fleet on this thread.
///
/// # Errors
/// In words for the operator: an address that cannot be used, too few files allowed.
pub fn simulate(simulation: &Simulation) -> Result<FleetReport, String> {
    let (transport, server) = server_address(&simulation.server)?;
    if simulation.bootstrap && transport.is_stream() {
        return Err("simulated devices bootstrap over coap:// and coaps:// only".to_owned());
    }
    let mut configuration = FleetConfiguration::new(server, simulation.devices);
    configuration.bootstraps = simulation.bootstrap;
    configuration.transport = transport;
    configuration.interval = simulation.interval;
    configuration.duration = simulation.duration;
    configuration.kind = simulation.kind;
    configuration.psk_secret = simulation.psk_key_file.as_deref().map(read_secret).transpose()?;
    if let Some(prefix) = &simulation.endpoint_prefix {
        configuration.endpoint_prefix.clone_from(prefix);
    }
    if let Some(pace) = simulation.registrations_per_second {
        configuration.registrations_per_second = pace;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let stop = async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        run_fleet_until(configuration, stop).await.map_err(|error| error.to_string())
    })
}

/// The text of a file without its line end, like every secret in a file.
fn read_secret(file: &Path) -> Result<SecretBytes, String> {
    let text = files::read_text(file).map_err(|error| format!("{}: {error}", file.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{} is empty", file.display())),
        secret => Ok(SecretBytes::new(secret.as_bytes())),
    }
}

fn server_address(uri: &str) -> Result<(Transport, SocketAddr), String> {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err(format!("'{uri}' is no server address; write it like coap://127.0.0.1:5683"));
    };
    let transports = [Transport::Udp, Transport::Dtls, Transport::Tcp, Transport::Tls];
    let Some(transport) = transports.into_iter().find(|transport| transport.scheme() == scheme) else {
        return Err(format!("{scheme}:// is not known; use coap://, coaps://, coap+tcp:// or coaps+tcp://"));
    };
    let port = if transport.is_secure() { COAPS_PORT } else { COAP_PORT };
    let authority = rest.split('/').next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
        !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && (!host.contains(':') || host.ends_with(']'))
    });
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let mut found = with_port.to_socket_addrs().map_err(|error| format!("'{authority}': {error}"))?;
    let address = found.next().ok_or_else(|| format!("'{authority}' has no address"))?;
    Ok((transport, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_with_or_without_port() {
        for (uri, transport, address) in [
            ("coap://127.0.0.1", Transport::Udp, "127.0.0.1:5683"),
            ("coap://127.0.0.1:99/", Transport::Udp, "127.0.0.1:99"),
            ("coap://[::1]", Transport::Udp, "[::1]:5683"),
            ("coap+tcp://[::1]:77", Transport::Tcp, "[::1]:77"),
            ("coap+tcp://127.0.0.1", Transport::Tcp, "127.0.0.1:5683"),
            ("coaps+tcp://127.0.0.1", Transport::Tls, "127.0.0.1:5684"),
            ("coaps://127.0.0.1", Transport::Dtls, "127.0.0.1:5684"),
            ("coaps://[::1]:77", Transport::Dtls, "[::1]:77"),
        ] {
            assert_eq!(server_address(uri), Ok((transport, address.parse().unwrap())), "{uri}");
        }
        for refused in ["127.0.0.1", "mqtt://127.0.0.1", "coap://"] {
            assert!(server_address(refused).is_err(), "{refused}");
        }
    }
}

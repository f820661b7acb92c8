//! Questions of commands to a running gateway, over its HTTP API.

use std::net::{SocketAddr, ToSocketAddrs as _};

use serde_json::Value;

use super::arguments::ConfigArguments;
use crate::config::{Sources, load};
use crate::io::http::client;

/// Why the gateway gave no answer, and whether a file or the command line is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The command line or the configuration; what to tell.
    Wrong(String),
    /// Anything else; what to tell.
    Failed(String),
}

/// Environment variable that names the gateway.
const URL_VARIABLE: &str = "LWM2MQTT_URL";

/// The address of the running gateway: that of the URL, else of the variable, else of the configuration.
pub(super) fn address(
    url: Option<&str>,
    config: &ConfigArguments,
    sources: &Sources<'_>,
) -> Result<SocketAddr, NoAnswer> {
    let from_variable = || sources.variables.get(URL_VARIABLE).map(String::as_str).filter(|url| !url.is_empty());
    let Some(url) = url.or_else(from_variable) else {
        let loaded = load(config.config.as_deref(), sources);
        let Some(settings) = loaded.settings else {
            let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
            return Err(NoAnswer::Wrong(problems.join("\n")));
        };
        let off = || NoAnswer::Failed("error: http.listen is \"off\": the gateway cannot be asked".to_owned());
        return settings.http.listen.first().copied().ok_or_else(off);
    };
    let host = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let host = host.filter(|host| !host.is_empty() && !host.contains(['/', '@', '?', '#']));
    let Some(host) = host else {
        return Err(NoAnswer::Wrong(format!("error: '{url}' is no URL such as http://127.0.0.1:8080")));
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
    let resolved = with_port.to_socket_addrs().map(|mut addresses| addresses.next());
    match resolved {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(NoAnswer::Failed(format!("error: {host} has no address"))),
        Err(error) => Err(NoAnswer::Failed(format!("error: {host}: {error}"))),
    }
}

/// Asks; anything but a success is no answer.
pub(super) fn ask(address: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> Result<Value, NoAnswer> {
    let body = body.map(Value::to_string);
    let response = client::request(address, method, path, body.as_deref())
        .map_err(|error| NoAnswer::Failed(format!("error: no gateway answers at http://{address}: {error}")))?;
    let json: Value = serde_json::from_str(&response.body).unwrap_or_default();
    if (200..300).contains(&response.status) {
        return Ok(json);
    }
    let message = json["error"]["message"].as_str().unwrap_or("no reason given");
    Err(NoAnswer::Failed(format!("error: the gateway refused ({}): {message}", response.status)))
}

/// A name as one segment of a path.
pub(super) fn encode_segment(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

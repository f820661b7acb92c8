//! Questions of commands to a running gateway, over its HTTP API.

use std::io;

use serde_json::Value;

use super::arguments::GatewayArguments;
use super::{Ending, Terminal};
use crate::config::{HttpSettings, ReadError, Sources, load};
use crate::gateway::configuration::Role;
use crate::io::http::api_client::{ApiClient, ApiResponse, ServerSentEvent};
use crate::io::http_client::{Place, Remote, Trust};

/// Why the gateway gave no answer, and whether a file or the command line is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The command line or the configuration; what to tell.
    Wrong(String),
    /// Anything else; what to tell.
    Failed(String),
}

impl NoAnswer {
    /// Tells it.
    pub(super) fn tell(self, terminal: &mut Terminal<'_>) -> io::Result<Ending> {
        let (ending, reason) = match self {
            Self::Wrong(reason) => (Ending::Wrong, reason),
            Self::Failed(reason) => (Ending::Failed, reason),
        };
        terminal.complain(&reason)?;
        Ok(ending)
    }
}

/// Environment variables that name the gateway and the token for it.
const URL_VARIABLE: &str = "LWM2MQTT_URL";
const TOKEN_VARIABLE: &str = "LWM2MQTT_TOKEN";

/// The running gateway.
pub(super) struct Gateway {
    client: ApiClient,
}

impl Gateway {
    /// The gateway of the URL, else of the variable, else of the configuration.
    pub(super) fn of(arguments: &GatewayArguments, sources: &Sources<'_>) -> Result<Self, NoAnswer> {
        let variable = |name: &str| sources.variables.get(name).filter(|value| !value.is_empty()).cloned();
        let url = arguments.url.clone().or_else(|| variable(URL_VARIABLE));
        let token = arguments.token.clone().or_else(|| variable(TOKEN_VARIABLE));
        let mut client = match url {
            Some(url) => of_url(&url, arguments, sources)?,
            None => of_configuration(arguments, sources)?,
        };
        if token.is_some() {
            client.token = token;
        }
        Ok(Self { client })
    }

    /// Asks; anything but a success is no answer.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, NoAnswer> {
        let (status, json) = self.ask_for_any(method, path, body)?;
        if (200..300).contains(&status) { Ok(json) } else { Err(refused(status, &json)) }
    }

    /// Asks; every answer is one, by its status.
    pub(super) fn ask_for_any(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), NoAnswer> {
        let body = body.map(Value::to_string);
        let response = self.client.request(method, path, body.as_deref()).map_err(|error| self.silent(&error))?;
        Ok((response.status, json_of(&response)))
    }

    /// Follows a stream until it ends or `take` says `false`.
    pub(super) fn follow(&self, path: &str, take: &mut dyn FnMut(ServerSentEvent) -> bool) -> Result<(), NoAnswer> {
        match self.client.follow(path, take) {
            Ok(None) => Ok(()),
            Ok(Some(response)) => Err(refused(response.status, &json_of(&response))),
            Err(error) => Err(self.silent(&error)),
        }
    }

    fn silent(&self, error: &io::Error) -> NoAnswer {
        NoAnswer::Failed(format!("error: no gateway answers at {}: {error}", self.client.url()))
    }
}

fn json_of(response: &ApiResponse) -> Value {
    serde_json::from_str(&response.body).unwrap_or_default()
}

/// What to tell of an answer that is none.
pub(super) fn refused(status: u16, json: &Value) -> NoAnswer {
    let message = json["error"]["message"].as_str().unwrap_or("no reason given");
    let hint = if status == 401 { "; give a token by --token or $LWM2MQTT_TOKEN" } else { "" };
    NoAnswer::Failed(format!("error: the gateway refused ({status}): {message}{hint}"))
}

fn of_url(url: &str, arguments: &GatewayArguments, sources: &Sources<'_>) -> Result<ApiClient, NoAnswer> {
    let wrong = || NoAnswer::Wrong(format!("error: '{}' is no URL such as http://127.0.0.1:8080", without_user(url)));
    let place = Place::parse(url).filter(|place| place.path.is_empty()).ok_or_else(wrong)?;
    let trust = if place.is_secure { Trust::Authorities(authorities(arguments, sources)?) } else { Trust::Plain };
    let remote = Remote { host: place.host.to_owned(), port: place.port, trust };
    Ok(ApiClient { remote, token: None })
}

/// A URL as it may be shown: whoever wrote a password into it did so by mistake.
fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => url.to_owned(),
    }
}

fn authorities(arguments: &GatewayArguments, sources: &Sources<'_>) -> Result<Option<Vec<u8>>, NoAnswer> {
    let Some(path) = &arguments.ca else { return Ok(None) };
    match (sources.read_text)(path) {
        Ok(text) => Ok(Some(text.into_bytes())),
        Err(ReadError::NotFound) => Err(NoAnswer::Wrong(format!("error: --ca: there is no file {}", path.display()))),
        Err(ReadError::Other(reason)) => {
            Err(NoAnswer::Wrong(format!("error: --ca: {} cannot be read: {reason}", path.display())))
        }
    }
}

fn of_configuration(arguments: &GatewayArguments, sources: &Sources<'_>) -> Result<ApiClient, NoAnswer> {
    let loaded = load(arguments.config.config.as_deref(), sources);
    let Some(settings) = loaded.settings else {
        let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        return Err(NoAnswer::Wrong(problems.join("\n")));
    };
    let HttpSettings { listen, tls, tokens, .. } = settings.http;
    let off = || NoAnswer::Failed("error: http.listen is \"off\": the gateway cannot be asked".to_owned());
    let address = listen.first().ok_or_else(off)?;
    // Whoever listens on every address is reached by loopback.
    let host = match address.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.to_string(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.to_string(),
        ip => ip.to_string(),
    };
    let trust = match tls {
        None => Trust::Plain,
        Some(tls) => {
            let certificate = tls.certificate();
            certificate.map_or(Trust::Authorities(None), |certificate| Trust::Exactly(Box::new(certificate)))
        }
    };
    // Who may read the configuration may do everything anyway.
    let strongest = tokens.iter().max_by_key(|token: &&crate::config::HttpToken| -> Role { token.role });
    let token = strongest.map(|token| token.secret.expose().to_owned());
    Ok(ApiClient { remote: Remote { host, port: address.port(), trust }, token })
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

/// The path of a device in the API.
pub(super) fn device_path(device: &str) -> String {
    format!("/api/v1/devices/{}", encode_segment(device))
}

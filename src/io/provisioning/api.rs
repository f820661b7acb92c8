//! Requests to another server's API, and what to tell an operator when they fail.

use std::fmt::Write as _;
use std::io;

use hyper::header::{self, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::shown;
use crate::gateway::bootstrap::orders::ProvisionCredential;
use crate::io::http_client::{Place, Remote, Times, Trust};
use crate::model::bootstrap::ProvisionTarget;

/// Longest response taken: they describe one device.
const MAX_BODY_BYTES: usize = 256 << 10;

/// Longest part of a server's own words that is repeated, in characters.
const MAX_TOLD_CHARACTERS: usize = 200;

/// Shortest secret that is looked for in a server's words: shorter ones are in every text.
const MIN_SECRET_BYTES: usize = 4;

/// What goes with a request.
pub(super) enum Body<'a> {
    None,
    Json(&'a Value),
    Form(&'a [(&'a str, &'a str)]),
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `Null` if it is no JSON.
    pub(super) json: Value,
    text: String,
}

impl Answer {
    /// Whether it was done.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// One server's API, for one device.
pub(super) struct Api<'a> {
    pub(super) target: &'a ProvisionTarget,
    remote: Remote,
    /// In front of the paths of the API.
    base: &'a str,
    times: Times,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What no error may hold.
    secrets: Vec<String>,
}

impl<'a> Api<'a> {
    /// Reads the address of the target.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn new(
        target: &'a ProvisionTarget,
        credential: &ProvisionCredential,
        times: Times,
    ) -> Result<Self, String> {
        let place = Place::parse(&target.url).ok_or_else(|| {
            format!("{}: its url cannot be read: write it like https://host:port, without a user", shown(target))
        })?;
        let trust = if place.is_secure { Trust::Authorities(None) } else { Trust::Plain };
        let remote = Remote { host: place.host.to_owned(), port: place.port, trust };
        let mut api = Self { target, remote, base: place.path, times, headers: Vec::new(), secrets: Vec::new() };
        if let Some(password) = &target.password {
            api.keep_secret(password.expose());
        }
        if let ProvisionCredential::Psk { key, .. } = credential {
            api.keep_secret(key.expose());
        }
        Ok(api)
    }

    fn keep_secret(&mut self, secret: &[u8]) {
        if secret.len() < MIN_SECRET_BYTES {
            return;
        }
        self.secrets.extend(std::str::from_utf8(secret).ok().map(str::to_owned));
        self.secrets.push(data_encoding::HEXLOWER.encode(secret));
        self.secrets.push(data_encoding::BASE64_NOPAD.encode(secret));
    }

    /// User and password.
    ///
    /// # Errors
    /// If one is missing, or the password is no text.
    pub(super) fn login(&self) -> Result<(&'a str, &'a str), String> {
        let ProvisionTarget { user, password, .. } = self.target;
        let (Some(user), Some(password)) = (user, password) else {
            return Err(self.told("needs a user and a password: give provision both"));
        };
        let password = std::str::from_utf8(password.expose());
        Ok((user, password.map_err(|_| self.told("the password of provision is no text"))?))
    }

    /// Adds a header that proves who asks to all requests from here on.
    ///
    /// # Errors
    /// If `value` has characters that no header has.
    pub(super) fn authorize(&mut self, name: HeaderName, scheme: &str, value: &str) -> Result<(), String> {
        self.keep_secret(value.as_bytes());
        let mut value = HeaderValue::from_str(&format!("{scheme} {value}"))
            .map_err(|_| self.told("gave a token with characters that none can have"))?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(())
    }

    /// The same for `Authorization: Bearer`, or another header in place of `Authorization`.
    pub(super) fn authorize_by_token(&mut self, name: HeaderName, token: &Value) -> Result<(), String> {
        let Some(token) = token.as_str() else {
            return Err(
                self.told("took user and password but gave no token: check that provision.type fits the server")
            );
        };
        self.authorize(name, "Bearer", token)
    }

    /// Sends one request and takes the answer, whatever it says.
    ///
    /// # Errors
    /// If there is none.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Body<'_>) -> Result<Answer, String> {
        let mut headers = self.headers.clone();
        headers.push((header::ACCEPT, HeaderValue::from_static("application/json")));
        let (content_type, body) = match body {
            Body::None => (None, String::new()),
            Body::Json(value) => (Some("application/json"), value.to_string()),
            Body::Form(fields) => (Some("application/x-www-form-urlencoded"), query(fields)),
        };
        headers.extend(content_type.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind))));
        let path = format!("{}{path}", self.base);
        let answer = async {
            let request = self.remote.request(method, &path, &headers, body.as_bytes())?;
            self.remote.ask(request, self.times, MAX_BODY_BYTES).await
        };
        let response = answer.await.map_err(|error| self.unreachable(&error))?;
        let json = serde_json::from_slice(&response.body).unwrap_or_default();
        Ok(Answer { status: response.status, json, text: String::from_utf8_lossy(&response.body).into_owned() })
    }

    /// The same; an answer that says anything but that it was done is an error.
    ///
    /// # Errors
    /// If it was not done. `what` says in a few words what was to be done.
    pub(super) async fn demand(&self, method: &str, path: &str, body: Body<'_>, what: &str) -> Result<Answer, String> {
        let answer = self.ask(method, path, body).await?;
        if answer.is_success() { Ok(answer) } else { Err(self.refused(&answer, what)) }
    }

    /// An error that begins with where the server is.
    pub(super) fn told(&self, what: &str) -> String {
        format!("{}: {what}", shown(self.target))
    }

    fn unreachable(&self, error: &io::Error) -> String {
        // Reasons of TLS hide behind one another.
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !reason.contains(&inner_text) {
                let _ = write!(reason, ": {inner_text}");
            }
            source = inner.source();
        }
        let reason = self.shown(&reason).unwrap_or_else(|| "no reason given".to_owned());
        self.told(&format!("cannot be asked: {reason}: check the url of provision, and whether the server runs"))
    }

    /// Why something was not done, and what to do about it.
    pub(super) fn refused(&self, answer: &Answer, what: &str) -> String {
        let advice = match answer.status {
            300..=399 => "it sends elsewhere, which is not followed: give provision the final url",
            401 | 403 => "check user and password of provision, and what the user may do",
            404 => "check the url and type of provision",
            429 => "it is asked too often: devices try again",
            500.. => "look into the server's own log; devices try again",
            _ => "check what the device gets against what the server takes",
        };
        let words = ["message", "error", "errorMsg", "reason"];
        let said = words.iter().find_map(|word| answer.json[word].as_str()).unwrap_or(&answer.text);
        let said = self.shown(said).map(|said| format!(" \"{said}\"")).unwrap_or_default();
        self.told(&format!("{what} was refused with {}{said}: {advice}", answer.status))
    }

    /// What a server or library said, in one line; `None` if there is nothing to show, or a secret in it.
    fn shown(&self, said: &str) -> Option<String> {
        let folded = said.to_ascii_lowercase();
        let has_secret = self.secrets.iter().any(|secret| folded.contains(&secret.to_ascii_lowercase()));
        // Pages for browsers say nothing in a line.
        if has_secret || folded.trim_start().starts_with('<') {
            return None;
        }
        let said = said.replace(|c: char| c.is_control(), " ");
        let said = said.trim();
        let mut shown: String = said.chars().take(MAX_TOLD_CHARACTERS).collect();
        if shown.len() < said.len() {
            shown.push('…');
        }
        (!shown.is_empty()).then_some(shown)
    }
}

/// A segment of a path, or a name or value of a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Names and values as in a query or a form.
pub(super) fn query(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    fields.join("&")
}

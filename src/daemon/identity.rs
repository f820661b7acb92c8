//! The server's identity over a run: read at start, read anew at a reload, watched for its end.
//!
//! [`IdentityKeeper`] lives on the shell's thread. A new identity goes to those who asked for it by
//! [`IdentityKeeper::subscribe`]: the handshakes of DTLS and of TLS, which use it for those that begin from then on.
//! Files that cannot be used change nothing: the identity in force stays, and an alarm says why.

use std::time::{Duration, Instant};

use super::sources::with_sources;
use crate::config::{SecuritySettings, Settings};
use crate::gateway::vocabulary::Input;
use crate::io::clock::{wall_is_trusted, wall_now};
use crate::io::secure::identity::{IdentityFiles, ServerIdentity};
use crate::io::secure::own;
use crate::model::time::WallTime;

/// So long before its end a certificate is spoken of.
const NOTICE: Duration = Duration::from_secs(30 * 86_400);

/// How often the end is looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

/// How often, while nobody knows what time it is.
const UNTRUSTED_INTERVAL: Duration = Duration::from_secs(30);

/// Hears of a new identity. It must not wait for anything.
type Subscriber = Box<dyn Fn(&ServerIdentity) + Send>;

/// The identity in force, and where it comes from.
pub struct IdentityKeeper {
    settings: Settings,
    files: IdentityFiles,
    identity: ServerIdentity,
    subscribers: Vec<Subscriber>,
    /// Why the files as they are now cannot be used.
    failure: Option<String>,
    /// What the core was told last: failure and end.
    told: (Option<String>, Option<String>),
    look_at: Option<Instant>,
}

impl IdentityKeeper {
    /// Reads the identity, and makes one where none is configured. An expired certificate is no error here: devices
    /// with pre-shared keys do not look at it.
    ///
    /// # Errors
    /// Names the file and what to do.
    pub fn start(settings: &Settings) -> Result<Self, String> {
        let files = files(settings, &settings.lwm2m.security)?;
        let identity = ServerIdentity::load(&files)?;
        introduce(&identity);
        Ok(Self {
            settings: settings.clone(),
            files,
            identity,
            subscribers: Vec::new(),
            failure: None,
            told: (None, None),
            look_at: None,
        })
    }

    /// The identity in force.
    #[must_use]
    pub fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    /// Has somebody told of each new identity.
    pub fn subscribe(&mut self, subscriber: impl Fn(&ServerIdentity) + Send + 'static) {
        self.subscribers.push(Box::new(subscriber));
    }

    /// Reads the files anew. What the core hears of it comes from the next [`Self::look`].
    pub fn reload(&mut self) {
        self.reload_at(trusted_wall());
    }

    fn reload_at(&mut self, wall: Option<WallTime>) {
        self.look_at = None;
        match self.read(wall) {
            Ok(None) => self.failure = None,
            Ok(Some((files, identity))) => {
                self.failure = None;
                (self.files, self.identity) = (files, identity);
                introduce(&self.identity);
                for subscriber in &self.subscribers {
                    subscriber(&self.identity);
                }
            }
            Err(error) => {
                tracing::error!(error, "the server's identity in force stays");
                self.failure = Some(format!("{error}; the identity before stays in force"));
            }
        }
    }

    /// A new identity, unless nothing changed.
    fn read(&self, wall: Option<WallTime>) -> Result<Option<(IdentityFiles, ServerIdentity)>, String> {
        let security = with_sources(|sources| self.settings.lwm2m.security.reread(sources))?;
        let files = files(&self.settings, &security)?;
        if files == self.files {
            return Ok(None);
        }
        let identity = ServerIdentity::load(&files)?;
        wall.map_or(Ok(()), |wall| identity.check_validity(wall))?;
        Ok(Some((files, identity)))
    }

    /// Looks for the end of the certificate when it is time to; what the core has to hear, if that changed.
    pub fn look(&mut self, now: Instant) -> Option<Input> {
        if self.look_at.is_some_and(|at| at > now) {
            return None;
        }
        let wall = trusted_wall();
        self.look_at = Some(now + if wall.is_some() { LOOK_INTERVAL } else { UNTRUSTED_INTERVAL });
        self.health(wall)
    }

    fn health(&mut self, wall: Option<WallTime>) -> Option<Input> {
        let expiry = match wall {
            Some(wall) => expiry(&self.identity, wall),
            None => self.told.1.clone(),
        };
        let health = (self.failure.clone(), expiry);
        if health == self.told {
            return None;
        }
        self.told.clone_from(&health);
        let (failure, expiry) = health;
        Some(Input::IdentityHealth { failure, expiry })
    }
}

/// Wall time, if it can be trusted.
fn trusted_wall() -> Option<WallTime> {
    wall_is_trusted().then(wall_now)
}

/// The texts of an identity: those that are configured, or those of the data folder.
fn files(settings: &Settings, security: &SecuritySettings) -> Result<IdentityFiles, String> {
    let pair = if let Some(pair) = security.configured_pair() {
        pair
    } else {
        let gateway = &settings.gateway;
        // A clock that nobody set would make a certificate that ends before devices see it.
        let wall = wall_now().max(crate::io::clock::NOT_BEFORE);
        let own = own::load_or_make(&gateway.data_dir, &gateway.name, wall)?;
        if own.is_new {
            tracing::info!(file = own.certificate.name, "a certificate was made for this gateway");
        }
        (own.certificate, own.private_key)
    };
    Ok(security.identity_files(pair))
}

/// What devices have to know, which is no secret.
fn introduce(identity: &ServerIdentity) {
    let fingerprint = data_encoding::HEXLOWER.encode(&identity.fingerprint());
    tracing::info!("certificate of this server: {}, SHA-256 {fingerprint}", identity.certificate_name);
    if let Some(key) = identity.raw_public_key_base64() {
        tracing::info!("raw public key of this server: {key}");
    }
    for warning in identity.warnings() {
        tracing::warn!("{warning}");
    }
}

/// What is to be said of a certificate's end, if it is near.
fn expiry(identity: &ServerIdentity, wall: WallTime) -> Option<String> {
    let name = &identity.certificate_name;
    if let Err(error) = identity.check_validity(wall) {
        return Some(error);
    }
    let ends = identity.expires_at();
    let notice = i64::try_from(NOTICE.as_millis()).unwrap_or(i64::MAX);
    (ends <= wall.shifted(notice))
        .then(|| format!("{name}: the certificate expires on {}: replace it and reload", identity.last_day()))
}

#[cfg(test)]
mod tests;

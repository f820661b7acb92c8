//! One observation, of a path or of several paths as one, from wish to end.
//!
//! ```text
//! Wanted ──attributes written──▶ Wanted ──2.05 with Observe──▶ Active ──unwanted──▶ Cancelling ──▶ gone
//!   ▲  │ 4.xx                                                   │  │
//!   │  └──▶ Refused (until the next Register or reload)         │  └ quiet for 3 × pmax: Cancelling, then Wanted
//!   └───────────── error notification, new Register ────────────┘
//! ```
//!
//! At most one observation exists for a [`Target`]: a live one is cancelled before it is made anew, since some devices
//! stall when they are observed twice.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::attributes::NotificationAttributes;
use crate::model::path::Path;
use crate::model::time::Instant;
use crate::protocol::coap::message::Token;

/// What one request observes or reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One path: GET.
    Path(Path),
    /// Several paths, sorted, each once: FETCH (Core TS 1.2.2 sections 6.3.9 and 6.4.4).
    Composite(Arc<[Path]>),
}

impl Target {
    /// Several paths as one target.
    pub fn composite(paths: &[Path]) -> Self {
        let mut paths = paths.to_vec();
        paths.sort_unstable();
        paths.dedup();
        Self::Composite(paths.into())
    }

    /// Its paths.
    pub fn paths(&self) -> &[Path] {
        match self {
            Self::Path(path) => std::slice::from_ref(path),
            Self::Composite(paths) => paths,
        }
    }

    /// Where the values of an answer lie: the path, or anywhere below the root.
    pub fn base(&self) -> Path {
        match self {
            Self::Path(path) => *path,
            Self::Composite(_) => Path::ROOT,
        }
    }

    /// Whether a value of this path was asked for.
    pub fn covers(&self, path: &Path) -> bool {
        self.paths().iter().any(|asked| asked.contains(path))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Composite(paths) => {
                for (position, path) in paths.iter().enumerate() {
                    write!(f, "{}{path}", if position == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// Where an observation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// To be made; nothing before `not_before`.
    Wanted {
        /// For how many paths of the target the attributes are on the device.
        attributes_written: usize,
        /// After a failure: when to try again.
        not_before: Option<Instant>,
    },
    /// Made; notifications carry `token`.
    Active {
        /// Ties notifications to this observation.
        token: Token,
        /// Observe value of the newest notification, and when it came.
        newest: Option<(u32, Instant)>,
        /// When the device reported last.
        heard_at: Instant,
    },
    /// To be ended at the device; then made anew if still wanted.
    Cancelling {
        /// Token of the observation to end.
        token: Token,
    },
    /// The device would not: its code.
    Refused {
        /// The code byte.
        code: u8,
    },
}

/// An observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Where it stands.
    pub phase: Phase,
    /// Attributes that the mapping wants; of a composite where the paths differ, the shortest periods.
    pub attributes: NotificationAttributes,
    /// Where the paths of a composite want different attributes: those of each, in the order of the paths.
    pub own_attributes: Option<Box<[NotificationAttributes]>>,
    /// Whether the mapping wants it.
    pub by_mapping: bool,
    /// Whether a command made it: values also go to the `notify` topic.
    pub by_command: bool,
}

impl Observation {
    /// Quiet for so many maximum periods: the watchdog observes anew.
    pub const QUIET_PERIODS: u32 = 3;

    /// An observation to be made.
    pub fn wanted(attributes: NotificationAttributes) -> Self {
        let phase = Phase::Wanted { attributes_written: 0, not_before: None };
        Self { phase, attributes, own_attributes: None, by_mapping: false, by_command: false }
    }

    /// The attributes of the path at `position` of the target.
    pub fn attributes_of(&self, position: usize) -> &NotificationAttributes {
        self.own_attributes.as_ref().and_then(|own| own.get(position)).unwrap_or(&self.attributes)
    }

    /// An observation that was active before a restart.
    pub fn restored(token: Token, attributes: NotificationAttributes, now: Instant) -> Self {
        let phase = Phase::Active { token, newest: None, heard_at: now };
        Self { phase, attributes, own_attributes: None, by_mapping: false, by_command: false }
    }

    /// The token that notifications carry, while the device may send some.
    pub fn token(&self) -> Option<Token> {
        match self.phase {
            Phase::Active { token, .. } | Phase::Cancelling { token } => Some(token),
            Phase::Wanted { .. } | Phase::Refused { .. } => None,
        }
    }

    /// Starts over with a new token: the device forgot everything.
    pub fn reset(&mut self) {
        self.phase = Phase::Wanted { attributes_written: 0, not_before: None };
    }

    /// Whether somebody still wants it.
    pub fn is_wanted(&self) -> bool {
        self.by_mapping || self.by_command
    }

    /// When the watchdog looks: three maximum periods after the last report.
    pub fn watchdog_at(&self) -> Option<Instant> {
        let Phase::Active { heard_at, .. } = self.phase else { return None };
        let pmax = self.attributes.pmax.filter(|&pmax| pmax > 0)?;
        Some(heard_at + Duration::from_secs(u64::from(pmax)) * Self::QUIET_PERIODS)
    }

    /// When something is due by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Wanted { not_before, .. } => not_before,
            Phase::Active { .. } => self.watchdog_at(),
            Phase::Cancelling { .. } | Phase::Refused { .. } => None,
        }
    }
}

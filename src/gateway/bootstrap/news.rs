//! What happens in a bootstrap session, as it happens.

use crate::model::endpoint::Endpoint;
use crate::model::time::WallTime;

/// Something that happened in a bootstrap session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionNews {
    /// Id of the session.
    pub session: String,
    /// Whose it is.
    pub endpoint: Endpoint,
    /// When.
    pub ts: WallTime,
    /// What.
    pub what: News,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A device asked.
    New,
    /// It is who it says, and an entry fits.
    Authorized,
    /// It is not, or is not let in.
    Unauthorized,
    /// No entry fits.
    NoConfiguration,
    /// A request left.
    Sent {
        /// `discover`, `delete`, `write`, `read` or `finish`.
        operation: &'static str,
        /// Its path; empty for `finish`.
        path: String,
    },
    /// The device answered.
    Answered {
        /// As in [`Self::Sent`].
        operation: &'static str,
        /// Its path.
        path: String,
        /// The code, such as `2.04`.
        code: String,
        /// Whether the code says that it was done.
        success: bool,
    },
    /// The device did not answer.
    NotAnswered {
        /// As in [`Self::Sent`].
        operation: &'static str,
        /// Its path.
        path: String,
    },
    /// The device has its accounts.
    Finished,
    /// It has not.
    Failed {
        /// Why, for the operator. Holds no secret.
        reason: String,
    },
}

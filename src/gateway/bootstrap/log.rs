//! What happened in bootstrap sessions, step by step: kept in memory for whoever asks why a device does not come up.

use std::collections::VecDeque;

use serde_json::{Value as Json, json};

use crate::model::endpoint::Endpoint;
use crate::model::time::{Instant, WallTime};

/// Sessions that are remembered; the oldest go.
pub(super) const MAX_LOGS: usize = 1_000;

/// Devices that were turned away and are remembered apart, so that they push nothing else out.
pub(super) const MAX_REFUSED_LOGS: usize = 100;

/// Steps of one session that are remembered; further ones are counted.
pub(super) const MAX_STEPS: usize = 128;

/// How a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    /// The device waits for an operator.
    Waiting,
    /// It goes on.
    Running,
    /// The device has what it should.
    Done,
    /// It has not.
    Failed,
    /// It was turned away.
    Refused,
}

impl SessionState {
    /// The word of the interfaces.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// One thing that was done.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// `request`, `discover`, `delete`, `write`, `read`, `finish`, `make_keys`, `provision` or `approve`.
    pub(super) operation: &'static str,
    /// Path, or which account; empty where there is none.
    pub(super) path: String,
    /// When it began.
    pub(super) at: WallTime,
    /// The same by the clock that durations are taken from.
    pub(super) began: Instant,
    /// How long it took; `None` while it lasts.
    pub(super) duration_millis: Option<u64>,
    /// Code of the answer.
    pub(super) code: Option<String>,
    /// What there is to say beyond that. Holds no secret.
    pub(super) detail: String,
}

/// One session.
#[derive(Clone, Debug)]
pub(super) struct SessionLog {
    /// Which.
    pub(super) id: String,
    /// Whose.
    pub(super) endpoint: Endpoint,
    /// Where the device is.
    pub(super) address: String,
    /// Over which transport it came.
    pub(super) transport: &'static str,
    /// Who it proved to be.
    pub(super) identity: Option<String>,
    /// When it began.
    pub(super) started_at: WallTime,
    /// When it ended.
    pub(super) ended_at: Option<WallTime>,
    /// How it stands.
    pub(super) state: SessionState,
    /// Why it failed.
    pub(super) reason: String,
    /// Version of the device, as far as it is known.
    pub(super) version: Option<String>,
    /// What was done.
    pub(super) steps: Vec<Step>,
    /// How many steps are not in the list.
    pub(super) steps_left_out: u32,
}

impl SessionLog {
    /// Notes that something begins; its number, for [`Self::end_step`].
    pub(super) fn begin(
        &mut self,
        operation: &'static str,
        path: impl Into<String>,
        at: WallTime,
        began: Instant,
    ) -> usize {
        if self.steps.len() >= MAX_STEPS {
            self.steps_left_out += 1;
            return MAX_STEPS;
        }
        let path = path.into();
        let (code, detail) = (None, String::new());
        self.steps.push(Step { operation, path, at, began, duration_millis: None, code, detail });
        self.steps.len() - 1
    }

    /// Notes how what began last came out.
    pub(super) fn end(&mut self, now: Instant, code: Option<String>, detail: impl Into<String>) {
        if self.steps_left_out == 0
            && let Some(last) = self.steps.iter().rposition(|step| step.duration_millis.is_none())
        {
            self.end_step(last, now, code, detail);
        }
    }

    /// Notes how one of several things came out that go on at the same time.
    pub(super) fn end_step(&mut self, step: usize, now: Instant, code: Option<String>, detail: impl Into<String>) {
        let Some(step) = self.steps.get_mut(step) else { return };
        let passed = now.saturating_since(step.began).as_millis();
        step.duration_millis = Some(u64::try_from(passed).unwrap_or(u64::MAX));
        step.code = code;
        step.detail = detail.into();
    }

    /// Without its steps.
    fn summary(&self) -> Json {
        json!({
            "id": self.id,
            "endpoint": self.endpoint.as_str(),
            "address": self.address,
            "transport": self.transport,
            "identity": self.identity,
            "started_at": self.started_at.millis(),
            "ended_at": self.ended_at.map(WallTime::millis),
            "outcome": self.state.as_str(),
            "reason": self.reason,
            "version": self.version,
        })
    }

    /// As the interfaces show it.
    pub(super) fn to_json(&self) -> Json {
        let mut about = self.summary();
        let steps = self.steps.iter().map(|step| {
            json!({
                "at": step.at.millis(),
                "duration_ms": step.duration_millis,
                "operation": step.operation,
                "path": step.path,
                "code": step.code,
                "detail": step.detail,
            })
        });
        about["steps"] = steps.collect();
        if self.steps_left_out > 0 {
            about["steps_left_out"] = self.steps_left_out.into();
        }
        about
    }
}

/// Sessions that are over.
#[derive(Debug, Default)]
pub(super) struct PastSessions {
    /// The latest last.
    logs: VecDeque<SessionLog>,
    /// Of devices that were turned away; the latest last.
    refused: VecDeque<SessionLog>,
}

impl PastSessions {
    /// Remembers a session that is over.
    pub(super) fn keep(&mut self, log: SessionLog) {
        let (logs, most) = match log.state {
            SessionState::Refused => (&mut self.refused, MAX_REFUSED_LOGS),
            _ => (&mut self.logs, MAX_LOGS),
        };
        if logs.len() >= most {
            logs.pop_front();
        }
        logs.push_back(log);
    }

    /// The latest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &SessionLog> {
        let mut all: Vec<&SessionLog> = self.logs.iter().chain(&self.refused).collect();
        all.sort_by_key(|log| std::cmp::Reverse(log.ended_at));
        all.into_iter()
    }
}

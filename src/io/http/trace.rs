//! Lines of traced devices on their way to whoever looks on over HTTP.
//!
//! Beside the event stream, since traces are many and nobody asks for old ones: each onlooker reads along in a bounded
//! channel, and one that is slow is told how many lines it missed.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::broadcast;

use crate::model::endpoint::Endpoint;

/// Lines that an onlooker may be behind; then the oldest are lost to it, and counted.
pub const MAX_TRACE_LINES_BEHIND: usize = 512;

/// A message of a traced device.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceLine {
    /// The device.
    pub endpoint: Endpoint,
    /// What is told: the line of the core, with `local` and the message itself as `raw` (hexadecimal).
    pub line: Value,
}

/// The host's end, and where onlookers come from.
#[derive(Clone, Debug)]
pub struct TraceSender {
    lines: broadcast::Sender<Arc<TraceLine>>,
}

impl TraceSender {
    /// A way without onlookers.
    pub(super) fn new() -> Self {
        Self { lines: broadcast::Sender::new(MAX_TRACE_LINES_BEHIND) }
    }

    /// Tells all onlookers; without any the line is gone.
    pub fn send(&self, line: TraceLine) {
        if self.lines.receiver_count() > 0 {
            // The last onlooker may have gone just now.
            let _ = self.lines.send(Arc::new(line));
        }
    }

    /// The place where onlookers come from.
    pub(super) fn gallery(&self) -> Gallery {
        Gallery { lines: self.lines.downgrade() }
    }
}

/// Where onlookers come from. It keeps nobody looking once the gateway stops.
#[derive(Clone, Debug)]
pub(super) struct Gallery {
    lines: broadcast::WeakSender<Arc<TraceLine>>,
}

impl Gallery {
    /// A new onlooker; `None` while the gateway stops.
    pub(super) fn look_on(&self) -> Option<Onlooker> {
        self.lines.upgrade().map(|lines| Onlooker { lines: lines.subscribe() })
    }
}

/// Somebody who looks on.
pub(super) struct Onlooker {
    lines: broadcast::Receiver<Arc<TraceLine>>,
}

/// What an onlooker hears.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    /// A line.
    Line(Arc<TraceLine>),
    /// So many lines were lost.
    Missed(u64),
}

impl Onlooker {
    /// The next thing; `None` when the gateway stops.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        match self.lines.recv().await {
            Ok(line) => Some(Heard::Line(line)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Heard::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_onlooker_is_told_what_it_missed() {
        let sender = TraceSender::new();
        let mut onlooker = sender.gallery().look_on().unwrap();
        let line = |number: usize| TraceLine { endpoint: Endpoint::new("e").unwrap(), line: number.into() };
        for number in 0..MAX_TRACE_LINES_BEHIND + 3 {
            sender.send(line(number));
        }
        assert_eq!(onlooker.next().await, Some(Heard::Missed(3)));
        assert_eq!(onlooker.next().await, Some(Heard::Line(Arc::new(line(3)))));
        drop(sender);
        let rest = std::iter::from_fn(|| {
            // Everything is there already, so that nothing is waited for.
            let next = onlooker.lines.try_recv();
            next.ok()
        });
        assert_eq!(rest.count(), MAX_TRACE_LINES_BEHIND - 1);
        assert_eq!(onlooker.next().await, None);
    }
}

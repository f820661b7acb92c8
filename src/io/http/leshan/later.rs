//! Results of devices that sleep: they come when the caller is gone, and go to the event stream.

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

use super::MAX_DELAYED;
use super::requests::Known;
use crate::gateway::vocabulary::{Answer, CommandProgress};
use crate::io::http::events::{EventSender, StreamEvent};
use crate::io::http::question::Following;
use crate::northbound::leshan::{Event, EventName, LeshanCommand, delayed_response};

/// A result that somebody was promised.
pub(super) struct Promised {
    pub(super) following: Following,
    pub(super) asked: LeshanCommand,
    pub(super) known: Known,
    /// Its place among [`MAX_DELAYED`].
    pub(super) place: OwnedSemaphorePermit,
}

/// The task that waits for what was promised.
pub(in crate::io::http) struct Later {
    promised: mpsc::Receiver<Promised>,
    events: EventSender,
}

/// The task, and the way to it, which has room for all places.
pub(super) fn later(events: EventSender) -> (mpsc::Sender<Promised>, Later) {
    let (sender, promised) = mpsc::channel(MAX_DELAYED);
    (sender, Later { promised, events })
}

impl Later {
    /// Runs until nobody can promise any more; what is still open then is told by nobody.
    pub(in crate::io::http) async fn run(mut self) {
        let mut waiting = JoinSet::new();
        loop {
            tokio::select! {
                promised = self.promised.recv() => match promised {
                    Some(promised) => drop(waiting.spawn(promised.keep(self.events.clone()))),
                    None => return,
                },
                Some(_) = waiting.join_next() => {}
            }
        }
    }
}

impl Promised {
    async fn keep(mut self, events: EventSender) {
        while let Some(answer) = self.following.next().await {
            let Answer::Command(CommandProgress::Result(result)) = answer else { continue };
            if !result.outcome.is_terminal() {
                continue;
            }
            if let Some(data) = delayed_response(&self.asked, &result, &self.known.types()) {
                let endpoint = result.endpoint.as_str().to_owned();
                let event = Event { name: EventName::RequestResponse, endpoint, data };
                // What the stream cannot take is counted by the stream itself.
                let _ = events.send(vec![StreamEvent::Leshan(Box::new(event))]);
            }
            break;
        }
        drop(self.place);
    }
}

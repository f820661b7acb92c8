//! Questions to the core and their way back.
//!
//! One task, the [`Desk`], owns the table of waiting questions; handlers reach it through an [`Asker`]. Nothing waits
//! for a full queue: a question that cannot be passed on at once is answered with 503.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::error::ApiError;
use crate::gateway::vocabulary::{Answer, Input, Query, RequestId};
use crate::model::units::format_duration;

/// Questions that may wait for the core; further ones get 503. About 200 bytes each.
pub const MAX_WAITING: usize = 1_024;

/// How long the core may take; then 504.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);

type Reply = oneshot::Sender<Result<Answer, ApiError>>;

struct Asked {
    query: Query,
    reply: Reply,
}

/// The handlers' end.
#[derive(Clone)]
pub(super) struct Asker {
    questions: mpsc::Sender<Asked>,
    answer_time: Duration,
}

/// The task that knows who waits for which answer.
pub(super) struct Desk {
    questions: mpsc::Receiver<Asked>,
    answers: mpsc::Receiver<(RequestId, Answer)>,
    core: mpsc::Sender<Vec<Input>>,
    waiting: HashMap<RequestId, Reply>,
    last: RequestId,
}

/// A desk and the way to it.
pub(super) fn desk(
    core: mpsc::Sender<Vec<Input>>,
    answers: mpsc::Receiver<(RequestId, Answer)>,
    answer_time: Duration,
) -> (Asker, Desk) {
    let (sender, questions) = mpsc::channel(64);
    let desk = Desk { questions, answers, core, waiting: HashMap::new(), last: RequestId(0) };
    (Asker { questions: sender, answer_time }, desk)
}

impl Asker {
    /// Asks the core.
    pub(super) async fn ask(&self, query: Query) -> Result<Answer, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(Asked { query, reply }).await.map_err(|_| stopping())?;
        match tokio::time::timeout(self.answer_time, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(stopping()),
            Err(_) => {
                let message = format!("the core did not answer within {}", format_duration(self.answer_time));
                Err(ApiError::new(axum::http::StatusCode::GATEWAY_TIMEOUT, "timeout", message))
            }
        }
    }
}

fn stopping() -> ApiError {
    ApiError::busy("the gateway is stopping")
}

impl Desk {
    /// Passes questions and answers on until every asker is gone.
    pub(super) async fn run(mut self) {
        let mut core_lives = true;
        loop {
            tokio::select! {
                asked = self.questions.recv() => match asked {
                    Some(asked) => self.take(asked),
                    None => return,
                },
                answered = self.answers.recv(), if core_lives => match answered {
                    // Nobody waits for an answer that came too late.
                    Some((request, answer)) => drop(self.waiting.remove(&request).map(|reply| reply.send(Ok(answer)))),
                    None => core_lives = false,
                },
            }
        }
    }

    fn take(&mut self, asked: Asked) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|_, reply| !reply.is_closed());
        }
        let refused = if self.waiting.len() >= MAX_WAITING {
            ApiError::busy("too many requests wait for the core")
        } else {
            self.last.0 = self.last.0.wrapping_add(1);
            match self.core.try_send(vec![Input::Request { request: self.last, query: asked.query }]) {
                Ok(()) => {
                    self.waiting.insert(self.last, asked.reply);
                    return;
                }
                Err(mpsc::error::TrySendError::Full(_)) => ApiError::busy("the core has more to do than it can take"),
                Err(mpsc::error::TrySendError::Closed(_)) => stopping(),
            }
        };
        let _ = asked.reply.send(Err(refused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> (Asked, oneshot::Receiver<Result<Answer, ApiError>>) {
        let (reply, answer) = oneshot::channel();
        (Asked { query: Query::Refused, reply }, answer)
    }

    #[test]
    fn waiting_questions_are_bounded_and_those_that_gave_up_make_room() {
        let (core, _inputs) = mpsc::channel(MAX_WAITING * 4);
        let (_answers, incoming) = mpsc::channel(1);
        let (_asker, mut desk) = desk(core, incoming, ANSWER_TIME);
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            let (asked, answer) = asked();
            desk.take(asked);
            waiting.push(answer);
        }
        let (further, mut refused) = asked();
        desk.take(further);
        assert!(matches!(refused.try_recv(), Ok(Err(_))), "refused at once");
        assert_eq!(desk.waiting.len(), MAX_WAITING);
        drop(waiting.pop());
        let (further, mut taken) = asked();
        desk.take(further);
        assert!(taken.try_recv().is_err(), "waits");
        assert_eq!(desk.waiting.len(), MAX_WAITING);
    }

    #[test]
    fn a_full_core_refuses_at_once() {
        let (core, _inputs) = mpsc::channel(1);
        let (_answers, incoming) = mpsc::channel(1);
        let (_asker, mut desk) = desk(core, incoming, ANSWER_TIME);
        let (first, _waits) = asked();
        desk.take(first);
        let (second, mut refused) = asked();
        desk.take(second);
        assert_eq!(refused.try_recv(), Ok(Err(ApiError::busy("the core has more to do than it can take"))));
    }
}

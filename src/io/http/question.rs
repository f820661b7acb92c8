//! Questions to the core and their way back.
//!
//! One task, the [`Desk`], owns the table of waiting questions; handlers reach it through an [`Asker`]. Nothing waits
//! for a full queue: a question that cannot be passed on at once is answered with 503.
//!
//! A question about a command has several answers: accepted, perhaps queued, then the terminal result. Whoever gave up
//! waiting is dropped from the table; the command itself goes on in the core.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::error::ApiError;
use crate::gateway::vocabulary::{Answer, CommandProgress, Input, Query, RequestId};
use crate::model::units::format_duration;

/// Questions that may wait for the core; further ones get 503. About 400 bytes each.
pub const MAX_WAITING: usize = 1_024;

/// How long the core may take for its first answer; then 504.
pub const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Answers to one question that may wait for its handler: accepted, queued and the terminal result.
const ANSWERS_PER_QUESTION: usize = 4;

type Reply = mpsc::Sender<Answer>;

struct Asked {
    query: Query,
    reply: oneshot::Sender<Result<mpsc::Receiver<Answer>, ApiError>>,
}

/// The handlers' end.
#[derive(Clone)]
pub(super) struct Asker {
    questions: mpsc::Sender<Asked>,
    answer_time: Duration,
}

/// Answers that are still to come.
pub(super) struct Following {
    answers: mpsc::Receiver<Answer>,
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
    /// Asks the core, and waits for the first answer.
    pub(super) async fn ask(&self, query: Query) -> Result<Answer, ApiError> {
        self.follow(query).await?.first().await
    }

    /// Asks the core for more than one answer.
    pub(super) async fn follow(&self, query: Query) -> Result<Following, ApiError> {
        let (reply, taken) = oneshot::channel();
        self.questions.send(Asked { query, reply }).await.map_err(|_| stopping())?;
        let answers = taken.await.map_err(|_| stopping())??;
        Ok(Following { answers, answer_time: self.answer_time })
    }
}

impl Following {
    /// The first answer, which comes from the core alone and therefore soon.
    pub(super) async fn first(&mut self) -> Result<Answer, ApiError> {
        match tokio::time::timeout(self.answer_time, self.answers.recv()).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(stopping()),
            Err(_) => {
                let message = format!("the core did not answer within {}", format_duration(self.answer_time));
                Err(ApiError::new(axum::http::StatusCode::GATEWAY_TIMEOUT, "timeout", message))
            }
        }
    }

    /// The next answer; `None` when no further one comes.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }
}

fn stopping() -> ApiError {
    ApiError::busy("the gateway is stopping")
}

/// Whether further answers to the same question follow.
const fn more_follows(answer: &Answer) -> bool {
    match answer {
        Answer::Command(CommandProgress::Accepted { .. }) => true,
        Answer::Command(CommandProgress::Result(result)) => !result.outcome.is_terminal(),
        Answer::Body(_)
        | Answer::UnknownDevice
        | Answer::NoEndpoint { .. }
        | Answer::Failed(_)
        | Answer::Model { .. } => false,
    }
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
                answered = self.answers.recv(), if core_lives => {
                    if let Some((request, answer)) = answered {
                        self.pass_on(request, answer);
                    } else {
                        core_lives = false;
                        self.waiting.clear();
                    }
                }
            }
        }
    }

    fn take(&mut self, asked: Asked) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.retain(|_, reply| !reply.is_closed());
        }
        let taken = if self.waiting.len() >= MAX_WAITING {
            Err(ApiError::busy("too many requests wait for the core"))
        } else {
            self.last.0 = self.last.0.wrapping_add(1);
            match self.core.try_send(vec![Input::Request { request: self.last, query: asked.query }]) {
                Ok(()) => {
                    let (reply, answers) = mpsc::channel(ANSWERS_PER_QUESTION);
                    self.waiting.insert(self.last, reply);
                    Ok(answers)
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Err(ApiError::busy("the core has more to do than it can take"))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => Err(stopping()),
            }
        };
        // Whoever is gone meanwhile leaves a closed reply in the table, which makes room when it is needed.
        let _ = asked.reply.send(taken);
    }

    fn pass_on(&mut self, request: RequestId, answer: Answer) {
        let more = more_follows(&answer);
        let Some(reply) = self.waiting.get(&request) else {
            // Nobody waits for an answer that came too late.
            return;
        };
        let heard = reply.try_send(answer).is_ok();
        if !heard || !more {
            self.waiting.remove(&request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::{CommandResult, Outcome};
    use crate::model::endpoint::Endpoint;
    use crate::model::time::WallTime;

    type Taken = oneshot::Receiver<Result<mpsc::Receiver<Answer>, ApiError>>;

    fn asked() -> (Asked, Taken) {
        let (reply, taken) = oneshot::channel();
        (Asked { query: Query::Refused, reply }, taken)
    }

    fn result(outcome: Outcome) -> Answer {
        Answer::Command(CommandProgress::Result(CommandResult {
            id: "1".to_owned(),
            endpoint: Endpoint::new("a").unwrap(),
            operation: "read".to_owned(),
            path: None,
            key: None,
            ts: WallTime::from_secs(0),
            outcome,
        }))
    }

    #[test]
    fn waiting_questions_are_bounded_and_those_that_gave_up_make_room() {
        let (core, _inputs) = mpsc::channel(MAX_WAITING * 4);
        let (_answers, incoming) = mpsc::channel(1);
        let (_asker, mut desk) = desk(core, incoming, ANSWER_TIME);
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            let (asked, mut taken) = asked();
            desk.take(asked);
            waiting.push(taken.try_recv().unwrap().unwrap());
        }
        let (further, mut refused) = asked();
        desk.take(further);
        assert!(matches!(refused.try_recv(), Ok(Err(_))), "refused at once");
        assert_eq!(desk.waiting.len(), MAX_WAITING);
        drop(waiting.pop());
        let (further, mut taken) = asked();
        desk.take(further);
        assert!(matches!(taken.try_recv(), Ok(Ok(_))), "there is room again");
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
        let refused = refused.try_recv().unwrap().map(|_| ());
        assert_eq!(refused, Err(ApiError::busy("the core has more to do than it can take")));
    }

    #[test]
    fn answers_are_passed_on_until_the_terminal_one() {
        let (core, _inputs) = mpsc::channel(4);
        let (_answers, incoming) = mpsc::channel(1);
        let (_asker, mut desk) = desk(core, incoming, ANSWER_TIME);
        let (question, mut taken) = asked();
        desk.take(question);
        let mut answers = taken.try_recv().unwrap().unwrap();
        let request = desk.last;
        let accepted = CommandProgress::Accepted { endpoint: Endpoint::new("a").unwrap(), id: "1".to_owned() };
        for answer in [Answer::Command(accepted), result(Outcome::Queued), result(Outcome::Expired)] {
            assert_eq!(desk.waiting.len(), 1);
            desk.pass_on(request, answer.clone());
            assert_eq!(answers.try_recv(), Ok(answer));
        }
        assert!(desk.waiting.is_empty(), "the terminal result ends it");
        desk.pass_on(request, result(Outcome::Unknown));
    }

    #[test]
    fn whoever_gave_up_is_forgotten_with_the_next_answer() {
        let (core, _inputs) = mpsc::channel(4);
        let (_answers, incoming) = mpsc::channel(1);
        let (_asker, mut desk) = desk(core, incoming, ANSWER_TIME);
        let (question, mut taken) = asked();
        desk.take(question);
        drop(taken.try_recv().unwrap().unwrap());
        desk.pass_on(desk.last, result(Outcome::Queued));
        assert!(desk.waiting.is_empty());
    }
}

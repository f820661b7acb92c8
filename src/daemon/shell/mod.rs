//! The shell's part of requests: files, the log, reloads; and the watch over the server's identity. One thread of its own, one order after another.
//!
//! ```text
//! host ──Order──▶ shell thread ──▶ files, compiler, log ──Input batches──▶ core
//!                     │ every 5 s: did the models folder change?
//! ```
//!
//! Invariants: the host never waits for the shell (its queue is bounded by [`MAX_ORDERS`], and the core hands out fewer
//! tasks than that); a change of files and the plan made of it are one step, so that two changes never mix; each task
//! is answered exactly once.

mod folder;
mod reload;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::identity::IdentityKeeper;
use super::knowledge;
use super::logging::LogControl;
use crate::config::Settings;
use crate::gateway::vocabulary::{Input, ShellWork, TaskId, Trial};
use crate::io::clock::{monotonic_now, wall_now};
use crate::io::{InputSender, files};
use crate::model::command::{CommandError, ErrorKind};
use crate::model::units::format_duration;
use folder::Folder;
pub use reload::{first_problem, tell_problems};

/// Orders that may wait for the shell; more than the tasks that the core hands out at a time.
const MAX_ORDERS: usize = 256;

/// How often the models folder is looked at.
const MODELS_INTERVAL: Duration = Duration::from_secs(5);

/// What the shell is told to do.
#[derive(Debug)]
enum Order {
    /// A task of the core.
    Work(TaskId, ShellWork),
    /// Read mappings, models and the server's identity anew.
    Reload,
}

/// The way to the shell.
#[derive(Clone, Debug)]
pub struct ShellHandle {
    orders: SyncSender<Order>,
}

impl ShellHandle {
    /// Hands a task over; `Err` gives the input that answers it if the shell cannot take it.
    ///
    /// # Errors
    /// If too many orders wait, or the shell ended.
    pub fn work(&self, task: TaskId, work: ShellWork) -> Result<(), Box<Input>> {
        let Err(refused) = self.orders.try_send(Order::Work(task, work)) else { return Ok(()) };
        let error = match refused {
            TrySendError::Full(_) => CommandError::new(ErrorKind::QueueFull, "too many requests wait for files"),
            TrySendError::Disconnected(_) => CommandError::new(ErrorKind::Internal, "the gateway is stopping"),
        };
        Err(Box::new(Input::ShellDone { task, answer: Err(error), trial: None }))
    }

    /// Asks for a reload.
    pub fn reload(&self) {
        if self.orders.try_send(Order::Reload).is_err() {
            tracing::warn!("a reload was asked for while too many requests wait: it is left out");
        }
    }
}

/// Starts the shell's thread. It ends when every handle is gone.
///
/// # Errors
/// If the system gives no thread.
pub fn start(
    settings: Settings,
    identity: Option<IdentityKeeper>,
    log: LogControl,
    inputs: InputSender,
) -> std::io::Result<ShellHandle> {
    let (orders, receiver) = sync_channel(MAX_ORDERS);
    let models = files::fingerprint(&settings.gateway.models);
    log.connect(inputs.clone());
    let shell = Shell { settings, identity, log, log_until: None, inputs, models };
    std::thread::Builder::new().name("shell".to_owned()).spawn(move || shell.run(&receiver))?;
    Ok(ShellHandle { orders })
}

/// What a task led to.
struct Done {
    answer: Result<Json, CommandError>,
    trial: Option<Trial>,
    /// What the core hears before the answer, such as a new plan.
    news: Vec<Input>,
}

impl From<Result<Json, CommandError>> for Done {
    fn from(answer: Result<Json, CommandError>) -> Self {
        Self { answer, trial: None, news: Vec::new() }
    }
}

struct Shell {
    settings: Settings,
    /// `None`: there is neither a secure transport nor a bootstrap server.
    identity: Option<IdentityKeeper>,
    log: LogControl,
    /// When the log is filtered as configured again.
    log_until: Option<Instant>,
    inputs: InputSender,
    /// Fingerprint of the models folder as it was read last.
    models: u64,
}

impl Shell {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            self.end_log_time();
            self.look_at_identity();
            let log_time = self.log_until.map(|until| until.saturating_duration_since(monotonic_now()));
            match orders.recv_timeout(log_time.unwrap_or(MODELS_INTERVAL).min(MODELS_INTERVAL)) {
                Ok(Order::Work(task, work)) => {
                    let Done { answer, trial, mut news } = self.work(work);
                    news.push(Input::ShellDone { task, answer, trial });
                    self.tell(news);
                }
                Ok(Order::Reload) => {
                    self.reload();
                    if let Some(identity) = &mut self.identity {
                        identity.reload();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if files::fingerprint(&self.settings.gateway.models) != self.models {
                        tracing::info!("the models folder changed");
                        self.reload();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell(&self, batch: Vec<Input>) {
        if self.inputs.blocking_send(batch).is_err() {
            tracing::debug!("the core is gone");
        }
    }

    fn work(&mut self, work: ShellWork) -> Done {
        match work {
            ShellWork::MappingList => Folder::Mappings.list(&self.settings).into(),
            ShellWork::MappingGet { file } => Folder::Mappings.get(&self.settings, &file).into(),
            ShellWork::MappingPut { file, text, dry_run } => {
                self.put(Folder::Mappings, &file, text.as_deref(), dry_run)
            }
            ShellWork::ModelList => Folder::Models.list(&self.settings).into(),
            ShellWork::ModelGet { file } => Folder::Models.get(&self.settings, &file).into(),
            ShellWork::ModelPut { file, text, dry_run } => self.put(Folder::Models, &file, text.as_deref(), dry_run),
            ShellWork::ConfigGet => Ok(self.settings.in_force.clone()).into(),
            ShellWork::LogLevel { level, duration } => self.log_level(level.as_deref(), duration).into(),
            // The host ends its loop once this answer is on its way.
            ShellWork::Restart => Ok(json!({})).into(),
        }
    }

    fn log_level(&mut self, level: Option<&str>, duration: Duration) -> Result<Json, CommandError> {
        let configured = self.log.configured().to_owned();
        let Some(level) = level.filter(|_| !duration.is_zero()) else {
            self.log_until = None;
            self.log.reset();
            return Ok(json!({ "level": configured, "configured": configured, "until": null }));
        };
        let changed = self.log.change(level, duration);
        changed.map_err(|error| CommandError::new(ErrorKind::Invalid, format!("level: {error}")))?;
        self.log_until = Some(monotonic_now() + duration);
        let until = wall_now().shifted(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)).millis();
        tracing::info!(level, r#for = %format_duration(duration), "the level of the log was changed by request");
        Ok(json!({ "level": level, "configured": configured, "until": until, "for": format_duration(duration) }))
    }

    fn end_log_time(&mut self) {
        if self.log_until.is_some_and(|until| until <= monotonic_now()) {
            self.log_until = None;
            self.log.reset();
            tracing::info!(level = self.log.configured(), "the level of the log is the configured one again");
        }
    }

    fn look_at_identity(&mut self) {
        let news = self.identity.as_mut().and_then(|identity| identity.look(monotonic_now()));
        if let Some(news) = news {
            self.tell(vec![news]);
        }
    }

    /// Reads both folders anew.
    fn reload(&mut self) {
        self.models = files::fingerprint(&self.settings.gateway.models);
        let knowledge = knowledge::read(&self.settings);
        tell_problems(&knowledge);
        self.tell(reload::inputs(knowledge));
    }
}

#[cfg(test)]
mod tests;

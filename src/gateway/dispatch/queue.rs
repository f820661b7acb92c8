//! The commands that wait for one device, highest priority first, then in the order of arrival.

use super::record::Origin;
use crate::gateway::store::StoreSequence;
use crate::model::command::{Command, Operation, WhenAsleep};
use crate::model::time::{Instant, WallTime};

/// A command that waits or is under way.
#[derive(Clone, Debug)]
pub struct QueuedCommand {
    /// What was asked. A named command or a desired value is resolved: the operation is what the device gets.
    pub command: Command,
    /// What the sender wrote, for comparing repeated ids.
    pub asked: Operation,
    /// Who asked.
    pub origin: Origin,
    /// When it was accepted.
    pub accepted_at: WallTime,
    /// When its `ttl` ends.
    pub expires_at: Instant,
    /// The batch that makes it durable: nothing is sent before.
    pub accepted: StoreSequence,
    /// For operations that must not run twice: the batch that says "about to be sent".
    pub started: Option<StoreSequence>,
    /// Whether `queued` was reported.
    pub reported_queued: bool,
    /// Whether it was sent into the sleep of its device in vain (`when_asleep` is `try`): from then on it waits.
    pub tried: bool,
    /// Whether the bootstrap server carries it out.
    pub handed_over: bool,
}

impl QueuedCommand {
    /// Whether it may go to a device that sleeps.
    pub fn disturbs(&self) -> bool {
        self.command.when_asleep == WhenAsleep::Try && !self.tried
    }

    /// Whether a newer write makes this one pointless: same target, nothing written here that the newer leaves alone.
    pub fn is_overwritten_by(&self, newer: &Operation) -> bool {
        if self.started.is_some() || self.key().is_some() {
            return false;
        }
        match (&self.command.operation, newer) {
            (Operation::Write { path: older, .. }, Operation::Write { path, .. })
            | (Operation::WriteUpdate { path: older, .. }, Operation::Write { path, .. }) => older == path,
            (Operation::WriteUpdate { path: older, values, .. }, Operation::WriteUpdate { path, values: new, .. }) => {
                older == path && values.keys().all(|written| new.contains_key(written))
            }
            _ => false,
        }
    }

    /// The desired key that it carries out, if it does.
    pub fn key(&self) -> Option<&str> {
        match &self.asked {
            Operation::Set { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// Waiting commands of one device.
#[derive(Debug, Default)]
pub struct CommandQueue {
    commands: Vec<QueuedCommand>,
}

impl CommandQueue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// All, in the order in which they go.
    pub fn iter(&self) -> impl Iterator<Item = &QueuedCommand> {
        self.commands.iter()
    }

    /// All, for changing.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut QueuedCommand> {
        self.commands.iter_mut()
    }

    /// One by id.
    pub fn get(&self, id: &str) -> Option<&QueuedCommand> {
        self.commands.iter().find(|queued| queued.command.id == id)
    }

    /// One by id, for changing.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut QueuedCommand> {
        self.commands.iter_mut().find(|queued| queued.command.id == id)
    }

    /// Adds one behind its equals.
    pub fn push(&mut self, queued: QueuedCommand) {
        let position = self.commands.partition_point(|waiting| waiting.command.priority >= queued.command.priority);
        self.commands.insert(position, queued);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: &str) -> Option<QueuedCommand> {
        let position = self.commands.iter().position(|queued| queued.command.id == id)?;
        Some(self.commands.remove(position))
    }

    /// Ids of those whose `ttl` has passed.
    pub fn expired(&self, now: Instant) -> Vec<String> {
        let expired = self.commands.iter().filter(|queued| queued.expires_at <= now);
        expired.map(|queued| queued.command.id.clone()).collect()
    }

    /// When the next one expires or may leave. The one under way does neither; one that might have left already waits
    /// for the device, not for the clock.
    pub fn next_deadline(
        &self,
        now: Instant,
        under_way: Option<&str>,
        instant_of: impl Fn(WallTime) -> Instant,
    ) -> Option<Instant> {
        self.commands
            .iter()
            .filter(|queued| under_way != Some(queued.command.id.as_str()))
            .map(|queued| {
                let not_before = queued.command.not_before.map(&instant_of).filter(|not_before| *not_before > now);
                not_before.map_or(queued.expires_at, |not_before| not_before.min(queued.expires_at))
            })
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::{DEFAULT_TTL, WhenAsleep};
    use crate::model::path::Path;

    fn queued(id: &str, priority: i32) -> QueuedCommand {
        let operation = Operation::Read { path: Path::object(3) };
        let command = Command {
            id: id.to_owned(),
            operation: operation.clone(),
            format: None,
            ttl: DEFAULT_TTL,
            timeout: None,
            priority,
            not_before: None,
            when_asleep: WhenAsleep::Queue,
        };
        QueuedCommand {
            command,
            asked: operation,
            origin: Origin::default(),
            accepted_at: WallTime::default(),
            expires_at: Instant::from_secs(10),
            accepted: StoreSequence(0),
            started: None,
            reported_queued: false,
            tried: false,
            handed_over: false,
        }
    }

    #[test]
    fn a_newer_write_replaces_what_it_overwrites_and_nothing_else() {
        let path = Path::resource(3308, 0, 5900);
        let write =
            |path: Path, value: i32| Operation::Write { path, values: [(path, value.into())].into(), value_type: None };
        let update = |ids: &[u16]| Operation::WriteUpdate {
            path: Path::instance(3, 0),
            values: ids.iter().map(|id| (Path::resource(3, 0, *id), 1.into())).collect(),
            value_type: None,
        };
        let waiting = |operation: Operation| {
            let mut waiting = queued("a", 0);
            waiting.command.operation = operation.clone();
            waiting.asked = operation;
            waiting
        };
        assert!(waiting(write(path, 1)).is_overwritten_by(&write(path, 2)));
        assert!(!waiting(write(path, 1)).is_overwritten_by(&write(Path::resource(3308, 1, 5900), 2)));
        assert!(!waiting(write(path, 1)).is_overwritten_by(&Operation::Read { path }));
        assert!(waiting(update(&[14])).is_overwritten_by(&update(&[14, 15])));
        assert!(!waiting(update(&[14, 16])).is_overwritten_by(&update(&[14, 15])), "16 would be lost");
        let mut started = waiting(write(path, 1));
        started.started = Some(StoreSequence(1));
        assert!(!started.is_overwritten_by(&write(path, 2)), "it may be with the device");
    }

    #[test]
    fn higher_priority_goes_first_and_equals_keep_their_order() {
        let mut queue = CommandQueue::default();
        for (id, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.push(queued(id, priority));
        }
        let order: Vec<&str> = queue.iter().map(|queued| queued.command.id.as_str()).collect();
        assert_eq!(order, ["b", "d", "a", "c"]);
        assert_eq!(queue.expired(Instant::from_secs(10)).len(), 4);
        assert!(queue.remove("b").is_some() && queue.remove("b").is_none());
    }
}

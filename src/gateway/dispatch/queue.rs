//! The commands that wait for one device, highest priority first, then in the order of arrival.

use super::record::Origin;
use crate::gateway::store::StoreSequence;
use crate::model::command::{Command, Operation};
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
}

impl QueuedCommand {
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
        }
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

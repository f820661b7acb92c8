//! A mosquitto of its own for each test, and its two ordinary clients.
#![expect(clippy::disallowed_methods, reason = "a deadline towards other programs needs the real clock")]

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::PATIENCE;
use super::ports::free_port;
use super::process::{Process, deadline, poll};

const PAUSE: Duration = Duration::from_millis(20);

/// A broker on a loopback port that stays the same over restarts, with its sessions kept on disk.
pub(crate) struct Mosquitto {
    port: u16,
    process: Option<Process>,
    credentials: Option<(String, String)>,
    // Dropped last: the process shows what it wrote there.
    folder: TempDir,
}

impl Mosquitto {
    /// A broker that everybody may use.
    pub(crate) fn start() -> Self {
        Self::start_with(None, "", &[])
    }

    /// A broker that everybody may use, with further lines of configuration and the files that these name; `{dir}`
    /// stands for the folder of the files. The lines come behind its listener, so that some of them are the listener's.
    pub(crate) fn start_configured(lines: &str, files: &[(&str, &[u8])]) -> Self {
        Self::start_with(None, lines, files)
    }

    /// A broker that wants a name and password.
    pub(crate) fn start_with_password(name: &str, password: &str) -> Self {
        Self::start_with(Some((name.to_owned(), password.to_owned())), "", &[])
    }

    fn start_with(credentials: Option<(String, String)>, lines: &str, files: &[(&str, &[u8])]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        // Nothing may be dropped on the way to a subscriber, and what is acknowledged to a publisher must have been
        // written to the subscriber's socket before: no bound on what is in flight or queued.
        let mut config = format!(
            "listener {port} 127.0.0.1\npersistence true\npersistence_location {}/\nautosave_interval 0\n\
             max_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_dest stderr\nlog_type all\n",
            folder.path().display()
        );
        // Started by root, it would change to a user who cannot write to the folder.
        if let Some(user) = own_user() {
            writeln!(config, "user {user}").expect("text");
        }
        match &credentials {
            None => config.push_str("allow_anonymous true\n"),
            Some((name, password)) => {
                let file = folder.path().join("passwords");
                let made =
                    Command::new("mosquitto_passwd").args(["-c", "-b"]).arg(&file).args([name, password]).status();
                assert!(made.is_ok_and(|status| status.success()), "mosquitto_passwd failed; run `tests/run packages`");
                writeln!(config, "allow_anonymous false\npassword_file {}", file.display()).expect("text");
            }
        }
        for (name, content) in files {
            fs::write(folder.path().join(name), content).expect("a writable folder");
        }
        config.push_str(&lines.replace("{dir}", &folder.path().to_string_lossy()));
        config.push('\n');
        fs::write(folder.path().join("mosquitto.conf"), config).expect("a configuration");
        let mut broker = Self { folder, port, process: None, credentials };
        broker.restart();
        broker
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again on the same port, with what it kept on disk.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "the broker is running");
        let config = self.folder.path().join("mosquitto.conf");
        let program =
            ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].iter().find(|path| fs::exists(path).unwrap_or(false));
        let mut command = Command::new(program.unwrap_or(&"mosquitto"));
        let mut process = Process::spawn("mosquitto", command.arg("-c").arg(config), self.folder.path());
        let port = self.port;
        let up = poll(PATIENCE, PAUSE, || {
            assert!(!process.has_ended(), "mosquitto ended:\n{}", process.last_errors());
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        assert!(up.is_some(), "mosquitto does not listen:\n{}", process.last_errors());
        self.process = Some(process);
    }

    /// Ends it in order: clients are disconnected, sessions and retained messages are kept.
    pub(crate) fn stop(&mut self) {
        self.process.take().expect("a running broker").stop();
    }

    /// Ends it at once: what it did not keep on disk is gone.
    pub(crate) fn kill_nine(&mut self) {
        self.process.take().expect("a running broker").kill_nine();
    }

    /// Has it write sessions to disk now, so that those of its subscribers survive [`Self::kill_nine`].
    pub(crate) fn keep_sessions(&self) {
        let database = self.folder.path().join("mosquitto.db");
        drop(fs::remove_file(&database));
        self.process.as_ref().expect("a running broker").signal("USR1");
        let kept = poll(PATIENCE, PAUSE, || fs::metadata(&database).ok().filter(|file| file.len() > 0));
        assert!(kept.is_some(), "mosquitto wrote no sessions");
    }

    /// Waits until the client with this id has connected `times` times since the broker's first start.
    pub(crate) fn wait_for_client(&self, client_id: &str, times: usize) {
        self.wait_for_log(&format!(" as {client_id} ("), times);
    }

    /// Waits until its log has this text so often.
    pub(crate) fn wait_for_log(&self, text: &str, times: usize) {
        let process = self.process.as_ref().expect("a running broker");
        let seen = poll(PATIENCE, PAUSE, || (process.errors().matches(text).count() >= times).then_some(()));
        assert!(seen.is_some(), "mosquitto did not log `{text}` {times} times:\n{}", process.last_errors());
    }

    /// Whether its log has this text.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.process.as_ref().expect("a running broker").errors().contains(text)
    }

    /// Publishes with QoS 1 and returns once the broker has acknowledged.
    pub(crate) fn publish(&self, topic: &str, payload: &Value) {
        self.publish_with(topic, payload, &[]);
    }

    /// As [`Self::publish`], with further arguments of `mosquitto_pub`.
    pub(crate) fn publish_with(&self, topic: &str, payload: &Value, arguments: &[&str]) {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-t", topic]);
        command.args(arguments);
        self.give_credentials(&mut command);
        let status = command.args(["-m", &payload.to_string()]).status();
        let done = status.unwrap_or_else(|error| panic!("mosquitto_pub: {error}; run `tests/run packages`")).success();
        assert!(done, "the broker did not take {payload} on {topic}");
    }

    /// A client that receives everything below `filter` from now on; over restarts of the broker it keeps its session.
    pub(crate) fn subscribe(&self, filter: &str) -> Subscriber {
        self.subscribe_with(filter, &["-F", "%j"])
    }

    /// As [`Self::subscribe`], with further arguments of `mosquitto_sub`, which say what a line holds; see
    /// [`Subscriber::next_line`].
    pub(crate) fn subscribe_with(&self, filter: &str, arguments: &[&str]) -> Subscriber {
        let client_id = format!("subscriber-{}", free_port());
        // It hides that it was disconnected, and connects again by itself.
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-c", "-i", &client_id]);
        command.args(["-t", filter]).args(arguments);
        self.give_credentials(&mut command);
        let process = Process::spawn(&client_id, &mut command, self.folder.path());
        self.wait_for_log(&format!("Sending SUBACK to {client_id}"), 1);
        Subscriber { client_id, process, seen: Vec::new() }
    }

    fn give_credentials(&self, command: &mut Command) {
        if let Some((name, password)) = self.credentials() {
            command.args(["-u", name, "-P", password]);
        }
    }

    /// Name and password of its one user, if it wants any.
    pub(crate) fn credentials(&self) -> Option<(&str, &str)> {
        self.credentials.as_ref().map(|(name, password)| (name.as_str(), password.as_str()))
    }
}

fn own_user() -> Option<String> {
    let name = Command::new("id").arg("-un").output().ok()?;
    Some(String::from_utf8(name.stdout).ok()?.trim().to_owned())
}

/// A message as the broker delivered it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    /// The payload as JSON; a JSON string where it is none.
    pub(crate) payload: Value,
    pub(crate) retained: bool,
}

/// A client of the broker that remembers everything it was sent, in order.
pub(crate) struct Subscriber {
    client_id: String,
    process: Process,
    seen: Vec<Message>,
}

impl Subscriber {
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The first message, of those seen already and those to come, that fits.
    pub(crate) fn expect(&mut self, what: &str, fits: impl Fn(&str, &Value) -> bool) -> Message {
        self.expect_after(0, what, fits)
    }

    /// As [`Self::expect`], without the first `start` messages; see [`Self::count`].
    pub(crate) fn expect_after(&mut self, start: usize, what: &str, fits: impl Fn(&str, &Value) -> bool) -> Message {
        let until = deadline(PATIENCE);
        let mut next = start;
        loop {
            while let Some(message) = self.seen.get(next) {
                if fits(&message.topic, &message.payload) {
                    return message.clone();
                }
                next += 1;
            }
            if !self.receive(until) {
                let seen: Vec<String> = self.seen.iter().map(|m| format!("{} {}", m.topic, m.payload)).collect();
                panic!("no message came: {what}\nseen were:\n{}", seen.join("\n"));
            }
        }
    }

    /// Receives until `enough` says so of everything seen so far, or patience ends; answers what was seen.
    pub(crate) fn collect_until(&mut self, enough: impl Fn(&[Message]) -> bool) -> &[Message] {
        let mut until = deadline(PATIENCE);
        while !enough(&self.seen) {
            let before = self.seen.len();
            if !self.receive(until) {
                break;
            }
            // Patience is for silence: a long backlog may take long.
            if self.seen.len() > before {
                until = deadline(PATIENCE);
            }
        }
        &self.seen
    }

    /// Whether a message that fits is among those looked at.
    pub(crate) fn has_seen(&self, fits: impl Fn(&str, &Value) -> bool) -> bool {
        self.seen.iter().any(|message| fits(&message.topic, &message.payload))
    }

    /// The next line as the client printed it.
    pub(crate) fn next_line(&mut self, what: &str) -> String {
        self.process.next_line(deadline(PATIENCE)).unwrap_or_else(|| panic!("no message came: {what}"))
    }

    /// How many messages have been looked at.
    pub(crate) fn count(&self) -> usize {
        self.seen.len()
    }

    /// Takes one line of the client; false when none came in time.
    fn receive(&mut self, until: Instant) -> bool {
        let Some(line) = self.process.next_line(until) else { return false };
        self.seen.extend(parse(&line));
        Instant::now() < until
    }
}

fn parse(line: &str) -> Option<Message> {
    let envelope: Value = serde_json::from_str(line).ok()?;
    let text = envelope["payload"].as_str().unwrap_or_default();
    Some(Message {
        topic: envelope["topic"].as_str()?.to_owned(),
        payload: serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        retained: envelope["retain"].as_i64() == Some(1),
    })
}

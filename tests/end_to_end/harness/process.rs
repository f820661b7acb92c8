//! A child process: its lines are awaited one by one, its standard error goes to a file, its end comes with the value's.
#![expect(clippy::disallowed_methods, reason = "a deadline towards other programs needs the real clock")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that may wait to be looked at; the child then waits to write more.
const MAX_LINES_WAITING: usize = 100_000;
/// How much of a program's standard error a failed test shows.
const MAX_ERROR_LINES_SHOWN: usize = 40;

pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: PathBuf,
}

impl Process {
    /// Starts the command. Its standard error is appended to `{folder}/{name}.stderr`.
    pub(crate) fn spawn(name: &str, command: &mut Command, folder: &Path) -> Self {
        Self::spawn_read_by(name, command, folder, |stdout, send| {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        })
    }

    /// The same for a program whose standard output is no text: a line is what it wrote at once, in hex.
    pub(crate) fn spawn_bytes(name: &str, command: &mut Command, folder: &Path) -> Self {
        Self::spawn_read_by(name, command, folder, |mut stdout, send| {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if send.send(data_encoding::HEXLOWER.encode(&buffer[..count])).is_err() {
                    break;
                }
            }
        })
    }

    fn spawn_read_by(
        name: &str,
        command: &mut Command,
        folder: &Path,
        read: impl FnOnce(ChildStdout, SyncSender<String>) + Send + 'static,
    ) -> Self {
        let errors = folder.join(format!("{name}.stderr"));
        let error_file = File::options().create(true).append(true).open(&errors).expect("a file for standard error");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(error_file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started ({error}); run `tests/run packages peers`"));
        let stdout = child.stdout.take().expect("a piped standard output");
        let (send, lines) = sync_channel(MAX_LINES_WAITING);
        thread::spawn(move || read(stdout, send));
        let stdin = child.stdin.take();
        Self { name: name.to_owned(), child, stdin, lines, errors }
    }

    /// The next line of standard output, or nothing once the deadline has passed or the program has ended.
    pub(crate) fn next_line(&mut self, deadline: Instant) -> Option<String> {
        self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    /// Writes one line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("an open standard input");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).unwrap_or_else(|error| {
            panic!("{} does not listen ({error}):\n{}", self.name, self.last_errors());
        });
    }

    /// Writes bytes to its standard input, all at once.
    pub(crate) fn tell_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("an open standard input");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).unwrap_or_else(|error| {
            panic!("{} does not listen ({error}):\n{}", self.name, self.last_errors());
        });
    }

    /// Sends a signal, named as `kill` names it.
    pub(crate) fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("a shell");
        assert!(status.success(), "{} is not there to be sent {signal}:\n{}", self.name, self.last_errors());
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub(crate) fn kill_nine(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        drop(self.child.wait());
    }

    /// Waits for its own end and answers whether that was a success. Closes its standard input, when asked to.
    pub(crate) fn wait(&mut self, close_input: bool) -> bool {
        if close_input {
            self.stdin = None;
        }
        self.child.wait().expect("a child that can be waited for").success()
    }

    /// Waits for its end so long, and answers its exit code: none within, if a signal ended it.
    #[expect(clippy::option_option, reason = "no end and an end without a code are two answers")]
    pub(crate) fn exit_code_within(&mut self, patience: Duration) -> Option<Option<i32>> {
        poll(patience, Duration::from_millis(5), || {
            self.child.try_wait().expect("a child that can be waited for").map(|status| status.code())
        })
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child that can be asked").is_some()
    }

    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    pub(crate) fn last_errors(&self) -> String {
        let errors = self.errors();
        let lines: Vec<&str> = errors.lines().collect();
        lines[lines.len().saturating_sub(MAX_ERROR_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_nine();
        if thread::panicking() {
            eprintln!("--- last lines of {}'s standard error\n{}", self.name, self.last_errors());
        }
    }
}

/// Asks again until there is an answer; `pause` is how long an attempt that fails at once may be followed by nothing.
pub(crate) fn poll<T>(patience: Duration, pause: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        thread::park_timeout(pause);
    }
    None
}

/// The moment at which patience ends.
pub(crate) fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience
}

//! One connection: its queue towards the peer and the task that reads, writes and ends it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{Bounds, LINGER_TIME, READ_BELOW_QUEUED_BYTES};
use crate::gateway::vocabulary::StreamOrder;

/// Bytes that one read takes.
const READ_BYTES: usize = 16 << 10;
/// How long a peer may still send once everything was written.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much of that is thrown away before the connection is reset.
const LAST_WORDS_BYTES: usize = 1 << 20;

thread_local! {
    /// Where bytes are read before they are handed on: connections that wait hold no memory for it.
    static READ_BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// A connection, shared by its task and whoever has orders for it.
#[derive(Debug)]
pub(super) struct Port {
    stream: TcpStream,
    bounds: Bounds,
    state: Mutex<State>,
    /// Told when the task has to look at the state anew.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that were written already.
    written: usize,
    queued_bytes: usize,
    paused: bool,
    closing: bool,
    /// The queue reached its bound, or the system refused a write.
    failed: Option<String>,
}

impl State {
    /// Writes until the system takes no more; whether any byte was taken.
    fn write(&mut self, stream: &TcpStream) -> bool {
        let mut progress = false;
        while let Some(first) = self.queue.front() {
            match stream.try_write(first.get(self.written..).unwrap_or_default()) {
                Ok(count) => {
                    progress |= count > 0;
                    self.written += count;
                    self.queued_bytes = self.queued_bytes.saturating_sub(count);
                    if self.written >= first.len() {
                        self.queue.pop_front();
                        self.written = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.failed.get_or_insert(error.to_string());
                    break;
                }
            }
        }
        if self.queue.is_empty() {
            // Most connections have nothing to write for most of the time: they hold no memory then.
            self.queue = VecDeque::new();
        }
        progress
    }
}

impl Port {
    pub(super) fn new(stream: TcpStream, bounds: Bounds) -> Self {
        Self { stream, bounds, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn order(&self, order: StreamOrder) {
        let mut state = self.state();
        match order {
            StreamOrder::Send(bytes) => {
                if bytes.is_empty() || state.closing {
                    return;
                }
                state.queued_bytes += bytes.len();
                state.queue.push_back(bytes);
                if state.queue.len() == 1 {
                    state.write(&self.stream);
                }
                if state.queued_bytes > self.bounds.max_queued_bytes {
                    state.queue.clear();
                    state.failed.get_or_insert("the device takes too little of what is sent to it".to_owned());
                }
                if state.queue.is_empty() && state.failed.is_none() {
                    return;
                }
            }
            StreamOrder::Close => state.closing = true,
            StreamOrder::Pause => state.paused = true,
            StreamOrder::Resume => state.paused = false,
        }
        drop(state);
        self.changed.notify_one();
    }
}

/// What the task waits for.
struct Wanted {
    read: bool,
    write: bool,
}

/// Serves a connection until it ends. `tell` hands bytes on and says whether anybody takes more. Answers why the
/// connection ended, or nothing if the core had it closed.
pub(super) async fn serve<Told: Future<Output = bool>>(port: &Port, tell: impl Fn(Vec<u8>) -> Told) -> Option<String> {
    let mut stalled_at = None;
    loop {
        let wanted = {
            let state = port.state();
            if let Some(failure) = &state.failed {
                return (!state.closing).then(|| failure.clone());
            }
            if state.closing {
                break;
            }
            Wanted {
                read: !state.paused && state.queued_bytes < READ_BELOW_QUEUED_BYTES,
                write: !state.queue.is_empty(),
            }
        };
        if !wanted.write {
            stalled_at = None;
        } else if stalled_at.is_none() {
            stalled_at = Some(Instant::now() + port.bounds.stall_time);
        }
        tokio::select! {
            () = port.changed.notified() => {}
            _ = port.stream.writable(), if wanted.write => {
                if port.state().write(&port.stream) {
                    stalled_at = None;
                }
            }
            _ = port.stream.readable(), if wanted.read => match read(&port.stream) {
                Ok(bytes) if bytes.is_empty() => return Some("the device closed the connection".to_owned()),
                Ok(bytes) => {
                    if !tell(bytes).await {
                        return None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Some(error.to_string()),
            },
            () = wait_until(stalled_at) => return Some("the device takes nothing of what is sent to it".to_owned()),
        }
    }
    // The core is done with it. What goes wrong now has no consequence.
    let _ = timeout(LINGER_TIME, finish(port)).await;
    None
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn read(stream: &TcpStream) -> io::Result<Vec<u8>> {
    READ_BUFFER.with_borrow_mut(|buffer| {
        let count = stream.try_read(buffer)?;
        Ok(buffer.get(..count).unwrap_or_default().to_vec())
    })
}

/// Writes what waits, says that nothing more comes, and lets the peer read it.
async fn finish(port: &Port) {
    loop {
        {
            let mut state = port.state();
            state.write(&port.stream);
            if state.queue.is_empty() || state.failed.is_some() {
                break;
            }
        }
        if port.stream.writable().await.is_err() {
            return;
        }
    }
    if socket2::SockRef::from(&port.stream).shutdown(std::net::Shutdown::Write).is_err() {
        return;
    }
    let last_words = async {
        let mut thrown_away = 0;
        while thrown_away < LAST_WORDS_BYTES && port.stream.readable().await.is_ok() {
            match read(&port.stream) {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => thrown_away += bytes.len(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    };
    let _ = timeout(LAST_WORDS, last_words).await;
}

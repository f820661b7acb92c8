//! One connection: the port that takes orders for it, and the task that reads, writes and ends it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{LINGER_TIME, READ_BELOW_QUEUED_BYTES};
use crate::gateway::vocabulary::StreamOrder;

/// Orders that wait for the task; the bytes in them have a bound of their own.
const MAX_ORDERS: usize = 1 << 16;
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

/// What a connection may do at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes that wait to be written.
    pub(super) max_queued_bytes: usize,
    /// Time without any progress in writing.
    pub(super) stall_time: Duration,
}

/// Where orders for a connection go. Without it, the connection ends.
#[derive(Debug)]
pub(super) struct Port {
    orders: mpsc::Sender<StreamOrder>,
    queued_bytes: Arc<AtomicUsize>,
    max_queued_bytes: usize,
}

/// The connection, for its task.
#[derive(Debug)]
pub(super) struct Served {
    stream: TcpStream,
    orders: mpsc::Receiver<StreamOrder>,
    stall_time: Duration,
    queue: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that were written already.
    written: usize,
    /// Bytes that wait, those in orders included.
    queued_bytes: Arc<AtomicUsize>,
    paused: bool,
}

/// A connection and its port.
pub(super) fn open(stream: TcpStream, bounds: Bounds) -> (Port, Served) {
    let (sender, orders) = mpsc::channel(MAX_ORDERS);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let port = Port { orders: sender, queued_bytes: queued_bytes.clone(), max_queued_bytes: bounds.max_queued_bytes };
    let served = Served {
        stream,
        orders,
        stall_time: bounds.stall_time,
        queue: VecDeque::new(),
        written: 0,
        queued_bytes,
        paused: false,
    };
    (port, served)
}

impl Port {
    /// Hands an order on; `false` if the connection is gone or exceeds its bounds, whereupon it has to be dropped.
    pub(super) fn order(&self, order: StreamOrder) -> bool {
        if let StreamOrder::Send(bytes) = &order {
            let before = self.queued_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
            if before + bytes.len() > self.max_queued_bytes {
                return false;
            }
        }
        self.orders.try_send(order).is_ok()
    }
}

/// What an order, or the end of all orders, means to the task.
enum Next {
    GoOn,
    Finish,
    Fail,
}

impl Served {
    /// Serves the connection until it ends. `tell` hands bytes on and says whether anybody takes more. Answers why the
    /// connection ended, or nothing if the core had it closed.
    pub(super) async fn serve<Told: Future<Output = bool>>(mut self, tell: impl Fn(Vec<u8>) -> Told) -> Option<String> {
        let mut stalled_at = None;
        loop {
            let must_write = !self.queue.is_empty();
            if !must_write {
                stalled_at = None;
            } else if stalled_at.is_none() {
                stalled_at = Some(Instant::now() + self.stall_time);
            }
            let may_read = !self.paused && self.queued_bytes.load(Ordering::Relaxed) < READ_BELOW_QUEUED_BYTES;
            tokio::select! {
                biased;
                order = self.orders.recv() => match self.obey(order) {
                    Next::GoOn => {
                        if let Err(error) = self.write() {
                            return Some(error.to_string());
                        }
                    }
                    Next::Finish => break,
                    Next::Fail => return Some("the device takes too little of what is sent to it".to_owned()),
                },
                _ = self.stream.writable(), if must_write => match self.write() {
                    Ok(true) => stalled_at = None,
                    Ok(false) => {}
                    Err(error) => return Some(error.to_string()),
                },
                _ = self.stream.readable(), if may_read => match read(&self.stream) {
                    Ok(bytes) if bytes.is_empty() => return Some("the device closed the connection".to_owned()),
                    Ok(bytes) => {
                        if !tell(bytes).await {
                            return None;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Some(error.to_string()),
                },
                () = wait_until(stalled_at) => {
                    return Some("the device takes nothing of what is sent to it".to_owned());
                }
            }
        }
        // The core is done with it. What goes wrong now has no consequence.
        let _ = timeout(LINGER_TIME, self.finish()).await;
        None
    }

    fn obey(&mut self, order: Option<StreamOrder>) -> Next {
        match order {
            Some(StreamOrder::Send(bytes)) => {
                if !bytes.is_empty() {
                    self.queue.push_back(bytes);
                }
                Next::GoOn
            }
            Some(StreamOrder::Pause) => {
                self.paused = true;
                Next::GoOn
            }
            Some(StreamOrder::Resume) => {
                self.paused = false;
                Next::GoOn
            }
            Some(StreamOrder::Close) => Next::Finish,
            None => Next::Fail,
        }
    }

    /// Writes until the system takes no more; whether any byte was taken.
    fn write(&mut self) -> io::Result<bool> {
        let mut progress = false;
        while let Some(first) = self.queue.front() {
            match self.stream.try_write(first.get(self.written..).unwrap_or_default()) {
                Ok(count) => {
                    progress |= count > 0;
                    self.written += count;
                    self.queued_bytes.fetch_sub(count, Ordering::Relaxed);
                    if self.written >= first.len() {
                        self.queue.pop_front();
                        self.written = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.queue.is_empty() {
            // Most connections have nothing to write for most of the time: they hold no memory then.
            self.queue = VecDeque::new();
        }
        Ok(progress)
    }

    /// Writes what waits, says that nothing more comes, and lets the peer read it.
    async fn finish(&mut self) {
        loop {
            match self.write() {
                Ok(_) if self.queue.is_empty() => break,
                Ok(_) => {}
                Err(_) => return,
            }
            if self.stream.writable().await.is_err() {
                return;
            }
        }
        if socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let last_words = async {
            let mut thrown_away = 0;
            while thrown_away < LAST_WORDS_BYTES && self.stream.readable().await.is_ok() {
                match read(&self.stream) {
                    Ok(bytes) if bytes.is_empty() => break,
                    Ok(bytes) => thrown_away += bytes.len(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
        };
        let _ = timeout(LAST_WORDS, last_words).await;
    }
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

//! One connection: the port that takes orders for it, and the task that reads, writes and ends it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{LINGER_TIME, READ_BELOW_QUEUED_BYTES};
use crate::gateway::vocabulary::StreamOrder;

/// Orders that wait for the task; the bytes in them have a bound of their own.
const MAX_ORDERS: usize = 1 << 16;
/// Bytes that one read takes: a record of TLS (RFC 8446 section 5.1).
const READ_BYTES: usize = 16 << 10;
/// Bytes that one write hands over: TLS takes all of them or none, and what it takes is progress.
const WRITE_BYTES: usize = 16 << 10;
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
pub(super) struct Served<S> {
    stream: S,
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
pub(super) fn open<S>(stream: S, bounds: Bounds) -> (Port, Served<S>) {
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

/// What a stream did.
enum Moved {
    /// It took so many bytes.
    Out(usize),
    /// It gave these; none at its end.
    In(Vec<u8>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Served<S> {
    /// Serves the connection until it ends. `tell` hands bytes on and says whether anybody takes more. Answers why the
    /// connection ended, or nothing if the core had it closed.
    pub(super) async fn serve<Told: Future<Output = bool>>(mut self, tell: impl Fn(Vec<u8>) -> Told) -> Option<String> {
        let mut stalled_at = None;
        loop {
            if self.queue.is_empty() {
                stalled_at = None;
            } else if stalled_at.is_none() {
                stalled_at = Some(Instant::now() + self.stall_time);
            }
            let may_read = !self.paused && self.queued_bytes.load(Ordering::Relaxed) < READ_BELOW_QUEUED_BYTES;
            tokio::select! {
                biased;
                order = self.orders.recv() => match self.obey(order) {
                    Next::GoOn => {}
                    Next::Finish => break,
                    Next::Fail => return Some("the device takes too little of what is sent to it".to_owned()),
                },
                moved = moves(&mut self.stream, next_part(&self.queue, self.written), may_read) => match moved {
                    Ok(Moved::Out(count)) => {
                        self.wrote(count);
                        stalled_at = None;
                    }
                    Ok(Moved::In(bytes)) if bytes.is_empty() => {
                        return Some("the device closed the connection".to_owned());
                    }
                    Ok(Moved::In(bytes)) => {
                        if !tell(bytes).await {
                            return None;
                        }
                    }
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

    /// Counts what the stream took.
    fn wrote(&mut self, count: usize) {
        self.written += count;
        self.queued_bytes.fetch_sub(count, Ordering::Relaxed);
        if self.queue.front().is_some_and(|first| self.written >= first.len()) {
            self.queue.pop_front();
            self.written = 0;
        }
        if self.queue.is_empty() {
            // Most connections have nothing to write for most of the time: they hold no memory then.
            self.queue = VecDeque::new();
        }
    }

    /// Writes what waits, says that nothing more comes, and lets the peer read it.
    async fn finish(&mut self) {
        while !self.queue.is_empty() {
            match moves(&mut self.stream, next_part(&self.queue, self.written), false).await {
                Ok(Moved::Out(count)) => self.wrote(count),
                _ => return,
            }
        }
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let last_words = async {
            let mut thrown_away = 0;
            while thrown_away < LAST_WORDS_BYTES {
                match poll_fn(|context| poll_bytes(&mut self.stream, context)).await {
                    Ok(bytes) if !bytes.is_empty() => thrown_away += bytes.len(),
                    _ => break,
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

/// The part that is to be written next.
fn next_part(queue: &VecDeque<Vec<u8>>, written: usize) -> &[u8] {
    let rest = queue.front().and_then(|first| first.get(written..)).unwrap_or_default();
    rest.get(..WRITE_BYTES).unwrap_or(rest)
}

/// Resolves when the stream took something of this part, or gave something.
async fn moves(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), part: &[u8], may_read: bool) -> io::Result<Moved> {
    poll_fn(|context| {
        if !part.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(context, part)
        {
            return Poll::Ready(match written {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                written => written.map(Moved::Out),
            });
        }
        if may_read { poll_bytes(stream, context).map_ok(Moved::In) } else { Poll::Pending }
    })
    .await
}

/// Reads what is there; nothing at the end.
fn poll_bytes(stream: &mut (impl AsyncRead + Unpin), context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
    READ_BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        Pin::new(stream).poll_read(context, &mut buffer).map_ok(|()| buffer.filled().to_vec())
    })
}

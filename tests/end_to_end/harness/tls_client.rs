//! The `openssl` command as a client: bytes written to it leave over TLS, and what comes is read from it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;

use tempfile::TempDir;

use super::PATIENCE;

/// Pieces that may wait to be looked at; the command then waits to write more.
const MAX_PIECES_WAITING: usize = 10_000;

/// A connection of `openssl s_client`.
pub(crate) struct TlsClient {
    child: Child,
    stdin: ChildStdin,
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    folder: TempDir,
}

impl TlsClient {
    /// Connects with further arguments; files of these are laid beside it under their names.
    pub(crate) fn connect(server: SocketAddr, arguments: &[&str], files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a writable folder");
        }
        let errors = File::create(folder.path().join("stderr")).expect("a file for standard error");
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &server.to_string()])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("openssl: {error}; run `tests/run packages`"));
        let mut stdout = child.stdout.take().expect("a piped standard output");
        let (send, pieces) = sync_channel(MAX_PIECES_WAITING);
        thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take().expect("a piped standard input");
        Self { child, stdin, pieces, piece: Vec::new(), folder }
    }

    /// What it wrote to standard error.
    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Waits until it has ended by itself, and answers what it wrote to standard error.
    pub(crate) fn wait_for_end(mut self) -> String {
        let mut rest = Vec::new();
        self.read_to_end(&mut rest).unwrap_or_else(|error| panic!("openssl goes on ({error}): {}", self.errors()));
        drop(self.child.wait());
        self.errors()
    }
}

impl Read for TlsClient {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = match self.pieces.recv_timeout(PATIENCE) {
                Ok(piece) => piece,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
            };
        }
        let count = self.piece.len().min(room.len());
        room[..count].copy_from_slice(&self.piece[..count]);
        self.piece.drain(..count);
        Ok(count)
    }
}

impl Write for TlsClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdin.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdin.flush()
    }
}

impl Drop for TlsClient {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- standard error of openssl\n{}", self.errors());
        }
    }
}

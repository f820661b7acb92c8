//! Connections for a fleet of simulated devices on CoAP over TCP and TLS: one task and one connection for each device.
//!
//! A device connects when its turn comes to register. To a server on the loopback interface it comes from an address of
//! its own, as servers bound connections by address. A connection that is refused or breaks is made anew after a while,
//! and the device says by an Update where it is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslContext};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant as TokioInstant, sleep_until, timeout_at};
use tokio_openssl::SslStream;

use super::fleet::{Clock, GRACE, device_address};
use super::secure::context::{Carrier, psk_client_context};
use crate::model::credential::SecretBytes;
use crate::simulator::fleet::Fleet;
use crate::simulator::statistics::FleetStatistics;
use crate::simulator::stream::StreamAdapter;

/// Bytes that one read takes.
const READ_BYTES: usize = 16 << 10;
/// What LwM2M devices speak most, and the same with longer tags.
const SUITES: &str = "PSK-AES128-CCM8:PSK-AES128-GCM-SHA256";
/// Wait before a connection is tried again.
const RECONNECT: Duration = Duration::from_secs(2);
/// How long the answer to a de-registration is waited for.
const GOODBYE: Duration = Duration::from_secs(1);

/// Opens the socket of a device, not connected yet.
///
/// # Errors
/// As the system says; too few files among them.
pub(super) fn open_socket(server: SocketAddr, number: u32, own_address: bool) -> io::Result<TcpSocket> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if own_address {
        socket.bind((device_address(number), 0).into())?;
    }
    Ok(socket)
}

/// A connection, plain or over TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Identity and key of a device.
type Credential = (Vec<u8>, Vec<u8>);

/// What all devices of a fleet need for TLS: a context is large, so they share one.
#[derive(Clone)]
pub(super) struct Tls {
    context: SslContext,
    credentials: Index<Ssl, Credential>,
}

impl Tls {
    /// Clients with pre-shared keys.
    ///
    /// # Errors
    /// If the library refuses.
    pub(super) fn new() -> Result<Self, ErrorStack> {
        let credentials = Ssl::new_ex_index()?;
        let context = psk_client_context(Carrier::Stream, SUITES, move |ssl| ssl.ex_data(credentials).cloned())?;
        Ok(Self { context, credentials })
    }

    async fn connect(&self, stream: TcpStream, credential: Credential) -> io::Result<SslStream<TcpStream>> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_ex_data(self.credentials, credential);
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
        Ok(stream)
    }
}

/// How a device proves who it is.
#[derive(Clone)]
pub(super) struct StreamSecurity {
    pub(super) tls: Tls,
    pub(super) identity: String,
    pub(super) key: SecretBytes,
}

/// A device and its connection.
pub(super) struct StreamTask {
    /// The socket of its first connection.
    pub(super) socket: Option<TcpSocket>,
    /// A fleet of one.
    pub(super) fleet: Fleet,
    pub(super) number: u32,
    pub(super) own_address: bool,
    pub(super) clock: Clock,
    pub(super) server: SocketAddr,
    /// `None`: plain TCP.
    pub(super) security: Option<StreamSecurity>,
}

/// A connection and what adapts the device to it.
type Connection = (Box<dyn Stream>, StreamAdapter);

/// Why a connection is no longer served.
#[derive(PartialEq, Eq)]
enum Ended {
    Broken,
    Finished,
}

impl StreamTask {
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>, deregisters: bool) -> (FleetStatistics, u64) {
        let mut end = None;
        let start = self.fleet.next_deadline().map_or(self.clock.start, |at| self.clock.at(at));
        let mut next = start;
        let mut connections = 0;
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                () = told_to_stop(&mut stopped) => break,
            }
            next = TokioInstant::now() + RECONNECT;
            let Ok(stream) = self.connect().await else { continue };
            let mut connection = (stream, StreamAdapter::new(self.clock.now(), connections));
            if connections > 0 {
                self.fleet.reconnected(self.clock.now(), 0);
            }
            connections += 1;
            if self.serve(&mut connection, &mut stopped, &mut end).await == Ended::Finished {
                let registered = self.fleet.registered() as u64;
                let statistics = self.fleet.statistics().clone();
                if deregisters && registered > 0 {
                    let _ = timeout_at(TokioInstant::now() + GOODBYE, self.say_goodbye(&mut connection)).await;
                }
                return (statistics, registered);
            }
        }
        (self.fleet.statistics().clone(), 0)
    }

    async fn connect(&mut self) -> io::Result<Box<dyn Stream>> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open_socket(self.server, self.number, self.own_address)?,
        };
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        let Some(StreamSecurity { tls, identity, key }) = &self.security else { return Ok(Box::new(stream)) };
        let credential = (identity.as_bytes().to_vec(), key.expose().to_vec());
        Ok(Box::new(tls.connect(stream, credential).await?))
    }

    /// Serves a connection until it breaks or the run is over.
    async fn serve(
        &mut self,
        connection: &mut Connection,
        stopped: &mut watch::Receiver<bool>,
        end: &mut Option<TokioInstant>,
    ) -> Ended {
        loop {
            self.fleet.handle_timeout(self.clock.now());
            if self.exchange(connection).await.is_err() || connection.1.closed().is_some() {
                return Ended::Broken;
            }
            if end.is_some_and(|end| end <= TokioInstant::now() || !self.fleet.has_notification_in_flight()) {
                return Ended::Finished;
            }
            let due = self.fleet.next_deadline().map(|at| self.clock.at(at));
            let wake = due.into_iter().chain(*end).min().unwrap_or_else(|| TokioInstant::now() + 3_600 * GOODBYE);
            tokio::select! {
                received = receive(&mut connection.0) => match received {
                    Ok(bytes) if !bytes.is_empty() => connection.1.from_server(self.clock.now(), bytes),
                    _ => return Ended::Broken,
                },
                () = sleep_until(wake) => {}
                () = told_to_stop(stopped), if end.is_none() => {
                    self.fleet.stop_reporting();
                    *end = Some(TokioInstant::now() + GRACE);
                }
            }
        }
    }

    /// Moves everything between device, adapter and socket until nothing is left to move.
    async fn exchange(&mut self, (stream, adapter): &mut Connection) -> io::Result<()> {
        loop {
            while let Some(departure) = self.fleet.poll_transmit() {
                adapter.from_device(&departure.bytes);
            }
            while let Some(bytes) = adapter.poll_server() {
                stream.write_all(&bytes).await?;
            }
            let Some(datagram) = adapter.poll_device() else { return Ok(()) };
            self.fleet.handle_datagram(self.clock.now(), 0, &datagram);
        }
    }

    /// De-registers and waits for the answer.
    async fn say_goodbye(&mut self, connection: &mut Connection) -> io::Result<()> {
        self.fleet.deregister_all(self.clock.now());
        while self.fleet.registered() > 0 {
            self.exchange(connection).await?;
            let bytes = receive(&mut connection.0).await?;
            if bytes.is_empty() {
                break;
            }
            connection.1.from_server(self.clock.now(), bytes);
            self.exchange(connection).await?;
        }
        Ok(())
    }
}

async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that whoever runs the fleet is gone, which is a stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// What has come; nothing at the end. Nothing is lost if nobody waits for it to the end.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    stream.read_buf(&mut bytes).await?;
    Ok(bytes)
}

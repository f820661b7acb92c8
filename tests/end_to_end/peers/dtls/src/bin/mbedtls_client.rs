//! Mbed TLS as a DTLS 1.2 client with a connection id (RFC 9146): see the library of this crate for its lines.

use std::ffi::{CStr, c_int, c_uchar, c_void};
use std::fs::File;
use std::io::{BufRead, Read};
use std::net::UdpSocket;
use std::ptr::null_mut;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use dtls_clients::{Arguments, Proof, Wanted, connected, failed, moved, received};
use mbedtls_rs_sys::*;

/// How long a read waits before standard input is looked at again.
const TICK: Duration = Duration::from_millis(20);
/// What the tests want of it; a list of the library's ends with zero.
const KEY_SUITES: [c_int; 2] = [MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8 as c_int, 0];
const CERTIFICATE_SUITES: [c_int; 2] = [MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 as c_int, 0];

/// The socket; another one takes its place when the client moves.
struct Path {
    socket: UdpSocket,
    server: std::net::SocketAddr,
}

impl Path {
    fn new(server: std::net::SocketAddr) -> Self {
        Self { socket: Self::socket(server), server }
    }

    fn socket(server: std::net::SocketAddr) -> UdpSocket {
        let local = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(local).unwrap_or_else(|error| failed(&error.to_string()));
        socket.connect(server).expect("a loopback address");
        socket.set_read_timeout(Some(TICK)).expect("a timeout that is not zero");
        socket
    }

    fn move_on(&mut self) -> u16 {
        // The old socket is kept until the new one has a port, so that it is another.
        self.socket = Self::socket(self.server);
        self.socket.local_addr().expect("a bound socket").port()
    }
}

unsafe extern "C" fn send(path: *mut c_void, bytes: *const c_uchar, length: usize) -> c_int {
    let (path, bytes) = unsafe { (&*path.cast::<Path>(), std::slice::from_raw_parts(bytes, length)) };
    // A server that is away is the same as a lost datagram.
    drop(path.socket.send(bytes));
    c_int::try_from(length).expect("a datagram")
}

unsafe extern "C" fn receive(path: *mut c_void, bytes: *mut c_uchar, length: usize) -> c_int {
    let (path, bytes) = unsafe { (&*path.cast::<Path>(), std::slice::from_raw_parts_mut(bytes, length)) };
    match path.socket.recv(bytes) {
        Ok(count) => c_int::try_from(count).expect("a datagram"),
        // Nothing came, or the server is away for the moment.
        Err(_) => MBEDTLS_ERR_SSL_WANT_READ,
    }
}

unsafe extern "C" fn random(source: *mut c_void, bytes: *mut c_uchar, length: usize) -> c_int {
    let (source, bytes) = unsafe { (&mut *source.cast::<File>(), std::slice::from_raw_parts_mut(bytes, length)) };
    source.read_exact(bytes).map_or(-1, |()| 0)
}

/// The library's retransmission timer: when it was set, and its two delays.
struct Timer {
    set: Instant,
    intermediate: Duration,
    end: Option<Duration>,
}

unsafe extern "C" fn set_timer(timer: *mut c_void, intermediate: u32, end: u32) {
    let timer = unsafe { &mut *timer.cast::<Timer>() };
    timer.set = Instant::now();
    timer.intermediate = Duration::from_millis(intermediate.into());
    timer.end = (end > 0).then(|| Duration::from_millis(end.into()));
}

unsafe extern "C" fn get_timer(timer: *mut c_void) -> c_int {
    let timer = unsafe { &*timer.cast::<Timer>() };
    let passed = timer.set.elapsed();
    match timer.end {
        None => -1,
        Some(end) if passed >= end => 2,
        Some(_) if passed >= timer.intermediate => 1,
        Some(_) => 0,
    }
}

fn check(what: &str, code: c_int) {
    if code != 0 {
        failed(&format!("{what}: -0x{:04x}", -code));
    }
}

/// A PEM file as the library wants it, with a NUL at its end.
fn pem(path: &str) -> Vec<u8> {
    let mut text = std::fs::read(path).unwrap_or_else(|error| failed(&format!("{path}: {error}")));
    text.push(0);
    text
}

fn lines() -> Receiver<Wanted> {
    let (send, wanted) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Some(wanted) = Wanted::parse(&line) else { failed(&format!("cannot obey: {line}")) };
            if send.send(wanted).is_err() {
                break;
            }
        }
    });
    wanted
}

fn main() {
    let arguments = Arguments::read();
    let mut path = Path::new(arguments.server);
    let mut source = File::open("/dev/urandom").expect("random bytes");
    let source: *mut c_void = (&raw mut source).cast();
    let mut timer = Timer { set: Instant::now(), intermediate: Duration::ZERO, end: None };

    // Everything below lives until the program ends, as the library keeps pointers to it.
    let mut config = Box::new(mbedtls_ssl_config::default());
    let mut session = Box::new(mbedtls_ssl_context::default());
    let mut authorities = Box::new(mbedtls_x509_crt::default());
    let mut own = Box::new(mbedtls_x509_crt::default());
    let mut own_key = Box::new(mbedtls_pk_context::default());
    let (config, session): (*mut _, *mut _) = (&mut *config, &mut *session);
    unsafe {
        mbedtls_ssl_config_init(config);
        mbedtls_ssl_init(session);
        check(
            "the configuration",
            mbedtls_ssl_config_defaults(
                config,
                MBEDTLS_SSL_IS_CLIENT as c_int,
                MBEDTLS_SSL_TRANSPORT_DATAGRAM as c_int,
                MBEDTLS_SSL_PRESET_DEFAULT as c_int,
            ),
        );
        mbedtls_ssl_conf_rng(config, Some(random), source);
        match &arguments.proof {
            Proof::Key { identity, key } => {
                mbedtls_ssl_conf_ciphersuites(config, KEY_SUITES.as_ptr());
                check(
                    "the key",
                    mbedtls_ssl_conf_psk(config, key.as_ptr(), key.len(), identity.as_ptr(), identity.len()),
                );
            }
            Proof::Certificate { authority, certificate, key } => {
                mbedtls_ssl_conf_ciphersuites(config, CERTIFICATE_SUITES.as_ptr());
                mbedtls_x509_crt_init(&mut *authorities);
                mbedtls_x509_crt_init(&mut *own);
                mbedtls_pk_init(&mut *own_key);
                let text = pem(authority);
                check("the authority", mbedtls_x509_crt_parse(&mut *authorities, text.as_ptr(), text.len()));
                let text = pem(certificate);
                check("the certificate", mbedtls_x509_crt_parse(&mut *own, text.as_ptr(), text.len()));
                let text = pem(key);
                let none = std::ptr::null();
                let parsed =
                    mbedtls_pk_parse_key(&mut *own_key, text.as_ptr(), text.len(), none, 0, Some(random), source);
                check("the private key", parsed);
                mbedtls_ssl_conf_ca_chain(config, &mut *authorities, null_mut());
                mbedtls_ssl_conf_authmode(config, MBEDTLS_SSL_VERIFY_REQUIRED as c_int);
                check("the certificate", mbedtls_ssl_conf_own_cert(config, &mut *own, &mut *own_key));
            }
        }
        if let Some(id) = &arguments.connection_id {
            let ignore = MBEDTLS_SSL_UNEXPECTED_CID_IGNORE as c_int;
            check("the connection id", mbedtls_ssl_conf_cid(config, id.len(), ignore));
        }
        check("the session", mbedtls_ssl_setup(session, config));
        if let Some(id) = &arguments.connection_id {
            let enabled = MBEDTLS_SSL_CID_ENABLED as c_int;
            check("the connection id", mbedtls_ssl_set_cid(session, enabled, id.as_ptr(), id.len()));
        }
        // The name of the server is not what these sessions are about.
        check("the name of the server", mbedtls_ssl_set_hostname(session, std::ptr::null()));
        mbedtls_ssl_set_bio(session, (&raw mut path).cast(), Some(send), Some(receive), None);
        mbedtls_ssl_set_timer_cb(session, (&raw mut timer).cast(), Some(set_timer), Some(get_timer));
        loop {
            match mbedtls_ssl_handshake(session) {
                0 => break,
                MBEDTLS_ERR_SSL_WANT_READ | MBEDTLS_ERR_SSL_WANT_WRITE => {}
                code => check("the handshake", code),
            }
        }
        let (mut used, mut id, mut length) = (0, [0; 32], 0);
        check("the connection id", mbedtls_ssl_get_peer_cid(session, &mut used, id.as_mut_ptr(), &mut length));
        let suite = CStr::from_ptr(mbedtls_ssl_get_ciphersuite(session)).to_string_lossy();
        connected(&suite, used == MBEDTLS_SSL_CID_ENABLED as c_int);
        talk(session, &raw mut path);
        mbedtls_ssl_close_notify(session);
    }
}

/// Sends what standard input says and tells what comes, until standard input ends.
unsafe fn talk(session: *mut mbedtls_ssl_context, path: *mut Path) {
    let wanted = lines();
    let mut buffer = vec![0; 2_048];
    loop {
        match wanted.try_recv() {
            Ok(Wanted::Send(bytes)) => {
                let written = unsafe { mbedtls_ssl_write(session, bytes.as_ptr(), bytes.len()) };
                if usize::try_from(written) != Ok(bytes.len()) {
                    failed(&format!("a datagram is not sent: {written}"));
                }
            }
            Ok(Wanted::Move) => moved(unsafe { (*path).move_on() }),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        match unsafe { mbedtls_ssl_read(session, buffer.as_mut_ptr(), buffer.len()) } {
            MBEDTLS_ERR_SSL_WANT_READ | MBEDTLS_ERR_SSL_WANT_WRITE | MBEDTLS_ERR_SSL_TIMEOUT => {}
            MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY => failed("the server closed the session"),
            count => match usize::try_from(count) {
                Ok(count) => received(&buffer[..count]),
                Err(_) => failed(&format!("a read failed: -0x{:04x}", -count)),
            },
        }
    }
}

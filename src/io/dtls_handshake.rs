//! What the TLS library offers no safe call for: the only file with `unsafe`.
//!
//! Each function wraps one or two calls of OpenSSL 3.5 whose declarations `openssl-sys` lacks, and says why it is sound.
//! Nothing here decides anything.
#![expect(unsafe_code, reason = "calls into OpenSSL that the openssl crate does not wrap")]

use std::ffi::{c_int, c_long, c_uchar, c_uint, c_void};
use std::time::Duration;

use foreign_types::ForeignTypeRef as _;
use openssl::error::ErrorStack;
use openssl::pkey::{PKeyRef, Public};
use openssl::ssl::{SslContextBuilder, SslRef, SslSession, SslSessionRef};
use openssl::x509::{X509StoreContextRef, X509VerifyResult};
use openssl_sys::{EVP_PKEY, SSL, SSL_CTX, SSL_SESSION, X509_STORE_CTX};

/// `BIO_ADDR`.
enum BioAddress {}

/// `struct timeval`.
#[repr(C)]
struct TimeValue {
    seconds: c_long,
    micros: c_long,
}

type GenerateTicket = extern "C" fn(*mut SSL, *mut c_void) -> c_int;
type DecryptTicket = extern "C" fn(*mut SSL, *mut SSL_SESSION, *const c_uchar, usize, c_int, *mut c_void) -> c_int;

unsafe extern "C" {
    fn DTLSv1_listen(ssl: *mut SSL, client: *mut BioAddress) -> c_int;
    fn BIO_ADDR_new() -> *mut BioAddress;
    fn BIO_ADDR_free(address: *mut BioAddress);
    fn DTLS_set_timer_cb(ssl: *mut SSL, callback: extern "C" fn(*mut SSL, c_uint) -> c_uint);
    fn SSL_CTX_set1_client_cert_type(context: *mut SSL_CTX, types: *const c_uchar, length: usize) -> c_int;
    fn SSL_CTX_set1_server_cert_type(context: *mut SSL_CTX, types: *const c_uchar, length: usize) -> c_int;
    fn SSL_CTX_set_timeout(context: *mut SSL_CTX, seconds: c_long) -> c_long;
    fn SSL_get0_peer_rpk(ssl: *const SSL) -> *mut EVP_PKEY;
    fn X509_STORE_CTX_get0_rpk(context: *const X509_STORE_CTX) -> *mut EVP_PKEY;
    fn SSL_CTX_set_session_ticket_cb(
        context: *mut SSL_CTX,
        generate: GenerateTicket,
        decrypt: DecryptTicket,
        argument: *mut c_void,
    ) -> c_int;
    fn SSL_SESSION_set1_ticket_appdata(session: *mut SSL_SESSION, data: *const c_void, length: usize) -> c_int;
    fn SSL_SESSION_get0_ticket_appdata(session: *mut SSL_SESSION, data: *mut *mut c_void, length: *mut usize) -> c_int;
}

/// `DTLS_CTRL_GET_TIMEOUT`.
const GET_TIMEOUT: c_int = 73;
/// `DTLS_CTRL_HANDLE_TIMEOUT`.
const HANDLE_TIMEOUT: c_int = 74;
/// `SSL_CTRL_SET_TLSEXT_TICKET_KEYS`.
const SET_TICKET_KEYS: c_int = 59;
/// `SSL_TICKET_SUCCESS`.
const TICKET_SUCCESS: c_int = 5;
/// `SSL_TICKET_RETURN_IGNORE`: a full handshake, and no new ticket asked for beyond the usual.
const IGNORE_TICKET: c_int = 1;
/// `SSL_TICKET_RETURN_USE`.
const USE_TICKET: c_int = 3;
/// `SSL_TICKET_RETURN_IGNORE_RENEW`.
const IGNORE_AND_RENEW: c_int = 2;

/// Longest time between two repetitions of a flight (RFC 6347 section 4.2.4.1).
const LONGEST_TIMER_MICROS: c_uint = 60_000_000;

/// Reads a ClientHello whose cookie was verified before, and goes on where a HelloVerifyRequest was answered.
/// `false`: the library does not take it.
pub(super) fn listen(ssl: &SslRef) -> bool {
    // SAFETY: `ssl` is alive and not in a call of its own; the address is made and freed here, and the library only
    // writes to it.
    unsafe {
        let address = BIO_ADDR_new();
        if address.is_null() {
            return false;
        }
        let listened = DTLSv1_listen(ssl.as_ptr(), address);
        BIO_ADDR_free(address);
        listened == 1
    }
}

/// What the callbacks of this file ask about the handshake of an `SSL`; lives in its ex data.
pub(super) trait Callbacks: Send + Sync + 'static {
    /// Its ex data in `ssl`.
    fn of(ssl: &SslRef) -> Option<&Self>
    where
        Self: Sized;
    /// First time until a flight is repeated.
    fn first_timeout(&self) -> Duration;
    /// What a ticket carries beside the session.
    fn ticket_data(&self, ssl: &SslRef) -> Option<Vec<u8>>;
    /// Whether a session may be resumed that carries this.
    fn may_resume(&self, ticket_data: &[u8]) -> bool;
}

extern "C" fn next_timer<C: Callbacks>(ssl: *mut SSL, micros: c_uint) -> c_uint {
    if micros > 0 {
        return micros.saturating_mul(2).min(LONGEST_TIMER_MICROS);
    }
    // SAFETY: the library hands over the live `SSL` whose timer it sets, and holds no reference of ours to it.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    C::of(ssl).map_or(1_000_000, |callbacks| callbacks.first_timeout().as_micros().min(60_000_000) as c_uint)
}

/// Takes the time until a flight is repeated first from the callbacks; it doubles each time.
pub(super) fn set_timer<C: Callbacks>(ssl: &SslRef) {
    // SAFETY: `ssl` is alive; the callback is a function that lives as long as the program.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), next_timer::<C>) }
}

/// How long until a flight is to be repeated; `None`: nothing is awaited.
pub(super) fn timeout(ssl: &SslRef) -> Option<Duration> {
    let mut left = TimeValue { seconds: 0, micros: 0 };
    // SAFETY: `ssl` is alive, and this control writes one `struct timeval` behind the pointer.
    let set = unsafe { openssl_sys::SSL_ctrl(ssl.as_ptr(), GET_TIMEOUT, 0, (&raw mut left).cast()) };
    let (seconds, micros) = (u64::try_from(left.seconds).ok()?, u32::try_from(left.micros).ok()?);
    (set == 1).then(|| Duration::new(seconds, micros.saturating_mul(1_000)))
}

/// Repeats the flight if it is time; `false`: it was repeated too often.
pub(super) fn repeat_flight(ssl: &SslRef) -> bool {
    // SAFETY: `ssl` is alive; the control takes no argument.
    unsafe { openssl_sys::SSL_ctrl(ssl.as_ptr(), HANDLE_TIMEOUT, 0, std::ptr::null_mut()) >= 0 }
}

/// Offers a session to resume, as a client.
pub(super) fn set_session(ssl: &SslRef, session: &SslSessionRef) -> Result<(), ErrorStack> {
    // SAFETY: both are alive, and the library counts a reference to the session.
    let set = unsafe { openssl_sys::SSL_set_session(ssl.as_ptr(), session.as_ptr()) };
    if set == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Which kinds of certificates the server shows and takes, in its order (RFC 7250): 0 X.509, 2 raw public key.
pub(super) fn set_certificate_types(
    context: &mut SslContextBuilder,
    own: &[u8],
    clients: &[u8],
) -> Result<(), ErrorStack> {
    // SAFETY: the context is alive and the library copies the bytes.
    let set = unsafe {
        SSL_CTX_set1_server_cert_type(context.as_ptr(), own.as_ptr(), own.len()) == 1
            && SSL_CTX_set1_client_cert_type(context.as_ptr(), clients.as_ptr(), clients.len()) == 1
    };
    if set { Ok(()) } else { Err(ErrorStack::get()) }
}

/// How long a session can be resumed.
pub(super) fn set_session_lifetime(context: &mut SslContextBuilder, lifetime: Duration) {
    let seconds = c_long::try_from(lifetime.as_secs()).unwrap_or(c_long::MAX);
    // SAFETY: the context is alive.
    unsafe {
        SSL_CTX_set_timeout(context.as_ptr(), seconds);
    }
}

/// The key that tickets are sealed with: name, HMAC key, cipher key.
pub(super) fn set_ticket_key(context: &mut SslContextBuilder, key: &[u8; 80]) -> Result<(), ErrorStack> {
    let length = c_long::try_from(key.len()).unwrap_or_default();
    // SAFETY: the context is alive; the library copies the bytes and does not write to them.
    let set =
        unsafe { openssl_sys::SSL_CTX_ctrl(context.as_ptr(), SET_TICKET_KEYS, length, key.as_ptr().cast_mut().cast()) };
    if set == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

extern "C" fn generate_ticket<C: Callbacks>(ssl: *mut SSL, _argument: *mut c_void) -> c_int {
    // SAFETY: the library hands over the live `SSL` that makes a ticket.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    let data = C::of(ssl).and_then(|callbacks| callbacks.ticket_data(ssl));
    let (Some(data), Some(session)) = (data, ssl.session()) else { return 1 };
    c_int::from(set_session_data(session, &data))
}

extern "C" fn decrypt_ticket<C: Callbacks>(
    ssl: *mut SSL,
    session: *mut SSL_SESSION,
    _name: *const c_uchar,
    _name_bytes: usize,
    status: c_int,
    _argument: *mut c_void,
) -> c_int {
    if status < TICKET_SUCCESS || session.is_null() {
        return IGNORE_AND_RENEW;
    }
    // SAFETY: the library hands over the live `SSL` and the session that it has just opened, and keeps both alive.
    let (ssl, session) = unsafe { (SslRef::from_ptr(ssl), SslSessionRef::from_ptr(session)) };
    let data = session_data(session);
    let may = data.zip(C::of(ssl)).is_some_and(|(data, callbacks)| callbacks.may_resume(&data));
    if may { USE_TICKET } else { IGNORE_TICKET }
}

/// Tickets carry what the callbacks say, and are taken if the callbacks say so.
pub(super) fn set_ticket_callbacks<C: Callbacks>(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    // SAFETY: the context is alive; the callbacks are functions that live as long as the program and use no argument.
    let set = unsafe {
        SSL_CTX_set_session_ticket_cb(context.as_ptr(), generate_ticket::<C>, decrypt_ticket::<C>, std::ptr::null_mut())
    };
    if set == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// What a session carries beside itself, also in its DER.
pub(super) fn session_data(session: &SslSessionRef) -> Option<Vec<u8>> {
    let (mut data, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: the session is alive; the bytes are copied before anything can change them.
    unsafe {
        let found = SSL_SESSION_get0_ticket_appdata(session.as_ptr(), &raw mut data, &raw mut length) == 1;
        (found && !data.is_null() && length > 0)
            .then(|| std::slice::from_raw_parts(data.cast::<u8>().cast_const(), length).to_vec())
    }
}

/// Puts it there.
pub(super) fn set_session_data(session: &SslSessionRef, data: &[u8]) -> bool {
    // SAFETY: the session is alive and used by one thread; the library copies the bytes.
    unsafe { SSL_SESSION_set1_ticket_appdata(session.as_ptr(), data.as_ptr().cast(), data.len()) == 1 }
}

/// Sessions to resume by their id come from `find`.
pub(super) fn set_session_source<F>(context: &mut SslContextBuilder, find: F)
where
    F: Fn(&mut SslRef, &[u8]) -> Option<SslSession> + Send + Sync + 'static,
{
    // SAFETY: the sessions come from DER or from this very context, and none is used by two threads.
    unsafe { context.set_get_session_callback(find) }
}

/// The raw public key that the peer showed: SubjectPublicKeyInfo, DER.
pub(super) fn peer_public_key(ssl: &SslRef) -> Option<Vec<u8>> {
    // SAFETY: `ssl` is alive, and owns the key for as long as this call takes.
    unsafe { spki(SSL_get0_peer_rpk(ssl.as_ptr())) }
}

/// The raw public key that is being verified.
pub(super) fn public_key_to_verify(context: &X509StoreContextRef) -> Option<Vec<u8>> {
    // SAFETY: the context is alive, and so is the key for as long as this call takes.
    unsafe { spki(X509_STORE_CTX_get0_rpk(context.as_ptr())) }
}

/// The result of a verification by its number.
pub(super) fn verify_result(code: i32) -> X509VerifyResult {
    // SAFETY: the type holds any number; for one that it does not know the library has a text too.
    unsafe { X509VerifyResult::from_raw(code) }
}

/// # Safety
/// `key` is null or a live key.
unsafe fn spki(key: *mut EVP_PKEY) -> Option<Vec<u8>> {
    if key.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    let key: &PKeyRef<Public> = unsafe { PKeyRef::from_ptr(key) };
    key.public_key_to_der().ok()
}

//! Contexts of the TLS library: suites, certificates, and the callbacks that look into proofs.
//!
//! `SECLEVEL=0` is needed for the suites with tags of 8 bytes that LwM2M asks for. So the suites are listed, versions
//! before 1.2 are shut out, and [`peer`](super::peer) looks at keys and digests of certificates itself.

use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{
    ExtensionContext, SslAlert, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef,
    SslSessionCacheMode, SslVerifyMode, SslVersion,
};

use super::identity::{ClientAuthentication, ServerIdentity};
use super::negotiation::Negotiation;
use super::peer;
use crate::gateway::handshakes::TicketKey;
use crate::io::clock::wall_is_trusted;
use crate::io::dtls_handshake::{
    set_certificate_types, set_session_lifetime, set_session_source, set_ticket_callbacks, set_ticket_key,
};
use crate::protocol::dtls::connection_id;

/// How long a session can be resumed.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The suites that are served, in the order of [`Suite::ALL`](crate::protocol::dtls::suite::Suite::ALL).
pub const SUITES: &str = "PSK-AES128-CCM8:PSK-AES128-GCM-SHA256:PSK-AES128-CCM:PSK-AES128-CBC-SHA256:\
     ECDHE-PSK-AES128-CBC-SHA256:ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM:\
     ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0";

/// Curves of 255 bits and more (Core TS 1.2.2, Transport section 5.2).
const GROUPS: &str = "P-256:X25519:P-384";

/// Kinds of certificates (RFC 7250).
const X509: u8 = 0;
const RAW_PUBLIC_KEY: u8 = 2;

/// What carries the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams: DTLS 1.2.
    Datagrams,
    /// A stream: TLS 1.2 and 1.3.
    Stream,
}

/// Which of its faces the server shows to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Face {
    /// Its certificate.
    Certificate,
    /// Its raw public key, for clients that take one.
    RawPublicKey,
}

/// A context for handshakes as server. Each `Ssl` made from it needs a [`Negotiation`].
///
/// # Errors
/// If the library refuses the identity.
pub fn server_context(
    carrier: Carrier,
    face: Face,
    identity: &ServerIdentity,
    ticket_key: Option<&TicketKey>,
) -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(match carrier {
        Carrier::Datagrams => SslMethod::dtls_server(),
        Carrier::Stream => SslMethod::tls_server(),
    })?;
    common(&mut context, carrier)?;
    show(&mut context, face, identity)?;
    let mode = match identity.client_authentication {
        ClientAuthentication::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        ClientAuthentication::Optional => SslVerifyMode::PEER,
    };
    context.set_verify_callback(mode, |sound, context| peer::verify(sound, context, wall_is_trusted()));
    for authority in &identity.trust {
        context.cert_store_mut().add_cert(authority.clone())?;
    }
    context.set_psk_server_callback(|ssl, identity, room| Ok(find_key(ssl, identity, room)));
    context.set_session_id_context(b"lwm2mqtt")?;
    context.set_session_cache_mode(SslSessionCacheMode::SERVER | SslSessionCacheMode::NO_INTERNAL);
    context.set_new_session_callback(|ssl: &mut SslRef, session| {
        if let Some(negotiation) = Negotiation::of(ssl) {
            // One handshake makes one session; a second one is not asked for.
            let _ = negotiation.new_session.set(session);
        }
    });
    set_session_source(&mut context, |ssl, _id| Negotiation::of(ssl)?.resumable.clone());
    set_session_lifetime(&mut context, SESSION_LIFETIME);
    set_ticket_callbacks::<Negotiation>(&mut context)?;
    match ticket_key {
        Some(key) => set_ticket_key(&mut context, &key.0)?,
        None => drop(context.set_options(SslOptions::NO_TICKET)),
    }
    if carrier == Carrier::Datagrams {
        // The cookie was verified before the library hears of the hello.
        context.set_cookie_verify_cb(|_, _| true);
        add_connection_ids(&mut context)?;
    }
    Ok(context.build())
}

/// A context for handshakes as a client with a pre-shared key, for simulated devices.
///
/// # Errors
/// If the library refuses.
pub fn psk_client_context(
    carrier: Carrier,
    suites: &str,
    find: impl Fn(&SslRef) -> Option<(Vec<u8>, Vec<u8>)> + Send + Sync + 'static,
) -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(match carrier {
        Carrier::Datagrams => SslMethod::dtls_client(),
        Carrier::Stream => SslMethod::tls_client(),
    })?;
    common(&mut context, carrier)?;
    context.set_cipher_list(&format!("{suites}:@SECLEVEL=0"))?;
    context.set_max_proto_version(Some(if carrier == Carrier::Datagrams {
        SslVersion::DTLS1_2
    } else {
        SslVersion::TLS1_2
    }))?;
    context.set_psk_client_callback(move |ssl, _hint, identity, key| {
        let Some((own_identity, own_key)) = find(ssl) else { return Ok(0) };
        // The library wants the identity to end with a zero byte.
        let copied =
            copy(&own_identity, identity) && identity.get_mut(own_identity.len()).map(|end| *end = 0).is_some();
        Ok(if copied && copy(&own_key, key) { own_key.len() } else { 0 })
    });
    if carrier == Carrier::Datagrams {
        add_connection_ids(&mut context)?;
    }
    Ok(context.build())
}

/// Copies into the beginning of a buffer; `false` if it is too short.
fn copy(from: &[u8], into: &mut [u8]) -> bool {
    into.get_mut(..from.len()).map(|room| room.copy_from_slice(from)).is_some()
}

fn common(context: &mut SslContextBuilder, carrier: Carrier) -> Result<(), ErrorStack> {
    let (least, most) = match carrier {
        Carrier::Datagrams => (SslVersion::DTLS1_2, Some(SslVersion::DTLS1_2)),
        Carrier::Stream => (SslVersion::TLS1_2, None),
    };
    context.set_min_proto_version(Some(least))?;
    context.set_max_proto_version(most)?;
    context.set_cipher_list(SUITES)?;
    context.set_groups_list(GROUPS)?;
    if carrier == Carrier::Stream {
        // Connections that wait hold no buffers: 34 KiB each.
        context.set_mode(SslMode::RELEASE_BUFFERS);
    }
    context.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
    Ok(())
}

fn show(context: &mut SslContextBuilder, face: Face, identity: &ServerIdentity) -> Result<(), ErrorStack> {
    let raw_public_key = identity.raw_public_key.as_ref().filter(|_| face == Face::RawPublicKey);
    if let Some(key) = raw_public_key {
        // The library takes the public half from the private key, or from a certificate that belongs to it.
        if key.public_eq(&identity.private_key) {
            context.set_certificate(&identity.certificate)?;
        }
        context.set_private_key(key)?;
        return set_certificate_types(context, &[RAW_PUBLIC_KEY, X509], &[RAW_PUBLIC_KEY, X509]);
    }
    context.set_certificate(&identity.certificate)?;
    for issuer in &identity.issuers {
        context.add_extra_chain_cert(issuer.clone())?;
    }
    context.set_private_key(&identity.private_key)?;
    set_certificate_types(context, &[X509], &[RAW_PUBLIC_KEY, X509])
}

/// The key of the identity that a client names. Without one, the library answers `unknown_psk_identity`.
fn find_key(ssl: &SslRef, identity: Option<&[u8]>, room: &mut [u8]) -> usize {
    let Some(negotiation) = Negotiation::of(ssl) else { return 0 };
    let cut = identity.unwrap_or_default();
    // The library ends the identity at its first zero byte.
    let whole = negotiation
        .claimed
        .get()
        .filter(|claimed| claimed.split(|byte| *byte == 0).next() == Some(cut))
        .map_or(cut, Vec::as_slice);
    let keys = negotiation.proofs.keys(negotiation.scope, whole);
    let back = negotiation.attempts.back(whole);
    let Some(key) = keys.iter().rev().cycle().nth(back) else {
        let _ = negotiation.unknown_identity.set(whole.to_vec());
        return 0;
    };
    let _ = negotiation.used_key.set((whole.to_vec(), key.generation));
    if copy(key.key.expose(), room) { key.key.expose().len() } else { 0 }
}

/// The extension of RFC 9146, in both roles.
fn add_connection_ids(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    context.add_custom_ext(
        connection_id::EXTENSION,
        ExtensionContext::CLIENT_HELLO | ExtensionContext::TLS1_2_SERVER_HELLO,
        |ssl, _, _| {
            let id = Negotiation::of(ssl).and_then(|negotiation| negotiation.connection_id.as_ref());
            Ok(id.map(|id| [&[id.len() as u8], id.as_slice()].concat()))
        },
        |ssl, _, value, _| {
            let id = match value.split_first() {
                Some((length, id)) if usize::from(*length) == id.len() => id,
                _ => return Err(SslAlert::DECODE_ERROR),
            };
            if let Some(negotiation) = Negotiation::of(ssl) {
                let _ = negotiation.peer_connection_id.set(id.to_vec());
            }
            Ok(())
        },
    )
}

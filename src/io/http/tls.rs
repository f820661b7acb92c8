//! HTTPS: TLS 1.2 and 1.3 by OpenSSL, and HTTP/1.1 as the only application protocol.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::ssl::{AlpnError, Ssl, SslAcceptor, SslMethod, select_next_proto};
use openssl::x509::X509;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_openssl::SslStream;

/// How long a handshake may take.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Handshakes under way at the same time; further connections wait for their turn within [`HANDSHAKE_TIME`].
pub const MAX_HANDSHAKES: usize = 32;

/// The application protocols that are spoken, each behind its length (RFC 7301 section 3.1).
const PROTOCOLS: &[u8] = b"\x08http/1.1";

/// A certificate chain with its private key, ready to accept connections.
#[derive(Clone)]
pub struct Tls {
    acceptor: SslAcceptor,
    handshakes: Arc<Semaphore>,
}

impl Tls {
    /// Takes a certificate chain, own certificate first, and the private key, both PEM.
    ///
    /// # Errors
    /// If one cannot be read or they do not belong together; the message holds nothing of the key.
    pub fn new(certificate: &str, private_key: &str) -> Result<Self, String> {
        let unreadable = |what: &str| format!("{what} cannot be read");
        let chain = X509::stack_from_pem(certificate.as_bytes()).map_err(|_| unreadable("the certificate"))?;
        let Some((own, issuers)) = chain.split_first() else { return Err(unreadable("the certificate")) };
        // Without a callback OpenSSL would ask the terminal for a passphrase.
        let key = PKey::private_key_from_pem_callback(private_key.as_bytes(), |_| Ok(0))
            .map_err(|_| unreadable("the private key"))?;
        let prepare = || {
            let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
            acceptor.set_certificate(own)?;
            for issuer in issuers {
                acceptor.add_extra_chain_cert(issuer.clone())?;
            }
            acceptor.set_private_key(&key)?;
            acceptor.check_private_key()?;
            acceptor.set_alpn_select_callback(|_, offered| {
                select_next_proto(PROTOCOLS, offered).ok_or(AlpnError::ALERT_FATAL)
            });
            Ok::<_, openssl::error::ErrorStack>(acceptor.build())
        };
        let acceptor = prepare().map_err(|_| "certificate and private key do not belong together".to_owned())?;
        Ok(Self { acceptor, handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)) })
    }

    /// The own certificate, by which commands on this machine know the gateway.
    pub fn certificate(&self) -> Option<X509> {
        self.acceptor.context().certificate().map(ToOwned::to_owned)
    }

    /// Shakes hands; `None` if the peer does not do its part in time.
    pub(super) async fn accept(&self, stream: TcpStream) -> Option<SslStream<TcpStream>> {
        let handshake = async {
            let _turn = self.handshakes.acquire().await.ok()?;
            let ssl = Ssl::new(self.acceptor.context()).ok()?;
            let mut stream = SslStream::new(ssl, stream).ok()?;
            // What goes wrong concerns the client, which sees it as well.
            Pin::new(&mut stream).accept().await.ok()?;
            Some(stream)
        };
        tokio::time::timeout(HANDSHAKE_TIME, handshake).await.ok().flatten()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// Settings are compared as a whole in tests; two of them are never the same configuration.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.handshakes, &other.handshakes)
    }
}

impl Eq for Tls {}

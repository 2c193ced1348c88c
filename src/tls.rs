//! TLS: the certificate, the key, and the configurations made from them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use log::{error, info};
use tokio::signal::unix::Signal;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::aws_lc_rs::{self, Ticketer};
use tokio_rustls::rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig, SignatureScheme,
};

/// The reason that TLS cannot be used: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not contain a certificate or key.
    #[error("{variable}={path}: {error}", path = path.display())]
    File {
        /// The variable with the path.
        variable: &'static str,
        /// The value of that variable.
        path: PathBuf,
        /// The problem with the file.
        error: pem::Error,
    },
    /// The certificate and the key do not match, or cannot be used.
    #[error("CHAT_TLS_CERT and CHAT_TLS_KEY: {0}")]
    Pair(rustls::Error),
}

// Not derived: the message already contains the cause, so it must not be a source too.
impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Pair(error)
    }
}

/// The TLS configuration of new connections. Open connections keep the one they began with.
#[derive(Debug)]
pub(crate) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn load(cert: PathBuf, key: PathBuf) -> Result<Arc<Self>, TlsError> {
        let config = RwLock::new(read(&cert, &key)?);
        Ok(Arc::new(Self { cert, key, config }))
    }

    /// The acceptor for a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reads both files again. If they are not valid, the old ones remain in use.
    fn reload(&self) {
        match read(&self.cert, &self.key) {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                info!("certificate and key reloaded");
            }
            Err(reason) => error!("keeping the previous certificate and key: {reason}"),
        }
    }
}

/// Reloads the certificate and the key at every SIGHUP. Without TLS it only logs that there is nothing to reload.
pub(crate) async fn reload_at(mut hangup: Signal, tls: Option<Arc<Tls>>) {
    while hangup.recv().await.is_some() {
        match &tls {
            Some(tls) => tls.reload(),
            None => {
                info!("SIGHUP changes nothing without CHAT_TLS_CERT: it reloads only the TLS certificate and key");
            }
        }
    }
}

/// The problem with a file that a variable names.
fn in_file(variable: &'static str, path: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    move |error| TlsError::File { variable, path: path.to_owned(), error }
}

/// The server's certificate, followed by its intermediate certificates: at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certs = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certs = certs.and_then(|certs| if certs.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(certs) });
    certs.map_err(in_file("CHAT_TLS_CERT", path))
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let certs = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(in_file("CHAT_TLS_KEY", key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certs, key)?;
    // The client keeps its session, encrypted, and shows it when it returns. By default the server would keep the
    // sessions of the last 256 clients only, and all others would shake hands in full after a restart of a proxy or a
    // network. A new certificate comes with new keys of the tickets.
    config.ticketer = Ticketer::new()?;
    // A WebSocket begins as HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The TLS configuration of a client that trusts only this certificate.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn client_of(cert: &Path) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let expected = certificates(cert)?.swap_remove(0);
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Only { expected, algorithms }))
        .with_no_client_auth())
}

/// The configuration of a client that trusts the authorities that the system trusts.
///
/// # Errors
/// [`TlsError`]: TLS cannot be used.
pub(crate) fn client_of_system() -> Result<ClientConfig, TlsError> {
    let mut authorities = RootCertStore::empty();
    // What cannot be read or understood is no authority; a receiver that needs it is told as untrusted.
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities)
        .with_no_client_auth())
}

/// Trusts a server with this certificate and its key. Names, dates and issuers are not checked.
#[derive(Debug)]
struct Only {
    expected: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The reason that the client does not trust a server.
#[derive(Debug, thiserror::Error)]
#[error("the server uses another certificate than CHAT_TLS_CERT contains now; SIGHUP makes the server reload the file")]
struct AnotherCertificate;

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        // Not a `CertificateError`, because only its variant name would be printed.
        Err(rustls::Error::Other(OtherError(Arc::new(AnotherCertificate))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

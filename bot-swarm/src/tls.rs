//! The TLS settings of the bots: the certificates that they trust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::Config;

/// The reason that TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities cannot be read, or is not valid.
    #[error("BOT_CA_FILE={} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: pem::Error,
    },
    /// The file contains no usable authority.
    #[error("BOT_CA_FILE={} contains no usable certificate", path.display())]
    NoAuthority {
        /// The file.
        path: PathBuf,
    },
    /// TLS does not accept these settings.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The TLS settings of a swarm's connections: they trust the authorities in `BOT_CA_FILE`, or, with `BOT_INSECURE`, any
/// certificate. `None` if neither is set: TLS is not used.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn client(config: &Config) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let client = match &config.ca_file {
        _ if config.insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { schemes })).with_no_client_auth()
        }
        Some(path) => builder.with_root_certificates(authorities(path)?).with_no_client_auth(),
        None => return Ok(None),
    };
    Ok(Some(Arc::new(client)))
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let unread = |error| TlsError::File { path: path.to_owned(), error };
    let certificates = CertificateDer::pem_file_iter(path).map_err(unread)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unread)?;
    let mut authorities = RootCertStore::empty();
    // A system's bundle may contain a few invalid certificates.
    let (added, _) = authorities.add_parsable_certificates(certificates);
    if added == 0 { Err(TlsError::NoAuthority { path: path.to_owned() }) } else { Ok(authorities) }
}

/// Accepts any certificate, so the connection may lead to anybody.
#[derive(Debug)]
struct Anybody {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

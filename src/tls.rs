//! Certificate and key, and the TLS that they make.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use log::{error, info};
use tokio::signal::unix::Signal;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Why there is no TLS: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file has no such thing as it should.
    #[error("{variable}={path}: {source}", path = path.display())]
    File {
        /// The variable that names it.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key do not make a server.
    #[error("CHAT_TLS_CERT and CHAT_TLS_KEY: {0}")]
    Pair(#[from] rustls::Error),
}

/// The TLS of new connections; those that are there keep what they began with.
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

    /// What a new connection is accepted with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reads both files again at every hangup; where they are no good the old ones stay.
    pub(crate) async fn reload_at(self: Arc<Self>, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            match read(&self.cert, &self.key) {
                Ok(config) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                    info!("certificate and key are read again");
                }
                Err(reason) => error!("certificate and key stay as they are: {reason}"),
            }
        }
    }
}

fn read(cert: &PathBuf, key: &PathBuf) -> Result<Arc<ServerConfig>, TlsError> {
    let of = |variable, path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::File { variable, path, source }
    };
    let certs = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certs = certs.and_then(|certs| if certs.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(certs) });
    let certs = certs.map_err(of("CHAT_TLS_CERT", cert))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(of("CHAT_TLS_KEY", key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certs, key)?;
    // A WebSocket begins as HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

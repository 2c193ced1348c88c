//! Failed TLS handshakes: the first line of the verdict contains advice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_rt::net::TcpListener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::process::{program, stderr, stdout};
use crate::reports::ended;

/// A certificate authority with its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

/// The years in which certificates begin and cease to be valid.
const VALID: (i32, i32) = (2020, 2100);

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(name);
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Starts a server with a certificate of this authority for a host, valid in these years. Returns its port.
    async fn serve(&self, host: &str, (from, to): (i32, i32)) -> u16 {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        serve(certificate.der().to_vec(), &key).await
    }
}

/// Starts a server with a certificate that closes the connection after the request.
async fn serve(certificate: Vec<u8>, key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            actix_rt::spawn(async move {
                // It reads the request first: a connection that is closed with unread bytes is reset instead.
                let mut stream = acceptor.accept(stream).await?;
                stream.read_u8().await?;
                stream.shutdown().await?;
                stream.read_to_end(&mut Vec::new()).await
            });
        }
    });
    port
}

/// Starts a server that speaks HTTP without TLS.
async fn plain() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    actix_rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            drop(stream.write_all(answer).await);
        }
    });
    port
}

/// The first line of the verdict on a server.
async fn first_line(url: &str, authorities: &Path) -> String {
    let mut command = program();
    command.args(["--server-url", url, "--count", "2", "--seconds", "1", "--ca-file"]).arg(authorities);
    let output = ended(command).await;
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    stdout(&output).lines().next().unwrap().to_owned()
}

#[actix_rt::test]
async fn where_no_tls_comes_about_the_first_line_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let theirs = Authority::new(folder.path(), "theirs");
    let wss = |port: u16| format!("wss://localhost:{port}/ws");
    let good = ours.serve("localhost", VALID).await;
    let cases = [
        (wss(theirs.serve("localhost", VALID).await), "UnknownIssuer", "set BOT_CA_FILE"),
        (wss(ours.serve("example.org", VALID).await), "not valid for name", "use it in BOT_SERVER_URL"),
        (wss(ours.serve("localhost", (2020, 2021)).await), "Expired", "renew the certificate"),
        (wss(ours.serve("localhost", (2099, 2100)).await), "NotValidYet", "not valid yet"),
        (
            wss(serve(ours.issuer.der().to_vec(), ours.issuer.key()).await),
            "CaUsedAsEndEntity",
            "basicConstraints=CA:FALSE",
        ),
        (wss(plain().await), "InvalidContentType", "ws:// instead of wss://"),
        (format!("ws://localhost:{good}/ws"), "handshake: ", "if it uses TLS, use wss:// instead of ws://"),
        // This certificate is trusted, and the connection fails later.
        (wss(good), "handshake: the connection ended", "does not accept WebSockets"),
    ];
    for (url, kind, advice) in cases {
        let line = first_line(&url, &ours.file).await;
        assert!(line.starts_with("BROKEN: bots: no bot was connected (") && line.contains(kind), "{kind}: {line}");
        let (_, told) = line.split_once("): ").unwrap();
        assert!(told.contains(advice), "{kind}: {line}");
    }
}

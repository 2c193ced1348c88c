//! The server behind reverse proxies: every proxy sample of the documents, run by its program.
//!
//! Needs nginx, Caddy and HAProxy, which `scripts/install-test-tools` installs. Root rights are not needed.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use serde_json::Value;
use starling::Config;
use test_kit::raw::{HANDSHAKE, HttpAnswer, Raw};
use test_kit::reverse_proxy::{self, ReverseProxy, program, sample_text};
use test_kit::{figures_when, within};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::TestServer;
use crate::tidy;

const SAMPLES: [&str; 6] =
    ["Caddyfile", "Caddyfile-sub-path", "haproxy-sub-path.cfg", "haproxy.cfg", "nginx-sub-path.conf", "nginx.conf"];

type Visit = Raw<TlsStream<TcpStream>>;

/// A server, a proxy in front of it, and clients that connect through both.
struct Site {
    server: TestServer,
    proxy: ReverseProxy,
    connector: TlsConnector,
}

impl Site {
    fn start(sample: &str) -> Self {
        let server = TestServer::start(&[("CHAT_TRUSTED_PROXIES", "127.0.0.1"), ("CHAT_CONNECTIONS_PER_ADDRESS", "2")]);
        let certificate = reverse_proxy::certificate();
        let proxy = ReverseProxy::start(sample, server.address(), &certificate);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.cert.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { server, proxy, connector: TlsConnector::from(Arc::new(config)) }
    }

    /// The origin of the page.
    fn origin(&self) -> String {
        format!("https://{}", self.proxy.host())
    }

    /// Connects from the address 127.0.0.`source`.
    async fn open(&self, source: u8) -> Visit {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, source], 0).into()).unwrap();
        let host = self.proxy.host();
        let (name, port) = host.split_once(':').unwrap();
        let address = ([127, 0, 0, 1], port.parse().unwrap()).into();
        let tcp = within("a TCP connection", socket.connect(address)).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Raw::over(within("a TLS handshake", self.connector.connect(name, tcp)).await.unwrap())
    }

    /// Requests an absolute path of the host.
    async fn ask(&self, visit: &mut Visit, path: &str, headers: &str) -> HttpAnswer {
        // Caddy requests gzip if a client does not say otherwise, and decompresses it in chunks.
        let coding = "Accept-Encoding: identity\r\n";
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{coding}{headers}\r\n", self.proxy.host());
        visit.send(request.as_bytes()).await;
        visit.answer().await
    }

    /// Requests a path below that of the page, on a new connection.
    async fn get(&self, source: u8, path: &str) -> HttpAnswer {
        let path = format!("{}{path}", self.proxy.path());
        self.ask(&mut self.open(source).await, &path, "Connection: close\r\n").await
    }

    /// Performs a handshake; the connection is a WebSocket if the status is 101.
    async fn shake_hands(&self, source: u8, query: &str, headers: &str) -> (Visit, HttpAnswer) {
        let mut visit = self.open(source).await;
        let path = format!("{}ws{query}", self.proxy.path());
        let answer = self.ask(&mut visit, &path, &format!("{HANDSHAKE}{headers}")).await;
        (visit, answer)
    }

    /// A WebSocket of the page that has read its welcome.
    async fn connect(&self, source: u8, name: &str) -> Visit {
        let origin = format!("Origin: {}\r\n", self.origin());
        let (mut visit, answer) = self.shake_hands(source, &format!("?clientId={name}"), &origin).await;
        assert_eq!(answer.status, 101, "{answer:?}");
        assert!(visit.frame().await.unwrap().text().contains("\"welcome\""));
        visit
    }

    async fn page_loads(&self) {
        let page = self.get(9, "").await;
        assert!(page.status == 200 && page.body.starts_with("<!doctype html>"), "{page:?}");
        let links = page.body.split(['"']).filter(|part| part.contains("web/") && !part.contains('<'));
        let links: BTreeSet<&str> = links.collect();
        assert!(links.len() > 30, "{links:?}");
        let mut visit = self.open(9).await;
        for link in links {
            assert!(link.starts_with("web/"), "{link} is relative to the page");
            let answer = self.ask(&mut visit, &format!("{}{link}", self.proxy.path()), "").await;
            let kind = answer.header("content-type").unwrap();
            assert!(answer.status == 200 && !answer.body.is_empty() && !kind.contains("html"), "{link}: {answer:?}");
        }
        if let Some(bare) = self.proxy.path().strip_suffix('/').filter(|bare| !bare.is_empty()) {
            let answer = self.ask(&mut self.open(9).await, &format!("{bare}?a=b"), "Connection: close\r\n").await;
            let location = answer.header("location").unwrap();
            assert_eq!((answer.status, location), (308, &*format!("{}?a=b", self.proxy.path())));
        }
        assert_eq!(self.get(9, "healthz").await.body, "alive\n");
        assert!(self.get(9, "api/rooms").await.json()["rooms"].is_array());
    }

    async fn messages_go_round(&self) {
        let (mut alice, mut bob) = (self.connect(10, "alice").await, self.connect(11, "bob").await);
        for text in ["short", &"long ".repeat(3_000)] {
            alice.send_text(&format!(r#"{{"Message":"{text}"}}"#)).await;
            for client in [&mut alice, &mut bob] {
                let got: Value = serde_json::from_str(client.frame().await.unwrap().text()).unwrap();
                assert_eq!((&got["clientId"], &got["Message"]), (&"alice".into(), &text.into()));
            }
        }
    }

    async fn only_the_page_of_this_very_origin_may_connect(&self) {
        let host = self.proxy.host();
        let (name, port) = host.split_once(':').unwrap();
        let others = [
            "https://evil.example".to_owned(),
            format!("https://{name}"),
            format!("https://{name}:1"),
            format!("http://{host}"),
            format!("https://evil.example:{port}"),
            format!("app://{host}"),
            "null".to_owned(),
        ];
        // Each from a different address, because a proxy may keep a refused connection for a while.
        for (source, origin) in (20..).zip(others) {
            let (_, answer) = self.shake_hands(source, "", &format!("Origin: {origin}\r\n")).await;
            assert_eq!(answer.status, 403, "{origin}: {answer:?}");
        }
        let (_, answer) = self.shake_hands(12, "", "").await;
        assert_eq!(answer.status, 101, "a tool sends no origin");
    }

    async fn the_address_of_the_client_counts_and_its_own_word_for_it_does_not(&self) {
        let _connected = (self.connect(13, "carol").await, self.connect(13, "dave").await);
        for lie in [
            "",
            "X-Forwarded-For: 192.0.2.1\r\n",
            "X-Forwarded-For: 192.0.2.2, 127.0.0.1\r\nX-Forwarded-For: 192.0.2.3\r\n",
            "Forwarded: for=192.0.2.4\r\nX-Real-IP: 192.0.2.4\r\n",
            "Connection: X-Forwarded-For, Upgrade\r\nX-Forwarded-For: 192.0.2.5\r\n",
        ] {
            let (_, answer) = self.shake_hands(13, "", lie).await;
            assert_eq!(answer.status, 429, "{lie}: {answer:?}");
        }
        assert_eq!(self.shake_hands(14, "", "").await.1.status, 101, "another address is another");
    }

    async fn figures_and_readiness_are_for_the_operator(&self) {
        for path in ["metrics", "readyz"] {
            assert_eq!(self.get(15, path).await.status, 404, "{path}");
            let (first, rest) = path.split_at(1);
            let first = first.as_bytes()[0];
            for way_round in [
                format!("{path}?"),
                format!("{path}?a=b"),
                format!("{path}/"),
                format!("/{path}"),
                format!("./{path}"),
                format!("ws/../{path}"),
                format!("ws/%2e%2e/{path}"),
                format!("%{first:02x}{rest}"),
                format!("%{first:02X}{rest}"),
                format!("%25{first:02x}{rest}"),
                format!("%2f{path}"),
                format!("{path}%00"),
                format!("{path};a=b"),
                path.to_uppercase(),
            ] {
                let answer = self.get(15, &way_round).await;
                let is_told = answer.body.contains("chat_sessions") || answer.body.starts_with("ready");
                assert!(answer.status >= 300 && !is_told, "{way_round}: {answer:?}");
            }
        }
        // The server itself shows them to clients that reach it directly.
        figures_when(&self.server, "it is asked directly", |_| true).await;
    }
}

async fn holds(sample: &str) {
    let site = Site::start(sample);
    site.page_loads().await;
    site.messages_go_round().await;
    site.only_the_page_of_this_very_origin_may_connect().await;
    site.the_address_of_the_client_counts_and_its_own_word_for_it_does_not().await;
    site.figures_and_readiness_are_for_the_operator().await;
}

#[actix::test]
async fn nginx_serves_the_chat_on_a_host_of_its_own() {
    holds("nginx.conf").await;
}

#[actix::test]
async fn nginx_serves_the_chat_below_a_path() {
    holds("nginx-sub-path.conf").await;
}

#[actix::test]
async fn caddy_serves_the_chat_on_a_host_of_its_own() {
    holds("Caddyfile").await;
}

#[actix::test]
async fn caddy_serves_the_chat_below_a_path() {
    holds("Caddyfile-sub-path").await;
}

#[actix::test]
async fn haproxy_serves_the_chat_on_a_host_of_its_own() {
    holds("haproxy.cfg").await;
}

#[actix::test]
async fn haproxy_serves_the_chat_below_a_path() {
    holds("haproxy-sub-path.cfg").await;
}

#[test]
fn every_sample_is_tried() {
    let files = fs::read_dir(tidy::root().join("docs/proxies")).unwrap();
    let mut files: Vec<String> = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, SAMPLES);
    let page = fs::read_to_string(tidy::root().join("docs/security.md")).unwrap();
    for sample in SAMPLES {
        assert!(page.contains(&format!("(proxies/{sample})")), "docs/security.md leads to {sample}");
    }
}

#[test]
fn no_sample_cuts_a_connection_that_only_listens() {
    let two_heartbeats = 2 * Config::default().heartbeat_seconds;
    for sample in SAMPLES {
        let text = sample_text(sample);
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let seconds = |name: &str| -> u64 {
            let line =
                lines.clone().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{sample}: {name}"));
            line.trim().trim_end_matches([';', 's']).parse().unwrap()
        };
        let idle = match program(sample) {
            "nginx" => vec![seconds("proxy_read_timeout"), seconds("proxy_send_timeout")],
            "haproxy" => vec![seconds("timeout tunnel")],
            // HAProxy and nginx have a limit; Caddy has none by default.
            _ => {
                assert!(!lines.clone().any(|line| line.contains("timeout")), "{sample}");
                Vec::new()
            }
        };
        assert!(idle.iter().all(|idle| *idle > two_heartbeats), "{sample}: {idle:?}");
        if program(sample) == "nginx" {
            assert!(lines.clone().any(|line| line == "proxy_buffering off;"), "{sample} holds nothing back");
        }
    }
}

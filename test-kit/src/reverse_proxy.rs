//! A reverse proxy in front of a server, with a configuration from `docs/proxies/`.
//!
//! Only the parts that depend on the machine are replaced: the port, the server's address, the certificate's files, and
//! the sub-path. If a sample no longer contains one of them, the test fails.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::certificate::Certificate;
use crate::{DEADLINE, LOOK, free_port};

/// The number of attempts with different ports. Another process may take a free port before the proxy uses it.
const PORTS_MAX: u32 = 5;

/// The sub-path in the samples, and its replacement.
const PATH: (&str, &str) = ("/chat", "/team/chat");

/// A certificate for the hosts in the samples.
pub fn certificate() -> Certificate {
    Certificate::self_signed(&["chat.example.org", "example.org"])
}

/// A running proxy with TLS. It is killed on drop.
#[derive(Debug)]
pub struct ReverseProxy {
    child: Child,
    port: u16,
    host: &'static str,
    path: &'static str,
    _folder: TempDir,
}

impl ReverseProxy {
    /// Starts the proxy of a sample in front of this server, and waits until it accepts connections.
    pub fn start(sample: &str, server: SocketAddr, certificate: &Certificate) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("cert.pem", &certificate.cert);
        write("key.pem", &certificate.key);
        write("both.pem", &format!("{}{}", certificate.cert, certificate.key));
        let mut told = String::new();
        for _ in 0..PORTS_MAX {
            let port = free_port();
            let (host, path) = write_configuration(sample, folder.path(), port, server);
            let child = command(sample, folder.path()).spawn();
            let mut child = child.unwrap_or_else(|error| panic!("{sample}: {error}: run scripts/install-test-tools"));
            if is_ready(&mut child, port) {
                return Self { child, port, host, path, _folder: folder };
            }
            told = fs::read_to_string(folder.path().join("log")).unwrap();
        }
        panic!("{sample} does not start: {told}");
    }

    /// The host and port for clients. The proxy listens on 127.0.0.1.
    pub fn host(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path of the page, with a slash at its end.
    pub fn path(&self) -> &'static str {
        self.path
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        // The process may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// The text of a sample.
pub fn sample_text(sample: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/proxies").join(sample);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Waits until the proxy accepts connections. `false` if it has ended or takes too long.
fn is_ready(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        thread::sleep(LOOK);
    }
    child.kill().unwrap_or_default();
    child.wait().map(drop).unwrap_or_default();
    false
}

/// Writes the sample for this port and server, and the configuration around it. Returns the host and the page's path.
fn write_configuration(sample: &str, folder: &Path, port: u16, server: SocketAddr) -> (&'static str, &'static str) {
    let mut text = sample_text(sample);
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "docs/proxies/{sample} no longer contains {from:?}, which this test replaces");
        text = text.replace(from, to);
    };
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let has_path = sample.contains("sub-path");
    let host = if has_path { "example.org" } else { "chat.example.org" };
    replace("127.0.0.1:8080", &server.to_string());
    if program(sample) == "haproxy" {
        replace("/etc/ssl/chat/fullchain-and-key.pem", &file("both.pem"));
    } else {
        replace("/etc/ssl/chat/fullchain.pem", &file("cert.pem"));
        replace("/etc/ssl/chat/privkey.pem", &file("key.pem"));
    }
    match program(sample) {
        "nginx" => replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port} ssl;")),
        "caddy" => replace(&format!("\n{host} {{"), &format!("\n{host}:{port} {{\n\tbind 127.0.0.1\n")),
        _ => replace("bind :443 ssl", &format!("bind 127.0.0.1:{port} ssl")),
    }
    if has_path {
        replace(PATH.0, PATH.1);
    }
    fs::write(folder.join("sample"), text).unwrap();
    let surroundings = match program(sample) {
        "nginx" => {
            let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let folders = folders.map(|name| format!("{name}_temp_path {};\n", file(name))).concat();
            format!(
                "daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{}}\n\
                http {{\naccess_log off;\n{folders}include {};\n}}\n",
                file("pid"),
                file("sample")
            )
        }
        "caddy" => format!("{{\nadmin off\nauto_https disable_redirects\n}}\nimport {}\n", file("sample")),
        _ => "global\nmaxconn 200\n".to_owned(),
    };
    fs::write(folder.join("surroundings"), surroundings).unwrap();
    (host, if has_path { "/team/chat/" } else { "/" })
}

/// The program that a sample configures.
pub fn program(sample: &str) -> &'static str {
    let programs = [("nginx", "nginx"), ("Caddyfile", "caddy"), ("haproxy", "haproxy")];
    programs.into_iter().find(|(begin, _)| sample.starts_with(begin)).unwrap().1
}

/// Runs the program in the foreground as a single process. Its log goes to a file.
fn command(sample: &str, folder: &Path) -> Command {
    let arguments = match program(sample) {
        "nginx" => "-e stderr -p . -c surroundings",
        "caddy" => "run --adapter caddyfile --config surroundings",
        _ => "-db -f surroundings -f sample",
    };
    // Debian installs nginx and HAProxy in a folder that a plain user's `PATH` may lack.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let log = File::create(folder.join("log")).unwrap();
    let mut command = Command::new(program(sample));
    command.args(arguments.split(' ')).current_dir(folder).env("PATH", path).env("HOME", folder).stdin(Stdio::null());
    command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

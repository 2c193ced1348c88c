//! A server of NATS that a test owns, on a port that it chooses itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::process::{Signal, signal};
use crate::{Listens, wait_for};

/// A server with a folder of its own. It ends with its test.
#[derive(Debug)]
pub struct Nats {
    folder: TempDir,
    settings: String,
    address: SocketAddr,
    child: Option<Child>,
}

impl Nats {
    /// Starts a server with JetStream, which is ready when this returns.
    pub async fn start() -> Self {
        Self::with("jetstream {}").await
    }

    /// Starts a server with these settings. Its files are in its own folder.
    pub async fn with(settings: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = tempfile::tempdir().unwrap();
        let mut nats = Self { folder, settings: settings.to_owned(), address, child: None };
        nats.start_again().await;
        nats
    }

    /// Starts a server that has ended, at the same address and with the same files.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let (file, ports) = (self.folder.path().join("nats.conf"), self.folder.path().join("ports"));
        std::fs::remove_dir_all(&ports).unwrap_or_default();
        std::fs::create_dir(&ports).unwrap();
        let port = match self.address.port() {
            0 => "-1".to_owned(),
            port => port.to_string(),
        };
        let settings =
            self.settings.replace("jetstream {", &format!("jetstream {{ store_dir: \"{}\"\n", self.files().display()));
        std::fs::write(
            &file,
            format!("listen: \"127.0.0.1:{port}\"\nports_file_dir: \"{}\"\n{settings}\n", ports.display()),
        )
        .unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools/bin/nats-server");
        let mut command = Command::new(&program);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn();
        self.child = Some(started.unwrap_or_else(|error| {
            panic!("{}: {error}; run scripts/install-test-tools", program.display());
        }));
        self.address = wait_for("nats-server listens", || address(&ports).ok_or("no file with its ports")).await;
    }

    /// Starts a server that has ended with other settings, at the same address and with the same files.
    pub async fn change(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
        self.start_again().await;
    }

    /// Where it keeps its streams.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("streams")
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Sends it a signal.
    pub fn signal(&self, to_send: Signal) {
        signal(self.child.as_ref().expect("it runs"), to_send);
    }

    /// Ends it at once, with SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }
}

impl Listens for Nats {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// The address that a server has written to this folder.
fn address(ports: &Path) -> Option<SocketAddr> {
    let file = std::fs::read_dir(ports).unwrap().next()?.unwrap().path();
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).ok()?;
    let url = ports["nats"][0].as_str()?;
    url.split_once("://")?.1.parse().ok()
}

//! The server's program, several times, as the nodes of one chat.

use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_kit::nats::Nats;
use test_kit::raw::Raw;
use test_kit::{Client, LOOK, Listens, Process, Program, within};

const OPERATOR: &str = "letmein-letmein-letmein-letmein!";

/// The log with which each record is on disk before it is acknowledged.
pub(crate) async fn nats() -> Nats {
    Nats::with("jetstream { sync_interval: always }").await
}

/// The server's program.
pub(crate) fn starling() -> Program {
    Program::new(env!("CARGO_BIN_EXE_starling"))
}

/// A node: its program and its folder.
pub(crate) struct Server {
    pub(crate) process: Process,
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Listens for Server {
    fn address(&self) -> std::net::SocketAddr {
        self.process.address()
    }
}

impl Server {
    /// Starts a node, and waits until it accepts clients.
    pub(crate) async fn start(nats: &Nats, name: &str, more: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), nats, name, more).await
    }

    pub(crate) async fn start_in(folder: TempDir, nats: &Nats, name: &str, more: &[(&str, &str)]) -> Self {
        let server = Self::begin(folder, &nats.url(), name, more);
        server.is_ready().await;
        server
    }

    /// Starts a node with NATS at this address. It does not accept clients yet.
    pub(crate) fn begin(folder: TempDir, url: &str, name: &str, more: &[(&str, &str)]) -> Self {
        Self::begin_program(&starling(), folder, url, name, more)
    }

    /// Begins a node with an empty folder under a tool.
    pub(crate) fn begin_under(tool: &[&str], url: &str, name: &str, more: &[(&str, &str)]) -> Self {
        Self::begin_program(&starling().under(tool), tempfile::tempdir().unwrap(), url, name, more)
    }

    fn begin_program(program: &Program, folder: TempDir, url: &str, name: &str, more: &[(&str, &str)]) -> Self {
        let variables = [
            ("CHAT_BIND", "127.0.0.1:0"),
            ("CHAT_WORKERS", "2"),
            ("CHAT_DRAIN_SECONDS", "2"),
            ("CHAT_NODE_TIMEOUT_SECONDS", "2"),
            ("CHAT_ADMIN_TOKEN", OPERATOR),
            ("CHAT_NATS_URL", url),
            ("CHAT_NODE_NAME", name),
        ];
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().chain(more).map(owned).collect();
        let process = launch(program, &folder, &variables);
        Self { process, folder, variables }
    }

    /// Waits until it accepts clients.
    pub(crate) async fn is_ready(&self) {
        self.process.status_becomes("/readyz", 200).await;
    }

    /// Waits until it accepts no clients, for this reason.
    pub(crate) async fn is_not_ready(&self, reason: &str) {
        let body = self.process.status_becomes("/readyz", 503).await;
        assert!(body.contains(reason), "{body}");
    }

    /// Ends it with SIGKILL. Returns its folder.
    pub(crate) fn kill(self) -> TempDir {
        self.process.kill();
        self.folder
    }

    /// Ends it in order. Returns its folder.
    pub(crate) fn stop(self) -> TempDir {
        self.process.stop();
        self.folder
    }

    /// Starts it in its folder, where it ends by itself. Returns its exit code and its output.
    pub(crate) fn run_again(&self) -> (Option<i32>, String) {
        let variables: Vec<_> = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let output = starling().run(self.folder.path(), &[], &variables);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Starts it again in its folder.
    pub(crate) async fn start_again(folder: TempDir, variables: &[(String, String)]) -> Self {
        let process = launch(&starling(), &folder, variables);
        let server = Self { process, folder, variables: variables.to_vec() };
        server.is_ready().await;
        server
    }

    /// The file of its history.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("data/starling.db")
    }

    /// Up to which record its history has the log.
    pub(crate) fn kept_upto(&self) -> u64 {
        let file = Connection::open(self.file()).unwrap();
        file.query_one("SELECT position FROM log_mark", [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
    }

    /// Its settings, for another start.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    /// Connects as a client with a name. Returns its welcome, too.
    pub(crate) async fn enter(&self, name: &str) -> (Client, Value) {
        Client::enter(self, &format!("/ws?clientId={name}")).await
    }

    /// Sends an operator's request. Returns status and body.
    pub(crate) async fn operator(&self, method: &str, path: &str) -> (u16, String) {
        self.operator_says(method, path, "").await
    }

    /// Sends an operator's request with a body. Returns status and body.
    pub(crate) async fn operator_says(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let mut raw = Raw::open(self.process.address()).await;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: chat\r\nAuthorization: Bearer {OPERATOR}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        raw.send(request.as_bytes()).await;
        let answer = raw.answer().await;
        (answer.status, answer.body)
    }

    /// The newest messages of a room: `seq` and text.
    pub(crate) fn history(&self, room: &str) -> Vec<(u64, String)> {
        self.page(room, "")
    }

    /// The newest messages of a room, with all fields.
    pub(crate) fn messages(&self, room: &str) -> Vec<Value> {
        self.frames(room, "")
    }

    fn frames(&self, room: &str, more: &str) -> Vec<Value> {
        let (status, body) = self.process.get(&format!("/api/rooms/{room}/messages?limit=100{more}"));
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["messages"].as_array().unwrap().clone()
    }

    fn page(&self, room: &str, more: &str) -> Vec<(u64, String)> {
        let message = |it: Value| (it["seq"].as_u64().unwrap(), it["Message"].as_str().unwrap().to_owned());
        self.frames(room, more).into_iter().map(message).collect()
    }

    /// All messages of a room.
    pub(crate) fn whole_history(&self, room: &str) -> Vec<(u64, String)> {
        let mut all = self.history(room);
        while let Some((first, _)) = all.first().filter(|(seq, _)| *seq > 1) {
            let mut older = self.page(room, &format!("&before={first}"));
            if older.is_empty() {
                break;
            }
            older.append(&mut all);
            all = older;
        }
        all
    }
}

fn launch(program: &Program, folder: &TempDir, variables: &[(String, String)]) -> Process {
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    program.start(folder.path(), &variables)
}

/// Tries to connect with a name and its key until it is accepted.
pub(crate) async fn enters(server: &Server, path: &str) -> (Client, Value) {
    within(format!("{path} is let in"), async {
        loop {
            if let Some(entered) = Client::try_enter(server, path).await {
                return entered;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

/// Sends some messages, and waits until each is acknowledged.
pub(crate) async fn say(client: &mut Client, texts: &[&str]) {
    for text in texts {
        client.send_json(&json!({"type": "message", "Message": text, "id": text})).await;
        client.next_of("ack").await;
    }
}

/// Asks for the members of a room. Returns their names in order, and their number.
pub(crate) async fn members(client: &mut Client, room: &str) -> (Vec<String>, u64) {
    client.send_json(&json!({"type": "members", "room": room})).await;
    let answer = client.next_of("members").await;
    let names = answer["clientIds"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    (names, answer["count"].as_u64().unwrap())
}

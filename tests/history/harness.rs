//! The binary with a database of its own, clients over awc, and HTTP by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use actix_codec::Framed;
use awc::BoxedSocket;
use awc::ws::{Codec, Frame, Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;

/// How long a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nobody announces.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn command(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let binary = Command::new(env!("CARGO_BIN_EXE_starling"));
    prepare(binary, folder, arguments, variables)
}

/// The server as a tool runs it: `tool` is the name of the tool and its arguments before the name of the program.
pub(crate) fn command_under(tool: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(tool[0]);
    command.args(&tool[1..]).arg(env!("CARGO_BIN_EXE_starling"));
    prepare(command, folder, &[], variables)
}

fn prepare(mut command: Command, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CHAT_")) {
        command.env_remove(name);
    }
    command.envs([("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "2"), ("CHAT_DRAIN_SECONDS", "0")]);
    command.envs(variables.iter().copied());
    command
}

/// Runs the binary to its end, which comes by itself.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments, &[]).output().unwrap()
}

/// A server that is expected not to start: what it says.
pub(crate) fn refusal(folder: &Path) -> String {
    let output = command(folder, &[], &[]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

/// A running server; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// What it has said until it listened.
    said: String,
    lines: Receiver<String>,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts a server in a folder, with its database there, and waits until it listens.
    pub(crate) fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::spawn(command(folder, &[], variables))
    }

    /// Runs a command that starts a server, and waits until it listens.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().to_string_lossy()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut said = String::new();
        let address = loop {
            let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("it does not listen: {said}"));
            said.extend([line.as_str(), "\n"]);
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(": ").next().unwrap().parse().unwrap();
            }
        };
        Self { child, said, lines, address }
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of the log that says this, or one that came before the server listened.
    pub(crate) fn line_with(&self, text: &str) -> String {
        if let Some(line) = self.said.lines().find(|line| line.contains(text)) {
            return line.to_owned();
        }
        let mut said = String::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("it does not say {text}: {said}"));
            if line.contains(text) {
                return line;
            }
            said.push_str(&line);
        }
    }

    /// Ends it at once, with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, with SIGTERM, and waits until it has.
    pub(crate) fn stop(mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM)
            .unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Status and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The page of messages at a path.
    pub(crate) fn page(&self, path: &str) -> (Vec<Value>, bool) {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        (body["messages"].as_array().unwrap().clone(), body["hasMore"].as_bool().unwrap())
    }

    /// Waits until a GET is answered with this status, and returns the body.
    pub(crate) async fn status_becomes(&self, path: &str, status: u16) -> String {
        within(&format!("{path} answers {status}"), async {
            loop {
                let (got, body) = self.get(path);
                if got == status {
                    return body;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Waits for `future`, at most as long as a test waits.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// The seqs of messages.
pub(crate) fn seqs(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

/// A client.
pub(crate) struct Client(Framed<BoxedSocket, Codec>);

impl Client {
    /// Connects, and returns the welcome too. `None`: there is no server.
    pub(crate) async fn try_open(address: SocketAddr, path: &str) -> Option<(Self, Value)> {
        let request = awc::Client::new().ws(format!("ws://{address}{path}")).max_frame_size(16 * 1024 * 1024);
        let (_, socket) = request.connect().await.ok()?;
        let mut client = Self(socket);
        let welcome = client.next().await?;
        Some((client, welcome))
    }

    pub(crate) async fn open(server: &Process, path: &str) -> (Self, Value) {
        within(path, Self::try_open(server.address, path)).await.unwrap_or_else(|| panic!("no connection to {path}"))
    }

    /// Sends a frame; false: the connection has ended.
    pub(crate) async fn send(&mut self, frame: Value) -> bool {
        self.0.send(Message::Text(frame.to_string().into())).await.is_ok()
    }

    /// The next event. `None`: the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await? {
                Ok(Frame::Text(text)) => return Some(serde_json::from_slice(&text).unwrap()),
                Ok(Frame::Ping(payload)) => self.0.send(Message::Pong(payload)).await.ok()?,
                Ok(Frame::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Waits until the server closes the connection, and returns the code.
    pub(crate) async fn closed(&mut self) -> u16 {
        within("the connection is closed", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Frame::Close(reason))) => return reason.unwrap().code.into(),
                    Some(Ok(_)) => {}
                    end => panic!("no close frame: {end:?}"),
                }
            }
        })
        .await
    }

    /// The next event of this type; others are passed over.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        within(kind, async {
            loop {
                let event = self.next().await.unwrap_or_else(|| panic!("the connection ended before {kind}"));
                if event["type"] == kind {
                    return event;
                }
            }
        })
        .await
    }
}

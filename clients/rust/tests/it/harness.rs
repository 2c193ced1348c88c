//! The real server, and the conditions that the tests wait for.

use std::net::SocketAddr;
use std::path::Path;

use starling_client::protocol::{ChatMessage, ClientId};
use starling_client::{Client, Options, Private, PrivateEvent, Room, RoomEvent, State};
use test_kit::{Process, Program, within};

/// The program of the server, which cargo puts beside the tests when it builds them for the workspace.
pub(crate) fn starling() -> Program {
    let deps = std::env::current_exe().unwrap();
    let folder = deps.ancestors().nth(2).unwrap();
    let defaults = [
        ("CHAT_BIND", "127.0.0.1:0"),
        ("CHAT_WORKERS", "1"),
        ("CHAT_DRAIN_SECONDS", "1"),
        ("CHAT_HISTORY_PATH", "starling.db"),
    ];
    Program::new(folder.join("starling")).with(&defaults)
}

/// Starts a server in a folder, where it keeps its history.
pub(crate) fn start(folder: &Path, variables: &[(&str, &str)]) -> Process {
    starling().start(folder, variables)
}

/// Starts a server again at the address of an earlier one.
pub(crate) fn start_at(folder: &Path, address: SocketAddr, variables: &[(&str, &str)]) -> Process {
    let bind = address.to_string();
    starling().start(folder, &[variables, &[("CHAT_BIND", bind.as_str())]].concat())
}

pub(crate) fn name(name: &str) -> ClientId {
    name.parse().unwrap()
}

/// A client of these servers that reconnects quickly.
pub(crate) fn options(addresses: &[SocketAddr]) -> Options {
    let soon = std::time::Duration::from_millis(50);
    Options::new(addresses.iter().map(|address| format!("ws://{address}"))).pauses(soon, soon * 4)
}

pub(crate) fn connect(address: SocketAddr, client_id: &str) -> Client {
    Client::connect(options(&[address]).client_id(name(client_id)))
}

/// The next event of a room.
pub(crate) async fn next(room: &mut Room) -> RoomEvent {
    within("an event of the room", room.next()).await.expect("the stream goes on")
}

/// The next message of a room; no `joined` may report lost messages.
pub(crate) async fn message(room: &mut Room) -> ChatMessage<'static> {
    loop {
        match next(room).await {
            RoomEvent::Message(message) => return message,
            RoomEvent::Joined { recovered, .. } => assert!(recovered, "messages were lost"),
            other => panic!("{other:?}"),
        }
    }
}

/// Waits until the client is in the room. Returns whether nothing was lost.
pub(crate) async fn joined(room: &mut Room) -> bool {
    match next(room).await {
        RoomEvent::Joined { recovered, .. } => recovered,
        other => panic!("{other:?}"),
    }
}

/// The text of the next private message.
pub(crate) async fn private(conversation: &mut Private) -> String {
    match within("a private message", conversation.next()).await {
        Some(PrivateEvent::Message(message)) => message.text.into_owned(),
        other => panic!("{other:?}"),
    }
}

/// Waits for a state.
pub(crate) async fn state(client: &Client, what: &str, is_it: impl Fn(&State) -> bool) -> State {
    let mut state = client.watch();
    within(what, async { state.wait_for(|state| is_it(state)).await.unwrap().clone() }).await
}

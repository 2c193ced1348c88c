//! A server does not continue after a part of it has died.

use serde_json::json;
use starling::{Death, RunError, Server};
use starling_actors::history::{Completion, Entry, History, HistoryStore, OwnLimits, ReadRequest, Receipt, ReportSink};
use starling_actors::ids::RoomId;
use starling_actors::moderation::Row;
use starling_actors::vitals::{Pulse, VitalPart, Vitals};
use test_kit::Client;
use test_kit::raw::{self, Raw};

use crate::harness::TestServer;

/// A history that fails at certain words, to inject faults into the chat.
struct Fragile {
    inner: History,
    /// The pulse of a separate thread, which ends at the word `thread`.
    thread: Option<Pulse>,
}

impl Fragile {
    fn new() -> Self {
        Self { inner: History::in_memory(10, 100_000), thread: None }
    }
}

impl HistoryStore for Fragile {
    fn connect(&mut self, _: ReportSink, vitals: &Vitals) {
        self.thread = Some(vitals.pulse(VitalPart::History));
    }

    fn append(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        let is_said = |text| entry.copies.iter().any(|copy| copy.draft.content.text() == text);
        assert!(!is_said("chat"), "a fault in the ChatServer, on purpose");
        if is_said("thread") {
            self.thread = None;
        }
        self.inner.append(entry, done);
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        self.inner.read(request, done);
    }

    fn keep_moderation(&mut self, _: Vec<Row>, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        done.extend(receipt.map(|receipt| Completion::Decided { receipt, is_kept: true }));
    }

    fn limit(&mut self, room: RoomId, limits: OwnLimits) {
        self.inner.limit(room, limits);
    }

    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.inner.forget(room, receipt, done);
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.rest();
        }
    }
}

fn start() -> TestServer {
    let variables = [("CHAT_DRAIN_SECONDS", "10")];
    TestServer::start_by(&variables, async |config| {
        Server::start_with_history(config, History::over(Fragile::new(), 0, 0)).await
    })
}

#[actix::test]
async fn a_chat_server_that_panics_ends_the_server_with_a_failure_that_names_it() {
    let mut server = start();
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    alice.expect_chat_works().await;
    alice.send_json(&json!({"Message": "chat"})).await;
    let outcome = server.outcome().await;
    assert_eq!(outcome, Err(RunError::Died(Death::Of(VitalPart::ChatServer))));
    // The process ends with this line and a failure code.
    assert_eq!(outcome.unwrap_err().to_string(), "the ChatServer has died: the server cannot continue without it");
}

#[actix::test]
async fn a_history_that_dies_makes_the_server_unready_tells_everybody_and_ends_it() {
    let mut server = start();
    let mut alice = Raw::connect(&server, "/ws?clientId=alice").await;
    alice.send_text(r#"{"Message":"thread"}"#).await;
    assert!(alice.frame().await.unwrap().text().contains("\"thread\""));
    assert!(alice.frame().await.unwrap().text().contains("\"closing\""));
    assert_eq!(alice.frame().await.unwrap().close_code(), Some(1001));
    // Alice has not left yet, so there is time to ask.
    let answer = raw::get(&server, "/readyz").await;
    answer.expect_refusal(503, "unavailable");
    assert!(answer.body.contains("a thread of the history has died"), "{answer:?}");
    raw::handshake(&server, "/ws").await.expect_refusal(503, "unavailable");
    drop(alice);
    assert_eq!(server.outcome().await, Err(RunError::Died(Death::Of(VitalPart::History))));
}

//! A starting node reads the records that it has missed: from the log, or from a checkpoint if the log was trimmed.

use serde_json::{Value, json};
use starling::nats::NatsLog;
use starling_actors::history::{Content, RoomKey};
use starling_actors::nodes::record::{LogEntry, LoggedMessage};
use starling_protocol::{ClientId, Epoch, RoomName, Seq};
use test_kit::nats::Nats;
use test_kit::{Client, LOOK, Listens as _, raw, wait_until, within};

use crate::faults::{Proxy, Way};
use crate::harness::{Scribe, has_checkpoints, settings};
use crate::server::{Server, say};

/// Records between two checkpoints.
pub(crate) const CHECKPOINT_RECORDS: usize = 20_000;

/// No node is declared dead meanwhile.
pub(crate) const PATIENT: [(&str, &str); 1] = [("CHAT_NODE_TIMEOUT_SECONDS", "60")];

/// Joins a room after the message `after` of an epoch. Returns whether all later messages arrive.
async fn recovers(client: &mut Client, room: &str, after: u64, epoch: &Value) -> bool {
    client.send_json(&json!({"type": "join", "room": room, "after": after, "epoch": epoch})).await;
    client.next_of("joined").await["recovered"].as_bool().unwrap()
}

#[actix::test]
async fn a_node_behind_a_trimmed_log_begins_at_a_checkpoint_and_shows_no_room_with_a_hole() {
    let nats = Nats::start().await;
    let (mut a, b) = (Server::start(&nats, "a", &PATIENT).await, Server::start(&nats, "b", &PATIENT).await);
    let (mut bob, _) = Client::enter(&b, "/ws/busy?clientId=bob").await;
    let (mut carol, of_quiet) = Client::enter(&b, "/ws/quiet?clientId=carol").await;
    say(&mut bob, &["b1", "b2", "b3"]).await;
    say(&mut carol, &["q1", "q2"]).await;
    wait_until("a has them", || a.history("busy").len() == 3 && a.history("quiet").len() == 2).await;
    let variables = a.variables();
    let folder = a.stop();

    // The node `a` misses a message, and the log is trimmed past it.
    say(&mut bob, &["b4"]).await;
    let log = settings(&nats.url());
    for kept in 1..=3 {
        Scribe::begin(&nats.url(), u64::MAX - kept as u64).await.write_void(CHECKPOINT_RECORDS).await;
        has_checkpoints(&log, kept).await;
    }
    wait_trimmed(&nats).await;

    a = Server::start_again(folder, &variables).await;
    a.process.line_with("rooms that got messages meanwhile lose their older ones on this node");
    let way = Proxy::start(nats.address()).await;
    way.set(Way::Slow);
    let url = way.url();
    // The proxy is on this thread.
    let begin = move || Server::begin(tempfile::tempdir().unwrap(), &url, "c", &PATIENT);
    let empty = tokio::task::spawn_blocking(begin).await.unwrap();
    empty.is_not_ready("catching up").await;
    raw::handshake(&empty, "/ws").await.expect_refusal(503, "unavailable");
    way.set(Way::Open);
    empty.is_ready().await;

    // A room without new messages is complete if it was kept; a room with new messages begins after the checkpoint.
    assert_eq!(a.history("quiet"), b.history("quiet"));
    assert_eq!(a.history("busy"), []);
    assert_eq!((empty.history("quiet"), empty.history("busy")), (vec![], vec![]));
    say(&mut bob, &["b5"]).await;
    for node in [&a, &empty] {
        wait_until("b5 is there", || node.history("busy") == [(5, "b5".to_owned())]).await;
    }
    assert_eq!(b.history("busy").len(), 5);
    let (mut dora, of_busy) = Client::enter(&a, "/ws/busy?clientId=dora").await;
    assert!(recovers(&mut dora, "quiet", 1, &of_quiet["epoch"]).await);
    assert_eq!(dora.next_of("message").await["Message"], "q2");
    assert!(!recovers(&mut dora, "busy", 3, &of_busy["epoch"]).await, "b4 cannot be shown");

    // The checkpoint has the names, the remembered ids and the epochs.
    for node in [&a, &empty] {
        raw::handshake(node, "/ws?clientId=bob").await.expect_refusal(409, "name_taken");
    }
    let (_, body) = b.process.get("/api/rooms/busy/messages");
    let epoch_at = |node: &Server| node.process.get("/api/rooms").1;
    wait_until("the rooms are the same", || epoch_at(&a) == epoch_at(&b) && epoch_at(&empty) == epoch_at(&b)).await;
    assert!(body.contains("b5"), "{body}");

    // A node that ends then continues in its folder.
    let mut variables = empty.variables();
    variables.push(("CHAT_NATS_URL".into(), nats.url()));
    let again = Server::start_again(empty.kill(), &variables).await;
    assert_eq!(again.history("busy"), [(5, "b5".to_owned())]);
}

/// Waits until the log begins after its first record.
pub(crate) async fn wait_trimmed(nats: &Nats) {
    within("the log is trimmed", async {
        while NatsLog::connect(&settings(&nats.url())).await.unwrap().state().first.0 <= 1 {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

#[actix::test]
async fn a_message_that_is_sent_again_to_a_node_that_began_from_a_checkpoint_counts_once() {
    let nats = Nats::start().await;
    let b = Server::start(&nats, "b", &PATIENT).await;
    let (mut bob, welcome) = b.enter("bob").await;
    bob.send_json(&json!({"type": "message", "Message": "once", "id": "m-1"})).await;
    let first = bob.next_of("ack").await;
    let scribe = Scribe::begin(&nats.url(), u64::MAX - 1).await;
    for kept in 1..=3 {
        scribe.write_void(CHECKPOINT_RECORDS).await;
        has_checkpoints(&settings(&nats.url()), kept).await;
    }
    wait_trimmed(&nats).await;
    let a = Server::start(&nats, "a", &PATIENT).await;
    assert_eq!(a.history("lobby"), [], "it begins from the checkpoint");
    let path = format!("/ws?clientId=bob&key={}", welcome["key"].as_str().unwrap());
    let (mut bob, again) = Client::enter(&a, &path).await;
    assert_eq!(again["epoch"], welcome["epoch"]);
    bob.send_json(&json!({"type": "message", "Message": "once", "id": "m-1"})).await;
    let second = bob.next_of("ack").await;
    assert_eq!((&second["seq"], &second["at"], &second["duplicate"]), (&first["seq"], &first["at"], &json!(true)));
}

#[actix::test]
async fn a_record_of_more_messages_than_a_commit_takes_is_kept_whole_around_the_end_of_a_room() {
    let nats = Nats::start().await;
    let a = Server::start(&nats, "a", &PATIENT).await;
    let (mut alice, welcome) = Client::enter(&a, "/ws/dev?clientId=alice").await;
    say(&mut alice, &["before"]).await;
    let (_zoe, of_lobby) = a.enter("zoe").await;
    let epoch = |welcome: &Value| serde_json::from_value::<Epoch>(welcome["epoch"].clone()).unwrap();
    let messages = |name: &str, epoch: Epoch, numbers: std::ops::RangeInclusive<u64>| {
        numbers.map(|number| message(room(name), epoch, format!("m{number}"))).collect::<Vec<_>>()
    };
    let enter = |epoch| LogEntry::Enter { key: room("dev"), name: ClientId::parse("scribe").unwrap(), epoch };
    let mut record = vec![enter(Epoch(1))];
    record.extend(messages("dev", epoch(&welcome), 2..=1_500));
    record.extend(messages("lobby", epoch(&of_lobby), 1..=600));
    record.push(LogEntry::Drop { key: room("dev"), epoch: Epoch(2) });
    record.push(enter(Epoch(3)));
    record.extend(messages("dev", Epoch(3), 1..=1_400));
    record.extend(messages("lobby", epoch(&of_lobby), 601..=1_200));
    Scribe::begin(&nats.url(), 1).await.write(record).await;

    let expected = |upto: u64| (1..=upto).map(|number| (number, format!("m{number}"))).collect::<Vec<_>>();
    assert_eq!(alice.next_of("left").await["room"], "dev");
    wait_until("the last message is there", || a.history("lobby").last().is_some_and(|(seq, _)| *seq == 1_200)).await;
    let has_all = |node: &Server| {
        assert!(node.whole_history("dev") == expected(1_400) && node.whole_history("lobby") == expected(1_200));
    };
    has_all(&a);
    // The messages in the file, and those in the log.
    let variables = a.variables();
    has_all(&Server::start_again(a.kill(), &variables).await);
    has_all(&Server::start(&nats, "b", &PATIENT).await);
}

/// A room.
fn room(name: &str) -> RoomKey {
    RoomKey::Room(RoomName::parse(name).unwrap())
}

/// A message of an operator, which needs no session.
fn message(room: RoomKey, epoch: Epoch, text: String) -> LogEntry {
    LogEntry::Message(LoggedMessage {
        first: None,
        last: (room, epoch),
        to: None,
        session: None,
        client_id: ClientId::parse("scribe").unwrap(),
        content: Content::message(text),
        first_about: None,
        as_of: Seq(0),
        owner: None,
        id: None,
    })
}

/// The first core that this process may use.
fn a_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    allowed.trim().split([',', '-']).next().unwrap().to_owned()
}

#[actix::test]
async fn a_node_that_reads_the_log_at_its_start_answers_at_once_and_says_how_far_it_is() {
    /// More than a node reads while its answer is on the way.
    const RECORDS: u64 = 100_000;
    let nats = Nats::start().await;
    NatsLog::connect(&settings(&nats.url())).await.unwrap();
    let mut scribe = Scribe::begin(&nats.url(), 1).await;
    let name = ClientId::parse("scribe").unwrap();
    scribe.write(vec![LogEntry::Enter { key: room("dev"), name, epoch: Epoch(1) }]).await;
    scribe.write_each((1..=RECORDS).map(|number| message(room("dev"), Epoch(1), format!("m{number}")))).await;

    // With one core, the connections have the thread on which the records are applied.
    let node = Server::begin_under(&["taskset", "--cpu-list", &a_core()], &nats.url(), "a", &PATIENT);
    let mut left = Vec::new();
    let lag = "chat_nodes_lag_records ";
    loop {
        assert_eq!(node.process.get("/healthz").0, 200);
        let (status, body) = node.process.get("/readyz");
        if status == 200 {
            break;
        }
        let words =
            body.split_once("catching up: ").and_then(|(_, rest)| rest.split_once(" records of the log are left"));
        left.push(words.unwrap_or_else(|| panic!("{body}")).0.parse::<u64>().unwrap());
        let (_, metrics) = node.process.get("/metrics");
        assert!(metrics.lines().any(|line| line.starts_with(lag)), "{metrics}");
    }
    assert!(left.is_sorted_by(|earlier, later| earlier >= later), "{left:?}");
    left.dedup();
    assert!(left.len() >= 10, "it answers while it reads: {left:?}");
    assert_eq!(node.history("dev").last(), Some(&(RECORDS, format!("m{RECORDS}"))));
}

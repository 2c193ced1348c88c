//! A node with a history in a file stops at any record and starts again: it has the same state as a node that never
//! stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use starling_protocol::{ClientId, Epoch, HistoryPage, RoomName, Seq};
use tokio::sync::oneshot;

use crate::chat_server::command::{Command, HistoryQuery};
use crate::chat_server::effect::{Effect, NodeEffect, Turn};
use crate::chat_server::state::ChatState;
use crate::clock::{self, Now, Numbers};
use crate::config::ChatConfig;
use crate::history::sqlite::{SqliteSettings, SqliteStore};
use crate::history::{Content, Durability, EntryCopy, History, LogMark, RoomKey, StoreReport};
use crate::identity::Caller;
use crate::nodes::heard::Heard;
use crate::nodes::log::LogState;
use crate::nodes::record::{Incarnation, LogEntry, LogPosition, LoggedMessage, Record, RecordId};
use crate::nodes::start::start;
use crate::vitals::Vitals;

const LOG: u64 = 7;
const ROOMS: [&str; 4] = ["lobby", "dev", "ops", "qa"];
const CLIENTS: [&str; 3] = ["alice", "bob", "carol"];

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

/// The record at a position of the log.
fn id(position: u64) -> RecordId {
    RecordId { position: LogPosition(position), nanos: (1_000_000 + position) * 1_000_000 }
}

/// A room as its writers know it.
struct Known {
    epoch: Epoch,
    seq: u64,
    members: Vec<ClientId>,
}

/// A log in which rooms begin, end, are dropped and begin again under the same name.
fn log_of(random: &mut Numbers, length: u64) -> Vec<Record> {
    let life = Incarnation(1);
    let begin = LogEntry::Begin { node: "writer".into(), lobby: Epoch(1) };
    let mut records = vec![Record { incarnation: life, counter: 1, entries: vec![begin] }];
    let mut rooms = BTreeMap::from([("lobby".to_owned(), Known { epoch: Epoch(1), seq: 0, members: Vec::new() })]);
    for counter in 2..=length {
        let entries = (0..=random.draw() % 3).map(|_| entry(random, &mut rooms)).collect();
        records.push(Record { incarnation: life, counter, entries });
    }
    records
}

fn entry(random: &mut Numbers, rooms: &mut BTreeMap<String, Known>) -> LogEntry {
    let mut below = |bound: usize| usize::try_from(random.draw() % bound as u64).unwrap();
    let (name, sender) = (ROOMS[below(ROOMS.len())], client(CLIENTS[below(CLIENTS.len())]));
    let (key, what, fresh) =
        (RoomKey::Room(RoomName::parse(name).unwrap()), below(100), Epoch(1 + below(1 << 30) as u64));
    let Some(known) = rooms.get_mut(name) else {
        rooms.insert(name.to_owned(), Known { epoch: fresh, seq: 0, members: vec![sender.clone()] });
        return LogEntry::Enter { key, name: sender, epoch: fresh };
    };
    match what {
        0..60 => {
            known.seq += 1;
            let text = format!("{name} {} {}", known.epoch.0, known.seq);
            let last = (key, known.epoch);
            LogEntry::Message(LoggedMessage {
                first: None,
                last,
                to: None,
                session: None,
                client_id: sender,
                content: Content::message(text),
                first_about: None,
                as_of: Seq(0),
                owner: None,
                id: None,
            })
        }
        60..85 => {
            known.members.retain(|member| *member != sender);
            LogEntry::Leave { key, name: sender }
        }
        85..90 if name != "lobby" => {
            rooms.remove(name);
            LogEntry::Drop { key, epoch: fresh }
        }
        90..95 if name != "lobby" && known.members.is_empty() => {
            let (epoch, seq) = (known.epoch, Seq(known.seq));
            rooms.remove(name);
            LogEntry::End { key, epoch, seq }
        }
        _ => {
            if !known.members.contains(&sender) {
                known.members.push(sender.clone());
            }
            LogEntry::Enter { key, name: sender, epoch: fresh }
        }
    }
}

/// A node that reads the log.
struct Reader {
    state: ChatState,
    history: History,
    reports: Receiver<StoreReport>,
    now: Now,
    read: usize,
}

impl Reader {
    /// A node that begins when the log has this many records, and reads them.
    fn begin(mut history: History, log: &[Record], end_turn: impl FnMut() -> bool) -> Self {
        let restored = history.restore();
        let last = LogPosition(log.len() as u64);
        let of_log = LogState { id: LOG, first: LogPosition(1), last, checkpoints: Vec::new() };
        let there = restored.mark.filter(|mark| mark.position > 0).map(|mark| id(mark.position));
        let begin = start(restored.mark, !restored.rooms.is_empty(), &of_log, there).unwrap();
        if restored.mark.is_none() {
            history.mark(LogMark { log: LOG, position: 0, at_nanos: None });
        }
        let now = Now::read();
        let mut state =
            ChatState::new(ChatConfig { history_is_stored: true, ..ChatConfig::default() }, clock::unix_ms());
        state.become_node("reader", Duration::from_secs(5), LOG);
        state.begin_from(None, restored, begin.kept_upto, now).unwrap();
        let (tell, reports) = mpsc::channel();
        history.connect(Arc::new(move |report| tell.send(report).unwrap_or_default()), &Vitals::default());
        let mut reader = Self { state, history, reports, now, read: 0 };
        reader.read(log, end_turn);
        reader.apply(Command::Heard(Heard::Reachable(true)));
        reader
    }

    fn over_file(folder: &Path) -> History {
        let settings = SqliteSettings {
            path: folder.join("starling.db"),
            follows_log: true,
            durability: Durability::Process,
            keep_messages: None,
            keep_for: None,
            keep_bytes: None,
            ids_kept: Duration::from_mins(5),
            ids_max: 1_000,
        };
        History::over(SqliteStore::open(settings, Arc::default()).unwrap(), 3, 1_000_000).following_a_log()
    }

    fn read(&mut self, log: &[Record], mut end_turn: impl FnMut() -> bool) {
        for record in log.iter().skip(self.read) {
            self.read += 1;
            let record = Record { entries: record.entries.clone(), ..*record };
            let id = id(self.read as u64);
            self.apply(Command::Heard(Heard::Record { id, record }));
            if end_turn() {
                self.end_turn();
            }
        }
    }

    fn end_turn(&mut self) {
        let mut done = Vec::new();
        self.history.end_turn(&mut done);
        while let Ok(report) = self.reports.try_recv() {
            self.history.reported(report, &mut done);
        }
        self.complete(done, Turn::new(self.now));
    }

    fn apply(&mut self, command: Command) {
        let mut turn = Turn::new(self.now);
        self.state.apply(command, &mut turn);
        self.complete(Vec::new(), turn);
        self.state.check();
        assert!(!self.history.lacks_a_message());
    }

    fn complete(&mut self, mut done: Vec<crate::history::Completion>, mut turn: Turn) {
        loop {
            for completion in done.drain(..) {
                self.state.complete(completion, &mut turn);
            }
            if turn.effects.is_empty() {
                return;
            }
            for effect in std::mem::take(&mut turn.effects) {
                match effect {
                    Effect::Node(NodeEffect::Keep { entry, placed }) => {
                        assert!(entry.copies.iter().all(|EntryCopy { seq, .. }| seq.is_some()));
                        self.history.keep(entry, &placed, &mut done);
                    }
                    Effect::Node(NodeEffect::Applied(RecordId { position, nanos })) => {
                        self.history.mark(LogMark { log: LOG, position: position.0, at_nanos: Some(nanos) });
                    }
                    Effect::Read(request) => self.history.read(request, &mut done),
                    Effect::Forget { room, receipt } => self.history.forget(room, receipt, &mut done),
                    Effect::NoteSent { room, seq } => self.history.note_sent(room, seq),
                    Effect::NoteRead { owner, room, standing } => self.history.note_read(owner, room, standing),
                    Effect::Answer(answer) => answer.send(),
                    Effect::To { .. }
                    | Effect::TellMany { .. }
                    | Effect::Deliver { .. }
                    | Effect::DeliverPrivate { .. }
                    | Effect::Node(_)
                    | Effect::Append(_)
                    | Effect::Decided(_)
                    | Effect::KeepModeration { .. }
                    | Effect::Limit { .. }
                    | Effect::DropExcess
                    | Effect::CountRefusal(_)
                    | Effect::Drain { .. } => {}
                }
            }
        }
    }

    /// The messages of all rooms.
    fn rooms(&mut self) -> Vec<(&'static str, Vec<(u64, String)>)> {
        ROOMS.into_iter().map(|name| (name, self.messages(name))).collect()
    }

    fn messages(&mut self, name: &str) -> Vec<(u64, String)> {
        let (reply, mut answer) = oneshot::channel();
        let (room, page) = (RoomName::parse(name).unwrap(), HistoryPage::Newest);
        let (caller, bytes) = (Caller::Operator, usize::MAX);
        let query = HistoryQuery { caller, room, page, search: None, with_changes: false, limit: 1_000, bytes };
        self.apply(Command::ReadRoom { query, reply });
        let page = loop {
            if let Ok(page) = answer.try_recv() {
                break page;
            }
            let mut done = Vec::new();
            self.history.end_turn(&mut done);
            let report = self.reports.recv_timeout(Duration::from_secs(10)).unwrap();
            self.history.reported(report, &mut done);
            self.complete(done, Turn::new(self.now));
        };
        let Ok(page) = page else { return Vec::new() };
        page.messages.iter().map(|message| (message.seq.0, message.text().to_owned())).collect()
    }
}

#[test]
fn a_node_that_ends_anywhere_and_begins_again_has_what_one_has_that_never_ended() {
    for seed in 1..=20 {
        let mut random = Numbers::new(seed);
        let log = log_of(&mut random, 120);
        let folder = tempfile::tempdir().unwrap();
        let mut length = 0;
        loop {
            length = (length + 1 + usize::try_from(random.draw() % 40).unwrap()).min(log.len());
            let expected = Reader::begin(History::in_memory(1_000, u64::MAX), &log[..length], || false).rooms();
            let mut node =
                Reader::begin(Reader::over_file(folder.path()), &log[..length], || random.draw().is_multiple_of(3));
            assert_eq!(node.rooms(), expected, "seed {seed}, at its start with {length} records");
            // It continues for a while, and then ends.
            length = (length + usize::try_from(random.draw() % 20).unwrap()).min(log.len());
            let expected = Reader::begin(History::in_memory(1_000, u64::MAX), &log[..length], || false).rooms();
            node.read(&log[..length], || random.draw().is_multiple_of(3));
            assert_eq!(node.rooms(), expected, "seed {seed}, with {length} records");
            if length == log.len() {
                break;
            }
        }
    }
}

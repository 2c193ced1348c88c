//! A history of each kind, as the contract sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rusqlite::Connection;
use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Epoch, HistoryPage, MessageId, Seq};
use tempfile::TempDir;

use super::super::remote::Remote;
use super::super::request;
use crate::clock;
use crate::history::sqlite::{SqliteSettings, SqliteStore};
use crate::history::{
    Completion, Content, Draft, Durability, Entry, EntryCopy, EntryNumber, History, Page, ReadError, ReadRequest,
    ReadToken, Restored, RoomKey, StoreReport, StoredCopy, StoredMessage,
};
use crate::identity::IdOwner;
use crate::ids::RoomId;
use crate::vitals::Vitals;

pub(super) const LOBBY: (RoomId, &str) = (RoomId(0), "lobby");
pub(super) const OTHER: (RoomId, &str) = (RoomId(1), "other");
pub(super) const ALICES: (RoomId, &str) = (RoomId(2), "@alice");
pub(super) const BOBS: (RoomId, &str) = (RoomId(3), "@bob");
pub(super) const EPOCH: Epoch = Epoch(7);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Off,
    Memory,
    /// With this many of the newest messages in memory in front of it.
    Sqlite(u32),
    Remote(u32),
}

pub(super) const KINDS: [Kind; 6] =
    [Kind::Off, Kind::Memory, Kind::Sqlite(0), Kind::Sqlite(3), Kind::Remote(0), Kind::Remote(3)];

impl Kind {
    pub(super) fn keeps(self) -> bool {
        self != Self::Off
    }

    pub(super) fn is_durable(self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Whether it can fail.
    pub(super) fn can_fail(self) -> bool {
        matches!(self, Self::Sqlite(_) | Self::Remote(_))
    }
}

/// A history of one kind, with the part of the chat that knows the newest message of each room.
pub(super) struct Subject {
    pub(super) kind: Kind,
    pub(super) history: History,
    pub(super) restored: Restored,
    reports: Receiver<StoreReport>,
    folder: TempDir,
    remote_is_lost: Arc<AtomicBool>,
    /// The oldest and the newest message of each room.
    pub(super) bounds: FxHashMap<RoomId, (Seq, Seq)>,
    entries: u64,
}

impl Subject {
    pub(super) fn new(kind: Kind) -> Self {
        Self::that_keeps(kind, None)
    }

    /// A history that keeps at most this many messages of a room, if it has such a limit.
    pub(super) fn that_keeps(kind: Kind, messages: Option<u32>) -> Self {
        Self::in_folder(kind, messages, tempfile::tempdir().unwrap())
    }

    pub(super) fn in_folder(kind: Kind, messages: Option<u32>, folder: TempDir) -> Self {
        let remote = Remote::default();
        let remote_is_lost = Arc::clone(&remote.is_lost);
        let mut history = match kind {
            Kind::Off => History::off(),
            Kind::Memory => History::in_memory(messages.unwrap_or(1_000), u64::MAX),
            Kind::Remote(recent) => History::over(remote, recent, u64::MAX),
            Kind::Sqlite(recent) => {
                let settings = SqliteSettings {
                    path: folder.path().join("starling.db"),
                    follows_log: false,
                    durability: Durability::Process,
                    keep_messages: messages.map(u64::from),
                    keep_for: None,
                    keep_bytes: None,
                    ids_kept: Duration::from_mins(5),
                    ids_max: 1_000,
                };
                History::over(SqliteStore::open(settings, Arc::default()).unwrap(), recent, u64::MAX)
            }
        };
        let restored = history.restore();
        let bounds = (0..).map(RoomId).zip(restored.rooms.iter().map(|room| (room.oldest, room.seq))).collect();
        let (tell, reports) = mpsc::channel();
        history.connect(Arc::new(move |report| tell.send(report).unwrap_or_default()), &Vitals::default());
        Self { kind, history, restored, reports, folder, remote_is_lost, bounds, entries: 0 }
    }

    /// Ends the history and begins it again, as a new process does.
    pub(super) fn restart(self) -> Self {
        let Self { kind, history, folder, .. } = self;
        drop(history);
        Self::in_folder(kind, None, folder)
    }

    pub(super) fn append(&mut self, copies: &[(RoomId, &str)], text: &str, done: &mut Vec<Completion>) -> u64 {
        let copies: Vec<_> = copies.iter().map(|copy| (*copy, Content::message(text))).collect();
        self.append_entry("alice", &copies, done)
    }

    /// Appends an entry of a client, with the content of each copy.
    pub(super) fn append_entry(
        &mut self,
        client: &str,
        copies: &[((RoomId, &str), Content)],
        done: &mut Vec<Completion>,
    ) -> u64 {
        self.entries += 1;
        let number = self.entries;
        let to = (copies.len() == 2).then(|| ClientId::parse("bob").unwrap());
        let draft = Draft {
            to,
            client_id: ClientId::parse(client).unwrap(),
            content: Content::message(""),
            at: clock::unix_ms(),
            id: Some(MessageId::parse(&number.to_string()).unwrap()),
            owner: Some(IdOwner(7)),
        };
        let copies = copies.iter().map(|((room, key), content)| {
            let (key, draft) = (RoomKey::parse(key).unwrap(), Draft { content: content.clone(), ..draft.clone() });
            EntryCopy { room: *room, key, epoch: EPOCH, draft, seq: None }
        });
        self.history.append(Entry { number: EntryNumber(number), copies: copies.collect() }, done);
        number
    }

    /// Ends the turn, and waits until everything is answered.
    pub(super) fn settle(
        &mut self,
        mut done: Vec<Completion>,
        mut is_whole: impl FnMut(&[Completion]) -> bool,
    ) -> Vec<Completion> {
        self.history.end_turn(&mut done);
        assert!(!self.history.has_queued(), "{:?}: nothing waits for another end of the turn", self.kind);
        while !is_whole(&done) {
            let report = self.reports.recv_timeout(Duration::from_secs(20));
            let report = report.unwrap_or_else(|_| panic!("{:?}: no answer comes after {done:?}", self.kind));
            self.history.reported(report, &mut done);
        }
        for completion in &done {
            match completion {
                Completion::Committed { copies, .. } => {
                    for StoredCopy { room, message, oldest, .. } in copies {
                        let bounds = self.bounds.entry(*room).or_insert((Seq(1), Seq(0)));
                        *bounds = (oldest.unwrap_or(bounds.0), message.seq);
                    }
                }
                Completion::Trimmed { room, oldest } => {
                    self.bounds.entry(*room).or_insert((Seq(1), Seq(0))).0 = *oldest;
                }
                Completion::Refused { .. }
                | Completion::Read { .. }
                | Completion::Unread { .. }
                | Completion::Forgotten { .. }
                | Completion::Decided { .. } => {}
            }
        }
        done
    }

    /// Appends messages to a room in one turn.
    pub(super) fn say(&mut self, to: (RoomId, &str), texts: &[&str]) {
        let mut done = Vec::new();
        for text in texts {
            self.append(&[to], text, &mut done);
        }
        self.settle(done, |done| answers(done).len() == texts.len());
    }

    pub(super) fn read(
        &mut self,
        room: RoomId,
        change: impl FnOnce(&mut ReadRequest),
    ) -> Result<(Vec<u64>, bool), ReadError> {
        let page = self.read_page(room, change)?;
        Ok((page.messages.iter().map(|message| message.seq.0).collect(), page.has_more))
    }

    /// The entries of a page as short texts.
    pub(super) fn show(&mut self, room: RoomId, change: impl FnOnce(&mut ReadRequest)) -> Vec<String> {
        self.read_page(room, change).unwrap().messages.iter().map(|entry| shown(entry)).collect()
    }

    fn read_page(&mut self, room: RoomId, change: impl FnOnce(&mut ReadRequest)) -> Result<Page, ReadError> {
        let (oldest, newest) = self.bounds.get(&room).copied().unwrap_or((Seq(1), Seq(0)));
        let request = request(HistoryPage::Newest, None, 100, usize::MAX);
        let mut request = ReadRequest { room, oldest, newest, token: ReadToken(5), ..request };
        change(&mut request);
        let mut done = Vec::new();
        self.history.read(request, &mut done);
        let is_answer = |done: &Completion| matches!(done, Completion::Read { .. } | Completion::Unread { .. });
        let done = self.settle(done, |done| done.iter().any(is_answer));
        let answers: Vec<_> = done.into_iter().filter(is_answer).collect();
        let (request, answer) = match <[Completion; 1]>::try_from(answers) {
            Ok([Completion::Read { request, page }]) => (request, Ok(page)),
            Ok([Completion::Unread { request, error }]) => (request, Err(error)),
            other => panic!("{:?}: a read is answered once: {other:?}", self.kind),
        };
        assert_eq!((request.token, request.room), (ReadToken(5), room), "it is the request as it was asked");
        answer
    }

    /// Whether a text is in any file of the history.
    pub(super) fn files_have(&self, text: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let has = |path: &std::path::PathBuf| {
            std::fs::read(path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
        };
        files.filter(has).map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    /// Makes the storage fail, or work again.
    pub(super) fn set_broken(&self, is_broken: bool) {
        self.remote_is_lost.store(is_broken, Relaxed);
        if self.kind.is_durable() {
            let (from, to) = if is_broken { ("messages", "away") } else { ("away", "messages") };
            self.change_database(&format!("ALTER TABLE {from} RENAME TO {to}"));
        }
    }

    pub(super) fn change_database(&self, sql: &str) {
        Connection::open(self.folder.path().join("starling.db")).unwrap().execute_batch(sql).unwrap();
    }
}

/// An entry as a short text: its number, and what it says.
fn shown(entry: &StoredMessage) -> String {
    let changes = entry.changes.iter().map(|changes| {
        let clients = |clients: &[ClientId]| clients.iter().map(ClientId::as_str).collect::<Vec<_>>().join(",");
        let reactions = changes.reactions.iter().map(|(emoji, of)| format!(" {}{}", emoji.as_str(), clients(of)));
        let is_deleted = if changes.is_deleted { " deleted" } else { "" };
        let edit = changes.edit.map_or_else(String::new, |(seq, _)| format!(" by {seq}"));
        format!("{edit}{is_deleted}{} <{}>", reactions.collect::<String>(), changes.newest)
    });
    let changes: String = changes.collect();
    let twin = entry.twin.map_or_else(String::new, |twin| format!(" twin {}", twin.seq));
    let seq = entry.seq;
    match &entry.content {
        Content::Message { text, reply_to } => {
            let reply = reply_to.map_or_else(String::new, |of| format!(" re {of}"));
            format!("{seq} {text}{reply}{changes}{twin}")
        }
        Content::Edit { of, text } => format!("{seq} edits {of}: {text}"),
        Content::Deletion { of } => format!("{seq} deletes {of}"),
        Content::Reaction { of, emoji, removed } => {
            format!("{seq} {}{} {of}", if *removed { '-' } else { '+' }, emoji.as_str())
        }
    }
}

/// The number of an entry, with the rooms and numbers of its messages; `None`: it was refused.
pub(super) type EntryAnswer = (u64, Option<Vec<(RoomId, u64)>>);

/// The entries that were answered.
pub(super) fn answers(done: &[Completion]) -> Vec<EntryAnswer> {
    let answer = |done: &Completion| match done {
        Completion::Committed { number, copies } => {
            Some((number.0, Some(copies.iter().map(|copy| (copy.room, copy.message.seq.0)).collect())))
        }
        Completion::Refused { number } => Some((number.0, None)),
        Completion::Trimmed { .. }
        | Completion::Read { .. }
        | Completion::Unread { .. }
        | Completion::Forgotten { .. }
        | Completion::Decided { .. } => None,
    };
    done.iter().filter_map(answer).collect()
}

//! The model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{CONNECTIONS, FIVE_MINUTES, Step, Told};

#[derive(Default)]
struct Inbox {
    said: Vec<String>,
    /// The number of messages that were sent to a connection of the owner.
    delivered: usize,
}

/// A private message, or a message of the lobby, that waits to be stored.
struct Waiting {
    /// The owner of the receiving inbox; `None`: the lobby.
    owner: Option<&'static str>,
    /// The owner of the other copy, if there is one.
    sender: Option<&'static str>,
    line: String,
    /// The connections to notify, by the number of their session, and whether it is a repetition.
    acks: Vec<(u32, bool)>,
    key: Option<(&'static str, u8)>,
    to: &'static str,
}

#[derive(Default)]
pub(super) struct Naive {
    now: u64,
    sessions: u32,
    /// Name and number of each connection's session.
    connections: [Option<(&'static str, u32)>; CONNECTIONS],
    inboxes: BTreeMap<&'static str, Inbox>,
    waiting: VecDeque<Waiting>,
    is_held: bool,
    /// The time and the receiver of an accepted message of a sender.
    taken: BTreeMap<(&'static str, u8), (u64, &'static str)>,
    told: Told,
}

impl Naive {
    fn tell(&mut self, connection: usize, line: String) {
        self.told.entry(connection).or_default().push(line);
    }

    fn of(&self, name: &str) -> Vec<usize> {
        (0..CONNECTIONS).filter(|at| self.connections[*at].is_some_and(|(own, _)| own == name)).collect()
    }

    pub(super) fn does(&mut self, step: Step) -> Told {
        match step {
            Step::Open { connection, name } => self.open(connection, name),
            Step::Close { connection } => self.connections[connection] = None,
            Step::Whisper { connection, to, id } => self.whisper(connection, to, id),
            Step::Say { connection } => {
                if let Some((name, _)) = self.connections[connection] {
                    let line = format!("lobby {name}");
                    self.waiting.push_back(Waiting {
                        owner: None,
                        sender: None,
                        line,
                        acks: Vec::new(),
                        key: None,
                        to: "",
                    });
                    self.store_unless_held();
                }
            }
            Step::Resume { connection, after } => self.resume(connection, after),
            Step::Members { connection } => {
                if self.connections[connection].is_some() {
                    let names: BTreeSet<&str> = self.connections.iter().flatten().map(|(name, _)| *name).collect();
                    self.tell(connection, format!("members {} {names:?}", names.len()));
                }
            }
            Step::Hold => self.is_held = true,
            Step::Store { count } => self.store(count),
            Step::Release => {
                self.is_held = false;
                self.store(usize::MAX);
            }
            Step::Wait { ms } => self.now += ms,
        }
        std::mem::take(&mut self.told)
    }

    fn open(&mut self, connection: usize, name: &'static str) {
        if self.connections[connection].is_some() {
            return;
        }
        self.sessions += 1;
        self.connections[connection] = Some((name, self.sessions));
        let inbox = self.inboxes.entry(name).or_default();
        let lines: Vec<String> = inbox.said.iter().skip(inbox.delivered).cloned().collect();
        inbox.delivered = inbox.said.len();
        let seq = inbox.said.len();
        self.tell(connection, format!("welcome {name} inbox {seq}"));
        for line in lines {
            self.tell(connection, line);
        }
    }

    fn whisper(&mut self, connection: usize, to: &'static str, id: Option<u8>) {
        let Some((sender, number)) = self.connections[connection] else { return };
        let key = id.map(|id| (sender, id));
        if key.is_some()
            && let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.key == key)
        {
            return waiting.acks.push((number, true));
        }
        let before = key.and_then(|key| self.taken.get(&key).copied());
        if let Some((_, before_to)) = before.filter(|(at, _)| self.now - at < FIVE_MINUTES) {
            return self.tell(connection, format!("ack {} @{before_to} duplicate", id.unwrap()));
        }
        if let Some(key) = key {
            self.taken.insert(key, (self.now, to));
        }
        let shown_id = id.map_or_else(String::new, |id| format!(" id={id}"));
        let line = format!("{sender}@{to}{shown_id}");
        let acks = if id.is_some() { vec![(number, false)] } else { Vec::new() };
        let sender = Some(sender).filter(|sender| *sender != to);
        self.waiting.push_back(Waiting { owner: Some(to), sender, line, acks, key, to });
        self.store_unless_held();
    }

    fn store_unless_held(&mut self) {
        if !self.is_held {
            self.store(usize::MAX);
        }
    }

    fn store(&mut self, count: usize) {
        for _ in 0..count {
            let Some(Waiting { owner, sender, line, acks, key, to }) = self.waiting.pop_front() else { return };
            let Some(owner) = owner else {
                let all: Vec<usize> = (0..CONNECTIONS).filter(|at| self.connections[*at].is_some()).collect();
                for connection in all {
                    self.tell(connection, line.clone());
                }
                continue;
            };
            if let Some(sender) = sender {
                self.put(sender, &line);
            }
            for (number, is_duplicate) in acks {
                let is_it = |at: &usize| self.connections[*at].is_some_and(|(_, own)| own == number);
                if let Some(connection) = (0..CONNECTIONS).find(is_it) {
                    let duplicate = if is_duplicate { " duplicate" } else { "" };
                    self.tell(connection, format!("ack {} @{to}{duplicate}", key.unwrap().1));
                }
            }
            self.put(owner, &line);
        }
    }

    /// Puts a message into an inbox, and delivers it to the owner's connections.
    fn put(&mut self, owner: &'static str, line: &str) {
        let here = self.of(owner);
        let inbox = self.inboxes.entry(owner).or_default();
        let line = format!("{}: {line}", inbox.said.len() + 1);
        inbox.said.push(line.clone());
        if !here.is_empty() {
            inbox.delivered = inbox.said.len();
        }
        for connection in here {
            self.tell(connection, line.clone());
        }
    }

    fn resume(&mut self, connection: usize, after: u64) {
        let Some((name, _)) = self.connections[connection] else { return };
        let (count, after) = (self.of(name).len(), usize::try_from(after).unwrap());
        let said = &self.inboxes[name].said;
        let outcome = if after <= said.len() { "recovered" } else { "gap" };
        let (seq, lines): (_, Vec<String>) = (said.len(), said.iter().skip(after).cloned().collect());
        self.tell(connection, format!("joined {seq} count {count} {outcome}"));
        for line in lines {
            self.tell(connection, line);
        }
    }
}

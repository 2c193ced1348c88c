//! The end of a run: everything is whole again, and nothing that was acknowledged is lost.

use std::collections::HashMap;
use std::sync::Arc;

use starling_protocol::{HistoryPage, Seq};
use tokio::sync::oneshot;

use super::super::client::Shown;
use super::{CLIENTS, NODES, Node, ROOMS, World, room};
use crate::chat_server::command::{Command, HistoryQuery};
use crate::history::{Completion, ReadPurpose, ReadRequest, ReadToken, StoredMessage};
use crate::identity::{Caller, RoomGlobs};

impl World {
    /// Everything is whole again: all records arrive and are read, all clients come back and are answered.
    pub(in super::super) fn heal(&mut self) {
        (0..NODES).for_each(|node| self.mend(node));
        for round in 0..400 {
            self.pass_time();
            for node in 0..NODES {
                while !self.nodes[node].outgoing.is_empty() || self.nodes[node].has_lost {
                    self.append(node);
                }
                while self.nodes[node].read < self.log.len() as u64 {
                    self.read(node);
                }
                while !self.nodes[node].told.is_empty() {
                    self.hear(node);
                }
            }
            for client in 0..CLIENTS {
                self.connect(client, (client + round) % NODES);
            }
            let all_in = self
                .clients
                .iter()
                .all(|it| it.is_welcomed && it.pending.is_empty() && it.changes.is_empty() && it.whispers.is_empty());
            let is_quiet = self
                .nodes
                .iter()
                .all(|node| node.outgoing.is_empty() && node.told.is_empty() && node.read == self.log.len() as u64);
            if all_in && is_quiet {
                return;
            }
        }
        let left: Vec<_> = self.clients.iter().map(|it| (&it.name, it.at, it.is_welcomed, it.pending.len())).collect();
        panic!("not everybody is back and answered: {left:?}");
    }

    fn history_of(&mut self, node: usize, name: &str) -> Vec<(u64, String, String)> {
        let (reply, mut answer) = oneshot::channel();
        let query = HistoryQuery {
            caller: Caller::Operator,
            room: room(name),
            page: HistoryPage::Newest,
            search: None,
            with_changes: false,
            limit: 2_000,
            bytes: usize::MAX,
        };
        self.apply(node, Command::ReadRoom { query, reply });
        let Ok(Ok(page)) = answer.try_recv() else { return Vec::new() };
        let shown = |message: &Arc<StoredMessage>| {
            let id = message.id.as_ref().map_or_else(String::new, |id| id.as_str().to_owned());
            (message.seq.0, id, Shown::of(&message.to_wire(), false).seen())
        };
        page.messages.iter().map(shown).collect()
    }

    /// All entries of a room on a node, as a resume would send them.
    fn entries_of(&mut self, node: usize, name: &str) -> Vec<StoredMessage> {
        let Node { state, history, .. } = &mut self.nodes[node];
        let Some(room) = state.find_room(name) else { return Vec::new() };
        let request = ReadRequest {
            token: ReadToken(0),
            purpose: ReadPurpose::CatchUp,
            room,
            oldest: Seq(1),
            newest: Seq(u64::MAX),
            page: HistoryPage::After(Seq(0)),
            search: None,
            with: None,
            limit: usize::MAX,
            bytes: usize::MAX,
        };
        let mut done = Vec::new();
        history.read(request, &mut done);
        let Some(Completion::Read { page, .. }) = done.pop() else { panic!("it is in memory") };
        page.messages.iter().map(|entry| StoredMessage { owner: None, ..(**entry).clone() }).collect()
    }

    pub(in super::super) fn check_end(&mut self) {
        // A newcomer that reads the whole log is equal to those that were there.
        let mut newcomer = self.new_node(false);
        std::mem::swap(&mut self.nodes[0], &mut newcomer);
        while self.nodes[0].read < self.log.len() as u64 {
            self.read(0);
        }
        let of_newcomer: Vec<_> = ROOMS.iter().map(|name| self.history_of(0, name)).collect();
        let all_entries: Vec<_> = ROOMS.iter().map(|name| self.entries_of(0, name)).collect();
        std::mem::swap(&mut self.nodes[0], &mut newcomer);
        for entries in &all_entries {
            for edit in entries.iter().filter(|entry| !entry.is_message() && !entry.text().is_empty()) {
                let of = entries.iter().find(|entry| Some(entry.seq) == edit.content.of());
                let shows = of.and_then(|of| of.changes.as_ref()).is_some_and(|changes| changes.shows_edit(edit.seq));
                assert!(shows, "an edit has a text as long as it is shown: {edit:?} of {of:?}");
            }
        }
        for (client, (name, expected)) in
            self.clients.iter().flat_map(|client| ROOMS.iter().zip(&of_newcomer).map(move |of| (client, of)))
        {
            let shown = client.shown.get(&room(name)).filter(|_| client.rooms.contains_key(&room(name)));
            for (seq, message) in shown.into_iter().flatten() {
                let (.., seen) = expected.iter().find(|(known, ..)| known == seq).expect("it is in the log");
                assert_eq!(message.seen(), *seen, "{} shows message {seq} of {name}", client.name);
            }
        }
        for node in 0..NODES {
            for (name, expected) in ROOMS.iter().zip(&all_entries) {
                let kept = self.entries_of(node, name);
                assert!(expected.ends_with(&kept), "{name} on node {node}: {kept:?} of {expected:?}");
            }
            for (name, expected) in ROOMS.iter().zip(&of_newcomer) {
                // A node that began from a checkpoint has what came after it.
                let kept = self.history_of(node, name);
                assert!(expected.ends_with(&kept), "{name} on node {node}: {kept:?} of {expected:?}");
            }
            let names = self.nodes[node].state.held_names();
            assert!(self.is_authenticated || names.iter().all(|(_, holders)| *holders == 1), "{names:?}");
            assert_eq!(names.len(), CLIENTS, "{names:?}");
            // A client with an authenticated name may have another session at a dead node, and be in a room there.
            for name in ROOMS.iter().filter(|_| !self.is_authenticated) {
                let clients = self.clients.iter().filter(|client| client.rooms.contains_key(&room(name)));
                let expected: Vec<_> = clients.map(|client| &client.name).collect();
                let (listed, _) = self.nodes[node].state.list_rooms(&RoomGlobs::ALL, None);
                let count = listed.iter().find(|listed| listed.room == room(name)).map_or(0, |listed| listed.count);
                assert_eq!(count as usize, expected.len(), "{name} on node {node} has the members {expected:?}");
            }
        }
        let kept: HashMap<_, _> = all_entries.iter().flatten().map(|it| (it.id.clone(), it.seq)).collect();
        let count = all_entries.iter().map(Vec::len).sum::<usize>();
        assert_eq!(kept.len(), count, "nothing is there twice");
        for client in &self.clients {
            for (id, (name, seq)) in client.acked.iter().filter(|(_, (name, _))| name.as_str() == ROOMS[0]) {
                assert_eq!(kept.get(&Some(id.clone())), Some(seq), "{id:?} of {name} was acknowledged");
            }
        }
    }
}

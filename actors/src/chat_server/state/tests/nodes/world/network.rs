//! The log, the network before it, and what fails there.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{NODES, World};
use crate::chat_server::command::Command;
use crate::nodes::heard::Heard;
use crate::nodes::record::{LogPosition, Record, RecordId};

impl World {
    /// The next record of a node reaches the log.
    pub(super) fn append(&mut self, node: usize) {
        if self.nodes[node].is_cut {
            return;
        }
        if std::mem::take(&mut self.nodes[node].has_lost) {
            self.nodes[node].outgoing.clear();
            return self.apply(node, Command::Heard(Heard::Lost));
        }
        if let Some(record) = self.nodes[node].outgoing.pop_front() {
            let at = self.now.unix_ms;
            self.log.push((at, record));
        }
    }

    /// A record of a node is lost on the way, and those behind it may arrive.
    pub(super) fn lose(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.outgoing.pop_front().is_some() {
            node.has_lost = true;
        }
    }

    /// A record of a node arrives, and its node believes that it may not have.
    pub(super) fn repeat(&mut self, node: usize) {
        if !self.nodes[node].is_cut {
            self.append(node);
            self.nodes[node].has_lost = true;
        }
    }

    /// A node reads the next record.
    pub(super) fn read(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.is_cut || it.is_paused {
            return;
        }
        let Some((at, bytes)) = self.log.get(usize::try_from(it.read).unwrap()) else { return };
        it.read += 1;
        let id = RecordId { position: LogPosition(it.read), nanos: *at * 1_000_000 };
        let record = Record::read(bytes).unwrap();
        self.apply(node, Command::Heard(Heard::Record { id, record }));
        self.check_agreement(node);
        let it = &mut self.nodes[node];
        if !it.is_ready && it.read >= it.ready_at {
            it.is_ready = true;
            self.apply(node, Command::Heard(Heard::Reachable(true)));
        }
    }

    pub(super) fn hear(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.is_cut || it.is_paused {
            return;
        }
        if let Some(heard) = it.told.pop_front() {
            self.apply(node, Command::Heard(heard));
        }
    }

    /// A node reaches the others again.
    pub(super) fn mend(&mut self, node: usize) {
        (self.nodes[node].is_cut, self.nodes[node].is_paused) = (false, false);
    }

    /// A node dies, and another one begins with an empty folder.
    pub(super) fn kill(&mut self, node: usize) {
        if self.below(2) == 0 && !self.nodes[node].is_cut {
            // It ends in order.
            self.apply(node, Command::LeaveOthers { reply: oneshot::channel().0 });
            while !self.nodes[node].outgoing.is_empty() {
                self.append(node);
            }
        }
        let from_checkpoint = self.below(2) == 0;
        self.nodes[node] = self.new_node(from_checkpoint);
        for client in self.clients.iter_mut().filter(|client| client.at.is_some_and(|(at, _)| at == node)) {
            client.lost_connection();
        }
    }

    pub(super) fn pass_time(&mut self) {
        let ms = [10, 250, 1_000, 3_000][self.below(4)];
        self.now = self.now.after(Duration::from_millis(ms));
        for node in 0..NODES {
            if !self.nodes[node].is_paused && !self.nodes[node].is_cut {
                let life = self.nodes[node].life;
                for other in 0..NODES {
                    self.nodes[other].told.push_back(Heard::Alive { life, report: None });
                }
            }
        }
        for node in 0..NODES {
            if !self.nodes[node].is_paused {
                let it = &self.nodes[node];
                let is_reachable = !it.is_cut && it.is_ready;
                self.apply(node, Command::Heard(Heard::Reachable(is_reachable)));
                self.apply(node, Command::Tick { reply: oneshot::channel().0 });
            }
        }
    }
}

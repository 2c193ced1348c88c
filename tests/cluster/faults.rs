//! The faults, generated from a seed.

use std::time::Duration;

use fastrand::Rng;

use crate::lan::Way;

/// A fault. A number identifies a node or a broker, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL; it restarts with its folder.
    NodeKilled(usize),
    /// SIGKILL; it restarts with an empty folder.
    NodeLost(usize),
    /// SIGTERM; it restarts with its folder.
    NodeDrained(usize),
    /// SIGSTOP, then SIGCONT.
    NodePaused(usize),
    /// Packets between the node and the brokers are lost.
    NodeCut(usize, Way),
    /// SIGKILL; it restarts with its folder.
    BrokerKilled(usize),
    /// SIGSTOP, then SIGCONT.
    BrokerPaused(usize),
    /// Packets between the broker and the other brokers and the nodes are lost.
    BrokerCut(usize, Way),
    /// SIGKILL of the broker that leads the stream.
    LeaderKilled,
    /// SIGSTOP of the broker that leads the stream.
    LeaderPaused,
    /// SIGKILL of all brokers.
    BrokersKilled,
}

/// Generates faults: each kind once in a random order, then again.
#[derive(Debug)]
pub(crate) struct Faults {
    random: Rng,
    /// The remaining kinds of this round.
    left: Vec<usize>,
}

impl Faults {
    /// The number of kinds.
    pub(crate) const KINDS: usize = 11;

    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), left: Vec::new() }
    }

    /// The next fault, and its duration.
    pub(crate) fn draw(&mut self) -> (Fault, Duration) {
        if self.left.is_empty() {
            self.left = (0..Self::KINDS).collect();
            self.random.shuffle(&mut self.left);
        }
        let which = self.random.usize(0..3);
        let way = [Way::Both, Way::From, Way::To][self.random.usize(0..3)];
        let fault = match self.left.pop().unwrap() {
            0 => Fault::NodeKilled(which),
            1 => Fault::NodeLost(which),
            2 => Fault::NodeDrained(which),
            3 => Fault::NodePaused(which),
            4 => Fault::NodeCut(which, way),
            5 => Fault::BrokerKilled(which),
            6 => Fault::BrokerPaused(which),
            7 => Fault::BrokerCut(which, way),
            8 => Fault::LeaderKilled,
            9 => Fault::LeaderPaused,
            _ => Fault::BrokersKilled,
        };
        // Some are shorter than the time after which a node is declared dead, and some longer.
        (fault, Duration::from_millis(self.random.u64(300..8_000)))
    }
}

//! How a bot deals with a server that has no handshake and no answers: it says what it says, and knows what comes by
//! the markers.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use awc::ws;

use super::in_flight::Outgoing;
use super::{Bot, Membership};
use crate::agenda::Errand;
use crate::clock::Nanos;
use crate::dialect::Dialect;
use crate::ledger::Verdict;
use crate::marker::Marker;

/// How long after its handshake a bot expects to get everything: by then the server has let it in.
const LISTENS_AFTER: Duration = Duration::from_secs(1);

/// Such a server may have nothing to say for long.
const PULSE: Duration = Duration::from_hours(1);

/// What a marker begins with.
const MARKER: &str = Marker::PREFIX;

impl Bot {
    /// Whether the server speaks plainly.
    pub(super) fn is_plain(&self) -> bool {
        self.worker.dialect != Dialect::Starling
    }

    /// The handshake is done, and the server will say no more.
    pub(super) fn begin_plainly(&mut self) {
        self.link_is_welcomed(PULSE);
        self.membership = Membership::Member;
        self.has_been_here = true;
        let listens_at = self.worker.now().after(LISTENS_AFTER);
        self.listens_at = Some(listens_at);
        self.enter(listens_at, Errand::Listen);
        self.send_again();
        self.plan_move();
        self.speak();
    }

    /// From now on the bot has a right to everything.
    pub(super) fn listen(&mut self, due: Nanos) {
        if self.listens_at == Some(due) && self.link.is_up() {
            let worker = &self.worker;
            let mut ledger = worker.ledger.borrow_mut();
            ledger.peers.listens(self.number, |bot| worker.said_by(bot), worker.roster.count());
        }
    }

    /// Says a message. Its marker is the text.
    pub(super) fn transmit_plainly(&self, text: &str) {
        let object = serde_json::json!({ "clientId": self.name.as_str(), "Message": text });
        self.link.send(ws::Message::Text(object.to_string().into()));
    }

    /// Counts a message as said. Where nothing is answered it is done with it.
    pub(super) fn has_said(&mut self, serial: u64, message: &Outgoing) {
        if let Some(said) = self.worker.said.get(self.number as usize) {
            said.store(message.number, Relaxed);
        }
        if self.worker.dialect == Dialect::Seed {
            self.in_flight.take(serial);
            self.worker.unanswered.set(self.worker.unanswered.get() - 1);
        }
    }

    /// Something came.
    pub(super) fn hear_plainly(&mut self, frame: &[u8]) {
        let text = std::str::from_utf8(frame).unwrap_or_default();
        let marker = text.find(MARKER).and_then(|at| Marker::parse(text.get(at..)?));
        // People and servers may say what they want.
        let Some(marker) = marker else { return };
        let timing = self.timing(&marker);
        let verdict = self.worker.ledger.borrow_mut().peers.heard(self.number, &marker);
        self.worker.stats.borrow_mut().delivery_came(timing, verdict == Verdict::Counts);
        let is_own = marker.run == self.worker.run && marker.sender == self.number;
        if self.worker.dialect == Dialect::Echo && is_own {
            self.is_echoed(marker.number);
        }
    }

    /// The bot's own message came back: as good as an ack.
    fn is_echoed(&mut self, number: u32) {
        // A bot that talks to nobody but the one room gives its messages serial numbers in step.
        let Some(message) = self.in_flight.take(u64::from(number)) else { return };
        self.was_taken(&message);
        self.answered();
    }
}

//! A bot at a server that is not Starling: the bot joins by the server's [protocol](crate::foreign), if there is one,
//! and recognizes messages by their markers.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use awc::ws;

use super::Bot;
use super::fragments::TooLarge;
use super::in_flight::{Outgoing, Request};
use crate::agenda::Errand;
use crate::clock::Nanos;
use crate::dialect::Dialect;
use crate::foreign::{Foreign, Heard};
use crate::judgement::OTHER_DIALECT;
use crate::ledger::Verdict;
use crate::marker::{Marker, Reading};
use crate::timing::Timing;

/// The time after the handshake from which a bot expects every message: by then the server has let it in.
const LISTENS_AFTER: Duration = Duration::from_secs(1);

/// Such a server may send nothing for a long time.
const PULSE: Duration = Duration::from_hours(1);

impl Bot {
    /// Whether the server is not Starling.
    pub(super) fn is_plain(&self) -> bool {
        self.worker.dialect != Dialect::Starling
    }

    /// Handles the end of the WebSocket handshake. Without a protocol of its own, the bot is in the room at once.
    pub(super) fn greet_plainly(&mut self) {
        self.session.fragments.take_packet();
        let Some(foreign) = self.worker.dialect.foreign() else { return self.begin_plainly(PULSE) };
        if let Some(greeting) = foreign.greeting(self.identity.name.as_str()) {
            self.session.link.send(greeting);
        }
    }

    /// Begins in the room of a server that does not number its messages.
    fn begin_plainly(&mut self, pulse: Duration) {
        self.link_is_welcomed(pulse);
        self.reading.home.begin_anew();
        self.reading.inbox.begin_anew();
        self.note_whether_back();
        let listens_at = self.worker.now().after(LISTENS_AFTER);
        self.session.listens_at = Some(listens_at);
        self.enter(listens_at, Errand::Listen);
        if self.worker.dialect == Dialect::Echo {
            self.send_again();
        } else {
            // A message that is sent again could arrive twice, and that would not be the server's fault.
            self.speech.doubt_all(|message| self.worker.promises_no_more(self.identity.number, message.number));
        }
        self.plan_move();
        self.speak();
    }

    /// From now on the bot must receive every message.
    pub(super) fn listen(&mut self, due: Nanos) {
        if self.session.listens_at == Some(due) && self.session.link.is_up() {
            let worker = &self.worker;
            let mut ledger = worker.ledger.borrow_mut();
            ledger.peers.listens(self.identity.number, |bot| worker.said_by(bot), worker.roster.count());
        }
    }

    /// Sends a message. Its text is the marker.
    pub(super) fn transmit_plainly(&self, serial: u64, text: &str) {
        if let Some(foreign) = self.worker.dialect.foreign() {
            return self.session.link.send(foreign.say(foreign.wire_id(serial), text));
        }
        let object = serde_json::json!({ "clientId": self.identity.name.as_str(), "Message": text });
        self.session.link.send(ws::Message::Text(object.to_string().into()));
    }

    /// Counts a message as said. With a dialect without answers, the message is then done.
    pub(super) fn has_said(&mut self, serial: u64, message: &Outgoing) {
        if let Some(said) = self.worker.said.get(self.identity.number as usize) {
            said.store(message.number, Relaxed);
        }
        if self.worker.dialect == Dialect::Seed {
            self.speech.answered(serial);
            self.worker.unanswered.set(self.worker.unanswered.get() - 1);
        }
    }

    /// Handles a frame.
    ///
    /// # Errors
    /// [`TooLarge`], of a packet of several frames.
    pub(super) fn hear_plainly(&mut self, frame: &[u8]) -> Result<(), TooLarge> {
        let Some(foreign) = self.worker.dialect.foreign() else {
            self.hear_said(frame);
            return Ok(());
        };
        if !self.session.link.is_welcomed()
            && Dialect::of_greeting(frame).is_some_and(|theirs| theirs != self.worker.dialect)
        {
            self.does_not_understand(frame, "not of the protocol");
            return Ok(());
        }
        let mut packet = self.session.fragments.take_packet();
        if packet.is_empty() {
            let left = foreign.hear(frame, |heard| self.understand(foreign, heard, frame));
            packet.extend_from_slice(frame.get(frame.len() - left..).unwrap_or_default());
        } else {
            packet.extend_from_slice(frame);
            let left = foreign.hear(&packet, |heard| self.understand(foreign, heard, frame));
            packet.drain(..packet.len() - left);
        }
        self.session.fragments.keep_packet(packet)
    }

    /// Handles one element of the protocol; `frame` is the frame in which it came.
    fn understand(&mut self, foreign: Foreign, heard: Heard<'_>, frame: &[u8]) {
        match heard {
            Heard::Joined => self.begin_plainly(foreign.pulse()),
            Heard::Answer(answer) => self.session.link.send(answer),
            Heard::Said(said) => self.hear_said(said),
            Heard::Taken(id) => match self.speech.answered_where(|serial| foreign.wire_id(serial) == id) {
                Some(request) => {
                    self.was_taken(request);
                    self.answered();
                }
                None => self.error("ack of nothing"),
            },
            Heard::Refused(id, why) => {
                self.error(&why);
                let id = id.and_then(|id| self.speech.answered_where(|serial| foreign.wire_id(serial) == id));
                if let Some(message) = id.and_then(Request::message) {
                    self.worker.promises_no_more(self.identity.number, message.number);
                    self.was_refused(self.conduct.behaviour.ignores_limits());
                    self.answered();
                }
            }
            Heard::Nonsense => self.does_not_understand(frame, "not of the protocol"),
        }
    }

    fn hear_said(&mut self, frame: &[u8]) {
        let marker = match Marker::find(std::str::from_utf8(frame).unwrap_or_default()) {
            Reading::Marked(marker) => marker,
            Reading::Altered => {
                let verdict = self.worker.ledger.borrow_mut().altered();
                return self.worker.stats.borrow_mut().delivery_came(Timing::Untimed, verdict == Verdict::Counts);
            }
            // People and servers may send any text, but a greeting shows that the server speaks another dialect.
            Reading::Unmarked => {
                if let Some(theirs) = Dialect::of_greeting(frame).filter(|theirs| *theirs != self.worker.dialect) {
                    let ours = self.worker.dialect;
                    self.error(&format!("the server speaks {theirs}, {OTHER_DIALECT}{ours}"));
                }
                return;
            }
        };
        let timing = self.timing(&marker);
        let verdict = self.worker.ledger.borrow_mut().peers.heard(self.identity.number, &marker);
        self.worker.stats.borrow_mut().delivery_came(timing, verdict == Verdict::Counts);
        let is_own = marker.run == self.worker.run && marker.sender == self.identity.number;
        if self.worker.dialect == Dialect::Echo && is_own {
            self.is_echoed(marker.number);
        }
    }

    /// Handles the return of the bot's own message, which serves as its ack.
    fn is_echoed(&mut self, number: u32) {
        // An echo bot writes to one room only, so its serial numbers are equal to its message numbers.
        let Some(request) = self.speech.answered(u64::from(number)) else { return };
        self.was_taken(request);
        self.answered();
    }
}

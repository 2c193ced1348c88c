//! The requests of a bot apart from its messages: changes of messages, read positions and visits to rooms.
//!
//! Each is in flight until it is answered, and counts as done, refused or not done, like a message. It has no planned
//! time, so no latency.

use starling_protocol::{
    Ack, Change, ChangeMessage, ChangedPlace, ClientCommand, Emoji, Epoch, ErrorCode, MessageId, ReadEvent, Seq,
};

use super::Bot;
use super::in_flight::{AskedChange, ChangeKind, Request, serial_of};
use crate::ledger::RoomChange;
use crate::marker::{MarkedTarget, Names};

impl Bot {
    /// Sends a request, and counts it.
    pub(super) fn request(&mut self, request: Request) {
        if self.is_plain() {
            return;
        }
        let counters = &mut self.worker.stats.borrow_mut().counters;
        counters.sent += 1;
        counters.requests_sent += 1;
        self.worker.unanswered.set(self.worker.unanswered.get() + 1);
        let serial = self.speech.ask(request);
        self.transmit(serial, request, false);
    }

    /// Asks for a change of a message of its room.
    pub(super) fn request_change(&mut self, of: u64, kind: ChangeKind) {
        if let Some(epoch) = self.home_epoch() {
            self.request(Request::Change(AskedChange { epoch, of, kind }));
        }
    }

    /// The epoch of its room, if it is in.
    pub(super) fn home_epoch(&self) -> Option<Epoch> {
        let ledger = self.worker.ledger.borrow();
        ledger.resume_point(self.identity.number, self.identity.room).map(|(epoch, _)| epoch)
    }

    /// Its room, as the place of a change or of a read position.
    pub(super) fn home_place(&self) -> ChangedPlace {
        ChangedPlace::Room(self.worker.roster.room(self.identity.room).name.clone())
    }

    /// The command for a change. The text of an edit is generated again whenever it is sent again.
    pub(super) fn change_command(&self, AskedChange { of, kind, .. }: AskedChange) -> ClientCommand<'static> {
        let change = match kind {
            ChangeKind::Edit(message) => {
                let tag = self.worker.roster.room(self.identity.room).tag;
                let marker = self.marker(message, MarkedTarget::Room(tag), false);
                let names = Names { from: self.identity.name.as_str(), to: "" };
                Change::Edit(marker.render(message.bytes as usize, names).into())
            }
            ChangeKind::Delete => Change::Delete,
            ChangeKind::React { emoji, remove } => {
                #[expect(clippy::expect_used, reason = "a test parses all emoji of reactors")]
                let emoji = Emoji::parse(emoji).expect("reactors use emoji");
                Change::React { emoji, remove }
            }
        };
        ClientCommand::Change(ChangeMessage { place: self.home_place(), of: Seq(of), change })
    }

    /// The request that an answer with this `id` is to, and its serial number. `None`: it awaits none.
    pub(super) fn awaited(&self, id: &MessageId) -> Option<(u64, Request)> {
        let serial = serial_of(id, self.worker.run, self.identity.number)?;
        Some((serial, self.speech.awaits_answer(serial)?))
    }

    /// Counts a request as done if the answer has its `id`.
    pub(super) fn has_done(&mut self, id: Option<&MessageId>, request: Request) {
        // What was not answered by the end of the run is counted as not done.
        if let Some((serial, awaited)) = id.filter(|_| !self.worker.is_over.get()).and_then(|id| self.awaited(id))
            && awaited == request
        {
            self.speech.answered(serial);
            self.was_taken(request);
            self.answered();
        }
    }

    /// Handles the ack of a change.
    ///
    /// # Errors
    /// The kind of the error, if the ack does not say where the change is.
    pub(super) fn change_acked(&self, ack: &Ack, change: AskedChange) -> Result<(), &'static str> {
        let seq = self.place_in_home(ack)?;
        let (of, client) = (change.of, self.identity.name.as_str());
        let seen = match change.kind {
            ChangeKind::Edit(_) => RoomChange::edited(of, client, true),
            ChangeKind::Delete => RoomChange::deleted(of, client),
            ChangeKind::React { emoji, remove } => RoomChange::reaction(of, client, emoji, remove),
        };
        self.worker.ledger.borrow_mut().change_acked(self.identity.room, change.epoch, seq, &seen);
        Ok(())
    }

    /// The place in the bot's room that an ack names.
    ///
    /// # Errors
    /// The kind of the error, if it names none.
    pub(super) fn place_in_home(&self, ack: &Ack) -> Result<u64, &'static str> {
        if ack.room.as_ref() != Some(&self.worker.roster.room(self.identity.room).name) {
            return Err("ack of another room");
        }
        ack.seq.map(|seq| seq.0).ok_or("ack without seq")
    }

    /// Whether there is a reason to refuse a change for good: its message may be gone, or full.
    pub(super) fn is_change_provoked(&self, code: ErrorCode, AskedChange { epoch, of, .. }: AskedChange) -> bool {
        let (mut ledger, room) = (self.worker.ledger.borrow_mut(), self.identity.room);
        if code == ErrorCode::NoSuchMessage {
            // If no bot is told that it was deleted, the refusal counts against the server in the end.
            ledger.is_said_to_be_gone(room, epoch, of);
            return true;
        }
        code == ErrorCode::TooManyReactions && ledger.may_be_full(room, epoch, of)
    }

    /// Withdraws the requests that a new connection has settled, in which the bot's room has this epoch. The bot has
    /// left the rooms that it visited, and what it wanted to change or has read is gone with its epoch.
    pub(super) fn withdraw_settled(&mut self, epoch: Option<Epoch>) {
        let (unanswered, postponed) = self.speech.withdraw(|request| match request {
            Request::Change(AskedChange { epoch: of, .. }) | Request::Read { epoch: of, .. } => Some(of) != epoch,
            Request::Leave(_) => true,
            Request::Message(_) | Request::Join(_) => false,
        });
        let count = postponed.len() as u64;
        self.worker.deferred.set(self.worker.deferred.get() - count);
        self.worker.unanswered.set(self.worker.unanswered.get() + count);
        for request in unanswered.into_iter().chain(postponed) {
            if matches!(request, Request::Leave(_)) {
                self.was_taken(request);
            } else {
                self.was_refused(true);
            }
        }
    }

    /// Handles how far a client has read a room.
    pub(super) fn was_told_of_read(&mut self, read: &ReadEvent) {
        let (bot, home) = (self.identity.number, self.identity.room);
        let is_home = read.room.as_ref() == Some(&self.worker.roster.room(home).name);
        // Others are told with CHAT_SEEN_BY.
        if !is_home || read.client_id != self.identity.name {
            return;
        }
        let request = read.id.as_ref().and_then(|id| self.awaited(id)).map(|(_, request)| request);
        let asked = if let Some(Request::Read { seq, .. }) = request { Some(seq) } else { None };
        self.worker.ledger.borrow_mut().was_told_read(bot, home, read.seq.0, asked, self.worker.now());
        if let Some(request) = request.filter(|_| asked.is_some()) {
            self.has_done(read.id.as_ref(), request);
        }
    }
}

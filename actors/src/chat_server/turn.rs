//! One command's turn: when it is carried out, and the effects that it has so far.

use starling_protocol::{CloseCode, Refusal, ServerEvent};

use super::command::Frame;
use super::effect::{Answer, Effect};
use crate::clock::Now;
use crate::hub::ToSession;
use crate::ids::{RoomId, SessionId};

/// Collects the effects of one command, in the order in which they are to be performed.
#[derive(Debug)]
pub struct Turn {
    /// When the command is carried out.
    pub now: Now,
    /// The effects so far.
    pub effects: Vec<Effect>,
}

impl Turn {
    /// A turn without effects.
    pub fn new(now: Now) -> Self {
        Self { now, effects: Vec::new() }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn to(&mut self, session: SessionId, command: ToSession) {
        self.push(Effect::To { session, command });
    }

    /// Tells a session something that no frame of it asked for.
    pub(super) fn tell(&mut self, session: SessionId, event: ServerEvent<'static>) {
        self.to(session, ToSession::Tell { event: Box::new(event), ticket: None });
    }

    /// Answers a frame. The answer holds the frame's ticket until it is offered to the client.
    pub(super) fn answer(&mut self, frame: &mut Frame, event: ServerEvent<'static>) {
        let ticket = frame.ticket.take();
        self.to(frame.session, ToSession::Tell { event: Box::new(event), ticket });
    }

    pub(super) fn refuse(&mut self, frame: &mut Frame, refusal: Refusal) {
        let refusal = refusal.with_id(frame.id.take());
        self.answer(frame, ServerEvent::Error(refusal));
    }

    /// Answers somebody outside the chat.
    pub(super) fn reply(&mut self, answer: Answer) {
        self.push(Effect::Answer(answer));
    }

    pub(super) fn admit(&mut self, session: SessionId, room: RoomId) {
        self.to(session, ToSession::Admit { room });
    }

    pub(super) fn dismiss(&mut self, session: SessionId, room: RoomId) {
        self.to(session, ToSession::Dismiss { room });
    }

    pub(super) fn close(&mut self, session: SessionId, code: CloseCode, reason: &'static str) {
        self.to(session, ToSession::Close { code, reason });
    }

    /// Writes a part of what a session missed.
    pub(super) fn replay(&mut self, session: SessionId, replay: crate::hub::Replay) {
        self.to(session, ToSession::Replay(replay));
    }
}

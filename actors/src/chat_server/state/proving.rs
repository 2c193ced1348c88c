//! Tokens, where names are authenticated: who becomes a participant, and for how long.

use std::sync::Arc;

use starling_protocol::{ClientCommand, ClientId, CloseCode, ErrorCode, Refusal, ServerEvent, limits};

use super::ChatState;
use crate::chat_server::command::{Frame, OpenRefusal, OpenSession, Request};
use crate::chat_server::effect::Turn;
use crate::clock::Now;
use crate::identity::Claims;

impl ChatState {
    /// Waits until a connection shows a token.
    pub(super) fn await_proof(&mut self, open: OpenSession, turn: &mut Turn) {
        let text = format!("say hello with a token within {} seconds", limits::PROOF_SECONDS);
        turn.tell(open.session, ServerEvent::Error(Refusal::new(ErrorCode::Unauthorized, text)));
        self.proofs.wait_for(open, turn.now);
    }

    /// Carries out what a connection may ask that has not shown a token: to show one, and for a sign of life.
    pub(super) fn ask_unproven(&mut self, frame: &mut Frame, request: Request, turn: &mut Turn) -> Result<(), Refusal> {
        match request {
            Request::Proven { claims, client_id, key } => {
                let Some(mut open) = self.proofs.unproven(frame.session).cloned() else { return Ok(()) };
                open.client_id = client_id.or(open.client_id);
                open.key = key.or(open.key);
                Ok(self.take_part_as(&open, &claims, frame, turn)?)
            }
            Request::Command(ClientCommand::Ping) => {
                Self::pong(frame, turn);
                Ok(())
            }
            Request::Refused(refusal) if matches!(refusal.code, ErrorCode::Unauthorized | ErrorCode::RateLimited) => {
                Err(refusal)
            }
            Request::Command(_) | Request::Refused(_) => {
                Err(Refusal::new(ErrorCode::Unauthorized, "say hello with a token first"))
            }
        }
    }

    /// Makes a connection a participant whose token is verified. A client may have several connections.
    pub(super) fn take_part_as(
        &mut self,
        open: &OpenSession,
        claims: &Arc<Claims>,
        frame: &mut Frame,
        turn: &mut Turn,
    ) -> Result<(), OpenRefusal> {
        check(claims, open.client_id.as_ref(), turn.now)?;
        if !claims.rooms.allow(&open.room) {
            return Err(OpenRefusal::RoomClosed(open.room.clone()));
        }
        // Before anybody is replaced: a client that is refused must not have lost its old connection.
        self.make_space_for(&open.room, turn)?;
        let old = self.participants.holder_with_key(&claims.client_id, open.key);
        if let Some(old) = old {
            self.replace(old, turn);
        }
        let holders = self.participants.holders(&claims.client_id);
        if let Some(oldest) = holders.first().copied().filter(|_| holders.len() >= limits::CONNECTIONS_PER_CLIENT_MAX) {
            self.replace(oldest, turn);
        }
        let key = open.key.filter(|_| old.is_some()).unwrap_or(open.fresh_key);
        self.add(open, Self::proven(claims, key), frame, turn)?;
        self.proofs.hold(open.session, claims, turn.now);
        Ok(())
    }

    /// A participant shows a newer token, which holds from now on, also for the rooms that it is in.
    pub(super) fn prove_again(
        &mut self,
        frame: &mut Frame,
        claims: &Arc<Claims>,
        wanted: Option<&ClientId>,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let session = frame.session;
        check(claims, wanted, turn.now)?;
        let Some(participant) = self.participants.get(session) else { return Ok(()) };
        if *participant.name() != claims.client_id {
            return Err(OpenRefusal::TokenOfAnother(claims.client_id.clone()).into());
        }
        let entered = participant.rooms().iter().filter_map(|room| self.rooms.get(*room)?.key().room());
        let closed: Vec<_> = entered.filter(|name| !claims.rooms.allow(name)).cloned().collect();
        self.participants.prove_again(session, claims);
        self.proofs.hold(session, claims, turn.now);
        for room in closed {
            self.leave(&mut Frame { session, id: None, ticket: None }, &room, turn)?;
        }
        self.tell_welcome(frame, turn);
        Ok(())
    }

    /// Closes the connections that have not shown a token in time, and those whose token has expired.
    pub(super) fn end_unproven(&mut self, turn: &mut Turn) {
        while let Some((session, is_unproven)) = self.proofs.first_ended(turn.now.at) {
            let reason = if is_unproven { "no token came in time" } else { "the token has expired" };
            turn.tell(session, ServerEvent::Error(Refusal::new(ErrorCode::Unauthorized, reason)));
            self.close_session(session, turn);
            turn.close(session, CloseCode::Policy, reason);
        }
    }
}

/// Whether a token holds now, for the name that is asked for.
fn check(claims: &Claims, wanted: Option<&ClientId>, now: Now) -> Result<(), OpenRefusal> {
    if claims.expires_at <= now.unix_ms {
        return Err(OpenRefusal::TokenExpired);
    }
    if wanted.is_some_and(|wanted| *wanted != claims.client_id) {
        return Err(OpenRefusal::TokenOfAnother(claims.client_id.clone()));
    }
    Ok(())
}

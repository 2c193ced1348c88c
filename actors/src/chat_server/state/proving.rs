//! Tokens, where names are authenticated: they make a connection a participant, for a limited time.

use std::sync::Arc;

use starling_protocol::{ClientCommand, ClientId, ClientKey, CloseCode, ErrorCode, Refusal, ServerEvent, limits};

use super::ChatState;
use crate::chat_server::command::{Frame, OpenRefusal, OpenSession, Request};
use crate::chat_server::effect::Turn;
use crate::clock::Now;
use crate::identity::Claims;
use crate::ids::SessionId;
use crate::moderation::Who;

impl ChatState {
    /// Gives a connection a limited time to show a token, and notifies it.
    pub(super) fn await_proof(&mut self, open: OpenSession, turn: &mut Turn) {
        let text = format!("send `hello` with a token within {} seconds", limits::PROOF_SECONDS);
        turn.tell(open.session, ServerEvent::Error(Refusal::new(ErrorCode::Unauthorized, text)));
        self.proofs.wait_for(open, turn.now);
    }

    /// Carries out a request of a connection that has not shown a token. It may only show one, or send a ping.
    pub(super) fn ask_unproven(&mut self, frame: &mut Frame, request: Request, turn: &mut Turn) -> Result<(), Refusal> {
        match request {
            Request::Proven { claims, client_id, key } => {
                let Some(mut open) = self.proofs.unproven(frame.session).cloned() else { return Ok(()) };
                open.client_id = client_id.or(open.client_id);
                open.key = key.or(open.key);
                self.check_reachable()?;
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
                Err(Refusal::new(ErrorCode::Unauthorized, "send `hello` with a token first"))
            }
        }
    }

    /// Makes a connection with a verified token a participant. A client may have several connections.
    pub(super) fn take_part_as(
        &mut self,
        open: &OpenSession,
        claims: &Arc<Claims>,
        frame: &mut Frame,
        turn: &mut Turn,
    ) -> Result<(), OpenRefusal> {
        self.check_proven(claims, open, turn)?;
        // Checked first: a client that is refused must keep its old connection.
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
        let key = self.key_in_log(open.session, &claims.client_id).unwrap_or(key);
        self.add(open, Self::proven(claims, key, open.address), frame, turn)?;
        self.proofs.hold(open.session, claims, turn.now);
        Ok(())
    }

    /// Checks that a token and the moderators let a connection become the session that it asks to be.
    pub(super) fn check_proven(&self, claims: &Claims, open: &OpenSession, turn: &Turn) -> Result<(), OpenRefusal> {
        check_claims(claims, open, turn.now)?;
        if claims.is_admin {
            Ok(())
        } else {
            let who = Who { name: Some(&claims.client_id), rooms: &claims.rooms, ..open.who() };
            self.check_opening(who, &open.room, turn)
        }
    }

    /// With other nodes: the key with which a session holds its name.
    fn key_in_log(&self, session: SessionId, name: &ClientId) -> Option<ClientKey> {
        let cluster = self.cluster.as_ref()?;
        let here = cluster.of_here(session);
        cluster.names.holders(name).iter().find(|holder| holder.session == here).map(|holder| holder.key)
    }

    /// Replaces the token of a participant. The new claims apply at once, also to the rooms that it has already joined.
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
        // A client that was an operator may have been banned meanwhile.
        self.check_name(session, &claims.client_id, turn)?;
        for room in closed {
            self.leave(&mut Frame { session, id: None, ticket: None }, &room, turn)?;
        }
        self.expel_where_not_allowed(session, turn);
        self.tell_welcome(frame, turn);
        Ok(())
    }

    /// Closes connections whose time to show a token has passed, and those whose token has expired.
    pub(super) fn end_unproven(&mut self, turn: &mut Turn) {
        while let Some((session, is_unproven)) = self.proofs.first_ended(turn.now.at) {
            let reason = if is_unproven { "no token arrived in time" } else { "the token has expired" };
            turn.tell(session, ServerEvent::Error(Refusal::new(ErrorCode::Unauthorized, reason)));
            self.close_session(session, turn);
            turn.close(session, CloseCode::Policy, reason);
        }
    }
}

/// Checks that a token lets a connection become the session that it asks to be.
fn check_claims(claims: &Claims, open: &OpenSession, now: Now) -> Result<(), OpenRefusal> {
    check(claims, open.client_id.as_ref(), now)?;
    if claims.rooms.allow(&open.room) { Ok(()) } else { Err(OpenRefusal::RoomClosed(open.room.clone())) }
}

/// Checks that a token has not expired and is for the requested name.
fn check(claims: &Claims, wanted: Option<&ClientId>, now: Now) -> Result<(), OpenRefusal> {
    if claims.expires_at <= now.unix_ms {
        return Err(OpenRefusal::TokenExpired);
    }
    if wanted.is_some_and(|wanted| *wanted != claims.client_id) {
        return Err(OpenRefusal::TokenOfAnother(claims.client_id.clone()));
    }
    Ok(())
}

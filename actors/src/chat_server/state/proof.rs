//! Connections where names are authenticated: what they have to prove, and for how long that holds.

use std::sync::Arc;
use std::time::Duration;

use starling_protocol::{ClientId, CloseCode, ErrorCode, MessageId, Refusal, ServerEvent, limits};

use super::{ChatState, Unproven, tell};
use crate::chat_server::command::{Effect, OpenRefusal, OpenSession, Request};
use crate::clock::Now;
use crate::identity::Claims;
use crate::ids::SessionId;

/// How far ahead the end of a token is noted: ten years. One that holds longer ends its connection then.
const TOKEN_TIME_MAX: Duration = Duration::from_hours(87_600);

impl ChatState {
    /// Waits until a connection says who it is.
    pub(super) fn await_proof(&mut self, open: OpenSession, now: Now, effects: &mut Vec<Effect>) {
        let (session, until) = (open.session, now.at + Duration::from_secs(limits::PROOF_SECONDS));
        let text = format!("say hello with a token within {} seconds", limits::PROOF_SECONDS);
        effects.push(tell(session, ServerEvent::Error(Refusal::new(ErrorCode::Unauthorized, text))));
        self.deadlines.insert((until, session));
        self.unproven.insert(session, Unproven { open, until, errors_in_a_row: 0 });
    }

    /// What a connection may ask that has not said who it is: to say it, and for a sign of life.
    pub(super) fn ask_unproven(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        request: Request,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        match request {
            Request::Hello { claims: Some(claims), client_id, key } => {
                let Some(Unproven { open, until, .. }) = self.unproven.get(&session) else { return Ok(()) };
                let (mut open, until) = (open.clone(), *until);
                open.client_id = client_id.or(open.client_id);
                open.key = key.or(open.key);
                self.take_part_as(&open, &claims, id, now, effects)
                    .map_err(|refusal| Refusal::new(refusal.error_code(), refusal.to_string()))?;
                self.unproven.remove(&session);
                self.deadlines.remove(&(until, session));
                Ok(())
            }
            Request::Ping => {
                effects.push(tell(session, ServerEvent::Pong { id, at: now.unix_ms }));
                Ok(())
            }
            Request::Refused(refusal) if matches!(refusal.code, ErrorCode::Unauthorized | ErrorCode::RateLimited) => {
                Err(refusal)
            }
            Request::Hello { claims: None, .. }
            | Request::Publish { .. }
            | Request::Join { .. }
            | Request::JoinInbox { .. }
            | Request::Leave { .. }
            | Request::Rooms
            | Request::Members { .. }
            | Request::History { .. }
            | Request::InboxHistory { .. }
            | Request::Refused(_) => Err(Refusal::new(ErrorCode::Unauthorized, "say hello with a token first")),
        }
    }

    /// Makes a connection a session that has proven who it is. A client may have several.
    pub(super) fn take_part_as(
        &mut self,
        open: &OpenSession,
        claims: &Arc<Claims>,
        id: Option<MessageId>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), OpenRefusal> {
        check(claims, open.client_id.as_ref(), now)?;
        if !claims.rooms.allow(&open.room) {
            return Err(OpenRefusal::RoomClosed(open.room.clone()));
        }
        // Before anybody is replaced: who is refused must not have lost its old connection.
        if !self.make_space_for(&open.room, now, effects) {
            return Err(OpenRefusal::TooManyRooms);
        }
        let holders = self.names.get(&claims.client_id).into_iter().flatten();
        let mut old = holders.filter(|holder| self.sessions.get(**holder).is_some_and(|m| Some(m.key) == open.key));
        let old = old.next().copied();
        if let Some(old) = old {
            self.replace(old, now, effects);
        }
        let holders = self.names.get(&claims.client_id).map_or(&[][..], |holders| holders);
        if let Some(oldest) = holders.first().copied().filter(|_| holders.len() >= limits::CONNECTIONS_PER_CLIENT_MAX) {
            self.replace(oldest, now, effects);
        }
        let key = open.key.filter(|_| old.is_some()).unwrap_or(open.fresh_key);
        self.add_session(open, claims.client_id.clone(), key, Some(Arc::clone(claims)), id, now, effects)?;
        self.hold_until(open.session, claims, now);
        Ok(())
    }

    /// A session shows a fresh token: it holds from now on, for the rooms it is in as well.
    pub(super) fn prove_again(
        &mut self,
        session: SessionId,
        id: Option<MessageId>,
        claims: &Arc<Claims>,
        client_id: Option<&ClientId>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let refused = |refusal: OpenRefusal| Refusal::new(refusal.error_code(), refusal.to_string());
        check(claims, client_id, now).map_err(refused)?;
        let Some(member) = self.sessions.get_mut(session) else { return Ok(()) };
        if member.client_id != claims.client_id {
            return Err(refused(OpenRefusal::TokenOfAnother(claims.client_id.clone())));
        }
        member.claims = Some(Arc::clone(claims));
        self.hold_until(session, claims, now);
        let Some(member) = self.sessions.get(session) else { return Ok(()) };
        let entered = member.rooms.iter().filter_map(|room| self.rooms.get(room.0 as usize)?.key.room());
        let closed: Vec<_> = entered.filter(|name| !claims.rooms.allow(name)).cloned().collect();
        for room in closed {
            self.leave(session, None, &room, now, effects)?;
        }
        self.tell_welcome(session, id, effects);
        Ok(())
    }

    /// Notes how long a session may stay. From here on the clock that never goes back counts: what is done to the other
    /// one makes no session longer or shorter.
    fn hold_until(&mut self, session: SessionId, claims: &Claims, now: Now) {
        let left = Duration::from_millis(claims.expires_at.saturating_sub(now.unix_ms)).min(TOKEN_TIME_MAX);
        let Some(member) = self.sessions.get_mut(session) else { return };
        let until = now.at + left;
        if let Some(before) = member.proven_until.replace(until) {
            self.deadlines.remove(&(before, session));
        }
        self.deadlines.insert((until, session));
    }

    /// Ends the connections that have not said in time who they are, and those whose token has expired.
    pub(super) fn end_what_is_due(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some((_, session)) = self.deadlines.first().copied().filter(|(until, _)| *until <= now.at) {
            let is_unproven = self.unproven.contains_key(&session);
            let reason = if is_unproven { "no token came in time" } else { "the token has expired" };
            effects.push(tell(session, ServerEvent::Error(Refusal::new(ErrorCode::Unauthorized, reason))));
            self.close_session(session, now, effects);
            effects.push(Effect::Close { session, code: CloseCode::Policy, reason });
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

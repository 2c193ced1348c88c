//! The rules of the chat: a state machine without I/O, clock or actors.
//!
//! Commands go in, effects come out. The parts hold the data. This module and its submodules hold the rules, one
//! subject per module.
//!
//! Invariants, checked by [`ChatState::check`] in tests:
//! - a session is a member of a room exactly if the room is on the session's list;
//! - a connection that has not shown a token, where names are authenticated, is no participant: no rule reaches it;
//! - the seqs of a room's messages rise by exactly one; a message is delivered and acknowledged when it is stored,
//!   never before;
//! - a page with the text of a message is shown only if the message was not deleted while the page was read;
//! - a session that catches up in a room is not admitted to live messages there until it has caught up.

mod changing;
mod check;
mod checkpointing;
mod direct;
mod ending;
mod entering;
pub(in crate::chat_server) mod gathering;
mod gating;
mod joining;
mod logged;
mod moderating;
mod newcomers;
mod positions;
mod presence;
mod private;
mod proving;
mod reading;
mod restoring;
mod resuming;
mod retention;
mod talking;
#[cfg(test)]
mod tests;
mod typing;

use std::time::Duration;

use bytes::Bytes;
use slab::Slab;
use starling_protocol::{
    ClientCommand, ClientId, CloseCode, Epoch, ErrorCode, Refusal, RoomName, RoomSummary, Seq, ServerEvent, limits,
};

use super::command::{Command, Decided, DecisionReply, DropReply, Frame, Named, Numbered, OpenRefusal, Request};
use super::effect::{Answer, Effect, Turn};
use super::parts::catching_up::CatchingUp;
use super::parts::cluster::Cluster;
use super::parts::in_flight::InFlight;
use super::parts::inboxes::Inboxes;
use super::parts::order::{Order, Position};
use super::parts::participants::{Participant, Participants};
use super::parts::paused::Paused;
use super::parts::positions::Positions;
use super::parts::presence::Presence;
use super::parts::proofs::Proofs;
use super::parts::reads::Reads;
use super::parts::remembered::{IdHasher, RememberedIds};
use super::parts::rooms::Rooms;
use super::parts::slowed::Slowed;
use super::parts::typing::Typing;
use crate::client_address::ClientAddress;
use crate::clock::{Instant, Numbers};
use crate::config::ChatConfig;
use crate::followers::{NewEntries, RoomPosition};
use crate::history::{Completion, RoomKey};
use crate::identity::{Caller, Claims, RoomGlobs};
use crate::ids::{RoomId, SessionId};
use crate::metrics::{Held, Limit};
use crate::moderation::{Moderation, Who};
use crate::nodes::log::NodeFigures;
use crate::nodes::record::Incarnation;
#[cfg(test)]
use crate::nodes::record::LogPosition;

/// The rules and the data of the whole chat, see the module.
#[derive(Debug)]
pub struct ChatState {
    config: ChatConfig,
    numbers: Numbers,
    participants: Participants,
    proofs: Proofs,
    rooms: Rooms,
    inboxes: Inboxes,
    presence: Presence,
    typing: Typing,
    positions: Positions,
    order: Order,
    in_flight: InFlight,
    ids: IdHasher,
    /// The `id`s of private messages that are not stored. With other nodes they depend only on the log, like the order.
    direct_ids: RememberedIds<Direct>,
    catching_up: CatchingUp,
    reads: Reads,
    paused: Paused,
    /// Operators that wait for the drop of a room.
    drops: Slab<DropReply>,
    /// The decisions of operators.
    moderation: Moderation,
    slowed: Slowed,
    /// Rooms whose own limits the history is to be told.
    limits_due: Vec<RoomId>,
    /// Operators that wait until a decision is stored.
    decisions: Slab<(DecisionReply, Decided)>,
    /// The number of rooms and inboxes that were dropped to make space for others.
    dropped_for_space: u64,
    /// This node's part in a chat of several nodes. `None`: there is no other node.
    cluster: Option<Box<Cluster>>,
    /// The number of messages that the log of all nodes has placed.
    views: u64,
}

/// The receiver and the time of a private message that is not stored.
#[derive(Debug, Clone)]
struct Direct {
    to: ClientId,
    at: u64,
}

impl ChatState {
    /// An empty chat. `seed` determines its guest names and epochs.
    pub fn new(config: ChatConfig, seed: u64) -> Self {
        let (ids_kept, ids_max) = (config.ids_remembered, config.ids_max as usize);
        Self {
            numbers: Numbers::new(seed),
            participants: Participants::default(),
            proofs: Proofs::default(),
            rooms: Rooms::new(&config),
            inboxes: Inboxes::new(config.inboxes as usize, config.inboxes_per_client as usize),
            presence: Presence::default(),
            typing: Typing::default(),
            positions: Positions::default(),
            order: Order::new(ids_kept, ids_max),
            in_flight: InFlight::default(),
            ids: IdHasher::default(),
            direct_ids: RememberedIds::new(ids_kept, ids_max),
            catching_up: CatchingUp::default(),
            reads: Reads::default(),
            paused: Paused::default(),
            drops: Slab::new(),
            moderation: Moderation::default(),
            slowed: Slowed::default(),
            limits_due: Vec::new(),
            decisions: Slab::new(),
            dropped_for_space: 0,
            cluster: None,
            views: 0,
            config,
        }
    }

    /// Makes this chat a node of several, with the life of this process. Called once, before the first command.
    /// `timeout`: the time of silence after which another node is declared dead. `secret`: the same on all nodes.
    pub fn become_node(&mut self, node: &str, timeout: Duration, secret: u64) -> Incarnation {
        let (life, lobby) = (Incarnation(self.numbers.draw()), Epoch(self.numbers.draw()));
        self.cluster = Some(Box::new(Cluster::new(node, timeout, life, lobby)));
        self.ids = IdHasher::shared(secret);
        self.rooms.follow_log();
        life
    }

    /// Whether entries wait to be [packed](Self::pack) into a record of the log.
    pub fn has_proposals(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.has_proposals())
    }

    /// Packs the entries of this turn into records of the log, to be written in this order.
    pub fn pack(&mut self, write: impl FnMut(Bytes)) {
        if let Some(cluster) = &mut self.cluster {
            cluster.pack(write);
        }
    }

    /// Carries out one command. With other nodes it may have to wait for the log.
    pub fn apply(&mut self, command: Command, turn: &mut Turn) {
        if self.paused.is_empty() {
            self.apply_unpaused(command, turn);
        } else if let Some(command) = self.paused.hold(command) {
            self.apply_unpaused(command, turn);
        }
    }

    #[inline]
    fn apply_unpaused(&mut self, command: Command, turn: &mut Turn) {
        if self.cluster.is_none() {
            self.carry_out_command(command, turn);
        } else if let Some(command) = self.pass_gate(command, turn) {
            self.carry_out_command(command, turn);
        }
    }

    fn carry_out_command(&mut self, command: Command, turn: &mut Turn) {
        match command {
            Command::OpenSession { open, reply } => {
                let outcome = self.open_session(open, turn);
                turn.reply(Answer::Opened(reply, outcome));
            }
            Command::CloseSession { session } => self.close_session(session, turn),
            Command::Ask { frame, request } => self.ask(frame, request, turn),
            Command::WatchPresence { session, wanted } => self.watch_presence(session, wanted),
            Command::ContinueReplay { session, room } => self.continue_replay(session, room, turn),
            Command::Heard(heard) => self.heard(heard, turn),
            Command::LeaveOthers { reply } => self.leave_others(reply, turn),
            Command::PostAsOperator { post, reply } => self.post_as_operator(post, reply, turn),
            Command::RemoveClient { client_id, reply } => self.remove_as_operator(client_id, reply, turn),
            Command::DropRoom { key, reply } => self.drop_room(key, reply, turn),
            Command::Decide { decision, reply } => self.decide_as_operator(decision, reply, turn),
            Command::DecideInChat { session, act, reason, reply } => {
                self.decide_in_chat(session, act, reason, reply, turn);
            }
            Command::ListSanctions { reply } => {
                let sanctions = self.moderation.sanctions(turn.now.unix_ms).cloned().collect();
                turn.reply(Answer::Sanctions(reply, sanctions));
            }
            Command::ReadAudit { reply } => {
                let entries = self.moderation.audit().map(|(number, entry)| (number, entry.clone())).collect();
                turn.reply(Answer::Audit(reply, entries));
            }
            Command::JudgeOpening { name, address, room, rooms, reply } => {
                let who = Who { name: name.as_ref(), address, rooms: &rooms };
                let judged = self.check_opening(who, &room, turn);
                turn.reply(Answer::Opened(reply, judged));
            }
            Command::ReadSettings { room, reply } => {
                turn.reply(Answer::Settings(reply, self.moderation.settings(&room).clone()));
            }
            Command::ListSetRooms { reply } => {
                let rooms = self.moderation.set_rooms();
                turn.reply(Answer::SetRooms(reply, rooms.map(|(room, it)| (room.clone(), it.clone())).collect()));
            }
            Command::ReadOwnSettings { session, room, reply } => {
                let settings = self.own_room(session, &room).map(|_| self.moderation.settings(&room).clone());
                turn.reply(Answer::OwnSettings(reply, settings));
            }
            Command::ReadPositions { room, reply } => {
                turn.reply(Answer::Positions(reply, self.positions(room.as_ref())));
            }
            Command::ListInvitations { room, reply } => {
                let invitations = self.moderation.invitations(&room);
                let invitations = invitations.map(|(name, it)| (name.clone(), it.clone())).collect();
                turn.reply(Answer::Invitations(reply, invitations));
            }
            Command::ListRooms { caller, reply } => {
                let listed = self.list_rooms(caller.rooms(), who_calls(&caller));
                turn.reply(Answer::Rooms(reply, listed));
            }
            Command::ListNodes { reply } => {
                let known = self.cluster.as_ref().map_or_else(Vec::new, |cluster| cluster.known(turn.now.at));
                turn.reply(Answer::Nodes(reply, known));
            }
            Command::Name { numbers, reply } => turn.reply(Answer::Named(reply, self.names(&numbers))),
            Command::ReadRoom { query, reply } => self.read_from_outside(query, reply, turn),
            Command::Drain { reason, spread } => turn.push(Effect::Drain { reason, spread }),
            Command::Tick { reply } => {
                self.tick(turn);
                turn.reply(Answer::Ticked(reply));
            }
        }
    }

    /// The digest of this node's decisions, and the position up to which it has read the log. For tests.
    #[cfg(test)]
    fn agreed(&self) -> (LogPosition, u64) {
        self.cluster.as_ref().map_or((LogPosition(0), 0), |cluster| (cluster.replica.position(), cluster.digest.0))
    }

    /// Asks for a checkpoint now. For tests.
    #[cfg(test)]
    fn ask_for_checkpoint(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.propose(crate::nodes::record::LogEntry::Checkpoint, None);
        }
    }

    /// The names that are held on all nodes, each with the number of its holders. For tests.
    #[cfg(test)]
    fn held_names(&self) -> Vec<(ClientId, usize)> {
        let names = self.cluster.iter().flat_map(|cluster| cluster.names.iter());
        names.map(|(name, holders)| (name.clone(), holders.len())).collect()
    }

    /// The number of sessions, including connections that have not shown a token.
    pub fn session_count(&self) -> usize {
        self.participants.len() + self.proofs.unproven_count()
    }

    /// With other nodes: this node's figures.
    pub fn figures(&self) -> NodeFigures {
        let nodes_alive = self.cluster.as_ref().map_or(0, |cluster| cluster.replica.alive().count() as u64);
        NodeFigures { connections: self.session_count() as u64, nodes_alive }
    }

    /// The number of named rooms, including empty rooms that are still kept.
    pub fn room_count(&self) -> usize {
        self.rooms.count()
    }

    /// The sizes of the chat's tables, for the metrics.
    pub fn held(&self) -> Held {
        Held {
            rooms: self.room_count(),
            inboxes: self.inboxes.count(),
            read_positions: self.positions.count(),
            read_positions_lost: self.positions.lost(),
            sessions: self.session_count(),
            sanctions: self.moderation.sanction_count(),
            set_rooms: self.moderation.set_room_count(),
            invitations: self.moderation.invitation_count(),
            dropped_for_space: self.dropped_for_space,
        }
    }

    /// The followers of the rooms.
    pub(super) fn followers(&self) -> &[NewEntries] {
        &self.config.followers
    }

    fn positions(&self, only: Option<&RoomName>) -> Vec<RoomPosition> {
        let position = |(name, id): (&RoomName, RoomId)| {
            let Position { epoch, seq } = self.order.position(id);
            RoomPosition { room: name.clone(), epoch, seq }
        };
        match only {
            Some(name) => self.rooms.find(name.as_str()).map(|id| position((name, id))).into_iter().collect(),
            None => self.rooms.named().map(position).collect(),
        }
    }

    /// The full tables, each with the name of its configuration variable and its limit.
    pub fn full_tables(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let tables = [
            ("CHAT_ROOMS", self.room_count(), self.config.rooms),
            ("CHAT_INBOXES", self.inboxes.count(), self.config.inboxes),
        ];
        tables.into_iter().filter(|(_, count, most)| *count >= *most as usize).map(|(table, _, most)| (table, most))
    }

    /// The number of rooms and inboxes that were dropped to make space for others.
    pub fn dropped_for_space(&self) -> u64 {
        self.dropped_for_space
    }

    /// The number of a room, as long as it has its name. `None`: it was never made, or it has ended.
    pub fn find_room(&self, name: &str) -> Option<RoomId> {
        self.rooms.find(name)
    }

    /// The inbox of this client. For tests.
    #[cfg(test)]
    fn find_inbox(&self, owner: &str) -> Option<RoomId> {
        self.inboxes.find(owner)
    }

    /// Lists the rooms that `allowed` matches and that have members or messages, those with the most members first, and
    /// whether the list was cut. `who` sees no private rooms without an invitation; `None` is an operator.
    fn list_rooms(&self, allowed: &RoomGlobs, who: Option<Who<'_>>) -> (Vec<RoomSummary>, bool) {
        let may_see = |name: &RoomName| who.is_none_or(|who| self.moderation.may_see(who, name));
        let (rooms, truncated) = self.rooms.list(|name| allowed.allow(name) && may_see(name));
        let summary = |(name, id, count): (&RoomName, RoomId, u32)| RoomSummary {
            room: name.clone(),
            count,
            seq: self.order.position(id).seq,
            topic: self.moderation.settings(name).topic.clone(),
        };
        (rooms.into_iter().map(|(name, id, room)| summary((name, id, room.count()))).collect(), truncated)
    }

    /// The names of sessions and of rooms that are not private.
    fn names(&self, numbers: &Numbered) -> Named {
        let client = |session: &SessionId| self.participants.get(*session).map(|it| it.name().clone());
        let room = |room: &RoomId| {
            let room = self.rooms.get(*room).filter(|it| !it.has_ended());
            room.and_then(|it| it.key().room().cloned()).filter(|name| !self.moderation.is_private(name))
        };
        Named {
            sessions: numbers.sessions.iter().map(client).collect(),
            rooms: numbers.rooms.iter().map(room).collect(),
        }
    }

    // ---- client requests

    fn ask(&mut self, mut frame: Frame, request: Request, turn: &mut Turn) {
        let session = frame.session;
        // A session that was replaced or closed may still have frames in flight.
        if !self.participants.contains(session) {
            if self.proofs.unproven(session).is_some() {
                let outcome = self.ask_unproven(&mut frame, request, turn);
                self.conclude(&mut frame, outcome, turn);
            }
            return;
        }
        let outcome = match request {
            Request::Command(ClientCommand::Message(post)) => return self.publish(frame, post, turn),
            Request::Command(ClientCommand::Change(change)) => return self.ask_for_change(frame, change, turn),
            Request::Command(command) => self.carry_out(&mut frame, command, turn),
            Request::Proven { claims, client_id, .. } => {
                self.prove_again(&mut frame, &claims, client_id.as_ref(), turn)
            }
            Request::Refused(refusal) => Err(refusal),
        };
        self.conclude(&mut frame, outcome, turn);
    }

    /// Carries out every command but a message and a change of one.
    fn carry_out(&mut self, frame: &mut Frame, command: ClientCommand<'_>, turn: &mut Turn) -> Result<(), Refusal> {
        match command {
            ClientCommand::Message(_) | ClientCommand::Change(_) => debug_assert!(false, "it goes into the log"),
            ClientCommand::Hello { client_id, key, token: _ } => {
                return self.hello(frame, client_id.as_ref(), key, turn);
            }
            ClientCommand::Join { room, resume, presence } => return self.join(frame, &room, resume, presence, turn),
            ClientCommand::JoinInbox { resume } => return self.join_inbox(frame, resume, turn),
            ClientCommand::Leave { room } => return self.leave(frame, &room, turn),
            ClientCommand::Rooms => {
                let allowed = self.participants.get(frame.session).map_or(&RoomGlobs::ALL, Participant::allowed_rooms);
                let (rooms, truncated) = self.list_rooms(allowed, self.who(frame.session, None));
                let id = frame.id.take();
                turn.answer(frame, ServerEvent::Rooms { id, rooms, truncated });
            }
            ClientCommand::Members { room } => return self.tell_members(frame, &room, turn),
            ClientCommand::History { room, page, limit } => return self.read_history(frame, &room, page, limit, turn),
            ClientCommand::InboxHistory { with, page, limit } => {
                return self.read_inbox(frame, with, page, limit, turn);
            }
            ClientCommand::Typing { target } => return self.is_typing(frame.session, target, turn),
            ClientCommand::Read { place, seq } => return self.has_read(frame, &place, seq, turn),
            ClientCommand::Ping => Self::pong(frame, turn),
        }
        Ok(())
    }

    fn pong(frame: &mut Frame, turn: &mut Turn) {
        let (id, at) = (frame.id.take(), turn.now.unix_ms);
        turn.answer(frame, ServerEvent::Pong { id, at });
    }

    /// Answers with the refusal, if there is one, and closes a connection with too many errors in a row.
    fn conclude(&mut self, frame: &mut Frame, outcome: Result<(), Refusal>, turn: &mut Turn) {
        // A client that is muted or slowed down, or may not write here, has done nothing wrong with its frame.
        let counts =
            |refusal: &Refusal| !matches!(refusal.code, ErrorCode::Muted | ErrorCode::SlowMode | ErrorCode::NotAWriter);
        let (session, is_error) = (frame.session, outcome.as_ref().is_err_and(counts));
        let of_server = |refusal: &Refusal| refusal.code == ErrorCode::Banned && refusal.room.is_none();
        let is_banned = outcome.as_ref().is_err_and(of_server);
        let of_participant = self.participants.count_errors(session, is_error);
        let is_flood = of_participant.unwrap_or_else(|| self.proofs.count_errors(session, is_error));
        if let Err(refusal) = outcome {
            turn.refuse(frame, refusal);
        }
        if is_banned {
            self.turn_away(session, turn);
        } else if is_flood {
            self.close_session(session, turn);
            turn.close(session, CloseCode::Policy, "too many errors in a row");
        }
    }

    /// Handles an append, a read or a drop that the history has finished.
    pub fn complete(&mut self, completion: Completion, turn: &mut Turn) {
        match completion {
            Completion::Committed { number, copies } => self.committed(number, copies, turn),
            Completion::Refused { number } => self.refused(number, turn),
            Completion::Trimmed { room, oldest } => {
                let kept = self.kept_since(room, oldest);
                self.rooms.trimmed(room, kept);
            }
            Completion::Read { request, page } => self.was_read(*request, page, turn),
            Completion::Unread { request, error } => self.was_not_read(&request, error, turn),
            Completion::Forgotten { receipt, is_gone } => self.was_forgotten(receipt, is_gone, turn),
            Completion::Decided { receipt, is_kept } => self.was_kept(receipt, is_kept, turn),
        }
    }

    /// Does all work that is due by time.
    fn tick(&mut self, turn: &mut Turn) {
        for room in self.presence.take_due() {
            self.tell_presence(room, turn);
        }
        self.tell_typing_of_a_second(turn);
        self.note_positions_of_a_second(turn);
        self.tell_limits(turn);
        self.end_unproven(turn);
        for inbox in self.inboxes.take_to_note() {
            self.note_sent(inbox, turn);
        }
        if let Some(cluster) = &mut self.cluster {
            if cluster.is_cut_off(turn.now.at) {
                return self.send_away(turn);
            }
            cluster.miss(turn.now.at);
            cluster.propose_checkpoint();
        } else {
            self.order.expire(turn.now.at);
            self.direct_ids.expire(turn.now.at);
        }
        self.end_rooms_that_are_over(turn);
    }

    // ---- rooms by name

    fn find_or_make_room(&mut self, name: &RoomName, turn: &mut Turn) -> Result<RoomId, TooManyRooms> {
        if let Some(room) = self.rooms.find(name.as_str()) {
            return Ok(room);
        }
        if self.cluster.is_some() {
            // The log has just refused it, so the reason still holds.
            turn.refused_by(Limit::Rooms);
            return Err(TooManyRooms);
        }
        self.make_space_for(name, turn)?;
        self.make(RoomKey::Room(name.clone()), turn).ok_or(TooManyRooms)
    }

    /// Makes a room or an inbox, which begins an epoch.
    fn make(&mut self, key: RoomKey, turn: &Turn) -> Option<RoomId> {
        let epoch = Epoch(self.numbers.draw());
        self.make_in(key, epoch, turn.now.at)
    }

    /// Makes a room or an inbox in an epoch.
    fn make_in(&mut self, key: RoomKey, epoch: Epoch, at: Instant) -> Option<RoomId> {
        self.make_at(key, Position { epoch, seq: Seq(0) }, at)
    }

    /// Makes a room or an inbox at a position, as the history has it or empty. Nobody is in it since `at`.
    fn make_at(&mut self, key: RoomKey, position: Position, at: Instant) -> Option<RoomId> {
        let owner = key.owner().cloned();
        let room = self.rooms.make_at(key, position.epoch, position.seq, at)?;
        self.order.open(room, position);
        match owner {
            Some(owner) => self.inboxes.add(&owner, room),
            None => self.limit_new_room(room),
        }
        Some(room)
    }

    /// Finds a room by name. `None`: the room is the lobby, which always counts as existing, and nobody has entered it
    /// yet.
    fn lobby_or_existing_room(&self, name: &RoomName) -> Result<Option<RoomId>, Refusal> {
        match self.rooms.find(name.as_str()) {
            None if name.as_str() != limits::LOBBY => {
                Err(Refusal::new(ErrorCode::NoSuchRoom, format!("there is no room {name}")))
            }
            room => Ok(room),
        }
    }

    /// Whether the session's token and the moderators let it be in a room and read there.
    fn permit(&self, session: SessionId, name: &RoomName, turn: &Turn) -> Result<(), Refusal> {
        let participant = self.participants.get(session);
        if participant.is_none_or(|participant| participant.allowed_rooms().allow(name)) {
            return self.check_presence(session, name, turn);
        }
        Err(OpenRefusal::RoomClosed(name.clone()).into())
    }
}

/// A caller outside the chat to judge; `None`: it is an operator. Addresses do not count there.
fn who_calls(caller: &Caller) -> Option<Who<'_>> {
    let name = match caller {
        Caller::Operator | Caller::Client(Claims { is_admin: true, .. }) => return None,
        Caller::Client(claims) => Some(&claims.client_id),
        Caller::Anyone => None,
    };
    Some(Who { name, address: ClientAddress::NONE, rooms: caller.rooms() })
}

/// The table of rooms is full, and no room in it may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TooManyRooms;

impl From<TooManyRooms> for OpenRefusal {
    fn from(TooManyRooms: TooManyRooms) -> Self {
        Self::TooManyRooms
    }
}

impl From<TooManyRooms> for Refusal {
    fn from(TooManyRooms: TooManyRooms) -> Self {
        OpenRefusal::TooManyRooms.into()
    }
}

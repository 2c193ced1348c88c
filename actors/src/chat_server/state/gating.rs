//! With other nodes: some commands wait until the log has decided about them. The later commands of the same session
//! wait behind them.
//!
//! A command needs the log if its session takes a name, if its client is the first of this node in a room, or if it is
//! written to a client without an inbox. The log assigns names, a room with a member cannot end, and all nodes share
//! one table of rooms and one of inboxes. This node decides everything else, at once or when the message returns from
//! the log.

use starling_protocol::{ClientCommand, ClientId, ClientKey, Epoch, MessageId, PostMessage, RoomName, Target};

use super::ChatState;
use crate::chat_server::command::{Command, OpenRefusal, OpenSession, Request};
use crate::chat_server::effect::{Answer, Turn};
use crate::chat_server::parts::cluster::{Needs, Tag};
use crate::history::RoomKey;
use crate::identity::{Claims, Identity};
use crate::ids::SessionId;
use crate::metrics::Limit;
use crate::nodes::record::{LogEntry, Opening};

/// The part of a command that may need the log.
enum Asked<'a> {
    Opening(&'a OpenSession),
    Request(&'a Request, Option<&'a MessageId>),
    Nothing,
}

/// The entry of the log that a command waits for, and what the command gets from it.
type Wanted = (LogEntry, Needs);

impl ChatState {
    /// Returns the command if it can be executed now. Otherwise the command waits for the log.
    #[cold]
    pub(super) fn pass_gate(&mut self, command: Command, turn: &mut Turn) -> Option<Command> {
        let Some(session) = command.session() else { return Some(command) };
        let cluster = self.cluster.as_mut()?;
        if cluster.gate.is_waiting(session) {
            cluster.gate.queue(session, command);
            return None;
        }
        let asked = if let Command::OpenSession { open, .. } = &command {
            Asked::Opening(open)
        } else if let Command::Ask { frame, request } = &command {
            Asked::Request(request, frame.id.as_ref())
        } else {
            Asked::Nothing
        };
        let Some((entry, needs)) = self.wanted(session, &asked, turn) else { return Some(command) };
        let cluster = self.cluster.as_mut()?;
        cluster.propose(entry, Some(Tag::Gate(session)));
        cluster.gate.park(session, command, needs);
        None
    }

    /// Continues the commands of a session: the entry that it waited for has returned from the log, accepted or
    /// refused.
    pub(super) fn gate_came_back(&mut self, session: SessionId, outcome: Result<(), OpenRefusal>, turn: &mut Turn) {
        let Some((needs, mut commands)) = self.cluster.as_mut().and_then(|cluster| cluster.gate.came_back(session))
        else {
            return;
        };
        if let Some(cluster) = &mut self.cluster {
            cluster.granted.clone_from(&needs.name);
        }
        if outcome == Err(OpenRefusal::TooManyRooms) {
            turn.refused_by(Limit::Rooms);
        }
        match (commands.pop_front(), outcome) {
            (Some(command), Ok(())) => self.carry_out_command(command, turn),
            (Some(command), Err(refusal)) => self.refuse_command(command, refusal, turn),
            (None, _) => {}
        }
        self.take_back_unused(session, &needs);
        for command in commands {
            // A command that has to wait makes the later ones wait, too.
            self.apply(command, turn);
        }
    }

    /// Answers a command that opens a session, because the log has refused that.
    fn refuse_command(&mut self, command: Command, refusal: OpenRefusal, turn: &mut Turn) {
        if let Command::OpenSession { reply, .. } = command {
            turn.reply(Answer::Opened(reply, Err(refusal)));
        } else if let Command::Ask { mut frame, .. } = command {
            self.conclude(&mut frame, Err(refusal.into()), turn);
        }
    }

    /// Returns the name and the places that a refused command got from the log and did not use.
    fn take_back_unused(&mut self, session: SessionId, needs: &Needs) {
        let holds = |name: &ClientId| self.participants.get(session).is_some_and(|it| it.name() == name);
        let unused = needs.name.as_ref().filter(|name| !holds(name));
        let empty: Vec<_> = needs.enters.iter().filter(|(key, name)| !self.is_in(key, name)).collect();
        let Some(cluster) = self.cluster.as_mut() else { return };
        if let Some(name) = unused {
            cluster.propose(LogEntry::Release { name: name.clone(), session: session.number() }, None);
        }
        for (key, name) in empty {
            cluster.leave(key, name);
        }
    }

    /// Whether a client has a connection to this node in a room.
    pub(super) fn is_in(&self, key: &RoomKey, name: &ClientId) -> bool {
        let Some(room) = self.find(key) else { return false };
        let mut sessions = self.participants.holders(name).iter().filter_map(|session| self.participants.get(*session));
        sessions.any(|it| it.is_in(room) || it.inbox == Some(room))
    }

    /// The decision that a command needs from the log. `None`: none, or the command is refused in any case.
    fn wanted(&mut self, session: SessionId, asked: &Asked<'_>, turn: &Turn) -> Option<Wanted> {
        match asked {
            Asked::Opening(open) => match &open.identity {
                Identity::Open => self.wanted_to_open(open, None, turn),
                Identity::Proven(claims) => self.wanted_to_open(open, Some(claims), turn),
                Identity::Unproven => None,
            },
            Asked::Request(Request::Proven { claims, client_id, key }, _) => {
                let mut open = self.proofs.unproven(session).cloned()?;
                open.client_id = client_id.clone().or(open.client_id);
                open.key = key.or(open.key);
                self.wanted_to_open(&open, Some(claims), turn)
            }
            Asked::Request(Request::Command(command), id) => self.wanted_by_client(session, command, *id, turn),
            Asked::Request(Request::Refused(_), _) | Asked::Nothing => None,
        }
    }

    fn wanted_to_open(&mut self, open: &OpenSession, proven: Option<&Claims>, turn: &Turn) -> Option<Wanted> {
        match proven {
            Some(claims) => self.check_proven(claims, open, turn).ok()?,
            None => self.check_opening(open.who(), &open.room, turn).ok()?,
        }
        let name = match (proven, &open.client_id) {
            (Some(claims), _) => claims.client_id.clone(),
            (None, Some(name)) => name.clone(),
            (None, None) => self.draw_guest_name(),
        };
        let (epoch, of_inbox) = (Epoch(self.numbers.draw()), Epoch(self.numbers.draw()));
        let cluster = self.cluster.as_ref()?;
        let is_authenticated = proven.is_some();
        let is_known = |key: &ClientKey| cluster.names.holders(&name).iter().any(|holder| holder.key == *key);
        let shown = open.key.filter(|key| !is_authenticated || is_known(key));
        let is_reserved = open.client_id.is_some() && name.is_guest() && !shown.is_some_and(|key| is_known(&key));
        if is_reserved || !cluster.is_reachable {
            return None;
        }
        let (key, room) = (shown.unwrap_or(open.fresh_key), open.room.clone());
        let inbox = (is_authenticated && self.config.private_is_kept).then_some(of_inbox);
        let keys = [RoomKey::Room(room.clone())].into_iter().chain(inbox.map(|_| RoomKey::Inbox(name.clone())));
        let enters = keys.map(|key| (key, name.clone())).collect();
        let needs = Needs { name: Some(name.clone()), enters };
        let session = open.session.number();
        Some((LogEntry::Open(Opening { name, key, session, is_authenticated, room, epoch, inbox }), needs))
    }

    fn wanted_by_client(
        &mut self,
        session: SessionId,
        command: &ClientCommand<'_>,
        id: Option<&MessageId>,
        turn: &Turn,
    ) -> Option<Wanted> {
        let participant = self.participants.get(session)?;
        match command {
            ClientCommand::Hello { client_id: Some(name), key, .. } => self.wanted_to_rename(session, name, *key, turn),
            ClientCommand::Message(PostMessage { client_id: Some(name), .. })
                if participant.name().is_guest() && !name.is_guest() =>
            {
                self.wanted_to_rename(session, name, None, turn)
            }
            ClientCommand::Message(PostMessage { target: Target::Client(to), client_id, .. }) => {
                let needs_inbox = participant.inbox.is_some() && !to.is_guest();
                if !needs_inbox || self.inboxes.find(to.as_str()).is_some() {
                    return None;
                }
                // An inbox takes a place from others, and the place cannot be returned. So a message that will be
                // refused, or was accepted before, makes none.
                let (owner, maker) = (to.clone(), participant.name().clone());
                self.name_to_take(session, client_id.as_ref()).ok()?;
                if self.is_repeated(session, id, turn.now) {
                    return None;
                }
                let epoch = Epoch(self.numbers.draw());
                Some((LogEntry::Make { owner, epoch, maker }, Needs::default()))
            }
            ClientCommand::Join { room, .. } => self.wanted_to_join(session, room, turn),
            ClientCommand::Message(_)
            | ClientCommand::Change(_)
            | ClientCommand::Hello { .. }
            | ClientCommand::JoinInbox { .. }
            | ClientCommand::Leave { .. }
            | ClientCommand::Rooms
            | ClientCommand::Members { .. }
            | ClientCommand::History { .. }
            | ClientCommand::InboxHistory { .. }
            | ClientCommand::Typing { .. }
            | ClientCommand::Read { .. }
            | ClientCommand::Ping => None,
        }
    }

    fn wanted_to_rename(
        &self,
        session: SessionId,
        name: &ClientId,
        key: Option<ClientKey>,
        turn: &Turn,
    ) -> Option<Wanted> {
        self.check_name(session, name, turn).ok()?;
        let participant = self.participants.get(session)?;
        if participant.name() == name || participant.is_authenticated() {
            return None;
        }
        let (name, key, session) = (name.clone(), key.unwrap_or(participant.key()), session.number());
        let needs = Needs { name: Some(name.clone()), ..Needs::default() };
        Some((LogEntry::Take { name, key, session }, needs))
    }

    fn wanted_to_join(&mut self, session: SessionId, room: &RoomName, turn: &Turn) -> Option<Wanted> {
        self.permit(session, room, turn).ok()?;
        let participant = self.participants.get(session)?;
        let key = RoomKey::Room(room.clone());
        let is_refused = participant.rooms().len() >= self.config.rooms_per_session as usize;
        if is_refused || !self.needs_to_enter(&key) {
            return None;
        }
        let (name, epoch) = (participant.name().clone(), Epoch(self.numbers.draw()));
        let needs = Needs { name: None, enters: [(key.clone(), name.clone())].into_iter().collect() };
        Some((LogEntry::Enter { key, name, epoch }, needs))
    }

    /// Whether a room does not exist, or has no client of this node, so that it may end.
    fn needs_to_enter(&self, key: &RoomKey) -> bool {
        self.find(key).and_then(|room| self.rooms.get(room)).is_none_or(crate::chat_server::parts::room::Room::is_empty)
    }
}

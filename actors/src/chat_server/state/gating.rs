//! With other nodes: commands that need the log's word first wait for it, and their session's later commands with them.
//!
//! A command needs the log where its session takes a name, and where its client is the first one of this node in a room:
//! the log gives names, and a room with somebody in it cannot end. All else is decided here, or when a message comes back.

use std::collections::VecDeque;

use starling_protocol::{ClientCommand, ClientId, ClientKey, Epoch, PostMessage, RoomName, Target};

use super::ChatState;
use crate::chat_server::command::{Command, OpenSession, Request};
use crate::chat_server::effect::Turn;
use crate::chat_server::parts::cluster::{Needs, Tag};
use crate::chat_server::parts::rooms::Space;
use crate::history::RoomKey;
use crate::identity::Identity;
use crate::ids::SessionId;
use crate::nodes::record::LogEntry;

/// A name that a session is to take.
struct Take {
    name: ClientId,
    key: ClientKey,
    is_authenticated: bool,
}

/// What a command needs of the log.
#[derive(Default)]
struct Wanted {
    take: Option<Take>,
    rooms: Vec<(RoomKey, ClientId)>,
    /// A client that has no inbox yet, and whoever writes to it.
    make: Option<(ClientId, ClientId)>,
}

impl ChatState {
    /// Returns the command if it may be carried out now. Otherwise it waits for the log.
    #[cold]
    pub(super) fn pass_gate(&mut self, command: Command, turn: &mut Turn) -> Option<Command> {
        let cluster = self.cluster.as_mut()?;
        let Some(session) = session_of(&command) else { return Some(command) };
        if cluster.gate.is_waiting(session) {
            cluster.gate.queue(session, command);
            return None;
        }
        let wanted = self.wanted(session, &command, turn);
        self.propose_wanted(session, command, wanted)
    }

    /// Writes what a command needs into the log, and lets the command wait for it. Returns the command if it needs
    /// nothing.
    fn propose_wanted(&mut self, session: SessionId, command: Command, wanted: Wanted) -> Option<Command> {
        let Wanted { take, rooms, make } = wanted;
        let epochs: Vec<_> = rooms.iter().map(|_| Epoch(self.numbers.draw())).collect();
        let inbox_epoch = Epoch(self.numbers.draw());
        let cluster = self.cluster.as_mut()?;
        let (mut pending, mut needs) = (0, Needs::default());
        let tag = || Some(Tag::Gate(session));
        if let Some(Take { name, key, is_authenticated }) = take {
            needs.name = Some(name.clone());
            let session = session.number();
            cluster.propose(LogEntry::Take { name, key, session, is_authenticated }, tag());
            pending += 1;
        }
        for ((key, name), epoch) in rooms.into_iter().zip(epochs) {
            cluster.enter(&key, &name, epoch, tag());
            needs.enters.push((key, name));
            pending += 1;
        }
        if let Some((owner, maker)) = make {
            cluster.propose(LogEntry::Make { owner, epoch: inbox_epoch, maker }, tag());
            pending += 1;
        }
        if pending == 0 {
            return Some(command);
        }
        cluster.gate.park(session, command, pending, needs);
        None
    }

    /// An entry that a session waits for has come back. Once it was the last one, the session's commands go on.
    pub(super) fn gate_came_back(&mut self, session: SessionId, turn: &mut Turn) {
        let Some((needs, commands)) = self.cluster.as_mut().and_then(|cluster| cluster.gate.came_back(session)) else {
            return;
        };
        let mut commands: VecDeque<_> = commands;
        if let Some(cluster) = &mut self.cluster {
            cluster.granted.clone_from(&needs.name);
        }
        if let Some(command) = commands.pop_front() {
            self.carry_out_command(command, turn);
        }
        self.take_back_unused(session, &needs);
        for command in commands {
            // Each may have to wait, and lets those behind it wait then.
            self.apply(command, turn);
        }
    }

    /// Gives back what a command got from the log and did not use, because it was refused.
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

    /// What a command needs of the log. A command that is refused in any case needs nothing.
    fn wanted(&mut self, session: SessionId, command: &Command, turn: &Turn) -> Wanted {
        match command {
            Command::OpenSession { open, .. } => match &open.identity {
                Identity::Open => self.wanted_to_open(open, None, turn),
                Identity::Proven(claims) => self.wanted_to_open(open, Some(&claims.client_id), turn),
                Identity::Unproven => Wanted::default(),
            },
            Command::Ask { request: Request::Proven { claims, client_id, key }, .. } => {
                let Some(mut open) = self.proofs.unproven(session).cloned() else { return Wanted::default() };
                open.client_id = client_id.clone().or(open.client_id);
                open.key = key.or(open.key);
                self.wanted_to_open(&open, Some(&claims.client_id), turn)
            }
            Command::Ask { request: Request::Command(command), .. } => self.wanted_by_client(session, command, turn),
            Command::CloseSession { .. }
            | Command::Ask { .. }
            | Command::WatchPresence { .. }
            | Command::ContinueReplay { .. }
            | Command::Heard(_)
            | Command::LeaveOthers { .. }
            | Command::PostAsOperator { .. }
            | Command::RemoveClient { .. }
            | Command::DropRoom { .. }
            | Command::ListRooms { .. }
            | Command::Name { .. }
            | Command::ReadRoom { .. }
            | Command::Drain { .. }
            | Command::Tick { .. } => Wanted::default(),
        }
    }

    fn wanted_to_open(&mut self, open: &OpenSession, proven: Option<&ClientId>, turn: &Turn) -> Wanted {
        let is_authenticated = proven.is_some();
        let name = match (proven, &open.client_id) {
            (Some(proven), Some(wanted)) if proven != wanted => return Wanted::default(),
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => self.draw_guest_name(),
        };
        let Some(cluster) = &self.cluster else { return Wanted::default() };
        let is_known = |key: &ClientKey| cluster.names.holders(&name).iter().any(|holder| holder.key == *key);
        let shown = open.key.filter(|key| !is_authenticated || is_known(key));
        let is_reserved = open.client_id.is_some() && name.is_guest() && !shown.is_some_and(|key| is_known(&key));
        let is_full = self.rooms.space_for(&open.room, turn.now.at) == Space::Full;
        if is_reserved || is_full || !cluster.is_reachable {
            return Wanted::default();
        }
        let mut rooms = Vec::new();
        if self.needs_to_enter(&RoomKey::Room(open.room.clone())) {
            rooms.push((RoomKey::Room(open.room.clone()), name.clone()));
        }
        if is_authenticated && self.config.private_is_kept {
            rooms.push((RoomKey::Inbox(name.clone()), name.clone()));
        }
        let key = shown.unwrap_or(open.fresh_key);
        Wanted { take: Some(Take { name, key, is_authenticated }), rooms, make: None }
    }

    fn wanted_by_client(&self, session: SessionId, command: &ClientCommand<'_>, turn: &Turn) -> Wanted {
        let nothing = Wanted::default();
        let Some(participant) = self.participants.get(session) else { return nothing };
        let renames = |name: &ClientId, key: Option<ClientKey>| {
            let may = participant.name() != name && !participant.is_authenticated();
            let take = || Take { name: name.clone(), key: key.unwrap_or(participant.key()), is_authenticated: false };
            Wanted { take: may.then(take), ..Wanted::default() }
        };
        match command {
            ClientCommand::Hello { client_id: Some(name), key, .. } => {
                renames(name, key.as_ref().and_then(|key| key.parse().ok()))
            }
            ClientCommand::Message(PostMessage { client_id: Some(name), .. })
                if participant.name().is_guest() && !name.is_guest() =>
            {
                renames(name, None)
            }
            ClientCommand::Message(PostMessage { target: Target::Client(to), .. }) => {
                let needs_inbox = participant.inbox.is_some() && !to.is_guest();
                let is_missing = needs_inbox && self.inboxes.find(to.as_str()).is_none();
                let may = is_missing && self.inboxes.first_to_go_for_maker(participant.name()).is_ok();
                Wanted { make: may.then(|| (to.clone(), participant.name().clone())), ..nothing }
            }
            ClientCommand::Join { room, .. } => self.wanted_to_join(session, room, turn),
            ClientCommand::Message(_)
            | ClientCommand::Hello { .. }
            | ClientCommand::JoinInbox { .. }
            | ClientCommand::Leave { .. }
            | ClientCommand::Rooms
            | ClientCommand::Members { .. }
            | ClientCommand::History { .. }
            | ClientCommand::InboxHistory { .. }
            | ClientCommand::Ping => nothing,
        }
    }

    fn wanted_to_join(&self, session: SessionId, room: &RoomName, turn: &Turn) -> Wanted {
        let nothing = Wanted::default();
        let Some(participant) = self.participants.get(session) else { return nothing };
        let key = RoomKey::Room(room.clone());
        let is_refused = !participant.allowed_rooms().allow(room)
            || participant.rooms().len() >= self.config.rooms_per_session as usize
            || self.rooms.space_for(room, turn.now.at) == Space::Full;
        if is_refused || !self.needs_to_enter(&key) {
            return nothing;
        }
        Wanted { rooms: vec![(key, participant.name().clone())], ..nothing }
    }

    /// Whether nobody of this node is in a room, so that it may end, or is not there.
    fn needs_to_enter(&self, key: &RoomKey) -> bool {
        self.find(key).and_then(|room| self.rooms.get(room)).is_none_or(crate::chat_server::parts::room::Room::is_empty)
    }
}

/// The session whose command it is, if it is one that must keep its place among the session's commands.
fn session_of(command: &Command) -> Option<SessionId> {
    match command {
        Command::OpenSession { open, .. } => Some(open.session),
        Command::CloseSession { session } | Command::WatchPresence { session, .. } => Some(*session),
        Command::Ask { frame, .. } => Some(frame.session),
        Command::ContinueReplay { .. }
        | Command::PostAsOperator { .. }
        | Command::RemoveClient { .. }
        | Command::DropRoom { .. }
        | Command::ListRooms { .. }
        | Command::Name { .. }
        | Command::ReadRoom { .. }
        | Command::Drain { .. }
        | Command::Heard(_)
        | Command::LeaveOthers { .. }
        | Command::Tick { .. } => None,
    }
}

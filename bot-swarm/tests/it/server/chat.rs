//! The chat of the test server: rooms, names, and answers.

mod delivering;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use awc::ws::{CloseReason, Message};
use starling_protocol::{
    Ack, ClientCommand, ClientId, ClientKey, CommandFrame, Epoch, ErrorCode, JoinedEvent, MessageId, PostMessage,
    Refusal, Resume, RoomName, RoomPosition, Seq, ServerEvent, ServerLimits, Target, Welcome, codec,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::inboxes::Inboxes;
use super::lies::Lie;
use super::options::Options;

/// The duration of a stall.
const STALL: Duration = Duration::from_secs(1);

/// The reason that a client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotIn {
    /// Its name is taken.
    NameTaken,
    /// The server is full.
    Full,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: ClientId,
    /// The room that it connected to, and those that it visits.
    pub(super) rooms: Vec<RoomName>,
    outbox: UnboundedSender<Message>,
}

#[derive(Debug)]
pub(super) struct Room {
    epoch: Epoch,
    pub(super) history: Vec<String>,
}

/// The state of the server.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(super) options: Options,
    pub(super) clients: HashMap<u64, Client>,
    keys: HashMap<ClientId, ClientKey>,
    rooms: HashMap<RoomName, Room>,
    pub(super) deleted: HashSet<(RoomName, Seq)>,
    pub(crate) inboxes: Inboxes,
    acks: HashMap<(ClientId, MessageId), Ack>,
    held: Option<(u64, String)>,
    /// Delayed deliveries: due time, receiver and frame.
    delayed: RefCell<VecDeque<(Instant, u64, String)>>,
    committed: u64,
    dropped: Cell<u64>,
    delivered: Cell<u64>,
    is_mute: Cell<bool>,
    pub(crate) is_stopped: bool,
    /// The times at which each client was refused because of [`Options::refuses_first`].
    refused: HashMap<ClientId, Vec<Instant>>,
    /// The request of the newest connection.
    pub(crate) newest_request: String,
    asked: u64,
    last: u64,
    pub(crate) welcomed: u64,
    pub(crate) taken: u64,
    /// Changes and read positions that it was asked for.
    pub(crate) asked_to_change: u64,
    pub(crate) wrong: u64,
    pub(crate) goodbyes: u64,
    /// The number of finished visits to rooms.
    pub(crate) visits: u64,
}

impl Chat {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            clients: HashMap::new(),
            keys: HashMap::new(),
            rooms: HashMap::new(),
            deleted: HashSet::new(),
            inboxes: Inboxes::with(options.inbox_fault),
            acks: HashMap::new(),
            held: None,
            delayed: RefCell::default(),
            committed: 0,
            dropped: Cell::default(),
            delivered: Cell::default(),
            is_mute: Cell::default(),
            is_stopped: false,
            refused: HashMap::new(),
            newest_request: String::new(),
            asked: 0,
            last: 0,
            welcomed: 0,
            taken: 0,
            asked_to_change: 0,
            wrong: 0,
            goodbyes: 0,
            visits: 0,
        }
    }

    pub(crate) fn connected(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn drop_everyone(&mut self) {
        // Dropping its outbox ends a connection.
        self.clients.clear();
    }

    pub(crate) fn forget_everything(&mut self) {
        self.rooms.clear();
        self.deleted.clear();
        self.acks.clear();
        self.drop_everyone();
    }

    pub(crate) fn forget_inboxes(&mut self) {
        self.inboxes.forget();
        self.drop_everyone();
    }

    /// The longest time from a client's first refused handshake to its last.
    pub(crate) fn longest_refused(&self) -> Duration {
        let from_first_to_last = |times: &Vec<Instant>| Some(times.last()?.duration_since(*times.first()?));
        self.refused.values().filter_map(from_first_to_last).max().unwrap_or_default()
    }

    /// The number of dropped deliveries.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Connects a client.
    pub(crate) fn enter(
        &mut self,
        name: ClientId,
        room: RoomName,
        key: Option<ClientKey>,
        outbox: UnboundedSender<Message>,
    ) -> Result<u64, NotIn> {
        let holder = self.clients.iter().find(|(_, client)| client.name == name).map(|(id, _)| *id);
        if let Some(holder) = holder {
            if key.is_none() || self.keys.get(&name).copied() != key {
                return Err(NotIn::NameTaken);
            }
            self.clients.remove(&holder);
        }
        let refused = self.refused.entry(name.clone()).or_default();
        if refused.len() < self.options.refuses_first as usize {
            refused.push(Instant::now());
            return Err(NotIn::Full);
        }
        if self.options.seats.is_some_and(|seats| self.clients.len() >= seats) {
            return Err(NotIn::Full);
        }
        self.last += 1;
        let id = self.last;
        let key = *self.keys.entry(name.clone()).or_insert(ClientKey(u128::from(id)));
        let place = self.room(&room);
        let (seq, epoch) = (place.newest(), place.epoch);
        self.clients.insert(id, Client { name: name.clone(), rooms: vec![room.clone()], outbox });
        self.welcomed += 1;
        let inbox = self.options.keeps_private.then(|| self.inboxes.open(&name));
        let (inbox, waiting) = inbox.map_or((None, Vec::new()), |(position, waiting)| (Some(position), waiting));
        let limits = ServerLimits { message_bytes: 16_384, messages_per_second: 50, burst: 100, rooms: 64 };
        let welcome = Welcome {
            id: None,
            protocol: 1,
            server: "test".into(),
            client_id: name,
            first_room: Some(RoomPosition { room, seq, epoch }),
            inbox,
            key,
            heartbeat_ms: 25_000,
            limits,
        };
        self.tell(id, &ServerEvent::Welcome(Box::new(welcome)));
        for frame in waiting {
            self.send(id, frame);
        }
        Ok(id)
    }

    /// Handles the end of a client; `with_goodbye`: after a close frame.
    pub(crate) fn leave(&mut self, id: u64, with_goodbye: bool) {
        self.clients.remove(&id);
        self.goodbyes += u64::from(with_goodbye);
    }

    /// Handles a command.
    pub(crate) fn ask(&mut self, id: u64, text: &str) {
        let CommandFrame { id: frame_id, command } = codec::decode_command(text).unwrap();
        match command {
            ClientCommand::Message(message) => self.post(id, frame_id.unwrap(), &message),
            ClientCommand::Join { room, resume, .. } => self.resume(id, frame_id, &room, resume),
            ClientCommand::Leave { room } => self.leave_room(id, frame_id, room),
            ClientCommand::JoinInbox { resume } => {
                let Some(client) = self.clients.get(&id) else { return };
                let Some((joined, missed)) = self.inboxes.resume(&client.name, frame_id, resume) else { return };
                self.tell(id, &ServerEvent::Joined(joined));
                for frame in missed {
                    self.send(id, frame);
                }
            }
            ClientCommand::Change(change) => self.change(id, frame_id.unwrap(), change),
            ClientCommand::Read { seq, .. } => self.was_read(id, frame_id, seq),
            ClientCommand::Hello { .. }
            | ClientCommand::InboxHistory { .. }
            | ClientCommand::Rooms
            | ClientCommand::Members { .. }
            | ClientCommand::History { .. }
            | ClientCommand::Typing { .. } => panic!("bots do not ask for {text}"),
            ClientCommand::Ping => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                self.tell(id, &ServerEvent::Pong { id: frame_id, at: u64::try_from(now.as_millis()).unwrap() });
            }
        }
    }

    pub(super) fn room(&mut self, name: &RoomName) -> &mut Room {
        // Epochs are random, so no two are equal, not even of two servers.
        self.rooms.entry(name.clone()).or_insert_with(|| Room { epoch: Epoch(fastrand::u64(..)), history: Vec::new() })
    }

    fn leave_room(&mut self, id: u64, frame_id: Option<MessageId>, room: RoomName) {
        self.visits += 1;
        let client = self.clients.get_mut(&id).unwrap();
        assert!(client.rooms.iter().skip(1).any(|visited| *visited == room), "{room} is visited");
        client.rooms.retain(|visited| *visited != room);
        if self.options.lie != Some(Lie::LeavesUnanswered) {
            self.tell(id, &ServerEvent::Left { id: frame_id, room });
        }
    }

    fn resume(&mut self, id: u64, frame_id: Option<MessageId>, room: &RoomName, resume: Option<Resume>) {
        let Options { recovers_nothing, forges_recovery, .. } = self.options;
        if resume.is_none() && self.options.lie == Some(Lie::JoinsUnanswered) {
            return;
        }
        if let Some(client) = self.clients.get_mut(&id)
            && !client.rooms.contains(room)
        {
            client.rooms.push(room.clone());
        }
        let place = self.room(room);
        let after = resume.filter(|resume| resume.epoch == Some(place.epoch) && !recovers_nothing);
        let joined = JoinedEvent {
            id: frame_id,
            room: Some(room.clone()),
            inbox: false,
            seq: place.newest(),
            epoch: place.epoch,
            count: 1,
            recovered: resume.map(|_| after.is_some()),
            settings: None,
            visible_after: None,
        };
        let skipped = after.map_or(usize::MAX, |resume| usize::try_from(resume.after.0).unwrap());
        let skipped = if forges_recovery { usize::MAX } else { skipped };
        let missed: Vec<String> = place.history.iter().skip(skipped).cloned().collect();
        self.tell(id, &ServerEvent::Joined(joined));
        for frame in missed {
            self.send(id, frame);
        }
    }

    fn post(&mut self, id: u64, frame_id: MessageId, message: &PostMessage<'_>) {
        self.asked += 1;
        if self.options.lie == Some(Lie::NobodyIsHere) {
            let refusal = Refusal::new(ErrorCode::NoSuchClient, "not here").with_id(Some(frame_id));
            return self.tell(id, &ServerEvent::Error(refusal));
        }
        if let Some((_, code)) = self.options.refuses_upto.filter(|(most, _)| self.asked <= *most) {
            let refusal = Refusal::new(code, "not now").with_id(Some(frame_id));
            return self.tell(id, &ServerEvent::Error(refusal));
        }
        if self.options.limits_after.is_some_and(|after| self.taken >= after) {
            let refusal =
                Refusal::new(ErrorCode::RateLimited, "too fast").with_id(Some(frame_id)).retry_after_ms(60_000);
            return self.tell(id, &ServerEvent::Error(refusal));
        }
        if self.options.refuse_every > 0 && self.asked.is_multiple_of(self.options.refuse_every) {
            let refusal = Refusal::new(ErrorCode::RateLimited, "too fast").with_id(Some(frame_id)).retry_after_ms(10);
            return self.tell(id, &ServerEvent::Error(refusal));
        }
        if self.options.clients_max.is_some_and(|most| self.clients.len() > most) {
            let refusal = Refusal::new(ErrorCode::Forbidden, "too many clients").with_id(Some(frame_id));
            return self.tell(id, &ServerEvent::Error(refusal));
        }
        self.is_troubled();
        let Some(client) = self.clients.get(&id) else { return };
        let (sender, own_room) = (client.name.clone(), client.rooms[0].clone());
        if let Some(ack) = self.acks.get(&(sender.clone(), frame_id.clone())) {
            let repeated = Ack { duplicate: true, ..ack.clone() };
            return self.tell(id, &ServerEvent::Ack(repeated));
        }
        let mut ack = Ack { id: frame_id.clone(), at: 0, room: None, seq: None, to: None, duplicate: false };
        match &message.target {
            Target::Client(to) => {
                if !self.options.keeps_private && !self.clients.values().any(|client| client.name == *to) {
                    let refusal = Refusal::new(ErrorCode::NoSuchClient, "not here").with_id(Some(frame_id));
                    return self.tell(id, &ServerEvent::Error(refusal));
                }
                self.whisper(&sender, to, &message.text);
                ack.to = Some(to.clone());
            }
            Target::FirstRoom | Target::Room(_) => {
                let seq = self.say(&sender, &own_room, &message.text);
                (ack.room, ack.seq) = (Some(own_room), Some(seq));
            }
        }
        self.taken += 1;
        if self.options.person_every > 0 && self.taken.is_multiple_of(self.options.person_every) {
            let person = ClientId::parse("alice").unwrap();
            for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
                self.say(&person, &room, "hello, I am a person");
            }
        }
        self.acks.insert((sender, frame_id), ack.clone());
        self.tell(id, &ServerEvent::Ack(ack));
    }

    /// Applies the troubles that are due after this many messages.
    fn is_troubled(&mut self) {
        let Options { stops_after, stalls_after, mute_after, cuts_after, .. } = self.options;
        let is_time = |after: Option<u64>| after == Some(self.taken);
        if is_time(stalls_after) {
            // The whole server runs on this thread.
            std::thread::sleep(STALL);
        }
        if is_time(mute_after) {
            self.is_mute.set(true);
        }
        if is_time(stops_after) {
            self.is_stopped = true;
        }
        if is_time(stops_after) || is_time(cuts_after) {
            self.options.cuts_after = None;
            self.drop_everyone();
        }
    }

    pub(super) fn tell(&self, id: u64, event: &ServerEvent<'_>) {
        let mut frame = Vec::new();
        match self.options.lie {
            Some(lie) => codec::encode_event(&lie.told(event), &mut frame),
            None => codec::encode_event(event, &mut frame),
        }
        self.send(id, String::from_utf8(frame).unwrap());
    }

    /// Sends the delayed deliveries that are due.
    pub(crate) fn send_delayed(&self) {
        let is_due = |(until, ..): &mut (Instant, u64, String)| *until <= Instant::now();
        while let Some((_, id, frame)) = self.delayed.borrow_mut().pop_front_if(is_due) {
            self.send_now(id, frame);
        }
    }

    pub(super) fn send(&self, id: u64, frame: String) {
        if self.options.delay.is_zero() || !frame.starts_with(r#"{"type":"message""#) {
            return self.send_now(id, frame);
        }
        self.delayed.borrow_mut().push_back((Instant::now() + self.options.delay, id, frame));
    }

    fn send_now(&self, id: u64, frame: String) {
        if self.is_mute.get() {
            return;
        }
        if self.options.drops_every > 0 && frame.starts_with(r#"{"type":"message""#) {
            self.delivered.set(self.delivered.get() + 1);
            if self.delivered.get().is_multiple_of(self.options.drops_every) {
                return self.dropped.set(self.dropped.get() + 1);
            }
        }
        if let Some(client) = self.clients.get(&id) {
            // A connection that has just ended accepts nothing more.
            client.outbox.send(Message::Text(frame.into())).unwrap_or_default();
        }
    }

    /// Announces to all clients that the server closes, then closes.
    pub(crate) fn close_everyone(&mut self, reason: &CloseReason) {
        let closing = ServerEvent::Closing { reason: "test".into(), reconnect_after_ms: 50 };
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            self.tell(id, &closing);
            if let Some(client) = self.clients.remove(&id) {
                client.outbox.send(Message::Close(Some(reason.clone()))).unwrap_or_default();
            }
        }
    }
}

impl Room {
    pub(super) fn newest(&self) -> Seq {
        Seq(self.history.len() as u64)
    }
}

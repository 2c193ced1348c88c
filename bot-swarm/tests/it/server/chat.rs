//! The chat of the test server: rooms, names, and the faults it commits.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use awc::ws::{CloseReason, Message};
use starling_protocol::{
    Ack, ChatMessage, ClientCommand, ClientId, ClientKey, CommandFrame, Epoch, ErrorCode, JoinedEvent, MessageId,
    PostMessage, Refusal, Resume, RoomName, RoomPosition, Seq, ServerEvent, ServerLimits, Target, Welcome, codec,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::inboxes::{InboxFault, Inboxes};

/// Messages after which a fault begins.
const FAULT_AFTER: u64 = 30;

/// Something that a server must not do. Each is committed three times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One member does not get a message.
    LoseDelivery,
    /// One member gets a message twice.
    DoubleDelivery,
    /// One member gets two messages in the wrong order.
    SwapDeliveries,
    /// One member gets another text in a message's place.
    Contradict,
    /// A message is acknowledged and goes nowhere.
    AckOnly,
    /// A message is stored and sent twice.
    StoreTwice,
    /// A member of another room gets a message.
    LeakToOtherRoom,
    /// Somebody else gets a private message.
    LeakPrivate,
    /// A private message does not arrive.
    LosePrivate,
    /// One member gets a message altered.
    Alter(Alteration),
    /// Everybody gets a message altered.
    AlterForAll(Alteration),
    /// The receiver gets a private message altered.
    AlterPrivate(Alteration),
}

/// What is altered of a message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// A letter of its marker.
    Marker,
    /// The whole text: nothing tells any more that a bot wrote it.
    Text,
    /// The whole text and its sender: nothing tells any more who wrote it.
    TextAndSender,
    /// Its sender.
    Sender,
    /// A letter of its padding.
    Padding,
    /// Its length: the last letter is missing.
    Length,
    /// An invisible letter is added.
    Addition,
}

impl Alteration {
    pub(crate) const ALL: [Self; 7] =
        [Self::Marker, Self::Text, Self::TextAndSender, Self::Sender, Self::Padding, Self::Length, Self::Addition];

    /// The sender and the text that a message has after it.
    fn of(self, sender: &ClientId, text: &str) -> (ClientId, String) {
        let other = |at: usize, letter: char| {
            let replaced = if text[at..].starts_with(letter) { "B" } else { "A" };
            format!("{}{replaced}{}", &text[..at], &text[at + 1..])
        };
        let somebody = ClientId::parse("somebody-else").unwrap();
        match self {
            Self::Marker => (sender.clone(), other(20, 'A')),
            Self::Text => (sender.clone(), "censored".to_owned()),
            Self::TextAndSender => (somebody, "hello, I am a person".to_owned()),
            Self::Sender => (somebody, text.to_owned()),
            Self::Padding => (sender.clone(), other(text.len() - 1, 'A')),
            Self::Length => (sender.clone(), text[..text.len() - 1].to_owned()),
            Self::Addition => (sender.clone(), format!("{text}\u{200b}")),
        }
    }
}

/// How the server is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// What it does wrong.
    pub(crate) fault: Option<Fault>,
    /// Every so many messages, one is refused for its rate; 0: none.
    pub(crate) refuse_every: u64,
    /// Whether nothing can be resumed.
    pub(crate) recovers_nothing: bool,
    /// Most clients that it can serve: while more are connected, every message is refused; `None`: any number.
    pub(crate) clients_max: Option<usize>,
    /// How long each delivery is kept back; answers are not.
    pub(crate) delay: Duration,
    /// Messages after which the server ends for good.
    pub(crate) stops_after: Option<u64>,
    /// Messages after which the server does nothing at all for [`STALL`].
    pub(crate) stalls_after: Option<u64>,
    /// Messages after which the server says nothing any more, and keeps every connection.
    pub(crate) mute_after: Option<u64>,
    /// Most clients that it lets in; others are refused with 503. `None`: any number.
    pub(crate) seats: Option<usize>,
    /// Every so many deliveries, one is dropped; 0: none.
    pub(crate) drops_every: u64,
    /// Messages after which every connection is cut, once.
    pub(crate) cuts_after: Option<u64>,
    /// Whether it says that everything was recovered, and gives nothing.
    pub(crate) forges_recovery: bool,
    /// Whether it keeps private messages in inboxes.
    pub(crate) keeps_private: bool,
    /// What it does wrong when an inbox is resumed.
    pub(crate) inbox_fault: Option<InboxFault>,
    /// Messages of bots between which a person says something in every room; 0: nobody does.
    pub(crate) person_every: u64,
    /// Messages after which everything is refused for its rate, for a minute.
    pub(crate) limits_after: Option<u64>,
    /// Handshakes of each client that are refused with 503 before it is let in.
    pub(crate) refuses_first: u32,
}

/// How long a server stalls.
pub(crate) const STALL: Duration = Duration::from_secs(1);

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotIn {
    /// Its name is taken.
    NameTaken,
    /// The server is full.
    Full,
}

#[derive(Debug)]
struct Client {
    name: ClientId,
    /// The room it connected to, and those that it visits.
    rooms: Vec<RoomName>,
    outbox: UnboundedSender<Message>,
}

#[derive(Debug)]
struct Room {
    epoch: Epoch,
    history: Vec<String>,
}

/// The state of the server.
#[derive(Debug)]
pub(crate) struct Chat {
    options: Options,
    clients: HashMap<u64, Client>,
    keys: HashMap<ClientId, ClientKey>,
    rooms: HashMap<RoomName, Room>,
    pub(crate) inboxes: Inboxes,
    acks: HashMap<(ClientId, MessageId), Ack>,
    held: Option<(u64, String)>,
    /// Deliveries that are kept back: until when, for whom, and what.
    delayed: RefCell<VecDeque<(Instant, u64, String)>>,
    committed: u64,
    dropped: Cell<u64>,
    delivered: Cell<u64>,
    is_mute: Cell<bool>,
    pub(crate) is_stopped: bool,
    /// When each client was refused, one of [`Options::refuses_first`].
    refused: HashMap<ClientId, Vec<Instant>>,
    /// The request by which the newest connection was made.
    pub(crate) newest_request: String,
    asked: u64,
    last: u64,
    pub(crate) welcomed: u64,
    pub(crate) taken: u64,
    pub(crate) wrong: u64,
    pub(crate) goodbyes: u64,
    /// Visits of rooms that ended.
    pub(crate) visits: u64,
}

impl Chat {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            clients: HashMap::new(),
            keys: HashMap::new(),
            rooms: HashMap::new(),
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
            wrong: 0,
            goodbyes: 0,
            visits: 0,
        }
    }

    pub(crate) fn connected(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn drop_everyone(&mut self) {
        // Without its outbox, a connection ends.
        self.clients.clear();
    }

    pub(crate) fn forget_everything(&mut self) {
        self.rooms.clear();
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

    /// Deliveries that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Lets a client in.
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

    /// A client is gone; `with_goodbye`: it said so.
    pub(crate) fn leave(&mut self, id: u64, with_goodbye: bool) {
        self.clients.remove(&id);
        self.goodbyes += u64::from(with_goodbye);
    }

    /// A client asks something.
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
            ClientCommand::Hello { .. }
            | ClientCommand::InboxHistory { .. }
            | ClientCommand::Rooms
            | ClientCommand::Members { .. }
            | ClientCommand::History { .. } => panic!("bots do not ask for {text}"),
            ClientCommand::Ping => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                self.tell(id, &ServerEvent::Pong { id: frame_id, at: u64::try_from(now.as_millis()).unwrap() });
            }
        }
    }

    fn room(&mut self, name: &RoomName) -> &mut Room {
        // No two lives are the same, not even of two servers.
        self.rooms.entry(name.clone()).or_insert_with(|| Room { epoch: Epoch(fastrand::u64(..)), history: Vec::new() })
    }

    fn leave_room(&mut self, id: u64, frame_id: Option<MessageId>, room: RoomName) {
        self.visits += 1;
        let client = self.clients.get_mut(&id).unwrap();
        assert!(client.rooms.iter().skip(1).any(|visited| *visited == room), "{room} is visited");
        client.rooms.retain(|visited| *visited != room);
        self.tell(id, &ServerEvent::Left { id: frame_id, room });
    }

    fn resume(&mut self, id: u64, frame_id: Option<MessageId>, room: &RoomName, resume: Option<Resume>) {
        let Options { recovers_nothing, forges_recovery, .. } = self.options;
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
            let refusal = Refusal::new(ErrorCode::Unavailable, "overloaded").with_id(Some(frame_id));
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

    /// What befalls the server after so many messages.
    fn is_troubled(&mut self) {
        let Options { stops_after, stalls_after, mute_after, cuts_after, .. } = self.options;
        let is_time = |after: Option<u64>| after == Some(self.taken);
        if is_time(stalls_after) {
            // Everything of the server is on this thread.
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

    /// Whether it is time for this fault.
    fn commits(&mut self, fault: Fault) -> bool {
        let is_time = self.options.fault == Some(fault) && self.taken > FAULT_AFTER && self.committed < 3;
        let is_free = self.held.is_none();
        self.committed += u64::from(is_time && is_free);
        is_time && is_free
    }

    /// How a message is altered now, if it is time for a fault that does so.
    fn committed_alteration(&mut self, of: impl FnOnce(Fault) -> Option<Alteration>) -> Option<Alteration> {
        let fault = self.options.fault?;
        of(fault).filter(|_| self.commits(fault))
    }

    fn say(&mut self, sender: &ClientId, room: &RoomName, text: &str) -> Seq {
        let altered =
            self.committed_alteration(|fault| if let Fault::AlterForAll(how) = fault { Some(how) } else { None });
        let (sender, text) = altered.map_or((sender.clone(), text.to_owned()), |how| how.of(sender, text));
        let (sender, text) = (&sender, text.as_str());
        let is_altered = altered.is_some();
        let place = self.room(room);
        let seq = place.newest().next();
        let frame = frame(sender, Some(room), Some(seq), None, text);
        place.history.push(frame.clone());
        let mut members: Vec<u64> =
            self.clients.iter().filter(|(_, client)| client.rooms.contains(room)).map(|(id, _)| *id).collect();
        members.sort_unstable();
        self.wrong += if is_altered { members.len() as u64 } else { 0 };
        if self.commits(Fault::AckOnly) {
            self.wrong += members.len() as u64;
            return seq;
        }
        let (first, others) = members.split_first().map_or((None, &[][..]), |(first, others)| (Some(*first), others));
        for member in others {
            self.send(*member, frame.clone());
        }
        if let Some(first) = first {
            self.deliver_to_the_first(first, sender, room, seq, frame);
        }
        if self.commits(Fault::LeakToOtherRoom) {
            let outsider = self.clients.iter().find(|(_, client)| !client.rooms.contains(room)).map(|(id, _)| *id);
            self.wrong += 1;
            self.send(outsider.unwrap(), self::frame(sender, Some(room), Some(seq), None, text));
        }
        if self.commits(Fault::StoreTwice) {
            self.wrong += members.len() as u64;
            return self.say(sender, room, text);
        }
        seq
    }

    /// Delivery to the member that suffers the faults.
    fn deliver_to_the_first(&mut self, member: u64, sender: &ClientId, room: &RoomName, seq: Seq, frame: String) {
        if self.held.as_ref().is_some_and(|(held_for, _)| *held_for == member) {
            self.send(member, frame);
            let (_, held) = self.held.take().unwrap();
            return self.send(member, held);
        }
        let one = |fault| if let Fault::Alter(how) = fault { Some(how) } else { None };
        if let Some(how) = self.committed_alteration(one) {
            self.wrong += 1;
            let ServerEvent::Message(message) = codec::decode_event(&frame).unwrap() else { unreachable!() };
            let (sender, text) = how.of(sender, &message.text);
            return self.send(member, self::frame(&sender, Some(room), Some(seq), None, &text));
        }
        let faults = [Fault::LoseDelivery, Fault::DoubleDelivery, Fault::SwapDeliveries, Fault::Contradict];
        let Some(fault) = faults.into_iter().find(|fault| self.commits(*fault)) else {
            return self.send(member, frame);
        };
        self.wrong += 1;
        if fault == Fault::DoubleDelivery {
            self.send(member, frame.clone());
            self.send(member, frame);
        } else if fault == Fault::SwapDeliveries {
            self.held = Some((member, frame));
        } else if fault == Fault::Contradict {
            // The message before, in the place of this one.
            let before = usize::try_from(seq.0).unwrap() - 2;
            let before = self.room(room).history[before].clone();
            let ServerEvent::Message(before) = codec::decode_event(&before).unwrap() else { unreachable!() };
            self.send(member, self::frame(&before.client_id, Some(room), Some(seq), None, &before.text));
        }
    }

    fn whisper(&mut self, sender: &ClientId, to: &ClientId, text: &str) {
        if self.options.keeps_private {
            return self.whisper_to_inboxes(sender, to, text);
        }
        let to_receiver = |fault| if let Fault::AlterPrivate(how) = fault { Some(how) } else { None };
        if let Some(how) = self.committed_alteration(to_receiver) {
            self.wrong += 1;
            let (author, altered) = how.of(sender, text);
            for (id, client) in &self.clients {
                if client.name == *to {
                    self.send(*id, frame(&author, None, None, Some(to), &altered));
                } else if client.name == *sender {
                    self.send(*id, frame(sender, None, None, Some(to), text));
                }
            }
            return;
        }
        let loses = self.commits(Fault::LosePrivate);
        let leaks = self.commits(Fault::LeakPrivate);
        let is_concerned = |client: &Client| (client.name == *to && !loses) || client.name == *sender;
        let concerned: Vec<u64> =
            self.clients.iter().filter(|(_, client)| is_concerned(client)).map(|(id, _)| *id).collect();
        let stranger = self.clients.iter().find(|(_, client)| !is_concerned(client)).map(|(id, _)| *id);
        self.wrong += u64::from(loses || leaks);
        for receiver in concerned.into_iter().chain(stranger.filter(|_| leaks)) {
            self.send(receiver, frame(sender, None, None, Some(to), text));
        }
    }

    fn whisper_to_inboxes(&mut self, sender: &ClientId, to: &ClientId, text: &str) {
        for owner in [sender, to] {
            let here = self.clients.iter().filter(|(_, client)| client.name == *owner).map(|(id, _)| *id).next();
            let frame =
                self.inboxes.keep(owner, here.is_some(), |seq| self::frame(sender, None, Some(seq), Some(to), text));
            if let Some(id) = here {
                self.send(id, frame);
            }
        }
    }

    fn tell(&self, id: u64, event: &ServerEvent<'_>) {
        let mut frame = Vec::new();
        codec::encode_event(event, &mut frame);
        self.send(id, String::from_utf8(frame).unwrap());
    }

    /// Sends what was kept back for long enough.
    pub(crate) fn send_delayed(&self) {
        let is_due = |(until, ..): &mut (Instant, u64, String)| *until <= Instant::now();
        while let Some((_, id, frame)) = self.delayed.borrow_mut().pop_front_if(is_due) {
            self.send_now(id, frame);
        }
    }

    fn send(&self, id: u64, frame: String) {
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
            // A connection that has just ended takes nothing more.
            client.outbox.send(Message::Text(frame.into())).unwrap_or_default();
        }
    }

    /// Announces to everybody that the server will close, and closes.
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
    fn newest(&self) -> Seq {
        Seq(self.history.len() as u64)
    }
}

fn frame(sender: &ClientId, room: Option<&RoomName>, seq: Option<Seq>, to: Option<&ClientId>, text: &str) -> String {
    let event = ServerEvent::Message(ChatMessage {
        client_id: sender.clone(),
        text: text.into(),
        room: room.cloned(),
        seq,
        to: to.cloned(),
        at: 0,
        id: None,
    });
    let mut frame = Vec::new();
    codec::encode_event(&event, &mut frame);
    String::from_utf8(frame).unwrap()
}

//! The output for the clients of a dialogue: events become lines.

use std::fmt::Write as _;

use starling_protocol::{
    ChatMessage, ClientId, DeletedEvent, EditedEvent, HistoryEvent, JoinedEvent, MessageId, ReactionEvent, ReadEvent,
    RoomName, RoomSummary, Seq, ServerEvent, TypingEvent,
};

use super::Chat;
use crate::ids::SessionId;

impl Chat {
    pub(super) fn put(&mut self, session: SessionId, line: String) {
        if let Some(client) = self.client_of(session).filter(|client| !client.is_gone) {
            client.inbox.push_back(line);
        }
    }

    pub(super) fn tell(&mut self, session: SessionId, event: &ServerEvent<'_>) {
        let line = match event {
            ServerEvent::Welcome(welcome) => {
                if let Some(client) = self.client_of(session) {
                    client.key = Some(welcome.key);
                    let first = welcome.first_room.as_ref();
                    client.epochs.extend(first.map(|first| (first.room.to_string(), first.epoch)));
                    client.epochs.extend(welcome.inbox.map(|inbox| ("inbox".into(), inbox.epoch)));
                }
                let name = self.shown(&welcome.client_id);
                let inbox = welcome.inbox.map_or_else(String::new, |inbox| format!(" inbox #{}", inbox.seq));
                let place = welcome.first_room.as_ref();
                let place = place.map_or_else(|| "nowhere".into(), |first| format!("{} #{}", first.room, first.seq));
                format!("welcome {name} {place}{inbox}{}", shown_id(welcome.id.as_ref()))
            }
            ServerEvent::Message(message) => self.shown_message(message),
            ServerEvent::Edited(EditedEvent { room, seq, of, client_id, text, id, .. }) => {
                let text = if text.is_empty() { String::new() } else { format!(" {text}") };
                let did = format!("edits #{of}:{text}{}", shown_id(id.as_ref()));
                self.shown_change((room.as_ref(), *seq), client_id, &did)
            }
            ServerEvent::Deleted(DeletedEvent { room, seq, of, client_id, id, .. }) => {
                self.shown_change((room.as_ref(), *seq), client_id, &format!("deletes #{of}{}", shown_id(id.as_ref())))
            }
            ServerEvent::Reaction(ReactionEvent { room, seq, of, client_id, emoji, removed, id, .. }) => {
                let sign = if *removed { '-' } else { '+' };
                let did = format!("{sign}{} #{of}{}", emoji.as_str(), shown_id(id.as_ref()));
                self.shown_change((room.as_ref(), *seq), client_id, &did)
            }
            ServerEvent::Ack(ack) => {
                let mut line = match (&ack.room, ack.seq, &ack.to) {
                    (Some(room), Some(seq), None) => format!("ack {} {room}#{seq}", ack.id.as_str()),
                    (None, None, Some(to)) => format!("ack {} @{}", ack.id.as_str(), self.shown(to)),
                    _ => panic!("neither of a room nor private: {ack:?}"),
                };
                line.push_str(if ack.duplicate { " duplicate" } else { "" });
                line
            }
            ServerEvent::Joined(joined) => self.shown_joined(session, joined),
            ServerEvent::Left { id, room } => format!("left {room}{}", shown_id(id.as_ref())),
            ServerEvent::Presence(presence) => {
                let (joined, left) = (self.shown_all(&presence.joined, " +"), self.shown_all(&presence.left, " -"));
                format!("presence {}{joined}{left} count {}", presence.room, presence.count)
            }
            ServerEvent::Typing(typing) => self.shown_typing(typing),
            ServerEvent::Read(read) => self.shown_position(read),
            ServerEvent::Settings(event) => format!("settings {}: {}", event.room, event.settings),
            ServerEvent::Members(members) => {
                let names = self.shown_all(&members.client_ids, " ");
                let more = if members.truncated { " …" } else { "" };
                let id = shown_id(members.id.as_ref());
                format!("members {} count {}:{names}{more}{id}", members.room, members.count)
            }
            ServerEvent::Rooms { id, rooms, truncated } => {
                let list = rooms.iter().map(|RoomSummary { room, count, seq, topic }| {
                    let topic = if topic.is_empty() { String::new() } else { format!(" {topic:?}") };
                    format!(" {room}:{count}#{seq}{topic}")
                });
                let more = if *truncated { " …" } else { "" };
                format!("rooms{}{more}{}", list.collect::<String>(), shown_id(id.as_ref()))
            }
            ServerEvent::Pong { id, .. } => format!("pong{}", shown_id(id.as_ref())),
            ServerEvent::Error(refusal) => {
                let room = refusal.room.as_ref().map_or_else(String::new, |room| format!(" in {room}"));
                format!("error {}{room}{}", refusal.code.as_str(), shown_id(refusal.id.as_ref()))
            }
            ServerEvent::History(history) => shown_page(history),
            ServerEvent::Closing { .. } => panic!("the state machine does not tell {event:?}"),
        };
        self.put(session, line);
    }

    fn shown_joined(&mut self, session: SessionId, joined: &JoinedEvent) -> String {
        let place = joined.room.as_ref().map_or_else(|| "inbox".into(), RoomName::to_string);
        assert_eq!(joined.inbox, joined.room.is_none());
        if let Some(client) = self.client_of(session) {
            client.epochs.insert(place.clone(), joined.epoch);
        }
        let recovered = joined.recovered.map_or("", |all| if all { " recovered" } else { " gap" });
        let behind = joined.visible_after.map_or_else(String::new, |seq| format!(" behind #{seq}"));
        let id = shown_id(joined.id.as_ref());
        let settings = joined.settings.as_ref().map_or_else(String::new, |settings| format!(" with {settings}"));
        format!("joined {place} #{} count {}{recovered}{behind}{id}{settings}", joined.seq, joined.count)
    }

    fn shown_typing(&mut self, TypingEvent { room, from, client_ids, more }: &TypingEvent) -> String {
        let names = self.shown_all(client_ids, " ");
        let more = if *more { " …" } else { "" };
        let place = room.as_ref().map_or("privately", RoomName::as_str);
        assert_eq!(from.as_ref(), client_ids.first().filter(|_| room.is_none()));
        format!("typing {place}{names}{more}")
    }

    fn shown_position(&mut self, ReadEvent { id, room, inbox, seq, client_id }: &ReadEvent) -> String {
        assert_eq!(*inbox, room.is_none());
        let place = room.as_ref().map_or("inbox", RoomName::as_str);
        format!("read {place}#{seq} {}{}", self.shown(client_id), shown_id(id.as_ref()))
    }

    fn shown_message(&mut self, message: &ChatMessage<'_>) -> String {
        let sender = self.shown(&message.client_id);
        let mut line = match (&message.room, message.seq, &message.to) {
            (Some(room), Some(seq), None) => format!("{room}#{seq} {sender}: {}", message.text),
            (None, None, Some(to)) => format!("{sender}@{}: {}", self.shown(to), message.text),
            (None, Some(seq), Some(to)) => format!("inbox#{seq} {sender}@{to}: {}", message.text),
            _ => panic!("neither of a room nor private: {message:?}"),
        };
        line.push_str(&shown_changes(message));
        line.push_str(&shown_id(message.id.as_ref()));
        line
    }

    /// What a client did, at a place.
    fn shown_change(&mut self, place: (Option<&RoomName>, Seq), client: &ClientId, did: &str) -> String {
        let (place, seq) = (place.0.map_or("inbox", RoomName::as_str), place.1);
        format!("{place}#{seq} {} {did}", self.shown(client))
    }

    /// The name as a dialogue shows it.
    fn shown(&mut self, name: &ClientId) -> String {
        if !name.is_guest() {
            return name.to_string();
        }
        let known = self.guests.iter().position(|guest| guest == name).unwrap_or_else(|| {
            self.guests.push(name.clone());
            self.guests.len() - 1
        });
        format!("guest-{}", known + 1)
    }

    fn shown_all(&mut self, names: &[ClientId], before_each: &str) -> String {
        names.iter().fold(String::new(), |list, name| list + before_each + &self.shown(name))
    }
}

fn shown_page(history: &HistoryEvent<'_>) -> String {
    let of = match (&history.room, &history.to) {
        (Some(room), _) => room.to_string(),
        (None, None) => "inbox".into(),
        (None, Some(with)) => format!("with {with}"),
    };
    let shown = |list, message: &ChatMessage<'_>| {
        let seq = message.seq.expect("it is stored");
        let text = if message.edited_at.is_some() { format!(":{}", message.text) } else { String::new() };
        format!("{list} {seq}{text}{}", shown_changes(message))
    };
    let seqs = history.messages.iter().fold(String::new(), shown);
    let more = if history.has_more { " …" } else { "" };
    format!("history {of}{seqs}{more}{}", shown_id(history.id.as_ref()))
}

/// What a message replies to, and its changes.
fn shown_changes(message: &ChatMessage<'_>) -> String {
    let mut shown = message.reply_to.map_or_else(String::new, |of| format!(" re#{of}"));
    shown.push_str(if message.edited_at.is_some() { " edited" } else { "" });
    shown.push_str(if message.deleted { " deleted" } else { "" });
    for reaction in &message.reactions {
        let names: Vec<_> = reaction.client_ids.iter().map(ClientId::as_str).collect();
        write!(shown, " {}{}({})", reaction.emoji.as_str(), reaction.count, names.join(",")).unwrap();
    }
    if let Some(changed) = message.changed_seq {
        write!(shown, " <{changed}>").unwrap();
    }
    shown
}

fn shown_id(id: Option<&MessageId>) -> String {
    id.map_or_else(String::new, |id| format!(" id={}", id.as_str()))
}

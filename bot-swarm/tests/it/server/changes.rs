//! How the test server changes messages and keeps read positions, rightly or not.

use starling_protocol::{
    Ack, Change, ChangeMessage, DeletedEvent, EditedEvent, ErrorCode, MessageId, ReactionEvent, ReadEvent, Refusal,
    Seq, ServerEvent, codec,
};

use super::chat::{Chat, Room};
use super::lies::Lie;

impl Room {
    /// Removes the text of a deleted message from the history.
    fn forget_text(&mut self, deleted: Seq) {
        for entry in &mut self.history {
            let mut event = codec::decode_event(entry).unwrap().into_owned();
            if let ServerEvent::Message(message) = &mut event
                && message.seq == Some(deleted)
            {
                (message.deleted, message.text) = (true, "".into());
            } else if let ServerEvent::Edited(edited) = &mut event
                && edited.of == deleted
            {
                edited.text = "".into();
            } else {
                continue;
            }
            *entry = encoded(&event);
        }
    }
}

impl Chat {
    /// Changes a message of the client's first room.
    pub(super) fn change(&mut self, id: u64, frame_id: MessageId, change: ChangeMessage<'_>) {
        let Some(client) = self.clients.get(&id) else { return };
        let (client_id, name) = (client.name.clone(), client.rooms[0].clone());
        let ChangeMessage { of, change, .. } = change;
        let newest = self.room(&name).newest();
        self.asked_to_change += 1;
        if let Some(Lie::Change(how)) = self.options.lie {
            if let Some(answer) = how.to_change(frame_id, name, of, newest) {
                self.tell(id, &answer);
            }
            return;
        }
        if self.deleted.contains(&(name.clone(), of)) {
            let refusal = Refusal::new(ErrorCode::NoSuchMessage, "it is deleted").with_id(Some(frame_id));
            return self.tell(id, &ServerEvent::Error(refusal));
        }
        let (seq, room, own_id) = (newest.next(), Some(name.clone()), None);
        let event = match change {
            Change::Edit(text) => {
                ServerEvent::Edited(EditedEvent { room, seq, of, client_id, text, to: None, at: 0, id: own_id })
            }
            Change::Delete => {
                self.deleted.insert((name.clone(), of));
                self.room(&name).forget_text(of);
                ServerEvent::Deleted(DeletedEvent { room, seq, of, client_id, to: None, at: 0, id: own_id })
            }
            Change::React { emoji, remove } => {
                let removed = remove;
                let (to, at, id) = (None, 0, own_id);
                ServerEvent::Reaction(ReactionEvent { room, seq, of, client_id, emoji, removed, to, at, id })
            }
        };
        let frame = encoded(&event);
        self.room(&name).history.push(frame.clone());
        for (member, client) in &self.clients {
            if client.rooms.contains(&name) {
                self.send(*member, frame.clone());
            }
        }
        let ack = Ack { id: frame_id, at: 0, room: Some(name), seq: Some(seq), to: None, duplicate: false };
        self.tell(id, &ServerEvent::Ack(ack));
    }

    /// Keeps how far a client has read its first room.
    pub(super) fn was_read(&mut self, id: u64, frame_id: Option<MessageId>, seq: Seq) {
        let Some(client) = self.clients.get(&id) else { return };
        let room = Some(client.rooms[0].clone());
        let told = ReadEvent { id: frame_id, room, inbox: false, seq, client_id: client.name.clone() };
        self.asked_to_change += 1;
        let answer = match self.options.lie {
            Some(Lie::Change(how)) => how.to_read(told),
            _ => Some(ServerEvent::Read(told)),
        };
        if let Some(answer) = answer {
            self.tell(id, &answer);
        }
    }
}

fn encoded(event: &ServerEvent<'_>) -> String {
    let mut frame = Vec::new();
    codec::encode_event(event, &mut frame);
    String::from_utf8(frame).unwrap()
}

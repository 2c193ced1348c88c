//! How the test server delivers messages, rightly or not.

use starling_protocol::{ChatMessage, ClientId, RoomName, Seq, ServerEvent, codec};

use super::{Chat, Client};
use crate::server::faults::{Alteration, Fault};
use crate::server::lies::Lie;

/// The number of messages before a fault begins.
const FAULT_AFTER: u64 = 30;

impl Chat {
    /// Whether this fault is due.
    fn commits(&mut self, fault: Fault) -> bool {
        let is_time = self.options.fault == Some(fault) && self.taken > FAULT_AFTER && self.committed < 3;
        let is_free = self.held.is_none();
        self.committed += u64::from(is_time && is_free);
        is_time && is_free
    }

    /// Whether the server only pretends to deliver.
    fn goes_nowhere(&self) -> bool {
        matches!(self.options.lie, Some(Lie::Ack(_)))
    }

    /// The alteration of the current message, if such a fault is due.
    fn committed_alteration(&mut self, of: impl FnOnce(Fault) -> Option<Alteration>) -> Option<Alteration> {
        let fault = self.options.fault?;
        of(fault).filter(|_| self.commits(fault))
    }

    pub(super) fn say(&mut self, sender: &ClientId, room: &RoomName, text: &str) -> Seq {
        let altered =
            self.committed_alteration(|fault| if let Fault::AlterForAll(how) = fault { Some(how) } else { None });
        let (sender, text) = altered.map_or((sender.clone(), text.to_owned()), |how| how.of(sender, text));
        let (sender, text) = (&sender, text.as_str());
        let is_altered = altered.is_some();
        let lie = self.options.lie;
        let place = self.room(room);
        let seq = place.newest().next();
        let claimed = lie.map_or(seq, |lie| lie.seq_of_delivery(seq));
        let frame = frame(sender, Some(room), Some(claimed), None, text);
        place.history.push(frame.clone());
        let mut members: Vec<u64> =
            self.clients.iter().filter(|(_, client)| client.rooms.contains(room)).map(|(id, _)| *id).collect();
        members.sort_unstable();
        self.wrong += if is_altered { members.len() as u64 } else { 0 };
        if self.goes_nowhere() {
            return seq;
        }
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

    /// Delivers to the member that suffers the faults.
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
            // The previous message, with the `seq` of this one.
            let before = usize::try_from(seq.0).unwrap() - 2;
            let before = self.room(room).history[before].clone();
            let ServerEvent::Message(before) = codec::decode_event(&before).unwrap() else { unreachable!() };
            self.send(member, self::frame(&before.client_id, Some(room), Some(seq), None, &before.text));
        }
    }

    pub(super) fn whisper(&mut self, sender: &ClientId, to: &ClientId, text: &str) {
        if self.goes_nowhere() {
            return;
        }
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
}

fn frame(sender: &ClientId, room: Option<&RoomName>, seq: Option<Seq>, to: Option<&ClientId>, text: &str) -> String {
    let message = ChatMessage::new(sender.clone(), text.into(), 0);
    let event = ServerEvent::Message(ChatMessage { room: room.cloned(), seq, to: to.cloned(), ..message });
    let mut frame = Vec::new();
    codec::encode_event(&event, &mut frame);
    String::from_utf8(frame).unwrap()
}

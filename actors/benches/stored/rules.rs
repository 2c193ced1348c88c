//! Measures the rules alone, without a storage, in CPU time of the thread.

use std::time::Duration;

use starling_actors::ChatConfig;
use starling_actors::chat_server::Turn;
use starling_actors::chat_server::command::{Command, Frame, OpenSession, Request};
use starling_actors::chat_server::effect::Effect;
use starling_actors::chat_server::state::ChatState;
use starling_actors::clock::{self, Now};
use starling_actors::credits::Ticket;
use starling_actors::history::{Completion, History, Restored, RoomKey, StoredRoom};
use starling_actors::identity::{Caller, Identity};
use starling_actors::ids::{HubId, SessionId};
use starling_protocol::{ClientCommand, ClientId, ClientKey, Epoch, MessageId, PostMessage, RoomName, Seq, Target};
use tokio::sync::oneshot;

use crate::Times;

fn session() -> SessionId {
    SessionId::new(HubId(0), 0, 1)
}

fn apply(state: &mut ChatState, command: Command, now: Now) -> Vec<Effect> {
    let mut turn = Turn::new(now);
    state.apply(command, &mut turn);
    turn.effects
}

fn open(state: &mut ChatState, now: Now) {
    let open = OpenSession {
        session: session(),
        identity: Identity::Open,
        client_id: None,
        key: None,
        room: RoomName::lobby(),
        fresh_key: ClientKey(clock::secret()),
        address: starling_actors::client_address::ClientAddress::NONE,
        watch_presence: false,
    };
    apply(state, Command::OpenSession { open, reply: oneshot::channel().0 }, now);
}

fn tick(state: &mut ChatState, now: Now) {
    apply(state, Command::Tick { reply: oneshot::channel().0 }, now);
}

fn ask(state: &mut ChatState, id: Option<u64>, command: ClientCommand<'static>, now: Now) -> Vec<Effect> {
    let (id, ticket) = (id.map(|id| MessageId::parse(&id.to_string()).unwrap()), Ticket::without_credit(now.at));
    let frame = Frame { session: session(), id, ticket: Some(ticket) };
    apply(state, Command::Ask { frame, request: Request::Command(command) }, now)
}

fn publish() -> ClientCommand<'static> {
    ClientCommand::Message(PostMessage {
        text: "so many words".into(),
        target: Target::FirstRoom,
        client_id: None::<ClientId>,
        reply_to: None,
    })
}

/// Commits the entries among these effects.
fn commit(state: &mut ChatState, history: &mut History, effects: Vec<Effect>, now: Now) {
    let mut done = Vec::new();
    for effect in effects {
        if let Effect::Append(entry) = effect {
            history.append(entry, &mut done);
        }
    }
    for completion in done {
        state.complete(completion, &mut Turn::new(now));
    }
}

/// Refuses the entries among these effects.
fn refuse(state: &mut ChatState, effects: Vec<Effect>, now: Now) {
    for effect in effects {
        if let Effect::Append(entry) = effect {
            state.complete(Completion::Refused { number: entry.number }, &mut Turn::new(now));
        }
    }
}

/// (b) A full memory of `id`s.
pub(crate) fn remembered_ids() {
    for count in [262_144, 1_000_000] {
        let config = ChatConfig { ids_max: count, ..ChatConfig::default() };
        let (mut state, mut now) = (ChatState::new(config, 1), Now::read());
        open(&mut state, now);
        let mut history = History::in_memory(1_000, 1_000_000);
        let mut next = 0;
        let count = u64::from(count);
        let mut fill = |state: &mut ChatState, now: Now, times: &mut Times, upto: u64| {
            while next < upto {
                times.measure(|| {
                    let effects = ask(state, Some(next), publish(), now);
                    commit(state, &mut history, effects, now);
                });
                next += 1;
            }
        };
        let mut times = Times::default();
        fill(&mut state, now, &mut times, count);
        times.tell(&format!("(b) message with an id, up to {count} remembered"));
        let mut times = Times::default();
        // The oldest `id`s were already dropped to make space.
        for id in count / 4..count {
            times.measure(|| ask(&mut state, Some(id), publish(), now));
        }
        times.tell(&format!("(b) id that comes again, {count} remembered"));
        let mut times = Times::default();
        now = now.after(Duration::from_mins(1));
        for id in 0..1_200_000 {
            times.measure(|| {
                let effects = ask(&mut state, Some(10_000_000 + id), publish(), now);
                refuse(&mut state, effects, now);
            });
        }
        times.tell(&format!("(b) message that the storage refuses, {count} remembered"));
        let mut times = Times::default();
        fill(&mut state, now, &mut times, count + 200_000);
        times.tell(&format!("(b) message with an id, the bound of {count} reached"));
        let mut times = Times::default();
        now = now.after(Duration::from_mins(10));
        for _ in 0..1_000 {
            times.measure(|| tick(&mut state, now));
        }
        times.tell(&format!("(b) tick when {count} expire together"));
    }
}

fn stored_room(number: u64, seq: u64) -> StoredRoom {
    StoredRoom {
        key: RoomKey::Room(RoomName::parse(&format!("room-{number}")).unwrap()),
        epoch: Epoch(number),
        seq: Seq(seq),
        oldest: Seq(1),
        sent: Seq(0),
        unclaimed: None,
    }
}

/// (c) Many empty rooms.
pub(crate) fn rooms() {
    for count in [100_000, 1_000_000] {
        let config = ChatConfig {
            rooms: count + 1,
            rooms_per_session: u32::MAX,
            history_is_stored: true,
            ..ChatConfig::default()
        };
        let (mut state, mut now) = (ChatState::new(config, 1), Now::read());
        let rooms = (0..u64::from(count)).map(|number| stored_room(number, 1 + number % 32)).collect();
        state.restore(Restored { rooms, ..Restored::default() }, now);
        open(&mut state, now);
        now = now.after(Duration::from_hours(1));
        let mut times = Times::default();
        for _ in 0..1_000 {
            now = now.after(Duration::from_millis(250));
            times.measure(|| tick(&mut state, now));
        }
        times.tell(&format!("(c) tick, {count} rooms"));
        let mut times = Times::default();
        for _ in 0..100 {
            now = now.after(Duration::from_millis(250));
            let list = Command::ListRooms { caller: Caller::Anyone, reply: oneshot::channel().0 };
            times.measure(|| apply(&mut state, list, now));
        }
        times.tell(&format!("(c) list of rooms, {count} rooms"));
        let mut times = Times::default();
        for number in 0..2_000 {
            now = now.after(Duration::from_millis(10));
            let room = RoomName::parse(&format!("new-{number}")).unwrap();
            times.measure(|| ask(&mut state, None, ClientCommand::Join { room, resume: None, presence: false }, now));
        }
        times.tell(&format!("(c) join of a new room, {count} rooms and no place free"));
    }
    let config = ChatConfig { rooms: 2_000_000, rooms_per_session: u32::MAX, ..ChatConfig::default() };
    let (mut state, now) = (ChatState::new(config, 1), Now::read());
    open(&mut state, now);
    let mut times = Times::default();
    for number in 0..1_000_000 {
        let room = RoomName::parse(&format!("new-{number}")).unwrap();
        times.measure(|| {
            ask(&mut state, None, ClientCommand::Join { room: room.clone(), resume: None, presence: false }, now);
            ask(&mut state, None, ClientCommand::Leave { room }, now);
        });
    }
    times.tell("(c) join of a new room and leaving it, up to 1,000,000 rooms");
    let mut times = Times::default();
    let now = now.after(Duration::from_mins(6));
    for _ in 0..2_000 {
        times.measure(|| tick(&mut state, now));
    }
    times.tell("(c) tick when 1,000,000 rooms end together");
}

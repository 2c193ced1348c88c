//! The answers to an operator's change at one node, if the log accepts the change, is unreachable, or continues without
//! the node.

use std::time::Duration;

use bytes::Bytes;
use starling_protocol::{ClientId, ErrorCode, RoomName};
use tokio::sync::oneshot::{self, Receiver};

use crate::chat_server::command::{Command, Decided, DropError, NotDecided, NotDone, OperatorPost, Posted};
use crate::chat_server::effect::{Effect, Turn};
use crate::chat_server::state::ChatState;
use crate::clock::{self, Now};
use crate::config::ChatConfig;
use crate::history::{Restored, RoomKey};
use crate::moderation::{Act, Decision};
use crate::nodes::heard::Heard;
use crate::nodes::record::{Incarnation, LogEntry, LogPosition, Record, RecordId};
use crate::room_settings::SettingsChange;

/// A node and its log.
struct Node {
    state: ChatState,
    life: Incarnation,
    now: Now,
    written: Vec<Bytes>,
    position: u64,
}

/// The answers to the four changes that an operator can request.
struct Answers {
    posted: Receiver<Result<Posted, starling_protocol::Refusal>>,
    removed: Receiver<Result<usize, NotDone>>,
    dropped: Receiver<Result<(), DropError>>,
    decided: Receiver<Result<Decided, NotDecided>>,
}

impl Node {
    /// A node that has begun, in a chat with a lobby.
    fn begin() -> Self {
        let now = Now { at: clock::now(), unix_ms: 1_000_000 };
        let mut state = ChatState::new(ChatConfig::default(), 7);
        let life = state.become_node("node", Duration::from_secs(5), 42);
        state.begin_from(None, Restored::default(), LogPosition(0), now).unwrap();
        let mut node = Self { state, life, now, written: Vec::new(), position: 0 };
        node.apply(Command::Heard(Heard::Reachable(true)));
        node.read_own();
        node
    }

    fn apply(&mut self, command: Command) {
        let mut turn = Turn { now: self.now, effects: Vec::new() };
        self.state.apply(command, &mut turn);
        for effect in turn.effects {
            if let Effect::Answer(answer) = effect {
                answer.send();
            }
        }
        self.state.pack(|record| self.written.push(record));
    }

    fn read(&mut self, record: Record) {
        self.position += 1;
        let id = RecordId { position: LogPosition(self.position), nanos: 1_000_000_000 };
        self.apply(Command::Heard(Heard::Record { id, record }));
    }

    /// Reads the records that it has written.
    fn read_own(&mut self) {
        for record in std::mem::take(&mut self.written) {
            self.read(Record::read(&record).unwrap());
        }
    }

    /// Another node begins, and declares this one out.
    fn is_declared_out(&mut self) {
        let out = LogEntry::Out { incarnation: self.life, counter: u64::MAX, as_of: 1_000 };
        let lobby = starling_protocol::Epoch(1);
        let entries = vec![LogEntry::Begin { node: "other".into(), lobby }, out];
        self.read(Record { incarnation: Incarnation(1), counter: 1, entries });
    }

    fn ask(&mut self) -> Answers {
        let ((post, posted), (remove, removed), (drop, dropped), (decide, decided)) =
            (oneshot::channel(), oneshot::channel(), oneshot::channel(), oneshot::channel());
        let act = Act::Set { room: RoomName::lobby(), change: SettingsChange::slow(5) };
        let decision = Decision { by: "root".into(), act, reason: "".into() };
        self.apply(Command::Decide { decision, reply: decide });
        let client_id = ClientId::parse("operator").unwrap();
        let of_lobby = OperatorPost { room: RoomName::lobby(), client_id, text: "hello".into(), id: None };
        self.apply(Command::PostAsOperator { post: of_lobby, reply: post });
        self.apply(Command::RemoveClient { client_id: ClientId::parse("nobody").unwrap(), reply: remove });
        self.apply(Command::DropRoom { key: RoomKey::Room(RoomName::lobby()), reply: drop });
        Answers { posted, removed, dropped, decided }
    }
}

#[test]
fn an_operator_is_told_the_truth_of_a_change_whatever_becomes_of_the_node() {
    let mut node = Node::begin();
    let mut answers = node.ask();
    assert!(answers.posted.try_recv().is_err() && answers.removed.try_recv().is_err(), "it waits for the log");
    node.read_own();
    assert!(answers.posted.try_recv().unwrap().is_ok());
    assert_eq!(answers.removed.try_recv(), Ok(Ok(0)));
    assert_eq!(answers.decided.try_recv(), Ok(Ok(Decided { at: 1_000, is_told: true, is_exempt: false })));
    assert_eq!(node.state.moderation.settings(&RoomName::lobby()).slow_seconds, 5);

    for (what, expected) in [("out of reach", NotDone::OutOfReach), ("declared dead", NotDone::CutOff)] {
        let mut node = Node::begin();
        if expected == NotDone::OutOfReach {
            node.apply(Command::Heard(Heard::Reachable(false)));
        }
        let mut answers = node.ask();
        if expected == NotDone::CutOff {
            node.is_declared_out();
        }
        let refused = answers.posted.try_recv().unwrap().unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unavailable, "{what}");
        assert_eq!(answers.removed.try_recv(), Ok(Err(expected)), "{what}");
        assert_eq!(answers.dropped.try_recv(), Ok(Err(DropError::NotDone(expected))), "{what}");
        assert_eq!(answers.decided.try_recv(), Ok(Err(NotDecided::NotDone(expected))), "{what}");
        // The changes do not happen later either.
        let before = node.state.order.position(node.state.find(&RoomKey::Room(RoomName::lobby())).unwrap());
        node.apply(Command::Heard(Heard::Reachable(true)));
        node.read_own();
        let after = node.state.order.position(node.state.find(&RoomKey::Room(RoomName::lobby())).unwrap());
        assert_eq!(after, before, "{what}");
        assert!(!node.state.moderation.has_settings(), "{what}");
    }
}

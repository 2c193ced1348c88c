//! The false statements of the test server.

use starling_protocol::{Ack, ClientId, ErrorCode, MessageId, ReadEvent, Refusal, RoomName, Seq, ServerEvent};

/// A false statement in every answer of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Every message is dropped, and gets an ack like this.
    Ack(WrongAck),
    /// Every edit, deletion, reaction and read position is dropped, and gets an answer like this.
    Change(WrongAnswer),
    /// A client that leaves a room has left it, but gets no answer.
    LeavesUnanswered,
    /// A client that joins a room is not in, and gets no answer.
    JoinsUnanswered,
    /// Every message is refused, because its receiver is away.
    NobodyIsHere,
    /// Every statement of a room's newest position has this value.
    Seq(Claim, u64),
}

/// An ack that does not belong to the sent message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrongAck {
    WithoutSeq,
    OfAnotherRoom,
    OfAnotherReceiver,
    OfAnotherBot,
    OfAnotherRun,
}

impl WrongAck {
    pub(crate) const ALL: [Self; 5] =
        [Self::WithoutSeq, Self::OfAnotherRoom, Self::OfAnotherReceiver, Self::OfAnotherBot, Self::OfAnotherRun];
}

/// An answer to a change that did not happen, or to a read position that was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrongAnswer {
    /// The ack of a change has the `seq` of its message, plus this.
    SeqOfMessage(u64),
    /// It has the `seq` that the next entry of the room will have.
    SeqToCome,
    WithoutSeq,
    /// The answer names another room.
    OfAnotherRoom,
    Refused(ErrorCode),
    Silence,
}

impl WrongAnswer {
    /// The answer to a change of the message `of` of a room whose newest entry is `newest`.
    pub(super) fn to_change(self, id: MessageId, room: RoomName, of: Seq, newest: Seq) -> Option<ServerEvent<'static>> {
        let ack = Ack { id, at: 0, room: Some(room), seq: None, to: None, duplicate: false };
        let with_seq = |seq| Some(ServerEvent::Ack(Ack { seq: Some(seq), ..ack.clone() }));
        match self {
            Self::SeqOfMessage(behind) => with_seq(Seq(of.0 + behind)),
            Self::SeqToCome => with_seq(newest.next()),
            Self::WithoutSeq => Some(ServerEvent::Ack(ack)),
            Self::OfAnotherRoom => {
                let room = Some(RoomName::parse("elsewhere").unwrap());
                Some(ServerEvent::Ack(Ack { room, seq: Some(newest.next()), ..ack }))
            }
            Self::Refused(code) => Some(ServerEvent::Error(Refusal::new(code, "no").with_id(Some(ack.id)))),
            Self::Silence => None,
        }
    }

    /// The answer to a read position.
    pub(super) fn to_read(self, told: ReadEvent) -> Option<ServerEvent<'static>> {
        match self {
            Self::OfAnotherRoom => {
                let room = Some(RoomName::parse("elsewhere").unwrap());
                Some(ServerEvent::Read(ReadEvent { room, ..told }))
            }
            Self::Refused(code) => Some(ServerEvent::Error(Refusal::new(code, "no").with_id(told.id))),
            Self::SeqOfMessage(_) | Self::SeqToCome | Self::WithoutSeq => {
                Some(ServerEvent::Read(ReadEvent { seq: Seq(0), ..told }))
            }
            Self::Silence => None,
        }
    }
}

/// The places in events that state a room's newest position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Welcome,
    Joined,
    Ack,
    Delivery,
}

impl Claim {
    pub(crate) const ALL: [Self; 4] = [Self::Welcome, Self::Joined, Self::Ack, Self::Delivery];
}

impl Lie {
    /// The `seq` of a delivery instead of its own.
    pub(super) fn seq_of_delivery(self, seq: Seq) -> Seq {
        if let Self::Seq(Claim::Delivery, claimed) = self { Seq(claimed) } else { seq }
    }

    /// The event that is sent instead of another.
    pub(super) fn told<'a>(self, event: &ServerEvent<'a>) -> ServerEvent<'a> {
        let mut event = event.clone();
        match (&mut event, self) {
            (ServerEvent::Ack(ack), Self::Ack(how)) => how.spoil(ack),
            (ServerEvent::Ack(ack), Self::Seq(Claim::Ack, seq)) => ack.seq = Some(Seq(seq)),
            (ServerEvent::Joined(joined), Self::Seq(Claim::Joined, seq)) => joined.seq = Seq(seq),
            (ServerEvent::Welcome(welcome), Self::Seq(Claim::Welcome, seq)) => {
                welcome.first_room.as_mut().unwrap().seq = Seq(seq);
            }
            _ => {}
        }
        event
    }
}

impl WrongAck {
    fn spoil(self, ack: &mut Ack) {
        // An id is run, bot and number, with dashes between.
        let parts: Vec<String> = ack.id.as_str().split('-').map(str::to_owned).collect();
        let [run, bot, number] = &parts[..] else { panic!("{}", ack.id.as_str()) };
        let id = |run: &str, bot: &str| MessageId::parse(&format!("{run}-{bot}-{number}")).unwrap();
        match self {
            Self::WithoutSeq => ack.seq = None,
            Self::OfAnotherRoom => ack.room = Some(RoomName::parse("elsewhere").unwrap()),
            Self::OfAnotherReceiver => ack.to = Some(ClientId::parse("somebody-else").unwrap()),
            Self::OfAnotherBot => ack.id = id(run, "fff"),
            Self::OfAnotherRun => ack.id = id("0", bot),
        }
    }
}

//! The false statements of the test server.

use starling_protocol::{Ack, ClientId, MessageId, RoomName, Seq, ServerEvent};

/// A false statement in every answer of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Every message is dropped, and gets an ack like this.
    Ack(WrongAck),
    /// A client that leaves a room has left it, but gets no answer.
    LeavesUnanswered,
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

//! What the test server says that is not so.

use starling_protocol::{Ack, ClientId, MessageId, RoomName, Seq, ServerEvent};

/// Something that is not so in every answer of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Every message goes nowhere, and has an ack that is like this.
    Ack(WrongAck),
    /// Whoever leaves a room is out of it, and is not told.
    LeavesUnanswered,
    /// Every message is refused, because its receiver is away.
    NobodyIsHere,
    /// A room has come as far as this, wherever this is told.
    Seq(Claim, u64),
}

/// An ack that is none of the message that was sent.
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

/// Where a room's newest place is told.
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
    /// The `seq` that a delivery has, in place of its own.
    pub(super) fn seq_of_delivery(self, seq: Seq) -> Seq {
        if let Self::Seq(Claim::Delivery, claimed) = self { Seq(claimed) } else { seq }
    }

    /// What is told in place of an event.
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

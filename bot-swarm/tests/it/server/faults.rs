//! What the test server does wrong.

use starling_protocol::ClientId;

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
    pub(super) fn of(self, sender: &ClientId, text: &str) -> (ClientId, String) {
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

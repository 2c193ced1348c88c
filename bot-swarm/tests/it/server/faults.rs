//! What the test server does wrong.

use starling_protocol::ClientId;

/// A fault of the server. Each is committed three times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One member does not receive a message.
    LoseDelivery,
    /// One member receives a message twice.
    DoubleDelivery,
    /// One member receives two messages in the wrong order.
    SwapDeliveries,
    /// One member receives another message with the same `seq`.
    Contradict,
    /// A message is acknowledged but not delivered.
    AckOnly,
    /// A message is stored and sent twice.
    StoreTwice,
    /// A member of another room receives a message.
    LeakToOtherRoom,
    /// A third client receives a private message.
    LeakPrivate,
    /// A private message does not arrive.
    LosePrivate,
    /// One member receives an altered message.
    Alter(Alteration),
    /// All members receive an altered message.
    AlterForAll(Alteration),
    /// The receiver receives an altered private message.
    AlterPrivate(Alteration),
}

/// The part of a message that is altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// A letter of its marker.
    Marker,
    /// The whole text, so that it does not look like a bot's.
    Text,
    /// The whole text and the sender, so that nothing shows who wrote it.
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

    /// The altered sender and text of a message.
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

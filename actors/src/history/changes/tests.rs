use super::*;

const AT: u64 = 1_000;

fn name(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

fn edit(text: &str) -> Content {
    Content::Edit { of: Seq(1), text: text.into() }
}

fn react(emoji: &str, removed: bool) -> Content {
    Content::Reaction { of: Seq(1), emoji: Emoji::parse(emoji).unwrap(), removed }
}

/// A change: its number, its client and what it does; the text of the message after it, if it is another one, and the
/// reactions.
type Step = (u64, &'static str, Content, Option<&'static str>, &'static [&'static str]);

/// The reactions as short texts.
fn shown(changes: &Changes) -> Vec<String> {
    let names = |clients: &[ClientId]| clients.iter().map(ClientId::as_str).collect::<Vec<_>>().join(",");
    changes.reactions.iter().map(|(emoji, clients)| format!("{}{}", emoji.as_str(), names(clients))).collect()
}

#[test]
fn each_change_has_its_effect_once() {
    let deletion = Content::Deletion { of: Seq(1) };
    let mut changes = Changes::default();
    let steps: [Step; 11] = [
        (2, "bob", react("👍", false), None, &["👍bob"]),
        (3, "carol", react("👍", false), None, &["👍bob,carol"]),
        (4, "bob", react("👍", false), None, &["👍bob,carol"]),
        (5, "bob", react("🎉", false), None, &["👍bob,carol", "🎉bob"]),
        (6, "alice", edit("new"), Some("new"), &["👍bob,carol", "🎉bob"]),
        (6, "alice", edit("again"), None, &["👍bob,carol", "🎉bob"]),
        (3, "dave", react("👍", false), None, &["👍bob,carol", "🎉bob"]),
        (7, "bob", react("👍", true), None, &["👍carol", "🎉bob"]),
        (8, "carol", react("👍", true), None, &["🎉bob"]),
        (9, "carol", react("👀", true), None, &["🎉bob"]),
        (10, "alice", deletion, Some(""), &[]),
    ];
    for (seq, client, change, text, reactions) in steps {
        assert_eq!(changes.apply(Seq(seq), AT + seq, &name(client), &change), text, "{seq}");
        assert_eq!(shown(&changes), reactions, "{seq}");
    }
    assert!(changes.is_deleted && changes.edit.is_none());
    for change in [edit("too late"), react("👍", false)] {
        let before = changes.clone();
        assert_eq!(changes.apply(Seq(11), AT, &name("alice"), &change), None);
        assert_eq!(changes, before, "nothing changes a deleted message");
    }
}

#[test]
fn the_newest_edit_alone_shows_its_text() {
    let mut changes = Changes::default();
    for seq in [4, 7] {
        changes.apply(Seq(seq), AT + seq, &name("alice"), &edit("x"));
    }
    assert_eq!([4, 7, 8].map(|seq| changes.shows_edit(Seq(seq))), [false, true, false]);
    assert_eq!(changes.edit, Some((Seq(7), AT + 7)));
}

#[test]
fn a_message_has_so_many_emoji_and_so_many_reactions() {
    let mut changes = Changes::default();
    let emoji = |number: usize| {
        Emoji::parse(&char::from_u32(0x1f600 + u32::try_from(number).unwrap()).unwrap().to_string()).unwrap()
    };
    for number in 0..limits::EMOJIS_PER_MESSAGE_MAX {
        assert_eq!(changes.may_react(&emoji(number), &name("bob")), Ok(()), "{number}");
        let change = Content::Reaction { of: Seq(1), emoji: emoji(number), removed: false };
        changes.apply(Seq(number as u64 + 2), AT, &name("bob"), &change);
    }
    let further = emoji(limits::EMOJIS_PER_MESSAGE_MAX);
    assert_eq!(changes.may_react(&further, &name("bob")), Err(TooManyReactions::Emojis));
    let before = changes.reactions.clone();
    changes.apply(Seq(99), AT, &name("bob"), &Content::Reaction { of: Seq(1), emoji: further, removed: false });
    assert_eq!(changes.reactions, before, "one that was accepted all the same has no effect");
    assert_eq!(changes.may_react(&emoji(0), &name("carol")), Ok(()), "an emoji that is there");
    let mut seq = 100;
    for client in 0..limits::REACTIONS_PER_MESSAGE_MAX - limits::EMOJIS_PER_MESSAGE_MAX {
        seq += 1;
        let change = Content::Reaction { of: Seq(1), emoji: emoji(0), removed: false };
        changes.apply(Seq(seq), AT, &name(&format!("c{client}")), &change);
    }
    assert_eq!(changes.may_react(&emoji(0), &name("carol")), Err(TooManyReactions::Clients));
    assert_eq!(changes.may_react(&emoji(0), &name("bob")), Ok(()), "it changes nothing");
    let before = changes.reactions.clone();
    let change = Content::Reaction { of: Seq(1), emoji: emoji(0), removed: false };
    changes.apply(Seq(seq + 1), AT, &name("carol"), &change);
    assert_eq!(changes.reactions, before);
}

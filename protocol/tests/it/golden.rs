//! Every frame of the protocol as encoded, one file each in `tests/golden/`.
//!
//! A file holds exactly the frame and a line break. A changed golden file is a change of the protocol.

mod samples;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use starling_protocol::codec::{decode_command, decode_event, encode_command, encode_event};
use starling_protocol::{Change, ChangeMessage, ClientCommand, ServerEvent};

use self::samples::{commands, events};

/// Names the `type` of every variant: a list of all, and a match that does not compile without a new one.
macro_rules! kinds {
    ($list:ident, $function:ident($enum:ty), $($pattern:pat => $kind:literal,)+) => {
        pub(crate) const $list: &[&str] = &[$($kind,)+];

        fn $function(value: &$enum) -> &'static str {
            match value {
                $($pattern => $kind,)+
            }
        }
    };
}

kinds! {
    COMMAND_KINDS, command_kind(ClientCommand<'_>),
    ClientCommand::Message(_) => "message",
    ClientCommand::Change(ChangeMessage { change: Change::Edit(_), .. }) => "edit",
    ClientCommand::Change(ChangeMessage { change: Change::Delete, .. }) => "delete",
    ClientCommand::Change(ChangeMessage { change: Change::React { .. }, .. }) => "react",
    ClientCommand::Hello { .. } => "hello",
    ClientCommand::Join { .. } | ClientCommand::JoinInbox { .. } => "join",
    ClientCommand::Leave { .. } => "leave",
    ClientCommand::Rooms => "rooms",
    ClientCommand::Members { .. } => "members",
    ClientCommand::History { .. } | ClientCommand::InboxHistory { .. } => "history",
    ClientCommand::Typing { .. } => "typing",
    ClientCommand::Read { .. } => "read",
    ClientCommand::Ping => "ping",
}

kinds! {
    EVENT_KINDS, event_kind(ServerEvent<'_>),
    ServerEvent::Welcome(_) => "welcome",
    ServerEvent::Message(_) => "message",
    ServerEvent::Edited(_) => "edited",
    ServerEvent::Deleted(_) => "deleted",
    ServerEvent::Reaction(_) => "reaction",
    ServerEvent::Ack(_) => "ack",
    ServerEvent::Joined(_) => "joined",
    ServerEvent::Left { .. } => "left",
    ServerEvent::Presence(_) => "presence",
    ServerEvent::Typing(_) => "typing",
    ServerEvent::Read(_) => "read",
    ServerEvent::Settings(_) => "settings",
    ServerEvent::Members(_) => "members",
    ServerEvent::Rooms { .. } => "rooms",
    ServerEvent::History(_) => "history",
    ServerEvent::Pong { .. } => "pong",
    ServerEvent::Closing { .. } => "closing",
    ServerEvent::Error(_) => "error",
}

fn folder(direction: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(direction)
}

/// The frames of a folder by the names of their files, without the line break at their end.
pub(crate) fn frames(direction: &str) -> Vec<(String, String)> {
    let mut frames: Vec<(String, String)> = fs::read_dir(folder(direction))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let content = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let frame = content.strip_suffix('\n').unwrap_or_else(|| panic!("{name}: no line break at the end"));
            assert!(!frame.contains('\n'), "{name}: more than one line");
            (name.strip_suffix(".json").unwrap_or_else(|| panic!("{name} is no .json")).to_owned(), frame.to_owned())
        })
        .collect();
    frames.sort();
    frames
}

fn golden(direction: &str, name: &str, expected: &str) -> String {
    let path = folder(direction).join(format!("{name}.json"));
    let content = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; it would be\n{expected}", path.display()));
    assert_eq!(content, format!("{expected}\n"), "{}", path.display());
    expected.to_owned()
}

fn encoded(event: &ServerEvent<'_>) -> String {
    let mut out = Vec::new();
    encode_event(event, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_golden_command_is_what_is_encoded_and_decodes_to_the_same() {
    for (name, frame) in commands() {
        let golden = golden("commands", name, &encode_command(&frame));
        assert_eq!(decode_command(&golden), Ok(frame), "{name}");
    }
}

#[test]
fn every_golden_event_is_what_is_encoded_and_decodes_to_the_same() {
    for (name, event) in events() {
        let golden = golden("events", &name, &encoded(&event));
        assert_eq!(decode_event(&golden).unwrap(), event, "{name}");
    }
}

#[test]
fn every_variant_has_a_golden_file_and_its_type_is_the_one_it_bears() {
    let tag = |frame: &str| {
        let fields: serde_json::Value = serde_json::from_str(frame).unwrap();
        fields.get("type").map_or("message", |tag| tag.as_str().unwrap()).to_owned()
    };
    let mut seen = BTreeSet::new();
    for (name, frame) in commands() {
        let kind = command_kind(&frame.command);
        assert_eq!(tag(&encode_command(&frame)), kind, "{name}");
        seen.insert(kind);
    }
    assert_eq!(seen, COMMAND_KINDS.iter().copied().collect());

    let mut seen = BTreeSet::new();
    for (name, event) in events() {
        let kind = event_kind(&event);
        assert_eq!(tag(&encoded(&event)), kind, "{name}");
        seen.insert(kind);
    }
    assert_eq!(seen, EVENT_KINDS.iter().copied().collect());
}

#[test]
fn no_golden_file_is_forgotten() {
    let on_disk = |direction| -> BTreeSet<String> { frames(direction).into_iter().map(|(name, _)| name).collect() };
    let count = |names: &BTreeSet<String>, cases: usize| assert_eq!(names.len(), cases, "a name stands twice");

    let names: BTreeSet<String> = commands().into_iter().map(|(name, _)| name.to_owned()).collect();
    count(&names, commands().len());
    assert_eq!(on_disk("commands"), names);

    let names: BTreeSet<String> = events().into_iter().map(|(name, _)| name).collect();
    count(&names, events().len());
    assert_eq!(on_disk("events"), names);
}

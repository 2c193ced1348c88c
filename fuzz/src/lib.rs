//! What must hold for any bytes that a client sends.
//!
//! Each function takes an input and panics where something does not hold. libFuzzer looks for such inputs
//! (`scripts/fuzz`); those that were worth keeping stand in `corpus/` and are ordinary tests.

use bytes::BytesMut;
use starling_actors::session::frames::{Frames, Incoming};
use starling_protocol::console::{self, ConsoleCommand, CurrentRoom};
use starling_protocol::{ClientCommand, ErrorCode, Refusal, RoomName, codec, limits};

/// Most bytes of a frame here: small, so that the bound is soon met.
const FRAME_BYTES: u32 = 300;

/// No refusal is longer: whatever was sent, little of it is sent back.
const REFUSAL_BYTES_MAX: usize = 512;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; a folder of `corpus/` for each.
pub const TARGETS: [Target; 3] = [("frames", frames), ("commands", commands), ("console", console)];

/// Bytes of a socket, to frames, to commands: the same messages however the network cuts the bytes, and none larger
/// than may be. The first byte says where they are cut.
///
/// # Panics
/// Where that is not so: a fault is found.
pub fn frames(input: &[u8]) {
    let Some((cut, input)) = input.split_first() else { return };
    for inflates in [false, true] {
        let whole = read(&[input], inflates);
        let (head, tail) = input.split_at(usize::from(*cut).min(input.len()));
        assert_eq!(read(&[head, tail], inflates), whole, "cut after {}", head.len());
        let single: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(read(&single, inflates), whole, "byte by byte");
    }
}

/// What is read of a connection, with compression or without: its messages, to the first error, as text to be compared.
fn read(parts: &[&[u8]], inflates: bool) -> Vec<String> {
    let mut frames = Frames::new(FRAME_BYTES, inflates);
    let mut unread = BytesMut::new();
    let mut read = Vec::new();
    for part in parts {
        unread.extend_from_slice(part);
        while let Some(message) = frames.decode(&mut unread) {
            let Ok(message) = message else {
                read.push("error".to_owned());
                return read;
            };
            check(&message);
            read.push(format!("{message:?}"));
        }
        assert!(unread.len() <= FRAME_BYTES as usize + 14, "what waits for its end is bounded: {}", unread.len());
    }
    read
}

fn check(message: &Incoming) {
    match message {
        Incoming::Text(text) => {
            assert!(text.len() <= FRAME_BYTES as usize, "{} bytes", text.len());
            if console::is_line(text) {
                console(text.as_bytes());
            } else {
                commands(text.as_bytes());
            }
        }
        Incoming::Ping(payload) => assert!(payload.len() <= 125, "control frames are short"),
        Incoming::Close | Incoming::Nothing => {}
    }
}

/// A JSON frame: refused with a short word, or a command that means the same when it is sent again.
///
/// # Panics
/// Where that is not so: a fault is found.
pub fn commands(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match codec::decode_command(text) {
        Ok(frame) => {
            check_command(&frame.command);
            let again = codec::encode_command(&frame);
            let decoded = codec::decode_command(&again);
            assert_eq!(decoded.as_ref(), Ok(&frame), "{again}");
        }
        Err(refusal) => check_refusal(&refusal),
    }
}

/// A line that a person typed: refused with a short word, or a command. The first byte says whether there is a room
/// that is meant where none is named.
pub fn console(input: &[u8]) {
    let Ok(line) = std::str::from_utf8(input) else { return };
    for current in [CurrentRoom::First, CurrentRoom::Is(RoomName::lobby()), CurrentRoom::Left] {
        match console::parse_line(line, &current) {
            Ok(ConsoleCommand::Command(command)) => check_command(&command),
            Ok(
                ConsoleCommand::Operate { .. }
                | ConsoleCommand::Settings { .. }
                | ConsoleCommand::Help
                | ConsoleCommand::Quit,
            ) => {}
            Err(refusal) => check_refusal(&refusal),
        }
    }
}

fn check_command(command: &ClientCommand<'_>) {
    match command {
        ClientCommand::Message(_) | ClientCommand::Change(_) => {
            assert_ne!(command.text(), Some(""), "nobody says nothing");
        }
        ClientCommand::History { limit, .. } | ClientCommand::InboxHistory { limit, .. } => {
            assert!((1..=limits::HISTORY_LIMIT_MAX).contains(limit), "{limit}");
        }
        ClientCommand::Hello { client_id, token, .. } => {
            assert!(client_id.is_some() || token.is_some(), "a hello asks for something");
        }
        ClientCommand::Join { .. }
        | ClientCommand::JoinInbox { .. }
        | ClientCommand::Leave { .. }
        | ClientCommand::Rooms
        | ClientCommand::Members { .. }
        | ClientCommand::Typing { .. }
        | ClientCommand::Read { .. }
        | ClientCommand::Ping => {}
    }
}

fn check_refusal(refusal: &Refusal) {
    let by_form = [
        ErrorCode::BadJson,
        ErrorCode::BadRequest,
        ErrorCode::UnknownType,
        ErrorCode::BadName,
        ErrorCode::BadRoom,
        ErrorCode::MessageEmpty,
    ];
    assert!(by_form.contains(&refusal.code), "{refusal:?}");
    let text = &refusal.message;
    assert!(!text.is_empty() && text.len() <= REFUSAL_BYTES_MAX, "{} bytes: {text}", text.len());
}

//! The console: lines typed by a person are parsed into commands, and events are rendered as lines.

use std::borrow::Cow;
use std::fmt::Write;

use crate::change::{DeletedEvent, EditedEvent, ReactionEvent};
use crate::codec::{parse_client, parse_room};
use crate::command::{ClientCommand, HistoryPage, PostMessage, Target};
use crate::event::{ChatMessage, ErrorCode, Refusal, RoomSummary, ServerEvent, SettingsEvent};
use crate::limits;
use crate::names::{ClientId, RoomName};
use crate::settings::{RoomSettings, SettingName};
use crate::typed_time::wait_of;
use crate::visible::is_invisible;

/// The answer to `/help`.
pub const HELP: &str = "\
hello everybody            to the current room
/nick alice                change your name
/join dev                  join a room and make it the current room
/msg bob psst              private message
/leave [room]              leave a room
/rooms                     list the rooms
/who [room]                list the members
/settings                  how this room is set up
/history [n]               the last n messages (10), with their numbers
/help                      list the commands
/quit                      leave the chat
//text                     a message that begins with /
for operators, in the current room:
/mute bob 10m spam         bob may not write; the time and the reason may be absent
/ban bob 7d spam           bob may not be here
/unmute bob, /unban bob    take it back
/mute bob everywhere 10m   on the whole server; so with /ban, /unmute and /unban
/slow 10s, /slow off       how often a client may write here
/topic TEXT, /topic off    a line about this room
/writers operators         who may write here: everyone or operators
/access invited            who may be here: everyone or invited
/invite bob, /uninvite bob who is invited
/newcomers off             whether newcomers see older messages: on or off
/retention 1000 30d        how long messages are kept; server: as elsewhere
/seen-by on                whether members see who has read: on, off, server";

/// The content of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleCommand<'a> {
    /// A command of the protocol.
    Command(ClientCommand<'a>),
    /// A decision of an operator, in words that the chat reads.
    Operate {
        /// What the operator does.
        command: OperatorCommand,
        /// The words behind it.
        words: &'a str,
    },
    /// The settings of a room.
    Settings {
        /// The current room.
        room: RoomName,
    },
    /// The list of commands.
    Help,
    /// The end of the connection.
    Quit,
}

/// A command of operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorCommand {
    /// Keeps a client from writing.
    Mute,
    /// Takes a mute back.
    Unmute,
    /// Keeps a client out.
    Ban,
    /// Takes a ban back.
    Unban,
    /// Invites a client to a room.
    Invite,
    /// Takes an invitation back.
    Uninvite,
    /// Changes a setting of a room.
    Set(SettingName),
}

impl OperatorCommand {
    /// The command with this name.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "mute" => Self::Mute,
            "unmute" => Self::Unmute,
            "ban" => Self::Ban,
            "unban" => Self::Unban,
            "invite" => Self::Invite,
            "uninvite" => Self::Uninvite,
            other => return SettingName::of(other).map(Self::Set),
        })
    }

    /// How it is written.
    pub fn form(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Mute => "/mute NAME [everywhere] [TIME] [REASON]",
            Self::Unmute => "/unmute NAME [everywhere]",
            Self::Ban => "/ban NAME [everywhere] [TIME] [REASON]",
            Self::Unban => "/unban NAME [everywhere]",
            Self::Invite => "/invite NAME",
            Self::Uninvite => "/uninvite NAME",
            Self::Set(setting) => return Cow::Owned(setting.form()),
        })
    }
}

/// Whether a text frame is a line typed by a person: its first visible character is not `{`.
///
/// JSON with an invisible prefix, such as a byte-order mark, is not a line: it may contain a secret, which must not be
/// published as a message. It is treated as JSON, which then fails to parse.
pub fn is_line(frame: &str) -> bool {
    // The first byte decides nearly every frame.
    !frame.starts_with('{') && !frame.trim_start_matches(is_invisible).starts_with('{')
}

/// The room for lines that name none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CurrentRoom {
    /// The connection has entered no room yet, or is in none: its first room is meant.
    First,
    /// The room that it has entered last.
    Is(RoomName),
    /// It has left that room, and is in others. A text must not appear there.
    Left,
}

impl CurrentRoom {
    /// The room, if it is known.
    pub fn name(&self) -> Option<&RoomName> {
        match self {
            Self::Is(room) => Some(room),
            Self::First | Self::Left => None,
        }
    }
}

/// Parses one line. A final line break is dropped.
///
/// # Errors
/// The [`Refusal`] to answer with: an unknown command, a missing or bad name, an empty line.
pub fn parse_line<'a>(line: &'a str, current: &CurrentRoom) -> Result<ConsoleCommand<'a>, Refusal> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    // A blank before a command is a slip, which must not publish a private message.
    let Some(rest) = line.trim_start().strip_prefix('/') else { return say(line, current) };
    if rest.starts_with('/') {
        return say(rest, current);
    }
    let (command, rest) = split_word(rest);
    let command = match &*command.to_ascii_lowercase() {
        "help" => return Ok(ConsoleCommand::Help),
        "quit" => return Ok(ConsoleCommand::Quit),
        "settings" if rest.is_empty() => {
            return Ok(ConsoleCommand::Settings { room: named_or_current("", current)? });
        }
        "settings" => return Err(usage("/settings")),
        "nick" => {
            ClientCommand::Hello { client_id: Some(parse_client(needed(rest, "/nick NAME")?)?), key: None, token: None }
        }
        "join" => ClientCommand::Join { room: parse_room(needed(rest, "/join ROOM")?)?, resume: None, presence: true },
        "msg" => {
            let (to, text) = split_word(needed(rest, "/msg NAME TEXT")?);
            let target = Target::Client(parse_client(to)?);
            let text = Cow::Borrowed(needed(text, "/msg NAME TEXT")?);
            ClientCommand::Message(PostMessage { text, target, client_id: None, reply_to: None })
        }
        "leave" => ClientCommand::Leave { room: named_or_current(rest, current)? },
        "rooms" => ClientCommand::Rooms,
        "who" => ClientCommand::Members { room: named_or_current(rest, current)? },
        "history" => {
            let limit = match rest {
                "" => limits::CONSOLE_HISTORY_DEFAULT,
                number => history_limit(number)?,
            };
            let room = named_or_current("", current)?;
            ClientCommand::History { room, page: HistoryPage::Newest, limit }
        }
        other => {
            if let Some(command) = OperatorCommand::of(other) {
                return Ok(ConsoleCommand::Operate { command, words: rest });
            }
            let shown: String = command.chars().take(32).collect();
            return Err(Refusal::new(
                ErrorCode::UnknownType,
                format!("there is no command /{shown}; /help lists the commands"),
            ));
        }
    };
    Ok(ConsoleCommand::Command(command))
}

fn say<'a>(text: &'a str, current: &CurrentRoom) -> Result<ConsoleCommand<'a>, Refusal> {
    if text.is_empty() {
        return Err(Refusal::new(ErrorCode::MessageEmpty, "the line is empty"));
    }
    let target = match current {
        CurrentRoom::First => Target::FirstRoom,
        CurrentRoom::Is(room) => Target::Room(room.clone()),
        CurrentRoom::Left => return Err(no_current_room()),
    };
    Ok(ConsoleCommand::Command(ClientCommand::Message(PostMessage {
        text: Cow::Borrowed(text),
        target,
        client_id: None,
        reply_to: None,
    })))
}

fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

fn usage(form: &str) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, format!("write {form}"))
}

fn needed<'a>(text: &'a str, form: &str) -> Result<&'a str, Refusal> {
    if text.is_empty() { Err(usage(form)) } else { Ok(text) }
}

fn history_limit(number: &str) -> Result<u16, Refusal> {
    let limit = number.parse().ok().filter(|limit| (1..=limits::HISTORY_LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| usage(&format!("/history [NUMBER], from 1 to {}", limits::HISTORY_LIMIT_MAX)))
}

fn named_or_current(name: &str, current: &CurrentRoom) -> Result<RoomName, Refusal> {
    if name.is_empty() { current.name().cloned().ok_or_else(no_current_room) } else { parse_room(name) }
}

/// The refusal of a line that needs a current room.
pub fn no_current_room() -> Refusal {
    Refusal::new(ErrorCode::BadRequest, "there is no current room: /join ROOM to enter one")
}

/// Renders an event as lines for a person, separated by `\n`. `None`: the event is not shown.
///
/// Text of clients cannot imitate the server's own lines: further lines of a message are indented, control characters,
/// which could control a terminal, are replaced, and characters that would reorder or break the line are shown by their
/// numbers.
pub fn render(event: &ServerEvent<'_>) -> Option<String> {
    let line = match event {
        ServerEvent::Welcome(welcome) => {
            let place = welcome.first_room.as_ref().map_or("no room", |first| first.room.as_str());
            let (server, name) = (&welcome.server, &welcome.client_id);
            format!("* welcome to {server}: you are {name} in {place}; /help shows what you can type")
        }
        ServerEvent::Message(message) => render_message(message),
        // Edited again, or deleted since: that follows.
        ServerEvent::Edited(edited) if edited.text.is_empty() => return None,
        ServerEvent::Edited(EditedEvent { room, client_id, to, of, text, .. }) => {
            format!("* {} edited #{of}: {}", by(room.as_ref(), client_id, to.as_ref()), harmless(text))
        }
        ServerEvent::Deleted(DeletedEvent { room, client_id, to, of, .. }) => {
            format!("* {} deleted #{of}", by(room.as_ref(), client_id, to.as_ref()))
        }
        ServerEvent::Reaction(ReactionEvent { room, client_id, to, emoji, of, removed, .. }) => {
            // Who takes back a reaction that is not there is told to the members, too. So the line says what holds now.
            let did = if *removed { "does not react with" } else { "reacted with" };
            let emoji = harmless(emoji.as_str());
            format!("* {} {did} {emoji} to #{of}", by(room.as_ref(), client_id, to.as_ref()))
        }
        ServerEvent::Settings(SettingsEvent { room, settings, before }) => {
            let told = before.as_ref().map_or_else(|| settings.to_string(), |before| settings.differing_from(before));
            format!("* {room}: {}", harmless(&told))
        }
        ServerEvent::Ack(_) | ServerEvent::Typing(_) | ServerEvent::Read(_) => return None,
        ServerEvent::Joined(joined) => {
            let gap = if joined.recovered == Some(false) { "; some messages are gone" } else { "" };
            match &joined.room {
                Some(room) => {
                    let settings = joined.settings.as_ref().map_or_else(String::new, |it| format!("; {it}"));
                    format!("* you are in {room}, {} here{gap}{}", joined.count, harmless(&settings))
                }
                None => format!("* your private messages arrive here{gap}"),
            }
        }
        ServerEvent::Left { room, .. } => format!("* you left {room}; /join ROOM to enter another one"),
        ServerEvent::Presence(presence) => {
            if presence.count > limits::CONSOLE_PRESENCE_MEMBERS_MAX {
                return None;
            }
            let came = presence.joined.iter().map(|name| format!("* {name} joined {}", presence.room));
            let went = presence.left.iter().map(|name| format!("* {name} left {}", presence.room));
            let lines: Vec<String> = came.chain(went).collect();
            if lines.is_empty() {
                return None;
            }
            lines.join("\n")
        }
        ServerEvent::Members(members) => {
            let more = if members.truncated { ", …" } else { "" };
            format!("* {} in {}: {}{more}", members.count, members.room, join_names(&members.client_ids))
        }
        ServerEvent::Rooms { rooms, truncated, .. } => {
            let mut lines: Vec<String> = rooms.iter().map(render_room).collect();
            if *truncated {
                lines.push("* …".into());
            }
            if lines.is_empty() {
                lines.push("* there are no rooms".into());
            }
            lines.join("\n")
        }
        ServerEvent::History(history) if history.messages.is_empty() => {
            format!("* no messages in {}", history.room.as_ref().map_or("private", RoomName::as_str))
        }
        ServerEvent::History(history) => history.messages.iter().map(render_numbered).collect::<Vec<_>>().join("\n"),
        ServerEvent::Pong { .. } => "* pong".into(),
        ServerEvent::Closing { reason, reconnect_after_ms } => {
            format!("* the server closes this connection: {reason}; reconnect in {reconnect_after_ms} ms")
        }
        ServerEvent::Error(refusal) => {
            let end = match (refusal.code, refusal.retry_after_ms) {
                (ErrorCode::Muted | ErrorCode::Banned, Some(wait)) => format!("; it ends in {}", wait_of(wait)),
                (ErrorCode::SlowMode, Some(wait)) => format!("; again in {}", wait_of(wait)),
                _ => String::new(),
            };
            format!("! {}{end}", harmless(&refusal.to_string()))
        }
    };
    Some(line)
}

/// All settings of a room in one line, also those that have the default.
pub fn settings_line(room: &RoomName, settings: &RoomSettings) -> String {
    format!("* {room}: {}", harmless(&settings.in_full()))
}

fn render_room(RoomSummary { room, count, topic, .. }: &RoomSummary) -> String {
    let topic = if topic.is_empty() { String::new() } else { format!("; {}", harmless(topic)) };
    format!("* {room}: {count} here{topic}")
}

fn render_message(message: &ChatMessage<'_>) -> String {
    let text = if message.deleted { "(deleted)".into() } else { harmless(&message.text) };
    let mut line = by(message.room.as_ref(), &message.client_id, message.to.as_ref());
    line.push_str(": ");
    line.push_str(&text);
    line
}

/// A message with its number, by which the lines about changes name it.
fn render_numbered(message: &ChatMessage<'_>) -> String {
    let line = render_message(message);
    match (message.seq, line.split_once(']')) {
        (Some(seq), Some((place, rest))) => format!("{place} #{seq}]{rest}"),
        _ => line,
    }
}

/// Where a client wrote or changed something, and who. In private both names, so that the client's own line shows whom it
/// reached.
fn by(room: Option<&RoomName>, client: &ClientId, to: Option<&ClientId>) -> String {
    let place = room.map_or("private", RoomName::as_str);
    match to {
        Some(to) => format!("[{place}] {client} to {to}"),
        None => format!("[{place}] {client}"),
    }
}

fn join_names(names: &[ClientId]) -> String {
    names.iter().map(ClientId::as_str).collect::<Vec<_>>().join(", ")
}

/// Whether a character changes the order of the characters around it (bidirectional controls), or breaks a line in some
/// terminals: a text with it looks like another one.
fn is_misleading(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() || is_misleading(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\n    "),
            '\t' => out.push('\t'),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            // Writing into a String cannot fail.
            c if is_misleading(c) => write!(out, "<U+{:04X}>", u32::from(c)).unwrap_or_default(),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{HistoryEvent, PresenceEvent};
    use crate::names::{Emoji, Seq};

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    fn parse(line: &str) -> Result<ConsoleCommand<'_>, Refusal> {
        parse_line(line, &CurrentRoom::Is(room("dev")))
    }

    fn message(text: &str) -> ConsoleCommand<'_> {
        ConsoleCommand::Command(ClientCommand::Message(PostMessage {
            text: text.into(),
            target: Target::Room(room("dev")),
            client_id: None,
            reply_to: None,
        }))
    }

    #[test]
    fn a_line_is_one_message_without_the_line_break_at_its_end() {
        assert_eq!(parse("hello everybody\r\n"), Ok(message("hello everybody")));
        assert_eq!(parse("//not a command"), Ok(message("/not a command")));
        assert_eq!(parse(" indented"), Ok(message(" indented")));
        assert_eq!(parse("\n").unwrap_err().code, ErrorCode::MessageEmpty);
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for line in ["/nick alice", "/join dev", "/msg bob psst", "/leave", "/leave dev", "/rooms", "/who", "/who dev"]
        {
            assert!(matches!(parse(line), Ok(ConsoleCommand::Command(_))), "{line}");
        }
        assert_eq!(parse("/help"), Ok(ConsoleCommand::Help));
        assert_eq!(parse("/settings"), Ok(ConsoleCommand::Settings { room: room("dev") }));
        assert!(parse("/settings dev").is_err() && parse_line("/settings", &CurrentRoom::Left).is_err());
        assert_eq!(parse("/quit\n"), Ok(ConsoleCommand::Quit));
        for line in [
            "/mute bob 10m spam",
            "/ban bob 7d spam",
            "/unmute bob",
            "/unban bob",
            "/slow 10s",
            "/slow off",
            "/topic TEXT",
            "/writers operators",
            "/access invited",
            "/invite bob",
            "/uninvite bob",
            "/newcomers off",
            "/retention 1000 30d",
            "/seen-by on",
        ] {
            assert!(matches!(parse(line), Ok(ConsoleCommand::Operate { .. })), "{line}");
            assert!(HELP.contains(line), "{line}");
        }
        assert!(matches!(
            parse("/history 3"),
            Ok(ConsoleCommand::Command(ClientCommand::History { limit: 3, page: HistoryPage::Newest, .. }))
        ));
        assert!(matches!(parse("/history"), Ok(ConsoleCommand::Command(ClientCommand::History { limit: 10, .. }))));
    }

    #[test]
    fn a_blank_before_a_command_does_not_publish_it() {
        for line in ["/msg bob psst", " /msg bob psst", "\t /msg bob psst\n", "\u{a0}/msg bob psst"] {
            let Ok(ConsoleCommand::Command(ClientCommand::Message(PostMessage { text, target, .. }))) = parse(line)
            else {
                panic!("{line:?} is no message")
            };
            assert_eq!((text.as_ref(), target), ("psst", Target::Client(ClientId::parse("bob").unwrap())), "{line:?}");
        }
        assert_eq!(parse(" /dance").unwrap_err().code, ErrorCode::UnknownType);
        assert_eq!(parse(" //not a command"), Ok(message("/not a command")));
    }

    #[test]
    fn what_is_no_command_says_so() {
        assert_eq!(parse("/dance").unwrap_err().code, ErrorCode::UnknownType);
        assert_eq!(parse("/nick").unwrap_err().code, ErrorCode::BadRequest);
        assert_eq!(parse("/nick a b").unwrap_err().code, ErrorCode::BadName);
        assert_eq!(parse("/join a/b").unwrap_err().code, ErrorCode::BadRoom);
        assert_eq!(parse("/msg bob").unwrap_err().code, ErrorCode::BadRequest);
        for line in ["/history many", "/history 0", "/history 201", "/history 70000", "/history -1"] {
            assert_eq!(parse(line).unwrap_err().message, "write /history [NUMBER], from 1 to 200", "{line}");
        }
        assert_eq!(parse_line("/leave", &CurrentRoom::First).unwrap_err().code, ErrorCode::BadRequest);
        for line in ["hello", "//hello", "/leave", "/who", "/history"] {
            assert_eq!(parse_line(line, &CurrentRoom::Left), Err(no_current_room()), "{line}");
        }
    }

    #[test]
    fn a_frame_is_a_line_unless_its_first_visible_character_is_a_brace() {
        for line in ["hello", "", " ", " [1]", "\u{feff}", "\u{feff}hello", "\u{feff}x{", "\"{\"", "x{"] {
            assert!(is_line(line), "{line:?}");
        }
        for json in
            ["{", " \n{\"type\"", "\u{feff}{", "\u{feff} \u{200b}{", "\u{a0}{", "\0{", "\u{2028}{", "\u{fffd}\u{fffd}{"]
        {
            assert!(!is_line(json), "{json:?}");
        }
    }

    fn said(text: &str) -> ServerEvent<'_> {
        let message = ChatMessage::new(ClientId::parse("alice").unwrap(), text.into(), 0);
        ServerEvent::Message(ChatMessage { room: Some(room("lobby")), ..message })
    }

    #[test]
    fn a_message_is_one_line_with_room_and_sender() {
        assert_eq!(render(&said("hello everybody")).unwrap(), "[lobby] alice: hello everybody");
    }

    #[test]
    fn a_message_can_neither_pose_as_another_nor_steer_the_terminal() {
        assert_eq!(render(&said("hi\n[lobby] bob: no")).unwrap(), "[lobby] alice: hi\n    [lobby] bob: no");
        assert_eq!(render(&said("\u{1b}[2J")).unwrap(), "[lobby] alice: \u{fffd}[2J");
    }

    #[test]
    fn characters_that_reorder_or_break_a_line_are_visible() {
        let cases = [
            ("\u{202e}olleh\u{202c}", "<U+202E>olleh<U+202C>"),
            ("a\u{2067}b\u{2069}c\u{61c}", "a<U+2067>b<U+2069>c<U+061C>"),
            ("a\u{200e}\u{200f}", "a<U+200E><U+200F>"),
            ("a\u{2028}* bob joined lobby\u{2029}", "a<U+2028>* bob joined lobby<U+2029>"),
            ("عربي עברית 👩\u{200d}💻", "عربي עברית 👩\u{200d}💻"),
        ];
        for (text, shown) in cases {
            assert_eq!(render(&said(text)).unwrap(), format!("[lobby] alice: {shown}"));
        }
        let refusal = Refusal::new(ErrorCode::UnknownType, "there is no command /\u{202e}");
        assert_eq!(render(&ServerEvent::Error(refusal)).unwrap(), "! unknown_type: there is no command /<U+202E>");
    }

    #[test]
    fn a_private_message_names_both_clients() {
        let ServerEvent::Message(message) = said("psst") else { panic!("not a message") };
        let private = ChatMessage { room: None, to: Some(ClientId::parse("bob").unwrap()), ..message };
        assert_eq!(render(&ServerEvent::Message(private)).unwrap(), "[private] alice to bob: psst");
    }

    #[test]
    fn only_the_history_numbers_the_messages() {
        let ServerEvent::Message(message) = said("a ] b\nc") else { panic!("not a message") };
        let message = ChatMessage { seq: Some(Seq(12)), ..message };
        assert_eq!(render(&ServerEvent::Message(message.clone())).unwrap(), "[lobby] alice: a ] b\n    c");
        let history = HistoryEvent {
            id: None,
            room: message.room.clone(),
            inbox: false,
            to: None,
            messages: vec![message.clone(), ChatMessage { seq: None, ..message }],
            has_more: false,
        };
        let lines = render(&ServerEvent::History(history)).unwrap();
        assert_eq!(lines, "[lobby #12] alice: a ] b\n    c\n[lobby] alice: a ] b\n    c");
    }

    #[test]
    fn the_line_about_new_settings_tells_what_has_changed() {
        let of = |text: &str| Box::new(serde_json::from_str::<RoomSettings>(text).unwrap());
        let topic = r#"{"topic":"tests"}"#;
        for (before, settings, line) in [
            (None, topic, "* dev: topic \"tests\""),
            (Some(r#"{"topic":"tests","slowSeconds":5}"#), topic, "* dev: slow off"),
            (Some(topic), "{}", "* dev: topic off"),
            (Some(topic), r#"{"topic":"tests","writers":"operators"}"#, "* dev: writers operators"),
            (Some(r#"{"access":"invited"}"#), topic, "* dev: topic \"tests\", access everyone"),
            (Some(r#"{"newcomersSeeHistory":false}"#), "{}", "* dev: newcomers on"),
            (Some(r#"{"topic":"tests","retention":{"messages":9}}"#), topic, "* dev: retention server"),
            (Some(r#"{"topic":"tests","seenBy":true}"#), topic, "* dev: seen-by server"),
        ] {
            let event = SettingsEvent { room: room("dev"), settings: of(settings), before: before.map(of) };
            assert_eq!(render(&ServerEvent::Settings(event)).unwrap(), line);
        }
    }

    #[test]
    fn the_words_of_the_console_may_be_written_in_capital_letters() {
        for (line, small) in [
            ("/JOIN Dev", "/join Dev"),
            ("/Help", "/help"),
            ("/TOPIC OFF", "/topic OFF"),
            ("/Seen-By on", "/seen-by on"),
        ] {
            assert_eq!(parse(line), parse(small), "{line}");
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_change_tells_where_and_whose_as_a_message_does() {
        let bob = || ClientId::parse("bob").unwrap();
        let places = [(Some(room("dev")), None, "[dev] bob"), (None, Some("alice"), "[private] bob to alice")];
        for (room, to, by) in places {
            let to = to.map(|to| ClientId::parse(to).unwrap());
            let edited = |text: &'static str| {
                let (room, to, text) = (room.clone(), to.clone(), text.into());
                ServerEvent::Edited(EditedEvent {
                    room,
                    seq: Seq(9),
                    of: Seq(7),
                    client_id: bob(),
                    text,
                    to,
                    at: 0,
                    id: None,
                })
            };
            let deleted = {
                let (room, to) = (room.clone(), to.clone());
                ServerEvent::Deleted(DeletedEvent {
                    room,
                    seq: Seq(9),
                    of: Seq(7),
                    client_id: bob(),
                    to,
                    at: 0,
                    id: None,
                })
            };
            let reaction = |removed| {
                let (room, to, emoji) = (room.clone(), to.clone(), Emoji::parse("👍").unwrap());
                let (seq, of, client_id) = (Seq(9), Seq(7), bob());
                ServerEvent::Reaction(ReactionEvent { room, seq, of, client_id, emoji, removed, to, at: 0, id: None })
            };
            for (event, did) in [
                (edited("hi\nall"), Some("edited #7: hi\n    all")),
                (edited(""), None),
                (deleted, Some("deleted #7")),
                (reaction(false), Some("reacted with 👍 to #7")),
                (reaction(true), Some("does not react with 👍 to #7")),
            ] {
                assert_eq!(render(&event), did.map(|did| format!("* {by} {did}")));
            }
        }
    }

    #[test]
    fn presence_is_shown_in_rooms_of_at_most_50() {
        let presence = |count| {
            ServerEvent::Presence(PresenceEvent {
                room: room("dev"),
                joined: vec![ClientId::parse("bob").unwrap()],
                left: vec![],
                count,
            })
        };
        assert_eq!(render(&presence(50)).as_deref(), Some("* bob joined dev"));
        assert_eq!(render(&presence(51)), None);
    }

    #[test]
    fn an_empty_list_of_rooms_is_told() {
        // An empty text frame was sent once.
        let rooms = ServerEvent::Rooms { id: None, rooms: vec![], truncated: false };
        assert_eq!(render(&rooms).as_deref(), Some("* there are no rooms"));
    }

    #[test]
    fn an_error_is_a_line_with_its_code() {
        let refusal = Refusal::new(ErrorCode::NameTaken, "the name alice is in use");
        assert_eq!(render(&ServerEvent::Error(refusal)).unwrap(), "! name_taken: the name alice is in use");
    }

    #[test]
    fn what_a_moderator_forbids_says_when_it_ends() {
        for (code, wait, line) in [
            (ErrorCode::Muted, None, "! muted: spam"),
            (ErrorCode::Muted, Some(599_001), "! muted: spam; it ends in 10m"),
            (ErrorCode::Banned, Some(99_000), "! banned: spam; it ends in 99s"),
            (ErrorCode::Banned, Some(7_200_000), "! banned: spam; it ends in 2h"),
            (ErrorCode::Banned, Some(604_800_000), "! banned: spam; it ends in 1w"),
            (ErrorCode::SlowMode, Some(1), "! slow_mode: spam; again in 1s"),
            (ErrorCode::RateLimited, Some(1), "! rate_limited: spam"),
        ] {
            let refusal = Refusal { retry_after_ms: wait, ..Refusal::new(code, "spam") };
            assert_eq!(render(&ServerEvent::Error(refusal)).unwrap(), line);
        }
    }
}

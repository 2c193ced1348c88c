//! `docs/protocol.md` agrees with the code.

use std::collections::BTreeSet;
use std::fs;

use starling_protocol::{CloseCode, ErrorCode, console, limits};

use crate::golden::{COMMAND_KINDS, EVENT_KINDS, frames};

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md")).unwrap()
}

/// The text between this heading and the next one of its level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rest = &page[start + heading.len() + 2..];
    let rank = heading.split(' ').next().unwrap();
    rest.find(&format!("\n{rank} ")).map_or(rest, |end| &rest[..end])
}

/// The cells of the table of a section, without its head.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The fenced blocks of a text: the text after the fence, and the lines.
fn blocks(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(mark), None) => open = Some((mark, Vec::new())),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some((mark, mut lines))) => {
                lines.push(line);
                open = Some((mark, lines));
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// The frames of a block; an indented line continues the frame before it.
fn examples(lines: &[&str]) -> Vec<String> {
    let mut frames: Vec<String> = Vec::new();
    for line in lines {
        match frames.last_mut() {
            Some(frame) if line.starts_with(' ') => frame.push_str(line.trim_start()),
            _ => frames.push((*line).to_owned()),
        }
    }
    frames
}

#[test]
fn every_example_is_a_golden_frame() {
    let page = page();
    let golden = |direction| -> BTreeSet<String> { frames(direction).into_iter().map(|(_, frame)| frame).collect() };
    let (commands, events) = (golden("commands"), golden("events"));
    for (mark, lines) in blocks(&page) {
        let known = match mark {
            "json command" => &commands,
            "json event" => &events,
            "text" => continue,
            other => panic!("a block is marked {other:?}: neither `json command` nor `json event` nor `text`"),
        };
        for example in examples(&lines) {
            assert!(known.contains(&example), "no golden {mark} is {example}");
        }
    }
}

#[test]
fn every_type_is_described_with_an_example() {
    let page = page();
    for (part, mark, kinds) in [
        ("## Frames from the client", "json command", COMMAND_KINDS),
        ("## Frames from the server", "json event", EVENT_KINDS),
    ] {
        let part = section(&page, part);
        for kind in kinds {
            let described = section(part, &format!("### `{kind}`"));
            let frames: Vec<String> =
                blocks(described).iter().filter(|block| block.0 == mark).flat_map(|block| examples(&block.1)).collect();
            assert!(!frames.is_empty(), "{kind} has no example");
            for frame in frames {
                let fields: serde_json::Value = serde_json::from_str(&frame).unwrap();
                assert_eq!(fields.get("type").map_or("message", |tag| tag.as_str().unwrap()), *kind, "{frame}");
            }
        }
        let headings = part.lines().filter(|line| line.starts_with("### ")).count();
        assert_eq!(headings, kinds.len(), "a type is described that is none");
    }
}

#[test]
fn every_field_of_the_golden_frames_is_named() {
    fn names(value: &serde_json::Value, into: &mut BTreeSet<String>) {
        for value in value.as_array().into_iter().flatten() {
            names(value, into);
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            into.insert(name.clone());
            names(value, into);
        }
    }
    let page = page();
    let mut fields = BTreeSet::new();
    for (_, frame) in frames("commands").into_iter().chain(frames("events")) {
        names(&serde_json::from_str(&frame).unwrap(), &mut fields);
    }
    for field in fields {
        let named = [format!("`{field}`"), format!("\"{field}\":"), format!("`limits.{field}`")];
        assert!(named.iter().any(|form| page.contains(form)), "{field}");
    }
}

#[test]
fn every_error_code_stands_in_its_table() {
    let page = page();
    let told: Vec<&str> = rows(section(&page, "## Error codes")).iter().map(|row| row[0].trim_matches('`')).collect();
    let known: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(told, known);
}

#[test]
fn every_close_code_stands_in_its_table() {
    let page = page();
    let told: Vec<u16> = rows(section(&page, "## Close codes")).iter().map(|row| row[0].parse().unwrap()).collect();
    let known: Vec<u16> = CloseCode::ALL.iter().map(|code| code.as_u16()).collect();
    assert_eq!(told, known);
}

#[test]
fn every_row_of_a_table_says_when_and_what_to_do() {
    let page = page();
    for (heading, columns) in [("## The handshake", 2..=4), ("## Error codes", 3..=3), ("## Close codes", 3..=3)] {
        for row in rows(section(&page, heading)) {
            assert!(columns.contains(&row.len()) && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
    }
}

#[test]
fn the_fixed_limits_are_those_of_the_code() {
    let page = page();
    let told: Vec<String> = rows(section(&page, "## Fixed limits")).iter().map(|row| row[1].to_owned()).collect();
    let known = [
        limits::NAME_BYTES_MAX.to_string(),
        limits::MESSAGE_ID_CHARS_MAX.to_string(),
        limits::TOPIC_BYTES_MAX.to_string(),
        limits::EMOJI_BYTES_MAX.to_string(),
        limits::EMOJIS_PER_MESSAGE_MAX.to_string(),
        limits::REACTIONS_PER_MESSAGE_MAX.to_string(),
        limits::REACTION_NAMES_MAX.to_string(),
        limits::HISTORY_LIMIT_MAX.to_string(),
        limits::HISTORY_LIMIT_DEFAULT.to_string(),
        limits::CONSOLE_HISTORY_DEFAULT.to_string(),
        limits::MEMBERS_LISTED_MAX.to_string(),
        limits::ROOMS_LISTED_MAX.to_string(),
        limits::PRESENCE_NAMES_MAX.to_string(),
        limits::TYPING_NAMES_MAX.to_string(),
        limits::TYPING_MEMBERS_MAX.to_string(),
        (limits::TYPING_COUNTS_EVERY_MS / 1_000).to_string(),
        limits::SEEN_BY_MEMBERS_MAX.to_string(),
        limits::CONSOLE_PRESENCE_MEMBERS_MAX.to_string(),
        limits::ERRORS_IN_A_ROW_MAX.to_string(),
        limits::CONNECTIONS_PER_CLIENT_MAX.to_string(),
        limits::PROOF_SECONDS.to_string(),
    ];
    assert_eq!(told, known);
}

#[test]
fn the_console_is_described_by_its_own_help() {
    let page = page();
    assert!(section(&page, "## By hand").contains(&format!("```text\n{}\n```", console::HELP)));
}

#[test]
fn every_link_within_the_page_leads_to_a_heading() {
    let page = page();
    let anchor =
        |heading: &str| heading.replace('`', "").trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
    let anchors: BTreeSet<String> = page.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    for link in page.split("](#").skip(1) {
        let link = link.split(')').next().unwrap();
        assert!(anchors.contains(link), "#{link}");
    }
}

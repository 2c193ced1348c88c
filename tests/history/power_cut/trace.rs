//! The system calls of a server, recorded with strace: the changes to its files, and the data sent to its clients.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The recorded calls: all that change or sync a file, and all that send data.
const CALLS: &str = "trace=openat,?open,?creat,?mkdir,mkdirat,?unlink,unlinkat,?rename,?renameat,renameat2,?link,linkat,\
                     pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,ftruncate,truncate,fallocate,\
                     copy_file_range,sendfile,fsync,fdatasync,sync_file_range";

/// strace with its arguments. With `-D` strace runs as a child of the server, so signals to the process reach the
/// server.
pub(super) fn strace(output: &str) -> [&str; 11] {
    // Complete contents and the path of each file descriptor, in hexadecimal digits.
    ["strace", "-D", "-f", "--seccomp-bpf", "-y", "-xx", "-s4000000", "-o", output, "-e", CALLS]
}

/// Whether strace has written all events of a process that has ended.
pub(super) fn is_complete(output: &Path, process: u32) -> bool {
    let mut file = fs::File::open(output).unwrap();
    let size = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(size.saturating_sub(4_096))).unwrap();
    let mut tail = String::new();
    file.read_to_string(&mut tail).unwrap();
    tail.lines().any(|line| line.starts_with(&format!("{process} ")) && line.contains(" +++ "))
}

/// The effect of a call.
#[derive(Debug)]
pub(super) enum Action {
    /// Creates a file or folder. Opening an existing file with `O_CREAT` counts, too.
    Create(PathBuf),
    Unlink(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Truncate(PathBuf, u64),
    /// Syncs a file, or the names in a folder.
    Sync(PathBuf),
    /// Sends messages or acknowledgements to a client. Contains the texts or `id`s of the messages.
    Tell(Vec<String>),
}

/// A call with an effect. `begun` and `ended` are positions in the order of all recorded events.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) action: Action,
    pub(super) begun: usize,
    /// `usize::MAX` if the server ended before the call did.
    pub(super) ended: usize,
}

/// Reads strace's output for a server that ran in this folder. The events are numbered from `first`.
///
/// # Panics
/// If a file in the folder is changed by a call that the simulation does not support.
pub(super) fn read(output: &Path, folder: &Path, first: usize) -> Vec<Call> {
    let text = fs::read_to_string(output).unwrap();
    let mut calls = Vec::new();
    // Calls that have begun and not ended, with their thread.
    let mut begun: Vec<(&str, &str, usize)> = Vec::new();
    for (number, line) in (first..).zip(text.lines()) {
        let (thread, event) = line.split_once(' ').unwrap();
        let event = event.trim_start();
        if event.starts_with("+++") || event.starts_with("---") {
            continue;
        }
        if let Some(call) = event.strip_suffix(" <unfinished ...>") {
            begun.push((thread, call, number));
        } else if let Some(resumed) = event.strip_prefix("<... ") {
            let place = begun.iter().position(|(of, ..)| *of == thread).unwrap();
            let (_, call, at) = begun.swap_remove(place);
            let rest = resumed.split_once(" resumed>").unwrap().1;
            calls.extend(parse(&format!("{call}{rest}"), folder).map(|action| Call {
                action,
                begun: at,
                ended: number,
            }));
        } else {
            calls.extend(parse(event, folder).map(|action| Call { action, begun: number, ended: number }));
        }
    }
    for (_, call, at) in begun {
        // The call may or may not have had an effect. It counts as begun and never ended.
        let action = parse(&format!("{call}) = ?"), folder);
        calls.extend(action.map(|action| Call { action, begun: at, ended: usize::MAX }));
    }
    calls.sort_by_key(|call| call.begun);
    calls
}

/// Parses a line of strace. `None` if the call failed, or does not concern the folder.
fn parse(line: &str, folder: &Path) -> Option<Action> {
    let (name, rest) = line.split_once('(').unwrap_or_else(|| panic!("not a call: {line:.200}"));
    let (arguments, result) = rest.rsplit_once(" = ").unwrap_or_else(|| panic!("no result: {line:.200}"));
    let result = result.split([' ', '<']).next().unwrap();
    if result.starts_with('-') {
        return None;
    }
    let result: Option<usize> = result.parse().ok();
    let strings: Vec<Vec<u8>> = arguments.split('"').skip(1).step_by(2).map(unescape).collect();
    // If the first argument is a file descriptor, the call concerns that file; otherwise the first path.
    let opened = arguments.starts_with(|first: char| first.is_ascii_digit()).then(|| {
        let path = arguments.split_once('<').unwrap().1.split_once('>').unwrap().0;
        as_path(unescape(path))
    });
    let path = match &opened {
        Some(path) => path.clone(),
        None => folder.join(as_path(strings.first().cloned().unwrap_or_default())),
    };
    // The index of the log is in memory, and SQLite rebuilds it from the log.
    let is_ours = path.starts_with(folder) && !path.to_string_lossy().ends_with("-shm");
    let last_numbers =
        || arguments.trim_end().trim_end_matches(')').rsplit(", ").map_while(|number| number.parse().ok());
    match name {
        "write" | "writev" | "sendto" | "sendmsg" if !is_ours => {
            let texts = told(&strings.concat());
            (!texts.is_empty()).then_some(Action::Tell(texts))
        }
        _ if !is_ours => None,
        "openat" if arguments.contains("O_TRUNC") => panic!("not simulated: {line:.400}"),
        "openat" => arguments.contains("O_CREAT").then_some(Action::Create(path)),
        "mkdir" | "mkdirat" => Some(Action::Create(path)),
        "unlink" | "unlinkat" => Some(Action::Unlink(path)),
        "fsync" | "fdatasync" => Some(Action::Sync(path)),
        "ftruncate" => Some(Action::Truncate(path, last_numbers().next().unwrap())),
        "pwrite64" => {
            let mut bytes = strings.concat();
            bytes.truncate(result.unwrap_or(bytes.len()));
            Some(Action::Write(path, last_numbers().next().unwrap(), bytes))
        }
        _ => panic!("not simulated: {line:.400}"),
    }
}

/// The texts of the delivered messages, and the `id`s of the acknowledgements.
fn told(sent: &[u8]) -> Vec<String> {
    let events = (0..sent.len()).filter(|start| sent[*start..].starts_with(b"{\"type\":\""));
    let events =
        events.filter_map(|start| serde_json::Deserializer::from_slice(&sent[start..]).into_iter().next()?.ok());
    let texts = events.filter_map(|event: Value| {
        let field = match event["type"].as_str()? {
            "ack" => "id",
            "message" => "Message",
            _ => return None,
        };
        event[field].as_str().map(str::to_owned)
    });
    texts.collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").unwrap_or_default();
    digits.split("\\x").filter(|digits| !digits.is_empty()).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn as_path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8(bytes).unwrap().into()
}

//! The system calls of a server, recorded with strace: what it did to its files, and what it told its clients.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What strace records: all that changes a file or says when it is on the disk, and all that is sent.
const CALLS: &str = "trace=openat,?open,?creat,?mkdir,mkdirat,?unlink,unlinkat,?rename,?renameat,renameat2,?link,linkat,\
                     pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,ftruncate,truncate,fallocate,\
                     copy_file_range,sendfile,fsync,fdatasync,sync_file_range";

/// strace and its arguments. The server is the child, and strace the child of the server, so signals go to the server.
pub(super) fn strace(output: &str) -> [&str; 11] {
    // Whole contents, and the path of each file descriptor, all of it in hexadecimal digits.
    ["strace", "-D", "-f", "--seccomp-bpf", "-y", "-xx", "-s4000000", "-o", output, "-e", CALLS]
}

/// Whether strace has written everything about a process that has ended.
pub(super) fn is_complete(output: &Path, process: u32) -> bool {
    let mut file = fs::File::open(output).unwrap();
    let size = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(size.saturating_sub(4_096))).unwrap();
    let mut tail = String::new();
    file.read_to_string(&mut tail).unwrap();
    tail.lines().any(|line| line.starts_with(&format!("{process} ")) && line.contains(" +++ "))
}

/// What a call does.
#[derive(Debug)]
pub(super) enum Action {
    /// Of a file or a folder; also the opening of one that is there.
    Create(PathBuf),
    Unlink(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Truncate(PathBuf, u64),
    /// Of a file, or of the names in a folder.
    Sync(PathBuf),
    /// The texts of the messages that a client is told to be stored: acknowledged or delivered.
    Tell(Vec<String>),
}

/// A call with effect; its place in the order of all events of the recording, at its begin and at its end.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) action: Action,
    pub(super) begun: usize,
    /// `usize::MAX`: the server ended before.
    pub(super) ended: usize,
}

/// Reads what strace wrote of a server that ran in this folder. Its events have the numbers from `first` on.
///
/// # Panics
/// Where a file in the folder is changed in a way that is not simulated.
pub(super) fn read(output: &Path, folder: &Path, first: usize) -> Vec<Call> {
    let text = fs::read_to_string(output).unwrap();
    let mut calls = Vec::new();
    // Calls that have begun, of each thread.
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
        // Whether it had an effect is not known: as if it had, but it is not over.
        let action = parse(&format!("{call}) = ?"), folder);
        calls.extend(action.map(|action| Call { action, begun: at, ended: usize::MAX }));
    }
    calls.sort_by_key(|call| call.begun);
    calls
}

/// What a line of strace says. `None`: it failed, or has nothing to do with the folder.
fn parse(line: &str, folder: &Path) -> Option<Action> {
    let (name, rest) = line.split_once('(').unwrap_or_else(|| panic!("not a call: {line:.200}"));
    let (arguments, result) = rest.rsplit_once(" = ").unwrap_or_else(|| panic!("no result: {line:.200}"));
    let result = result.split([' ', '<']).next().unwrap();
    if result.starts_with('-') {
        return None;
    }
    let result: Option<usize> = result.parse().ok();
    let strings: Vec<Vec<u8>> = arguments.split('"').skip(1).step_by(2).map(unescape).collect();
    // With a file descriptor in front it is about that file, else about the first path.
    let opened = arguments.starts_with(|first: char| first.is_ascii_digit()).then(|| {
        let path = arguments.split_once('<').unwrap().1.split_once('>').unwrap().0;
        as_path(unescape(path))
    });
    let path = match &opened {
        Some(path) => path.clone(),
        None => folder.join(as_path(strings.first().cloned().unwrap_or_default())),
    };
    // The index of the log is in memory, and made anew from the log.
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

/// The texts of the messages that a client is sent or acknowledged.
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

//! The position at which a starting node begins to read.

use super::log::LogState;
use super::record::{LogPosition, RecordId};
use crate::history::LogMark;

/// The position at which a starting node begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The checkpoint with its state; `None`: it begins with an empty state.
    pub checkpoint: Option<RecordId>,
    /// The newest record in its history. Records up to it change only the state.
    pub kept_upto: LogPosition,
    /// Whether records between its history and the checkpoint are gone. Then the messages of rooms that have got newer
    /// ones since are dropped.
    pub has_gap: bool,
}

/// The reason that a node does not start. A node never guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotStart {
    /// The history has messages and followed no log.
    #[error(
        "the history has messages of a server without other nodes, and the log does not have them; start this node with \
         an empty folder, or this server without CHAT_NATS_URL"
    )]
    Alone,
    /// The history followed another log.
    #[error(
        "the history belongs to another log than the one that NATS has now: the stream was made again, or CHAT_NATS_URL \
         or CHAT_NATS_STREAM names another one; if that is wanted, start this node with an empty folder"
    )]
    OtherLog,
    /// The log lacks records that the history has.
    #[error(
        "the log ends at record {last}, but the history has records up to {kept}: the log has lost records; if you \
         accept that, start this node with an empty folder"
    )]
    Lost {
        /// The newest record of the log.
        last: u64,
        /// The newest record in the history.
        kept: u64,
    },
    /// The log lacks the newest record that the history has, and has another one in its place.
    #[error(
        "record {0} of the log is not the one that the history has: the log has lost records, and others took their \
         place; if you accept that, start this node with an empty folder"
    )]
    Replaced(u64),
    /// The first records of the log are gone, and no checkpoint is stored.
    #[error(
        "the log begins at record {0}, and NATS has no checkpoint from which this node could begin; start it again when \
         another node has stored one, or, if none runs, start all nodes with empty folders and a new CHAT_NATS_STREAM"
    )]
    NoCheckpoint(u64),
}

/// Finds the position to begin at, for a node whose history has this mark. `has_rooms`: whether the history contains rooms.
/// `there`: the record of the log at the mark; `None` if the log no longer has it.
///
/// # Errors
/// [`CannotStart`].
pub fn start(
    view: Option<LogMark>,
    has_rooms: bool,
    log: &LogState,
    there: Option<RecordId>,
) -> Result<Start, CannotStart> {
    if view.is_none() && has_rooms {
        return Err(CannotStart::Alone);
    }
    let begins_whole = log.first.0 <= 1;
    let beginning = begins_whole.then_some(None);
    let mut places = beginning.into_iter().chain(log.checkpoints.iter().copied().map(Some));
    let Some(oldest) = places.clone().next() else { return Err(CannotStart::NoCheckpoint(log.first.0)) };
    let Some(view) = view else {
        // It reads the whole log, to get the messages.
        return Ok(Start { checkpoint: oldest, kept_upto: LogPosition(0), has_gap: false });
    };
    if view.log != log.id {
        return Err(CannotStart::OtherLog);
    }
    if view.position > log.last.0 {
        return Err(CannotStart::Lost { last: log.last.0, kept: view.position });
    }
    // If the log no longer has the record of the mark, nothing proves that it had the same records before: a checkpoint
    // contains the numbers of messages, but not the messages.
    if view.at_nanos.zip(there).is_some_and(|(kept, there)| there.nanos != kept) {
        return Err(CannotStart::Replaced(view.position));
    }
    let reached = |at: &Option<RecordId>| at.is_none_or(|at| at.position.0 <= view.position);
    let newest = places.by_ref().take_while(reached).last();
    Ok(match newest {
        Some(checkpoint) => Start { checkpoint, kept_upto: LogPosition(view.position), has_gap: false },
        None => Start { checkpoint: oldest, kept_upto: LogPosition(0), has_gap: true },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_begins_at_the_newest_checkpoint_that_its_history_has_reached() {
        /// The record that the log has at a position.
        fn record(position: u64) -> RecordId {
            RecordId { position: LogPosition(position), nanos: 1_000 + position }
        }
        let log = |first, last, checkpoints: &[u64]| LogState {
            id: 7,
            first: LogPosition(first),
            last: LogPosition(last),
            checkpoints: checkpoints.iter().copied().map(record).collect(),
        };
        let mark = |position| Some(LogMark { log: 7, position, at_nanos: Some(1_000 + position) });
        let lost = |position| Some(LogMark { log: 7, position, at_nanos: Some(999 + position) });
        let older = |position| Some(LogMark { log: 7, position, at_nanos: None });
        let at = |checkpoint: u64, kept_upto, has_gap| {
            let checkpoint = (checkpoint > 0).then(|| record(checkpoint));
            Ok(Start { checkpoint, kept_upto: LogPosition(kept_upto), has_gap })
        };
        let other = Some(LogMark { log: 8, position: 1, at_nanos: Some(1_001) });
        let cases = [
            ("nothing was ever written", None, log(1, 0, &[]), at(0, 0, false)),
            ("an empty folder reads everything", None, log(1, 90, &[50]), at(0, 0, false)),
            ("an empty folder, a trimmed log", None, log(50, 90, &[50, 80]), at(50, 0, false)),
            ("a folder that has read nothing", older(0), log(1, 90, &[50]), at(0, 0, false)),
            ("an old folder", mark(70), log(1, 90, &[50, 80]), at(50, 70, false)),
            ("a folder at a checkpoint", mark(80), log(50, 90, &[50, 80]), at(80, 80, false)),
            ("a folder before the first checkpoint", mark(20), log(1, 90, &[50]), at(0, 20, false)),
            ("a folder at the end of the log", mark(90), log(1, 90, &[]), at(0, 90, false)),
            ("a folder that is too old", mark(20), log(50, 90, &[50, 80]), at(50, 0, true)),
            ("a folder of a version that noted no times", older(70), log(1, 90, &[]), at(0, 70, false)),
            ("another log", other, log(1, 90, &[]), Err(CannotStart::OtherLog)),
            ("a log that has lost records", mark(91), log(1, 90, &[]), Err(CannotStart::Lost { last: 90, kept: 91 })),
            ("others took their place", lost(70), log(1, 90, &[50]), Err(CannotStart::Replaced(70))),
            ("at the end of the log", lost(90), log(1, 90, &[]), Err(CannotStart::Replaced(90))),
            ("at a checkpoint", lost(50), log(50, 90, &[50]), Err(CannotStart::Replaced(50))),
            ("too old to be compared", lost(20), log(50, 90, &[50, 80]), at(50, 0, true)),
            ("a log without its beginning", None, log(51, 90, &[]), Err(CannotStart::NoCheckpoint(51))),
        ];
        for (what, view, log, expected) in cases {
            let is_there = |position: &u64| (log.first.0..=log.last.0).contains(position);
            let there = view.map(|mark| mark.position).filter(is_there).map(record);
            assert_eq!(start(view, view.is_some(), &log, there), expected, "{what}");
        }
        assert_eq!(start(None, true, &log(1, 90, &[]), None), Err(CannotStart::Alone));
    }
}

//! The reasons for which a node cannot follow the log any more.

use starling_actors::nodes::record::BadRecord;

/// The node ends with this line for the operator. It never guesses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fatal {
    /// A record cannot be read.
    #[error("cannot read record {position} of the log: {reason}{}", advice(*reason))]
    Bad {
        /// Its place.
        position: u64,
        /// The error.
        reason: BadRecord,
    },
    /// The stream was deleted.
    #[error(
        "NATS has no stream {0} any more: the log is gone; if nobody can put it back, start all nodes with empty folders"
    )]
    Gone(String),
    /// The stream was deleted and made again.
    #[error(
        "the stream {0} is another one than when this node started: the log is gone; if nobody can put it back, start \
         all nodes with empty folders"
    )]
    Another(String),
    /// The log ends before a record that was read.
    #[error(
        "the log ends at record {last}, but this node has read record {read}: the log has lost records; if you accept \
         that, start this node with an empty folder"
    )]
    Lost {
        /// The newest record of the log.
        last: u64,
        /// The newest record that was read.
        read: u64,
    },
    /// Another record has taken the place of one that was read.
    #[error(
        "record {0} of the log is not the one that this node has read: the log has lost records, and others took their \
         place; if you accept that, start this node with an empty folder"
    )]
    Differs(u64),
    /// Records are gone that were not read.
    #[error(
        "the records {from} to {to} are not in the log any more, and this node has not read them; start it again: it \
         begins at a checkpoint; if this line comes again, start it with a backup of another node, or a copy of its \
         folder"
    )]
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// The connection cannot be used any more.
    #[error("the connection to NATS has ended for good: {0}; look at the log of NATS, and start this node again")]
    Closed(String),
}

/// Advice for the operator about a record that cannot be read.
fn advice(reason: BadRecord) -> &'static str {
    match reason {
        // It says itself what to do.
        BadRecord::Newer { .. } => "",
        BadRecord::Foreign => {
            "; find what else publishes into the stream, and start all nodes with empty folders and a new CHAT_NATS_STREAM"
        }
    }
}

//! The operator's commands on the stored history: `starling history check|export|drop|vacuum`, `starling backup` and
//! `starling restore`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use starling_actors::history::sqlite::backup;
use starling_actors::history::sqlite::operator::{self, CheckReport, OperatorError};
use starling_actors::history::{RoomKey, StoredMessage};
use starling_protocol::{ClientId, Emoji, Epoch, MessageId, RoomName, Seq};

use crate::config::Config;

/// A command on the stored history.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Checks the whole history and reports problems; changes nothing; may run while the server runs
    Check,
    /// Prints the history as JSON lines, room by room, the oldest message first; may run while the server runs
    Export {
        /// Only this room
        #[arg(long)]
        room: Option<RoomName>,
    },
    /// Drops a room or an inbox with all its messages; not while the server runs
    Drop {
        /// This room
        #[arg(long, required_unless_present = "inbox", conflicts_with = "inbox")]
        room: Option<RoomName>,
        /// The private messages of this client
        #[arg(long, value_name = "NAME")]
        inbox: Option<ClientId>,
    },
    /// Gives the space of dropped messages back to the file system; not while the server runs
    Vacuum,
}

/// Writes a backup of the stored history.
#[derive(Debug, Args)]
pub struct BackupCommand {
    /// The file to create; it must not exist yet
    file: PathBuf,
}

/// Makes the stored history from a backup.
#[derive(Debug, Args)]
pub struct RestoreCommand {
    /// The file that `starling backup` has written
    file: PathBuf,
    /// Overwrite the existing history
    #[arg(long)]
    replace: bool,
}

impl BackupCommand {
    /// Backs up the history of this configuration.
    ///
    /// # Errors
    /// The reason that no backup was made.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
        let report = backup::backup(&config.sqlite().path, &self.file)?;
        Ok(writeln!(out, "{}: {}", self.file.display(), contents(&report))?)
    }
}

impl RestoreCommand {
    /// Replaces the history of this configuration.
    ///
    /// # Errors
    /// The reason that the history is unchanged.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
        let settings = config.sqlite();
        let report = backup::restore(&settings, &self.file, self.replace)?;
        Ok(writeln!(out, "{}: {}", settings.path.display(), contents(&report))?)
    }
}

fn contents(CheckReport { version, rooms, messages, .. }: &CheckReport) -> String {
    format!("version {version}, {}, {}", counted(*rooms, "room"), counted(*messages, "message"))
}

fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A line of an export.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    /// The room's name, or `@` and the owner's name for an inbox.
    room: String,
    epoch: Epoch,
    seq: Seq,
    at: u64,
    client_id: &'a ClientId,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a ClientId>,
    /// The newest one; absent if the message was deleted.
    #[serde(rename = "Message", skip_serializing_if = "str::is_empty")]
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<Reactions<'a>>,
}

/// All reactions to a message with one emoji.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reactions<'a> {
    emoji: &'a Emoji,
    client_ids: &'a [ClientId],
}

impl<'a> Line<'a> {
    fn of(message: &'a StoredMessage, epoch: Epoch) -> Self {
        let changes = message.changes.as_deref();
        let reactions = changes.into_iter().flat_map(|changes| &changes.reactions);
        Self {
            room: message.room.to_string(),
            epoch,
            seq: message.seq,
            at: message.at,
            client_id: &message.client_id,
            to: message.to.as_ref(),
            text: message.text(),
            id: message.id.as_ref(),
            reply_to: message.content.refers_to(),
            edited_at: changes.and_then(|changes| changes.edit).map(|(_, at)| at),
            deleted: message.is_deleted(),
            reactions: reactions.map(|(emoji, client_ids)| Reactions { emoji, client_ids }).collect(),
        }
    }
}

impl HistoryCommand {
    /// Runs the command on the history of this configuration.
    ///
    /// # Errors
    /// The reason that the command failed, or the number of problems that the check found.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<()> {
        let settings = config.sqlite();
        match self {
            Self::Check => {
                let report = operator::check(&settings.path)?;
                writeln!(out, "{}", contents(&report))?;
                for problem in &report.problems {
                    writeln!(out, "{problem}")?;
                }
                if !report.problems.is_empty() {
                    bail!("the history {} is damaged: {} problems", settings.path.display(), report.problems.len());
                }
                writeln!(out, "no problem found")?;
            }
            Self::Export { room } => {
                let mut out = BufWriter::new(out);
                let exported = operator::export(&settings.path, room.as_ref(), |message, epoch| {
                    serde_json::to_writer(&mut out, &Line::of(message, epoch))?;
                    out.write_all(b"\n")
                });
                match exported.and_then(|()| Ok(out.flush()?)) {
                    // The reader of the pipe has closed it, as `head` does.
                    Err(OperatorError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
                    outcome => outcome?,
                }
            }
            Self::Drop { room, inbox } => {
                let key = match (room, inbox) {
                    (Some(room), _) => RoomKey::Room(room.clone()),
                    (None, Some(owner)) => RoomKey::Inbox(owner.clone()),
                    (None, None) => bail!("name a room or an inbox"),
                };
                let count = operator::drop_room(&settings, &key)?;
                writeln!(out, "{key} is dropped: {}", counted(count, "message"))?;
            }
            Self::Vacuum => {
                let (before, after) = operator::vacuum(&settings)?;
                writeln!(out, "{before} bytes before, {after} bytes after")?;
            }
        }
        Ok(())
    }
}

//! Whether the files at a path and beside it are this program's. It is found out by reading their first bytes, before any
//! of them is locked, made or changed: a path may name a file of somebody else.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::continuity::NotedStamps;
use super::file::beside;
use super::schema::APPLICATION_ID;
use super::search::{APPLICATION_ID as INDEX_ID, ENDING};

/// What every SQLite database begins with.
const DATABASE: &[u8] = b"SQLite format 3\0";

/// What the files beside a database begin with. One that was not synced may begin with zeros after a power cut.
const OF_SQLITE: [(&str, &[u8]); 3] =
    [("-wal", &[0x37, 0x7f, 0x06]), ("-shm", &3_007_000_u32.to_ne_bytes()), ("-journal", &[0xd9, 0xd5, 0x05, 0xf9])];

/// The ending of a database that is being restored and has not its name yet.
pub(super) const UNFINISHED: &str = ".restoring";

/// How many bytes tell whose a database is: its head, and the beginning of its table of tables.
const HEAD_BYTES: usize = 108;

/// Refuses a path where a file at it or beside it is somebody else's. A file that is not there or empty is nobody's.
pub(super) fn check(path: &Path) -> Result<(), OpenError> {
    check_database(path)?;
    check_beside(path)
}

/// Refuses a path where an operator's `--replace` would destroy what is somebody else's. A history whose beginning is lost is
/// known by the file that locks it.
pub(super) fn check_replaceable(path: &Path) -> Result<(), OpenError> {
    match check_database(path) {
        Err(OpenError::Damaged { .. }) if NotedStamps::are_beside(path) => {}
        outcome => outcome?,
    }
    check_beside(path)?;
    check_index(path)
}

/// Refuses a database of another program, and what is no database.
pub(super) fn check_database(path: &Path) -> Result<(), OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    match whose(path, APPLICATION_ID).map_err(of)? {
        Whose::Nobodys | Whose::Ours => Ok(()),
        Whose::Blank | Whose::NoDatabase => {
            let reason = "it does not begin as a database does".into();
            Err(OpenError::Damaged { path: path.to_owned(), reason })
        }
        Whose::AnotherPrograms => Err(OpenError::Foreign { path: path.to_owned() }),
        Whose::NoFile => Err(foreign(path, path.to_owned())),
    }
}

/// Refuses a path beside which somebody else's files have the names that SQLite and a restore give to theirs.
fn check_beside(path: &Path) -> Result<(), OpenError> {
    refuse(path, foreign_among(path, OF_SQLITE.into_iter().chain([(UNFINISHED, DATABASE)])))
}

/// Refuses a path where the search index, or a file that SQLite has beside it, is somebody else's.
pub(super) fn check_index(path: &Path) -> Result<(), OpenError> {
    refuse(path, foreign_index(path))
}

/// Refuses a path where a file is to be made, and SQLite would take one beside it for a part of it.
pub(super) fn check_new(path: &Path) -> Result<(), OpenError> {
    let there = OF_SQLITE.map(|(ending, _)| beside(path, ending));
    let there = there.into_iter().find(|file| fs::symlink_metadata(file).is_ok());
    refuse(path, Ok(there))
}

fn refuse(path: &Path, found: io::Result<Option<PathBuf>>) -> Result<(), OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    found.map_err(of)?.map_or(Ok(()), |file| Err(foreign(path, file)))
}

/// The error for a file beside a database.
pub(super) fn foreign(path: &Path, file: PathBuf) -> OpenError {
    OpenError::ForeignBeside { path: path.to_owned(), file }
}

/// The search index of a database, or a file that SQLite has beside it, where it is somebody else's.
///
/// An index is known by what it begins with. Its name says of which database it is: an index with several names is of several,
/// and one that was made from another database is made anew.
pub(super) fn foreign_index(database: &Path) -> io::Result<Option<PathBuf>> {
    let index = beside(database, ENDING);
    let has_names = fs::symlink_metadata(&index).is_ok_and(|metadata| metadata.nlink() > 1);
    // After a power cut it may be blank.
    let is_ours = matches!(whose(&index, INDEX_ID)?, Whose::Nobodys | Whose::Blank | Whose::Ours);
    if is_ours && !has_names { foreign_among(&index, OF_SQLITE) } else { Ok(Some(index)) }
}

/// The first file beside a database with one of these endings that does not begin as such a file does.
fn foreign_among(
    path: &Path,
    endings: impl IntoIterator<Item = (&'static str, &'static [u8])>,
) -> io::Result<Option<PathBuf>> {
    for (ending, beginning) in endings {
        let file = beside(path, ending);
        let is_ours = match look(&file, beginning.len())? {
            Look::Nothing => true,
            Look::NoFile => false,
            Look::File(head) => head == beginning || is_blank(&head),
        };
        if !is_ours {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Whose the file is that is to be a database.
enum Whose {
    /// It is not there, or empty.
    Nobodys,
    /// It has zeros.
    Blank,
    Ours,
    AnotherPrograms,
    NoDatabase,
    /// A folder, a link, a device.
    NoFile,
}

fn whose(path: &Path, application_id: i32) -> io::Result<Whose> {
    let head = match look(path, HEAD_BYTES)? {
        Look::Nothing => return Ok(Whose::Nobodys),
        Look::NoFile => return Ok(Whose::NoFile),
        Look::File(head) if head.is_empty() => return Ok(Whose::Nobodys),
        Look::File(head) => head,
    };
    if !head.starts_with(DATABASE) {
        return Ok(if is_blank(&head) { Whose::Blank } else { Whose::NoDatabase });
    }
    let application = head.get(68..72).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_be_bytes);
    // A start that was cut off has made no table, or has a journal that undoes them.
    let has_tables = head.get(103..105).is_some_and(|count| count != [0, 0]);
    let is_undone = || fs::metadata(beside(path, "-journal")).is_ok_and(|journal| journal.len() > 0);
    let is_ours = application == application_id || application == 0 && (!has_tables || is_undone());
    Ok(if is_ours { Whose::Ours } else { Whose::AnotherPrograms })
}

fn is_blank(head: &[u8]) -> bool {
    head.iter().all(|byte| *byte == 0)
}

/// What is at a path.
enum Look {
    Nothing,
    /// Something that is no file, or leads to one.
    NoFile,
    /// A file, with its first bytes.
    File(Vec<u8>),
}

fn look(file: &Path, most: usize) -> io::Result<Look> {
    match fs::symlink_metadata(file) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(Look::NoFile),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Nothing),
        Err(error) => return Err(error),
    }
    let mut head = Vec::with_capacity(most);
    match File::open(file) {
        Ok(opened) => opened.take(most as u64).read_to_end(&mut head)?,
        // Whoever stops takes the log along.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Nothing),
        Err(error) => return Err(error),
    };
    Ok(Look::File(head))
}

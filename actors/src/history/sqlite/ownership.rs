//! Decides whether the files at a path and beside it belong to this program. It reads their first bytes before any file
//! is locked, created or changed, because the path may name a file of another program.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::continuity::{self, NotedStamps};
use super::file::{SEARCH_ENDING, UNFINISHED, beside};
use super::open_error::OpenError;
use super::schema::APPLICATION_ID;

/// The first bytes of every SQLite database.
const DATABASE: &[u8] = b"SQLite format 3\0";

/// The first bytes of the files that SQLite has beside a database. A file that was not synced may begin with zeros
/// after a power failure.
const OF_SQLITE: [(&str, &[u8]); 3] =
    [("-wal", &[0x37, 0x7f, 0x06]), ("-shm", &3_007_000_u32.to_ne_bytes()), ("-journal", &[0xd9, 0xd5, 0x05, 0xf9])];

/// Marks a file as a search index of this program: `StaS` in ASCII.
pub(super) const INDEX_ID: i32 = 0x5374_6153;

/// The number of bytes that identify a database's program: the file header, and the beginning of the schema table.
const HEAD_BYTES: usize = 108;

/// Refuses a path if a file at it or beside it belongs to another program. Missing and empty files are accepted.
pub(super) fn check(path: &Path) -> Result<(), OpenError> {
    check_database(path)?;
    check_beside(path)?;
    check_log(path)
}

/// Refuses a path where SQLite would delete the log, or apply it to a database that it does not belong to.
fn check_log(path: &Path) -> Result<(), OpenError> {
    let (path, log) = (path.to_owned(), beside(path, "-wal"));
    if is_log_alone(&path) {
        return Err(OpenError::LogAlone { path, log });
    }
    if continuity::has_log_of_another(&path) { Err(OpenError::LogOfAnother { path, log }) } else { Ok(()) }
}

/// Whether the log of a database exists, but not the database.
pub(super) fn is_log_alone(path: &Path) -> bool {
    !path.exists() && fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// Refuses a path if `--replace` would destroy a file of another program. A history whose header is lost is recognized
/// by its lock file.
pub(super) fn check_replaceable(path: &Path) -> Result<(), OpenError> {
    match check_database(path) {
        Err(OpenError::Damaged { .. }) if NotedStamps::are_beside(path) => {}
        outcome => outcome?,
    }
    check_beside(path)?;
    check_index(path)
}

/// Refuses a database of another program, and a file that is not a database.
pub(super) fn check_database(path: &Path) -> Result<(), OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    match whose(path, APPLICATION_ID).map_err(of)? {
        Whose::Nobodys | Whose::Ours => Ok(()),
        Whose::Blank | Whose::NoDatabase => {
            let reason = "it does not start with the header of an SQLite database".into();
            Err(OpenError::Damaged { path: path.to_owned(), reason })
        }
        Whose::AnotherPrograms => Err(OpenError::Foreign { path: path.to_owned() }),
        Whose::NoFile => Err(foreign(path, path.to_owned())),
    }
}

/// Refuses a path if a file beside it has a name that SQLite or a restore uses, but belongs to another program.
fn check_beside(path: &Path) -> Result<(), OpenError> {
    refuse(path, foreign_among(path, OF_SQLITE.into_iter().chain([(UNFINISHED, DATABASE)])))
}

/// Refuses a path if the search index, or a file that SQLite has beside it, belongs to another program.
pub(super) fn check_index(path: &Path) -> Result<(), OpenError> {
    refuse(path, foreign_index(path))
}

/// Refuses a path for a new database if SQLite would use an existing file beside it as a part of the database.
pub(super) fn check_new(path: &Path) -> Result<(), OpenError> {
    let there = OF_SQLITE.map(|(ending, _)| beside(path, ending));
    let there = there.into_iter().find(|file| fs::symlink_metadata(file).is_ok());
    refuse(path, Ok(there))
}

fn refuse(path: &Path, found: io::Result<Option<PathBuf>>) -> Result<(), OpenError> {
    let of = |error| OpenError::File { path: path.to_owned(), error };
    found.map_err(of)?.map_or(Ok(()), |file| Err(foreign(path, file)))
}

/// The error for a file beside a database that belongs to another program.
pub(super) fn foreign(path: &Path, file: PathBuf) -> OpenError {
    OpenError::ForeignBeside { path: path.to_owned(), file }
}

/// The search index of a database, or a file that SQLite has beside it, if that file belongs to another program.
///
/// An index is recognized by its header. Its name tells which database it belongs to, so an index with several hard
/// links may belong to several databases and is refused. An index that was made from another database is rebuilt.
pub(super) fn foreign_index(database: &Path) -> io::Result<Option<PathBuf>> {
    let index = beside(database, SEARCH_ENDING);
    let has_names = fs::symlink_metadata(&index).is_ok_and(|metadata| metadata.nlink() > 1);
    // After a power failure the file may contain zeros.
    let is_ours = matches!(whose(&index, INDEX_ID)?, Whose::Nobodys | Whose::Blank | Whose::Ours);
    if is_ours && !has_names { foreign_among(&index, OF_SQLITE) } else { Ok(Some(index)) }
}

/// The first file beside a database, among these endings, whose first bytes are not the expected ones.
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

/// The owner of a file at the path of a database.
enum Whose {
    /// The file does not exist or is empty.
    Nobodys,
    /// The file begins with zeros.
    Blank,
    Ours,
    AnotherPrograms,
    NoDatabase,
    /// A folder, a link or a device.
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
    // A start that was interrupted has created no tables, or left a journal that rolls them back.
    let has_tables = head.get(103..105).is_some_and(|count| count != [0, 0]);
    let is_undone = || fs::metadata(beside(path, "-journal")).is_ok_and(|journal| journal.len() > 0);
    let is_ours = application == application_id || application == 0 && (!has_tables || is_undone());
    Ok(if is_ours { Whose::Ours } else { Whose::AnotherPrograms })
}

fn is_blank(head: &[u8]) -> bool {
    head.iter().all(|byte| *byte == 0)
}

/// The kind of file at a path.
enum Look {
    Nothing,
    /// A folder, a link or a device.
    NoFile,
    /// A regular file, with its first bytes.
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
        // A process that stops removes the log.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Nothing),
        Err(error) => return Err(error),
    };
    Ok(Look::File(head))
}

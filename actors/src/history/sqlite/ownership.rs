//! Whether the files at a path and beside it are this program's. It is found out by reading their first bytes, before any
//! of them is locked, made or changed: a path may name a file of somebody else.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::OpenError;
use super::continuity::NotedStamps;
use super::file::beside;
use super::schema::APPLICATION_ID;

/// What every SQLite database begins with.
const DATABASE: &[u8] = b"SQLite format 3\0";

/// What the files beside a database begin with. One that was not synced may begin with zeros after a power cut.
const BESIDE: [(&str, &[u8]); 4] = [
    ("-wal", &[0x37, 0x7f, 0x06]),
    ("-shm", &3_007_000_u32.to_ne_bytes()),
    ("-journal", &[0xd9, 0xd5, 0x05, 0xf9]),
    (UNFINISHED, DATABASE),
];

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
    check_beside(path)
}

/// Refuses a database of another program, and what is no database.
pub(super) fn check_database(path: &Path) -> Result<(), OpenError> {
    let Some(head) = head(path, path, HEAD_BYTES)?.filter(|head| !head.is_empty()) else { return Ok(()) };
    if !head.starts_with(DATABASE) {
        let reason = "it does not begin as a database does".into();
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    let application = head.get(68..72).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_be_bytes);
    // A start that was cut off has made no table, or has a journal that undoes them.
    let has_tables = head.get(103..105).is_some_and(|count| count != [0, 0]);
    let is_undone = || fs::metadata(beside(path, "-journal")).is_ok_and(|journal| journal.len() > 0);
    if application != APPLICATION_ID && (application != 0 || has_tables && !is_undone()) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    Ok(())
}

/// Refuses a path beside which somebody else's files have the names that SQLite and a restore give to theirs.
pub(super) fn check_beside(path: &Path) -> Result<(), OpenError> {
    for (ending, beginning) in BESIDE {
        let file = beside(path, ending);
        let Some(head) = head(path, &file, beginning.len())? else { continue };
        if head != beginning && head.iter().any(|byte| *byte != 0) {
            return Err(foreign(path, file));
        }
    }
    Ok(())
}

/// The error for a file beside a database.
pub(super) fn foreign(path: &Path, file: PathBuf) -> OpenError {
    OpenError::ForeignBeside { path: path.to_owned(), file }
}

/// The first bytes of a file. `None`: there is none.
fn head(database: &Path, file: &Path, most: usize) -> Result<Option<Vec<u8>>, OpenError> {
    let of = |error| OpenError::File { path: database.to_owned(), error };
    match fs::symlink_metadata(file) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(foreign(database, file.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(of(error)),
    }
    let mut head = Vec::with_capacity(most);
    match File::open(file) {
        Ok(opened) => opened.take(most as u64).read_to_end(&mut head).map_err(of)?,
        // Whoever stops takes the log along.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(of(error)),
    };
    Ok(Some(head))
}

//! Simulates a disk that loses its power: the data that remains at a moment of a recording.
//!
//! A sync covers all operations that ended before the sync began. Any part of the others may remain: each sector of
//! each write, each truncation, and any prefix of the changes of a name. So a later write may remain without an earlier
//! one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use super::trace::{Action, Call};

/// The size that a disk writes atomically, in bytes.
const SECTOR: usize = 512;

/// A file or folder, from its creation until its name is reused.
#[derive(Debug, Default)]
struct Node {
    /// The indexes of the calls that changed it, in their order.
    changes: Vec<usize>,
    syncs: Vec<usize>,
}

/// A change of the node behind a name.
#[derive(Debug)]
struct Renaming {
    call: usize,
    node: Option<usize>,
}

/// A recording, organized by files.
#[derive(Debug)]
pub(super) struct Disk<'a> {
    calls: &'a [Call],
    folder: &'a Path,
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, Vec<Renaming>>,
    /// The sync calls by path, for folders.
    folder_syncs: BTreeMap<PathBuf, Vec<usize>>,
}

/// The contents of the remaining files.
pub(super) type Left = BTreeMap<PathBuf, Vec<u8>>;

impl<'a> Disk<'a> {
    /// Replays all calls on a disk with an empty folder.
    pub(super) fn new(calls: &'a [Call], folder: &'a Path) -> Self {
        let (nodes, names, folder_syncs) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut disk = Self { calls, folder, nodes, names, folder_syncs };
        for (number, call) in calls.iter().enumerate() {
            match &call.action {
                Action::Create(path) if disk.node(path).is_none() => {
                    disk.nodes.push(Node::default());
                    let node = Some(disk.nodes.len() - 1);
                    disk.names.entry(path.clone()).or_default().push(Renaming { call: number, node });
                }
                Action::Unlink(path) => {
                    disk.names.entry(path.clone()).or_default().push(Renaming { call: number, node: None });
                }
                Action::Write(path, ..) | Action::Truncate(path, _) => {
                    // A file without a name is lost in any case.
                    if let Some(node) = disk.node(path) {
                        disk.nodes[node].changes.push(number);
                    }
                }
                Action::Sync(path) => {
                    if let Some(node) = disk.node(path) {
                        disk.nodes[node].syncs.push(number);
                    }
                    disk.folder_syncs.entry(path.clone()).or_default().push(number);
                }
                Action::Create(_) | Action::Tell(_) => {}
            }
        }
        disk
    }

    fn node(&self, path: &Path) -> Option<usize> {
        self.names.get(path)?.last()?.node
    }

    /// Whether one of these syncs ended before the cut and covers the call.
    fn is_covered(&self, call: usize, syncs: &[usize], cut: usize) -> bool {
        let ended = self.calls[call].ended;
        syncs.iter().map(|sync| &self.calls[*sync]).any(|sync| sync.ended < cut && ended < sync.begun)
    }

    /// The files that remain if the power is cut before event `cut`. About `share` of the unsynced operations remain.
    pub(super) fn cut(&self, cut: usize, share: f64, rng: &mut Rng) -> Left {
        let mut left = Left::new();
        for path in self.names.keys() {
            let node = self.stands_for(path, cut, share, rng);
            let is_reached = path.ancestors().skip(1).take_while(|above| *above != self.folder);
            let is_reached = is_reached.collect::<Vec<_>>();
            if let Some(node) = node
                && is_reached.iter().all(|above| left.contains_key(*above))
            {
                left.insert(path.clone(), self.content(&self.nodes[node], cut, share, rng));
            }
        }
        left
    }

    /// The node that has a name after the cut.
    fn stands_for(&self, path: &Path, cut: usize, share: f64, rng: &mut Rng) -> Option<usize> {
        let syncs = self.folder_syncs.get(path.parent().unwrap()).map_or(&[][..], Vec::as_slice);
        let mut node = None;
        for renaming in self.names[path].iter().filter(|renaming| self.calls[renaming.call].begun < cut) {
            if !self.is_covered(renaming.call, syncs, cut) && rng.f64() >= share {
                break;
            }
            node = renaming.node;
        }
        node
    }

    fn content(&self, node: &Node, cut: usize, share: f64, rng: &mut Rng) -> Vec<u8> {
        let mut content = Vec::new();
        // The file system may have extended the file before it wrote the contents.
        let is_extended = rng.bool();
        for number in node.changes.iter().filter(|number| self.calls[**number].begun < cut) {
            let is_covered = self.is_covered(*number, &node.syncs, cut);
            let mut is_kept = || is_covered || rng.f64() < share;
            match &self.calls[*number].action {
                Action::Write(_, offset, bytes) => {
                    let (start, mut done) = (usize::try_from(*offset).unwrap(), 0);
                    if is_extended && content.len() < start + bytes.len() {
                        content.resize(start + bytes.len(), 0);
                    }
                    while done < bytes.len() {
                        let at = start + done;
                        let part = (SECTOR - at % SECTOR).min(bytes.len() - done);
                        if is_kept() {
                            let end = at + part;
                            content.resize(content.len().max(end), 0);
                            content[at..end].copy_from_slice(&bytes[done..done + part]);
                        }
                        done += part;
                    }
                }
                Action::Truncate(_, length) => {
                    if is_kept() {
                        content.resize(usize::try_from(*length).unwrap(), 0);
                    }
                }
                Action::Create(_) | Action::Unlink(_) | Action::Sync(_) | Action::Tell(_) => {}
            }
        }
        content
    }

    /// Restores the folder to the remaining files. A file keeps its inode, as on a disk.
    pub(super) fn restore(&self, left: &Left) {
        let inodes = self.folder.with_extension("inodes");
        fs::create_dir_all(&inodes).unwrap();
        for path in self.names.keys() {
            if path.is_dir() {
                // A lost folder without files is equivalent to an empty one.
                continue;
            }
            let kept = inodes.join(path.file_name().unwrap());
            if kept.exists() {
                // After an earlier cut that lost this file, the server may have created another one.
                fs::rename(&kept, path).unwrap();
            }
            if let Some(content) = left.get(path) {
                fs::write(path, content).unwrap();
            } else if path.exists() {
                fs::rename(path, &kept).unwrap();
            }
            let index = PathBuf::from(format!("{}-shm", path.display()));
            if index.exists() {
                fs::remove_file(index).unwrap();
            }
        }
    }
}

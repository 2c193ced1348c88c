//! The newest messages of every room in memory. The count per room and the total of bytes are limited.
//!
//! Invariants:
//! - The messages kept of a room are its newest, without a gap.
//! - Above a store, this memory keeps only messages that the store has committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use starling_protocol::{Epoch, HistoryPage, Seq};

use super::content::Content;
use super::kept_bytes::KeptBytes;
use super::message::{StoredMessage, Twin};
use super::read::{Page, ReadPurpose, ReadRequest};
use super::store::{Completion, Entry, EntryCopy, OwnLimits, StoredCopy};
use super::wall_clock::{Plausibility, WallClock, millis};
use crate::clock::Now;
use crate::ids::RoomId;

/// Most messages that are dropped at once because a room has limits of its own.
const DROPPED_AT_ONCE_MAX: usize = 4_096;

/// The messages of a room, the oldest first.
pub(super) type StoredMessages = VecDeque<Arc<StoredMessage>>;

/// The recent messages of all rooms and inboxes.
#[derive(Debug)]
pub(super) struct Recent {
    /// The limit per room. With 0 no message is kept; messages are only numbered.
    messages_max: usize,
    /// Rooms with limits of their own.
    own: BTreeMap<RoomId, OwnLimits>,
    /// Judges the age of messages, since rooms have limits of their own.
    wall_clock: Option<WallClock>,
    bytes: u64,
    kept_bytes: KeptBytes,
    rooms: FxHashMap<RoomId, Kept>,
    /// Every message in the order of arrival, to find the oldest one of all rooms. Entries of dropped messages are
    /// skipped.
    arrivals: VecDeque<KeptAt>,
    /// The number of messages of all rooms together.
    kept: usize,
}

/// The kept messages of one room.
#[derive(Debug)]
struct Kept {
    /// Distinguishes the room from an earlier room with the same number.
    epoch: Epoch,
    /// The newest committed entry, even if it is not kept here.
    newest: Seq,
    /// Messages and their changes.
    messages: StoredMessages,
    /// The kept edit of each message that has a text, by the message.
    edits: FxHashMap<Seq, Seq>,
}

impl Kept {
    fn new(epoch: Epoch) -> Self {
        Self { epoch, newest: Seq(0), messages: StoredMessages::new(), edits: FxHashMap::default() }
    }

    /// The kept entry with this number.
    fn get_mut(&mut self, seq: Seq) -> Option<&mut Arc<StoredMessage>> {
        let first = self.messages.front()?.seq;
        self.messages.get_mut(usize::try_from(seq.0.checked_sub(first.0)?).ok()?)
    }

    /// Applies a change to its message, if that is kept. Removes the texts that no client may see any more. Returns by
    /// how much the kept entries have become lighter and heavier.
    fn change(&mut self, of: Seq, change: &mut StoredMessage) -> (u64, u64) {
        let (mut less, mut more) = (0, 0);
        let mut alter = |entry: &mut Arc<StoredMessage>, alter: &dyn Fn(&mut StoredMessage)| {
            less += entry.weight() as u64;
            alter(Arc::make_mut(entry));
            more += entry.weight() as u64;
        };
        if let Some(message) = self.get_mut(of).filter(|entry| entry.is_message()) {
            alter(message, &|message| message.change(change));
            if !message.changes.as_ref().is_some_and(|changes| changes.shows_edit(change.seq)) {
                change.content.clear_text();
            }
        }
        let is_edit = matches!(change.content, Content::Edit { .. });
        if (is_edit || matches!(change.content, Content::Deletion { .. }))
            && let Some(earlier) = self.edits.remove(&of)
            && let Some(edit) = self.get_mut(earlier)
        {
            alter(edit, &|edit| edit.content.clear_text());
        }
        if is_edit && !change.text().is_empty() {
            self.edits.insert(of, change.seq);
        }
        (less, more)
    }
}

#[derive(Debug)]
struct KeptAt {
    room: RoomId,
    epoch: Epoch,
    seq: Seq,
}

impl Recent {
    pub(super) fn new(messages_max: u32, bytes_max: u64) -> Self {
        Self {
            messages_max: messages_max as usize,
            own: BTreeMap::new(),
            wall_clock: None,
            bytes: 0,
            kept_bytes: KeptBytes::new(bytes_max),
            rooms: FxHashMap::default(),
            arrivals: VecDeque::new(),
            kept: 0,
        }
    }

    pub(super) fn kept_bytes(&self) -> KeptBytes {
        self.kept_bytes.clone()
    }

    pub(super) fn keeps_nothing(&self) -> bool {
        self.messages_max == 0
    }

    // ---- without a store

    /// Commits an entry without a store: numbers its messages and keeps them.
    pub(super) fn commit(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        let Entry { number, copies } = entry;
        let place = |copy: &EntryCopy| {
            let newest = self.rooms.get(&copy.room).map_or(Seq(0), |kept| kept.newest);
            Twin { epoch: copy.epoch, seq: newest.next() }
        };
        let places: SmallVec<[Twin; 2]> = copies.iter().map(place).collect();
        let mut committed = SmallVec::new();
        for (index, (copy, place)) in copies.into_iter().zip(&places).enumerate() {
            let EntryCopy { room, key, epoch, draft, seq: _ } = copy;
            let mut message = draft.placed(key, place.seq, Twin::of(index, &places));
            self.change(room, epoch, &mut message);
            let message = Arc::new(message);
            let oldest = self.push(room, epoch, Arc::clone(&message));
            committed.push(StoredCopy { room, epoch, message, oldest });
        }
        let copies = committed;
        done.push(Completion::Committed { number, copies });
        self.fit(|room, oldest| done.push(Completion::Trimmed { room, oldest }));
    }

    /// Applies a change to its message.
    #[inline]
    fn change(&mut self, room: RoomId, epoch: Epoch, entry: &mut StoredMessage) {
        if let Some(of) = entry.content.of()
            && !self.keeps_nothing()
        {
            let kept = self.rooms.entry(room).or_insert_with(|| Kept::new(epoch));
            let (less, more) = kept.change(of, entry);
            self.bytes = self.bytes + more - less;
        }
    }

    /// Adds the next entry of a room like [`push`](Self::push), after it was placed elsewhere.
    fn push_placed(&mut self, room: RoomId, epoch: Epoch, mut entry: Arc<StoredMessage>) -> Option<Seq> {
        if !entry.is_message() {
            self.change(room, epoch, Arc::make_mut(&mut entry));
        }
        self.push(room, epoch, entry)
    }

    /// Keeps a message that was placed elsewhere. `trimmed` is told the oldest that is kept of each room that lost some.
    pub(super) fn keep_placed(
        &mut self,
        room: RoomId,
        epoch: Epoch,
        message: Arc<StoredMessage>,
        trimmed: &mut impl FnMut(RoomId, Seq),
    ) {
        if let Some(oldest) = self.push_placed(room, epoch, message) {
            trimmed(room, oldest);
        }
        self.fit(trimmed);
    }

    /// Sets the limits of a room's own.
    pub(super) fn limit(&mut self, room: RoomId, limits: OwnLimits) {
        if limits == OwnLimits::default() {
            self.own.remove(&room);
        } else {
            self.own.insert(room, limits);
        }
    }

    /// Drops messages beyond the limits of rooms' own, at most [`DROPPED_AT_ONCE_MAX`]. Reports the new oldest message of
    /// each affected room.
    pub(super) fn drop_excess(&mut self, now: Now, mut trimmed: impl FnMut(RoomId, Seq)) {
        let mut clock = self.wall_clock.take().unwrap_or_else(|| WallClock::new(now.at, now.unix_ms));
        clock.look(now.at, now.unix_ms);
        let mut left = DROPPED_AT_ONCE_MAX;
        for (room, limits) in self.own.iter().map(|(room, limits)| (*room, *limits)).collect::<Vec<_>>() {
            // The messages in memory are of this process, so their ages are plausible.
            let kept = limits.keep_for.filter(|kept| clock.is_trusted(*kept, Plausibility::Plausible));
            let before = kept.map(|kept| now.unix_ms.saturating_sub(millis(kept)));
            let most = self.most(room);
            let is_excess = |kept: &Kept| {
                let is_old = |oldest: &Arc<StoredMessage>| before.is_some_and(|before| oldest.at < before);
                kept.messages.len() > most || kept.messages.front().is_some_and(is_old)
            };
            let mut oldest = None;
            while left > 0 && self.rooms.get(&room).is_some_and(is_excess) {
                oldest = self.drop_oldest(room);
                left -= 1;
            }
            if let Some(oldest) = oldest {
                trimmed(room, oldest);
            }
        }
        self.wall_clock = Some(clock);
        self.kept_bytes.set_kept(self.bytes);
        self.compact_arrivals();
    }

    /// The largest number of messages of a room.
    #[inline]
    fn most(&self, room: RoomId) -> usize {
        let own = if self.own.is_empty() { None } else { self.own.get(&room).and_then(|own| own.messages) };
        own.and_then(|own| usize::try_from(own).ok()).map_or(self.messages_max, |own| own.min(self.messages_max))
    }

    /// The kept messages of a room. `None` if the room is unknown.
    pub(super) fn messages(&self, room: RoomId) -> Option<&StoredMessages> {
        self.rooms.get(&room).map(|kept| &kept.messages)
    }

    /// The requested page, from the kept messages alone.
    pub(super) fn page(&self, request: &ReadRequest) -> Page {
        self.messages(request.room).map_or_else(Page::default, |messages| select(messages, request))
    }

    // ---- above a store

    /// Calls the store, and applies the completions that it adds to `done`.
    pub(super) fn follow(&mut self, done: &mut Vec<Completion>, act: impl FnOnce(&mut Vec<Completion>)) {
        let known = done.len();
        act(done);
        for completion in done.iter().skip(known) {
            match completion {
                Completion::Committed { copies, .. } => copies.iter().for_each(|copy| self.keep(copy)),
                Completion::Trimmed { room, oldest } => self.trim(*room, *oldest),
                Completion::Refused { .. }
                | Completion::Read { .. }
                | Completion::Unread { .. }
                | Completion::Forgotten { .. }
                | Completion::Decided { .. } => {}
            }
        }
    }

    fn keep(&mut self, copy: &StoredCopy) {
        self.push_placed(copy.room, copy.epoch, Arc::clone(&copy.message));
        if let Some(oldest) = copy.oldest {
            self.trim(copy.room, oldest);
        }
        // The store still has the dropped messages, so this is not reported.
        self.fit(|_, _| ());
    }

    /// Answers a request from memory. `None` if the answer may need the store.
    pub(super) fn answer(&self, request: &ReadRequest) -> Option<Page> {
        let ReadRequest { oldest, newest, .. } = *request;
        if newest < oldest {
            return Some(Page::default());
        }
        if request.search.is_some() || request.with.is_some() {
            return None;
        }
        if let HistoryPage::After(seq) = request.page
            && seq >= newest
        {
            return Some(Page::default());
        }
        let (first, last) = self.bounds(request.room)?;
        if last != newest {
            return None;
        }
        match request.page {
            HistoryPage::After(seq) if seq.next() >= first => Some(self.page(request)),
            HistoryPage::After(_) => None,
            HistoryPage::Newest | HistoryPage::Before(_) => {
                let mut page = self.page(request);
                // The page is complete if the limit ended it, or the memory holds all entries back to `oldest`.
                let is_whole = page.has_more || page.messages.len() == request.limit || first <= oldest;
                page.has_more |= first > oldest;
                is_whole.then_some(page)
            }
        }
    }

    /// Drops the messages of a room that are older than `oldest`.
    fn trim(&mut self, room: RoomId, oldest: Seq) {
        while self.bounds(room).is_some_and(|(first, _)| first < oldest) {
            self.drop_oldest(room);
        }
        self.kept_bytes.set_kept(self.bytes);
    }

    // ---- the kept messages

    /// The oldest and the newest kept message of a room.
    fn bounds(&self, room: RoomId) -> Option<(Seq, Seq)> {
        let messages = self.messages(room)?;
        Some((messages.front()?.seq, messages.back()?.seq))
    }

    /// Adds the next message of a room. If the room is over its limit, drops the oldest message and returns the oldest
    /// one that is still kept.
    fn push(&mut self, room: RoomId, epoch: Epoch, message: Arc<StoredMessage>) -> Option<Seq> {
        let (seq, most) = (message.seq, self.most(room));
        let kept = self.rooms.entry(room).or_insert_with(|| Kept::new(epoch));
        kept.newest = seq;
        if self.messages_max == 0 {
            return Some(seq.next());
        }
        self.bytes += message.weight() as u64;
        self.kept += 1;
        kept.messages.push_back(message);
        let is_full = kept.messages.len() > most;
        self.arrivals.push_back(KeptAt { room, epoch, seq });
        if is_full { self.drop_oldest(room) } else { None }
    }

    /// Drops all messages of a room that has ended.
    pub(super) fn forget(&mut self, room: RoomId) {
        self.own.remove(&room);
        let Some(Kept { messages, .. }) = self.rooms.remove(&room) else { return };
        self.bytes -= messages.iter().map(|message| message.weight() as u64).sum::<u64>();
        self.kept_bytes.set_kept(self.bytes);
        self.kept -= messages.len();
        // Its arrivals stay in the list until they reach the front: to search for them takes longer the more messages
        // are kept.
        self.compact_arrivals();
    }

    /// Drops the oldest message of a room. Returns the oldest one that is still kept, or one past the dropped message
    /// if none is.
    fn drop_oldest(&mut self, room: RoomId) -> Option<Seq> {
        let kept = self.rooms.get_mut(&room)?;
        let dropped = kept.messages.pop_front()?;
        if let Content::Edit { of, .. } = &dropped.content
            && kept.edits.get(of) == Some(&dropped.seq)
        {
            kept.edits.remove(of);
        }
        self.bytes -= dropped.weight() as u64;
        self.kept -= 1;
        Some(kept.messages.front().map_or(dropped.seq.next(), |oldest| oldest.seq))
    }

    /// Drops the oldest messages of all rooms until the bytes fit the limit. Reports the new oldest message of each
    /// affected room.
    fn fit(&mut self, mut trimmed: impl FnMut(RoomId, Seq)) {
        let allowed = self.kept_bytes.allowed();
        while self.bytes > allowed {
            let Some(KeptAt { room, epoch, seq }) = self.arrivals.pop_front() else { break };
            let kept = self.rooms.get(&room).filter(|kept| kept.epoch == epoch);
            let is_kept = kept.and_then(|kept| kept.messages.front()).is_some_and(|oldest| oldest.seq == seq);
            if is_kept && let Some(oldest) = self.drop_oldest(room) {
                trimmed(room, oldest);
            }
        }
        self.kept_bytes.set_kept(self.bytes);
        self.compact_arrivals();
    }

    /// Removes outdated arrivals, so that the list grows only in proportion to the kept messages.
    fn compact_arrivals(&mut self) {
        if self.arrivals.len() < 2 * self.kept + 1_024 {
            return;
        }
        let rooms = &self.rooms;
        self.arrivals.retain(|KeptAt { room, epoch, seq }| {
            let kept = rooms.get(room).filter(|kept| kept.epoch == *epoch);
            kept.and_then(|kept| kept.messages.front()).is_some_and(|oldest| oldest.seq <= *seq)
        });
    }
}

/// Selects the entries of a page without a search.
fn select(entries: &StoredMessages, request: &ReadRequest) -> Page {
    let from = |seq| entries.partition_point(|entry| entry.seq < seq);
    let (mut first, mut end) = (from(request.oldest), entries.len());
    match request.page {
        HistoryPage::After(seq) => first = first.max(from(seq.next())),
        HistoryPage::Before(seq) => end = from(seq),
        HistoryPage::Newest => {}
    }
    let wanted = entries.range(first..end.max(first));
    if matches!(request.page, HistoryPage::After(_)) {
        return collect(wanted, request);
    }
    let mut page = collect(wanted.rev(), request);
    page.messages.reverse();
    page
}

/// Takes the wanted entries, in the order of the iterator, up to the limits of the request.
fn collect<'a>(entries: impl Iterator<Item = &'a Arc<StoredMessage>>, request: &ReadRequest) -> Page {
    let (mut found, mut weight) = (Page::default(), 0);
    let has_changes = request.purpose == ReadPurpose::CatchUp;
    let is_wanted = |entry: &&Arc<StoredMessage>| {
        (has_changes || entry.is_message()) && request.with.as_ref().is_none_or(|with| entry.peer() == Some(with))
    };
    for entry in entries.filter(is_wanted) {
        weight += entry.weight();
        if found.messages.len() == request.limit || (weight > request.bytes && !found.messages.is_empty()) {
            found.has_more = true;
            break;
        }
        found.messages.push(Arc::clone(entry));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::history::tests::{ROOM, entry};

    #[test]
    fn the_list_of_arrivals_stays_in_proportion_to_what_is_kept() {
        let mut recent = Recent::new(2, u64::MAX);
        for _ in 0..50_000 {
            recent.commit(entry(ROOM, "x"), &mut Vec::new());
        }
        assert!(recent.arrivals.len() < 2_048, "{}", recent.arrivals.len());
        recent.forget(ROOM);
        assert_eq!((recent.bytes, recent.kept), (0, 0));
    }

    #[test]
    fn an_age_limit_of_a_room_drops_what_is_too_old_in_bounded_steps_once_the_clock_has_run_for_a_minute() {
        let mut recent = Recent::new(10_000, u64::MAX);
        let start = Now { at: clock::now(), unix_ms: 1_000_000 };
        let said = |recent: &mut Recent, room, seconds: u64| {
            let mut entry = entry(room, "x");
            entry.copies[0].draft.at = start.unix_ms + seconds * 1_000;
            recent.commit(entry, &mut Vec::new());
        };
        let other = RoomId(9);
        for _ in 0..5_000 {
            said(&mut recent, ROOM, 0);
            said(&mut recent, other, 0);
        }
        said(&mut recent, ROOM, 100);
        recent.limit(ROOM, OwnLimits { messages: None, keep_for: Some(Duration::from_mins(2)) });
        let mut after = |seconds| {
            let mut told = Vec::new();
            recent.drop_excess(start.after(Duration::from_secs(seconds)), |room, oldest| told.push((room, oldest.0)));
            told
        };
        assert_eq!(after(0), []);
        assert_eq!(after(120), []);
        assert_eq!(after(121), [(ROOM, 4_097)], "a step is bounded");
        assert_eq!(after(121), [(ROOM, 5_001)]);
        assert_eq!(after(220), []);
        assert_eq!(after(221), [(ROOM, 5_002)]);
        assert_eq!(recent.messages(other).unwrap().len(), 5_000);
    }
}

//! History in memory: the newest messages of every room, bounded in count per room and in bytes in all.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Epoch, HistoryPage, Seq};

use self::search::{Search, Searcher};
use super::{
    Completion, Entry, EntryCopy, HistoryStore, Page, ReadRequest, Receipt, ReportSink, SearchText, StoreReport,
    StoredCopy, StoredMessage,
};
use crate::ids::RoomId;
use crate::vitals::Vitals;

mod bytes;
mod search;

pub use self::bytes::KeptBytes;

/// The messages of a room, the oldest first.
type StoredMessages = VecDeque<Arc<StoredMessage>>;

/// Keeps the newest messages, in memory only.
#[derive(Debug)]
pub struct MemoryHistory {
    /// There from [`connect`](HistoryStore::connect) on; before, a search is carried out at once.
    searcher: Option<Searcher>,
    messages_max: usize,
    bytes: u64,
    kept_bytes: KeptBytes,
    rooms: FxHashMap<RoomId, Kept>,
    /// Every message in the order of arrival, to find the oldest of all; entries whose message is gone are skipped.
    arrivals: VecDeque<Arrival>,
    kept: usize,
}

/// The messages that are kept of one room.
#[derive(Debug)]
struct Kept {
    /// Tells a room from an earlier one with the same number.
    epoch: Epoch,
    /// The newest message that was appended, kept or not.
    newest: Seq,
    messages: StoredMessages,
}

#[derive(Debug)]
struct Arrival {
    room: RoomId,
    epoch: Epoch,
    seq: Seq,
}

impl MemoryHistory {
    /// An empty history of at most `messages_max` messages a room and `bytes_max` bytes in all rooms together.
    pub fn new(messages_max: u32, bytes_max: u64) -> Self {
        Self {
            searcher: None,
            messages_max: messages_max as usize,
            bytes: 0,
            kept_bytes: KeptBytes::new(bytes_max),
            rooms: FxHashMap::default(),
            arrivals: VecDeque::new(),
            kept: 0,
        }
    }

    /// The bytes of its messages, also after it was handed on.
    pub fn kept_bytes(&self) -> KeptBytes {
        self.kept_bytes.clone()
    }

    /// The oldest and the newest message that are kept of a room.
    pub(crate) fn bounds(&self, room: RoomId) -> Option<(Seq, Seq)> {
        let messages = &self.rooms.get(&room)?.messages;
        Some((messages.front()?.seq, messages.back()?.seq))
    }

    /// The part of a room's messages that a request asks for, of those that are kept.
    pub(crate) fn select(&self, request: &ReadRequest) -> Page {
        self.rooms.get(&request.room).map_or_else(Page::default, |kept| select(&kept.messages, request))
    }

    /// Keeps the next message of a room. Returns the oldest one that is kept then.
    fn push(&mut self, room: RoomId, epoch: Epoch, message: Arc<StoredMessage>) -> Seq {
        let seq = message.seq;
        self.bytes += message.weight() as u64;
        self.kept += 1;
        let kept =
            self.rooms.entry(room).or_insert_with(|| Kept { epoch, newest: seq, messages: StoredMessages::new() });
        kept.newest = seq;
        kept.messages.push_back(message);
        let is_full = kept.messages.len() > self.messages_max;
        self.arrivals.push_back(Arrival { room, epoch, seq });
        if is_full {
            self.drop_oldest(room);
        }
        self.bounds(room).map_or(seq.next(), |(oldest, _)| oldest)
    }

    /// Keeps a message that is stored elsewhere too: nobody needs to know which ones go for it.
    pub(crate) fn keep(&mut self, room: RoomId, epoch: Epoch, message: Arc<StoredMessage>) {
        self.push(room, epoch, message);
        self.fit_bytes(&mut Vec::new());
        self.kept_bytes.set_kept(self.bytes);
        self.compact_arrivals();
    }

    /// Drops all messages of a room.
    pub(crate) fn drop_room(&mut self, room: RoomId) {
        let Some(Kept { messages, .. }) = self.rooms.remove(&room) else { return };
        self.bytes -= messages.iter().map(|message| message.weight() as u64).sum::<u64>();
        self.kept_bytes.set_kept(self.bytes);
        self.kept -= messages.len();
        // Its arrivals stay until their turn comes: looking for them would take the longer the more is kept.
        self.compact_arrivals();
    }

    pub(crate) fn drop_oldest(&mut self, room: RoomId) -> Option<Seq> {
        let messages = &mut self.rooms.get_mut(&room)?.messages;
        let dropped = messages.pop_front()?;
        self.bytes -= dropped.weight() as u64;
        self.kept -= 1;
        Some(messages.front().map_or(dropped.seq.next(), |oldest| oldest.seq))
    }

    /// Drops the oldest messages of all rooms until the bytes fit.
    fn fit_bytes(&mut self, done: &mut Vec<Completion>) {
        let allowed = self.kept_bytes.allowed();
        while self.bytes > allowed {
            let Some(Arrival { room, epoch, seq }) = self.arrivals.pop_front() else { return };
            let kept = self.rooms.get(&room).filter(|kept| kept.epoch == epoch);
            let is_kept = kept.and_then(|kept| kept.messages.front()).is_some_and(|oldest| oldest.seq == seq);
            if is_kept && let Some(oldest) = self.drop_oldest(room) {
                done.push(Completion::Trimmed { room, oldest });
            }
        }
    }

    /// Keeps the list of arrivals in proportion to what is kept.
    fn compact_arrivals(&mut self) {
        if self.arrivals.len() < 2 * self.kept + 1_024 {
            return;
        }
        let rooms = &self.rooms;
        self.arrivals.retain(|Arrival { room, epoch, seq }| {
            let kept = rooms.get(room).filter(|kept| kept.epoch == *epoch);
            kept.and_then(|kept| kept.messages.front()).is_some_and(|oldest| oldest.seq <= *seq)
        });
    }
}

impl HistoryStore for MemoryHistory {
    fn append(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        let Entry { number, copies } = entry;
        let copies = copies.into_iter().map(|EntryCopy { room, key, epoch, draft }| {
            let seq = self.rooms.get(&room).map_or(Seq(0), |kept| kept.newest).next();
            let message = Arc::new(draft.placed(key, seq));
            let oldest = self.push(room, epoch, Arc::clone(&message));
            StoredCopy { room, epoch, message, oldest }
        });
        let copies = copies.collect();
        done.push(Completion::Committed { number, copies });
        self.fit_bytes(done);
        self.kept_bytes.set_kept(self.bytes);
        self.compact_arrivals();
    }

    fn connect(&mut self, sink: ReportSink, vitals: &Vitals) {
        self.searcher = Some(Searcher::start(sink, vitals));
    }

    fn reported(&mut self, report: StoreReport, done: &mut Vec<Completion>) {
        if let (Some(search), Some(searcher)) = (report.open::<Search>(), &mut self.searcher) {
            let room = self.rooms.get(&search.room()).map(|kept| &kept.messages);
            done.extend(searcher.go_on(search, room));
        }
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        if let (Some(_), Some(searcher)) = (&request.search, &mut self.searcher) {
            let room = self.rooms.get(&request.room).map(|kept| &kept.messages);
            done.extend(searcher.begin(request, room));
            return;
        }
        let page = self.select(&request);
        done.push(Completion::Read { request, page });
    }

    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.drop_room(room);
        done.extend(receipt.map(|receipt| Completion::Forgotten { receipt, is_gone: true }));
    }
}

/// The messages that have all these words, the newest first.
fn search(messages: &StoredMessages, request: &ReadRequest, text: &SearchText) -> Page {
    let terms: Vec<String> = text.terms().iter().map(|term| term.to_lowercase()).collect();
    let before = if let HistoryPage::Before(seq) = request.page { seq } else { Seq(u64::MAX) };
    let older = messages.iter().rev().skip_while(|message| message.seq >= before);
    filter(older, request, |message| {
        let text = message.text.to_lowercase();
        terms.iter().all(|term| text.contains(term))
    })
}

/// The private messages with one client, the oldest first.
fn conversation(messages: &StoredMessages, request: &ReadRequest, with: &ClientId) -> Page {
    let is_with = |message: &StoredMessage| message.peer() == Some(with);
    if let HistoryPage::After(seq) = request.page {
        return filter(messages.iter().skip_while(|message| message.seq <= seq), request, is_with);
    }
    let before = if let HistoryPage::Before(seq) = request.page { seq } else { Seq(u64::MAX) };
    let older = messages.iter().rev().skip_while(|message| message.seq >= before);
    let mut page = filter(older, request, is_with);
    page.messages.reverse();
    page
}

/// As many of these messages as are wanted and fit, in their order.
fn filter<'a>(
    messages: impl Iterator<Item = &'a Arc<StoredMessage>>,
    request: &ReadRequest,
    is_wanted: impl Fn(&StoredMessage) -> bool,
) -> Page {
    let mut found = Page::default();
    let mut weight = 0;
    for message in messages.filter(|message| is_wanted(message)) {
        weight += message.weight();
        if found.messages.len() == request.limit || (weight > request.bytes && !found.messages.is_empty()) {
            found.has_more = true;
            break;
        }
        found.messages.push(Arc::clone(message));
    }
    found
}

fn select(messages: &StoredMessages, request: &ReadRequest) -> Page {
    if let Some(text) = &request.search {
        return search(messages, request, text);
    }
    if let Some(with) = &request.with {
        return conversation(messages, request, with);
    }
    let mut weight = 0;
    let fits = |message: &&Arc<StoredMessage>| {
        let first = weight == 0;
        weight += message.weight();
        first || weight <= request.bytes
    };
    if let HistoryPage::After(seq) = request.page {
        let from = messages.partition_point(|message| message.seq <= seq);
        let selected: Vec<_> = messages.range(from..).take(request.limit).take_while(fits).cloned().collect();
        return Page { has_more: from + selected.len() < messages.len(), messages: selected };
    }
    let to = match request.page {
        HistoryPage::Before(seq) => messages.partition_point(|message| message.seq < seq),
        HistoryPage::Newest | HistoryPage::After(_) => messages.len(),
    };
    let mut selected: Vec<_> = messages.range(..to).rev().take(request.limit).take_while(fits).cloned().collect();
    selected.reverse();
    Page { has_more: selected.len() < to, messages: selected }
}

#[cfg(test)]
mod tests;

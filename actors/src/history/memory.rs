//! History in memory: the newest messages of every room, bounded in count per room and in bytes in all.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Epoch, HistoryPage, Seq};

pub(super) use self::search::Search;
use self::search::Searcher;
use super::{
    Completion, HistoryStore, Page, ReadError, ReadRequest, ReportSink, SearchText, StoreReport, StoreReportOf,
    StoredMessage,
};
use crate::chat_server::command::DropReply;
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
    /// How many rooms there have been: the life of the next one.
    lives: u64,
}

/// The messages that are kept of one room.
#[derive(Debug, Default)]
struct Kept {
    /// Tells a room from an earlier one with the same number.
    life: u64,
    messages: StoredMessages,
}

#[derive(Debug)]
struct Arrival {
    room: RoomId,
    life: u64,
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
            lives: 0,
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
            let Some(Arrival { room, life, seq }) = self.arrivals.pop_front() else { return };
            let kept = self.rooms.get(&room).filter(|kept| kept.life == life);
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
        self.arrivals.retain(|Arrival { room, life, seq }| {
            let kept = rooms.get(room).filter(|kept| kept.life == *life);
            kept.and_then(|kept| kept.messages.front()).is_some_and(|oldest| oldest.seq <= *seq)
        });
    }
}

impl HistoryStore for MemoryHistory {
    fn append(&mut self, room: RoomId, _: Epoch, message: Arc<StoredMessage>, done: &mut Vec<Completion>) {
        let seq = message.seq;
        self.bytes += message.weight() as u64;
        self.kept += 1;
        let lives = &mut self.lives;
        let kept = self.rooms.entry(room).or_insert_with(|| {
            *lives += 1;
            Kept { life: *lives, messages: StoredMessages::new() }
        });
        self.arrivals.push_back(Arrival { room, life: kept.life, seq });
        kept.messages.push_back(message);
        if kept.messages.len() > self.messages_max {
            self.drop_oldest(room);
        }
        let oldest = self.bounds(room).map_or(seq.next(), |(oldest, _)| oldest);
        done.push(Completion::Stored { room, seq, oldest });
        self.fit_bytes(done);
        self.kept_bytes.set_kept(self.bytes);
        self.compact_arrivals();
    }

    fn connect(&mut self, sink: ReportSink, vitals: &Vitals) {
        self.searcher = Some(Searcher::start(sink, vitals));
    }

    fn reported(&mut self, StoreReport(report): StoreReport, done: &mut Vec<Completion>) {
        if let (StoreReportOf::Memory(search), Some(searcher)) = (report, &mut self.searcher) {
            let room = self.rooms.get(&search.room()).map(|kept| &kept.messages);
            done.extend(searcher.go_on(search, room).map(|(request, page)| Completion::Read { request, page }));
        }
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        if let (Some(_), Some(searcher)) = (&request.search, &mut self.searcher) {
            let room = self.rooms.get(&request.room).map(|kept| &kept.messages);
            match searcher.begin(request, room) {
                Ok(answer) => done.extend(answer.map(|(request, page)| Completion::Read { request, page })),
                Err(request) => done.push(Completion::Unread { request, error: ReadError::Busy }),
            }
            return;
        }
        let page = self.select(&request);
        done.push(Completion::Read { request, page });
    }

    fn forget(&mut self, room: RoomId, reply: Option<DropReply>) {
        let Kept { messages, .. } = self.rooms.remove(&room).unwrap_or_default();
        self.bytes -= messages.iter().map(|message| message.weight() as u64).sum::<u64>();
        self.kept_bytes.set_kept(self.bytes);
        self.kept -= messages.len();
        // Its arrivals stay until their turn comes: looking for them would take the longer the more is kept.
        self.compact_arrivals();
        // Whoever asked may have gone.
        reply.map(|reply| reply.send(Ok(())).unwrap_or_default()).unwrap_or_default();
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
mod tests {
    use starling_protocol::RoomName;

    use super::*;
    use crate::history::{Reader, RoomKey};
    use crate::ids::{HubId, SessionId};

    const ROOM: RoomId = RoomId(3);

    fn message(seq: u64, text: &str) -> Arc<StoredMessage> {
        Arc::new(StoredMessage {
            room: RoomKey::Room(RoomName::lobby()),
            to: None,
            seq: Seq(seq),
            client_id: ClientId::parse("alice").unwrap(),
            text: text.into(),
            at: 0,
            id: None,
            owner: None,
        })
    }

    fn filled(messages_max: u32, bytes_max: u64, count: u64) -> MemoryHistory {
        let mut history = MemoryHistory::new(messages_max, bytes_max);
        for seq in 1..=count {
            history.append(ROOM, Epoch(1), message(seq, "x"), &mut Vec::new());
        }
        history
    }

    fn read(history: &mut MemoryHistory, page: HistoryPage, limit: usize, bytes: usize) -> (Vec<u64>, bool) {
        let session = SessionId::new(HubId(0), 0, 0);
        let reader = Reader::Client { session, id: None, ticket: None };
        let mut done = Vec::new();
        history.read(ReadRequest { room: ROOM, page, search: None, with: None, limit, bytes, reader }, &mut done);
        let Some(Completion::Read { page, .. }) = done.pop() else { panic!("no answer") };
        (page.messages.iter().map(|message| message.seq.0).collect(), page.has_more)
    }

    #[test]
    fn a_room_keeps_its_newest_messages_and_tells_the_oldest() {
        let mut history = filled(3, u64::MAX, 4);
        let mut done = Vec::new();
        history.append(ROOM, Epoch(1), message(5, "x"), &mut done);
        assert!(matches!(done[..], [Completion::Stored { seq: Seq(5), oldest: Seq(3), .. }]));
        assert_eq!(read(&mut history, HistoryPage::Newest, 9, usize::MAX), (vec![3, 4, 5], false));
    }

    #[test]
    fn all_rooms_together_keep_so_many_bytes_and_the_oldest_message_of_all_goes_first() {
        let weight = message(1, "x").weight() as u64;
        let mut history = filled(100, 3 * weight, 2);
        let other = RoomId(4);
        history.append(other, Epoch(1), message(1, "x"), &mut Vec::new());
        let mut done = Vec::new();
        history.append(other, Epoch(1), message(2, "x"), &mut done);
        assert!(matches!(done[1], Completion::Trimmed { room: ROOM, oldest: Seq(2) }));
        assert_eq!(history.bytes, 3 * weight);
    }

    #[test]
    fn a_page_goes_in_the_direction_asked_for_and_says_whether_there_is_more() {
        let mut history = filled(100, u64::MAX, 10);
        assert_eq!(read(&mut history, HistoryPage::Newest, 3, usize::MAX), (vec![8, 9, 10], true));
        assert_eq!(read(&mut history, HistoryPage::Before(Seq(3)), 5, usize::MAX), (vec![1, 2], false));
        assert_eq!(read(&mut history, HistoryPage::Before(Seq(5)), 2, usize::MAX), (vec![3, 4], true));
        assert_eq!(read(&mut history, HistoryPage::After(Seq(7)), 2, usize::MAX), (vec![8, 9], true));
        assert_eq!(read(&mut history, HistoryPage::After(Seq(8)), 2, usize::MAX), (vec![9, 10], false));
        assert_eq!(read(&mut history, HistoryPage::After(Seq(99)), 2, usize::MAX), (vec![], false));
    }

    #[test]
    fn a_page_holds_at_most_so_many_bytes_but_always_one_message() {
        let mut history = filled(100, u64::MAX, 10);
        let weight = message(1, "x").weight();
        assert_eq!(read(&mut history, HistoryPage::After(Seq(0)), 9, 2 * weight), (vec![1, 2], true));
        assert_eq!(read(&mut history, HistoryPage::Newest, 9, 2 * weight), (vec![9, 10], true));
        assert_eq!(read(&mut history, HistoryPage::Newest, 9, 0), (vec![10], true));
    }

    #[test]
    fn a_search_finds_the_newest_first_and_says_whether_there_is_more() {
        let mut history = MemoryHistory::new(100, u64::MAX);
        for (seq, text) in [(1, "Green tea"), (2, "black tea"), (3, "tea, green as grass"), (4, "green")] {
            history.append(ROOM, Epoch(1), message(seq, text), &mut Vec::new());
        }
        let find = |query, page, limit| {
            let reader = Reader::Client { session: SessionId::new(HubId(0), 0, 0), id: None, ticket: None };
            let search = SearchText::parse(query);
            let (with, bytes) = (None, usize::MAX);
            let page = history.select(&ReadRequest { room: ROOM, page, search, with, limit, bytes, reader });
            (page.messages.iter().map(|message| message.seq.0).collect::<Vec<_>>(), page.has_more)
        };
        assert_eq!(find("GREEN tea", HistoryPage::Newest, 9), (vec![3, 1], false));
        assert_eq!(find("green", HistoryPage::Newest, 2), (vec![4, 3], true));
        assert_eq!(find("green", HistoryPage::Before(Seq(3)), 2), (vec![1], false));
    }

    #[test]
    fn searches_past_their_bound_are_refused_and_answered_ones_make_room() {
        let mut history = MemoryHistory::new(10_000, u64::MAX);
        let (report, reports) = std::sync::mpsc::channel();
        let report = std::sync::Mutex::new(report);
        history.connect(Arc::new(move |found| report.lock().unwrap().send(found).unwrap()), &Vitals::default());
        // Two steps each, so that a step that was looked at is followed by another.
        for seq in 1..=1_500 {
            history.append(ROOM, Epoch(1), message(seq, if seq == 7 { "Green tea" } else { "x" }), &mut Vec::new());
        }
        let mut done = Vec::new();
        let ask = |history: &mut MemoryHistory, done: &mut Vec<Completion>| {
            let reader = Reader::Client { session: SessionId::new(HubId(0), 0, 0), id: None, ticket: None };
            let (search, page) = (SearchText::parse("green"), HistoryPage::Newest);
            history.read(ReadRequest { room: ROOM, page, search, with: None, limit: 9, bytes: 9_999, reader }, done);
        };
        for _ in 0..search::SEARCHES_MAX {
            ask(&mut history, &mut done);
        }
        assert!(done.is_empty(), "all are on their way");
        ask(&mut history, &mut done);
        assert!(matches!(done.pop(), Some(Completion::Unread { error: ReadError::Busy, .. })));
        while done.is_empty() {
            history.reported(reports.recv().unwrap(), &mut done);
        }
        let Some(Completion::Read { page, .. }) = done.pop() else { panic!("no answer") };
        assert_eq!(page.messages.iter().map(|message| message.seq.0).collect::<Vec<_>>(), [7]);
        ask(&mut history, &mut done);
        assert!(done.is_empty(), "there is room for one again");
    }

    #[test]
    fn a_forgotten_room_leaves_nothing_behind() {
        let mut history = filled(100, u64::MAX, 10);
        history.forget(ROOM, None);
        assert_eq!((history.bytes, history.kept), (0, 0));
        assert_eq!(read(&mut history, HistoryPage::Newest, 9, usize::MAX), (vec![], false));
    }

    #[test]
    fn the_list_of_arrivals_stays_in_proportion_to_what_is_kept() {
        let history = filled(2, u64::MAX, 50_000);
        assert!(history.arrivals.len() < 2_048, "{}", history.arrivals.len());
    }
}

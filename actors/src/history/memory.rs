//! History in memory: the newest messages of every room, bounded in count per room and in bytes in all.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Epoch, HistoryPage, Seq};

use super::{Completion, HistoryStore, Page, ReadRequest, SearchText, StoredMessage};
use crate::chat_server::command::DropReply;
use crate::ids::RoomId;

/// Keeps the newest messages, in memory only.
#[derive(Debug)]
pub struct MemoryHistory {
    messages_max: usize,
    bytes_max: u64,
    bytes: u64,
    rooms: FxHashMap<RoomId, VecDeque<Arc<StoredMessage>>>,
    /// Every message in the order of arrival, to find the oldest of all; entries whose message is gone are skipped.
    arrivals: VecDeque<(RoomId, Seq)>,
    kept: usize,
}

impl MemoryHistory {
    /// An empty history of at most `messages_max` messages a room and `bytes_max` bytes in all rooms together.
    pub fn new(messages_max: u32, bytes_max: u64) -> Self {
        Self {
            messages_max: messages_max as usize,
            bytes_max,
            bytes: 0,
            rooms: FxHashMap::default(),
            arrivals: VecDeque::new(),
            kept: 0,
        }
    }

    /// The oldest and the newest message that are kept of a room.
    pub(crate) fn bounds(&self, room: RoomId) -> Option<(Seq, Seq)> {
        let messages = self.rooms.get(&room)?;
        Some((messages.front()?.seq, messages.back()?.seq))
    }

    /// The part of a room's messages that a request asks for, of those that are kept.
    pub(crate) fn select(&self, request: &ReadRequest) -> Page {
        self.rooms.get(&request.room).map_or_else(Page::default, |messages| select(messages, request))
    }

    pub(crate) fn drop_oldest(&mut self, room: RoomId) -> Option<Seq> {
        let messages = self.rooms.get_mut(&room)?;
        let dropped = messages.pop_front()?;
        self.bytes -= dropped.weight() as u64;
        self.kept -= 1;
        Some(messages.front().map_or(dropped.seq.next(), |oldest| oldest.seq))
    }

    /// Drops the oldest messages of all rooms until the bytes fit.
    fn fit_bytes(&mut self, done: &mut Vec<Completion>) {
        while self.bytes > self.bytes_max {
            let Some((room, seq)) = self.arrivals.pop_front() else { return };
            let is_kept = self.rooms.get(&room).and_then(VecDeque::front).is_some_and(|oldest| oldest.seq == seq);
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
        self.arrivals
            .retain(|(room, seq)| rooms.get(room).and_then(VecDeque::front).is_some_and(|oldest| oldest.seq <= *seq));
    }
}

impl HistoryStore for MemoryHistory {
    fn append(&mut self, room: RoomId, _: Epoch, message: Arc<StoredMessage>, done: &mut Vec<Completion>) {
        let seq = message.seq;
        self.bytes += message.weight() as u64;
        self.kept += 1;
        self.arrivals.push_back((room, seq));
        let messages = self.rooms.entry(room).or_default();
        messages.push_back(message);
        if messages.len() > self.messages_max {
            self.drop_oldest(room);
        }
        let oldest = self.rooms.get(&room).and_then(VecDeque::front).map_or(seq.next(), |oldest| oldest.seq);
        done.push(Completion::Stored { room, seq, oldest });
        self.fit_bytes(done);
        self.compact_arrivals();
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        let page = self.select(&request);
        done.push(Completion::Read { request, page });
    }

    fn forget(&mut self, room: RoomId, reply: Option<DropReply>) {
        let messages = self.rooms.remove(&room).unwrap_or_default();
        self.bytes -= messages.iter().map(|message| message.weight() as u64).sum::<u64>();
        self.kept -= messages.len();
        // The number may be given to a new room, whose messages must not be taken for these.
        self.arrivals.retain(|(of, _)| *of != room);
        // Whoever asked may have gone.
        reply.map(|reply| reply.send(Ok(())).unwrap_or_default()).unwrap_or_default();
    }
}

/// The messages that have all these words, the newest first.
fn search(messages: &VecDeque<Arc<StoredMessage>>, request: &ReadRequest, text: &SearchText) -> Page {
    let terms: Vec<String> = text.terms().iter().map(|term| term.to_lowercase()).collect();
    let before = if let HistoryPage::Before(seq) = request.page { seq } else { Seq(u64::MAX) };
    let older = messages.iter().rev().skip_while(|message| message.seq >= before);
    filter(older, request, |message| {
        let text = message.text.to_lowercase();
        terms.iter().all(|term| text.contains(term))
    })
}

/// The private messages with one client, the oldest first.
fn conversation(messages: &VecDeque<Arc<StoredMessage>>, request: &ReadRequest, with: &ClientId) -> Page {
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

fn select(messages: &VecDeque<Arc<StoredMessage>>, request: &ReadRequest) -> Page {
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
    fn a_forgotten_room_leaves_nothing_behind() {
        let mut history = filled(100, u64::MAX, 10);
        history.forget(ROOM, None);
        assert_eq!((history.bytes, history.kept, history.arrivals.len()), (0, 0, 0));
        assert_eq!(read(&mut history, HistoryPage::Newest, 9, usize::MAX), (vec![], false));
    }

    #[test]
    fn the_list_of_arrivals_stays_in_proportion_to_what_is_kept() {
        let history = filled(2, u64::MAX, 50_000);
        assert!(history.arrivals.len() < 2_048, "{}", history.arrivals.len());
    }
}

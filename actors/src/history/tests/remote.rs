//! A store that was written from the contract alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use rustc_hash::FxHashMap;

use super::*;

/// Keeps all messages, and commits and reads only when its report comes back, as a store on another host would.
#[derive(Default)]
pub(super) struct Remote {
    rooms: FxHashMap<RoomId, Vec<Arc<StoredMessage>>>,
    oldest: Seq,
    sink: Option<ReportSink>,
    pub(super) reads: Arc<AtomicUsize>,
    /// Whether its host is unreachable: it refuses everything.
    pub(super) is_lost: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(super) enum RemoteReport {
    Append(Entry),
    Read(ReadRequest),
    /// The store drops the messages of the test's room that are older.
    Trim(Seq),
}

impl Remote {
    fn later(&self, report: RemoteReport) {
        self.sink.as_ref().unwrap()(StoreReport::new(report));
    }

    fn commit(&mut self, Entry { number, copies }: Entry) -> Completion {
        let is_refused = copies.iter().any(|copy| copy.draft.content.text() == REFUSED);
        if is_refused || self.is_lost.load(Relaxed) {
            return Completion::Refused { number };
        }
        let place = |copy: &EntryCopy| {
            let newest = self.rooms.get(&copy.room).map_or(0, Vec::len) as u64;
            Twin { epoch: copy.epoch, seq: Seq(newest + 1) }
        };
        let places: Vec<_> = copies.iter().map(place).collect();
        let copies = copies.into_iter().enumerate().map(|(index, copy)| {
            let EntryCopy { room, key, epoch, draft, seq: _ } = copy;
            let stored = self.rooms.entry(room).or_default();
            let mut message = draft.placed(key, Seq(stored.len() as u64 + 1), Twin::of(index, &places));
            Self::change(stored, &mut message);
            let message = Arc::new(message);
            stored.push(Arc::clone(&message));
            StoredCopy { room, epoch, message, oldest: None }
        });
        Completion::Committed { number, copies: copies.collect() }
    }

    /// Applies a change to its message, and removes the texts of earlier edits.
    fn change(stored: &mut [Arc<StoredMessage>], change: &mut StoredMessage) {
        let Some(of) = change.content.of() else { return };
        let removes_text = !matches!(change.content, Content::Reaction { .. });
        for entry in stored.iter_mut().map(Arc::make_mut) {
            if entry.seq == of && entry.is_message() {
                entry.change(change);
                let shows_edit = entry.changes.as_ref().is_some_and(|changes| changes.shows_edit(change.seq));
                if !shows_edit {
                    change.content.clear_text();
                }
            } else if removes_text && entry.content.of() == Some(of) {
                entry.content.clear_text();
            }
        }
    }

    fn page(&self, request: &ReadRequest) -> Page {
        let words = request.search.iter().flat_map(SearchText::terms).map(|term| term.text.to_lowercase());
        let words: Vec<_> = words.collect();
        let is_shown = |message: &&Arc<StoredMessage>| {
            let text = message.text().to_lowercase();
            (message.is_message() || request.purpose == ReadPurpose::CatchUp)
                && message.seq >= request.oldest.max(self.oldest)
                && message.seq <= request.newest
                && match request.page {
                    HistoryPage::Newest => true,
                    HistoryPage::Before(seq) => message.seq < seq,
                    HistoryPage::After(seq) => message.seq > seq,
                }
                && request.with.as_ref().is_none_or(|with| message.peer() == Some(with))
                && words.iter().all(|word| text.contains(word))
        };
        let stored = self.rooms.get(&request.room).into_iter().flatten();
        let mut messages: Vec<_> = stored.filter(is_shown).cloned().collect();
        let has_more = messages.len() > request.limit;
        if matches!(request.page, HistoryPage::After(_)) {
            messages.truncate(request.limit);
        } else {
            messages.drain(..messages.len().saturating_sub(request.limit));
        }
        if request.search.is_some() {
            messages.reverse();
        }
        Page { messages, has_more }
    }
}

impl HistoryStore for Remote {
    fn connect(&mut self, sink: ReportSink, _: &Vitals) {
        self.sink = Some(sink);
    }

    fn reported(&mut self, report: StoreReport, done: &mut Vec<Completion>) {
        match report.open::<RemoteReport>().unwrap() {
            RemoteReport::Append(entry) => done.push(self.commit(entry)),
            RemoteReport::Read(request) if self.is_lost.load(Relaxed) => {
                done.push(Completion::Unread { request: Box::new(request), error: ReadError::Failed });
            }
            RemoteReport::Read(request) => {
                let page = self.page(&request);
                done.push(Completion::Read { request: Box::new(request), page });
            }
            RemoteReport::Trim(oldest) => {
                self.oldest = oldest;
                done.push(Completion::Trimmed { room: ROOM, oldest });
            }
        }
    }

    fn append(&mut self, entry: Entry, _: &mut Vec<Completion>) {
        self.later(RemoteReport::Append(entry));
    }

    fn keep_moderation(&mut self, _: Vec<Row>, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        done.extend(receipt.map(|receipt| Completion::Decided { receipt, is_kept: true }));
    }

    fn limit(&mut self, _: RoomId, _: OwnLimits) {
        // It keeps all messages.
    }

    fn read(&mut self, request: ReadRequest, _: &mut Vec<Completion>) {
        self.reads.fetch_add(1, Relaxed);
        self.later(RemoteReport::Read(request));
    }

    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.rooms.remove(&room);
        done.extend(receipt.map(|receipt| Completion::Forgotten { receipt, is_gone: true }));
    }
}

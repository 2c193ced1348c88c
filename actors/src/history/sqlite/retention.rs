//! Drops messages beyond the limits, the oldest first. Each step is small, so that no commit waits long for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use log::warn;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::Seq;

use super::SqliteSettings;
use super::file::SEARCH_ENDING;
use super::schema::{Bounds, DbRoom, drop_step, of_place, place};
use crate::clock::{self, Instant};
use crate::history::wall_clock::{PROVEN_AFTER, Plausibility, WallClock, millis};
use crate::history::{HistoryMetrics, OwnLimits};

/// The largest number of rows that one step drops: messages, and `id`s of messages that were dropped before.
const STEP: u64 = 256;

/// The largest number of dropped rooms that one step removes.
const ROOMS_DROPPED_MAX: usize = 256;

/// The interval between two checks of the limits.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The pause between two steps, in which commits have priority.
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// Finds the messages beyond the limits and drops them.
#[derive(Debug)]
pub(super) struct Retention {
    keep_messages: Option<u64>,
    keep_for: Option<Duration>,
    keep_bytes: Option<u64>,
    ids_kept_ms: u64,
    /// Rooms with limits of their own.
    own: BTreeMap<DbRoom, OwnRoom>,
    /// The time and the place of an entry up to which all entries beyond the age limit are gone, except those of rooms
    /// with an age limit of their own.
    passed: Option<(i64, i64)>,
    due: Instant,
    /// Rooms that may have too many messages. `None` until all rooms have been checked once.
    suspects: Option<VecDeque<DbRoom>>,
    suspected: FxHashSet<DbRoom>,
    /// Rooms that were dropped as a whole and still have messages.
    dropped: VecDeque<DbRoom>,
    wall_clock: WallClock,
    /// The last state of the wall clock that was logged.
    told: Plausibility,
}

/// A room with limits of its own.
#[derive(Debug)]
struct OwnRoom {
    limits: OwnLimits,
    /// Its oldest entry and the time of that, if they were looked up. Another entry may be the oldest by now.
    oldest: Option<(Seq, u64)>,
}

/// The messages that a step drops.
#[derive(Debug, Default)]
struct Chosen {
    /// The rooms that lose messages, each with the last one to drop.
    wanted: FxHashMap<DbRoom, u64>,
    /// The new value of [`Retention::passed`], if all of these are dropped.
    passed: Option<(i64, i64)>,
    /// Whether the next step may find more at once.
    is_unfinished: bool,
}

/// A look at the ages of messages.
#[derive(Debug)]
struct Look {
    unix_ms: u64,
    /// The time of the newest message.
    newest: u64,
    /// Whether all ages that were judged are plausible, and how long such messages are kept.
    found: (Plausibility, Duration),
}

impl Look {
    /// Whether entries are too old that are kept for this time, of which the oldest has this time.
    fn is_old(&mut self, clock: &WallClock, at: u64, kept: Duration) -> bool {
        if at >= self.unix_ms.saturating_sub(millis(kept)) {
            return false;
        }
        let found = Plausibility::of((at, self.newest), kept, self.unix_ms);
        if found != Plausibility::Plausible {
            self.found = (found, kept);
        }
        clock.is_trusted(kept, found)
    }
}

impl Retention {
    pub(super) fn new(settings: &SqliteSettings, now: Instant) -> Self {
        Self {
            keep_messages: settings.keep_messages,
            keep_for: settings.keep_for,
            keep_bytes: settings.keep_bytes,
            ids_kept_ms: millis(settings.ids_kept),
            own: BTreeMap::new(),
            passed: None,
            due: now,
            suspects: None,
            suspected: FxHashSet::default(),
            dropped: VecDeque::new(),
            wall_clock: WallClock::new(now, clock::unix_ms()),
            told: Plausibility::Plausible,
        }
    }

    /// Sets the limits of a room. `bounds`: its newest and its oldest message, if it has had any.
    pub(super) fn limit(&mut self, room: DbRoom, limits: OwnLimits, bounds: Option<&(Seq, Seq)>, now: Instant) {
        if limits == OwnLimits::default() {
            self.own.remove(&room);
        } else {
            self.own.insert(room, OwnRoom { limits, oldest: None });
        }
        self.passed = None;
        if let Some(bounds) = bounds {
            self.note(room, *bounds);
        }
        self.due = self.due.min(now);
    }

    /// The room has ended.
    pub(super) fn forget(&mut self, room: DbRoom) {
        self.own.remove(&room);
    }

    /// Logs a change of the wall clock's plausibility.
    fn tell(&mut self, found: Plausibility, kept: Duration) {
        if std::mem::discriminant(&found) == std::mem::discriminant(&self.told) {
            return;
        }
        self.told = found;
        match found {
            Plausibility::TooOld(days) if !self.wall_clock.is_trusted(kept, found) => warn!(
                "the clock may be wrong: according to it, the oldest message is {days} days old; no message is dropped by \
                 age until the clock has run steadily for {} s",
                PROVEN_AFTER.min(kept).as_secs()
            ),
            Plausibility::Behind(days) => warn!(
                "the clock may be wrong: according to it, the newest message is {days} days ahead; no message is dropped \
                 by age"
            ),
            Plausibility::TooOld(_) | Plausibility::Plausible => {}
        }
    }

    /// The largest number of messages of a room.
    fn most(&self, room: DbRoom) -> Option<u64> {
        self.own.get(&room).and_then(|own| own.limits.messages).or(self.keep_messages)
    }

    /// Adds a room that was dropped as a whole. Its messages are dropped next, before old messages of other rooms.
    pub(super) fn drop_room(&mut self, room: DbRoom, now: Instant) {
        self.dropped.push_back(room);
        self.due = self.due.min(now);
    }

    /// The time of the next step.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Delays the next step by the check interval, after a failure.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = now + LOOK_INTERVAL;
    }

    /// Checks a room after a commit has added messages to it.
    pub(super) fn note(&mut self, room: DbRoom, (seq, oldest): (Seq, Seq)) {
        let is_over = self.most(room).is_some_and(|most| seq.0 >= oldest.0 + most);
        if is_over
            && let Some(suspects) = &mut self.suspects
            && self.suspected.insert(room)
        {
            suspects.push_back(room);
        }
    }

    /// Runs one step. Returns the rooms that have lost messages, each with its new oldest message. After a failure the
    /// work stays due.
    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        bounds: &mut Bounds,
        metrics: &HistoryMetrics,
        now: Instant,
    ) -> rusqlite::Result<Vec<(DbRoom, Seq)>> {
        let outcome = self.try_step(connection, bounds, metrics, (now, clock::unix_ms()));
        if outcome.is_err() {
            // The rooms of the failed step are no longer in the list, so the next step builds a new one.
            self.suspects = None;
            self.suspected.clear();
        }
        outcome
    }

    /// Runs one step at the given time of the monotonic clock and of the wall clock (in milliseconds).
    fn try_step(
        &mut self,
        connection: &mut Connection,
        bounds: &mut Bounds,
        metrics: &HistoryMetrics,
        (now, unix_ms): (Instant, u64),
    ) -> rusqlite::Result<Vec<(DbRoom, Seq)>> {
        let used = used_bytes(connection)?;
        metrics.bytes.store(used + bytes_beside(connection), Relaxed);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !self.dropped.is_empty() {
            let (mut left, mut messages, mut whole) = (STEP, 0, 0);
            for room in self.dropped.iter().take(ROOMS_DROPPED_MAX) {
                let step = drop_step(&transaction, *room, left)?;
                messages += step.messages;
                if step.rows == left {
                    break;
                }
                (left, whole) = (left - step.rows, whole + 1);
            }
            transaction.commit()?;
            self.dropped.drain(..whole);
            metrics.dropped.fetch_add(messages, Relaxed);
            self.due = now + STEP_PAUSE;
            return Ok(Vec::new());
        }
        // The `id`s of messages that were dropped go before messages: otherwise they would take the place of all of
        // them.
        if self.excess(used) > 0 && drop_oldest_ids(&transaction)? > 0 {
            transaction.commit()?;
            self.due = now + STEP_PAUSE;
            return Ok(Vec::new());
        }
        self.wall_clock.look(now, unix_ms);
        let is_trusted = self.wall_clock.is_trusted(self.keep_for.unwrap_or(PROVEN_AFTER), self.told);
        let Chosen { wanted, passed, is_unfinished } = self.choose(&transaction, bounds, used, unix_ms)?;
        // Without a trusted clock, no `id` expires.
        let remembered_since = if is_trusted { unix_ms.saturating_sub(self.ids_kept_ms) } else { 0 };
        let mut trimmed = Vec::new();
        let (mut dropped, mut is_all) = (0, true);
        for (room, wanted) in wanted {
            let Some((seq, oldest)) = bounds.get(&room).copied() else { continue };
            let upto = wanted.min(seq.0).min(oldest.0 + STEP - 1);
            is_all &= upto == wanted.min(seq.0);
            if upto < oldest.0 {
                continue;
            }
            drop_messages(&transaction, room, oldest.0, upto, remembered_since)?;
            dropped += upto + 1 - oldest.0;
            trimmed.push((room, Seq(upto + 1)));
        }
        if dropped == 0 {
            transaction.execute(
                "DELETE FROM dropped_ids WHERE place IN (SELECT place FROM dropped_ids WHERE at < ?1 LIMIT ?2)",
                (remembered_since.cast_signed(), STEP),
            )?;
        }
        transaction.commit()?;
        for (room, oldest) in &trimmed {
            if let Some(bounds) = bounds.get_mut(room) {
                bounds.1 = *oldest;
                if self.suspected.remove(room) {
                    self.note(*room, *bounds);
                }
            }
        }
        if is_all && passed.is_some() {
            self.passed = passed;
        }
        metrics.dropped.fetch_add(dropped, Relaxed);
        self.due = now + if dropped > 0 || is_unfinished { STEP_PAUSE } else { LOOK_INTERVAL };
        Ok(trimmed)
    }

    /// How many of the bytes in use are too many.
    fn excess(&self, used: u64) -> u64 {
        self.keep_bytes.map_or(0, |most| used.saturating_sub(most))
    }

    /// The rooms that lose messages in this step, each with the last message to drop.
    fn choose(
        &mut self,
        transaction: &Transaction<'_>,
        bounds: &Bounds,
        used: u64,
        unix_ms: u64,
    ) -> rusqlite::Result<Chosen> {
        let mut chosen = Chosen::default();
        self.choose_by_count(bounds, &mut chosen);
        if !chosen.wanted.is_empty() {
            return Ok(chosen);
        }
        let mut newest = transaction.prepare_cached("SELECT max(at) FROM messages")?;
        let newest = newest.query_row([], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0).cast_unsigned();
        let has_ages = self.keep_for.is_some() || self.own.values().any(|own| own.limits.keep_for.is_some());
        // Nothing is old if the clock is behind, but it is told then, too.
        let newest = if has_ages { newest } else { 0 };
        let found = Plausibility::of((unix_ms, newest), Duration::ZERO, unix_ms);
        let mut look = Look { unix_ms, newest, found: (found, Duration::ZERO) };
        self.choose_own_by_age(transaction, bounds, &mut look, &mut chosen)?;
        if chosen.wanted.is_empty() {
            self.choose_oldest(transaction, self.excess(used), &mut look, &mut chosen)?;
        }
        let (found, kept) = look.found;
        self.tell(found, kept);
        Ok(chosen)
    }

    /// Chooses rooms with too many messages.
    fn choose_by_count(&mut self, bounds: &Bounds, chosen: &mut Chosen) {
        if self.suspects.is_none() {
            self.suspects = Some(VecDeque::new());
            let limited: Vec<_> = match self.keep_messages {
                Some(_) => bounds.keys().copied().collect(),
                None => self.own.keys().copied().collect(),
            };
            for room in limited {
                if let Some(bounds) = bounds.get(&room) {
                    self.note(room, *bounds);
                }
            }
        }
        let mut left = STEP;
        while left > 0
            && let Some(room) = self.suspects.as_mut().and_then(VecDeque::pop_front)
        {
            let Some(((seq, oldest), most)) = bounds.get(&room).zip(self.most(room)) else {
                self.suspected.remove(&room);
                continue;
            };
            let upto = seq.0.saturating_sub(most).min(oldest.0 + left - 1);
            if upto < oldest.0 {
                // Its limit was raised meanwhile.
                self.suspected.remove(&room);
                continue;
            }
            left -= upto + 1 - oldest.0;
            chosen.wanted.insert(room, upto);
        }
    }

    /// Chooses rooms with messages beyond an age limit of their own.
    fn choose_own_by_age(
        &mut self,
        transaction: &Transaction<'_>,
        bounds: &Bounds,
        look: &mut Look,
        chosen: &mut Chosen,
    ) -> rusqlite::Result<()> {
        let mut entry = transaction.prepare_cached(
            "SELECT at FROM messages WHERE place = ?1 UNION ALL SELECT at FROM changes WHERE place = ?1",
        )?;
        let mut old = transaction.prepare_cached(
            "SELECT max(place) FROM (SELECT place, at FROM messages WHERE place BETWEEN ?1 AND ?2
                UNION ALL SELECT place, at FROM changes WHERE place BETWEEN ?1 AND ?2) WHERE at < ?3",
        )?;
        let (mut looked_up, mut left) = (0, STEP);
        for (room, own) in &mut self.own {
            let Some((kept, (seq, oldest))) = own.limits.keep_for.zip(bounds.get(room).copied()) else { continue };
            if oldest > seq {
                continue;
            }
            if own.oldest.is_none_or(|(of, _)| of != oldest) {
                chosen.is_unfinished = looked_up == STEP;
                if chosen.is_unfinished {
                    break;
                }
                looked_up += 1;
                let at: Option<i64> = entry.query_row([place(*room, oldest.0)], |row| row.get(0)).optional()?;
                own.oldest = at.map(|at| (oldest, at.cast_unsigned()));
            }
            if !own.oldest.is_some_and(|(_, at)| look.is_old(&self.wall_clock, at, kept)) {
                continue;
            }
            let (first, last) = (place(*room, oldest.0), place(*room, oldest.0 + left - 1));
            let before = look.unix_ms.saturating_sub(millis(kept)).cast_signed();
            let upto: Option<i64> = old.query_row((first, last, before), |row| row.get(0))?;
            if let Some((_, upto)) = upto.map(of_place) {
                left -= upto + 1 - oldest.0;
                chosen.wanted.insert(*room, upto);
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Chooses the oldest messages of all rooms: those beyond the server's age limit, except in rooms with one of their
    /// own; and beyond the size limit those of all rooms, regardless of age, until enough is freed.
    fn choose_oldest(
        &mut self,
        transaction: &Transaction<'_>,
        excess: u64,
        look: &mut Look,
        chosen: &mut Chosen,
    ) -> rusqlite::Result<()> {
        if self.keep_for.is_none() && excess == 0 {
            return Ok(());
        }
        let mut oldest = transaction.prepare_cached(
            "SELECT place, at, octet_length(text) + coalesce(octet_length(changes), 0) FROM messages
                 WHERE at >= ?2 AND (at > ?2 OR place > ?3)
                 UNION ALL SELECT place, at, coalesce(octet_length(text), 0) FROM changes
                 WHERE at >= ?2 AND (at > ?2 OR place > ?3)
                 ORDER BY 2, 1 LIMIT ?1",
        )?;
        let is_even = self.wall_clock.is_trusted(PROVEN_AFTER, Plausibility::Plausible);
        if !is_even {
            // The clock was set: new messages may have earlier times than those that were passed.
            self.passed = None;
        }
        let from = self.passed.filter(|_| excess == 0).unwrap_or((i64::MIN, i64::MIN));
        let mut rows = oldest.query((STEP, from.0, from.1))?;
        let (mut freed, mut read) = (0, 0);
        while let Some(row) = rows.next()? {
            let (at, entry): (i64, i64) = (row.get(1)?, row.get(0)?);
            let (room, seq) = of_place(entry);
            let has_own = self.own.get(&room).is_some_and(|own| own.limits.keep_for.is_some());
            let is_old = self.keep_for.is_some_and(|kept| {
                let at = at.cast_unsigned();
                if has_own {
                    at < look.unix_ms.saturating_sub(millis(kept))
                } else {
                    look.is_old(&self.wall_clock, at, kept)
                }
            });
            if freed >= excess && !is_old {
                break;
            }
            read += 1;
            if freed >= excess && has_own {
                chosen.passed = Some((at, entry));
                continue;
            }
            freed += row.get::<_, u64>(2)?;
            let upto = chosen.wanted.entry(room).or_insert(seq);
            *upto = (*upto).max(seq);
        }
        chosen.is_unfinished |= is_even && read == STEP && chosen.passed.is_some();
        Ok(())
    }
}

pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok((pragma("page_count")?.saturating_sub(pragma("freelist_count")?)) * pragma("page_size")?)
}

/// The bytes of the files beside the database: its write-ahead log, the search index and the index's log. Retention
/// cannot shrink them directly.
fn bytes_beside(connection: &Connection) -> u64 {
    let Some(path) = connection.path() else { return 0 };
    let files = ["-wal".to_owned(), SEARCH_ENDING.to_owned(), format!("{SEARCH_ENDING}-wal")];
    files.iter().filter_map(|file| std::fs::metadata(format!("{path}{file}")).ok()).map(|file| file.len()).sum()
}

/// Drops a step's worth of the oldest `id`s of messages that were dropped before; returns how many.
fn drop_oldest_ids(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    let oldest = "DELETE FROM dropped_ids WHERE place IN (SELECT place FROM dropped_ids ORDER BY at LIMIT ?1)";
    transaction.prepare_cached(oldest)?.execute([STEP])
}

/// Drops the messages of a room from `first` to `last`. Keeps the `id`s that are still remembered; for a private
/// message only the receiver's copy has one.
fn drop_messages(
    transaction: &Transaction<'_>,
    room: DbRoom,
    first: u64,
    last: u64,
    remembered_since: u64,
) -> rusqlite::Result<()> {
    let (low, high) = (place(room, first), place(room, last));
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO dropped_ids (place, at, client_id, id, owner) SELECT place, at, client_id, id, owner
             FROM (SELECT place, at, client_id, id, owner, peer FROM messages WHERE place BETWEEN ?1 AND ?2
                UNION ALL SELECT place, at, client_id, id, owner, peer FROM changes WHERE place BETWEEN ?1 AND ?2)
             WHERE id IS NOT NULL AND at >= ?3 AND (peer IS NULL OR peer = client_id)",
        )?
        .execute((low, high, remembered_since.cast_signed()))?;
    transaction.prepare_cached("DELETE FROM messages WHERE place BETWEEN ?1 AND ?2")?.execute((low, high))?;
    transaction.prepare_cached("DELETE FROM changes WHERE place BETWEEN ?1 AND ?2")?.execute((low, high))?;
    let oldest = (last + 1).cast_signed();
    transaction.prepare_cached("UPDATE rooms SET oldest = ?2 WHERE id = ?1")?.execute((room.0, oldest))?;
    Ok(())
}

#[cfg(test)]
mod tests;

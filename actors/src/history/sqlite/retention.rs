//! Drops messages beyond the limits, the oldest first. Each step is small, so that no commit waits long for it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use log::warn;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::Seq;

use super::SqliteSettings;
use super::file::SEARCH_ENDING;
use super::schema::{Bounds, DbRoom, drop_step, of_place, place};
use crate::clock::{self, Instant};
use crate::history::HistoryMetrics;

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
    keep_for_ms: Option<u64>,
    keep_bytes: Option<u64>,
    ids_kept_ms: u64,
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

/// The largest allowed difference between the wall clock and the monotonic clock from one check to the next. A larger
/// one means that the wall clock was set.
const CLOCK_DRIFT_MAX: Duration = Duration::from_secs(2);

/// How long the wall clock must run steadily before messages are dropped by age.
const CLOCK_TRUSTED_AFTER: Duration = Duration::from_mins(1);

/// A message that exceeds the age limit by this much indicates a wrong clock: it is years ahead now, or was years
/// behind when the message was stored.
const AGE_SURPLUS_MAX: Duration = Duration::from_hours(365 * 24);

/// How long the wall clock must run steadily before messages of such an age are dropped.
const CLOCK_PROVEN_AFTER: Duration = Duration::from_hours(24);

/// Decides whether the wall clock can be trusted for a message's age: it must not have been set for a while.
#[derive(Debug)]
struct WallClock {
    trusted_after: Duration,
    /// The time since which the clock has run steadily.
    even_since: Instant,
    looked_at: Instant,
    said_ms: u64,
}

impl WallClock {
    fn new(trusted_after: Duration, now: Instant, unix_ms: u64) -> Self {
        Self { trusted_after, even_since: now, looked_at: now, said_ms: unix_ms }
    }

    fn is_trusted(&mut self, now: Instant, unix_ms: u64) -> bool {
        let expected = self.said_ms.saturating_add(millis(now.saturating_duration_since(self.looked_at)));
        if expected.abs_diff(unix_ms) > millis(CLOCK_DRIFT_MAX) {
            self.even_since = now;
        }
        (self.looked_at, self.said_ms) = (now, unix_ms);
        self.is_even_for(self.trusted_after)
    }

    /// Whether the clock had run steadily for this duration at the last check.
    fn is_even_for(&self, duration: Duration) -> bool {
        self.looked_at.saturating_duration_since(self.even_since) >= duration
    }
}

/// Whether the ages of the stored messages fit the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plausibility {
    Plausible,
    /// The age of the oldest message in days, which exceeds the age limit by too much.
    TooOld(u64),
    /// The number of days that the newest message is ahead of the clock.
    Behind(u64),
}

impl Plausibility {
    /// Compares the wall clock with the times of the oldest and the newest message.
    fn of((oldest, newest): (u64, u64), kept_ms: u64, unix_ms: u64) -> Self {
        let days = |ms| ms / millis(CLOCK_PROVEN_AFTER);
        let age = unix_ms.saturating_sub(oldest);
        if age.saturating_sub(kept_ms) > millis(AGE_SURPLUS_MAX) {
            Self::TooOld(days(age))
        } else if newest.saturating_sub(unix_ms) > millis(AGE_SURPLUS_MAX) {
            Self::Behind(days(newest - unix_ms))
        } else {
            Self::Plausible
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Retention {
    pub(super) fn new(settings: &SqliteSettings, now: Instant) -> Self {
        Self {
            keep_messages: settings.keep_messages,
            keep_for_ms: settings.keep_for.map(millis),
            keep_bytes: settings.keep_bytes,
            ids_kept_ms: millis(settings.ids_kept),
            due: now,
            suspects: None,
            suspected: FxHashSet::default(),
            dropped: VecDeque::new(),
            wall_clock: WallClock::new(
                settings.keep_for.unwrap_or(CLOCK_TRUSTED_AFTER).min(CLOCK_TRUSTED_AFTER),
                now,
                clock::unix_ms(),
            ),
            told: Plausibility::Plausible,
        }
    }

    /// Whether the wall clock can be trusted for dropping messages by age. Logs a change of its plausibility.
    fn is_clock_trusted(&mut self, connection: &Connection, now: Instant, unix_ms: u64) -> rusqlite::Result<bool> {
        let is_trusted = self.wall_clock.is_trusted(now, unix_ms);
        let Some(kept_ms) = self.keep_for_ms else { return Ok(is_trusted) };
        let span = "SELECT (SELECT min(at) FROM messages), (SELECT max(at) FROM messages)";
        let span = connection.prepare_cached(span)?.query_row([], |row| {
            let time = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(i64::cast_unsigned));
            Ok(time(0)?.zip(time(1)?))
        })?;
        let found = span.map_or(Plausibility::Plausible, |span| Plausibility::of(span, kept_ms, unix_ms));
        let proven_after = CLOCK_PROVEN_AFTER.min(Duration::from_millis(kept_ms));
        let is_proven = self.wall_clock.is_even_for(proven_after);
        if std::mem::discriminant(&found) != std::mem::discriminant(&self.told) {
            self.told = found;
            match found {
                Plausibility::TooOld(days) if !is_proven => warn!(
                    "the clock may be wrong: according to it, the oldest message is {days} days old; no message is \
                     dropped by age until the clock has run steadily for {} s",
                    proven_after.as_secs()
                ),
                Plausibility::Behind(days) => warn!(
                    "the clock may be wrong: according to it, the newest message is {days} days ahead; no message is \
                     dropped by age"
                ),
                Plausibility::TooOld(_) | Plausibility::Plausible => {}
            }
        }
        Ok(is_trusted && (is_proven || found == Plausibility::Plausible))
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
        let is_over = self.keep_messages.is_some_and(|most| seq.0 >= oldest.0 + most);
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
        let is_trusted = self.is_clock_trusted(&transaction, now, unix_ms)?;
        let wanted = self.choose(&transaction, bounds, used, is_trusted.then_some(unix_ms))?;
        // Without a trusted clock, no `id` expires.
        let remembered_since = if is_trusted { unix_ms.saturating_sub(self.ids_kept_ms) } else { 0 };
        let mut trimmed = Vec::new();
        let mut dropped = 0;
        for (room, upto) in wanted {
            let Some((seq, oldest)) = bounds.get(&room).copied() else { continue };
            let upto = upto.min(seq.0).min(oldest.0 + STEP - 1);
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
        metrics.dropped.fetch_add(dropped, Relaxed);
        self.due = now + if dropped > 0 { STEP_PAUSE } else { LOOK_INTERVAL };
        Ok(trimmed)
    }

    /// How many of the bytes in use are too many.
    fn excess(&self, used: u64) -> u64 {
        self.keep_bytes.map_or(0, |most| used.saturating_sub(most))
    }

    /// The rooms that lose messages in this step, each with the last message to drop. Without a time, no message is
    /// dropped by age.
    fn choose(
        &mut self,
        transaction: &Transaction<'_>,
        bounds: &Bounds,
        used: u64,
        unix_ms: Option<u64>,
    ) -> rusqlite::Result<FxHashMap<DbRoom, u64>> {
        let mut wanted = FxHashMap::default();
        if let Some(most) = self.keep_messages {
            if self.suspects.is_none() {
                self.suspects = Some(VecDeque::new());
                for (room, bounds) in bounds {
                    self.note(*room, *bounds);
                }
            }
            let mut left = STEP;
            while left > 0
                && let Some(room) = self.suspects.as_mut().and_then(VecDeque::pop_front)
            {
                let Some((seq, oldest)) = bounds.get(&room) else { continue };
                let upto = seq.0.saturating_sub(most).min(oldest.0 + left - 1);
                left -= (upto + 1).saturating_sub(oldest.0).min(left);
                wanted.insert(room, upto);
            }
            if !wanted.is_empty() {
                return Ok(wanted);
            }
        }
        let before = self.keep_for_ms.zip(unix_ms).map(|(kept, now)| now.saturating_sub(kept));
        let excess = self.excess(used);
        if before.is_some() || excess > 0 {
            let mut oldest = transaction.prepare_cached(
                "SELECT place, at, octet_length(text) + coalesce(octet_length(changes), 0) FROM messages
                     UNION ALL SELECT place, at, coalesce(octet_length(text), 0) FROM changes
                     ORDER BY 2, 1 LIMIT ?1",
            )?;
            let mut rows = oldest.query([STEP])?;
            let mut freed = 0;
            while let Some(row) = rows.next()? {
                let is_old = before.is_some_and(|before| row.get(1).is_ok_and(|at: i64| at.cast_unsigned() < before));
                // Beyond the size limit the oldest messages of all rooms are dropped, regardless of age, until enough
                // is freed.
                if !is_old && freed >= excess {
                    break;
                }
                freed += row.get::<_, u64>(2)?;
                let (room, seq) = of_place(row.get(0)?);
                let upto = wanted.entry(room).or_insert(seq);
                *upto = (*upto).max(seq);
            }
        }
        Ok(wanted)
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

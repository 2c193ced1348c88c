//! What is too much is dropped, the oldest first, in steps so small that no commit waits for long.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use log::warn;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::Seq;

use super::SqliteSettings;
use super::schema::{Bounds, DbRoom, drop_step, of_place, place};
use super::search::ENDING;
use crate::clock;
use crate::history::HistoryMetrics;

/// Most messages, or `id`s of messages that were dropped before, that one step drops.
const STEP: u64 = 256;

/// Most dropped rooms that one step ends.
const ROOMS_DROPPED_MAX: usize = 256;

/// How often it is looked whether there is too much.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long after a step the next one may come, so that commits come first.
const STEP_PAUSE: Duration = Duration::from_millis(5);

/// Decides what is too much, and drops it.
#[derive(Debug)]
pub(super) struct Retention {
    keep_messages: Option<u64>,
    keep_for_ms: Option<u64>,
    keep_bytes: Option<u64>,
    ids_kept_ms: u64,
    due: Instant,
    /// Rooms that may have too many messages; `None` until all rooms have been looked at once.
    suspects: Option<VecDeque<DbRoom>>,
    suspected: FxHashSet<DbRoom>,
    /// Rooms that were dropped as a whole and still have messages.
    dropped: VecDeque<DbRoom>,
    wall_clock: WallClock,
    /// What the log was told last of the wall clock.
    told: Plausibility,
}

/// How far the wall clock may go apart from the other one between two looks at it: further, and it was set.
const CLOCK_DRIFT_MAX: Duration = Duration::from_secs(2);

/// How long the wall clock must go on evenly before it says what is too old.
const CLOCK_TRUSTED_AFTER: Duration = Duration::from_mins(1);

/// A message that is older than it may get by this much is a sign of a wrong clock: one that is years ahead, or that was
/// years behind when the message came.
const AGE_SURPLUS_MAX: Duration = Duration::from_hours(365 * 24);

/// How long the wall clock must go on evenly before messages of such an age are dropped.
const CLOCK_PROVEN_AFTER: Duration = Duration::from_hours(24);

/// Whether the wall clock can be believed when it says how old a message is: it has not been set for a while.
#[derive(Debug)]
struct WallClock {
    trusted_after: Duration,
    /// Since when it goes evenly.
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

    /// Whether it went evenly for so long at the last look.
    fn is_even_for(&self, duration: Duration) -> bool {
        self.looked_at.saturating_duration_since(self.even_since) >= duration
    }
}

/// What the ages of the stored messages say of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plausibility {
    Plausible,
    /// The oldest message is so many days old, and it may not get so old.
    TooOld(u64),
    /// The newest message is so many days ahead.
    Behind(u64),
}

impl Plausibility {
    /// Of the time now, against when the oldest and the newest message were stored.
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

    /// Whether the wall clock says what is too old.
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
                    "the clock may be wrong: by it the oldest message is {days} days old; by age nothing is dropped until \
                     the clock has gone on evenly for {} s",
                    proven_after.as_secs()
                ),
                Plausibility::Behind(days) => warn!(
                    "the clock may be wrong: by it the newest message will come in {days} days; by age nothing is dropped"
                ),
                Plausibility::TooOld(_) | Plausibility::Plausible => {}
            }
        }
        Ok(is_trusted && (is_proven || found == Plausibility::Plausible))
    }

    /// A room was dropped as a whole: its messages go from now on, before what is merely old.
    pub(super) fn drop_room(&mut self, room: DbRoom, now: Instant) {
        self.dropped.push_back(room);
        self.due = self.due.min(now);
    }

    /// When the next step is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Does nothing for a while.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = now + LOOK_INTERVAL;
    }

    /// A room has grown.
    pub(super) fn note(&mut self, room: DbRoom, (seq, oldest): (Seq, Seq)) {
        let is_over = self.keep_messages.is_some_and(|most| seq.0 >= oldest.0 + most);
        if is_over
            && let Some(suspects) = &mut self.suspects
            && self.suspected.insert(room)
        {
            suspects.push_back(room);
        }
    }

    /// Drops at most a step's worth, and tells which rooms now begin where. After a failure, what was due still is.
    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        bounds: &mut Bounds,
        metrics: &HistoryMetrics,
        now: Instant,
    ) -> rusqlite::Result<Vec<(DbRoom, Seq)>> {
        let outcome = self.try_step(connection, bounds, metrics, (now, clock::unix_ms()));
        if outcome.is_err() {
            // The rooms of the failed step are not on the list any more: it is made anew.
            self.suspects = None;
            self.suspected.clear();
        }
        outcome
    }

    /// One step, at this time by the clock that never goes back and by the wall clock, in milliseconds.
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
        let is_trusted = self.is_clock_trusted(&transaction, now, unix_ms)?;
        let wanted = self.choose(&transaction, bounds, used, is_trusted.then_some(unix_ms))?;
        // While the clock says nothing of age, every `id` is kept.
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

    /// The rooms that are to lose messages in this step, and up to which. By age none, where the time is not known.
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
        let excess = self.keep_bytes.map_or(0, |most| used.saturating_sub(most));
        if before.is_some() || excess > 0 {
            let mut oldest = transaction
                .prepare_cached("SELECT place, at, octet_length(text) FROM messages ORDER BY at, place LIMIT ?1")?;
            let mut rows = oldest.query([STEP])?;
            let mut freed = 0;
            while let Some(row) = rows.next()? {
                let is_old = before.is_some_and(|before| row.get(1).is_ok_and(|at: i64| at.cast_unsigned() < before));
                // Too large together: the oldest of all go, however young, and no more than it takes.
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

/// The bytes of the files beside the database: its write-ahead log, and the search index with its own. They are not a part of
/// what retention can make smaller at once.
fn bytes_beside(connection: &Connection) -> u64 {
    let Some(path) = connection.path() else { return 0 };
    let files = ["-wal".to_owned(), ENDING.to_owned(), format!("{ENDING}-wal")];
    files.iter().filter_map(|file| std::fs::metadata(format!("{path}{file}")).ok()).map(|file| file.len()).sum()
}

/// Drops the messages of a room from `first` to `last`; the `id`s of those that are still remembered are kept, of a private
/// message with the receiver's copy.
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
             FROM messages WHERE place BETWEEN ?1 AND ?2 AND id IS NOT NULL AND at >= ?3
                AND (peer IS NULL OR peer = client_id)",
        )?
        .execute((low, high, remembered_since.cast_signed()))?;
    transaction.prepare_cached("DELETE FROM messages WHERE place BETWEEN ?1 AND ?2")?.execute((low, high))?;
    let oldest = (last + 1).cast_signed();
    transaction.prepare_cached("UPDATE rooms SET oldest = ?2 WHERE id = ?1")?.execute((room.0, oldest))?;
    Ok(())
}

#[cfg(test)]
mod tests;

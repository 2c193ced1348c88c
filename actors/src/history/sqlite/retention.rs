//! What is too much is dropped, the oldest first, in steps so small that no commit waits for long.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::Seq;

use super::SqliteSettings;
use super::schema::{DbRoom, drop_step, of_place, place};
use super::writer::Bounds;
use crate::clock;
use crate::metrics::HistoryMetrics;

/// Most messages that one step drops.
const STEP: u64 = 256;

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
        }
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

    /// Drops at most a step's worth, and tells which rooms now begin where.
    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        bounds: &mut Bounds,
        metrics: &HistoryMetrics,
        now: Instant,
    ) -> rusqlite::Result<Vec<(DbRoom, Seq)>> {
        let used = used_bytes(connection)?;
        metrics.bytes.store(used, Relaxed);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(room) = self.dropped.front().copied() {
            let dropped = drop_step(&transaction, room, STEP)?;
            transaction.commit()?;
            if dropped < STEP {
                self.dropped.pop_front();
            }
            metrics.dropped.fetch_add(dropped, Relaxed);
            self.due = now + STEP_PAUSE;
            return Ok(Vec::new());
        }
        let wanted = self.choose(&transaction, bounds, used)?;
        let mut trimmed = Vec::new();
        let mut dropped = 0;
        for (room, upto) in wanted {
            let Some((seq, oldest)) = bounds.get(&room).copied() else { continue };
            let upto = upto.min(seq.0).min(oldest.0 + STEP - 1);
            if upto < oldest.0 {
                continue;
            }
            drop_messages(&transaction, room, oldest.0, upto, clock::unix_ms().saturating_sub(self.ids_kept_ms))?;
            dropped += upto + 1 - oldest.0;
            trimmed.push((room, Seq(upto + 1)));
        }
        if dropped == 0 {
            let forgotten = clock::unix_ms().saturating_sub(self.ids_kept_ms).cast_signed();
            transaction.execute("DELETE FROM dropped_ids WHERE at < ?1", [forgotten])?;
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

    /// The rooms that are to lose messages in this step, and up to which.
    fn choose(
        &mut self,
        transaction: &Transaction<'_>,
        bounds: &Bounds,
        used: u64,
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
        let before = self.keep_for_ms.map(|kept| clock::unix_ms().saturating_sub(kept));
        let is_too_large = self.keep_bytes.is_some_and(|most| used > most);
        // Too large together: the oldest of all go, however young.
        let before = if is_too_large { Some(i64::MAX as u64) } else { before };
        if let Some(before) = before {
            let mut oldest =
                transaction.prepare_cached("SELECT place FROM messages WHERE at < ?1 ORDER BY at, place LIMIT ?2")?;
            let mut rows = oldest.query((before.cast_signed(), STEP))?;
            while let Some(row) = rows.next()? {
                let (room, seq) = of_place(row.get(0)?);
                let upto = wanted.entry(room).or_insert(seq);
                *upto = (*upto).max(seq);
            }
        }
        Ok(wanted)
    }
}

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok((pragma("page_count")?.saturating_sub(pragma("freelist_count")?)) * pragma("page_size")?)
}

/// Drops the messages of a room from `first` to `last`; the `id`s of those that are still remembered are kept.
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
             FROM messages WHERE place BETWEEN ?1 AND ?2 AND id IS NOT NULL AND at >= ?3",
        )?
        .execute((low, high, remembered_since.cast_signed()))?;
    let mut text = transaction.prepare_cached("DELETE FROM messages_text WHERE rowid = ?1")?;
    for seq in first..=last {
        text.execute([place(room, seq)])?;
    }
    transaction.prepare_cached("DELETE FROM messages WHERE place BETWEEN ?1 AND ?2")?.execute((low, high))?;
    let oldest = (last + 1).cast_signed();
    transaction.prepare_cached("UPDATE rooms SET oldest = ?2 WHERE id = ?1")?.execute((room.0, oldest))?;
    Ok(())
}

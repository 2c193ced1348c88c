//! The numbers that new rooms get in the database.
//!
//! Invariant: a number is assigned only if nothing is stored with it: no room, no message, and no `id` of a dropped
//! message. So there are always enough numbers for new rooms, however many rooms have ended.

use std::collections::VecDeque;
use std::ops::Range;

use rusqlite::Connection;

use super::schema::{self, DbRoom, ROOMS_MAX, of_place, place};

/// With fewer numbers left than this, the writer looks for more.
const FEW: u32 = 16 * 1024;

/// Most numbers in one search: far fewer than exist, so the search finds no number that is about to be assigned.
const FOUND_MAX: u32 = 1 << 20;

/// Most rooms that one search examines.
const LOOKED_AT: u32 = 1_024;

/// Numbers with which nothing is stored.
#[derive(Debug, Default)]
pub(super) struct FreeNumbers {
    ranges: VecDeque<Range<u32>>,
    /// The number at which the next search begins.
    from: u32,
    is_asked: bool,
}

/// The numbers that a search has found, and where the next search begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FoundNumbers {
    ranges: Vec<Range<u32>>,
    next: u32,
}

impl FreeNumbers {
    /// The numbers above all used ones, and free numbers below if those are few.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut numbers = Self::above(schema::last_number(connection)?);
        while let Some(from) = numbers.wanted() {
            numbers.add(find(connection, from)?);
            if numbers.from == 1 {
                break;
            }
        }
        Ok(numbers)
    }

    fn above(last: u32) -> Self {
        let above = last.saturating_add(1)..ROOMS_MAX + 1;
        Self { ranges: VecDeque::from([above]), from: 1, is_asked: false }
    }

    /// The next number that is not in use.
    pub(super) fn take(&mut self, is_used: impl Fn(DbRoom) -> bool) -> Option<DbRoom> {
        while let Some(range) = self.ranges.front_mut() {
            match range.next().map(DbRoom) {
                Some(number) if !is_used(number) => return Some(number),
                Some(_) => {}
                None => drop(self.ranges.pop_front()),
            }
        }
        None
    }

    /// The start of the next search, if few numbers are left. `None` after that until the results were
    /// [added](Self::add).
    pub(super) fn wanted(&mut self) -> Option<u32> {
        let are_few = || {
            let mut left = 0_u32;
            !self.ranges.iter().any(|range| {
                left = left.saturating_add(range.len().try_into().unwrap_or(u32::MAX));
                left >= FEW
            })
        };
        (!self.is_asked && are_few()).then(|| {
            self.is_asked = true;
            self.from
        })
    }

    pub(super) fn add(&mut self, found: FoundNumbers) {
        self.is_asked = false;
        self.from = found.next;
        self.ranges.extend(found.ranges);
    }
}

/// Searches for free numbers, starting at `from`. It may find none; the next search then begins elsewhere.
pub(super) fn find(connection: &Connection, from: u32) -> rusqlite::Result<FoundNumbers> {
    let mut next_room = connection.prepare_cached("SELECT min(id) FROM rooms WHERE id >= ?1")?;
    let mut next_place = connection.prepare_cached(
        "SELECT min(place) FROM (SELECT min(place) AS place FROM messages WHERE place >= ?1
            UNION ALL SELECT min(place) FROM dropped_ids WHERE place >= ?1)",
    )?;
    let (mut ranges, mut number, mut left) = (Vec::new(), from, FOUND_MAX);
    for _ in 0..LOOKED_AT {
        let room = next_room.query_row([number], |row| row.get::<_, Option<u32>>(0))?.unwrap_or(u32::MAX);
        let stored = next_place.query_row([place(DbRoom(number), 0)], |row| row.get::<_, Option<i64>>(0))?;
        let used = room.min(stored.map_or(u32::MAX, |stored| of_place(stored).0.0)).min(ROOMS_MAX + 1);
        let end = used.min(number + left);
        if number < end {
            ranges.push(number..end);
            left -= end - number;
        }
        number = end;
        if left == 0 || number > ROOMS_MAX {
            break;
        }
        number += 1;
    }
    Ok(FoundNumbers { ranges, next: if number > ROOMS_MAX { 1 } else { number } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_where_nothing_is_stored_of_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        for room in [1, 2, 5, ROOMS_MAX - 1] {
            transaction.execute("INSERT INTO rooms VALUES (?1, 'r' || ?1, 1, 1, 1, 0)", [room]).unwrap();
        }
        let row = "INSERT INTO messages (place, at, client_id, text) VALUES (?1, 1, 'alice', 'm')";
        transaction.execute(row, [place(DbRoom(7), 3)]).unwrap();
        let row = "INSERT INTO dropped_ids (place, at, client_id, id) VALUES (?1, 1, 'alice', 'm')";
        transaction.execute(row, [place(DbRoom(9), 3)]).unwrap();
        let find = |from| find(&transaction, from).unwrap();
        let found = find(1);
        assert_eq!(found.ranges[..4], [3..5, 6..7, 8..9, 10..10 + FOUND_MAX - 4]);
        assert_eq!((found.ranges.len(), found.next), (4, 10 + FOUND_MAX - 4));
        let last = find(ROOMS_MAX - 1);
        assert_eq!((last.ranges.into_iter().flatten().collect::<Vec<_>>(), last.next), (vec![ROOMS_MAX], 1));

        let mut numbers = FreeNumbers::above(ROOMS_MAX - 1);
        assert_eq!(numbers.take(|_| false), Some(DbRoom(ROOMS_MAX)));
        assert_eq!(numbers.take(|_| false), None);
        assert_eq!((numbers.wanted(), numbers.wanted()), (Some(1), None), "asked once");
        numbers.add(found);
        assert_eq!(numbers.wanted(), None);
        let given = [(); 4].map(|()| numbers.take(|number| number == DbRoom(4)).unwrap().0);
        assert_eq!(given, [3, 6, 8, 10], "4 is used by a room that is not stored yet");
    }
}

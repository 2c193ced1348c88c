//! The memory of `id`s: its time limit, its size limit, and the cost of one step.

use super::*;
use crate::clock;

const ALICE: IdOwner = IdOwner(1);
const BOB: IdOwner = IdOwner(2);

type Ids = RememberedIds<u64>;

fn id(owner: IdOwner, number: u64) -> IdKey {
    // Spread like a hash: the lowest byte chooses the part.
    IdKey(owner, number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Ids {
    fn entries(&self) -> usize {
        self.swept.len() + self.unswept.len()
    }
}

#[test]
fn an_id_is_remembered_for_its_time_and_only_for_its_owner() {
    let (start, minutes) = (clock::now(), Duration::from_mins(5));
    let mut ids = Ids::new(minutes, 10);
    ids.insert(id(ALICE, 1), 7, start);
    let just_before = start + (minutes.saturating_sub(Duration::from_millis(1)));
    assert_eq!(ids.find(&id(ALICE, 1), just_before), Some(7));
    assert_eq!(ids.find(&id(BOB, 1), just_before), None);
    assert_eq!(ids.find(&id(ALICE, 1), start + minutes), None);
    assert!(ids.taken.len() == 0 && ids.entries() == 0 && ids.counts.of.is_empty());
}

#[test]
fn past_the_number_the_oldest_is_forgotten() {
    let now = clock::now();
    let mut ids = Ids::new(Duration::from_mins(5), 2);
    for number in 1..=3 {
        ids.insert(id(ALICE, number), number, now);
    }
    assert_eq!(ids.find(&id(ALICE, 1), now), None);
    assert_eq!(ids.find(&id(ALICE, 3), now), Some(3));
    assert_eq!(ids.taken.len(), ids.entries());
}

#[test]
fn a_client_that_fills_the_memory_loses_its_own_ids_and_nobody_elses() {
    let now = clock::now();
    let mut ids = Ids::new(Duration::from_mins(5), 1_000);
    for number in 0..100 {
        ids.insert(id(BOB, number), number, now);
    }
    for number in 0..100_000 {
        ids.insert(id(ALICE, number), number, now);
        assert!(ids.taken.len() <= 1_000);
    }
    assert!((0..100).all(|number| ids.find(&id(BOB, number), now).is_some()));
    assert!(ids.find(&id(ALICE, 99_999), now).is_some(), "alice's newest id is remembered");
    assert_eq!(ids.taken.len(), ids.entries());
}

#[test]
fn of_many_clients_with_one_id_each_only_the_oldest_are_forgotten() {
    let now = clock::now();
    let mut ids = Ids::new(Duration::from_mins(5), 160);
    for number in 0..161 {
        ids.insert(id(IdOwner(number), 1), number, now);
    }
    let kept: Vec<u64> = (0..161).filter(|number| ids.find(&id(IdOwner(*number), 1), now).is_some()).collect();
    assert_eq!(kept, (11..161).collect::<Vec<_>>());
}

#[test]
fn the_level_is_the_largest_at_which_all_fit() {
    for (owners, total, expected) in [
        (vec![10, 2], 8, 6),
        (vec![10, 10, 1], 9, 4),
        (vec![3, 3], 6, usize::MAX),
        (vec![5], 1, 1),
        (vec![1; 10], 5, 0),
        (vec![], 5, usize::MAX),
    ] {
        let mut counts = Counts::default();
        for (owner, count) in (0..).zip(&owners) {
            // One more than needed is added and removed again.
            (0..=*count).for_each(|_| counts.add(IdOwner(owner)));
            counts.remove(IdOwner(owner));
        }
        assert_eq!(counts.level(total), expected, "{owners:?} in {total}");
    }
}

type Step = fn(&mut Ids, u64, Instant);

#[test]
fn a_message_drops_few_ids_however_many_are_remembered() {
    let (start, minutes, max) = (clock::now(), Duration::from_mins(5), 16_384);
    let taken_for_good: Step = |ids, number, at| ids.insert(id(ALICE, number), number, at);
    let taken_again: Step =
        |ids, number, at| ids.insert(id(BOB, number % 7), number, at + Duration::from_nanos(number));
    let repeated: Step = |ids, number, at| assert!(ids.find(&id(ALICE, number), at).is_none());
    for (what, step, after, allowed) in [
        ("taken, the bound reached", taken_for_good, Duration::ZERO, SWEPT_AT_ONCE),
        ("taken again after its room has ended", taken_again, Duration::ZERO, SWEPT_AT_ONCE),
        ("repeated", repeated, Duration::ZERO, 0),
        ("repeated when all expire", repeated, minutes, EXPIRED_AT_ONCE),
    ] {
        let mut ids = Ids::new(minutes, max);
        for number in 0..15_000 {
            ids.insert(id(IdOwner(2 + number % 100), number), number, start);
        }
        for number in 0..50_000 {
            let (entries, known) = (ids.entries(), ids.taken.len());
            step(&mut ids, 1_000_000 + number, start + after);
            let dropped = entries.saturating_sub(ids.entries()).max(known.saturating_sub(ids.taken.len()));
            assert!(dropped <= allowed, "{what}: {dropped} at once");
            assert!(ids.taken.len() <= max && ids.entries() <= 3 * max, "{what}");
        }
    }
}

#[test]
fn an_id_that_is_taken_again_is_remembered_for_the_whole_time_and_leaves_the_others_their_order() {
    let (start, minutes) = (clock::now(), Duration::from_mins(5));
    let mut ids = Ids::new(minutes, 1_000_000);
    for number in 1..=10_000 {
        ids.insert(id(ALICE, number % 1_000), number, start + Duration::from_nanos(number));
    }
    assert_eq!((ids.taken.len(), ids.entries() <= 2 * 1_000 + 1_024), (1_000, true));
    let later = start + Duration::from_mins(1);
    ids.insert(id(ALICE, 10), 7, later);
    assert_eq!(ids.find(&id(ALICE, 20), start + minutes + Duration::from_millis(1)), None);
    assert_eq!(ids.find(&id(ALICE, 10), start + minutes + Duration::from_millis(1)), Some(7));
    for number in 0..10_000 {
        ids.find(&id(ALICE, number), later + minutes);
    }
    assert_eq!((ids.taken.len(), ids.entries()), (0, 0));
}

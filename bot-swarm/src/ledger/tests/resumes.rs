//! What is due after a lost connection.

use super::*;

#[test]
fn a_resumed_room_goes_on_where_it_was() {
    let mut ledger = ledger(2);
    ledger.hears(0, 11, 0, 1);
    ledger.hears(0, 12, 0, 2);
    ledger.hears(1, 11, 0, 1);
    ledger.comes_back(1, EPOCH, 12, true);
    assert_eq!(ledger.resume_point(1, ROOM), Some((EPOCH, 11)));
    ledger.hears(1, 12, 0, 2);
    assert_eq!(ledger.sums(), Tally { expected: 4, received: 4, ..Tally::default() });
}

#[test]
fn a_resume_that_recovers_nothing_loses_what_was_missed_and_says_so() {
    let mut ledger = ledger(1);
    ledger.comes_back(0, EPOCH, 15, false);
    assert_eq!(ledger.outstanding(&ledger.waters()), 0, "nothing more is to come");
    ledger.hears(0, 16, 0, 1);
    assert_eq!(ledger.sums(), Tally { expected: 6, received: 1, lost: 5, lost_and_told: 5, ..Tally::default() });
}

#[test]
fn a_resume_that_recovers_a_part_is_not_out_of_order() {
    let mut ledger = ledger(1);
    ledger.comes_back(0, EPOCH, 15, false);
    for seq in [14, 15, 16] {
        assert_eq!(ledger.hears(0, seq, 0, u32::try_from(seq).unwrap()), Verdict::Counts);
    }
    assert_eq!(ledger.sums(), Tally { expected: 6, received: 3, lost: 3, lost_and_told: 3, ..Tally::default() });
}

#[test]
fn a_new_epoch_loses_what_was_known_of_the_old_one() {
    let mut ledger = ledger(2);
    for seq in 11..=13 {
        ledger.hears(0, seq, 0, u32::try_from(seq).unwrap());
    }
    ledger.comes_back(0, Epoch(2), 4, false);
    ledger.comes_back(1, Epoch(2), 4, false);
    ledger.hears(0, 5, 0, 14);
    ledger.hears(1, 5, 0, 14);
    assert_eq!(ledger.sums(), Tally { expected: 8, received: 5, lost: 3, lost_and_told: 3, ..Tally::default() });
}

/// Another worker's bot may have been the first.
#[test]
fn what_is_said_in_a_new_epoch_before_a_bot_is_back_is_lost_and_told() {
    let (mut early, mut late, mut last, mut absent) = (ledger(1), ledger(1), ledger(1), ledger(1));
    early.comes_back(0, Epoch(2), 4, false);
    for seq in 5..=7 {
        early.hears(0, seq, 0, u32::try_from(seq).unwrap());
    }
    late.comes_back(0, Epoch(2), 6, false);
    late.hears(0, 7, 0, 7);
    last.comes_back(0, Epoch(2), 7, false);
    last.comes_back(0, Epoch(3), 2, false);
    last.hears(0, 3, 0, 8);
    absent.comes_back(0, Epoch(3), 3, false);
    let mut waters = early.waters();
    waters.merge(late.waters());
    waters.merge(last.waters());
    waters.merge(absent.waters());
    let told = |missed, received| {
        let expected = missed + received;
        Tally { expected, received, lost: missed, lost_and_told: missed, ..Tally::default() }
    };
    for (ledger, sums) in [(early, told(0, 3)), (late, told(2, 1)), (last, told(3, 1)), (absent, told(3 + 1, 0))] {
        assert_eq!(ledger.close(&waters, |_| 0, &[]).0, sums);
    }
}

#[test]
fn a_bot_that_is_away_expects_no_more() {
    let mut ledger = ledger(2);
    ledger.hears(0, 11, 0, 1);
    ledger.hears(1, 11, 0, 1);
    ledger.interrupted(1, ROOM);
    ledger.hears(0, 12, 0, 2);
    assert_eq!(ledger.outstanding(&ledger.waters()), 0);
    assert_eq!(ledger.sums(), Tally { expected: 3, received: 3, ..Tally::default() });
}

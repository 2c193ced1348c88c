//! What is due in a room, and what is wrong there.

use super::*;
use crate::ledger::undelivered::INCOMPLETE_MAX;

#[test]
fn a_message_is_due_at_every_member_of_its_room() {
    let mut ledger = ledger(3);
    for bot in 0..3 {
        assert_eq!(ledger.hears(bot, 11, 0, 1), Verdict::Counts);
        assert_eq!(ledger.hears(bot, 12, 1, 1), Verdict::Counts);
    }
    assert_eq!(ledger.sums(), Tally { expected: 6, received: 6, ..Tally::default() });
}

#[test]
fn a_message_that_one_member_did_not_get_is_lost() {
    let mut ledger = ledger(2);
    for (bot, seqs) in [(0, vec![11, 12, 13]), (1, vec![11, 13])] {
        for seq in seqs {
            ledger.hears(bot, seq, 0, u32::try_from(seq).unwrap());
        }
    }
    assert_eq!(ledger.sums(), Tally { expected: 6, received: 5, lost: 1, ..Tally::default() });
}

#[test]
fn an_acknowledged_message_that_nobody_got_is_lost_to_all() {
    let mut ledger = ledger(2);
    ledger.room_acked(0, ROOM, 11, 1, Nanos::UNPLANNED);
    assert_eq!(ledger.outstanding(&ledger.waters()), 2);
    assert_eq!(ledger.sums(), Tally { expected: 2, lost: 2, ..Tally::default() });
}

#[test]
fn a_message_that_comes_twice_is_counted_as_twice_and_received_once() {
    let mut ledger = ledger(1);
    ledger.hears(0, 11, 0, 1);
    assert_eq!(ledger.hears(0, 11, 0, 1), Verdict::Wrong);
    assert_eq!(ledger.sums(), Tally { expected: 1, received: 1, twice: 1, ..Tally::default() });
}

#[test]
fn a_message_that_was_stored_twice_is_twice_for_every_receiver() {
    let mut ledger = ledger(2);
    for bot in 0..2 {
        ledger.hears(bot, 11, 0, 1);
        ledger.hears(bot, 12, 0, 1);
    }
    assert_eq!(ledger.sums(), Tally { expected: 4, received: 4, twice: 2, ..Tally::default() });
}

#[test]
fn a_message_that_comes_after_a_later_one_is_out_of_order_and_not_lost() {
    let mut ledger = ledger(1);
    for (seq, number) in [(11, 1), (13, 3), (12, 2)] {
        ledger.hears(0, seq, 0, number);
    }
    assert_eq!(ledger.sums(), Tally { expected: 3, received: 3, out_of_order: 1, ..Tally::default() });
}

#[test]
fn a_room_that_mixes_up_a_senders_messages_is_found_though_seq_is_in_order() {
    let mut ledger = ledger(2);
    for bot in 0..2 {
        ledger.hears(bot, 11, 0, 2);
        ledger.hears(bot, 12, 0, 1);
    }
    assert_eq!(ledger.sums(), Tally { expected: 4, received: 4, out_of_order: 2, ..Tally::default() });
}

#[test]
fn a_message_of_another_room_is_in_the_wrong_room() {
    let mut ledger = ledger(1);
    let elsewhere = Marker { target: MarkedTarget::Room(TAG + 1), ..said(0, 1) };
    assert_eq!(ledger.room_message(0, ROOM, TAG, 11, &Reading::Marked(elsewhere), None), Verdict::Wrong);
    assert_eq!(ledger.room_message(0, ROOM + 1, TAG + 1, 1, &Reading::Marked(elsewhere), None), Verdict::Wrong);
    assert_eq!(ledger.sums().wrong_room, 2);
}

#[test]
fn two_members_that_get_different_messages_in_one_place_contradict_each_other() {
    let mut ledger = ledger(2);
    ledger.hears(0, 11, 0, 1);
    ledger.hears(1, 11, 1, 1);
    assert_eq!(ledger.sums().contradictions, 1);
}

#[test]
fn an_ack_that_names_the_place_of_another_message_is_a_contradiction() {
    let mut ledger = ledger(1);
    ledger.hears(0, 11, 5, 1);
    ledger.room_acked(0, ROOM, 11, 1, Nanos::UNPLANNED);
    assert_eq!(ledger.sums().contradictions, 1);
}

#[test]
fn messages_of_people_count_without_a_marker() {
    let mut ledger = ledger(2);
    ledger.room_message(0, ROOM, TAG, 11, &Reading::Unmarked, None);
    assert_eq!(ledger.sums(), Tally { expected: 2, received: 1, lost: 1, ..Tally::default() });
}

#[test]
fn a_bots_message_that_nobody_can_read_any_more_is_a_contradiction() {
    let mut ledger = ledger(2);
    ledger.room_message(0, ROOM, TAG, 11, &Reading::Unmarked, None);
    ledger.room_message(1, ROOM, TAG, 11, &Reading::Unmarked, None);
    ledger.room_acked(0, ROOM, 11, 1, Nanos::UNPLANNED);
    assert_eq!(ledger.sums(), Tally { expected: 2, received: 2, contradictions: 1, ..Tally::default() });
}

#[test]
fn an_altered_message_is_told_for_each_receiver_and_stands_in_the_place_of_what_was_sent() {
    let mut ledger = ledger(2);
    assert_eq!(ledger.room_message(0, ROOM, TAG, 11, &Reading::Altered, None), Verdict::Wrong);
    ledger.hears(1, 11, 1, 1);
    ledger.room_acked(1, ROOM, 11, 1, Nanos::UNPLANNED);
    assert_eq!(ledger.sums(), Tally { expected: 2, received: 2, altered: 1, ..Tally::default() });
}

#[test]
fn a_bot_that_left_a_room_expects_only_what_it_received() {
    let mut ledger = ledger(2);
    for bot in 0..2 {
        ledger.hears(bot, 11, 0, 1);
    }
    ledger.left(1, ROOM);
    ledger.hears(0, 12, 0, 2);
    assert_eq!(ledger.outstanding(&ledger.waters()), 0);
    assert_eq!(ledger.hears(1, 12, 0, 2), Verdict::Wrong, "it is not in the room");
    ledger.entered(1, ROOM, Standing { epoch: EPOCH, seq: 12, recovered: true }, Nanos(0));
    for bot in 0..2 {
        ledger.hears(bot, 13, 0, 3);
    }
    assert_eq!(ledger.sums(), Tally { expected: 5, received: 5, wrong_room: 1, ..Tally::default() });
}

#[test]
fn the_last_receiver_of_a_message_is_the_last_one_of_all_threads() {
    let hears = |ledger: &mut Ledger, bot, seq, millis| {
        let marker = said(0, u32::try_from(seq).unwrap());
        ledger.room_message(bot, ROOM, TAG, seq, &Reading::Marked(marker), Some(Duration::from_millis(millis)));
    };
    let (mut here, mut there) = (ledger(2), ledger(1));
    hears(&mut here, 0, 11, 9);
    hears(&mut here, 1, 11, 5);
    hears(&mut there, 0, 11, 7);
    hears(&mut there, 0, 12, 30);
    // The second member on the first thread does not receive it.
    hears(&mut here, 0, 12, 4);
    let mut last = here.take_last_receivers();
    assert!(here.take_last_receivers().is_empty(), "what is taken is taken");
    let targets = here.waters();
    here.undelivered(&targets, |undelivered| {
        if let Undelivered::Completion { place, .. } = undelivered {
            last.note(place, Duration::from_millis(500));
        }
    });
    last.merge(&there.take_last_receivers());
    let latencies: Vec<u128> = last.latencies(|_| true).iter().map(|(latency, _)| latency.as_millis()).collect();
    assert_eq!(latencies, [9, 499], "to three digits");
}

#[test]
fn a_server_that_claims_any_seq_does_not_keep_the_ledger_busy() {
    let mut ledger = ledger(1);
    for (seq, number) in [(11, 1), (u64::MAX / 2, 2)] {
        ledger.room_message(0, ROOM, TAG, seq, &Reading::Marked(said(0, number)), Some(Duration::ZERO));
    }
    let mut incomplete = 0;
    let targets = ledger.waters();
    ledger.undelivered(&targets, |undelivered| {
        incomplete += u64::from(matches!(undelivered, Undelivered::Completion { .. }));
    });
    assert_eq!(incomplete, INCOMPLETE_MAX);
}

/// A deletion, an edit with or without a text, and a reaction of the message 11.
fn change(what: &'static str) -> RoomChange<'static> {
    match what {
        "deleted" => RoomChange::deleted(11, "bot-0"),
        "edited" | "edited-superseded" => RoomChange::edited(11, "bot-0", what == "edited"),
        emoji => RoomChange::reaction(11, "bot-0", emoji, false),
    }
}

#[test]
fn a_change_is_due_at_every_member_in_its_place_whether_its_text_is_still_there() {
    let mut ledger = ledger(3);
    for bot in 0..3 {
        ledger.hears(bot, 11, 0, 1);
    }
    for (bot, what) in [(0, "edited"), (1, "edited"), (2, "edited-superseded")] {
        assert_eq!(ledger.room_change(bot, ROOM, 12, &change(what)), Verdict::Counts);
    }
    assert_eq!(ledger.room_change(0, ROOM, 12, &change("edited")), Verdict::Wrong);
    for (bot, what) in [(0, "reaction"), (1, "deleted")] {
        ledger.room_change(bot, ROOM, 13, &change(what));
    }
    let expected = Tally { expected: 9, received: 8, lost: 1, twice: 1, contradictions: 1, ..Tally::default() };
    assert_eq!(ledger.sums(), expected);
}

/// Something that a ledger is told.
type Step = fn(&mut Ledger) -> Verdict;

/// A position so new that a ledger has forgotten those up to 11.
const MANY: u64 = 2_000;

#[test]
fn an_ack_of_a_change_that_has_the_seq_of_anything_else_is_a_contradiction() {
    type Case = (&'static str, Step, u64, Tally);
    let found = |contradictions, lost| Tally { lost, contradictions, ..Tally::default() };
    let cases: [Case; 10] = [
        ("its own", |it| it.room_change(0, ROOM, 13, &change("👍")), 13, found(0, 0)),
        ("its own, which never comes", |_| Verdict::Counts, 13, found(0, 1)),
        ("its message", |_| Verdict::Counts, 11, found(1, 0)),
        ("before its message", |_| Verdict::Counts, 10, found(1, 0)),
        ("another message", |_| Verdict::Counts, 12, found(1, 0)),
        ("a message of a person", |it| it.room_message(0, ROOM, TAG, 13, &Reading::Unmarked, None), 13, found(1, 0)),
        ("a change of another kind", |it| it.room_change(0, ROOM, 13, &change("edited")), 13, found(1, 0)),
        ("another emoji", |it| it.room_change(0, ROOM, 13, &change("🎉")), 13, found(1, 0)),
        (
            "the same reaction, which was acknowledged before",
            |it| {
                it.change_acked(ROOM, EPOCH, 13, &change("👍"));
                it.room_change(0, ROOM, 13, &change("👍"))
            },
            13,
            found(1, 0),
        ),
        (
            "its message, which is long forgotten",
            |it| {
                for number in 13..=MANY {
                    it.hears(0, number, 0, u32::try_from(number).unwrap());
                }
                Verdict::Counts
            },
            11,
            found(1, 0),
        ),
    ];
    for ((case, told, seq, expected), is_acked_first) in cases.iter().flat_map(|case| [(case, true), (case, false)]) {
        let mut ledger = ledger(1);
        ledger.hears(0, 11, 0, 11);
        ledger.hears(0, 12, 0, 12);
        if !is_acked_first {
            told(&mut ledger);
        }
        ledger.change_acked(ROOM, EPOCH, *seq, &change("👍"));
        if is_acked_first {
            told(&mut ledger);
        }
        let found = Tally { expected: 0, received: 0, ..ledger.sums() };
        assert_eq!(found, *expected, "{case}, acknowledged first: {is_acked_first}");
    }
}

#[test]
fn a_message_is_said_to_be_gone_with_reason_if_it_was_deleted_or_is_old() {
    type Case = (&'static str, Step, Step, u64);
    let delete: Step = |it| it.room_change(0, ROOM, 12, &change("deleted"));
    let cases: [Case; 5] = [
        ("deleted before", delete, |_| Verdict::Counts, 0),
        ("deleted, and that is seen later", |_| Verdict::Counts, delete, 0),
        ("never deleted", |_| Verdict::Counts, |_| Verdict::Counts, 1),
        ("edited", |_| Verdict::Counts, |it| it.room_change(0, ROOM, 12, &change("edited")), 1),
        ("old enough to be dropped", |it| it.hears(0, MANY, 0, 2), |_| Verdict::Counts, 0),
    ];
    for (case, before, after, wrong) in cases {
        let mut ledger = ledger(1);
        ledger.hears(0, 11, 0, 1);
        before(&mut ledger);
        ledger.is_said_to_be_gone(ROOM, EPOCH, 11);
        after(&mut ledger);
        assert_eq!(ledger.said_to_be_gone_and_not_deleted(), wrong, "{case}");
    }
}

#[test]
fn refusals_because_of_a_missing_message_are_all_counted_in_bounded_memory() {
    let mut ledger = ledger(1);
    ledger.hears(0, 11, 0, 1);
    (0..MANY).for_each(|_| ledger.is_said_to_be_gone(ROOM, EPOCH, 11));
    assert_eq!(ledger.said_to_be_gone_and_not_deleted(), MANY);
}

#[test]
fn a_message_with_few_positions_behind_it_cannot_be_full_of_reactions() {
    let mut ledger = ledger(1);
    let full = 11 + EMOJIS_PER_MESSAGE_MAX as u64;
    for (newest, may) in [(11, false), (full - 1, false), (full, true)] {
        ledger.hears(0, newest, 0, u32::try_from(newest).unwrap());
        assert_eq!(ledger.may_be_full(ROOM, EPOCH, 11), may, "{newest}");
    }
}

#[test]
fn a_text_that_comes_after_a_resume_behind_its_deletion_is_resurrected() {
    for (joined_at, what, resurrected) in
        [(12, "edited", 0), (13, "edited", 1), (13, "edited-superseded", 0), (99, "edited", 1)]
    {
        let mut ledger = ledger(2);
        ledger.hears(0, 11, 0, 1);
        ledger.room_change(0, ROOM, 12, &change("edited"));
        ledger.room_change(0, ROOM, 13, &change("deleted"));
        // The other one is back, and gets what it has missed.
        ledger.entered(1, ROOM, Standing { epoch: EPOCH, seq: joined_at, recovered: true }, Nanos(0));
        ledger.room_place(1, ROOM, 11);
        ledger.room_change(1, ROOM, 12, &change(what));
        ledger.room_change(1, ROOM, 13, &change("deleted"));
        assert_eq!(ledger.findings().resurrected, resurrected, "{joined_at} {what}");
    }
    let mut ledger = ledger(2);
    ledger.hears(0, 11, 0, 1);
    ledger.room_change(0, ROOM, 12, &change("deleted"));
    ledger.entered(1, ROOM, Standing { epoch: EPOCH, seq: 12, recovered: true }, Nanos(0));
    ledger.hears(1, 11, 0, 1);
    assert_eq!(ledger.findings().resurrected, 1);
}

#[test]
fn a_read_position_that_goes_back_or_that_a_later_connection_is_not_told_is_found() {
    let at = |seconds| Nanos(1).after(Duration::from_secs(seconds));
    let read = |ledger: &mut Ledger, told: &[(u64, Option<u64>, u64)]| {
        for (seq, said, seconds) in told {
            ledger.was_told_read(0, ROOM, *seq, *said, at(*seconds));
        }
    };
    let begin = || {
        let mut ledger = ledger(1);
        read(&mut ledger, &[(12, Some(12), 0), (12, None, 4)]);
        ledger
    };
    assert_eq!(begin().sums().unread, 0);
    let mut back = begin();
    read(&mut back, &[(11, None, 5)]);
    assert_eq!(back.sums().unread, 1);
    for (what, epoch, told, unread) in [
        ("not told", EPOCH, &[][..], 1),
        ("told", EPOCH, &[(12, None, 5)], 0),
        ("told less", EPOCH, &[(11, None, 5)], 1),
        ("another numbering", Epoch(2), &[], 0),
    ] {
        let mut returned = begin();
        returned.comes_back(0, epoch, 10, true);
        read(&mut returned, told);
        assert_eq!(returned.sums().unread, unread, "{what}");
    }
    let mut away = begin();
    away.interrupted(0, ROOM);
    assert_eq!(away.sums().unread, 0, "nobody can tell it");
}

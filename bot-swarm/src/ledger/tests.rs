//! What the ledger promises, case by case.

use super::undelivered::INCOMPLETE_MAX;
use super::*;
use crate::clock::Nanos;
use crate::marker::OwnWait;

const RUN: u32 = 77;
const ROOM: u32 = 0;
const TAG: u32 = 1_000;
const EPOCH: Epoch = Epoch(1);

fn said(sender: u32, number: u32) -> Marker {
    Marker {
        host: 0,
        run: RUN,
        sender,
        target: MarkedTarget::Room(TAG),
        number,
        planned: Nanos(0),
        on_server: None,
        own_wait: OwnWait::default(),
    }
}

fn whispered(sender: u32, receiver: u32, number: u32) -> Marker {
    Marker { target: MarkedTarget::Bot(receiver), ..said(sender, number) }
}

/// A ledger in which bots 0 to `bots - 1` came into the room at seq 10.
fn ledger(bots: u32) -> Ledger {
    let mut ledger = Ledger::new(RUN, Audience::All);
    for bot in 0..bots {
        ledger.entered(bot, ROOM, Standing { epoch: EPOCH, seq: 10, recovered: true });
    }
    ledger
}

impl Ledger {
    fn hears(&mut self, bot: u32, seq: u64, sender: u32, number: u32) -> Verdict {
        self.room_message(bot, ROOM, TAG, seq, &Reading::Marked(said(sender, number)), None)
    }

    fn comes_back(&mut self, bot: u32, epoch: Epoch, seq: u64, recovered: bool) {
        self.interrupted(bot, ROOM);
        self.entered(bot, ROOM, Standing { epoch, seq, recovered });
    }

    fn has_inbox_at(&mut self, bot: u32, epoch: u64, seq: u64, recovered: bool) {
        self.has_inbox(bot, Standing { epoch: Epoch(epoch), seq, recovered });
    }

    /// Bot 0 writes to bot 1, is answered, and has its own copy.
    fn whispers(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.private_acked(0, 1, number);
            let seq = Some(number.into());
            assert_eq!(self.private_message(0, seq, &whispered(0, 1, number)), Verdict::Counts);
        }
    }

    /// Bot 1 hears messages of bot 0, each in the place of its number.
    fn hears_in_private(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.private_message(1, Some(number.into()), &whispered(0, 1, number));
        }
    }

    fn sums(self) -> Tally {
        let targets = self.high_waters();
        let (mut tally, private) = self.close(&targets, |_| 0, &[]);
        tally += private.tally();
        tally
    }
}

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
    assert_eq!(ledger.outstanding(&ledger.high_waters()), 2);
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
    assert_eq!(ledger.outstanding(&ledger.high_waters()), 0, "nothing more is to come");
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

#[test]
fn a_bot_that_is_away_expects_no_more() {
    let mut ledger = ledger(2);
    ledger.hears(0, 11, 0, 1);
    ledger.hears(1, 11, 0, 1);
    ledger.interrupted(1, ROOM);
    ledger.hears(0, 12, 0, 2);
    assert_eq!(ledger.outstanding(&ledger.high_waters()), 0);
    assert_eq!(ledger.sums(), Tally { expected: 3, received: 3, ..Tally::default() });
}

#[test]
fn a_private_message_reaches_its_two_names_and_nobody_else() {
    let mut ledger = ledger(3);
    ledger.private_acked(0, 1, 1);
    assert_eq!(ledger.private_message(0, None, &whispered(0, 1, 1)), Verdict::Counts);
    assert_eq!(ledger.private_message(1, None, &whispered(0, 1, 1)), Verdict::Counts);
    assert_eq!(ledger.private_message(1, None, &whispered(0, 1, 1)), Verdict::Wrong);
    assert_eq!(ledger.private_message(2, None, &whispered(0, 1, 1)), Verdict::Wrong);
    assert_eq!(ledger.private_outstanding(), 0);
    let expected = Tally { expected: 2, received: 2, twice: 1, misdelivered: 1, ..Tally::default() };
    assert_eq!(ledger.sums(), expected);
}

#[test]
fn private_messages_of_one_sender_keep_their_order() {
    let mut ledger = ledger(2);
    for number in [1, 3, 2] {
        ledger.private_message(1, None, &whispered(0, 1, number));
    }
    assert_eq!(ledger.sums().out_of_order, 1);
}

#[test]
fn a_bot_that_left_a_room_expects_only_what_it_received() {
    let mut ledger = ledger(2);
    for bot in 0..2 {
        ledger.hears(bot, 11, 0, 1);
    }
    ledger.left(1, ROOM);
    ledger.hears(0, 12, 0, 2);
    assert_eq!(ledger.outstanding(&ledger.high_waters()), 0);
    assert_eq!(ledger.hears(1, 12, 0, 2), Verdict::Wrong, "it is not in the room");
    ledger.entered(1, ROOM, Standing { epoch: EPOCH, seq: 12, recovered: true });
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
    // The second member of the one thread does not get it.
    hears(&mut here, 0, 12, 4);
    let mut last = here.take_last_receivers();
    assert!(here.take_last_receivers().is_empty(), "what is taken is taken");
    let targets = here.high_waters();
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
    let targets = ledger.high_waters();
    ledger.undelivered(&targets, |undelivered| {
        incomplete += u64::from(matches!(undelivered, Undelivered::Completion { .. }));
    });
    assert_eq!(incomplete, INCOMPLETE_MAX);
}

/// A ledger of two bots whose private messages are kept.
fn ledger_with_inboxes() -> Ledger {
    let mut ledger = ledger(2);
    ledger.has_inbox_at(0, 1, 0, true);
    ledger.has_inbox_at(1, 1, 0, true);
    ledger
}

#[test]
fn kept_private_messages_are_judged_across_a_lost_connection() {
    // What bot 1 hears before it loses its connection, how far the server says that its inbox is when it is back and
    // whether all was recovered, and what bot 1 hears then. Bot 0 has written five messages.
    type Case = (&'static [u32], u64, bool, &'static [u32], Tally);
    let clean = Tally { expected: 10, received: 10, ..Tally::default() };
    let cases: [Case; 8] = [
        (&[1, 2], 5, true, &[3, 4, 5], clean),
        (&[], 5, true, &[1, 2, 3, 4, 5], clean),
        (&[1, 2], 5, true, &[3, 5], Tally { received: 9, lost: 1, ..clean }),
        (&[1, 2], 5, true, &[3, 4], Tally { received: 9, lost: 1, ..clean }),
        (&[1, 2], 5, true, &[2, 3, 4, 5], Tally { twice: 1, ..clean }),
        (&[1, 2], 5, true, &[3, 5, 4], Tally { out_of_order: 1, ..clean }),
        (&[1, 2], 5, true, &[], Tally { received: 7, lost: 3, ..clean }),
        (&[1, 2], 4, false, &[5], Tally { received: 8, lost: 2, lost_and_told: 2, ..clean }),
    ];
    for (before, seq, recovered, after, expected) in cases {
        let mut ledger = ledger_with_inboxes();
        ledger.whispers(1..=5);
        ledger.hears_in_private(before.iter().copied());
        ledger.interrupted(1, ROOM);
        assert_eq!(ledger.inbox_resume_point(1), Some((EPOCH, before.len() as u64)));
        assert!(ledger.may_lack_private(2), "until it is back");
        ledger.has_inbox_at(1, 1, seq, recovered);
        assert!(!ledger.may_lack_private(2));
        ledger.hears_in_private(after.iter().copied());
        assert_eq!(ledger.sums(), expected, "{before:?}, then {after:?}");
    }
}

#[test]
fn kept_private_messages_for_a_bot_that_is_not_here_wait_for_it() {
    let mut away = ledger_with_inboxes();
    away.whispers(1..=3);
    away.hears_in_private([1]);
    away.interrupted(1, ROOM);
    let mut never_came = ledger(1);
    never_came.has_inbox_at(0, 1, 0, true);
    never_came.whispers(1..=3);
    assert!(never_came.may_lack_private(2));
    assert_eq!(away.sums(), Tally { expected: 4, received: 4, private_unknown: 2, ..Tally::default() });
    assert_eq!(never_came.sums(), Tally { expected: 3, received: 3, private_unknown: 3, ..Tally::default() });
}

#[test]
fn what_waited_for_a_bot_before_it_came_is_due_from_its_first_message_on() {
    let mut ledger = ledger(2);
    ledger.has_inbox_at(0, 1, 0, true);
    ledger.whispers(1..=3);
    // There were seven messages of others, which were read before.
    ledger.has_inbox_at(1, 1, 10, true);
    let hears = |ledger: &mut Ledger, number: u32| {
        ledger.private_message(1, Some(u64::from(number) + 7), &whispered(0, 1, number))
    };
    assert_eq!(ledger.inbox_resume_point(1), Some((EPOCH, 0)), "nothing came yet");
    for number in 1..=3 {
        assert_eq!(hears(&mut ledger, number), Verdict::Counts);
    }
    assert_eq!(ledger.inbox_resume_point(1), Some((EPOCH, 10)));
    assert_eq!(ledger.sums(), Tally { expected: 6, received: 6, ..Tally::default() });
}

#[test]
fn an_inbox_that_began_anew_loses_what_was_not_received_of_the_old_one() {
    let mut ledger = ledger_with_inboxes();
    ledger.whispers(1..=4);
    ledger.hears_in_private([1, 2]);
    ledger.interrupted(1, ROOM);
    ledger.has_inbox_at(1, 2, 0, false);
    ledger.whispers([5]);
    ledger.private_message(1, Some(1), &whispered(0, 1, 5));
    assert_eq!(ledger.sums(), Tally { expected: 10, received: 8, lost: 2, ..Tally::default() });
}

#[test]
fn an_inbox_that_mixes_up_a_senders_messages_is_found_though_seq_is_in_order() {
    let mut ledger = ledger_with_inboxes();
    ledger.whispers(1..=2);
    for (seq, number) in [(1, 2), (2, 1)] {
        ledger.private_message(1, Some(seq), &whispered(0, 1, number));
    }
    assert_eq!(ledger.sums(), Tally { expected: 4, received: 4, out_of_order: 1, ..Tally::default() });
}

#[test]
fn a_private_message_that_was_stored_twice_is_twice_though_its_places_differ() {
    let mut ledger = ledger_with_inboxes();
    ledger.whispers([1]);
    for seq in [1, 2] {
        ledger.private_message(1, Some(seq), &whispered(0, 1, 1));
    }
    assert_eq!(ledger.sums(), Tally { expected: 2, received: 2, twice: 1, ..Tally::default() });
}

#[test]
fn private_messages_of_people_fill_their_places_in_an_inbox() {
    let mut ledger = ledger_with_inboxes();
    ledger.whispers([1]);
    assert_eq!(ledger.unmarked_private_message(1, Some(1)), Verdict::Counts);
    assert_eq!(ledger.private_message(1, Some(2), &whispered(0, 1, 1)), Verdict::Counts);
    assert_eq!(ledger.unmarked_private_message(1, Some(2)), Verdict::Wrong);
    assert_eq!(ledger.sums(), Tally { expected: 2, received: 2, twice: 1, ..Tally::default() });
}

//! What is due in private, with inboxes and without.

use super::*;

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

/// A message was refused because its receiver was away, and the answer was lost with the sender's connection. The sender
/// sent it again after later ones had been accepted, and the swarm called that out of order.
#[test]
fn a_private_message_that_is_sent_again_is_judged_by_its_order_only_where_an_inbox_keeps_it() {
    // Whether there are inboxes, the messages of bot 0 that bot 1 receives, each with whether it was sent again, and the
    // messages that are out of order and twice.
    type Case = (bool, &'static [(u32, bool)], (u64, u64));
    let cases: [Case; 6] = [
        (false, &[(2, false), (1, true)], (0, 0)),
        (false, &[(3, false), (1, true), (2, true)], (0, 0)),
        (false, &[(2, true), (1, false)], (1, 0)),
        (false, &[(1, false), (1, true)], (0, 1)),
        (false, &[(2, false), (1, true), (1, true)], (0, 1)),
        (true, &[(2, false), (1, true)], (1, 0)),
    ];
    for (is_kept, messages, expected) in cases {
        let mut ledger = if is_kept { ledger_with_inboxes() } else { ledger(2) };
        for (seq, (number, is_again)) in (1..).zip(messages) {
            let marker = Marker { is_again: *is_again, ..whispered(0, 1, *number) };
            ledger.private_message(1, is_kept.then_some(seq), &marker);
        }
        let sums = ledger.sums();
        assert_eq!((sums.out_of_order, sums.twice), expected, "{is_kept} {messages:?}");
    }
}

/// A ledger of two bots with inboxes.
fn ledger_with_inboxes() -> Ledger {
    let mut ledger = ledger(2);
    ledger.has_inbox_at(0, 1, 0, true);
    ledger.has_inbox_at(1, 1, 0, true);
    ledger
}

#[test]
fn kept_private_messages_are_judged_across_a_lost_connection() {
    // The messages that bot 1 receives before it loses its connection, the inbox position that the server states after
    // its return and whether all was recovered, and the messages that bot 1 receives then. Bot 0 has written five
    // messages.
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
    // There were seven earlier messages of others, which had been read before.
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

//! Messages: accepted, stored, delivered and acknowledged.

use super::Chat;

#[test]
fn a_message_reaches_every_member_of_its_room_its_sender_too_and_nobody_else() {
    Chat::new().and(&["alice", "bob", "carol"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        bob> joins dev
        bob< joined dev #0 count 2
        alice> says room=dev one
        bob> says room=dev two
        alice< dev#1 alice: one
        alice< dev#2 bob: two
        bob< dev#1 alice: one
        bob< dev#2 bob: two
        carol< (nothing)
        ",
    );
}

#[test]
fn an_id_is_carried_by_the_message_and_acknowledged_to_its_sender_alone() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> says id=m1 hello
        alice< ack m1 lobby#1
        alice< lobby#1 alice: hello id=m1
        bob< lobby#1 alice: hello id=m1
        ",
    );
}

#[test]
fn a_private_message_reaches_the_two_and_nobody_else() {
    let mut chat = Chat::new().and(&["alice", "bob", "carol"]);
    chat.check(
        "
        alice> says to=bob id=m1 psst
        bob< alice@bob: psst id=m1
        alice< alice@bob: psst id=m1
        alice< ack m1 @bob
        bob> says to=alice what?
        alice< bob@alice: what?
        bob< bob@alice: what?
        carol< (nothing)
        ",
    );
    assert!(chat.read_from_outside("lobby").is_empty(), "a private message is not in the room's history");
}

#[test]
fn a_private_message_to_oneself_comes_once() {
    Chat::new().and(&["alice"]).check(
        "
        alice> says to=alice note
        alice< alice@alice: note
        ",
    );
}

#[test]
fn a_private_message_to_nobody_is_refused_and_may_be_sent_again() {
    Chat::new().and(&["alice"]).check(
        "
        alice> says to=bob id=m1 psst
        alice< error no_such_client id=m1
        bob> opens name=bob
        bob< welcome bob lobby #0
        alice> says to=bob id=m1 psst
        bob< alice@bob: psst id=m1
        alice< alice@bob: psst id=m1
        alice< ack m1 @bob
        ",
    );
}

#[test]
fn a_guest_that_takes_a_name_may_write_to_it_with_the_same_message() {
    Chat::new().check(
        "
        a> opens
        a< welcome guest-1 lobby #0
        a> says name=alice to=alice note
        a< alice@alice: note
        ",
    );
}

#[test]
fn a_message_is_neither_delivered_nor_acknowledged_before_it_is_stored() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        history holds
        alice> says id=m1 one
        bob> says two
        alice> says id=m3 three
        alice< (nothing)
        bob< (nothing)
        history stores 1
        alice< ack m1 lobby#1
        alice< lobby#1 alice: one id=m1
        alice< (nothing)
        bob< lobby#1 alice: one id=m1
        bob< (nothing)
        history stores
        alice< lobby#2 bob: two
        alice< ack m3 lobby#3
        alice< lobby#3 alice: three id=m3
        bob< lobby#2 bob: two
        bob< lobby#3 alice: three id=m3
        ",
    );
}

#[test]
fn a_room_that_waits_for_its_history_does_not_hold_up_private_messages_and_answers() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        history holds
        alice> says one
        alice> says to=bob psst
        bob< alice@bob: psst
        alice< alice@bob: psst
        alice> ping
        alice< pong
        history stores
        alice< lobby#1 alice: one
        bob< lobby#1 alice: one
        ",
    );
}

#[test]
fn who_joins_while_a_message_waits_to_be_stored_gets_it_as_its_first() {
    Chat::new().and(&["alice"]).check(
        "
        history holds
        alice> says one
        bob> opens name=bob
        bob< welcome bob lobby #0
        history stores
        alice< lobby#1 alice: one
        bob< lobby#1 alice: one
        ",
    );
}

#[test]
fn a_message_whose_sender_has_gone_before_it_was_stored_is_delivered_all_the_same() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        history holds
        alice> says id=m1 goodbye
        alice> goes
        history stores
        bob< lobby#1 alice: goodbye id=m1
        alice> opens name=alice key=alice
        alice< welcome alice lobby #1
        alice> says id=m1 goodbye
        alice< ack m1 lobby#1 duplicate
        ",
    );
}

#[test]
fn what_could_not_be_stored_is_refused_to_all_who_wait_and_takes_no_number() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> says zero
        alice< lobby#1 alice: zero
        bob< lobby#1 alice: zero
        history holds
        alice> says id=m1 one
        bob> says two
        alice> says id=m1 one
        history fails lobby
        alice< error unavailable id=m1
        alice< error unavailable id=m1
        bob< error unavailable
        history stores
        alice> says id=m1 one
        alice< ack m1 lobby#2
        alice< lobby#2 alice: one id=m1
        bob< lobby#2 alice: one id=m1
        ",
    );
}

#[test]
fn a_failure_in_one_room_is_none_in_another() {
    Chat::new().and(&["alice"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        history holds
        alice> says room=dev one
        alice> says room=lobby two
        history fails dev
        alice< error unavailable
        history stores
        alice< lobby#1 alice: two
        alice> says room=dev three
        alice< dev#1 alice: three
        ",
    );
}

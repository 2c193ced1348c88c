//! A message that is sent again under its `id` is delivered once.

use super::Chat;

#[test]
fn the_same_id_again_is_not_delivered_twice_and_its_ack_repeats_the_first_place() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> says id=m1 hello
        alice< ack m1 lobby#1
        alice< lobby#1 alice: hello id=m1
        bob< lobby#1 alice: hello id=m1
        bob> says between
        alice< lobby#2 bob: between
        bob< lobby#2 bob: between
        alice> says id=m1 hello
        alice< ack m1 lobby#1 duplicate
        alice> says to=bob id=m2 psst
        bob< alice@bob: psst id=m2
        alice< alice@bob: psst id=m2
        alice< ack m2 @bob
        alice> says to=bob id=m2 psst
        alice< ack m2 @bob duplicate
        ",
    );
}

#[test]
fn an_id_belongs_to_its_sender() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> says id=m1 hello
        alice< ack m1 lobby#1
        alice< lobby#1 alice: hello id=m1
        bob< lobby#1 alice: hello id=m1
        bob> says id=m1 hello too
        bob< ack m1 lobby#2
        bob< lobby#2 bob: hello too id=m1
        alice< lobby#2 bob: hello too id=m1
        alice> hello carol
        alice< welcome carol lobby #2
        alice> says id=m1 under another name
        alice< ack m1 lobby#3
        alice< lobby#3 carol: under another name id=m1
        bob< lobby#3 carol: under another name id=m1
        ",
    );
}

#[test]
fn an_id_is_remembered_across_a_reconnection() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> says id=m1 hello
        alice< ack m1 lobby#1
        alice< lobby#1 alice: hello id=m1
        bob< lobby#1 alice: hello id=m1
        again> opens name=alice key=alice
        alice< closed 4003
        again< welcome alice lobby #1
        again> says id=m1 hello
        again< ack m1 lobby#1 duplicate
        ",
    );
}

#[test]
fn an_id_belongs_to_the_client_and_not_to_whoever_has_its_name_next() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> says to=bob id=m1 secret
        bob< alice@bob: secret id=m1
        alice< alice@bob: secret id=m1
        alice< ack m1 @bob
        alice> goes
        mallory> opens name=alice
        mallory< welcome alice lobby #0
        mallory> says id=m1 hello
        mallory< ack m1 lobby#1
        mallory< lobby#1 alice: hello id=m1
        bob< lobby#1 alice: hello id=m1
        mallory> goes
        alice> opens name=alice key=alice
        alice< welcome alice lobby #1
        alice> says to=bob id=m1 secret
        alice< ack m1 @bob duplicate
        ",
    );
}

#[test]
fn the_key_that_is_shown_for_a_free_name_becomes_the_clients() {
    Chat::new().and(&["alice"]).check(
        "
        alice> goes
        again> opens name=alice key=alice
        again< welcome alice lobby #0
        third> opens name=alice key=alice
        again< closed 4003
        third< welcome alice lobby #0
        ",
    );
}

#[test]
fn an_id_is_remembered_for_five_minutes() {
    Chat::new().and(&["alice"]).check(
        "
        alice> says id=m1 hello
        alice< ack m1 lobby#1
        alice< lobby#1 alice: hello id=m1
        wait 299999ms
        alice> says id=m1 hello
        alice< ack m1 lobby#1 duplicate
        wait 1ms
        alice> says id=m1 hello
        alice< ack m1 lobby#2
        alice< lobby#2 alice: hello id=m1
        wait 299999ms
        alice> says id=m1 hello
        alice< ack m1 lobby#2 duplicate
        ",
    );
}

#[test]
fn the_same_id_while_the_first_is_still_waiting_is_acknowledged_with_it() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        history holds
        alice> says id=m1 hello
        again> opens name=alice key=alice
        alice< closed 4003
        again< welcome alice lobby #0
        again> says id=m1 hello
        again< (nothing)
        history stores
        alice< ack m1 lobby#1
        again< ack m1 lobby#1 duplicate
        again< lobby#1 alice: hello id=m1
        bob< lobby#1 alice: hello id=m1
        ",
    );
}

#[test]
fn an_id_of_a_room_that_was_forgotten_is_forgotten_with_it() {
    let mut chat = Chat::with(|config| config.ids_remembered = 3 * config.empty_room_kept).and(&["alice"]);
    chat.check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev id=m1 hello
        alice< ack m1 dev#1
        alice< dev#1 alice: hello id=m1
        alice> leaves dev
        alice< left dev
        wait 5m
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev id=m1 hello
        alice< ack m1 dev#1
        alice< dev#1 alice: hello id=m1
        ",
    );
    // Regression: when the first memory of the `id` expired, it removed the second one too.
    chat.check(
        "
        wait 14m
        alice> says room=dev id=m1 hello
        alice< ack m1 dev#1 duplicate
        ",
    );
}

#[test]
fn an_id_that_is_sent_again_as_its_time_ends_is_a_repetition_or_the_next_message() {
    // A frame that is read first may be carried out last, so `id`s may be remembered in another order than they were
    // read.
    Chat::new().and(&["alice", "bob"]).check(
        "
        bob> says id=b1 one
        alice> says id=m1 read=5 two
        bob< ack b1 lobby#1
        bob< lobby#1 bob: one id=b1
        bob< lobby#2 alice: two id=m1
        alice< lobby#1 bob: one id=b1
        alice< ack m1 lobby#2
        alice< lobby#2 alice: two id=m1
        wait 299998ms
        alice> says id=m1 read=10 two
        alice< ack m1 lobby#2 duplicate
        wait 2ms
        alice> says id=m1 read=10 three
        alice< ack m1 lobby#3
        alice< lobby#3 alice: three id=m1
        bob< lobby#3 alice: three id=m1
        bob> says four
        alice< lobby#4 bob: four
        bob< lobby#4 bob: four
        ",
    );
}

#[test]
fn an_id_of_a_dropped_room_is_answered_whatever_number_the_room_of_that_name_has_now() {
    let mut chat = Chat::new().and(&["alice"]);
    chat.check(
        "alice> joins dev
         alice< joined dev #0 count 1
         alice> joins ops
         alice< joined ops #0 count 1
         alice> says room=dev id=m hello
         alice< ack m dev#1
         alice< dev#1 alice: hello id=m",
    );
    assert_eq!(chat.drops("dev"), Some(Ok(())));
    assert_eq!(chat.drops("ops"), Some(Ok(())));
    // The new room has the number of the room that was dropped last.
    chat.check(
        "alice< left dev
         alice< left ops
         alice> joins dev
         alice< joined dev #0 count 1
         alice> says room=dev id=m hello
         alice< ack m dev#1
         alice< dev#1 alice: hello id=m",
    );
}

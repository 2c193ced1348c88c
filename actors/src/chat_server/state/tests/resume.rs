//! Resuming, and catching up with missed messages.

use super::Chat;

/// Alice and bob in the lobby; five messages; carol was there for the first `heard`, then left.
pub(super) fn with_missed(mut chat: Chat, heard: u32) -> Chat {
    chat = chat.and(&["alice", "carol"]);
    for number in 1..=5 {
        chat.send("alice", &format!("says {number}"));
        if number == heard {
            chat.send("carol", "leaves lobby");
        }
    }
    chat.take("alice");
    chat.take("carol");
    chat
}

/// A chat whose answers hold at most two messages of these dialogues.
pub(super) fn two_a_page() -> Chat {
    Chat::with(|config| config.outbox_bytes = 8 * 2 * 170)
}

#[test]
fn who_comes_back_gets_what_it_missed_and_then_what_is_new() {
    with_missed(Chat::new(), 3).check(
        "
        carol> joins lobby after=3 epoch=carol id=j1
        carol< joined lobby #5 count 2 recovered id=j1
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        alice> says 6
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn who_missed_nothing_has_recovered_all_of_it() {
    with_missed(Chat::new(), 5).check(
        "
        carol> joins lobby after=5 epoch=carol
        carol< joined lobby #5 count 2 recovered
        alice> says 6
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn who_comes_back_on_a_new_connection_is_in_the_room_already_and_catches_up_in_order() {
    with_missed(Chat::new(), 3).check(
        "
        carol> goes
        again> opens name=carol
        again< welcome carol lobby #5
        alice> says 6
        alice< lobby#6 alice: 6
        again< lobby#6 alice: 6
        again> joins lobby after=3 epoch=carol
        again< joined lobby #6 count 2 recovered
        again< lobby#4 alice: 4
        again< lobby#5 alice: 5
        again< lobby#6 alice: 6
        alice> says 7
        alice< lobby#7 alice: 7
        again< lobby#7 alice: 7
        ",
    );
}

#[test]
fn who_claims_more_than_was_said_or_another_epoch_recovers_nothing() {
    with_missed(Chat::new(), 3).check(
        "
        carol> joins lobby after=6 epoch=carol
        carol< joined lobby #5 count 2 gap
        carol> leaves lobby
        carol< left lobby
        carol> joins lobby after=3 epoch=nobody
        carol< joined lobby #5 count 2 gap
        alice> says 6
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        carol> joins lobby after=18446744073709551615 epoch=carol
        carol< joined lobby #6 count 2 gap
        ",
    );
}

#[test]
fn what_the_history_has_dropped_cannot_be_recovered() {
    let kept_three = || Chat::with(|config| config.history_messages = 3);
    with_missed(kept_three(), 2).check(
        "
        carol> joins lobby after=2 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#3 alice: 3
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        ",
    );
    with_missed(kept_three(), 1).check(
        "
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 gap
        alice> says 6
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn what_another_room_drove_out_of_the_history_cannot_be_recovered() {
    // Three of these messages fit into an answer.
    let mut chat = Chat::with(|config| config.history_bytes = 3 * 168).and(&["alice"]);
    chat.check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev 1
        alice< dev#1 alice: 1
        alice> says 1
        alice< lobby#1 alice: 1
        alice> says 2
        alice< lobby#2 alice: 2
        alice> joins dev after=0 epoch=alice
        alice< joined dev #1 count 1 recovered
        alice< dev#1 alice: 1
        alice> says 3
        alice< lobby#3 alice: 3
        alice> joins dev after=0 epoch=alice
        alice< joined dev #1 count 1 gap
        alice> joins dev after=1 epoch=alice
        alice< joined dev #1 count 1 recovered
        ",
    );
}

#[test]
fn much_that_was_missed_comes_page_by_page_as_it_is_written_and_what_is_new_waits() {
    with_missed(two_a_page(), 1).check(
        "
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#2 alice: 2
        carol< lobby#3 alice: 3
        carol< (more)
        alice> says 6
        alice< lobby#6 alice: 6
        carol< (nothing)
        carol> continues lobby
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        carol< (more)
        carol> continues lobby
        carol< lobby#6 alice: 6
        alice> says 7
        alice< lobby#7 alice: 7
        carol< lobby#7 alice: 7
        carol> continues lobby
        carol< (nothing)
        ",
    );
}

#[test]
fn who_catches_up_may_speak_and_hears_itself_in_its_place() {
    with_missed(two_a_page(), 2).check(
        "
        carol> joins lobby after=2 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#3 alice: 3
        carol< lobby#4 alice: 4
        carol< (more)
        carol> says id=m1 6
        carol< ack m1 lobby#6
        alice< lobby#6 carol: 6 id=m1
        carol> continues lobby
        carol< lobby#5 alice: 5
        carol< lobby#6 carol: 6 id=m1
        ",
    );
}

#[test]
fn who_catches_up_more_slowly_than_the_history_forgets_is_closed() {
    let chat = Chat::with(|config| {
        config.outbox_bytes = 8 * 2 * 170;
        config.history_messages = 4;
    });
    with_missed(chat, 1).check(
        "
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#2 alice: 2
        carol< lobby#3 alice: 3
        carol< (more)
        alice> says 6
        alice< lobby#6 alice: 6
        alice> says 7
        alice< lobby#7 alice: 7
        carol> continues lobby
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        carol< (more)
        alice> says 8
        alice< lobby#8 alice: 8
        alice> says 9
        alice< lobby#9 alice: 9
        alice> says 10
        alice< lobby#10 alice: 10
        carol> continues lobby
        carol< closed 4001
        alice> members lobby
        alice< members lobby count 1: alice
        ",
    );
}

#[test]
fn with_the_at_of_the_message_it_goes_on_from_a_client_recovers_only_where_the_server_has_that_message() {
    with_missed(Chat::new(), 3).check(
        "
        carol> joins lobby after=3 epoch=carol at=1000000 id=j1
        carol< joined lobby #5 count 2 recovered id=j1
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        carol> joins lobby after=5 epoch=carol at=1000000
        carol< joined lobby #5 count 2 recovered
        carol> joins lobby after=3 epoch=carol at=999999 id=j2
        carol< joined lobby #5 count 2 gap id=j2
        carol> joins lobby after=5 epoch=carol at=1000001
        carol< joined lobby #5 count 2 gap
        carol> joins lobby after=3 epoch=nobody at=1000000
        carol< joined lobby #5 count 2 gap
        carol> joins lobby after=0 epoch=carol at=7
        carol< joined lobby #5 count 2 recovered
        carol< lobby#1 alice: 1
        carol< lobby#2 alice: 2
        carol< lobby#3 alice: 3
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        alice> says 6
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn where_the_message_that_a_client_goes_on_from_is_no_longer_kept_the_epoch_decides_alone() {
    with_missed(Chat::with(|config| config.history_messages = 3), 2).check(
        "
        carol> joins lobby after=2 epoch=carol at=7
        carol< joined lobby #5 count 2 recovered
        carol< lobby#3 alice: 3
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        ",
    );
}

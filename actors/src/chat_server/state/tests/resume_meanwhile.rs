//! Events while a session catches up.

use super::Chat;
use super::resume::{two_a_page, with_missed};

#[test]
fn who_leaves_while_it_catches_up_gets_no_more_of_it() {
    with_missed(two_a_page(), 1).check(
        "
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#2 alice: 2
        carol< lobby#3 alice: 3
        carol< (more)
        carol> leaves lobby
        carol< left lobby
        carol> continues lobby
        carol< (nothing)
        carol> joins lobby
        carol< joined lobby #5 count 2
        carol> continues lobby
        carol< (nothing)
        alice> says 6
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn who_goes_while_it_catches_up_leaves_nothing_behind() {
    with_missed(two_a_page(), 1).check(
        "
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#2 alice: 2
        carol< lobby#3 alice: 3
        carol< (more)
        carol> goes
        carol> continues lobby
        alice> members lobby
        alice< members lobby count 1: alice
        ",
    );
}

#[test]
fn who_joins_again_while_it_catches_up_goes_on_catching_up() {
    with_missed(two_a_page(), 1).check(
        "
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#2 alice: 2
        carol< lobby#3 alice: 3
        carol< (more)
        carol> joins lobby
        carol< joined lobby #5 count 2
        alice> says 6
        alice< lobby#6 alice: 6
        carol< (nothing)
        carol> continues lobby
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        carol< (more)
        carol> continues lobby
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn who_resumes_again_while_it_catches_up_gets_what_it_asked_for_last() {
    with_missed(two_a_page(), 1).check(
        "
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#2 alice: 2
        carol< lobby#3 alice: 3
        carol< (more)
        carol> joins lobby after=2 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol> continues lobby
        carol< lobby#3 alice: 3
        carol< lobby#4 alice: 4
        carol< (more)
        carol> continues lobby
        carol< lobby#5 alice: 5
        ",
    );
}

#[test]
fn what_is_stored_while_the_history_is_read_comes_after_it() {
    with_missed(Chat::new(), 3).check(
        "
        history holds
        carol> joins lobby after=3 epoch=carol
        carol< joined lobby #5 count 2 recovered
        alice> says 6
        history stores 1
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        history stores
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn what_is_stored_before_the_history_is_read_comes_with_it() {
    with_missed(Chat::new(), 3).check(
        "
        history holds
        alice> says 6
        carol> joins lobby after=3 epoch=carol
        carol< joined lobby #5 count 2 recovered
        history stores
        alice< lobby#6 alice: 6
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn who_resumes_again_from_elsewhere_while_the_history_is_read_is_not_taken_for_slow() {
    // Regression: the answer to the first resume looked like a gap in the second one.
    with_missed(Chat::new(), 1).check(
        "
        history holds
        carol> joins lobby after=3 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 recovered
        history stores
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
fn who_leaves_and_resumes_while_the_history_is_read_gets_everything_once() {
    with_missed(Chat::new(), 1).check(
        "
        history holds
        carol> joins lobby after=3 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol> leaves lobby
        carol< left lobby
        carol> joins lobby after=4 epoch=carol
        carol< joined lobby #5 count 2 recovered
        history stores
        carol< lobby#5 alice: 5
        alice> says 6
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn who_resumes_again_and_has_missed_nothing_gets_what_is_new_at_once() {
    // Regression: the session continued catching up from its first position.
    with_missed(two_a_page(), 1).check(
        "
        carol> joins lobby after=1 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol< lobby#2 alice: 2
        carol< lobby#3 alice: 3
        carol< (more)
        carol> joins lobby after=5 epoch=carol
        carol< joined lobby #5 count 2 recovered
        carol> continues lobby
        carol< (nothing)
        alice> says 6
        alice< lobby#6 alice: 6
        carol< lobby#6 alice: 6
        ",
    );
}

#[test]
fn while_an_anchor_is_read_live_messages_wait_and_the_next_command_of_the_room_answers_the_join() {
    let mut chat = with_missed(Chat::new(), 3);
    chat.check(
        "
        history holds
        carol> joins lobby after=3 epoch=carol at=1000000 id=j1
        alice> says 6
        history stores
        carol< joined lobby #5 count 2 recovered id=j1
        alice< lobby#6 alice: 6
        carol< lobby#4 alice: 4
        carol< lobby#5 alice: 5
        carol< lobby#6 alice: 6
        ",
    );
    chat.check(
        "
        carol> leaves lobby
        carol< left lobby
        history holds
        carol> joins lobby after=3 epoch=carol at=1000000 id=j2
        carol> joins lobby after=6 epoch=carol at=1000000 id=j3
        carol< joined lobby #6 count 2 gap id=j2
        carol> leaves lobby
        carol< joined lobby #6 count 2 gap id=j3
        carol< left lobby
        carol> joins lobby after=6 epoch=carol at=1000000 id=j4
        carol> goes
        history stores
        alice> says 7
        alice< lobby#7 alice: 7
        ",
    );
}

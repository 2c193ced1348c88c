//! A connection that sends nothing but errors.

use starling_protocol::limits;

use super::Chat;

#[test]
fn twenty_errors_in_a_row_close_the_connection() {
    let mut chat = Chat::new().and(&["alice", "bob"]);
    for _ in 1..limits::ERRORS_IN_A_ROW_MAX {
        chat.send("alice", "nonsense id=x");
    }
    assert_eq!(chat.take("alice"), vec!["error bad_json id=x"; 19]);
    chat.check(
        "
        alice> says room=nowhere hello
        alice< error not_a_member
        alice< closed 1008
        alice> nonsense
        bob> members lobby
        bob< members lobby count 1: bob
        ",
    );
}

#[test]
fn nineteen_errors_and_a_good_frame_do_not_close_the_connection() {
    let mut chat = Chat::new().and(&["alice"]);
    for _ in 0..3 {
        for _ in 1..limits::ERRORS_IN_A_ROW_MAX {
            chat.send("alice", "nonsense");
        }
        assert_eq!(chat.take("alice"), vec!["error bad_json"; 19]);
        chat.check(
            "
            alice> ping id=p
            alice< pong id=p
            ",
        );
    }
}

#[test]
fn what_is_refused_later_because_it_could_not_be_stored_is_no_error_in_a_row() {
    let mut chat = Chat::new().and(&["alice"]);
    for _ in 0..30 {
        chat.check(
            "
            history holds
            alice> says hello
            history fails lobby
            alice< error unavailable
            history stores
            ",
        );
    }
}

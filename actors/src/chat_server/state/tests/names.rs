//! Names and their holders.

use super::Chat;

#[test]
fn a_connection_that_asks_for_no_name_is_a_guest_with_a_name_of_its_own() {
    Chat::new().check(
        "
        a> opens
        a< welcome guest-1 lobby #0
        b> opens room=dev
        b< welcome guest-2 dev #0
        ",
    );
}

#[test]
fn a_name_is_held_by_one_connection_and_free_when_it_closes() {
    Chat::new().and(&["alice"]).check(
        "
        other> opens name=alice
        other< refused name_taken
        alice> goes
        other> opens name=alice
        other< welcome alice lobby #0
        ",
    );
}

#[test]
fn names_differ_if_one_letter_differs_in_case() {
    Chat::new().and(&["alice"]).check(
        "
        other> opens name=Alice
        other< welcome Alice lobby #0
        ",
    );
}

#[test]
fn hello_changes_a_name_and_the_old_one_is_free_at_once() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> hello carol id=h1
        alice< welcome carol lobby #0 id=h1
        bob> hello alice
        bob< welcome alice lobby #0
        alice> says who am I
        alice< lobby#1 carol: who am I
        bob< lobby#1 carol: who am I
        ",
    );
}

#[test]
fn hello_with_the_name_one_has_is_answered_by_welcome() {
    Chat::new().and(&["alice"]).check(
        "
        alice> hello alice
        alice< welcome alice lobby #0
        ",
    );
}

#[test]
fn a_taken_name_is_refused_and_changes_nothing() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        bob> hello alice id=h1
        bob< error name_taken id=h1
        bob> members lobby
        bob< members lobby count 2: alice bob
        ",
    );
}

#[test]
fn names_of_guests_are_given_by_the_server_alone() {
    Chat::new().and(&["alice"]).check(
        "
        a> opens name=guest-nobody
        a< refused name_reserved
        alice> hello guest-nobody
        alice< error bad_name
        a> opens
        a< welcome guest-1 lobby #0
        b> opens name=guest-1
        b< refused name_reserved
        a> says name=guest-nobody hi
        a< error bad_name
        a> says name=guest-1 my own
        a< lobby#1 guest-1: my own
        alice< lobby#1 guest-1: my own
        ",
    );
}

#[test]
fn a_guest_takes_a_name_by_its_first_message() {
    Chat::new().and(&["bob"]).check(
        "
        a> opens
        a< welcome guest-1 lobby #0
        a> says name=alice hello
        a< lobby#1 alice: hello
        bob< lobby#1 alice: hello
        a> members lobby
        a< members lobby count 2: alice bob
        ",
    );
}

#[test]
fn a_message_that_asks_for_a_taken_name_is_not_delivered_and_its_sender_stays_a_guest() {
    Chat::new().and(&["alice"]).check(
        "
        a> opens
        a< welcome guest-1 lobby #0
        a> says name=alice id=m1 hello
        a< error name_taken id=m1
        a> says hello
        a< lobby#1 guest-1: hello
        alice< lobby#1 guest-1: hello
        ",
    );
}

#[test]
fn a_message_that_goes_nowhere_names_nobody() {
    Chat::new().check(
        "
        a> opens
        a< welcome guest-1 lobby #0
        a> says room=dev name=alice hello
        a< error not_a_member
        a> says to=bob name=alice psst
        a< error no_such_client
        a> says to=guest-1 name=alice psst
        a< error no_such_client
        a> members lobby
        a< members lobby count 1: guest-1
        ",
    );
}

#[test]
fn who_has_a_name_cannot_send_under_another() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> says name=carol id=m1 hello
        alice< error client_id_mismatch id=m1
        alice> says name=alice hello
        alice< lobby#1 alice: hello
        bob< lobby#1 alice: hello
        ",
    );
}

#[test]
fn who_shows_the_key_takes_its_name_back_from_its_dead_connection_and_keeps_the_key() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        again> opens name=alice key=alice
        alice< closed 4003
        again< welcome alice lobby #0
        bob> says hello
        bob< lobby#1 bob: hello
        again< lobby#1 bob: hello
        bob> members dev
        bob< members dev count 0:
        third> opens name=alice key=alice
        again< closed 4003
        third< welcome alice lobby #1
        ",
    );
}

#[test]
fn hello_with_the_key_takes_the_name_back_and_with_it_the_key() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        again> opens room=dev
        again< welcome guest-1 dev #0
        again> hello alice key=alice
        alice< closed 4003
        again< welcome alice dev #0
        third> opens name=alice key=alice
        again< closed 4003
        third< welcome alice lobby #0
        bob> members dev
        bob< members dev count 0:
        ",
    );
}

#[test]
fn a_name_is_not_given_for_a_key_that_is_not_its_own() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        other> opens name=alice key=nobody
        other< refused name_taken
        other> opens name=alice key=bob
        other< refused name_taken
        bob> hello alice key=bob
        bob< error name_taken
        ",
    );
}

#[test]
fn a_guest_takes_its_own_guest_name_back_with_its_key() {
    Chat::new().check(
        "
        a> opens
        a< welcome guest-1 lobby #0
        b> opens name=guest-1 key=a
        a< closed 4003
        b< welcome guest-1 lobby #0
        ",
    );
}

#[test]
fn the_commands_of_a_replaced_connection_that_were_on_their_way_do_nothing() {
    Chat::new().and(&["alice"]).check(
        "
        again> opens name=alice key=alice
        alice< closed 4003
        again< welcome alice lobby #0
        alice> says too late
        alice> goes
        again> members lobby
        again< members lobby count 1: alice
        ",
    );
}

#[test]
fn who_is_refused_for_the_rooms_there_are_has_not_closed_its_old_connection() {
    // The old connection was closed first, and the new one refused.
    Chat::with(|config| config.rooms = 1).and(&["alice"]).check(
        "
        again> opens name=alice key=alice room=dev
        again< refused too_many_rooms
        alice> ping
        alice< pong
        ",
    );
}

#[test]
fn who_left_all_its_rooms_is_told_of_no_room() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> leaves lobby
        alice< left lobby
        alice> hello alice
        alice< welcome alice dev #0
        alice> leaves dev
        alice< left dev
        bob> says hello
        bob< lobby#1 bob: hello
        alice> hello alice
        alice< welcome alice nowhere
        ",
    );
}

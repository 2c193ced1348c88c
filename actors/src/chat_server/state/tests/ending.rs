//! The end of a room: it is unused, is dropped for another room, or is dropped by an operator.

use std::time::Duration;

use super::Chat;
use crate::chat_server::command::DropError;

#[test]
fn a_session_may_be_in_so_many_rooms_and_in_no_more() {
    Chat::with(|config| config.rooms_per_session = 2).and(&["alice", "bob"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> joins ops id=j1
        alice< error too_many_rooms id=j1
        alice> joins dev
        alice< joined dev #0 count 1
        alice> leaves lobby
        alice< left lobby
        alice> joins ops
        alice< joined ops #0 count 1
        bob> rooms
        bob< rooms dev:1#0 lobby:1#0 ops:1#0
        ",
    );
}

#[test]
fn there_are_so_many_rooms_and_no_more() {
    Chat::with(|config| config.rooms = 2).and(&["alice"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> joins ops id=j1
        alice< error too_many_rooms id=j1
        bob> opens room=ops
        bob< refused too_many_rooms
        bob> opens room=dev
        bob< welcome guest-1 dev #0
        ",
    );
}

#[test]
fn a_room_that_was_forgotten_makes_room_for_another() {
    let mut chat = Chat::with(|config| config.rooms = 2).and(&["alice"]);
    chat.check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev hello
        alice< dev#1 alice: hello
        alice> leaves dev
        alice< left dev
        alice> joins ops
        alice< error too_many_rooms
        wait 5m
        alice> joins ops
        alice< joined ops #0 count 1
        ",
    );
    assert_eq!(chat.state.room_count(), 2);
}

#[test]
fn the_lobby_is_never_refused() {
    Chat::with(|config| config.rooms = 1).check(
        "
        alice> opens name=alice room=dev
        alice< welcome alice dev #0
        bob> opens name=bob
        bob< welcome bob lobby #0
        carol> opens room=ops
        carol< refused too_many_rooms
        ",
    );
}

#[test]
fn a_full_table_drops_the_room_that_nobody_is_in_and_nothing_was_said_in_for_longest() {
    let mut chat = Chat::with(|config| config.rooms = 3).and(&["alice"]);
    chat.check(
        "
        alice> joins first
        alice< joined first #0 count 1
        alice> leaves first
        alice< left first
        wait 1s
        alice> joins second
        alice< joined second #0 count 1
        alice> leaves second
        alice< left second
        bob> opens room=third
        bob< welcome guest-1 third #0
        alice> members first
        alice< error no_such_room
        alice> members second
        alice< members second count 0: 
        alice> joins second
        alice< joined second #0 count 1
        alice> joins fourth
        alice< error too_many_rooms
        ",
    );
    assert_eq!((chat.state.room_count(), chat.state.dropped_for_space()), (3, 1));
}

#[test]
fn a_full_table_drops_a_small_stored_room_only_after_its_time_and_never_a_large_one() {
    let with = |config: &mut crate::config::ChatConfig| (config.rooms, config.history_is_stored) = (2, true);
    let mut chat = Chat::with(with).and(&["alice"]);
    let say = |chat: &mut Chat, times: u64| {
        for number in 1..=times {
            chat.check(&format!("alice> says room=dev hello\nalice< dev#{number} alice: hello"));
        }
    };
    for (times, is_dropped) in [(16, true), (17, false)] {
        chat.check("alice> joins dev\nalice< joined dev #0 count 1");
        say(&mut chat, times);
        chat.check(
            "
            alice> leaves dev
            alice< left dev
            wait 299s
            alice> joins ops
            alice< error too_many_rooms
            wait 2s
            ",
        );
        if is_dropped {
            chat.check("alice> joins ops\nalice< joined ops #0 count 1\nalice> leaves ops\nalice< left ops");
        } else {
            chat.check("alice> joins ops\nalice< error too_many_rooms");
        }
    }
}

#[test]
fn an_operator_drops_a_room_and_its_members_are_told_that_they_have_left() {
    let mut chat = Chat::new().and(&["alice", "bob"]);
    chat.check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev id=m1 hello
        alice< ack m1 dev#1
        alice< dev#1 alice: hello id=m1
        history holds
        alice> says room=dev id=m2 waits
        ",
    );
    assert_eq!(chat.drops("dev"), None, "a message in the room is not stored yet");
    chat.check(
        "
        alice< left dev
        alice> says room=dev hello
        alice< error not_a_member
        bob> members dev
        bob< error no_such_room
        history stores
        alice< ack m2 dev#2
        ",
    );
    assert_eq!(chat.dropped(), Some(Ok(())));
    chat.check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev id=m1 hello
        alice< ack m1 dev#1
        alice< dev#1 alice: hello id=m1
        ",
    );
    assert_eq!(chat.drops("nowhere"), Some(Err(DropError::NotThere)));
}

#[test]
fn a_room_that_everybody_left_is_kept_for_five_minutes_and_not_forgotten_before() {
    Chat::new().and(&["alice"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev hello
        alice< dev#1 alice: hello
        alice> leaves dev
        alice< left dev
        wait 299999ms
        alice> joins dev after=0 epoch=alice
        alice< joined dev #1 count 1 recovered
        alice< dev#1 alice: hello
        ",
    );
}

#[test]
fn a_forgotten_room_that_is_made_again_has_a_new_epoch_and_no_history() {
    let mut chat = Chat::new().and(&["alice"]);
    chat.check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev hello
        alice< dev#1 alice: hello
        alice> leaves dev
        alice< left dev
        wait 5m
        alice> members dev
        alice< error no_such_room
        alice> joins dev after=0 epoch=alice
        alice< joined dev #0 count 1 gap
        alice> history dev
        alice< history dev
        alice> says room=dev hello again
        alice< dev#1 alice: hello again
        ",
    );
}

#[test]
fn the_time_of_an_empty_room_begins_anew_whenever_it_becomes_empty() {
    Chat::new().and(&["alice"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> leaves dev
        alice< left dev
        wait 4m
        alice> joins dev
        alice< joined dev #0 count 1
        wait 10m
        alice> leaves dev
        alice< left dev
        wait 299999ms
        alice> members dev
        alice< members dev count 0:
        wait 1ms
        alice> members dev
        alice< error no_such_room
        ",
    );
}

#[test]
fn a_room_is_not_forgotten_while_a_message_waits_to_be_stored() {
    Chat::new().and(&["alice"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        history holds
        alice> says room=dev id=m1 hello
        alice> leaves dev
        alice< left dev
        wait 10m
        alice> members dev
        alice< members dev count 0:
        history stores
        alice< ack m1 dev#1
        wait 1ms
        alice> members dev
        alice< error no_such_room
        ",
    );
}

#[test]
fn a_room_full_of_leavers_is_forgotten_once_for_all() {
    let mut chat = Chat::new().and(&["alice", "bob"]);
    for name in ["alice", "bob"] {
        chat.send(name, "joins dev");
        chat.send(name, "goes");
    }
    assert_eq!(chat.state.room_count(), 2);
    chat.wait(Duration::from_mins(5));
    assert_eq!((chat.state.room_count(), chat.state.session_count()), (0, 0));
}

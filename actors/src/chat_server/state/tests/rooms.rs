//! Who is where, and which rooms there are.

use std::time::Duration;

use starling_protocol::limits;

use super::Chat;
use crate::chat_server::command::DropError;
use crate::identity::RoomGlobs;

#[test]
fn a_room_is_made_by_the_first_who_joins_it_and_its_members_are_counted() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> joins dev id=j1
        alice< joined dev #0 count 1 id=j1
        bob> joins dev
        bob< joined dev #0 count 2
        bob> joins dev
        bob< joined dev #0 count 2
        ",
    );
}

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
    assert_eq!(chat.drops("dev"), None, "a message of it waits to be stored");
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
fn who_has_left_hears_nothing_more_and_may_not_speak() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> leaves lobby id=l1
        alice< left lobby id=l1
        bob> says are you there?
        bob< lobby#1 bob: are you there?
        alice> says room=lobby id=m1 yes
        alice< error not_a_member id=m1
        alice> says yes
        alice< error not_a_member
        alice> leaves lobby
        alice< error not_a_member
        alice> leaves nowhere
        alice< error not_a_member
        ",
    );
}

#[test]
fn without_a_room_a_message_goes_to_the_first_of_the_rooms_that_are_left() {
    Chat::new().and(&["alice"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> joins ops
        alice< joined ops #0 count 1
        alice> says one
        alice< lobby#1 alice: one
        alice> leaves lobby
        alice< left lobby
        alice> says two
        alice< dev#1 alice: two
        ",
    );
}

#[test]
fn anybody_may_ask_who_is_in_a_room_and_what_was_said_there_if_there_is_such_a_room() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev hello
        alice< dev#1 alice: hello
        bob> members dev id=w1
        bob< members dev count 1: alice id=w1
        bob> history dev id=p1
        bob< history dev 1 id=p1
        bob> members nowhere id=w2
        bob< error no_such_room id=w2
        bob> history nowhere id=p2
        bob< error no_such_room id=p2
        ",
    );
}

#[test]
fn a_page_of_history_is_what_was_asked_for() {
    let mut chat = Chat::with(|config| config.history_messages = 5).and(&["alice"]);
    for text in 1..=6 {
        chat.send("alice", &format!("says {text}"));
    }
    assert_eq!(chat.take("alice").len(), 6);
    chat.check(
        "
        alice> history lobby
        alice< history lobby 2 3 4 5 6
        alice> history lobby limit=2
        alice< history lobby 5 6 …
        alice> history lobby before=5 limit=2
        alice< history lobby 3 4 …
        alice> history lobby after=4 limit=2
        alice< history lobby 5 6
        alice> history lobby before=2
        alice< history lobby
        ",
    );
    assert_eq!(chat.read_from_outside("lobby"), [2, 3, 4, 5, 6]);
}

#[test]
fn rooms_are_listed_the_fullest_first_if_they_have_members_or_messages() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> joins zoo
        alice< joined zoo #0 count 1
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev hello
        alice< dev#1 alice: hello
        alice> rooms id=r1
        alice< rooms lobby:2#0 dev:1#1 zoo:1#0 id=r1
        alice> leaves dev
        alice< left dev
        alice> leaves zoo
        alice< left zoo
        alice> rooms
        alice< rooms lobby:2#0 dev:0#1
        ",
    );
}

#[test]
fn a_thousand_rooms_are_listed_and_of_more_the_fullest_thousand() {
    let most = limits::ROOMS_LISTED_MAX;
    let mut chat = Chat::with(|config| config.rooms_per_session = 2_000).and(&["alice"]);
    for room in 1..most {
        chat.send("alice", &format!("joins room-{room}"));
    }
    chat.take("alice");
    let (rooms, truncated) = chat.list_rooms(RoomGlobs::ALL);
    assert_eq!((rooms.len(), truncated), (most, false));

    chat.send("alice", "joins a-room-more");
    chat.send("bob", "opens name=bob room=room-7");
    let (rooms, truncated) = chat.list_rooms(RoomGlobs::ALL);
    assert_eq!((rooms.len(), truncated), (most, true));
    assert_eq!((rooms[0].room.as_str(), rooms[0].count), ("room-7", 2));

    chat.send("carol", "opens name=carol room=room-8");
    chat.send("dave", "opens name=dave room=room-8");
    assert_eq!(chat.list_rooms(RoomGlobs::ALL).0[0].room.as_str(), "room-8");
}

#[test]
fn a_thousand_members_are_listed_and_of_more_a_thousand() {
    let most = limits::MEMBERS_LISTED_MAX;
    let mut chat = Chat::new().and(&["alice"]);
    for name in 1..most {
        chat.send(&format!("c{name}"), "opens");
    }
    chat.send("alice", "members lobby");
    let told = chat.take("alice").remove(0);
    assert!(told.starts_with("members lobby count 1000: ") && !told.ends_with('…'), "{told}");
    assert_eq!(told.split_whitespace().count(), 4 + most);

    chat.send("more", "opens");
    chat.send("alice", "members lobby");
    let told = chat.take("alice").remove(0);
    assert!(told.starts_with("members lobby count 1001: ") && told.ends_with(" …"), "{told}");
    assert_eq!(told.split_whitespace().count(), 4 + most + 1);
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
fn who_goes_leaves_all_its_rooms_and_going_twice_changes_nothing() {
    let mut chat = Chat::new().and(&["alice", "bob"]);
    chat.check(
        "
        alice> joins dev
        alice< joined dev #0 count 1
        alice> goes
        alice> goes
        alice> says hello
        alice> types
        bob> rooms
        bob< rooms lobby:1#0
        bob> members lobby
        bob< members lobby count 1: bob
        ",
    );
    assert_eq!(chat.state.session_count(), 1);
}

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

#[test]
fn the_global_chat_is_there_for_everybody_who_asks_before_anybody_has_entered_it() {
    Chat::new().check(
        "
        a> opens name=alice room=dev
        a< welcome alice dev #0
        a> history lobby
        a< history lobby
        a> members lobby
        a< members lobby count 0:
        ",
    );
}

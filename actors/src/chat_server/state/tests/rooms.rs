//! Rooms, their members, and the list of rooms.

use starling_protocol::limits;

use super::Chat;
use crate::identity::Caller;

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
    let (rooms, truncated) = chat.list_rooms(Caller::Anyone);
    assert_eq!((rooms.len(), truncated), (most, false));

    chat.send("alice", "joins a-room-more");
    chat.send("bob", "opens name=bob room=room-7");
    let (rooms, truncated) = chat.list_rooms(Caller::Anyone);
    assert_eq!((rooms.len(), truncated), (most, true));
    assert_eq!((rooms[0].room.as_str(), rooms[0].count), ("room-7", 2));

    chat.send("carol", "opens name=carol room=room-8");
    chat.send("dave", "opens name=dave room=room-8");
    assert_eq!(chat.list_rooms(Caller::Anyone).0[0].room.as_str(), "room-8");
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

#[test]
fn sessions_and_rooms_have_names_while_they_are_there() {
    let mut chat = Chat::new().and(&["alice", "bob"]);
    chat.send("alice", "joins dev");
    chat.take("alice");
    let room = |chat: &Chat, name: &str| chat.state.find_room(name).unwrap();
    let rooms = [room(&chat, "dev"), room(&chat, "lobby")];
    let named = |clients: &[&str], rooms: &[&str]| {
        (clients.iter().map(ToString::to_string).collect(), rooms.iter().map(ToString::to_string).collect())
    };
    assert_eq!(chat.names(&["alice", "bob"], &rooms), named(&["alice", "bob"], &["dev", "lobby"]));
    chat.send("bob", "goes");
    assert_eq!(chat.drops("dev"), Some(Ok(())));
    chat.take("alice");
    assert_eq!(chat.names(&["bob", "alice"], &rooms), named(&["-", "alice"], &["-", "lobby"]));
}

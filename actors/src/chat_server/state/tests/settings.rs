//! The settings of rooms: how members learn them, and what they forbid.

use starling_protocol::ClientId;

use super::Chat;
use crate::history::ReadError;
use crate::identity::{Caller, Claims, RoomGlobs};

#[test]
fn members_are_told_the_settings_when_they_enter_and_when_they_change() {
    Chat::new().and(&["alice", "bob"]).check(
        r#"
        alice> joins dev
        alice< joined dev #0 count 1
        operator set dev {"topic":"tests"}
        alice< settings dev: topic "tests"
        operator set dev {"slowSeconds":5}
        alice< settings dev: slow 5s, topic "tests"
        operator set dev {"slowSeconds":5}
        alice< (nothing)
        bob> joins dev
        bob< joined dev #0 count 2 with slow 5s, topic "tests"
        carol> opens name=carol room=dev
        carol< welcome carol dev #0
        carol< settings dev: slow 5s, topic "tests"
        bob> rooms
        bob< rooms dev:3#0 "tests" lobby:2#0
        operator set dev {"slowSeconds":0,"topic":""}
        alice< settings dev: no settings of its own
        bob< settings dev: no settings of its own
        carol< settings dev: no settings of its own
        bob> joins dev
        bob< joined dev #0 count 3
        operator set ops {"topic":"nobody is there"}
        bob> joins ops
        bob< joined ops #0 count 1 with topic "nobody is there"
        "#,
    );
}

#[test]
fn where_only_operators_write_others_only_delete_their_own_and_too_many_refusals_close_nothing() {
    let mut chat = Chat::new();
    chat.check(
        r#"
        bob> opens token=bob
        bob< welcome bob lobby #0
        bob> says id=a one
        bob< ack a lobby#1
        bob< lobby#1 bob: one id=a
        operator set lobby {"writers":"operators"}
        bob< settings lobby: writers operators
        bob> says id=b two
        bob< error not_a_writer in lobby id=b
        bob> says id=a one
        bob< ack a lobby#1 duplicate
        bob> edits room=lobby of=1 other
        bob< error not_a_writer in lobby
        bob> typing room=lobby
        bob< error not_a_writer in lobby
        bob> reacts room=lobby of=1 x
        bob< error not_a_writer in lobby
        bob> deletes room=lobby of=1
        bob< lobby#2 bob deletes #1
        bob> says to=bob psst
        bob< bob@bob: psst
        root> opens token=root admin
        root< welcome root lobby #2
        root< settings lobby: writers operators
        root> says hello
        root< lobby#3 root: hello
        bob< lobby#3 root: hello
        "#,
    );
    for _ in 0..1_000 {
        chat.check("bob> says hello\n bob< error not_a_writer in lobby");
    }
    chat.check(
        r#"
        operator set lobby {"writers":"everyone"}
        bob< settings lobby: no settings of its own
        root< settings lobby: no settings of its own
        bob> says hello
        bob< lobby#4 bob: hello
        root< lobby#4 bob: hello
        "#,
    );
}

#[test]
fn a_room_decides_for_itself_whether_its_members_see_how_far_the_others_have_read() {
    for (server, room, settings, told) in
        [(false, "true", "seen-by on", "read lobby#1 alice"), (true, "false", "seen-by off", "(nothing)")]
    {
        let mut chat = Chat::with(|config| config.seen_by = server).and(&["alice", "bob"]);
        chat.check(&format!(
            "
            operator set lobby {{\"seenBy\":{room}}}
            alice< settings lobby: {settings}
            bob< settings lobby: {settings}
            bob> says one
            alice< lobby#1 bob: one
            bob< lobby#1 bob: one
            alice> read room=lobby upto=1
            alice< read lobby#1 alice
            wait 1s
            bob< {told}
            "
        ));
    }
}

#[test]
fn when_a_room_becomes_private_the_others_leave_and_do_not_learn_of_it_any_more() {
    let mut chat = Chat::new();
    chat.check(
        r#"
        bob> opens token=bob room=dev
        bob< welcome bob dev #0
        eve> opens token=eve rooms=dev,lobby
        eve< welcome eve lobby #0
        eve> joins dev
        eve< joined dev #0 count 2
        carol> opens token=carol rooms=d* room=dev
        carol< welcome carol dev #0
        root> opens token=root admin room=dev
        root< welcome root dev #0
        root> says hello
        bob< dev#1 root: hello
        eve< dev#1 root: hello
        carol< dev#1 root: hello
        root< dev#1 root: hello
        operator invite dev bob
        operator set dev {"access":"invited"}
        bob< settings dev: access invited
        eve< settings dev: access invited
        carol< error not_invited in dev
        carol< left dev
        root< settings dev: access invited
        carol> joins dev
        carol< error not_invited in dev
        carol> history dev
        carol< error not_invited in dev
        carol> members dev
        carol< error not_invited in dev
        carol> says room=dev still here
        carol< error not_a_member
        carol> rooms
        carol< rooms
        bob> rooms
        bob< rooms dev:3#1 lobby:1#0
        root> rooms
        root< rooms dev:3#1 lobby:1#0
        late> opens token=late room=dev
        late< refused not_invited
        late> opens unproven room=dev
        late< error unauthorized
        late> proves late
        late< error not_invited in dev
        operator uninvite dev bob
        bob< error not_invited in dev
        bob< left dev
        bob> joins dev
        bob< error not_invited in dev
        operator invite dev bob
        bob> joins dev
        bob< joined dev #1 count 3 with access invited
        eve> proves eve rooms=d*,lobby
        eve< error not_invited in dev
        eve< left dev
        eve< welcome eve lobby #0
        operator set dev {"access":"everyone"}
        bob< settings dev: no settings of its own
        root< settings dev: no settings of its own
        carol> joins dev
        carol< joined dev #1 count 3
        "#,
    );
}

#[test]
fn callers_outside_the_chat_need_an_invitation_too() {
    let mut chat = Chat::new().and(&["alice"]);
    chat.check(
        r#"
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev hello
        alice< dev#1 alice: hello
        operator invite dev alice
        operator set dev {"access":"invited"}
        alice< settings dev: access invited
        "#,
    );
    let client = |name: &str, globs: &[&str], is_admin| {
        let client_id = ClientId::parse(name).unwrap();
        Caller::Client(Claims { client_id, rooms: RoomGlobs::new(globs), is_admin, expires_at: u64::MAX })
    };
    for (caller, sees) in [
        (Caller::Anyone, false),
        (Caller::Operator, true),
        (client("alice", &["*"], false), true),
        (client("bob", &["*"], false), false),
        (client("bob", &["*"], true), true),
        (client("bob", &["dev", "lobby"], false), true),
    ] {
        let listed: Vec<_> = chat.list_rooms(caller.clone()).0.into_iter().map(|room| room.room.to_string()).collect();
        assert_eq!(listed.contains(&"dev".to_owned()), sees, "{caller:?}: {listed:?}");
        let read = chat.read_as(caller, "dev");
        assert_eq!(read.map(|page| page.messages.len()), if sees { Ok(1) } else { Err(ReadError::NotInvited) });
    }
    let (dev, lobby) = (chat.state.find_room("dev").unwrap(), chat.state.find_room("lobby").unwrap());
    assert_eq!(chat.names(&[], &[dev, lobby]).1, ["-", "lobby"], "the lab names no private room");
}

#[test]
fn who_must_leave_while_it_resumes_is_refused_and_learns_nothing_of_the_room() {
    for (decision, told, code) in [
        (r#"set dev {"access":"invited"}"#, "alice< settings dev: access invited", "not_invited"),
        ("ban bob dev", "alice< (nothing)", "banned"),
    ] {
        Chat::new().and(&["alice", "bob"]).check(&format!(
            "
            alice> joins dev
            alice< joined dev #0 count 1
            alice> says room=dev one
            alice< dev#1 alice: one
            operator invite dev alice
            bob> joins dev
            bob< joined dev #1 count 2
            bob> leaves dev
            bob< left dev
            history holds
            bob> joins dev after=1 epoch=bob at=1000000 id=j1
            bob< (nothing)
            operator {decision}
            {told}
            bob< error {code} in dev id=j1
            history stores
            bob< (nothing)
            "
        ));
    }
}

#[test]
fn a_client_that_takes_a_name_that_may_not_be_in_a_room_leaves_it() {
    for (decision, told, code) in [
        ("ban mallory dev", "", "banned"),
        (r#"set dev {"access":"invited"}"#, "bob< settings dev: access invited", "not_invited"),
    ] {
        Chat::new().check(&format!(
            "
            bob> opens name=bob room=dev
            bob< welcome bob dev #0
            bob> joins lobby
            bob< joined lobby #0 count 1
            operator invite dev bob
            operator {decision}
            {told}
            bob> hello mallory
            bob< error {code} in dev
            bob< left dev
            bob< welcome mallory lobby #0
            "
        ));
    }
    Chat::new().check(
        "
        guest> opens room=dev
        guest< welcome guest-1 dev #0
        guest> joins lobby
        guest< joined lobby #0 count 1
        operator ban mallory dev
        guest> says name=mallory hello
        guest< error banned in dev
        guest> says name=mallory room=lobby hello
        guest< error banned in dev
        guest< left dev
        guest< lobby#1 mallory: hello
        ",
    );
}

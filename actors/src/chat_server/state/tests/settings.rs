//! The settings of rooms: how members learn them, and what they forbid.

use super::Chat;

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
fn where_only_operators_write_others_react_and_delete_their_own_and_too_many_refusals_close_nothing() {
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
        bob< lobby#2 bob +x #1
        bob> deletes room=lobby of=1
        bob< lobby#3 bob deletes #1
        bob> says to=bob psst
        bob< bob@bob: psst
        root> opens token=root admin
        root< welcome root lobby #3
        root< settings lobby: writers operators
        root> says hello
        root< lobby#4 root: hello
        bob< lobby#4 root: hello
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
        bob< lobby#5 bob: hello
        root< lobby#5 bob: hello
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

//! Moderation: what a sanction or a slow mode forbids, and what happens at once.

use super::Chat;

#[test]
fn a_muted_client_may_read_but_neither_write_nor_change_nor_type() {
    Chat::new().and(&["alice", "mallory"]).check(
        "
        mallory> joins dev
        mallory< joined dev #0 count 1
        mallory> says room=dev id=before one
        mallory< ack before dev#1
        mallory< dev#1 mallory: one id=before
        operator mute mallory dev 60
        mallory> says room=dev id=a two
        mallory< error muted in dev id=a
        mallory> says room=dev id=before one
        mallory< ack before dev#1 duplicate
        mallory> edits room=dev of=1 other
        mallory< error muted in dev
        mallory> reacts room=dev of=1 x
        mallory< error muted in dev
        mallory> deletes room=dev of=1
        mallory< error muted in dev
        mallory> typing room=dev
        mallory< error muted in dev
        mallory> says room=lobby here
        alice< lobby#1 mallory: here
        mallory< lobby#1 mallory: here
        mallory> says to=alice psst
        alice< mallory@alice: psst
        mallory< mallory@alice: psst
        mallory> history dev
        mallory< history dev 1
        wait 60s
        mallory> says room=dev id=a two
        mallory< ack a dev#2
        mallory< dev#2 mallory: two id=a
        ",
    );
}

#[test]
fn a_mute_on_the_server_covers_private_messages_and_too_many_refusals_close_nothing() {
    let mut chat = Chat::new().and(&["alice", "mallory"]);
    chat.check(
        "
        operator mute mallory
        mallory> says to=alice psst
        mallory< error muted
        mallory> typing to=alice
        mallory< error muted
        ",
    );
    for _ in 0..1_000 {
        chat.check("mallory> says hello\n mallory< error muted");
    }
    chat.check(
        "
        operator unmute mallory
        mallory> says hello
        alice< lobby#1 mallory: hello
        mallory< lobby#1 mallory: hello
        ",
    );
}

#[test]
fn who_is_banned_from_a_room_leaves_it_and_does_not_come_back_before_the_end() {
    Chat::new().and(&["alice", "mallory"]).check(
        "
        alice> joins dev presence
        alice< joined dev #0 count 1
        mallory> joins dev
        mallory< joined dev #0 count 2
        wait 1s
        alice< presence dev +mallory count 2
        operator ban mallory dev 60
        mallory< error banned in dev
        mallory< left dev
        wait 1s
        alice< presence dev -mallory count 1
        mallory> says room=dev again
        mallory< error not_a_member
        mallory> joins dev
        mallory< error banned in dev
        mallory> history dev
        mallory< error banned in dev
        mallory> members dev
        mallory< error banned in dev
        mallory> says still here
        alice< lobby#1 mallory: still here
        mallory< lobby#1 mallory: still here
        mallory> goes
        mallory> opens name=mallory room=dev
        mallory< refused banned
        also> opens name=also room=dev
        also< welcome also dev #0
        wait 60s
        alice< presence dev +also count 2
        mallory> opens name=mallory room=dev
        mallory< welcome mallory dev #0
        wait 1s
        alice< presence dev +mallory count 3
        ",
    );
}

#[test]
fn who_is_banned_from_the_server_is_closed_by_name_or_address_and_cannot_connect() {
    Chat::new().and(&["alice"]).check(
        "
        mallory> opens name=mallory from=192.0.2.1
        mallory< welcome mallory lobby #0
        guest> opens from=192.0.2.1
        guest< welcome guest-1 lobby #0
        operator ban mallory
        mallory< error banned
        mallory< closed 4005
        mallory> opens name=mallory from=192.0.2.9
        mallory< refused banned
        guest> hello mallory
        guest< error banned
        guest< closed 4005
        guest> opens from=192.0.2.1
        guest< welcome guest-2 lobby #0
        guest> says name=mallory hello
        guest< error banned
        guest< closed 4005
        operator unban mallory
        mallory> opens name=mallory from=192.0.2.1
        mallory< welcome mallory lobby #0
        operator ban 192.0.2.1 60
        mallory< error banned
        mallory< closed 4005
        guest> opens from=192.0.2.1
        guest< refused banned
        guest> opens name=other from=192.0.2.1
        guest< refused banned
        wait 60s
        guest> opens name=other from=192.0.2.1
        guest< welcome other lobby #0
        alice< (nothing)
        ",
    );
}

#[test]
fn a_name_from_a_token_is_banned_when_it_is_shown_and_an_operator_is_exempt() {
    Chat::new().check(
        "
        operator ban mallory
        mallory> opens token=mallory
        mallory< refused banned
        mallory> opens unproven
        mallory< error unauthorized
        mallory> proves mallory
        mallory< error banned
        mallory< closed 4005
        root> opens token=root admin from=192.0.2.1
        root< welcome root lobby #0
        operator ban 192.0.2.1
        operator mute root
        operator slow lobby 5
        root< settings lobby: slow 5s
        root> says one
        root< lobby#1 root: one
        root> says two
        root< lobby#2 root: two
        again> opens token=root admin from=192.0.2.1
        again< welcome root lobby #2
        again< settings lobby: slow 5s
        ",
    );
}

#[test]
fn who_was_banned_as_an_operator_is_closed_when_its_token_does_not_make_it_one_any_more() {
    for ban in ["root", "192.0.2.1"] {
        for leaves in ["", "root> leaves lobby\nroot< left lobby"] {
            Chat::new().check(&format!(
                "
                root> opens token=root admin from=192.0.2.1
                root< welcome root lobby #0
                {leaves}
                operator ban {ban}
                root> proves root
                root< error banned
                root< closed 4005
                ",
            ));
        }
    }
}

#[test]
fn in_slow_mode_a_client_waits_between_its_messages_also_with_a_new_connection() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        operator slow lobby 5
        alice< settings lobby: slow 5s
        bob< settings lobby: slow 5s
        bob> says id=a one
        bob< ack a lobby#1
        alice< lobby#1 bob: one id=a
        bob< lobby#1 bob: one id=a
        bob> says id=a one
        bob< ack a lobby#1 duplicate
        bob> says id=b two
        bob< error slow_mode in lobby id=b
        alice> says mine
        alice< lobby#2 alice: mine
        bob< lobby#2 alice: mine
        bob> goes
        bob> opens name=bob
        bob< welcome bob lobby #2
        bob< settings lobby: slow 5s
        bob> says id=b two
        bob< error slow_mode in lobby id=b
        wait 5s
        bob> says id=b two
        bob< ack b lobby#3
        alice< lobby#3 bob: two id=b
        bob< lobby#3 bob: two id=b
        bob> reacts room=lobby of=1 x
        alice< lobby#4 bob +x #1
        bob< lobby#4 bob +x #1
        operator slow lobby 0
        alice< settings lobby: no settings of its own
        bob< settings lobby: no settings of its own
        bob> says three
        alice< lobby#5 bob: three
        bob< lobby#5 bob: three
        ",
    );
}

#[test]
fn the_audit_log_has_the_decisions_and_the_deletions_of_the_messages_of_others() {
    let mut chat = Chat::new();
    chat.check(
        "
        operator mute mallory dev
        operator slow dev 5
        root> opens token=root admin
        root< welcome root lobby #0
        bob> opens token=bob
        bob< welcome bob lobby #0
        bob> says one
        root< lobby#1 bob: one
        bob< lobby#1 bob: one
        root> says two
        root< lobby#2 root: two
        bob< lobby#2 root: two
        root> deletes room=lobby of=2
        root< lobby#3 root deletes #2
        bob< lobby#3 root deletes #2
        root> deletes room=lobby of=1
        root< lobby#4 root deletes #1
        bob< lobby#4 root deletes #1
        ",
    );
    let audit: Vec<_> = chat.state.moderation.audit().map(|(_, entry)| entry.decision.to_string()).collect();
    let expected = [
        "root: delete message 1 of bob in lobby",
        "root: set dev: slow 5s: \"spam\"",
        "root: mute mallory in dev: \"spam\"",
    ];
    assert_eq!(audit, expected);
}

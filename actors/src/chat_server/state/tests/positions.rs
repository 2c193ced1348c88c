//! Read positions: how far a client has read is known to all its connections, and to the others of a small room that
//! allows it.

use super::Chat;

fn with_tokens(seen_by: bool) -> Chat {
    Chat::with(|config| {
        config.private_is_kept = true;
        config.seen_by = seen_by;
    })
}

#[test]
fn a_position_comes_on_all_connections_of_its_client_and_never_goes_back() {
    with_tokens(false).check(
        "
        a1> opens token=alice
        a1< welcome alice lobby #0 inbox #0
        a2> opens token=alice
        a2< welcome alice lobby #0 inbox #0
        bob> opens token=bob
        bob< welcome bob lobby #0 inbox #0
        bob> says one
        bob> says two
        bob> says three
        a1< lobby#1 bob: one
        a1< lobby#2 bob: two
        a1< lobby#3 bob: three
        a2< lobby#1 bob: one
        a2< lobby#2 bob: two
        a2< lobby#3 bob: three
        bob< lobby#1 bob: one
        bob< lobby#2 bob: two
        bob< lobby#3 bob: three
        a1> read room=lobby upto=2 id=r
        a1< read lobby#2 alice id=r
        a2< read lobby#2 alice
        a2> read room=lobby upto=1 id=s
        a2< read lobby#2 alice id=s
        a1< (nothing)
        a1> read room=lobby upto=99
        a1< read lobby#3 alice
        a2< read lobby#3 alice
        wait 5s
        a1< (nothing)
        bob< (nothing)
        a3> opens token=alice
        a3< welcome alice lobby #3 inbox #0
        a3< read lobby#3 alice
        a1> goes
        a2> goes
        a3> goes
        a4> opens token=alice
        a4< welcome alice lobby #3 inbox #0
        a4< read lobby#3 alice
        a4> joins lobby
        a4< joined lobby #3 count 2
        a4< read lobby#3 alice
        ",
    );
}

#[test]
fn a_connection_that_may_not_be_in_a_room_is_not_told_how_far_its_client_has_read_there() {
    // What the token of the other connection allows, what an operator decides, and whether it is told.
    for (allows, decided, is_told) in [
        ("*", "", true),
        ("lobby,dev", "", true),
        ("lobby", "", false),
        ("lobby,dev", r#"operator set dev {"access":"invited"}"#, true),
        ("lobby,d*", r#"operator set dev {"access":"invited"}"#, false),
    ] {
        let settings = if decided.is_empty() { "" } else { "a1< settings dev: access invited" };
        let told = if is_told { "read dev#1 alice" } else { "(nothing)" };
        with_tokens(false).check(&format!(
            "
            a1> opens token=alice rooms=dev room=dev
            a1< welcome alice dev #0 inbox #0
            a1> says room=dev one
            a1< dev#1 alice: one
            a1> says room=dev two
            a1< dev#2 alice: two
            {decided}
            {settings}
            a2> opens token=alice rooms={allows}
            a2< welcome alice lobby #0 inbox #0
            a1> read room=dev upto=1
            a1< read dev#1 alice
            a2< {told}
            wait 2s
            a1< (nothing)
            "
        ));
    }
}

#[test]
fn the_others_of_a_room_that_allows_it_are_told_once_a_second() {
    with_tokens(true).check(
        "
        alice> opens token=alice
        alice< welcome alice lobby #0 inbox #0
        bob> opens token=bob
        bob< welcome bob lobby #0 inbox #0
        bob> says one
        bob> says two
        alice< lobby#1 bob: one
        alice< lobby#2 bob: two
        bob< lobby#1 bob: one
        bob< lobby#2 bob: two
        alice> read room=lobby upto=1
        alice< read lobby#1 alice
        alice> read room=lobby upto=2
        alice< read lobby#2 alice
        bob< (nothing)
        wait 250ms
        bob< read lobby#2 alice
        bob> says three
        alice< lobby#3 bob: three
        bob< lobby#3 bob: three
        alice> read room=lobby upto=3
        alice< read lobby#3 alice
        wait 750ms
        bob< (nothing)
        wait 250ms
        bob< read lobby#3 alice
        alice< (nothing)
        carol> opens token=carol
        carol< welcome carol lobby #3 inbox #0
        carol< read lobby#3 alice
        ",
    );
}

#[test]
fn without_tokens_a_position_belongs_to_a_name_and_its_key() {
    Chat::new().check(
        "
        alice> opens name=alice
        alice< welcome alice lobby #0
        alice> says one
        alice< lobby#1 alice: one
        alice> read room=lobby upto=1
        alice< read lobby#1 alice
        again> opens name=alice key=alice
        again< welcome alice lobby #1
        again< read lobby#1 alice
        alice< closed 4003
        again> goes
        other> opens name=alice
        other< welcome alice lobby #1
        other< (nothing)
        other> read upto=1
        other< error forbidden
        other> read room=dev upto=1
        other< error not_a_member
        ",
    );
}

#[test]
fn the_inbox_has_a_position_and_a_dropped_room_has_none() {
    let mut chat = with_tokens(false);
    chat.check(
        "
        alice> opens token=alice
        alice< welcome alice lobby #0 inbox #0
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev one
        alice< dev#1 alice: one
        alice> read room=dev upto=1
        alice< read dev#1 alice
        alice> says to=alice note
        alice< inbox#1 alice@alice: note
        alice> read upto=1
        alice< read inbox#1 alice
        wait 1s
        ",
    );
    assert_eq!(chat.state.positions.count(), 2);
    assert!(chat.drops("dev").is_some());
    assert_eq!(chat.state.positions.count(), 1);
    chat.check(
        "
        alice< left dev
        alice> joins dev
        alice< joined dev #0 count 1
        alice< (nothing)
        again> opens token=alice
        again< welcome alice lobby #0 inbox #1
        again< read inbox#1 alice
        ",
    );
}

#[test]
fn the_position_of_a_guest_goes_with_the_guest_and_not_with_its_connection() {
    let mut chat = Chat::new();
    chat.check(
        "
        a> opens
        a< welcome guest-1 lobby #0
        a> says one
        a< lobby#1 guest-1: one
        a> read room=lobby upto=1
        a< read lobby#1 guest-1
        wait 1s
        again> opens name=guest-1 key=a
        again< welcome guest-1 lobby #1
        again< read lobby#1 guest-1
        a< closed 4003
        b> opens
        b< welcome guest-2 lobby #1
        b> read room=lobby upto=1
        b< read lobby#1 guest-2
        wait 1s
        ",
    );
    assert_eq!(chat.state.positions.count(), 2);
    chat.check("again> goes");
    assert_eq!(chat.state.positions.count(), 1);
    chat.check(
        "
        b> hello bob
        b< welcome bob lobby #1
        ",
    );
    assert_eq!(chat.state.positions.count(), 0);
}

//! The limits on inboxes, and the choice of the inbox to drop.

use super::Chat;
use super::private::with_two;

#[test]
fn there_are_so_many_inboxes_and_no_more() {
    Chat::with(|config| {
        config.private_is_kept = true;
        config.inboxes = 2;
    })
    .check(
        "
        a> opens token=alice
        a< welcome alice lobby #0 inbox #0
        a> says to=bob id=m1 hi
        a< inbox#1 alice@bob: hi id=m1
        a< ack m1 @bob
        a> says to=carol id=m2 hi
        a< error too_many_inboxes id=m2
        c> opens token=carol
        c< welcome carol lobby #0 inbox #0
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        ",
    );
}

#[test]
fn an_inbox_with_messages_is_kept_and_an_empty_one_is_forgotten_like_a_room() {
    let mut chat = Chat::with(|config| {
        config.private_is_kept = true;
        config.inboxes = 2;
    });
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0 inbox #0
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        b> goes
        wait 5m
        a> says to=carol hi
        a< inbox#1 alice@carol: hi
        a> goes
        wait 10m
        c> opens token=carol
        c< welcome carol lobby #0 inbox #1
        c< inbox#1 alice@carol: hi
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        ",
    );
}

#[test]
fn rooms_and_inboxes_are_counted_apart() {
    let mut chat = Chat::with(|config| {
        config.private_is_kept = true;
        config.rooms = 1;
    });
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0 inbox #0
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        b> rooms
        b< rooms lobby:2#0
        ",
    );
    assert_eq!(chat.state.room_count(), 1);
}

/// Alice with one connection, where there are few inboxes.
fn with_few(inboxes: u32, per_client: u32) -> Chat {
    let mut chat = Chat::with(|config| {
        (config.private_is_kept, config.inboxes, config.inboxes_per_client) = (true, inboxes, per_client);
    });
    chat.check("a> opens token=alice\na< welcome alice lobby #0 inbox #0");
    chat
}

#[test]
fn a_client_makes_as_many_inboxes_of_clients_that_were_never_here_as_its_share() {
    with_few(100, 2).check(
        "
        a> says to=x1 psst
        a< inbox#1 alice@x1: psst
        a> says to=x2 psst
        a< inbox#2 alice@x2: psst
        a> says to=x3 id=m1 psst
        a< error too_many_inboxes id=m1
        a> says to=x1 again
        a< inbox#3 alice@x1: again
        x> opens token=x1
        x< welcome x1 lobby #0 inbox #2
        x< inbox#1 alice@x1: psst
        x< inbox#2 alice@x1: again
        a> says to=x3 psst
        a< inbox#4 alice@x3: psst
        ",
    );
}

#[test]
fn in_a_full_table_the_client_that_made_the_most_inboxes_gives_way_and_a_newcomer_is_never_refused() {
    let mut chat = with_few(4, 100);
    chat.check(
        "
        a> says to=x1 psst
        a< inbox#1 alice@x1: psst
        a> says to=x2 psst
        a< inbox#2 alice@x2: psst
        a> says to=x3 psst
        a< inbox#3 alice@x3: psst
        a> says to=x4 psst
        a< error too_many_inboxes
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        b> says to=x2 hello
        b< inbox#1 bob@x2: hello
        c> opens token=carol
        c< welcome carol lobby #0 inbox #0
        c> says to=x9 hello
        c< error too_many_inboxes
        d> opens token=dave
        d< welcome dave lobby #0 inbox #0
        x1> opens token=x1
        x1< welcome x1 lobby #0 inbox #0
        x2> opens token=x2
        x2< welcome x2 lobby #0 inbox #2
        x2< inbox#1 alice@x2: psst
        x2< inbox#2 bob@x2: hello
        ",
    );
    assert_eq!(chat.state.dropped_for_space(), 2, "alice's first inbox gave way to bob's, her third to carol's");
}

#[test]
fn an_operator_drops_an_inbox_and_its_owner_who_is_here_has_an_empty_one() {
    let mut chat = with_two();
    chat.check(
        "
        a> says to=bob psst
        a< inbox#1 alice@bob: psst
        b< inbox#1 alice@bob: psst
        ",
    );
    assert_eq!(chat.drops("@bob"), Some(Ok(())));
    chat.check(
        "
        b< joined inbox #0 count 1
        a> says to=bob id=m2 again
        a< inbox#2 alice@bob: again id=m2
        a< ack m2 @bob
        b< inbox#1 alice@bob: again id=m2
        ",
    );
}

//! Private messages on a server that stores them.

use super::Chat;

pub(super) fn kept() -> Chat {
    Chat::with(|config| config.private_is_kept = true)
}

/// Alice and bob with one connection each.
pub(super) fn with_two() -> Chat {
    let mut chat = kept();
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0 inbox #0
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        ",
    );
    chat
}

#[test]
fn a_private_message_reaches_all_connections_of_both_and_nobody_else() {
    let mut chat = with_two();
    chat.check(
        "
        a2> opens token=alice
        a2< welcome alice lobby #0 inbox #0
        b2> opens token=bob
        b2< welcome bob lobby #0 inbox #0
        c> opens token=carol
        c< welcome carol lobby #0 inbox #0
        a> says to=bob id=m1 psst
        a< inbox#1 alice@bob: psst id=m1
        a2< inbox#1 alice@bob: psst id=m1
        a< ack m1 @bob
        b< inbox#1 alice@bob: psst id=m1
        b2< inbox#1 alice@bob: psst id=m1
        c< (nothing)
        c> says to=bob hi
        c< inbox#1 carol@bob: hi
        b< inbox#2 carol@bob: hi
        b2< inbox#2 carol@bob: hi
        ",
    );
}

#[test]
fn without_a_history_all_connections_of_both_get_it_and_who_is_away_is_no_such_client() {
    Chat::new().check(
        "
        a> opens token=alice
        a< welcome alice lobby #0
        a2> opens token=alice
        a2< welcome alice lobby #0
        b> opens token=bob
        b< welcome bob lobby #0
        b2> opens token=bob
        b2< welcome bob lobby #0
        a> says to=bob psst
        a< alice@bob: psst
        a2< alice@bob: psst
        b< alice@bob: psst
        b2< alice@bob: psst
        a> says to=alice note
        a< alice@alice: note
        a2< alice@alice: note
        a> says to=carol psst
        a< error no_such_client
        a> inbox
        a< error forbidden
        a> private with=bob
        a< error forbidden
        ",
    );
}

#[test]
fn who_is_away_is_sent_it_on_return_and_only_once() {
    let mut chat = with_two();
    chat.check(
        "
        a> says to=carol one
        a< inbox#1 alice@carol: one
        a> says to=carol id=m2 two
        a< inbox#2 alice@carol: two id=m2
        a< ack m2 @carol
        c> opens token=carol
        c< welcome carol lobby #0 inbox #2
        c< inbox#1 alice@carol: one
        c< inbox#2 alice@carol: two id=m2
        c2> opens token=carol
        c2< welcome carol lobby #0 inbox #2
        c2< (nothing)
        c> goes
        c2> goes
        b> says to=carol three
        b< inbox#1 bob@carol: three
        c> opens token=carol
        c< welcome carol lobby #0 inbox #3
        c< inbox#3 bob@carol: three
        ",
    );
}

#[test]
fn nobody_is_there_for_a_guest() {
    with_two().check(
        "
        a> says to=guest-abc hello
        a< error no_such_client
        ",
    );
}

#[test]
fn a_note_to_oneself_stands_in_the_inbox_once() {
    with_two().check(
        "
        a> says to=alice id=m1 milk
        a< ack m1 @alice
        a< inbox#1 alice@alice: milk id=m1
        a> private
        a< history inbox 1
        ",
    );
}

#[test]
fn the_same_id_again_is_not_delivered_twice() {
    let mut chat = with_two();
    chat.check(
        "
        a> says to=bob id=m1 psst
        a< inbox#1 alice@bob: psst id=m1
        a< ack m1 @bob
        b< inbox#1 alice@bob: psst id=m1
        a2> opens token=alice
        a2< welcome alice lobby #0 inbox #1
        a2> says to=bob id=m1 psst
        a2< ack m1 @bob duplicate
        history holds
        a> says to=carol id=m2 hi
        a> says to=carol id=m2 hi
        a< (nothing)
        history stores
        a< inbox#2 alice@carol: hi id=m2
        a2< inbox#2 alice@carol: hi id=m2
        a< ack m2 @carol
        a< ack m2 @carol duplicate
        ",
    );
}

#[test]
fn what_could_not_be_stored_was_not_sent_and_may_be_sent_again() {
    with_two().check(
        "
        history holds
        a> says to=bob id=m1 psst
        history fails @bob
        a< error unavailable id=m1
        b< (nothing)
        history stores
        a> says to=bob id=m1 psst
        a< inbox#1 alice@bob: psst id=m1
        a< ack m1 @bob
        b< inbox#1 alice@bob: psst id=m1
        ",
    );
}

#[test]
fn a_client_resumes_its_inbox_like_a_room() {
    let mut chat = with_two();
    chat.check(
        "
        a> says to=bob one
        a< inbox#1 alice@bob: one
        b< inbox#1 alice@bob: one
        a> says to=bob two
        a< inbox#2 alice@bob: two
        b< inbox#2 alice@bob: two
        b2> opens token=bob
        b2< welcome bob lobby #0 inbox #2
        b2> inbox after=1 epoch=b id=j1
        b2< joined inbox #2 count 2 recovered id=j1
        b2< inbox#2 alice@bob: two
        a> says to=bob three
        a< inbox#3 alice@bob: three
        b< inbox#3 alice@bob: three
        b2< inbox#3 alice@bob: three
        b2> inbox after=9 epoch=b
        b2< joined inbox #3 count 2 gap
        b2> inbox after=1 epoch=a
        b2< joined inbox #3 count 2 gap
        b2> inbox
        b2< joined inbox #3 count 2
        ",
    );
}

#[test]
fn what_was_said_with_one_client_is_read_back_in_pages() {
    let mut chat = with_two();
    chat.check(
        "
        c> opens token=carol
        c< welcome carol lobby #0 inbox #0
        ",
    );
    for _ in 0..3 {
        chat.send("a", "says to=bob x");
        chat.send("b", "says to=alice y");
        chat.send("c", "says to=alice z");
    }
    for who in ["a", "b", "c"] {
        chat.take(who);
    }
    chat.check(
        "
        a> private id=p1
        a< history inbox 1 2 3 4 5 6 7 8 9 id=p1
        a> private with=bob
        a< history with bob 1 2 4 5 7 8
        a> private with=bob limit=2
        a< history with bob 7 8 …
        a> private with=bob before=5 limit=2
        a< history with bob 2 4 …
        a> private with=carol after=3 limit=1
        a< history with carol 6 …
        a> private with=carol after=6
        a< history with carol 9
        a> private with=nobody
        a< history with nobody
        c> private with=bob
        c< history with bob
        ",
    );
}

#[test]
fn what_waits_for_a_client_comes_page_by_page_and_what_is_new_after_it() {
    let mut chat = Chat::with(|config| {
        config.private_is_kept = true;
        // A page holds two messages.
        config.outbox_bytes = 8 * 2 * 170;
    });
    chat.check("a> opens token=alice\na< welcome alice lobby #0 inbox #0");
    for _ in 0..3 {
        chat.send("a", "says to=bob x");
    }
    chat.take("a");
    let inbox = "
        b> opens token=bob
        b< welcome bob lobby #0 inbox #3
        b< inbox#1 alice@bob: x
        b< inbox#2 alice@bob: x
        b< (more)
        b> goes
        b> opens token=bob
        b< welcome bob lobby #0 inbox #3
        b< inbox#3 alice@bob: x
        ";
    chat.check(inbox);
}

//! Changes of messages: edits, deletions, reactions; and replies.

use super::Chat;

/// Alice and bob in the lobby, in which alice has said one message.
fn with_message() -> Chat {
    let mut chat = Chat::new().and(&["alice", "bob"]);
    chat.check("alice> says one\nalice< lobby#1 alice: one\nbob< lobby#1 alice: one");
    chat
}

/// Alice and bob, whose names are authenticated, with a private message of alice to bob. Bob's inbox has another one
/// before it.
fn with_whisper() -> Chat {
    let mut chat = Chat::with(|config| config.private_is_kept = true);
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0 inbox #0
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        b> says to=bob note
        b< inbox#1 bob@bob: note
        a> says to=bob psst
        a< inbox#1 alice@bob: psst
        b< inbox#2 alice@bob: psst
        ",
    );
    chat
}

#[test]
fn a_change_has_its_own_place_in_the_order_and_history_shows_what_it_did() {
    with_message().check(
        "
        alice> edits room=lobby of=1 two
        alice< lobby#2 alice edits #1: two
        bob< lobby#2 alice edits #1: two
        bob> reacts room=lobby of=1 👍
        alice< lobby#3 bob +👍 #1
        bob< lobby#3 bob +👍 #1
        alice> reacts room=lobby of=1 👍
        alice< lobby#4 alice +👍 #1
        bob< lobby#4 alice +👍 #1
        bob> says reply=1 fine
        alice< lobby#5 bob: fine re#1
        bob< lobby#5 bob: fine re#1
        alice> history lobby
        alice< history lobby 1:two edited 👍2(bob,alice) <4> 5 re#1
        bob> reacts room=lobby of=1 👍 not
        alice< lobby#6 bob -👍 #1
        bob< lobby#6 bob -👍 #1
        alice> history lobby
        alice< history lobby 1:two edited 👍1(alice) <6> 5 re#1
        alice> deletes room=lobby of=1
        alice< lobby#7 alice deletes #1
        bob< lobby#7 alice deletes #1
        alice> history lobby
        alice< history lobby 1 deleted <7> 5 re#1
        alice> history lobby limit=1
        alice< history lobby 5 re#1 …
        alice> history lobby after=1
        alice< history lobby 5 re#1
        ",
    );
}

#[test]
fn emoji_that_differ_in_a_variation_selector_are_one_and_those_of_other_skin_tones_are_not() {
    with_message().check(
        "
        alice> reacts room=lobby of=1 \u{2764}
        alice< lobby#2 alice +\u{2764}\u{fe0f} #1
        bob< lobby#2 alice +\u{2764}\u{fe0f} #1
        bob> reacts room=lobby of=1 \u{2764}\u{fe0f}
        alice< lobby#3 bob +\u{2764}\u{fe0f} #1
        bob< lobby#3 bob +\u{2764}\u{fe0f} #1
        bob> reacts room=lobby of=1 👍
        alice< lobby#4 bob +👍 #1
        bob< lobby#4 bob +👍 #1
        bob> reacts room=lobby of=1 👍🏽
        alice< lobby#5 bob +👍🏽 #1
        bob< lobby#5 bob +👍🏽 #1
        alice> history lobby
        alice< history lobby 1 \u{2764}\u{fe0f}2(alice,bob) 👍1(bob) 👍🏽1(bob) <5>
        bob> reacts room=lobby of=1 \u{2764} not
        alice< lobby#6 bob -\u{2764}\u{fe0f} #1
        bob< lobby#6 bob -\u{2764}\u{fe0f} #1
        alice> history lobby
        alice< history lobby 1 \u{2764}\u{fe0f}1(alice) 👍1(bob) 👍🏽1(bob) <6>
        ",
    );
}

#[test]
fn a_change_with_an_id_is_acknowledged_and_counts_once() {
    with_message().check(
        "
        alice> edits room=lobby of=1 id=e1 two
        alice< ack e1 lobby#2
        alice< lobby#2 alice edits #1: two id=e1
        bob< lobby#2 alice edits #1: two id=e1
        alice> edits room=lobby of=1 id=e1 two
        alice< ack e1 lobby#2 duplicate
        bob> edits room=lobby of=1 id=e1 three
        bob< error forbidden id=e1
        bob> says id=e1 mine
        bob< ack e1 lobby#3
        bob< lobby#3 bob: mine id=e1
        alice< lobby#3 bob: mine id=e1
        ",
    );
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let mut chat = with_message();
    chat.check(
        "
        alice> reacts room=lobby of=1 👍
        alice< lobby#2 alice +👍 #1
        bob< lobby#2 alice +👍 #1
        ",
    );
    for (what, error) in [
        ("edits room=lobby of=1 mine", "forbidden"),
        ("deletes room=lobby of=1", "forbidden"),
        ("edits room=lobby of=2 x", "no_such_message"),
        ("reacts room=lobby of=2 👍", "no_such_message"),
        ("reacts room=lobby of=0 👍", "no_such_message"),
        ("reacts room=lobby of=9 👍", "no_such_message"),
        ("reacts room=dev of=1 👍", "not_a_member"),
        ("reacts of=1 👍", "forbidden"),
        ("says reply=9 x", "no_such_message"),
        ("says reply=0 x", "no_such_message"),
        ("says reply=1 to=alice x", "no_such_message"),
    ] {
        chat.check(&format!("bob> id=x {what}\nbob< error {error} id=x\nalice< (nothing)"));
    }
    chat.check(
        "
        alice> deletes room=lobby of=1
        alice< lobby#3 alice deletes #1
        bob< lobby#3 alice deletes #1
        ",
    );
    for what in ["edits room=lobby of=1 x", "deletes room=lobby of=1", "reacts room=lobby of=1 👍"] {
        chat.check(&format!("alice> {what}\nalice< error no_such_message\nbob< (nothing)"));
    }
}

#[test]
fn a_message_belongs_to_the_key_that_wrote_it_and_not_to_the_next_holder_of_the_name() {
    with_message().check(
        "
        alice> goes
        other> opens name=alice
        other< welcome alice lobby #1
        other> edits room=lobby of=1 x
        other< error forbidden
        other> goes
        again> opens name=alice key=alice
        again< welcome alice lobby #1
        again> edits room=lobby of=1 two
        again< lobby#2 alice edits #1: two
        bob< lobby#2 alice edits #1: two
        ",
    );
}

#[test]
fn an_operator_changes_any_message() {
    let mut chat = Chat::new();
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0
        o> opens token=oscar admin
        o< welcome oscar lobby #0
        a> says rude
        a< lobby#1 alice: rude
        o< lobby#1 alice: rude
        o> edits room=lobby of=1 polite
        a< lobby#2 oscar edits #1: polite
        o< lobby#2 oscar edits #1: polite
        o> deletes room=lobby of=1
        a< lobby#3 oscar deletes #1
        o< lobby#3 oscar deletes #1
        ",
    );
}

#[test]
fn an_authenticated_client_changes_its_messages_from_any_connection() {
    let mut chat = Chat::new();
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0
        a> says one
        a< lobby#1 alice: one
        a> goes
        b> opens token=alice
        b< welcome alice lobby #1
        b> edits room=lobby of=1 two
        b< lobby#2 alice edits #1: two
        ",
    );
}

#[test]
fn a_resume_sends_changes_in_order_and_no_text_that_is_gone() {
    with_message().check(
        "
        bob> goes
        alice> edits room=lobby of=1 two
        alice< lobby#2 alice edits #1: two
        alice> says other
        alice< lobby#3 alice: other
        alice> edits room=lobby of=1 three
        alice< lobby#4 alice edits #1: three
        b> opens name=bob room=dev
        b< welcome bob dev #0
        b> joins lobby after=0 epoch=alice
        b< joined lobby #4 count 2 recovered
        b< lobby#1 alice: three edited <4>
        b< lobby#2 alice edits #1:
        b< lobby#3 alice: other
        b< lobby#4 alice edits #1: three
        alice> deletes room=lobby of=1
        alice< lobby#5 alice deletes #1
        b< lobby#5 alice deletes #1
        b> joins lobby after=0 epoch=alice
        b< joined lobby #5 count 2 recovered
        b< lobby#1 alice:  deleted <5>
        b< lobby#2 alice edits #1:
        b< lobby#3 alice: other
        b< lobby#4 alice edits #1:
        b< lobby#5 alice deletes #1
        b> joins lobby after=3 epoch=alice
        b< joined lobby #5 count 2 recovered
        b< lobby#4 alice edits #1:
        b< lobby#5 alice deletes #1
        ",
    );
}

#[test]
fn the_frames_of_a_client_keep_their_order_while_a_change_waits_for_its_message() {
    with_message().check(
        "
        history holds
        alice> edits room=lobby of=1 id=e1 two
        alice> says id=m1 after
        alice> ping id=p1
        bob> ping id=p2
        bob< pong id=p2
        alice< (nothing)
        history stores
        alice< pong id=p1
        alice< ack e1 lobby#2
        alice< lobby#2 alice edits #1: two id=e1
        bob< lobby#2 alice edits #1: two id=e1
        alice< ack m1 lobby#3
        alice< lobby#3 alice: after id=m1
        bob< lobby#3 alice: after id=m1
        ",
    );
}

#[test]
fn a_client_that_goes_while_its_change_waits_leaves_nothing_behind() {
    with_message().check(
        "
        history holds
        alice> edits room=lobby of=1 two
        alice> says after
        alice> goes
        history stores
        bob< lobby#2 alice edits #1: two
        bob< lobby#3 alice: after
        again> opens name=alice key=alice
        again< welcome alice lobby #3
        ",
    );
}

#[test]
fn a_page_that_was_read_while_a_message_was_deleted_is_read_again() {
    with_message().check(
        "
        history holds
        alice> deletes room=lobby of=1
        history stores 1
        bob> history lobby
        history reads
        bob< (nothing)
        history stores
        alice< lobby#2 alice deletes #1
        bob< lobby#2 alice deletes #1
        bob< history lobby 1 deleted <2>
        ",
    );
}

#[test]
fn changes_that_meet_on_their_way_change_no_deleted_message_and_show_no_text_of_it() {
    let mut chat = Chat::new();
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0
        o> opens token=oscar admin
        o< welcome oscar lobby #0
        a> says rude
        a< lobby#1 alice: rude
        o< lobby#1 alice: rude
        history holds
        o> deletes room=lobby of=1
        a> edits room=lobby of=1 worse
        history stores 2
        history stores
        a< lobby#2 oscar deletes #1
        o< lobby#2 oscar deletes #1
        a< lobby#3 alice edits #1:
        o< lobby#3 alice edits #1:
        a> history lobby
        a< history lobby 1 deleted <2>
        ",
    );
}

#[test]
fn a_change_that_the_history_cannot_store_or_whose_message_it_cannot_read_is_refused() {
    with_message().check(
        "
        history holds
        alice> edits room=lobby of=1 id=e1 two
        history stores 1
        history fails lobby
        alice< error unavailable id=e1
        history stores
        alice> edits room=lobby of=1 id=e1 two
        alice< ack e1 lobby#2
        alice< lobby#2 alice edits #1: two id=e1
        bob< lobby#2 alice edits #1: two id=e1
        ",
    );
}

#[test]
fn a_message_that_the_history_has_dropped_cannot_be_changed_and_its_changes_do_no_harm() {
    Chat::with(|config| config.history_messages = 3).and(&["alice"]).check(
        "
        alice> says one
        alice< lobby#1 alice: one
        alice> says two
        alice< lobby#2 alice: two
        alice> edits room=lobby of=1 1
        alice< lobby#3 alice edits #1: 1
        alice> edits room=lobby of=2 2
        alice< lobby#4 alice edits #2: 2
        alice> edits room=lobby of=1 x
        alice< error no_such_message
        alice> joins lobby after=1 epoch=alice
        alice< joined lobby #4 count 1 recovered
        alice< lobby#2 alice: 2 edited <4>
        alice< lobby#3 alice edits #1: 1
        alice< lobby#4 alice edits #2: 2
        alice> history lobby
        alice< history lobby 2:2 edited <4>
        ",
    );
}

#[test]
fn without_a_history_nothing_can_be_changed() {
    Chat::with(|config| (config.history_messages, config.history_bytes) = (0, 0)).and(&["alice"]).check(
        "
        alice> says one
        alice< lobby#1 alice: one
        alice> edits room=lobby of=1 two
        alice< error no_such_message
        ",
    );
}

#[test]
fn a_private_message_is_changed_in_both_inboxes_with_their_own_numbers() {
    with_whisper().check(
        "
        a> edits of=1 id=e1 pssst
        a< inbox#2 alice edits #1: pssst id=e1
        a< ack e1 @bob
        b< inbox#3 alice edits #2: pssst id=e1
        b> reacts of=2 👍
        a< inbox#3 bob +👍 #1
        b< inbox#4 bob +👍 #2
        b> says to=alice reply=2 yes
        a< inbox#4 bob@alice: yes re#1
        b< inbox#5 bob@alice: yes re#2
        b> edits of=2 x
        b< error forbidden
        a> private
        a< history inbox 1:pssst edited 👍1(bob) <3> 4 re#1
        b> private with=alice
        b< history with alice 2:pssst edited 👍1(bob) <4> 5 re#2
        a> deletes of=1
        a< inbox#5 alice deletes #1
        b< inbox#6 alice deletes #2
        b> private
        b< history inbox 1 2 deleted <6> 5 re#2
        b> says to=alice reply=1 x
        b< error no_such_message
        ",
    );
}

#[test]
fn a_reply_is_kept_also_if_its_message_was_deleted_or_dropped() {
    // In a room any earlier message will do; in private, the message must be there, perhaps without its text.
    let mut chat = Chat::with(|config| (config.private_is_kept, config.history_messages) = (true, 4));
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0 inbox #0
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        ",
    );
    for (to, place, name) in [("room=lobby", "lobby", "alice"), ("to=bob", "inbox", "alice@bob")] {
        let deletes = if place == "lobby" { "room=lobby" } else { "" };
        let mut both = |says: &str, told: &str| chat.check(&format!("a> {says}\na< {place}#{told}\nb< {place}#{told}"));
        both(&format!("says {to} one"), &format!("1 {name}: one"));
        both(&format!("deletes {deletes} of=1"), "2 alice deletes #1");
        both(&format!("says {to} reply=1 two"), &format!("3 {name}: two re#1"));
        both(&format!("says {to} three"), &format!("4 {name}: three"));
        both(&format!("says {to} four"), &format!("5 {name}: four"));
    }
    chat.check(
        "
        a> says to=bob reply=1 five
        a< error no_such_message
        a> says room=lobby reply=1 five
        a< lobby#6 alice: five re#1
        b< lobby#6 alice: five re#1
        b> history lobby
        b< history lobby 3 re#1 4 5 6 re#1
        b> private
        b< history inbox 3 re#1 4 5
        ",
    );
}

#[test]
fn a_private_message_to_oneself_is_changed_once() {
    with_whisper().check(
        "
        b> edits of=1 my note
        b< inbox#3 bob edits #1: my note
        b> private
        b< history inbox 1:my note edited <3> 2
        ",
    );
}

#[test]
fn a_copy_whose_inbox_was_dropped_is_changed_no_more() {
    let mut chat = with_whisper();
    assert_eq!(chat.drops("@bob"), Some(Ok(())));
    chat.check(
        "
        b< joined inbox #0 count 1
        a> says to=bob new
        a< inbox#2 alice@bob: new
        b< inbox#1 alice@bob: new
        a> edits of=1 old
        a< inbox#3 alice edits #1: old
        b< (nothing)
        ",
    );
}

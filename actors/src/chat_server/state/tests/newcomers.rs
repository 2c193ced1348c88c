//! Rooms that hide their history from newcomers.

use starling_protocol::ClientId;

use super::Chat;
use crate::chat_server::parts::positions::Positions;
use crate::identity::{Caller, Claims, RoomGlobs};

#[test]
fn a_newcomer_sees_what_is_said_after_it_has_entered_and_finds_it_again_when_it_comes_back() {
    Chat::new().and(&["alice", "bob"]).check(
        r#"
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev one
        alice< dev#1 alice: one
        operator set dev {"newcomersSeeHistory":false}
        alice< settings dev: newcomers off
        bob> history dev
        bob< history dev
        bob> joins dev
        bob< joined dev #1 count 2 behind #1 with newcomers off
        bob> history dev
        bob< history dev
        bob> history dev after=0
        bob< history dev
        bob> history dev before=9
        bob< history dev
        alice> history dev
        alice< history dev 1
        alice> says room=dev two
        alice< dev#2 alice: two
        bob< dev#2 alice: two
        bob> history dev
        bob< history dev 2
        bob> reacts room=dev of=1 x
        bob< error no_such_message
        bob> reacts room=dev of=2 x
        alice< dev#3 bob +x #2
        bob< dev#3 bob +x #2
        bob> goes
        alice> says room=dev three
        alice< dev#4 alice: three
        bob> opens name=bob key=bob
        bob< welcome bob lobby #0
        bob> joins dev after=3 epoch=bob
        bob< joined dev #4 count 2 recovered behind #1 with newcomers off
        bob< dev#4 alice: three
        bob> leaves dev
        bob< left dev
        bob> joins dev after=0 epoch=bob
        bob< joined dev #4 count 2 gap behind #1 with newcomers off
        bob> joins dev after=1 epoch=bob
        bob< joined dev #4 count 2 recovered behind #1 with newcomers off
        bob< dev#2 alice: two x1(bob) <3>
        bob< dev#3 bob +x #2
        bob< dev#4 alice: three
        bob> goes
        other> opens name=bob room=dev
        other< welcome bob dev #4
        other< settings dev: newcomers off
        other> history dev
        other< history dev
        other> joins dev after=3 epoch=bob
        other< joined dev #4 count 2 gap behind #4 with newcomers off
        "#,
    );
}

#[test]
fn the_text_of_an_edit_does_not_show_a_message_that_is_hidden() {
    Chat::new().and(&["alice", "bob"]).check(
        r#"
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev one
        alice< dev#1 alice: one
        operator set dev {"newcomersSeeHistory":false}
        alice< settings dev: newcomers off
        bob> joins dev
        bob< joined dev #1 count 2 behind #1 with newcomers off
        alice> edits room=dev of=1 uno
        alice< dev#2 alice edits #1: uno
        bob< dev#2 alice edits #1:
        alice> says room=dev two
        alice< dev#3 alice: two
        bob< dev#3 alice: two
        alice> edits room=dev of=3 due
        alice< dev#4 alice edits #3: due
        bob< dev#4 alice edits #3: due
        bob> goes
        alice> edits room=dev of=1 eins
        alice< dev#5 alice edits #1: eins
        alice> edits room=dev of=3 zwei
        alice< dev#6 alice edits #3: zwei
        bob> opens name=bob key=bob
        bob< welcome bob lobby #0
        bob> joins dev after=4 epoch=bob
        bob< joined dev #6 count 2 recovered behind #1 with newcomers off
        bob< dev#5 alice edits #1:
        bob< dev#6 alice edits #3: zwei
        alice> deletes room=dev of=1
        alice< dev#7 alice deletes #1
        bob< dev#7 alice deletes #1
        operator set dev {"newcomersSeeHistory":true}
        alice< settings dev: no settings of its own
        bob< settings dev: no settings of its own
        bob> history dev
        bob< history dev 1 deleted <7> 3:zwei edited <6>
        "#,
    );
}

#[test]
fn an_edit_of_a_hidden_message_waits_for_who_resumes() {
    Chat::new().and(&["alice", "bob"]).check(
        r#"
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev one
        alice< dev#1 alice: one
        operator set dev {"newcomersSeeHistory":false}
        alice< settings dev: newcomers off
        bob> joins dev
        bob< joined dev #1 count 2 behind #1 with newcomers off
        alice> says room=dev two
        alice< dev#2 alice: two
        bob< dev#2 alice: two
        bob> goes
        bob> opens name=bob key=bob
        bob< welcome bob lobby #0
        history holds
        alice> edits room=dev of=1 uno
        history stores 1
        bob> joins dev after=2 epoch=bob at=1000000
        history stores 1
        alice< dev#3 alice edits #1: uno
        bob< (nothing)
        history stores
        bob< joined dev #3 count 2 recovered behind #1 with newcomers off
        bob< dev#3 alice edits #1:
        "#,
    );
}

#[test]
fn who_is_there_when_the_history_is_hidden_sees_what_it_saw_and_so_does_who_has_read_there() {
    Chat::new().and(&["alice", "bob", "carol"]).check(
        r#"
        alice> joins dev
        alice< joined dev #0 count 1
        alice> says room=dev one
        alice< dev#1 alice: one
        carol> joins dev
        carol< joined dev #1 count 2
        carol> read room=dev upto=1
        carol< read dev#1 carol
        wait 1s
        carol> leaves dev
        carol< left dev
        bob> joins dev
        bob< joined dev #1 count 2
        bob> leaves dev
        bob< left dev
        operator set dev {"newcomersSeeHistory":false}
        alice< settings dev: newcomers off
        bob> joins dev
        bob< joined dev #1 count 2 behind #1 with newcomers off
        carol> history dev
        carol< history dev 1
        alice> goes
        bob> says room=dev two
        bob< dev#2 bob: two
        alice> opens name=alice key=alice
        alice< welcome alice lobby #0
        alice> joins dev after=1 epoch=alice
        alice< joined dev #2 count 2 recovered with newcomers off
        alice< dev#2 bob: two
        alice> history dev
        alice< history dev 1 2
        operator set dev {"newcomersSeeHistory":true}
        alice< settings dev: no settings of its own
        bob< settings dev: no settings of its own
        bob> history dev
        bob< history dev 1 2
        bob> leaves dev
        bob< left dev
        operator set dev {"newcomersSeeHistory":false}
        alice< settings dev: newcomers off
        bob> history dev
        bob< history dev 2
        bob> joins dev
        bob< joined dev #2 count 2 behind #1 with newcomers off
        operator set dev {"newcomersSeeHistory":false}
        bob> history dev
        bob< history dev 2
        bob> read room=dev upto=1
        bob< read dev#1 bob
        wait 1s
        bob> history dev
        bob< history dev 2
        "#,
    );
}

#[test]
fn a_connection_with_another_name_sees_what_it_has_seen_and_a_guest_comes_back_as_a_newcomer() {
    Chat::new().and(&["alice"]).check(
        r#"
        operator set lobby {"newcomersSeeHistory":false}
        alice< settings lobby: newcomers off
        alice> says one
        alice< lobby#1 alice: one
        guest> opens
        guest< welcome guest-1 lobby #1
        guest< settings lobby: newcomers off
        alice> says two
        alice< lobby#2 alice: two
        guest< lobby#2 alice: two
        guest> hello bob
        guest< welcome bob lobby #2
        guest> history lobby
        guest< history lobby 2
        guest> goes
        guest> opens
        guest< welcome guest-2 lobby #2
        guest< settings lobby: newcomers off
        guest> history lobby
        guest< history lobby
        bob> opens name=bob key=guest
        bob< welcome bob lobby #2
        bob< settings lobby: newcomers off
        bob> history lobby
        bob< history lobby
        "#,
    );
}

#[test]
fn an_operator_and_readers_outside_see_what_they_may() {
    let mut chat = Chat::new();
    chat.check(
        r#"
        operator set dev {"newcomersSeeHistory":false}
        root> opens token=root admin room=dev
        root< welcome root dev #0
        root< settings dev: newcomers off
        root> says room=dev one
        root< dev#1 root: one
        bob> opens token=bob room=dev
        bob< welcome bob dev #1
        bob< settings dev: newcomers off
        again> opens token=root admin room=dev
        again< welcome root dev #1
        again< settings dev: newcomers off
        again> history dev
        again< history dev 1
        again> joins dev after=0 epoch=again
        again< joined dev #1 count 2 recovered with newcomers off
        again< dev#1 root: one
        root> says room=dev two
        root< dev#2 root: two
        bob< dev#2 root: two
        again< dev#2 root: two
        root> edits room=dev of=1 uno
        root< dev#3 root edits #1: uno
        again< dev#3 root edits #1: uno
        bob< dev#3 root edits #1:
        "#,
    );
    let read = |chat: &mut Chat, caller| {
        let page = chat.read_as(caller, "dev").unwrap();
        page.messages.iter().map(|message| message.seq.0).collect::<Vec<_>>()
    };
    let client = |name: &str, is_admin| {
        let client_id = ClientId::parse(name).unwrap();
        Caller::Client(Claims { client_id, rooms: RoomGlobs::ALL, is_admin, expires_at: u64::MAX })
    };
    assert_eq!(read(&mut chat, Caller::Operator), [1, 2]);
    assert_eq!(read(&mut chat, client("olga", true)), [1, 2]);
    assert_eq!(read(&mut chat, client("bob", false)), [2]);
    assert_eq!(read(&mut chat, client("carol", false)), [0_u64; 0]);
    assert_eq!(read(&mut chat, Caller::Anyone), [0_u64; 0]);
    chat.check(
        r#"
        operator set dev {"newcomersSeeHistory":true}
        root< settings dev: no settings of its own
        bob< settings dev: no settings of its own
        again< settings dev: no settings of its own
    "#,
    );
    assert_eq!(read(&mut chat, Caller::Anyone), [1, 2]);
}

/// A chat in which bob, with a token, has seen the second message of the room dev, which hides its history.
fn with_bob_in_a_hidden_room(most: (usize, usize)) -> Chat {
    let mut chat = Chat::new();
    chat.state.positions = Positions::bounded(most.0, most.1);
    chat.check(
        r#"
        operator set dev {"newcomersSeeHistory":false}
        root> opens token=root admin room=dev
        root< welcome root dev #0
        root< settings dev: newcomers off
        root> says room=dev one
        root< dev#1 root: one
        bob> opens token=bob room=dev
        bob< welcome bob dev #1
        bob< settings dev: newcomers off
        root> says room=dev two
        root< dev#2 root: two
        bob< dev#2 root: two
        bob> history dev
        bob< history dev 2
        "#,
    );
    chat
}

#[test]
fn a_member_sees_what_was_said_while_it_is_there_also_when_its_position_gives_way() {
    // Who makes it give way: the client itself in another room, or another client.
    let bobs_own = "
        bob> joins ops
        bob< joined ops #0 count 1
        bob> says room=ops x
        bob< ops#1 bob: x
        bob> read room=ops upto=1
        bob< read ops#1 bob
        wait 1s
        ";
    let anothers = "
        carol> opens token=carol room=ops
        carol< welcome carol ops #0
        carol> says room=ops x
        carol< ops#1 carol: x
        carol> read room=ops upto=1
        carol< read ops#1 carol
        wait 1s
        ";
    for (most, gives_way) in [((9, 1), bobs_own), ((2, 9), anothers)] {
        let mut chat = with_bob_in_a_hidden_room(most);
        // Root's position is the older one.
        chat.check("root> read room=dev upto=1\nroot< read dev#1 root\nwait 1s");
        assert_eq!(chat.state.positions.lost(), 0);
        chat.check(gives_way);
        assert_eq!(chat.state.positions.lost(), 1, "{most:?}");
        chat.check(
            "
            bob> history dev
            bob< history dev 2
            bob> reacts room=dev of=2 x
            bob< dev#3 bob +x #2
            root< dev#3 bob +x #2
            root> edits room=dev of=2 due
            bob< dev#4 root edits #2: due
            root< dev#4 root edits #2: due
            bob> joins dev after=1 epoch=bob
            bob< joined dev #4 count 2 recovered behind #1 with newcomers off
            bob< dev#2 root: due edited x1(bob) <4>
            bob< dev#3 bob +x #2
            bob< dev#4 root edits #2: due
            b2> opens token=bob room=dev
            b2< welcome bob dev #4
            b2< settings dev: newcomers off
            b2> history dev
            b2< history dev 2:due edited x1(bob) <4>
            ",
        );
    }
}

#[test]
fn a_client_whose_position_gave_way_is_a_newcomer_when_it_comes_back() {
    let mut chat = with_bob_in_a_hidden_room((9, 1));
    chat.check(
        "
        bob> joins ops
        bob< joined ops #0 count 1
        bob> says room=ops x
        bob< ops#1 bob: x
        bob> read room=ops upto=1
        bob< read ops#1 bob
        wait 1s
        bob> leaves dev
        bob< left dev
        bob> history dev
        bob< history dev
        bob> joins dev
        bob< joined dev #2 count 2 behind #2 with newcomers off
        ",
    );
}

//! Tokens, where names are authenticated.

use super::Chat;

#[test]
fn a_connection_without_a_token_is_answered_only_when_it_says_hello_with_one() {
    Chat::new().check(
        "
        a> opens unproven room=dev
        a< error unauthorized
        a> says id=m1 hello
        a< error unauthorized id=m1
        a> joins dev
        a< error unauthorized
        a> rooms
        a< error unauthorized
        a> history dev
        a< error unauthorized
        a> inbox
        a< error unauthorized
        a> nonsense
        a< error unauthorized
        a> hello alice
        a< error unauthorized
        a> ping id=p1
        a< pong id=p1
        a> proves alice id=h1
        a< welcome alice dev #0 id=h1
        a> says hello
        a< dev#1 alice: hello
        ",
    );
}

#[test]
fn a_connection_that_proves_nothing_is_closed_after_ten_seconds_and_not_before() {
    Chat::new().check(
        "
        a> opens unproven
        a< error unauthorized
        b> opens unproven
        b< error unauthorized
        wait 9999ms
        b> proves bob
        b< welcome bob lobby #0
        wait 1ms
        a< error unauthorized
        a< closed 1008
        b> ping
        b< pong
        ",
    );
}

#[test]
fn twenty_frames_without_a_token_close_the_connection() {
    let mut chat = Chat::new();
    chat.check("a> opens unproven\na< error unauthorized");
    for _ in 0..20 {
        chat.send("a", "says hello");
    }
    assert_eq!(chat.take("a").last().map(String::as_str), Some("closed 1008"));
    assert_eq!(chat.state.session_count(), 0);
}

#[test]
fn the_end_of_a_token_is_the_end_of_its_connection() {
    Chat::new().check(
        "
        a> opens token=alice for=60
        a< welcome alice lobby #0
        wait 59999ms
        a> says still here
        a< lobby#1 alice: still here
        wait 1ms
        a< error unauthorized
        a< closed 1008
        b> opens token=bob for=0
        b< refused token_expired
        ",
    );
}

#[test]
fn a_fresh_token_in_time_lets_a_connection_go_on() {
    Chat::new().check(
        "
        a> opens token=alice for=60
        a< welcome alice lobby #0
        wait 59s
        a> proves alice for=60 id=h1
        a< welcome alice lobby #0 id=h1
        wait 59s
        a> ping
        a< pong
        wait 1s
        a< error unauthorized
        a< closed 1008
        ",
    );
}

#[test]
fn a_connection_stays_who_it_has_proven_to_be() {
    Chat::new().check(
        "
        a> opens token=alice
        a< welcome alice lobby #0
        a> proves bob
        a< error client_id_mismatch
        a> hello bob
        a< error forbidden
        a> hello alice
        a< welcome alice lobby #0
        a> says name=bob hello
        a< error client_id_mismatch
        b> opens token=bob name=alice
        b< refused token_of_another
        ",
    );
}

#[test]
fn a_room_that_the_token_does_not_allow_is_closed_to_its_bearer() {
    Chat::new().check(
        "
        o> opens token=olga room=ops
        o< welcome olga ops #0
        a> opens token=alice rooms=dev-*
        a< refused room_closed
        a> opens token=alice rooms=dev-* room=dev-1
        a< welcome alice dev-1 #0
        a> joins ops
        a< error forbidden
        a> says room=ops let me in
        a< error not_a_member
        a> members ops
        a< error forbidden
        a> history ops
        a< error forbidden
        a> history nowhere
        a< error forbidden
        a> rooms
        a< rooms dev-1:1#0
        a> joins dev-2
        a< joined dev-2 #0 count 1
        u> opens unproven
        u< error unauthorized
        u> proves ute rooms=dev-*
        u< error forbidden
        ",
    );
}

#[test]
fn a_fresh_token_with_fewer_rooms_takes_its_bearer_out_of_the_others() {
    Chat::new().check(
        "
        a> opens token=alice room=dev
        a< welcome alice dev #0
        a> joins ops
        a< joined ops #0 count 1
        a> proves alice rooms=ops id=h1
        a< left dev
        a< welcome alice ops #0 id=h1
        b> opens token=bob room=dev
        b< welcome bob dev #0
        b> says hello
        b< dev#1 bob: hello
        ",
    );
}

#[test]
fn a_client_with_several_connections_is_counted_and_shown_once() {
    Chat::new().check(
        "
        w> opens token=wanda
        w< welcome wanda lobby #0
        w> joins lobby presence
        w< joined lobby #0 count 1
        a> opens token=alice
        a< welcome alice lobby #0
        w< presence lobby +alice count 2
        b> opens token=alice
        b< welcome alice lobby #0
        w> members lobby
        w< members lobby count 2: alice wanda
        w> rooms
        w< rooms lobby:2#0
        w> says hello
        w< lobby#1 wanda: hello
        a< lobby#1 wanda: hello
        b< lobby#1 wanda: hello
        wait 2s
        a> goes
        wait 2s
        w> members lobby
        w< members lobby count 2: alice wanda
        b> leaves lobby
        b< left lobby
        w< presence lobby -alice count 1
        ",
    );
}

#[test]
fn who_shows_the_key_replaces_the_connection_that_had_it_and_no_other() {
    Chat::new().check(
        "
        a> opens token=alice
        a< welcome alice lobby #0
        b> opens token=alice
        b< welcome alice lobby #0
        c> opens token=alice key=a
        a< closed 4003
        c< welcome alice lobby #0
        b> ping
        b< pong
        d> opens token=mallory key=b
        d< welcome mallory lobby #0
        b> ping
        b< pong
        ",
    );
}

#[test]
fn a_client_has_so_many_connections_and_one_more_replaces_its_oldest() {
    let mut chat = Chat::new();
    for number in 0..64 {
        let label = format!("c{number}");
        chat.send(&label, "opens token=alice");
        assert_eq!(chat.take(&label), ["welcome alice lobby #0"]);
    }
    assert_eq!(chat.take("c0"), [""; 0], "64 are not too many");
    chat.check("more> opens token=alice\nc0< closed 4003\nmore< welcome alice lobby #0");
    assert_eq!(chat.state.session_count(), 64);
}

//! Typing: the others of a room, and the receiver of a private message, see that a client types.

use starling_protocol::limits;

use super::Chat;

#[test]
fn the_others_of_a_room_are_told_who_types() {
    Chat::new().and(&["alice", "bob", "carol"]).check(
        "
        alice> typing
        alice< (nothing)
        bob< typing lobby alice
        carol< typing lobby alice
        ",
    );
}

#[test]
fn those_who_type_within_a_second_are_told_together() {
    Chat::new().and(&["alice", "bob", "carol"]).check(
        "
        alice> typing room=lobby
        bob< typing lobby alice
        carol< typing lobby alice
        bob> typing room=lobby
        carol> typing room=lobby
        wait 750ms
        alice< (nothing)
        wait 250ms
        alice< typing lobby bob carol
        bob< typing lobby bob carol
        carol< typing lobby bob carol
        wait 5s
        alice< (nothing)
        ",
    );
}

#[test]
fn one_typing_of_a_client_counts_in_three_seconds() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> typing
        bob< typing lobby alice
        wait 2s
        alice> typing
        wait 999ms
        bob< (nothing)
        wait 1ms
        alice> typing
        bob< typing lobby alice
        ",
    );
}

#[test]
fn who_has_written_meanwhile_does_not_type_any_more() {
    Chat::new().and(&["alice", "bob", "carol"]).check(
        "
        alice> typing
        bob< typing lobby alice
        carol< typing lobby alice
        bob> typing
        carol> typing
        carol> says hello
        alice< lobby#1 carol: hello
        bob< lobby#1 carol: hello
        carol< lobby#1 carol: hello
        wait 1s
        alice< typing lobby bob
        carol< typing lobby bob
        ",
    );
}

#[test]
fn only_the_receiver_of_a_private_message_is_told_who_types_it() {
    Chat::new().and(&["alice", "bob", "carol"]).check(
        "
        alice> typing to=bob
        alice< (nothing)
        bob< typing privately alice
        carol< (nothing)
        ",
    );
}

#[test]
fn typing_is_refused_where_a_message_would_be() {
    Chat::new().and(&["alice", "bob"]).check(
        "
        alice> typing to=nobody id=y1
        alice< error no_such_client id=y1
        alice> typing room=dev id=y2
        alice< error not_a_member id=y2
        alice> leaves lobby
        alice< left lobby
        alice> typing id=y3
        alice< error not_a_member id=y3
        bob< (nothing)
        ",
    );
}

#[test]
fn private_typing_is_refused_where_a_stored_message_would_be() {
    let mut chat = Chat::with(|config| (config.private_is_kept, config.inboxes_per_client) = (true, 1));
    chat.check(
        "
        a> opens token=alice
        a< welcome alice lobby #0 inbox #0
        b> opens token=bob
        b< welcome bob lobby #0 inbox #0
        a> says to=carol hello
        a< inbox#1 alice@carol: hello
        ",
    );
    for (who, to, told) in [
        ("a", "bob", "b< typing privately alice"),
        ("a", "carol", "a< (nothing)"),
        ("a", "alice", "a< (nothing)"),
        ("a", "dave", "a< error too_many_inboxes id=y"),
        ("a", "guest-1234567", "a< error no_such_client id=y"),
        ("b", "dave", "b< (nothing)"),
    ] {
        chat.check(&format!("{who}> typing to={to} id=y\n{told}"));
    }
}

#[test]
fn in_rooms_with_more_than_200_members_nobody_is_told() {
    let names: Vec<String> = (0..=limits::TYPING_MEMBERS_MAX).map(|number| format!("c{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut chat = Chat::new().and(&names);
    chat.check(
        "
        c0> typing
        c1< (nothing)
        c1> goes
        ",
    );
    let told = names[2..].iter().map(|name| format!("{name}< typing lobby c0\n"));
    chat.check(&format!("c0> typing\n{}", told.collect::<String>()));
}

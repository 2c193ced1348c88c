//! Presence events for watchers.

use std::time::Duration;

use starling_protocol::limits;

use super::Chat;

/// Alice watches the lobby, and bob is a member.
fn watched() -> Chat {
    let mut chat = Chat::new().and(&["alice", "bob"]);
    chat.check(
        "
        alice> joins lobby presence
        alice< joined lobby #0 count 2
        ",
    );
    chat
}

#[test]
fn who_asked_for_it_is_told_who_comes_and_goes_and_nobody_else() {
    watched().check(
        "
        carol> opens name=carol
        carol< welcome carol lobby #0
        alice< presence lobby +carol count 3
        wait 1s
        carol> leaves lobby
        carol< left lobby
        alice< presence lobby -carol count 2
        wait 1s
        bob> goes
        alice< presence lobby -bob count 1
        ",
    );
}

#[test]
fn presence_of_a_room_comes_at_most_once_a_second() {
    watched().check(
        "
        carol> opens name=carol
        carol< welcome carol lobby #0
        alice< presence lobby +carol count 3
        bob> goes
        dave> opens name=dave
        dave< welcome dave lobby #0
        wait 999ms
        alice< (nothing)
        wait 1ms
        alice< presence lobby +dave -bob count 3
        wait 5s
        alice< (nothing)
        ",
    );
}

#[test]
fn rooms_do_not_wait_for_each_other() {
    watched().check(
        "
        alice> joins dev presence
        alice< joined dev #0 count 1
        carol> opens name=carol
        carol< welcome carol lobby #0
        alice< presence lobby +carol count 3
        carol> joins dev
        carol< joined dev #0 count 2
        alice< presence dev +carol count 2
        ",
    );
}

#[test]
fn who_comes_and_goes_within_the_second_is_not_shown() {
    watched().check(
        "
        carol> opens name=carol
        carol< welcome carol lobby #0
        alice< presence lobby +carol count 3
        dave> opens name=dave
        dave< welcome dave lobby #0
        dave> goes
        bob> leaves lobby
        bob< left lobby
        bob> joins lobby
        bob< joined lobby #0 count 3
        wait 1s
        alice< (nothing)
        ",
    );
}

#[test]
fn a_change_of_name_is_one_who_came_and_one_who_went() {
    watched().check(
        "
        bob> hello carol
        bob< welcome carol lobby #0
        alice< presence lobby +carol -bob count 2
        wait 1s
        bob> hello dave
        bob< welcome dave lobby #0
        alice< presence lobby +dave -carol count 2
        bob> hello erin
        bob< welcome erin lobby #0
        bob> hello dave
        bob< welcome dave lobby #0
        wait 1s
        alice< (nothing)
        ",
    );
}

#[test]
fn a_guest_that_takes_a_name_is_shown() {
    let mut chat = watched();
    chat.check(
        "
        carol> opens
        carol< welcome guest-1 lobby #0
        alice< presence lobby +guest-1 count 3
        wait 1s
        carol> says name=carol hello
        alice< presence lobby +carol -guest-1 count 3
        alice< lobby#1 carol: hello
        bob< lobby#1 carol: hello
        carol< lobby#1 carol: hello
        ",
    );
}

#[test]
fn joining_again_without_presence_ends_it_and_leaving_does_too() {
    watched().check(
        "
        alice> joins lobby
        alice< joined lobby #0 count 2
        bob> leaves lobby
        bob< left lobby
        alice< (nothing)
        alice> joins lobby presence
        alice< joined lobby #0 count 1
        alice> leaves lobby
        alice< left lobby
        bob> joins lobby
        bob< joined lobby #0 count 1
        alice> joins lobby
        alice< joined lobby #0 count 2
        bob> leaves lobby
        bob< left lobby
        ",
    );
}

#[test]
fn a_person_is_told_who_comes_and_goes_in_all_its_rooms() {
    Chat::new().check(
        "
        alice> opens name=alice person
        alice< welcome alice lobby #0
        bob> opens name=bob
        bob< welcome bob lobby #0
        alice< presence lobby +bob count 2
        bob> joins dev
        bob< joined dev #0 count 1
        bob> types
        alice> joins dev
        alice< joined dev #0 count 2
        bob< presence dev +alice count 2
        wait 1s
        carol> opens name=carol
        carol< welcome carol lobby #0
        alice< presence lobby +carol count 3
        bob< presence lobby +carol count 3
        bob> joins ops
        bob< joined ops #0 count 1
        carol> joins ops
        carol< joined ops #0 count 2
        bob< presence ops +carol count 2
        ",
    );
}

#[test]
fn a_newcomer_that_watches_is_told_of_itself_by_joined_alone() {
    watched().check(
        "
        carol> opens name=carol room=dev
        carol< welcome carol dev #0
        carol> joins lobby presence
        carol< joined lobby #0 count 3
        alice< presence lobby +carol count 3
        carol< (nothing)
        ",
    );
}

#[test]
fn fifty_names_are_told_and_of_more_the_count() {
    let most = u32::try_from(limits::PRESENCE_NAMES_MAX).unwrap();
    for came in [most, most + 1] {
        let mut chat = watched();
        chat.send("first", "opens name=first");
        assert_eq!(chat.take("alice"), ["presence lobby +first count 3"]);
        for number in 0..came {
            chat.send(&format!("c{number}"), &format!("opens name=c{number}"));
        }
        chat.wait(Duration::from_secs(1));
        let told = chat.take("alice").remove(0);
        assert_eq!(told.matches('+').count(), 50, "{told}");
        assert!(told.ends_with(&format!(" count {}", 3 + came)), "{told}");
        for number in 0..came {
            chat.send(&format!("c{number}"), "goes");
        }
        chat.wait(Duration::from_secs(1));
        let told = chat.take("alice").join("; ");
        assert!(told.ends_with(" count 3"), "{told}");
    }
}

#[test]
fn with_more_names_than_are_told_a_change_of_the_count_alone_is_told() {
    let mut chat = watched();
    chat.send("first", "opens name=first");
    assert_eq!(chat.take("alice"), ["presence lobby +first count 3"]);
    for number in 0..60 {
        chat.send(&format!("c{number}"), &format!("opens name=c{number}"));
    }
    for number in 0..50 {
        chat.send(&format!("c{number}"), "goes");
    }
    chat.wait(Duration::from_secs(1));
    assert_eq!(chat.take("alice"), ["presence lobby count 13"]);
}

#[test]
fn who_comes_past_the_names_that_are_told_and_goes_again_is_not_shown_as_gone() {
    // Regression: the client was in no list when it left, so its leaving was announced.
    let mut chat = watched();
    chat.send("first", "opens name=first");
    chat.take("alice");
    for number in 0..51 {
        chat.send(&format!("c{number}"), &format!("opens name=c{number}"));
    }
    chat.send("c50", "goes");
    chat.wait(Duration::from_secs(1));
    let told = chat.take("alice").remove(0);
    assert!(!told.contains('-') && told.ends_with(" count 53"), "{told}");
}

#[test]
fn a_room_whose_watchers_have_gone_tells_nobody() {
    let mut chat = watched();
    chat.check(
        "
        carol> opens name=carol
        carol< welcome carol lobby #0
        alice< presence lobby +carol count 3
        bob> goes
        alice> goes
        wait 1s
        carol> ping
        carol< pong
        ",
    );
}

#[test]
fn who_begins_to_watch_while_somebody_is_away_for_less_than_a_second_is_told_of_the_return() {
    // Regression: the list of one second was the same for all watchers, so a newer one did not see the return.
    Chat::new().and(&["watcher", "bob", "carol"]).check(
        "
        watcher> joins lobby presence
        watcher< joined lobby #0 count 3
        carol> goes
        watcher< presence lobby -carol count 2
        wait 10ms
        bob> leaves lobby
        bob< left lobby
        newer> opens name=newer
        newer< welcome newer lobby #0
        newer> joins lobby presence
        newer< joined lobby #0 count 2
        bob> joins lobby
        bob< joined lobby #0 count 3
        wait 1s
        watcher< presence lobby +newer +bob count 3
        newer< presence lobby +newer +bob count 3
        ",
    );
}

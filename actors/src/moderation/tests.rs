use super::invitations::{INVITATIONS_MAX, INVITATIONS_PER_ROOM_MAX};
use super::*;

const NOW: u64 = 1_000_000;

fn client(name: &str) -> ClientId {
    ClientId::parse(name).unwrap()
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

/// `mute alice`, `ban alice dev`, `mute 192.0.2.1`
fn target(text: &str) -> Target {
    let mut words = text.split(' ');
    let measure = if words.next() == Some("mute") { Measure::Mute } else { Measure::Ban };
    let subject = words.next().unwrap();
    let subject = subject.parse().map_or_else(|_| Subject::Client(client(subject)), Subject::Address);
    Target { subject, room: words.next().map(room), measure }
}

fn by_root(act: Act) -> Decision {
    Decision { by: "root".into(), act, reason: "spam".into() }
}

fn impose(text: &str, seconds: Option<u64>) -> Decision {
    by_root(Act::Impose { target: target(text), seconds })
}

fn set(name: &str, change: &str) -> Decision {
    by_root(Act::Set { room: room(name), change: serde_json::from_str(change).unwrap() })
}

fn slow(name: &str, seconds: u32) -> Decision {
    set(name, &format!(r#"{{"slowSeconds":{seconds}}}"#))
}

fn invite(name: &str, whom: &str) -> Decision {
    by_root(Act::Invite { room: room(name), client_id: client(whom) })
}

fn mallory(address: &str) -> (ClientId, ClientAddress) {
    (client("mallory"), address.parse().unwrap())
}

/// What mallory from 192.0.2.1 may not do in the rooms lobby and dev: each letter is one question.
fn refused(moderation: &Moderation, now: u64) -> String {
    let (name, address) = mallory("192.0.2.1");
    let who = Who { name: Some(&name), address, rooms: &RoomGlobs::ALL };
    let asked = [
        ('s', moderation.may_speak(who, Some(&room("lobby")), now)),
        ('S', moderation.may_speak(who, Some(&room("dev")), now)),
        ('p', moderation.may_speak(who, None, now)),
        ('j', moderation.may_join(who, &room("lobby"), now)),
        ('J', moderation.may_join(who, &room("dev"), now)),
        ('c', moderation.may_connect(who, now)),
    ];
    asked.into_iter().filter(|(_, may)| may.is_err()).map(|(letter, _)| letter).collect()
}

#[test]
fn a_sanction_holds_for_its_client_or_address_in_its_place_until_its_end() {
    for (imposed, holds) in [
        ("mute mallory", "sSp"),
        ("mute mallory dev", "S"),
        ("ban mallory", "jJc"),
        ("ban mallory dev", "J"),
        ("mute 192.0.2.1", "sSp"),
        ("ban 192.0.2.1 dev", "J"),
        ("ban 192.0.2.1", "jJc"),
        ("mute alice", ""),
        ("ban 192.0.2.2", ""),
    ] {
        let mut moderation = Moderation::default();
        assert_eq!(refused(&moderation, NOW), "");
        moderation.decide(impose(imposed, Some(10)), NOW).unwrap();
        assert_eq!(refused(&moderation, NOW), holds, "{imposed}");
        assert_eq!(refused(&moderation, NOW + 9_999), holds, "{imposed}, just before its end");
        assert_eq!(refused(&moderation, NOW + 10_000), "", "{imposed}, at its end");
        moderation.decide(impose(imposed, None), NOW).unwrap();
        assert_eq!((refused(&moderation, u64::MAX).as_str(), moderation.sanction_count()), (holds, 1), "{imposed}");
        moderation.decide(by_root(Act::Lift(target(imposed))), NOW).unwrap();
        assert_eq!((refused(&moderation, NOW).as_str(), moderation.sanction_count()), ("", 0), "{imposed}, lifted");
        let again = moderation.decide(by_root(Act::Lift(target(imposed))), NOW);
        assert_eq!((again, moderation.audit().count()), (Err(Ineffective::NotThere(None)), 3));
    }
}

#[test]
fn a_refusal_says_where_until_when_and_why() {
    let (name, address) = mallory("192.0.2.1");
    let who = Who { name: Some(&name), address, rooms: &RoomGlobs::ALL };
    let mut moderation = Moderation::default();
    moderation.decide(impose("mute mallory dev", Some(60)), NOW).unwrap();
    let told = moderation.may_speak(who, Some(&room("dev")), NOW + 1_000).unwrap_err();
    let expected = Refusal::new(ErrorCode::Muted, "you are muted in the room dev: spam");
    assert_eq!(told, expected.in_room(Some(room("dev"))).until(Some(NOW + 60_000)).retry_after_ms(59_000));
    moderation.decide(impose("mute mallory", None), NOW).unwrap();
    let told = moderation.may_speak(who, Some(&room("dev")), NOW).unwrap_err();
    assert_eq!(told, Refusal::new(ErrorCode::Muted, "you are muted on this server: spam"));
}

#[test]
fn the_tables_are_bounded_and_what_has_ended_gives_way_first() {
    let mut moderation = Moderation::default();
    for number in 0..SANCTIONS_MAX {
        let seconds = (number % 2 == 0).then_some(1);
        moderation.decide(impose(&format!("mute c{number}"), seconds), NOW).unwrap();
    }
    assert_eq!(moderation.decide(impose("mute further", None), NOW), Err(Ineffective::TooManySanctions(SANCTIONS_MAX)));
    assert!(moderation.decide(impose("mute c1", None), NOW).is_ok(), "a sanction may be replaced");
    let rows = moderation.decide(impose("mute further", None), NOW + 1_000).unwrap();
    assert_eq!(rows.iter().filter(|row| row.key.starts_with(SANCTION) && row.value.is_none()).count(), 5_000);
    assert_eq!(moderation.sanction_count(), SANCTIONS_MAX / 2 + 1);

    assert_eq!((moderation.audit().count(), moderation.audit().next().unwrap().0), (AUDIT_MAX, 10_001));

    for number in 0..SET_ROOMS_MAX {
        moderation.decide(slow(&format!("r{number}"), 5), NOW).unwrap();
    }
    assert_eq!(moderation.decide(slow("further", 5), NOW), Err(Ineffective::TooManySet(SET_ROOMS_MAX)));
    moderation.decide(slow("r0", 6), NOW).unwrap();
    moderation.decide(slow("r0", 0), NOW).unwrap();
    moderation.decide(slow("further", 5), NOW).unwrap();
    let seconds = ["further", "r0"].map(|name| moderation.settings(&room(name)).slow_seconds);
    assert_eq!(seconds, [5, 0]);
}

#[test]
fn the_rows_of_all_decisions_together_restore_what_is_in_force() {
    let mut moderation = Moderation::default();
    let mut kept = BTreeMap::new();
    let deleted = Act::Delete { room: room("dev"), seq: Seq(7), client_id: client("mallory") };
    let mut decisions = vec![
        impose("mute mallory", Some(60)),
        impose("ban 2001:db8::1 dev", None),
        impose("ban mallory dev", None),
        by_root(Act::Lift(target("mute mallory"))),
        slow("dev", 5),
        set("dev", r#"{"topic":"tests","writers":"operators","retention":{"seconds":60}}"#),
        set("ops", r#"{"access":"invited","newcomersSeeHistory":false,"seenBy":false}"#),
        invite("dev", "mallory"),
        invite("dev", "alice"),
        invite("ops", "alice"),
        by_root(Act::Uninvite { room: room("dev"), client_id: client("alice") }),
        slow("gone", 5),
        slow("gone", 0),
        by_root(deleted),
        impose("mute mallory dev", Some(60)),
    ];
    decisions.extend((0..AUDIT_MAX).map(|_| slow("dev", 6)));
    for decision in decisions {
        for Row { key, value } in moderation.decide(decision, NOW).unwrap() {
            match value {
                Some(value) => drop(kept.insert(key, value)),
                None => drop(kept.remove(&key)),
            }
        }
    }
    let rows: Vec<_> = kept.into_iter().map(|(key, value)| Row { key, value: Some(value) }).collect();
    assert_eq!(rows, moderation.rows());
    assert_eq!(Moderation::restore(rows), Ok(moderation));
    for (key, value) in [
        ("sanction x", "{}"),
        ("room a/b", "{}"),
        ("room dev", r#"{"writers":"x"}"#),
        ("invitation dev", r#"{"by":"root","at":1}"#),
        ("invitation dev mallory", "{}"),
        ("slow dev", "x"),
        ("audit x", "{}"),
        ("else", ""),
    ] {
        let row = Row { key: key.into(), value: Some(value.into()) };
        assert_eq!(Moderation::restore([row]), Err(BadRow(key.into())));
    }
}

#[test]
fn a_change_of_settings_keeps_the_others_and_the_audit_log_names_what_has_changed() {
    let mut moderation = Moderation::default();
    assert!(!moderation.has_settings());
    for (change, then) in [
        (r#"{"topic":"tests"}"#, r#"{"topic":"tests"}"#),
        (r#"{"slowSeconds":5}"#, r#"{"slowSeconds":5,"topic":"tests"}"#),
        (r#"{"topic":"","slowSeconds":0}"#, "{}"),
    ] {
        let rows = moderation.decide(set("dev", change), NOW).unwrap();
        assert_eq!(serde_json::to_string(moderation.settings(&room("dev"))).unwrap(), then);
        assert_eq!((rows[0].key.as_str(), rows[0].value.as_deref()), ("room dev", (then != "{}").then_some(then)));
        assert_eq!(moderation.has_settings(), then != "{}");
    }
    assert_eq!(*moderation.settings(&room("dev")), RoomSettings::PLAIN);
    let audit: Vec<_> = moderation.audit().map(|(_, entry)| entry.decision.to_string()).collect();
    let expected = [
        r#"root: set dev: slow off, topic off: "spam""#,
        r#"root: set dev: slow 5s: "spam""#,
        r#"root: set dev: topic "tests": "spam""#,
    ];
    assert_eq!(audit, expected);
}

#[test]
fn slow_modes_of_an_earlier_version_are_read_as_settings() {
    let row = |key: &str, value: &str| Row { key: key.into(), value: Some(value.into()) };
    let entry = r#"{"at":1,"decision":{"by":"root","act":{"slow":{"room":"dev","seconds":5}},"reason":""}}"#;
    let then = [row("slow dev", "5"), row("audit 00000000000000000000", entry)];
    let moderation = Moderation::restore(then).unwrap();
    assert_eq!(moderation.settings(&room("dev")).slow_seconds, 5);
    assert_eq!(moderation.audit().next().unwrap().1.decision.to_string(), "root: set dev: slow 5s");
    let keys: Vec<_> = moderation.rows().into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["audit 00000000000000000000", "room dev"]);
}

#[test]
fn a_private_room_is_open_to_the_invited_and_to_those_whose_token_names_it() {
    let everywhere = "192.0.2.1".parse().unwrap();
    let mallory = client("mallory");
    let sees = |moderation: &Moderation, name: Option<&ClientId>, globs: &RoomGlobs| {
        let who = Who { name, address: everywhere, rooms: globs };
        let may_join = moderation.may_join(who, &room("dev"), NOW);
        assert_eq!(moderation.may_see(who, &room("dev")), may_join.is_ok());
        assert!(moderation.may_see(who, &room("lobby")));
        may_join.map_err(|refusal| refusal.code)
    };
    let mut moderation = Moderation::default();
    moderation.decide(invite("ops", "mallory"), NOW).unwrap();
    assert_eq!(sees(&moderation, None, &RoomGlobs::ALL), Ok(()), "it is not private");
    moderation.decide(set("dev", r#"{"access":"invited"}"#), NOW).unwrap();
    let refused = Err(ErrorCode::NotInvited);
    for (globs, outcome) in [
        (RoomGlobs::ALL, refused),
        (RoomGlobs::new(["*"]), refused),
        (RoomGlobs::new(["de?"]), refused),
        (RoomGlobs::new(["ops", "dev"]), Ok(())),
    ] {
        assert_eq!(sees(&moderation, Some(&mallory), &globs), outcome, "{globs:?}");
        assert_eq!(sees(&moderation, None, &globs), outcome, "{globs:?}");
    }
    moderation.decide(invite("dev", "mallory"), NOW).unwrap();
    assert_eq!(sees(&moderation, Some(&mallory), &RoomGlobs::ALL), Ok(()));
    assert_eq!(sees(&moderation, Some(&client("alice")), &RoomGlobs::ALL), refused);
    moderation.decide(impose("ban mallory dev", None), NOW).unwrap();
    let who = Who { name: Some(&mallory), address: everywhere, rooms: &RoomGlobs::ALL };
    assert_eq!(moderation.may_join(who, &room("dev"), NOW).map_err(|refusal| refusal.code), Err(ErrorCode::Banned));
}

#[test]
fn invitations_are_bounded_in_a_room_and_in_all() {
    let mut moderation = Moderation::default();
    let most = INVITATIONS_MAX / INVITATIONS_PER_ROOM_MAX;
    for number in 0..INVITATIONS_MAX {
        let (place, name) = (format!("r{}", number % most), format!("c{number}"));
        moderation.decide(invite(&place, &name), NOW).unwrap();
    }
    assert_eq!(moderation.invitation_count(), INVITATIONS_MAX);
    let refused =
        |moderation: &mut Moderation, place| moderation.decide(invite(place, "further"), NOW).unwrap_err().to_string();
    for (place, problem) in [
        ("r0", "there are 1000 invitations to this room, and no more are allowed: take one back first"),
        ("other", "there are 10000 invitations in all, and no more are allowed: take one back first"),
    ] {
        assert_eq!(refused(&mut moderation, place), problem);
    }
    moderation.decide(invite("r0", "c0"), NOW + 1).unwrap();
    let uninvite = || by_root(Act::Uninvite { room: room("r0"), client_id: client("c0") });
    moderation.decide(uninvite(), NOW).unwrap();
    assert_eq!(moderation.decide(uninvite(), NOW), Err(Ineffective::NotInvited));
    moderation.decide(invite("other", "further"), NOW).unwrap();
    assert_eq!((moderation.invitation_count(), moderation.invitations(&room("r0")).count()), (INVITATIONS_MAX, 999));
}

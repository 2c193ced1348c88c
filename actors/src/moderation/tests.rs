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

fn mallory(address: &str) -> (ClientId, ClientAddress) {
    (client("mallory"), address.parse().unwrap())
}

/// What mallory from 192.0.2.1 may not do in the rooms lobby and dev: each letter is one question.
fn refused(moderation: &Moderation, now: u64) -> String {
    let (name, address) = mallory("192.0.2.1");
    let who = Who { name: Some(&name), address };
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
        assert_eq!((again, moderation.audit().count()), (Err(Ineffective::NotThere), 3));
    }
}

#[test]
fn a_refusal_says_where_until_when_and_why() {
    let (name, address) = mallory("192.0.2.1");
    let who = Who { name: Some(&name), address };
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
    assert_eq!(moderation.decide(impose("mute further", None), NOW), Err(Ineffective::Full(SANCTIONS_MAX)));
    assert!(moderation.decide(impose("mute c1", None), NOW).is_ok(), "a sanction may be replaced");
    let rows = moderation.decide(impose("mute further", None), NOW + 1_000).unwrap();
    assert_eq!(rows.iter().filter(|row| row.key.starts_with(SANCTION) && row.value.is_none()).count(), 5_000);
    assert_eq!(moderation.sanction_count(), SANCTIONS_MAX / 2 + 1);

    assert_eq!((moderation.audit().count(), moderation.audit().next().unwrap().0), (AUDIT_MAX, 10_001));

    for number in 0..SLOW_ROOMS_MAX {
        moderation.decide(by_root(Act::Slow { room: room(&format!("r{number}")), seconds: 5 }), NOW).unwrap();
    }
    let further = |seconds| by_root(Act::Slow { room: room("further"), seconds });
    assert_eq!(moderation.decide(further(5), NOW), Err(Ineffective::Full(SLOW_ROOMS_MAX)));
    moderation.decide(by_root(Act::Slow { room: room("r0"), seconds: 0 }), NOW).unwrap();
    moderation.decide(further(5), NOW).unwrap();
    assert_eq!((moderation.slow_seconds(&room("further")), moderation.slow_seconds(&room("r0"))), (5, 0));
}

#[test]
fn the_rows_of_all_decisions_together_restore_what_is_in_force() {
    let mut moderation = Moderation::default();
    let mut kept = BTreeMap::new();
    let deleted = Act::Delete { room: room("dev"), seq: Seq(7), client_id: client("mallory") };
    let slow = |seconds| by_root(Act::Slow { room: room("dev"), seconds });
    let mut decisions = vec![
        impose("mute mallory", Some(60)),
        impose("ban 2001:db8::1 dev", None),
        impose("ban mallory dev", None),
        by_root(Act::Lift(target("mute mallory"))),
        slow(5),
        by_root(deleted),
        impose("mute mallory dev", Some(60)),
    ];
    decisions.extend((0..AUDIT_MAX).map(|_| slow(6)));
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
    for (key, value) in [("sanction x", "{}"), ("slow a b", "1"), ("slow dev", "x"), ("audit x", "{}"), ("else", "")] {
        let row = Row { key: key.into(), value: Some(value.into()) };
        assert_eq!(Moderation::restore([row]), Err(BadRow(key.into())));
    }
}

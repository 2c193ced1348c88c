use super::super::schema;
use super::*;

#[test]
fn a_wall_clock_that_was_set_says_nothing_of_age_until_it_has_gone_on_evenly() {
    let (start, minute) = (clock::now(), Duration::from_mins(1));
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut clock = WallClock::new(minute, start, 1_000_000);
    assert!(!clock.is_trusted(at(59), 1_059_000), "the clock may have been set just before the start");
    assert!(clock.is_trusted(at(60), 1_060_500));
    // The clock is two days ahead for three seconds.
    let ahead = 172_800_000;
    assert!(!clock.is_trusted(at(61), 1_061_000 + ahead));
    assert!(!clock.is_trusted(at(64), 1_064_000));
    assert!(!clock.is_trusted(at(123), 1_123_000));
    assert!(clock.is_trusted(at(124), 1_124_000));
    // The clock is set back by a quarter of an hour, and stays so.
    assert!(!clock.is_trusted(at(125), 1_125_000 - 3_600_000 / 4));
    assert!(clock.is_trusted(at(185), 1_185_000 - 3_600_000 / 4));
}
#[test]
fn a_clock_that_is_wrong_by_years_at_a_start_drops_nothing_before_it_has_gone_on_evenly_for_a_day() {
    let (day, year) = (86_400_000_i64, 365 * 86_400_000_i64);
    let now_ms = 60 * year;
    // The ages of the messages by the clock, in their order, and how many are left a minute and a day after the start.
    for (ages, after_a_minute, after_a_day) in [
        (&[9 * day, day][..], 1, 1),
        (&[300 * day, day], 1, 1),
        (&[5 * year, 5 * year - day], 2, 0),
        // The server was restarted while its clock was wrong.
        (&[5 * year, 5 * year - day, day], 3, 1),
        // The clock was years behind and was then set.
        (&[50 * year, 0], 2, 1),
        (&[-5 * year, -5 * year + day], 2, 2),
        (&[day, -5 * year], 2, 2),
    ] {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let mut bounds = Bounds::default();
        transaction.execute("INSERT INTO rooms VALUES (1, 'lobby', 1, ?1, 1, 0)", [ages.len()]).unwrap();
        for (seq, age) in (1..).zip(ages) {
            let row = "INSERT INTO messages (place, at, client_id, text) VALUES (?1, ?2, 'alice', 'm')";
            transaction.execute(row, (place(DbRoom(1), seq), now_ms - age)).unwrap();
            bounds.insert(DbRoom(1), (Seq(seq), Seq(1)));
        }
        transaction.commit().unwrap();
        let settings = SqliteSettings {
            path: "x".into(),
            follows_log: false,
            durability: crate::history::Durability::Process,
            keep_messages: None,
            keep_for: Some(Duration::from_hours(7 * 24)),
            keep_bytes: None,
            ids_kept: Duration::from_mins(5),
            ids_max: 1,
        };
        let (start, start_ms) = (clock::now(), now_ms.cast_unsigned());
        let mut retention = Retention::new(&settings, start);
        retention.wall_clock = WallClock::new(CLOCK_TRUSTED_AFTER, start, start_ms);
        let mut left_at = |minutes: u64| {
            let (now, ms) = (start + Duration::from_mins(minutes), start_ms + minutes * 60_000);
            retention.try_step(&mut connection, &mut bounds, &HistoryMetrics::default(), (now, ms)).unwrap();
            let (seq, oldest) = bounds[&DbRoom(1)];
            seq.0 + 1 - oldest.0
        };
        assert_eq!((left_at(0), left_at(1)), (ages.len() as u64, after_a_minute), "{ages:?}");
        assert_eq!((left_at(23 * 60), left_at(24 * 60)), (after_a_minute, after_a_day), "{ages:?}");
    }
}

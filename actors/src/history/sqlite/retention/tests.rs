use super::super::schema;
use super::*;

const DAY: i64 = 86_400_000;
const YEAR: i64 = 365 * DAY;

/// The time by the wall clock at which a test begins.
const NOW_MS: i64 = 60 * YEAR;

/// A database and its retention, at a time after the start.
struct Kept {
    connection: Connection,
    bounds: Bounds,
    retention: Retention,
    start: Instant,
}

impl Kept {
    /// Rooms with messages of these ages by the clock, from room 1 on.
    fn of(settings: &SqliteSettings, rooms: &[&[i64]]) -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        schema::migrate(&transaction).unwrap();
        let mut bounds = Bounds::default();
        for (room, ages) in (1..).map(DbRoom).zip(rooms) {
            let row = "INSERT INTO rooms VALUES (?1, 'room' || ?1, 1, ?2, 1, 0)";
            transaction.execute(row, (room.0, ages.len())).unwrap();
            for (seq, age) in (1..).zip(*ages) {
                let row = "INSERT INTO messages (place, at, client_id, text) VALUES (?1, ?2, 'alice', 'm')";
                transaction.execute(row, (place(room, seq), NOW_MS - age)).unwrap();
                bounds.insert(room, (Seq(seq), Seq(1)));
            }
        }
        transaction.commit().unwrap();
        let start = clock::now();
        let mut retention = Retention::new(settings, start);
        retention.wall_clock = WallClock::new(start, NOW_MS.cast_unsigned());
        Self { connection, bounds, retention, start }
    }

    fn limit(&mut self, room: u32, messages: Option<u64>, keep_for: Option<Duration>) {
        let room = DbRoom(room);
        self.retention.limit(room, OwnLimits { messages, keep_for }, self.bounds.get(&room), self.start);
    }

    /// Takes one step this long after the start. Returns whether the next one is due at once.
    fn step(&mut self, after: Duration) -> bool {
        let now = (self.start + after, NOW_MS.cast_unsigned() + millis(after));
        let metrics = HistoryMetrics::default();
        let trimmed = self.retention.try_step(&mut self.connection, &mut self.bounds, &metrics, now).unwrap();
        for (room, oldest) in trimmed {
            assert_eq!(self.bounds[&room].1, oldest);
        }
        self.retention.due() <= now.0 + STEP_PAUSE
    }

    /// The number of messages in each room, after all steps that are due this long after the start.
    fn left_after(&mut self, after: Duration) -> Vec<u64> {
        let mut steps = 0;
        while self.step(after) {
            steps += 1;
            assert!(steps < 100, "it ends");
        }
        let stored = "SELECT count(*) FROM messages WHERE place BETWEEN ?1 AND ?2";
        let left = self.bounds.iter().map(|(room, (seq, oldest))| {
            let (first, last) = (place(*room, oldest.0), place(*room, seq.0));
            let count: u64 = self.connection.query_row(stored, (first, last), |row| row.get(0)).unwrap();
            assert_eq!(count, seq.0 + 1 - oldest.0, "{room:?}");
            count
        });
        left.collect()
    }
}

fn settings(keep_messages: Option<u64>, keep_for: Option<Duration>) -> SqliteSettings {
    SqliteSettings {
        path: "x".into(),
        follows_log: false,
        durability: crate::history::Durability::Process,
        keep_messages,
        keep_for,
        keep_bytes: None,
        ids_kept: Duration::from_mins(5),
        ids_max: 1,
    }
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

#[test]
fn a_clock_that_is_wrong_by_years_at_a_start_drops_nothing_before_it_has_gone_on_evenly_for_a_day() {
    // The ages of the messages by the clock, in their order, and how many are left a minute and a day after the start.
    for (ages, after_a_minute, after_a_day) in [
        (&[9 * DAY, DAY][..], 1, 1),
        (&[300 * DAY, DAY], 1, 1),
        (&[5 * YEAR, 5 * YEAR - DAY], 2, 0),
        // The server was restarted while its clock was wrong.
        (&[5 * YEAR, 5 * YEAR - DAY, DAY], 3, 1),
        // The clock was years behind and was then set.
        (&[50 * YEAR, 0], 2, 1),
        (&[-5 * YEAR, -5 * YEAR + DAY], 2, 2),
        (&[DAY, -5 * YEAR], 2, 2),
    ] {
        // The age limit of all rooms, or of this one.
        for of_room in [false, true] {
            let mut kept = Kept::of(&settings(None, (!of_room).then_some(days(7))), &[ages]);
            if of_room {
                kept.limit(1, None, Some(days(7)));
            }
            let mut left_at = |minutes| {
                kept.step(Duration::from_mins(minutes));
                let (seq, oldest) = kept.bounds[&DbRoom(1)];
                seq.0 + 1 - oldest.0
            };
            assert_eq!((left_at(0), left_at(1)), (ages.len() as u64, after_a_minute), "{ages:?}");
            assert_eq!((left_at(23 * 60), left_at(24 * 60)), (after_a_minute, after_a_day), "{ages:?}");
        }
    }
}

#[test]
fn the_limits_of_a_room_go_before_those_of_the_server_in_both_directions() {
    let minutes = Duration::from_mins;
    // More than a step, and all of it older than the server's limit.
    let many = vec![20 * DAY; 700];
    let few = [20 * DAY, 8 * DAY, 2 * DAY, DAY];
    let mut kept = Kept::of(&settings(Some(1_000), Some(days(7))), &[&many, &few, &few, &few, &few]);
    kept.limit(1, None, Some(days(30)));
    kept.limit(2, None, Some(days(9)));
    kept.limit(3, None, Some(days(1)));
    kept.limit(4, Some(1), None);
    assert_eq!(kept.left_after(minutes(0)), [700, 4, 4, 1, 4], "the clock is not trusted yet");
    assert_eq!(kept.left_after(minutes(1)), [700, 3, 0, 1, 2]);
    kept.limit(2, None, None);
    kept.limit(1, Some(300), Some(days(30)));
    assert_eq!(kept.left_after(minutes(2)), [300, 2, 0, 1, 2], "a change holds at once");
    kept.limit(1, None, None);
    assert_eq!(kept.left_after(minutes(3)), [0, 2, 0, 1, 2]);
    kept.retention.forget(DbRoom(4));
    assert_eq!(kept.retention.own.len(), 1);
}

#[test]
fn the_size_limit_bounds_all_rooms_whatever_their_own_limits_are() {
    let (old, new) = ([20 * DAY; 300], [DAY; 300]);
    let mut kept = Kept::of(&SqliteSettings { keep_bytes: Some(0), ..settings(None, Some(days(7))) }, &[&old, &new]);
    kept.limit(1, Some(1_000), Some(days(30)));
    assert!(kept.step(Duration::from_mins(1)));
    assert_eq!(kept.bounds[&DbRoom(1)].1, Seq(257), "the oldest of all go first");
}

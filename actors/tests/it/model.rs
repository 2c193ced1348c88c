//! The chat's state machine against a model that is slow, simple and easy to verify.
//!
//! Random steps go to both. After each step, every client must have received the same from both, and the state
//! machine's own invariants must hold. The cases are the same in every run: `PROPTEST_RNG_SEED=7 PROPTEST_CASES=100000
//! cargo test model` tries others. `chat_server/state/tests` has the parts that are not in the model (catching up page
//! by page, presence).

mod naive;
mod private;
mod real;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed};

use self::naive::Naive;
use self::real::Real;

/// The number of clients; each has at most one connection at a time.
pub(crate) const CLIENTS: usize = 5;
pub(crate) const ROOMS: [&str; 4] = ["lobby", "dev", "ops", "zoo"];
pub(crate) const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
pub(crate) const ROOMS_MAX: usize = 3;
pub(crate) const ROOMS_PER_SESSION: usize = 2;
pub(crate) const MESSAGES_KEPT: usize = 6;

/// A name that a client asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name {
    Plain(&'static str),
    /// The last guest name of that client, if it had one.
    GuestOf(usize),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    FirstRoom,
    Room(&'static str),
    Client(Name),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Page {
    Newest,
    Before(u64),
    After(u64),
}

/// A step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Does {
        client: usize,
        deed: Deed,
    },
    Wait {
        ms: u64,
    },
    /// The history stores nothing from now on.
    Hold,
    /// The history stores this many waiting messages.
    Store {
        count: usize,
    },
    /// The history stores all messages and holds nothing back.
    Release,
    /// The history cannot store the waiting messages of this room.
    Fail {
        room: &'static str,
    },
}

/// A step of a client. `key` is the number of the client whose key is shown; an epoch is the last received one, or a
/// foreign one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    Open { name: Option<Name>, key: Option<usize>, room: &'static str },
    Close,
    Hello { name: Name, key: Option<usize> },
    Say { to: To, claims: Option<Name>, id: Option<u8> },
    Join { room: &'static str, after: Option<u64>, own_epoch: bool },
    Leave { room: &'static str },
    Rooms,
    Members { room: &'static str },
    History { room: &'static str, page: Page, limit: u16 },
    Ping,
    Nonsense { times: u32 },
}

impl Deed {
    /// The `id` of its frame.
    pub(crate) fn id(self) -> Option<u8> {
        if let Self::Say { id, .. } = self { id } else { None }
    }
}

fn any_name() -> impl Strategy<Value = Name> {
    prop_oneof![6 => select(&NAMES[..]).prop_map(Name::Plain), 1 => (0..CLIENTS).prop_map(Name::GuestOf)]
}

fn any_key() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![2 => Just(None), 1 => (0..CLIENTS).prop_map(Some)]
}

fn any_room() -> impl Strategy<Value = &'static str> {
    // Most steps are in the lobby.
    prop_oneof![1 => Just("lobby"), 1 => select(&ROOMS[..])]
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let to = prop_oneof![
        6 => Just(To::FirstRoom),
        2 => any_room().prop_map(To::Room),
        2 => any_name().prop_map(To::Client),
    ];
    let page = prop_oneof![Just(Page::Newest), (0..12_u64).prop_map(Page::Before), (0..12_u64).prop_map(Page::After)];
    let times = prop_oneof![6 => Just(1), 1 => 18..=20_u32];
    prop_oneof![
        5 => (option::of(any_name()), any_key(), any_room())
            .prop_map(|(name, key, room)| Deed::Open { name, key, room }),
        1 => Just(Deed::Close),
        2 => (any_name(), any_key()).prop_map(|(name, key)| Deed::Hello { name, key }),
        30 => (to, option::weighted(0.1, any_name()), option::weighted(0.6, 0..3_u8))
            .prop_map(|(to, claims, id)| Deed::Say { to, claims, id }),
        6 => (any_room(), option::of(0..8_u64), prop::bool::weighted(0.9))
            .prop_map(|(room, after, own_epoch)| Deed::Join { room, after, own_epoch }),
        2 => any_room().prop_map(|room| Deed::Leave { room }),
        1 => Just(Deed::Rooms),
        1 => any_room().prop_map(|room| Deed::Members { room }),
        1 => (any_room(), page, 1..5_u16).prop_map(|(room, page, limit)| Deed::History { room, page, limit }),
        1 => Just(Deed::Ping),
        1 => times.prop_map(|times| Deed::Nonsense { times }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![Just(1), Just(999), Just(60_000), Just(150_000), Just(299_999), Just(300_000)];
    prop_oneof![
        48 => (0..CLIENTS, any_deed()).prop_map(|(client, deed)| Step::Does { client, deed }),
        2 => wait.prop_map(|ms| Step::Wait { ms }),
        2 => Just(Step::Hold),
        2 => (1..4_usize).prop_map(|count| Step::Store { count }),
        2 => Just(Step::Release),
        1 => any_room().prop_map(|room| Step::Fail { room }),
    ]
}

fn config() -> Config {
    let from_environment = Config::default();
    let rng_seed = match from_environment.rng_seed {
        RngSeed::Random => RngSeed::Fixed(2_026),
        seed @ RngSeed::Fixed(_) => seed,
    };
    let cases = from_environment.cases.max(3_000);
    Config { cases, failure_persistence: None, rng_seed, ..from_environment }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_chat_does_what_the_naive_model_does(steps in vec(any_step(), 1..120)) {
        let (mut naive, mut real) = (Naive::new(), Real::new());
        let arrival = Deed::Open { name: None, key: None, room: "lobby" };
        let arrivals = (0..CLIENTS).map(|client| Step::Does { client, deed: arrival });
        for (number, step) in arrivals.chain(steps).enumerate() {
            // First, because the model remembers which names, keys and epochs the clients know before the step.
            let told = real.does(step, &naive);
            let expected = naive.does(step);
            prop_assert_eq!(told, expected, "step {}: {:?}", number, step);
            prop_assert_eq!(real.counts(), naive.counts(), "rooms and sessions after step {}", number);
        }
    }
}

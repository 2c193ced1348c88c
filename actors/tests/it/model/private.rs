//! Authenticated names with several connections each, and their private messages, against lists that are searched from
//! the beginning.

mod naive;
mod real;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use self::naive::Naive;
use self::real::Real;
use super::config;

const CONNECTIONS: usize = 6;
const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const FIVE_MINUTES: u64 = 300_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    Open { connection: usize, name: &'static str },
    Close { connection: usize },
    Whisper { connection: usize, to: &'static str, id: Option<u8> },
    Say { connection: usize },
    Resume { connection: usize, after: u64 },
    Members { connection: usize },
    Hold,
    Store { count: usize },
    Release,
    Wait { ms: u64 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let connection = || 0..CONNECTIONS;
    prop_oneof![
        4 => (connection(), select(&NAMES[..])).prop_map(|(connection, name)| Step::Open { connection, name }),
        2 => connection().prop_map(|connection| Step::Close { connection }),
        12 => (connection(), select(&NAMES[..]), option::weighted(0.5, 0..3_u8))
            .prop_map(|(connection, to, id)| Step::Whisper { connection, to, id }),
        2 => connection().prop_map(|connection| Step::Say { connection }),
        3 => (connection(), 0..12_u64).prop_map(|(connection, after)| Step::Resume { connection, after }),
        1 => connection().prop_map(|connection| Step::Members { connection }),
        1 => Just(Step::Hold),
        2 => (1..4_usize).prop_map(|count| Step::Store { count }),
        2 => Just(Step::Release),
        1 => select(&[1, 60_000, 299_999, FIVE_MINUTES][..]).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// The output for each connection, in order.
type Told = BTreeMap<usize, Vec<String>>;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn names_with_several_connections_and_their_inboxes_do_what_the_naive_model_does(
        steps in vec(any_step(), 1..120)
    ) {
        let (mut naive, mut real) = (Naive::default(), Real::new());
        for (number, step) in steps.into_iter().enumerate() {
            prop_assert_eq!(real.does(step), naive.does(step), "step {}: {:?}", number, step);
        }
    }
}

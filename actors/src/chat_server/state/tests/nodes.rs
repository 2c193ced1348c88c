//! Several nodes, one log, and a network that delays, loses, repeats and cuts, all from one seed.
//!
//! After every step: nodes that have read the same records agree; each client gets the messages of a room once and in
//! order, and the answers to its joins are correct; private messages arrive once and in order. At the end, after all
//! faults are repaired: every node has each acknowledged message once, and no name is held twice.

mod client;
mod limits;
mod operators;
mod restarts;
mod world;

use self::world::World;

/// The steps of one run.
const STEPS: usize = 1_500;

/// Seeds that have found faults. They are kept as regression tests.
const FOUND: [u64; 5] = [50, 169, 234, 1_445, 3_383];

fn run(seed: u64) {
    let result = std::panic::catch_unwind(|| {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.heal();
        world.check_end();
    });
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        panic!("seed {seed}: {text}");
    }
}

#[test]
fn nodes_that_fail_in_every_way_agree_and_lose_nothing_that_was_acknowledged() {
    let from = std::env::var("SIMULATION_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let count = std::env::var("SIMULATION_RUNS").map_or(200, |runs| runs.parse().unwrap());
    match from {
        Some(seed) => run(seed),
        None => FOUND.into_iter().chain(1..=count).for_each(run),
    }
}

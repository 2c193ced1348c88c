//! No member of a room is always last.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use test_kit::wait_until;

use crate::server::Server;

#[actix::test]
async fn the_last_member_that_a_message_is_written_to_is_not_always_the_same() {
    const ROUNDS: usize = 24;
    let server = Server::start(|_| {});
    let mut speaker = server.clients(&["alice"]).await.remove(0);
    let listeners = server.clients(&["bob", "carol", "dave", "erin", "frank"]).await;
    let count = listeners.len();
    // Clients and hub share a thread: it handles readable sockets in the order of their writes.
    let order: Rc<RefCell<Vec<usize>>> = Rc::default();
    for (place, mut listener) in listeners.into_iter().enumerate() {
        let order = Rc::clone(&order);
        actix_rt::spawn(async move {
            while listener.line().await.starts_with('#') {
                order.borrow_mut().push(place);
            }
        });
    }
    for round in 1..=ROUNDS {
        speaker.say("hello").await;
        assert!(speaker.line().await.starts_with(&format!("#{round} ")));
        wait_until("everybody has it", || order.borrow().len() == round * count).await;
    }
    for place_in_round in [0, count - 1] {
        let mut times = HashMap::new();
        for round in order.borrow().chunks(count) {
            *times.entry(round[place_in_round]).or_insert(0) += 1;
        }
        assert_eq!(times.len(), count, "everybody is first and last at times: {times:?}");
        let most = times.values().max().copied().unwrap_or_default();
        assert!(most <= ROUNDS / 2, "nobody is mostly first or last: {times:?}");
    }
}

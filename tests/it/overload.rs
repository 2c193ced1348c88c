//! More load than the machine can handle.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use test_kit::raw::{self, Raw};
use test_kit::{Bystander, DEADLINE, Exposition, figures_when, within};
use tokio::time::{sleep, timeout};

use crate::harness::TestServer;

const CLIENTS: usize = 40;
const OVERLOAD: Duration = Duration::from_secs(3);

/// The highest seen value of each metric.
#[derive(Debug, Default)]
struct Highest {
    chat_server: Cell<f64>,
    hub: Cell<f64>,
    session: Cell<f64>,
    credits: Cell<f64>,
    outbox: Cell<f64>,
}

impl Highest {
    fn look(&self, figures: &Exposition) {
        let see = |cell: &Cell<f64>, value: f64| cell.set(cell.get().max(value));
        let mailbox = |actor| figures.value("chat_mailbox_messages_highest", &[("actor", actor)]);
        see(&self.chat_server, mailbox("chat_server"));
        see(&self.hub, mailbox("hub"));
        see(&self.session, mailbox("session"));
        see(&self.credits, figures.value("chat_credits_in_use", &[]));
        see(&self.outbox, figures.value("chat_outbox_bytes_highest", &[]));
    }
}

/// Overloads a server as one of the clients: writes as much as the network accepts, and reads the answers. Returns the
/// number of offered frames, and of rate-limit errors.
async fn overload(server: &TestServer, number: usize, time: Duration) -> (usize, usize) {
    let client = Raw::connect(server, &format!("/ws/room-{}?clientId=c{number}", number % 4)).await;
    let (mut writing, mut reading) = client.split();
    let some = raw::frame(raw::TEXT, format!(r#"{{"Message":"{}"}}"#, "x".repeat(200)).as_bytes()).repeat(10);
    let (offered, refused) = (Cell::new(0), Cell::new(0));
    let offering = async {
        loop {
            writing.send(&some).await;
            offered.set(offered.get() + 10);
            // Yield, so that the other clients of this thread get their turn.
            tokio::task::yield_now().await;
        }
    };
    let taking = async {
        while let Some(frame) = reading.frame().await {
            refused.set(refused.get() + usize::from(frame.says("rate_limited")));
        }
    };
    let both = async {
        tokio::select! { () = offering => {}, () = taking => {} }
    };
    // Either its time is over, or its connection was closed.
    drop(timeout(time, both).await);
    (offered.get(), refused.get())
}

async fn calm(bystander: &Bystander) -> Duration {
    bystander.forget();
    within("the bystander chats", async {
        while bystander.count() < 25 {
            assert!(bystander.is_well(), "the bystander's chat has ended");
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    bystander.round_trips().p99()
}

#[actix::test]
async fn no_mailbox_grows_past_the_credits_and_all_is_well_when_the_load_is_over() {
    let credits = 64.0;
    let variables = [("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_SERVER_CREDITS", "64"), ("CHAT_CLIENT_CREDITS", "16")];
    let server = TestServer::start(&variables);
    let bystander = Bystander::arrive(server.address()).unwrap();
    let before = calm(&bystander).await;
    let highest = Highest::default();
    let looking = async {
        loop {
            highest.look(&Exposition::scrape(&server).await);
            sleep(Duration::from_millis(50)).await;
        }
    };
    let outcomes = tokio::select! {
        outcomes = join_all((0..CLIENTS).map(|number| overload(&server, number, OVERLOAD))) => outcomes,
        () = looking => unreachable!("it has no end"),
    };
    let offered: usize = outcomes.iter().map(|(offered, _)| offered).sum();
    assert!(outcomes.iter().all(|(offered, _)| *offered > 0), "{outcomes:?}");
    // Commands with a credit, plus sessions that open and close, the hubs' parts of these, and the ticks.
    let bound = credits + CLIENTS as f64 + 4.0;
    assert!(highest.chat_server.get() <= bound && highest.hub.get() <= bound, "{highest:?}");
    assert!(highest.session.get() <= 2.0 && highest.credits.get() <= credits, "{highest:?}");
    assert!(highest.outbox.get() <= 1_048_576.0, "{highest:?}");
    assert!(highest.chat_server.get() >= credits / 2.0, "it was an overload: {offered} offered, {highest:?}");

    let quiet = |figures: &Exposition| {
        figures.value("chat_credits_in_use", &[]) < 1.5
            && figures.value("chat_sessions", &[]) < 1.5
            && figures.value("chat_outbox_bytes", &[]) < 10_000.0
    };
    figures_when(&server, "it is quiet again", quiet).await;
    let after = calm(&bystander).await;
    assert!(after <= before * 10 + Duration::from_millis(200), "before {before:?}, after {after:?}");
    bystander.leave().unwrap();
}

#[actix::test]
async fn with_the_rate_limit_who_offers_too_much_is_told_and_then_closed() {
    let server = TestServer::start(&[]);
    let bystander = Bystander::arrive(server.address()).unwrap();
    let before = calm(&bystander).await;
    let attack = join_all((0..CLIENTS).map(|number| overload(&server, number, DEADLINE)));
    let (outcomes, during) = tokio::join!(attack, calm(&bystander));
    assert!(outcomes.iter().all(|(_, refused)| (1..=200).contains(refused)), "{outcomes:?}");
    assert!(during <= before * 20 + Duration::from_millis(400), "before {before:?}, during {during:?}");
    let closed =
        |figures: &Exposition| figures.value("chat_disconnects_total", &[("reason", "policy")]) > CLIENTS as f64 - 0.5;
    let figures = figures_when(&server, "all are closed", closed).await;
    assert!(figures.value("chat_rejected_commands_total", &[("code", "rate_limited")]) >= 20.0 * CLIENTS as f64);
    bystander.leave().unwrap();
}

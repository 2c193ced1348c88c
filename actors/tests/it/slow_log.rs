//! What passes the log of a node, however late its records come back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use starling_actors::nodes::heard::Heard;
use starling_actors::nodes::log::{HeardSink, Log, NodeFigures};
use starling_actors::nodes::record::{Incarnation, LogPosition, Record, RecordId};
use starling_actors::nodes::typing::TypingNotice;
use starling_actors::vitals::Vitals;
use test_kit::wait_until;

use crate::client::Client;
use crate::server::{Connect, Server};

/// A log in memory. While it is held, records come back one by one on request.
#[derive(Clone, Default)]
pub(crate) struct SlowLog(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    sink: Option<HeardSink>,
    returned: u64,
    written: VecDeque<Bytes>,
    is_held: bool,
}

impl Records {
    fn return_one(&mut self) {
        let (Some(sink), Some(bytes)) = (&self.sink, self.written.pop_front()) else { return };
        self.returned += 1;
        let id = RecordId { position: LogPosition(self.returned), nanos: self.returned };
        sink(Heard::Record { id, record: Record::read(&bytes).unwrap() });
    }
}

impl SlowLog {
    fn hold(&self) {
        self.0.lock().unwrap().is_held = true;
    }

    fn return_one(&self) {
        self.0.lock().unwrap().return_one();
    }

    fn written(&self) -> usize {
        self.0.lock().unwrap().written.len()
    }
}

impl Log for SlowLog {
    fn connect(&mut self, _: LogPosition, sink: HeardSink, _: &Vitals) {
        sink(Heard::Reachable(true));
        self.0.lock().unwrap().sink = Some(sink);
    }

    fn begin(&mut self, _: Incarnation) {}

    fn write(&mut self, record: Bytes) {
        let mut records = self.0.lock().unwrap();
        records.written.push_back(record);
        if !records.is_held {
            records.return_one();
        }
    }

    fn tell_typing(&mut self, _: &TypingNotice) {}

    fn store_checkpoint(&mut self, _: RecordId, _: Bytes) {}

    fn applied(&mut self, _: LogPosition) {}

    fn show(&mut self, _: NodeFigures) {}
}

/// The next message that a client gets.
async fn message(client: &mut Client) -> String {
    loop {
        let line = client.line().await;
        if line.starts_with('#') {
            return line;
        }
    }
}

#[actix::test]
async fn messages_of_a_large_room_wait_for_later_ones_and_not_for_ever() {
    // A small room, one to which the messages of several records are written together, and one whose clients have time
    // to answer.
    for members in [2, 130, 900] {
        let log = SlowLog::default();
        let server = Server::start_node(log.clone());
        let mut clients = Vec::new();
        for _ in 0..members {
            clients.push(server.connect(Connect::guest()).await);
        }
        let [first, second, ..] = &mut clients[..] else { unreachable!("there are two members") };
        log.hold();
        first.say("one").await;
        wait_until("the first record is written", || log.written() == 1).await;
        second.say("two").await;
        wait_until("the second record is written", || log.written() == 2).await;
        first.say("three").await;
        wait_until("the third record is written", || log.written() == 3).await;
        log.return_one();
        assert!(message(second).await.ends_with(": one"), "the second record does not come back meanwhile");
        log.return_one();
        log.return_one();
        for client in &mut clients {
            let mut texts = Vec::new();
            while texts.last().is_none_or(|text| text != "three") {
                texts.push(message(client).await.rsplit_once(": ").unwrap().1.to_owned());
            }
            let missed = 3 - texts.len();
            assert_eq!(texts, ["one", "two", "three"][missed..]);
        }
        drop(clients);
        server.connections(0).await;
        server.quiet().await;
    }
}

#[actix::test]
async fn a_server_that_stops_answers_what_is_on_its_way_before_it_closes_if_that_is_possible() {
    for is_answered in [true, false] {
        let log = SlowLog::default();
        let server = Server::start_node(log.clone());
        let mut alice = server.connect(Connect::named("alice")).await;
        log.hold();
        alice.say("on its way").await;
        wait_until("the record is written", || log.written() == 1).await;
        server.chat.drain("the end", if is_answered { Duration::from_mins(1) } else { Duration::from_millis(200) });
        while !alice.line().await.starts_with("closing the end") {}
        if is_answered {
            log.return_one();
            assert_eq!(message(&mut alice).await, "#1 alice: on its way");
        }
        assert_eq!(alice.lines(2).await, ["closed 1001", "end"]);
    }
}

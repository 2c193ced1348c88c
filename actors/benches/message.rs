//! Measures the cost of each step of a message: `cargo bench -p starling-actors --bench message`.
//!
//! Everything runs on one thread. The measurements of the hub include real loopback sockets and the reading from them.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a benchmark stops at the first error")]

use std::hint::black_box;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use starling_actors::chat_server::Turn;
use starling_actors::chat_server::command::{Command, Frame, OpenSession, Request};
use starling_actors::chat_server::effect::Effect;
use starling_actors::chat_server::state::ChatState;
use starling_actors::clock::{self, Now};
use starling_actors::credits::{ServerCredits, Ticket};
use starling_actors::frame::Format;
use starling_actors::history::History;
use starling_actors::identity::Identity;
use starling_actors::ids::{HubId, SessionId};
use starling_actors::{ChatConfig, ChatServer, ChatServerHandle, LocalHub, Metrics};
use starling_protocol::{
    ChatMessage, ClientCommand, ClientId, ClientKey, PostMessage, RoomName, Seq, ServerEvent, Target, codec,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const TEXT_BYTES: usize = 128;

fn text() -> String {
    "so many words ".chars().cycle().take(TEXT_BYTES).collect()
}

fn codec(criterion: &mut Criterion) {
    let frame = format!(r#"{{"clientId":"alice","Message":"{}"}}"#, text());
    criterion.bench_function("parse", |bencher| bencher.iter(|| codec::decode_command(black_box(&frame)).unwrap()));
    let message = ChatMessage::new(ClientId::parse("alice").unwrap(), text().into(), clock::unix_ms());
    let event = ServerEvent::Message(ChatMessage { room: Some(RoomName::lobby()), seq: Some(Seq(42)), ..message });
    criterion.bench_function("encode", |bencher| {
        bencher.iter(|| starling_actors::frame::event(black_box(&event), Format::Json));
    });
}

fn publish() -> Request {
    let message = PostMessage { text: text().into(), target: Target::FirstRoom, client_id: None, reply_to: None };
    Request::Command(ClientCommand::Message(message))
}

fn open(session: SessionId) -> OpenSession {
    OpenSession {
        session,
        identity: Identity::Open,
        client_id: None,
        key: None,
        room: RoomName::lobby(),
        fresh_key: ClientKey(clock::secret()),
        address: starling_actors::client_address::ClientAddress::NONE,
        watch_presence: false,
    }
}

/// The cost of accepting a message, and of delivering it after its commit.
fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    for members in [4, 1_000] {
        let mut state = ChatState::new(ChatConfig::default(), 1);
        let (mut history, mut done) = (History::off(), Vec::new());
        let mut turn = Turn::new(Now::read());
        for slot in 0..members {
            let open = open(SessionId::new(HubId(0), slot, 1));
            state.apply(Command::OpenSession { open, reply: tokio::sync::oneshot::channel().0 }, &mut turn);
        }
        let session = SessionId::new(HubId(0), 0, 1);
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            bencher.iter(|| {
                turn.effects.clear();
                turn.now = Now::read();
                let frame = Frame { session, id: None, ticket: Some(Ticket::without_credit(clock::now())) };
                state.apply(Command::Ask { frame, request: publish() }, &mut turn);
                let Some(Effect::Append(entry)) = turn.effects.pop() else { panic!("not accepted") };
                history.append(entry, &mut done);
                for completion in done.drain(..) {
                    state.complete(completion, &mut turn);
                }
                assert!(matches!(turn.effects.last(), Some(Effect::Deliver { .. })));
            });
        });
    }
}

/// A chat with one hub on this thread, and the clients' ends of its members' sockets.
struct Room {
    chat: ChatServerHandle,
    first: SessionId,
    members: Vec<TcpStream>,
    _hub: LocalHub,
}

impl Room {
    async fn of(count: usize) -> Self {
        let config = ChatConfig { messages_per_second: 0, ..ChatConfig::default() };
        let metrics = Metrics::new(1, ServerCredits::new(config.server_credits));
        let (chat, prepared, _) = ChatServer::prepare(config.clone(), History::off(), Arc::clone(&metrics));
        prepared.run_here();
        let hub = LocalHub::start(HubId(0), Arc::new(config), chat.clone(), metrics);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let places = Arc::new(tokio::sync::Semaphore::new(count));
        let (mut members, mut first) = (Vec::new(), None);
        for _ in 0..count {
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().unwrap();
            server.set_nonblocking(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (read_half, write_half) = TcpStream::from_std(server).unwrap().into_split();
            let session = hub.register(write_half, Bytes::new(), Format::Json).unwrap();
            chat.open_session(open(session)).await.unwrap();
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            starling_actors::session::Session::start(&hub, session, read_half, bytes::BytesMut::new(), place);
            first.get_or_insert(session);
            members.push(client);
        }
        let mut room = Self { chat, first: first.unwrap(), members, _hub: hub };
        // Skips the welcome events.
        for member in &mut room.members {
            member.read_exact(&mut [0]).await.unwrap();
        }
        room.deliver(1).await;
        room
    }

    /// Sends this many messages at once, and waits until every member has received the last one.
    async fn deliver(&mut self, messages: usize) -> Duration {
        let mut buffer = vec![0; 256 * 1024];
        let begun = clock::now();
        for message in 1..=messages {
            let text = if message == messages { "the last one ~end~".to_owned() } else { text() };
            let message = PostMessage { text: text.into(), target: Target::FirstRoom, client_id: None, reply_to: None };
            let request = Request::Command(ClientCommand::Message(message));
            self.chat.ask(self.first, None, request, Ticket::without_credit(begun));
        }
        for member in &mut self.members {
            loop {
                let count = member.read(&mut buffer).await.unwrap();
                if buffer.get(..count).is_some_and(|read| read.windows(5).any(|window| window == b"~end~")) {
                    break;
                }
            }
        }
        begun.elapsed()
    }
}

/// All messages reach the hub in one turn, and each member receives them in one write.
fn hub(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let mut group = criterion.benchmark_group("hub");
    for (members, messages) in [(1, 1), (4, 1), (100, 1), (1_000, 1), (1_000, 32)] {
        let mut room = system.block_on(Room::of(members));
        group.throughput(Throughput::Elements((members * messages) as u64));
        group.bench_function(format!("{messages} to {members}"), |bencher| {
            bencher.iter_custom(|rounds| {
                system.block_on(async {
                    let mut taken = Duration::ZERO;
                    for _ in 0..rounds {
                        taken += room.deliver(messages).await;
                    }
                    taken
                })
            });
        });
    }
}

/// The hub observes a histogram value for every block of members.
fn histogram(criterion: &mut Criterion) {
    let histogram = starling_actors::histogram::Histogram::of_durations();
    let duration: Duration = clock::now().elapsed();
    criterion.bench_function("histogram", |bencher| bencher.iter(|| histogram.observe(black_box(duration))));
}

criterion_group!(benches, codec, apply, hub, histogram);
criterion_main!(benches);

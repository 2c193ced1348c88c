//! The chat's actors, started for one test: the `ChatServer` on a thread of its own, one hub on the test's.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_rt::Arbiter;
use bytes::{Bytes, BytesMut};
use prometheus::core::Collector;
use socket2::{Domain, SockRef, Socket, Type};
use starling_actors::chat_server::command::{OpenRefusal, OpenSession};
use starling_actors::chat_server::{NodeSettings, PreparedChat};
use starling_actors::clock;
use starling_actors::credits::ServerCredits;
use starling_actors::frame::Format;
use starling_actors::history::{
    Completion, Entry, History, HistoryStore, OwnLimits, ReadRequest, Receipt, ReportSink, StoreReport,
};
use starling_actors::identity::Identity;
use starling_actors::ids::{HubId, RoomId, SessionId};
use starling_actors::metrics::MetricsCollector;
use starling_actors::moderation::Row;
use starling_actors::nodes::log::LogState;
use starling_actors::nodes::record::LogPosition;
use starling_actors::session::Session;
use starling_actors::vitals::Vitals;
use starling_actors::{ChatConfig, ChatServer, ChatServerHandle, LocalHub, Metrics};
use starling_protocol::{ClientId, ClientKey, RoomName};
use test_kit::wait_for;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{Semaphore, oneshot};

use crate::client::Client;
use crate::slow_log::SlowLog;

/// A chat before it runs.
type Prepared = (ChatServerHandle, PreparedChat, oneshot::Receiver<bool>);

/// A running chat.
pub(crate) struct Server {
    pub(crate) chat: ChatServerHandle,
    pub(crate) hub: LocalHub,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) history: Gate,
    places: Arc<Semaphore>,
    arbiter: Arbiter,
}

/// How a client connects.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) name: Option<&'static str>,
    pub(crate) key: Option<ClientKey>,
    pub(crate) format: Format,
    /// Whether the kernel buffers only little unread data.
    pub(crate) small_buffers: bool,
}

impl Connect {
    pub(crate) fn named(name: &'static str) -> Self {
        Self { name: Some(name), key: None, format: Format::Json, small_buffers: false }
    }

    pub(crate) fn guest() -> Self {
        Self { name: None, ..Self::named("") }
    }
}

/// A connection that the chat has accepted and whose session has not begun.
pub(crate) struct Opening {
    pub(crate) client: Client,
    pub(crate) session: SessionId,
    read_half: OwnedReadHalf,
}

impl Server {
    /// A chat without a rate limit, and with its configuration changed.
    pub(crate) fn start(change: impl FnOnce(&mut ChatConfig)) -> Self {
        let mut config = ChatConfig { messages_per_second: 0, ..ChatConfig::default() };
        change(&mut config);
        Self::run(config, ChatServer::prepare)
    }

    /// A chat that is a node over this log.
    pub(crate) fn start_node(log: SlowLog) -> Self {
        let config = ChatConfig { messages_per_second: 0, ..ChatConfig::default() };
        let node = NodeSettings {
            name: "a".into(),
            timeout: Duration::from_mins(1),
            log: Box::new(log),
            state: LogState { id: 1, first: LogPosition(1), last: LogPosition(0), checkpoints: Vec::new() },
            find: Box::new(|_| Ok(None)),
            load: Box::new(|_| Err("there is no checkpoint".into())),
        };
        Self::run(config, |config, history, metrics| {
            ChatServer::prepare_node(config, history, metrics, node).expect("the log is new")
        })
    }

    fn run(config: ChatConfig, prepare: impl FnOnce(ChatConfig, History, Arc<Metrics>) -> Prepared) -> Self {
        let metrics = Metrics::new(1, ServerCredits::new(config.server_credits));
        let history = Gate::default();
        let store = GatedHistory {
            inner: History::in_memory(config.history_messages, config.history_bytes),
            gate: history.clone(),
        };
        let arbiter = Arbiter::new();
        let (chat, prepared, _) = prepare(config.clone(), History::over(store, 0, 0), Arc::clone(&metrics));
        arbiter.spawn_fn(|| prepared.run_here());
        let hub = LocalHub::start(HubId(0), Arc::new(config), chat.clone(), Arc::clone(&metrics));
        Self { chat, hub, metrics, history, places: Arc::new(Semaphore::new(10_000)), arbiter }
    }

    /// Connects a client, up to the chat's answer.
    pub(crate) async fn open(&self, how: Connect) -> Result<Opening, OpenRefusal> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if how.small_buffers {
            client.set_recv_buffer_size(4_096).unwrap();
        }
        client.connect(&listener.local_addr().unwrap().into()).unwrap();
        let (server, _) = listener.accept().unwrap();
        if how.small_buffers {
            SockRef::from(&server).set_send_buffer_size(4_096).unwrap();
        }
        for socket in [SockRef::from(&server), SockRef::from(&client)] {
            socket.set_nonblocking(true).unwrap();
            socket.set_tcp_nodelay(true).unwrap();
        }
        let (read_half, write_half) = TcpStream::from_std(server).unwrap().into_split();
        let session = self.hub.register(write_half, Bytes::new(), how.format).unwrap();
        let open = OpenSession {
            session,
            identity: Identity::Open,
            client_id: how.name.map(|name| ClientId::parse(name).unwrap()),
            key: how.key,
            room: RoomName::lobby(),
            fresh_key: ClientKey(clock::secret()),
            address: starling_actors::client_address::ClientAddress::NONE,
            watch_presence: false,
        };
        if let Err(refusal) = self.chat.open_session(open).await {
            self.hub.withdraw(session).expect("a refused connection is given back");
            return Err(refusal);
        }
        Ok(Opening { client: Client::new(TcpStream::from_std(client.into()).unwrap()), session, read_half })
    }

    /// Lets the session of a connection begin.
    pub(crate) fn begin(&self, opening: Opening) -> Client {
        let place = Arc::clone(&self.places).try_acquire_owned().unwrap();
        Session::start(&self.hub, opening.session, opening.read_half, BytesMut::new(), place);
        opening.client
    }

    /// Connects a client, and reads its welcome.
    pub(crate) async fn connect(&self, how: Connect) -> Client {
        let opening = self.open(how).await.expect("the chat takes it");
        let mut client = self.begin(opening);
        assert!(client.line().await.contains("welcome"));
        client
    }

    pub(crate) async fn clients(&self, names: &[&'static str]) -> Vec<Client> {
        let mut clients = Vec::new();
        for name in names {
            clients.push(self.connect(Connect::named(name)).await);
        }
        clients
    }

    /// Lets the history answer its queued requests, and all later ones at once.
    pub(crate) async fn release_history(&self) {
        self.history.release();
        // Answered after the store's report.
        assert!(self.chat.answers().await);
    }

    /// The sum of a gauge's series.
    #[expect(clippy::cast_possible_truncation, reason = "gauges are whole and small here")]
    pub(crate) fn gauge(&self, name: &str) -> i64 {
        let families = MetricsCollector(Arc::clone(&self.metrics)).collect();
        let family = families.iter().find(|family| family.name() == name).expect("there is such a metric");
        family.get_metric().iter().map(|metric| metric.get_gauge().get_value() as i64).sum()
    }

    /// The number of sessions that have ended and released their place.
    pub(crate) fn sessions(&self) -> usize {
        10_000 - self.places.available_permits()
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn quiet(&self) {
        let gauges = [
            "chat_credits_in_use",
            "chat_mailbox_messages",
            "chat_stage_backlog",
            "chat_outbox_bytes",
            "chat_outbox_frames",
        ];
        let busy = || gauges.iter().map(|name| (*name, self.gauge(name))).find(|(_, value)| *value != 0);
        wait_for("all gauges are 0", || if busy().is_none() { Ok(()) } else { Err(busy()) }).await;
    }

    /// Waits until this many connections take part.
    pub(crate) async fn connections(&self, count: i64) {
        let now = || self.metrics.connections();
        wait_for("so many connections", || if now() == count { Ok(()) } else { Err(now()) }).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}

/// Holds a history back.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<HeldBack>>);

#[derive(Default)]
struct HeldBack {
    is_closed: bool,
    appended: VecDeque<Entry>,
    sink: Option<ReportSink>,
}

impl Gate {
    pub(crate) fn hold(&self) {
        self.0.lock().unwrap().is_closed = true;
    }

    /// Makes the history store its held messages.
    fn release(&self) {
        let sink = self.0.lock().unwrap().sink.clone();
        sink.unwrap()(StoreReport::new(()));
    }

    /// The number of messages that wait to be stored.
    pub(crate) fn held(&self) -> usize {
        self.0.lock().unwrap().appended.len()
    }
}

/// A history in memory that stores when its gate is open.
struct GatedHistory {
    inner: History,
    gate: Gate,
}

impl HistoryStore for GatedHistory {
    fn connect(&mut self, sink: ReportSink, _: &Vitals) {
        self.gate.0.lock().unwrap().sink = Some(sink);
    }

    fn reported(&mut self, _: StoreReport, done: &mut Vec<Completion>) {
        let mut held = self.gate.0.lock().unwrap();
        held.is_closed = false;
        for entry in held.appended.drain(..) {
            self.inner.append(entry, done);
        }
    }

    fn append(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        let mut held = self.gate.0.lock().unwrap();
        if held.is_closed {
            return held.appended.push_back(entry);
        }
        drop(held);
        self.inner.append(entry, done);
    }

    fn keep_moderation(&mut self, rows: Vec<Row>, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.inner.keep_moderation(rows, receipt, done);
    }

    fn limit(&mut self, room: RoomId, limits: OwnLimits) {
        self.inner.limit(room, limits);
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        self.inner.read(request, done);
    }

    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.inner.forget(room, receipt, done);
    }
}

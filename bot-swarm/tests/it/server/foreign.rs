//! A server for one room that answers as the documentation of Centrifugo or Phoenix says.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use actix_codec::Framed;
use actix_rt::net::TcpStream;
use awc::ws::{Codec, Frame, Message};
use bot_swarm::dialect::Dialect;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::connection;

/// A running server on the test's own thread.
pub(crate) struct ForeignServer {
    state: Rc<State>,
    port: u16,
}

struct State {
    dialect: Dialect,
    members: RefCell<BTreeMap<u64, UnboundedSender<String>>>,
    last_id: Cell<u64>,
    taken: Cell<u64>,
    /// The deliveries that are still to be lost. `lost` counts those that were.
    loses: Cell<u64>,
    lost: Cell<u64>,
    /// Whether messages are refused.
    refuses: Cell<bool>,
    /// Whether messages are neither delivered nor answered.
    swallows: Cell<bool>,
    cuts: Rc<Notify>,
}

impl ForeignServer {
    pub(crate) async fn start(dialect: Dialect) -> Self {
        let state = Rc::new(State {
            dialect,
            members: RefCell::default(),
            last_id: Cell::default(),
            taken: Cell::default(),
            loses: Cell::default(),
            lost: Cell::default(),
            refuses: Cell::default(),
            swallows: Cell::default(),
            cuts: Rc::default(),
        });
        let shared = Rc::clone(&state);
        let port = connection::listen(move |stream| serve(stream, Rc::clone(&shared))).await;
        Self { state, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/connection/websocket", self.port)
    }

    /// The number of accepted or refused messages.
    pub(crate) fn taken(&self) -> u64 {
        self.state.taken.get()
    }

    /// The number of lost deliveries.
    pub(crate) fn lost(&self) -> u64 {
        self.state.lost.get()
    }

    /// Loses this many of the next deliveries.
    pub(crate) fn lose(&self, count: u64) {
        self.state.loses.set(count);
    }

    /// Ignores every message from now on, or answers again.
    pub(crate) fn swallow(&self, swallows: bool) {
        self.state.swallows.set(swallows);
    }

    /// Drops every connection without a close frame.
    pub(crate) fn cut(&self) {
        self.state.cuts.notify_waiters();
    }

    /// Refuses every message from now on, or none.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.state.refuses.set(refuses);
    }
}

async fn serve(mut stream: TcpStream, state: Rc<State>) {
    let Some(head) = connection::read_head(&mut stream).await else { return };
    let Some(()) = connection::accept(&mut stream, &head).await else { return };
    let mut socket = Framed::new(stream, Codec::new());
    let (outbox, mut outgoing) = unbounded_channel();
    let id = state.last_id.get() + 1;
    state.last_id.set(id);
    let cuts = Rc::clone(&state.cuts);
    let cut = cuts.notified();
    tokio::pin!(cut);
    loop {
        tokio::select! {
            () = &mut cut => break,
            frame = socket.next() => match frame {
                Some(Ok(Frame::Text(text))) => {
                    if state.swallows.get() {
                        state.taken.set(state.taken.get() + 1);
                        continue;
                    }
                    let answer = state.hear(id, &serde_json::from_slice(&text).unwrap(), &outbox);
                    if !answer.is_null() {
                        outbox.send(answer.to_string()).unwrap();
                    }
                }
                Some(Ok(Frame::Close(reason))) => {
                    drop(socket.send(Message::Close(reason)).await);
                    break;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
            text = outgoing.recv() => {
                let mut text = text.unwrap();
                // Centrifugo sends waiting messages in one frame, one per line.
                while state.dialect == Dialect::Centrifugo && let Ok(next) = outgoing.try_recv() {
                    text = format!("{text}\n{next}");
                }
                if socket.send(Message::Text(text.into())).await.is_err() { break }
            }
        }
    }
    state.members.borrow_mut().remove(&id);
}

impl State {
    fn hear(&self, id: u64, frame: &Value, outbox: &UnboundedSender<String>) -> Value {
        let join = || drop(self.members.borrow_mut().insert(id, outbox.clone()));
        if self.dialect == Dialect::Centrifugo {
            let number = &frame["id"];
            if frame["connect"].is_object() {
                let client = json!({
                    "client": format!("client-{id}"), "version": "6.0.1 OSS", "expires": true, "ttl": 1200, "ping": 25,
                    "pong": true, "session": "s", "node": "n",
                });
                return json!({ "id": number, "connect": client });
            }
            if frame["subscribe"].is_object() {
                join();
                self.tell_all(
                    &json!({ "push": { "channel": "lobby", "join": { "info": { "user": "", "client": "c" } } } }),
                );
                return json!({ "id": number, "subscribe": { "recoverable": true, "epoch": "xyz", "offset": 6, "positioned": true } });
            }
            let publish = &frame["publish"];
            let info = json!({ "user": "", "client": format!("client-{id}") });
            let publication = json!({ "data": publish["data"], "info": info, "offset": self.taken.get() });
            if self.says(id, &json!({ "push": { "channel": publish["channel"], "pub": publication } })) {
                json!({ "id": number, "publish": {} })
            } else {
                json!({ "id": number, "error": { "code": 103, "message": "permission denied" } })
            }
        } else {
            let reply =
                |status: &str| json!([frame[0], frame[1], frame[2], "phx_reply", { "response": {}, "status": status }]);
            match frame[3].as_str().unwrap() {
                "phx_join" => {
                    join();
                    self.tell_all(&json!([null, null, frame[2], "presence_diff", { "joins": {}, "leaves": {} }]));
                }
                "heartbeat" => {}
                event => {
                    if !self.says(id, &json!([null, null, frame[2], event, frame[4]])) {
                        return reply("error");
                    }
                }
            }
            reply("ok")
        }
    }

    /// Sends a frame that is not a message to all members.
    fn tell_all(&self, frame: &Value) {
        for outbox in self.members.borrow().values() {
            outbox.send(frame.to_string()).unwrap_or_default();
        }
    }

    /// Sends a message to all members, unless messages are refused. A lost delivery is that of the first member other
    /// than the sender.
    fn says(&self, sender: u64, message: &Value) -> bool {
        self.taken.set(self.taken.get() + 1);
        if self.refuses.get() {
            return false;
        }
        let members = self.members.borrow();
        let victim = members.keys().find(|member| **member != sender);
        for (id, outbox) in members.iter() {
            if Some(id) == victim && self.loses.get() > 0 {
                self.loses.set(self.loses.get() - 1);
                self.lost.set(self.lost.get() + 1);
            } else {
                outbox.send(message.to_string()).unwrap_or_default();
            }
        }
        true
    }
}

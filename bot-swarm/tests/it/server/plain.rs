//! A plain server without names, rooms or answers: it sends each message to all clients, or back to its sender.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use actix_codec::Framed;
use actix_rt::net::TcpStream;
use awc::ws::{Codec, Frame, Message};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::connection;

/// A fault of a plain server, committed three times at the first connected client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainFault {
    /// A message is not delivered.
    Lose,
    /// A message is delivered twice.
    Double,
    /// Two messages of one sender are delivered in the wrong order.
    Swap,
    /// A message is delivered to another client; for an echo server.
    Misdeliver,
}

/// A running plain server on the test's own thread.
pub(crate) struct PlainServer {
    state: Rc<State>,
    port: u16,
}

#[derive(Default)]
struct State {
    is_echo: bool,
    fault: Cell<Option<PlainFault>>,
    outboxes: RefCell<BTreeMap<u64, UnboundedSender<Message>>>,
    last_id: Cell<u64>,
    taken: Cell<u64>,
    wrong: Cell<u64>,
    held: RefCell<Option<(String, Bytes)>>,
}

impl PlainServer {
    /// Starts a server that sends every message to all clients, or, as an echo, back to its sender.
    pub(crate) async fn start(is_echo: bool) -> Self {
        let state = Rc::new(State { is_echo, ..State::default() });
        let shared = Rc::clone(&state);
        let port = connection::listen(move |stream| serve(stream, Rc::clone(&shared))).await;
        Self { state, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/chat", self.port)
    }

    /// The number of accepted messages.
    pub(crate) fn taken(&self) -> u64 {
        self.state.taken.get()
    }

    /// The number of wrong deliveries.
    pub(crate) fn wrong(&self) -> u64 {
        self.state.wrong.get()
    }

    /// Commits this fault from now on.
    pub(crate) fn misbehave(&self, fault: PlainFault) {
        self.state.fault.set(Some(fault));
    }
}

async fn serve(mut stream: TcpStream, state: Rc<State>) {
    let Some(head) = connection::read_head(&mut stream).await else { return };
    let Some(()) = connection::accept(&mut stream, &head).await else { return };
    let mut socket = Framed::new(stream, Codec::new());
    let (outbox, mut outgoing) = unbounded_channel();
    let id = state.last_id.get() + 1;
    state.last_id.set(id);
    state.outboxes.borrow_mut().insert(id, outbox);
    loop {
        tokio::select! {
            frame = socket.next() => match frame {
                Some(Ok(Frame::Text(text))) => state.take(id, &text),
                Some(Ok(Frame::Close(reason))) => {
                    drop(socket.send(Message::Close(reason)).await);
                    break;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
            message = outgoing.recv() => {
                if socket.send(message.unwrap()).await.is_err() { break }
            }
        }
    }
    state.outboxes.borrow_mut().remove(&id);
}

impl State {
    fn take(&self, sender: u64, text: &Bytes) {
        self.taken.set(self.taken.get() + 1);
        let receivers: Vec<u64> = self.outboxes.borrow().keys().copied().collect();
        // The first client other than the sender, so that it misses another's message; with an echo, the sender itself.
        let victim = receivers.iter().copied().find(|id| (*id == sender) == self.is_echo).unwrap_or(sender);
        for receiver in receivers.iter().copied().filter(|id| !self.is_echo || *id == sender) {
            if receiver == victim { self.deliver_to_the_victim(victim, text) } else { self.send(receiver, text) }
        }
    }

    fn deliver_to_the_victim(&self, victim: u64, text: &Bytes) {
        let object: serde_json::Value = serde_json::from_slice(text).unwrap();
        let sender = object["clientId"].as_str().unwrap().to_owned();
        let held = self.held.borrow_mut().take_if(|(by, _)| *by == sender);
        if let Some((_, held)) = held {
            self.send(victim, text);
            return self.send(victim, &held);
        }
        let fault = self.fault.get().filter(|_| self.wrong.get() < 3 && self.held.borrow().is_none());
        self.wrong.set(self.wrong.get() + u64::from(fault.is_some()));
        match fault {
            None => self.send(victim, text),
            Some(PlainFault::Lose) => {}
            Some(PlainFault::Double) => {
                self.send(victim, text);
                self.send(victim, text);
            }
            Some(PlainFault::Swap) => *self.held.borrow_mut() = Some((sender, text.clone())),
            Some(PlainFault::Misdeliver) => {
                self.send(victim, text);
                let stranger = self.outboxes.borrow().keys().copied().find(|id| *id != victim).unwrap();
                self.send(stranger, text);
            }
        }
    }

    fn send(&self, receiver: u64, text: &Bytes) {
        let text = String::from_utf8(text.to_vec()).unwrap();
        if let Some(outbox) = self.outboxes.borrow().get(&receiver) {
            // A connection that has just ended accepts nothing more.
            outbox.send(Message::Text(text.into())).unwrap_or_default();
        }
    }
}

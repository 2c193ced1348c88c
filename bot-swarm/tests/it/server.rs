//! A small chat server on a free port that speaks as much of the protocol as bots need, and misbehaves on request.

mod chat;
mod connection;
mod foreign;
mod inboxes;
mod plain;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_codec::Framed;
use actix_rt::net::{TcpListener, TcpStream};
use awc::ws::{CloseCode, Codec, Message};
use chat::Chat;
pub(crate) use chat::{Alteration, Fault, Options};
pub(crate) use foreign::ForeignServer;
use futures_util::{SinkExt as _, StreamExt as _};
pub(crate) use inboxes::InboxFault;
pub(crate) use plain::{PlainFault, PlainServer};

/// A running server; it lives on the test's own thread.
pub(crate) struct TestServer {
    chat: Rc<RefCell<Chat>>,
    address: SocketAddr,
}

impl TestServer {
    /// Starts a server that does everything right.
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts a server.
    pub(crate) async fn with(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let chat = Rc::new(RefCell::new(Chat::new(options)));
        if !options.delay.is_zero() {
            let shared = Rc::clone(&chat);
            actix_rt::spawn(async move {
                loop {
                    shared.borrow().send_delayed();
                    actix_rt::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        let shared = Rc::clone(&chat);
        actix_rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if shared.borrow().is_stopped {
                    return;
                }
                actix_rt::spawn(connection::serve(stream, Rc::clone(&shared)));
            }
        });
        Self { chat, address }
    }

    /// Reads a handshake, and answers it with this text.
    pub(crate) async fn refuse(stream: &mut TcpStream, answer: &str) {
        if connection::read_head(stream).await.is_some() {
            connection::write(stream, answer.as_bytes()).await;
        }
    }

    /// Lets everybody in at one connection, says at most this, and reads what comes.
    pub(crate) async fn shake_hands(mut stream: TcpStream, says: Option<&'static str>) {
        let Some(head) = connection::read_head(&mut stream).await else { return };
        let Some(()) = connection::accept(&mut stream, &head).await else { return };
        let mut socket = Framed::new(stream, Codec::new());
        if let Some(says) = says {
            drop(socket.send(Message::Text(says.into())).await);
        }
        while socket.next().await.is_some() {}
    }

    /// Where bots connect.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// The request by which the newest connection was made.
    pub(crate) fn newest_request(&self) -> String {
        self.chat.borrow().newest_request.clone()
    }

    /// Ends for good, and every connection with it.
    pub(crate) fn stop(&self) {
        let mut chat = self.chat.borrow_mut();
        chat.is_stopped = true;
        chat.drop_everyone();
    }

    /// Clients that are connected.
    pub(crate) fn connected(&self) -> usize {
        self.chat.borrow().connected()
    }

    /// Connections that were welcomed, ever.
    pub(crate) fn welcomed(&self) -> u64 {
        self.chat.borrow().welcomed
    }

    /// Messages that were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.chat.borrow().taken
    }

    /// Faults that were committed, counted by the deliveries that are wrong for it.
    pub(crate) fn wrong(&self) -> u64 {
        self.chat.borrow().wrong
    }

    /// Deliveries that are wrong for the faults that were committed with inboxes.
    pub(crate) fn wrong_in_inboxes(&self) -> u64 {
        self.chat.borrow().inboxes.wrong
    }

    /// Private messages that came by a resume, and those that had waited for their receivers.
    pub(crate) fn resumed_and_waited(&self) -> (u64, u64) {
        let chat = self.chat.borrow();
        (chat.inboxes.resumed, chat.inboxes.waited)
    }

    /// Begins all inboxes anew.
    pub(crate) fn forget_inboxes(&self) {
        self.chat.borrow_mut().forget_inboxes();
    }

    /// The longest time from a client's first refused handshake to its last.
    pub(crate) fn longest_refused(&self) -> Duration {
        self.chat.borrow().longest_refused()
    }

    /// Deliveries that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.chat.borrow().dropped()
    }

    /// Clients that said goodbye with 1000.
    pub(crate) fn goodbyes(&self) -> u64 {
        self.chat.borrow().goodbyes
    }

    /// Visits of rooms that ended.
    pub(crate) fn visits(&self) -> u64 {
        self.chat.borrow().visits
    }

    /// Cuts every connection, without a word.
    pub(crate) fn drop_everyone(&self) {
        self.chat.borrow_mut().drop_everyone();
    }

    /// Closes every connection as a server does that goes away.
    pub(crate) fn close_everyone(&self) {
        self.chat.borrow_mut().close_everyone(&CloseCode::Away.into());
    }

    /// Begins all rooms anew, as after a restart without stored history.
    pub(crate) fn forget_everything(&self) {
        self.chat.borrow_mut().forget_everything();
    }
}

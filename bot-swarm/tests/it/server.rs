//! A small chat server on a free port that implements as much of the protocol as bots need, and misbehaves on request.

mod changes;
mod chat;
mod connection;
mod faults;
mod foreign;
mod inboxes;
mod lies;
mod options;
mod plain;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_codec::Framed;
use actix_rt::net::{TcpListener, TcpStream};
use awc::ws::{CloseCode, Codec, Message};
use chat::Chat;
pub(crate) use faults::{Alteration, Fault};
pub(crate) use foreign::ForeignServer;
use futures_util::{SinkExt as _, StreamExt as _};
pub(crate) use inboxes::InboxFault;
pub(crate) use lies::{Claim, Lie, WrongAck, WrongAnswer};
pub(crate) use options::Options;
pub(crate) use plain::{PlainFault, PlainServer};

/// A running server on the test's own thread.
pub(crate) struct TestServer {
    chat: Rc<RefCell<Chat>>,
    address: SocketAddr,
}

impl TestServer {
    /// Starts a correct server.
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

    /// Reads a handshake request, and answers it with this text.
    pub(crate) async fn refuse(stream: &mut TcpStream, answer: &str) {
        if connection::read_head(stream).await.is_some() {
            connection::write(stream, answer.as_bytes()).await;
        }
    }

    /// Completes the handshake of one connection, sends `says` if there is one, and reads all frames without an answer.
    pub(crate) async fn shake_hands(mut stream: TcpStream, says: Option<&'static str>) {
        let Some(head) = connection::read_head(&mut stream).await else { return };
        let Some(()) = connection::accept(&mut stream, &head).await else { return };
        let mut socket = Framed::new(stream, Codec::new());
        if let Some(says) = says {
            drop(socket.send(Message::Text(says.into())).await);
        }
        while socket.next().await.is_some() {}
    }

    /// Completes the handshake of one connection, and sends `first`, and then `then` again and again, up to 16 MiB.
    pub(crate) async fn pour(mut stream: TcpStream, first: &'static [u8], then: Rc<Vec<u8>>) {
        let Some(head) = connection::read_head(&mut stream).await else { return };
        let Some(()) = connection::accept(&mut stream, &head).await else { return };
        connection::write(&mut stream, first).await;
        for _ in 0..(16 << 20) / then.len() {
            connection::write(&mut stream, &then).await;
        }
    }

    /// The URL for bots.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// The request of the newest connection.
    pub(crate) fn newest_request(&self) -> String {
        self.chat.borrow().newest_request.clone()
    }

    /// Stops for good, and drops every connection.
    pub(crate) fn stop(&self) {
        let mut chat = self.chat.borrow_mut();
        chat.is_stopped = true;
        chat.drop_everyone();
    }

    /// The number of connected clients.
    pub(crate) fn connected(&self) -> usize {
        self.chat.borrow().connected()
    }

    /// The number of welcomed connections so far.
    pub(crate) fn welcomed(&self) -> u64 {
        self.chat.borrow().welcomed
    }

    /// The number of accepted messages.
    pub(crate) fn taken(&self) -> u64 {
        self.chat.borrow().taken
    }

    /// The number of changes and read positions that it was asked for.
    pub(crate) fn asked_to_change(&self) -> u64 {
        self.chat.borrow().asked_to_change
    }

    /// The number of wrong deliveries from the committed faults.
    pub(crate) fn wrong(&self) -> u64 {
        self.chat.borrow().wrong
    }

    /// The number of wrong deliveries from the committed faults with inboxes.
    pub(crate) fn wrong_in_inboxes(&self) -> u64 {
        self.chat.borrow().inboxes.wrong
    }

    /// The private messages in answers to resumes, and those that had waited for their receivers.
    pub(crate) fn resumed_and_waited(&self) -> (u64, u64) {
        let chat = self.chat.borrow();
        (chat.inboxes.resumed, chat.inboxes.waited)
    }

    /// Starts all inboxes with a new epoch.
    pub(crate) fn forget_inboxes(&self) {
        self.chat.borrow_mut().forget_inboxes();
    }

    /// The longest time from a client's first refused handshake to its last.
    pub(crate) fn longest_refused(&self) -> Duration {
        self.chat.borrow().longest_refused()
    }

    /// The number of dropped deliveries.
    pub(crate) fn dropped(&self) -> u64 {
        self.chat.borrow().dropped()
    }

    /// The number of clients that closed with 1000.
    pub(crate) fn goodbyes(&self) -> u64 {
        self.chat.borrow().goodbyes
    }

    /// The number of finished visits to rooms.
    pub(crate) fn visits(&self) -> u64 {
        self.chat.borrow().visits
    }

    /// Drops every connection without a close frame.
    pub(crate) fn drop_everyone(&self) {
        self.chat.borrow_mut().drop_everyone();
    }

    /// Closes every connection like a server that stops.
    pub(crate) fn close_everyone(&self) {
        self.chat.borrow_mut().close_everyone(&CloseCode::Away.into());
    }

    /// Starts all rooms with a new epoch, as after a restart without stored history.
    pub(crate) fn forget_everything(&self) {
        self.chat.borrow_mut().forget_everything();
    }
}

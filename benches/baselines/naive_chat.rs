//! The baseline for comparisons: a first chat with actix, written in the obvious way.
//!
//! One actor per connection in a `WebsocketContext`, and one actor that sends every text to each of them, as a `String`
//! in a mailbox message per member. It has no rules, rooms, names, limits or metrics. Every text is sent to all
//! connections unchanged.

use std::collections::HashMap;

use actix::prelude::*;
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;

#[derive(Message)]
#[rtype(result = "()")]
struct Text(String);

#[derive(Message)]
#[rtype(result = "usize")]
struct Connect(Recipient<Text>);

#[derive(Message)]
#[rtype(result = "()")]
struct Disconnect(usize);

#[derive(Default)]
struct Room {
    members: HashMap<usize, Recipient<Text>>,
    joined: usize,
}

impl Actor for Room {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The default capacity of 16 messages would refuse messages when a thousand members send at once.
        ctx.set_mailbox_capacity(65_536);
    }
}

impl Handler<Connect> for Room {
    type Result = usize;

    fn handle(&mut self, Connect(member): Connect, _: &mut Context<Self>) -> usize {
        self.joined += 1;
        self.members.insert(self.joined, member);
        self.joined
    }
}

impl Handler<Disconnect> for Room {
    type Result = ();

    fn handle(&mut self, Disconnect(id): Disconnect, _: &mut Context<Self>) {
        self.members.remove(&id);
    }
}

impl Handler<Text> for Room {
    type Result = ();

    #[expect(clippy::disallowed_methods, reason = "the naive chat does this on purpose")]
    fn handle(&mut self, Text(text): Text, _: &mut Context<Self>) {
        for member in self.members.values() {
            member.do_send(Text(text.clone()));
        }
    }
}

struct Session {
    room: Addr<Room>,
    id: Option<usize>,
}

impl Actor for Session {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.room
            .send(Connect(ctx.address().recipient()))
            .into_actor(self)
            .map(|id, session, _| session.id = id.ok())
            .wait(ctx);
    }
}

impl Drop for Session {
    #[expect(clippy::disallowed_methods, reason = "one message at the end of a connection")]
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.room.do_send(Disconnect(id));
        }
    }
}

impl Handler<Text> for Session {
    type Result = ();

    fn handle(&mut self, Text(text): Text, ctx: &mut Self::Context) {
        ctx.text(text);
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Session {
    #[expect(clippy::disallowed_methods, reason = "the naive chat does this on purpose")]
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => self.room.do_send(Text(text.to_string())),
            Ok(ws::Message::Ping(payload)) => ctx.pong(&payload),
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(ws::Message::Binary(_) | ws::Message::Continuation(_) | ws::Message::Nop | ws::Message::Pong(_)) => {}
            Err(_) => ctx.stop(),
        }
    }
}

async fn connect(request: HttpRequest, body: web::Payload, room: web::Data<Addr<Room>>) -> Result<HttpResponse, Error> {
    ws::start(Session { room: room.get_ref().clone(), id: None }, &request, body)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let room = web::Data::new(Room::default().start());
    let server = HttpServer::new(move || App::new().app_data(room.clone()).route("/ws", web::get().to(connect)))
        .workers(1)
        .max_connections(100_000)
        .bind("127.0.0.1:0")?;
    for address in server.addrs() {
        eprintln!("listening on {address}: the naive chat");
    }
    server.run().await
}

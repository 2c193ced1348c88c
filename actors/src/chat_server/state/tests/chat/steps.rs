//! The steps of the clients of a dialogue: lines become commands.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use starling_protocol::{
    Change, ChangeMessage, ChangedPlace, ClientCommand, ClientId, ClientKey, Emoji, ErrorCode, HistoryPage,
    PostMessage, Refusal, Resume, Seq, Target,
};
use tokio::sync::oneshot;

use super::line::{Line, room};
use super::{Chat, Client, HUBS};
use crate::chat_server::command::{Command, Frame, OpenRefusal, OpenSession, Request};
use crate::credits::Ticket;
use crate::identity::{Claims, Identity, RoomGlobs};
use crate::ids::{HubId, SessionId};

impl Chat {
    /// Performs a step of a client:
    ///
    /// ```text
    /// opens [from=ADDRESS] [room=R] [name=N] [key=LABEL] [person] [token=N [rooms=LIST] [for=SECONDS] [admin] | unproven]     goes
    /// says [room=R | to=N] [name=N] [id=I] [reply=S] [read=MS] TEXT   (read MS milliseconds ago)   hello N [key=LABEL]
    /// edits [room=R] of=S TEXT    deletes [room=R] of=S    reacts [room=R] of=S EMOJI [not]   (without R: the inbox)
    /// joins R [after=S epoch=LABEL] [presence]         leaves R
    /// proves N [rooms=LIST] [for=SECONDS]    inbox [after=S epoch=LABEL]    private [with=N] [before=S | after=S]
    /// rooms   members R   history R [before=S | after=S] [limit=L]   ping   nonsense
    /// read [room=R] upto=S     (without R: the inbox)
    /// types                    a person reads from now on
    /// continues R              what was replayed has been written
    /// ```
    ///
    /// `key=LABEL` and `epoch=LABEL` are the latest ones that the client with that label has received.
    #[track_caller]
    pub(in crate::chat_server::state) fn send(&mut self, who: &str, what: &str) {
        let line = Line::parse(what);
        match line.word(0) {
            "opens" => return self.open(who, &line),
            "goes" => {
                let client = self.client(who);
                client.is_gone = true;
                let session = client.session;
                return self.apply(Command::CloseSession { session });
            }
            "types" => {
                let session = self.client(who).session;
                return self.apply(Command::WatchPresence { session, wanted: true });
            }
            "continues" => {
                let room = self.state.find_room(line.word(1)).unwrap();
                let session = self.client(who).session;
                return self.apply(Command::ContinueReplay { session, room });
            }
            _ => {}
        }
        let request = self.request(&line);
        let session = self.client(who).session;
        let read_before = Duration::from_millis(line.number("read").unwrap_or(0));
        let ticket = Some(Ticket::without_credit(self.now.at.checked_sub(read_before).unwrap()));
        self.apply(Command::Ask { frame: Frame { session, id: line.id(), ticket }, request });
    }

    fn open(&mut self, label: &str, line: &Line<'_>) {
        let session = SessionId::new(HubId(u8::try_from(self.sessions % HUBS).unwrap()), self.sessions, 7);
        self.sessions += 1;
        let key = self.key(line);
        match self.clients.iter_mut().find(|client| client.label == label) {
            Some(client) => (client.session, client.is_gone) = (session, false),
            None => self.clients.push(Client {
                label: label.into(),
                session,
                is_gone: false,
                inbox: VecDeque::new(),
                key: None,
                epochs: HashMap::new(),
            }),
        }
        let identity = if line.has("unproven") {
            Identity::Unproven
        } else {
            self.claims(line, line.options.get("token").copied()).map_or(Identity::Open, Identity::Proven)
        };
        let open = OpenSession {
            session,
            identity,
            client_id: line.options.get("name").map(|name| self.name(name)),
            key,
            room: room(line.options.get("room").unwrap_or(&"lobby")),
            fresh_key: ClientKey(0xf0 + u128::from(self.sessions)),
            address: line.options.get("from").unwrap_or(&"0.0.0.0").parse().unwrap(),
            watch_presence: line.has("person"),
        };
        let (reply, mut answer) = oneshot::channel();
        self.apply(Command::OpenSession { open, reply });
        if let Err(refusal) = answer.try_recv().unwrap() {
            let shown = match refusal {
                OpenRefusal::NameTaken(_) => "name_taken",
                OpenRefusal::NameReserved => "name_reserved",
                OpenRefusal::TooManyRooms => "too_many_rooms",
                OpenRefusal::TokenOfAnother(_) => "token_of_another",
                OpenRefusal::TokenExpired => "token_expired",
                OpenRefusal::RoomClosed(_) => "room_closed",
                OpenRefusal::Judged(refusal) => refusal.code.as_str(),
                OpenRefusal::Unavailable => "unavailable",
            };
            self.put(session, format!("refused {shown}"));
        }
    }

    fn request(&mut self, line: &Line<'_>) -> Request {
        let client_id = line.options.get("name").map(|name| self.name(name));
        let key = self.key(line);
        if line.word(0) == "nonsense" {
            return Request::Refused(Refusal::new(ErrorCode::BadJson, "nonsense"));
        }
        if line.word(0) == "proves" {
            let claims = self.claims(line, Some(line.word(1))).expect("it has a name");
            return Request::Proven { claims, client_id, key };
        }
        Request::Command(match line.word(0) {
            "says" => ClientCommand::Message(PostMessage {
                text: line.words[1..].join(" ").into(),
                target: self.target(line),
                client_id,
                reply_to: line.number("reply").map(Seq),
            }),
            "edits" | "deletes" | "reacts" => ClientCommand::Change(ChangeMessage {
                place: line.options.get("room").map_or(ChangedPlace::Inbox, |name| ChangedPlace::Room(room(name))),
                of: Seq(line.number("of").expect("it is about a message")),
                change: match line.word(0) {
                    "edits" => Change::Edit(line.words[1..].join(" ").into()),
                    "deletes" => Change::Delete,
                    _ => Change::React { emoji: Emoji::parse(line.word(1)).unwrap(), remove: line.has("not") },
                },
            }),
            "hello" => ClientCommand::Hello { client_id: Some(self.name(line.word(1))), key, token: None },
            "inbox" => ClientCommand::JoinInbox { resume: self.resume(line, "inbox") },
            "joins" => {
                let room = room(line.word(1));
                let resume = self.resume(line, line.word(1));
                ClientCommand::Join { room, resume, presence: line.has("presence") }
            }
            "leaves" => ClientCommand::Leave { room: room(line.word(1)) },
            "rooms" => ClientCommand::Rooms,
            "members" => ClientCommand::Members { room: room(line.word(1)) },
            "history" | "private" => {
                let page = match (line.number("before"), line.number("after")) {
                    (Some(before), _) => HistoryPage::Before(Seq(before)),
                    (None, Some(after)) => HistoryPage::After(Seq(after)),
                    (None, None) => HistoryPage::Newest,
                };
                let limit = line.number("limit").unwrap_or(50);
                if line.word(0) == "private" {
                    let with = line.options.get("with").map(|name| self.name(name));
                    ClientCommand::InboxHistory { with, page, limit }
                } else {
                    ClientCommand::History { room: room(line.word(1)), page, limit }
                }
            }
            "read" => ClientCommand::Read {
                place: line.options.get("room").map_or(ChangedPlace::Inbox, |name| ChangedPlace::Room(room(name))),
                seq: Seq(line.number("upto").expect("it is a position")),
            },
            "typing" => ClientCommand::Typing { target: self.target(line) },
            "ping" => ClientCommand::Ping,
            other => panic!("no such command: {other}"),
        })
    }

    fn target(&self, line: &Line<'_>) -> Target {
        match (line.options.get("room"), line.options.get("to")) {
            (Some(name), _) => Target::Room(room(name)),
            (None, Some(to)) => Target::Client(self.name(to)),
            (None, None) => Target::FirstRoom,
        }
    }

    fn key(&self, line: &Line<'_>) -> Option<ClientKey> {
        let label = line.options.get("key")?;
        let of = self.clients.iter().find(|client| client.label == *label);
        Some(of.and_then(|client| client.key).unwrap_or(ClientKey(0)))
    }

    /// The claims of a token: `token=NAME [rooms=LIST] [for=SECONDS]`.
    fn claims(&self, line: &Line<'_>, name: Option<&str>) -> Option<Arc<Claims>> {
        let rooms = line.options.get("rooms").map_or(RoomGlobs::ALL, |rooms| RoomGlobs::new(rooms.split(',')));
        let seconds: u64 = line.number("for").unwrap_or(3_600);
        let (client_id, expires_at) = (self.name(name?), self.now.unix_ms + 1_000 * seconds);
        Some(Arc::new(Claims { client_id, rooms, is_admin: line.has("admin"), expires_at }))
    }

    fn resume(&self, line: &Line<'_>, place: &str) -> Option<Resume> {
        let after = line.number("after")?;
        let of = self.clients.iter().find(|client| client.label == line.options["epoch"]);
        let epoch = of.and_then(|client| client.epochs.get(place).copied());
        Some(Resume { after: Seq(after), epoch, at: line.number("at") })
    }

    /// The name that a dialogue means.
    fn name(&self, text: &str) -> ClientId {
        let guest = text.strip_prefix("guest-").and_then(|number| number.parse::<usize>().ok());
        let guest = guest.and_then(|number| self.guests.get(number.wrapping_sub(1)));
        guest.cloned().unwrap_or_else(|| ClientId::parse(text).unwrap())
    }
}

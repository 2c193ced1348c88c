//! Dialogues with the real server, one file each. A file's name is its promise.
//!
//! ```text
//! # a comment
//! set CHAT_BURST=3                      the server's configuration; must come first
//! alice+ /ws?clientId=alice             connects
//! alice+ /ws offers starling.v1         the same, with a subprotocol that the server must accept
//! alice+ /ws/a%20b refused 400 {...}    is refused over HTTP, with this body
//! alice> {"Message":"hello"}            sends a text frame; if it is not JSON, `\n` is a line break
//! alice< {"type":"message","seq":$seq}  must receive this next: see `test_kit::pattern`
//! alice<? {"type":"ack"}                must receive these, in any order
//! alice< first line
//!      | second line                    of the same frame
//! alice. nothing                        has received nothing
//! alice! 1003                           is closed with this code
//! alice- gone                           drops the connection
//! alice- 1000                           closes with this code
//! alice~ ping abc                       pings, and gets the pong
//! alice~ binary abc                     sends a binary frame
//! alice~ fragments one | two | three    sends one text in fragments
//! repeat 3                              `$i` counts from 1
//!   alice> {"Message":"$i"}
//! end
//! server stops
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use actix_http::ws::Item;
use awc::ws::Message;
use test_kit::pattern::Captures;
use test_kit::{Client, Received, raw};

use crate::harness::TestServer;

macro_rules! transcripts {
    ($($name:ident,)+) => {
        /// Every transcript that is a test.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),+];

        $(#[actix::test]
        async fn $name() {
            play(stringify!($name)).await;
        })+
    };
}

transcripts! {
    a_binary_frame_closes_with_1003,
    a_change_that_cannot_be_is_refused_with_the_reason,
    a_client_catches_up_page_by_page,
    a_client_that_lost_messages_resumes_where_it_was,
    a_client_that_says_goodbye_gets_1000,
    a_fragmented_frame_is_one_frame,
    a_frame_as_large_as_may_be_is_read_and_one_byte_more_closes_with_1009,
    a_guest_takes_a_name_with_its_first_message,
    a_handshake_for_a_bad_name_is_refused,
    a_handshake_for_a_bad_room_or_path_is_refused,
    a_handshake_for_a_taken_name_is_refused,
    a_handshake_to_a_full_server_is_refused,
    a_message_of_the_most_bytes_is_taken_and_one_byte_more_is_not,
    a_message_without_a_room_goes_to_the_first_room,
    a_name_is_free_when_its_connection_closes,
    a_name_of_64_characters_is_taken_and_one_of_65_is_not,
    a_ping_is_answered,
    a_private_message_reaches_both_names_and_nobody_else,
    a_repeated_id_is_delivered_once,
    a_repeated_private_id_is_delivered_once,
    a_resume_that_cannot_be_whole_says_so,
    a_stopping_server_says_so_and_closes_with_1001,
    an_error_leaves_everything_as_it_was,
    an_id_has_at_most_64_characters,
    both_kinds_of_wrong_resume_are_refused,
    changes_have_their_place_in_the_order_of_the_room,
    every_answer_carries_the_id_of_its_frame,
    every_error_carries_the_id_of_its_frame,
    everybody_in_a_room_sees_what_is_said_in_order,
    frames_that_are_not_what_they_should_be_are_refused,
    hello_changes_a_name,
    history_is_read_in_pages,
    nineteen_errors_and_a_good_frame_close_nothing,
    pings_with_a_payload_come_back_with_it,
    presence_is_told_to_those_who_asked,
    presence_of_the_same_second_comes_together_and_without_those_who_only_passed_by,
    rooms_are_listed_the_fullest_first,
    rooms_are_separate,
    the_burst_is_taken_and_one_frame_more_is_refused_with_the_time_to_wait,
    the_console_answers_every_command,
    the_console_explains_what_is_wrong,
    the_console_keeps_strangers_from_writing_the_servers_lines,
    the_console_leaves_with_quit,
    the_console_sees_who_comes_and_goes,
    the_console_shows_changes,
    the_console_speaks_in_the_current_room,
    the_first_client_of_all_is_understood,
    the_history_drops_the_oldest_message_first,
    the_key_takes_a_name_back_and_closes_the_old_connection_with_4003,
    the_key_takes_a_name_back_by_hello,
    the_room_in_the_path_is_the_first_room,
    the_server_has_at_most_so_many_rooms,
    the_subprotocol_is_taken,
    the_welcome_tells_what_a_client_must_know,
    twenty_errors_in_a_row_close_with_1008,
    typing_a_line_and_sending_json_switch_the_language,
    who_goes_back_to_json_hears_no_more_of_who_comes_and_goes,
    who_is_in_as_many_rooms_as_allowed_gets_no_further,
    who_leaves_a_room_hears_nothing_more_of_it,
}

/// The folder of the transcripts.
pub(crate) fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "it", "transcripts"].iter().collect()
}

async fn play(name: &str) {
    let text = fs::read_to_string(folder().join(name).with_extension("txt")).unwrap();
    let steps = read(&text);
    let (settings, steps) = steps.split_at(steps.iter().take_while(|step| step.verb == "set").count());
    let settings: Vec<(&str, &str)> = settings.iter().map(|step| step.rest.split_once('=').unwrap()).collect();
    let mut play =
        Play { server: TestServer::start(&settings), clients: BTreeMap::new(), captures: Captures::default() };
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        let together = steps[at..].iter().take_while(|other| other.verb == "<?" && other.who == step.who).count();
        let outcome = match together {
            0 => play.step(step).await,
            _ => play.receive_all(&steps[at..at + together]).await,
        };
        if let Err(reason) = outcome {
            panic!("{name}.txt, line {}: {}{} {}\n{reason}", step.line, step.who, step.verb, step.rest);
        }
        at += together.max(1);
    }
}

/// One line of a transcript.
#[derive(Debug, Clone)]
struct Step {
    line: usize,
    /// The client; empty for the server.
    who: String,
    verb: String,
    rest: String,
    /// The iteration of its `repeat`.
    turn: Option<usize>,
}

fn read(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut repeat: Option<(usize, usize)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(more) = line.strip_prefix("| ") {
            let last = steps.last_mut().unwrap();
            last.rest = format!("{}\n{more}", last.rest);
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "repeat" => repeat = Some((steps.len(), rest.trim().parse().unwrap())),
            "end" => {
                let (from, times) = repeat.take().unwrap();
                let block = steps.split_off(from);
                for turn in 1..=times {
                    steps.extend(block.iter().cloned().map(|step| Step { turn: Some(turn), ..step }));
                }
            }
            "set" | "server" => steps.push(Step {
                line: number,
                who: String::new(),
                verb: word.into(),
                rest: rest.trim().into(),
                turn: None,
            }),
            _ => {
                let (who, verb) = word.split_at(word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap());
                let rest = rest.trim_start().to_owned();
                steps.push(Step { line: number, who: who.into(), verb: verb.into(), rest, turn: None });
            }
        }
    }
    assert!(repeat.is_none(), "a repeat has no end");
    steps
}

struct Play {
    server: TestServer,
    clients: BTreeMap<String, Client>,
    captures: Captures,
}

impl Drop for Play {
    fn drop(&mut self) {
        // A stopping server waits for its clients.
        self.clients.clear();
    }
}

impl Play {
    fn client(&mut self, who: &str) -> Result<&mut Client, String> {
        self.clients.get_mut(who).ok_or_else(|| format!("{who} is not connected"))
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        if let Some(turn) = step.turn {
            self.captures.set("i", turn);
        }
        let (who, rest) = (step.who.as_str(), step.rest.as_str());
        match step.verb.as_str() {
            "server" => {
                assert_eq!(rest, "stops");
                self.server.stop();
                Ok(())
            }
            "+" => self.connect(who, rest).await,
            ">" => {
                let mut text = self.captures.fill(rest)?;
                if !text.starts_with('{') {
                    text = text.replace("\\r", "\r").replace("\\n", "\n");
                }
                self.client(who)?.send_text(&text).await;
                Ok(())
            }
            "<" => {
                let got = self.client(who)?.receive().await;
                self.check(rest, &got)
            }
            "." => self.nothing(who).await,
            "!" => {
                let code: u16 = rest.parse().map_err(|error| format!("no code: {error}"))?;
                let client = self.client(who)?;
                let got = (client.receive().await, client.receive().await);
                match got {
                    (Received::Close(Some(got), _), Received::End) if got == code => Ok(()),
                    other => Err(format!("received {other:?}")),
                }
            }
            "-" => {
                let mut client = self.clients.remove(who).ok_or("is not connected")?;
                if let Ok(code) = rest.parse::<u16>() {
                    client.send_close(code).await;
                    client.expect_close(1000).await;
                }
                Ok(())
            }
            "~" => self.send_special(who, rest).await,
            verb => Err(format!("there is no verb {verb}")),
        }
    }

    async fn connect(&mut self, who: &str, rest: &str) -> Result<(), String> {
        let rest = self.captures.fill(rest)?;
        if let Some((path, refusal)) = rest.split_once(" refused ") {
            let answer = raw::handshake(&self.server, path).await;
            let (status, body) = refusal.split_once(' ').ok_or("a refusal has a body")?;
            if answer.status.to_string() != status {
                return Err(format!("received {answer:?}"));
            }
            return self.captures.match_text(body, &answer.json().to_string());
        }
        let (path, offered) = rest.split_once(" offers ").map_or((rest.as_str(), None), |(p, o)| (p, Some(o)));
        let client = Client::open_offering(&self.server, path.trim(), offered).await;
        if client.subprotocol() != offered.map(|_| "starling.v1") {
            return Err(format!("the subprotocol is {:?}", client.subprotocol()));
        }
        self.clients.insert(who.to_owned(), client);
        Ok(())
    }

    fn check(&mut self, pattern: &str, got: &Received) -> Result<(), String> {
        let Received::Text(text) = got else { return Err(format!("received {got:?}")) };
        self.captures.match_text(pattern, text).map_err(|reason| format!("{reason}\nreceived {text}"))
    }

    async fn receive_all(&mut self, steps: &[Step]) -> Result<(), String> {
        let mut open: Vec<&Step> = steps.iter().collect();
        while let Some(first) = open.first() {
            let (who, turn) = (first.who.clone(), first.turn);
            if let Some(turn) = turn {
                self.captures.set("i", turn);
            }
            let got = self.client(&who)?.receive().await;
            let mut reasons = Vec::new();
            let matching = open.iter().position(|step| match self.check(&step.rest, &got) {
                Ok(()) => true,
                Err(reason) => {
                    reasons.push(reason);
                    false
                }
            });
            open.remove(matching.ok_or_else(|| reasons.join("\n"))?);
        }
        Ok(())
    }

    async fn nothing(&mut self, who: &str) -> Result<(), String> {
        let client = self.client(who)?;
        let answer = client.barrier().await;
        let got = client.receive().await;
        self.check(&answer, &got)
    }

    async fn send_special(&mut self, who: &str, rest: &str) -> Result<(), String> {
        let (kind, rest) = rest.split_once(' ').ok_or("what is sent?")?;
        let rest = self.captures.fill(rest)?;
        let client = self.client(who)?;
        match kind {
            "ping" => {
                client.send(Message::Ping(rest.clone().into())).await;
                let got = client.receive().await;
                if got == Received::Pong(rest.into()) { Ok(()) } else { Err(format!("received {got:?}")) }
            }
            "binary" => {
                client.send(Message::Binary(rest.into())).await;
                Ok(())
            }
            "fragments" => {
                let pieces: Vec<&str> = rest.split(" | ").collect();
                let (last, first) = (pieces.len() - 1, pieces[0].to_owned());
                for (at, piece) in pieces.into_iter().enumerate() {
                    let piece = piece.to_owned().into();
                    client.send(Message::Continuation(fragment(at, last, piece))).await;
                }
                assert!(first.starts_with('{'), "fragments are of JSON here");
                Ok(())
            }
            kind => Err(format!("there is no frame {kind}")),
        }
    }
}

fn fragment(at: usize, last: usize, piece: bytes::Bytes) -> Item {
    match at {
        0 => Item::FirstText(piece),
        at if at == last => Item::Last(piece),
        _ => Item::Continue(piece),
    }
}

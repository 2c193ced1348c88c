//! The verdict of the program about a server that makes false statements: its first line, and its exit code.

use bot_swarm::wire::SEQ_MAX;
use futures_util::future::join_all;
use starling_protocol::ErrorCode;

use crate::process::{program, stderr, stdout};
use crate::reports::ended;
use crate::run::Run;
use crate::server::{Claim, Lie, Options, TestServer, WrongAck, WrongAnswer};

fn lying(lie: Lie) -> Options {
    Options { lie: Some(lie), ..Options::default() }
}

#[actix_rt::test]
async fn an_ack_that_is_of_no_message_of_the_bot_makes_none_done() {
    let runs = WrongAck::ALL.map(async |how| {
        let behaviours = if how == WrongAck::OfAnotherReceiver { "private=1" } else { "chatter=1" };
        Run::of(lying(Lie::Ack(how)), "clean", "1.5", &["--behaviours", behaviours, "--drain-seconds", "0.5"]).await
    });
    for run in join_all(runs).await {
        run.must_say(1, "BROKEN: clean: ", &[" sent and never answered", " due and never sent"]);
        assert_eq!(run.report.messages.done, 0);
    }
}

#[actix_rt::test]
async fn a_receiver_that_is_here_is_not_taken_for_away_and_a_room_never() {
    let run = async |behaviours: &str| {
        Run::of(lying(Lie::NobodyIsHere), "clean", "3.5", &["--behaviours", behaviours, "--drain-seconds", "2"]).await
    };
    let (to_rooms, in_private) = tokio::join!(run("chatter=1"), run("private=1"));
    for run in [to_rooms, in_private] {
        run.must_say(1, "BROKEN: clean: ", &[" refused without reason"]);
        assert_eq!(run.report.messages.done, 0);
    }
}

#[actix_rt::test]
async fn an_edit_a_deletion_a_reaction_or_a_read_position_that_did_not_happen_is_never_part_of_a_clean_run() {
    const UNANSWERED: &str = "sent and never answered";
    const REFUSED: &str = "refused without reason";
    const CONTRADICTORY: &str = "contradictory positions";
    let changes = "chatter=1,editor=1,reactor=1";
    let reads = "chatter=1,reader=1";
    let runs = [
        (changes, WrongAnswer::SeqOfMessage(0), CONTRADICTORY, None),
        (changes, WrongAnswer::SeqOfMessage(1), CONTRADICTORY, None),
        (changes, WrongAnswer::SeqToCome, CONTRADICTORY, None),
        (changes, WrongAnswer::WithoutSeq, UNANSWERED, Some("ack without seq")),
        (changes, WrongAnswer::OfAnotherRoom, UNANSWERED, Some("ack of another room")),
        (changes, WrongAnswer::Silence, UNANSWERED, None),
        (changes, WrongAnswer::Refused(ErrorCode::Forbidden), REFUSED, Some("forbidden")),
        (changes, WrongAnswer::Refused(ErrorCode::NoSuchMessage), REFUSED, Some("no_such_message")),
        (changes, WrongAnswer::Refused(ErrorCode::TooManyReactions), REFUSED, Some("too_many_reactions")),
        (changes, WrongAnswer::Refused(ErrorCode::RateLimited), "refused for now and not accepted later", None),
        (reads, WrongAnswer::Silence, UNANSWERED, None),
        (reads, WrongAnswer::OfAnotherRoom, UNANSWERED, None),
        (reads, WrongAnswer::Refused(ErrorCode::Forbidden), REFUSED, Some("forbidden")),
        (reads, WrongAnswer::SeqOfMessage(0), "read positions that went back", None),
    ]
    .map(async |(behaviours, how, finding, error)| {
        let arguments = ["--behaviours", behaviours, "--change-seconds", "0.1", "--drain-seconds", "0.5"];
        (Run::of(lying(Lie::Change(how)), "clean", "1.5", &arguments).await, how, finding, error)
    });
    for (run, how, finding, error) in join_all(runs).await {
        assert!(run.server.asked_to_change() > 10, "{how:?}");
        run.must_say(1, "BROKEN: clean: ", &[finding]);
        assert!(error.is_none_or(|kind| run.report.errors.contains_key(kind)), "{how:?}: {:?}", run.report.errors);
    }
}

#[actix_rt::test]
async fn a_visit_that_was_never_answered_is_never_part_of_a_clean_run() {
    let runs = [Lie::JoinsUnanswered, Lie::LeavesUnanswered].map(async |lie| {
        let arguments =
            ["--behaviours", "chatter=1,hopper=1", "--rooms", "3", "--hop-seconds", "0.1", "--drain-seconds", "0.5"];
        Run::of(lying(lie), "clean", "1.5", &arguments).await
    });
    for run in join_all(runs).await {
        run.must_say(1, "BROKEN: clean: ", &[" sent and never answered"]);
    }
}

#[actix_rt::test]
async fn a_seq_that_no_room_reaches_is_charged_to_the_server_and_does_not_stop_the_swarm() {
    let cases = Claim::ALL.into_iter().flat_map(|claim| [SEQ_MAX, SEQ_MAX + 1, u64::MAX].map(|seq| (claim, seq)));
    let cases: Vec<(Claim, u64)> = cases.collect();
    let runs = cases.iter().map(async |(claim, seq)| {
        let arguments = ["--behaviours", "chatter=1,churner=1", "--churn-seconds", "0.3", "--drain-seconds", "0.5"];
        Run::of(lying(Lie::Seq(*claim, *seq)), "clean", "1.5", &arguments).await
    });
    for ((claim, seq), run) in cases.iter().zip(join_all(runs).await) {
        let told = format!("{claim:?} {seq}: {}{}", stdout(&run.output), stderr(&run.output));
        assert!(run.first_line().starts_with("BROKEN: "), "{told}");
        assert_eq!(run.output.status.code(), Some(1), "{told}");
        let is_unreadable = *claim == Claim::Welcome && *seq > SEQ_MAX;
        assert_eq!(run.first_line().contains("a welcome that cannot be read"), is_unreadable, "{told}");
    }
}

/// A frame of 16 KiB that begins with this byte.
fn frame_of_16_kib(first: u8) -> Vec<u8> {
    [&[first, 0x7e, 0x40, 0], &[b'x'; 16_384][..]].concat()
}

/// A server that accepts every WebSocket, sends one text, and then 16 MiB of another.
async fn pouring(first: &'static [u8], then: Vec<u8>) -> String {
    let listener = actix_rt::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let then = std::rc::Rc::new(then);
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_rt::spawn(TestServer::pour(stream, first, std::rc::Rc::clone(&then)));
        }
    });
    url
}

#[actix_rt::test]
async fn a_frame_or_a_message_without_end_costs_its_connection_and_not_the_memory_of_the_swarm() {
    // A frame of a tebibyte; a message of frames of which none is the last; a packet of MQTT of 256 MiB.
    let cases: [(&[u8], Vec<u8>, &[&str]); 3] = [
        (&[0x81, 0x7f, 0, 0, 1, 0, 0, 0, 0, 0], vec![b'x'; 16_384], &[]),
        (&[0x01, 1, b'x'], frame_of_16_kib(0x00), &[]),
        (&[0x82, 5, 0x30, 0xff, 0xff, 0xff, 0x7f], frame_of_16_kib(0x82), &["--dialect", "mqtt"]),
    ];
    let runs = cases.into_iter().map(async |(first, then, arguments)| {
        let mut command = program();
        command.args(["--server-url", &pouring(first, then).await, "--count", "1", "--drain-seconds", "0"]);
        command.args(["--seconds", "3"]).args(arguments);
        ended(command).await
    });
    for output in join_all(runs).await {
        let line = stdout(&output).lines().next().unwrap_or_default();
        assert!(line.starts_with("BROKEN: bots: no bot was connected ("), "{line}{}", stderr(&output));
        let too_large = ["exceeds the size limit", "a message of more than 4194304 bytes"];
        assert!(too_large.iter().any(|kind| line.contains(kind)), "{line}");
        assert_eq!(output.status.code(), Some(1));
    }
}

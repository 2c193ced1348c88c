//! A batch's frames, joined for all members.

use starling_protocol::{ClientId, RoomName, Seq};

use super::*;
use crate::clock;
use crate::credits::Ticket;
use crate::history::{Content, RoomKey, StoredMessage};

fn delivery(seq: u64, text: &str) -> Arc<Delivery> {
    let message = StoredMessage {
        room: RoomKey::Room(RoomName::lobby()),
        to: None,
        seq: Seq(seq),
        client_id: ClientId::parse("alice").unwrap(),
        content: Content::message(text),
        at: 0,
        id: None,
        owner: None,
        twin: None,
        changes: None,
    };
    Arc::new(Delivery::of_room(Arc::new(message), Ticket::without_credit(clock::now())))
}

#[test]
fn a_single_message_is_one_shared_frame_and_no_copy() {
    let batch = [delivery(1, "hello")];
    let frames = JoinedFrames::new(&batch, Format::Json);
    assert_eq!(frames.after(0).as_ptr(), batch[0].json().as_ptr());
    assert!(frames.after(1).is_empty());
}

#[test]
fn the_frames_of_a_batch_stand_one_after_the_other_and_all_members_share_them() {
    let batch = [delivery(1, "one"), delivery(2, &"two".repeat(100)), delivery(3, "three")];
    let frames = JoinedFrames::new(&batch, Format::Json);
    let all: Vec<u8> = batch.iter().flat_map(|delivery| delivery.json().to_vec()).collect();
    assert_eq!(frames.after(0), all);
    assert_eq!(frames.after(0).as_ptr(), frames.after(0).as_ptr());
}

#[test]
fn who_came_in_the_middle_of_a_turn_gets_what_was_offered_after_it_came() {
    let batch = [delivery(1, "one"), delivery(2, &"two".repeat(100)), delivery(3, "three")];
    let frames = JoinedFrames::new(&batch, Format::Json);
    let last_two: Vec<u8> = batch[1..].iter().flat_map(|delivery| delivery.json().to_vec()).collect();
    assert_eq!(frames.after(1), last_two);
    assert_eq!(frames.after(2), batch[2].json());
    assert!(frames.after(3).is_empty());
    assert!(frames.after(4).is_empty(), "no bytes past the end");
}

#[test]
fn people_get_lines() {
    let batch = [delivery(1, "one"), delivery(2, "two")];
    let frames = JoinedFrames::new(&batch, Format::Text);
    let lines = [crate::frame::line("[lobby] alice: one"), crate::frame::line("[lobby] alice: two")];
    assert_eq!(frames.after(0), lines.concat());
    assert_eq!(frames.after(1), lines[1]);
    assert_eq!(JoinedFrames::new(&batch[..1], Format::Text).after(0), lines[0]);
}

#[test]
fn a_turn_ends_at_once_only_long_after_the_last_one_and_with_few_connections() {
    let just_before = CALM_AFTER.checked_sub(Duration::from_nanos(1)).unwrap();
    for (since_last, connections, at_once) in [
        (CALM_AFTER, 1, true),
        (CALM_AFTER, FEW, true),
        (Duration::from_secs(9), FEW, true),
        (CALM_AFTER, FEW + 1, false),
        (Duration::from_secs(9), FEW + 1, false),
        (just_before, 1, false),
        (Duration::ZERO, 1, false),
    ] {
        assert_eq!(may_end_at_once(since_last, connections), at_once, "{connections} after {since_last:?}");
    }
}

//! Rooms with a retention of their own.

use super::Chat;

#[test]
fn a_room_keeps_as_many_messages_as_it_says_also_if_it_begins_later() {
    let mut chat = Chat::new().and(&["alice"]);
    chat.check(
        r#"
        operator set dev {"retention":{"messages":2}}
        alice> joins dev
        alice< joined dev #0 count 1 with retention 2
        wait 250ms
        "#,
    );
    for seq in 1..=4 {
        chat.check(&format!("alice> says room=dev x\n alice< dev#{seq} alice: x"));
    }
    chat.check(
        r#"
        alice> history dev
        alice< history dev 3 4
        alice> joins dev after=1 epoch=alice
        alice< joined dev #4 count 1 gap with retention 2
        alice> joins dev after=2 epoch=alice
        alice< joined dev #4 count 1 recovered with retention 2
        alice< dev#3 alice: x
        alice< dev#4 alice: x
        operator set dev {"retention":{"messages":1}}
        alice< settings dev: retention 1
        alice> history dev
        alice< history dev 4
        operator set dev {"retention":{}}
        alice< settings dev: no settings of its own
        alice> says room=dev x
        alice< dev#5 alice: x
        alice> history dev
        alice< history dev 4 5
        "#,
    );
}

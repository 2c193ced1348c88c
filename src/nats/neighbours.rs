//! What nodes send each other outside the log: signs of life, and who types.

use bytes::Bytes;
use starling_actors::nodes::known::SelfReport;
use starling_actors::nodes::record::Incarnation;
use starling_actors::nodes::typing::TypingNotice;

/// The format of a sign of life.
const FORMAT: u8 = 1;

/// Says that this life lives, and what its node says of itself.
pub(super) fn write_alive(life: Incarnation, report: &SelfReport) -> Bytes {
    let mut out = vec![FORMAT];
    out.extend(life.0.to_be_bytes());
    match serde_json::to_writer(&mut out, report) {
        Ok(()) => {}
        Err(error) => debug_assert!(false, "writing to a vector cannot fail: {error}"),
    }
    out.into()
}

/// Reads which life says that it lives; `None`: no node of this version has written it. The report is for operators: a
/// node lives whatever it says there, so that another version may say more or less.
pub(super) fn read_alive(bytes: &[u8]) -> Option<(Incarnation, Option<SelfReport>)> {
    let (format, rest) = bytes.split_first()?;
    let (life, report) = rest.split_first_chunk()?;
    let life = Incarnation(u64::from_be_bytes(*life));
    (*format == FORMAT).then(|| (life, serde_json::from_slice(report).ok()))
}

/// Says that a client types.
pub(super) fn write_typing(notice: &TypingNotice) -> Bytes {
    serde_json::to_vec(notice).unwrap_or_default().into()
}

/// Reads who types; `None`: no node of this version has written it.
pub(super) fn read_typing(bytes: &[u8]) -> Option<TypingNotice> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_as_it_was_written_and_nothing_else_is() {
        let life = Incarnation(u64::MAX - 1);
        let report = SelfReport { version: "1.2.3".into(), uptime_seconds: 9, connections: 4, applied: 77 };
        let bytes = write_alive(life, &report);
        assert_eq!(read_alive(&bytes), Some((life, Some(report))));
        let mut newer = bytes.to_vec();
        newer[0] = FORMAT + 1;
        for foreign in [&b""[..], b"x", &[FORMAT, 1], &newer] {
            assert_eq!(read_alive(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_node_of_another_version_lives_whatever_it_says_of_itself() {
        let bytes = write_alive(Incarnation(7), &SelfReport::default());
        let alone = &bytes[..9];
        let of_more = SelfReport { connections: 3, ..SelfReport::default() };
        let cases = [
            ("nothing", &b""[..], None),
            ("something else", b"\x02\x03", None),
            ("less", b"{}", Some(SelfReport::default())),
            ("more", br#"{"connections":3,"mood":"good"}"#, Some(of_more)),
        ];
        for (what, report, expected) in cases {
            assert_eq!(read_alive(&[alone, report].concat()), Some((Incarnation(7), expected)), "{what}");
        }
    }
}

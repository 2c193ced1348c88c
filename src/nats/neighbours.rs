//! The signs of life that nodes send each other outside the log.

use bytes::Bytes;
use starling_actors::nodes::record::Incarnation;

/// The format of a sign of life.
const FORMAT: u8 = 1;

/// Says that this life lives.
pub(super) fn write_alive(life: Incarnation) -> Bytes {
    let mut out = vec![FORMAT];
    out.extend(life.0.to_be_bytes());
    out.into()
}

/// Reads which life says that it lives; `None`: no node of this version has written it.
pub(super) fn read_alive(bytes: &[u8]) -> Option<Incarnation> {
    let (format, life) = bytes.split_first()?;
    let life = life.try_into().ok()?;
    (*format == FORMAT).then(|| Incarnation(u64::from_be_bytes(life)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_as_it_was_written_and_nothing_else_is() {
        let life = Incarnation(u64::MAX - 1);
        let bytes = write_alive(life);
        assert_eq!(read_alive(&bytes), Some(life));
        let (mut newer, mut longer) = (bytes.to_vec(), bytes.to_vec());
        newer[0] = FORMAT + 1;
        longer.push(0);
        for foreign in [&b""[..], b"x", &[FORMAT, 1], &newer, &longer] {
            assert_eq!(read_alive(foreign), None, "{foreign:?}");
        }
    }
}

//! The position of the reader in the log, and whether an arriving record is the next one of the log.
//!
//! Whenever the log is opened again, reading begins with the newest record that was read before. It must be the same
//! one: a server that lost records and then took others would otherwise go unnoticed.

use bytes::Bytes;
use starling_actors::nodes::record::RecordId;

use super::fatal::Fatal;

/// The outcome for an arriving record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// It is the next one.
    Next,
    /// It is the record that was read last, as expected after the log was opened again.
    Known,
    /// Neither: the log must be opened again.
    Astray,
    /// The log was just opened, and the next record did not arrive. Either the log no longer has it, or NATS sent it
    /// over a connection that then ended.
    Hole {
        /// The first missing record.
        from: u64,
    },
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Place {
    next: u64,
    last: Option<Last>,
    /// Whether nothing has come since the log was opened.
    is_fresh: bool,
    /// Whether the next record has not come since the log was opened.
    is_stuck: bool,
}

#[derive(Debug)]
struct Last {
    id: RecordId,
    record: Bytes,
}

impl Place {
    pub(super) fn behind(position: u64) -> Self {
        Self { next: position + 1, last: None, is_fresh: true, is_stuck: true }
    }

    /// Opens the log. Returns the position from which it is to be read.
    pub(super) fn open(&mut self) -> u64 {
        (self.is_fresh, self.is_stuck) = (true, true);
        self.last.as_ref().map_or(self.next, |last| last.id.position.0)
    }

    /// A record comes.
    ///
    /// # Errors
    /// [`Fatal`] if it shows that this node cannot follow the log.
    pub(super) fn meet(&mut self, id: RecordId, record: &Bytes) -> Result<Met, Fatal> {
        let position = id.position.0;
        let is_first = std::mem::replace(&mut self.is_fresh, false);
        if let Some(last) = self.last.as_ref().filter(|last| is_first && last.id.position == id.position) {
            let is_same = last.id == id && last.record == *record;
            return if is_same { Ok(Met::Known) } else { Err(Fatal::Differs(position)) };
        }
        if position != self.next {
            let is_hole = self.is_stuck && position > self.next;
            return Ok(if is_hole { Met::Hole { from: self.next } } else { Met::Astray });
        }
        self.next = position + 1;
        self.is_stuck = false;
        self.last = Some(Last { id, record: record.clone() });
        Ok(Met::Next)
    }
}

#[cfg(test)]
mod tests {
    use starling_actors::nodes::record::LogPosition;

    use super::*;

    fn id(position: u64, nanos: u64) -> RecordId {
        RecordId { position: LogPosition(position), nanos }
    }

    #[test]
    fn every_record_is_read_once_in_order_and_what_does_not_fit_opens_the_log_again() {
        let record = |text: &'static str| Bytes::from_static(text.as_bytes());
        let mut place = Place::behind(4);
        assert_eq!(place.open(), 5);
        let mut meet = |position, text| place.meet(id(position, position), &record(text));
        let steps = [(5, "a", Met::Next), (6, "b", Met::Next), (6, "b", Met::Astray), (8, "d", Met::Astray)];
        for (position, text, met) in steps {
            assert_eq!(meet(position, text), Ok(met), "{position}");
        }
        assert_eq!(place.open(), 6);
        assert_eq!(place.meet(id(6, 6), &record("b")), Ok(Met::Known));
        assert_eq!(place.meet(id(7, 7), &record("c")), Ok(Met::Next));
    }

    #[test]
    fn a_log_that_has_lost_records_or_taken_others_is_not_followed() {
        let record = |text: &'static str| Bytes::from_static(text.as_bytes());
        let cases = [
            ("another text", 5, 5, "b", Err(Fatal::Differs(5))),
            ("another time", 5, 6, "a", Err(Fatal::Differs(5))),
            ("trimmed behind a record that nobody needs", 6, 6, "b", Ok(Met::Next)),
            ("perhaps trimmed further", 8, 8, "d", Ok(Met::Hole { from: 6 })),
        ];
        let mut place = Place::behind(4);
        assert_eq!(place.meet(id(5, 5), &record("a")), Ok(Met::Next));
        assert_eq!(place.meet(id(7, 7), &record("c")), Ok(Met::Astray), "perhaps it is only late");
        place.open();
        assert_eq!(place.meet(id(5, 5), &record("a")), Ok(Met::Known));
        assert_eq!(place.meet(id(7, 7), &record("c")), Ok(Met::Hole { from: 6 }), "perhaps it was dropped");
        for (what, position, nanos, text, expected) in cases {
            let mut place = Place::behind(4);
            place.open();
            assert_eq!(place.meet(id(5, 5), &record("a")), Ok(Met::Next));
            assert_eq!(place.open(), 5);
            assert_eq!(place.meet(id(position, nanos), &record(text)), expected, "{what}");
        }
        let mut place = Place::behind(4);
        place.open();
        assert_eq!(place.meet(id(6, 6), &record("b")), Ok(Met::Hole { from: 5 }), "at the start");
    }
}

//! Identifiers inside the process. None of them appears on the wire.

use std::fmt;

/// The hub of one worker thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HubId(pub u8);

/// A slot for one connection in a hub; it is reused when that connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

impl Slot {
    /// The index of its entry in a table by slot.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One session: the hub, the slot on that hub, and the serial number of the slot's use.
///
/// The serial number keeps a message for an ended session from reaching the next session in the same slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

impl SessionId {
    const SLOT_BITS: u32 = 24;
    const SERIAL_BITS: u32 = 32;

    /// Most sessions of one hub.
    pub const SLOTS_MAX: usize = 1 << Self::SLOT_BITS;

    /// The id of this use of a slot.
    pub fn new(hub: HubId, slot: u32, serial: u32) -> Self {
        debug_assert!((slot as usize) < Self::SLOTS_MAX, "slot {slot} is past the last");
        Self(
            u64::from(hub.0) << (Self::SLOT_BITS + Self::SERIAL_BITS)
                | u64::from(slot) << Self::SERIAL_BITS
                | u64::from(serial),
        )
    }

    /// The session's id as a number, see [`from_number`](Self::from_number).
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The session with this number. Valid only in the process that assigned it.
    pub(crate) fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The hub that holds the session's connection.
    pub fn hub(self) -> HubId {
        HubId(self.0.to_be_bytes()[0])
    }

    /// The slot in that hub.
    pub fn slot(self) -> Slot {
        Slot((self.0 >> Self::SERIAL_BITS) as u32 & ((1 << Self::SLOT_BITS) - 1))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}/{}#{}", self.hub().0, self.slot().0, self.0 & u64::from(u32::MAX))
    }
}

/// One room or inbox in this process. The number is reused after the room was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u32);

impl RoomId {
    /// The index of the room in a table by room.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of hubs, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HubSet(u64);

impl HubSet {
    /// Most hubs in one process.
    pub const HUBS_MAX: usize = 64;

    /// Adds a hub; its number must be below [`HUBS_MAX`](Self::HUBS_MAX).
    pub fn insert(&mut self, hub: HubId) {
        self.0 |= 1 << hub.0;
    }

    /// Removes a hub.
    pub fn remove(&mut self, hub: HubId) {
        self.0 &= !(1 << hub.0);
    }

    /// Whether the hub is in the set.
    pub fn contains(self, hub: HubId) -> bool {
        self.0 & (1 << hub.0) != 0
    }

    /// The number of hubs in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether no hub is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_tells_its_hub_and_slot() {
        let last = u32::try_from(SessionId::SLOTS_MAX - 1).unwrap();
        for (hub, slot, serial) in [(0, 0, 0), (63, last, u32::MAX), (5, 77, 3)] {
            let id = SessionId::new(HubId(hub), slot, serial);
            assert_eq!((id.hub(), id.slot()), (HubId(hub), Slot(slot)));
        }
        assert_ne!(SessionId::new(HubId(1), 2, 3), SessionId::new(HubId(1), 2, 4));
    }
}

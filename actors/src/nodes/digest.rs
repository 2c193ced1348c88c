//! A digest of all decisions of a node while it read the log.
//!
//! Nodes that made the same decisions have equal digests. Nodes compare their digests after each checkpoint.

/// The digest so far (FNV-1a, 64 bits). It detects faults, not attacks: all writers of the log are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds a number.
    pub fn add(&mut self, number: u64) {
        self.add_bytes(&number.to_le_bytes());
    }

    /// Adds a text.
    pub fn add_text(&mut self, text: &str) {
        self.add(text.len() as u64);
        self.add_bytes(text.as_bytes());
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_depends_on_the_order_and_is_the_same_in_every_version() {
        let of = |numbers: &[u64]| {
            let mut digest = Digest::default();
            for number in numbers {
                digest.add(*number);
            }
            digest.add_text("lobby");
            digest
        };
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_eq!(of(&[1, 2]), of(&[1, 2]));
    }
}

//! Tags, numbers that stand for names in markers, the same in every process.

/// The tag of a name, below 2^24: FNV-1a, folded.
pub fn tag(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 24) ^ (hash & 0x00ff_ffff)
}

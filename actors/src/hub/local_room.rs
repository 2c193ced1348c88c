//! A room as one hub sees it: its local members, and what was offered to them in this turn.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::messages::Delivery;
use crate::frame::Format;

/// A local member of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalMember {
    pub(super) slot: u32,
    /// How many deliveries of the current batch came before this member did.
    pub(super) skips: u32,
}

#[derive(Debug, Default)]
pub(super) struct LocalRoom {
    pub(super) members: Vec<LocalMember>,
    pub(super) batch: Vec<Arc<Delivery>>,
}

/// A batch's frames one after the other, in one format.
#[derive(Debug)]
pub(super) struct JoinedFrames {
    bytes: Bytes,
    /// Where each frame begins.
    starts: Vec<usize>,
}

impl JoinedFrames {
    /// Joins the frames; a single one is taken as it is, without a copy.
    pub(super) fn new(batch: &[Arc<Delivery>], format: Format) -> Self {
        let frame = |delivery: &Arc<Delivery>| match format {
            Format::Json => delivery.json().clone(),
            Format::Text => delivery.encode_line(),
        };
        if let [single] = batch {
            return Self { bytes: frame(single), starts: vec![0] };
        }
        let frames: Vec<Bytes> = batch.iter().map(frame).collect();
        let mut bytes = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
        let mut starts = Vec::with_capacity(frames.len());
        for frame in frames {
            starts.push(bytes.len());
            bytes.extend_from_slice(&frame);
        }
        Self { bytes: bytes.freeze(), starts }
    }

    /// The frames after the first `skips`.
    pub(super) fn after(&self, skips: u32) -> Bytes {
        if skips == 0 {
            return self.bytes.clone();
        }
        let start = self.starts.get(skips as usize).copied().unwrap_or(self.bytes.len());
        self.bytes.slice(start..)
    }
}

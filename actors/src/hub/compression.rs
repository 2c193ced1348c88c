//! Decides which frames are compressed, and counts the cost and the gain.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock;
use crate::frame;
use crate::metrics::Metrics;

/// Compresses frames for the clients that accept compression.
#[derive(Debug)]
pub(crate) struct Compression {
    /// Smaller frames are not compressed.
    frame_bytes_min: usize,
    metrics: Arc<Metrics>,
}

impl Compression {
    pub(super) fn new(frame_bytes_min: u32, metrics: Arc<Metrics>) -> Self {
        Self { frame_bytes_min: frame_bytes_min as usize, metrics }
    }

    /// The frame for clients that accept compression. It is the same frame if it is small or does not become shorter.
    pub(super) fn of(&self, text_frame: &Bytes) -> Bytes {
        if text_frame.len() < self.frame_bytes_min {
            return text_frame.clone();
        }
        let started = clock::now();
        let out = frame::compressed(text_frame).unwrap_or_else(|| text_frame.clone());
        let took = clock::now().saturating_duration_since(started);
        self.metrics.compressed(text_frame.len(), out.len(), took);
        out
    }
}

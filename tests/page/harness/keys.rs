//! Special keys in the encoding of the driver.

pub(crate) const ALT: char = '\u{e00a}';
pub(crate) const DOWN: char = '\u{e015}';
pub(crate) const END: char = '\u{e010}';
pub(crate) const ENTER: char = '\u{e007}';
pub(crate) const ESCAPE: char = '\u{e00c}';
pub(crate) const RIGHT: char = '\u{e014}';
pub(crate) const TAB: char = '\u{e004}';
pub(crate) const UP: char = '\u{e013}';

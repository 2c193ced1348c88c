//! The description of the variables in `--help`.

use std::fmt::Write;

use crate::config::Config;

/// One paragraph per knob: variable, default, effect, accepted values.
pub fn knobs() -> String {
    let mut text = String::from("Variables:\n");
    for knob in Config::knobs() {
        // Writing into a String cannot fail.
        let written = write!(
            text,
            "  {} [default: {}]\n      {}\n      ({})\n",
            knob.variable, knob.default, knob.about, knob.range
        );
        debug_assert!(written.is_ok(), "a String takes every write");
    }
    text
}

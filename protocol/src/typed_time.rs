//! A length of time as a person types it: `90s`, `10m`, `7d`.

/// The units of a time, and their seconds.
const UNITS: [(char, u64); 5] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];

/// What is wrong with a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTime {
    /// It is not a number with a unit.
    #[error("{0:?} is not a time like 30s, 10m, 2h, 7d or 4w")]
    Form(String),
    /// It is zero or too long.
    #[error("the time must be at least 1s, and at most {0}")]
    Range(String),
}

/// The seconds of a time that is at least one second and at most this many.
///
/// # Errors
/// [`BadTime`].
pub fn seconds_up_to(text: &str, most: u64) -> Result<u64, BadTime> {
    let form = || BadTime::Form(text.chars().take(32).collect());
    let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (digits, unit) = unit.filter(|(digits, _)| is_number(digits)).ok_or_else(form)?;
    // Too many digits for a number are too long a time.
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).unwrap_or(u64::MAX);
    if (1..=most).contains(&seconds) { Ok(seconds) } else { Err(BadTime::Range(time_of(most))) }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A wait of this many milliseconds as it is typed, rounded up to at most two digits, or to days.
pub fn wait_of(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    let unit = match seconds {
        0..100 => 1,
        100..6_000 => 60,
        6_000..356_400 => 3_600,
        _ => 86_400,
    };
    time_of(seconds.next_multiple_of(unit))
}

/// The time as it is typed, in the largest unit that has no remainder.
pub fn time_of(seconds: u64) -> String {
    let whole = UNITS.iter().rev().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{seconds}s"), |(unit, of)| format!("{}{unit}", seconds / of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_never_told_as_shorter_than_it_is() {
        for (ms, told) in [
            (0, "0s"),
            (1, "1s"),
            (59_001, "1m"),
            (99_000, "99s"),
            (99_001, "2m"),
            (599_001, "10m"),
            (3_599_900, "1h"),
            (5_940_000, "99m"),
            (6_000_000, "2h"),
            (7_200_000, "2h"),
            (356_399_000, "99h"),
            (356_400_000, "5d"),
            (604_800_000, "1w"),
            (700_000_000, "9d"),
            (u64::MAX, "30500568905w"),
        ] {
            assert_eq!(wait_of(ms), told, "{ms}");
        }
    }
}

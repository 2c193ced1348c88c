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

/// The time as it is typed, in the largest unit that has no remainder.
pub fn time_of(seconds: u64) -> String {
    let whole = UNITS.iter().rev().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{seconds}s"), |(unit, of)| format!("{}{unit}", seconds / of))
}

//! Durations as people write them: `250ms`, `30s`, `2m`, `1h`.

use std::time::Duration;

/// The units, with their lengths in nanoseconds; the longest first.
const UNITS: [(&str, u64); 5] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];

/// The longest duration: a year.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Parses a duration: a non-negative number and a unit. `None` if it is invalid or longer than a year.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.trim().parse().ok()?;
    let seconds = number * (*nanos as f64 / 1e9);
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration <= LONGEST)
}

/// Writes a duration so that [`parse_duration`] reads it back, to a microsecond.
pub fn duration_text(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let whole = UNITS.iter().find(|(_, unit)| nanos.is_multiple_of(*unit));
    whole.map_or_else(
        || format!("{}us", nanos as f64 / 1e3),
        |(name, unit)| match nanos {
            0 => "0s".to_owned(),
            _ => format!("{}{name}", nanos / unit),
        },
    )
}

/// A duration in a suitable unit, to three digits, for people.
pub fn human(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        m if m < 999.5 => (m, "µs"),
        m if m < 999_500.0 => (m / 1e3, "ms"),
        m => (m / 1e6, "s"),
    };
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {unit}")
}

/// A whole number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, micros) in [
            ("0s", 0),
            ("250ms", 250_000),
            ("1.5s", 1_500_000),
            ("2 m", 120_000_000),
            ("1h", 3_600_000_000),
            ("7us", 7),
            ("8760h", 31_536_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_micros(micros)), "{text}");
            let written = duration_text(Duration::from_micros(micros));
            assert_eq!(parse_duration(&written), Some(Duration::from_micros(micros)), "{written}");
        }
        for text in ["", "5", "s", "-1s", "1d", "NaNs", "infs", "8761h", "1s30"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_told_in_the_unit_that_suits_them() {
        for (micros, text) in
            [(0, "0.00 µs"), (999, "999 µs"), (1_000, "1.00 ms"), (12_345, "12.3 ms"), (2_000_000, "2.00 s")]
        {
            assert_eq!(human(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_950_000].map(grouped), ["0", "999", "1,000", "1,950,000"]);
    }
}

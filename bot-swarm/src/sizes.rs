//! The sizes of messages.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::marker::Marker;

/// The largest size of a message's text, in bytes.
const BYTES_MAX: u32 = 1_048_576;

/// The 99th percentile of the standard normal distribution.
const Z_99: f64 = 2.326_347_874;

/// The distribution of the sizes of messages' texts, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Sizes {
    /// Uniform over a range.
    Even(RangeInclusive<u32>),
    /// Similar to people's messages: most are short, few are very long.
    LogNormal {
        /// The median.
        median: u32,
        /// The 99th percentile.
        p99: u32,
    },
}

impl Sizes {
    /// The size of the next message: at least that of a marker, and at most one mebibyte.
    pub fn draw(&self, rng: &mut fastrand::Rng) -> u32 {
        match self {
            Self::Even(range) => rng.u32(range.clone()),
            Self::LogNormal { median, p99 } => {
                let spread = (f64::from(*p99) / f64::from(*median)).ln() / Z_99;
                // The Box-Muller transform; 1 - f64() is never 0.
                let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * rng.f64()).cos();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturates")]
                let bytes = (f64::from(*median) * (spread * normal).exp()) as u32;
                bytes.clamp(least(), BYTES_MAX)
            }
        }
    }
}

fn least() -> u32 {
    u32::try_from(Marker::LEN).unwrap_or(BYTES_MAX)
}

impl From<RangeInclusive<u32>> for Sizes {
    fn from(range: RangeInclusive<u32>) -> Self {
        Self::Even(range)
    }
}

/// The text is not a distribution of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a size, a range of sizes or lognormal:MEDIAN:P99")]
pub struct NotSizes;

impl FromStr for Sizes {
    type Err = NotSizes;

    fn from_str(text: &str) -> Result<Self, NotSizes> {
        let bytes = |number: &str| {
            let number = number.parse().ok().filter(|number| (least()..=BYTES_MAX).contains(number));
            number.ok_or(NotSizes)
        };
        if let Some(parameters) = text.strip_prefix("lognormal:") {
            let (median, p99) = parameters.split_once(':').ok_or(NotSizes)?;
            let (median, p99) = (bytes(median)?, bytes(p99)?);
            return if median <= p99 { Ok(Self::LogNormal { median, p99 }) } else { Err(NotSizes) };
        }
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let range = bytes(least)?..=bytes(most)?;
        if range.is_empty() { Err(NotSizes) } else { Ok(Self::Even(range)) }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even(range) if range.start() == range.end() => write!(f, "{}", range.start()),
            Self::Even(range) => write!(f, "{}-{}", range.start(), range.end()),
            Self::LogNormal { median, p99 } => write!(f, "lognormal:{median}:{p99}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lognormal_sizes_have_the_median_and_the_99th_percentile_that_they_were_given() {
        let sizes: Sizes = "lognormal:120:2000".parse().unwrap();
        let mut rng = fastrand::Rng::with_seed(4);
        let mut drawn: Vec<u32> = (0..100_000).map(|_| sizes.draw(&mut rng)).collect();
        drawn.sort_unstable();
        assert!((115..=125).contains(&drawn[50_000]), "median {}", drawn[50_000]);
        assert!((1_850..=2_150).contains(&drawn[99_000]), "p99 {}", drawn[99_000]);
        assert!(drawn[0] >= least() && drawn[99_999] <= BYTES_MAX);
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["128", "48-1048576", "lognormal:48:48", "lognormal:120:2000"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
        for text in ["", "47", "50-48", "48-", "48-1048577", "lognormal:48", "lognormal:100:48", "normal:48:50"] {
            assert_eq!(text.parse::<Sizes>(), Err(NotSizes), "{text}");
        }
    }
}

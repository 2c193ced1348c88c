//! How exactly figures are told.

/// The value with four significant digits: more is noise, and makes the events longer.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 3.0 - value.abs().log10().floor();
    let scale = 10_f64.powf(digits.abs());
    if digits >= 0.0 { (value * scale).round() / scale } else { (value / scale).round() * scale }
}

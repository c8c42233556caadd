//! The settings of optimizers: what they may be, and what they were meant to be.

use crate::{Error, Result};

/// A setting with its name.
pub(super) struct Setting(pub &'static str, pub f32);

/// What a setting may be.
#[derive(Clone, Copy)]
pub(super) enum Interval {
    NotNegative,
    Positive,
    BelowOne,
    Unit,
}

impl Setting {
    /// Refuses what lies outside, NaN and infinities among it.
    pub(super) fn within(self, interval: Interval) -> Result<()> {
        let Setting(argument, value) = self;
        let (good, expected) = match interval {
            Interval::NotNegative => (value >= 0.0, "a finite number of at least 0"),
            Interval::Positive => (value > 0.0, "a finite number above 0"),
            Interval::BelowOne => ((0.0..1.0).contains(&value), "a number in [0, 1)"),
            Interval::Unit => ((0.0..=1.0).contains(&value), "a number in [0, 1]"),
        };
        if good && value.is_finite() {
            Ok(())
        } else {
            Err(Error::Argument { argument, expected: expected.to_owned(), found: value.to_string() })
        }
    }
}

/// `1 − x` for a setting in [0, 1) that somebody wrote as a decimal number.
///
/// The float next to 0.999 is 0.99900001287, and the difference that matters, 0.001, is off by 1.3·10⁻⁵ of itself.
/// Keras subtracts before it rounds to floats; so do we, with the number of at most seven decimals that was meant.
pub(crate) fn complement(x: f32) -> f64 {
    1.0 - (f64::from(x) * 1e7).round() / 1e7
}

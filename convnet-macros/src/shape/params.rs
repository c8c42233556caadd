//! How many parameters a layer has.

use super::Shape;
use crate::layer::{Finish, Op, Size, Window};
use std::ops::Add;

/// Numbers of parameters.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Params {
    /// What training changes.
    pub trainable: u128,
    /// What it leaves alone.
    pub fixed: u128,
}

impl Params {
    /// All of them.
    pub fn total(self) -> u128 {
        self.trainable.saturating_add(self.fixed)
    }

    /// The same in a frozen layer.
    pub fn frozen(self) -> Params {
        Params { trainable: 0, fixed: self.total() }
    }
}

impl Add for Params {
    type Output = Params;

    fn add(self, other: Params) -> Params {
        Params {
            trainable: self.trainable.saturating_add(other.trainable),
            fixed: self.fixed.saturating_add(other.fixed),
        }
    }
}

/// A layer's parameters, if they are known.
pub fn params(op: &Op, above: &Shape) -> Option<Params> {
    let channels = || above.channels().map(|channels| channels as u128);
    let trainable = match op {
        Op::Conv2D { filters, groups, window, finish } => {
            let filters = known(filters)?;
            let inputs = channels()? / known(groups)?;
            with_bias(taps(window)?.saturating_mul(inputs).saturating_mul(filters), filters, finish)
        }
        Op::DepthwiseConv2D { multiplier, window, finish } => {
            let outputs = channels()?.saturating_mul(known(multiplier)?);
            with_bias(taps(window)?.saturating_mul(outputs), outputs, finish)
        }
        Op::SeparableConv2D { filters, multiplier, window, finish } => {
            let (filters, between) = (known(filters)?, channels()?.saturating_mul(known(multiplier)?));
            let depthwise = taps(window)?.saturating_mul(between);
            with_bias(depthwise.saturating_add(between.saturating_mul(filters)), filters, finish)
        }
        Op::Dense { units, finish } => {
            let units = known(units)?;
            with_bias(channels()?.saturating_mul(units), units, finish)
        }
        Op::BatchNormalization { center, scale, .. } => {
            let channels = channels()?;
            let trainable = channels * (u128::from(*center) + u128::from(*scale));
            return Some(Params { trainable, fixed: 2 * channels });
        }
        Op::Network { .. } | Op::Repeat { .. } | Op::Faulty { .. } => return None,
        _ => 0,
    };
    Some(Params { trainable, fixed: 0 })
}

fn known(size: &Size) -> Option<u128> {
    size.known().map(|size| size as u128)
}

fn taps(window: &Window) -> Option<u128> {
    Some(known(&window.size[0])? * known(&window.size[1])?)
}

fn with_bias(kernel: u128, outputs: u128, finish: &Finish) -> u128 {
    kernel.saturating_add(if finish.use_bias { outputs } else { 0 })
}

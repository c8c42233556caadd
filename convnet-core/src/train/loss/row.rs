//! One image's loss, and its gradient with respect to the last layer's values before their activation.
//!
//! A loss is computed from some [`Values`]: the network's outputs, or, where loss and activation cancel (softmax or
//! sigmoid with its crossentropy), the logits themselves. It fills the gradient with respect to these, which
//! [`Values::chain`] then carries through the activation.

use super::Loss;
use crate::layers::Activation;

/// What [`Loss::evaluate`] finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The image's loss.
    pub loss: f64,
    /// Whether the image counts as right in the accuracy.
    pub correct: bool,
}

/// Keras's `epsilon()`: probabilities keep this distance from 0 and 1.
const EPSILON: f32 = 1e-7;

impl Loss {
    /// The loss of one image whose last layer has the values `z` before its activation, with the image's label.
    ///
    /// Where wanted, `d_z` (as long as `z`) becomes the gradient of the loss times `scale`, which is one over the
    /// number of images in the batch. Allocates nothing.
    ///
    /// Right is what Keras's metric `accuracy` counts: of several outputs the first largest stands at the label; a
    /// single output (after its activation; with `from_logits` the logit itself) is above 0.5 just where the label
    /// is 1.
    ///
    /// For a label that [`Loss::check_labels`] refuses the numbers mean nothing.
    pub fn evaluate(
        &self,
        activation: Activation,
        z: &[f32],
        label: u32,
        mut d_z: Option<&mut [f32]>,
        scale: f32,
    ) -> Outcome {
        let categorical = self.is_categorical();
        let cancels = match activation {
            Activation::Softmax => categorical,
            Activation::Sigmoid => matches!(self, Loss::BinaryCrossentropy(_)),
            _ => false,
        } && !self.takes_logits();
        let values = Values::new(if cancels { Activation::Linear } else { activation }, z);
        let target = Target { label, outputs: z.len(), categorical, smoothing: self.label_smoothing() };

        let d = d_z.as_deref_mut();
        let logits = cancels || self.takes_logits();
        let loss = match self {
            Loss::MeanSquaredError(_) => squared_error(&values, &target, d),
            _ if categorical && logits => softmax_crossentropy(&values, &target, d),
            _ if categorical => categorical_crossentropy(&values, &target, d),
            _ if logits => sigmoid_crossentropy(&values, &target, d),
            _ => binary_crossentropy(&values, &target, d),
        };
        if let Some(d) = d_z {
            values.chain(d);
            d.iter_mut().for_each(|d| *d *= scale);
        }
        let correct = match z {
            [_] => u32::from(Values::new(activation, z).at(0) > 0.5) == label,
            _ => values.first_largest() == label as usize,
        };
        Outcome { loss, correct }
    }
}

/// An activation's outputs, computed where they are asked for.
struct Values<'a> {
    activation: Activation,
    z: &'a [f32],
    /// For softmax: the largest of `z`, and the sum of eᶻ⁻ˡᵃʳᵍᵉˢᵗ.
    softmax: (f32, f32),
}

impl<'a> Values<'a> {
    fn new(activation: Activation, z: &'a [f32]) -> Self {
        let softmax = if activation == Activation::Softmax {
            let largest = largest(z.iter().copied());
            (largest, z.iter().map(|z| (z - largest).exp()).sum())
        } else {
            (0.0, 1.0)
        };
        Values { activation, z, softmax }
    }

    fn len(&self) -> usize {
        self.z.len()
    }

    fn at(&self, i: usize) -> f32 {
        let z = self.z[i];
        match self.activation {
            Activation::Linear => z,
            Activation::Relu if z > 0.0 => z,
            Activation::Relu => 0.0,
            Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
            Activation::Tanh => z.tanh(),
            Activation::Softmax => (z - self.softmax.0).exp() / self.softmax.1,
        }
    }

    fn iter(&self) -> impl Iterator<Item = f32> {
        (0..self.len()).map(|i| self.at(i))
    }

    fn first_largest(&self) -> usize {
        let mut best = (0, f32::NEG_INFINITY);
        for (i, value) in self.iter().enumerate() {
            if value > best.1 {
                best = (i, value);
            }
        }
        best.0
    }

    /// From the gradient with respect to the values to the one with respect to `z`.
    fn chain(&self, d: &mut [f32]) {
        let along = match self.activation {
            Activation::Linear => return,
            Activation::Softmax => self.iter().zip(&*d).map(|(y, d)| y * d).sum(),
            _ => 0.0f32,
        };
        for ((y, z), d) in self.iter().zip(self.z).zip(d) {
            *d = match self.activation {
                Activation::Linear => *d,
                Activation::Relu if *z > 0.0 => *d,
                Activation::Relu => 0.0,
                Activation::Sigmoid => *d * y * (1.0 - y),
                Activation::Tanh => *d * (1.0 - y * y),
                Activation::Softmax => y * (*d - along),
            };
        }
    }
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(f32::NEG_INFINITY, f32::max)
}

/// What the outputs should be.
struct Target {
    label: u32,
    outputs: usize,
    categorical: bool,
    smoothing: f32,
}

impl Target {
    fn at(&self, i: usize) -> f32 {
        let sharp = if self.outputs == 1 { self.label as f32 } else { f32::from(i == self.label as usize) };
        let spread = if self.categorical { self.outputs as f32 } else { 2.0 };
        sharp * (1.0 - self.smoothing) + self.smoothing / spread
    }
}

/// `−Σ tᵢ ln softmax(v)ᵢ = Σ tᵢ (ln Σ eᵛ − vᵢ)`, shifted by the largest v; the gradient is `softmax(v) − t`.
fn softmax_crossentropy(values: &Values<'_>, target: &Target, mut d: Option<&mut [f32]>) -> f64 {
    let largest = largest(values.iter());
    let mut sum = 0.0;
    for (i, value) in values.iter().enumerate() {
        let power = (value - largest).exp();
        sum += f64::from(power);
        if let Some(d) = &mut d {
            d[i] = power;
        }
    }
    let logarithm = sum.ln();
    let mut loss = 0.0;
    for (i, value) in values.iter().enumerate() {
        let wanted = target.at(i);
        // Not times zero: an impossible class may have a logit of −∞.
        if wanted != 0.0 {
            loss += f64::from(wanted) * (logarithm - f64::from(value - largest));
        }
    }
    if let Some(d) = d {
        let share = (1.0 / sum) as f32;
        d.iter_mut().enumerate().for_each(|(i, d)| *d = *d * share - target.at(i));
    }
    // NaN among the logits of other classes must not pass unseen.
    if sum.is_nan() { sum } else { loss }
}

/// The mean of `ln(1 + eᵛ) − t·v`, as `max(v, 0) − t·v + ln(1 + e⁻|ᵛ|)`; the gradient is `(sigmoid(v) − t)/n`.
fn sigmoid_crossentropy(values: &Values<'_>, target: &Target, mut d: Option<&mut [f32]>) -> f64 {
    let n = values.len();
    let mut loss = 0.0;
    for (i, value) in values.iter().enumerate() {
        let (wanted, v) = (target.at(i), f64::from(value));
        loss += v.max(0.0) - f64::from(wanted) * v + (-v.abs()).exp().ln_1p();
        if let Some(d) = &mut d {
            d[i] = (1.0 / (1.0 + (-value).exp()) - wanted) / n as f32;
        }
    }
    loss / n as f64
}

/// A probability kept off 0 and 1, and whether it moves with what it was made from.
fn clip(p: f32) -> (f32, bool) {
    let clipped = p.clamp(EPSILON, 1.0 - EPSILON);
    (clipped, clipped == p)
}

/// `−Σ tᵢ ln qᵢ` of `q = v/Σv`, clipped.
fn categorical_crossentropy(values: &Values<'_>, target: &Target, d: Option<&mut [f32]>) -> f64 {
    let sum: f32 = values.iter().sum();
    let slope = |i, value| match clip(value / sum) {
        (q, true) => -target.at(i) / q,
        _ => 0.0,
    };
    let loss = values
        .iter()
        .enumerate()
        .filter(|(i, _)| target.at(*i) != 0.0)
        .map(|(i, value)| -f64::from(target.at(i)) * f64::from(clip(value / sum).0).ln())
        .sum();
    if let Some(d) = d {
        let along: f32 = values.iter().enumerate().map(|(i, value)| slope(i, value) * (value / sum)).sum();
        for ((i, value), d) in values.iter().enumerate().zip(d) {
            *d = (slope(i, value) - along) / sum;
        }
    }
    if sum.is_nan() { f64::NAN } else { loss }
}

/// The mean of `−t ln p − (1−t) ln(1−p)`, clipped.
fn binary_crossentropy(values: &Values<'_>, target: &Target, mut d: Option<&mut [f32]>) -> f64 {
    let n = values.len();
    let mut loss = 0.0;
    for (i, value) in values.iter().enumerate() {
        let (wanted, (p, moves)) = (target.at(i), clip(value));
        loss -= f64::from(wanted) * f64::from(p).ln() + f64::from(1.0 - wanted) * f64::from(1.0 - p).ln();
        if let Some(d) = &mut d {
            let slope = (1.0 - wanted) / (1.0 - p) - wanted / p;
            d[i] = if moves { slope / n as f32 } else { 0.0 };
        }
    }
    loss / n as f64
}

/// The mean of `(t − v)²`.
fn squared_error(values: &Values<'_>, target: &Target, mut d: Option<&mut [f32]>) -> f64 {
    let n = values.len();
    let mut loss = 0.0;
    for (i, value) in values.iter().enumerate() {
        let error = value - target.at(i);
        loss += f64::from(error) * f64::from(error);
        if let Some(d) = &mut d {
            d[i] = 2.0 * error / n as f32;
        }
    }
    loss / n as f64
}

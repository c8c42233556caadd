//! Losses, by Keras's names, defaults and formulas (Keras 3), with the accuracy that goes with them.
//!
//! A label is a class index. The target is one-hot over the network's outputs; a single output takes the label as the
//! number that it is. [`Loss::check`] and [`Loss::check_labels`] refuse what cannot be meant, before training;
//! [`Loss::evaluate`] (in `row.rs`) then takes one image at a time, allocates nothing and does not fail. It starts
//! from the last layer's values *before* their activation: softmax with crossentropy, and sigmoid with binary
//! crossentropy, are safe on these logits and not on what the activation leaves of them.

mod row;
#[cfg(test)]
mod tests;

pub use row::Outcome;

use crate::layers::Activation;
use crate::shape::Shape;
use crate::{Error, Result};

/// Keras's `CategoricalCrossentropy`: `−Σ tᵢ ln pᵢ` for a target t that is 1 at the label's place.
///
/// On probabilities other than a softmax's, as in Keras: they are divided by their sum, and clipped to 10⁻⁷ from 0
/// and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CategoricalCrossentropy {
    /// Whether the network ends without softmax, which the loss then applies.
    pub from_logits: bool,
    /// s in [0, 1]: the target is `(1−s)·t + s/n` over n outputs (Szegedy et al. 2016).
    pub label_smoothing: f32,
}

/// Keras's `SparseCategoricalCrossentropy`. Labels are class indices for every loss here: this is
/// [`CategoricalCrossentropy`] by another name, without smoothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SparseCategoricalCrossentropy {
    /// Whether the network ends without softmax, which the loss then applies.
    pub from_logits: bool,
}

/// Keras's `BinaryCrossentropy`: the mean over the outputs of `−t ln p − (1−t) ln(1−p)`.
///
/// On probabilities other than a sigmoid's, as in Keras: they are clipped to 10⁻⁷ from 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BinaryCrossentropy {
    /// Whether the network ends without sigmoid, which the loss then applies.
    pub from_logits: bool,
    /// s in [0, 1]: the target is `(1−s)·t + s/2`.
    pub label_smoothing: f32,
}

/// Keras's `MeanSquaredError`: the mean over the outputs of `(t − y)²`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeanSquaredError {}

/// Any of the losses.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// One class of several.
    CategoricalCrossentropy(CategoricalCrossentropy),
    /// One class of several.
    SparseCategoricalCrossentropy(SparseCategoricalCrossentropy),
    /// Yes or no, for each output.
    BinaryCrossentropy(BinaryCrossentropy),
    /// Numbers.
    MeanSquaredError(MeanSquaredError),
}

macro_rules! from {
    ($($loss:ident)*) => {$(
        impl From<$loss> for Loss {
            fn from(loss: $loss) -> Self {
                Loss::$loss(loss)
            }
        }
    )*};
}

from!(CategoricalCrossentropy SparseCategoricalCrossentropy BinaryCrossentropy MeanSquaredError);

/// What a model can be compiled with: whatever [`Loss`] can be made from. It stands before that conversion so that the
/// compiler says in words what is wrong with another type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a loss",
    label = "a loss is expected here",
    note = "there are `CategoricalCrossentropy`, `SparseCategoricalCrossentropy`, `BinaryCrossentropy` and \
            `MeanSquaredError`, as in `CategoricalCrossentropy::default()`"
)]
pub trait IntoLoss {
    /// The loss.
    fn into_loss(self) -> Loss;
}

#[diagnostic::do_not_recommend]
impl<T: Into<Loss>> IntoLoss for T {
    fn into_loss(self) -> Loss {
        self.into()
    }
}

impl Loss {
    /// Keras's name for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Loss::CategoricalCrossentropy(_) => "CategoricalCrossentropy",
            Loss::SparseCategoricalCrossentropy(_) => "SparseCategoricalCrossentropy",
            Loss::BinaryCrossentropy(_) => "BinaryCrossentropy",
            Loss::MeanSquaredError(_) => "MeanSquaredError",
        }
    }

    pub(crate) const fn takes_logits(&self) -> bool {
        match self {
            Loss::CategoricalCrossentropy(CategoricalCrossentropy { from_logits, .. })
            | Loss::SparseCategoricalCrossentropy(SparseCategoricalCrossentropy { from_logits })
            | Loss::BinaryCrossentropy(BinaryCrossentropy { from_logits, .. }) => *from_logits,
            Loss::MeanSquaredError(_) => false,
        }
    }

    pub(crate) const fn label_smoothing(&self) -> f32 {
        match self {
            Loss::CategoricalCrossentropy(CategoricalCrossentropy { label_smoothing, .. })
            | Loss::BinaryCrossentropy(BinaryCrossentropy { label_smoothing, .. }) => *label_smoothing,
            Loss::SparseCategoricalCrossentropy(_) | Loss::MeanSquaredError(_) => 0.0,
        }
    }

    const fn is_categorical(&self) -> bool {
        matches!(self, Loss::CategoricalCrossentropy(_) | Loss::SparseCategoricalCrossentropy(_))
    }

    /// Whether the loss suits a network with this output and this activation of the last layer.
    ///
    /// # Errors
    /// [`Error::Argument`] with the loss's name: for an output that is a map; a crossentropy over one class; logits
    /// that went through softmax or sigmoid already, or a crossentropy of numbers that are no probabilities;
    /// `label_smoothing` outside [0, 1].
    pub fn check(&self, output: &Shape, activation: Activation) -> Result<()> {
        let refuse = |expected: &str, found: String| {
            Err(Error::Argument { argument: self.name(), expected: expected.to_owned(), found })
        };
        let smoothing = self.label_smoothing();
        if !(0.0..=1.0).contains(&smoothing) {
            return refuse("label_smoothing in [0, 1]", smoothing.to_string());
        }
        if output.is_map() {
            return refuse("a network that ends in a vector (Flatten, Dense)", format!("the output {output}"));
        }
        if self.is_categorical() && output.len() == 1 {
            return refuse(
                "at least two outputs (BinaryCrossentropy takes one output for two classes)",
                "one output".to_owned(),
            );
        }
        let squashes = matches!(activation, Activation::Softmax | Activation::Sigmoid);
        let improper = matches!(activation, Activation::Linear | Activation::Relu | Activation::Tanh);
        let crossentropy = !matches!(self, Loss::MeanSquaredError(_));
        let wanted = if self.is_categorical() { "softmax" } else { "sigmoid" };
        if self.takes_logits() && squashes {
            return refuse(
                "a last layer without activation, as from_logits = true says",
                format!("activation = \"{}\"", activation.name()),
            );
        }
        if crossentropy && !self.takes_logits() && improper {
            return refuse(
                &format!("probabilities: activation = \"{wanted}\" in the last layer, or from_logits = true"),
                format!("activation = \"{}\"", activation.name()),
            );
        }
        Ok(())
    }

    /// Whether every label is one of a network with so many outputs.
    ///
    /// # Errors
    /// [`Error::Data`] with the first label that is not, and its image.
    pub fn check_labels(&self, outputs: usize, labels: impl IntoIterator<Item = u32>) -> Result<()> {
        let classes = match (self, outputs) {
            (Loss::MeanSquaredError(_), 1) => return Ok(()),
            (Loss::BinaryCrossentropy(_), 1) => 2,
            _ => outputs,
        };
        match labels.into_iter().enumerate().find(|(_, label)| *label as usize >= classes) {
            None => Ok(()),
            Some((image, label)) => Err(Error::Data {
                what: "labels".to_owned(),
                expected: format!("0 to {}", classes.saturating_sub(1)),
                found: format!("{label} (image {image})"),
            }),
        }
    }
}

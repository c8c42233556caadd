//! What was measured while training.

use crate::Result;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Loss and accuracy over a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The mean loss of an image.
    pub loss: f32,
    /// The part of the images that is right, from 0 to 1.
    pub accuracy: f32,
}

/// `accuracy 0.9921 loss 0.0243`
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accuracy {:.4} loss {:.4}", self.accuracy, self.loss)
    }
}

/// One epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from one.
    pub number: usize,
    /// Over the training images, each measured before the step that it took part in, as Keras does.
    pub training: Score,
    /// Over the validation images, after the epoch's last step.
    pub validation: Option<Score>,
    /// How long the epoch took, without the validation.
    pub duration: Duration,
}

/// The epochs of a training, in the order of time: Keras's `History`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    numbers: Vec<usize>,
    loss: Vec<f32>,
    accuracy: Vec<f32>,
    val_loss: Vec<f32>,
    val_accuracy: Vec<f32>,
    durations: Vec<Duration>,
}

impl History {
    /// A history with room for so many epochs.
    pub fn with_capacity(epochs: usize) -> Self {
        History {
            numbers: Vec::with_capacity(epochs),
            loss: Vec::with_capacity(epochs),
            accuracy: Vec::with_capacity(epochs),
            val_loss: Vec::with_capacity(epochs),
            val_accuracy: Vec::with_capacity(epochs),
            durations: Vec::with_capacity(epochs),
        }
    }

    /// Appends an epoch. Validation is kept if all epochs so far have it: the columns stay side by side.
    pub fn push(&mut self, epoch: &Epoch) {
        if let Some(validation) = epoch.validation
            && self.val_loss.len() == self.loss.len()
        {
            self.val_loss.push(validation.loss);
            self.val_accuracy.push(validation.accuracy);
        }
        self.numbers.push(epoch.number);
        self.loss.push(epoch.training.loss);
        self.accuracy.push(epoch.training.accuracy);
        self.durations.push(epoch.duration);
    }

    /// How many epochs there are.
    pub fn len(&self) -> usize {
        self.loss.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.loss.is_empty()
    }

    /// The epochs, one by one.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> + '_ {
        (0..self.len()).map(|i| Epoch {
            number: self.numbers[i],
            training: Score { loss: self.loss[i], accuracy: self.accuracy[i] },
            validation: self
                .val_loss
                .get(i)
                .zip(self.val_accuracy.get(i))
                .map(|(&loss, &accuracy)| Score { loss, accuracy }),
            duration: self.durations[i],
        })
    }

    /// The training loss of each epoch.
    pub fn loss(&self) -> &[f32] {
        &self.loss
    }

    /// The training accuracy of each epoch.
    pub fn accuracy(&self) -> &[f32] {
        &self.accuracy
    }

    /// The validation loss of each epoch; empty without validation.
    pub fn val_loss(&self) -> &[f32] {
        &self.val_loss
    }

    /// The validation accuracy of each epoch; empty without validation.
    pub fn val_accuracy(&self) -> &[f32] {
        &self.val_accuracy
    }

    /// How long each epoch took.
    pub fn durations(&self) -> &[Duration] {
        &self.durations
    }

    /// Draws loss (left) and accuracy (right) over the epochs, training as dots and validation as a line, as the book
    /// does; into an SVG or a PNG file, by the extension. The file is replaced once the new picture is complete.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] for another extension, [`crate::Error::Plot`] where there is nothing to draw,
    /// [`crate::Error::Io`] where the file cannot be written.
    pub fn plot(&self, path: impl AsRef<Path>) -> Result<()> {
        super::plot::plot(self, path.as_ref())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An epoch out of thin air.
    pub(in crate::train) fn epoch(number: usize, loss: f32, val_loss: Option<f32>) -> Epoch {
        let score = |loss: f32| Score { loss, accuracy: 1.0 - loss / 2.0 };
        let duration = Duration::from_millis(1200 * number as u64);
        Epoch { number, training: score(loss), validation: val_loss.map(score), duration }
    }

    #[test]
    fn epochs_come_back_as_they_went_in() {
        let epochs = [epoch(1, 0.5, Some(0.6)), epoch(2, 0.25, Some(0.5))];
        let mut history = History::default();
        epochs.iter().for_each(|epoch| history.push(epoch));
        assert!(history.epochs().eq(epochs));
        assert_eq!(history.loss(), [0.5, 0.25]);
        assert_eq!(history.accuracy(), [0.75, 0.875]);
        assert_eq!(history.val_loss(), [0.6, 0.5]);
        assert_eq!(history.val_accuracy(), [0.7, 0.75]);
        assert_eq!(history.durations()[1], Duration::from_millis(2400));
    }

    #[test]
    fn without_validation_its_columns_are_empty() {
        let mut history = History::with_capacity(2);
        history.push(&epoch(1, 0.5, None));
        history.push(&epoch(2, 0.25, Some(0.1)));
        assert!(history.val_loss().is_empty() && history.val_accuracy().is_empty());
        assert!(history.epochs().all(|epoch| epoch.validation.is_none()));
    }

    #[test]
    fn a_score_reads_well() {
        let score = Score { loss: 0.02434, accuracy: 0.99212 };
        assert_eq!(format!("test {score}"), "test accuracy 0.9921 loss 0.0243");
    }
}

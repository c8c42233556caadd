//! What can go wrong when a program runs. Each error names what was expected and what was found.

use std::path::PathBuf;

/// The result of everything in convnet that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
///
/// `Debug` prints the same sentence as `Display`, since that is what a program shows whose `main` returns the error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `open`, `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {field}: expected {expected}, found {found}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The field or part of it at fault.
        field: String,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Data handed over by the program are not what they should be.
    #[error("{what}: expected {expected}, found {found}")]
    Data {
        /// The part of the data at fault.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A setting has a value that makes no sense.
    #[error("{argument}: expected {expected}, found {found}")]
    Argument {
        /// The argument's name.
        argument: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Weights belong to another network.
    #[error("weights of another network: {key}: expected {expected}, found {found}")]
    Weights {
        /// The first weight that differs: `conv2d_1/kernel`.
        key: String,
        /// The shape that the network has there.
        expected: String,
        /// What the file has there.
        found: String,
    },
    /// The loss is no longer a number. The weights are those under which it last was one, and the optimizer's state is
    /// cleared.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; the weights are those under which it last was a number \
         (a smaller learning rate usually helps; or the data hold a value that is none)"
    )]
    LossNotFinite {
        /// NaN or an infinity.
        loss: f32,
        /// Counted from one.
        epoch: usize,
        /// Counted from one.
        step: usize,
    },
    /// A step made weights infinite or NaN. It was taken back, and the optimizer's state is cleared.
    #[error(
        "the weights became infinite or NaN in epoch {epoch}, step {step}; that step was taken back \
         (a smaller learning rate usually helps)"
    )]
    WeightsNotFinite {
        /// Counted from one.
        epoch: usize,
        /// Counted from one.
        step: usize,
    },
    /// A download failed.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// The GPU, its driver or a library of CUDA is not there or refuses something.
    #[error("CUDA: {0}")]
    Cuda(String),
    /// A plot could not be drawn.
    #[error("cannot draw {}: {reason}", path.display())]
    Plot {
        /// The picture's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

//! Ready-made data sets, under the one name that users see: `datasets::mnist()`.

pub use super::drawn::drawn_digits;
pub use super::mnist::{Mnist, Source, find_mnist, mnist, mnist_from};

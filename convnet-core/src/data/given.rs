//! What the values and labels of a data set can be given as, with a sentence for what they cannot.
//!
//! Everything that [`Pixels`] or [`Labels`] can be made from will do. The traits stand before those conversions only
//! so that the compiler says in words what is wrong with another type.

use super::samples::{Labels, Pixels};

/// The values of images or vectors: whatever [`Pixels`] can be made from.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of pixels or features",
    label = "a `Vec`, slice or array of `u8` or `f32` is expected here",
    note = "give all samples one after the other, channels last: bytes, which are scaled by 1/255, or `f32`"
)]
pub trait IntoPixels {
    /// The values.
    fn into_pixels(self) -> Pixels;
}

#[diagnostic::do_not_recommend]
impl<T: Into<Pixels>> IntoPixels for T {
    fn into_pixels(self) -> Pixels {
        self.into()
    }
}

/// The labels of a data set: whatever [`Labels`] can be made from.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of labels",
    label = "a `Vec`, slice or array of whole numbers is expected here",
    note = "a label is the index of a class, counted from 0: `u8`, `u16`, `u32`, `u64`, `usize`, `i32` or `i64`"
)]
pub trait IntoLabels {
    /// The labels.
    fn into_labels(self) -> Labels;
}

#[diagnostic::do_not_recommend]
impl<T: Into<Labels>> IntoLabels for T {
    fn into_labels(self) -> Labels {
        self.into()
    }
}

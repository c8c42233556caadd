//! What stands for the tile unit on processors of other kinds, which have none.

use std::convert::Infallible;

/// Proof of what is not there.
#[derive(Clone, Copy, Debug)]
pub struct Amx(Infallible);

/// Rows of a tile, and floats in a row.
pub const SIDE: usize = 16;

impl Amx {
    /// No proof.
    pub fn detect() -> Option<Self> {
        None
    }

    /// Never called.
    ///
    /// # Safety
    /// None is needed.
    pub unsafe fn row_of_digits(self, _: *const f32, _: usize, _: usize, _: *mut u8, _: usize) -> f32 {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Safety
    /// None is needed.
    pub unsafe fn digits_of_four(self, _: [&[f32; SIDE]; 4], _: &[f32; SIDE], _: *mut u8, _: usize) {
        match self.0 {}
    }

    /// Never called.
    pub fn digit_sums(self) -> DigitSums {
        match self.0 {}
    }
}

/// Never called.
pub fn scale(_: f32) -> (f32, f32) {
    (0.0, 0.0)
}

/// Never made.
pub struct DigitSums(Infallible);

impl DigitSums {
    /// Never called.
    ///
    /// # Safety
    /// None is needed.
    pub unsafe fn multiply(&mut self, _: *const u8, _: usize, _: *const u8, _: usize) {
        match self.0 {}
    }

    /// Never called.
    pub fn store(&self, _: &[f32], _: &[f32], _: usize, _: &mut [f32]) {
        match self.0 {}
    }
}

//! Buffers of floats that begin at a cache line: vector loads that straddle two lines cost 5 to 10 % of a kernel.

use std::ops::{Deref, DerefMut};

/// Floats in a cache line.
pub const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct CacheLine([f32; LINE]);

/// A buffer of floats at a multiple of 64 bytes.
#[derive(Clone, Default)]
pub struct Floats {
    lines: Vec<CacheLine>,
    len: usize,
}

impl Floats {
    /// `len` zeros. The system gives memory where it is first written: what is never used costs nothing.
    pub fn zeros(len: usize) -> Floats {
        let lines = Box::<[CacheLine]>::new_zeroed_slice(len.div_ceil(LINE));
        // SAFETY: the bits of floats may be zero.
        Floats { lines: unsafe { lines.assume_init() }.into_vec(), len }
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the lines are arrays of floats without gaps (repr(C), size 64), and there are at least `len` floats.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

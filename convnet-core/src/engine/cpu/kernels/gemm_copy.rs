//! A block of the right factor, copied to where its rows lie one after the other: see [`super::gemm`].

use super::gemm::BLOCK;
use crate::engine::cpu::simd::{Simd, Vectorized};

/// Columns of B that are copied together: runs that the memory likes, of so few rows that they fit the ways of a
/// second-level cache even where they compete for them. A multiple of all panels.
pub(super) const COPIED: usize = 128;

/// Room for a block of B in one piece.
#[repr(align(64))]
pub(super) struct Room(pub [std::mem::MaybeUninit<f32>; BLOCK]);

/// Copies rows of `vectors` vectors to where they lie one after the other.
pub(super) struct Copy {
    pub from: *const f32,
    pub stride: usize,
    pub rows: usize,
    pub vectors: usize,
    pub to: *mut f32,
}

impl Vectorized for Copy {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Copy { from, stride, rows, vectors, to } = self;
        for row in 0..rows {
            for v in 0..vectors {
                // SAFETY: `check` has seen that B's rows are readable in whole vectors; `to` has room for so many.
                unsafe {
                    let vector = s.load(from.add(row * stride + v * S::LANES));
                    s.store(to.add((row * vectors + v) * S::LANES), vector);
                }
            }
        }
    }
}

//! Turning a matrix: channels last to planes, and back.
//!
//! Whole squares of as many rows and columns as lanes are turned in registers, the last of a row or column overlapping
//! the one before it. A matrix that has no whole square goes through one on the stack, filled by masked loads.

use crate::engine::cpu::simd::{Simd, Vectorized};

/// Edge of the largest square.
const SQUARE: usize = 16;

/// Transposes a matrix of so many rows and columns, whose rows begin at multiples of a step on both sides.
#[inline(always)]
pub(super) fn turn<S: Simd>(
    s: S,
    from: &[f32],
    from_step: usize,
    [rows, columns]: [usize; 2],
    to: &mut [f32],
    to_step: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * from_step + columns <= from.len() && (columns - 1) * to_step + rows <= to.len(), "too short");
    if columns == 1 && from_step == 1 {
        return to[..rows].copy_from_slice(&from[..rows]);
    }
    if rows == 1 && to_step == 1 {
        return to[..columns].copy_from_slice(&from[..columns]);
    }
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    // The last square overlaps the one before it, if there is one.
    let starts = |len: usize| (0..len).step_by(S::LANES).map(move |i| i.min(len.saturating_sub(S::LANES)));
    for row in starts(rows) {
        for column in starts(columns) {
            // SAFETY: the square, or what there is of it, lies within the matrix on both sides, as the assertion says.
            unsafe {
                let (from, to) = (from.add(row * from_step + column), to.add(column * to_step + row));
                if rows >= S::LANES && columns >= S::LANES {
                    s.transpose(from, from_step, to, to_step);
                } else {
                    turn_part(s, from, from_step, [rows.min(S::LANES), columns.min(S::LANES)], to, to_step);
                }
            }
        }
    }
}

/// Transposes a matrix without gaps.
pub(super) struct Turn<'a> {
    pub from: &'a [f32],
    pub columns: usize,
    pub to: &'a mut [f32],
}

impl Vectorized for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Turn { from, columns, to } = self;
        let rows = from.len() / columns.max(1);
        turn(s, from, columns, [rows, columns], to, rows);
    }
}

/// Less than a square.
///
/// # Safety
/// So many rows and columns are readable at `from`, and as many columns and rows writable at `to`.
#[inline(always)]
unsafe fn turn_part<S: Simd>(
    s: S,
    from: *const f32,
    from_step: usize,
    [rows, columns]: [usize; 2],
    to: *mut f32,
    to_step: usize,
) {
    let (mut square, mut turned) = ([0.0; SQUARE * SQUARE], [0.0; SQUARE * SQUARE]);
    // SAFETY: the caller vouches for rows and columns; the squares hold as many vectors as lanes.
    unsafe {
        for row in 0..rows {
            s.store(square.as_mut_ptr().add(row * S::LANES), s.load_first(from.add(row * from_step), columns));
        }
        s.transpose(square.as_ptr(), S::LANES, turned.as_mut_ptr(), S::LANES);
        for column in 0..columns {
            s.store_first(to.add(column * to_step), s.load(turned.as_ptr().add(column * S::LANES)), rows);
        }
    }
}

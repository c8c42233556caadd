//! The products between the transforms on the tile unit, in whole numbers.
//!
//! A row of the left factor is scaled by its largest value, a column of the right one by its, and rounded to whole numbers of
//! 24 bits, which are three digits to base 256, −128 to 127 each. The tile unit multiplies bytes twice as fast as it does
//! bfloat16: six products of digits, summed by their weights in 32 bits without any rounding, are all but the last bits
//! of the product; those left out are less than 2⁻²³ of the largest. So this is about as precise as floats are (of a layer
//! of 128 channels' largest output 2 to 6·10⁻⁶ are off where floats have 1 to 3), and does not depend on any order.
//!
//! One scale for all channels of a row has its limit: where one channel is 10⁵ times as large as the others, and weights as
//! much smaller make up for it, the others lose digits that floats would keep.
//!
//! Tried against that: to divide each row of the right factor by a power of two of its size, by which the left one's column
//! is multiplied. Taken from all columns (where each column's largest is one) it loses nothing; but every panel is filled by
//! itself, and to look at all columns for each takes longer than filling it. Taken from 64 columns it goes wrong where one
//! large weight is not among those: kernels near the identity, 128 channels, lost 6·10⁻⁴ of the largest output. It needs a
//! round of its own before the panels.
//!
//! Why it is as it is. Six byte instructions are 5.3 times as fast as multiply-adds of vectors, and three bytes a value are
//! less than a float's four on the way through the second cache, which bounds what goes through it. GFLOP/s on one thread,
//! forward and for both gradients (of which only the input's has such products), with and without: 64 to 64 channels at
//! 56×56 648 and 588, 496 and 483; 128 to 128 at 28×28 776 and 583, 602 and 503; 256 to 256 at 28×28 1135 and 605, 661 and 522;
//! 512 to 512 at 56×56 976 and 611, 564 and 486. VGG16's base takes 0.7 of the time. Fewer than 64 channels, or a last step that is
//! half empty, are slower than vectors are (`cost::tiles`).
//!
//! Tried: floats in three parts of bfloat16, whose six products are as precise. They are half as fast, and six bytes a value:
//! 10 % faster than vectors at best, and gradients slower.
//!
//! An infinity, as NaN, makes its whole row (column) NaN, through the scale, for the digits do not show it. What is less than
//! 10⁻³⁰ where all beside it is, too, becomes zero; products beyond 10³⁰ may overflow on their way.
//!
//! The left factor lies as (points, steps of 64 columns, digits, rows, 64 bytes), the right one as (panels, points, steps,
//! digits, 2 tiles), its scales behind it in each panel. Byte `4 · j + b` of a row stands for column `16 · b + j` of the step: so
//! four vectors become one by shifts. The products lie where [`super::product`] would put them.

use super::product::{PANEL, Slice, apart};
use crate::engine::cpu::simd::amx::{Amx, SIDE, scale};
use std::ops::Range;

/// Columns of the left factor in a step.
pub(super) const STEP: usize = 64;
/// Digits of a number.
const DIGITS: usize = 3;
/// Bytes of a tile.
const TILE: usize = 1024;
/// Bytes of a step of a panel of the right factor.
const RIGHT: usize = DIGITS * PANEL * TILE;

/// The left factor: `depth` columns, in rows of a point each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub points: usize,
    pub rows: usize,
    pub depth: usize,
}

impl Left {
    fn steps(&self) -> usize {
        self.depth.div_ceil(STEP)
    }

    /// Bytes from digit to digit.
    fn digit(&self) -> usize {
        self.rows * STEP
    }

    /// Bytes from point to point, a line more than they need.
    fn point(&self) -> usize {
        self.steps() * DIGITS * self.digit() + STEP
    }

    /// Floats of memory, the rows' scales among them: a tile may begin in the last row.
    pub fn floats(&self) -> usize {
        (self.points * self.point() + TILE) / 4 + self.points * self.rows
    }

    /// Takes the digits of the points' matrices as they lie for vectors (see [`super::product::Factors`]), of those rows that
    /// `wanted` says.
    pub fn take<'a>(
        self,
        amx: Amx,
        matrices: &[f32],
        wanted: impl Fn(usize) -> Range<usize>,
        memory: &'a mut [f32],
    ) -> Digits<'a> {
        let block = self.rows * SIDE;
        let from_apart = apart(self.rows * self.depth.next_multiple_of(SIDE));
        assert!(matrices.len() >= self.points * from_apart && memory.len() >= self.floats());
        let (digits, scales) = memory.split_at_mut(memory.len() - self.points * self.rows);
        let to = digits.as_mut_ptr().cast::<u8>();
        for point in 0..self.points {
            let Range { start, end } = wanted(point);
            assert!(start <= end && end <= self.rows);
            for row in start..end {
                let from = matrices.as_ptr().wrapping_add(point * from_apart + row * SIDE);
                let to = to.wrapping_add(point * self.point() + row * STEP);
                // SAFETY: the row's vectors and the places of its digits lie within both memories: the lengths were checked.
                scales[point * self.rows + row] =
                    unsafe { amx.row_of_digits(from, self.depth.div_ceil(SIDE), block, to, self.digit()) };
            }
        }
        Digits { amx, left: self, memory }
    }
}

/// The digits of a left factor.
#[derive(Clone, Copy)]
pub(super) struct Digits<'a> {
    amx: Amx,
    left: Left,
    memory: &'a [f32],
}

impl Digits<'_> {
    /// Writes a slice of the products with `right`, of `vectors` vectors of columns: of each point those rows that
    /// `wanted` says.
    pub fn multiply(
        &self,
        right: &[f32],
        vectors: usize,
        slice: &Slice,
        wanted: impl Fn(usize) -> Range<usize>,
        to: &mut [f32],
    ) {
        let Digits { amx, left, memory } = *self;
        let Left { points, rows, depth } = left;
        let (to_apart, panel) = (apart(rows * slice.count * SIDE), panel(points, depth));
        assert!(slice.first.is_multiple_of(PANEL) && slice.first + slice.count <= vectors);
        assert!(memory.len() >= left.floats() && right.len() >= vectors.div_ceil(PANEL) * panel);
        assert!(to.len() >= points * to_apart);
        let (digits, scales) = memory.split_at(memory.len() - points * rows);
        let mut sums = amx.digit_sums();
        for point in 0..points {
            let Range { start, end } = wanted(point);
            assert!(start <= end && end <= rows);
            for vector in (slice.first..slice.first + slice.count).step_by(PANEL) {
                let width = PANEL.min(vectors - vector);
                let panel = &right[vector / PANEL * panel..][..panel];
                let (bytes, columns) = panel.split_at(panel.len() - points * PANEL * SIDE);
                let bytes = bytes.as_ptr().cast::<u8>().wrapping_add(point * left.steps() * RIGHT);
                let columns = &columns[point * PANEL * SIDE..][..PANEL * SIDE];
                for row in (start..end).step_by(SIDE) {
                    let digits = digits.as_ptr().cast::<u8>().wrapping_add(point * left.point() + row * STEP);
                    let at = point * to_apart + ((vector - slice.first) * rows + row * width) * SIDE;
                    let scales = &scales[point * rows + row..][..SIDE.min(end - row)];
                    // SAFETY: the lengths were checked; rows behind the last are other digits, or the memory's end.
                    unsafe {
                        sums.multiply(digits, left.digit(), bytes, left.steps());
                        sums.store(scales, columns, width, &mut to[at..]);
                    }
                }
            }
        }
    }
}

/// Floats of a panel of the right factor, its columns' scales among them.
pub(super) fn panel(points: usize, depth: usize) -> usize {
    points * (depth.div_ceil(STEP) * RIGHT / 4 + PANEL * SIDE)
}

/// A panel of the right factor that is being filled.
pub(super) struct Panel<'a> {
    digits: &'a mut [f32],
    scales: &'a mut [f32],
    steps: usize,
}

/// Points of the largest tile.
const POINTS: usize = 36;

/// One vector of columns at each point.
#[repr(align(64))]
#[derive(Clone, Copy)]
pub(super) struct PointVectors(pub [[f32; SIDE]; POINTS]);

impl Default for PointVectors {
    fn default() -> Self {
        PointVectors([[0.0; SIDE]; POINTS])
    }
}

impl PointVectors {
    /// Takes the sizes of those values of another's that are larger; of NaN, too.
    #[inline(always)]
    pub fn enlarge(&mut self, other: &PointVectors, points: usize) {
        for (largest, value) in self.0[..points].as_flattened_mut().iter_mut().zip(other.0.as_flattened()) {
            // Without their signs the bits of floats are in the order of their sizes, NaN beyond all.
            *largest = f32::from_bits(largest.to_bits().max(value.abs().to_bits()));
        }
    }
}

impl<'a> Panel<'a> {
    /// A panel without any values, in memory of [`panel`] floats.
    pub fn new(points: usize, depth: usize, memory: &'a mut [f32]) -> Self {
        let len = panel(points, depth);
        let (digits, scales) = memory[..len].split_at_mut(len - points * PANEL * SIDE);
        digits.fill(0.0);
        Panel { digits, scales, steps: depth.div_ceil(STEP) }
    }

    /// Sets the scales of a vector of columns, by the largest values; gives what to multiply values by.
    pub fn scale(&mut self, vector: usize, largest: &PointVectors, points: usize) -> PointVectors {
        let mut factors = PointVectors::default();
        for point in 0..points {
            let scales = &mut self.scales[(point * PANEL + vector) * SIDE..][..SIDE];
            let both = scales.iter_mut().zip(&mut factors.0[point]);
            for (largest, (worth, factor)) in largest.0[point].iter().zip(both) {
                (*worth, *factor) = scale(*largest);
            }
        }
        factors
    }

    /// Puts the values of four rows, 16 apart from `row` on, of a vector of columns.
    pub fn put(
        &mut self,
        amx: Amx,
        (row, vector): (usize, usize),
        rows: &[PointVectors; 4],
        factors: &PointVectors,
        points: usize,
    ) {
        assert!(row % STEP < SIDE && row / STEP < self.steps && vector < PANEL);
        assert!(self.digits.len() * 4 >= points * self.steps * RIGHT);
        for point in 0..points {
            let at = (point * self.steps + row / STEP) * RIGHT + vector * TILE + row % STEP * 4 * SIDE;
            let to = self.digits.as_mut_ptr().cast::<u8>().wrapping_add(at);
            let values = rows.each_ref().map(|row| &row.0[point]);
            // SAFETY: a row of a tile for each digit, within the panel.
            unsafe { amx.digits_of_four(values, &factors.0[point], to, PANEL * TILE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Points of these products.
    const AT: usize = 2;

    /// The products of rows and columns of all sizes at each point, `depth` values each, by digits.
    fn products(amx: Amx, rows: &[Vec<f32>], columns: &[Vec<f32>], first: usize) -> Vec<f32> {
        let (depth, vectors) = (rows[0].len(), columns.len().div_ceil(SIDE));
        let left = Left { points: AT, rows: rows.len(), depth };
        let from_apart = apart(rows.len() * depth.next_multiple_of(SIDE));
        let mut matrices = vec![0.0; AT * from_apart];
        for (row, values) in rows.iter().enumerate() {
            for (k, value) in values.iter().enumerate() {
                for point in 0..AT {
                    matrices[point * from_apart + k / SIDE * rows.len() * SIDE + row * SIDE + k % SIDE] = *value;
                }
            }
        }
        let len = panel(AT, depth);
        let mut right = vec![f32::NAN; vectors.div_ceil(PANEL) * len];
        for vector in 0..vectors {
            let of_row = |k: usize| {
                let values = |j: usize| {
                    columns.get(vector * SIDE + j).filter(|_| k < depth).map_or(0.0, |column: &Vec<f32>| column[k])
                };
                PointVectors([std::array::from_fn(values); POINTS])
            };
            let memory = &mut right[vector / PANEL * len..];
            // A panel is begun once, for both of its vectors.
            let mut panel = match vector % PANEL {
                0 => Panel::new(AT, depth, memory),
                _ => {
                    let (digits, scales) = memory[..len].split_at_mut(len - AT * PANEL * SIDE);
                    Panel { digits, scales, steps: depth.div_ceil(STEP) }
                }
            };
            let mut largest = PointVectors::default();
            (0..depth).for_each(|k| largest.enlarge(&of_row(k), AT));
            let factors = panel.scale(vector % PANEL, &largest, AT);
            for row in (0..depth).filter(|row| row % STEP < SIDE) {
                let four = std::array::from_fn(|i| of_row(row + i * SIDE));
                panel.put(amx, (row, vector % PANEL), &four, &factors, AT);
            }
        }
        let mut memory = vec![f32::NAN; left.floats()];
        let digits = left.take(amx, &matrices, |_| first..rows.len(), &mut memory);
        let slice = Slice { first: 0, count: vectors };
        let to_apart = apart(rows.len() * vectors * SIDE);
        let mut to = vec![f32::NAN; AT * to_apart];
        digits.multiply(&right, vectors, &slice, |_| first..rows.len(), &mut to);
        let at = |row: usize, column: usize| {
            let (vector, panel) = (column / SIDE, column / SIDE / PANEL * PANEL);
            let width = PANEL.min(vectors - panel);
            let place = (panel * rows.len() + row * width + vector % PANEL) * SIDE + column % SIDE;
            assert_eq!(to[place].to_bits(), to[to_apart + place].to_bits(), "the points are alike");
            to[place]
        };
        (first..rows.len())
            .flat_map(|row| (0..columns.len()).map(move |column| (row, column)))
            .map(|(r, c)| at(r, c))
            .collect()
    }

    fn values(random: &mut StdRng, count: usize, depth: usize) -> Vec<Vec<f32>> {
        let size = [1.0, 1e-12, 3e15, 1e-3, 0.0];
        (0..count).map(|i| (0..depth).map(|_| size[i % 5] * random.random_range(-1.0f32..1.0)).collect()).collect()
    }

    #[test]
    fn products_of_digits_are_as_good_as_those_of_floats() {
        let Some(amx) = Amx::detect() else { return eprintln!("no tile unit here") };
        let mut random = StdRng::seed_from_u64(3);
        for (rows, columns, depth, first) in
            [(1, 16, 64, 0), (20, 40, 70, 2), (37, 64, 200, 0), (5, 7, 16, 4), (16, 33, 512, 0)]
        {
            let (left, right) = (values(&mut random, rows, depth), values(&mut random, columns, depth));
            let found = products(amx, &left, &right, first);
            let largest = |values: &[f32]| values.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
            let pairs = left[first..].iter().flat_map(|row| right.iter().map(move |column| (row, column)));
            for (found, (row, column)) in found.iter().zip(pairs) {
                let exact: f64 = row.iter().zip(column).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                // Three roundings, of either sign, of some parts in 2²⁴ of the largest product.
                let bound = 3.0 * (depth as f64).sqrt() * f64::powi(2.0, -23) * largest(row) * largest(column);
                let off = (f64::from(*found) - exact).abs();
                assert!(off <= bound, "{depth}: {found}, {exact}, {off:e} of {bound:e}");
            }
        }
    }

    #[test]
    fn what_is_no_number_shows() {
        let Some(amx) = Amx::detect() else { return eprintln!("no tile unit here") };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut left = vec![vec![1.0; 70]; 3];
            left[1][66] = bad;
            let found = products(amx, &left, &vec![vec![0.5; 70]; 4], 0);
            assert!(found[..4].iter().chain(&found[8..]).all(|x| (x - 35.0).abs() < 1e-4), "{found:?}");
            assert!(found[4..8].iter().all(|x| x.is_nan()), "{found:?}");
            let found = products(amx, &vec![vec![0.5; 70]; 4], &left, 0);
            for row in found.chunks(3) {
                assert!((row[0] - 35.0).abs() < 1e-4 && row[1].is_nan() && (row[2] - 35.0).abs() < 1e-4, "{found:?}");
            }
        }
    }
}

//! Weights, transformed for the products: the forward pass's, and transposed the backward pass's.

use super::digits::{self, PointVectors};
use super::product::{PANEL, apart};
use super::transform::{F, Strided, Tile, square};
use super::{Winograd, padded, vectors};
use crate::engine::cpu::kernels::gemm::Widths;
use crate::engine::cpu::simd::amx::{Amx, SIDE};
use crate::engine::cpu::simd::{Level, Simd, Vectorized};
use std::ops::Range;

/// Floats of the transformed weights, `depth` rows by `columns` columns a point.
pub(super) fn derived(winograd: &Winograd, depth: usize, columns: usize) -> usize {
    let points = winograd.points();
    if winograd.amx.is_some() {
        return columns.div_ceil(PANEL * SIDE) * digits::panel(points, depth);
    }
    // A line more a point and panel, see `apart`; a panel has at least 16 columns.
    points * (depth + 1) * padded(columns)
}

/// How many of them each panel has, the last one perhaps more than it needs.
pub(super) fn panels(
    winograd: &Winograd,
    depth: usize,
    columns: usize,
    level: Level,
) -> impl ExactSizeIterator<Item = usize> + use<> {
    let (points, width) = (winograd.points(), PANEL * Widths::of(level).lanes);
    let panel = match winograd.amx {
        Some(_) => digits::panel(points, depth),
        None => points * apart(depth * width),
    };
    let (count, all) = (columns.div_ceil(width), derived(winograd, depth, columns));
    (0..count).map(move |i| if i + 1 == count { all - i * panel } else { panel })
}

/// Transforms weights (3, 3, channels, filters) to a panel of (panels, points, channels, filters of the panel).
///
/// Why it is as it is. What this writes is several times as large as the weights, and does not fit into the cache that
/// keeps it for the next step: the processor waits for lines to write to. So the vectors of a panel go together, whose lines
/// are neighbours.
pub(super) struct Prepare<'a> {
    pub winograd: &'a Winograd,
    pub weights: &'a [f32],
    pub derived: &'a mut [f32],
    /// The panel's number.
    pub panel: usize,
}

/// The same of the transposed weights: to a panel of (panels, points, filters, channels of the panel).
pub(super) struct PrepareBack<'a>(pub Prepare<'a>);

impl Vectorized for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.winograd.m {
            2 => self.straight::<S, 2, 4>(s),
            3 => self.straight::<S, 3, 5>(s),
            _ => self.straight::<S, 4, 6>(s),
        }
    }
}

impl Vectorized for PrepareBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.0.winograd.m {
            2 => self.0.transposed::<S, 2, 4>(s),
            3 => self.0.transposed::<S, 3, 5>(s),
            _ => self.0.transposed::<S, 4, 6>(s),
        }
    }
}

/// A panel of a matrix a point.
struct Panel {
    vectors: Range<usize>,
    /// Floats of a row.
    row: usize,
    /// From point to point.
    apart: usize,
}

impl Panel {
    /// Of matrices of `depth` rows and `columns` columns.
    #[inline(always)]
    fn of<S: Simd>(number: usize, depth: usize, columns: usize) -> Panel {
        let vectors = number * PANEL..vectors::<S>(columns).min((number + 1) * PANEL);
        let row = vectors.len() * S::LANES;
        Panel { vectors, row, apart: apart(depth * row) }
    }
}

impl Prepare<'_> {
    #[inline(always)]
    fn straight<S: Simd, const M: usize, const N: usize>(self, s: S)
    where
        F: Tile<M, N>,
    {
        let (rows, columns) = (self.winograd.block.channels, self.winograd.block.filters);
        if let Some(amx) = self.winograd.amx {
            let values = Straight { weights: self.weights, channels: rows, filters: columns };
            let Prepare { panel, derived, .. } = self;
            return InDigits::<M, N, _> { amx, values, size: [rows, columns], panel, derived }.fill(s);
        }
        let panel = Panel::of::<S>(self.panel, rows, columns);
        assert!(self.weights.len() >= 9 * rows * columns && self.derived.len() >= N * N * panel.apart);
        for row in 0..rows {
            for (i, vector) in panel.vectors.clone().enumerate() {
                let column = vector * S::LANES;
                // SAFETY: the lengths were checked; a vector of columns of one row and tap, or point.
                unsafe {
                    let from = self.weights.as_ptr().add(row * columns + column);
                    let to = self.derived.as_mut_ptr().add(row * panel.row + i * S::LANES);
                    if column + S::LANES <= columns {
                        taps::<S, M, N, true>(s, from, rows * columns, S::LANES, to, panel.apart);
                    } else {
                        taps::<S, M, N, false>(s, from, rows * columns, columns - column, to, panel.apart);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn transposed<S: Simd, const M: usize, const N: usize>(self, s: S)
    where
        F: Tile<M, N>,
    {
        let (channels, filters) = (self.winograd.block.channels, self.winograd.block.filters);
        if let Some(amx) = self.winograd.amx {
            let Prepare { weights, panel, derived, .. } = self;
            let (squares, of) = ([[[0.0; 256]; 9]; 4], [[usize::MAX; 2]; 4]);
            let values = Turned { weights, channels, filters, squares, of };
            return InDigits::<M, N, _> { amx, values, size: [filters, channels], panel, derived }.fill(s);
        }
        let panel = Panel::of::<S>(self.panel, filters, channels);
        assert!(self.weights.len() >= 9 * channels * filters && self.derived.len() >= N * N * panel.apart);
        let mut squares = [[[0.0; 256]; 9]; PANEL];
        for filter in (0..filters).step_by(S::LANES) {
            let rows = S::LANES.min(filters - filter);
            for (squares, vector) in squares.iter_mut().zip(panel.vectors.clone()) {
                let channel = vector * S::LANES;
                for (tap, square) in squares.iter_mut().enumerate() {
                    let from = &self.weights[(tap * channels + channel) * filters + filter..];
                    transpose(s, from, filters, S::LANES.min(channels - channel), rows, square);
                }
            }
            for f in 0..rows {
                for (i, squares) in squares[..panel.vectors.len()].iter().enumerate() {
                    // SAFETY: a vector of channels of one filter and tap, or point; the lengths were checked.
                    unsafe {
                        let from = squares.as_ptr().cast::<f32>().add(f * S::LANES);
                        let to = self.derived.as_mut_ptr().add((filter + f) * panel.row + i * S::LANES);
                        taps::<S, M, N, true>(s, from, 256, S::LANES, to, panel.apart);
                    }
                }
            }
        }
    }
}

/// Digits of transformed weights, for the tile unit (see [`digits`]): every value is made twice, for the largest ones first.
struct InDigits<'a, const M: usize, const N: usize, V> {
    amx: Amx,
    values: V,
    /// Rows and columns of a point's matrix.
    size: [usize; 2],
    panel: usize,
    derived: &'a mut [f32],
}

/// Tells the points of a vector of columns of a row.
trait Values<const M: usize, const N: usize> {
    fn get<S: Simd>(&mut self, s: S, row: usize, column: usize, to: &mut PointVectors);
}

impl<const M: usize, const N: usize, V: Values<M, N>> InDigits<'_, M, N, V> {
    #[inline(always)]
    fn fill<S: Simd>(self, s: S) {
        let InDigits { amx, mut values, size: [rows, columns], panel, derived } = self;
        assert!(S::LANES == SIDE);
        let mut to = digits::Panel::new(N * N, rows, derived);
        for vector in (0..PANEL).take_while(|vector| (panel * PANEL + vector) * SIDE < columns) {
            let column = (panel * PANEL + vector) * SIDE;
            let (mut largest, mut one) = (PointVectors::default(), PointVectors::default());
            for row in 0..rows {
                values.get(s, row, column, &mut one);
                largest.enlarge(&one, N * N);
            }
            let factors = to.scale(vector, &largest, N * N);
            for row in (0..rows).filter(|row| row % digits::STEP < SIDE) {
                let mut four = [PointVectors::default(); 4];
                for (i, one) in four.iter_mut().enumerate().take_while(|(i, _)| row + i * SIDE < rows) {
                    values.get(s, row + i * SIDE, column, one);
                }
                to.put(amx, (row, vector), &four, &factors, N * N);
            }
        }
    }
}

/// The weights as they lie: a row a channel, a column a filter.
struct Straight<'a> {
    weights: &'a [f32],
    channels: usize,
    filters: usize,
}

impl<const M: usize, const N: usize> Values<M, N> for Straight<'_>
where
    F: Tile<M, N>,
{
    #[inline(always)]
    fn get<S: Simd>(&mut self, s: S, row: usize, column: usize, to: &mut PointVectors) {
        let Straight { weights, channels, filters } = *self;
        assert!(weights.len() >= 9 * channels * filters && row < channels && column < filters);
        let count = SIDE.min(filters - column);
        // SAFETY: the length was checked; a vector of columns of one row and tap, `count` of which are there.
        unsafe {
            let from = weights.as_ptr().add(row * filters + column);
            taps::<S, M, N, false>(s, from, channels * filters, count, to.0.as_mut_ptr().cast(), SIDE);
        }
    }
}

/// The same transposed: a row a filter, a column a channel.
struct Turned<'a> {
    weights: &'a [f32],
    channels: usize,
    filters: usize,
    /// Squares of 16 filters by 16 channels a tap, of the four that make a step, and from which filter and channel on.
    squares: [[[f32; 256]; 9]; 4],
    of: [[usize; 2]; 4],
}

impl<const M: usize, const N: usize> Values<M, N> for Turned<'_>
where
    F: Tile<M, N>,
{
    #[inline(always)]
    fn get<S: Simd>(&mut self, s: S, row: usize, column: usize, to: &mut PointVectors) {
        let Turned { weights, channels, filters, ref mut squares, ref mut of } = *self;
        let (filter, place) = (row / SIDE * SIDE, row / SIDE % 4);
        if of[place] != [filter, column] {
            of[place] = [filter, column];
            for (tap, square) in squares[place].iter_mut().enumerate() {
                let from = &weights[(tap * channels + column) * filters + filter..];
                transpose(s, from, filters, SIDE.min(channels - column), SIDE.min(filters - filter), square);
            }
        }
        // SAFETY: a vector of channels of one filter and tap, or point.
        unsafe {
            let from = squares[place].as_ptr().cast::<f32>().add(row % SIDE * SIDE);
            taps::<S, M, N, true>(s, from, 256, SIDE, to.0.as_mut_ptr().cast(), SIDE);
        }
    }
}

/// `rows` × `columns` values, at most as many as lanes, transposed to a square with zeros beyond them.
#[inline(always)]
fn transpose<S: Simd>(s: S, from: &[f32], stride: usize, rows: usize, columns: usize, to: &mut [f32; 256]) {
    assert!(S::LANES <= 16 && from.len() >= (rows - 1) * stride + columns);
    if rows == S::LANES && columns == S::LANES {
        // SAFETY: the length was checked; the square holds 16 × 16.
        return unsafe { s.transpose(from.as_ptr(), stride, to.as_mut_ptr(), S::LANES) };
    }
    let mut square = [0.0; 256];
    for row in 0..rows {
        square[row * S::LANES..][..columns].copy_from_slice(&from[row * stride..][..columns]);
    }
    // SAFETY: both squares hold 16 × 16.
    unsafe { s.transpose(square.as_ptr(), S::LANES, to.as_mut_ptr(), S::LANES) };
}

/// One vector of 3×3 taps, `from_stride` apart, to N×N points.
///
/// # Safety
/// `count` lanes (all if `FULL`) are readable at each tap, a vector is writable at each point.
#[inline(always)]
unsafe fn taps<S: Simd, const M: usize, const N: usize, const FULL: bool>(
    s: S,
    from: *const f32,
    from_stride: usize,
    count: usize,
    to: *mut f32,
    to_stride: usize,
) where
    F: Tile<M, N>,
{
    // SAFETY: the caller vouches for taps and points.
    unsafe {
        let from = Strided::<_, FULL>::new(from, 3 * from_stride, from_stride, count);
        let mut to = Strided::<_, true>::new(to, N * to_stride, to_stride, S::LANES);
        square::<S, <F as Tile<M, N>>::Taps, 3, N>(s, &from, &mut to);
    }
}

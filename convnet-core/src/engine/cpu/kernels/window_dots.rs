//! Convolutions to few filters, and gradients of inputs of few channels, as scalar products of windows with filters.
//!
//! Channels last, a row of a window lies in one piece, so its products with a filter fill vectors however few filters
//! there are: a tile has a sum for each of as many outputs as a vector has lanes, and those sums are added across in the
//! end, all of them at a time ([`totals`](crate::engine::cpu::select::Select::totals)). The gradient of the input is the
//! same over the gradient of the output within zeros, with the kernel turned by 180°.
//!
//! Found on a Zen 4 core (AVX-512, 8 images of 28×28, µs, both ways measured by turns):
//!
//! ```text
//!                                              before   now
//! 3×3, 32 channels to 1 filter, forward            90    65
//! 3×3, 32 to 2, forward                           121    83
//! 3×3, 32 to 4, forward                           187   143
//! 1×1, 64 to 1, forward                           120    23   70 GB/s
//! 3×3, 3 to 32, both gradients                    308   243
//! 3×3, 1 to 8, both gradients                     112    46   with `single_channel`
//! 1×1, 3 to 32, both gradients                    110    65   27 GB/s
//! ```
//!
//! With the places of 16 positions at a time instead of twice 8 the first took as long as before: general registers do
//! not hold so many.
//!
//! Beside vectors of filters and [`super::planar`], the ways of [`super::conv2d`] that keep the kernel's order of sums,
//! nothing is turned to planes, no lane is empty but those behind the end of a window's row, and no load straddles cache
//! lines where channels fill them. Adding across costs about as much as three vectors a sum, which [`pays`] weighs.

use super::activate::{read, write};
use super::gemm::Widths;
use super::window::{Border, Taps};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::conv2d::Spec;
use crate::shape::Shape;

/// The most outputs of a position.
const MOST: usize = 4;
/// Sums of a tile: the lanes of the longest vector.
const SUMS: usize = 16;

/// Whether outputs of a position are made faster this way than by the others that there are, where a window has so many
/// rows of so many floats, and so many floats of the source are turned to planes for each position.
fn pays(lanes: usize, [rows, len]: [usize; 2], outputs: usize, turned: usize) -> bool {
    // In halves of a cycle: two multiply-adds a cycle; half a cycle a value to turn it; to add a sum across three cycles.
    let own = outputs * (rows * len.div_ceil(lanes) + 6);
    let planes = 6 * rows * len * outputs / (5 * lanes) + turned;
    let vectors = rows * len * outputs.div_ceil(lanes);
    outputs <= MOST && own < planes.min(vectors)
}

/// A convolution to few filters, or the gradient of the input of one of few channels, of a fixed shape.
pub(super) struct WindowDots {
    level: Level,
    /// Floats in a vector.
    lanes: usize,
    /// At each position.
    outputs: usize,
    /// Floats of an image before and behind.
    sizes: [usize; 2],
    /// The source within zeros.
    source: Border,
    /// Where the rows of a window start, and how long they are.
    runs: Box<[usize]>,
    len: usize,
    /// Height and width of what is computed, and how far its windows are apart.
    positions: [usize; 2],
    steps: [usize; 2],
    /// Which value of the kernel meets which float of a window, for the first output, and how far the next one's is.
    values: Box<[usize]>,
    next: usize,
}

impl WindowDots {
    /// The filters of a convolution, if this is the way to compute them.
    pub fn outputs(spec: &Spec, input: Shape, output: Shape, level: Level) -> Option<Self> {
        let (channels, strides) = (input.channels(), spec.vertical.stride * spec.horizontal.stride);
        let source = Border::of_input(spec, input, output);
        let taps = Taps::new(spec, source.row(), channels);
        let steps = [spec.vertical.stride * source.row(), spec.horizontal.stride * channels];
        let values = (0..taps.runs * taps.len).map(|k| k * spec.filters).collect();
        let dots = WindowDots {
            level,
            lanes: Widths::of(level).lanes,
            outputs: spec.filters,
            sizes: [input.len(), output.len()],
            source,
            runs: (0..taps.runs).map(|run| taps.offsets.at(run)).collect(),
            len: taps.len,
            positions: [output.height(), output.width()],
            steps,
            values,
            next: 1,
        };
        dots.if_it_pays(channels * strides)
    }

    /// The gradient of a convolution's input, if this is the way to compute it.
    pub fn inputs(spec: &Spec, input: Shape, output: Shape, level: Level) -> Option<Self> {
        if spec.vertical.stride * spec.horizontal.stride > 1 {
            return None;
        }
        let (channels, filters) = (input.channels(), spec.filters);
        let source = Border::of_gradient(spec, input, output);
        let taps = Taps::new(spec, source.row(), filters);
        let all = spec.vertical.window * spec.horizontal.window;
        let values = (0..all).rev().flat_map(|tap| (0..filters).map(move |f| tap * channels * filters + f)).collect();
        let dots = WindowDots {
            level,
            lanes: Widths::of(level).lanes,
            outputs: channels,
            sizes: [output.len(), input.len()],
            steps: [source.row(), filters],
            source,
            runs: (0..taps.runs).map(|run| taps.offsets.at(run)).collect(),
            len: taps.len,
            positions: [input.height(), input.width()],
            values,
            next: filters,
        };
        dots.if_it_pays(filters)
    }

    fn if_it_pays(self, turned: usize) -> Option<Self> {
        let window = [self.runs.len(), self.len];
        let pays = pays(self.lanes, window, self.outputs, turned + self.outputs) && self.level > Level::Portable;
        pays.then_some(self)
    }

    /// Whether windows are single positions side by side, so that images go through as if they were one row.
    fn single(&self) -> bool {
        let ([_, width], [down, right]) = (self.positions, self.steps);
        !self.source.copies() && self.runs.len() == 1 && self.len == right && down == width * right
    }

    /// Vectors in a row of a window.
    fn vectors(&self) -> usize {
        self.len.div_ceil(self.lanes)
    }

    /// Floats derived from the kernel.
    pub fn derived(&self) -> usize {
        self.runs.len() * self.vectors() * self.outputs * self.lanes
    }

    /// Floats of scratch.
    pub fn scratch(&self) -> usize {
        self.source.scratch(1)
    }

    /// Lays the kernel out: for each vector of a window those of the outputs one after the other, zeros behind its row.
    pub fn prepare(&self, kernel: &[f32], derived: &mut [f32]) {
        let mut vectors = derived[..self.derived()].chunks_exact_mut(self.lanes);
        for row in self.values.chunks_exact(self.len) {
            for values in row.chunks(self.lanes) {
                for (output, vector) in (0..self.outputs).zip(&mut vectors) {
                    vector.fill(0.0);
                    for (to, value) in vector.iter_mut().zip(values) {
                        *to = kernel[value + output * self.next];
                    }
                }
            }
        }
    }

    /// Overwrites the targets of some images. `derived` is what [`WindowDots::prepare`] laid out; sums start from the
    /// bias, if there is one.
    pub fn compute(
        &self,
        derived: &[f32],
        (bias, relu): (Option<&[f32]>, bool),
        sources: &[f32],
        targets: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (kernel, positions) = (&derived[..self.derived()], self.positions);
        if self.single() {
            let positions = [1, targets.len() / self.outputs];
            let products = Products { of: self, source: sources, kernel, bias, relu, positions, target: targets };
            return vectorize(self.level, products);
        }
        for (image, target) in sources.chunks_exact(self.sizes[0]).zip(targets.chunks_exact_mut(self.sizes[1])) {
            let (source, _) = self.source.bordered(image, scratch);
            vectorize(self.level, Products { of: self, source, kernel, bias, relu, positions, target });
        }
    }
}

/// The outputs of an image, or of several ([`WindowDots::single`]).
struct Products<'a> {
    of: &'a WindowDots,
    source: &'a [f32],
    kernel: &'a [f32],
    bias: Option<&'a [f32]>,
    relu: bool,
    positions: [usize; 2],
    target: &'a mut [f32],
}

impl Vectorized for Products<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(S::LANES == self.of.lanes && self.kernel.len() == self.of.derived(), "vectors as they were laid out");
        let ([height, width], [down, right], runs) = (self.positions, self.of.steps, &self.of.runs);
        let last = (height - 1) * down + (width - 1) * right + runs[runs.len() - 1];
        assert!(self.source.len() >= last + self.of.len, "windows within the source");
        // Positions times outputs of a tile fill a vector, if that is possible.
        match (self.of.outputs, S::LANES) {
            (1, 16) => self.tiles::<S, 2, 8, 1>(s),
            (2, 16) => self.tiles::<S, 1, 8, 2>(s),
            (3, 16) => self.tiles::<S, 1, 5, 3>(s),
            (4, 16) => self.tiles::<S, 1, 4, 4>(s),
            (1, 8) => self.tiles::<S, 1, 8, 1>(s),
            (2, 8) => self.tiles::<S, 1, 4, 2>(s),
            (3, 8) => self.tiles::<S, 1, 2, 3>(s),
            (4, 8) => self.tiles::<S, 1, 2, 4>(s),
            _ => unreachable!("as many outputs as MOST, and vectors of a level that has them"),
        }
    }
}

impl Products<'_> {
    /// All outputs, `N` at each position, in tiles of `TIMES` times `P` positions: as many as general registers hold the
    /// places of go through at a time.
    #[inline(always)]
    fn tiles<S: Simd, const TIMES: usize, const P: usize, const N: usize>(mut self, s: S) {
        let target = std::mem::take(&mut self.target);
        let ([height, width], [down, right]) = (self.positions, self.of.steps);
        let mut first = [0.0; SUMS];
        if let Some(bias) = self.bias {
            first.iter_mut().zip(bias.iter().cycle()).for_each(|(first, bias)| *first = *bias);
        }
        let first = read(s, &first[..S::LANES]);
        let (mut row, mut column) = (0, 0);
        for target in target.chunks_mut(TIMES * P * N) {
            let mut sums = [s.splat(0.0); SUMS];
            for time in 0..TIMES {
                // Behind the last position the tile looks at it again.
                let mut at = [0; P];
                for at in &mut at {
                    *at = row * down + column * right;
                    if column + 1 < width {
                        column += 1;
                    } else if row + 1 < height {
                        (row, column) = (row + 1, 0);
                    }
                }
                // SAFETY: windows at all positions lie within the source, as `run` has seen.
                let products = unsafe { self.tile::<S, P, N>(s, at) };
                for (p, products) in products.into_iter().enumerate() {
                    for (n, product) in products.into_iter().enumerate() {
                        sums[(time * P + p) * N + n] = product;
                    }
                }
            }
            // SAFETY: there are as many vectors as any level has lanes.
            let sums = s.add(unsafe { s.totals(sums.as_ptr()) }, first);
            // Zero first: `max` gives its second argument where either is NaN, and a NaN shall stay one.
            write(s, target, if self.relu { s.max(s.splat(0.0), sums) } else { sums });
        }
    }

    /// The products of the windows that start at `at` with the `N` filters, yet to be added across.
    ///
    /// # Safety
    /// The windows lie within the source; the kernel is laid out for vectors of `S` and `N` outputs.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const N: usize>(&self, s: S, at: [usize; P]) -> [[S::V; N]; P] {
        let (len, mut kernel) = (self.of.len, self.kernel.as_ptr());
        let mut sums = [[s.splat(0.0); N]; P];
        for run in &self.of.runs {
            let source = self.source.as_ptr().wrapping_add(*run);
            for k in (0..len).step_by(S::LANES) {
                let (from, count) = (source.wrapping_add(k), S::LANES.min(len - k));
                // SAFETY: as the caller says.
                unsafe {
                    let mut weights = [s.splat(0.0); N];
                    for weights in &mut weights {
                        *weights = s.load(kernel);
                        kernel = kernel.add(S::LANES);
                    }
                    if count == S::LANES {
                        for (sums, at) in sums.iter_mut().zip(at) {
                            let values = s.load(from.wrapping_add(at));
                            for (sum, weights) in sums.iter_mut().zip(weights) {
                                *sum = s.mul_add(values, weights, *sum);
                            }
                        }
                    } else {
                        for (sums, at) in sums.iter_mut().zip(at) {
                            let values = s.load_first(from.wrapping_add(at), count);
                            for (sum, weights) in sums.iter_mut().zip(weights) {
                                *sum = s.mul_add(values, weights, *sum);
                            }
                        }
                    }
                }
            }
        }
        sums
    }
}

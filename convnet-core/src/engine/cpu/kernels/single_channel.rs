//! Convolutions of a map of one channel with few filters, such as the first layer of LeNet-5.
//!
//! Channels last, what neighbouring positions have of few filters fills vectors without a gap: with 6 filters three vectors
//! of 16 hold eight positions. Lane by lane the filters then repeat in a pattern of a few vectors, and the kernel is laid
//! out in that pattern, each tap a vector for each vector of the pattern. What the lanes see of the map is a shuffle of
//! what lies there side by side. So forward pass and kernel's gradient fill all lanes and write, or read, outputs as they
//! lie, where [`super::conv2d`] has most lanes of a vector of filters empty, or turns planes back ([`super::planar`]).
//!
//! A tile of the forward pass is one vector at eight rows of outputs (four with 16 registers): a tap is one load of its
//! weights, and at each row a shuffle and a multiply-add; one load of the map serves as many neighbouring taps as see no
//! more than a vector of it. The kernel's gradient has the taps of up to four such looks, each at another row of the map, in
//! registers while the rows of a band pass by. Its lanes are added in the end of a call: a sum that `exact` does not allow. In the last vector of a row of outputs, lanes
//! behind its end add what they see of the map, times zero: an infinity or a NaN in the last columns of the map may so
//! reach the gradient of taps that never see these columns.
//!
//! Found on a Zen 4 core (AVX-512, 8 images of 28×28, µs; before: planes, vectors of filters):
//!
//! ```text
//!                  forward          backward, no gradient of the input
//! 5×5, 6 filters   26, before 55    31
//! 3×3, 15 filters  28, before 27    40, before 74
//! 3×3, 8 filters   15, before 26    20
//! 3×3, 5 filters   10, before 16    14, before 23
//! 3×3, 1 filter     5, before 7      5
//! ```
//!
//! Each vector of the pattern looks from its own first position on: from the pattern's first one, odd numbers of filters
//! would need a load of the map for each tap (the 16 before 10 µs), and 15 of them lost to vectors of filters. The gradient
//! took 40 µs for 5×5 with a look at a time and a division at each vector, 46 for 15 filters row by row: there is often but
//! one vector of a place in the pattern in a row, and many in a column.
//!
//! LeNet-5's training step (batch 64) takes 0.87 of the time. A load at each tap instead of one for the taps of a row
//! took 34 instead of 26 µs forward: most of these straddle cache lines.

use super::activate::{activate, activate_backward, read, write};
use super::conv2d_input::InputGradient;
use super::gemm::Widths;
use super::window::{Border, tap_offsets};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::Activation;
use crate::layers::conv2d::Spec;
use crate::shape::Shape;

/// The most taps that one look at the map serves.
const SHIFTS: usize = 8;
/// The most looks, each at another row of the map, whose taps' gradients are summed at a time, by the taps that each serves.
const LOOKS: [usize; SHIFTS + 1] = [0, 9, 4, 3, 3, 3, 2, 2, 2];
/// Floats of the output's gradient in a band: a first-level cache of 32 KiB.
const BAND: usize = 1 << 13;

/// How the values of a row of outputs lie in vectors.
#[derive(Clone, Copy, Debug)]
struct Pattern {
    /// Vectors after which the filters repeat, and the positions that they hold.
    vectors: usize,
    positions: usize,
    /// Floats in a vector.
    lanes: usize,
}

impl Pattern {
    fn new(filters: usize, lanes: usize) -> Pattern {
        let (mut common, mut rest) = (lanes, filters);
        while rest > 0 {
            (common, rest) = (rest, common % rest);
        }
        Pattern { vectors: filters / common, positions: lanes / common, lanes }
    }
}

/// A convolution of one channel, of a fixed shape.
pub struct SingleChannel {
    level: Level,
    activation: Activation,
    use_bias: bool,
    input_len: usize,
    /// Height, width, filters.
    output: [usize; 3],
    /// The map within zeros, as far as the last vector of a row looks.
    map: Border,
    pattern: Pattern,
    /// Which value of the kernel each float of the pattern is, its taps one after the other for each vector.
    values: Vec<usize>,
    /// Where each tap lies.
    taps: Vec<usize>,
    /// From one row, and from one position, of outputs to the next in the map.
    steps: [usize; 2],
    /// Where each vector of the pattern looks in the map, from the first position of the pattern on.
    starts: Vec<usize>,
    /// How many neighbouring taps of a row see no more of the map than a vector holds.
    shifts: usize,
    /// Taps in a row of the kernel.
    window: usize,
    /// For each vector of the pattern and each of these taps what its lanes see of the map, as bits.
    seen: Vec<f32>,
    input_gradient: InputGradient,
}

impl SingleChannel {
    /// The convolution `spec` with `activation` instead of its own, if it is one of those that are meant here.
    pub fn new(spec: &Spec, input: Shape, output: Shape, activation: Activation, level: Level) -> Option<Self> {
        let (filters, lanes) = (spec.filters, Widths::of(level).lanes);
        if input.channels() > 1 || filters >= lanes || level == Level::Portable {
            return None;
        }
        let (vertical, horizontal) = (spec.vertical, spec.horizontal);
        let (height, width, pattern) = (output.height(), output.width(), Pattern::new(filters, lanes));
        let position = move |vector, lane| (vector * lanes + lane) / filters;
        // From the position of a vector's first lane on: what its lanes see of the first tap.
        let sees = move |vector, lane| (position(vector, lane) - position(vector, 0)) * horizontal.stride;
        let reach = (0..pattern.vectors).map(|vector| sees(vector, lanes - 1)).max()?;
        if reach >= lanes || width * filters < lanes {
            return None;
        }
        let last = position((width * filters).div_ceil(lanes) - 1, 0) * horizontal.stride;
        let map = Border {
            inner: [input.height(), input.width()],
            outer: [(height - 1) * vertical.stride + vertical.reach(), last + horizontal.reach() - 1 + lanes],
            before: [vertical.pad_before(input.height()), horizontal.pad_before(input.width())],
            channels: 1,
        };
        let step = horizontal.dilation;
        let shifts = (lanes - 1 - reach) / step + 1;
        // With 16 registers sums and shuffles of no more than five taps.
        let shifts = shifts.min(horizontal.window).min(if lanes >= 16 { SHIFTS } else { 5 });
        let vectors = (0..pattern.vectors).flat_map(|vector| (0..shifts).map(move |shift| (vector, shift * step)));
        let seen = vectors.flat_map(|(vector, shift)| {
            (0..lanes).map(move |lane| f32::from_bits((sees(vector, lane) + shift) as u32))
        });
        let taps = vertical.window * horizontal.window;
        let values = (0..pattern.vectors).flat_map(|vector| (0..taps).map(move |tap| (vector, tap)));
        let values = values
            .flat_map(|(vector, tap)| (0..lanes).map(move |lane| tap * filters + (vector * lanes + lane) % filters));
        Some(SingleChannel {
            level,
            activation,
            use_bias: spec.use_bias,
            input_len: input.len(),
            output: [height, width, filters],
            map,
            pattern,
            values: values.collect(),
            taps: tap_offsets(spec, map.row(), 1).collect(),
            steps: [vertical.stride * map.row(), horizontal.stride],
            starts: (0..pattern.vectors).map(|vector| position(vector, 0) * horizontal.stride).collect(),
            shifts,
            window: horizontal.window,
            seen: seen.collect(),
            input_gradient: InputGradient::in_any_order(spec, input, output, level),
        })
    }

    fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    fn kernel_len(&self) -> usize {
        self.taps.len() * self.output[2]
    }

    /// Floats of the kernel in the pattern.
    fn pattern_len(&self) -> usize {
        self.values.len()
    }

    /// Floats of the bias in the pattern.
    fn bias_len(&self) -> usize {
        self.pattern.vectors * self.pattern.lanes
    }

    /// The taps that one look at the map serves, row by row of the kernel.
    #[inline(always)]
    fn looks(&self) -> impl Iterator<Item = &[usize]> {
        self.taps.chunks(self.window).flat_map(|row| row.chunks(self.shifts))
    }

    /// Vectors in a row of outputs.
    fn vectors_of_row(&self) -> usize {
        (self.output[1] * self.output[2]).div_ceil(self.pattern.lanes)
    }

    /// What the unsafe code below relies on, for one image.
    fn check<S: Simd>(&self, map: &[f32], outputs: &[f32], kernel: &[f32]) {
        assert_eq!(S::LANES, self.pattern.lanes, "the vectors that the tables were made for");
        assert!(map.len() >= self.map.len() && outputs.len() == self.output_len(), "an image");
        assert!(kernel.len() == self.pattern_len(), "the kernel in the pattern");
    }

    /// How far the pattern moves in the map from one time that it repeats to the next.
    fn right(&self) -> usize {
        self.pattern.positions * self.steps[1]
    }
}

/// The outputs of an image.
struct Outputs<'a> {
    of: &'a SingleChannel,
    map: &'a [f32],
    /// In the pattern.
    kernel: &'a [f32],
    /// In the pattern, if there is one.
    bias: Option<&'a [f32]>,
    relu: bool,
    outputs: &'a mut [f32],
}

impl Vectorized for Outputs<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.of.check::<S>(self.map, self.outputs, self.kernel);
        assert!(self.bias.is_none_or(|bias| bias.len() == self.of.bias_len()), "the bias in the pattern");
        let (height, to) = (self.of.output[0], self.outputs.as_mut_ptr());
        let mut row = 0;
        // SAFETY: the rows are those that there are; `check` has seen the lengths.
        unsafe {
            while S::REGISTERS >= 32 && height - row >= 8 {
                self.rows::<S, 8>(s, row, to);
                row += 8;
            }
            while height - row >= 4 {
                self.rows::<S, 4>(s, row, to);
                row += 4;
            }
            while height > row {
                self.rows::<S, 1>(s, row, to);
                row += 1;
            }
        }
    }
}

impl Outputs<'_> {
    /// # Safety
    /// There are `ROWS` rows from `row` on, in slices of the lengths that `check` asks for.
    #[inline(always)]
    unsafe fn rows<S: Simd, const ROWS: usize>(&self, s: S, row: usize, to: *mut f32) {
        let Outputs { of, map, kernel, bias, relu, .. } = self;
        let [down, len] = [of.steps[0], of.output[1] * of.output[2]];
        // The place in the pattern, and where the pattern lies: a division at each vector would take long.
        let (mut pattern, mut right) = (0, 0);
        for vector in 0..of.vectors_of_row() {
            if pattern == of.pattern.vectors {
                (pattern, right) = (0, right + of.right());
            }
            let map = map.as_ptr().wrapping_add(row * down + right + of.starts[pattern]);
            // SAFETY: a row of the map has a vector behind the last tap of the last vector of outputs; the tables have
            // whole vectors; the last vector of outputs is written as far as the row goes.
            unsafe {
                let table = of.seen.as_ptr().add(pattern * of.shifts * S::LANES);
                let first = bias.map_or(s.splat(0.0), |bias| s.load(bias.as_ptr().add(pattern * S::LANES)));
                let mut weights = kernel.as_ptr().add(pattern * of.taps.len() * S::LANES);
                let mut sums = [first; ROWS];
                for taps in of.looks() {
                    let mut rows = [s.splat(0.0); ROWS];
                    for (r, row) in rows.iter_mut().enumerate() {
                        *row = s.load(map.wrapping_add(r * down + taps[0]));
                    }
                    for shift in 0..taps.len() {
                        let (seen, weight) = (s.load(table.add(shift * S::LANES)), s.load(weights));
                        weights = weights.add(S::LANES);
                        for (sum, row) in sums.iter_mut().zip(rows) {
                            *sum = s.mul_add(s.permute(row, seen), weight, *sum);
                        }
                    }
                }
                let count = S::LANES.min(len - vector * S::LANES);
                for (r, sum) in sums.into_iter().enumerate() {
                    // Zero first: `max` gives its second argument where either is NaN, and a NaN shall stay one.
                    let sum = if *relu { s.max(s.splat(0.0), sum) } else { sum };
                    let to = to.wrapping_add((row + r) * len + vector * S::LANES);
                    if count == S::LANES { s.store(to, sum) } else { s.store_first(to, sum, count) }
                }
            }
            pattern += 1;
        }
    }
}

/// Adds to the gradients of kernel and bias, in the pattern, what an image has.
struct Gradients<'a> {
    of: &'a SingleChannel,
    map: &'a [f32],
    /// Of the outputs, before the activation.
    gradient: &'a [f32],
    sums: &'a mut [f32],
    of_bias: &'a mut [f32],
}

impl Vectorized for Gradients<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gradients { of, map, gradient, sums, of_bias } = self;
        of.check::<S>(map, gradient, sums);
        assert_eq!(of_bias.len(), of.bias_len(), "the bias in the pattern");
        for (vector, of_bias) in of_bias.chunks_exact_mut(S::LANES).enumerate() {
            let mut sum = read(s, of_bias);
            for values in gradient.chunks(S::LANES).skip(vector).step_by(of.pattern.vectors) {
                sum = s.add(sum, read(s, values));
            }
            write(s, of_bias, sum);
        }
        let (height, row) = (of.output[0], of.output[1] * of.output[2]);
        let band = (BAND / row).max(1);
        // Where a look serves one tap, all taps are looks of one column.
        let columns = if of.shifts > 1 { of.window } else { 1 };
        for first in (0..height).step_by(band) {
            let rows = [first, height.min(first + band)];
            for vector in 0..of.pattern.vectors {
                let sums = sums.as_mut_ptr().wrapping_add(vector * of.taps.len() * S::LANES);
                let part = Part { of, map, gradient, vector, rows, columns, sums };
                for column in (0..columns).step_by(of.shifts) {
                    // SAFETY: `check` has seen the lengths; there are as many rows and taps.
                    unsafe { part.add_columns(s, column, of.shifts.min(columns - column)) }
                }
            }
        }
    }
}

/// Some rows of the gradient, and there one vector of the pattern.
struct Part<'a> {
    of: &'a SingleChannel,
    map: &'a [f32],
    gradient: &'a [f32],
    vector: usize,
    /// The first row, and the one behind the last.
    rows: [usize; 2],
    /// Taps in a row of the kernel.
    columns: usize,
    /// Where the sums of the first tap lie.
    sums: *mut f32,
}

impl Part<'_> {
    /// Adds what the taps of `shifts` columns from `column` on have: in each row of the kernel a look at the map.
    ///
    /// # Safety
    /// The slices have the lengths that `check` asks for, and the rows and the columns are there.
    #[inline(always)]
    unsafe fn add_columns<S: Simd>(&self, s: S, column: usize, shifts: usize) {
        let rows = self.of.taps.len() / self.columns;
        // Besides the sums, registers hold the shuffles, a look and the gradient.
        let most = LOOKS[shifts].min((S::REGISTERS - 2) / shifts - 1);
        let some = rows.div_ceil(rows.div_ceil(most));
        for row in (0..rows).step_by(some) {
            let first = row * self.columns + column;
            macro_rules! sizes {
                ($($shifts:literal: $($looks:literal)*;)*) => {
                    match (some.min(rows - row), shifts) {
                        // SAFETY: as the caller says.
                        $($(($looks, $shifts) => unsafe { self.add::<S, $looks, $shifts>(s, first) },)*)*
                        _ => unreachable!("as many looks as LOOKS"),
                    }
                };
            }
            sizes!(1: 1 2 3 4 5 6 7 8 9; 2: 1 2 3 4; 3: 1 2 3; 4: 1 2 3; 5: 1 2 3; 6: 1 2; 7: 1 2; 8: 1 2;);
        }
    }

    /// # Safety
    /// As for [`Part::add_columns`], where the kernel has so many taps side by side, in so many rows, from `first` on.
    #[inline(always)]
    unsafe fn add<S: Simd, const LOOKS: usize, const SHIFTS: usize>(&self, s: S, first: usize) {
        let &Part { of, map, gradient, vector, rows: [row, end], columns, sums: to } = self;
        let (down, len) = (of.steps[0], of.output[1] * of.output[2]);
        let to = to.wrapping_add(first * S::LANES);
        let map = map.as_ptr().wrapping_add(of.starts[vector]);
        let mut taps = [0; LOOKS];
        for (look, tap) in taps.iter_mut().enumerate() {
            *tap = of.taps[first + look * columns];
        }
        // SAFETY: as in `Outputs::rows`; what the gradient has not is zero.
        unsafe {
            let table = of.seen.as_ptr().add(vector * of.shifts * S::LANES);
            let (mut sums, mut seen) = ([[s.splat(0.0); SHIFTS]; LOOKS], [s.splat(0.0); SHIFTS]);
            for (shift, seen) in seen.iter_mut().enumerate() {
                *seen = s.load(table.add(shift * S::LANES));
            }
            let mut map = map.wrapping_add(row * down);
            for vector in (vector..of.vectors_of_row()).step_by(of.pattern.vectors) {
                let count = S::LANES.min(len - vector * S::LANES);
                let (mut from, mut at) = (gradient.as_ptr().wrapping_add(row * len + vector * S::LANES), map);
                for _ in row..end {
                    let d = if count == S::LANES { s.load(from) } else { s.load_first(from, count) };
                    for (sums, tap) in sums.iter_mut().zip(taps) {
                        let values = s.load(at.wrapping_add(tap));
                        for (sum, seen) in sums.iter_mut().zip(seen) {
                            *sum = s.mul_add(s.permute(values, seen), d, *sum);
                        }
                    }
                    (from, at) = (from.wrapping_add(len), at.wrapping_add(down));
                }
                map = map.wrapping_add(of.right());
            }
            for (look, sums) in sums.into_iter().enumerate() {
                for (shift, sum) in sums.into_iter().enumerate() {
                    let to = to.add((look * columns + shift) * S::LANES);
                    s.store(to, s.add(s.load(to), sum));
                }
            }
        }
    }
}

impl Kernel for SingleChannel {
    fn scratch(&self, _: usize) -> usize {
        let sums = self.pattern_len() + self.bias_len() + self.kernel_len() + self.output[2];
        self.map.scratch(1).max(self.input_gradient.scratch(1)) + sums
    }

    fn adds_sums(&self) -> bool {
        true
    }

    fn derived(&self) -> usize {
        self.pattern_len() + self.bias_len() + self.input_gradient.derived()
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        let (kernel, bias) = weights.split_at(self.kernel_len());
        let (pattern, rest) = derived.split_at_mut(self.pattern_len());
        let (of_bias, rest) = rest.split_at_mut(self.bias_len());
        for (value, &of) in pattern.iter_mut().zip(&self.values) {
            *value = kernel[of];
        }
        for (value, filter) in of_bias.iter_mut().zip((0..self.output[2]).cycle()) {
            *value = if self.use_bias { bias[filter] } else { 0.0 };
        }
        self.input_gradient.prepare(kernel, rest);
    }

    fn forward(&self, pass: Forward<'_>) {
        let (kernel, rest) = pass.derived.split_at(self.pattern_len());
        let relu = self.activation == Activation::Relu;
        let images = pass.input.chunks_exact(self.input_len).take(pass.images);
        for (image, outputs) in images.zip(pass.output.chunks_exact_mut(self.output_len())) {
            let (map, _) = self.map.bordered(image, pass.scratch);
            let bias = self.use_bias.then_some(&rest[..self.bias_len()]);
            vectorize(self.level, Outputs { of: self, map, kernel, bias, relu, outputs: &mut *outputs });
            if !relu {
                activate(self.level, self.activation, outputs, self.output[2]);
            }
        }
    }

    fn backward(&self, mut pass: Backward<'_>) {
        let (level, filters) = (self.level, self.output[2]);
        if !pass.accumulate {
            pass.d_weights.fill(0.0);
        }
        let (d_kernel, d_bias) = pass.d_weights.split_at_mut(self.kernel_len());
        let weights = [&pass.weights[..self.kernel_len()], &pass.derived[self.pattern_len() + self.bias_len()..]];
        let (sums, scratch) = pass.scratch.split_at_mut(self.pattern_len() + self.bias_len());
        let (folded, scratch) = scratch.split_at_mut(self.kernel_len() + filters);
        sums.fill(0.0);
        folded.fill(0.0);
        let (sums, of_bias) = sums.split_at_mut(self.pattern_len());
        let gradients = pass.d_output[..pass.images * self.output_len()].chunks_exact_mut(self.output_len());
        for (image, (gradient, output)) in gradients.zip(pass.output.chunks_exact(self.output_len())).enumerate() {
            activate_backward(level, self.activation, output, gradient, filters);
            let input = image * self.input_len..(image + 1) * self.input_len;
            let (map, _) = self.map.bordered(&pass.input[input.clone()], scratch);
            vectorize(level, Gradients { of: self, map, gradient, sums: &mut *sums, of_bias: &mut *of_bias });
            if let Some(d_input) = pass.d_input.as_deref_mut() {
                self.input_gradient.compute(gradient, weights, &mut d_input[input], scratch);
            }
        }
        let (of_kernel, of_filters) = folded.split_at_mut(self.kernel_len());
        for (sum, &of) in sums.iter().zip(&self.values) {
            of_kernel[of] += sum;
        }
        for (sum, filter) in of_bias.iter().zip((0..filters).cycle()) {
            of_filters[filter] += sum;
        }
        // What was there is added to last, so that it does not change how the sums are rounded; `d_bias` may be empty.
        for (d, sum) in d_kernel.iter_mut().chain(d_bias).zip(folded) {
            *d += *sum;
        }
    }
}

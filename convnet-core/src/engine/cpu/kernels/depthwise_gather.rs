//! The loops of depthwise convolution: what each position of a map gathers from another map, vectors of channels at a
//! time.
//!
//! Output from input and input gradient from output gradient are the same thing, [`Gather`]: each position of the target
//! is a sum over some taps, each a position of the source times a row of the kernel. Positions with the same taps, one
//! like the other but for a shift (all but those at the border; with strides, every s-th of an input's), make a
//! [`Run`]. Runs are made once; a window that reaches over the border just has fewer taps, so nothing is copied into
//! zeros and no inner loop asks where the map ends.
//!
//! Why the tiles are as they are. A tile is one vector of channels at up to eight positions of a run: a tap costs one
//! load of the kernel and, at each position, one multiply-add with its value from memory, eight independent sums to
//! hide the latency. The tiles of the same columns go down the map row by row, all channels of a row first: what the
//! window has seen in one row is in the first-level cache for the next, in lines of neighbouring channels that do not
//! compete for the same few places there. The gradient of the kernel turns that round: up to nine taps (all of 3×3) are sums in registers
//! while the positions of a run pass by.

use super::depthwise_slide::{Band, GradientRow, Slide, Tap, read, write};
use crate::engine::cpu::simd::{Simd, Vectorized};
use crate::shape::Axis;
use std::ops::Range;

/// Taps whose gradients are summed at a time.
const TAPS: usize = 9;
/// Channels that go down a map together: whole vectors of every level.
const CHANNELS: usize = 256;

/// A sum over taps for each position of a target map.
pub(super) struct Gather {
    /// Positions in a row of the source and of the target.
    widths: [usize; 2],
    /// Rows of the source.
    source_height: usize,
    /// The vertical taps of each row of the target.
    rows: Vec<Vec<Tap>>,
    runs: Vec<Run>,
    /// Taps in a row of the kernel, and its rows.
    window: [usize; 2],
    /// The same runs as a window that slides along, where it is one that [`super::depthwise_slide`] knows.
    slide: Option<Slide>,
}

/// Columns of the target with the same taps.
struct Run {
    /// The first of them.
    first: usize,
    count: usize,
    /// The horizontal taps of the first.
    taps: Vec<Tap>,
    /// From one column to the next, in the source and in the target.
    steps: [usize; 2],
}

/// The outputs, taps and inputs of an axis that meet inside the map.
fn meetings(axis: &Axis, input: usize, output: usize) -> impl Iterator<Item = [usize; 3]> {
    let (axis, pad) = (*axis, axis.pad_before(input));
    (0..output).flat_map(move |o| {
        (0..axis.window).filter_map(move |tap| {
            let at = (o * axis.stride + tap * axis.dilation).checked_sub(pad)?;
            (at < input).then_some([o, tap, at])
        })
    })
}

impl Gather {
    /// What outputs gather from inputs, by axis (vertical, horizontal), size of the input and size of the output.
    pub fn outputs(axes: [&Axis; 2], input: [usize; 2], output: [usize; 2]) -> Self {
        let taps = |a: usize| {
            let mut taps = vec![Vec::new(); output[a]];
            meetings(axes[a], input[a], output[a]).for_each(|[o, tap, at]| taps[o].push((tap, at)));
            taps
        };
        let slide = Slide::outputs(axes[1], input[1], output[1]);
        Gather { slide, ..Gather::new(axes, taps(0), taps(1), [input, output], [axes[1].stride, 1]) }
    }

    /// What gradients of inputs gather from those of outputs.
    pub fn inputs(axes: [&Axis; 2], input: [usize; 2], output: [usize; 2]) -> Self {
        let taps = |a: usize| {
            let mut taps = vec![Vec::new(); input[a]];
            meetings(axes[a], input[a], output[a]).for_each(|[o, tap, at]| taps[at].push((tap, o)));
            taps
        };
        let slide = Slide::inputs(axes[1], input[1], output[1]);
        Gather { slide, ..Gather::new(axes, taps(0), taps(1), [output, input], [1, axes[1].stride]) }
    }

    fn new(
        axes: [&Axis; 2],
        rows: Vec<Vec<Tap>>,
        columns: Vec<Vec<Tap>>,
        [source, target]: [[usize; 2]; 2],
        steps: [usize; 2],
    ) -> Self {
        let follows = |column: &[Tap], next: &[Tap]| {
            column.len() == next.len() && column.iter().zip(next).all(|(a, b)| (a.0, a.1 + steps[0]) == *b)
        };
        let mut runs = Vec::new();
        let mut done = vec![false; columns.len()];
        for first in 0..columns.len() {
            if done[first] {
                continue;
            }
            let mut last = first;
            while last + steps[1] < columns.len() && follows(&columns[last], &columns[last + steps[1]]) {
                last += steps[1];
                done[last] = true;
            }
            let count = (last - first) / steps[1] + 1;
            runs.push(Run { first, count, taps: columns[first].clone(), steps });
        }
        Gather {
            widths: [source[1], target[1]],
            source_height: source[0],
            rows,
            runs,
            window: [axes[1].window, axes[0].window],
            slide: None,
        }
    }

    /// How many rows of the target, from the first on, look at no row of the source from `row` on.
    pub fn rows_before(&self, row: usize) -> usize {
        self.rows.iter().take_while(|taps| taps.iter().all(|tap| tap.1 < row)).count()
    }

    /// What the unsafe code below relies on: all rows, columns and taps of the tables lie within slices of this length.
    fn check(&self, source: usize, target: usize, kernel: usize, channels: usize) {
        assert_eq!(source, self.source_height * self.widths[0] * channels, "length of the source");
        assert_eq!(target, self.rows.len() * self.widths[1] * channels, "length of the target");
        assert_eq!(kernel, self.window[0] * self.window[1] * channels, "length of the kernel");
    }
}

/// Overwrites rows of a target with their sums.
pub(super) struct Sums<'a> {
    pub gather: &'a Gather,
    pub channels: usize,
    pub source: &'a [f32],
    /// One value a channel for each tap.
    pub kernel: &'a [f32],
    /// What the sums start from, if not from zero.
    pub bias: Option<&'a [f32]>,
    /// Whether `max(0, x)` is applied in the end. NaN stays NaN.
    pub relu: bool,
    /// The whole map,
    pub target: &'a mut [f32],
    /// of which these rows are written.
    pub rows: Range<usize>,
}

/// Neighbours in a run, in some rows and in some channels. Pointers are at the first of those channels.
#[derive(Clone)]
struct Strip<'a> {
    gather: &'a Gather,
    run: &'a Run,
    source: *const f32,
    kernel: *const f32,
    bias: Option<*const f32>,
    relu: bool,
    target: *mut f32,
    rows: Range<usize>,
    /// Floats from one position to the next.
    channels: usize,
    /// How many of them the strip has.
    some: usize,
}

impl Vectorized for Sums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sums { gather, channels, source, kernel, bias, relu, target, rows } = self;
        gather.check(source.len(), target.len(), kernel.len(), channels);
        assert!(rows.end <= gather.rows.len(), "rows of the target");
        assert!(bias.is_none_or(|bias| bias.len() == channels), "length of the bias");
        let target = target.as_mut_ptr();
        for first in (0..channels).step_by(CHANNELS) {
            let some = CHANNELS.min(channels - first);
            if let Some((slide, columns)) = gather.slide.and_then(|slide| Some((slide, slide.columns::<S>()?))) {
                let band = Band {
                    slide,
                    taps: &gather.rows,
                    rows: rows.clone(),
                    source: source.as_ptr().wrapping_add(first),
                    kernel: kernel.as_ptr().wrapping_add(first),
                    bias: bias.map(|bias| bias.as_ptr().wrapping_add(first)),
                    relu,
                    target: target.wrapping_add(first),
                    channels,
                    some,
                };
                // SAFETY: the table and the slide's widths lie within slices of the lengths that `check` has seen, and so
                // do `some` channels from the first on.
                unsafe { band.sum(s, columns) }
                continue;
            }
            for run in &gather.runs {
                let strip = Strip {
                    gather,
                    run,
                    source: source.as_ptr().wrapping_add(first),
                    kernel: kernel.as_ptr().wrapping_add(first),
                    bias: bias.map(|bias| bias.as_ptr().wrapping_add(first)),
                    relu,
                    target: target.wrapping_add(first),
                    rows: rows.clone(),
                    channels,
                    some,
                };
                // SAFETY: the tables lie within slices of the lengths that `check` has seen, and so do `some` channels
                // from the first on.
                unsafe { sum_strip(s, &strip) }
            }
        }
    }
}

/// # Safety
/// `some` floats are readable and writable wherever the strip's rows, taps and columns lead.
#[inline(always)]
unsafe fn sum_strip<S: Simd>(s: S, strip: &Strip<'_>) {
    let (mut column, count) = (0, strip.run.count);
    // SAFETY: the columns that are taken are as many as there are; the caller vouches for them.
    unsafe {
        while S::REGISTERS >= 16 && count - column >= 8 {
            sum_columns::<S, 8>(s, strip, column);
            column += 8;
        }
        while count - column >= 4 {
            sum_columns::<S, 4>(s, strip, column);
            column += 4;
        }
        if count - column >= 2 {
            sum_columns::<S, 2>(s, strip, column);
            column += 2;
        }
        if count > column {
            sum_columns::<S, 1>(s, strip, column);
        }
    }
}

/// # Safety
/// As for [`sum_strip`], with `COLUMNS` columns from `column` on.
#[inline(always)]
unsafe fn sum_columns<S: Simd, const COLUMNS: usize>(s: S, strip: &Strip<'_>, column: usize) {
    let &Strip { gather, run, some, channels, .. } = strip;
    let source = strip.source.wrapping_add(column * run.steps[0] * channels);
    let first = strip.target.wrapping_add((run.first + column * run.steps[1]) * channels);
    for y in strip.rows.clone() {
        let rows = &gather.rows[y];
        let target = first.wrapping_add(y * gather.widths[1] * channels);
        // SAFETY: the caller vouches for `some` channels.
        unsafe {
            let mut channel = 0;
            while some - channel >= S::LANES {
                let tile = Tile { rows, source, target, channel, count: S::LANES };
                sum_tile::<S, COLUMNS, true>(s, strip, tile);
                channel += S::LANES;
            }
            if channel < some {
                let tile = Tile { rows, source, target, channel, count: some - channel };
                sum_tile::<S, COLUMNS, false>(s, strip, tile);
            }
        }
    }
}

/// A vector of a strip's channels in one row.
#[derive(Clone, Copy)]
struct Tile<'a> {
    /// The vertical taps.
    rows: &'a [Tap],
    /// The whole source, moved so that the run's taps are those of the first column.
    source: *const f32,
    /// The first column.
    target: *mut f32,
    /// The first channel, and how many.
    channel: usize,
    count: usize,
}

/// # Safety
/// As for [`sum_columns`]; the tile's channels are some of the strip's, as many as a vector has if `WHOLE`.
#[inline(always)]
unsafe fn sum_tile<S: Simd, const COLUMNS: usize, const WHOLE: bool>(s: S, strip: &Strip<'_>, tile: Tile<'_>) {
    let &Strip { gather, run, channels, .. } = strip;
    let Tile { channel, count, .. } = tile;
    let [from_step, to_step] = run.steps.map(|step| step * channels);
    let mut sums = [s.splat(0.0); COLUMNS];
    if let Some(bias) = strip.bias {
        // SAFETY: the caller vouches for the channels.
        sums = [unsafe { read::<S, WHOLE>(s, bias.wrapping_add(channel), count) }; COLUMNS];
    }
    for &(u, y) in tile.rows {
        let kernel = strip.kernel.wrapping_add(u * gather.window[0] * channels + channel);
        let source = tile.source.wrapping_add(y * gather.widths[0] * channels + channel);
        for &(v, x) in &run.taps {
            let from = source.wrapping_add(x * channels);
            // SAFETY: the caller vouches for all taps at all columns.
            unsafe {
                let tap = read::<S, WHOLE>(s, kernel.wrapping_add(v * channels), count);
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum = s.mul_add(read::<S, WHOLE>(s, from.wrapping_add(column * from_step), count), tap, *sum);
                }
            }
        }
    }
    for (column, sum) in sums.into_iter().enumerate() {
        // Zero first: `max` gives its second argument where either is NaN, and a NaN shall stay one.
        let sum = if strip.relu { s.max(s.splat(0.0), sum) } else { sum };
        // SAFETY: the caller vouches for all columns.
        unsafe { write::<S, WHOLE>(s, tile.target.wrapping_add(column * to_step + channel), sum, count) }
    }
}

/// Adds to the gradient of a kernel, position after position.
pub(super) struct KernelGradient<'a> {
    /// How the outputs were gathered.
    pub gather: &'a Gather,
    pub channels: usize,
    pub source: &'a [f32],
    /// Of the target.
    pub gradient: &'a [f32],
    /// The rows of the target whose products are added.
    pub rows: Range<usize>,
    pub d_kernel: &'a mut [f32],
}

/// Some taps at the positions of a run, all pointers at the first channel of the vector.
#[derive(Clone, Copy)]
struct Lane<'a> {
    /// Where each tap's gradient lies, and its values at the first position.
    taps: &'a [(*mut f32, *const f32)],
    gradient: *const f32,
    columns: usize,
    /// Floats from one column to the next in source and gradient.
    steps: [usize; 2],
    /// Channels in the vector.
    count: usize,
}

impl Vectorized for KernelGradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let KernelGradient { gather, channels, source, gradient, rows, d_kernel } = self;
        gather.check(source.len(), gradient.len(), d_kernel.len(), channels);
        let d_kernel = d_kernel.as_mut_ptr();
        let slide = gather.slide.filter(Slide::has_gradient::<S>);
        for y in rows {
            let rows = &gather.rows[y];
            if let (Some(slide), 2 | 3) = (slide, rows.len()) {
                let gradient = gradient.as_ptr().wrapping_add(y * gather.widths[1] * channels);
                let row = GradientRow { slide, taps: rows, source: source.as_ptr(), gradient, d_kernel, channels };
                // SAFETY: the tables and the slide's widths lie within slices of the lengths that `check` has seen.
                unsafe { row.add(s) }
                continue;
            }
            for channel in (0..channels).step_by(S::LANES) {
                for run in &gather.runs {
                    let mut taps = [(std::ptr::null_mut(), std::ptr::null()); TAPS];
                    let mut filled = 0;
                    let all = rows.len() * run.taps.len();
                    let each = rows.iter().flat_map(|row| run.taps.iter().map(move |tap| (row, tap)));
                    for (index, (&(u, from), &(v, x))) in each.enumerate() {
                        let tap = d_kernel.wrapping_add((u * gather.window[0] + v) * channels + channel);
                        let at = source.as_ptr().wrapping_add((from * gather.widths[0] + x) * channels + channel);
                        taps[filled] = (tap, at);
                        filled += 1;
                        if filled == TAPS || index + 1 == all {
                            let first = (y * gather.widths[1] + run.first) * channels + channel;
                            let lane = Lane {
                                taps: &taps[..filled],
                                gradient: gradient.as_ptr().wrapping_add(first),
                                columns: run.count,
                                steps: run.steps.map(|step| step * channels),
                                count: S::LANES.min(channels - channel),
                            };
                            // SAFETY: the tables lie within slices of the lengths that `check` has seen, and so do
                            // `count` channels from `channel` on.
                            unsafe { add_taps(s, lane) }
                            filled = 0;
                        }
                    }
                }
            }
        }
    }
}

/// # Safety
/// `count` floats are readable and writable wherever the taps and columns lead.
#[inline(always)]
unsafe fn add_taps<S: Simd>(s: S, lane: Lane<'_>) {
    macro_rules! sizes {
        ($($taps:literal)*) => {
            match lane.taps.len() {
                $($taps if lane.count == S::LANES => {
                    // SAFETY: the caller vouches for the taps, and there are channels for a whole vector.
                    unsafe { add_products::<S, $taps, true>(s, lane) }
                }
                $taps => {
                    // SAFETY: the caller vouches for the taps.
                    unsafe { add_products::<S, $taps, false>(s, lane) }
                })*
                _ => {}
            }
        };
    }
    sizes!(1 2 3 4 5 6 7 8 9);
}

/// # Safety
/// As for [`add_taps`], with as many taps; all of a vector if `WHOLE`.
#[inline(always)]
unsafe fn add_products<S: Simd, const TAPS: usize, const WHOLE: bool>(s: S, lane: Lane<'_>) {
    let Lane { count, steps, .. } = lane;
    // SAFETY: the caller vouches for all taps at all columns.
    unsafe {
        let taps: [_; TAPS] = std::array::from_fn(|tap| lane.taps[tap]);
        let mut sums = taps.map(|(sum, _)| read::<S, WHOLE>(s, sum, count));
        for column in 0..lane.columns {
            let gradient = read::<S, WHOLE>(s, lane.gradient.wrapping_add(column * steps[1]), count);
            for (sum, (_, from)) in sums.iter_mut().zip(taps) {
                *sum = s.mul_add(read::<S, WHOLE>(s, from.wrapping_add(column * steps[0]), count), gradient, *sum);
            }
        }
        for (sum, (to, _)) in sums.into_iter().zip(taps) {
            write::<S, WHOLE>(s, to, sum, count);
        }
    }
}

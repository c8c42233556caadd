//! The loops of depthwise convolution: what each position of a map gathers from another map, vectors of channels at a
//! time.
//!
//! Output from input and input gradient from output gradient are the same thing, [`Gather`]: each position of the target
//! is a sum over some taps, each a position of the source times a row of the kernel. Positions with the same taps, one
//! like the other but for a shift (all but those at the border; with strides, every s-th of an input's), make a
//! [`Run`]. Runs are made once; a window that reaches over the border just has fewer taps, so nothing is copied into
//! zeros and no inner loop asks where the map ends.
//!
//! With channels in groups ([`super::depthwise_conv2d`]) each tap has as many rows of the kernel as a group has channels,
//! and what it sees is shuffled for each: [`Simd::spread`].
//!
//! Why the tiles are as they are. A tile is one vector of channels at up to eight positions of a run: a tap costs one
//! load of the kernel and, at each position, one multiply-add with its value from memory, eight independent sums to
//! hide the latency. The tiles of the same columns go down the map row by row, all channels of a row first: what the
//! window has seen in one row is in the first-level cache for the next, in lines of neighbouring channels that do not
//! compete for the same few places there. [`super::depthwise_gradient`] turns that round for the kernel.
//!
//! That order is none that the processor foresees. On maps of more than half a MiB ([`FAR`]) windows that slide by single
//! columns ask for the next row, for the second cache, while a row is in work, and for the place where its results go; the
//! gradient of their kernels asks for the source's next row, and the sums of other windows for the place of the next
//! results. Outputs of strides 2 ask for nothing: they gained nothing by it. On a Zen 4 core 8 images of
//! 56×56×128 take 0.9 instead of 2.6 ms forward (asked for the first cache 1.9: lines at the distance of a position push
//! each other out), 4.0 instead of 5.3 backward; smaller maps would lose a tenth.

use super::depthwise_roll::RollGradient;
use super::depthwise_slide::{Band, KernelRows, Slide, Tap, read, read_of, write};
use super::depthwise_widen::{Squares, Widen};
use crate::engine::cpu::simd::{Simd, Vectorized, prefetch};
use crate::shape::Axis;
use std::ops::Range;

/// Channels that go down a map together: whole vectors of every level.
const CHANNELS: usize = 256;
/// Floats of a map from which on rows are asked for before they are wanted.
pub(super) const FAR: usize = 1 << 17;
/// Floats of the largest map down which bands roll without strides: a second-level cache of 1 MiB.
const ROLLS: usize = 1 << 18;
/// The fewest rows for which they do: bands of a gradient's two or three are faster in tiles.
const ROWS: usize = 6;
/// Floats of a row of the source from which on gradients of kernels do, on maps of up to [`FAR`] floats: three of them
/// fill a first level of 32 KiB.
const ROW: usize = 2730;
/// How many channels a group may have.
pub(super) const GROUPS: [usize; 4] = [1, 2, 4, 8];

/// A sum over taps for each position of a target map.
pub(super) struct Gather {
    /// Positions in a row of the source and of the target.
    pub(super) widths: [usize; 2],
    /// Rows of the source.
    pub(super) source_height: usize,
    /// The vertical taps of each row of the target.
    pub(super) rows: Vec<Vec<Tap>>,
    pub(super) runs: Vec<Run>,
    /// Taps in a row of the kernel, and its rows.
    pub(super) window: [usize; 2],
    /// The same runs as a window that slides along, where it is one that [`super::depthwise_slide`] knows.
    pub(super) slide: Option<Slide>,
    /// Where [`super::depthwise_roll`] knows the window: rows of the source that the first row of the target would see
    /// before it begins.
    roll: Option<usize>,
    /// Where [`super::depthwise_widen`] knows the window.
    widen: Option<Widen>,
}

/// Columns of the target with the same taps.
pub(super) struct Run {
    /// The first of them.
    pub(super) first: usize,
    pub(super) count: usize,
    /// The horizontal taps of the first.
    pub(super) taps: Vec<Tap>,
    /// From one column to the next, in the source and in the target.
    pub(super) steps: [usize; 2],
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
        let slides = [0, 1].map(|a| Slide::outputs(axes[a], input[a], output[a]));
        Gather::new(axes, taps(0), taps(1), [input, output], [axes[1].stride, 1]).sliding(slides)
    }

    /// What gradients of inputs gather from those of outputs.
    pub fn inputs(axes: [&Axis; 2], input: [usize; 2], output: [usize; 2]) -> Self {
        let taps = |a: usize| {
            let mut taps = vec![Vec::new(); input[a]];
            meetings(axes[a], input[a], output[a]).for_each(|[o, tap, at]| taps[at].push((tap, o)));
            taps
        };
        let slides = [0, 1].map(|a| Slide::inputs(axes[a], input[a], output[a]));
        let gather = Gather::new(axes, taps(0), taps(1), [output, input], [1, axes[1].stride]).sliding(slides);
        Gather { widen: Widen::new(axes, input, output), ..gather }
    }

    /// With the windows of both axes (vertical, horizontal) that slide.
    fn sliding(self, [vertical, horizontal]: [Option<Slide>; 2]) -> Self {
        let both = vertical.zip(horizontal);
        let alike = both.filter(|(v, h)| v.window == 3 && h.window == 3 && v.stride == h.stride);
        Gather { slide: horizontal, roll: alike.map(|(vertical, _)| vertical.before), ..self }
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
            roll: None,
            widen: None,
        }
    }

    /// How many rows of the target, from the first on, look at no row of the source from `row` on.
    pub fn rows_before(&self, row: usize) -> usize {
        self.rows.iter().take_while(|taps| taps.iter().all(|tap| tap.1 < row)).count()
    }

    /// What the unsafe code below relies on: all rows, columns and taps of the tables lie within slices of this length.
    pub(super) fn check(&self, source: usize, target: usize, channels: usize) {
        assert_eq!(source, self.source_height * self.widths[0] * channels, "length of the source");
        assert_eq!(target, self.rows.len() * self.widths[1] * channels, "length of the target");
    }

    /// Rows of a kernel for groups of so many of the channels.
    pub fn kernel_rows(&self, group: usize, channels: usize) -> usize {
        assert!(channels.is_multiple_of(group), "groups of channels");
        self.window[0] * self.window[1] * group
    }
}

/// Overwrites rows of a target with their sums.
pub(super) struct Sums<'a> {
    pub gather: &'a Gather,
    pub channels: usize,
    /// Channels of a group, one of [`GROUPS`].
    pub group: usize,
    pub source: &'a [f32],
    /// For each tap, and for each channel of a group, a row of one value a channel. In groups of several channels they
    /// lie vector after vector of channels, each with all its rows, the last one filled up with anything: what a tile
    /// reads is in one piece, and its lines do not compete for the same few places of a cache.
    pub kernel: &'a [f32],
    /// What the sums start from, if not from zero.
    pub bias: Option<&'a [f32]>,
    /// Whether `max(0, x)` is applied in the end. NaN stays NaN.
    pub relu: bool,
    /// These rows of it, no more.
    pub target: &'a mut [f32],
    pub rows: Range<usize>,
}

/// Neighbours in a run, in some rows and in some channels. Pointers are at the first of those channels.
#[derive(Clone)]
struct Strip<'a> {
    gather: &'a Gather,
    run: &'a Run,
    source: *const f32,
    kernel: KernelRows,
    bias: Option<*const f32>,
    relu: bool,
    target: *mut f32,
    rows: Range<usize>,
    /// Floats from one position to the next.
    channels: usize,
    /// Channels of a group.
    group: usize,
    /// How many of the channels the strip has.
    some: usize,
    /// As in [`Band`].
    far: bool,
}

impl Vectorized for Sums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sums { gather, channels, group, source, kernel, bias, relu, target, rows } = self;
        let row = gather.widths[1] * channels;
        gather.check(source.len(), gather.rows.len() * row, channels);
        assert_eq!(target.len(), rows.len() * row, "length of the rows of the target");
        let rows_of_kernel = gather.kernel_rows(group, channels);
        let padded = if group == 1 { channels } else { channels.next_multiple_of(S::LANES) };
        assert_eq!(kernel.len(), rows_of_kernel * padded, "length of the kernel");
        // From a row to the next, from a vector to the next.
        let steps = if group == 1 { [channels, S::LANES] } else { [S::LANES, rows_of_kernel * S::LANES] };
        assert!(rows.end <= gather.rows.len(), "rows of the target");
        assert!(bias.is_none_or(|bias| bias.len() == channels), "length of the bias");
        let size = source.len().max(gather.rows.len() * row);
        let far = size > FAR;
        let roll = GoesDown { gather, channels, group }.sums::<S>().filter(|_| rows.len() >= ROWS);
        let roll = roll.map(|before| [before, gather.source_height]);
        // Where the whole map would be.
        let target = target.as_mut_ptr().wrapping_sub(rows.start * row);
        for first in (0..channels).step_by(CHANNELS) {
            let some = CHANNELS.min(channels - first);
            let source = source.as_ptr().wrapping_add(first);
            let kernel = KernelRows { first: kernel.as_ptr().wrapping_add(first / S::LANES * steps[1]), steps };
            let bias = bias.map(|bias| bias.as_ptr().wrapping_add(first));
            let (target, rows) = (target.wrapping_add(first), rows.clone());
            if let Some((slide, columns)) = gather.slide.and_then(|slide| Some((slide, slide.columns::<S>(group)?))) {
                let band = Band {
                    slide,
                    taps: &gather.rows,
                    rows,
                    source,
                    kernel,
                    bias,
                    relu,
                    target,
                    channels,
                    group,
                    some,
                    far,
                    roll,
                };
                // SAFETY: the table and the slide's widths lie within slices of the lengths that `check` has seen, and so
                // do `some` channels from the first on.
                unsafe { band.sum(s, columns) }
                continue;
            }
            if let Some(widen) = gather.widen.filter(|_| group == 1 && S::REGISTERS >= 16) {
                assert!(bias.is_none() && !relu, "gradients of inputs");
                let squares = Squares { widen, source, kernel, target, rows, channels, some };
                // SAFETY: the table and the widths lie within slices of the lengths that `check` has seen, and so do `some`
                // channels from the first on.
                unsafe { squares.sum(s) }
                continue;
            }
            for run in &gather.runs {
                let rows = rows.clone();
                let strip = Strip { gather, run, source, kernel, bias, relu, target, rows, channels, group, some, far };
                // SAFETY: the tables lie within slices of the lengths that `check` has seen, and so do `some` channels
                // from the first on.
                unsafe { if group == 1 { sum_strip::<S, false>(s, &strip) } else { sum_strip::<S, true>(s, &strip) } }
            }
        }
    }
}

/// # Safety
/// `some` floats are readable and writable wherever the strip's rows, taps and columns lead.
#[inline(always)]
unsafe fn sum_strip<S: Simd, const GROUPED: bool>(s: S, strip: &Strip<'_>) {
    let (mut column, count) = (0, strip.run.count);
    // SAFETY: the columns that are taken are as many as there are; the caller vouches for them.
    unsafe {
        while S::REGISTERS >= 16 && count - column >= 8 {
            sum_columns::<S, GROUPED, 8>(s, strip, column);
            column += 8;
        }
        while count - column >= 4 {
            sum_columns::<S, GROUPED, 4>(s, strip, column);
            column += 4;
        }
        if count - column >= 2 {
            sum_columns::<S, GROUPED, 2>(s, strip, column);
            column += 2;
        }
        if count > column {
            sum_columns::<S, GROUPED, 1>(s, strip, column);
        }
    }
}

/// # Safety
/// As for [`sum_strip`], with `COLUMNS` columns from `column` on.
#[inline(always)]
unsafe fn sum_columns<S: Simd, const GROUPED: bool, const COLUMNS: usize>(s: S, strip: &Strip<'_>, column: usize) {
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
                sum_tile::<S, GROUPED, COLUMNS, true>(s, strip, tile);
                if strip.far {
                    let next = target.wrapping_add(gather.widths[1] * channels + channel);
                    (0..COLUMNS).for_each(|i| prefetch::<false>(next.wrapping_add(i * run.steps[1] * channels)));
                }
                channel += S::LANES;
            }
            if channel < some {
                let tile = Tile { rows, source, target, channel, count: some - channel };
                sum_tile::<S, GROUPED, COLUMNS, false>(s, strip, tile);
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
unsafe fn sum_tile<S: Simd, const GROUPED: bool, const COLUMNS: usize, const WHOLE: bool>(
    s: S,
    strip: &Strip<'_>,
    tile: Tile<'_>,
) {
    let &Strip { gather, run, channels, .. } = strip;
    let Tile { channel, count, .. } = tile;
    let group = if GROUPED { strip.group } else { 1 };
    let [from_step, to_step] = run.steps.map(|step| step * channels);
    let mut sums = [s.splat(0.0); COLUMNS];
    if let Some(bias) = strip.bias {
        // SAFETY: the caller vouches for the channels.
        sums = [unsafe { read::<S, WHOLE>(s, bias.wrapping_add(channel), count) }; COLUMNS];
    }
    for &(u, y) in tile.rows {
        let source = tile.source.wrapping_add(y * gather.widths[0] * channels + channel);
        for lane in 0..group {
            for &(v, x) in &run.taps {
                let from = source.wrapping_add(x * channels);
                let tap = strip.kernel.row::<S>((u * gather.window[0] + v) * group + lane, channel);
                // SAFETY: the caller vouches for all taps at all columns.
                unsafe {
                    let tap = read::<S, WHOLE>(s, tap, count);
                    for (column, sum) in sums.iter_mut().enumerate() {
                        let from = from.wrapping_add(column * from_step);
                        *sum = s.mul_add(read_of::<S, GROUPED, WHOLE>(s, from, [group, lane], count), tap, *sum);
                    }
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

/// Asks whether [`super::depthwise_roll`] is for these windows on maps of so many channels, in groups of so many.
pub(super) struct GoesDown<'a> {
    pub gather: &'a Gather,
    pub channels: usize,
    pub group: usize,
}

impl GoesDown<'_> {
    /// For sums: rows of the source that the first row of the target would see before it begins.
    #[inline(always)]
    fn sums<S: Simd>(self) -> Option<usize> {
        let vectors = S::REGISTERS >= 32 && self.group == 1 && self.channels.is_multiple_of(S::LANES);
        let strides = self.gather.slide.is_some_and(|slide| slide.stride > 1);
        self.gather.roll.filter(|_| vectors && (strides || self.size() <= ROLLS))
    }

    /// Floats of the larger map.
    fn size(&self) -> usize {
        let Gather { rows, source_height, widths, .. } = self.gather;
        (source_height * widths[0]).max(rows.len() * widths[1]) * self.channels
    }
}

/// For the gradient of the kernel the same, on fewer maps: smaller ones are in the first level anyway, and of larger ones
/// a band is still near when the sums want it.
impl Vectorized for GoesDown<'_> {
    type Output = Option<usize>;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Option<usize> {
        let worth = self.gather.widths[0] * self.channels >= ROW && self.size() <= FAR;
        self.gather.slide.filter(|slide| worth && RollGradient::knows(slide)).and_then(|_| self.sums::<S>())
    }
}

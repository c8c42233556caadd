//! The gradient of a depthwise convolution's kernel: up to nine taps (all of 3×3) are sums in registers while the positions
//! of a run of [`super::depthwise_gather`] pass by, the source's values from memory.

use super::depthwise_gather::{FAR, Gather, GoesDown};
use super::depthwise_roll::RollGradient;
use super::depthwise_slide::{GradientRow, Tap, read, read_of, write};
use crate::engine::cpu::simd::{Simd, Vectorized};
use std::ops::Range;

/// Taps whose gradients are summed at a time.
const TAPS: usize = 9;

/// Adds to the gradient of a kernel, position after position.
pub(super) struct KernelGradient<'a> {
    /// How the outputs were gathered.
    pub gather: &'a Gather,
    pub channels: usize,
    /// Channels of a group, one of [`GROUPS`](super::depthwise_gather::GROUPS).
    pub group: usize,
    pub source: &'a [f32],
    /// Of the target.
    pub gradient: &'a [f32],
    /// The rows of the target whose products are added.
    pub rows: Range<usize>,
    /// Row after row, whatever the groups.
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
    /// Channels of a group, and the one of the source's.
    of_group: [usize; 2],
    /// Channels in the vector.
    count: usize,
}

impl Vectorized for KernelGradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let KernelGradient { gather, channels, group, source, gradient, rows, d_kernel } = self;
        gather.check(source.len(), gradient.len(), channels);
        assert_eq!(d_kernel.len(), gather.kernel_rows(group, channels) * channels, "length of the kernel's gradient");
        let far = source.len() > FAR;
        let (source, d_kernel) = (source.as_ptr(), d_kernel.as_mut_ptr());
        let slide = gather.slide.filter(|slide| slide.has_gradient::<S>(group));
        if let (Some(slide), Some(before)) = (slide, GoesDown { gather, channels, group }.run(s))
            && rows == (0..gather.rows.len())
        {
            let heights = [gather.source_height, gather.rows.len()];
            let gradient = gradient.as_ptr();
            let map = RollGradient { slide, before, heights, source, gradient, d_kernel, channels };
            // SAFETY: the slide's widths and the heights lie within slices of the lengths that `check` has seen.
            unsafe { map.add(s) }
            return;
        }
        for y in rows {
            let taps = &gather.rows[y];
            let gradient = gradient.as_ptr().wrapping_add(y * gather.widths[1] * channels);
            if let Some(slide) = slide
                && (slide.window == 5 || matches!(taps.len(), 2 | 3))
            {
                let row = GradientRow { slide, taps, source, gradient, d_kernel, channels, group, far };
                // SAFETY: the tables and the slide's widths lie within slices of the lengths that `check` has seen.
                unsafe { if slide.window == 5 { row.add_five(s) } else { row.add(s) } }
                continue;
            }
            for channel in (0..channels).step_by(S::LANES) {
                for (run, lane) in gather.runs.iter().flat_map(|run| (0..group).map(move |lane| (run, lane))) {
                    let place = |(u, from): Tap, (v, x): Tap| {
                        let tap = ((u * gather.window[0] + v) * group + lane) * channels + channel;
                        let at = (from * gather.widths[0] + x) * channels + channel;
                        (d_kernel.wrapping_add(tap), source.wrapping_add(at))
                    };
                    let mut places = taps.iter().flat_map(|row| run.taps.iter().map(move |tap| place(*row, *tap)));
                    let mut some = [(std::ptr::null_mut(), std::ptr::null()); TAPS];
                    loop {
                        let filled = some.iter_mut().zip(&mut places).map(|(to, place)| *to = place).count();
                        if filled == 0 {
                            break;
                        }
                        let lane = Lane {
                            taps: &some[..filled],
                            gradient: gradient.wrapping_add(run.first * channels + channel),
                            columns: run.count,
                            steps: run.steps.map(|step| step * channels),
                            of_group: [group, lane],
                            count: S::LANES.min(channels - channel),
                        };
                        // SAFETY: the tables lie within slices of the lengths that `check` has seen, and so do `count`
                        // channels from `channel` on.
                        unsafe { if group == 1 { add_taps::<S, false>(s, lane) } else { add_taps::<S, true>(s, lane) } }
                    }
                }
            }
        }
    }
}

/// # Safety
/// `count` floats are readable and writable wherever the taps and columns lead.
#[inline(always)]
unsafe fn add_taps<S: Simd, const GROUPED: bool>(s: S, lane: Lane<'_>) {
    macro_rules! sizes {
        ($($taps:literal)*) => {
            match lane.taps.len() {
                $($taps if lane.count == S::LANES => {
                    // SAFETY: the caller vouches for the taps, and there are channels for a whole vector.
                    unsafe { add_products::<S, GROUPED, $taps, true>(s, lane) }
                }
                $taps => {
                    // SAFETY: the caller vouches for the taps.
                    unsafe { add_products::<S, GROUPED, $taps, false>(s, lane) }
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
unsafe fn add_products<S: Simd, const GROUPED: bool, const TAPS: usize, const WHOLE: bool>(s: S, part: Lane<'_>) {
    let Lane { count, steps, of_group, .. } = part;
    // SAFETY: the caller vouches for all taps at all columns.
    unsafe {
        let taps: [_; TAPS] = std::array::from_fn(|tap| part.taps[tap]);
        let mut sums = taps.map(|(sum, _)| read::<S, WHOLE>(s, sum, count));
        for column in 0..part.columns {
            let gradient = read::<S, WHOLE>(s, part.gradient.wrapping_add(column * steps[1]), count);
            for (sum, (_, from)) in sums.iter_mut().zip(taps) {
                let from = from.wrapping_add(column * steps[0]);
                *sum = s.mul_add(read_of::<S, GROUPED, WHOLE>(s, from, of_group, count), gradient, *sum);
            }
        }
        for (sum, (to, _)) in sums.into_iter().zip(taps) {
            write::<S, WHOLE>(s, to, sum, count);
        }
    }
}

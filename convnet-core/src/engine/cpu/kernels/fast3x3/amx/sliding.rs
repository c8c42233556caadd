//! A 3×3 window that slides over maps, as a product of matrices on the tile unit: no row of it is ever copied out.
//!
//! A map lies in memory as split parts, its channels in groups of 32, the pixels of a group one after the other: the 16
//! positions of a tile are a stretch of memory, and so are the three pixels under a row of the window. What falls between two
//! rows of outputs is computed and not looked at (2 of 13 columns); where there is a border, its zeros lie between the rows
//! once, for the end of one and the start of the next. Fewer than 32 channels are one group with pixels as large as they
//! are: three of 16 fill a step and a half.
//!
//! Bands of rows fill a part of the second cache ([`BAND`]); where the weights are many, several bands meet a block of them
//! before the next comes ([`CHUNK`]). Within a band a strip of rows goes through one block of filters and then, while its
//! sums are in the first cache, to the [`Outputs`].

use super::forward::Outputs;
use crate::engine::cpu::aligned::{carve, carved};
use crate::engine::cpu::kernels::amx_panels::{BLOCK, Panels, Square};
use crate::engine::cpu::kernels::amx_product::{Factor, multiply};
use crate::engine::cpu::simd::amx::{Amx, DEPTH, SIDE, Tiles};
use std::ops::Range;

/// Floats of a band's input, about.
const BAND: usize = 96 << 10;

/// Floats of the inputs that meet a block of weights, about, where the weights are more than [`FEW`].
const CHUNK: usize = 160 << 10;

/// Floats of weights that stay in the second cache whatever else goes through it.
const FEW: usize = 64 << 10;

/// Positions of a strip, about.
const STRIP: usize = 256;

/// The maps and the window's outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sliding {
    /// Rows, columns and channels of a map in memory.
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Rows and columns of zeros around it, 0 or 1.
    pub border: usize,
    /// Rows and columns of outputs that are wanted, from the first on.
    pub rows: usize,
    pub columns: usize,
    /// Channels of the outputs.
    pub filters: usize,
    /// Whether rows of outputs belong together by twos.
    pub twos: bool,
    /// Parts of each factor: 1 or 2.
    pub parts: usize,
}

/// Outputs that were computed together: position (i, j) of them has its filters at `(i · pitch + j) · 32`.
#[derive(Clone, Debug)]
pub(super) struct Strip {
    pub image: usize,
    pub rows: Range<usize>,
    pub filters: Range<usize>,
    /// Positions from row to row.
    pub pitch: usize,
}

/// Rows of an image's outputs.
#[derive(Clone, Debug)]
struct Band {
    image: usize,
    rows: Range<usize>,
}

/// What goes in and what meets it.
pub(super) struct Inputs<'a> {
    pub images: usize,
    pub maps: &'a [f32],
    /// As [`Sliding::fill_weights`] left them.
    pub weights: &'a [f32],
}

impl Sliding {
    /// Positions from row to row.
    fn pitch(&self) -> usize {
        self.width + self.border
    }

    /// Groups of channels.
    fn groups(&self) -> usize {
        self.channels.div_ceil(DEPTH)
    }

    /// Elements of a group's pixel.
    fn pixel(&self) -> usize {
        self.channels.min(DEPTH)
    }

    /// The weights: for each row of the window and each group three pixels.
    pub fn panels(&self) -> Panels {
        Panels { runs: 3 * self.groups(), rows: 3 * self.pixel(), columns: self.filters, parts: self.parts }
    }

    /// Fills the panels from a kernel (3, 3, channels, filters).
    pub fn fill_weights(&self, amx: Amx, kernel: &[f32], panels: &mut [f32]) {
        let Sliding { channels, filters, .. } = *self;
        self.panels().fill(amx, panels, |run, row, filter, square: &mut Square| {
            // A step is a tap of a group, or goes through the taps of the only one.
            let (down, group) = (run / self.groups(), run % self.groups());
            let (tap, channel) = (row / self.pixel(), row % self.pixel());
            let first = (3 * down + tap) * channels + group * DEPTH + channel;
            let end = if self.groups() > 1 { channels - group * DEPTH } else { 3 * channels - row };
            let count = SIDE.min(filters - filter);
            let rows = kernel[first * filters..].chunks(filters).take(end);
            for (to, from) in square.iter_mut().zip(rows) {
                to[..count].copy_from_slice(&from[filter..][..count]);
            }
        });
    }

    /// So many rows of outputs or fewer, at least one, and in twos if they belong together.
    fn whole(&self, rows: usize) -> usize {
        let unit = if self.twos { 2 } else { 1 };
        (rows / unit * unit).clamp(unit, self.rows.next_multiple_of(unit))
    }

    /// Rows of outputs in a band.
    fn band(&self) -> usize {
        self.whole((BAND / (self.pitch() * self.channels)).saturating_sub(2))
    }

    /// Rows of outputs in a strip.
    fn strip(&self) -> usize {
        self.whole(STRIP / self.pitch()).min(self.band())
    }

    /// Elements of a group of a band, one part: its rows, and what tiles read beyond them.
    fn plane(&self) -> usize {
        (((self.band() + 2) * self.pitch() + SIDE + 2) * self.pixel() + DEPTH).next_multiple_of(DEPTH)
    }

    /// Elements of a band, one part.
    fn slot(&self) -> usize {
        self.groups() * self.plane()
    }

    /// Bands that meet a block of weights together.
    fn together(&self, images: usize) -> usize {
        let most = if self.panels().len() <= FEW { 1 } else { CHUNK / self.slot() };
        most.clamp(1, (images * self.rows.div_ceil(self.band())).max(1))
    }

    /// Floats of scratch.
    pub fn scratch(&self, images: usize) -> usize {
        carved(&self.pieces(images))
    }

    /// Of the bands, where two elements lie in a float, and of a strip's sums.
    fn pieces(&self, images: usize) -> [usize; 2] {
        let positions = self.strip() * self.pitch() + SIDE;
        [self.together(images) * self.parts * self.slot() / 2, positions * BLOCK]
    }

    /// Slides over all maps.
    pub fn run(&self, amx: Amx, inputs: &Inputs<'_>, outputs: &mut Outputs<'_>, scratch: &mut [f32]) {
        let mut rest = scratch;
        let [slots, sums] = self.pieces(inputs.images).map(|len| carve(&mut rest, len));
        // SAFETY: two numbers of 16 bits lie in each float, of which any bits are one.
        let slots = unsafe { std::slice::from_raw_parts_mut(slots.as_mut_ptr().cast::<u16>(), 2 * slots.len()) };
        let mut tiles = amx.tiles();
        let step = self.band();
        let band = |image, band: usize| Band { image, rows: band * step..self.rows.min((band + 1) * step) };
        let of_image = |image| (0..self.rows.div_ceil(step)).map(move |number| band(image, number));
        let mut bands = (0..inputs.images).flat_map(of_image).peekable();
        while bands.peek().is_some() {
            let chunk = bands.clone();
            let mut count = 0;
            // The slots come first in the zip: they may run out, and no band is taken for nothing.
            for (slot, band) in slots.chunks_exact_mut(self.parts * self.slot()).zip(bands.by_ref()) {
                self.fill(amx, inputs.maps, &band, slot);
                count += 1;
            }
            for filter in (0..self.filters).step_by(BLOCK) {
                for (band, slot) in chunk.clone().take(count).zip(slots.chunks_exact(self.parts * self.slot())) {
                    for row in band.rows.clone().step_by(self.strip()) {
                        let strip = Strip {
                            image: band.image,
                            rows: row..band.rows.end.min(row + self.strip()),
                            filters: filter..self.filters.min(filter + BLOCK),
                            pitch: self.pitch(),
                        };
                        let from = slot[(row - band.rows.start) * self.pitch() * self.pixel()..].as_ptr();
                        self.strip_sums(&mut tiles, from, inputs.weights, &strip, sums);
                        outputs.take(&strip, sums);
                    }
                }
            }
        }
    }

    /// Writes a band's rows with their border, group after group, high parts first.
    fn fill(&self, amx: Amx, maps: &[f32], band: &Band, slot: &mut [u16]) {
        let Sliding { height, width, channels, border, .. } = *self;
        let (pixel, pitch) = (self.pixel(), self.pitch() * self.pixel());
        let map = &maps[band.image * height * width * channels..][..height * width * channels];
        let (high, low) = slot.split_at_mut(self.slot());
        let mut low_planes = low.chunks_exact_mut(self.plane());
        for (group, high) in high.chunks_exact_mut(self.plane()).enumerate() {
            let low = low_planes.next().unwrap_or_default();
            for (i, row) in (band.rows.start..band.rows.end + 2).enumerate() {
                let here = i * pitch..(i + 1) * pitch;
                let (high, low) = (&mut high[here.clone()], low.get_mut(here).unwrap_or_default());
                let Some(row) = row.checked_sub(border).filter(|&row| row < height) else {
                    clear([high, low]);
                    continue;
                };
                let (edge, high) = high.split_at_mut(border * pixel);
                let (low_edge, low) = low.split_at_mut(low.len().min(border * pixel));
                clear([edge, low_edge]);
                let from = &map[row * width * channels..][..width * channels];
                if channels == pixel {
                    amx.split(from, high, low);
                    continue;
                }
                let wanted = group * DEPTH..channels.min((group + 1) * DEPTH);
                let mut low = low.chunks_exact_mut(DEPTH);
                for (from, high) in from.chunks_exact(channels).zip(high.chunks_exact_mut(DEPTH)) {
                    amx.split(&from[wanted.clone()], high, low.next().unwrap_or_default());
                }
            }
            // The border of the last row's end, and what the last step of a run meets with zeros.
            let start = (band.rows.len() + 2) * pitch;
            let behind = start..start + border * pixel + DEPTH;
            clear([&mut high[behind.clone()], low.get_mut(behind).unwrap_or_default()]);
        }
    }

    /// The sums of a strip, whose first row starts at `from` in the high part of the first group.
    fn strip_sums(&self, tiles: &mut Tiles, from: *const u16, weights: &[f32], strip: &Strip, sums: &mut [f32]) {
        let positions = (strip.rows.len() - 1) * strip.pitch + self.columns;
        assert!(sums.len() >= positions.next_multiple_of(SIDE) * BLOCK);
        let (panels, pixel) = (self.panels(), self.pixel());
        let columns = panels.tiles(strip.filters.start);
        for position in (0..positions).step_by(2 * SIDE) {
            let rows = (positions - position).min(2 * SIDE).div_ceil(SIDE);
            let at = from.wrapping_add(position * pixel);
            let to = sums[position * BLOCK..].as_mut_ptr();
            let runs = (0..3).flat_map(|down| (0..self.groups()).map(move |group| (down, group)));
            let factors = runs.map(|(down, group)| {
                let high = at.wrapping_add(group * self.plane() + down * self.pitch() * pixel);
                let low = high.wrapping_add(self.slot());
                let left = Factor { high, low, stride: 2 * pixel, second: SIDE * pixel, step: DEPTH };
                (left, panels.factor(weights, strip.filters.start, down * self.groups() + group))
            });
            // SAFETY: a plane has room for the rows beyond the last position (see `plane`), the sums were measured.
            unsafe { multiply(tiles, [self.parts, rows, columns], factors, panels.steps(), to, BLOCK) };
        }
    }
}

/// Zeros. Not by `fill` where there is nothing to fill: a `memset` of no bytes at the address of an empty slice, which is no
/// memory, takes the processor hundreds of cycles (a fifth of the time of a prediction in one part).
fn clear(parts: [&mut [u16]; 2]) {
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        part.fill(0);
    }
}

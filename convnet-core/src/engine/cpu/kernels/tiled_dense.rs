//! The forward pass of dense layers on the tile unit (AMX), for who allows bfloat16.
//!
//! The images' rows are rounded first, to tiles of 16 images by 32 features; two of them meet two of the weights at a
//! time, through all features.
//!
//! Why it is as it is. A dense layer behind a convnet meets few images at a time, and vectors load its weights once for
//! each multiply-add or two; an instruction of tiles makes 512 of a load's. With the 576 × 64 and 64 × 10 of the book's
//! first convnet here, and inputs rounded two vectors at a time, its prediction in bfloat16 takes 6.1 µs for one image
//! instead of 7.8, 2.5 ms for 1000 instead of 3.0. In two parts ([`Precision::Tf32`]) such layers are no faster than in
//! floats, 4 % slower with one image: they are left to vectors. So are many weights ([`MOST`]): a training step would
//! lay them out each time.
//!
//! [`Precision::Tf32`]: crate::engine::Precision::Tf32

use super::activate::activate;
use super::amx_panels::{BLOCK, Panels};
use super::amx_product::{Factor, multiply};
use super::dense::Dense;
use crate::engine::cpu::aligned::{carve, carved};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
use crate::engine::cpu::simd::Level;
use crate::engine::cpu::simd::amx::{Amx, DEPTH, SIDE};
use crate::layers::Activation;
use crate::layers::dense::Spec;

/// The most floats of weights that are laid out for tiles: those stay in the second cache.
const MOST: usize = 256 << 10;

/// A dense layer of a fixed shape.
pub struct TiledDense {
    amx: Amx,
    spec: Spec,
    features: usize,
    panels: Panels,
    /// Runs the backward pass; its forward pass is not used. Its derived weights come first, where a
    /// [wide layer](super::wide_dense) looks for them.
    behind: Dense,
}

impl TiledDense {
    /// The layer that `behind` is.
    pub fn new(amx: Amx, spec: Spec, features: usize, behind: Dense) -> Self {
        let panels = Panels { runs: 1, rows: features, columns: spec.units, parts: 1 };
        TiledDense { amx, spec, features, panels, behind }
    }

    /// Whether it pays.
    pub fn covers(spec: Spec, features: usize) -> bool {
        features >= DEPTH && spec.units >= 8 && features * spec.units <= MOST
    }

    /// Floats of scratch: of the images' rows, where two elements lie in a float, and of a block's sums.
    fn pieces(&self, images: usize) -> [usize; 2] {
        [step(images) * self.panels.steps() / 2, 2 * SIDE * BLOCK]
    }

    /// Writes the images' rows: (steps, images, 32 features), what is missing in the last step as zeros.
    fn fill(&self, images: usize, input: &[f32], rows: &mut [u16]) {
        for (image, row) in input.chunks_exact(self.features).enumerate() {
            for (rows, values) in rows.chunks_exact_mut(step(images)).zip(row.chunks(DEPTH)) {
                self.amx.split(values, &mut rows[image * DEPTH..][..DEPTH], &mut []);
            }
        }
    }
}

/// Elements of all images' rows in a step: whole tiles.
fn step(images: usize) -> usize {
    images.next_multiple_of(SIDE) * DEPTH
}

impl Kernel for TiledDense {
    fn scratch(&self, images: usize) -> usize {
        carved(&self.pieces(images)).max(self.behind.scratch(images))
    }

    fn derived(&self) -> usize {
        self.behind.derived() + self.panels.len()
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        let (behind, panels) = derived.split_at_mut(self.behind.derived());
        self.behind.prepare(weights, behind);
        self.prepare_part(1, weights, panels);
    }

    fn derived_parts(&self) -> Vec<usize> {
        vec![self.behind.derived(), self.panels.len()]
    }

    fn prepare_part(&self, part: usize, weights: &[f32], derived: &mut [f32]) {
        if part == 0 {
            return self.behind.prepare(weights, derived);
        }
        let (units, kernel) = (self.spec.units, &weights[..self.features * self.spec.units]);
        self.panels.fill(self.amx, derived, |_, feature, unit, square| {
            let count = SIDE.min(units - unit);
            for (to, from) in square.iter_mut().zip(kernel[feature * units..].chunks_exact(units)) {
                to[..count].copy_from_slice(&from[unit..][..count]);
            }
        });
    }

    fn forward(&self, pass: Forward<'_>) {
        let (images, units) = (pass.images, self.spec.units);
        let input = &pass.input[..images * self.features];
        let output = &mut pass.output[..images * units];
        let mut rest = pass.scratch;
        let [rows, sums] = self.pieces(images).map(|len| carve(&mut rest, len));
        // SAFETY: two numbers of 16 bits lie in each float, of which any bits are one.
        let rows = unsafe { std::slice::from_raw_parts_mut(rows.as_mut_ptr().cast::<u16>(), 2 * rows.len()) };
        self.fill(images, input, rows);
        let weights = &pass.derived[self.behind.derived()..];
        let bias = &pass.weights[self.features * units..];
        let relu = self.behind.activation() == Activation::Relu;
        let mut tiles = self.amx.tiles();
        for image in (0..images).step_by(2 * SIDE) {
            let count = (images - image).min(2 * SIDE);
            let high = rows[image * DEPTH..].as_ptr();
            // There are no low parts.
            let left = Factor { high, low: high, stride: 2 * DEPTH, second: SIDE * DEPTH, step: step(images) };
            for unit in (0..units).step_by(BLOCK) {
                let right = self.panels.factor(weights, unit, 0);
                let shape = [1, count.div_ceil(SIDE), self.panels.tiles(unit)];
                // SAFETY: the images' rows are whole tiles, as are the weights; the sums have room for two by two.
                unsafe {
                    let factors = std::iter::once((left, right));
                    multiply(&mut tiles, shape, factors, self.panels.steps(), sums.as_mut_ptr(), BLOCK);
                }
                let columns = unit..units.min(unit + BLOCK);
                for (sums, output) in sums.chunks_exact(BLOCK).zip(output[image * units..].chunks_exact_mut(units)) {
                    finish(sums, bias.get(columns.clone()), relu, &mut output[columns.clone()]);
                }
            }
        }
        if !relu {
            activate(Level::Avx512, self.behind.activation(), output, units);
        }
    }

    fn backward(&self, pass: Backward<'_>) {
        self.behind.backward(Backward { derived: &pass.derived[..self.behind.derived()], ..pass });
    }
}

/// Sums to outputs.
fn finish(sums: &[f32], bias: Option<&[f32]>, relu: bool, output: &mut [f32]) {
    output.copy_from_slice(&sums[..output.len()]);
    if let Some(bias) = bias {
        output.iter_mut().zip(bias).for_each(|(output, bias)| *output += bias);
    }
    if relu {
        // NaN stays.
        output.iter_mut().filter(|output| **output < 0.0).for_each(|output| *output = 0.0);
    }
}

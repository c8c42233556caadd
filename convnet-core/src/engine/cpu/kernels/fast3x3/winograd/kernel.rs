//! The kernel around the passes: a convolution with any activation, and with pooling behind relu.

use super::super::block::Block;
use super::backward::{self, Run as Back};
use super::blocking::FILTERS;
use super::forward::{self, Run as Ahead};
use super::weights::{self, Prepare, PrepareBack};
use super::{Winograd, cost};
use crate::engine::cpu::disjoint::Disjoint;
use crate::engine::cpu::kernel::{Backward, Forward, ForwardPart, Kernel, Part};
use crate::engine::cpu::kernels::activate::{activate, activate_backward};
use crate::engine::cpu::simd::amx::Amx;
use crate::engine::cpu::simd::{Level, vectorize};
use crate::layers::Activation;

/// A convolution by way of the transformed space. Relu is part of it, other activations pass over its output.
pub(in super::super) struct Transformed {
    winograd: Winograd,
    activation: Activation,
    /// Whether the forward pass is wanted.
    ahead: bool,
    /// What runs the backward pass instead, and derives weights of its own for it; its forward pass is not used.
    behind: Option<Box<dyn Kernel>>,
    level: Level,
}

impl Transformed {
    /// The kernel for a block whose input includes `border` rows and columns of zeros that are not in memory, with the
    /// tiles that run fastest; `None` where none pay. Only relu goes with pooling.
    pub fn new(block: Block, border: usize, activation: Activation, level: Level) -> Option<Self> {
        let m = cost::best(&block)?;
        Some(Transformed::with_tile(block, border, activation, m, level))
    }

    /// With given tiles.
    pub fn with_tile(block: Block, border: usize, activation: Activation, m: usize, level: Level) -> Self {
        let amx = if level >= Level::Amx && cost::tiles(&block, m) { Amx::detect() } else { None };
        let winograd = Winograd { block, border, relu: activation == Activation::Relu, m, amx };
        Transformed { winograd, activation, ahead: true, behind: None, level }
    }

    /// With another kernel's backward pass, which takes and keeps the same.
    pub fn behind(self, behind: Box<dyn Kernel>) -> Self {
        Transformed { behind: Some(behind), ..self }
    }

    /// Without the forward pass, which another kernel runs.
    #[cfg(target_arch = "x86_64")]
    pub fn only_backward(self) -> Self {
        Transformed { ahead: false, ..self }
    }

    /// Whether the tile unit makes the products.
    #[cfg(target_arch = "x86_64")]
    pub fn in_digits(&self) -> bool {
        self.winograd.amx.is_some()
    }

    /// Where the derived weights of the backward pass begin: those of the forward pass come first.
    fn split(&self) -> usize {
        if !self.ahead {
            return 0;
        }
        let Block { channels, filters, .. } = self.winograd.block;
        weights::derived(&self.winograd, channels, filters)
    }

    /// Floats of the panels of the forward pass's derived weights, which are parts.
    fn ahead_panels(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let Block { channels, filters, .. } = self.winograd.block;
        let panels = weights::panels(&self.winograd, channels, filters, self.level);
        panels.take(if self.ahead { usize::MAX } else { 0 })
    }

    /// Fills panels of such lengths, which are parts from a number on.
    fn prepare_panels(
        &self,
        panels: impl Iterator<Item = usize>,
        first: usize,
        weights: &[f32],
        mut derived: &mut [f32],
    ) {
        for (panel, len) in panels.enumerate() {
            let (part, rest) = std::mem::take(&mut derived).split_at_mut(len);
            self.prepare_part(first + panel, weights, part);
            derived = rest;
        }
    }

    /// Whether the activation passes over the output.
    fn passes(&self) -> bool {
        !matches!(self.activation, Activation::Relu | Activation::Linear)
    }

    /// Whether parts of the forward pass may be of some filters each.
    fn cuts_filters(&self) -> bool {
        !self.passes()
    }

    /// Whether so many parts of an image are rows of tiles, else they are some filters each. The longest part counts. With
    /// rows all weights go through each thread, which takes as long as the products of a few tiles; with filters all inputs
    /// are transformed by each, which takes as long as the products of a few filters. Both numbers were measured with vectors,
    /// not with the tile unit.
    fn shares_rows(&self, parts: usize) -> bool {
        const TILES: f64 = 6.0;
        const TRANSFORM: f64 = 16.0;
        let longest = |places: usize| places.div_ceil(parts) as f64 / places as f64;
        let ((down, across), filters) = (self.winograd.tiles(), self.winograd.block.filters);
        let tiles = (down * across) as f64;
        let rows = (longest(down) * tiles + TILES) / (tiles + TILES);
        !self.cuts_filters() || rows <= longest(filters.div_ceil(FILTERS)) + TRANSFORM / filters as f64
    }
}

impl Kernel for Transformed {
    fn scratch(&self, images: usize) -> usize {
        let backward = match &self.behind {
            Some(behind) => behind.scratch(images),
            None => backward::scratch(&self.winograd, images),
        };
        let forward = if self.ahead { forward::scratch(&self.winograd, images) } else { 0 };
        forward.max(backward)
    }

    fn kept(&self) -> usize {
        self.winograd.block.kept()
    }

    fn derived(&self) -> usize {
        let Block { channels, filters, .. } = self.winograd.block;
        let backward = match &self.behind {
            Some(behind) => behind.derived(),
            None => weights::derived(&self.winograd, filters, channels),
        };
        self.split() + backward
    }

    fn prepare(&self, weights: &[f32], derived: &mut [f32]) {
        assert_eq!((weights.len(), derived.len()), (self.winograd.block.weights_len(), Kernel::derived(self)));
        let Block { channels, filters, .. } = self.winograd.block;
        let (forward, backward) = derived.split_at_mut(self.split());
        self.prepare_panels(self.ahead_panels(), 0, weights, forward);
        match &self.behind {
            Some(behind) => behind.prepare(weights, backward),
            None => {
                let panels = weights::panels(&self.winograd, filters, channels, self.level);
                self.prepare_panels(panels, self.ahead_panels().len(), weights, backward);
            }
        }
    }

    fn derived_parts(&self) -> Vec<usize> {
        let Block { channels, filters, .. } = self.winograd.block;
        let behind = match &self.behind {
            Some(behind) => behind.derived_parts(),
            None => weights::panels(&self.winograd, filters, channels, self.level).collect(),
        };
        self.ahead_panels().chain(behind).collect()
    }

    fn prepare_part(&self, part: usize, weights: &[f32], derived: &mut [f32]) {
        let (winograd, ahead) = (&self.winograd, self.ahead_panels().len());
        if part < ahead {
            vectorize(self.level, Prepare { winograd, weights, derived, panel: part });
        } else if let Some(behind) = &self.behind {
            behind.prepare_part(part - ahead, weights, derived);
        } else {
            vectorize(self.level, PrepareBack(Prepare { winograd, weights, derived, panel: part - ahead }));
        }
    }

    fn adds_sums(&self) -> bool {
        self.behind.as_ref().is_none_or(|behind| behind.adds_sums())
    }

    fn forward(&self, pass: Forward<'_>) {
        assert!(self.ahead, "the forward pass was given up");
        let block = &self.winograd.block;
        block.check_forward_of(&pass, self.winograd.input_len());
        let run = Ahead {
            winograd: &self.winograd,
            images: pass.images,
            tiles: 0..pass.images * self.winograd.image_tiles(),
            filters: 0..block.filters,
            weights: pass.weights,
            derived: &pass.derived[..self.split()],
            input: pass.input,
            output: Disjoint::new(&mut *pass.output),
            kept: if pass.training && block.pooled { pass.kept } else { &mut [] },
            scratch: pass.scratch,
        };
        vectorize(self.level, run);
        if self.passes() {
            activate(self.level, self.activation, pass.output, block.filters);
        }
    }

    fn parts(&self, _: usize, most: usize) -> usize {
        let Block { channels, filters, .. } = self.winograd.block;
        let operations = 2 * self.winograd.points() * self.winograd.image_tiles() * channels * filters;
        let rows = self.winograd.tiles().0;
        let places = if self.cuts_filters() { rows.max(filters.div_ceil(FILTERS)) } else { rows };
        if self.ahead { Part::worth(operations, places, most) } else { 1 }
    }

    unsafe fn forward_part(&self, pass: ForwardPart<'_>) {
        assert!(self.ahead, "the forward pass was given up");
        let Winograd { block, .. } = self.winograd;
        let (down, across) = self.winograd.tiles();
        assert_eq!(pass.input.len(), self.winograd.input_len(), "input");
        assert_eq!(pass.output.len(), block.output_len(), "output");
        assert_eq!(pass.weights.len(), block.weights_len(), "weights");
        let (rows, filters) = if self.shares_rows(pass.part.of) {
            (pass.part.share(down, 1), 0..block.filters)
        } else {
            (0..down, pass.part.share(block.filters, FILTERS))
        };
        // The side that is cut may have fewer places than there are parts.
        if rows.is_empty() || filters.is_empty() {
            return;
        }
        let run = Ahead {
            winograd: &self.winograd,
            images: 1,
            tiles: rows.start * across..rows.end * across,
            filters,
            weights: pass.weights,
            derived: &pass.derived[..self.split()],
            input: pass.input,
            output: pass.output,
            kept: &mut [],
            scratch: pass.scratch,
        };
        vectorize(self.level, run);
        if self.passes() {
            let [height, width] = <[usize; 2]>::from(block.output());
            let [start, end] = [rows.start, rows.end].map(|row| (row * self.winograd.m).min(height));
            let row = width * block.filters;
            // SAFETY: shares do not overlap, and filters are not shared out where an activation passes over the output;
            // the rest is the caller's promise.
            let output = unsafe { pass.output.part(start * row..end * row) };
            activate(self.level, self.activation, output, block.filters);
        }
    }

    fn backward(&self, mut pass: Backward<'_>) {
        let derived = &pass.derived[self.split()..];
        if let Some(behind) = &self.behind {
            return behind.backward(Backward { derived, ..pass });
        }
        self.winograd.block.check_backward_of(&pass, self.winograd.input_len());
        if self.passes() {
            activate_backward(self.level, self.activation, pass.output, pass.d_output, self.winograd.block.filters);
        }
        vectorize(self.level, Back { winograd: &self.winograd, back: derived, pass: &mut pass });
    }
}

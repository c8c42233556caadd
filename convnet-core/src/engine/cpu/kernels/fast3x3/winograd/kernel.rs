//! The kernel around the passes: a convolution with any activation, and with pooling behind relu.

use super::super::block::Block;
use super::backward::{self, Run as Back};
use super::forward::{self, Run as Ahead};
use super::weights::{self, Prepare, PrepareBack};
use super::{Winograd, cost};
use crate::engine::cpu::kernel::{Backward, Forward, Kernel};
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
        self.activation != Activation::Relu
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

    fn forward(&self, mut pass: Forward<'_>) {
        assert!(self.ahead, "the forward pass was given up");
        self.winograd.block.check_forward_of(&pass, self.winograd.input_len());
        let derived = &pass.derived[..self.split()];
        vectorize(self.level, Ahead { winograd: &self.winograd, derived, pass: &mut pass });
        if self.passes() {
            activate(self.level, self.activation, pass.output, self.winograd.block.filters);
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

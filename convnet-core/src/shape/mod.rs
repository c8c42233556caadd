//! Shapes: of feature maps and vectors, as values and as types.
//!
//! A [`Shape`] is what the plan, the summary and the engines read: up to three sizes, channels last, without the
//! batch. [`size`] holds the sizes that stand in layer types, [`walk`] the rules by which the trait solver computes
//! shapes from them with typenum. The const functions here are the same rules over plain numbers; tests hold the two
//! (and the macro's own dry run) together.

pub mod size;
pub mod walk;

/// The sizes of one image's tensor, channels last: `(height, width, channels)` or `(features)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    sizes: [usize; 3],
    rank: usize,
}

impl Shape {
    /// A feature map of `height` × `width` positions with `channels` values each.
    pub const fn map(height: usize, width: usize, channels: usize) -> Self {
        Shape { sizes: [height, width, channels], rank: 3 }
    }

    /// A vector of `features` values.
    pub const fn vector(features: usize) -> Self {
        Shape { sizes: [features, 1, 1], rank: 1 }
    }

    /// The sizes as a slice of length 3 (a map) or 1 (a vector).
    pub const fn sizes(&self) -> &[usize] {
        self.sizes.split_at(self.rank).0
    }

    /// How many values one image has. Saturates instead of overflowing.
    pub const fn len(&self) -> usize {
        self.sizes[0].saturating_mul(self.sizes[1]).saturating_mul(self.sizes[2])
    }

    /// Whether any size is zero.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is a feature map (and not a vector).
    pub const fn is_map(&self) -> bool {
        self.rank == 3
    }

    /// The height of a map; the length of a vector.
    pub const fn height(&self) -> usize {
        self.sizes[0]
    }

    /// The width of a map; 1 for a vector.
    pub const fn width(&self) -> usize {
        self.sizes[1]
    }

    /// The channels of a map; the length of a vector.
    pub const fn channels(&self) -> usize {
        self.sizes[if self.is_map() { 2 } else { 0 }]
    }

    /// Whether two shapes are the same, in const code.
    pub const fn same(&self, other: &Shape) -> bool {
        self.rank == other.rank
            && self.sizes[0] == other.sizes[0]
            && self.sizes[1] == other.sizes[1]
            && self.sizes[2] == other.sizes[2]
    }
}

impl Shape {
    /// Whether two shapes are the same but for their channels, in const code.
    pub const fn same_but_channels(&self, other: &Shape) -> bool {
        self.rank == other.rank
            && (!self.is_map() || self.sizes[0] == other.sizes[0] && self.sizes[1] == other.sizes[1])
    }
}

/// As the book writes it, without the batch: `(26, 26, 32)`, `(576)`.
impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes: Vec<String> = self.sizes().iter().map(usize::to_string).collect();
        write!(f, "({})", sizes.join(", "))
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A shape of which some sizes may be open: what a network or a block takes as a layer, `(None, None, 64)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    sizes: [Option<usize>; 3],
    rank: usize,
}

impl Pattern {
    /// Feature maps; an open size is `None`.
    pub const fn map(height: Option<usize>, width: Option<usize>, channels: Option<usize>) -> Self {
        Pattern { sizes: [height, width, channels], rank: 3 }
    }

    /// Vectors; an open size is `None`.
    pub const fn vector(features: Option<usize>) -> Self {
        Pattern { sizes: [features, None, None], rank: 1 }
    }

    /// The sizes: three (a map) or one (a vector).
    pub const fn sizes(&self) -> &[Option<usize>] {
        self.sizes.split_at(self.rank).0
    }

    /// Whether a shape has all sizes that are not open.
    pub const fn fits(&self, shape: &Shape) -> bool {
        let mut fits = self.rank == shape.rank;
        let mut i = 0;
        while i < self.rank {
            fits = fits
                && match self.sizes[i] {
                    Some(size) => size == shape.sizes[i],
                    None => true,
                };
            i += 1;
        }
        fits
    }
}

/// What happens at the border of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// The window stays inside the map.
    Valid,
    /// Zeros (for pooling: nothing) around the map, so that stride 1 keeps its size; an odd one goes to the end.
    Same,
}

/// How a window slides along one axis: Keras's `kernel_size`/`pool_size`, `strides`, `dilation_rate` and `padding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Length of the window.
    pub window: usize,
    /// Step from one output to the next.
    pub stride: usize,
    /// Distance between neighbouring taps of the window.
    pub dilation: usize,
    /// What happens at the border.
    pub padding: Padding,
}

impl Axis {
    /// How far the window reaches: `dilation·(window − 1) + 1`.
    pub const fn reach(&self) -> usize {
        if self.window == 0 { 0 } else { self.dilation.saturating_mul(self.window - 1).saturating_add(1) }
    }

    /// Outputs along an axis of `input` positions; `None` where no window fits or a size is zero.
    ///
    /// Valid: `⌊(input − reach)/stride⌋ + 1`; same: `⌊(input − 1)/stride⌋ + 1` (Keras 3).
    pub const fn output(&self, input: usize) -> Option<usize> {
        if self.window == 0 || self.stride == 0 || self.dilation == 0 || input == 0 {
            return None;
        }
        match self.padding {
            Padding::Same => Some((input - 1) / self.stride + 1),
            Padding::Valid if self.reach() > input => None,
            Padding::Valid => Some((input - self.reach()) / self.stride + 1),
        }
    }

    /// Positions of padding before the first input: half of what is missing, rounded down.
    pub const fn pad_before(&self, input: usize) -> usize {
        match (self.padding, self.output(input)) {
            (Padding::Same, Some(output)) => {
                ((output - 1) * self.stride).saturating_add(self.reach()).saturating_sub(input) / 2
            }
            _ => 0,
        }
    }
}

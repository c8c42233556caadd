//! The gradient of a convolution's input.
//!
//! With strides of 1 it is a convolution itself: the output's gradient within zeros, by the kernel turned by 180° with
//! filters and channels exchanged. With larger strides, and where most of a small map is border, that would multiply
//! zeros; there each position's gradient is multiplied by the kernel, and the products are added where the position's
//! window had looked. Few channels, and groups of few, go another way ([`super::planar`]); where sums need not keep the
//! kernel's order a third one ([`super::window_dots`]).

use super::gemm::{A, B, Gemm, Offsets, Start, Widths, gemm};
use super::gemm_pack::Panels;
use super::planar::{self, Factor, Planar};
use super::window::{Border, Taps, positions};
use super::window_dots::WindowDots;
use crate::engine::cpu::simd::{Level, Simd, Vectorized, vectorize};
use crate::layers::conv2d::Spec;
use crate::shape::Shape;

/// Positions whose products are added at a time.
const CHUNK: usize = 48;

/// How the input's gradient is computed.
pub(super) struct InputGradient {
    level: Level,
    spec: Spec,
    input: Shape,
    output: Shape,
    panels: Panels,
    way: Way,
}

enum Way {
    /// A convolution of the output's gradient.
    Convolve { border: Border, windows: Offsets, taps: Taps },
    /// A product with positions as columns.
    Planes(Box<Planar>),
    /// Scalar products.
    Dots(Box<WindowDots>),
    /// Products added one position after the other.
    Scatter { rows: Offsets, run: Offsets },
}

impl InputGradient {
    pub fn new(spec: &Spec, input: Shape, output: Shape, level: Level) -> Self {
        let widths = Widths::of(level);
        let (vertical, horizontal, filters) = (spec.vertical, spec.horizontal, spec.filters);
        let taps = vertical.window * horizontal.window;
        if planar::pays_backward(widths.lanes, spec, input) {
            let way = Way::Planes(Box::new(Planar::inputs(spec, input, output, level)));
            let panels = Panels::new(widths, 0, 0);
            return InputGradient { level, spec: *spec, input, output, panels, way };
        }
        let few_zeros = input.height() * input.width() * 5 <= output.height() * output.width() * 6;
        let (panels, way) = if vertical.stride == 1 && horizontal.stride == 1 && few_zeros {
            let border = Border::of_gradient(spec, input, output);
            let windows = positions(input.height(), input.width(), border.row(), filters);
            let windows = Offsets::new(windows, border.len());
            let way = Way::Convolve { border, windows, taps: Taps::new(spec, border.row(), filters) };
            (Panels::new(widths, taps * filters, input.channels()), way)
        } else {
            let way = Way::Scatter { rows: Offsets::every(filters), run: Offsets::every(0) };
            (Panels::new(widths, filters, taps * input.channels()), way)
        };
        InputGradient { level, spec: *spec, input, output, panels, way }
    }

    /// The same where sums need not keep the kernel's order.
    pub fn in_any_order(spec: &Spec, input: Shape, output: Shape, level: Level) -> Self {
        let Some(dots) = WindowDots::inputs(spec, input, output, level) else {
            return InputGradient::new(spec, input, output, level);
        };
        let (panels, way) = (Panels::new(Widths::of(level), 0, 0), Way::Dots(Box::new(dots)));
        InputGradient { level, spec: *spec, input, output, panels, way }
    }

    /// Whether the kernel's order is not kept.
    pub fn reorders(&self) -> bool {
        matches!(self.way, Way::Dots(_))
    }

    /// Floats derived from the kernel.
    pub fn derived(&self) -> usize {
        if let Way::Dots(dots) = &self.way { dots.derived() } else { self.panels.size() }
    }

    /// Floats of scratch for some images.
    pub fn scratch(&self, images: usize) -> usize {
        match &self.way {
            Way::Convolve { border, .. } => border.scratch(images),
            Way::Planes(planar) => planar.scratch(),
            Way::Dots(dots) => dots.scratch(),
            Way::Scatter { .. } => CHUNK * self.window(),
        }
    }

    /// Elements of a window.
    fn window(&self) -> usize {
        self.spec.vertical.window * self.spec.horizontal.window * self.input.channels()
    }

    /// Fills the derived floats.
    pub fn prepare(&self, kernel: &[f32], derived: &mut [f32]) {
        let filters = self.spec.filters;
        match &self.way {
            Way::Convolve { .. } => {
                let taps = kernel.chunks_exact(self.input.channels() * filters).rev();
                for (t, tap) in taps.enumerate() {
                    self.panels.pack_transposed(tap, t * filters, filters, derived);
                }
            }
            Way::Planes(_) => {}
            Way::Dots(dots) => dots.prepare(kernel, derived),
            Way::Scatter { .. } => self.panels.pack_transposed(kernel, 0, filters, derived),
        }
    }

    /// Overwrites `d_input`, given the gradient of the same images' outputs before the activation. `weights` are the
    /// kernel and what is derived from it.
    pub fn compute(&self, gradient: &[f32], weights: [&[f32]; 2], d_input: &mut [f32], scratch: &mut [f32]) {
        let [kernel, derived] = weights;
        match &self.way {
            Way::Planes(planar) => {
                planar.compute(Factor { kernel, bias: None, relu: false }, gradient, d_input, scratch);
            }
            Way::Dots(dots) => dots.compute(derived, (None, false), gradient, d_input, scratch),
            Way::Convolve { border, windows, taps } => {
                let (maps, _) = border.bordered(gradient, scratch);
                let channels = self.input.channels();
                let a = A {
                    data: maps,
                    row_offsets: windows,
                    rows: d_input.len() / channels,
                    run_offsets: &taps.offsets,
                    runs: taps.runs,
                    len: taps.len,
                    step: 1,
                };
                self.product(a, derived, d_input, channels);
            }
            Way::Scatter { rows, run } => {
                d_input.fill(0.0);
                let images = d_input.chunks_exact_mut(self.input.len());
                for (d_input, gradient) in images.zip(gradient.chunks_exact(self.output.len())) {
                    for (c, chunk) in gradient.chunks(CHUNK * self.spec.filters).enumerate() {
                        let count = chunk.len() / self.spec.filters;
                        let a = A {
                            data: chunk,
                            row_offsets: rows,
                            rows: count,
                            run_offsets: run,
                            runs: 1,
                            len: self.spec.filters,
                            step: 1,
                        };
                        let products = &mut scratch[..count * self.window()];
                        self.product(a, derived, products, self.window());
                        vectorize(self.level, Scatter { way: self, first: c * CHUNK, products, d_input });
                    }
                }
            }
        }
    }

    fn product(&self, a: A<'_>, derived: &[f32], c: &mut [f32], columns: usize) {
        let (b, start) = (B::Panels(derived), Start::Zero);
        gemm(self.level, Gemm { a, b, c, c_stride: columns, columns, start, relu: false });
    }
}

/// Adds the products of the positions from `first` on to the gradient of one image.
struct Scatter<'a> {
    way: &'a InputGradient,
    first: usize,
    products: &'a [f32],
    d_input: &'a mut [f32],
}

impl Vectorized for Scatter<'_> {
    type Output = ();
    /// Plain loops: the compiler vectorises them for the level.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let InputGradient { spec, input, output, .. } = self.way;
        let (vertical, horizontal, channels) = (spec.vertical, spec.horizontal, input.channels());
        let (top, left) = (vertical.pad_before(input.height()), horizontal.pad_before(input.width()));
        for (p, window) in self.products.chunks_exact(self.way.window()).enumerate() {
            let (i, j) = ((self.first + p) / output.width(), (self.first + p) % output.width());
            let mut taps = window.chunks_exact(channels);
            for u in 0..vertical.window {
                for (v, products) in (0..horizontal.window).zip(&mut taps) {
                    let y = (i * vertical.stride + u * vertical.dilation).wrapping_sub(top);
                    let x = (j * horizontal.stride + v * horizontal.dilation).wrapping_sub(left);
                    if y < input.height() && x < input.width() {
                        let at = (y * input.width() + x) * channels;
                        for (d, product) in self.d_input[at..at + channels].iter_mut().zip(products) {
                            *d += product;
                        }
                    }
                }
            }
        }
    }
}
